//! Walking the chain: the first broken row, or the head.

use std::{borrow::Borrow, fmt, str::FromStr};

use super::{Entry, GENESIS, Hash, content};

/// The newest row, by place and hash. As text (`12:9f86d0…`) it can be kept where the registry cannot reach it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// The place of the newest row; 0 when there is none.
    pub seq: u64,
    /// Its hash; [`GENESIS`] when there is none.
    pub hash: Hash,
}

impl Head {
    /// The head of an empty log.
    pub const EMPTY: Self = Self { seq: 0, hash: GENESIS };
}

impl fmt::Display for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.seq)?;
        self.hash.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Something that is not an exported head.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("accept audit head {0:?}: a head is a row's number, ':' and 64 hexadecimal digits")]
pub struct HeadError(String);

impl FromStr for Head {
    type Err = HeadError;

    fn from_str(given: &str) -> Result<Self, Self::Err> {
        let parse = || {
            let (seq, digits) = given.split_once(':')?;
            let mut hash = GENESIS;
            if digits.len() != 2 * hash.len() || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
                return None;
            }
            for (byte, two) in hash.iter_mut().zip(digits.as_bytes().chunks_exact(2)) {
                *byte = u8::from_str_radix(std::str::from_utf8(two).ok()?, 16).ok()?;
            }
            Some(Self { seq: seq.parse().ok()?, hash })
        };
        parse().ok_or_else(|| HeadError(crate::cell::text::quoted(given, 100)))
    }
}

/// What is wrong with a row.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The row is missing: another follows where it should be.
    #[error("the row is missing, row {found} stands in its place")]
    Gap {
        /// The row that was found instead.
        found: u64,
    },
    /// The row does not name the hash of the row before it.
    #[error("the row does not follow the one before it")]
    Previous,
    /// The row's content is not what was hashed.
    #[error("the row was changed")]
    Hash,
    /// The row cannot be read as an entry at all.
    #[error("the row cannot be read: {0}")]
    Unreadable(String),
    /// The log ends before the row that the expected head names.
    #[error("the row is missing: the log ends at row {end}, the expected head is row {head}")]
    Truncated {
        /// Where the log ends.
        end: u64,
        /// Where the expected head is.
        head: u64,
    },
    /// The row is whole, and is not the one that was exported.
    #[error("the row is not the one that was exported: the log was written anew")]
    OtherHead,
}

/// The first broken row.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("verify audit row {seq}: {what}")]
pub struct Broken {
    /// The place of the row.
    pub seq: u64,
    /// What is wrong with it.
    pub what: Fault,
}

/// Walks the chain row by row, from the first.
#[derive(Debug, Clone)]
pub struct Verifier {
    head: Head,
    expected: Option<Head>,
}

impl Verifier {
    /// Returns a verifier that has seen nothing. With a head that was exported before, the log must still contain that row.
    pub fn new(expected: Option<Head>) -> Self {
        Self { head: Head::EMPTY, expected }
    }

    /// The place of the row that must come next.
    pub fn next_seq(&self) -> u64 {
        self.head.seq.saturating_add(1)
    }

    /// Checks the next row.
    ///
    /// # Errors
    /// [`Broken`], at the place where a good row should have been.
    pub fn push(&mut self, entry: &Entry) -> Result<(), Broken> {
        let seq = self.next_seq();
        let broken = |what| Err(Broken { seq, what });
        if entry.seq != seq {
            return broken(Fault::Gap { found: entry.seq });
        }
        if entry.previous != self.head.hash {
            return broken(Fault::Previous);
        }
        if content::hash_of(entry) != entry.hash {
            return broken(Fault::Hash);
        }
        self.head = Head { seq, hash: entry.hash };
        match self.expected {
            Some(expected) if expected.seq == seq && expected != self.head => broken(Fault::OtherHead),
            Some(_) | None => Ok(()),
        }
    }

    /// Ends the walk.
    ///
    /// # Errors
    /// [`Broken`] when the log ended before the expected head.
    pub fn finish(self) -> Result<Head, Broken> {
        match self.expected {
            Some(expected) if expected.seq > self.head.seq => {
                Err(Broken { seq: self.next_seq(), what: Fault::Truncated { end: self.head.seq, head: expected.seq } })
            }
            Some(_) | None => Ok(self.head),
        }
    }
}

fn walk<E: Borrow<Entry>>(entries: impl IntoIterator<Item = E>, expected: Option<Head>) -> Result<Head, Broken> {
    let mut verifier = Verifier::new(expected);
    for entry in entries {
        verifier.push(entry.borrow())?;
    }
    verifier.finish()
}

/// Verifies a whole log, from its first row. Says nothing of rows that were cut off its end.
///
/// # Errors
/// [`Broken`], which names the first broken row.
pub fn verify<E: Borrow<Entry>>(entries: impl IntoIterator<Item = E>) -> Result<Head, Broken> {
    walk(entries, None)
}

/// Verifies a whole log, and that it still contains a row that was exported before.
///
/// # Errors
/// [`Broken`], which names the first broken or missing row.
pub fn verify_against<E: Borrow<Entry>>(entries: impl IntoIterator<Item = E>, expected: Head) -> Result<Head, Broken> {
    walk(entries, Some(expected))
}
