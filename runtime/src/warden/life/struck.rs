//! Limits that agents ran into: what the post office and the audit must hear of it.

use super::{Life, News, Step};
use crate::{
    backend::protocol::{End, Outcome},
    cell::AgentName,
    policy::LimitName,
    warden::logs::Stream,
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

    /// A run, or an event, ended at a limit.
    pub(super) fn struck_by(&mut self, agent: &AgentName, end: &End) {
        if let End::Limit { limit, .. } = end
            && let Some(limit) = known(limit)
        {
            self.news.push(News::Struck(agent.clone(), limit, 1));
        }
    }
}
