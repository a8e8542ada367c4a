//! Rows as values, and values as rows.

use std::time::Duration;

use rusqlite::{Row, Transaction, params};

use super::{
    RegistryError,
    columns::{self, Cursor, StateColumns},
};
use crate::cell::{CellId, Member, OnExpire, Opaque, ProcessRef, Proposal, Record, Run, RunEnd};

/// The columns of a cell, in the order in which [`record`] takes them.
pub(super) const CELL_COLUMNS: &str = "cell_id, project, owner, backend, hermes_home, ttl, on_expire, team, throwaway, accept_degraded, created_at, \
     summoner_pid, summoner_start, summoner_boot, warden_pid, warden_start, warden_boot, \
     state, why, by_whom, message, receipt, state_since, expires_at, generation, version";

/// Returns the record that a row of [`CELL_COLUMNS`] says, without members.
pub(super) fn record(row: &Row<'_>) -> Result<Record, RegistryError> {
    read_record(&mut Cursor::new(row)).map_err(|what| RegistryError::Corrupt { cell: named_by(row), what })
}

/// Whose row it is, as far as it says: the first column of every SELECT here.
pub(super) fn named_by(row: &Row<'_>) -> String {
    let text: String = row.get(0).unwrap_or_else(|_| "without an id".into());
    crate::audit::one_line(&text, 40)
}

fn read_record(row: &mut Cursor<'_, '_>) -> Result<Record, String> {
    Ok(Record {
        // Fields are evaluated in the order in which they are written: that of the columns.
        proposal: Proposal {
            cell_id: row.parse("cell_id")?,
            project: row.parse("project")?,
            owner: row.parse("owner")?,
            backend: row.parse("backend")?,
            hermes_home: row.take::<String>("hermes_home")?.into(),
            ttl: Duration::from_micros(row.count("ttl")?),
            on_expire: on_expire(&row.take::<String>("on_expire")?)?,
            team: row.flag("team")?,
            throwaway: row.flag("throwaway")?,
            accept_degraded: row.flag("accept_degraded")?,
            created_at: row.time("created_at")?,
            summoner: ProcessRef {
                pid: row.count("summoner_pid")?,
                start_ticks: row.count("summoner_start")?,
                boot_id: row.take("summoner_boot")?,
            },
            members: Vec::new(),
        },
        warden: warden(row)?,
        state: columns::state_of(&StateColumns {
            state: row.take("state")?,
            why: row.take("why")?,
            by_whom: row.take("by_whom")?,
            message: row.take("message")?,
            receipt: row.take("receipt")?,
        })?,
        state_since: row.time("state_since")?,
        expires_at: row.time("expires_at")?,
        generation: row.count("generation")?,
        version: row.count("version")?,
    })
}

fn warden(row: &mut Cursor<'_, '_>) -> Result<Option<ProcessRef>, String> {
    let (pid, start, boot): (Option<i64>, Option<i64>, Option<String>) =
        (row.take("warden_pid")?, row.take("warden_start")?, row.take("warden_boot")?);
    match (pid, start, boot) {
        (None, None, None) => Ok(None),
        (Some(pid), Some(start), Some(boot_id)) => {
            let wrong = |_| format!("warden: {pid} started at {start} is no process");
            Ok(Some(ProcessRef { pid: u32::try_from(pid).map_err(wrong)?, start_ticks: u64::try_from(start).map_err(wrong)?, boot_id }))
        }
        other => Err(format!("no warden is {other:?}")),
    }
}

fn on_expire(text: &str) -> Result<OnExpire, String> {
    [OnExpire::Close, OnExpire::Destroy, OnExpire::Keep]
        .into_iter()
        .find(|choice| choice.as_str() == text)
        .ok_or_else(|| format!("on_expire: there is no {text:?}"))
}

/// Writes a proposal as a new row, in the first state.
pub(super) fn insert_cell(tx: &Transaction<'_>, record: &Record) -> Result<(), RegistryError> {
    let proposal = &record.proposal;
    let state = columns::columns_of(&record.state)?;
    let sql =
        "INSERT INTO cells (cell_id, project, owner, backend, hermes_home, ttl, on_expire, team, throwaway, accept_degraded, created_at,
            summoner_pid, summoner_start, summoner_boot, state, state_since, expires_at, generation, version)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19)";
    let values = params![
        proposal.cell_id.as_str(),
        proposal.project.as_str(),
        columns::identity(&proposal.owner)?,
        proposal.backend.as_str(),
        columns::path(&proposal.hermes_home)?,
        columns::micros("a time to live", proposal.ttl)?,
        proposal.on_expire.as_str(),
        proposal.team,
        proposal.throwaway,
        proposal.accept_degraded,
        proposal.created_at.timestamp_micros(),
        proposal.summoner.pid,
        columns::number("a start time", proposal.summoner.start_ticks)?,
        proposal.summoner.boot_id,
        state.state,
        record.state_since.timestamp_micros(),
        record.expires_at.timestamp_micros(),
        record.generation,
        columns::number("a version", record.version)?,
    ];
    let cannot = RegistryError::while_doing("store a cell");
    tx.prepare_cached(sql).and_then(|mut insert| insert.execute(values)).map_err(cannot)?;
    proposal.members.iter().try_for_each(|member| insert_member(tx, &proposal.cell_id, member))
}

/// Writes what may change of a cell, where it still has the version from which the record came.
pub(super) fn update_cell(tx: &Transaction<'_>, record: &Record, from_version: u64) -> Result<(), RegistryError> {
    let state = columns::columns_of(&record.state)?;
    let (pid, start, boot) = match &record.warden {
        Some(warden) => (Some(warden.pid), Some(columns::number("a start time", warden.start_ticks)?), Some(&warden.boot_id)),
        None => (None, None, None),
    };
    let sql = "UPDATE cells SET state = ?3, why = ?4, by_whom = ?5, message = ?6, receipt = ?7, state_since = ?8,
            warden_pid = ?9, warden_start = ?10, warden_boot = ?11, expires_at = ?12, generation = ?13, version = ?14, accept_degraded = ?15
        WHERE cell_id = ?1 AND version = ?2";
    let values = params![
        record.proposal.cell_id.as_str(),
        columns::number("a version", from_version)?,
        state.state,
        state.why,
        state.by_whom,
        state.message,
        state.receipt,
        record.state_since.timestamp_micros(),
        pid,
        start,
        boot,
        record.expires_at.timestamp_micros(),
        record.generation,
        columns::number("a version", record.version)?,
        record.proposal.accept_degraded,
    ];
    let cannot = RegistryError::while_doing("store a cell's state");
    match tx.prepare_cached(sql).and_then(|mut update| update.execute(values)).map_err(cannot)? {
        1 => Ok(()),
        // The row was read in this transaction, so it is there, with that version: or SQLite is not what it was.
        changed => Err(RegistryError::Corrupt {
            cell: record.proposal.cell_id.to_string(),
            what: format!("{changed} rows have version {from_version}"),
        }),
    }
}

/// The columns of a member, in the order in which [`member`] takes them.
pub(super) const MEMBER_COLUMNS: &str = "cell_id, identity, role, joined_at, invited_by";

/// Returns the member that a row of [`MEMBER_COLUMNS`] says, and the cell.
pub(super) fn member(row: &Row<'_>) -> Result<(CellId, Member), RegistryError> {
    let read = |row: &mut Cursor<'_, '_>| {
        let cell = row.parse("cell_id")?;
        let (identity, role) = (row.parse("identity")?, row.parse("role")?);
        Ok((cell, Member { identity, role, joined_at: row.time("joined_at")?, invited_by: row.parse("invited_by")? }))
    };
    read(&mut Cursor::new(row)).map_err(|what: String| RegistryError::Corrupt { cell: named_by(row), what: format!("a member: {what}") })
}

/// Writes a member.
pub(super) fn insert_member(tx: &Transaction<'_>, cell: &CellId, member: &Member) -> Result<(), RegistryError> {
    let sql = "INSERT INTO members (cell_id, identity, role, joined_at, invited_by) VALUES (?1, ?2, ?3, ?4, ?5)";
    let (identity, invited_by) = (columns::identity(&member.identity)?, columns::identity(&member.invited_by)?);
    let values = params![cell.as_str(), identity, member.role.as_str(), member.joined_at.timestamp_micros(), invited_by];
    let cannot = RegistryError::while_doing("store a member");
    tx.prepare_cached(sql).and_then(|mut insert| insert.execute(values)).map_err(cannot)?;
    Ok(())
}

/// The columns of a run, in the order in which [`run`] takes them.
pub(super) const RUN_COLUMNS: &str = "cell_id, agent, generation, pid, start, boot, started_at, ended_at, well, how, report";

/// Returns the run that a row of [`RUN_COLUMNS`] says.
pub(super) fn run(row: &Row<'_>) -> Result<Run, RegistryError> {
    let read = |row: &mut Cursor<'_, '_>| {
        let _cell: String = row.take("cell_id")?;
        Ok(Run {
            agent: row.parse("agent")?,
            generation: row.count("generation")?,
            process: ProcessRef { pid: row.count("pid")?, start_ticks: row.count("start")?, boot_id: row.take("boot")? },
            started_at: row.time("started_at")?,
            ended: run_end(row)?,
            report: Opaque::parse(row.take("report")?).map_err(|error| format!("report: {error}"))?,
        })
    };
    read(&mut Cursor::new(row)).map_err(|what: String| RegistryError::Corrupt { cell: named_by(row), what: format!("a run: {what}") })
}

fn run_end(row: &mut Cursor<'_, '_>) -> Result<Option<RunEnd>, String> {
    let (at, well, how): (Option<i64>, Option<i64>, Option<String>) = (row.take("ended_at")?, row.take("well")?, row.take("how")?);
    let time = |at| chrono::DateTime::from_timestamp_micros(at).ok_or_else(|| format!("ended_at: {at} is no time"));
    match (at, well, how) {
        (None, None, None) => Ok(None),
        (Some(at), Some(well @ (0 | 1)), Some(how)) => Ok(Some(RunEnd { at: time(at)?, well: well == 1, how })),
        other => Err(format!("no end is {other:?}")),
    }
}
