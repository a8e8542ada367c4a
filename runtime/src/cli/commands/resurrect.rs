//! `resurrect`.

use std::process::ExitCode;

use serde::Serialize;

use super::local;
use crate::{cell::AgentName, cli::say::Say, operator::Resurrected};

/// The envelope of `resurrect`: what `summon` answers, and which life this is.
#[derive(Serialize)]
struct Envelope<'a> {
    success: bool,
    /// Where there is one agent, as `summon` says it.
    #[serde(skip_serializing_if = "Option::is_none")]
    agent: Option<&'a AgentName>,
    #[serde(flatten)]
    what: &'a Resurrected,
}

pub(super) fn done(what: &Resurrected, say: &Say) -> ExitCode {
    let agent = if let [only] = what.agents.as_slice() { Some(only) } else { None };
    say.done(&Envelope { success: true, agent, what }, || {
        let Resurrected { message, pid, backend, hermes_home, expires_at, .. } = what;
        let degraded = if what.degraded { "\nDegraded, as accepted: see `lazarus explain` for what is not enforced" } else { "" };
        format!("{message} (pid {pid}, {backend}), until {}\nHome: {hermes_home}{degraded}", local(*expires_at))
    })
}
