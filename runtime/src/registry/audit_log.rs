//! The audit chain, stored.

use chrono::{DateTime, Utc};
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::{ReadRegistry, Registry, RegistryError, columns, columns::Cursor, write::Verdict};
use crate::{
    audit::{Action, Broken, Draft, Entry, Fault, Hash, Head, Phase, Verifier},
    cell::CellId,
};

const COLUMNS: &str = "seq, at, actor, action, phase, cell_id, detail, previous, hash";

/// What a walk over the whole log found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditWalk {
    /// The newest row up to which the chain is whole.
    pub whole: Head,
    /// The first broken row, if there is one.
    pub broken: Option<Broken>,
    /// The place of the newest row, whole or not.
    pub end: u64,
    /// What has the place of the row that was asked for: its hash, as stored; `None` where there is no such row, or none was asked for.
    pub found: Option<Hash>,
}

/// Which rows of the audit log. The default is all of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AuditFilter {
    /// Only those of one cell.
    pub cell: Option<CellId>,
    /// Only those of one actor: an identity as text, or `warden`.
    pub actor: Option<String>,
    /// Only those of one action.
    pub action: Option<Action>,
    /// Only those of one phase.
    pub phase: Option<Phase>,
    /// Only those from this time on.
    pub since: Option<DateTime<Utc>>,
    /// Only those before this time.
    pub until: Option<DateTime<Utc>>,
    /// Only those after this one: for a reader that follows the log.
    pub after: u64,
    /// At most so many, the newest.
    pub newest: Option<u32>,
}

fn entry(row: &Row<'_>) -> Result<Entry, String> {
    let mut row = Cursor::new(row);
    Ok(Entry {
        seq: row.count("seq")?,
        at: row.time("at")?,
        actor: row.take("actor")?,
        action: row.parse("action")?,
        phase: row.parse("phase")?,
        cell: match row.take::<Option<String>>("cell_id")? {
            Some(cell) => Some(cell.parse().map_err(|error| format!("cell_id: failed to {error}"))?),
            None => None,
        },
        detail: row.take("detail")?,
        previous: row.take("previous")?,
        hash: row.take("hash")?,
    })
}

pub(super) fn head(connection: &Connection) -> Result<Head, RegistryError> {
    let cannot = RegistryError::while_doing("read the audit log's head");
    let mut select = connection.prepare_cached("SELECT seq, hash FROM audit ORDER BY seq DESC LIMIT 1").map_err(cannot)?;
    let newest = select
        .query_row([], |row| {
            let mut row = Cursor::new(row);
            Ok(row.count("seq").and_then(|seq| Ok(Head { seq, hash: row.take("hash")? })))
        })
        .optional()
        .map_err(cannot)?;
    let unreadable = |what| RegistryError::AuditBroken(Broken { seq: 0, what: Fault::Unreadable(what) });
    newest.transpose().map_err(unreadable).map(|head| head.unwrap_or(Head::EMPTY))
}

/// Adds a row to the chain. The caller's transaction is an immediate one: nobody else can add the same.
pub(super) fn append(connection: &Connection, draft: Draft, at: DateTime<Utc>) -> Result<Entry, RegistryError> {
    let entry = draft.after(&head(connection)?, at);
    let sql =
        "INSERT INTO audit (seq, at, actor, action, phase, cell_id, detail, previous, hash) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)";
    let values = params![
        columns::number("an audit row's place", entry.seq)?,
        entry.at.timestamp_micros(),
        entry.actor,
        entry.action.as_str(),
        entry.phase.as_str(),
        entry.cell.as_ref().map(CellId::as_str),
        entry.detail,
        entry.previous,
        entry.hash,
    ];
    let cannot = RegistryError::while_doing("store an audit row");
    connection.prepare_cached(sql).and_then(|mut insert| insert.execute(values)).map_err(cannot)?;
    Ok(entry)
}

impl Registry {
    /// Adds a row to the audit log, in a commit of its own: the intent before an act, or what happened outside of the registry.
    ///
    /// # Errors
    /// The registry cannot be written to. Then the act must not happen.
    pub fn audit(&mut self, draft: Draft) -> Result<Entry, RegistryError> {
        self.write("", |write| write.append(draft).map(Verdict::Granted))
    }
}

impl ReadRegistry {
    /// Returns rows of the audit log, the oldest first. They are not verified.
    ///
    /// # Errors
    /// A row cannot be read.
    pub fn audit_rows(&self, filter: &AuditFilter) -> Result<Vec<Entry>, RegistryError> {
        let cannot = RegistryError::while_doing("read the audit log");
        let sql = format!(
            "SELECT {COLUMNS} FROM audit WHERE seq > ?1 AND (?2 IS NULL OR cell_id = ?2) AND (?4 IS NULL OR actor = ?4)
                AND (?5 IS NULL OR action = ?5) AND (?6 IS NULL OR phase = ?6) AND (?7 IS NULL OR at >= ?7) AND (?8 IS NULL OR at < ?8)
            ORDER BY seq DESC LIMIT ?3"
        );
        // SQLite's word for "no limit".
        let limit = filter.newest.map_or(-1, i64::from);
        let after = columns::number("an audit row's place", filter.after)?;
        let mut entries = self.snapshot(|snapshot| {
            let mut select = snapshot.prepare_cached(&sql).map_err(cannot)?;
            let values = params![
                after,
                filter.cell.as_ref().map(CellId::as_str),
                limit,
                filter.actor,
                filter.action.map(Action::as_str),
                filter.phase.map(Phase::as_str),
                filter.since.map(|at| at.timestamp_micros()),
                filter.until.map(|at| at.timestamp_micros()),
            ];
            let mut rows = select.query(values).map_err(cannot)?;
            let mut entries = Vec::new();
            while let Some(row) = rows.next().map_err(cannot)? {
                let unreadable = |what| Broken { seq: row.get(0).map_or(0, |seq: i64| seq.unsigned_abs()), what: Fault::Unreadable(what) };
                entries.push(entry(row).map_err(unreadable)?);
            }
            Ok(entries)
        })?;
        entries.reverse();
        Ok(entries)
    }

    /// Returns one row; `None` where there is none of that place. It is not verified.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn audit_row(&self, seq: u64) -> Result<Option<Entry>, RegistryError> {
        let cannot = RegistryError::while_doing("read an audit row");
        let place = columns::number("an audit row's place", seq)?;
        let sql = format!("SELECT {COLUMNS} FROM audit WHERE seq = ?1");
        let row = self.snapshot(|snapshot| {
            let mut select = snapshot.prepare_cached(&sql).map_err(cannot)?;
            select.query_row([place], |row| Ok(entry(row))).optional().map_err(cannot)
        })?;
        row.transpose().map_err(|what| Broken { seq, what: Fault::Unreadable(what) }.into())
    }

    /// Returns the newest row's place and hash, unverified: what [`Self::audit_verify`] can be given later.
    ///
    /// # Errors
    /// The registry cannot be read.
    pub fn audit_head(&self) -> Result<Head, RegistryError> {
        self.snapshot(head)
    }

    /// Verifies the whole chain, row by row, in one snapshot. Rows that were cut off its end show only against a head
    /// that was exported before.
    ///
    /// # Errors
    /// [`RegistryError::AuditBroken`] names the first broken row.
    pub fn audit_verify(&self, expected: Option<Head>) -> Result<Head, RegistryError> {
        let cannot = RegistryError::while_doing("read the audit log");
        let sql = format!("SELECT {COLUMNS} FROM audit ORDER BY seq");
        self.snapshot(|snapshot| {
            let mut verifier = Verifier::new(expected);
            let mut select = snapshot.prepare(&sql).map_err(cannot)?;
            let mut rows = select.query([]).map_err(cannot)?;
            while let Some(row) = rows.next().map_err(cannot)? {
                let unreadable = |what| Broken { seq: verifier.next_seq(), what: Fault::Unreadable(what) };
                verifier.push(&entry(row).map_err(unreadable)?)?;
            }
            Ok(verifier.finish()?)
        })
    }

    /// Walks the whole chain, row by row, in one snapshot: how far it is whole, and what has the place of one row.
    ///
    /// # Errors
    /// The registry cannot be read. A broken row is in the result.
    pub fn audit_walk(&self, asked: Option<u64>) -> Result<AuditWalk, RegistryError> {
        let cannot = RegistryError::while_doing("read the audit log");
        let sql = format!("SELECT {COLUMNS} FROM audit ORDER BY seq");
        self.snapshot(|snapshot| {
            let mut walk = AuditWalk { whole: Head::EMPTY, broken: None, end: 0, found: None };
            let mut verifier = Verifier::new(None);
            let mut select = snapshot.prepare(&sql).map_err(cannot)?;
            let mut rows = select.query([]).map_err(cannot)?;
            while let Some(row) = rows.next().map_err(cannot)? {
                walk.end = row.get(0).map_or(walk.end, |seq: i64| seq.unsigned_abs());
                if asked == Some(walk.end) {
                    walk.found = row.get("hash").ok();
                }
                if walk.broken.is_none() {
                    let seq = verifier.next_seq();
                    let pushed = entry(row).map_err(|what| Broken { seq, what: Fault::Unreadable(what) });
                    match pushed.and_then(|entry| verifier.push(&entry).map(|()| entry)) {
                        Ok(entry) => walk.whole = Head { seq: entry.seq, hash: entry.hash },
                        Err(broken) => walk.broken = Some(broken),
                    }
                }
            }
            Ok(walk)
        })
    }
}
