//! How much of what an agent writes is kept: a burst, and then so much a second.
//!
//! It is counted twice, in the same way. The warden's account is the wall. A host keeps one of its own for each of its guests, so that a flood
//! ends where it is written, and neither the socket nor the warden is busy with it; nobody relies on that one, as a host that fell keeps none.

use std::time::Instant;

use super::bucket::Bucket;

/// The longest line kept in one piece; a longer one is cut into several, so that one line never fills the memory of the warden.
pub const LINE_MOST_BYTES: usize = 4 * 1024;
/// Bytes of a line's time and stream, as it stands in the log: short lines cost what they take on disk.
const HEAD_BYTES: usize = 30;
/// Output kept per agent and second, once its burst is used up. Faster than anybody reads; slow enough that a flood costs little.
const RATE_BYTES_PER_SECOND: u64 = 256 * 1024;
/// Output kept at once before the rate counts.
const BURST_BYTES: u64 = 1024 * 1024;

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
    pub fn new(now: Instant) -> Self {
        Self(Bucket::new(BURST_BYTES, RATE_BYTES_PER_SECOND, now))
    }

    /// Adds what time has earned since it was last asked.
    pub fn refill(&mut self, now: Instant) {
        self.0.refill(now);
    }

    /// Pays for the first piece of output: to the end of its line, but no more than `room` bytes. `None`: that is more than may pass now.
    ///
    /// Looks at no more bytes than could be paid for, so that dropping costs nothing.
    pub fn pay(&mut self, output: &[u8], room: usize) -> Option<Piece> {
        let payable = usize::try_from(self.0.left()).unwrap_or(usize::MAX);
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
        self.0.left() < length.min(LINE_MOST_BYTES) as u64
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_host_admits_what_its_warden_keeps() {
        // Lines of any length, cut into writes of any length, until long after nothing passes any more.
        let text: Vec<u8> =
            (0..40_000_u32).flat_map(|line| [b'x'].repeat((line * 7919 % 97) as usize).into_iter().chain([b'\n'])).collect();
        let now = Instant::now();
        for write in [1, 63, 4096, 70_000] {
            let (mut host, mut warden) = (Allowance::new(now), Allowance::new(now));
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
            assert!(host.0.left() < 128 && host.0.left() == warden.0.left(), "{write}: {} and {}", host.0.left(), warden.0.left());
        }
    }

    #[test]
    fn a_line_that_cannot_pass_is_known_before_it_is_made() {
        let now = Instant::now();
        let mut allowance = Allowance::new(now);
        assert!(!allowance.is_past(usize::MAX, now));
        allowance.admit(&[b'x'; 2 << 20], now);
        assert!(allowance.is_past(5000, now) && allowance.is_past(1, now));
        assert!(!allowance.is_past(200, now + Duration::from_millis(1)), "the twin");
    }
}
