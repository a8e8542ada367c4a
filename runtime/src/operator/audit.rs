//! Checking the audit: is the chain whole, and is it all there? Two questions, two answers.

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::{AuditError, Error, Operator};
use crate::{
    audit::{Head, one_line},
    registry::AuditWalk,
    seal::{self, DocumentError, PublicKey, SignedHead},
};

/// Whether what is there is as it was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "verdict", rename_all = "snake_case")]
pub enum Integrity {
    /// Every row follows the one before it.
    Intact,
    /// One does not.
    Broken {
        /// The first.
        row: u64,
        /// What is wrong with it.
        why: String,
    },
}

/// Who says what the log had.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "by", rename_all = "snake_case")]
pub enum Voucher {
    /// A key that whoever checks named: the strongest there is.
    PinnedKey {
        /// Its id.
        key_id: String,
        /// When it signed.
        at: DateTime<Utc>,
    },
    /// A key from this root: whoever can write the root could have signed anew.
    KeyOfThisRoot {
        /// Its id.
        key_id: String,
        /// When it signed.
        at: DateTime<Utc>,
    },
    /// Nobody: a head without a signature is as good as the place where it was kept.
    Nobody,
}

/// Whether everything that was written is there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "verdict", rename_all = "snake_case")]
pub enum Completeness {
    /// Up to a row, the log is what it was when its head was exported.
    Proven {
        /// The row.
        row: u64,
        /// Who says so.
        voucher: Voucher,
    },
    /// Nothing is known.
    Unknown {
        /// Why.
        why: String,
    },
    /// Rows were cut off the end.
    Truncated {
        /// Where the log ends.
        end: u64,
        /// Where it ended when its head was exported.
        head: u64,
        /// Who says so.
        voucher: Voucher,
    },
    /// The row is there, and is another.
    Rewritten {
        /// The row.
        row: u64,
        /// Who says so.
        voucher: Voucher,
    },
}

/// What the check found.
#[derive(Debug, Clone, Serialize)]
pub struct AuditVerdict {
    /// Rows in the chain, up to the first that is broken.
    pub rows: u64,
    /// The hash of the newest of them, in hexadecimal.
    pub head: String,
    /// Whether what is there is as it was written.
    pub integrity: Integrity,
    /// Whether everything that was written is there.
    pub completeness: Completeness,
    /// What that proves, and what it does not: one line each.
    pub message: String,
}

impl AuditVerdict {
    /// Whether nothing speaks against the log.
    pub const fn holds(&self) -> bool {
        matches!(self.integrity, Integrity::Intact)
            && matches!(self.completeness, Completeness::Proven { .. } | Completeness::Unknown { .. })
    }
}

impl Operator {
    /// Recomputes the audit chain, and compares it with a head that was exported before: what `audit head` wrote, or a row's number, ':' and
    /// its hash. A signed one counts where its key is `pinned`, or, without one, a key of this root.
    ///
    /// # Errors
    /// No such head, one of another root, or one that nobody vouches for. What is wrong with the log is in the verdict.
    pub fn audit_verify(&mut self, against: Option<&[u8]>, pinned: Option<PublicKey>) -> Result<AuditVerdict, Error> {
        let expected = against.map(|text| self.expected(text, pinned)).transpose()?;
        let walk = self.registry.audit_walk(expected.as_ref().map(|(head, _)| head.seq))?;
        let integrity = match &walk.broken {
            None => Integrity::Intact,
            Some(broken) => Integrity::Broken { row: broken.seq, why: one_line(&broken.what.to_string(), 300) },
        };
        let completeness = match expected {
            None => Completeness::Unknown { why: "no head was given; --against compares with one that was kept elsewhere".to_owned() },
            Some((head, voucher)) => completeness(&walk, head, voucher),
        };
        let head: String = walk.whole.hash.iter().map(|byte| format!("{byte:02x}")).collect();
        let message = format!("{}\n{}", integrity_line(&integrity, walk.whole.seq, &head), completeness_line(&completeness));
        Ok(AuditVerdict { rows: walk.whole.seq, head, integrity, completeness, message })
    }

    /// The head that the log must contain, and who vouches for it.
    fn expected(&self, text: &[u8], pinned: Option<PublicKey>) -> Result<(Head, Voucher), Error> {
        if let Some(plain) = std::str::from_utf8(text).ok().and_then(|text| text.trim().parse::<Head>().ok()) {
            if let Some(key) = pinned {
                return Err(unbelieved(DocumentError::Unsigned(format!("it is a bare head, and --key asks for one of key {}", key.id()))));
            }
            return Ok((plain, Voucher::Nobody));
        }
        let signed = SignedHead::read(text).map_err(unbelieved)?;
        let own = self.registry.root_id()?;
        if signed.root_id != own {
            return Err(AuditError::OtherRoot { theirs: one_line(&signed.root_id, 40), own }.into());
        }
        let key_id = signed.public_key.id();
        let voucher = match pinned {
            Some(key) if key == signed.public_key => Voucher::PinnedKey { key_id, at: signed.at },
            None if seal::known_keys(&self.root)?.contains(&signed.public_key) => Voucher::KeyOfThisRoot { key_id, at: signed.at },
            Some(_) | None => return Err(unbelieved(DocumentError::UnknownKey(signed.public_key))),
        };
        Ok((signed.head(), voucher))
    }
}

fn unbelieved(source: DocumentError) -> Error {
    AuditError::Document { what: "the head", source }.into()
}

fn completeness(walk: &AuditWalk, head: Head, voucher: Voucher) -> Completeness {
    let row = head.seq;
    if walk.end < row {
        return Completeness::Truncated { end: walk.end, head: row, voucher };
    }
    if row == 0 {
        // Of a log without rows there is one head.
        return if head == Head::EMPTY { Completeness::Proven { row, voucher } } else { Completeness::Rewritten { row, voucher } };
    }
    match walk.found {
        Some(hash) if hash == head.hash && walk.whole.seq >= row => Completeness::Proven { row, voucher },
        // Its hash says what was there, and what is there before it does not lead to that hash.
        Some(hash) if hash == head.hash => {
            Completeness::Unknown { why: format!("row {row} has the hash of that head, and a row before it is broken") }
        }
        Some(_) | None => Completeness::Rewritten { row, voucher },
    }
}

fn integrity_line(integrity: &Integrity, rows: u64, head: &str) -> String {
    match integrity {
        Integrity::Intact => format!("integrity: intact, {rows} rows, head {}", head.get(..16).unwrap_or(head)),
        Integrity::Broken { row, why } => format!("integrity: BROKEN at row {row}: {why}"),
    }
}

fn completeness_line(completeness: &Completeness) -> String {
    match completeness {
        Completeness::Proven { row, voucher } => format!("completeness: proven up to row {row}, {}", vouched(voucher)),
        Completeness::Unknown { why } => format!("completeness: unknown: {why}"),
        Completeness::Truncated { end, head, voucher } => {
            format!("completeness: TRUNCATED: the log ends at row {end}, its head was row {head}, {}", vouched(voucher))
        }
        Completeness::Rewritten { row, voucher } => {
            format!("completeness: REWRITTEN: row {row} is not the one that was its head, {}", vouched(voucher))
        }
    }
}

fn vouched(voucher: &Voucher) -> String {
    let time = |at: &DateTime<Utc>| at.to_rfc3339_opts(chrono::SecondsFormat::Secs, true);
    match voucher {
        Voucher::PinnedKey { key_id, at } => format!("by the head of {} signed by key {key_id}, which was named with --key", time(at)),
        Voucher::KeyOfThisRoot { key_id, at } => format!(
            "by the head of {} signed by key {key_id} of this very root: it proves less than a key that was kept elsewhere (--key)",
            time(at)
        ),
        Voucher::Nobody => "by a head that nobody signed: it proves as much as the place where it was kept".to_owned(),
    }
}
