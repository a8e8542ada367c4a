//! What members of a cell give each other.

use std::time::SystemTime;

use crate::Role;

/// The longest text of a message, in bytes. What is larger belongs in a file below `/shared`, and its name in a message.
pub const TEXT_MOST_BYTES: usize = 32 * 1024;
/// The most messages that one event sends.
pub const SENDS_MOST: usize = 64;
/// The most messages that [`crate::Cell::history`] gives at once.
pub const HISTORY_MOST: u32 = 100;
/// The most rows that [`crate::Cell::audit`] gives.
pub const AUDIT_MOST: u32 = 200;
/// The longest line of the log, in bytes; what is longer is cut.
pub const LINE_MOST_BYTES: usize = 8 * 1024;
/// The largest artifact, in bytes.
pub const ARTIFACT_MOST_BYTES: u64 = 64 * 1024 * 1024;
/// The most artifacts of one agent.
pub const ARTIFACTS_MOST: usize = 64;

/// Somebody in the cell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Who: `agent:scribe`, `bot:deploy` or `human:alice`.
    pub identity: String,
    /// As what.
    pub role: Role,
}

/// A message, as its receiver gets it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Unique for ever. A message that is delivered again has the same id: an agent that must not do something twice keeps the ids of what
    /// it has done in its home.
    pub id: String,
    /// Who sent it: put there by Lazarus, not by the sender.
    pub sender: String,
    /// Who it is for.
    pub receiver: String,
    /// What it says: 1 to [`TEXT_MOST_BYTES`] bytes, otherwise as the sender wrote it. Hostile where the sender is.
    pub text: String,
    /// The message that this one answers.
    pub in_reply_to: Option<String>,
    /// When it was accepted.
    pub sent_at: SystemTime,
    /// Which delivery this is: 1 at the first; 0 where it is only shown, in a history.
    pub attempt: u32,
}

/// A result that was kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Artifact {
    /// Its name.
    pub name: String,
    /// The SHA-256 of its bytes, in hexadecimal.
    pub sha256: String,
    /// Its size.
    pub bytes: u64,
}

/// How much a line of the log matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// For whoever looks for a fault.
    Debug,
    /// What was done.
    Info,
    /// What may be wrong.
    Warn,
    /// What is wrong.
    Error,
}
