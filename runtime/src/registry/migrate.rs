//! From any known version of the schema to the newest, in one commit.
//!
//! A migration that was released is never edited: the next one is added.

use std::path::Path;

use rusqlite::{Connection, Transaction, TransactionBehavior};

use super::{RegistryError, patience::patiently};

/// The migrations, in order. The first leads to version 1.
const MIGRATIONS: [&str; 12] = [
    include_str!("migrations/0001_cells.sql"),
    include_str!("migrations/0002_members.sql"),
    include_str!("migrations/0003_runs.sql"),
    include_str!("migrations/0004_audit.sql"),
    include_str!("migrations/0005_messages.sql"),
    include_str!("migrations/0006_tokens.sql"),
    include_str!("migrations/0007_artifacts.sql"),
    include_str!("migrations/0008_audit_actions.sql"),
    include_str!("migrations/0009_more_audit_actions.sql"),
    include_str!("migrations/0010_receipts.sql"),
    include_str!("migrations/0011_approvals.sql"),
    include_str!("migrations/0012_teardowns.sql"),
];

/// The newest version of the schema that this Lazarus knows.
pub const SCHEMA_VERSION: u32 = MIGRATIONS.len() as u32;

/// Marks the file as a registry of Lazarus: "LAZR".
pub(super) const APPLICATION_ID: u32 = 0x4c41_5a52;

/// Makes sure that the schema is the newest. One read when it is.
pub(super) fn bring_up(connection: &Connection, path: &Path) -> Result<(), RegistryError> {
    let found = patiently(|| {
        // One transaction, so that a migration by somebody else is seen whole or not at all.
        let cannot = RegistryError::while_doing("read the registry's version");
        let snapshot = Transaction::new_unchecked(connection, TransactionBehavior::Deferred).map_err(cannot)?;
        version(&snapshot, path)
    })?;
    if found == SCHEMA_VERSION { Ok(()) } else { migrate(connection, path, SCHEMA_VERSION) }
}

/// Returns the version of the schema: 0 of an empty file.
fn version(connection: &Connection, path: &Path) -> Result<u32, RegistryError> {
    let cannot = RegistryError::while_doing("read the registry's version");
    let number = |sql| connection.query_row(sql, [], |row| row.get::<_, i64>(0)).map_err(cannot);
    let (application, version) = (number("PRAGMA application_id")?, number("PRAGMA user_version")?);
    // Both are signed 32-bit numbers in the file; a negative version is no version of ours.
    let foreign = || RegistryError::Foreign(path.to_owned());
    if application == i64::from(APPLICATION_ID) {
        let found = u32::try_from(version).map_err(|_| foreign())?;
        if found > SCHEMA_VERSION {
            return Err(RegistryError::Newer { path: path.to_owned(), found, known: SCHEMA_VERSION });
        }
        return Ok(found);
    }
    let empty = (application, version) == (0, 0) && number("SELECT count(*) FROM sqlite_schema")? == 0;
    if empty { Ok(0) } else { Err(foreign()) }
}

/// Leads the schema to version `to`, unless somebody else was quicker.
pub(super) fn migrate(connection: &Connection, path: &Path, to: u32) -> Result<(), RegistryError> {
    let cannot = RegistryError::while_doing("create or upgrade the registry");
    let mode = patiently(|| connection.query_row("PRAGMA journal_mode = WAL", [], |row| row.get::<_, String>(0)).map_err(cannot))?;
    if mode != "wal" {
        return Err(RegistryError::NoWal { path: path.to_owned(), mode });
    }
    let begin = || Transaction::new_unchecked(connection, TransactionBehavior::Immediate).map_err(cannot);
    let transaction = patiently(begin)?;
    let from = version(&transaction, path)?;
    // A u32 is an index wherever Lazarus runs.
    for migration in MIGRATIONS.iter().take(to as usize).skip(from as usize) {
        transaction.execute_batch(migration).map_err(cannot)?;
    }
    if from < to {
        transaction.pragma_update(None, "application_id", APPLICATION_ID).map_err(cannot)?;
        transaction.pragma_update(None, "user_version", to).map_err(cannot)?;
    }
    transaction.commit().map_err(cannot)
}
