//! Ending a membership: at once, with its tokens and sessions.

use std::time::Duration;

use serde::Serialize;

use super::{Error, Operator, teardown};
use crate::{
    audit::Action,
    cell::{CellId, Identity},
    warden::Ask,
};

/// How long a warden may take to let go of somebody.
const NOTED_WITHIN: Duration = Duration::from_secs(5);

/// What revoking did.
#[derive(Debug, Clone, Serialize)]
pub struct Revoked {
    /// The cell.
    pub cell_id: CellId,
    /// Who is a member no more.
    pub member: Identity,
    /// `Revoked {member} from {cell}`.
    pub message: String,
}

impl Operator {
    /// Ends somebody's membership: what they were invited with no longer lets them in, whoever is connected as them is let go of, and what
    /// waits for them is parked.
    ///
    /// # Errors
    /// No such cell or member, no right to, an agent that runs.
    pub fn revoke(&mut self, cell: &str, member: &Identity) -> Result<Revoked, Error> {
        self.audited(Action::Revoke, Some(cell), |operator| operator.revoke_audited(cell, member))
    }

    fn revoke_audited(&mut self, cell: &str, member: &Identity) -> Result<Revoked, Error> {
        let record = self.swept_cell(cell)?;
        let id = record.proposal.cell_id.clone();
        self.must_lead(&record, "revoke members of", Action::Revoke)?;
        let running = match member.startable() {
            Some(agent) if record.state.may_live() => self.registry.runs(&id)?.iter().any(|run| run.agent == *agent && run.ended.is_none()),
            Some(_) | None => false,
        };
        let present = record.proposal.members.iter().any(|present| present.identity == *member);
        if running && present {
            self.note_refused(Action::Revoke, &id, &format!("{member} runs"))?;
            return Err(Error::StillRuns { cell: id, member: member.clone() });
        }
        self.note_intent(Action::Revoke, &id, &member.to_string())?;
        self.registry.revoke_member(&id, member, &self.actor.to_string())?;
        // Whoever is connected is asked for its membership at each call; the warden hangs up on it besides.
        if record.state.may_live()
            && let Ok(mut conversation) = teardown::converse(&self.root, &record, &Ask::Revoked { member: member.clone() }, NOTED_WITHIN)
        {
            let _ = conversation.answer();
        }
        let message = format!("Revoked {member} from {id}");
        Ok(Revoked { cell_id: id, member: member.clone(), message })
    }
}
