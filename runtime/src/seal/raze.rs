//! Removing what a cell has on disk, with what that does written down as it goes.

use crate::{
    cell::{CellId, Receipt},
    home::{Removed, Root, TreeDigest},
    registry::{Progress, Registry, RegistryError, Teardown},
};

/// What is left of a cell on disk.
#[derive(Debug)]
pub enum Razed {
    /// Nothing: what was done. The processes that were looked for are for the caller to add.
    Nothing(Receipt),
    /// What could not be removed, never empty. What was done is written down for the next attempt.
    Remains(Vec<String>),
}

/// Digests what a cell holds and removes it. Nothing lives in it, and the caller holds its lease and its claim.
///
/// # Errors
/// What was done cannot be written down. It is done all the same, and the next attempt takes this one for cut short.
pub fn raze(root: &Root, registry: &mut Registry, cell: &CellId, teardown: &Teardown, processes: u32) -> Result<Razed, RegistryError> {
    let digest = root.digest_cell(cell);
    let kept = digest.as_ref().filter(|digest| !digest.is_of_a_rest()).map(|digest| (digest.sha256.clone(), digest.covers.clone()));
    let mut so_far = Progress { processes, digest: kept, ..Progress::default() };
    note(root, registry, teardown, &so_far)?;
    let Removed { files, dirs: directories, bytes, remained } = root.remove_cell(cell);
    so_far = Progress { files, directories, bytes, ..so_far };
    if !remained.is_empty() {
        registry.fail_teardown(teardown, &so_far)?;
        return Ok(Razed::Remains(remained));
    }
    note(root, registry, teardown, &so_far)?;
    Ok(Razed::Nothing(receipt_of(digest, &so_far)))
}

/// Writes down what an attempt did so far. A full disk is no reason not to go on: what is removed next may be what fills it, and an attempt that is
/// cut short without its numbers is told of as such.
///
/// # Errors
/// The registry cannot be written for another reason.
pub fn note(root: &Root, registry: &mut Registry, teardown: &Teardown, so_far: &Progress) -> Result<(), RegistryError> {
    match registry.note_teardown(teardown, so_far) {
        Err(RegistryError::Full { .. }) if root.spend_reserve() => match registry.note_teardown(teardown, so_far) {
            Err(RegistryError::Full { .. }) => Ok(()),
            noted => noted,
        },
        Err(RegistryError::Full { .. }) => Ok(()),
        noted => noted,
    }
}

fn receipt_of(digest: Option<TreeDigest>, did: &Progress) -> Receipt {
    let at_least = digest.as_ref().is_some_and(TreeDigest::is_of_a_rest);
    let (home_sha256, home_digest_covers) = match digest {
        Some(TreeDigest { sha256, covers }) => (Some(sha256), covers),
        None => (None, "nothing: its directory was not there any more".to_owned()),
    };
    Receipt {
        processes_ended: did.processes,
        files_removed: did.files,
        directories_removed: did.directories,
        bytes_removed: did.bytes,
        home_sha256,
        home_digest_covers,
        at_least,
        ..Receipt::default()
    }
}
