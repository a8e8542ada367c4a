//! A place for a rehearsal: directories as a cell has them, away from the cells, which nobody keeps.
//!
//! They are below `rehearsals/`, each under an id of its own, and held by a lease while they are in use: what a rehearsal that was killed left
//! there, the next one removes.

use std::{io, path::PathBuf};

use cap_std::fs::Dir;

use super::{
    CellDir, LayoutError, Lease, Removed, Root,
    handle::{lock_dir, open_dir, open_or_make_dir},
    remove_tree,
};
use crate::cell::CellId;

const REHEARSALS: &str = "rehearsals";
/// How often the directory of rehearsals is made again, because another one that ended has just removed it.
const TRIES: usize = 16;

/// The directories of one rehearsal. Whoever made them removes them: [`Stage::clear`].
#[derive(Debug)]
pub struct Stage {
    root: Dir,
    stages: Dir,
    id: CellId,
    dir: CellDir,
    lease: Lease,
}

/// Returns the path that a rehearsal has or would have.
pub fn stage_path(root: &Root, id: &CellId) -> PathBuf {
    root.path().join(REHEARSALS).join(id.as_str())
}

impl Stage {
    /// Makes the directories of a rehearsal, and takes their lease.
    ///
    /// # Errors
    /// The name is taken, or they cannot be made.
    pub fn make(root: &Root, id: &CellId) -> Result<Self, LayoutError> {
        let path = stage_path(root, id);
        let fail = |source| LayoutError::of(path.clone(), source);
        let mut tries = 0;
        loop {
            let stages = open_or_make_dir(root.dir(), REHEARSALS).map_err(fail)?;
            // Until the lease is taken, it would look as if it had been left behind.
            let _made = lock_dir(&stages).map_err(fail)?;
            match CellDir::create(&stages, id, path.clone()) {
                Ok(dir) => {
                    let lease = Lease::take(&dir, 0).map_err(|error| fail(io::Error::other(error)))?;
                    return Ok(Self { root: root.dir().try_clone().map_err(fail)?, stages, id: id.clone(), dir, lease });
                }
                Err(LayoutError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound && tries < TRIES => tries += 1,
                Err(error) => return Err(error),
            }
        }
    }

    /// Its directories.
    pub const fn dir(&self) -> &CellDir {
        &self.dir
    }

    /// Removes them, and looks whether they are gone. The caller has made sure that no process of the rehearsal lives.
    pub fn clear(self) -> Removed {
        let removed = remove_tree(&self.stages, self.id.as_str());
        drop(self.lease);
        // Where another rehearsal is under way, it is not empty, and stays.
        let _ = self.root.remove_dir(REHEARSALS);
        removed
    }
}

/// What rehearsals that were killed have left: their ids. It is removed; what cannot be, is tried again by the next.
pub fn clear_stale(root: &Root) -> Vec<CellId> {
    let Ok(stages) = open_dir(root.dir(), REHEARSALS) else { return Vec::new() };
    let Ok(_made) = lock_dir(&stages) else { return Vec::new() };
    let names = stages.entries().into_iter().flatten().filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<CellId>().ok());
    let is_stale = |id: &CellId| match CellDir::open(&stages, id, stage_path(root, id)) {
        // Nobody holds it, or it was never whole.
        Ok(Some(dir)) => Lease::take(&dir, 0).is_ok() || dir.run().is_err(),
        Ok(None) | Err(_) => false,
    };
    let stale: Vec<CellId> = names.filter(is_stale).collect();
    for id in &stale {
        remove_tree(&stages, id.as_str());
    }
    let _ = root.dir().remove_dir(REHEARSALS);
    stale
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stage_is_held_while_it_is_used_and_leaves_nothing() {
        let place = tempfile::tempdir().expect("tempdir");
        let root = Root::open(&place.path().join("root")).expect("a root");
        let (id, other): (CellId, CellId) = ("laz-00000001".parse().expect("an id"), "laz-00000002".parse().expect("an id"));
        let stage = Stage::make(&root, &id).expect("made");
        let left_behind = Stage::make(&root, &other).expect("made");
        drop(left_behind.lease);
        assert_eq!(clear_stale(&root), [other]);
        assert!(stage_path(&root, &id).is_dir(), "the one in use is left alone");
        assert!(matches!(Stage::make(&root, &id), Err(LayoutError::Occupied(_))));
        assert!(stage.clear().is_complete());
        assert!(!place.path().join("root").join(REHEARSALS).exists());
        assert_eq!(clear_stale(&root), Vec::<CellId>::new());
    }
}
