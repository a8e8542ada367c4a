//! Writing: one immediate transaction a change, with its audit row.

use std::cell::RefCell;

use chrono::{DateTime, Utc};
use rusqlite::{Connection, Transaction, TransactionBehavior};

use super::{Registry, RegistryError, audit_log, columns, patience::patiently, read};
use crate::{
    audit::{Action, Draft, Entry, Phase},
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
    /// Of what a refusal or a failure was audited.
    objected: RefCell<Vec<Action>>,
}

impl Write<'_, '_> {
    /// Adds an audit row.
    pub(super) fn audit(&self, action: Action, phase: Phase, cell: &CellId, detail: &str) -> Result<(), RegistryError> {
        self.audit_as(self.actor, action, phase, cell, detail)
    }

    /// Adds an audit row of somebody else than the one who asked.
    pub(super) fn audit_as(&self, actor: &str, action: Action, phase: Phase, cell: &CellId, detail: &str) -> Result<(), RegistryError> {
        self.append(Draft::new(actor, action, phase, Some(cell), detail)).map(drop)
    }

    /// Adds an audit row as it was drafted.
    pub(super) fn append(&self, draft: Draft) -> Result<Entry, RegistryError> {
        let entry = audit_log::append(&self.tx, draft, self.at)?;
        if matches!(entry.phase, Phase::Refused | Phase::Failed) {
            self.objected.borrow_mut().push(entry.action);
        }
        Ok(entry)
    }

    /// Adds an audit row about what somebody else did: it is no objection to what is done here.
    pub(super) fn append_of_another(&self, draft: Draft) -> Result<(), RegistryError> {
        audit_log::append(&self.tx, draft, self.at).map(drop)
    }

    /// Audits a refusal. Nothing may have been written before.
    pub(super) fn refuse<T>(&self, action: Action, cell: &CellId, error: RegistryError) -> Result<Verdict<T>, RegistryError> {
        self.audit(action, Phase::Refused, cell, &error.to_string())?;
        Ok(Verdict::Refused(error))
    }
}

impl Registry {
    /// How many refusals and failures of an action this handle has put on record: whoever compares two numbers knows whether there was one
    /// between.
    pub fn objections(&self, action: Action) -> u64 {
        self.objections.get(&action).copied().unwrap_or(0)
    }

    /// Does something in one transaction, which is rolled back when it fails.
    pub(super) fn write<T>(
        &mut self,
        actor: &str,
        act: impl FnOnce(&Write<'_, '_>) -> Result<Verdict<T>, RegistryError>,
    ) -> Result<T, RegistryError> {
        let (verdict, objected) = commit(self.connection(), actor, act)?;
        for action in objected {
            *self.objections.entry(action).or_default() += 1;
        }
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

/// Does something in one transaction; returns what became of it, and of which actions it put a refusal or a failure on record.
fn commit<T>(
    connection: &Connection,
    actor: &str,
    act: impl FnOnce(&Write<'_, '_>) -> Result<Verdict<T>, RegistryError>,
) -> Result<(Verdict<T>, Vec<Action>), RegistryError> {
    let cannot = RegistryError::while_doing("write to the registry");
    let tx = patiently(|| Transaction::new_unchecked(connection, TransactionBehavior::Immediate).map_err(cannot))?;
    let write = Write { tx, at: columns::kept(Utc::now()), actor, objected: RefCell::default() };
    let verdict = act(&write)?;
    let Write { tx, objected, .. } = write;
    tx.commit().map_err(cannot)?;
    Ok((verdict, objected.into_inner()))
}
