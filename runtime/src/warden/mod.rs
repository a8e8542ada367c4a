//! The warden: the trusted process that watches over one cell.
//!
//! ```text
//!  command ── spec ──→ warden ─ makes the cell, takes its lease, starts its agents ─ waits for "ready"
//!     ↑                   │
//!     └── one line ───────┤ `active` is durable, or the cell failed and nothing is left of it
//!                         │
//!                         └─ logs, time to live, home sizes, control socket … until nothing lives any more
//! ```
//!
//! - [`spec`]: what it is told, and what it answers; [`control`]: how it is asked for something later.
//! - [`watch`] turns descriptors into events; [`life`] decides what follows; [`duty`] carries it out.
//! - [`post`]: messages between members, and what they ask of their cell.
//! - [`logs`]: what the agents write, bounded and made harmless.
//!
//! It runs no guest code, is one thread (and one parked thread for each process agent), and opens the registry only for a transition, and
//! while there is mail.

#[doc(hidden)]
pub mod by_hand;
mod child;
mod control;
mod counters;
mod duty;
mod held;
mod kept;
mod life;
mod logs;
mod make;
mod members;
mod meter;
mod pace;
mod post;
mod rehearse;
mod reopen;
mod spec;
mod strikes;
mod watch;
mod writer;

use std::{
    io::{self, Write},
    process::ExitCode,
};

pub use control::{Conversation, ask, parse_ask};
pub use duty::{WardenError, watch_over};
pub use kept::{KeptError, KeptPlan};
pub use life::{describe, is_well};
pub use rehearse::{Rehearsal, RehearsalSpec, Rehearsed, SUBCOMMAND as REHEARSE_COMMAND, main_rehearse};
pub use reopen::ReopenError;
pub use spec::{AgentPlan, Answer, Ask, Birth, Outcome, Readiness, WardenSpec};

/// The hidden subcommand that runs a detached warden: its spec on standard input, its one answer on standard output.
pub const SUBCOMMAND: &str = "__warden";
/// Bytes of a spec: the plans of a large team with their variables.
const SPEC_MOST_BYTES: u64 = 64 * 1024 * 1024;

/// Runs a detached warden to the end of its cell.
pub fn main_warden() -> ExitCode {
    crate::failpoint::hit(crate::failpoint::Point::WardenStart);
    // Started through /proc/self/exe, it would be called "exe" by whoever lists processes.
    let _ = rustix::thread::set_name(c"lazarus-warden");
    // A lock or a pipe of the operator's shell must not be held for as long as the cell lives.
    if let Err(error) = crate::unchecked::close_inherited() {
        answer(&Readiness::Failed { message: format!("the warden could not close what it inherited: {error}"), internal: true });
        return ExitCode::FAILURE;
    }
    many_descriptors();
    // Fails only where this is a session leader already, which is what is wanted.
    let _ = rustix::process::setsid();
    let spec: WardenSpec = match serde_json::from_reader(io::Read::take(io::stdin().lock(), SPEC_MOST_BYTES)) {
        Ok(spec) => spec,
        Err(error) => {
            answer(&Readiness::Failed { message: format!("the warden did not understand its spec: {error}"), internal: true });
            return ExitCode::FAILURE;
        }
    };
    let outcome = watch_over(spec, answer);
    match outcome {
        Ok(Outcome::Ran(_)) => ExitCode::SUCCESS,
        Ok(Outcome::NotReady { message, internal }) => {
            answer(&Readiness::Failed { message, internal });
            ExitCode::FAILURE
        }
        Err(error) => {
            answer(&Readiness::Failed { message: error.to_string(), internal: true });
            ExitCode::FAILURE
        }
    }
}

/// Lets the warden open as many descriptors as its user may: each agent that writes has a log, and each member connections. Its children
/// have limits of their own.
fn many_descriptors() {
    // Where that is not allowed, there are as many as there were.
    if let Ok(limits) = crate::unchecked::resource_limit(rustix::process::Resource::Nofile) {
        let raised = rustix::process::Rlimit { current: limits.maximum, ..limits };
        let _ = rustix::process::setrlimit(rustix::process::Resource::Nofile, raised);
    }
}

/// Says the one line, then lets go of the pipe: whoever reads it must not wait for the end of the cell.
fn answer(readiness: &Readiness) {
    if let Ok(mut line) = serde_json::to_vec(readiness) {
        line.push(b'\n');
        // A command that is gone is told by the registry.
        let _ = rustix::io::write(rustix::stdio::stdout(), &line);
    }
    let _ = io::stdout().flush();
    if let Ok(null) = std::fs::File::options().read(true).write(true).open("/dev/null") {
        let _ = rustix::stdio::dup2_stdin(&null);
        let _ = rustix::stdio::dup2_stdout(&null);
        let _ = rustix::stdio::dup2_stderr(&null);
    }
}
