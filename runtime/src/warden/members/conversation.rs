//! One connection of one member, from its first call to its end.

use std::{sync::Arc, time::Duration};

use tokio::{
    io::BufReader,
    net::unix::{OwnedReadHalf, OwnedWriteHalf},
    sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot},
};

use super::lines::{Outgoing, Said, read_line, write, write_lines};
use crate::{
    mail::{AnswerLine, Gift, LINE_MOST_BYTES, Mark, Outcome, PENDING_MOST, Reason, Refusal, line_of, parse_call},
    warden::{
        post::{Caller, LineEvent, Opened, Who},
        watch::Event,
    },
};

/// How long the answers to what was asked before the end of the input are waited for.
const LAST_ANSWERS_WITHIN: Duration = Duration::from_secs(5);

/// The way to the event loop.
pub type Events = mpsc::Sender<Event>;

/// Asks the post office to connect somebody.
///
/// # Errors
/// Why it does not.
pub async fn open(events: &Events, who: Who) -> Result<Opened, Refusal> {
    let over = || Refusal::new(Reason::WrongTime, "connect: the cell is over");
    let (answers, answer) = oneshot::channel();
    events.send(Event::Line(LineEvent::Open { who, answers })).await.map_err(|_| over())?;
    answer.await.map_err(|_| over())?
}

/// A refusal that answers no call in particular.
pub fn refusal_line(refusal: Refusal) -> Vec<u8> {
    line_of(&AnswerLine { n: None, outcome: Outcome::Refused(refusal) })
}

/// Says why somebody is not connected. One that does not listen need not know.
pub async fn refuse(writer: &mut OwnedWriteHalf, refusal: Refusal) {
    let _ = write(writer, &refusal_line(refusal)).await;
}

/// Carries out what a member asks, until it says no more, is too slow, or must go.
pub async fn hold(reader: BufReader<OwnedReadHalf>, writer: OwnedWriteHalf, opened: Opened, events: &Events) {
    let Opened { caller, hang_up } = opened;
    let line = caller.line;
    let (outgoing, lines) = mpsc::channel(PENDING_MOST);
    {
        let mut writing = std::pin::pin!(write_lines(writer, lines));
        let mut listening = std::pin::pin!(listen(reader, caller, outgoing, events));
        let mut hang_up = std::pin::pin!(hang_up);
        tokio::select! {
            // Dropped without a word is an end, too.
            _ = &mut hang_up => {}
            () = &mut writing => {}
            () = &mut listening => {
                // What was answered is still written. There is no more once nobody can add to it.
                let last = tokio::time::timeout(LAST_ANSWERS_WITHIN, &mut writing);
                tokio::select! { _ = &mut hang_up => {} _ = last => {} }
            }
        }
    }
    // The event loop is gone only when the cell is.
    let _ = events.send(Event::Line(LineEvent::Close(line))).await;
}

/// Reads calls and passes them on, as many at a time as may wait for an answer.
async fn listen(mut reader: BufReader<OwnedReadHalf>, caller: Caller, outgoing: mpsc::Sender<Outgoing>, events: &Events) {
    let places = Arc::new(Semaphore::new(PENDING_MOST));
    loop {
        // An error would mean that nobody gives out places any more; they are given out here.
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        let line = match read_line(&mut reader, LINE_MOST_BYTES).await {
            Ok(Said::Line(line)) => line,
            Ok(Said::TooLong) => {
                let message = format!("this line has more than {LINE_MOST_BYTES} bytes; the connection ends");
                let line = refusal_line(Refusal::new(Reason::TooLarge, message));
                let _ = outgoing.send(Outgoing { line, place }).await;
                return;
            }
            // Whatever the reason, nothing more comes.
            Ok(Said::Nothing) | Err(_) => return,
        };
        match parse_call(&line) {
            Ok(call) => {
                let (answers, answer) = oneshot::channel();
                let event = LineEvent::Call { caller: caller.clone(), call: call.call, answers };
                if events.send(Event::Line(event)).await.is_err() {
                    return;
                }
                tokio::spawn(pass_on(call.n, answer, outgoing.clone(), place));
            }
            Err(refused) => {
                if outgoing.send(Outgoing { line: line_of(&refused), place }).await.is_err() {
                    return;
                }
            }
        }
    }
}

/// Waits for the answer to one call, and has it written.
async fn pass_on(
    n: Option<Mark>,
    answer: oneshot::Receiver<Result<Gift, Refusal>>,
    outgoing: mpsc::Sender<Outgoing>,
    place: OwnedSemaphorePermit,
) {
    tokio::select! {
        answer = answer => {
            // Without an answer, the line is hung up on.
            let Ok(result) = answer else { return };
            let line = line_of(&AnswerLine { n, outcome: result.into() });
            let _ = outgoing.send(Outgoing { line, place }).await;
        }
        // Nobody would read it: the call is not waited for any more.
        () = outgoing.closed() => {}
    }
}
