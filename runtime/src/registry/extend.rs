//! What changes a cell without a transition: its time to live, its warden.

use chrono::{DateTime, SecondsFormat, Utc};

use super::{Registry, RegistryError, columns, row, write::Verdict};
use crate::{
    audit::{Action, Phase},
    cell::{CellId, ProcessRef, Record, Refusal, State},
};

impl Registry {
    /// Sets when a cell's time to live is over. Counts as a change of version: whoever is about to end the cell for its old time is told.
    /// Returns the cell as it is now.
    ///
    /// # Errors
    /// No such cell, or one that is not proposed, active or idle; both are audited.
    pub fn extend(&mut self, cell: &CellId, expires_at: DateTime<Utc>, actor: &str) -> Result<Record, RegistryError> {
        self.write_cell(cell, Action::Extend, actor, |write, mut record| {
            match record.state {
                State::Proposed | State::Active | State::Idle => {}
                State::Closing { .. } | State::Closed { .. } | State::Failed { .. } | State::Destroyed { .. } => {
                    let refusal = Refusal { state: record.state.name(), asks_to: "be extended" };
                    return write.refuse(Action::Extend, cell, RegistryError::Refused { cell: cell.clone(), refusal });
                }
            }
            let from = (record.version, record.expires_at);
            record.expires_at = columns::kept(expires_at);
            record.version = record.version.saturating_add(1);
            row::update_cell(&write.tx, &record, from.0)?;
            let text = |at: DateTime<Utc>| at.to_rfc3339_opts(SecondsFormat::Secs, true);
            write.audit(Action::Extend, Phase::Done, cell, &format!("from {} to {}", text(from.1), text(record.expires_at)))?;
            Ok(Verdict::Granted(record))
        })
    }

    /// Writes down which process watches over a cell. The version stays: nobody decides by it.
    ///
    /// # Errors
    /// No such cell, or a destroyed one; both are audited.
    pub fn record_warden(&mut self, cell: &CellId, warden: &ProcessRef, actor: &str) -> Result<Record, RegistryError> {
        self.write_cell(cell, Action::Warden, actor, |write, mut record| {
            if matches!(record.state, State::Destroyed { .. }) {
                let refusal = Refusal { state: record.state.name(), asks_to: "be given a warden" };
                return write.refuse(Action::Warden, cell, RegistryError::Refused { cell: cell.clone(), refusal });
            }
            record.warden = Some(warden.clone());
            row::update_cell(&write.tx, &record, record.version)?;
            write.audit(Action::Warden, Phase::Done, cell, &format!("process {}", warden.pid))?;
            Ok(Verdict::Granted(record))
        })
    }
}
