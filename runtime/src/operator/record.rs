//! What every use case writes into the audit log: intents, refusals and failures.

use super::{Error, Kind, Operator};
use crate::{
    audit::{Action, Draft, Phase},
    cell::{CellId, Record},
};

impl Operator {
    /// Does what changes something, and makes sure that what comes of it is on record: where it was refused or failed, and nothing said so yet,
    /// that is written down here. `cell` is what was named, where it was a cell.
    pub(super) fn audited<T>(
        &mut self,
        action: Action,
        cell: Option<&str>,
        act: impl FnOnce(&mut Self) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let before = self.registry.objections(action);
        let done = act(self);
        let Err(error) = &done else { return done };
        if self.registry.objections(action) != before {
            return done;
        }
        let phase = phase_of(error);
        let id = cell.and_then(|given| given.parse::<CellId>().ok());
        // Where the registry cannot be written to, that is what went wrong already, or the next command meets it: the first reason stands.
        let _ = self.note(action, phase, id.as_ref(), &whole(error));
        done
    }

    /// Writes down that somebody asked to read what they may not.
    pub(super) fn note_denied(&mut self, cell: Option<&CellId>, detail: &str) -> Result<(), Error> {
        self.note(Action::Denied, Phase::Refused, cell, detail)
    }

    pub(super) fn note(&mut self, action: Action, phase: Phase, cell: Option<&CellId>, detail: &str) -> Result<(), Error> {
        let draft = Draft::new(&self.actor.to_string(), action, phase, cell, detail);
        self.registry.audit(draft)?;
        Ok(())
    }

    /// Writes down what is about to be done. Without this row it must not be done.
    pub(super) fn note_intent(&mut self, action: Action, cell: &CellId, detail: &str) -> Result<(), Error> {
        self.note(action, Phase::Intent, Some(cell), detail)
    }

    /// Writes down what was done to a cell, and changed nothing of it.
    pub(super) fn note_done_of(&mut self, action: Action, cell: &CellId, detail: &str) -> Result<(), Error> {
        self.note(action, Phase::Done, Some(cell), detail)
    }

    /// Writes down what was refused.
    pub(super) fn note_refused(&mut self, action: Action, cell: &CellId, detail: &str) -> Result<(), Error> {
        self.note(action, Phase::Refused, Some(cell), detail)
    }

    /// Writes down what was tried and failed.
    pub(super) fn note_failed(&mut self, action: Action, cell: &CellId, detail: &str) -> Result<(), Error> {
        self.note(action, Phase::Failed, Some(cell), detail)
    }

    /// Writes down what was done to something that is no cell.
    pub(super) fn note_done(&mut self, action: Action, detail: &str) -> Result<(), Error> {
        self.note(action, Phase::Done, None, detail)
    }

    /// Writes down what is about to be done to something that is no cell. Without this row it must not be done.
    pub(super) fn note_intent_of_none(&mut self, action: Action, detail: &str) -> Result<(), Error> {
        self.note(action, Phase::Intent, None, detail)
    }

    /// Whether the actor may lead a cell: its owner, a director of it, or the operator in person. A refusal is audited.
    pub(super) fn must_lead(&mut self, record: &Record, what: &'static str, action: Action) -> Result<(), Error> {
        let proposal = &record.proposal;
        let directs = proposal.members.iter().any(|member| member.identity == self.actor && member.role.leads());
        if self.in_person || proposal.owner == self.actor || directs {
            return Ok(());
        }
        let cell = proposal.cell_id.clone();
        self.note_refused(action, &cell, "no right to")?;
        Err(Error::NotAllowed { who: self.actor.clone(), what, cell })
    }
}

/// How an error stands in the audit: `refused` says that nothing changed, and so is never said of what had begun. The exit code is another
/// question, which [`Error::kind`] answers.
fn phase_of(error: &Error) -> Phase {
    let had_begun = matches!(
        error,
        Error::NotDestroyed { .. }
            | Error::Remains { .. }
            | Error::AgentRemains { .. }
            | Error::NotReady { .. }
            | Error::NotResurrected { .. }
            | Error::NotRun { .. }
            | Error::WardenSilent { .. }
            | Error::Destination { .. }
    );
    match error.kind() {
        Kind::Refused if had_begun => Phase::Failed,
        Kind::Refused | Kind::Usage | Kind::NotFound => Phase::Refused,
        Kind::Internal => Phase::Failed,
    }
}

/// An error and its causes, in one line; a cause that its effect already quotes is left out.
pub(super) fn whole(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let said = cause.to_string();
        if !text.contains(&said) {
            text.push_str(&format!(": {said}"));
        }
        next = cause.source();
    }
    text
}
