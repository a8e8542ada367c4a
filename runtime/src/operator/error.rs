//! Why a command did not do what it was asked for.

use std::{io, path::PathBuf};

use super::Replacing;
use crate::{
    agent::{AgentError, ResolveError},
    backend::wasm::{CacheError, CompileError},
    cell::{AgentName, BackendKind, CellId, Identity, NameError, Refusal},
    drill::DrillError,
    home::{LayoutError, LeaseError, SourceError, ambient::RootError},
    mail::{self, MessageId, TextError},
    registry::RegistryError,
    warden::WardenError,
};

/// Why a command did not do what it was asked for. The message is a sentence for the operator; the cause is the source.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No such cell.
    #[error("Cell {0} not found")]
    CellNotFound(String),
    /// No such agent definition.
    #[error("Agent {0} not found")]
    AgentNotFound(AgentName),
    /// A definition that is not as it was approved.
    #[error(
        "agent {agent} is not approved: {}",
        if *ever { "it is not what was approved" } else { "nobody approved what it asks for" }
    )]
    NotApproved {
        /// The agent.
        agent: AgentName,
        /// Whether anything of that name is approved.
        ever: bool,
        /// What is different, one line each; everything, where nothing is approved.
        differences: Vec<String>,
    },
    /// A question that makes no sense, or about something of which nothing is kept.
    #[error("could not say why: {0}")]
    NoAnswer(String),
    /// No such agent in the cell.
    #[error("Cell {cell} has no agent {agent}")]
    NoSuchAgent {
        /// The cell.
        cell: CellId,
        /// The agent.
        agent: AgentName,
    },
    /// The cell takes no members now.
    #[error("Cell {cell} is not accepting invites (state={state})")]
    NotAcceptingInvites {
        /// The cell.
        cell: CellId,
        /// Its state, or `expired`.
        state: String,
    },
    /// Somebody is a member already.
    #[error("{guest} is already a member of {cell}")]
    AlreadyMember {
        /// Who.
        guest: Identity,
        /// The cell.
        cell: CellId,
    },
    /// Somebody may not do that.
    #[error("{who} may not {what} {cell}: only its owner, a director of it, or the operator may")]
    NotAllowed {
        /// Who.
        who: Identity,
        /// "invite to", "close", …
        what: &'static str,
        /// The cell.
        cell: CellId,
    },
    /// Somebody who is no member wants something of it.
    #[error("{who} may not {what} {cell}: it is no member, nor its owner, nor the operator")]
    NotMember {
        /// Who.
        who: Identity,
        /// "write to", …
        what: &'static str,
        /// The cell.
        cell: CellId,
    },
    /// Nobody of that name is in the cell.
    #[error("Cell {cell} has no member {who}: {hint}")]
    NoSuchMember {
        /// The cell.
        cell: CellId,
        /// Who was named: one line, bounded.
        who: String,
        /// Who was probably meant, or who is there.
        hint: String,
    },
    /// More than one member could be meant.
    #[error("Cell {cell} has several members for {what}: say to whom with --to (or --to all): {members}")]
    SeveralMembers {
        /// The cell.
        cell: CellId,
        /// What was given.
        what: &'static str,
        /// They, bounded.
        members: String,
    },
    /// Nothing would ever happen to an agent that is run in the foreground and lives by events.
    #[error("could not run the agent in the foreground: it lives by events, and nobody could send it any")]
    LivesByEvents,
    /// Nobody is there to be written to.
    #[error("Cell {0} has no other members")]
    NobodyElse(CellId),
    /// Something that no message can say.
    #[error("could not {0}")]
    Text(#[from] TextError),
    /// A role that does not allow it.
    #[error("Cell {cell}: {refusal}")]
    MailRefused {
        /// The cell.
        cell: CellId,
        /// Why, and what it would need.
        refusal: mail::Refusal,
    },
    /// No such message, or none of whoever asks.
    #[error("Cell {cell} has no message {id} for {who}; `lazarus inbox {cell}` lists those that wait")]
    NoMessageForYou {
        /// The cell.
        cell: CellId,
        /// The message.
        id: MessageId,
        /// Who asks.
        who: Identity,
    },
    /// An agent that runs is not let go of.
    #[error("{member} runs in {cell}: `lazarus close {cell}` ends its agents, and then it can be revoked")]
    StillRuns {
        /// The cell.
        cell: CellId,
        /// Who.
        member: Identity,
    },
    /// The cell has no such artifact.
    #[error("Cell {cell} has no artifact {name}")]
    NoSuchArtifact {
        /// The cell.
        cell: CellId,
        /// What was named: one line, bounded.
        name: String,
    },
    /// Several agents have an artifact of that name.
    #[error("Cell {cell} has several artifacts of that name: say which: {names}")]
    SeveralArtifacts {
        /// The cell.
        cell: CellId,
        /// They, bounded.
        names: String,
    },
    /// Results that would be lost.
    #[error("Cell {cell} has artifacts that were never fetched: {names}")]
    Unfetched {
        /// The cell.
        cell: CellId,
        /// They, bounded.
        names: String,
    },
    /// An artifact that is not what was kept.
    #[error("could not read artifact {name} of {cell}")]
    ArtifactBroken {
        /// The cell.
        cell: CellId,
        /// The artifact.
        name: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file that is there already.
    #[error("could not write {0}: it is there already")]
    DestinationExists(PathBuf, Replacing),
    /// A file that cannot be written.
    #[error("could not write {path}")]
    Destination {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A program that could not be looked into.
    #[error("could not check {path}")]
    Check {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: CompileError,
    },
    /// The kernel gave no random bytes.
    #[error("could not draw a token")]
    Randomness(#[source] io::Error),
    /// The cell's state does not allow it.
    #[error("Cell {cell} {refusal}")]
    State {
        /// The cell.
        cell: CellId,
        /// What was asked, and the state.
        refusal: Refusal,
    },
    /// The cell did not become active.
    #[error("Cell {cell} failed: {message}")]
    NotReady {
        /// The cell, whose row says the same.
        cell: CellId,
        /// The agent's or the backend's own words.
        message: String,
    },
    /// The cell does not live again; it and its homes are as they were.
    #[error("Cell {cell} was not resurrected: {why}")]
    NotResurrected {
        /// The cell.
        cell: CellId,
        /// Why: the agent's or the backend's own words, or what is missing.
        why: String,
        /// Whether Lazarus itself or the machine under it failed, rather than the agent.
        internal: bool,
    },
    /// A program did not start; its throwaway cell is gone.
    #[error("Cell {cell} failed: {message}")]
    NotRun {
        /// The cell, which is destroyed.
        cell: CellId,
        /// The program's or the backend's own words.
        message: String,
    },
    /// The cell's warden refused something.
    #[error("Cell {cell}: {message}")]
    WardenRefused {
        /// The cell.
        cell: CellId,
        /// Why.
        message: String,
    },
    /// The cell's warden lives and does not answer.
    #[error("the warden of {cell} does not answer; `lazarus destroy {cell}` ends it")]
    WardenSilent {
        /// The cell.
        cell: CellId,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// After a teardown something still lives or lies there.
    #[error("Cell {cell} is not destroyed: {what}")]
    NotDestroyed {
        /// The cell.
        cell: CellId,
        /// What is left.
        what: String,
    },
    /// After a teardown files are left.
    #[error("Cell {cell} is not destroyed: {} of its files remain, the first is {}", .remained.len(), .remained.first().map_or("", |first| first))]
    Remains {
        /// The cell.
        cell: CellId,
        /// They, bounded; never empty.
        remained: Vec<String>,
    },
    /// Options that exclude each other.
    #[error("{0}")]
    Contradiction(&'static str),
    /// The backend that was asked for is not the one that the agent needs.
    #[error("agent {agent} runs on the {needs} backend; leave --backend {asked} out, or give another agent")]
    WrongBackend {
        /// The agent.
        agent: AgentName,
        /// What its definition or program needs.
        needs: BackendKind,
        /// What was asked for.
        asked: BackendKind,
    },
    /// Members of one team that need different backends.
    #[error("a team runs on one backend: {first} needs {first_needs}, {second} needs {second_needs}")]
    MixedTeam {
        /// An agent.
        first: AgentName,
        /// What it needs.
        first_needs: BackendKind,
        /// Another agent.
        second: AgentName,
        /// What that needs.
        second_needs: BackendKind,
    },
    /// A name that cannot be accepted.
    #[error("could not {0}")]
    Name(#[from] NameError),
    /// A path to read that is not there.
    #[error("could not grant {0}: there is no such file or directory")]
    NothingToRead(PathBuf),
    /// The streams of a foreground run.
    #[error("could not lend the streams of this command")]
    Streams(#[source] std::io::Error),
    /// A definition of whose paths to read none is there.
    #[error("could not grant what {0} asks to read: none of {1:?} is on this machine")]
    NothingOfThese(AgentName, Vec<PathBuf>),
    /// A definition of which something is left.
    #[error("agent {agent} is not removed: {what} remains")]
    AgentRemains {
        /// The agent.
        agent: AgentName,
        /// What is left.
        what: String,
    },
    /// An agent of the other backend was invited.
    #[error("{guest} runs on the {needs} backend, and {cell} runs {runs} agents")]
    OtherBackend {
        /// Who.
        guest: Identity,
        /// What it needs.
        needs: BackendKind,
        /// The cell.
        cell: CellId,
        /// What that runs.
        runs: BackendKind,
    },
    /// Lazarus itself, or the machine under it, failed a cell.
    #[error("Cell {cell} failed: {message}")]
    Broken {
        /// The cell, whose row says the same.
        cell: CellId,
        /// What happened.
        message: String,
    },
    /// A WebAssembly file that cannot be opened.
    #[error("could not open {path}")]
    Component {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A WebAssembly file that cannot be used.
    #[error("could not use {path}")]
    Compile {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: CacheError,
    },
    /// The logs of a cell.
    #[error("could not read the logs of {cell}")]
    Logs {
        /// The cell.
        cell: CellId,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// This process does not find itself.
    #[error("could not read /proc/self: Lazarus needs /proc")]
    OwnIdentity(#[source] io::Error),
    /// The compiled-code cache, for a program of Lazarus' own.
    #[error("could not {0}")]
    Cache(#[from] CacheError),
    /// The root.
    #[error("could not {0}")]
    Root(#[from] RootError),
    /// A cell's directory.
    #[error("could not {0}")]
    Layout(#[from] LayoutError),
    /// A cell's lease.
    #[error("could not {0}")]
    Lease(#[from] LeaseError),
    /// A path that was asked for.
    #[error("could not {0}")]
    Source(#[from] SourceError),
    /// An agent definition.
    #[error("could not {0}")]
    Agent(#[from] AgentError),
    /// What a definition and a command line come to.
    #[error("could not {0}")]
    Resolve(#[from] ResolveError),
    /// What the registry says of messages, members, tokens and artifacts: sentences for the operator already.
    #[error("{0}")]
    Mail(#[source] RegistryError),
    /// The registry.
    #[error("could not {0}")]
    Registry(#[source] RegistryError),
    /// The audit, its key, a receipt.
    #[error(transparent)]
    Audit(#[from] super::AuditError),
    /// A warden in this process.
    #[error("could not {0}")]
    Warden(#[from] WardenError),
    /// A drill that says nothing about the walls.
    #[error("could not {0}")]
    Drill(#[from] DrillError),
}

impl From<RegistryError> for Error {
    fn from(error: RegistryError) -> Self {
        match error {
            RegistryError::NotFound(cell) => Self::CellNotFound(cell.to_string()),
            RegistryError::Refused { cell, refusal } => Self::State { cell, refusal },
            RegistryError::NotAcceptingInvites { cell, state, expired } => {
                Self::NotAcceptingInvites { cell, state: if expired { "expired" } else { state }.to_owned() }
            }
            RegistryError::AlreadyMember { cell, identity } => Self::AlreadyMember { guest: identity, cell },
            told @ (RegistryError::NoSender { .. }
            | RegistryError::NoReceiver { .. }
            | RegistryError::MailboxFull { .. }
            | RegistryError::NoMessage { .. }
            | RegistryError::NotParked { .. }
            | RegistryError::NotMember { .. }
            | RegistryError::TokenNotForHuman { .. }
            | RegistryError::TokenRefused { .. }
            | RegistryError::ArtifactName { .. }
            | RegistryError::ArtifactsFull { .. }
            | RegistryError::NoArtifact { .. }) => Self::Mail(told),
            other => Self::Registry(other),
        }
    }
}

impl Error {
    /// Whether the registry could not be written for want of room on its disk.
    pub const fn is_full_disk(&self) -> bool {
        matches!(self, Self::Registry(RegistryError::Full { .. }))
    }
}
