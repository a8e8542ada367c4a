//! Which refusals get a row of the audit: pure, told the time.

use std::time::{Duration, Instant};

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
