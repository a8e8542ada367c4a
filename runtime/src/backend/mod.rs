//! How an agent is run: the two backends behind one trait.
//!
//! A backend turns [`Launch`]es into live, jailed children of the calling process. From then on
//! both are supervised alike, through [`Spawned`]: a pidfd, a message socket and the streams.

pub mod allowance;
pub mod bucket;
pub mod handoff;
pub mod nursery;
pub mod packets;
pub mod parcel;
pub mod process;
pub mod protocol;
pub mod reach;
pub mod spawned;
pub mod wasm;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

pub use crate::cell::BackendKind;
use crate::{
    cell::{AgentName, Role},
    policy::{Access, Asked, Policy},
};

/// Everything that Lazarus makes is the operator's alone, whatever the umask that it inherits; and what agents make, theirs.
pub const UMASK: u32 = 0o077;

/// What an agent runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "kind")]
pub enum Program {
    /// A command and its arguments (process backend). Not empty.
    Command {
        /// The program, by path or by name in the cell's PATH, and its arguments.
        argv: Vec<String>,
    },
    /// A compiled component or core module (wasm backend).
    Compiled {
        /// The file in the cache; opened by the trusted side, and passed as a descriptor.
        cached: PathBuf,
        /// What the source was.
        form: WasmForm,
        /// Arguments, the first being the program's name.
        args: Vec<String>,
    },
}

impl Program {
    /// What is run, as a phrase for people.
    pub fn phrase(&self) -> String {
        match self {
            Self::Command { argv } => argv.join(" "),
            Self::Compiled { args, .. } => format!("WebAssembly {}", args.join(" ")),
        }
    }
}

/// The two forms of WASI programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WasmForm {
    /// A component (preview 2) that exports `wasi:cli/run`.
    Component,
    /// A component that exports `lazarus:cell/agent`: it lives by events.
    Agent,
    /// A core module (preview 1) that exports `_start`.
    Module,
}

/// Where an agent's standard streams go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stdio {
    /// stdout and stderr to the warden's log; stdin is empty. A wasm guest's stdin ends when it is told to close (it has no
    /// signals); a process has `/dev/null`, and is told by SIGTERM.
    Captured,
    /// The caller's own streams (`lazarus run`).
    Inherited,
}

/// One agent to start, wholly resolved: nothing is looked up, and nothing defaulted, after this.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Launch {
    /// Its name in the cell.
    pub agent: AgentName,
    /// Its role.
    pub role: Role,
    /// What it runs.
    pub program: Program,
    /// What it was granted.
    pub policy: Policy,
    /// Its home on the machine; `None` for roles without one and for bare runs.
    pub home: Option<PathBuf>,
    /// What the team shares, on the machine; `None` where nobody shares.
    pub shared: Option<PathBuf>,
    /// The complete environment, as it will be seen.
    pub env: Vec<(String, String)>,
    /// Where its streams go.
    pub stdio: Stdio,
    /// How often an agent that lives by events is called without one.
    pub tick: Option<std::time::Duration>,
    /// Whether the cell lived before: an agent that lives by events is told so when it starts.
    pub again: bool,
}

impl Launch {
    /// What decides which promises its report must cover. `speaks`, where a process agent takes part in its cell's talk.
    pub fn asked(&self, speaks: bool) -> Asked<'_> {
        let (backend, by_events) = match &self.program {
            Program::Command { .. } => (BackendKind::Process, false),
            Program::Compiled { form, .. } => (BackendKind::Wasm, *form == WasmForm::Agent),
        };
        let access = if self.role.writes_shared() { Access::Rw } else { Access::Ro };
        let captured = match self.stdio {
            Stdio::Captured => true,
            Stdio::Inherited => false,
        };
        let shared = self.shared.as_ref().map(|_| access);
        Asked { policy: &self.policy, backend, by_events, home: self.home.is_some(), shared, speaks, captured }
    }
}
