//! `run`: a program in the foreground.

use std::{os::fd::OwnedFd, path::Path, process::ExitCode, time::Duration};

use serde::Serialize;

use super::summon::wish;
use crate::{
    backend::protocol::End,
    cell::{AgentName, CellId, ProjectName},
    cli::{
        args::SummonOptions,
        failure::{Failure, INTERNAL, REFUSED, USAGE},
        say::Say,
    },
    operator::{Error, Operator, Wish},
    warden::describe,
};

/// Whether a run's target is a file: it looks like one, or there is one. An agent's name can be neither.
fn is_program_file(target: &str) -> bool {
    target.contains('/') || target.ends_with(".wasm") || target.ends_with(".wat")
}

pub(super) fn run_wish(target: Option<String>, bare: bool, options: SummonOptions) -> Result<(AgentName, Wish), Failure> {
    let mut wish = Wish { bare, throwaway: true, ..wish(options) };
    let anonymous = || "run".parse::<AgentName>().map_err(crate::operator::Error::from);
    let agent = match target {
        Some(target) if is_program_file(&target) => {
            if wish.component.is_some() {
                return Err(Failure::new(USAGE, "name the WebAssembly file once: as the target, or with --component"));
            }
            wish.component = Some(Path::new(&target).to_owned());
            anonymous()?
        }
        Some(target) => {
            wish.must_be_defined = true;
            target.parse::<AgentName>().map_err(crate::operator::Error::from)?
        }
        None if wish.component.is_some() || !wish.command.is_empty() => anonymous()?,
        None => return Err(Failure::new(USAGE, "name an agent or a WebAssembly file, or a command after --")),
    };
    Ok((agent, wish))
}

/// Runs a program in the foreground. With `--json`, what it writes to stdout goes to stderr: stdout holds the envelope alone.
pub(super) fn run(
    operator: &mut Operator,
    agent: &AgentName,
    project: &ProjectName,
    wish: &Wish,
    timeout: Option<Duration>,
    say: &Say,
) -> Result<ExitCode, Failure> {
    #[derive(Serialize)]
    struct Envelope<'a> {
        success: bool,
        cell_id: &'a CellId,
        message: String,
        exit_code: u8,
    }
    let kept =
        say.json().then(divert_stdout).transpose().map_err(|error| Failure::new(INTERNAL, format!("could not divert stdout: {error}")))?;
    let ran = operator.run(agent, project, wish, timeout);
    if let Some(kept) = kept {
        rustix::stdio::dup2_stdout(kept).map_err(|error| Failure::new(INTERNAL, format!("could not restore stdout: {error}")))?;
    }
    let ran = ran.map_err(|error| match error {
        // Its cell is destroyed already: there is nothing to put away.
        Error::NotReady { .. } | Error::NotRun { .. } => Failure { hint: None, ..Failure::from(error) },
        error => Failure::from(error),
    })?;
    let code = exit_code_of(&ran.end)?;
    if say.json() {
        let envelope = Envelope { success: code == 0, cell_id: &ran.cell_id, message: describe(&ran.end), exit_code: code };
        say.print(&Say::line(&envelope));
    }
    Ok(ExitCode::from(code))
}

/// Lets everything that is written to stdout go to stderr; returns the real one.
fn divert_stdout() -> std::io::Result<OwnedFd> {
    let kept = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdout(), 3)?;
    rustix::stdio::dup2_stdout(rustix::stdio::stderr())?;
    Ok(kept)
}

/// The program's own exit code. What Lazarus ended is said, and is exit code 1.
fn exit_code_of(end: &End) -> Result<u8, Failure> {
    match end {
        // A process has 8 bits of exit code; what does not fit is still no success.
        End::Exited { code } => Ok(u8::try_from(*code).unwrap_or(REFUSED)),
        // As shells say it: sh(1), "Exit Status".
        End::Signalled { signal } => Ok(u8::try_from(128 + signal).unwrap_or(REFUSED)),
        End::Trapped { .. } | End::Limit { .. } => {
            Err(Failure::new(REFUSED, format!("the program did not end by itself: {}", describe(end))))
        }
    }
}
