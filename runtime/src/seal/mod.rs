//! What can be believed elsewhere: heads of the audit and receipts of teardowns, signed with the root's key (ed25519).
//!
//! ```text
//!  keys/signing ─→ Signer ─┬→ SignedHead:    the log had this row, at this time                    `audit head`, `audit verify --against`
//!                          └→ SignedReceipt: this cell was torn down, and this is what was done    `destroy`, `receipt`
//! ```
//!
//! - A signature covers a canonical form: a domain of its own, then each field led by its length. No document of one kind is one of the other.
//! - A document names its key; whether that key is believed, is decided by whoever checks: a key that was kept elsewhere proves more than one
//!   that is found in the same root, since whoever can write the root can make another.
//! - A teardown is never kept from happening by a key: where there is none to be had, its receipt says why it is unsigned.

mod canonical;
mod head;
mod key;
mod raze;
mod receipt;
mod signer;

pub use head::SignedHead;
pub use key::{KeyParseError, PublicKey};
pub use raze::{Razed, note, raze};
pub use receipt::{Signature, SignedReceipt, bury};
pub use signer::{KeyMade, Signer, SignerError, known_keys, make_key};

/// Why a document is not believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DocumentError {
    /// Not a document of that kind.
    #[error("it is not {what}: {why}")]
    Foreign {
        /// "an audit head", "a receipt".
        what: &'static str,
        /// Why: one line.
        why: String,
    },
    /// Of a form that this Lazarus does not know.
    #[error("it has version {found}; this Lazarus knows version {known}")]
    Version {
        /// What it says.
        found: u32,
        /// What is known.
        known: u32,
    },
    /// The signature does not fit.
    #[error("its signature does not fit: it was changed, or key {0} did not sign it")]
    BadSignature(PublicKey),
    /// It was signed by a key that nobody vouches for.
    #[error("it is signed with key {0}, which is none of those that are believed here")]
    UnknownKey(PublicKey),
    /// It says something else than the registry that keeps it.
    #[error("it was changed: {0}")]
    Disagrees(String),
    /// It was not signed.
    #[error("it is not signed: {0}")]
    Unsigned(String),
}

/// The longest document that is read, in bytes: of each kind a few KiB.
pub const DOCUMENT_MOST_BYTES: u64 = 64 * 1024;

#[cfg(test)]
mod tests;
