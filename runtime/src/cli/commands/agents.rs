//! `lazarus agent`: the definitions that are installed.

use std::process::ExitCode;

use serde::Serialize;

use crate::cli::{args::AgentCommand, failure::Failure, say::Say, table::table};
use crate::operator::{AgentListed, AgentShown, Operator, policy_lines};

#[derive(Serialize)]
struct Done<'a> {
    success: bool,
    agent: &'a str,
    message: String,
}

/// Runs a command of `lazarus agent`.
///
/// # Errors
/// What the use case refuses.
pub fn run(operator: &mut Operator, command: AgentCommand, say: &Say) -> Result<ExitCode, Failure> {
    match command {
        AgentCommand::Add { file, replace } => {
            let listed = operator.agent_add(&file, replace)?;
            let message = format!("Added agent {} ({})", listed.name, listed.backend);
            let done = Done { success: true, agent: listed.name.as_str(), message };
            Ok(say.done(&done, || done.message.clone()))
        }
        AgentCommand::List => {
            #[derive(Serialize)]
            struct Envelope<'a> {
                success: bool,
                agents: &'a [AgentListed],
            }
            let agents = operator.agent_list()?;
            Ok(say.done(&Envelope { success: true, agents: &agents }, || list(&agents)))
        }
        AgentCommand::Show { name } => {
            #[derive(Serialize)]
            struct Envelope<'a> {
                success: bool,
                #[serde(flatten)]
                shown: &'a AgentShown,
            }
            let shown = operator.agent_show(&name)?;
            Ok(say.done(&Envelope { success: true, shown: &shown }, || show(&shown)))
        }
        AgentCommand::Remove { name } => {
            operator.agent_remove(&name)?;
            let done = Done { success: true, agent: name.as_str(), message: format!("Removed agent {name}") };
            Ok(say.done(&done, || done.message.clone()))
        }
    }
}

fn list(agents: &[AgentListed]) -> String {
    if agents.is_empty() {
        return "No agents are defined. `lazarus agent add FILE` installs a definition; without one, any name runs the built-in keeper."
            .to_owned();
    }
    let row = |agent: &AgentListed| {
        let trouble = agent.trouble.clone().unwrap_or_default();
        vec![agent.name.to_string(), agent.backend.clone(), agent.program.clone(), trouble]
    };
    table(&["AGENT", "BACKEND", "PROGRAM", ""], &agents.iter().map(row).collect::<Vec<_>>())
}

fn show(shown: &AgentShown) -> String {
    let mut text = format!("agent {} ({})\n  program   {}\n", shown.name, shown.backend, shown.program);
    if let Some(sha256) = &shown.sha256 {
        text.push_str(&format!("  sha256    {sha256}\n"));
    }
    for line in policy_lines(&shown.policy, shown.backend) {
        text.push_str(&format!("  {line}\n"));
    }
    text
}
