//! Names on disk, and the handles to what has them.
//!
//! ```text
//! $LAZARUS_ROOT
//! ├── registry.db
//! ├── registry.reserve          room for a teardown on a full disk
//! ├── agents/<name>/            installed definitions
//! ├── cache/                    compiled components
//! ├── keys/                     what heads and receipts are signed with
//! ├── rehearsals/<id>/          throwaway homes, while a rehearsal lasts
//! └── cells/<cell id>/
//!     ├── cell.json             the cell's own record
//!     ├── home/                 the home of the only agent, or of a team:
//!     │   └── profiles/<agent>/     one home each
//!     ├── guests/               beside, so that the only agent cannot reach it:
//!     │   └── profiles/<agent>/     agents that were invited later
//!     ├── shared/               what members share
//!     ├── logs/                 written by the warden
//!     ├── artifacts/            results, kept by the warden, each under its digest
//!     └── run/                  control socket, lock
//! ```
//!
//! Hermes takes the grandparent of a home below `profiles` for its root, where a file that one
//! member writes would redirect the others. So that grandparent belongs to no member.

use std::{
    io,
    path::{Path, PathBuf},
};

use cap_std::fs::Dir;
use rustix::fs::{AtFlags, OFlags};

use super::{
    CellDir, DigestLimits, Keyring, Removed, TreeDigest,
    ambient::{self, RootError},
    create::CreateError,
    digest::COVERS_A_REST,
    handle::{PRIVATE_FILE, open_or_make_dir},
    remove_tree,
};
use crate::cell::CellId;

const AGENTS: &str = "agents";
const CACHE: &str = "cache";
const CELLS: &str = "cells";
const RESERVE: &str = "registry.reserve";

/// Room for the few pages of the registry that a teardown writes before it has freed anything.
const RESERVE_BYTES: u64 = 256 * 1024;

/// Why something below the root was not made or opened.
#[derive(Debug, thiserror::Error)]
pub enum LayoutError {
    /// A name that ought to be free is not: left by a crash, or planted.
    #[error("make {0}: something has that name already")]
    Occupied(PathBuf),
    /// A link or a file where a directory of ours ought to be.
    #[error("open {0}: it is not a directory of Lazarus")]
    Foreign(PathBuf),
    /// The home could not be furnished.
    #[error("furnish {path}")]
    Furnish {
        /// The home.
        path: PathBuf,
        /// What went wrong.
        #[source]
        source: CreateError,
    },
    /// Anything else.
    #[error("make or open {path}")]
    Io {
        /// The path.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

impl LayoutError {
    pub(super) fn of(path: PathBuf, source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::AlreadyExists => Self::Occupied(path),
            // Also what Linux says of a link that is not to be followed.
            io::ErrorKind::NotADirectory => Self::Foreign(path),
            _ => Self::Io { path, source },
        }
    }
}

/// Everything that Lazarus keeps on a machine, open. No guest reaches the root; guests write below `cells/*/`.
#[derive(Debug)]
pub struct Root {
    path: PathBuf,
    dir: Dir,
    agents: Dir,
    cache: Dir,
    cells: Dir,
}

impl Root {
    /// Opens the root, which is made if there is none, on the operator's word.
    ///
    /// # Errors
    /// It is inside `~/.hermes`, not a directory, not ours, open to others, or cannot be made.
    pub fn open(path: &Path) -> Result<Self, RootError> {
        Self::open_apart_from(path, ambient::operator_hermes().as_deref())
    }

    fn open_apart_from(path: &Path, hermes: Option<&Path>) -> Result<Self, RootError> {
        let (dir, path) = ambient::open_root(path, hermes)?;
        let part = |name: &str| open_or_make_dir(&dir, name).map_err(|source| RootError::of(&path.join(name), source));
        let (agents, cache, cells) = (part(AGENTS)?, part(CACHE)?, part(CELLS)?);
        Ok(Self { path, dir, agents, cache, cells })
    }

    /// Sets a little of the disk aside, if that is not done yet: destroying must be possible when an agent has filled the rest.
    ///
    /// # Errors
    /// What the system says; the root works without it.
    pub fn keep_reserve(&self) -> io::Result<()> {
        if rustix::fs::statat(&self.dir, RESERVE, AtFlags::SYMLINK_NOFOLLOW).is_ok() {
            return Ok(());
        }
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&self.dir, RESERVE, flags, PRIVATE_FILE)?;
        let kept = rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, RESERVE_BYTES);
        // A file that holds nothing would only look like a reserve.
        kept.or_else(|error| rustix::fs::unlinkat(&self.dir, RESERVE, AtFlags::empty()).and(Err(error)))?;
        Ok(())
    }

    /// Gives the reserve back to the disk. Returns whether there was one.
    pub fn spend_reserve(&self) -> bool {
        rustix::fs::unlinkat(&self.dir, RESERVE, AtFlags::empty()).is_ok()
    }

    /// The root's canonical path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The root itself.
    pub fn dir(&self) -> &Dir {
        &self.dir
    }

    /// The directory of installed agent definitions.
    pub fn agents(&self) -> &Dir {
        &self.agents
    }

    /// The path of [`Root::agents`].
    pub fn agents_path(&self) -> PathBuf {
        self.path.join(AGENTS)
    }

    /// The directory of compiled components.
    pub fn cache(&self) -> &Dir {
        &self.cache
    }

    /// The path of [`Root::cache`].
    pub fn cache_path(&self) -> PathBuf {
        self.path.join(CACHE)
    }

    /// Returns the path that a cell has or would have.
    pub fn cell_path(&self, id: &CellId) -> PathBuf {
        self.path.join(CELLS).join(id.as_str())
    }

    /// Opens the keys of this root; their directory is made if there is none.
    ///
    /// # Errors
    /// Something else has the name, or it cannot be made.
    pub fn keyring(&self) -> io::Result<Keyring> {
        Keyring::open(&self.dir)
    }

    /// Makes the directories of a new cell. Its homes are furnished one by one, by [`CellDir::make_home`].
    ///
    /// # Errors
    /// Anything has that name already, be it a link: it is neither followed nor reused.
    pub fn create_cell(&self, id: &CellId) -> Result<CellDir, LayoutError> {
        CellDir::create(&self.cells, id, self.cell_path(id))
    }

    /// Opens the directory of a cell; `None` if there is none.
    ///
    /// # Errors
    /// A link or a file has its name, or it cannot be opened.
    pub fn cell(&self, id: &CellId) -> Result<Option<CellDir>, LayoutError> {
        CellDir::open(&self.cells, id, self.cell_path(id))
    }

    /// Lists the cells that have something on disk, in order: what the registry ought to explain.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub fn cells(&self) -> io::Result<Vec<CellId>> {
        let mut ids = Vec::new();
        for entry in self.cells.entries()? {
            if let Some(id) = entry?.file_name().to_str().and_then(|name| name.parse().ok()) {
                ids.push(id);
            }
        }
        ids.sort();
        Ok(ids)
    }

    /// Digests what a cell holds, before it is removed: the homes of its agents, and what its members share. `None` where nothing of the cell is
    /// there. The caller has made sure that no process of the cell lives, and holds its lease.
    pub fn digest_cell(&self, id: &CellId) -> Option<TreeDigest> {
        let dir = self.cell(id).ok().flatten()?;
        let mut digest = dir.digest(DigestLimits::OF_TEARDOWN);
        if dir.is_being_removed() {
            digest.covers = format!("{COVERS_A_REST}{}", digest.covers);
        }
        Some(digest)
    }

    /// Removes the directory of a cell, with everything in it, and looks whether it is gone. The caller has made sure that no
    /// process of the cell lives.
    pub fn remove_cell(&self, id: &CellId) -> Removed {
        // First what it could be resurrected from: of a teardown that is cut short, no half of a home comes to life, nor is digested as a whole.
        let begin = |dir: CellDir| {
            dir.mark_removal();
            dir.remove_plan()
        };
        let plan = self.cell(id).ok().flatten().map(begin).unwrap_or_default();
        let mut removed = remove_tree(&self.cells, id.as_str());
        removed.files += plan.files;
        removed.bytes += plan.bytes;
        removed
    }
}

#[cfg(test)]
#[path = "layout_tests.rs"]
mod tests;
