//! What goes to the warden: a lane for each guest, drained in turns, so that a flood from one drowns only itself.
//!
//! ```text
//!  guest a ─ output ─→ lane a (bounded) ─┐
//!          ─ words about a ──────────────┤   in turns, one packet each
//!  guest b ─ output ─→ lane b (bounded) ─┴──→ socket (never blocks) ──→ warden
//! ```
//!
//! Output that finds its lane full waits a moment for room, and is then dropped and counted; words about a guest (ready, ended, …) are few,
//! always find a place, and stay behind the output that came before them. Where nothing waits, a packet goes straight to the socket.

use std::{
    collections::VecDeque,
    os::fd::OwnedFd,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use rustix::{io::Errno, net::SendFlags};
use tokio::{io::Interest, net::UnixStream, sync::Notify};

use crate::{
    backend::protocol::{self, FromChild, OUTPUT_MOST_BYTES, Stream},
    cell::AgentName,
};

/// Output of one guest that may wait. With the socket's own buffer, it takes a burst of some hundred lines.
const LANE_MOST_BYTES: usize = 128 * 1024;
/// How long output waits for room before it is dropped: long enough for a warden that is only busy, short enough for the guest.
const ROOM_WAIT: Duration = Duration::from_millis(50);

/// The packets of one guest.
#[derive(Debug)]
struct Lane {
    agent: AgentName,
    packets: VecDeque<Vec<u8>>,
    bytes: usize,
    dropped: u64,
}

#[derive(Debug)]
struct Lanes {
    lanes: Vec<Lane>,
    /// The lane whose turn it is.
    turn: usize,
}

/// The way to the warden.
#[derive(Debug)]
pub struct Outbox {
    socket: UnixStream,
    lanes: Mutex<Lanes>,
    /// Woken when something waits.
    waiting: Notify,
    /// Woken when something was sent.
    room: Notify,
    gone: AtomicBool,
}

/// What became of a packet that was offered to the socket.
enum Sent {
    Yes,
    Full,
    Gone,
}

impl Outbox {
    /// Makes the outbox of these guests, in their order. The socket must not block.
    ///
    /// # Errors
    /// When the socket cannot be watched.
    pub fn new(socket: OwnedFd, agents: impl IntoIterator<Item = AgentName>) -> std::io::Result<Self> {
        let lane = |agent| Lane { agent, packets: VecDeque::new(), bytes: 0, dropped: 0 };
        Ok(Self {
            // A sequence of packets rather than a stream: only ever used through `send` and `recv`, which keep them apart.
            socket: UnixStream::from_std(socket.into())?,
            lanes: Mutex::new(Lanes { lanes: agents.into_iter().map(lane).collect(), turn: 0 }),
            waiting: Notify::new(),
            room: Notify::new(),
            gone: AtomicBool::new(false),
        })
    }

    /// The socket, for the one who reads from it.
    pub const fn socket(&self) -> &UnixStream {
        &self.socket
    }

    /// Whether the warden has hung up.
    pub fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Relaxed)
    }

    fn lanes(&self) -> MutexGuard<'_, Lanes> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn offer(&self, packet: &[u8]) -> Sent {
        match rustix::net::send(&self.socket, packet, SendFlags::DONTWAIT | SendFlags::NOSIGNAL) {
            Ok(_) => Sent::Yes,
            Err(Errno::AGAIN | Errno::INTR | Errno::NOBUFS | Errno::NOMEM) => Sent::Full,
            Err(_) => {
                self.gone.store(true, Ordering::Relaxed);
                Sent::Gone
            }
        }
    }

    /// Says something about a guest.
    pub fn say(&self, guest: u16, word: &FromChild) {
        let mut lanes = self.lanes();
        let Some(agent) = lanes.of(guest).map(|lane| lane.agent.clone()) else { return };
        let packet = protocol::control(word).or_else(|error| {
            // Every word is bounded where it is made, but the report of very many mounts.
            protocol::control(&FromChild::Refused { agent, message: error.to_string() })
        });
        if let Ok(packet) = packet {
            self.send(&mut lanes, guest, packet);
        }
    }

    /// Sends output of a guest, or drops it where its lane is full.
    pub fn output(&self, guest: u16, stream: Stream, bytes: &[u8]) {
        let mut lanes = self.lanes();
        for piece in bytes.chunks(OUTPUT_MOST_BYTES) {
            match lanes.of(guest) {
                None => return,
                Some(lane) if lane.bytes + piece.len() > LANE_MOST_BYTES => lane.dropped += piece.len() as u64,
                Some(_) => self.send(&mut lanes, guest, protocol::output(guest, stream, piece)),
            }
        }
    }

    /// Sends a packet at once where nothing waits; else it waits its turn, in its lane.
    fn send(&self, lanes: &mut Lanes, guest: u16, packet: Vec<u8>) {
        if lanes.lanes.iter().all(|lane| lane.packets.is_empty() && lane.dropped == 0) && !matches!(self.offer(&packet), Sent::Full) {
            return;
        }
        if let Some(lane) = lanes.of(guest) {
            lane.count_dropped();
            lane.push(packet);
            self.waiting.notify_one();
        }
    }

    /// Waits until a guest's lane has room, or as long as output is worth waiting for.
    pub async fn room(&self, guest: u16) {
        let full = || self.lanes().lanes.get(usize::from(guest)).is_some_and(|lane| lane.bytes > LANE_MOST_BYTES / 2);
        // The timer is made only where it is needed: most writes find room.
        if full() {
            let wait = async {
                while full() {
                    self.room.notified().await;
                }
            };
            // Either there is room now, or what comes is dropped.
            let _ = tokio::time::timeout(ROOM_WAIT, wait).await;
        }
    }

    /// Takes the next packet: one of each lane, in turns.
    fn next(&self) -> Option<(usize, Vec<u8>)> {
        let mut lanes = self.lanes();
        let count = lanes.lanes.len();
        for step in 0..count {
            let index = (lanes.turn + step) % count;
            let Some(lane) = lanes.lanes.get_mut(index) else { continue };
            if lane.packets.is_empty() {
                lane.count_dropped();
            }
            if let Some(packet) = lane.packets.pop_front() {
                lane.bytes -= packet.len();
                lanes.turn = (index + 1) % count;
                return Some((index, packet));
            }
        }
        None
    }

    fn put_back(&self, index: usize, packet: Vec<u8>) {
        let mut lanes = self.lanes();
        lanes.turn = index;
        if let Some(lane) = lanes.lanes.get_mut(index) {
            lane.bytes += packet.len();
            lane.packets.push_front(packet);
        }
    }

    /// Sends until nothing waits. Returns early when the warden has hung up.
    pub async fn flush(&self) {
        while let Some((index, packet)) = self.next() {
            // Through the event loop, which learns that the socket is full, and then waits until it is not.
            let offered = self.socket.try_io(Interest::WRITABLE, || match self.offer(&packet) {
                Sent::Full => Err(std::io::ErrorKind::WouldBlock.into()),
                done @ (Sent::Yes | Sent::Gone) => Ok(done),
            });
            match offered.unwrap_or(Sent::Full) {
                Sent::Yes => self.room.notify_waiters(),
                Sent::Gone => return,
                Sent::Full => {
                    self.put_back(index, packet);
                    // An error of the event loop ends as a hang-up does: nobody can be told.
                    if self.socket.writable().await.is_err() {
                        self.gone.store(true, Ordering::Relaxed);
                        return;
                    }
                }
            }
        }
    }

    /// Sends whatever waits, until the warden hangs up.
    pub async fn drain(&self) {
        while !self.is_gone() {
            self.waiting.notified().await;
            self.flush().await;
        }
    }
}

impl Lanes {
    fn of(&mut self, guest: u16) -> Option<&mut Lane> {
        self.lanes.get_mut(usize::from(guest))
    }
}

impl Lane {
    fn push(&mut self, packet: Vec<u8>) {
        self.bytes += packet.len();
        self.packets.push_back(packet);
    }

    /// Puts what was dropped on record, before anything else is said.
    fn count_dropped(&mut self) {
        let bytes = std::mem::take(&mut self.dropped);
        if bytes > 0
            && let Ok(packet) = protocol::control(&FromChild::Dropped { agent: self.agent.clone(), bytes })
        {
            self.push(packet);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::protocol::Packet;
    use rustix::net::{AddressFamily, RecvFlags, SocketFlags, SocketType, socketpair};

    fn pair() -> (OwnedFd, OwnedFd) {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None).expect("a pair")
    }

    fn read(socket: &OwnedFd) -> Option<Vec<u8>> {
        let mut packet = vec![0; protocol::PACKET_MOST_BYTES];
        let (count, _) = rustix::net::recv(socket, &mut packet[..], RecvFlags::DONTWAIT).ok()?;
        packet.truncate(count);
        Some(packet)
    }

    fn names() -> [AgentName; 2] {
        ["a", "b"].map(|name| name.parse().expect("a name"))
    }

    #[tokio::test]
    async fn a_flood_is_dropped_and_counted_and_drowns_only_itself() {
        let (ours, theirs) = pair();
        let outbox = Outbox::new(ours, names()).expect("an outbox");
        let flood = vec![b'x'; 32 * 1024];
        for _ in 0..100 {
            outbox.output(0, Stream::Stdout, &flood);
        }
        outbox.output(1, Stream::Stderr, b"quiet");
        outbox.say(0, &FromChild::Ready { agent: "a".parse().expect("a name") });
        let (mut flooded, mut dropped, mut quiet, mut ready) = (0, 0, None, false);
        let mut packets = 0;
        loop {
            let Some(packet) = read(&theirs) else {
                tokio::select! { biased; () = outbox.flush() => {}, () = tokio::task::yield_now() => {} }
                match read(&theirs) {
                    Some(packet) => take(&packet, &mut flooded, &mut dropped, &mut quiet, &mut ready, packets),
                    None => break,
                }
                packets += 1;
                continue;
            };
            take(&packet, &mut flooded, &mut dropped, &mut quiet, &mut ready, packets);
            packets += 1;
        }
        assert_eq!(flooded + dropped, 100 * flood.len() as u64, "every byte arrives or is counted");
        assert!(dropped > 0);
        assert!(ready, "words are never dropped");
        assert!(quiet.is_some_and(|at| at < packets - 2), "the neighbour does not wait for the flood to end: {quiet:?} of {packets}");
    }

    fn take(packet: &[u8], flooded: &mut u64, dropped: &mut u64, quiet: &mut Option<usize>, ready: &mut bool, at: usize) {
        match protocol::from_child(packet).expect("a packet") {
            Packet::Output { guest: 0, bytes, .. } => {
                assert!(!*ready, "words stay behind the output before them");
                *flooded += bytes.len() as u64;
            }
            Packet::Output { guest, stream, bytes } => {
                assert_eq!((guest, stream, bytes), (1, Stream::Stderr, &b"quiet"[..]));
                *quiet = Some(at);
            }
            Packet::Control(FromChild::Dropped { bytes, .. }) => *dropped += bytes,
            Packet::Control(FromChild::Ready { .. }) => *ready = true,
            Packet::Control(other) => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn a_warden_that_hung_up_is_noticed() {
        let (ours, theirs) = pair();
        let outbox = Outbox::new(ours, names()).expect("an outbox");
        drop(theirs);
        outbox.output(0, Stream::Stdout, b"x");
        assert!(outbox.is_gone());
    }
}
