//! Agents that are invited into a living cell: started beside the others, members once they are ready.

use chrono::Utc;
use tokio::sync::mpsc;

use super::{ACTOR, Duty, REASON_MOST_BYTES, promises::note_accepted};
use crate::{
    cell::{Identity, Member, text::one_line},
    warden::{
        kept::KeptPlan,
        make,
        spec::{AgentPlan, Answer},
    },
};

/// An agent that was invited, and who waits for it.
pub(super) struct Invitation {
    plan: AgentPlan,
    by: Identity,
    asker: mpsc::UnboundedSender<Answer>,
}

impl Duty {
    /// Starts an invited agent; the cell goes on whatever comes of it.
    pub(super) fn start(&mut self, plan: AgentPlan, by: Identity, asker: mpsc::UnboundedSender<Answer>) {
        let invitation = Invitation { plan, by, asker };
        let home = make::furnish(&self.made.dir, &invitation.plan);
        let started = home.and_then(|()| make::start(&self.made, std::slice::from_ref(&invitation.plan), false));
        match started.map(|mut children| children.pop()) {
            Ok(Some(child)) => {
                let index = self.life.joining(child, self.spec.ready_within);
                self.take_in(&invitation.plan, index);
                let served = self.serve_agent(&invitation.plan, index);
                self.invitations.insert(index, invitation);
                if let Err(error) = served.and_then(|()| self.watch_child(index)) {
                    self.not_joined(index, &error.to_string());
                }
            }
            Ok(None) => self.refuse(invitation, "no process was started"),
            Err(error) => self.refuse(invitation, &format!("could not {error}")),
        }
    }

    pub(super) fn not_joined(&mut self, index: usize, why: &str) {
        self.life.children[index].kill();
        if let Some(invitation) = self.invitations.remove(&index) {
            let agent = invitation.plan.launch.agent.clone();
            self.refuse(invitation, &format!("agent {agent} did not start: {why}"));
        }
    }

    fn refuse(&self, invitation: Invitation, why: &str) {
        let launch = &invitation.plan.launch;
        if let Some(place) = launch.home.as_ref().and_then(|home| make::place_of(&self.made.dir, home, &launch.agent)) {
            let _ = self.made.dir.remove_home(place, &launch.agent);
        }
        let _ = invitation.asker.send(Answer::Refused { message: one_line(why, REASON_MOST_BYTES) });
    }

    /// Makes a member of an invited agent that is ready. A refusal ends it again.
    pub(super) fn joined(&mut self, index: usize) {
        let Some(invitation) = self.invitations.remove(&index) else { return };
        self.life.children[index].find_agent_process();
        let child = &self.life.children[index];
        let (process, run) = (child.process().clone(), self.run_of(child, &child.runs[0], Utc::now()));
        let member = Member {
            identity: invitation.plan.identity.clone(),
            role: invitation.plan.launch.role,
            joined_at: Utc::now(),
            invited_by: invitation.by.clone(),
        };
        let by = invitation.by.to_string();
        // Before it is a member: whoever is one can be brought back.
        let kept = KeptPlan::of(&self.spec.cell, self.spec.agents.iter().chain(&self.guests).chain([&invitation.plan]));
        if let Err(error) = kept.write(&self.made.dir) {
            self.life.children[index].kill();
            return self.refuse(invitation, &format!("could not keep what it runs for its next life: {error}"));
        }
        let recorded = self.registry().and_then(|mut registry| {
            note_accepted(&mut registry, &self.spec.cell, &by, self.life.children[index].runs.iter())?;
            let record = registry.add_member(&self.spec.cell, &member, &by)?;
            registry.add_run(&self.spec.cell, &run, ACTOR)?;
            Ok(record)
        });
        match recorded {
            Ok(record) => {
                self.write_record(&record);
                self.life.children[index].joined = true;
                self.post.member_came();
                self.guests.push(invitation.plan);
                let _ = invitation.asker.send(Answer::Started { process });
            }
            Err(error) => {
                self.life.children[index].kill();
                self.refuse(invitation, &error.to_string());
            }
        }
    }
}
