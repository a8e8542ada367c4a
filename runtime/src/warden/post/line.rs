//! Lines: how members that do not live by events reach the post office. A process agent's socket and a person who joined have one each.
//!
//! ```text
//!  socket task                                       event loop
//!   peer known (child, token, session) ── Open ────→ Post: is it a member? ─→ Opened { line, … } or a refusal
//!   a line of JSON, parsed ────────────── Call ────→ Post::call ─→ Answers: at once, or later (receive, invite)
//!   peer went away ────────────────────── Close ───→ Post: its leases end, its messages are waiting again
//!   hung up on                ←── hang_up resolves ─ revoked, or the cell is over
//! ```
//!
//! A socket task only reads, bounds and parses; who its peer is, the trusted side knows from where the line came.

use tokio::sync::oneshot;

use crate::{
    cell::{Identity, Role},
    mail::{Call, Gift, Refusal},
};

/// A connection, for as long as it lasts. Never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Line(pub(super) u64);

#[cfg(test)]
impl Line {
    /// A connection that a test makes up.
    pub const fn of_test(number: u64) -> Self {
        Self(number)
    }
}

/// Where the answer to a call goes: at once, or later. Dropped without one where the line was hung up on or the cell is over. The receiver
/// may be dropped before: then nobody is waited for any more.
pub type Answers = oneshot::Sender<Result<Gift, Refusal>>;

/// Who calls, as the trusted side knows them; never taken from the caller's words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// Who.
    pub identity: Identity,
    /// As what.
    pub role: Role,
    /// On which line. What it receives is leased to it until it is acknowledged or failed, or the line ends.
    pub line: Line,
}

/// As whom somebody asks to be connected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Who {
    /// The agent whose own socket this is.
    Agent {
        /// The agent or bot, as it was launched.
        identity: Identity,
        /// Its role, as it was launched: an agent that is just starting is no member yet.
        role: Role,
    },
    /// A person with a token that is not used yet. It is redeemed: the session counts from now on.
    Join {
        /// The SHA-256 of the token's secret.
        secret_sha256: [u8; 32],
        /// The SHA-256 of the session's secret, which the socket task drew.
        session_sha256: [u8; 32],
    },
    /// A person who joined before.
    Resume {
        /// The SHA-256 of the session's secret.
        session_sha256: [u8; 32],
    },
}

/// A line that was opened.
#[derive(Debug)]
pub struct Opened {
    /// Who is connected, as what, on which line.
    pub caller: Caller,
    /// Resolves when the line must end: its member was revoked, or the cell is over.
    pub hang_up: oneshot::Receiver<()>,
}

/// What socket tasks tell the event loop ([`crate::warden::watch::Event::Line`]).
#[derive(Debug)]
pub enum LineEvent {
    /// Somebody asks to be connected.
    Open {
        /// As whom.
        who: Who,
        /// Where the answer goes.
        answers: oneshot::Sender<Result<Opened, Refusal>>,
    },
    /// Somebody who is connected asks for something. More than one call at a time may be open on a line.
    Call {
        /// Who, as [`Opened`] said.
        caller: Caller,
        /// What.
        call: Call,
        /// Where the answer goes.
        answers: Answers,
    },
    /// A line ended.
    Close(Line),
}
