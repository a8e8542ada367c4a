//! Runs: the lives of the agents of a cell.

use chrono::{DateTime, Utc};
use rusqlite::{OptionalExtension, Transaction, params};

use super::{
    Registry, RegistryError, columns,
    write::{Verdict, Write},
};
use crate::{
    audit::{Action, Phase, one_line},
    cell::{AgentName, CellId, Record, Refusal, Run, RunEnd},
};

/// Writes a run.
pub(super) fn insert(tx: &Transaction<'_>, cell: &CellId, run: &Run) -> Result<(), RegistryError> {
    if open_run(tx, cell, &run.agent)?.is_some() {
        return Err(RegistryError::AlreadyRunning { cell: cell.clone(), agent: run.agent.clone() });
    }
    let end = run.ended.as_ref();
    let sql = "INSERT INTO runs (cell_id, agent, generation, pid, start, boot, started_at, ended_at, well, how, report)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)";
    let values = params![
        cell.as_str(),
        run.agent.as_str(),
        run.generation,
        run.process.pid,
        columns::number("a start time", run.process.start_ticks)?,
        run.process.boot_id,
        run.started_at.timestamp_micros(),
        end.map(|end| end.at.timestamp_micros()),
        end.map(|end| end.well),
        end.map(|end| one_line(&end.how, columns::MESSAGE_MOST_BYTES)),
        run.report.as_str(),
    ];
    let cannot = RegistryError::while_doing("store a run");
    tx.prepare_cached(sql).and_then(|mut insert| insert.execute(values)).map_err(cannot)?;
    Ok(())
}

fn open_run(tx: &Transaction<'_>, cell: &CellId, agent: &AgentName) -> Result<Option<i64>, RegistryError> {
    let cannot = RegistryError::while_doing("look for a run");
    let sql = "SELECT run_id FROM runs WHERE cell_id = ?1 AND agent = ?2 AND ended_at IS NULL";
    let mut select = tx.prepare_cached(sql).map_err(cannot)?;
    select.query_row([cell.as_str(), agent.as_str()], |row| row.get(0)).optional().map_err(cannot)
}

/// Ends every open run of a cell in which nothing may live any more, and says that its own end was not told.
pub(super) fn end_all(tx: &Transaction<'_>, record: &Record, at: DateTime<Utc>) -> Result<(), RegistryError> {
    let reason = record.state.reason().unwrap_or_default();
    let how = one_line(&format!("its own end was not told: {reason}"), columns::MESSAGE_MOST_BYTES);
    let sql = "UPDATE runs SET ended_at = ?2, well = 0, how = ?3 WHERE cell_id = ?1 AND ended_at IS NULL";
    let values = params![record.proposal.cell_id.as_str(), at.timestamp_micros(), how];
    let cannot = RegistryError::while_doing("end the runs of a cell");
    tx.prepare_cached(sql).and_then(|mut update| update.execute(values)).map_err(cannot)?;
    Ok(())
}

impl Registry {
    /// Writes down a run that began: an invited agent's, or a restarted one's.
    ///
    /// # Errors
    /// No such cell, one in whose state nothing may live, or [`RegistryError::AlreadyRunning`]; each is audited.
    pub fn add_run(&mut self, cell: &CellId, run: &Run, actor: &str) -> Result<(), RegistryError> {
        self.write_cell(cell, Action::RunStarted, actor, |write, record| {
            if !record.state.may_live() {
                let refusal = Refusal { state: record.state.name(), asks_to: "run an agent" };
                return write.refuse(Action::RunStarted, cell, RegistryError::Refused { cell: cell.clone(), refusal });
            }
            match insert(&write.tx, cell, run) {
                // Found before anything was written.
                Err(error @ RegistryError::AlreadyRunning { .. }) => return write.refuse(Action::RunStarted, cell, error),
                inserted => inserted?,
            }
            let detail = format!("{} as process {}, generation {}", run.agent, run.process.pid, run.generation);
            write.audit(Action::RunStarted, Phase::Done, cell, &detail)?;
            Ok(Verdict::Granted(()))
        })
    }

    /// Writes down that some agents' runs are over and others begin in their place, in one commit: their host was started again.
    ///
    /// # Errors
    /// No such cell, or one in whose state nothing may live; both are audited. The registry cannot be written to.
    pub fn replace_runs(&mut self, cell: &CellId, ends: &[(AgentName, RunEnd)], runs: &[Run], actor: &str) -> Result<(), RegistryError> {
        self.write_cell(cell, Action::RunStarted, actor, |write, record| {
            if !record.state.may_live() {
                let refusal = Refusal { state: record.state.name(), asks_to: "run an agent" };
                return write.refuse(Action::RunStarted, cell, RegistryError::Refused { cell: cell.clone(), refusal });
            }
            for (agent, end) in ends {
                end_one(write, cell, agent, end)?;
            }
            for run in runs {
                insert(&write.tx, cell, run)?;
                let detail = format!("{} again, as process {}, generation {}", run.agent, run.process.pid, run.generation);
                write.audit(Action::RunStarted, Phase::Done, cell, &detail)?;
            }
            Ok(Verdict::Granted(()))
        })
    }

    /// Writes down the end of an agent's open run. Returns whether there was one: a cell that is over has ended its runs.
    ///
    /// # Errors
    /// No such cell (audited), or the registry cannot be written to.
    pub fn end_run(&mut self, cell: &CellId, agent: &AgentName, end: &RunEnd, actor: &str) -> Result<bool, RegistryError> {
        self.write_cell(cell, Action::RunEnded, actor, |write, _record| end_one(write, cell, agent, end).map(Verdict::Granted))
    }
}

/// Ends the open run of one agent, with its audit row. Returns whether there was one.
pub(super) fn end_one(write: &Write<'_, '_>, cell: &CellId, agent: &AgentName, end: &RunEnd) -> Result<bool, RegistryError> {
    let Some(run_id) = open_run(&write.tx, cell, agent)? else { return Ok(false) };
    let how = one_line(&end.how, columns::MESSAGE_MOST_BYTES);
    let sql = "UPDATE runs SET ended_at = ?2, well = ?3, how = ?4 WHERE run_id = ?1";
    let values = params![run_id, end.at.timestamp_micros(), end.well, how];
    let cannot = RegistryError::while_doing("end a run");
    write.tx.prepare_cached(sql).and_then(|mut update| update.execute(values)).map_err(cannot)?;
    let phase = if end.well { Phase::Done } else { Phase::Failed };
    write.audit(Action::RunEnded, phase, cell, &format!("{agent}: {how}"))?;
    Ok(true)
}
