//! How much a member may write, and so leave in the registry for ever: pure, told the time.
//!
//! Two allowances: one keeps a member from taking the warden's time, over seconds; the other keeps the audit from growing without end, over hours. Each
//! message is two rows that are never removed, whoever it is for, and an agent can write to itself as long as it lives.

use std::time::Instant;

use crate::backend::bucket::Bucket;

/// Messages that a member may send at once, and per second after that.
const SENDS_BURST: u64 = 200;
const SENDS_PER_SECOND: u64 = 100;
/// What a member may write of its own accord, over time: messages, files that it declares, invitations. At the rate of the other it lasts for a minute.
const LASTING_BURST: u64 = 6000;
const LASTING_PER_SECOND: u64 = 5;

/// What one member has left of both.
#[derive(Debug)]
pub struct Traffic {
    sends: Bucket,
    lasting: Bucket,
}

impl Traffic {
    /// All of it.
    pub fn new(now: Instant) -> Self {
        Self { sends: Bucket::new(SENDS_BURST, SENDS_PER_SECOND, now), lasting: Bucket::new(LASTING_BURST, LASTING_PER_SECOND, now) }
    }

    /// Takes a message. One that answers a person costs nothing lasting: what they wrote bounds how many there are.
    ///
    /// # Errors
    /// Why not, as a phrase.
    pub fn send(&mut self, now: Instant, answers_a_person: bool) -> Result<(), String> {
        if !self.sends.take(now) {
            return Err("too many messages in too short a time; wait a second".to_owned());
        }
        if answers_a_person { Ok(()) } else { self.write(now) }
    }

    /// Takes something else that stays in the audit.
    ///
    /// # Errors
    /// Why not, as a phrase.
    pub fn write(&mut self, now: Instant) -> Result<(), String> {
        if self.lasting.take(now) {
            return Ok(());
        }
        Err(format!("a member may write {LASTING_BURST} times at once, and {LASTING_PER_SECOND} times a second after that; wait"))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// How many of those that are tried each hundredth of a second are sent.
    fn sent(traffic: &mut Traffic, from: Instant, seconds: u64, answers_a_person: bool) -> u64 {
        (0..seconds * 100).map(|n| u64::from(traffic.send(from + Duration::from_millis(10 * n), answers_a_person).is_ok())).sum()
    }

    #[test]
    fn who_writes_to_itself_for_an_hour_leaves_a_bounded_number_of_rows() {
        let start = Instant::now();
        let mut traffic = Traffic::new(start);
        let minute = sent(&mut traffic, start, 60, false);
        assert!(minute >= 5900, "a minute of it is no trouble: {minute}");
        let hour = minute + sent(&mut traffic, start + Duration::from_secs(60), 3540, false);
        assert!((LASTING_BURST + 3500 * LASTING_PER_SECOND..=LASTING_BURST + 3600 * LASTING_PER_SECOND).contains(&hour), "{hour}");
        let refused = (0..99).find_map(|_| traffic.write(start + Duration::from_secs(3600)).err());
        assert!(refused.is_some_and(|why| why.contains("6000 times at once, and 5 times a second")));
        // Whoever answers people goes on.
        assert!(sent(&mut traffic, start + Duration::from_secs(3600), 60, true) >= 5900);
    }
}
