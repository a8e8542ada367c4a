//! Receipts: shown, exported, checked.

use std::path::Path;

use serde::Serialize;

use super::{AuditError, Error, Operator, audit_key::export};
use crate::{
    audit::{Action, DETAIL_MOST_BYTES, Entry, Phase, one_line},
    cell::{CellId, Record, State},
    home::Root,
    mail::may_read_all,
    seal::{self, DocumentError, PublicKey, Signature, SignedReceipt},
};

/// A receipt that is kept.
#[derive(Debug, Clone, Serialize)]
pub struct ReceiptShown {
    /// The cell.
    pub cell_id: CellId,
    /// The document.
    pub receipt: SignedReceipt,
    /// The file; null where none was asked for.
    pub file: Option<String>,
    /// What it says, in a sentence.
    pub message: String,
}

/// A receipt that was checked.
#[derive(Debug, Clone, Serialize)]
pub struct ReceiptChecked {
    /// The cell.
    pub cell_id: CellId,
    /// The document.
    pub receipt: SignedReceipt,
    /// Whose signature it has.
    pub key_id: String,
    /// Whether that key was named by whoever checks, rather than found in the root.
    pub pinned: bool,
    /// What that proves.
    pub message: String,
}

impl Operator {
    /// The receipt of a destroyed cell; with `to`, also written there, where nothing is replaced.
    ///
    /// # Errors
    /// No such cell, no right to (audited), none is kept, it was changed since, or the file cannot be written.
    pub fn receipt(&mut self, cell: &str, to: Option<&Path>) -> Result<ReceiptShown, Error> {
        let record = self.swept_cell(cell)?;
        let cell_id = record.proposal.cell_id.clone();
        let who = self.actor.clone();
        if !self.standing(&record, &who)?.is_some_and(may_read_all) {
            self.note_denied(Some(&cell_id), "receipt: no right to")?;
            return Err(AuditError::NoReader { who, what: "read the receipt of", cell: cell_id }.into());
        }
        let document = self.registry.receipt(&cell_id)?.ok_or_else(|| {
            let why = match &record.state {
                State::Destroyed { .. } => "it was destroyed before receipts were kept; `lazarus status` has its counts",
                State::Proposed | State::Active | State::Idle | State::Closing { .. } | State::Closed { .. } | State::Failed { .. } => {
                    "it is not destroyed"
                }
            };
            AuditError::NoReceipt { cell: cell_id.clone(), why }
        })?;
        let receipt = self.kept_receipt(&record, &document)?;
        if let Some(path) = to {
            export(path, &document)?;
        }
        let message = format!("Receipt of {cell_id}, destroyed by {}", receipt.actor);
        Ok(ReceiptShown { cell_id, receipt, file: to.map(|path| path.to_string_lossy().into_owned()), message })
    }

    /// A receipt as the registry keeps it, believed: signed with a key of this root, where it is signed at all, and saying what the tombstone
    /// and the audit row of the teardown say.
    ///
    /// # Errors
    /// It was changed; or the registry or the keys cannot be read.
    pub(super) fn kept_receipt(&self, record: &Record, document: &str) -> Result<SignedReceipt, Error> {
        let receipt = SignedReceipt::parse(document.as_bytes()).map_err(unbelieved)?;
        match &receipt.signature {
            Signature::By { .. } => {
                let (_, key) = SignedReceipt::read(document.as_bytes()).map_err(unbelieved)?;
                if !seal::known_keys(&self.root)?.contains(&key) {
                    return Err(unbelieved(DocumentError::UnknownKey(key)));
                }
            }
            // Then the audit alone vouches for it.
            Signature::Missing { .. } => {}
        }
        let row = self.registry.audit_row(receipt.audit_seq)?;
        match disagreement(&receipt, record, &self.registry.root_id()?, row.as_ref()) {
            None => Ok(receipt),
            Some(what) => Err(unbelieved(DocumentError::Disagrees(what))),
        }
    }
}

/// Where a receipt says something else than what the same commit wrote beside it.
fn disagreement(receipt: &SignedReceipt, record: &Record, root_id: &str, row: Option<&Entry>) -> Option<String> {
    let proposal = &record.proposal;
    if receipt.cell_id != proposal.cell_id || receipt.root_id != root_id {
        return Some(format!("it is of cell {} of root {}", receipt.cell_id, one_line(&receipt.root_id, 40)));
    }
    let buried = matches!(&record.state, State::Destroyed { by, receipt: kept } if *by == receipt.actor && *kept == receipt.receipt);
    if !buried || receipt.generation != record.generation || receipt.project != proposal.project {
        return Some("the cell's tombstone does not say the same".to_owned());
    }
    let seq = receipt.audit_seq;
    let Some(row) = row else { return Some(format!("the audit has no row {seq}, which it names")) };
    let is_of_it = row.is_whole()
        && (row.action, row.phase, row.cell.as_ref()) == (Action::Destroy, Phase::Done, Some(&receipt.cell_id))
        && row.at == receipt.at
        && row.detail.ends_with(&one_line(&receipt.receipt.in_the_audit(), DETAIL_MOST_BYTES));
    (!is_of_it).then(|| format!("row {seq} of the audit, which it names, does not say the same"))
}

fn unbelieved(source: DocumentError) -> Error {
    AuditError::Document { what: "the receipt", source }.into()
}

/// Checks a receipt without any registry: its signature, against a pinned key or those of a root.
///
/// # Errors
/// Not a receipt, unsigned, changed, or signed by a key that is not believed.
pub fn check_receipt(text: &[u8], pinned: Option<PublicKey>, root: Option<&Path>) -> Result<ReceiptChecked, Error> {
    let (receipt, key) = SignedReceipt::read(text).map_err(unbelieved)?;
    let believed = match (pinned, root) {
        (Some(pinned), _) => pinned == key,
        // A root that is not there has no keys, and is not made to find that out.
        (None, Some(root)) => root.exists() && seal::known_keys(&Root::open(root)?)?.contains(&key),
        (None, None) => false,
    };
    if !believed {
        return Err(unbelieved(DocumentError::UnknownKey(key)));
    }
    let key_id = key.id();
    let whose = match pinned {
        Some(_) => "the key that was named with --key".to_owned(),
        None => "a key of this very root: it proves less than a key that was kept elsewhere (--key)".to_owned(),
    };
    let message = format!("The receipt of {} is genuine: signed by key {key_id}, {whose}", receipt.cell_id);
    Ok(ReceiptChecked { cell_id: receipt.cell_id.clone(), receipt, key_id, pinned: pinned.is_some(), message })
}
