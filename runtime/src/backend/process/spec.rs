//! What a reaper is told: everything is decided, and opened; it looks nothing up.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::{
    backend::parcel::Enclosed,
    cell::AgentName,
    jail::cgroup::{Cgroup, Holds},
    policy::{Granted, Limits},
};

/// What can be done with a granted place; as [`crate::jail::BindKind`], in words that go over the handoff.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Use {
    Read,
    Write,
    Device,
}

/// One granted place: what was opened for it, and where the agent sees it.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Place {
    pub opened: Enclosed,
    pub target: PathBuf,
    pub usage: Use,
    pub granted: Granted,
}

/// A symbolic link that the agent sees.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Linked {
    pub path: PathBuf,
    pub text: PathBuf,
    pub granted: Granted,
}

/// What the agent sees of the machine.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "kind", deny_unknown_fields)]
pub(super) enum View {
    /// A root of its own, in namespaces of its own.
    Own {
        links: Vec<Linked>,
        texts: Vec<(PathBuf, String)>,
        /// A network namespace that nobody else is in, for the reaper to enter: it was made while the reaper was loaded.
        network: Enclosed,
        /// Where the nursery waits for the reaper to have moved into its root, to unmount what it left.
        door: Enclosed,
    },
    /// The machine's root, as far as Landlock lets it.
    Shared {
        /// Why there are no namespaces.
        because: String,
        /// Links of the machine into what was granted.
        links: Vec<Linked>,
    },
}

/// The work of one reaper.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Spec {
    pub agent: AgentName,
    pub argv: Vec<String>,
    pub env: Vec<(String, String)>,
    pub home: Option<PathBuf>,
    pub limits: Limits,
    pub accept_degraded: bool,
    /// Whether the work ends with the report: no agent is started.
    pub rehearsal: bool,
    pub view: View,
    pub places: Vec<Place>,
    /// Processes and threads of the same user that are not the agent's, where all are counted together.
    pub processes_of_others: u64,
    /// `cgroup.procs` of the control groups that were made for the agent.
    pub control_groups: Vec<Enclosed>,
    /// Which limits those hold.
    pub held: Held,
    /// Where the agent's connections to its cell are sent; `None` where it has no part in its cell's talk.
    pub hatch: Option<Enclosed>,
}

/// The limits that control groups hold.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Held {
    pub memory: bool,
    /// Whether memory can be swapped out beyond its limit.
    pub swaps: bool,
    pub processes: bool,
    pub cpu: bool,
}

impl Held {
    pub fn by(cgroup: &Cgroup) -> Self {
        let Holds { memory, processes, cpu } = cgroup.holds();
        Self { memory, swaps: cgroup.swaps(), processes, cpu }
    }
}
