//! What a child is told, without ever waiting for it: a packet that finds no room waits in a queue, which is bounded in bytes and in time.

use std::{
    collections::VecDeque,
    io,
    os::fd::{AsFd, OwnedFd},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use rustix::{
    io::{Errno, retry_on_intr},
    net::{SendFlags, send},
};
use tokio::{io::Interest, sync::mpsc};

use super::watch::Event;
use crate::backend::protocol::{self, ToChild};

/// Bytes that may wait for one child. Its agents have one call each; whoever lets so many answers wait does not read.
const WAITING_MOST_BYTES: usize = 8 * 1024 * 1024;
/// How long a child may take to make room for one packet.
const ROOM_WITHIN: Duration = Duration::from_secs(20);

/// What became of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told {
    /// It is with the child, or the child is gone.
    Now,
    /// It waits: [`Event::Room`] says when everything has gone through.
    Later,
    /// Too much waits already: the child is to be ended.
    TooMuch,
}

#[derive(Debug, Default)]
struct Queue {
    packets: VecDeque<Vec<u8>>,
    bytes: usize,
}

/// The way to one child.
#[derive(Debug)]
pub struct Writer {
    index: usize,
    socket: OwnedFd,
    queue: Arc<Mutex<Queue>>,
    events: mpsc::Sender<Event>,
}

impl Writer {
    /// The way to a child by its message socket.
    pub fn new(index: usize, socket: OwnedFd, events: mpsc::Sender<Event>) -> Self {
        Self { index, socket, queue: Arc::default(), events }
    }

    /// Tells the child something, now or as soon as it has room.
    pub fn tell(&self, message: &ToChild) -> Told {
        // What does not fit a packet was bounded wrongly on this side; the child would wait for it for ever.
        let Ok(packet) = protocol::control(message) else { return Told::TooMuch };
        let mut queue = locked(&self.queue);
        if queue.packets.is_empty() {
            match try_send(&self.socket, &packet) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                // A child that is gone is heard of elsewhere.
                Ok(()) | Err(_) => return Told::Now,
            }
            let Ok(socket) = self.socket.try_clone() else { return Told::TooMuch };
            tokio::spawn(drain(self.index, socket, self.queue.clone(), self.events.clone()));
        }
        queue.bytes += packet.len();
        queue.packets.push_back(packet);
        if queue.bytes > WAITING_MOST_BYTES { Told::TooMuch } else { Told::Later }
    }
}

fn locked(queue: &Mutex<Queue>) -> MutexGuard<'_, Queue> {
    queue.lock().unwrap_or_else(PoisonError::into_inner)
}

fn try_send(socket: impl AsFd, packet: &[u8]) -> io::Result<()> {
    match retry_on_intr(|| send(&socket, packet, SendFlags::NOSIGNAL | SendFlags::DONTWAIT)) {
        Ok(_) => Ok(()),
        // Too little kernel memory just now is no room, too.
        Err(Errno::AGAIN | Errno::NOBUFS) => Err(io::ErrorKind::WouldBlock.into()),
        Err(errno) => Err(errno.into()),
    }
}

/// Sends what waits, in order, as there is room.
async fn drain(index: usize, socket: OwnedFd, queue: Arc<Mutex<Queue>>, events: mpsc::Sender<Event>) {
    let Ok(socket) = crate::unchecked::watched(socket, Interest::WRITABLE) else {
        let _ = events.send(Event::Deaf(index)).await;
        return;
    };
    loop {
        let Some(packet) = locked(&queue).packets.front().cloned() else { break };
        let sending = socket.async_io(Interest::WRITABLE, |socket| try_send(socket, &packet));
        match tokio::time::timeout(ROOM_WITHIN, sending).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => {
                // It is gone, and its end is heard of elsewhere.
                *locked(&queue) = Queue::default();
                return;
            }
            Err(_) => {
                let _ = events.send(Event::Deaf(index)).await;
                return;
            }
        }
        let mut queue = locked(&queue);
        queue.packets.pop_front();
        queue.bytes -= packet.len();
    }
    let _ = events.send(Event::Room(index)).await;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::packets::{self, Received, Waiting};

    fn event(number: u64) -> ToChild {
        let text = crate::mail::Text::new("x".repeat(crate::mail::TEXT_MOST_BYTES)).expect("a text");
        let message = crate::mail::Message {
            id: crate::mail::MessageId::random(),
            sender: "agent:a".parse().expect("an identity"),
            receiver: "agent:b".parse().expect("an identity"),
            text,
            in_reply_to: None,
            sent_at: chrono::Utc::now(),
            attempt: 1,
        };
        let agent = "b".parse().expect("a name");
        ToChild::Event { agent, event: number, occasion: crate::backend::protocol::Occasion::Message(message) }
    }

    #[tokio::test(flavor = "current_thread")]
    async fn what_finds_no_room_waits_and_keeps_its_order() {
        let (own, child) = packets::pair().expect("a pair");
        let (sender, mut events) = mpsc::channel(4);
        let writer = Writer::new(7, own, sender);
        let told: Vec<Told> = (0..30).map(|number| writer.tell(&event(number))).collect();
        assert_eq!((told[0], told[29]), (Told::Now, Told::Later), "{told:?}");
        for number in 0..30 {
            let got = loop {
                match packets::receive_message(&child, Waiting::Never).expect("a packet") {
                    Received::Nothing => tokio::task::yield_now().await,
                    other => break other,
                }
            };
            assert!(matches!(got, Received::Message(ToChild::Event { event, .. }) if event == number), "{number}");
        }
        assert!(matches!(events.recv().await, Some(Event::Room(7))));
        assert_eq!(writer.tell(&event(30)), Told::Now);
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_child_that_never_reads_is_found_out() {
        let (own, _child) = packets::pair().expect("a pair");
        let (sender, _events) = mpsc::channel(4);
        let writer = Writer::new(0, own, sender);
        let most = WAITING_MOST_BYTES / crate::mail::TEXT_MOST_BYTES + 20;
        assert!((0..most as u64).any(|number| writer.tell(&event(number)) == Told::TooMuch));
    }
}
