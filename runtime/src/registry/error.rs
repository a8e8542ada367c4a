//! Why the registry did not do what it was asked for.

use std::{io, path::PathBuf, time::Duration};

use rusqlite::{ErrorCode, ffi};

use super::{PATIENCE, TokenFault};
use crate::{
    audit::Broken,
    cell::{AgentName, CellId, Identity, NameError, Refusal},
    mail::MessageId,
};

/// Why the registry did not do what it was asked for. The sentences that start with `Cell` are part of the command
/// contract, and are shown as they are.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// No such cell.
    #[error("Cell {0} not found")]
    NotFound(CellId),
    /// The cell's state does not allow it. Nothing was changed; the refusal is in the audit log.
    #[error("Cell {cell} {refusal}")]
    Refused {
        /// The cell.
        cell: CellId,
        /// Its state, and what was asked for.
        refusal: Refusal,
    },
    /// Somebody else moved the cell since it was read. Nothing was changed, and nothing audited: read it again, and decide anew.
    #[error("Cell {cell} was changed by somebody else meanwhile (version {found}, expected {expected})")]
    VersionMoved {
        /// The cell.
        cell: CellId,
        /// The version that the caller had read.
        expected: u64,
        /// The version that the cell has.
        found: u64,
    },
    /// The cell takes no members.
    #[error("Cell {cell} is not accepting invites (state={state}{})", if *.expired { ", expired" } else { "" })]
    NotAcceptingInvites {
        /// The cell.
        cell: CellId,
        /// Its state's name.
        state: &'static str,
        /// Whether it is its time to live that is over.
        expired: bool,
    },
    /// The identity is in the cell already.
    #[error("Cell {cell} already has {identity} as a member")]
    AlreadyMember {
        /// The cell.
        cell: CellId,
        /// Who.
        identity: Identity,
    },
    /// The identity is not in the cell.
    #[error("Cell {cell} does not have {identity} as a member")]
    NotMember {
        /// The cell.
        cell: CellId,
        /// Who.
        identity: Identity,
    },
    /// The agent has an open run in the cell.
    #[error("Cell {cell} already runs {agent}")]
    AlreadyRunning {
        /// The cell.
        cell: CellId,
        /// The agent.
        agent: AgentName,
    },
    /// Nobody who may send into the cell. Nothing was accepted.
    #[error("Cell {cell} takes no messages from {identity}: it is no member; `lazarus invite {cell} {identity}` makes it one")]
    NoSender {
        /// The cell.
        cell: CellId,
        /// Who.
        identity: Identity,
    },
    /// Nobody who can be sent to. Nothing was accepted.
    #[error("Cell {cell} takes no messages for {identity}: it is no member; `lazarus status {cell}` lists who is")]
    NoReceiver {
        /// The cell.
        cell: CellId,
        /// Who.
        identity: Identity,
    },
    /// As many messages wait as may. Nothing was accepted.
    #[error("Cell {cell} keeps at most {most} messages waiting for {receiver}; send again when it has handled some")]
    MailboxFull {
        /// The cell.
        cell: CellId,
        /// Whose mailbox.
        receiver: Identity,
        /// How many may wait.
        most: u32,
    },
    /// The cell has no such message.
    #[error("Cell {cell} has no message {id} (any more); `lazarus inbox {cell}` lists what it has")]
    NoMessage {
        /// The cell.
        cell: CellId,
        /// The message.
        id: MessageId,
    },
    /// No message that was given up.
    #[error("Cell {cell} has no parked message {id}; `lazarus inbox {cell} --parked` lists those that it has")]
    NotParked {
        /// The cell.
        cell: CellId,
        /// The message.
        id: MessageId,
    },
    /// The id is another message's: draw again. Nothing was changed.
    #[error("accept message {0}: the id is taken by another message")]
    MessageIdTaken(MessageId),
    /// A token for somebody who could not join with it.
    #[error("Cell {cell} gives tokens to people; {identity} is started instead: `lazarus invite {cell} {identity}`")]
    TokenNotForHuman {
        /// The cell.
        cell: CellId,
        /// Who.
        identity: Identity,
    },
    /// A token that lets nobody in.
    #[error("Cell {cell} does not take this token: {fault}; ask for a new invitation")]
    TokenRefused {
        /// The cell.
        cell: CellId,
        /// Why.
        fault: TokenFault,
    },
    /// A name that no artifact can have.
    #[error("Cell {cell} keeps no artifact named {name:?}: a name is [A-Za-z0-9._-]{{1,64}} and begins with a letter or a digit")]
    ArtifactName {
        /// The cell.
        cell: CellId,
        /// The name: one line, cut.
        name: String,
    },
    /// The agent has as many artifacts as it may.
    #[error("Cell {cell} keeps at most {most} artifacts of {agent}; declare one under a name that it has, and it is replaced")]
    ArtifactsFull {
        /// The cell.
        cell: CellId,
        /// Whose.
        agent: AgentName,
        /// How many it may have.
        most: u32,
    },
    /// The agent has no such artifact.
    #[error("Cell {cell} keeps no artifact {name} of {agent}; `lazarus artifacts {cell}` lists them")]
    NoArtifact {
        /// The cell.
        cell: CellId,
        /// Whose.
        agent: AgentName,
        /// The name: one line, cut.
        name: String,
    },
    /// The id is another cell's: draw again.
    #[error("propose cell {0}: the id is taken")]
    IdTaken(CellId),
    /// An identity that could not be read back.
    #[error("store an identity")]
    Identity(#[source] NameError),
    /// A path that is not text.
    #[error("store path {0:?}: it is not UTF-8")]
    PathNotText(PathBuf),
    /// A number or a time that no column holds.
    #[error("store {0}: it is out of range")]
    OutOfRange(&'static str),
    /// A row that makes no sense.
    #[error("read cell {cell}: its row is corrupt: {what}")]
    Corrupt {
        /// The cell, as its row says.
        cell: String,
        /// What makes no sense.
        what: String,
    },
    /// What was approved of an agent makes no sense.
    #[error("read what was approved of agent {agent}: the registry holds nonsense: {what}")]
    CorruptApproval {
        /// The agent.
        agent: AgentName,
        /// What makes no sense.
        what: String,
    },
    /// A broken audit chain.
    #[error(transparent)]
    AuditBroken(#[from] Broken),

    /// Something else stands where the file should be.
    #[error("open registry {0}: it is not a regular file")]
    NotAFile(PathBuf),
    /// The file could not be created, looked at or protected.
    #[error("prepare registry {path}")]
    Prepare {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// An SQLite file of somebody else's.
    #[error("open registry {0}: it is an SQLite file, and not of Lazarus; choose another root")]
    Foreign(PathBuf),
    /// A file of a newer Lazarus.
    #[error("open registry {path}: it has schema version {found}, this Lazarus knows up to {known}; use the newer Lazarus that wrote it")]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u32,
        /// The newest version that this Lazarus knows.
        known: u32,
    },
    /// The file system cannot hold a write-ahead log.
    #[error(
        "open registry {path}: its file system cannot share memory between processes (journal mode {mode}); choose a root on a local one"
    )]
    NoWal {
        /// The file.
        path: PathBuf,
        /// The mode that SQLite fell back to.
        mode: String,
    },
    /// Others wrote without a pause.
    #[error("{doing}: the registry was busy for {} s; repeat the command", .waited.as_secs())]
    Busy {
        /// What was being done.
        doing: &'static str,
        /// How long was waited.
        waited: Duration,
    },
    /// The file, or its file system, is read-only.
    #[error("{doing}: the registry is read-only; check the owner and the mount of its directory")]
    ReadOnly {
        /// What was being done.
        doing: &'static str,
        /// What SQLite said.
        #[source]
        source: rusqlite::Error,
    },
    /// The disk is full.
    #[error("{doing}: the disk is full; nothing was changed, free some space and repeat the command")]
    Full {
        /// What was being done.
        doing: &'static str,
        /// What SQLite said.
        #[source]
        source: rusqlite::Error,
    },
    /// The file cannot be opened.
    #[error("{doing}: the registry cannot be opened; check that its directory exists, is yours and can be written to")]
    CannotOpen {
        /// What was being done.
        doing: &'static str,
        /// What SQLite said.
        #[source]
        source: rusqlite::Error,
    },
    /// The file is damaged, or is no SQLite file.
    #[error("{doing}: the registry is damaged; restore it, or move it away (each cell keeps its own record in cell.json)")]
    Damaged {
        /// What was being done.
        doing: &'static str,
        /// What SQLite said.
        #[source]
        source: rusqlite::Error,
    },
    /// Anything else that SQLite refused.
    #[error("{doing}")]
    Storage {
        /// What was being done.
        doing: &'static str,
        /// What SQLite said.
        #[source]
        source: rusqlite::Error,
    },
}

impl RegistryError {
    /// Whether somebody else decided first: what was asked for is refused by a state that another command or the warden made.
    pub const fn is_overtaken(&self) -> bool {
        matches!(self, Self::Refused { .. } | Self::VersionMoved { .. } | Self::NotFound(_))
    }

    /// Returns the function that turns SQLite's errors into ours, and says what was being done.
    pub(super) fn while_doing(doing: &'static str) -> impl Fn(rusqlite::Error) -> Self + Copy {
        move |source| {
            let Some(error) = source.sqlite_error().copied() else { return Self::Storage { doing, source } };
            match error.code {
                ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked | ErrorCode::FileLockingProtocolFailed => {
                    Self::Busy { doing, waited: PATIENCE }
                }
                ErrorCode::ReadOnly => Self::ReadOnly { doing, source },
                ErrorCode::DiskFull => Self::Full { doing, source },
                // The shared memory beside the file could not grow: what a full disk looks like there.
                ErrorCode::SystemIoFailure if error.extended_code == ffi::SQLITE_IOERR_SHMSIZE => Self::Full { doing, source },
                ErrorCode::CannotOpen | ErrorCode::PermissionDenied => Self::CannotOpen { doing, source },
                ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase => Self::Damaged { doing, source },
                // SQLite's list, which is not ours to close.
                _ => Self::Storage { doing, source },
            }
        }
    }
}
