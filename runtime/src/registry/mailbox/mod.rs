//! The mailbox of a cell: durable, bounded, in order for each sender and receiver.
//!
//! ```text
//!  accept ─→ waiting ─ settle: handled ─→ handled     the newest HANDLED_MOST of a cell stay, for its history
//!            ↑     └─ settle: failed ─→ waiting again, not before its retry
//!            │                      └─→ parked        with its reason; the newest PARKED_MOST of a cell stay
//!            └─ settle: sent           └← also what waits for a member who is revoked
//! ```
//!
//! - Accepted is committed. The end of an event is one commit: what it handled, what failed, what it sent.
//! - A message that waits for its retry holds back later ones of its sender to its receiver, and nobody else's.
//! - Whether somebody's role lets them send is the caller's question ([`crate::mail`]); whether they are there at all is asked here, in the
//!   same transaction.
//! - No text is ever audited: ids, names, sizes and digests are.

mod accept;
mod parked;
pub(super) mod queue;
pub(super) mod read;
mod row;
mod settle;
mod who;

use chrono::{DateTime, Utc};

use crate::mail::{Draft, Message, MessageId};

pub(super) use settle::{forget_all, park_for};

/// The handled messages of a cell that are kept; of more, the oldest are removed.
pub const HANDLED_MOST: u64 = 10_000;

/// The parked messages of a cell that are kept; of more, the oldest are removed. The audit log has named each with its reason.
pub const PARKED_MOST: u64 = 1_000;

/// What an event did to messages. The default is nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settlement {
    /// Messages that are done with.
    pub handled: Vec<MessageId>,
    /// Messages that were delivered in vain.
    pub failed: Vec<FailedDelivery>,
    /// Messages that it sends.
    pub sent: Vec<Draft>,
}

/// A delivery in vain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailedDelivery {
    /// The message.
    pub id: MessageId,
    /// Why: becomes one harmless line.
    pub why: String,
    /// When it may be delivered again; `None` parks it.
    pub retry_at: Option<DateTime<Utc>>,
}

/// How far a message has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MailState {
    /// It waits for a delivery, or is with its receiver.
    Waiting {
        /// Until when it must wait, after a delivery that failed.
        not_before: Option<DateTime<Utc>>,
        /// Why that failed.
        last_why: Option<String>,
    },
    /// Its receiver is done with it.
    Handled {
        /// Since when.
        at: DateTime<Utc>,
    },
    /// It is given up.
    Parked {
        /// Since when.
        at: DateTime<Utc>,
        /// Why: one line.
        why: String,
    },
}

/// A message, and how far it has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MailRow {
    /// The message. Its `attempt` is the number of deliveries that have ended.
    pub message: Message,
    /// Its state.
    pub state: MailState,
}

/// Which messages of an inbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InboxFilter {
    /// Those that wait.
    Waiting,
    /// Those that were given up.
    Parked,
    /// Every one that is kept, handled ones included.
    All,
}

/// How many messages a cell has that are not handled.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MailCounts {
    /// Those that wait.
    pub waiting: u64,
    /// Those that were given up.
    pub parked: u64,
}
