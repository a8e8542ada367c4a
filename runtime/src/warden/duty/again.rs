//! Starting a host again whose agents live by events.

use chrono::Utc;

use super::{ACTOR, Duty, REASON_MOST_BYTES, WardenError};
use crate::{
    cell::{AgentName, Run, RunEnd, text::one_line},
    warden::{
        child::Child,
        life::{Step, describe, is_well},
        make,
        spec::AgentPlan,
    },
};

impl Duty {
    /// Starts the agents of a host that died in another, and writes that down: their old runs are over, new ones begin.
    pub(super) fn start_again(&mut self, index: usize) -> Result<Step, WardenError> {
        let agents = self.life.paused(index);
        let plans: Vec<AgentPlan> = agents.iter().filter_map(|agent| self.plan_of(agent)).cloned().map(as_before).collect();
        let child = match make::start(&self.made, &plans, true).map(|mut children| children.pop()) {
            Ok(Some(child)) => child,
            // Whatever is in the way may be gone at the next try.
            Ok(None) | Err(_) => return Ok(self.life.not_revived(index)),
        };
        let (new, end) = self.life.revived(index, child, self.spec.ready_within);
        for agent in &agents {
            self.post.move_over(agent, new);
        }
        let how = one_line(&describe(&end), REASON_MOST_BYTES);
        let at = Utc::now();
        let ends: Vec<(AgentName, RunEnd)> =
            agents.iter().map(|agent| (agent.clone(), RunEnd { at, well: is_well(&end), how: how.clone() })).collect();
        let child: &Child = &self.life.children[new];
        let runs: Vec<Run> = child.runs.iter().map(|run| self.run_of(child, run, at)).collect();
        let noted = self.registry().and_then(|mut registry| registry.replace_runs(&self.spec.cell, &ends, &runs, ACTOR));
        self.watch_child(new)?;
        if noted.is_err() {
            // Nothing may live that the registry does not know: it is ended, and tried again after a longer pause.
            self.life.children[new].kill();
        }
        Ok(Step::Wait)
    }
}

fn as_before(mut plan: AgentPlan) -> AgentPlan {
    plan.launch.again = true;
    plan
}
