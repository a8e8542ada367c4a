//! Copying a template into a home: regular files and directories, nothing else, and no secrets.

use std::{
    fs::File,
    io::{self, Read, Write},
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::PathBuf,
};

use cap_std::fs::Dir;
use rusqlite::backup::{Backup, StepResult};
use rustix::{
    fs::{AtFlags, FileType, Mode},
    io::Errno,
};

use super::{
    ambient,
    handle::{PRIVATE_DIR, PRIVATE_FILE, create_file, descend, escape_name, open_file_within, readable},
};

/// How large a template may be.
#[derive(Debug, Clone, Copy)]
struct Bounds {
    entries: u64,
    bytes: u64,
    /// Levels below the template: recursion, and handles that are open at once.
    levels: usize,
}

/// Some skills, memories and sessions; not somebody's whole disk by mistake.
const BOUNDS: Bounds = Bounds { entries: 20_000, bytes: 512 * 1024 * 1024, levels: 32 };
/// Entries of the list of what was left out; the rest is counted.
const MOST_NAMED: usize = 64;
/// Pages copied from a database before others may write to it again.
const PAGES_A_STEP: i32 = 1000;
/// Tries while another process writes to the database.
const MOST_BUSY: u32 = 200;

/// Hermes' database, at the top of a home.
pub(super) const STATE: &str = "state.db";

/// Files that SQLite opens beside it.
const BESIDE: [&str; 3] = ["state.db-wal", "state.db-shm", "state.db-journal"];

/// Names that are never carried over, at any level: credentials, and what says that a process lives.
const NEVER: [&str; 11] = [
    ".env",
    "auth.json",
    "auth.lock",
    ".credentials.json",
    "gateway.pid",
    "gateway_state.json",
    "processes.json",
    "active_profile",
    // What belongs to a database that is open: of no use, or harmful, beside a copy.
    "state.db-wal",
    "state.db-shm",
    "state.db-journal",
];

/// Whether nothing of that name is ever carried over, neither from a template nor into an archive.
pub(super) fn is_never_carried(name: &[u8]) -> bool {
    NEVER.iter().any(|never| never.as_bytes() == name)
}

/// A directory at the top of a home that is not carried over: another run's logs, and its heartbeat.
const LOGS: &str = "logs";

/// How a template's `state.db` is carried over.
#[derive(Debug, Clone)]
pub enum Database {
    /// As a file: nothing has it open (a template that Lazarus installed).
    Copy,
    /// Through SQLite's online backup: it may be a live agent's.
    BackUp {
        /// The canonical path of the template.
        from: PathBuf,
        /// The canonical path of the copy.
        to: PathBuf,
    },
}

/// What was copied.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Seeded {
    /// Files.
    pub files: u64,
    /// Bytes.
    pub bytes: u64,
    /// What was left out, with the reason: escaped, bounded.
    pub skipped: Vec<String>,
}

/// Why a template was not copied.
#[derive(Debug, thiserror::Error)]
pub enum SeedError {
    /// Larger than a template may be.
    #[error("copy {path}: a template has at most {most}")]
    TooLarge {
        /// Where the copy was, escaped.
        path: String,
        /// The bound.
        most: String,
    },
    /// A file or directory could not be copied.
    #[error("copy {path}")]
    Io {
        /// The path below the template, escaped.
        path: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The database could not be copied.
    #[error("back up state.db")]
    Database(#[from] rusqlite::Error),
    /// The database was written to all the time.
    #[error("back up state.db: another process keeps writing to it")]
    Busy,
}

struct Seeding<'a> {
    seeded: Seeded,
    entries: u64,
    unnamed: u64,
    database: &'a Database,
    bounds: Bounds,
}

/// Copies a template into a directory that no agent can reach yet. Modes become the owner's alone; links are neither followed
/// nor copied; names that hold credentials are left out.
///
/// # Errors
/// The template is too large, too deep, or cannot be read; what was copied until then stays.
pub fn seed(template: &Dir, into: &Dir, database: &Database) -> Result<Seeded, SeedError> {
    seed_bounded(template, into, database, BOUNDS)
}

fn seed_bounded(template: &Dir, into: &Dir, database: &Database, bounds: Bounds) -> Result<Seeded, SeedError> {
    let mut seeding = Seeding { seeded: Seeded::default(), entries: 0, unnamed: 0, database, bounds };
    seeding.directory(template.as_fd(), into.as_fd(), &mut Vec::new())?;
    if seeding.unnamed > 0 {
        seeding.seeded.skipped.push(format!("and {} more", seeding.unnamed));
    }
    Ok(seeding.seeded)
}

/// The path of an entry, escaped, for messages.
fn shown(way: &[String], name: &std::ffi::CStr) -> String {
    way.iter().cloned().chain([escape_name(name.to_bytes())]).collect::<Vec<_>>().join("/")
}

impl Seeding<'_> {
    fn skip(&mut self, path: String, why: &str) {
        if self.seeded.skipped.len() < MOST_NAMED {
            self.seeded.skipped.push(format!("{path}: {why}"));
        } else {
            self.unnamed += 1;
        }
    }

    /// Copies the entries of one directory. At most `bounds.levels` deep, so recursion and open handles are bounded.
    fn directory(&mut self, from: BorrowedFd<'_>, to: BorrowedFd<'_>, way: &mut Vec<String>) -> Result<(), SeedError> {
        let io_error = |path: String| move |error: Errno| SeedError::Io { path, source: error.into() };
        let listing = readable(from).and_then(rustix::fs::Dir::new).map_err(io_error(way.join("/")))?;
        for entry in listing {
            let entry = entry.map_err(io_error(way.join("/")))?;
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            let path = shown(way, name);
            self.entries += 1;
            if self.entries > self.bounds.entries {
                return Err(SeedError::TooLarge { path, most: format!("{} entries", self.bounds.entries) });
            }
            let old_logs = way.is_empty() && name.to_bytes() == LOGS.as_bytes();
            if old_logs || is_never_carried(name.to_bytes()) {
                self.skip(path, "never carried over");
                continue;
            }
            let stat = rustix::fs::statat(from, name, AtFlags::SYMLINK_NOFOLLOW).map_err(io_error(path.clone()))?;
            match FileType::from_raw_mode(stat.st_mode) {
                FileType::Directory => {
                    if way.len() >= self.bounds.levels {
                        return Err(SeedError::TooLarge { path, most: format!("{} levels", self.bounds.levels) });
                    }
                    let inner = descend(from, name).map_err(io_error(path.clone()))?;
                    let made = make(to, name).map_err(io_error(path))?;
                    way.push(escape_name(name.to_bytes()));
                    self.directory(inner.as_fd(), made.as_fd(), way)?;
                    way.pop();
                }
                FileType::RegularFile if way.is_empty() && name.to_bytes() == STATE.as_bytes() => self.state(from, to)?,
                FileType::RegularFile => {
                    let mode = if stat.st_mode & 0o100 == 0 { PRIVATE_FILE } else { PRIVATE_FILE | Mode::XUSR };
                    self.file(from, to, name, mode).map_err(|error| error.named(&path))?;
                }
                FileType::Symlink => self.skip(path, "a link"),
                _ => self.skip(path, "neither a file nor a directory"),
            }
        }
        if self.is_durable() {
            readable(to).and_then(rustix::fs::fsync).map_err(io_error(way.join("/")))?;
        }
        Ok(())
    }

    fn file(&mut self, from: BorrowedFd<'_>, to: BorrowedFd<'_>, name: &std::ffi::CStr, mode: Mode) -> Result<(), SeedError> {
        let io_error = |source| SeedError::Io { path: String::new(), source };
        let left = self.bounds.bytes - self.seeded.bytes;
        let too_large = || SeedError::TooLarge { path: String::new(), most: format!("{} bytes", self.bounds.bytes) };
        let source = open_file_within(from, name).map_err(io_error)?;
        // A sparse one takes nothing where it is; its copy would take all that it may.
        if source.metadata().map_err(io_error)?.len() > left {
            return Err(too_large());
        }
        let mut copy = create_file(to, name, mode).map_err(io_error)?;
        let copied = copy_bounded(source, &mut copy, left).map_err(io_error)?;
        if self.is_durable() {
            copy.sync_all().map_err(io_error)?;
        }
        let copied = copied.ok_or_else(too_large)?;
        self.seeded.files += 1;
        self.seeded.bytes += copied;
        Ok(())
    }

    /// Refuses a database that has something else than files beside it, under the names that SQLite opens by itself: it would wait for a FIFO.
    fn nothing_waits_beside(&self, from: BorrowedFd<'_>) -> Result<(), SeedError> {
        for name in BESIDE {
            match rustix::fs::statat(from, name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile => {}
                Err(Errno::NOENT) => {}
                Ok(_) => {
                    let source = io::Error::new(io::ErrorKind::InvalidInput, "not a regular file");
                    return Err(SeedError::Io { path: name.to_owned(), source });
                }
                Err(error) => return Err(SeedError::Io { path: name.to_owned(), source: error.into() }),
            }
        }
        Ok(())
    }

    /// Whether what is copied is to survive a crash: an installed template is, a fresh home is part of a cell that then failed.
    fn is_durable(&self) -> bool {
        matches!(self.database, Database::BackUp { .. })
    }

    fn state(&mut self, from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> Result<(), SeedError> {
        match self.database {
            Database::Copy => self.file(from, to, c"state.db", PRIVATE_FILE).map_err(|error| error.named(STATE)),
            Database::BackUp { from: source, to: copy } => {
                self.nothing_waits_beside(from)?;
                // Made here so that it is a file of ours with our mode, which SQLite then only fills.
                create_file(to, STATE, PRIVATE_FILE).map_err(|source| SeedError::Io { path: STATE.to_owned(), source })?;
                self.seeded.bytes += back_up(source, copy, self.bounds.bytes - self.seeded.bytes)?;
                self.seeded.files += 1;
                Ok(())
            }
        }
    }
}

impl SeedError {
    fn named(self, path: &str) -> Self {
        let path = path.to_owned();
        match self {
            Self::TooLarge { most, .. } => Self::TooLarge { path, most },
            Self::Io { source, .. } => Self::Io { path, source },
            Self::Database(_) | Self::Busy => self,
        }
    }
}

fn make(parent: BorrowedFd<'_>, name: &std::ffi::CStr) -> rustix::io::Result<OwnedFd> {
    rustix::fs::mkdirat(parent, name, PRIVATE_DIR)?;
    descend(parent, name)
}

/// Copies at most `most` bytes; `None` if there are more.
fn copy_bounded(source: File, copy: &mut impl Write, most: u64) -> io::Result<Option<u64>> {
    let copied = io::copy(&mut source.take(most + 1), copy)?;
    Ok((copied <= most).then_some(copied))
}

fn back_up(source: &std::path::Path, copy: &std::path::Path, most: u64) -> Result<u64, SeedError> {
    let source = ambient::open_database(&source.join(STATE))?;
    let mut copy = ambient::create_database(&copy.join(STATE))?;
    let bytes = |name| source.query_row(&format!("PRAGMA {name}"), [], |row| row.get::<_, i64>(0));
    let bytes = u64::try_from(bytes("page_count")?.saturating_mul(bytes("page_size")?)).unwrap_or(u64::MAX);
    if bytes > most {
        return Err(SeedError::TooLarge { path: STATE.to_owned(), most: format!("{most} bytes") });
    }
    let backup = Backup::new(&source, &mut copy)?;
    let mut busy = 0;
    loop {
        match backup.step(PAGES_A_STEP)? {
            StepResult::Done => break,
            StepResult::More => {}
            _ if busy < MOST_BUSY => {
                busy += 1;
                std::thread::sleep(std::time::Duration::from_millis(10));
            }
            _ => return Err(SeedError::Busy),
        }
    }
    drop(backup);
    // A copy in WAL mode would want files beside it that nobody carries over.
    copy.pragma_update(None, "journal_mode", "DELETE")?;
    Ok(bytes)
}

#[cfg(test)]
#[path = "seed_tests.rs"]
mod tests;
