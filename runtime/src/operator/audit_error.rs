//! Why a use case of the audit, its key or a receipt did not do what it was asked for.

use super::Kind;
use crate::{
    cell::{CellId, Identity},
    seal::{DocumentError, SignerError},
};

/// Why not.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// Somebody may not read what is for those who lead or audit the cell.
    #[error("{who} may not {what} {cell}: only its owner, a director or auditor of it, or the operator may")]
    NoReader {
        /// Who.
        who: Identity,
        /// "read the audit of", …
        what: &'static str,
        /// The cell.
        cell: CellId,
    },
    /// Somebody but the operator in person asks for rows of every cell.
    #[error("{0} may not read the audit of every cell: name one with --cell")]
    OfAll(Identity),
    /// Only the operator in person may do that.
    #[error("{who} may not {what}: only the operator in person may, without --as")]
    OperatorAlone {
        /// Who.
        who: Identity,
        /// "make the root's key", …
        what: &'static str,
    },
    /// No receipt is kept.
    #[error("Cell {cell} has no receipt: {why}")]
    NoReceipt {
        /// The cell.
        cell: CellId,
        /// Why.
        why: &'static str,
    },
    /// A head or a receipt that is not believed.
    #[error("could not believe {what}")]
    Document {
        /// "the head", "the receipt".
        what: &'static str,
        /// Why not.
        #[source]
        source: DocumentError,
    },
    /// A head of another root.
    #[error("could not compare with a head of another root: it is of root {theirs}, this is root {own} (or its registry was replaced)")]
    OtherRoot {
        /// What the document says.
        theirs: String,
        /// This one.
        own: String,
    },
    /// The root's key.
    #[error("could not {0}")]
    Signer(#[from] SignerError),
}

impl AuditError {
    /// What kind of failure it is.
    pub const fn kind(&self) -> Kind {
        match self {
            Self::NoReceipt { .. } => Kind::NotFound,
            Self::NoReader { .. }
            | Self::OfAll(_)
            | Self::OperatorAlone { .. }
            | Self::Document { .. }
            | Self::OtherRoot { .. }
            | Self::Signer(SignerError::NoKey(_) | SignerError::KeyExists(_)) => Kind::Refused,
            Self::Signer(SignerError::Keyring { .. } | SignerError::Audit(_)) => Kind::Internal,
        }
    }

    /// What to do, where there is something to do.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Signer(SignerError::NoKey(_)) => Some("`lazarus audit keygen` makes one"),
            Self::Signer(SignerError::Keyring { .. }) => {
                Some("`lazarus audit keygen --replace` makes another; what the old one signed can still be checked")
            }
            Self::Signer(SignerError::KeyExists(_)) => Some("--replace makes another; what this one signed can still be checked"),
            Self::NoReader { .. }
            | Self::OfAll(_)
            | Self::OperatorAlone { .. }
            | Self::NoReceipt { .. }
            | Self::Document { .. }
            | Self::OtherRoot { .. }
            | Self::Signer(SignerError::Audit(_)) => None,
        }
    }
}

impl From<SignerError> for super::Error {
    fn from(error: SignerError) -> Self {
        AuditError::Signer(error).into()
    }
}
