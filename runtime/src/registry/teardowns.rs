//! What each attempt at a teardown did, written down as it goes.
//!
//! ```text
//!  begin (with the intent) ─→ note: what was ended, what the cell held ─→ note: what was removed ─┬→ bury: the receipt has it, the rows go
//!      └─ killed: the next attempt says so, and counts it as the least it did                     └→ fail: it stays for the next attempt
//! ```

use chrono::{DateTime, SecondsFormat, Utc};
use rusqlite::{OptionalExtension, Row, params};

use super::{
    Registry, RegistryError, columns,
    columns::Cursor,
    write::{Verdict, Write},
};
use crate::{
    audit::{Action, Draft, Phase},
    cell::{Attempt, CellId, Receipt, Record},
};

/// An attempt that is under way. Whoever has it holds the cell's claim: there is no other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Teardown {
    cell: CellId,
    attempt: u32,
}

/// What an attempt did so far.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Progress {
    /// Processes that it ended.
    pub processes: u32,
    /// Files that it removed.
    pub files: u64,
    /// Directories that it removed.
    pub directories: u64,
    /// Bytes of those files.
    pub bytes: u64,
    /// The digest of what the cell held before anything was removed, and what it covers.
    pub digest: Option<(String, String)>,
}

/// A row.
struct Kept {
    attempt: u32,
    generation: u32,
    begun: bool,
    did: Attempt,
    digest: Option<(String, String)>,
}

const COLUMNS: &str = "attempt, generation, stage, at, actor, processes, files, directories, bytes, home_sha256, home_covers";

impl Registry {
    /// Begins an attempt, in one commit with its intent, where that is not written yet. An earlier one that is still open was cut short, since the
    /// caller holds the cell's claim: that is its outcome.
    ///
    /// # Errors
    /// The registry cannot be written: then nothing may be done.
    pub fn begin_teardown(&mut self, record: &Record, actor: &str, intent: Option<Draft>) -> Result<Teardown, RegistryError> {
        let cell = &record.proposal.cell_id;
        let cannot = RegistryError::while_doing("write down a teardown");
        self.write(actor, |write| {
            let kept = attempts(write, cell)?;
            for open in kept.iter().filter(|kept| kept.begun) {
                set_stage(write, cell, open.attempt, "cut_short")?;
                let began = open.did.at.to_rfc3339_opts(SecondsFormat::Secs, true);
                let detail = format!("the attempt of {} that began at {began} was cut short", open.did.actor);
                write.append_of_another(Draft::new(actor, Action::Destroy, Phase::Failed, Some(cell), &detail))?;
            }
            if let Some(intent) = intent {
                write.append(intent)?;
            }
            let attempt = kept.last().map_or(0, |kept| kept.attempt).saturating_add(1);
            let sql = "INSERT INTO teardowns (cell_id, attempt, generation, actor, at, stage, processes, files, directories, bytes)
                VALUES (?1, ?2, ?3, ?4, ?5, 'begun', 0, 0, 0, 0)";
            let values = params![cell.as_str(), attempt, record.generation, actor, write.at.timestamp_micros()];
            write.tx.prepare_cached(sql).and_then(|mut insert| insert.execute(values)).map_err(cannot)?;
            Ok(Verdict::Granted(Teardown { cell: cell.clone(), attempt }))
        })
    }

    /// Writes down what an attempt did so far.
    ///
    /// # Errors
    /// The registry cannot be written. If the attempt is then cut short, that it was is all that is known of it.
    pub fn note_teardown(&mut self, teardown: &Teardown, so_far: &Progress) -> Result<(), RegistryError> {
        self.write("", |write| set_progress(write, teardown, so_far).map(Verdict::Granted))
    }

    /// Says that an attempt is over, what it did, and that the cell is not gone: the next one counts it. One that did nothing is forgotten.
    ///
    /// # Errors
    /// The registry cannot be written: the next attempt then takes it for cut short.
    pub fn fail_teardown(&mut self, teardown: &Teardown, did: &Progress) -> Result<(), RegistryError> {
        let cannot = RegistryError::while_doing("write down a teardown");
        self.write("", |write| {
            set_progress(write, teardown, did)?;
            set_stage(write, &teardown.cell, teardown.attempt, "failed")?;
            let sql = "DELETE FROM teardowns WHERE cell_id = ?1 AND attempt = ?2 AND processes + files + directories = 0";
            let values = params![teardown.cell.as_str(), teardown.attempt];
            write.tx.prepare_cached(sql).and_then(|mut delete| delete.execute(values)).map_err(cannot)?;
            Ok(Verdict::Granted(()))
        })
    }

    /// Says that an attempt is over, and that it did at least what it noted.
    ///
    /// # Errors
    /// As there.
    pub fn abandon_teardown(&mut self, teardown: &Teardown) -> Result<(), RegistryError> {
        self.write("", |write| set_stage(write, &teardown.cell, teardown.attempt, "cut_short").map(Verdict::Granted))
    }

    /// Whether the last word of the audit on a teardown of a cell is that it is meant. The whole log is looked through: for the few cells of which
    /// that is not otherwise known.
    ///
    /// # Errors
    /// The registry cannot be read.
    pub fn is_meant_to_be_torn_down(&self, cell: &CellId) -> Result<bool, RegistryError> {
        let cannot = RegistryError::while_doing("read the audit log");
        self.snapshot(|snapshot| {
            let sql = "SELECT phase = 'intent' FROM audit WHERE cell_id = ?1 AND action = 'destroy' ORDER BY seq DESC LIMIT 1";
            let mut select = snapshot.prepare_cached(sql).map_err(cannot)?;
            Ok(select.query_row([cell.as_str()], |row| row.get(0)).optional().map_err(cannot)?.unwrap_or(false))
        })
    }

    /// Whether an attempt is open: under way, or cut short and not seen to be yet.
    ///
    /// # Errors
    /// The registry cannot be read.
    pub fn is_being_torn_down(&self, cell: &CellId) -> Result<bool, RegistryError> {
        let cannot = RegistryError::while_doing("read a teardown");
        self.snapshot(|snapshot| {
            let sql = "SELECT EXISTS (SELECT 1 FROM teardowns WHERE cell_id = ?1 AND stage = 'begun')";
            snapshot.prepare_cached(sql).and_then(|mut select| select.query_row([cell.as_str()], |row| row.get(0))).map_err(cannot)
        })
    }
}

/// Adds to a receipt what the attempts before the one that ends here did, whose rows go.
pub(super) fn sum_up(write: &Write<'_, '_>, record: &Record, own: Option<&Teardown>, receipt: &mut Receipt) -> Result<(), RegistryError> {
    let cell = &record.proposal.cell_id;
    let earlier: Vec<Kept> = attempts(write, cell)?.into_iter().filter(|kept| own.is_none_or(|own| kept.attempt < own.attempt)).collect();
    let cut_short = earlier.iter().find(|kept| kept.did.cut_short).map(|kept| kept.did.at);
    // Of the same life: a cell that lived on meanwhile held something else.
    let digested = |kept: &Kept| kept.digest.clone().filter(|_| kept.generation == record.generation);
    match earlier.iter().find_map(digested) {
        Some((sha256, covers)) => receipt.digested_before(cut_short, sha256, &covers),
        None => receipt.digested_after(cut_short),
    }
    receipt.add_earlier(earlier.into_iter().map(|kept| kept.did).collect());
    forget(write, cell)
}

/// Removes what is kept of the attempts at a cell: the receipt has it.
pub(super) fn forget(write: &Write<'_, '_>, cell: &CellId) -> Result<(), RegistryError> {
    let cannot = RegistryError::while_doing("clear away a teardown");
    let sql = "DELETE FROM teardowns WHERE cell_id = ?1";
    write.tx.prepare_cached(sql).and_then(|mut delete| delete.execute([cell.as_str()])).map_err(cannot)?;
    Ok(())
}

fn set_progress(write: &Write<'_, '_>, teardown: &Teardown, so_far: &Progress) -> Result<(), RegistryError> {
    let cannot = RegistryError::while_doing("write down a teardown");
    let sql = "UPDATE teardowns SET processes = ?3, files = ?4, directories = ?5, bytes = ?6, home_sha256 = ?7, home_covers = ?8
        WHERE cell_id = ?1 AND attempt = ?2";
    let digest = so_far.digest.as_ref();
    let values = params![
        teardown.cell.as_str(),
        teardown.attempt,
        so_far.processes,
        columns::number("a count of files", so_far.files)?,
        columns::number("a count of directories", so_far.directories)?,
        columns::number("a count of bytes", so_far.bytes)?,
        digest.map(|(sha256, _)| sha256),
        digest.map(|(_, covers)| covers),
    ];
    write.tx.prepare_cached(sql).and_then(|mut update| update.execute(values)).map_err(cannot)?;
    Ok(())
}

fn set_stage(write: &Write<'_, '_>, cell: &CellId, attempt: u32, stage: &str) -> Result<(), RegistryError> {
    let cannot = RegistryError::while_doing("write down a teardown");
    let sql = "UPDATE teardowns SET stage = ?3 WHERE cell_id = ?1 AND attempt = ?2";
    write.tx.prepare_cached(sql).and_then(|mut update| update.execute(params![cell.as_str(), attempt, stage])).map_err(cannot)?;
    Ok(())
}

/// The attempts of a cell, the oldest first.
fn attempts(write: &Write<'_, '_>, cell: &CellId) -> Result<Vec<Kept>, RegistryError> {
    let cannot = RegistryError::while_doing("read a teardown");
    let sql = format!("SELECT {COLUMNS} FROM teardowns WHERE cell_id = ?1 ORDER BY attempt");
    let mut select = write.tx.prepare_cached(&sql).map_err(cannot)?;
    let rows = select.query_map([cell.as_str()], |row| Ok(kept(row))).map_err(cannot)?;
    let corrupt = |what| RegistryError::Corrupt { cell: cell.to_string(), what: format!("a teardown: {what}") };
    rows.map(|row| row.map_err(cannot)?.map_err(corrupt)).collect()
}

fn kept(row: &Row<'_>) -> Result<Kept, String> {
    let mut row = Cursor::new(row);
    let (attempt, generation) = (row.count("attempt")?, row.count("generation")?);
    let stage: String = row.take("stage")?;
    let at: DateTime<Utc> = row.time("at")?;
    let did = Attempt {
        at,
        actor: row.take("actor")?,
        processes_ended: row.count("processes")?,
        files_removed: row.count("files")?,
        directories_removed: row.count("directories")?,
        bytes_removed: row.count("bytes")?,
        // One that is still open is none that is known to the end.
        cut_short: stage != "failed",
    };
    let digest = match (row.take("home_sha256")?, row.take("home_covers")?) {
        (Some(sha256), Some(covers)) => Some((sha256, covers)),
        (None, None) => None,
        (Some(_), None) | (None, Some(_)) => return Err("half a digest".to_owned()),
    };
    Ok(Kept { attempt, generation, begun: stage == "begun", did, digest })
}
