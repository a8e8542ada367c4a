//! Approving: what is installed is used only as it was approved, to the last byte.
//!
//! ```text
//!  agent add (new) ──────────────→ approved: installing is consent
//!  agent add --replace ─ narrower → approved ┐
//!                      └ wider ──→ installed, not approved ─ agent approve ─→ approved
//!  edited below agents/ ─────────→ not approved ────────────┘
//! ```

use serde::Serialize;

use super::{Error, Operator};
use crate::{
    agent::{self, Difference, Grants, Installed, Terms},
    audit::Action,
    cell::{AgentName, CellId},
    registry::{ApprovedBy, Standing},
};

/// How an installed definition stands to what was approved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Approval {
    /// It is as it was approved.
    Approved,
    /// A release without approvals installed it, and it is as it was then: the next use records that as its approval.
    ByOlderRelease,
    /// Nothing of that name is approved.
    Never,
    /// It differs. Never empty.
    Differs(Vec<Difference>),
}

impl Approval {
    /// Whether it may be used.
    pub(super) const fn holds(&self) -> bool {
        match self {
            Self::Approved | Self::ByOlderRelease => true,
            Self::Never | Self::Differs(_) => false,
        }
    }

    /// What differs, one line each.
    pub(super) fn lines(&self, asked: &Terms) -> Vec<String> {
        match self {
            Self::Approved | Self::ByOlderRelease => Vec::new(),
            Self::Never => agent::all_of(asked),
            Self::Differs(differences) => differences.iter().map(|difference| difference.line.clone()).collect(),
        }
    }
}

/// A definition that was approved.
#[derive(Debug, Clone, Serialize)]
pub struct AgentApproved {
    /// The agent.
    pub agent: AgentName,
    /// The digest of its component.
    pub sha256: Option<String>,
    /// The digest of its definition's text.
    pub definition_sha256: String,
    /// The digest of its template.
    pub template_sha256: Option<String>,
    /// What is approved.
    pub grants: Grants,
    /// What changed since it was approved last, one line each; everything, the first time.
    pub differences: Vec<String>,
    /// What was done, as a sentence.
    pub message: String,
}

/// For what agents are planned: named where a definition is refused.
#[derive(Debug, Clone, Copy)]
pub(super) struct Purpose<'a> {
    /// What they are planned for.
    pub action: Action,
    /// The cell that they would come into, where it is there already.
    pub cell: Option<&'a CellId>,
}

impl Purpose<'_> {
    /// The purpose of a cell that is not there yet.
    pub(super) const fn new_cell(action: Action) -> Self {
        Self { action, cell: None }
    }
}

impl Operator {
    /// How a definition that was just loaded stands to what was approved. Writes nothing.
    pub(super) fn approval_of(&self, installed: &Installed) -> Result<Approval, Error> {
        Ok(match self.registry.standing(&installed.definition.name)? {
            None if installed.as_locked => Approval::ByOlderRelease,
            None | Some(Standing::Removed) => Approval::Never,
            Some(Standing::Approved { terms, .. }) => {
                let differences = agent::differences(&terms, &installed.terms);
                if differences.is_empty() { Approval::Approved } else { Approval::Differs(differences) }
            }
        })
    }

    /// Refuses a definition that is not as it was approved. What a release without approvals installed is approved by its first use.
    ///
    /// # Errors
    /// [`Error::NotApproved`], with every difference.
    pub(super) fn must_be_approved(&mut self, installed: &Installed) -> Result<(), Error> {
        let name = &installed.definition.name;
        match self.approval_of(installed)? {
            Approval::Approved => Ok(()),
            Approval::ByOlderRelease => {
                Ok(self.registry.approve(name, &installed.terms, ApprovedBy::OlderRelease, &self.actor.to_string())?)
            }
            refused @ (Approval::Never | Approval::Differs(_)) => {
                let ever = refused != Approval::Never;
                Err(Error::NotApproved { agent: name.clone(), ever, differences: refused.lines(&installed.terms) })
            }
        }
    }

    /// As [`Self::must_be_approved`]; a refusal is audited.
    pub(super) fn must_be_approved_for(&mut self, installed: &Installed, purpose: Purpose<'_>) -> Result<(), Error> {
        let refused = self.must_be_approved(installed);
        if let Err(error @ Error::NotApproved { differences, .. }) = &refused {
            let detail = format!("{error}: {}", differences.join("; "));
            match purpose.cell {
                Some(cell) => self.note_refused(purpose.action, cell, &detail)?,
                None => self.note_refused_of_none(purpose.action, &detail)?,
            }
        }
        refused
    }

    /// Approves an installed definition as it is now: what is compared is what was read.
    ///
    /// # Errors
    /// No such definition, or one that cannot be read or understood.
    pub fn agent_approve(&mut self, name: &AgentName) -> Result<AgentApproved, Error> {
        let installed = match agent::load(&self.root, name) {
            Ok(Some(installed)) => installed,
            Ok(None) => {
                self.note_refused_of_none(Action::AgentApprove, &format!("{name}: not there"))?;
                return Err(Error::AgentNotFound(name.clone()));
            }
            Err(error) => {
                self.note_refused_of_none(Action::AgentApprove, &format!("{name}: {error}"))?;
                return Err(error.into());
            }
        };
        let approval = self.approval_of(&installed)?;
        let differences = approval.lines(&installed.terms);
        let terms = installed.terms;
        self.note_intent_of_none(Action::AgentApprove, &format!("{name}: definition {}", terms.definition))?;
        self.registry.approve(name, &terms, ApprovedBy::Word, &self.actor.to_string())?;
        let message = match &approval {
            Approval::Approved | Approval::ByOlderRelease => format!("Approved agent {name}, which had not changed"),
            Approval::Never => format!("Approved agent {name}, for the first time"),
            Approval::Differs(differences) => format!("Approved agent {name}, with what changed ({})", differences.len()),
        };
        Ok(AgentApproved {
            agent: name.clone(),
            sha256: terms.component.map(|digest| digest.to_string()),
            definition_sha256: terms.definition.to_string(),
            template_sha256: terms.template.map(|digest| digest.to_string()),
            grants: terms.grants,
            differences,
            message,
        })
    }

    /// Approves what was just installed, if it is new or asks for no more than before; says how it stands then.
    pub(super) fn approve_added(&mut self, installed: &Installed, replaced: bool, before: Option<&Terms>) -> Result<Approval, Error> {
        let name = &installed.definition.name;
        let actor = self.actor.to_string();
        if let Some(before) = before
            && self.registry.standing(name)?.is_none()
        {
            // Its own record went with what was replaced.
            self.registry.approve(name, before, ApprovedBy::OlderRelease, &actor)?;
        }
        let approval = if replaced { self.approval_of(installed)? } else { Approval::Approved };
        let consent = match &approval {
            Approval::Approved => true,
            Approval::Differs(differences) => differences.iter().all(|difference| !difference.widens),
            Approval::ByOlderRelease | Approval::Never => false,
        };
        if consent {
            self.registry.approve(name, &installed.terms, ApprovedBy::Adding, &actor)?;
            return Ok(Approval::Approved);
        }
        Ok(approval)
    }
}
