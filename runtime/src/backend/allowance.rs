//! How much of what an agent writes is kept: a burst, and then so much a second.
//!
//! It is counted twice, in the same way. The warden's account is the wall. A host keeps one of its own for each of its guests, so that a flood
//! ends where it is written, and neither the socket nor the warden is busy with it; nobody relies on that one, as a host that fell keeps none.

use std::time::{Duration, Instant};

/// The longest line kept in one piece; a longer one is cut into several, so that one line never fills the memory of the warden.
pub const LINE_MOST_BYTES: usize = 4 * 1024;
/// Bytes of a line's time and stream, as it stands in the log: short lines cost what they take on disk.
const HEAD_BYTES: usize = 30;
/// Output kept per agent and second, once its burst is used up. Faster than anybody reads; slow enough that a flood costs little.
const RATE_BYTES_PER_SECOND: u64 = 256 * 1024;
/// Output kept at once before the rate counts.
const BURST_BYTES: u64 = 1024 * 1024;

const NANOS_PER_SECOND: u128 = 1_000_000_000;

/// Lets a bounded number of something through, and more as time passes.
#[derive(Debug)]
pub struct Bucket {
    tokens: u64,
    most: u64,
    per_second: u64,
    filled: Instant,
}

impl Bucket {
    /// A full one: so many at once, and then so many a second.
    pub fn new(most: u64, per_second: u64) -> Self {
        Self { tokens: most, most, per_second: per_second.max(1), filled: Instant::now() }
    }

    /// Adds what time has earned since it was last asked.
    pub fn refill(&mut self, now: Instant) {
        let (rate, elapsed) = (u128::from(self.per_second), now.saturating_duration_since(self.filled));
        let gained = elapsed.as_nanos() * rate / NANOS_PER_SECOND;
        if gained == 0 {
            return;
        }
        let missing = u128::from(self.most - self.tokens);
        if gained >= missing {
            (self.tokens, self.filled) = (self.most, now);
        } else {
            // The part of one that was earned as well stays earned: whoever asks often gets no less than whoever asks rarely.
            self.tokens += u64::try_from(gained).unwrap_or(0);
            self.filled += Duration::from_nanos(u64::try_from((gained * NANOS_PER_SECOND).div_ceil(rate)).unwrap_or(0));
        }
    }

    /// Whether so many may pass; then they are paid for.
    pub const fn spend(&mut self, count: u64) -> bool {
        let enough = self.tokens >= count;
        if enough {
            self.tokens -= count;
        }
        enough
    }
}

/// A piece of output that was paid for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Piece {
    /// Bytes of it.
    pub length: usize,
    /// Whether the end of the line follows, which is none of them.
    pub ends_line: bool,
}

impl Piece {
    /// Bytes of it, with the end of the line.
    pub const fn whole(self) -> usize {
        self.length + self.ends_line as usize
    }
}

/// The account of one agent's output.
#[derive(Debug)]
pub struct Allowance(Bucket);

impl Allowance {
    /// A full one.
    pub fn new() -> Self {
        Self(Bucket::new(BURST_BYTES, RATE_BYTES_PER_SECOND))
    }

    /// Adds what time has earned since it was last asked.
    pub fn refill(&mut self, now: Instant) {
        self.0.refill(now);
    }

    /// Pays for the first piece of output: to the end of its line, but no more than `room` bytes. `None`: that is more than may pass now.
    ///
    /// Looks at no more bytes than could be paid for, so that dropping costs nothing.
    pub fn pay(&mut self, output: &[u8], room: usize) -> Option<Piece> {
        let payable = usize::try_from(self.0.tokens).unwrap_or(usize::MAX);
        let room = room.min(output.len());
        let newline = output.iter().take(room.min(payable)).position(|&byte| byte == b'\n');
        let piece = Piece { length: newline.unwrap_or(room), ends_line: newline.is_some() };
        let cost = piece.length + if piece.ends_line { HEAD_BYTES } else { 0 };
        self.0.spend(cost as u64).then_some(piece)
    }

    /// How many of these bytes, from the first on, may pass now; they are paid for.
    pub fn admit(&mut self, output: &[u8], now: Instant) -> usize {
        self.refill(now);
        let mut admitted = 0;
        while let Some(rest) = output.get(admitted..).filter(|rest| !rest.is_empty()) {
            let Some(piece) = self.pay(rest, LINE_MOST_BYTES) else { break };
            admitted += piece.whole();
        }
        admitted
    }

    /// Whether not even the first piece of a line of so many bytes could be paid for.
    pub fn is_past(&mut self, length: usize, now: Instant) -> bool {
        self.refill(now);
        self.0.tokens < length.min(LINE_MOST_BYTES) as u64
    }
}

impl Default for Allowance {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_passes_is_the_burst_and_then_the_rate_however_often_it_is_asked() {
        for step in [Duration::from_micros(1), Duration::from_micros(1700), Duration::from_millis(300)] {
            let start = Instant::now();
            let mut bucket = Bucket { filled: start, ..Bucket::new(1000, 300_000) };
            assert!(bucket.spend(1000) && !bucket.spend(1));
            let (mut now, mut passed) = (start, 0);
            while now < start + Duration::from_millis(300) {
                now += step;
                bucket.refill(now);
                while bucket.spend(1) {
                    passed += 1;
                }
            }
            let most = (now - start).as_micros() * 3 / 10;
            // What is earned at once, beyond a burst, is lost.
            let least = if step > Duration::from_millis(3) { 1000 } else { most * 99 / 100 };
            assert!((least..=most).contains(&passed), "{step:?}: {passed} of {most}");
        }
    }

    #[test]
    fn a_host_admits_what_its_warden_keeps() {
        // Lines of any length, cut into writes of any length, until long after nothing passes any more.
        let text: Vec<u8> =
            (0..40_000_u32).flat_map(|line| [b'x'].repeat((line * 7919 % 97) as usize).into_iter().chain([b'\n'])).collect();
        let now = Instant::now();
        for write in [1, 63, 4096, 70_000] {
            let (mut host, mut warden) = (Allowance::new(), Allowance::new());
            (host.0.filled, warden.0.filled) = (now, now);
            let mut pending = 0;
            let mut refused = 0;
            for output in text.chunks(write) {
                let admitted = &output[..host.admit(output, now)];
                refused += output.len() - admitted.len();
                let mut rest = admitted;
                while !rest.is_empty() {
                    let piece = warden.pay(rest, LINE_MOST_BYTES - pending).expect("the warden keeps it as well");
                    rest = &rest[piece.whole()..];
                    pending = if piece.ends_line || pending + piece.length == LINE_MOST_BYTES { 0 } else { pending + piece.length };
                }
            }
            assert!(refused > 500_000, "{write}: {refused}");
            assert!(host.0.tokens < 128 && host.0.tokens == warden.0.tokens, "{write}: {} and {}", host.0.tokens, warden.0.tokens);
        }
    }

    #[test]
    fn a_line_that_cannot_pass_is_known_before_it_is_made() {
        let now = Instant::now();
        let mut allowance = Allowance::new();
        assert!(!allowance.is_past(usize::MAX, now));
        allowance.admit(&[b'x'; 2 << 20], now);
        allowance.0.filled = now;
        assert!(allowance.is_past(5000, now) && allowance.is_past(1, now));
        assert!(!allowance.is_past(200, now + Duration::from_millis(1)), "the twin");
    }
}
