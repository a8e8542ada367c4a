//! How often a tree on disk that an agent writes to is measured: rarely while it is quiet, often while it grows.
//!
//! Between two measurements the file system's own count of free room is looked at, which costs a microsecond: a home cannot come near its
//! limit without that shrinking by half of what was left (but for holes in files, which take no room).

use std::time::{Duration, Instant};

/// The time between two measurements of a tree that grows.
pub const MEASURE_LEAST: Duration = Duration::from_millis(250);
/// The time between two measurements of a tree that is quiet.
pub const MEASURE_MOST: Duration = Duration::from_secs(5);
/// Measuring may take up to this part of the time between two measurements.
const MEASURE_SHARE: u32 = 20;
/// How long a tree may go without a measurement that saw all of it.
pub const UNKNOWN_MOST: Duration = Duration::from_secs(60);
/// How long a process of an agent may keep anybody from seeing what it holds open: as long as a quiet tree goes without a look.
pub const HIDDEN_MOST: Duration = MEASURE_MOST;
/// How often the free room is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Bytes, and files with directories.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Amount {
    /// Bytes.
    pub bytes: u64,
    /// Files, links and directories.
    pub entries: u64,
}

impl Amount {
    /// What is left below a bound; nothing where it is passed.
    const fn up_to(self, most: Self) -> Self {
        Self { bytes: most.bytes.saturating_sub(self.bytes), entries: most.entries.saturating_sub(self.entries) }
    }

    /// Whether it is more than another, in either way.
    pub const fn exceeds(self, other: Self) -> bool {
        self.bytes > other.bytes || self.entries > other.entries
    }

    const fn half(self) -> Self {
        Self { bytes: self.bytes / 2, entries: self.entries / 2 }
    }
}

/// When a tree is measured next.
#[derive(Debug)]
pub struct Pace {
    look_at: Instant,
    /// Not before, whatever the free room says: measuring would take too much of the machine.
    earliest: Instant,
    measure_at: Instant,
    interval: Duration,
    seen: Amount,
    /// The free room when it was measured.
    free: Amount,
    /// Since when no measurement saw all of it.
    unknown_since: Option<Instant>,
    /// Since when what is held open could not be seen.
    hidden_since: Option<Instant>,
}

impl Pace {
    /// The pace of a tree that was just made.
    pub fn new(now: Instant) -> Self {
        let first = now + MEASURE_LEAST;
        Self {
            look_at: first,
            earliest: first,
            measure_at: first,
            interval: MEASURE_LEAST,
            seen: Amount::default(),
            free: Amount::default(),
            unknown_since: None,
            hidden_since: None,
        }
    }

    /// When to look next, at the free room or at all of it.
    pub fn due_at(&self) -> Instant {
        self.look_at.min(self.measure_at)
    }

    /// A measurement that began at `began` failed, or did not see all. Returns whether none has for too long: what nobody can measure is
    /// within no limit.
    pub fn missed(&mut self, began: Instant, now: Instant) -> bool {
        self.soon(began, now);
        now.saturating_duration_since(*self.unknown_since.get_or_insert(began)) >= UNKNOWN_MOST
    }

    /// A measurement that began at `began` saw the tree, and not what is held open of it. Returns whether that is so for too long.
    pub fn hidden(&mut self, began: Instant, now: Instant) -> bool {
        self.soon(began, now);
        now.saturating_duration_since(*self.hidden_since.get_or_insert(began)) >= HIDDEN_MOST
    }

    /// Has it measured again as soon as may be.
    fn soon(&mut self, began: Instant, now: Instant) {
        self.interval = MEASURE_LEAST;
        self.earliest = now + MEASURE_LEAST.max(now.saturating_duration_since(began) * MEASURE_SHARE);
        self.measure_at = self.earliest;
        self.look_at = now + LOOK_EVERY;
    }

    /// Whether to measure now, since it is time, or since so much less room is `free` that it may be near `most`.
    pub fn look(&mut self, now: Instant, free: Amount, most: Amount) -> bool {
        self.look_at = now + LOOK_EVERY;
        let taken = free.up_to(self.free);
        now >= self.measure_at || (now >= self.earliest && taken.exceeds(self.seen.up_to(most).half()))
    }

    /// What a measurement found, that began at `began` and is over `now`, and the free room before it.
    pub fn measured(&mut self, began: Instant, now: Instant, seen: Amount, free: Amount) {
        self.interval = if seen.exceeds(self.seen) { MEASURE_LEAST } else { (self.interval * 2).min(MEASURE_MOST) };
        (self.seen, self.free, self.unknown_since, self.hidden_since) = (seen, free, None, None);
        self.earliest = now + MEASURE_LEAST.max(now.saturating_duration_since(began) * MEASURE_SHARE);
        self.measure_at = self.earliest.max(now + self.interval);
        self.look_at = now + LOOK_EVERY;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOST: Amount = Amount { bytes: 1000, entries: 100 };
    const FREE: Amount = Amount { bytes: 1_000_000, entries: 50_000 };

    fn seen(bytes: u64) -> Amount {
        Amount { bytes, entries: 10 }
    }

    #[test]
    fn what_cannot_be_measured_is_looked_at_often_and_not_believed_for_long() {
        let start = Instant::now();
        let mut pace = Pace::new(start);
        let at = |seconds: u64| start + Duration::from_secs(seconds);
        assert!(!pace.missed(at(0), at(0)));
        assert!(!pace.missed(at(59), at(59)));
        assert!(pace.due_at() <= at(59) + MEASURE_LEAST);
        pace.measured(at(59), at(59), seen(100), FREE);
        assert!(!pace.missed(at(70), at(70)), "one was whole meanwhile");
        assert!(!pace.missed(at(129), at(129)));
        assert!(pace.missed(at(130), at(130)));
    }

    #[test]
    fn what_is_held_out_of_sight_is_not_believed_for_longer_than_a_quiet_tree_is() {
        let start = Instant::now();
        let mut pace = Pace::new(start);
        let at = |seconds: u64| start + Duration::from_secs(seconds);
        assert!(!pace.hidden(at(0), at(0)) && !pace.hidden(at(4), at(4)));
        assert!(pace.due_at() <= at(4) + MEASURE_LEAST);
        pace.measured(at(4), at(4), seen(100), FREE);
        assert!(!pace.hidden(at(6), at(6)), "it was seen meanwhile");
        assert!(pace.hidden(at(11), at(11)));
    }

    #[test]
    fn measuring_in_vain_takes_no_more_of_the_machine() {
        let start = Instant::now();
        let mut pace = Pace::new(start);
        pace.missed(start, start + Duration::from_secs(1));
        assert!(!pace.look(start + Duration::from_secs(20), Amount::default(), MOST));
        assert!(pace.look(start + Duration::from_secs(21), Amount::default(), MOST));
    }

    /// Measures whenever it is due, for so long; how often that was.
    fn measurements(pace: &mut Pace, from: Instant, lasting: Duration, took: Duration, mut tree: impl FnMut() -> Amount) -> u32 {
        let (mut now, mut count) = (from, 0);
        while now < from + lasting {
            now = pace.due_at().max(now);
            if pace.look(now, FREE, MOST) {
                pace.measured(now, now + took, tree(), FREE);
                count += 1;
            }
        }
        count
    }

    #[test]
    fn a_tree_that_grows_is_measured_often_and_a_quiet_one_rarely() {
        let start = Instant::now();
        let mut pace = Pace::new(start);
        let mut bytes = 0;
        let grows = || {
            bytes += 1;
            seen(bytes)
        };
        let minute = Duration::from_secs(60);
        assert!((235..=241).contains(&measurements(&mut pace, start, minute, Duration::ZERO, grows)));
        let quiet = measurements(&mut pace, start + minute, minute, Duration::ZERO, || seen(500));
        assert!((12..=17).contains(&quiet), "{quiet}");
        assert_eq!(pace.interval, MEASURE_MOST);
        pace.measured(start, start, seen(501), FREE);
        assert_eq!(pace.interval, MEASURE_LEAST, "it grows again");
    }

    #[test]
    fn measuring_takes_a_twentieth_of_the_time_at_the_most() {
        let start = Instant::now();
        let mut pace = Pace::new(start);
        let took = Duration::from_millis(500);
        let mut bytes = 0;
        let count = measurements(&mut pace, start, Duration::from_secs(100), took, || {
            bytes += 1;
            seen(bytes)
        });
        assert!(count <= 11, "{count}");
        // Nor does a machine that loses room change that.
        let now = start + Duration::from_secs(200);
        pace.measured(now, now + took, seen(900), FREE);
        assert!(!pace.look(now + took + Duration::from_secs(1), Amount::default(), MOST));
        assert!(pace.look(now + took + Duration::from_secs(10), Amount::default(), MOST));
    }

    #[test]
    fn room_that_is_lost_has_it_measured_and_a_little_has_not() {
        let now = Instant::now();
        let later = now + Duration::from_secs(1);
        let quiet = || {
            let mut pace = Pace::new(now);
            (0..6).for_each(|_| pace.measured(now, now, seen(600), FREE));
            pace
        };
        assert!(!quiet().look(later, FREE, MOST));
        assert!(!quiet().look(later, Amount { bytes: FREE.bytes - 200, ..FREE }, MOST), "half of what was left, and no more");
        assert!(quiet().look(later, Amount { bytes: FREE.bytes - 201, ..FREE }, MOST));
        assert!(quiet().look(later, Amount { entries: FREE.entries - 46, ..FREE }, MOST));
        assert!(!quiet().look(later, Amount { bytes: FREE.bytes + 500, ..FREE }, MOST), "others may make room");
    }
}
