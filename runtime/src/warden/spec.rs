//! What a warden is told, once, by the command that starts it; and what it answers, once.

use std::{path::PathBuf, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{
    backend::Launch,
    cell::{AgentName, CellId, Identity, OnExpire, ProcessRef},
    mail::{Message, MessageId},
};

/// One agent of the cell: how it is launched, and from which template its home is made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentPlan {
    /// Who it is as a member: an agent or a bot.
    pub identity: Identity,
    /// How it is launched.
    pub launch: Launch,
    /// A directory of the installed definition, copied into the fresh home.
    pub template: Option<PathBuf>,
    /// The SHA-256 of that directory, as it was approved; in lower-case hexadecimal.
    #[serde(default)]
    pub template_sha256: Option<String>,
    /// The SHA-256 of the source of a compiled program, in lower-case hexadecimal: by it the program is found again.
    pub source_sha256: Option<String>,
    /// The SHA-256 of the definition that it comes from, where it comes from one.
    #[serde(default)]
    pub definition: Option<String>,
}

/// Which of a cell's lives begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "birth")]
pub enum Birth {
    /// The first: the cell is `proposed`, and nothing of it exists.
    First,
    /// A later one: the cell is `closed` or `failed`, and its homes are there.
    Again {
        /// The generation that begins.
        generation: u32,
        /// The version of the cell that the operator saw; at another one, nothing is started.
        version: u64,
    },
}

impl Birth {
    /// The cell's generation in this life.
    pub const fn generation(self) -> u32 {
        match self {
            Self::First => 1,
            Self::Again { generation, .. } => generation,
        }
    }
}

/// Everything that a warden needs to know of its cell.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WardenSpec {
    /// The Lazarus root.
    pub root: PathBuf,
    /// The cell.
    pub cell: CellId,
    /// Which of its lives begins.
    pub birth: Birth,
    /// Who summons: named in the audit.
    pub actor: Identity,
    /// Its agents: one, or the members of a team.
    pub agents: Vec<AgentPlan>,
    /// Whether the cell ends with the command that made it.
    pub throwaway: bool,
    /// Whether the operator accepts that the kernel cannot enforce everything.
    pub accept_degraded: bool,
    /// Whether it has homes that must be made (a bare run has none).
    pub homes: bool,
    /// How long the agents may take to become ready.
    pub ready_within: Duration,
    /// How long a foreground run may take.
    pub timeout: Option<Duration>,
    /// When its time to live is over (of a cell that lives again: from its being active on); the registry may say later, by then.
    pub expires_at: chrono::DateTime<chrono::Utc>,
    /// What happens when the time to live is over.
    pub on_expire: OnExpire,
}

/// The one line that a detached warden writes to its standard output.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "answer")]
pub enum Readiness {
    /// The cell is active, and that is durable.
    Active {
        /// The first agent's process, or its host's.
        process: ProcessRef,
        /// Whether something that was promised is not enforced, as the operator accepted.
        degraded: bool,
    },
    /// The cell did not become active. Of a new one, the registry says so, and what was made is removed; one that lived before is as it was.
    Failed {
        /// The agent's or the backend's own words: one line.
        message: String,
        /// Whether Lazarus itself or the machine under it failed, rather than the agent.
        internal: bool,
    },
}

/// What is asked of a living warden, one JSON line a connection to its control socket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "ask")]
pub enum Ask {
    /// End the agents gracefully, close the cell.
    Close {
        /// Who asks.
        by: Identity,
        /// How long the agents may take, in milliseconds.
        grace_ms: u64,
    },
    /// End the agents at once, close the cell.
    End {
        /// Who asks.
        by: Identity,
    },
    /// Something was put into the registry for the members of the cell: look.
    Mail,
    /// Say what becomes of a message: the conversation stays open until that is decided.
    Await {
        /// The message.
        message: MessageId,
    },
    /// A member's token or membership was revoked: let go of whoever is connected as that member.
    Revoked {
        /// Who.
        member: Identity,
    },
    /// Start one more agent.
    Start {
        /// Who asks.
        by: Identity,
        /// The agent.
        plan: Box<AgentPlan>,
    },
}

/// What a living warden answers: one or more JSON lines, the last of which is final.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "answer")]
pub enum Answer {
    /// The agents were told to end. Not final.
    Closing,
    /// Nothing lives any more, and the registry says so.
    Ended {
        /// Processes that had to be ended.
        processes: u32,
    },
    /// The agent runs, and the registry says so.
    Started {
        /// Its process, or its host's.
        process: ProcessRef,
    },
    /// It was noted.
    Noted,
    /// An awaited message was handled.
    Handled {
        /// What its receiver answered, if anything.
        reply: Option<Message>,
    },
    /// An awaited message was parked: nobody will handle it.
    Parked {
        /// Why: one line.
        why: String,
    },
    /// It was not done.
    Refused {
        /// Why: one line.
        message: String,
    },
}

/// How a cell's life under its warden ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It never became active.
    NotReady {
        /// Why.
        message: String,
        /// Whether Lazarus itself failed.
        internal: bool,
    },
    /// It ran; these are its agents' ends, in the order of the plan.
    Ran(Vec<(AgentName, crate::backend::protocol::End)>),
}
