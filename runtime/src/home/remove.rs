//! Removing a tree that a guest wrote: all of it, and nothing else.
//!
//! ```text
//!  pass over a directory ─ entry ─→ not a directory: unlink ←─┐ it was swapped for the other
//!        ↑                      └─→ directory: enter ──────────┘ (below MOST_OPEN levels: lift it to the top instead)
//!        │ not empty, and something moved            │
//!        └──────────────────────────── end: rmdir ←──┘
//! ```
//!
//! Every step acts on one name in a directory that is held open, so a link is unlinked and never
//! followed, whatever is swapped meanwhile; mount points are not crossed. Lifting keeps a tree of
//! any depth within a fixed number of open directories. What cannot be removed is named.

use std::{
    collections::BTreeSet,
    ffi::{CStr, CString},
    os::fd::{AsFd, BorrowedFd},
    time::{Duration, Instant},
};

use cap_std::fs::Dir;
use rustix::{
    fs::{AtFlags, FileType, Stat},
    io::Errno,
};

use super::handle::{descend, escape_name, unlock_dir};

/// Directories held open at once: ordinary trees are far shallower; descriptors are scarce (1024 by default).
const MOST_OPEN: usize = 64;
/// Passes over one directory in which something changes underfoot. A process that still writes wins sooner or later;
/// the receipt then says so.
const MOST_PASSES: u32 = 64;
/// Names that are remembered as not removable in one directory; past it, the rest of that directory is given up.
const MOST_STUCK: usize = 1024;
/// Entries of a receipt; the rest is counted.
const MOST_NAMED: usize = 32;
/// Parts of a path in a receipt, from its end.
const MOST_PARTS: usize = 4;
/// Free names tried when a directory is lifted to the top.
const MOST_LIFT_NAMES: u32 = 64;
/// Directories lifted to the top, one for each 64 levels of depth: enough for six million levels.
const MOST_LIFTS: u64 = 100_000;
/// Time for one tree: ten million files take a few minutes; only a process that refills it takes longer.
const MOST_TIME: Duration = Duration::from_secs(600);
/// Tries at one name that is swapped for a file when it is taken for a directory, and for a directory when it is taken for a file. Which of
/// the two it is only the act itself can tell; whoever looks first and acts then loses to a process that swaps in step, pass after pass.
const MOST_SWAPS: u32 = 64;
/// Looks at the top of the tree, which may be swapped for something else until it is gone.
const MOST_TRIES: u32 = 8;

/// What a removal did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Removed {
    /// Files removed, links and everything else that is no directory included.
    pub files: u64,
    /// Directories removed.
    pub dirs: u64,
    /// Bytes of the files whose last name was removed.
    pub bytes: u64,
    /// What remained, with the reason: escaped, bounded.
    pub remained: Vec<String>,
}

impl Removed {
    /// Whether nothing is left.
    pub fn is_complete(&self) -> bool {
        self.remained.is_empty()
    }
}

/// Removes what has `name` in `parent`, with everything below it, and looks whether it is gone.
///
/// A name that does not exist is a complete removal of nothing. There is no error: what could not be removed is in the result.
pub fn remove_tree(parent: &Dir, name: &str) -> Removed {
    let mut removal =
        Removal { parent: parent.as_fd(), started: Instant::now(), levels: Vec::new(), removed: Removed::default(), unnamed: 0, lifted: 0 };
    match CString::new(name) {
        Ok(plain) if !name.is_empty() && !name.contains('/') && name != "." && name != ".." => {
            for _ in 0..MOST_TRIES {
                removal.entry(&plain);
                while !removal.levels.is_empty() {
                    removal.step();
                }
                if removal.is_over(&plain) {
                    break;
                }
            }
            removal.verify(&plain);
        }
        _ => removal.remains(name.as_bytes(), "is no plain name"),
    }
    removal.finish()
}

/// One directory that is being emptied.
struct Level {
    entries: rustix::fs::Dir,
    /// Its name in the level above.
    name: CString,
    /// Names that could not be removed and are not tried again.
    stuck: BTreeSet<CString>,
    /// Whether this pass removed something, or found something changed.
    moved: bool,
    passes: u32,
}

struct Removal<'a> {
    parent: BorrowedFd<'a>,
    started: Instant,
    levels: Vec<Level>,
    removed: Removed,
    /// What remained, beyond what is named.
    unnamed: u64,
    lifted: u64,
}

fn reason(error: Errno) -> String {
    match error {
        Errno::PERM => "not permitted; it may be immutable, or another user's".to_owned(),
        Errno::XDEV | Errno::BUSY => "a mount point, or in use".to_owned(),
        Errno::ROFS => "the file system is read-only".to_owned(),
        other => std::io::Error::from(other).to_string(),
    }
}

/// The handle of the innermost open directory.
fn innermost<'a>(parent: BorrowedFd<'a>, levels: &'a [Level]) -> rustix::io::Result<BorrowedFd<'a>> {
    levels.last().map_or(Ok(parent), |level| level.entries.fd())
}

impl Removal<'_> {
    /// Takes one step: the next entry of the innermost directory, or its end.
    fn step(&mut self) {
        if self.started.elapsed() > MOST_TIME {
            self.remains(b"", "something fills it as fast as it is removed");
            self.levels.clear();
            return;
        }
        let Some(level) = self.levels.last_mut() else { return };
        match level.entries.read() {
            Some(Ok(entry)) => {
                let name = entry.file_name();
                let special = name.to_bytes() == b"." || name.to_bytes() == b"..";
                if !special && !level.stuck.contains(name) {
                    self.entry(&name.to_owned());
                }
            }
            Some(Err(error)) => {
                self.remains(b"", &reason(error));
                self.leave();
            }
            None => self.leave(),
        }
    }

    /// Removes one entry of the innermost directory, or enters it: as what it was when it was looked at, and as the other when that failed
    /// because it has become the other.
    fn entry(&mut self, name: &CString) {
        let stat = match innermost(self.parent, &self.levels).and_then(|dir| rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW)) {
            Ok(stat) => stat,
            Err(error) => return self.settle(name, error),
        };
        let mut directory = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
        let mut outcome = Ok(());
        for _ in 0..MOST_SWAPS {
            outcome = if directory { self.directory(name, &stat) } else { self.unlink(name, &stat) };
            match outcome {
                Err(Errno::ISDIR) if !directory => directory = true,
                Err(Errno::NOTDIR | Errno::LOOP) if directory => directory = false,
                _ => break,
            }
        }
        match outcome {
            Ok(()) => {}
            Err(error) => self.settle(name, error),
        }
    }

    fn unlink(&mut self, name: &CStr, stat: &Stat) -> rustix::io::Result<()> {
        rustix::fs::unlinkat(innermost(self.parent, &self.levels)?, name, AtFlags::empty())?;
        self.removed.files += 1;
        if FileType::from_raw_mode(stat.st_mode) != FileType::Directory && stat.st_nlink <= 1 {
            self.removed.bytes += u64::try_from(stat.st_size).unwrap_or(0);
        }
        self.moved();
        Ok(())
    }

    /// Enters a directory; far from the top, moves it there instead, where a later pass finds it.
    fn directory(&mut self, name: &CString, stat: &Stat) -> rustix::io::Result<()> {
        let dir = innermost(self.parent, &self.levels)?;
        let looked = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
        if !looked || stat.st_mode & 0o700 != 0o700 {
            unlock_dir(dir, name.as_c_str())?;
        }
        if self.levels.len() < MOST_OPEN {
            let entries = rustix::fs::Dir::new(descend(dir, name.as_c_str())?)?;
            self.levels.push(Level { entries, name: name.clone(), stuck: BTreeSet::new(), moved: false, passes: 0 });
            return Ok(());
        }
        self.lifted = self.lift(dir, name)?;
        self.moved();
        if let Some(top) = self.levels.first_mut() {
            top.moved = true;
            top.passes = 0;
        }
        Ok(())
    }

    /// Moves a directory to the top of the tree, under a free name. Returns the number that became part of the name.
    fn lift(&self, dir: BorrowedFd<'_>, name: &CStr) -> rustix::io::Result<u64> {
        let top = innermost(self.parent, self.levels.get(..1).unwrap_or_default())?;
        let mut number = self.lifted;
        if number > MOST_LIFTS {
            return Err(Errno::NAMETOOLONG);
        }
        for _ in 0..MOST_LIFT_NAMES {
            number += 1;
            match rustix::fs::renameat(dir, name, top, format!(".lazarus-lifted-{number}")) {
                Ok(()) => return Ok(number),
                // A guest may have chosen the same name.
                Err(Errno::EXIST | Errno::NOTEMPTY | Errno::NOTDIR) => {}
                Err(error) => return Err(error),
            }
        }
        Err(Errno::EXIST)
    }

    /// Removes the innermost directory, or passes over it again.
    fn leave(&mut self) {
        let Some(mut level) = self.levels.pop() else { return };
        let outcome = innermost(self.parent, &self.levels).and_then(|dir| rustix::fs::unlinkat(dir, &level.name, AtFlags::REMOVEDIR));
        match outcome {
            Ok(()) => {
                self.removed.dirs += 1;
                self.moved();
            }
            Err(Errno::NOTEMPTY | Errno::EXIST) => {
                let again = level.moved || level.stuck.is_empty();
                if again && level.passes < MOST_PASSES && level.stuck.len() < MOST_STUCK {
                    level.passes += 1;
                    level.moved = false;
                    level.entries.rewind();
                    self.levels.push(level);
                    return;
                }
                if level.stuck.is_empty() {
                    self.remains(level.name.to_bytes(), "something fills it while it is removed");
                }
                self.stick(&level.name);
            }
            Err(error) => self.settle(&level.name, error),
        }
    }

    /// Files an error about an entry of the innermost directory: as a change underfoot, or as something that remains.
    fn settle(&mut self, name: &CString, error: Errno) {
        match error {
            // Gone, or swapped for something else since it was looked at: the next pass sees what is there then.
            Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::ISDIR => self.moved(),
            other => {
                self.remains(name.to_bytes(), &reason(other));
                self.stick(name);
            }
        }
    }

    fn moved(&mut self) {
        if let Some(level) = self.levels.last_mut() {
            level.moved = true;
        }
    }

    fn stick(&mut self, name: &CString) {
        if let Some(level) = self.levels.last_mut()
            && level.stuck.len() < MOST_STUCK
        {
            level.stuck.insert(name.clone());
        }
    }

    /// Notes what remained, by the last parts of its path.
    fn remains(&mut self, name: &[u8], why: &str) {
        if self.removed.remained.len() == MOST_NAMED {
            self.unnamed += 1;
            return;
        }
        let mut parts: Vec<String> = self.levels.iter().map(|level| escape_name(level.name.to_bytes())).collect();
        if !name.is_empty() {
            parts.push(escape_name(name));
        }
        if parts.len() > MOST_PARTS {
            parts.drain(1..parts.len() - MOST_PARTS + 1);
            parts.insert(1, "…".to_owned());
        }
        self.removed.remained.push(format!("{}: {why}", parts.join("/")));
    }

    /// Whether there is no point in another try.
    fn is_over(&self, name: &CStr) -> bool {
        !self.removed.remained.is_empty() || rustix::fs::statat(self.parent, name, AtFlags::SYMLINK_NOFOLLOW).is_err()
    }

    /// Looks whether the top is really gone.
    fn verify(&mut self, name: &CStr) {
        match rustix::fs::statat(self.parent, name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => {}
            Ok(_) if self.removed.remained.is_empty() => self.remains(name.to_bytes(), "it is there again"),
            Ok(_) => {}
            Err(error) => self.remains(name.to_bytes(), &reason(error)),
        }
    }

    fn finish(mut self) -> Removed {
        if self.unnamed > 0 {
            self.removed.remained.push(format!("and {} more", self.unnamed));
        }
        self.removed
    }
}

#[cfg(test)]
#[path = "remove_tests.rs"]
mod tests;
