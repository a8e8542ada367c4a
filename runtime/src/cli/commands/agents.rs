//! `lazarus agent`: the definitions that are installed.

use std::{path::Path, process::ExitCode};

use serde::Serialize;

use super::success;
use crate::{
    cell::{AgentName, text},
    cli::{
        agent_args::AgentCommand,
        failure::{Failure, REFUSED},
        say::Say,
        table::table,
    },
    operator::{AgentAdded, AgentListed, AgentShown, Checked, Operator, policy_lines},
};

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
            let added = operator.agent_add(&file, replace)?;
            Ok(say.done(&success(&added), || added_lines(&added)))
        }
        AgentCommand::Approve { name, yes: _ } => {
            let approved = operator.agent_approve(&name)?;
            Ok(say.done(&success(&approved), || lines_below(&approved.message, &approved.differences)))
        }
        // It needs no root, and was done before one was opened.
        AgentCommand::New { name, directory } => new(&name, directory.as_deref(), say),
        AgentCommand::Check { file } => check(operator, &file, say),
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

/// Makes the crate of a new agent.
pub(in crate::cli) fn new(name: &AgentName, directory: Option<&Path>, say: &Say) -> Result<ExitCode, Failure> {
    let made = Operator::agent_new(name, directory)?;
    let next = || {
        format!(
            "{}\nNext:\n  cd {} && cargo build --release --target wasm32-wasip2\n  lazarus summon {name} my-project --component {}\n\
             Then, with the cell that it names: lazarus send CELL hello --wait",
            made.message,
            made.directory.display(),
            crate::agent::scaffold::component(name),
        )
    };
    Ok(say.done(&success(&made), next))
}

/// Says what a program is, before it runs.
fn check(operator: &mut Operator, file: &Path, say: &Say) -> Result<ExitCode, Failure> {
    #[derive(Serialize)]
    struct Envelope<'a> {
        success: bool,
        #[serde(flatten)]
        checked: &'a Checked,
        exit_code: u8,
    }
    let checked = operator.agent_check(file)?;
    let exit_code = if checked.runs { 0 } else { REFUSED };
    let said = say.done(&Envelope { success: checked.runs, checked: &checked, exit_code }, || checked_lines(&checked));
    Ok(if checked.runs { said } else { ExitCode::from(exit_code) })
}

fn checked_lines(checked: &Checked) -> String {
    let mut text = format!("{}\n", text::one_line(&checked.message, 2000));
    if let Some(definition) = &checked.definition {
        text.push_str(&format!("  agent     {} ({})\n", definition.agent, definition.backend));
        definition.asks.iter().for_each(|line| text.push_str(&format!("  asks      {line}\n")));
        definition.remarks.iter().for_each(|line| text.push_str(&format!("  remark    {line}\n")));
    }
    if checked.definition.is_some() && checked.bytes == 0 {
        return text;
    }
    let sdk = checked.sdk.as_ref().map_or_else(|| "not stamped".to_owned(), |version| format!("lazarus-guest {version}"));
    text.push_str(&format!("  size      {} bytes\n  sdk       {sdk}\n", checked.bytes));
    for export in &checked.exports {
        text.push_str(&format!("  exports   {export}\n"));
    }
    let rows = checked.imports.iter().map(|group| {
        let names: Vec<&str> = group.imports.iter().map(|name| name.rsplit(['/', ':']).next().unwrap_or(name)).collect();
        let held = if group.provided { "yes" } else { "NO" };
        let mut row = vec![group.package.clone(), held.to_owned(), group.needs.to_owned()];
        row.extend(group.granted.clone());
        row.push(text::one_line(&names.join(" "), 200));
        row
    });
    let headings: &[&str] = match checked.definition {
        Some(_) => &["IMPORTS", "PROVIDED", "AND", "GRANTED", "WHAT"],
        None => &["IMPORTS", "PROVIDED", "AND", "WHAT"],
    };
    text.push_str(&table(headings, &rows.collect::<Vec<_>>()));
    text
}

fn added_lines(added: &AgentAdded) -> String {
    if added.approved {
        return lines_below(&format!("{}, with:", added.message), &added.asks);
    }
    let text = lines_below(&added.message, &added.differences);
    format!("{text}`lazarus agent approve {}` approves it; until then nothing runs it", added.agent)
}

fn lines_below(first: &str, lines: &[String]) -> String {
    lines.iter().fold(format!("{first}\n"), |text, line| text + "  " + line + "\n")
}

fn list(agents: &[AgentListed]) -> String {
    if agents.is_empty() {
        return "No agents are defined. `lazarus agent add FILE` installs a definition; without one, any name runs the built-in keeper."
            .to_owned();
    }
    let row = |agent: &AgentListed| {
        let trouble = agent.trouble.clone().unwrap_or_default();
        let approved = if agent.approved { "yes" } else { "NO" };
        vec![agent.name.to_string(), agent.backend.clone(), approved.to_owned(), agent.program.clone(), trouble]
    };
    table(&["AGENT", "BACKEND", "APPROVED", "PROGRAM", ""], &agents.iter().map(row).collect::<Vec<_>>())
}

fn show(shown: &AgentShown) -> String {
    let mut text = format!("agent {} ({})\n  program   {}\n", shown.name, shown.backend, shown.program);
    if let Some(sha256) = &shown.sha256 {
        text.push_str(&format!("  sha256    {sha256}\n"));
    }
    text.push_str(&format!("  approved  {}\n", if shown.approved { "yes" } else { "NO" }));
    for line in &shown.differences {
        text.push_str(&format!("    {line}\n"));
    }
    for line in policy_lines(&shown.policy, shown.backend, false) {
        text.push_str(&format!("  {line}\n"));
    }
    text
}
