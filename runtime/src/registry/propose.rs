//! A cell is written down before anything of it exists.

use rusqlite::OptionalExtension;

use super::{Registry, RegistryError, columns, row, write::Verdict};
use crate::{
    audit::{Action, Phase},
    cell::{Proposal, Record, State},
};

impl Registry {
    /// Writes down a cell that is about to be made: its row, its members and the intent, in one commit. Only then may
    /// anything of it exist. Returns what was stored.
    ///
    /// # Errors
    /// [`RegistryError::IdTaken`]: draw another id. [`RegistryError::AlreadyMember`]: the proposal names somebody twice.
    pub fn propose(&mut self, proposal: &Proposal, actor: &str) -> Result<Record, RegistryError> {
        let record = first_record(proposal)?;
        let proposal = &record.proposal;
        let (action, id) = (action_of(proposal), &proposal.cell_id);
        self.write(actor, |write| {
            let cannot = RegistryError::while_doing("look for a cell's id");
            let mut select = write.tx.prepare_cached("SELECT 1 FROM cells WHERE cell_id = ?1").map_err(cannot)?;
            let taken = select.query_row([id.as_str()], |_| Ok(())).optional().map_err(cannot)?.is_some();
            if taken {
                return write.refuse(action, id, RegistryError::IdTaken(id.clone()));
            }
            if let Some(identity) = named_twice(proposal) {
                return write.refuse(action, id, RegistryError::AlreadyMember { cell: id.clone(), identity: identity.clone() });
            }
            row::insert_cell(&write.tx, &record)?;
            write.audit(action, Phase::Intent, id, &summary(proposal))?;
            Ok(Verdict::Granted(()))
        })?;
        Ok(record)
    }
}

/// Returns the record that a proposal becomes.
fn first_record(proposal: &Proposal) -> Result<Record, RegistryError> {
    let mut proposal = proposal.clone();
    proposal.created_at = columns::kept(proposal.created_at);
    // To the microsecond, as it will be read.
    proposal.ttl = std::time::Duration::from_micros(columns::micros("a time to live", proposal.ttl)?.unsigned_abs());
    for member in &mut proposal.members {
        member.joined_at = columns::kept(member.joined_at);
    }
    let too_long = || RegistryError::OutOfRange("a time to live");
    let ttl = chrono::TimeDelta::from_std(proposal.ttl).map_err(|_| too_long())?;
    let expires_at = proposal.created_at.checked_add_signed(ttl).ok_or_else(too_long)?;
    let state_since = proposal.created_at;
    Ok(Record { proposal, state: State::Proposed, state_since, expires_at, generation: 1, version: 1, warden: None })
}

fn named_twice(proposal: &Proposal) -> Option<&crate::cell::Identity> {
    let members = &proposal.members;
    let twice = |(i, member): &(usize, &crate::cell::Member)| members[..*i].iter().any(|other| other.identity == member.identity);
    members.iter().enumerate().find(twice).map(|(_, member)| &member.identity)
}

/// Returns the action that led to a proposal, which the proposal itself tells.
pub(super) fn action_of(proposal: &Proposal) -> Action {
    let agents = proposal.members.iter().filter(|member| member.identity.startable().is_some()).count();
    match (proposal.throwaway, agents) {
        (true, _) => Action::Run,
        (false, 0 | 1) => Action::Summon,
        (false, _) => Action::Team,
    }
}

fn summary(proposal: &Proposal) -> String {
    let members: Vec<String> = proposal.members.iter().map(|member| format!("{} as {}", member.identity, member.role)).collect();
    let mut line = format!(
        "project {}, owner {}, backend {}, ttl {} s, then {}, members {}",
        proposal.project,
        proposal.owner,
        proposal.backend,
        proposal.ttl.as_secs(),
        proposal.on_expire.as_str(),
        members.join(" and "),
    );
    if proposal.accept_degraded {
        line.push_str("; the operator accepts a degraded cell");
    }
    line
}
