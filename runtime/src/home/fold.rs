//! Making a database whole whose newest rows are still in the log beside it.
//!
//! A database that nobody has open is its file alone, or its file and a log (`-wal`) that SQLite applies when it is next opened. It is a
//! guest's, so SQLite is not shown the guest's directory, where a link, a FIFO or somebody's change could wait for it: the two files are
//! copied by handle into a directory that no guest reaches, and are opened there, as data that is not to be trusted.
//!
//! A rollback journal is never shown to SQLite: it can name any file of the machine as its super-journal, which SQLite removes once it has
//! rolled back (<https://sqlite.org/fileformat2.html#the_rollback_journal>). A database with one that is hot is not made whole.

use std::{
    fs::File,
    io::{self, Read},
    os::fd::BorrowedFd,
    path::{Path, PathBuf},
};

use cap_std::fs::Dir;

use super::{
    ambient,
    handle::{create_private_file, make_dir, open_file, open_file_within},
    remove_tree,
    seed::STATE,
};

/// Where it is done: in the cell's directory, beside the homes. What a crash leaves there, the next archive removes, or the teardown.
const SCRATCH: &str = ".archive";
/// Databases of one archive that are made whole; each costs some milliseconds.
const FOLDS_MOST: u32 = 64;
/// What can lie beside a database and belong to it.
const LOG: &str = "state.db-wal";
const JOURNAL: &str = "state.db-journal";

/// Why a database was not made whole.
#[derive(Debug, thiserror::Error)]
pub(super) enum FoldError {
    /// There are more than are made whole.
    #[error("it is one of more than {FOLDS_MOST} with a log")]
    Many,
    /// A change that was begun and is to be undone.
    #[error("a change to it was cut short, and only its own program should undo it")]
    Journal,
    /// Larger than what may be archived.
    #[error("with its log, it has more than {0} bytes")]
    TooLarge(u64),
    /// The files could not be copied.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// It is no database, or a broken one.
    #[error("{0}")]
    Database(#[from] rusqlite::Error),
}

/// Where databases are made whole.
pub(super) struct Folder<'c> {
    cell: &'c Dir,
    path: PathBuf,
    folded: u32,
}

impl<'c> Folder<'c> {
    /// In the directory of a cell.
    pub fn new(cell: &'c Dir, path: &Path) -> Self {
        Self { cell, path: path.join(SCRATCH), folded: 0 }
    }

    /// Returns the database of a directory with its log applied; `None` if it has none, and is whole as it is.
    pub fn fold(&mut self, dir: BorrowedFd<'_>, database: &File, most_bytes: u64) -> Result<Option<File>, FoldError> {
        if open_file_within(dir, JOURNAL).is_ok_and(|journal| is_hot(&journal)) {
            return Err(FoldError::Journal);
        }
        // A link, a FIFO, nothing: nothing that SQLite would have written.
        let Some(log) = open_file_within(dir, LOG).ok().filter(|log| log.metadata().is_ok_and(|log| log.len() > 0)) else {
            return Ok(None);
        };
        if self.folded >= FOLDS_MOST {
            return Err(FoldError::Many);
        }
        self.folded += 1;
        let folded = self.copy(database, &log, most_bytes).and_then(|scratch| {
            apply(&self.path.join(STATE))?;
            Ok(open_file(&scratch, STATE)?)
        });
        if folded.is_err() {
            self.clear();
        }
        folded.map(Some)
    }

    fn copy(&self, database: &File, log: &File, most_bytes: u64) -> Result<Dir, FoldError> {
        self.clear();
        let scratch = make_dir(self.cell, SCRATCH)?;
        let mut left = most_bytes;
        for (name, file) in [(STATE, database), (LOG, log)] {
            let mut copy = create_private_file(&scratch, name)?;
            let copied = io::copy(&mut file.take(left.saturating_add(1)), &mut copy)?;
            left = left.checked_sub(copied).ok_or(FoldError::TooLarge(most_bytes))?;
        }
        Ok(scratch)
    }

    /// Removes what was made. A file that is open stays readable.
    pub fn clear(&self) {
        // What cannot be removed goes with its cell, or fails the next copy.
        remove_tree(self.cell, SCRATCH);
    }
}

impl Drop for Folder<'_> {
    fn drop(&mut self) {
        if self.folded > 0 {
            self.clear();
        }
    }
}

/// Whether a journal holds what is to be undone: SQLite empties one that is done with, removes it, or writes zeros at its beginning.
fn is_hot(mut journal: &File) -> bool {
    let mut first = [0];
    !matches!(journal.read(&mut first), Ok(0)) && first != [0]
}

/// Has SQLite apply the log beside a database, and remove it.
fn apply(path: &Path) -> Result<(), FoldError> {
    use rusqlite::config::DbConfig;
    let database = ambient::create_database(path)?;
    // Strangers' data: nothing in its schema is run, and its pages are checked as they are read.
    database.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    database.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
    database.pragma_update(None, "cell_size_check", "ON")?;
    let mode: String = database.pragma_update_and_check(None, "journal_mode", "DELETE", |row| row.get(0))?;
    database.close().map_err(|(_, error)| error)?;
    if mode == "delete" { Ok(()) } else { Err(io::Error::other(format!("its journal stays in the form {mode}")).into()) }
}
