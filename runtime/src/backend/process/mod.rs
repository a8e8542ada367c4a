//! Process agents: any program, in the jail.
//!
//! ```text
//!  warden ── nursery thread ── reaper (lazarus-jail, jailed) ── agent (any program, inherits the jail)
//!    │   enters namespaces,        │ confines itself, reports, starts the agent, reaps what ends,
//!    │   opens what is granted     │ passes on "close" as SIGTERM, reports the end, and ends
//!    └── message socket ───────────┘
//! ```
//!
//! The reaper confines itself before it starts the agent, so that the agent never runs unconfined, and no code of ours runs
//! between a fork and an exec. In a pid namespace the reaper is process 1: when it ends, the kernel ends all others in it.
//! Where the machine gives no namespaces, it is a *subreaper*: whatever the agent starts stays its descendant, and is found
//! and killed before it ends.
//!
//! An agent that takes part in its cell's talk connects to an address that leads to its warden and nowhere else: see [`connect`].
//! Without a mount namespace, what it may change about files is decided call by call: see [`marks`].

mod attend;
mod birth;
mod connect;
mod held;
mod marks;
mod plan;
mod program;
mod reaper;
mod sources;
mod spawn;
mod spec;
mod start;

pub use connect::CELL_SOCKET;
pub use program::{ReaperProgram, SMALL_PROGRAM, main_reaper};
pub use reaper::main_jail;
pub use spawn::{Groups, ProcessOptions, SpawnError, agent_pid, rehearse, spawn};

/// The hidden subcommand that runs the reaper, of this program and of the small one: `lazarus __jail --socket M`.
pub const SUBCOMMAND: &str = "__jail";
