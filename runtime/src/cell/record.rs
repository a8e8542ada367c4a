//! A cell as the registry knows it.

use std::{path::PathBuf, time::Duration};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::{AgentName, BackendKind, CellId, Identity, Opaque, ProcessRef, ProjectName, Role, State};

/// Somebody in a cell.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Who.
    pub identity: Identity,
    /// As what.
    pub role: Role,
    /// Since when.
    pub joined_at: DateTime<Utc>,
    /// Who let them in.
    pub invited_by: Identity,
}

/// What happens when a cell's time to live is over.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnExpire {
    /// It is closed; its home stays.
    #[default]
    Close,
    /// It is closed, then destroyed.
    Destroy,
    /// It is kept; `status` shows it as expired, and it takes no invites.
    Keep,
}

impl OnExpire {
    /// The choice as it is written everywhere.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Close => "close",
            Self::Destroy => "destroy",
            Self::Keep => "keep",
        }
    }
}

/// A cell that is about to be proposed: everything that is decided before anything exists.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proposal {
    /// Its id.
    pub cell_id: CellId,
    /// Its project.
    pub project: ProjectName,
    /// Who owns it.
    pub owner: Identity,
    /// What it runs.
    pub backend: BackendKind,
    /// Its first members.
    pub members: Vec<Member>,
    /// Its home on the machine (of a team: the directory of the homes).
    pub hermes_home: PathBuf,
    /// Its time to live, from the moment of the proposal.
    pub ttl: Duration,
    /// What happens then.
    pub on_expire: OnExpire,
    /// Whether it was summoned as a team: its first agents then have their homes below `hermes_home`.
    pub team: bool,
    /// Whether it is the throwaway cell of a foreground run: destroyed when the run ends, however it ends.
    pub throwaway: bool,
    /// Whether the operator accepts that the kernel cannot enforce everything.
    pub accept_degraded: bool,
    /// The command that proposes it: while that lives and there is no warden yet, the cell is being made.
    pub summoner: ProcessRef,
    /// When.
    pub created_at: DateTime<Utc>,
}

/// A cell as the registry knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// What was proposed. `members` are the present ones.
    #[serde(flatten)]
    pub proposal: Proposal,
    /// Its state.
    pub state: State,
    /// Since when it has been in that state.
    pub state_since: DateTime<Utc>,
    /// When its time to live is over.
    pub expires_at: DateTime<Utc>,
    /// How many lives it has had: 1, and one more for each resurrection.
    pub generation: u32,
    /// Counts its transitions; two that start from the same version cannot both happen.
    pub version: u64,
    /// Its warden, once there was one.
    pub warden: Option<ProcessRef>,
}

impl Record {
    /// The reason that comes with the state, as one line. What nobody destroyed by hand says so: the word was given with the summon.
    pub fn reason(&self) -> Option<String> {
        let reason = self.state.reason()?;
        let is_over = self.proposal.on_expire == OnExpire::Destroy && self.expires_at <= self.state_since;
        match &self.state {
            State::Destroyed { by, .. } if is_over && *by == self.proposal.owner => {
                Some(format!("destroyed after its time to live was over, on the word of {by} (on-expire destroy)"))
            }
            State::Proposed
            | State::Active
            | State::Idle
            | State::Closing { .. }
            | State::Closed { .. }
            | State::Failed { .. }
            | State::Destroyed { .. } => Some(reason),
        }
    }
}

/// One life of an agent in a cell.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// The agent.
    pub agent: AgentName,
    /// The cell's generation in which it ran.
    pub generation: u32,
    /// Its process, or its host's.
    pub process: ProcessRef,
    /// When it was ready.
    pub started_at: DateTime<Utc>,
    /// When and how it ended.
    pub ended: Option<RunEnd>,
    /// What it was given and what enforced that: [`crate::policy::Applied`] as JSON, opaque here.
    pub report: Opaque,
}

/// The end of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunEnd {
    /// When.
    pub at: DateTime<Utc>,
    /// Whether it ended well.
    pub well: bool,
    /// How: one line.
    pub how: String,
}
