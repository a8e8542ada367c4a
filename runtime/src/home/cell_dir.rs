//! The directory of one cell, and where the homes of its agents are in it.

use std::{
    io,
    path::{Path, PathBuf},
};

use cap_std::fs::Dir;
use rustix::fs::Mode;

use super::{
    ArchiveWish, Archived, DigestLimits, LayoutError, Removed, Seeded, TreeDigest,
    archive::archive,
    create::furnish,
    digest,
    handle::{PRIVATE_DIR, make_dir, open_dir, open_or_make_dir, open_own_dir, read_file, replace_file},
    remove_tree,
};
use crate::cell::{AgentName, CellId};

const RECORD: &str = "cell.json";
const PLAN: &str = "plan.json";
const HOME: &str = "home";
const GUESTS: &str = "guests";
const PROFILES: &str = "profiles";
const SHARED: &str = "shared";
const LOGS: &str = "logs";
const RUN: &str = "run";
const ARTIFACTS: &str = "artifacts";

/// Bytes of a cell's record: some hundred members at most, each of a few hundred bytes.
const RECORD_MOST_BYTES: u64 = 1024 * 1024;

/// Bytes of what a cell launches: the plans of a large team with their variables.
const PLAN_MOST_BYTES: u64 = 64 * 1024 * 1024;

/// Where an agent's home is in its cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// The cell's only agent: `home`.
    Only,
    /// One of a team: `home/profiles/<agent>`.
    Member,
    /// Invited later: `guests/profiles/<agent>`.
    Guest,
}

impl Place {
    /// Returns the path of an agent's home at this place of a cell.
    pub fn path(self, cell: &Path, agent: &AgentName) -> PathBuf {
        self.parts(agent).iter().fold(cell.to_owned(), |path, part| path.join(part))
    }

    /// The directories that lead to the home from the cell's.
    fn parts(self, agent: &AgentName) -> Vec<&str> {
        match self {
            Self::Only => vec![HOME],
            Self::Member => vec![HOME, PROFILES, agent.as_str()],
            Self::Guest => vec![GUESTS, PROFILES, agent.as_str()],
        }
    }
}

/// The directory of one cell, open.
#[derive(Debug)]
pub struct CellDir {
    id: CellId,
    dir: Dir,
    path: PathBuf,
}

impl CellDir {
    /// Makes the directories of a new cell.
    pub(super) fn create(cells: &Dir, id: &CellId, path: PathBuf) -> Result<Self, LayoutError> {
        let make = || {
            let dir = make_dir(cells, id.as_str())?;
            for part in [HOME, SHARED, LOGS, RUN] {
                rustix::fs::mkdirat(&dir, part, PRIVATE_DIR)?;
            }
            Ok(dir)
        };
        match make() {
            Ok(dir) => Ok(Self { id: id.clone(), dir, path }),
            Err(source) => Err(LayoutError::of(path, source)),
        }
    }

    /// Opens the directory of a cell.
    pub(super) fn open(cells: &Dir, id: &CellId, path: PathBuf) -> Result<Option<Self>, LayoutError> {
        match open_dir(cells, id.as_str()) {
            Ok(dir) => Ok(Some(Self { id: id.clone(), dir, path })),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(LayoutError::of(path, error)),
        }
    }

    /// The cell.
    pub fn id(&self) -> &CellId {
        &self.id
    }

    /// Its directory's path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its directory.
    pub fn dir(&self) -> &Dir {
        &self.dir
    }

    /// Opens the directory of the control socket and the lock.
    ///
    /// # Errors
    /// It is gone, or not a directory.
    pub fn run(&self) -> io::Result<Dir> {
        open_dir(&self.dir, RUN)
    }

    /// Opens the directory of the logs.
    ///
    /// # Errors
    /// It is gone, or not a directory.
    pub fn logs(&self) -> io::Result<Dir> {
        open_dir(&self.dir, LOGS)
    }

    /// Opens the directory of the files that agents declared as results, each under its digest; it is made if there is none. No agent reaches
    /// it.
    ///
    /// # Errors
    /// The cell is gone, or something else has the name.
    pub fn artifacts(&self) -> io::Result<Dir> {
        open_or_make_dir(&self.dir, ARTIFACTS)
    }

    /// The path of what the members share.
    pub fn shared_path(&self) -> PathBuf {
        self.path.join(SHARED)
    }

    /// Opens what the members share.
    ///
    /// # Errors
    /// It is gone, or not a directory.
    pub fn shared(&self) -> io::Result<Dir> {
        open_own_dir(&self.dir, SHARED)
    }

    /// Returns the path of the cell's HERMES_HOME: the only agent's home, or the directory of a team's.
    pub fn hermes_home(&self) -> PathBuf {
        self.path.join(HOME)
    }

    /// Returns the path that an agent's home has or would have.
    pub fn home_path(&self, place: Place, agent: &AgentName) -> PathBuf {
        place.path(&self.path, agent)
    }

    /// Makes an agent's home and furnishes it, from a template if there is one.
    ///
    /// # Errors
    /// The home is there already (of an only agent: is not empty), or cannot be furnished.
    pub fn make_home(&self, place: Place, agent: &AgentName, template: Option<&Dir>) -> Result<Seeded, LayoutError> {
        let path = self.home_path(place, agent);
        let make = || match place {
            Place::Only => open_dir(&self.dir, HOME),
            Place::Member => make_dir(&open_or_make_dir(&open_dir(&self.dir, HOME)?, PROFILES)?, agent.as_str()),
            Place::Guest => {
                let guests = open_or_make_dir(&self.dir, GUESTS)?;
                make_dir(&open_or_make_dir(&guests, PROFILES)?, agent.as_str())
            }
        };
        let home = make().map_err(|source| LayoutError::of(path.clone(), source))?;
        let is_empty = home.entries().map(|mut entries| entries.next().is_none());
        if !is_empty.map_err(|source| LayoutError::of(path.clone(), source))? {
            return Err(LayoutError::Occupied(path));
        }
        furnish(&home, template).map_err(|source| LayoutError::Furnish { path, source })
    }

    /// Opens an agent's home; `None` if there is none.
    ///
    /// # Errors
    /// A link or a file is in its place or on the way there.
    pub fn home(&self, place: Place, agent: &AgentName) -> Result<Option<Dir>, LayoutError> {
        let mut dir = self.dir.try_clone().map_err(|source| LayoutError::of(self.path.clone(), source))?;
        for part in place.parts(agent) {
            dir = match open_own_dir(&dir, part) {
                Ok(next) => next,
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
                Err(error) => return Err(LayoutError::of(self.home_path(place, agent), error)),
            };
        }
        Ok(Some(dir))
    }

    /// Removes an agent's home. The caller has made sure that the agent does not live.
    pub fn remove_home(&self, place: Place, agent: &AgentName) -> Removed {
        let parts = place.parts(agent);
        let Some((name, way)) = parts.split_last() else { return Removed::default() };
        let parent = way.iter().try_fold(self.dir.try_clone(), |dir, part| dir.map(|dir| open_dir(&dir, part)));
        match parent.and_then(|parent| parent) {
            Ok(parent) => remove_tree(&parent, name),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Removed::default(),
            Err(error) => Removed { remained: vec![format!("{}: {error}", parts.join("/"))], ..Removed::default() },
        }
    }

    /// Writes an archive of the cell's homes, and of what its members share. Returns what it holds, and what it was written to.
    ///
    /// Of a cell in which nothing lives, the caller holds the lease.
    ///
    /// # Errors
    /// It cannot be written. What could not be read is in the result.
    pub fn archive<W: io::Write>(&self, wish: ArchiveWish, out: W) -> io::Result<(Archived, W)> {
        archive(&self.dir, &self.path, self.id.as_str(), wish, out)
    }

    /// Writes what the cell launches, for its next life: synced, and replaced as a whole. No agent reaches it. The caller holds the cell's
    /// lease.
    ///
    /// # Errors
    /// It is larger than could be read again, the disk is full, or the cell gone.
    pub fn write_plan(&self, json: &[u8]) -> io::Result<()> {
        if json.len() as u64 > PLAN_MOST_BYTES {
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("larger than {PLAN_MOST_BYTES} bytes")));
        }
        replace_file(&self.dir, PLAN, json)
    }

    /// Reads what the cell launched; `None` if that was never written, or a teardown has begun.
    ///
    /// # Errors
    /// It is no regular file, or larger than any that Lazarus writes.
    pub fn read_plan(&self) -> io::Result<Option<Vec<u8>>> {
        match read_file(&self.dir, PLAN, PLAN_MOST_BYTES) {
            Ok(json) => Ok(Some(json)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Digests the homes of the agents, and what they share.
    pub(super) fn digest(&self, limits: DigestLimits) -> TreeDigest {
        digest::digest(&self.dir, &[HOME, GUESTS, SHARED], limits)
    }

    /// Notes that a teardown has begun to remove the cell. A mode is changed (the sticky bit set), since that needs no room on a full disk.
    pub(super) fn mark_removal(&self) {
        // Where that is not possible, a teardown that is cut short here leaves a digest of less than it says.
        let _ = rustix::fs::fchmod(&self.dir, PRIVATE_DIR | Mode::SVTX);
    }

    /// Whether a teardown has begun to remove the cell.
    pub(super) fn is_being_removed(&self) -> bool {
        rustix::fs::fstat(&self.dir).is_ok_and(|stat| Mode::from_raw_mode(stat.st_mode).contains(Mode::SVTX))
    }

    /// Removes what the cell launched: from now on nothing brings it back.
    pub(super) fn remove_plan(&self) -> Removed {
        remove_tree(&self.dir, PLAN)
    }

    /// Writes the cell's own record: synced, and replaced as a whole. The caller holds the cell's lease.
    ///
    /// # Errors
    /// The disk is full, or the cell gone.
    pub fn write_record(&self, json: &[u8]) -> io::Result<()> {
        replace_file(&self.dir, RECORD, json)
    }

    /// Reads the cell's own record; `None` if none was written yet.
    ///
    /// # Errors
    /// It is no regular file, or larger than any that Lazarus writes.
    pub fn read_record(&self) -> io::Result<Option<Vec<u8>>> {
        match read_file(&self.dir, RECORD, RECORD_MOST_BYTES) {
            Ok(json) => Ok(Some(json)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}
