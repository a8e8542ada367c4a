//! One row of the audit log.

use chrono::{DateTime, SubsecRound, Utc};

use super::{ACTOR_MOST_BYTES, Action, DETAIL_MOST_BYTES, Hash, Head, Phase, content, one_line};
use crate::cell::CellId;

/// Digits of a second that are kept: the registry counts microseconds.
const SUBSECOND_DIGITS: u16 = 6;

/// What is to be audited: an entry that has no place in the chain yet. Its text is bounded and escaped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draft {
    actor: String,
    action: Action,
    phase: Phase,
    cell: Option<CellId>,
    detail: String,
}

impl Draft {
    /// Returns a draft. `actor` is an identity as text, or `warden`; `detail` may hold what a stranger wrote.
    pub fn new(actor: &str, action: Action, phase: Phase, cell: Option<&CellId>, detail: &str) -> Self {
        Self { actor: one_line(actor, ACTOR_MOST_BYTES), action, phase, cell: cell.cloned(), detail: one_line(detail, DETAIL_MOST_BYTES) }
    }

    /// Returns the entry that follows a head.
    pub fn after(self, head: &Head, at: DateTime<Utc>) -> Entry {
        let mut entry = Entry {
            seq: head.seq.saturating_add(1),
            at: at.trunc_subsecs(SUBSECOND_DIGITS),
            actor: self.actor,
            action: self.action,
            phase: self.phase,
            cell: self.cell,
            detail: self.detail,
            previous: head.hash,
            hash: [0; 32],
        };
        entry.hash = content::hash_of(&entry);
        entry
    }
}

/// One row of the audit log, as stored: whether it is genuine, [`super::verify`] says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its place: 1, 2, 3, …
    pub seq: u64,
    /// When, to the microsecond.
    pub at: DateTime<Utc>,
    /// Who: an identity as text, or `warden`.
    pub actor: String,
    /// What.
    pub action: Action,
    /// How far it had come.
    pub phase: Phase,
    /// The cell, where there was one.
    pub cell: Option<CellId>,
    /// More, in one line of at most [`DETAIL_MOST_BYTES`].
    pub detail: String,
    /// The hash of the row before.
    pub previous: Hash,
    /// The hash of this row.
    pub hash: Hash,
}

impl Entry {
    /// Whether its hash is that of its content: that it was not changed since, unless it was hashed anew, which the rows after it show.
    pub fn is_whole(&self) -> bool {
        content::hash_of(self) == self.hash
    }
}
