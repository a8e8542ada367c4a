//! Showing the audit.

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::{AuditError, Error, Operator};
use crate::{
    audit::{Action, Entry, Phase, one_line},
    cell::CellId,
    mail::may_read_all,
    registry::AuditFilter,
};

/// Which rows are asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AuditQuery {
    /// Only those of one cell, also of one that never was.
    pub cell: Option<CellId>,
    /// Only those of one actor.
    pub actor: Option<String>,
    /// Only those of one action.
    pub action: Option<Action>,
    /// Only those of one phase.
    pub phase: Option<Phase>,
    /// Only those from this time on.
    pub since: Option<DateTime<Utc>>,
    /// Only those before this time.
    pub until: Option<DateTime<Utc>>,
    /// At most so many, the newest.
    pub most: u32,
}

/// One row as it is shown. Its texts are harmless lines: they were made so before they were hashed, and again here.
#[derive(Debug, Clone, Serialize)]
pub struct AuditLine {
    /// Its place.
    pub seq: u64,
    /// When.
    pub at: DateTime<Utc>,
    /// Who.
    pub actor: String,
    /// What.
    pub action: &'static str,
    /// How far it had come.
    pub phase: &'static str,
    /// The cell, where there was one.
    pub cell_id: Option<CellId>,
    /// More.
    pub detail: String,
    /// Its hash, in hexadecimal.
    pub hash: String,
}

/// Rows of the audit, and how many.
#[derive(Debug, Clone, Serialize)]
pub struct AuditShown {
    /// The rows, the newest last.
    pub rows: Vec<AuditLine>,
    /// How many, and whether there may be more.
    pub message: String,
}

impl From<Entry> for AuditLine {
    fn from(entry: Entry) -> Self {
        // A row that somebody wrote past Lazarus is found by `audit verify`, and must do no harm here.
        let line = |text: &str| one_line(text, crate::audit::DETAIL_MOST_BYTES);
        Self {
            seq: entry.seq,
            at: entry.at,
            actor: line(&entry.actor),
            action: entry.action.as_str(),
            phase: entry.phase.as_str(),
            cell_id: entry.cell,
            detail: line(&entry.detail),
            hash: entry.hash.iter().map(|byte| format!("{byte:02x}")).collect(),
        }
    }
}

impl Operator {
    /// Returns rows of the audit. The operator in person sees all; the owner, the directors and the auditors of a cell see those of that cell.
    /// They are not verified.
    ///
    /// # Errors
    /// No right to (audited), no such cell, a row that cannot be read.
    pub fn audit_show(&mut self, query: &AuditQuery) -> Result<AuditShown, Error> {
        self.must_audit(query.cell.as_ref())?;
        let AuditQuery { cell, actor, action, phase, since, until, most } = query.clone();
        let filter = AuditFilter { cell, actor, action, phase, since, until, after: 0, newest: Some(most) };
        let rows: Vec<AuditLine> = self.registry.audit_rows(&filter)?.into_iter().map(AuditLine::from).collect();
        let more = if rows.len() as u64 >= u64::from(most) { "; there may be older ones: -n asks for more" } else { "" };
        let message = format!("{} rows{more}", rows.len());
        Ok(AuditShown { rows, message })
    }

    /// Whether the actor may read the audit: all of it, or one cell's.
    fn must_audit(&mut self, cell: Option<&CellId>) -> Result<(), Error> {
        if self.in_person {
            return Ok(());
        }
        let who = self.actor.clone();
        let Some(cell) = cell else {
            self.note_denied(None, "audit show: no right to rows of every cell")?;
            return Err(AuditError::OfAll(who).into());
        };
        let record = self.registry.cell_alone(cell)?.ok_or_else(|| Error::CellNotFound(cell.to_string()))?;
        if self.standing(&record, &who)?.is_some_and(may_read_all) {
            return Ok(());
        }
        self.note_denied(Some(cell), "audit show: no right to")?;
        Err(AuditError::NoReader { who, what: "read the audit of", cell: cell.clone() }.into())
    }
}
