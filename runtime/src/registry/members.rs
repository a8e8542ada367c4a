//! Members: who joins, who leaves.

use rusqlite::params;

use super::{
    Registry, RegistryError, columns, mailbox, row, tokens,
    write::{Verdict, Write},
};
use crate::{
    audit::{Action, Phase},
    cell::{CellId, Identity, Member, Record, Refusal, State, is_expired},
};

impl Registry {
    /// Lets somebody into a cell. Whether it takes members is decided in the same transaction. Returns the cell as it is now.
    ///
    /// # Errors
    /// No such cell, [`RegistryError::NotAcceptingInvites`], or [`RegistryError::AlreadyMember`]; each is audited.
    pub fn add_member(&mut self, cell: &CellId, member: &Member, actor: &str) -> Result<Record, RegistryError> {
        self.write_cell(cell, Action::Invite, actor, |write, record| add(write, record, member, ""))
    }

    /// Ends somebody's membership, with their tokens and sessions. The row stays. What waits for them is parked, unless they own the cell.
    /// Returns the cell as it is now.
    ///
    /// # Errors
    /// No such cell, a destroyed one, or [`RegistryError::NotMember`]; each is audited.
    pub fn revoke_member(&mut self, cell: &CellId, identity: &Identity, actor: &str) -> Result<Record, RegistryError> {
        self.write_cell(cell, Action::Revoke, actor, |write, mut record| {
            let refuse = |error| write.refuse(Action::Revoke, cell, error);
            if matches!(record.state, State::Destroyed { .. }) {
                let refusal = Refusal { state: record.state.name(), asks_to: "lose a member" };
                return refuse(RegistryError::Refused { cell: cell.clone(), refusal });
            }
            let Some(at) = record.proposal.members.iter().position(|present| present.identity == *identity) else {
                return refuse(RegistryError::NotMember { cell: cell.clone(), identity: identity.clone() });
            };
            let sql = "UPDATE members SET revoked_at = ?3, revoked_by = ?4 WHERE cell_id = ?1 AND identity = ?2 AND revoked_at IS NULL";
            let values = params![cell.as_str(), columns::identity(identity)?, write.at.timestamp_micros(), actor];
            let cannot = RegistryError::while_doing("revoke a member");
            write.tx.prepare_cached(sql).and_then(|mut update| update.execute(values)).map_err(cannot)?;
            tokens::end(write, cell, identity)?;
            let parked = if record.proposal.owner == *identity { 0 } else { mailbox::park_for(write, cell, identity)? };
            let more = if parked == 0 { String::new() } else { format!("; {parked} messages for them are parked") };
            write.audit(Action::Revoke, Phase::Done, cell, &format!("{identity}{more}"))?;
            record.proposal.members.remove(at);
            Ok(Verdict::Granted(record))
        })
    }
}

/// Lets somebody into a cell, if it takes members. `how` is added to what the audit says.
pub(super) fn add(write: &Write<'_, '_>, mut record: Record, member: &Member, how: &str) -> Result<Verdict<Record>, RegistryError> {
    let cell = record.proposal.cell_id.clone();
    let refuse = |error| write.refuse(Action::Invite, &cell, error);
    let expired = is_expired(Some(record.expires_at), write.at);
    if expired || !record.state.accepts_invites() {
        let expired = expired && record.state.accepts_invites();
        return refuse(RegistryError::NotAcceptingInvites { cell: cell.clone(), state: record.state.name(), expired });
    }
    if record.proposal.members.iter().any(|present| present.identity == member.identity) {
        return refuse(RegistryError::AlreadyMember { cell: cell.clone(), identity: member.identity.clone() });
    }
    let member = Member { joined_at: columns::kept(member.joined_at), ..member.clone() };
    row::insert_member(&write.tx, &cell, &member)?;
    write.audit(Action::Invite, Phase::Done, &cell, &format!("{} as {}{how}", member.identity, member.role))?;
    record.proposal.members.push(member);
    Ok(Verdict::Granted(record))
}
