//! Limits that agents ran into: what the post office and the audit must hear of it.

use std::time::Instant;

use super::{Life, News, Step};
use crate::{
    backend::protocol::{End, Outcome},
    cell::AgentName,
    policy::LimitName,
    warden::{child::Child, logs::Stream},
};

/// A limit that a child named, if it is one.
fn known(limit: &str) -> Option<LimitName> {
    LimitName::ALL.iter().copied().find(|known| known.as_str() == limit)
}

impl Life {
    /// Writes what an agent said into its log.
    pub(super) fn logged(&mut self, index: usize, guest: usize, stream: Stream, bytes: &[u8]) -> Step {
        let Some(run) = self.children[index].runs.get_mut(guest) else { return Step::Wait };
        if let Some(log) = &mut run.log {
            log.push(stream, bytes);
            if log.take_flooded() {
                self.news.push(News::Struck(run.agent.clone(), LimitName::Log, 1));
            }
        }
        Step::Wait
    }

    /// An event was lost at a limit.
    pub(super) fn lost(&mut self, agent: &AgentName, outcome: &Outcome) {
        if let Outcome::Lost { end } = outcome {
            self.struck_by(agent, end);
        }
    }

    /// A run, or an event, ended, perhaps at a limit.
    pub(super) fn struck_by(&mut self, agent: &AgentName, end: &End) {
        let is_of = |child: &&mut Child| child.runs.iter().any(|run| run.agent == *agent);
        let child = self.children.iter_mut().find(is_of);
        let counters = child.and_then(|child| child.counters.as_mut());
        let counts_memory = counters.as_ref().is_some_and(|counters| counters.has_memory());
        if let Some(counters) = counters {
            let hits = counters.look(Instant::now());
            self.news.extend(hits.into_iter().map(|(limit, count)| News::Struck(agent.clone(), limit, count)));
        }
        if let End::Limit { limit, .. } = end
            && let Some(limit) = known(limit)
            // The kernel has counted it.
            && !(limit == LimitName::Memory && counts_memory)
        {
            self.news.push(News::Struck(agent.clone(), limit, 1));
        }
    }

    /// Looks at what the kernel counts of those agents that live, where it is time.
    pub(super) fn look_at_counters(&mut self, now: Instant) {
        for child in self.children.iter_mut().filter(|child| child.is_running() && !child.gone) {
            let Some(agent) = child.runs.first().map(|run| run.agent.clone()) else { continue };
            let Some(counters) = child.counters.as_mut().filter(|counters| counters.is_due(now)) else { continue };
            self.news.extend(counters.look(now).into_iter().map(|(limit, count)| News::Struck(agent.clone(), limit, count)));
        }
    }
}
