//! Writing: one immediate transaction a change, with its audit row.

use chrono::{DateTime, Utc};
use rusqlite::{Transaction, TransactionBehavior};

use super::{Registry, RegistryError, audit_log, columns, patience::patiently, read};
use crate::{
    audit::{Action, Draft, Phase},
    cell::{CellId, Record},
};

/// What became of a request. Both are committed: a refusal has an audit row, and nothing else.
pub(super) enum Verdict<T> {
    /// Done.
    Granted(T),
    /// Refused, audited.
    Refused(RegistryError),
}

/// One transaction that writes, of one actor, at one time.
pub(super) struct Write<'c, 'a> {
    pub tx: Transaction<'c>,
    /// When the write lock was taken: so the times of the rows follow their order, as long as the clock does.
    pub at: DateTime<Utc>,
    /// Who: an identity as text, or `warden`.
    pub actor: &'a str,
}

impl Write<'_, '_> {
    /// Adds an audit row.
    pub(super) fn audit(&self, action: Action, phase: Phase, cell: &CellId, detail: &str) -> Result<(), RegistryError> {
        self.audit_as(self.actor, action, phase, cell, detail)
    }

    /// Adds an audit row of somebody else than the one who asked.
    pub(super) fn audit_as(&self, actor: &str, action: Action, phase: Phase, cell: &CellId, detail: &str) -> Result<(), RegistryError> {
        audit_log::append(&self.tx, Draft::new(actor, action, phase, Some(cell), detail), self.at)?;
        Ok(())
    }

    /// Audits a refusal. Nothing may have been written before.
    pub(super) fn refuse<T>(&self, action: Action, cell: &CellId, error: RegistryError) -> Result<Verdict<T>, RegistryError> {
        self.audit(action, Phase::Refused, cell, &error.to_string())?;
        Ok(Verdict::Refused(error))
    }
}

impl Registry {
    /// Does something in one transaction, which is rolled back when it fails.
    pub(super) fn write<T>(
        &mut self,
        actor: &str,
        act: impl FnOnce(&Write<'_, '_>) -> Result<Verdict<T>, RegistryError>,
    ) -> Result<T, RegistryError> {
        let connection = self.connection();
        let cannot = RegistryError::while_doing("write to the registry");
        let tx = patiently(|| Transaction::new_unchecked(connection, TransactionBehavior::Immediate).map_err(cannot))?;
        let write = Write { tx, at: columns::kept(Utc::now()), actor };
        let verdict = act(&write)?;
        write.tx.commit().map_err(cannot)?;
        match verdict {
            Verdict::Granted(value) => Ok(value),
            Verdict::Refused(error) => Err(error),
        }
    }

    /// As [`Self::write`], to a cell that must exist.
    pub(super) fn write_cell<T>(
        &mut self,
        cell: &CellId,
        action: Action,
        actor: &str,
        act: impl FnOnce(&Write<'_, '_>, Record) -> Result<Verdict<T>, RegistryError>,
    ) -> Result<T, RegistryError> {
        self.write(actor, |write| match read::one(&write.tx, cell)? {
            Some(record) => act(write, record),
            None => write.refuse(action, cell, RegistryError::NotFound(cell.clone())),
        })
    }
}
