//! Closing: the agents are told, get a grace period, and are then ended; the home stays.

use std::time::Duration;

use serde::Serialize;

use super::{Error, Operator, teardown};
use crate::{
    audit::Action,
    cell::{CellId, CloseReason, Event, State, decide},
    warden::{Answer, Ask},
};

/// What closing did.
#[derive(Debug, Clone, Serialize)]
pub struct Closed {
    /// The cell.
    pub cell_id: CellId,
    /// `Closed {cell} by {who}`, or that it is being closed.
    pub message: String,
    /// The state in which the cell is now.
    pub state: &'static str,
}

impl Operator {
    /// Closes a cell. With `wait`, returns when nothing lives any more.
    ///
    /// # Errors
    /// No such cell, no right to, a state that cannot be closed, a warden that does not answer.
    pub fn close(&mut self, cell: &str, grace: Duration, wait: bool) -> Result<Closed, Error> {
        self.audited(Action::Close, Some(cell), |operator| operator.close_audited(cell, grace, wait))
    }

    fn close_audited(&mut self, cell: &str, grace: Duration, wait: bool) -> Result<Closed, Error> {
        let record = self.swept_cell(cell)?;
        let id = record.proposal.cell_id.clone();
        self.must_lead(&record, "close", Action::Close)?;
        let reason = CloseReason::Asked { by: self.actor.clone() };
        if let Err(refusal) = decide(&record.state, Event::Close(reason)) {
            self.note_refused(Action::Close, &id, &refusal.to_string())?;
            return Err(Error::State { cell: id, refusal });
        }
        self.note_intent(Action::Close, &id, &format!("grace {}", crate::policy::format_duration(grace)))?;
        let grace_ms = u64::try_from(grace.as_millis()).unwrap_or(u64::MAX);
        let ask = Ask::Close { by: self.actor.clone(), grace_ms };
        let mut conversation = teardown::converse(&self.root, &record, &ask, teardown::answer_within(grace))?;
        while let Some(answer) = conversation.answer().map_err(|source| Error::WardenSilent { cell: id.clone(), source })? {
            match answer {
                Answer::Closing if !wait => {
                    let message = format!("Closing {id} by {}", self.actor);
                    return Ok(Closed { cell_id: id, message, state: "closing" });
                }
                Answer::Closing | Answer::Started { .. } | Answer::Noted | Answer::Handled { .. } | Answer::Parked { .. } => {}
                Answer::Ended { .. } => break,
                Answer::Refused { message } => return Err(Error::WardenRefused { cell: id, message }),
            }
        }
        // The warden has gone, or says that it ended the cell: the registry has the last word.
        let record = self.swept_cell(id.as_str())?;
        match record.state {
            State::Closed { .. } | State::Destroyed { .. } => {
                let message = format!("Closed {id} by {}", self.actor);
                Ok(Closed { cell_id: id, message, state: record.state.name() })
            }
            State::Proposed | State::Active | State::Idle | State::Closing { .. } | State::Failed { .. } => {
                let message = format!("it did not close (state={})", record.state.name());
                Err(Error::WardenRefused { cell: id, message })
            }
        }
    }
}
