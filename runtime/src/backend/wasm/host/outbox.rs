//! What goes to the warden: a lane for each guest, drained in turns, so that a flood from one drowns only itself.
//!
//! ```text
//!  guest a ─ output ─→ lane a (rate, bounded) ─┐
//!          ─ words about a ────────────────────┤   in turns, one packet each
//!  guest b ─ output ─→ lane b (rate, bounded) ─┴──→ socket (never blocks) ──→ warden
//! ```
//!
//! Output past its guest's rate is dropped here, and counted ([`Lane`]). Output that finds its lane full waits a moment for room, and is then
//! dropped as well. Words about a guest (ready, a call, ended, …) are few, always find a place, and stay behind the output that came before
//! them, but never behind that of a neighbour while the socket has room.

use std::{
    os::fd::OwnedFd,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use rustix::{io::Errno, net::SendFlags};
use tokio::{io::Interest, net::UnixStream, sync::Notify};

use super::lane::{LANE_MOST_BYTES, Lane};
use crate::{
    backend::protocol::{self, FromChild, OUTPUT_MOST_BYTES, Outcome, Stream},
    cell::AgentName,
};

/// How long output waits for room before it is dropped: long enough for a warden that is only busy, short enough for the guest.
const ROOM_WAIT: Duration = Duration::from_millis(50);
/// How long output waits for more that can be joined to it.
const JOIN_WAIT: Duration = Duration::from_millis(5);

#[derive(Debug)]
struct Lanes {
    lanes: Vec<Lane>,
    /// The lane whose turn it is.
    turn: usize,
    /// Whether any lane has something that waits.
    waits: bool,
}

/// The way to the warden.
#[derive(Debug)]
pub struct Outbox {
    socket: UnixStream,
    lanes: Mutex<Lanes>,
    /// Woken when something waits.
    waiting: Notify,
    /// Woken when what waits is not to wait for more.
    urgent: Notify,
    /// Woken when something was sent.
    room: Notify,
    gone: AtomicBool,
}

/// What became of a packet that was offered to the socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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
        let lanes = (0..).zip(agents).map(|(index, agent)| Lane::new(index, agent)).collect();
        Ok(Self {
            // A sequence of packets rather than a stream: only ever used through `send` and `recv`, which keep them apart.
            socket: UnixStream::from_std(socket.into())?,
            lanes: Mutex::new(Lanes { lanes, turn: 0, waits: false }),
            waiting: Notify::new(),
            urgent: Notify::new(),
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

    /// Says something about a guest: at once, behind what waits of the same guest.
    pub fn say(&self, guest: u16, word: &FromChild) {
        let mut lanes = self.lanes();
        let Some(lane) = lanes.of(guest) else { return };
        let packet = protocol::control(word).or_else(|error| {
            // Every word is bounded where it is made, but the report of very many mounts.
            protocol::control(&FromChild::Refused { agent: lane.agent.clone(), message: error.to_string() })
        });
        let Ok(packet) = packet else { return };
        if is_end(word) {
            lane.tell_all(Instant::now());
        }
        lane.push(packet);
        while let Some(packet) = lane.front() {
            if self.offer(packet) == Sent::Full {
                lanes.waits = true;
                self.urgent.notify_one();
                self.waiting.notify_one();
                return;
            }
            lane.pop();
        }
    }

    /// Sends output of a guest: what is within its rate, and finds room.
    pub fn output(&self, guest: u16, stream: Stream, output: &[u8]) {
        let now = Instant::now();
        let mut lanes = self.lanes();
        let others_wait = lanes.waits;
        let Some(lane) = lanes.of(guest) else { return };
        let mut waits = false;
        for piece in lane.admit(stream, output, now).chunks(OUTPUT_MOST_BYTES) {
            lane.tell_if_due(now);
            if !lane.has_room(piece.len()) {
                lane.lose(stream, piece, piece.len(), now);
            } else if others_wait || !lane.goes_straight(now) || self.offer(&protocol::output(guest, stream, piece)) == Sent::Full {
                lane.join(stream, piece, now);
            }
            waits |= !lane.is_empty();
        }
        // What was dropped is told by who sends what waits, in time.
        let wakes = (waits && !others_wait) || lane.tells_in(now).is_some_and(|wait| wait.is_zero());
        lanes.waits |= waits;
        if wakes {
            self.waiting.notify_one();
        }
    }

    /// Drops a line of a guest's that is past its rate before it is made: so many bytes in all, with this text. `false`: it may pass.
    pub fn drops_line(&self, guest: u16, stream: Stream, text: &[u8], whole: usize) -> bool {
        let now = Instant::now();
        let mut lanes = self.lanes();
        let Some(lane) = lanes.of(guest) else { return true };
        let dropped = lane.drops_line(stream, text, whole, now);
        if dropped && lane.tells_in(now).is_some_and(|wait| wait.is_zero()) {
            self.waiting.notify_one();
        }
        dropped
    }

    /// Whether a guest must wait before it writes again: it writes far too often, or too much.
    pub fn is_paused(&self, guest: u16) -> bool {
        self.lanes().of(guest).is_some_and(|lane| lane.pause().is_some())
    }

    /// Waits until a guest may write and its lane has room, or as long as output is worth waiting for.
    pub async fn room(&self, guest: u16) {
        let full = || self.lanes().of(guest).is_some_and(|lane| !lane.has_room(LANE_MOST_BYTES / 2));
        let (pause, is_full) = match self.lanes().of(guest) {
            Some(lane) => (lane.pause(), !lane.has_room(LANE_MOST_BYTES / 2)),
            None => return,
        };
        // Timers are made only where they are needed: most writes find room.
        if let Some(pause) = pause {
            tokio::time::sleep(pause).await;
        }
        if is_full {
            self.urgent.notify_one();
            let wait = async {
                while full() {
                    self.room.notified().await;
                }
            };
            // Either there is room now, or what comes is dropped.
            let _ = tokio::time::timeout(ROOM_WAIT, wait).await;
        }
    }

    /// Sends the next packet that waits, of each lane in turns; `None` where none does. Goes through the event loop, which learns that the
    /// socket is full, and then waits until it is not.
    fn send_next(&self) -> Option<Sent> {
        let mut lanes = self.lanes();
        let (count, turn) = (lanes.lanes.len(), lanes.turn);
        let next = (0..count).map(|step| (turn + step) % count).find(|index| lanes.lanes.get(*index).is_some_and(|lane| !lane.is_empty()));
        lanes.waits = next.is_some();
        let lane = lanes.lanes.get_mut(next?)?;
        let packet = lane.front()?;
        let offered = self.socket.try_io(Interest::WRITABLE, || match self.offer(packet) {
            Sent::Full => Err(std::io::ErrorKind::WouldBlock.into()),
            done @ (Sent::Yes | Sent::Gone) => Ok(done),
        });
        let sent = offered.unwrap_or(Sent::Full);
        if sent == Sent::Yes {
            lane.pop();
            lanes.turn = (next? + 1) % count;
        }
        Some(sent)
    }

    /// Sends until nothing waits. Returns early when the warden has hung up.
    pub async fn flush(&self) {
        while let Some(sent) = self.send_next() {
            match sent {
                Sent::Yes => self.room.notify_waiters(),
                Sent::Gone => return,
                Sent::Full => {
                    // An error of the event loop ends as a hang-up does: nobody can be told.
                    if self.socket.writable().await.is_err() {
                        self.gone.store(true, Ordering::Relaxed);
                        return;
                    }
                }
            }
        }
    }

    /// Tells what was dropped, where that is due. Returns how long it is until the next is.
    fn tell_dropped(&self) -> Option<Duration> {
        let now = Instant::now();
        let mut lanes = self.lanes();
        lanes.lanes.iter_mut().for_each(|lane| lane.tell_if_due(now));
        lanes.lanes.iter().filter_map(|lane| lane.tells_in(now)).min()
    }

    /// Sends whatever waits, until the warden hangs up; output waits a moment for more.
    pub async fn drain(&self) {
        while !self.is_gone() {
            let next = self.tell_dropped();
            self.flush().await;
            match next {
                // Nobody writes any more, perhaps; what was dropped is told all the same.
                Some(next) => drop(tokio::time::timeout(next, self.waiting.notified()).await),
                None => self.waiting.notified().await,
            }
            // Either something must not wait, or nothing came that is not to be joined.
            let _ = tokio::time::timeout(JOIN_WAIT, self.urgent.notified()).await;
        }
    }
}

/// Whether it says that something ended, of which a guest's last words may tell why.
const fn is_end(word: &FromChild) -> bool {
    match word {
        FromChild::Ended { .. } | FromChild::Refused { .. } | FromChild::EventOver { outcome: Outcome::Lost { .. }, .. } => true,
        FromChild::Report { .. }
        | FromChild::Ready { .. }
        | FromChild::Call { .. }
        | FromChild::EventOver { .. }
        | FromChild::Idle { .. }
        | FromChild::Limit { .. }
        | FromChild::Dropped { .. } => false,
    }
}

impl Lanes {
    fn of(&mut self, guest: u16) -> Option<&mut Lane> {
        self.lanes.get_mut(usize::from(guest))
    }
}
