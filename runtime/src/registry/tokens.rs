//! Tokens with which people join, and the sessions by which they are known from then on.
//!
//! Only digests come here: whoever reads the registry cannot join with what it holds.

use chrono::{DateTime, SecondsFormat, Utc};
use rusqlite::{Connection, OptionalExtension, params};

use super::{
    ReadRegistry, Registry, RegistryError, columns,
    columns::Cursor,
    members, read, row,
    write::{Verdict, Write},
};
use crate::{
    audit::{Action, Phase},
    cell::{CellId, Identity, Member, Record, Refusal, State},
};

/// Why a token lets nobody in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenFault {
    /// There is none such in the cell.
    #[error("it is none of this cell's")]
    Unknown,
    /// Somebody joined with it.
    #[error("it was used already")]
    Used,
    /// Its time is over.
    #[error("its time is over")]
    Late,
    /// Whoever it was for is a member no more.
    #[error("it was revoked")]
    Revoked,
}

impl Registry {
    /// Lets a person into a cell, as [`Self::add_member`] does, and notes the token with which they join: one commit. Returns the cell as it
    /// is now.
    ///
    /// # Errors
    /// As [`Self::add_member`], and [`RegistryError::TokenNotForHuman`]; each is audited.
    pub fn issue_token(
        &mut self,
        cell: &CellId,
        member: &Member,
        secret_sha256: [u8; 32],
        expires_at: DateTime<Utc>,
        actor: &str,
    ) -> Result<Record, RegistryError> {
        self.write_cell(cell, Action::Invite, actor, |write, record| {
            if !matches!(member.identity, Identity::Human(_)) {
                let error = RegistryError::TokenNotForHuman { cell: cell.clone(), identity: member.identity.clone() };
                return write.refuse(Action::Invite, cell, error);
            }
            let until = columns::kept(expires_at);
            let how = format!(", with a token until {}", until.to_rfc3339_opts(SecondsFormat::Secs, true));
            let granted = match members::add(write, record, member, &how)? {
                Verdict::Granted(record) => record,
                refused @ Verdict::Refused(_) => return Ok(refused),
            };
            let sql = "INSERT INTO tokens (cell_id, identity, secret, issued_at, expires_at) VALUES (?1, ?2, ?3, ?4, ?5)";
            let identity = columns::identity(&member.identity)?;
            let values = params![cell.as_str(), identity, secret_sha256, write.at.timestamp_micros(), until.timestamp_micros()];
            let cannot = RegistryError::while_doing("store a token");
            write.tx.prepare_cached(sql).and_then(|mut insert| insert.execute(values)).map_err(cannot)?;
            Ok(Verdict::Granted(granted))
        })
    }

    /// Lets somebody join with a token, once, and begins their session. Returns who they are.
    ///
    /// # Errors
    /// No such cell, one that is neither active nor idle, or [`RegistryError::TokenRefused`]; each is audited.
    pub fn redeem_token(&mut self, cell: &CellId, secret_sha256: [u8; 32], session_sha256: [u8; 32]) -> Result<Member, RegistryError> {
        self.write(BEFORE_JOINING, |write| {
            let refuse = |error| write.refuse(Action::Join, cell, error);
            let Some(record) = read::without_members(&write.tx, cell)? else { return refuse(RegistryError::NotFound(cell.clone())) };
            match record.state {
                State::Active | State::Idle => {}
                State::Proposed | State::Closing { .. } | State::Closed { .. } | State::Failed { .. } | State::Destroyed { .. } => {
                    let refusal = Refusal { state: record.state.name(), asks_to: "be joined" };
                    return refuse(RegistryError::Refused { cell: cell.clone(), refusal });
                }
            }
            let member = match usable(write, cell, secret_sha256)? {
                Ok(member) => member,
                Err(fault) => return refuse(RegistryError::TokenRefused { cell: cell.clone(), fault }),
            };
            let cannot = RegistryError::while_doing("begin a session");
            let used = "UPDATE tokens SET used_at = ?2 WHERE secret = ?1";
            let at = write.at.timestamp_micros();
            write.tx.prepare_cached(used).and_then(|mut update| update.execute(params![secret_sha256, at])).map_err(cannot)?;
            let begun = "INSERT INTO sessions (cell_id, identity, secret, begun_at) VALUES (?1, ?2, ?3, ?4)";
            let values = params![cell.as_str(), columns::identity(&member.identity)?, session_sha256, at];
            write.tx.prepare_cached(begun).and_then(|mut insert| insert.execute(values)).map_err(cannot)?;
            let detail = format!("{} as {}, invited by {}", member.identity, member.role, member.invited_by);
            write.audit(Action::Join, Phase::Intent, cell, &detail)?;
            write.audit_as(&member.identity.to_string(), Action::Join, Phase::Done, cell, &detail)?;
            Ok(Verdict::Granted(member))
        })
    }
}

/// Who acts while nobody knows who it is.
pub const BEFORE_JOINING: &str = "somebody with a token";

/// Returns the member whom a token lets in, or why it lets in nobody.
fn usable(write: &Write<'_, '_>, cell: &CellId, secret: [u8; 32]) -> Result<Result<Member, TokenFault>, RegistryError> {
    let cannot = RegistryError::while_doing("look for a token");
    let sql = "SELECT identity, expires_at, used_at IS NOT NULL, revoked_at IS NOT NULL FROM tokens WHERE secret = ?1 AND cell_id = ?2";
    let mut select = write.tx.prepare_cached(sql).map_err(cannot)?;
    let found = select
        .query_row(params![secret, cell.as_str()], |row| {
            let mut row = Cursor::new(row);
            let read = |row: &mut Cursor<'_, '_>| {
                Ok((row.parse::<Identity>("identity")?, row.time("expires_at")?, row.flag("used_at")?, row.flag("revoked_at")?))
            };
            Ok(read(&mut row).map_err(|what: String| RegistryError::Corrupt { cell: cell.to_string(), what: format!("a token: {what}") }))
        })
        .optional()
        .map_err(cannot)?;
    let Some((identity, expires_at, used, revoked)) = found.transpose()? else { return Ok(Err(TokenFault::Unknown)) };
    if revoked {
        return Ok(Err(TokenFault::Revoked));
    }
    if used {
        return Ok(Err(TokenFault::Used));
    }
    if expires_at <= write.at {
        return Ok(Err(TokenFault::Late));
    }
    Ok(present(&write.tx, cell, &identity)?.ok_or(TokenFault::Revoked))
}

/// Returns a present member.
pub(super) fn present(connection: &Connection, cell: &CellId, identity: &Identity) -> Result<Option<Member>, RegistryError> {
    let cannot = RegistryError::while_doing("look for a member");
    let sql = format!("SELECT {} FROM members WHERE cell_id = ?1 AND identity = ?2 AND revoked_at IS NULL", row::MEMBER_COLUMNS);
    let mut select = connection.prepare_cached(&sql).map_err(cannot)?;
    let found = select.query_row([cell.as_str(), &columns::identity(identity)?], |row| Ok(row::member(row))).optional().map_err(cannot)?;
    Ok(found.transpose()?.map(|(_, member)| member))
}

/// Ends the tokens and the sessions of somebody who leaves.
pub(super) fn end(write: &Write<'_, '_>, cell: &CellId, identity: &Identity) -> Result<(), RegistryError> {
    let cannot = RegistryError::while_doing("revoke tokens");
    for sql in [
        "UPDATE tokens SET revoked_at = ?3 WHERE cell_id = ?1 AND identity = ?2 AND revoked_at IS NULL",
        "UPDATE sessions SET ended_at = ?3 WHERE cell_id = ?1 AND identity = ?2 AND ended_at IS NULL",
    ] {
        let values = params![cell.as_str(), columns::identity(identity)?, write.at.timestamp_micros()];
        write.tx.prepare_cached(sql).and_then(|mut update| update.execute(values)).map_err(cannot)?;
    }
    Ok(())
}

/// Removes the tokens and sessions of a cell that is destroyed.
pub(super) fn forget_all(write: &Write<'_, '_>, cell: &CellId) -> Result<(), RegistryError> {
    let cannot = RegistryError::while_doing("remove the tokens of a cell");
    for sql in ["DELETE FROM tokens WHERE cell_id = ?1", "DELETE FROM sessions WHERE cell_id = ?1"] {
        write.tx.prepare_cached(sql).and_then(|mut delete| delete.execute([cell.as_str()])).map_err(cannot)?;
    }
    Ok(())
}

impl ReadRegistry {
    /// Returns whose session it is, as long as they are a member; `None` otherwise. The state of the cell is not asked.
    ///
    /// # Errors
    /// A row is corrupt, or the registry cannot be read.
    pub fn session_member(&self, cell: &CellId, session_sha256: [u8; 32]) -> Result<Option<Member>, RegistryError> {
        let cannot = RegistryError::while_doing("look for a session");
        let sql = "SELECT identity FROM sessions WHERE secret = ?1 AND cell_id = ?2 AND ended_at IS NULL";
        self.snapshot(|snapshot| {
            let mut select = snapshot.prepare_cached(sql).map_err(cannot)?;
            let found: Option<String> =
                select.query_row(params![session_sha256, cell.as_str()], |row| row.get(0)).optional().map_err(cannot)?;
            let Some(identity) = found else { return Ok(None) };
            let corrupt = |error| RegistryError::Corrupt { cell: cell.to_string(), what: format!("a session: failed to {error}") };
            present(snapshot, cell, &identity.parse().map_err(corrupt)?)
        })
    }
}
