//! How often somebody may do something: pure, told the time.

use std::time::{Duration, Instant};

/// Lets a burst through, and then as much as time earns.
#[derive(Debug)]
pub struct Bucket {
    burst: u32,
    per_second: u32,
    /// In thousandths, so that short waits earn something.
    tokens_milli: u64,
    filled: Instant,
}

impl Bucket {
    /// A full bucket.
    pub fn new(burst: u32, per_second: u32, now: Instant) -> Self {
        Self { burst, per_second, tokens_milli: u64::from(burst) * 1000, filled: now }
    }

    /// Takes one, if there is one.
    pub fn take(&mut self, now: Instant) -> bool {
        let passed = now.saturating_duration_since(self.filled);
        let earned = u64::try_from(passed.as_millis()).unwrap_or(u64::MAX).saturating_mul(u64::from(self.per_second));
        if earned > 0 {
            self.tokens_milli = self.tokens_milli.saturating_add(earned).min(u64::from(self.burst) * 1000);
            self.filled = now;
        }
        let enough = self.tokens_milli >= 1000;
        if enough {
            self.tokens_milli -= 1000;
        }
        enough
    }
}

/// Audit rows of refusals that one member can cause in [`DENIALS_EVERY`].
const DENIALS_MOST: u32 = 8;
/// The time in which they count.
pub const DENIALS_EVERY: Duration = Duration::from_secs(60);

/// Which refusals of one member get an audit row of their own; the others are counted.
#[derive(Debug)]
pub struct Denials {
    since: Instant,
    written: u32,
    withheld: u64,
}

impl Denials {
    /// None yet.
    pub const fn new(now: Instant) -> Self {
        Self { since: now, written: 0, withheld: 0 }
    }

    /// Notes one. Whether it gets a row.
    pub fn note(&mut self, now: Instant) -> bool {
        if self.withheld == 0 && now.saturating_duration_since(self.since) >= DENIALS_EVERY {
            *self = Self::new(now);
        }
        let writes = self.written < DENIALS_MOST;
        if writes {
            self.written += 1;
        } else {
            self.withheld += 1;
        }
        writes
    }

    /// How many had no row, when it is time to say so.
    pub fn due(&mut self, now: Instant) -> Option<u64> {
        let withheld = self.withheld;
        if withheld == 0 || now < self.due_at()? {
            return None;
        }
        *self = Self::new(now);
        Some(withheld)
    }

    /// When [`Self::due`] has something to say.
    pub fn due_at(&self) -> Option<Instant> {
        (self.withheld > 0).then(|| self.since + DENIALS_EVERY)
    }

    /// How many had no row, at the end of the cell.
    pub const fn rest(&mut self) -> u64 {
        std::mem::replace(&mut self.withheld, 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_and_then_what_time_earns() {
        let start = Instant::now();
        let mut bucket = Bucket::new(3, 10, start);
        assert_eq!((0..5).filter(|_| bucket.take(start)).count(), 3);
        let later = start + Duration::from_millis(250);
        assert_eq!((0..5).filter(|_| bucket.take(later)).count(), 2);
        assert!(!bucket.take(later + Duration::from_millis(40)));
        assert!(bucket.take(later + Duration::from_millis(50)), "what is less than one is kept");
        let day = later + Duration::from_secs(86_400);
        assert_eq!((0..9).filter(|_| bucket.take(day)).count(), 3, "never more than the burst");
    }

    #[test]
    fn a_flood_of_refusals_is_a_few_rows_and_a_count() {
        let start = Instant::now();
        let mut denials = Denials::new(start);
        assert_eq!((0..100).filter(|_| denials.note(start)).count(), 8);
        assert_eq!(denials.due(start), None);
        let at = denials.due_at().expect("something is withheld");
        assert_eq!(denials.due(at), Some(92));
        assert_eq!(denials.due_at(), None);
        assert!(denials.note(at), "a new minute");
    }
}
