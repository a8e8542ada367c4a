//! What the host functions of `lazarus:cell` work with, for one guest.

use std::sync::Arc;

use super::{
    super::{outbox::Outbox, stdio::InheritedOut, strikes::Strikes},
    Desk, Pulse,
};
use crate::{
    backend::protocol::Stream,
    cell::text::push_printable,
    mail::{Call, Facts, Gift, Reason, Refusal},
};

/// The longest line that is written to the log, before control characters become escapes.
const LINE_MOST_BYTES: usize = 8192;

/// A guest, as its cell knows it.
#[derive(Clone)]
pub struct Member {
    /// Its place among the launches.
    pub index: u16,
    /// Where its log goes, and whatever else it says.
    pub outbox: Arc<Outbox>,
    /// Where its log goes instead, if the caller's own streams are the guest's.
    pub stderr: Option<InheritedOut>,
    /// Its signs of life; none without a home.
    pub pulse: Option<Arc<Pulse>>,
    /// Where its calls go; none for programs that do not live by events.
    pub desk: Option<Arc<Desk>>,
    /// What it was refused for a limit.
    pub strikes: Arc<Strikes>,
    /// Where it is and as whom, as last told; forgotten when an event begins, since the time that is left passes.
    pub facts: Option<Facts>,
}

impl Member {
    /// Asks something of the cell.
    ///
    /// # Errors
    /// What the cell refuses.
    pub async fn ask(&self, call: Call) -> Result<Gift, Refusal> {
        match &self.desk {
            Some(desk) => desk.call(call).await,
            None => Err(Refusal::new(Reason::Failed, format!("{}: only agents that live by events may ask their cell", call.name()))),
        }
    }

    /// Where the guest is, and as whom: asked at most once an event.
    ///
    /// # Errors
    /// What the cell refuses.
    pub async fn facts(&mut self) -> Result<&Facts, Refusal> {
        if self.facts.is_none() {
            match self.ask(Call::Me).await? {
                Gift::Facts(facts) => self.facts = Some(facts),
                _ => return Err(unexpected()),
            }
        }
        self.facts.as_ref().ok_or_else(|| Refusal::new(Reason::Failed, "me: the cell did not say"))
    }

    /// Writes a line to the log. Past the guest's rate it is dropped, and counted; where too much waits already, it waits a moment first.
    pub async fn log(&self, level: &str, text: &str) {
        // With a colon, a space and the end of the line; escapes can only make it longer.
        let whole = level.len() + 3 + text.len().min(LINE_MOST_BYTES);
        if self.stderr.is_none() && self.outbox.drops_line(self.index, Stream::Stderr, text.as_bytes(), whole) {
            self.outbox.room(self.index).await;
            return;
        }
        let end = (0..=text.len().min(LINE_MOST_BYTES)).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0);
        let mut line = format!("{level}: ");
        push_printable(&mut line, &text.as_bytes()[..end]);
        line.push('\n');
        if let Some(stderr) = self.stderr {
            stderr.line(line.as_bytes());
        } else {
            self.outbox.room(self.index).await;
            self.outbox.output(self.index, Stream::Stderr, line.as_bytes());
        }
    }

    /// Gives a sign of life.
    pub fn beat(&self) {
        if let Some(pulse) = &self.pulse {
            pulse.beat();
        }
    }
}

/// An answer to another question than the one that was asked.
pub fn unexpected() -> Refusal {
    Refusal::new(Reason::Failed, "the cell gave an answer that does not fit the call")
}
