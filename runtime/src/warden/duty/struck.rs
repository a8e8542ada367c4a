//! Limits that agents ran into, on record.

use std::time::Instant;

use super::{ACTOR, Duty};
use crate::{
    audit::{Action, Draft, Phase},
    cell::AgentName,
    policy::LimitName,
};

impl Duty {
    /// Writes down that an agent ran into a limit, unless that was written within the last minute: then it is counted for the next row.
    pub(super) fn struck(&mut self, agent: &AgentName, limit: LimitName, count: u64) {
        if let Some(count) = self.strikes.hit(agent, limit, count, Instant::now()) {
            self.note_strikes(agent, limit, count);
        }
    }

    /// Writes down what was only counted: what it is time for, or, at the end, all.
    pub(super) fn note_counted_strikes(&mut self, all: bool) {
        for (agent, limit, count) in self.strikes.due(Instant::now(), all) {
            self.note_strikes(&agent, limit, count);
        }
    }

    fn note_strikes(&self, agent: &AgentName, limit: LimitName, count: u64) {
        let often = if count == 1 { "once".to_owned() } else { format!("{count} times") };
        let detail = format!("{agent}: limit {limit}, {often} since the last row of it (there is at most one a minute)");
        let draft = Draft::new(ACTOR, Action::Limit, Phase::Done, Some(&self.spec.cell), &detail);
        // The limit held, whether or not it can be written down.
        let _ = self.registry().and_then(|mut registry| registry.audit(draft));
    }
}
