//! The drill: the attacks, live, on this machine, on record. It has a root of its own; the operator's cells take no part in it.

use super::{Error, Kind, Operator};
use crate::{
    audit::{Action, Phase},
    drill::{self, DrillError, DrillReport, Request, Verdict},
};

/// What kind of failure it is that a drill did not take place.
pub(super) const fn kind(error: &DrillError) -> Kind {
    match error {
        DrillError::NoSuchAttack(_) => Kind::NotFound,
        DrillError::Interrupted => Kind::Refused,
        DrillError::Stage { .. } | DrillError::Command { .. } | DrillError::Left { .. } => Kind::Internal,
    }
}

impl Operator {
    /// Runs the attacks that the request chooses. `progress` is told of each verdict.
    ///
    /// # Errors
    /// A word that chooses nothing, a stage that could not be set or cleared, or an interruption. That an attack was not held is no
    /// error of the drill: the report says so.
    pub fn drill(&mut self, request: &Request, progress: &mut dyn FnMut(&Verdict)) -> Result<DrillReport, Error> {
        self.audited(Action::Drill, None, |operator| {
            let total = drill::chosen(&request.only)?.len();
            operator.note_intent_of_none(Action::Drill, &format!("{total} attacks"))?;
            // Interrupted or not: it had begun.
            let report = match drill::run(request, progress) {
                Ok(report) => report,
                Err(error) => {
                    operator.note(Action::Drill, Phase::Failed, None, &error.to_string())?;
                    return Err(error.into());
                }
            };
            let canaries = if report.canaries.intact { "canaries intact" } else { "canaries DISTURBED" };
            let detail = format!("{} held of {}, {} as reported; {canaries}", report.held(), report.verdicts.len(), report.as_reported());
            operator.note(Action::Drill, if report.is_well() { Phase::Done } else { Phase::Failed }, None, &detail)?;
            Ok(report)
        })
    }
}
