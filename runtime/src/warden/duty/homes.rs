//! What the warden sees to on disk: homes that outgrow their limit, and a cell whose time is over.

use std::{io, time::Duration};

use super::{ACTOR, Duty, WardenError};
use crate::{
    audit::{Action, Draft, Phase},
    cell::{AgentName, CloseReason, Event, OnExpire, Receipt, Record, State},
    home::Measured,
    policy::LimitName,
    registry::{Registry, TransitionExtras},
    warden::{child::AgentRun, make},
};

/// How often the homes are measured, at the most.
pub(super) const MEASURE_EVERY: Duration = Duration::from_secs(5);
/// Measuring may take up to this part of the time between two measurements.
const MEASURE_SHARE: u32 = 20;

/// Everything below a directory, whatever it is.
const fn entries(measured: &Measured) -> u64 {
    measured.files.saturating_add(measured.dirs)
}

impl Duty {
    /// Ends those agents whose homes have outgrown their limit.
    pub(super) fn measure_homes(&mut self) {
        let now = std::time::Instant::now();
        if now < self.next_measure {
            return;
        }
        let mut outgrown = Vec::new();
        for run in self.life.runs().filter(|run| !run.is_over()) {
            let Some(home) = &run.home else { continue };
            let Some(place) = make::place_of(&self.made.dir, home, &run.agent) else { continue };
            let Ok(Some(dir)) = self.made.dir.home(place, &run.agent) else { continue };
            let Ok(measured) = crate::home::measure(&dir) else { continue };
            if measured.bytes > run.policy.limits.home.bytes() {
                outgrown.push((run.agent.clone(), LimitName::Home, format!("its home holds more than {}", run.policy.limits.home)));
            } else if entries(&measured) > u64::from(run.policy.limits.files.get()) {
                let message = format!("its home holds more than {} files, directories and links", run.policy.limits.files);
                outgrown.push((run.agent.clone(), LimitName::Files, message));
            }
        }
        outgrown.extend(self.outgrown_shared());
        for (agent, limit, message) in outgrown {
            self.life.end_for_limit(&agent, limit.as_str(), message);
        }
        self.next_measure = std::time::Instant::now() + MEASURE_EVERY.max(now.elapsed() * MEASURE_SHARE);
    }

    /// Every agent, where what they share has outgrown the largest of their limits (nobody knows which of them wrote it), or is gone.
    fn outgrown_shared(&self) -> Vec<(AgentName, LimitName, String)> {
        let agents: Vec<&AgentRun> = self.life.runs().filter(|run| !run.is_over() && run.home.is_some()).collect();
        let Some(most) = agents.iter().map(|run| run.policy.limits.home).max() else { return Vec::new() };
        let Some(files) = agents.iter().map(|run| run.policy.limits.files).max() else { return Vec::new() };
        let (limit, message) = match self.made.dir.shared().map(|dir| crate::home::measure(&dir)) {
            Ok(Ok(measured)) if measured.bytes > most.bytes() => (LimitName::Home, format!("/shared holds more than {most}")),
            Ok(Ok(measured)) if entries(&measured) > u64::from(files.get()) => {
                (LimitName::Files, format!("/shared holds more than {files} files, directories and links"))
            }
            // Somebody removed the whole root: nobody can find this cell any more, so it ends by itself.
            Err(error) if error.kind() == io::ErrorKind::NotFound => (LimitName::Home, "the cell's directory was removed".to_owned()),
            Ok(_) | Err(_) => return Vec::new(),
        };
        agents.into_iter().map(|run| (run.agent.clone(), limit, message.clone())).collect()
    }

    /// Destroys a cell whose time is over, where its policy says so. Nothing of it lives any more, and its lease is held.
    ///
    /// What cannot be removed is left for a sweep, which tries again and says why.
    pub(super) fn destroy_if_expired(&mut self, registry: &mut Registry) -> Result<(), WardenError> {
        let record = registry.cell(&self.spec.cell)?;
        let expired = |record: &Record| matches!(record.state, State::Closed { reason: CloseReason::Expired });
        let Some(record) = record.filter(expired).filter(|_| self.spec.on_expire == OnExpire::Destroy) else { return Ok(()) };
        let draft = |phase, detail: &str| Draft::new(ACTOR, Action::Destroy, phase, Some(&self.spec.cell), detail);
        registry.audit(draft(Phase::Intent, "its time to live is over"))?;
        let removed = self.made.root.remove_cell(&self.spec.cell);
        if let Some(first) = removed.remained.first() {
            registry.audit(draft(Phase::Failed, first))?;
            return Ok(());
        }
        let receipt = Receipt {
            processes_ended: self.life.killed,
            processes_alive: 0,
            files_removed: removed.files,
            directories_removed: removed.dirs,
            bytes_removed: removed.bytes,
            remained: Vec::new(),
        };
        let event = Event::Destroy { by: record.proposal.owner, receipt };
        match registry.transition(&self.spec.cell, event, ACTOR, TransitionExtras::default()) {
            Err(error) if !error.is_overtaken() => Err(error.into()),
            Ok(_) | Err(_) => Ok(()),
        }
    }
}
