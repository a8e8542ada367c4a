//! Limits that agents ran into, for the audit: no more than one row a minute for each agent and limit, so that no agent can flood it.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use crate::{cell::AgentName, policy::LimitName};

/// Within this after a row, hits are only counted.
const ROW_EVERY: Duration = Duration::from_secs(60);

/// Hits of one agent at one limit.
#[derive(Debug)]
struct Tally {
    written: Instant,
    /// Hits since the row.
    since: u64,
}

/// What was hit, by agent and limit: both are closed lists, so that there are few.
#[derive(Debug, Default)]
pub struct Strikes {
    tallies: BTreeMap<(AgentName, LimitName), Tally>,
}

impl Strikes {
    /// Counts hits. Returns how many are to be told of in a row, if it is time for one: these, and those before them without one.
    pub fn hit(&mut self, agent: &AgentName, limit: LimitName, count: u64, now: Instant) -> Option<u64> {
        let key = (agent.clone(), limit);
        let Some(tally) = self.tallies.get_mut(&key) else {
            self.tallies.insert(key, Tally { written: now, since: 0 });
            return Some(count);
        };
        tally.since = tally.since.saturating_add(count);
        (now.duration_since(tally.written) >= ROW_EVERY).then(|| {
            tally.written = now;
            std::mem::take(&mut tally.since)
        })
    }

    /// Those that wait for their row: those for which it is time, or, at the end, all.
    pub fn due(&mut self, now: Instant, all: bool) -> Vec<(AgentName, LimitName, u64)> {
        let mut due = Vec::new();
        for ((agent, limit), tally) in &mut self.tallies {
            if tally.since > 0 && (all || now.duration_since(tally.written) >= ROW_EVERY) {
                tally.written = now;
                due.push((agent.clone(), *limit, std::mem::take(&mut tally.since)));
            }
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_a_minute_has_all_hits_since_the_last() {
        let (one, other): (AgentName, AgentName) = ("one".parse().expect("a name"), "other".parse().expect("a name"));
        let mut strikes = Strikes::default();
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(strikes.hit(&one, LimitName::Home, 3, start), Some(3));
        for second in 0..60 {
            assert_eq!(strikes.hit(&one, LimitName::Home, u64::MAX / 100, after(second)), None, "{second}");
        }
        assert_eq!(strikes.hit(&other, LimitName::Home, 1, after(1)), Some(1), "another agent's");
        assert_eq!(strikes.hit(&one, LimitName::Files, 1, after(1)), Some(1), "another limit");
        assert_eq!(strikes.hit(&one, LimitName::Home, 1, after(60)), Some(u64::MAX / 100 * 60 + 1));
        assert_eq!(strikes.hit(&one, LimitName::Home, 1, after(61)), None);
        assert_eq!(strikes.hit(&one, LimitName::Home, 1, after(121)), Some(2));
        // What nothing follows has its row as well.
        assert_eq!(strikes.hit(&one, LimitName::Home, 7, after(122)), None);
        assert_eq!(strikes.due(after(150), false), []);
        assert_eq!(strikes.due(after(181), false), [(one.clone(), LimitName::Home, 7)]);
        assert_eq!(strikes.hit(&one, LimitName::Home, 4, after(182)), None);
        assert_eq!(strikes.due(after(183), true), [(one, LimitName::Home, 4)]);
    }
}
