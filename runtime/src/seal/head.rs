//! The head of the audit log, as it leaves the root.

use chrono::{DateTime, SubsecRound, Utc};
use serde::{Deserialize, Serialize};

use super::{
    DocumentError,
    canonical::Canonical,
    key::{PublicKey, hex, unhex},
    signer::Signer,
};
use crate::{audit::Head, cell::text::one_line};

/// The form that this Lazarus writes and reads.
const VERSION: u32 = 1;
/// What the kind says.
const KIND: &str = "lazarus-audit-head";
const DOMAIN: &str = "lazarus audit head, form 1";

/// A signed head: the audit log of that root had that row as its newest, at that time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignedHead {
    /// Always `lazarus-audit-head`.
    pub kind: String,
    /// The form.
    pub version: u32,
    /// Which root.
    pub root_id: String,
    /// The place of the row.
    pub seq: u64,
    /// Its hash, in hexadecimal.
    pub hash: String,
    /// When it was signed, to the microsecond.
    pub at: DateTime<Utc>,
    /// The id of the key.
    pub key_id: String,
    /// The key.
    pub public_key: PublicKey,
    /// The signature over all of the above, in hexadecimal.
    pub signature: String,
}

impl SignedHead {
    /// Signs a head.
    pub fn sign(signer: &Signer, root_id: &str, head: &Head, at: DateTime<Utc>) -> Self {
        let public_key = signer.public();
        let mut signed = Self {
            kind: KIND.to_owned(),
            version: VERSION,
            root_id: root_id.to_owned(),
            seq: head.seq,
            hash: hex(&head.hash),
            at: at.trunc_subsecs(6),
            key_id: public_key.id(),
            public_key,
            signature: String::new(),
        };
        signed.signature = signer.sign(&signed.canonical());
        signed
    }

    /// Reads a document, and checks that its own key signed it. Whether that key is believed is another question.
    ///
    /// # Errors
    /// Not such a document, or its signature does not fit.
    pub fn read(text: &[u8]) -> Result<Self, DocumentError> {
        let foreign = |why: String| DocumentError::Foreign { what: "an audit head", why: one_line(&why, 200) };
        let head: Self = serde_json::from_slice(text).map_err(|error| foreign(error.to_string()))?;
        if head.kind != KIND {
            return Err(foreign(format!("its kind is {:?}", one_line(&head.kind, 60))));
        }
        if head.version != VERSION {
            return Err(DocumentError::Version { found: head.version, known: VERSION });
        }
        if unhex::<32>(&head.hash).is_none() {
            return Err(foreign("its hash is no SHA-256".to_owned()));
        }
        if head.key_id != head.public_key.id() || !head.public_key.signed(&head.canonical(), &head.signature) {
            return Err(DocumentError::BadSignature(head.public_key));
        }
        Ok(head)
    }

    /// The place and hash that it vouches for.
    pub fn head(&self) -> Head {
        Head { seq: self.seq, hash: unhex(&self.hash).unwrap_or_default() }
    }

    fn canonical(&self) -> Vec<u8> {
        Canonical::new(DOMAIN)
            .number(u64::from(self.version))
            .text(&self.root_id)
            .number(self.seq)
            .text(&self.hash)
            // Two's complement: a time before 1970 is another number.
            .bytes(&self.at.timestamp_micros().to_be_bytes())
            .bytes(&self.public_key.to_bytes())
            .finish()
    }
}
