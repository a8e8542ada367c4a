//! Receipts: what a teardown did, kept as the document that was signed.

use chrono::{DateTime, Utc};
use rusqlite::{Connection, OptionalExtension, params};

use super::{
    ReadRegistry, Registry, RegistryError, Teardown, TransitionExtras, audit_log, columns, teardowns, transition, write::Verdict,
    write::Write,
};
use crate::{
    audit::Action,
    cell::{CellId, Event, Identity, Receipt, Record, State},
};

/// What is known of a teardown at the moment at which its tombstone is written.
#[derive(Debug)]
pub struct Burial<'b> {
    /// The root.
    pub root_id: &'b str,
    /// The cell, as it is now.
    pub record: &'b Record,
    /// On whose word.
    pub by: &'b Identity,
    /// When.
    pub at: DateTime<Utc>,
    /// The place of its audit row.
    pub audit_seq: u64,
    /// What was done.
    pub receipt: &'b Receipt,
}

/// A cell that is destroyed.
#[derive(Debug, Clone)]
pub struct Buried {
    /// The cell.
    pub record: Record,
    /// Its receipt as it was signed; `None` of a cell that was destroyed before receipts were kept.
    pub document: Option<String>,
}

impl Registry {
    /// Writes the tombstone of a cell and the document that `seal` makes of it, in one commit with the audit row. The receipt is of the attempt
    /// that ends here; what earlier ones did is added. Of a cell that is destroyed already, returns what is kept.
    ///
    /// # Errors
    /// As [`Registry::transition`], and what `seal` fails with.
    pub fn bury(
        &mut self,
        cell: &CellId,
        teardown: Option<&Teardown>,
        by: &Identity,
        mut receipt: Receipt,
        actor: &str,
        seal: impl FnOnce(&Burial<'_>) -> Result<String, RegistryError>,
    ) -> Result<Buried, RegistryError> {
        self.write_cell(cell, Action::Destroy, actor, |write, record| {
            match record.state {
                State::Closed { .. } | State::Failed { .. } => teardowns::sum_up(write, &record, teardown, &mut receipt)?,
                State::Destroyed { .. } => teardowns::forget(write, cell)?,
                // Refused, below: nothing may be written before.
                State::Proposed | State::Active | State::Idle | State::Closing { .. } => {}
            }
            let event = Event::Destroy { by: by.clone(), receipt: receipt.clone() };
            let from_version = record.version;
            let record = match transition::happen(write, record, vec![event], TransitionExtras::default())? {
                Verdict::Granted(outcome) => outcome.into_record(),
                Verdict::Refused(error) => return Ok(Verdict::Refused(error)),
            };
            if record.version == from_version {
                let document = document_of(&write.tx, cell)?;
                return Ok(Verdict::Granted(Buried { record, document }));
            }
            let audit_seq = audit_log::head(&write.tx)?.seq;
            let root_id = root_id(&write.tx)?;
            let document = seal(&Burial { root_id: &root_id, record: &record, by, at: write.at, audit_seq, receipt: &receipt })?;
            insert(write, cell, audit_seq, &document)?;
            Ok(Verdict::Granted(Buried { record, document: Some(document) }))
        })
    }
}

impl ReadRegistry {
    /// Returns the receipt of a cell as it was signed; `None` where there is none.
    ///
    /// # Errors
    /// The registry cannot be read.
    pub fn receipt(&self, cell: &CellId) -> Result<Option<String>, RegistryError> {
        self.snapshot(|snapshot| document_of(snapshot, cell))
    }

    /// Returns the name of this root, by which a signed document says whose it is: 32 hexadecimal digits.
    ///
    /// # Errors
    /// The registry cannot be read.
    pub fn root_id(&self) -> Result<String, RegistryError> {
        self.snapshot(root_id)
    }
}

fn root_id(connection: &Connection) -> Result<String, RegistryError> {
    let cannot = RegistryError::while_doing("read the root's name");
    connection.query_row("SELECT root_id FROM root", [], |row| row.get(0)).map_err(cannot)
}

fn document_of(connection: &Connection, cell: &CellId) -> Result<Option<String>, RegistryError> {
    let cannot = RegistryError::while_doing("read a receipt");
    let mut select = connection.prepare_cached("SELECT document FROM receipts WHERE cell_id = ?1").map_err(cannot)?;
    select.query_row([cell.as_str()], |row| row.get(0)).optional().map_err(cannot)
}

fn insert(write: &Write<'_, '_>, cell: &CellId, audit_seq: u64, document: &str) -> Result<(), RegistryError> {
    let cannot = RegistryError::while_doing("store a receipt");
    let values = params![cell.as_str(), columns::number("an audit row's place", audit_seq)?, document];
    let sql = "INSERT INTO receipts (cell_id, audit_seq, document) VALUES (?1, ?2, ?3)";
    write.tx.prepare_cached(sql).and_then(|mut insert| insert.execute(values)).map_err(cannot)?;
    Ok(())
}
