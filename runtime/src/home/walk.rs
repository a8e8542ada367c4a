//! Walking a tree that a guest wrote, in an order that does not depend on the disk: for what is to be the same each time.
//!
//! ```text
//!  list a directory, sorted ─→ next name ─→ look at it (never through a link) ─→ the visitor decides ─┬─→ skip
//!         ↑                                                                                           └─→ enter: by handle, across no mount
//!         └──────────────── names used up: back to the directory above, if it is still that one ←────────────┘
//! ```
//!
//! Without recursion. The first levels are held open; deeper, only each directory's inode and the names that are left in it are kept, and the
//! way back is `..`, taken only if it leads to the inode that was left. Entries, and the names that are held at once, are bounded.

use std::{
    ffi::{CStr, CString},
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use cap_std::fs::Dir;
use rustix::{
    fs::{AtFlags, FileType, Mode, OFlags, Stat},
    io::Errno,
};

use super::handle::{descend, readable};

/// Directories held open at once; descriptors are scarce (1024 by default).
const MOST_OPEN: usize = 64;
/// The longest path, in bytes, that is visited: Linux' PATH_MAX. Nobody could open by name, or unpack, what lies deeper.
pub(super) const PATH_MOST_BYTES: usize = 4096;
/// Entries of all trees of one budget: ten times those of a large checkout.
const ENTRIES_MOST: u64 = 1_000_000;
/// Bytes of names that are held at once.
const NAMES_MOST_BYTES: usize = 64 * 1024 * 1024;

/// How much may be visited; shared by the trees that are walked one after the other.
#[derive(Debug, Clone, Copy)]
pub(super) struct Budget {
    /// Entries that may still be listed.
    pub entries: u64,
    /// Bytes of names that may still be held.
    pub names: usize,
}

impl Default for Budget {
    fn default() -> Self {
        Self { entries: ENTRIES_MOST, names: NAMES_MOST_BYTES }
    }
}

/// What a walk has come upon.
pub(super) struct Entry<'a> {
    /// The directory that it is in.
    pub dir: BorrowedFd<'a>,
    /// Its name there.
    pub name: &'a CStr,
    /// Its path: the one that the walk began with, and names from there. Never a `..` among them.
    pub path: &'a [u8],
    /// What was found of it, without following it.
    pub stat: &'a Stat,
}

impl Entry<'_> {
    /// What kind of file it is.
    pub fn kind(&self) -> FileType {
        FileType::from_raw_mode(self.stat.st_mode)
    }
}

/// Where to go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// Into this directory.
    Enter,
    /// To the next entry.
    Skip,
}

/// Who is shown a tree.
pub(super) trait Visitor {
    /// What ends the walk.
    type Error;

    /// Takes an entry, and says whether a directory is entered.
    ///
    /// # Errors
    /// What ends the walk.
    fn entry(&mut self, entry: &Entry<'_>) -> Result<Next, Self::Error>;

    /// Is told what could not be shown, or not all of it, and why.
    fn unread(&mut self, path: &[u8], why: &str);
}

/// Shows a visitor everything below a directory; `path` is what that is called, for the visitor alone.
///
/// # Errors
/// What the visitor says. What cannot be read, it is told.
pub(super) fn walk<V: Visitor>(top: &Dir, path: &[u8], budget: &mut Budget, visitor: &mut V) -> Result<(), V::Error> {
    let mut walk = Walk { levels: Vec::new(), path: path.to_vec(), budget };
    match readable(top.as_fd()) {
        Ok(dir) => walk.push(dir, visitor),
        Err(error) => visitor.unread(path, &reason(error)),
    }
    while !walk.levels.is_empty() {
        walk.step(visitor)?;
    }
    Ok(())
}

/// An errno as a reason for people.
pub(super) fn reason(error: Errno) -> String {
    match error {
        Errno::NOENT | Errno::NOTDIR | Errno::LOOP => "it was moved or replaced while it was read".to_owned(),
        Errno::XDEV => "something is mounted there".to_owned(),
        Errno::ACCESS | Errno::PERM => "its rights do not let you read it".to_owned(),
        other => std::io::Error::from(other).to_string(),
    }
}

struct Level {
    /// Device and inode.
    id: (u64, u64),
    /// Dropped for deep levels while something below is read.
    dir: Option<OwnedFd>,
    /// Those that are left, sorted.
    names: std::vec::IntoIter<CString>,
    /// Bytes of them that count against the budget.
    held: usize,
    /// Bytes of its path.
    path: usize,
}

struct Walk<'b> {
    levels: Vec<Level>,
    path: Vec<u8>,
    budget: &'b mut Budget,
}

impl Walk<'_> {
    fn step<V: Visitor>(&mut self, visitor: &mut V) -> Result<(), V::Error> {
        let Some(level) = self.levels.last_mut() else { return Ok(()) };
        self.path.truncate(level.path);
        let Some(name) = level.names.next() else {
            self.leave();
            return Ok(());
        };
        let Some(dir) = &level.dir else {
            // Its way back was lost.
            visitor.unread(&self.path, "it was moved while what is below it was read");
            self.leave();
            return Ok(());
        };
        self.path.push(b'/');
        self.path.extend_from_slice(name.to_bytes());
        if self.path.len() >= PATH_MOST_BYTES {
            visitor.unread(&self.path, &format!("its path is longer than {PATH_MOST_BYTES} bytes"));
            return Ok(());
        }
        let stat = match rustix::fs::statat(dir, &name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => stat,
            Err(error) => {
                visitor.unread(&self.path, &reason(error));
                return Ok(());
            }
        };
        let entry = Entry { dir: dir.as_fd(), name: &name, path: &self.path, stat: &stat };
        if entry.kind() == FileType::Directory && visitor.entry(&entry)? == Next::Enter {
            match descend(dir.as_fd(), name.as_c_str()) {
                Ok(inner) => self.push(inner, visitor),
                Err(error) => visitor.unread(&self.path, &reason(error)),
            }
        } else if entry.kind() != FileType::Directory {
            visitor.entry(&entry)?;
        }
        Ok(())
    }

    /// Goes into a directory whose path is the present one.
    fn push<V: Visitor>(&mut self, dir: OwnedFd, visitor: &mut V) {
        let (id, names, held) = match rustix::fs::fstat(&dir).and_then(|stat| {
            let (names, held) = self.list(&dir, visitor)?;
            Ok(((stat.st_dev, stat.st_ino), names, held))
        }) {
            Ok(listed) => listed,
            Err(error) => return visitor.unread(&self.path, &reason(error)),
        };
        if self.levels.len() >= MOST_OPEN
            && let Some(outer) = self.levels.last_mut()
        {
            outer.dir = None;
        }
        self.levels.push(Level { id, dir: Some(dir), names: names.into_iter(), held, path: self.path.len() });
    }

    fn list<V: Visitor>(&mut self, dir: &OwnedFd, visitor: &mut V) -> rustix::io::Result<(Vec<CString>, usize)> {
        let mut names: Vec<CString> = Vec::new();
        let mut held = 0;
        for entry in rustix::fs::Dir::read_from(dir)? {
            let entry = match entry {
                Ok(entry) => entry,
                Err(error) => {
                    visitor.unread(&self.path, &reason(error));
                    break;
                }
            };
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            let cost = name.to_bytes().len() + size_of::<CString>();
            if self.budget.entries == 0 || self.budget.names < cost {
                visitor.unread(&self.path, "it has more entries than are read");
                break;
            }
            self.budget.entries -= 1;
            self.budget.names -= cost;
            held += cost;
            names.push(name.to_owned());
        }
        names.sort_unstable();
        // One that is renamed back and forth meanwhile can be listed twice.
        names.dedup();
        Ok((names, held))
    }

    /// Leaves the innermost directory for the one above, reopening that if it was dropped.
    fn leave(&mut self) {
        let Some(left) = self.levels.pop() else { return };
        self.budget.names += left.held;
        let Some(above) = self.levels.last_mut() else { return };
        if above.dir.is_some() {
            return;
        }
        let reopened = left.dir.ok_or(Errno::BADF).and_then(|left| {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let dir = rustix::fs::openat(&left, c"..", flags, Mode::empty())?;
            let stat = rustix::fs::fstat(&dir)?;
            // Moved meanwhile: whatever `..` is now, it is not where we came from.
            if (stat.st_dev, stat.st_ino) == above.id { Ok(dir) } else { Err(Errno::NOENT) }
        });
        above.dir = reopened.ok();
    }
}
