//! How often something may happen: pure, told the time.

use std::time::{Duration, Instant};

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
    pub fn new(most: u64, per_second: u64, now: Instant) -> Self {
        Self { tokens: most, most, per_second: per_second.max(1), filled: now }
    }

    /// How many may pass now.
    pub const fn left(&self) -> u64 {
        self.tokens
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

    /// Takes one, if there is one by now.
    pub fn take(&mut self, now: Instant) -> bool {
        self.refill(now);
        self.spend(1)
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
    fn what_passes_is_the_burst_and_then_the_rate_however_often_it_is_asked() {
        for step in [Duration::from_micros(1), Duration::from_micros(1700), Duration::from_millis(300)] {
            let start = Instant::now();
            let mut bucket = Bucket::new(1000, 300_000, start);
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
}
