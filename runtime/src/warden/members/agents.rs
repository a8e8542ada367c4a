//! The hatch of one process agent: its connections, as its reaper sends them.
//!
//! Whatever comes through a hatch is that agent, or something that it started: only its reaper, which is out of its reach, can put a
//! connection in, and does so for a `connect(2)` of theirs alone ([`crate::backend::process`]).

use std::{
    io::{self, IoSliceMut},
    mem::MaybeUninit,
    os::{fd::OwnedFd, unix::net::UnixStream},
    sync::Arc,
};

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use tokio::{
    io::{BufReader, Interest, unix::AsyncFd},
    sync::Semaphore,
};

use super::{
    CONNECTIONS_MOST,
    conversation::{Events, hold, open, refuse},
};
use crate::{cell::Identity, cell::Role, warden::post::Who};

/// Serves the agent whose hatch this is, until its reaper is gone.
///
/// # Errors
/// A descriptor that cannot be waited for.
pub fn watch_hatch(hatch: OwnedFd, identity: Identity, role: Role, events: Events) -> io::Result<()> {
    rustix::io::ioctl_fionbio(&hatch, true)?;
    let hatch = crate::unchecked::watched(hatch, Interest::READABLE)?;
    tokio::spawn(serve(hatch, identity, role, events));
    Ok(())
}

async fn serve(hatch: AsyncFd<OwnedFd>, identity: Identity, role: Role, events: Events) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MOST));
    loop {
        // Before the next one is taken: who connects too often fills the hatch, and is told so by its own kernel.
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        let stream = match hatch.async_io(Interest::READABLE, next).await {
            Ok(Some(stream)) => stream,
            Ok(None) | Err(_) => return,
        };
        let Ok(stream) = stream.set_nonblocking(true).and_then(|()| tokio::net::UnixStream::from_std(stream)) else { continue };
        let (who, events) = (Who::Agent { identity: identity.clone(), role }, events.clone());
        tokio::spawn(async move {
            let (reader, mut writer) = stream.into_split();
            match open(&events, who).await {
                Ok(opened) => hold(BufReader::new(reader), writer, opened, &events).await,
                Err(refusal) => refuse(&mut writer, refusal).await,
            }
            drop(place);
        });
    }
}

/// The next connection; `None` where the reaper is gone. One that the system had no descriptor left for is lost, and its agent sees it end.
fn next(hatch: &OwnedFd) -> io::Result<Option<UnixStream>> {
    loop {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let mut byte = [0; 1];
        let flags = RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT;
        let received = recvmsg(hatch, &mut [IoSliceMut::new(&mut byte)], &mut ancillary, flags)?;
        let found = ancillary.drain().find_map(|message| match message {
            RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
            _ => None,
        });
        if found.is_some() || received.bytes == 0 {
            return Ok(found.map(UnixStream::from));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{io::IoSlice, os::fd::AsFd};

    use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
    use tokio::{
        io::{AsyncBufReadExt, AsyncWriteExt},
        sync::{mpsc, oneshot},
    };

    use super::*;
    use crate::{
        backend::packets,
        mail::{Call, Gift, MessageId},
        warden::{
            post::{Caller, Line, LineEvent, Opened},
            watch::Event,
        },
    };

    fn through(hatch: &OwnedFd) -> tokio::net::UnixStream {
        let (ours, theirs) = UnixStream::pair().expect("a pair");
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        let descriptors = [theirs.as_fd()];
        assert!(ancillary.push(SendAncillaryMessage::ScmRights(&descriptors)));
        sendmsg(hatch, &[IoSlice::new(b"c")], &mut ancillary, SendFlags::NOSIGNAL).expect("sent");
        ours.set_nonblocking(true).expect("set");
        tokio::net::UnixStream::from_std(ours).expect("registered")
    }

    /// A post office that opens for everybody, answers `me` never, `send` with an id, and everything else with nothing.
    struct Office {
        events: mpsc::Receiver<Event>,
        lines: u64,
        held: Vec<oneshot::Sender<()>>,
        unanswered: Vec<crate::warden::post::Answers>,
    }

    impl Office {
        /// Serves one event; its line, where that was closed.
        async fn serve(&mut self) -> Option<Line> {
            let Some(Event::Line(event)) = self.events.recv().await else { panic!("only lines are expected") };
            match event {
                LineEvent::Open { who, answers } => {
                    let Who::Agent { identity, role } = who else { panic!("an agent") };
                    self.lines += 1;
                    let (keep, hang_up) = oneshot::channel();
                    self.held.push(keep);
                    let caller = Caller { identity, role, line: Line::of_test(self.lines) };
                    answers.send(Ok(Opened { caller, hang_up })).expect("waited for");
                    None
                }
                LineEvent::Call { caller, call, answers } => {
                    assert_eq!(caller.identity.to_string(), "agent:scribe");
                    match call {
                        Call::Me => self.unanswered.push(answers),
                        Call::Send { .. } => drop(answers.send(Ok(Gift::Sent { id: MessageId::random() }))),
                        _ => drop(answers.send(Ok(Gift::Done))),
                    }
                    None
                }
                LineEvent::Close(line) => Some(line),
            }
        }
    }

    fn office() -> (OwnedFd, Office) {
        let (ours, theirs) = packets::pair().expect("a pair");
        let (sender, events) = mpsc::channel(16);
        watch_hatch(ours, "agent:scribe".parse().expect("an identity"), Role::Executor, sender).expect("watched");
        (theirs, Office { events, lines: 0, held: Vec::new(), unanswered: Vec::new() })
    }

    #[tokio::test(flavor = "current_thread")]
    async fn calls_are_answered_with_their_marks_and_nonsense_is_no_end() {
        let (hatch, mut office) = office();
        let stream = through(&hatch);
        let (reader, mut writer) = stream.into_split();
        let mut lines = BufReader::new(reader).lines();
        let asked = "rubbish\n{\"n\":1,\"call\":\"me\"}\n{\"n\":2,\"call\":\"beat\"}\n{\"n\":\"x\",\"call\":\"beat\"}";
        writer.write_all(asked.as_bytes()).await.expect("written");
        drop(writer);
        for _ in 0..4 {
            assert_eq!(office.serve().await, None);
        }
        let mut next = async || lines.next_line().await.expect("read").expect("a line");
        assert!(next().await.starts_with("{\"refused\":{\"reason\":\"malformed\""));
        assert_eq!(next().await, "{\"n\":2,\"ok\":{\"gave\":\"done\"}}", "the first one still waits");
        assert_eq!(next().await, "{\"n\":\"x\",\"ok\":{\"gave\":\"done\"}}");
        drop(office.unanswered.pop().expect("me").send(Ok(Gift::Done)));
        assert_eq!(next().await, "{\"n\":1,\"ok\":{\"gave\":\"done\"}}", "also after the end of the input");
        assert_eq!(lines.next_line().await.expect("read"), None);
        assert!(office.serve().await.is_some(), "the line is closed");
    }

    #[tokio::test(flavor = "current_thread")]
    async fn who_is_hung_up_on_hears_nothing_more() {
        let (hatch, mut office) = office();
        let mut stream = through(&hatch);
        assert_eq!(office.serve().await, None);
        office.held.pop().expect("held").send(()).expect("still there");
        assert!(office.serve().await.is_some());
        let mut line = String::new();
        assert_eq!(BufReader::new(&mut stream).read_line(&mut line).await.expect("read"), 0, "{line}");
    }

    #[tokio::test(flavor = "current_thread")]
    async fn calls_and_connections_are_bounded() {
        let (hatch, mut office) = office();
        let mut streams: Vec<_> = (0..=CONNECTIONS_MOST).map(|_| through(&hatch)).collect();
        for _ in 0..CONNECTIONS_MOST {
            assert_eq!(office.serve().await, None);
        }
        let most = crate::mail::PENDING_MOST;
        streams[0].write_all("{\"call\":\"me\"}\n".repeat(most + 5).as_bytes()).await.expect("written");
        for _ in 0..most {
            assert_eq!(office.serve().await, None);
        }
        // Everything that can happen has: neither the next call nor the next connection comes through.
        for _ in 0..64 {
            tokio::task::yield_now().await;
        }
        assert!(office.events.try_recv().is_err());
        drop(office.unanswered.pop().expect("me").send(Ok(Gift::Done)));
        assert_eq!(office.serve().await, None, "one call was answered, and the next one comes");
        streams.remove(1);
        assert!(office.serve().await.is_some(), "one connection ended");
        assert_eq!(office.serve().await, None, "and the last one is served");
        assert_eq!(office.lines, CONNECTIONS_MOST as u64 + 1);
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_connection_that_was_lost_on_the_way_is_not_the_end_of_the_others() {
        let (hatch, mut office) = office();
        // As the kernel delivers it where no descriptor is left: the byte without the connection.
        rustix::net::send(&hatch, b"c", SendFlags::NOSIGNAL).expect("sent");
        let _stream = through(&hatch);
        assert_eq!(office.serve().await, None, "the next one is served");
        assert_eq!(office.lines, 1);
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_line_without_end_ends_the_connection() {
        let (hatch, mut office) = office();
        let stream = through(&hatch);
        assert_eq!(office.serve().await, None);
        let (reader, mut writer) = stream.into_split();
        let flood = tokio::spawn(async move {
            // It fails once the other side has had enough.
            let _ = writer.write_all(&vec![b'x'; 4 * crate::mail::LINE_MOST_BYTES]).await;
        });
        let mut line = String::new();
        BufReader::new(reader).read_line(&mut line).await.expect("read");
        assert!(line.starts_with("{\"refused\":{\"reason\":\"too-large\""), "{line}");
        assert!(office.serve().await.is_some());
        flood.await.expect("no panic");
    }
}
