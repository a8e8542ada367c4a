//! Running a program in a throwaway cell, in the foreground: nothing is left afterwards, however it ends.

use std::time::Duration;

use super::{
    Error, Operator, Wish,
    approval::Purpose,
    foreground::lend_streams,
    teardown::{self, Toll},
    undertake::Undertaking,
};
use crate::{
    audit::Action,
    backend::protocol::End,
    cell::{AgentName, CellId, ProjectName, State, text::with_causes},
    warden::{self, Outcome},
};

/// How a foreground run ended.
#[derive(Debug, Clone)]
pub struct Ran {
    /// Its cell, which is destroyed.
    pub cell_id: CellId,
    /// How the program ended.
    pub end: End,
}

impl Operator {
    /// Runs a program to its end, with the caller's own streams; in the background, without the terminal's input.
    ///
    /// This process is the cell's warden meanwhile; it must have one thread.
    ///
    /// # Errors
    /// What was asked for cannot be had, an agent that lives by events, or the program did not start, or something is left of it.
    pub fn run(&mut self, agent: &AgentName, project: &ProjectName, wish: &Wish, timeout: Option<Duration>) -> Result<Ran, Error> {
        let agents = [agent.clone()];
        let (planned, proposal) = self.audited(Action::Run, None, |operator| {
            let planned = operator.plan_for(Purpose::new_cell(Action::Run), &agents, wish)?;
            if planned.by_events().is_some() {
                return Err(Error::LivesByEvents);
            }
            lend_streams()?;
            let proposal = operator.propose(&agents, project, wish, false, &planned)?;
            Ok((planned, proposal))
        })?;
        let id = proposal.cell_id.clone();
        let spec = self.warden_spec(&proposal, planned, timeout);
        let outcome = warden::watch_over(spec, |_| {});
        let end = match outcome {
            Ok(Outcome::Ran(ends)) => ends.into_iter().next().map(|(_, end)| end),
            Ok(Outcome::NotReady { message, internal }) => {
                self.finish(&id)?;
                return Err(if internal { Error::Broken { cell: id, message } } else { Error::NotRun { cell: id, message } });
            }
            Err(error) => {
                self.finish(&id)?;
                return Err(error.into());
            }
        };
        self.finish(&id)?;
        end.map(|end| Ran { cell_id: id.clone(), end })
            .ok_or(Error::Broken { cell: id, message: "its program left no word of its end".into() })
    }

    /// Removes what a run had. Nothing lives any more; its own process was the warden. That it will be removed stands in the audit since it ended:
    /// what came of it follows here.
    fn finish(&mut self, id: &CellId) -> Result<(), Error> {
        let finished = self.finish_audited(id);
        if let Err(error) = &finished {
            // Where that cannot be written, what went wrong already is the answer.
            drop(self.note_failed(Action::Destroy, id, &with_causes(error)));
        }
        finished
    }

    fn finish_audited(&mut self, id: &CellId) -> Result<(), Error> {
        let record = self.registry.cell(id)?.ok_or_else(|| Error::CellNotFound(id.to_string()))?;
        // Whoever has it may wait for the end of this very process: that is not waited for.
        let Some(claim) = self.claim_within(&record, Duration::ZERO)? else {
            return self.note_refused(Action::Destroy, id, "another command is tearing it down");
        };
        let record = self.registry.cell(id)?.ok_or_else(|| Error::CellNotFound(id.to_string()))?;
        match &record.state {
            State::Closed { .. } | State::Failed { .. } => {}
            // Somebody destroyed it meanwhile.
            State::Destroyed { by, .. } => return self.note_done_by_another(id, by),
            State::Proposed | State::Active | State::Idle | State::Closing { .. } => {
                let what = format!("it is {} after its end", record.state.name());
                return Err(Error::NotDestroyed { cell: id.clone(), what });
            }
        }
        let mut toll = Toll::default();
        teardown::no_stragglers(id, &mut toll)?;
        let by = self.actor.clone();
        let teardown = self.begin_teardown(&record, &by.to_string(), || None)?;
        self.put_away(&record, Undertaking { by, teardown, toll, razing: false, _claim: claim }).map(drop)
    }
}
