//! Agents that have used up their CPU time.

use std::time::Instant;

use super::Life;
use crate::{policy::format_duration, warden::meter::Reading};

impl Life {
    /// When [`Life::meter`] must be called at the latest; `None` where nobody's CPU time is counted.
    pub fn metered_at(&self) -> Option<Instant> {
        self.children
            .iter()
            .filter(|child| child.is_running() && !child.gone)
            .filter_map(|child| child.meter.as_ref())
            .map(|meter| meter.due_at())
            .min()
    }

    /// Looks at the CPU time of those agents that could have used it up, and ends those that have; and at what else the kernel counts.
    pub fn meter(&mut self, now: Instant) {
        self.look_at_counters(now);
        let mut spent = Vec::new();
        for child in self.children.iter_mut().filter(|child| child.is_running() && !child.gone) {
            let Some(meter) = child.meter.as_mut().filter(|meter| now >= meter.due_at()) else { continue };
            let Some(run) = child.runs.first() else { continue };
            let most = format_duration(run.policy.limits.cpu);
            match meter.look(now) {
                Reading::Within => {}
                Reading::Spent => spent.push((run.agent.clone(), format!("its processes together used their {most} of CPU time"))),
                // Not known is not within.
                Reading::Lost(error) => spent.push((run.agent.clone(), format!("its CPU time cannot be read any more: {error}"))),
            }
        }
        for (agent, message) in spent {
            self.end_for_limit(&agent, "cpu", message);
        }
    }
}
