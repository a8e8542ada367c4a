//! What waits of one guest on its way to the warden, and what of its output does not get there.
//!
//! ```text
//!  output ─→ within the rate? ─no─→ counted: bytes, writes; of stderr, the end is kept
//!                │ yes
//!                ├─ few writes so far, nothing waits ─→ straight to the socket
//!                └─ else ─→ joined to what waits, sent a moment later
//! ```
//!
//! Who floods is slowed down as well: so much that was dropped, and it waits for a millisecond before its next write. A write that is dropped
//! allocates nothing, and looks at no more of its bytes than could have passed. What was dropped is told at once, then
//! once a second, and before the word that the guest is at its end; the end of its stderr goes with that word.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use crate::{
    backend::{
        allowance::Allowance,
        bucket::Bucket,
        protocol::{self, FromChild, Stream},
    },
    cell::AgentName,
};

/// Output of one guest that may wait. With the socket's own buffer, it takes a burst of some hundred lines.
pub const LANE_MOST_BYTES: usize = 128 * 1024;
/// Writes that wait are joined up to this size: a packet costs the warden far more than the bytes in it.
const JOINED_MOST_BYTES: usize = 16 * 1024;
/// Writes that are sent at once, each in its own packet, and more of them each second. Who writes more often has them joined.
const STRAIGHT_MOST: u64 = 128;
const STRAIGHT_PER_SECOND: u64 = 500;
/// How often it is told how much was dropped.
const TELL_EVERY: Duration = Duration::from_secs(1);
/// Who had so much dropped, or joined so many writes, waits, so that a flood does not keep the machine busy: it would be on the CPU all the time.
const PAUSE_AFTER_BYTES: u64 = 256 * 1024;
/// What a dropped write counts beyond its bytes, since a short one costs as much; and what one counts that was joined to another.
const WRITE_COSTS_BYTES: u64 = 512;
/// How long it waits.
const PAUSE: Duration = Duration::from_millis(1);
/// The end of dropped stderr that is kept for the guest's end: as much as the warden keeps of it.
const TAIL_MOST_BYTES: usize = 1024;

/// Output that was dropped and not told of yet.
#[derive(Debug, Default)]
struct Lost {
    bytes: u64,
    writes: u64,
}

/// The packets of one guest.
#[derive(Debug)]
pub struct Lane {
    /// Whose.
    pub agent: AgentName,
    index: u16,
    packets: VecDeque<Vec<u8>>,
    bytes: usize,
    allowance: Allowance,
    straight: Bucket,
    lost: Lost,
    told: Option<Instant>,
    /// What counts since the last pause.
    debt: u64,
    paused_until: Option<Instant>,
    /// The end of what was dropped of stderr, where nothing of it passed since. Always part of what was lost.
    tail: Vec<u8>,
}

impl Lane {
    /// The lane of a host's `index`th guest.
    pub fn new(index: u16, agent: AgentName) -> Self {
        Self {
            agent,
            index,
            packets: VecDeque::new(),
            bytes: 0,
            allowance: Allowance::new(Instant::now()),
            straight: Bucket::new(STRAIGHT_MOST, STRAIGHT_PER_SECOND, Instant::now()),
            lost: Lost::default(),
            told: None,
            debt: 0,
            paused_until: None,
            tail: Vec::new(),
        }
    }

    /// Takes output: the part of it, from its beginning, that is within the rate. The rest is dropped.
    pub fn admit<'b>(&mut self, stream: Stream, output: &'b [u8], now: Instant) -> &'b [u8] {
        let (admitted, rest) = output.split_at(self.allowance.admit(output, now));
        if !admitted.is_empty() && stream == Stream::Stderr {
            self.tail.clear();
        }
        if !rest.is_empty() {
            self.lose(stream, rest, rest.len(), now);
        }
        admitted
    }

    /// Drops a line that is past the rate before it is made, of this text and so many bytes in all. `false`: it may pass.
    pub fn drops_line(&mut self, stream: Stream, text: &[u8], whole: usize, now: Instant) -> bool {
        let is_past = self.allowance.is_past(whole, now);
        if is_past {
            self.lose(stream, text, whole, now);
        }
        is_past
    }

    /// Drops output: so many bytes, with this at their end.
    pub fn lose(&mut self, stream: Stream, output: &[u8], bytes: usize, now: Instant) {
        self.slow_down(bytes as u64, now);
        self.lost.bytes = self.lost.bytes.saturating_add(bytes as u64);
        self.lost.writes = self.lost.writes.saturating_add(1);
        if stream == Stream::Stderr {
            self.tail.extend_from_slice(&output[output.len().saturating_sub(TAIL_MOST_BYTES)..]);
            self.tail.drain(..self.tail.len().saturating_sub(TAIL_MOST_BYTES));
        }
    }

    /// Counts a write that was dropped, of so many bytes, or one that was joined to another.
    fn slow_down(&mut self, bytes: u64, now: Instant) {
        self.debt = self.debt.saturating_add(bytes).saturating_add(WRITE_COSTS_BYTES);
        if self.debt >= PAUSE_AFTER_BYTES {
            (self.debt, self.paused_until) = (0, Some(now + PAUSE));
        }
    }

    /// How long the guest must wait before it may write again; `None` where it need not.
    pub fn pause(&mut self) -> Option<Duration> {
        let left = self.paused_until?.checked_duration_since(Instant::now()).filter(|left| !left.is_zero());
        if left.is_none() {
            self.paused_until = None;
        }
        left
    }

    /// Whether there is room for so much output.
    pub const fn has_room(&self, bytes: usize) -> bool {
        self.bytes + bytes <= LANE_MOST_BYTES
    }

    /// Whether output may go straight to the socket: nothing of the guest waits, and it has not written often of late.
    pub fn goes_straight(&mut self, now: Instant) -> bool {
        self.straight.refill(now);
        self.packets.is_empty() && self.straight.spend(1)
    }

    /// Puts output behind what waits. A burst of single bytes is a million writes: it is slowed down as well.
    pub fn join(&mut self, stream: Stream, output: &[u8], now: Instant) {
        self.slow_down(0, now);
        if self.packets.back_mut().is_some_and(|last| protocol::append_output(last, stream, output, JOINED_MOST_BYTES)) {
            self.bytes += output.len();
        } else {
            self.push(protocol::output(self.index, stream, output));
        }
    }

    /// Puts a packet behind what waits.
    pub fn push(&mut self, packet: Vec<u8>) {
        self.bytes += packet.len();
        self.packets.push_back(packet);
    }

    /// The next packet.
    pub fn front(&self) -> Option<&[u8]> {
        self.packets.front().map(Vec::as_slice)
    }

    /// The next packet is sent.
    pub fn pop(&mut self) {
        self.bytes -= self.packets.pop_front().map_or(0, |packet| packet.len());
    }

    /// Whether anything waits.
    pub fn is_empty(&self) -> bool {
        self.packets.is_empty()
    }

    /// How long it is until what was dropped is to be told; `None` where nothing was.
    pub fn tells_in(&self, now: Instant) -> Option<Duration> {
        let since = |told| TELL_EVERY.saturating_sub(now.saturating_duration_since(told));
        let is_news = self.lost.writes > 0 || self.lost.bytes > self.tail.len() as u64;
        is_news.then(|| self.told.map_or(Duration::ZERO, since))
    }

    /// Tells what was dropped, where it is time for that, but for the bytes of the tail: they may yet be passed on.
    pub fn tell_if_due(&mut self, now: Instant) {
        if self.tells_in(now).is_some_and(|wait| wait.is_zero()) {
            self.tell(now);
        }
    }

    /// Tells all that was dropped, and passes on the guest's last words: the warden may have none but those. It drops them again if they are
    /// not to be kept, and counts them then.
    pub fn tell_all(&mut self, now: Instant) {
        if self.lost.bytes > 0 {
            self.tell(now);
        }
        let tail = std::mem::take(&mut self.tail);
        self.lost = Lost::default();
        if !tail.is_empty() {
            self.push(protocol::output(self.index, Stream::Stderr, &tail));
        }
    }

    fn tell(&mut self, now: Instant) {
        let held = self.tail.len() as u64;
        let (bytes, writes) = (self.lost.bytes.saturating_sub(held), self.lost.writes);
        if let Ok(packet) = protocol::control(&FromChild::Dropped { agent: self.agent.clone(), bytes, writes }) {
            self.lost = Lost { bytes: held, writes: 0 };
            self.told = Some(now);
            self.push(packet);
        }
    }
}
