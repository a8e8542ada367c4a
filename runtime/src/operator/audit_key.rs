//! The key of a root, and the heads that are signed with it.

use std::path::Path;

use chrono::Utc;
use serde::Serialize;

use super::{AuditError, Error, Operator};
use crate::{
    audit::{Action, Phase},
    home::ambient,
    seal::{self, KeyMade, PublicKey, SignedHead, Signer},
};

/// A new key.
#[derive(Debug, Clone, Serialize)]
pub struct KeyShown {
    /// Its id.
    pub key_id: String,
    /// The public key: 64 hexadecimal digits.
    pub public_key: PublicKey,
    /// The key whose place it took.
    pub replaced: Option<PublicKey>,
    /// What was done, as a sentence.
    pub message: String,
}

/// A head that was exported.
#[derive(Debug, Clone, Serialize)]
pub struct HeadShown {
    /// The document.
    pub head: SignedHead,
    /// The file; null for standard output.
    pub file: Option<String>,
    /// What was done, as a sentence.
    pub message: String,
}

impl Operator {
    /// Makes the key that heads and receipts are signed with; with `replace`, also where there is one: what it signed can still be checked.
    ///
    /// # Errors
    /// Only the operator in person may; there is one already; it cannot be kept. Each is audited.
    pub fn audit_keygen(&mut self, replace: bool) -> Result<KeyShown, Error> {
        self.audited(Action::AuditKeygen, None, |operator| {
            operator.must_be_operator("make the root's key")?;
            let KeyMade { public, replaced } =
                seal::make_key(&operator.root, &mut operator.registry, &operator.actor.to_string(), replace)?;
            let message = format!("Made key {}; its public key is {public}", public.id());
            Ok(KeyShown { key_id: public.id(), public_key: public, replaced, message })
        })
    }

    /// Signs the newest row of the audit, and writes that where the operator says; one that is there is not replaced.
    ///
    /// # Errors
    /// Only the operator in person may; there is no key; the file is there already or cannot be written. Each is audited.
    pub fn audit_head(&mut self, to: Option<&Path>) -> Result<HeadShown, Error> {
        self.audited(Action::AuditHead, None, |operator| {
            operator.must_be_operator("export the head of the audit")?;
            let signer = Signer::of(&operator.root)?;
            operator.note(Action::AuditHead, Phase::Intent, None, &format!("signed with key {}", signer.public().id()))?;
            let head = SignedHead::sign(&signer, &operator.registry.root_id()?, &operator.registry.audit_head()?, Utc::now());
            if let Some(path) = to {
                let document =
                    serde_json::to_string(&head).map_err(|error| Error::Destination { path: path.into(), source: error.into() })?;
                export(path, &document)?;
            }
            let detail = format!("row {}, sha256 {}, signed with key {}", head.seq, head.hash, head.key_id);
            operator.note_done(Action::AuditHead, &detail)?;
            let file = to.map(|path| path.to_string_lossy().into_owned());
            let message = format!("Signed row {} as the head with key {}", head.seq, head.key_id);
            Ok(HeadShown { head, file, message })
        })
    }

    /// What concerns every cell is for the operator in person.
    pub(super) fn must_be_operator(&self, what: &'static str) -> Result<(), Error> {
        if self.in_person { Ok(()) } else { Err(AuditError::OperatorAlone { who: self.actor.clone(), what }.into()) }
    }
}

/// Writes a document into a new file, as one line.
pub(super) fn export(path: &Path, document: &str) -> Result<(), Error> {
    use std::io::Write as _;
    let failed = |source: std::io::Error| match source.kind() {
        std::io::ErrorKind::AlreadyExists => Error::DestinationExists(path.to_owned(), super::Replacing::Never),
        _ => Error::Destination { path: path.to_owned(), source },
    };
    let mut fresh = ambient::FreshFile::create(path).map_err(failed)?;
    writeln!(fresh.file(), "{document}").map_err(failed)?;
    fresh.keep(false).map_err(failed)
}
