//! The way in for people: the door of a cell.
//!
//! The door is an abstract socket, `lazarus/<cell id>`, so that it needs no place on disk that other users could reach. Anybody on the
//! machine may have taken that name: who joins looks at who listens (SO_PEERCRED) before it says anything.

use std::{
    io,
    os::{
        linux::net::SocketAddrExt,
        unix::net::{SocketAddr, UnixStream},
    },
};

use super::{
    Joined,
    client::{Client, ClientError},
};
use crate::{
    cell::CellId,
    mail::{Call, Gift, Greeting, Hello, Secret, Token, Welcome},
};

/// Why somebody does not get in.
#[derive(Debug, thiserror::Error)]
pub enum DoorError {
    /// Nobody listens.
    #[error("join {0}: it is over, it expects nobody, or it is on another machine")]
    Closed(CellId),
    /// Somebody else listens.
    #[error("join {cell}: its door is held by user {found}, and it belongs to user {expected}; the secret was not said. Tell the operator")]
    Squatted {
        /// The cell.
        cell: CellId,
        /// Whose it should be.
        expected: u32,
        /// Whose it is.
        found: u32,
    },
    /// The kernel, on connecting.
    #[error("join {cell}")]
    Connect {
        /// The cell.
        cell: CellId,
        /// What it said.
        #[source]
        source: io::Error,
    },
    /// What was said, and how that was taken.
    #[error(transparent)]
    Client(#[from] ClientError),
}

/// The address of a cell's door.
///
/// # Errors
/// None that an id could cause.
pub fn address(cell: &CellId) -> io::Result<SocketAddr> {
    SocketAddr::from_abstract_name(format!("lazarus/{cell}"))
}

/// Connects to the door, if it is that of the user to whom the cell belongs.
fn knock(cell: &CellId, uid: u32) -> Result<Client, DoorError> {
    let fail = |source: io::Error| match source.kind() {
        io::ErrorKind::ConnectionRefused => DoorError::Closed(cell.clone()),
        _ => DoorError::Connect { cell: cell.clone(), source },
    };
    let stream = address(cell).and_then(|address| UnixStream::connect_addr(&address)).map_err(fail)?;
    let peer = rustix::net::sockopt::socket_peercred(&stream).map_err(|errno| fail(errno.into()))?;
    let found = peer.uid.as_raw();
    if found != uid {
        return Err(DoorError::Squatted { cell: cell.clone(), expected: uid, found });
    }
    Ok(Client::over(stream)?)
}

fn greeted(client: &mut Client, hello: &Hello) -> Result<Welcome, DoorError> {
    client.say(hello)?;
    match client.hear()? {
        Greeting::Welcome(welcome) => Ok(welcome),
        Greeting::Refused(refusal) => Err(ClientError::Refused(refusal).into()),
    }
}

/// Joins with a token, which is used up by it. Returns the connection, and what to keep.
///
/// # Errors
/// Nobody is there, somebody else is, or the token lets nobody in.
pub fn join(token: &Token) -> Result<(Client, Joined), DoorError> {
    let mut client = knock(&token.cell, token.owner_uid)?;
    let Welcome { identity, role, session } = greeted(&mut client, &Hello::Join(token.secret.clone()))?;
    let session = session.ok_or(ClientError::Ended)?;
    Ok((client, Joined { cell: token.cell.clone(), uid: token.owner_uid, identity, role, session }))
}

/// Connects as somebody who joined before.
///
/// # Errors
/// Nobody is there, somebody else is, or the session is over.
pub fn resume(joined: &Joined) -> Result<Client, DoorError> {
    let mut client = knock(&joined.cell, joined.uid)?;
    let session: Secret = joined.session.clone();
    greeted(&mut client, &Hello::Resume(session))?;
    // What the cell says now counts, should the role have changed since; asking also proves that the line is open.
    match client.call(&Call::Me)? {
        Gift::Facts(_) => Ok(client),
        _ => Err(ClientError::Ended.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::{io::Read, os::unix::net::UnixListener};

    use super::*;

    fn token(bits: u32, uid: u32) -> Token {
        Token { owner_uid: uid, cell: CellId::from_bits(bits), secret: Secret::draw().expect("drawn") }
    }

    #[test]
    fn a_squatter_is_not_told_the_secret() {
        let own = rustix::process::geteuid().as_raw();
        let token = token(std::process::id(), own + 1);
        let squatter = UnixListener::bind_addr(&address(&token.cell).expect("an address")).expect("bound");
        let error = join(&token).expect_err("refused");
        assert!(matches!(error, DoorError::Squatted { expected, found, .. } if expected == own + 1 && found == own), "{error}");
        let (mut stream, _) = squatter.accept().expect("it did knock");
        let mut said = Vec::new();
        stream.read_to_end(&mut said).expect("read");
        assert!(said.is_empty(), "nothing was said");
    }

    #[test]
    fn nobody_there_is_said_so() {
        let token = token(std::process::id() ^ 0x8000_0000, 0);
        assert!(matches!(join(&token), Err(DoorError::Closed(cell)) if cell == token.cell));
    }
}
