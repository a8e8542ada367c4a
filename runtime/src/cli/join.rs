//! `lazarus join`: becoming the member whom a token is for.

use std::{io::Read, path::Path, process::ExitCode};

use serde::Serialize;

use super::{
    cell::chain,
    failure::{Failure, INTERNAL, REFUSED, USAGE},
    say::Say,
};
use crate::{
    cell::{CellId, Identity, Role},
    home::ambient,
    member::{DoorError, Joined},
    operator::{JoinError, MemberClient, join, member_client},
};

/// The longest token, with the end of its line.
const TOKEN_MOST_BYTES: u64 = 256;

#[derive(Serialize)]
struct Envelope<'a> {
    success: bool,
    cell_id: &'a CellId,
    identity: &'a Identity,
    role: Role,
    message: String,
}

impl From<DoorError> for Failure {
    fn from(error: DoorError) -> Self {
        match error {
            DoorError::Client(error) => error.into(),
            DoorError::Closed(_) | DoorError::Squatted { .. } => Self::new(REFUSED, error.to_string()),
            DoorError::Connect { .. } => Self::new(INTERNAL, chain(&error)),
        }
    }
}

impl From<JoinError> for Failure {
    fn from(error: JoinError) -> Self {
        match error {
            JoinError::Token(_) => Self::new(USAGE, error.to_string()),
            JoinError::Door(error) => error.into(),
            JoinError::Keep(_) => Self::new(INTERNAL, chain(&error)),
        }
    }
}

/// Joins a cell.
///
/// # Errors
/// What is no token, lets nobody in, or cannot be kept.
pub fn run(token: &str, say: &Say) -> Result<ExitCode, Failure> {
    let mut piped = String::new();
    let token = if token == "-" {
        let read = std::io::stdin().lock().take(TOKEN_MOST_BYTES).read_to_string(&mut piped);
        read.map_err(|error| Failure::new(INTERNAL, format!("read standard input: {error}")))?;
        piped.trim()
    } else {
        token
    };
    let joined = join(token, |name| std::env::var_os(name))?;
    let Joined { cell, identity, role, .. } = &joined;
    let message = format!("Joined {cell} as {identity}, {role}");
    let envelope = Envelope { success: true, cell_id: cell, identity, role: *role, message };
    Ok(say.done(&envelope, || format!("{}\n{}", envelope.message, rights(cell, *role))))
}

/// The connection of somebody who joined a cell that is not below their own root; `None` where that is not so.
///
/// # Errors
/// What was kept cannot be read, nobody is at the door, or the session is over.
pub fn member_of(cell: &str, root: &Path) -> Result<Option<MemberClient>, Failure> {
    let Ok(cell) = cell.parse::<CellId>() else { return Ok(None) };
    if ambient::has_cell(root, &cell) {
        return Ok(None);
    }
    Ok(member_client(&cell, |name| std::env::var_os(name))?)
}

/// What a person may do in a role, and with which commands.
fn rights(cell: &CellId, role: Role) -> String {
    let writes = match role {
        Role::Executor => "You may write to every member, and read what is sent to you",
        Role::Observer => "You may write to directors, answer who writes to you, and read what is sent to you",
        Role::Director => "You may write to every member, and read what all of them send",
        Role::Auditor => "You may read what the members send; you write to nobody",
    };
    format!("{writes}:\n  lazarus send {cell} --to MEMBER TEXT\n  lazarus inbox {cell}")
}
