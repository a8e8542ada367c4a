//! Catching up: what ended unseen is recorded, what outlived its time is ended.
//!
//! Every command does this first: two indexed queries, and a look at one process for each living cell.

use std::time::Duration;

use serde::Serialize;

use super::{
    Error, Operator,
    teardown::{self, Toll},
    undertake::Undertaking,
};
use crate::{
    audit::{Action, Draft, Phase},
    cell::{CellId, Event, FailReason, Identity, Record, State, text::with_causes},
    jail::liveness::{self, Liveness},
    registry::TransitionExtras,
};

/// The name under which catching up stands in the audit.
const ACTOR: &str = "sweep";

/// What a sweep did.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Swept {
    /// Cells whose end nobody had recorded.
    pub settled: Vec<CellId>,
    /// Cells that were destroyed, as their policy says.
    pub destroyed: Vec<CellId>,
    /// Cells that could not be brought to an end, with the reason.
    pub failed: Vec<(CellId, String)>,
}

impl Operator {
    /// Records what ended unseen, and destroys what its policy wants destroyed.
    ///
    /// # Errors
    /// A registry that cannot be read or written; trouble with one cell is in the result.
    pub fn sweep(&mut self) -> Result<Swept, Error> {
        let mut swept = Swept { settled: self.catch_up()?, ..Swept::default() };
        for record in self.registry.leftovers(chrono::Utc::now())? {
            let id = record.proposal.cell_id.clone();
            let by = record.proposal.owner.clone();
            match self.tear_down_unasked(&record, &by, false) {
                Ok(true) => swept.destroyed.push(id),
                // Another command tears it down.
                Ok(false) => {}
                Err(error) => swept.failed.push((id, with_causes(&error))),
            }
        }
        Ok(swept)
    }

    /// As [`Operator::sweep`], for whoever asks for it by name: that is on record.
    ///
    /// # Errors
    /// As there.
    pub fn sweep_asked(&mut self) -> Result<Swept, Error> {
        self.audited(Action::Sweep, None, |operator| {
            operator.note_intent_of_none(Action::Sweep, "")?;
            let swept = operator.sweep()?;
            let (settled, destroyed) = (swept.settled.len(), swept.destroyed.len());
            let phase = if swept.failed.is_empty() { Phase::Done } else { Phase::Failed };
            operator.note(
                Action::Sweep,
                phase,
                None,
                &format!("{settled} settled, {destroyed} destroyed, {} failed", swept.failed.len()),
            )?;
            Ok(swept)
        })
    }

    /// Tears down what nobody asked to be torn down now: the intent, unless it is written already, the teardown, and the outcome. Nothing lives in it.
    /// False where another teardown is at it: that is not waited for.
    fn tear_down_unasked(&mut self, record: &Record, by: &Identity, mut is_intended: bool) -> Result<bool, Error> {
        let done = self.tear_down_claimed(record, by, &mut is_intended);
        let outcome = match &done {
            Err(error) if is_intended => Some((Phase::Failed, with_causes(error))),
            Ok(false) if is_intended => Some((Phase::Refused, "another command is tearing it down".to_owned())),
            Ok(_) | Err(_) => None,
        };
        if let Some((phase, detail)) = outcome {
            self.registry.audit(Draft::new(ACTOR, Action::Destroy, phase, Some(&record.proposal.cell_id), &detail))?;
        }
        done
    }

    fn tear_down_claimed(&mut self, record: &Record, by: &Identity, is_intended: &mut bool) -> Result<bool, Error> {
        let id = &record.proposal.cell_id;
        let Some(claim) = self.claim_within(record, Duration::ZERO)? else { return Ok(false) };
        let now = self.cell(id.as_str())?;
        if let State::Destroyed { by, .. } = &now.state {
            if *is_intended {
                self.note_done_by_another(id, by)?;
            }
            return Ok(true);
        }
        *is_intended |= self.inherits_intent(&now)?;
        let why = if record.proposal.throwaway { "its run is over" } else { "its time to live is over" };
        let intent = |intended: bool| (!intended).then(|| Draft::new(ACTOR, Action::Destroy, Phase::Intent, Some(id), why));
        let teardown = self.begin_teardown(&now, ACTOR, || intent(*is_intended))?;
        *is_intended = true;
        let work = Undertaking { by: by.clone(), teardown, toll: Toll::default(), razing: false, _claim: claim };
        self.carry_out(&now, work).map(|_| true)
    }

    /// Settles the cells whose warden or summoner is gone. Cheap when there are none.
    pub(super) fn catch_up(&mut self) -> Result<Vec<CellId>, Error> {
        let mut settled = Vec::new();
        for record in self.registry.live_cells()? {
            let (record, was_dead) = self.settle_if_dead(record)?;
            if was_dead {
                settled.push(record.proposal.cell_id);
            }
        }
        Ok(settled)
    }

    /// The cell of that id, after catching up with it.
    pub(super) fn swept_cell(&mut self, given: &str) -> Result<Record, Error> {
        let record = self.cell(given)?;
        Ok(self.settle_if_dead(record)?.0)
    }

    /// Records the end of a cell that nobody watches over any more. Returns the cell as it is then, and whether that was done here.
    fn settle_if_dead(&mut self, mut record: Record) -> Result<(Record, bool), Error> {
        while record.state.may_live() {
            let guardian = record.warden.as_ref().unwrap_or(&record.proposal.summoner);
            match liveness::probe(guardian) {
                Liveness::Alive | Liveness::Unknown { .. } => return Ok((record, false)),
                Liveness::Dead => {}
            }
            let id = record.proposal.cell_id.clone();
            if record.warden.is_some() {
                // The kernel ends a dead warden's agents; what it could not reach is ended here, before the registry says so.
                let runs = self.registry.runs(&id)?;
                let by = &record.proposal.owner;
                if teardown::end_everything(&self.root, &record, &runs, by, &mut Toll::default()).is_err() {
                    return Ok((record, false));
                }
            }
            let event = match &record.state {
                State::Proposed => Event::Fail(FailReason::SummonerDied),
                State::Active | State::Idle => Event::Fail(FailReason::WardenDied),
                State::Closing { .. } => Event::Ended,
                State::Closed { .. } | State::Failed { .. } | State::Destroyed { .. } => return Ok((record, false)),
            };
            // A summoner also ends because its cell became active: then the record is older than that, and its guardian another.
            let extras = TransitionExtras { expected_version: Some(record.version), ..TransitionExtras::default() };
            match self.registry.transition(&id, event, ACTOR, extras) {
                Ok(outcome) => return self.settled(outcome.into_record()).map(|record| (record, true)),
                // The warden, or another command, was faster: look again.
                Err(error) if error.is_overtaken() => record = self.cell(id.as_str())?,
                Err(error) => return Err(error.into()),
            }
        }
        Ok((record, false))
    }

    /// Removes a throwaway cell whose end was just recorded.
    fn settled(&mut self, record: Record) -> Result<Record, Error> {
        if !record.proposal.throwaway {
            return Ok(record);
        }
        let by: Identity = record.proposal.owner.clone();
        // It stays `failed`, and seen, where it cannot be removed. That it will be was written down when it ended.
        let _ = self.tear_down_unasked(&record, &by, true);
        self.cell(record.proposal.cell_id.as_str())
    }
}
