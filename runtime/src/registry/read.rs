//! Reading: cells with their members, in two queries however many there are, from one snapshot.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior, types::Value};

use super::{RegistryError, patience::patiently, row};
use crate::cell::{CellId, Member, Record, Run};

/// Which cells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CellFilter {
    /// Every cell that ever was.
    All,
    /// Those that are neither closed nor destroyed.
    NotOver,
}

/// The registry, open for reading. From [`super::Registry::into_reader`], or by borrowing a [`super::Registry`].
#[derive(Debug)]
pub struct ReadRegistry {
    pub(super) connection: Connection,
}

/// Which cells, inside.
#[derive(Debug, Clone, Copy)]
pub(super) enum Filter<'a> {
    All,
    One(&'a CellId),
    NotOver,
    Live,
    Expired(DateTime<Utc>),
    Leftover(DateTime<Utc>),
}

impl Filter<'_> {
    /// The WHERE clause. It repeats that of an index word for word, or SQLite would not use it.
    pub(super) const fn clause(self) -> &'static str {
        match self {
            Self::All => "TRUE",
            Self::One(_) => "cell_id = ?1",
            Self::NotOver => "state NOT IN ('closed', 'destroyed')",
            Self::Live => "state NOT IN ('closed', 'destroyed') AND state <> 'failed'",
            Self::Expired(_) => "state NOT IN ('closed', 'destroyed') AND state <> 'failed' AND expires_at <= ?1",
            Self::Leftover(_) => {
                "state IN ('closed', 'failed') AND (throwaway = 1 OR on_expire = 'destroy') AND (throwaway = 1 OR expires_at <= ?1)"
            }
        }
    }

    fn parameter(self) -> Option<Value> {
        match self {
            Self::All | Self::NotOver | Self::Live => None,
            Self::One(cell) => Some(Value::Text(cell.to_string())),
            Self::Expired(now) | Self::Leftover(now) => Some(Value::Integer(now.timestamp_micros())),
        }
    }

    pub(super) fn cells_sql(self) -> String {
        format!("SELECT {} FROM cells WHERE {} ORDER BY created_at, cell_id", row::CELL_COLUMNS, self.clause())
    }

    /// The `+` keeps SQLite from walking every member that ever was for the sake of the order.
    pub(super) fn members_sql(self) -> String {
        let (columns, clause) = (row::MEMBER_COLUMNS, self.clause());
        format!(
            "SELECT {columns} FROM members WHERE cell_id IN (SELECT cell_id FROM cells WHERE {clause}) AND revoked_at IS NULL ORDER BY +member_id"
        )
    }
}

/// Returns cells with their present members, the oldest first.
pub(super) fn records(connection: &Connection, filter: Filter<'_>) -> Result<Vec<Record>, RegistryError> {
    let cannot = RegistryError::while_doing("read cells");
    let mut found = Vec::new();
    {
        let mut select = connection.prepare_cached(&filter.cells_sql()).map_err(cannot)?;
        let mut rows = select.query(rusqlite::params_from_iter(filter.parameter())).map_err(cannot)?;
        while let Some(row) = rows.next().map_err(cannot)? {
            found.push(row::record(row)?);
        }
    }
    if found.is_empty() {
        return Ok(found);
    }
    let mut members: HashMap<CellId, Vec<Member>> = HashMap::with_capacity(found.len());
    let mut select = connection.prepare_cached(&filter.members_sql()).map_err(cannot)?;
    let mut rows = select.query(rusqlite::params_from_iter(filter.parameter())).map_err(cannot)?;
    while let Some(row) = rows.next().map_err(cannot)? {
        let (cell, member) = row::member(row)?;
        members.entry(cell).or_default().push(member);
    }
    for record in &mut found {
        record.proposal.members = members.remove(&record.proposal.cell_id).unwrap_or_default();
    }
    Ok(found)
}

/// Returns one cell.
pub(super) fn one(connection: &Connection, cell: &CellId) -> Result<Option<Record>, RegistryError> {
    Ok(records(connection, Filter::One(cell))?.pop())
}

/// Returns one cell without its members: for those who ask about one or two of a thousand.
pub(super) fn without_members(connection: &Connection, cell: &CellId) -> Result<Option<Record>, RegistryError> {
    let cannot = RegistryError::while_doing("read a cell");
    let mut select = connection.prepare_cached(&Filter::One(cell).cells_sql()).map_err(cannot)?;
    select.query_row([cell.as_str()], |row| Ok(row::record(row))).optional().map_err(cannot)?.transpose()
}

impl ReadRegistry {
    /// Reads from one snapshot.
    pub(super) fn snapshot<T>(&self, read: impl Fn(&Connection) -> Result<T, RegistryError>) -> Result<T, RegistryError> {
        patiently(|| {
            let cannot = RegistryError::while_doing("read the registry");
            let transaction = Transaction::new_unchecked(&self.connection, TransactionBehavior::Deferred).map_err(cannot)?;
            read(&transaction)
        })
    }

    /// Returns a cell, in whatever state; `None` if there never was one of that id.
    ///
    /// # Errors
    /// The row is corrupt, or the registry cannot be read.
    pub fn cell(&self, cell: &CellId) -> Result<Option<Record>, RegistryError> {
        self.snapshot(|snapshot| one(snapshot, cell))
    }

    /// Returns cells, the oldest first.
    ///
    /// # Errors
    /// A row is corrupt, or the registry cannot be read.
    pub fn cells(&self, filter: CellFilter) -> Result<Vec<Record>, RegistryError> {
        let filter = match filter {
            CellFilter::All => Filter::All,
            CellFilter::NotOver => Filter::NotOver,
        };
        self.snapshot(|snapshot| records(snapshot, filter))
    }

    /// Returns the cells in whose state processes may live: those that a sweep looks at. Cheap however many cells there were.
    ///
    /// # Errors
    /// A row is corrupt, or the registry cannot be read.
    pub fn live_cells(&self) -> Result<Vec<Record>, RegistryError> {
        self.snapshot(|snapshot| records(snapshot, Filter::Live))
    }

    /// Returns the live cells whose time to live is over, closing ones and those that are to be kept included. Cheap.
    ///
    /// # Errors
    /// A row is corrupt, or the registry cannot be read.
    pub fn expired(&self, now: DateTime<Utc>) -> Result<Vec<Record>, RegistryError> {
        self.snapshot(|snapshot| records(snapshot, Filter::Expired(now)))
    }

    /// Returns the closed and failed cells that are due to be destroyed: throwaway ones, and those whose time is over
    /// and whose policy says so. Whoever should
    /// have done it died before. Cheap.
    ///
    /// # Errors
    /// A row is corrupt, or the registry cannot be read.
    pub fn leftovers(&self, now: DateTime<Utc>) -> Result<Vec<Record>, RegistryError> {
        self.snapshot(|snapshot| records(snapshot, Filter::Leftover(now)))
    }

    /// Returns every run of a cell, the first one first.
    ///
    /// # Errors
    /// A row is corrupt, or the registry cannot be read.
    pub fn runs(&self, cell: &CellId) -> Result<Vec<Run>, RegistryError> {
        let cannot = RegistryError::while_doing("read runs");
        let sql = format!("SELECT {} FROM runs WHERE cell_id = ?1 ORDER BY run_id", row::RUN_COLUMNS);
        self.snapshot(|snapshot| {
            let mut select = snapshot.prepare_cached(&sql).map_err(cannot)?;
            let mut rows = select.query([cell.as_str()]).map_err(cannot)?;
            let mut runs = Vec::new();
            while let Some(row) = rows.next().map_err(cannot)? {
                runs.push(row::run(row)?);
            }
            Ok(runs)
        })
    }
}
