//! Transitions: decided by `cell::decide`, applied here in one commit with their audit rows.

use chrono::{DateTime, Utc};

use super::{Registry, RegistryError, artifacts, columns, mailbox, propose, row, runs, tokens, write::Verdict, write::Write};
use crate::{
    audit::{Action, Phase},
    cell::{AgentName, CellId, CloseReason, Decision, Event, ProcessRef, Record, Refusal, Run, RunEnd, State, decide},
};

/// What changes together with a state. The default is nothing.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct TransitionExtras {
    /// The warden from now on. A resurrected cell's is this one or none: never the one of its last life.
    pub warden: Option<ProcessRef>,
    /// Runs that begin.
    pub runs: Vec<Run>,
    /// Runs that end; those that are not open (any more) are passed over.
    pub ends: Vec<(AgentName, RunEnd)>,
    /// When its time to live is over, from now on.
    pub expires_at: Option<DateTime<Utc>>,
    /// Whether the operator accepts, from now on, that the kernel cannot enforce everything; once accepted, it stays so.
    pub accept_degraded: bool,
    /// The version from which the caller decided; another one refuses.
    pub expected_version: Option<u64>,
}

/// What became of a transition that was not refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The cell moved.
    Moved(Record),
    /// The cell was there already; nothing changed, and the extras were not stored.
    Already(Record),
}

impl Outcome {
    /// The cell, as it is now.
    pub fn record(&self) -> &Record {
        match self {
            Self::Moved(record) | Self::Already(record) => record,
        }
    }

    /// The cell, as it is now.
    pub fn into_record(self) -> Record {
        match self {
            Self::Moved(record) | Self::Already(record) => record,
        }
    }
}

/// One event's part of a transition.
struct Step {
    action: Action,
    detail: String,
    /// Where it leads; `None` where the cell was there already.
    to: Option<State>,
    resurrects: bool,
}

impl Registry {
    /// Lets an event happen to a cell: the new state and its audit row, in one commit. When no process may live in the
    /// new state, runs that are still open are ended with it; a destroyed cell's messages, tokens and artifacts are removed with it.
    ///
    /// # Errors
    /// [`RegistryError::NotFound`] and [`RegistryError::Refused`] (both audited), [`RegistryError::VersionMoved`]; nothing was changed.
    pub fn transition(&mut self, cell: &CellId, event: Event, actor: &str, extras: TransitionExtras) -> Result<Outcome, RegistryError> {
        self.transition_many(cell, vec![event], actor, extras)
    }

    /// Lets several events happen to a cell, one after the other, in one commit: all or none.
    ///
    /// # Errors
    /// As [`Self::transition`].
    pub fn transition_many(
        &mut self,
        cell: &CellId,
        events: Vec<Event>,
        actor: &str,
        extras: TransitionExtras,
    ) -> Result<Outcome, RegistryError> {
        let Some(first) = events.first().map(action_of) else {
            return self.cell(cell)?.map(Outcome::Already).ok_or_else(|| RegistryError::NotFound(cell.clone()));
        };
        self.write_cell(cell, first, actor, |write, record| happen(write, record, events, extras))
    }
}

/// Decides and applies events inside of a transaction.
pub(super) fn happen(
    write: &Write<'_, '_>,
    record: Record,
    events: Vec<Event>,
    extras: TransitionExtras,
) -> Result<Verdict<Outcome>, RegistryError> {
    let cell = &record.proposal.cell_id;
    if let Some(expected) = extras.expected_version.filter(|expected| *expected != record.version) {
        let (cell, found) = (cell.clone(), record.version);
        // Not audited: nothing was judged, and the loser of a race decides anew.
        return Ok(Verdict::Refused(RegistryError::VersionMoved { cell, expected, found }));
    }
    match plan(&record.state, events) {
        Ok(steps) => apply(write, record, steps, extras).map(Verdict::Granted),
        Err((action, refusal)) => write.refuse(action, cell, RegistryError::Refused { cell: cell.clone(), refusal }),
    }
}

/// Decides every event before any is applied.
fn plan(state: &State, events: Vec<Event>) -> Result<Vec<Step>, (Action, Refusal)> {
    let mut now = state.clone();
    let mut steps = Vec::with_capacity(events.len());
    for event in events {
        let action = action_of(&event);
        let resurrects = matches!(event, Event::Resurrect);
        let (detail, to) = match decide(&now, event).map_err(|refusal| (action, refusal))? {
            Decision::To(next) => {
                let next = columns::tidy(next);
                (describe(&now, &next), Some(next))
            }
            Decision::Already => (format!("already {}", now.name()), None),
        };
        if let Some(next) = &to {
            now = next.clone();
        }
        steps.push(Step { action, detail, to, resurrects });
    }
    Ok(steps)
}

fn apply(write: &Write<'_, '_>, mut record: Record, steps: Vec<Step>, extras: TransitionExtras) -> Result<Outcome, RegistryError> {
    let cell = record.proposal.cell_id.clone();
    let from_version = record.version;
    for step in steps {
        let birth = outcome_of_birth(&record, &step);
        if let Some(to) = step.to {
            record.state = to;
            record.version = record.version.saturating_add(1);
        }
        if step.resurrects {
            record.generation = record.generation.saturating_add(1);
            record.warden = None;
        }
        write.audit(step.action, Phase::Done, &cell, &step.detail)?;
        if let Some((actor, action, phase)) = birth {
            write.audit_as(&actor, action, phase, &cell, &step.detail)?;
        }
    }
    if record.version == from_version {
        return Ok(Outcome::Already(record));
    }
    record.state_since = write.at;
    record.warden = extras.warden.or(record.warden);
    record.expires_at = extras.expires_at.map_or(record.expires_at, columns::kept);
    record.proposal.accept_degraded |= extras.accept_degraded;
    row::update_cell(&write.tx, &record, from_version)?;
    for run in &extras.runs {
        runs::insert(&write.tx, &cell, run)?;
    }
    for (agent, end) in &extras.ends {
        runs::end_one(write, &cell, agent, end)?;
    }
    if record.proposal.throwaway && matches!(record.state, State::Closed { .. } | State::Failed { .. }) {
        // Whoever ends it, or the next sweep, destroys it: nobody asks again.
        write.audit(Action::Destroy, Phase::Intent, &cell, "a throwaway cell is over")?;
    }
    if !record.state.may_live() {
        runs::end_all(&write.tx, &record, write.at)?;
    }
    if matches!(record.state, State::Destroyed { .. }) {
        mailbox::forget_all(write, &cell)?;
        tokens::forget_all(write, &cell)?;
        artifacts::forget_all(write, &cell)?;
    }
    Ok(Outcome::Moved(record))
}

/// What a cell's first step says of the command that it was proposed by: who gave it, what it was, and how it came out.
fn outcome_of_birth(record: &Record, step: &Step) -> Option<(String, Action, Phase)> {
    let phase = match (&record.state, step.to.as_ref()?) {
        (State::Proposed, State::Active) => Phase::Done,
        (State::Proposed, _) => Phase::Failed,
        (
            State::Active | State::Idle | State::Closing { .. } | State::Closed { .. } | State::Failed { .. } | State::Destroyed { .. },
            _,
        ) => return None,
    };
    let proposal = &record.proposal;
    let asked = proposal.members.first().map_or(&proposal.owner, |member| &member.invited_by);
    Some((asked.to_string(), propose::action_of(proposal), phase))
}

/// Returns the action that an event is, in the audit log.
fn action_of(event: &Event) -> Action {
    match event {
        Event::Ready => Action::Ready,
        Event::Rest => Action::Rest,
        Event::Wake => Action::Wake,
        Event::Close(CloseReason::Expired) => Action::Expired,
        Event::Close(CloseReason::Asked { .. } | CloseReason::Finished) => Action::Close,
        Event::Ended => Action::Ended,
        Event::Fail(_) => Action::Failed,
        Event::Resurrect => Action::Resurrect,
        Event::Destroy { .. } => Action::Destroy,
    }
}

fn describe(from: &State, to: &State) -> String {
    let mut line = format!("from {} to {}", from.name(), to.name());
    if let Some(reason) = to.reason() {
        line = format!("{line}: {reason}");
    }
    if let State::Destroyed { receipt, .. } = to {
        line = format!("{line}; {}", receipt.in_the_audit());
    }
    line
}
