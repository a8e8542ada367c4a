//! What the warden itself holds of a policy, on record as it takes it on; and what the operator accepted not to be held.

use chrono::SecondsFormat;

use super::Duty;
use crate::{
    audit::{Action, DETAIL_MOST_BYTES, Draft, Phase},
    cell::{CellId, OnExpire},
    policy::{Enforcer, LimitName, Report, Subject, format_duration},
    registry::{Registry, RegistryError},
    warden::{child::AgentRun, spec::AgentPlan},
};

impl Duty {
    /// Records what the warden holds for an agent from the moment that it takes it in.
    pub(super) fn promise(&mut self, plan: &AgentPlan, child: usize) {
        let time = self.time_to_live();
        let timeout = self.spec.timeout;
        let Some(run) = self.life.children.get_mut(child).and_then(|child| child.run(&plan.launch.agent)) else { return };
        let own = run.held.own();
        let messages = plan.launch.policy.limits.messages;
        let promise = format!("at most {messages} messages wait for it; whoever writes another is refused");
        own.full(Enforcer::Warden, Subject::limit(LimitName::Messages, messages), promise);
        own.append(time);
        if let Some(timeout) = timeout {
            let timeout = format_duration(timeout);
            own.full(Enforcer::Warden, Subject::limit(LimitName::Timeout, &timeout), format!("runs for at most {timeout}"));
        }
    }

    fn time_to_live(&self) -> Report {
        let mut report = Report::new();
        let at = self.spec.expires_at.to_rfc3339_opts(SecondsFormat::Secs, true);
        let subject = Subject::limit(LimitName::Ttl, &at);
        match self.spec.on_expire {
            OnExpire::Close => report.full(Enforcer::Warden, subject, format!("its cell is closed at {at}, unless it is extended")),
            OnExpire::Destroy => report.full(Enforcer::Warden, subject, format!("its cell is destroyed at {at}, unless it is extended")),
            OnExpire::Keep => {
                let because = "the cell was summoned to be kept: it is only shown as expired";
                report.partial(Enforcer::Warden, subject, format!("its cell ends at {at}"), because)
            }
        };
        report
    }
}

/// Writes down what is not held of some agents' policies, as their operator accepted: each thing, whole, in as many rows as it takes.
///
/// # Errors
/// The registry cannot be written to: the agents must then not live.
pub(super) fn note_accepted<'a>(
    registry: &mut Registry,
    cell: &CellId,
    by: &str,
    runs: impl Iterator<Item = &'a AgentRun>,
) -> Result<(), RegistryError> {
    for run in runs {
        for detail in details(&format!("{} lives without: ", run.agent), run.held.report().not_held()) {
            registry.audit(Draft::new(by, Action::Accept, Phase::Done, Some(cell), &detail))?;
        }
    }
    Ok(())
}

/// Puts phrases into as few lines as have room for them; a line that is longer than a row of the audit can be is one phrase alone.
fn details(head: &str, phrases: impl Iterator<Item = String>) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for phrase in phrases {
        match lines.last_mut() {
            Some(line) if line.len() + 2 + phrase.len() <= DETAIL_MOST_BYTES => {
                line.push_str("; ");
                line.push_str(&phrase);
            }
            Some(_) | None => lines.push(format!("{head}{phrase}")),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_was_accepted_is_cut_off() {
        let phrases: Vec<String> = (0..200).map(|number| format!("promise {number} (of some length, and with a reason for it)")).collect();
        let lines = details("scribe lives without: ", phrases.iter().cloned());
        assert!(lines.len() > 1 && lines.iter().all(|line| line.len() <= DETAIL_MOST_BYTES && line.starts_with("scribe lives")));
        assert!(phrases.iter().all(|phrase| lines.iter().any(|line| line.contains(phrase))));
        assert!(details("scribe: ", std::iter::empty()).is_empty());
    }
}
