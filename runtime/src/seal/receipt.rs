//! The receipt of a teardown, as it is kept after the cell is gone.

use chrono::{DateTime, SubsecRound, Utc};
use serde::{Deserialize, Serialize};

use super::{DocumentError, canonical::Canonical, key::PublicKey, signer::Signer};
use crate::{
    cell::{
        Attempt, CellId, Identity, ProjectName, Receipt,
        text::{one_line, with_causes},
    },
    home::Root,
    registry::{Burial, Buried, Registry, RegistryError, Teardown},
};

/// The form that this Lazarus writes. It reads the first as well, which knows nothing of attempts.
const VERSION: u32 = 2;
const FIRST_VERSION: u32 = 1;
const KIND: &str = "lazarus-receipt";
const DOMAIN: &str = "lazarus receipt, form 2";
const FIRST_DOMAIN: &str = "lazarus receipt, form 1";
/// What the first form has not.
const SINCE_THE_SECOND: [&str; 3] = ["at_least", "attempts", "attempts_unlisted"];
const NO_SIGNATURE: &str = "it has neither `key_id`, `public_key` and `signature`, in their forms, nor a reason why it is not signed";
/// The longest reason for a missing signature.
const WHY_MOST_BYTES: usize = 300;

/// Who vouches for a receipt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged, deny_unknown_fields)]
pub enum Signature {
    /// A key.
    By {
        /// Its id.
        key_id: String,
        /// The key.
        public_key: PublicKey,
        /// The signature over everything else, in hexadecimal.
        signature: String,
    },
    /// Nobody.
    Missing {
        /// Why: one line.
        unsigned_because: String,
    },
}

/// The receipt of a teardown: what was ended, what was removed, and what had been there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedReceipt {
    /// Always `lazarus-receipt`.
    pub kind: String,
    /// The form.
    pub version: u32,
    /// Of which root.
    pub root_id: String,
    /// Which cell.
    pub cell_id: CellId,
    /// How many lives it had had.
    pub generation: u32,
    /// What it was for.
    pub project: ProjectName,
    /// On whose word it was destroyed.
    pub actor: Identity,
    /// When, to the microsecond.
    pub at: DateTime<Utc>,
    /// The place of the teardown's row in the audit log.
    pub audit_seq: u64,
    /// What was done.
    pub receipt: Receipt,
    /// Who vouches for it.
    #[serde(flatten)]
    pub signature: Signature,
}

impl SignedReceipt {
    /// Signs what a teardown did; without a signer it says why.
    pub fn new(burial: &Burial<'_>, signer: Result<&Signer, &str>) -> Self {
        let unsigned = |why: &str| Signature::Missing { unsigned_because: one_line(why, WHY_MOST_BYTES) };
        let proposal = &burial.record.proposal;
        let mut document = Self {
            kind: KIND.to_owned(),
            version: VERSION,
            root_id: burial.root_id.to_owned(),
            cell_id: proposal.cell_id.clone(),
            generation: burial.record.generation,
            project: proposal.project.clone(),
            actor: burial.by.clone(),
            at: burial.at.trunc_subsecs(6),
            audit_seq: burial.audit_seq,
            receipt: burial.receipt.clone(),
            signature: unsigned(""),
        };
        document.signature = match signer {
            Ok(signer) => {
                let public_key = signer.public();
                let signature = signer.sign(&document.canonical(public_key));
                Signature::By { key_id: public_key.id(), public_key, signature }
            }
            Err(why) => unsigned(why),
        };
        document
    }

    /// Reads a document that this root keeps; nothing is checked but that it is one.
    ///
    /// # Errors
    /// Not such a document.
    pub fn parse(text: &[u8]) -> Result<Self, DocumentError> {
        let foreign = |why: String| DocumentError::Foreign { what: "a receipt", why: one_line(&why, 200) };
        let document: Self = serde_json::from_slice(text).map_err(|error| {
            let said = error.to_string();
            // What serde says of the two forms of a signature together helps nobody.
            foreign(if said.contains("enum Signature") { NO_SIGNATURE.to_owned() } else { said })
        })?;
        if document.kind != KIND {
            return Err(foreign(format!("its kind is {:?}", one_line(&document.kind, 60))));
        }
        if !matches!(document.version, FIRST_VERSION | VERSION) {
            return Err(DocumentError::Version { found: document.version, known: VERSION });
        }
        // What is not part of the form is not signed, and must not be read as if it were.
        let mut again = serde_json::to_value(&document).map_err(|error| foreign(error.to_string()))?;
        if let (FIRST_VERSION, Some(receipt)) = (document.version, again["receipt"].as_object_mut()) {
            SINCE_THE_SECOND.iter().for_each(|field| drop(receipt.remove(*field)));
        }
        let given: serde_json::Value = serde_json::from_slice(text).map_err(|error| foreign(error.to_string()))?;
        if again != given {
            return Err(foreign("it holds something that no receipt holds, or in another form".to_owned()));
        }
        Ok(document)
    }

    /// Reads a document and checks that its own key signed it. Whether that key is believed is another question.
    ///
    /// # Errors
    /// Not such a document, unsigned, or its signature does not fit.
    pub fn read(text: &[u8]) -> Result<(Self, PublicKey), DocumentError> {
        let document = Self::parse(text)?;
        match &document.signature {
            Signature::Missing { unsigned_because } => Err(DocumentError::Unsigned(one_line(unsigned_because, WHY_MOST_BYTES))),
            Signature::By { key_id, public_key, signature } => {
                let key = *public_key;
                if *key_id == key.id() && key.signed(&document.canonical(key), signature) {
                    Ok((document, key))
                } else {
                    Err(DocumentError::BadSignature(key))
                }
            }
        }
    }

    fn canonical(&self, public_key: PublicKey) -> Vec<u8> {
        let Receipt {
            processes_ended,
            processes_alive,
            files_removed,
            directories_removed,
            bytes_removed,
            remained,
            processes_verified,
            home_sha256,
            home_digest_covers,
            at_least,
            attempts,
            attempts_unlisted,
        } = &self.receipt;
        let mut form = Canonical::new(if self.version == FIRST_VERSION { FIRST_DOMAIN } else { DOMAIN })
            .number(u64::from(self.version))
            .text(&self.root_id)
            .text(self.cell_id.as_str())
            .number(u64::from(self.generation))
            .text(self.project.as_str())
            .text(&self.actor.to_string())
            // Two's complement: a time before 1970 is another number.
            .bytes(&self.at.timestamp_micros().to_be_bytes())
            .number(self.audit_seq)
            .number(u64::from(*processes_ended))
            .number(u64::from(*processes_alive))
            .number(*files_removed)
            .number(*directories_removed)
            .number(*bytes_removed)
            .number(remained.len() as u64);
        for left in remained {
            form = form.text(left);
        }
        form = form.number(processes_verified.len() as u64);
        for process in processes_verified {
            form = form.number(u64::from(process.pid)).number(process.start_ticks);
        }
        form = form.perhaps(home_sha256.as_deref()).text(home_digest_covers);
        if self.version != FIRST_VERSION {
            form = form.number(u64::from(*at_least)).number(u64::from(*attempts_unlisted)).number(attempts.len() as u64);
            for attempt in attempts {
                let Attempt { at, actor, processes_ended, files_removed, directories_removed, bytes_removed, cut_short } = attempt;
                form = form
                    .bytes(&at.timestamp_micros().to_be_bytes())
                    .text(actor)
                    .number(u64::from(*processes_ended))
                    .number(*files_removed)
                    .number(*directories_removed)
                    .number(*bytes_removed)
                    .number(u64::from(*cut_short));
            }
        }
        form.bytes(&public_key.to_bytes()).finish()
    }
}

/// Writes the tombstone of a cell of which nothing is left, with its signed receipt, in one commit. A root without a key gets one. Returns what
/// was kept: of a cell that somebody else buried first, what they did.
///
/// # Errors
/// The cell may not be destroyed, or the registry not be written. A key that cannot be had is no error: the receipt is then unsigned, and
/// says why.
pub fn bury(
    root: &Root,
    registry: &mut Registry,
    cell: &CellId,
    teardown: Option<&Teardown>,
    by: &Identity,
    actor: &str,
    receipt: Receipt,
) -> Result<Buried, RegistryError> {
    let signer = Signer::ensure(root, registry, actor).map_err(|error| format!("could not {}", with_causes(&error)));
    registry.bury(cell, teardown, by, receipt, actor, |burial| {
        let document = SignedReceipt::new(burial, signer.as_ref().map_err(String::as_str));
        serde_json::to_string(&document).map_err(|_| RegistryError::OutOfRange("a receipt"))
    })
}
