//! Joining a cell with a token, and coming back: by people who may be other users of the machine, with no right to the operator's root.

use std::{ffi::OsString, io};

use crate::{
    cell::CellId,
    mail::{Token, TokenError},
    member::{self, Client, DoorError, Joined, joined},
};

/// Why somebody did not join, or is not connected.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    /// Not a token.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// The cell does not let them in.
    #[error(transparent)]
    Door(#[from] DoorError),
    /// There is no place to keep the session.
    #[error("keep the session below $XDG_STATE_HOME or ~/.local/state")]
    Keep(#[source] io::Error),
}

/// Joins a cell: uses up the token, and keeps the session. `variable` reads the environment.
///
/// # Errors
/// Not a token, nobody who lets in, or no place to keep the session: that is looked for before the token is used up.
pub fn join(token: &str, variable: impl Fn(&str) -> Option<OsString>) -> Result<Joined, JoinError> {
    let token: Token = token.parse()?;
    joined::ready(&variable).map_err(JoinError::Keep)?;
    let (client, joined) = member::join(&token)?;
    joined::keep(&joined, &variable).map_err(JoinError::Keep)?;
    drop(client);
    Ok(joined)
}

/// A connection as somebody who joined, and who that is.
#[derive(Debug)]
pub struct MemberClient {
    /// Who, where, and as what when they joined.
    pub joined: Joined,
    /// The connection.
    pub client: Client,
}

/// Connects to a cell as the member whom this user joined it as; `None` where they did not. `variable` reads the environment.
///
/// A cell that ends the session (revoked) or is over is an error that says so; what was kept of it stays, and does no harm.
///
/// # Errors
/// What was kept cannot be read, nobody is at the door, or the session is over.
pub fn member_client(cell: &CellId, variable: impl Fn(&str) -> Option<OsString>) -> Result<Option<MemberClient>, JoinError> {
    let Some(joined) = joined::find(cell, variable).map_err(JoinError::Keep)? else { return Ok(None) };
    let client = member::resume(&joined)?;
    Ok(Some(MemberClient { joined, client }))
}
