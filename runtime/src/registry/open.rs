//! Opening the registry: the file, the connection, and nothing else when both are as they should be.

use std::{
    collections::HashMap,
    ops::Deref,
    path::{Path, PathBuf, absolute},
};

use rusqlite::{Connection, OpenFlags, config::DbConfig};
use rustix::{
    fs::{self as posix, AtFlags, CWD, FileType, Mode},
    io::Errno,
};

use super::{ReadRegistry, RegistryError, migrate, patience};
use crate::audit::Action;

/// The registry's name in the root directory.
pub const FILE_NAME: &str = "registry.db";

/// The registry is the operator's alone.
const FILE_MODE: Mode = Mode::RUSR.union(Mode::WUSR);

/// Prepared statements that a connection keeps. Each has a few KiB; there are some fifty.
const STATEMENTS_KEPT: usize = 64;

/// Settings of each connection.
///
/// - `synchronous`: a commit that returned survives a power loss.
/// - `cache_size`: KiB, negated. A warden keeps a connection and stays below 3 MiB; its queries touch a few pages.
/// - `secure_delete`: what is removed (messages, of a destroyed cell for one) is overwritten in the file.
/// - `mmap_size`: a mapped file that shrinks kills its reader.
/// - `wal_autocheckpoint`: pages. The first command after a pause reads the whole log; 64 pages are read in a fraction
///   of a millisecond, and a checkpoint then comes after some ten commits.
/// - `journal_size_limit`: bytes. The log of a burst does not stay.
const SETTINGS: &str = "
    PRAGMA synchronous = FULL;
    PRAGMA cache_size = -256;
    PRAGMA secure_delete = ON;
    PRAGMA mmap_size = 0;
    PRAGMA temp_store = MEMORY;
    PRAGMA wal_autocheckpoint = 64;
    PRAGMA journal_size_limit = 1048576;
";

/// How many commits of a handle held a refusal or a failure, for each action.
pub(super) type Objections = HashMap<Action, u64>;

/// The registry, open for reading and writing.
#[derive(Debug)]
pub struct Registry {
    read: ReadRegistry,
    /// See [`Registry::objections`].
    pub(super) objections: Objections,
}

impl Registry {
    /// Opens the registry in a root directory, and creates or upgrades it first where needed. `root` exists, is the
    /// operator's alone (0700), and comes from the trusted side.
    ///
    /// # Errors
    /// What is there is not a registry, is newer than this Lazarus, is damaged, or cannot be opened.
    pub fn open(root: &Path) -> Result<Self, RegistryError> {
        let path = prepare(root)?;
        let cannot = RegistryError::while_doing("open registry");
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let mut connection = Connection::open_with_flags(&path, flags).map_err(cannot)?;
        patience::install(&mut connection).map_err(cannot)?;
        configure(&connection).map_err(cannot)?;
        // Before the settings, some of which read the schema: a newer one need not be readable.
        migrate::bring_up(&connection, &path)?;
        patience::patiently(|| connection.execute_batch(SETTINGS).map_err(cannot))?;
        Ok(Self { read: ReadRegistry { connection }, objections: Objections::default() })
    }

    /// Returns a handle that cannot write.
    ///
    /// # Errors
    /// SQLite's.
    pub fn into_reader(self) -> Result<ReadRegistry, RegistryError> {
        let cannot = RegistryError::while_doing("open registry");
        self.read.connection.pragma_update(None, "query_only", true).map_err(cannot)?;
        Ok(self.read)
    }
}

/// Whoever may write may read.
impl Deref for Registry {
    type Target = ReadRegistry;

    fn deref(&self) -> &ReadRegistry {
        &self.read
    }
}

fn configure(connection: &Connection) -> rusqlite::Result<()> {
    // The last of many short commands would checkpoint and remove the log, and the next one make a new one.
    // This alone keeps the log: SQLite removes it only after that checkpoint.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_FKEY, true)?;
    // A warden's statements: none is parsed twice.
    connection.set_prepared_statement_cache_capacity(STATEMENTS_KEPT);
    // A damaged or planted schema cannot do more than fail.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
    Ok(())
}

/// Returns the path of a file that exists and is the operator's alone.
///
/// The file is never opened here: closing a descriptor of it would release the locks that another connection of this process holds
/// (fcntl(2) locks belong to the process). SQLite gives its other two files the mode of this one.
fn prepare(root: &Path) -> Result<PathBuf, RegistryError> {
    // Absolute, so that SQLite cannot take a root named "file:…" for an address.
    let path = absolute(root).map_err(|source| RegistryError::Prepare { path: root.to_owned(), source })?.join(FILE_NAME);
    let cannot = |errno: Errno| RegistryError::Prepare { path: path.clone(), source: errno.into() };
    let look = || posix::statat(CWD, &path, AtFlags::SYMLINK_NOFOLLOW);
    let found = match look() {
        Err(Errno::NOENT) => {
            match posix::mknodat(CWD, &path, FileType::RegularFile, FILE_MODE, 0) {
                // Another command may be quicker.
                Ok(()) | Err(Errno::EXIST) => {}
                Err(errno) => return Err(cannot(errno)),
            }
            look()
        }
        found => found,
    }
    .map_err(cannot)?;
    if FileType::from_raw_mode(found.st_mode) != FileType::RegularFile {
        return Err(RegistryError::NotAFile(path));
    }
    // The umask took from our mode, or somebody gave.
    if Mode::from_raw_mode(found.st_mode) != FILE_MODE {
        posix::chmodat(CWD, &path, FILE_MODE, AtFlags::empty()).map_err(cannot)?;
    }
    Ok(path)
}

impl Registry {
    /// The connection, for the operations that write. They alone have a `&mut Registry`.
    pub(super) fn connection(&mut self) -> &Connection {
        &self.read.connection
    }
}
