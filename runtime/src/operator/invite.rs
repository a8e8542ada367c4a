//! Letting somebody into a cell. An agent or bot that has a definition is started in it.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::{Error, Operator, Wish, approval::Purpose, plan::Situation, summon::READY_WITHIN, teardown};
use crate::{
    agent::DefinedProgram,
    audit::Action,
    cell::{CellId, Identity, Member, Record, Role, is_expired},
    mail::{Secret, Token},
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
    /// What a person joins with, once.
    pub token: Option<String>,
    /// Until when they can.
    pub expires_at: Option<DateTime<Utc>>,
}

/// How long a warden may take to say that it noted something.
const NOTED_WITHIN: Duration = Duration::from_secs(2);
/// How long a token lets somebody in, unless it is said.
const TOKEN_LASTS: Duration = Duration::from_secs(24 * 60 * 60);

impl Operator {
    /// Lets somebody into a cell. A person gets a token, which lets them in once, until `expires` from now.
    ///
    /// # Errors
    /// No such cell, no right to, a cell that takes no members, a member already, an agent that does not start.
    pub fn invite(&mut self, cell: &str, guest: &Identity, role: Role, expires: Option<Duration>) -> Result<Invited, Error> {
        if expires.is_some() && guest.startable().is_some() {
            return Err(Error::Contradiction("--expires is for people, who join with a token; agents and bots are started"));
        }
        let record = self.swept_cell(cell)?;
        let id = record.proposal.cell_id.clone();
        self.must_lead(&record, "invite to", Action::Invite)?;
        self.must_accept(&record, guest)?;
        let defined = guest.startable().map(|name| crate::agent::load(&self.root, name)).transpose()?.flatten();
        let mut token = None;
        let pid = match (defined, guest) {
            (Some(_), Identity::Agent(_) | Identity::Bot(_)) => Some(self.start_guest(&record, guest, role)?),
            (_, Identity::Human(_)) => {
                token = Some(self.issue_token(&id, guest, role, expires.unwrap_or(TOKEN_LASTS))?);
                // Its door opens. A warden that does not hear looks when the next person is invited.
                if let Ok(mut conversation) = teardown::converse(&self.root, &record, &Ask::Mail, NOTED_WITHIN) {
                    let _ = conversation.answer();
                }
                None
            }
            (None, Identity::Agent(_) | Identity::Bot(_)) => {
                let member = Member { identity: guest.clone(), role, joined_at: Utc::now(), invited_by: self.actor.clone() };
                self.registry.add_member(&id, &member, &self.actor.to_string())?;
                None
            }
        };
        let message = format!("Invited {guest} as {role} to {id}");
        let (token, expires_at) = token.unzip();
        let invited_by = self.actor.clone();
        Ok(Invited { cell_id: id, guest: guest.clone(), role, invited_by, message, pid, token, expires_at })
    }

    /// Makes a person a member, and draws what they join with. Only the digest of its secret is stored.
    fn issue_token(&mut self, id: &CellId, guest: &Identity, role: Role, lasts: Duration) -> Result<(String, DateTime<Utc>), Error> {
        let now = Utc::now();
        let until = chrono::Duration::from_std(lasts).ok().and_then(|lasts| now.checked_add_signed(lasts));
        let until = until.ok_or(Error::Contradiction("that is longer than Lazarus can count"))?;
        let member = Member { identity: guest.clone(), role, joined_at: now, invited_by: self.actor.clone() };
        let secret = Secret::draw().map_err(Error::Randomness)?;
        self.registry.issue_token(id, &member, secret.sha256(), until, &self.actor.to_string())?;
        let token = Token { owner_uid: rustix::process::geteuid().as_raw(), cell: id.clone(), secret };
        Ok((token.to_string(), until))
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
        let purpose = Purpose { action: Action::Invite, cell: Some(&id) };
        let planned = self.plan_for(purpose, &[name], &wish)?;
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
