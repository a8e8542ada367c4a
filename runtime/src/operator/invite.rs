//! Letting somebody into a cell. An agent or bot that has a definition is started in it.

use chrono::Utc;
use serde::Serialize;

use super::{Error, Operator, Wish, plan::Situation, summon::READY_WITHIN, teardown};
use crate::{
    agent::DefinedProgram,
    audit::Action,
    cell::{CellId, Identity, Member, Record, Role, is_expired},
    warden::{Answer, Ask},
};

/// A new member.
#[derive(Debug, Clone, Serialize)]
pub struct Invited {
    /// The cell.
    pub cell_id: CellId,
    /// Who.
    pub guest: Identity,
    /// As what.
    pub role: Role,
    /// Who let them in.
    pub invited_by: Identity,
    /// `Invited {guest} as {role} to {cell}`.
    pub message: String,
    /// The process that was started for it, or its host.
    pub pid: Option<u32>,
}

impl Operator {
    /// Lets somebody into a cell.
    ///
    /// # Errors
    /// No such cell, no right to, a cell that takes no members, a member already, an agent that does not start.
    pub fn invite(&mut self, cell: &str, guest: &Identity, role: Role) -> Result<Invited, Error> {
        let record = self.swept_cell(cell)?;
        let id = record.proposal.cell_id.clone();
        self.must_lead(&record, "invite to", Action::Invite)?;
        self.must_accept(&record, guest)?;
        let defined = guest.startable().map(|name| crate::agent::load(&self.root, name)).transpose()?.flatten();
        let pid = match (defined, guest.startable()) {
            (Some(_), Some(_)) => Some(self.start_guest(&record, guest, role)?),
            (Some(_) | None, Some(_) | None) => {
                let member = Member { identity: guest.clone(), role, joined_at: Utc::now(), invited_by: self.actor.clone() };
                self.registry.add_member(&id, &member, &self.actor.to_string())?;
                None
            }
        };
        let message = format!("Invited {guest} as {role} to {id}");
        Ok(Invited { cell_id: id, guest: guest.clone(), role, invited_by: self.actor.clone(), message, pid })
    }

    /// Refuses early what the registry would refuse late: before a process is started for it.
    fn must_accept(&mut self, record: &Record, guest: &Identity) -> Result<(), Error> {
        let id = &record.proposal.cell_id;
        let expired = is_expired(Some(record.expires_at), Utc::now());
        if expired || !record.state.accepts_invites() {
            let state = if record.state.accepts_invites() { "expired" } else { record.state.name() }.to_owned();
            self.note_refused(Action::Invite, id, &format!("{guest}: not accepting invites (state={state})"))?;
            return Err(Error::NotAcceptingInvites { cell: id.clone(), state });
        }
        if record.proposal.members.iter().any(|member| member.identity == *guest) {
            self.note_refused(Action::Invite, id, &format!("{guest}: a member already"))?;
            return Err(Error::AlreadyMember { guest: guest.clone(), cell: id.clone() });
        }
        Ok(())
    }

    fn start_guest(&mut self, record: &Record, guest: &Identity, role: Role) -> Result<u32, Error> {
        let id = record.proposal.cell_id.clone();
        let name = guest.startable().cloned().ok_or(Error::Contradiction("only agents and bots are started"))?;
        // The keeper runs on whatever its cell does; every other agent knows its own backend.
        let keeper = crate::agent::load(&self.root, &name)?.is_some_and(|installed| installed.definition.program == DefinedProgram::Keeper);
        let backend = keeper.then_some(record.proposal.backend);
        let wish = Wish { backend, accept_degraded: record.proposal.accept_degraded, ..Wish::default() };
        let planned = self.plan(&[name], &wish)?;
        if planned.backend != record.proposal.backend {
            return Err(Error::OtherBackend { guest: guest.clone(), needs: planned.backend, cell: id, runs: record.proposal.backend });
        }
        self.note_intent(Action::Invite, &id, &format!("{guest} as {role}"))?;
        let situation = Situation::of_guest(&self.root, &record.proposal, guest.clone(), role);
        let plan = planned.into_guest(&situation)?;
        let ask = Ask::Start { by: self.actor.clone(), plan: Box::new(plan) };
        let mut conversation = teardown::converse(&self.root, record, &ask, teardown::answer_within(READY_WITHIN))?;
        loop {
            match conversation.answer().map_err(|source| Error::WardenSilent { cell: id.clone(), source })? {
                Some(Answer::Started { process }) => return Ok(process.pid),
                Some(Answer::Closing | Answer::Ended { .. } | Answer::Noted | Answer::Handled { .. } | Answer::Parked { .. }) => {}
                Some(Answer::Refused { message }) => {
                    self.note_failed(Action::Invite, &id, &message)?;
                    return Err(Error::WardenRefused { cell: id, message });
                }
                None => {
                    let message = "its warden ended before the agent was ready".to_owned();
                    return Err(Error::WardenRefused { cell: id, message });
                }
            }
        }
    }
}
