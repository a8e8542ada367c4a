//! Giving a cell more time.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::{Error, Operator};
use crate::{audit::Action, cell::CellId, policy::format_duration};

/// What extending did.
#[derive(Debug, Clone, Serialize)]
pub struct Extended {
    /// The cell.
    pub cell_id: CellId,
    /// When its time is over now.
    pub expires_at: DateTime<Utc>,
    /// What was done, as a sentence.
    pub message: String,
}

impl Operator {
    /// Adds time to a cell: to what is left of it, or to this moment where none is left. Its warden reads the registry before it acts.
    ///
    /// # Errors
    /// No such cell, no right to, a cell that no longer lives.
    pub fn extend(&mut self, cell: &str, by: Duration) -> Result<Extended, Error> {
        self.audited(Action::Extend, Some(cell), |operator| operator.extend_audited(cell, by))
    }

    fn extend_audited(&mut self, cell: &str, by: Duration) -> Result<Extended, Error> {
        let record = self.swept_cell(cell)?;
        self.must_lead(&record, "extend", Action::Extend)?;
        let id = record.proposal.cell_id.clone();
        let from = record.expires_at.max(Utc::now());
        let until = chrono::Duration::from_std(by).ok().and_then(|by| from.checked_add_signed(by));
        let until = until.ok_or(Error::Contradiction("that is longer than Lazarus can count"))?;
        self.note_intent(Action::Extend, &id, &format!("by {}", format_duration(by)))?;
        let record = self.registry.extend(&id, until, &self.actor.to_string())?;
        let message = format!("Extended {id} by {}", format_duration(by));
        Ok(Extended { cell_id: id, expires_at: record.expires_at, message })
    }
}
