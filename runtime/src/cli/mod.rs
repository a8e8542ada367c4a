//! The command line: parses, calls one use case, prints. Nothing is decided here.

mod agent_args;
mod args;
mod cell;
mod commands;
mod failure;
mod join;
mod say;
mod table;

use std::{ffi::OsString, io::Write, os::fd::RawFd, path::PathBuf, process::ExitCode};

use clap::{CommandFactory, FromArgMatches};

use self::{
    agent_args::AgentCommand,
    args::{Cli, Command},
    failure::Failure,
    say::Say,
};
use crate::{
    backend::{process, wasm},
    home::ambient,
    operator::Operator,
    warden,
};

/// Everything that this program makes is the operator's alone, whatever the umask that it inherits.
const UMASK: u32 = 0o077;

/// Runs the program that `main` is; returns its exit code.
pub fn main() -> ExitCode {
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(UMASK));
    let args: Vec<OsString> = std::env::args_os().collect();
    // The hidden subcommands come first: they are started often, and by Lazarus alone.
    match args.get(1).and_then(|arg| arg.to_str()) {
        Some(warden::SUBCOMMAND) => warden::main_warden(),
        Some(warden::REHEARSE_COMMAND) => warden::main_rehearse(),
        Some(process::SUBCOMMAND) => handed_over(&args, process::main_jail),
        Some(wasm::HOST_COMMAND) => handed_over(&args, wasm::main_host),
        Some(wasm::COMPILE_COMMAND) => wasm::main_compile(),
        _ => operator_main(args),
    }
}

/// Starts a jailed child with the two descriptors that it was given: `--handoff N --socket M`.
fn handed_over(args: &[OsString], main: fn(RawFd, RawFd) -> ExitCode) -> ExitCode {
    let number = |at: usize, name: &str| -> Option<RawFd> {
        let named = args.get(at).is_some_and(|arg| arg == name);
        if named { args.get(at + 1)?.to_str()?.parse().ok() } else { None }
    };
    match (number(2, "--handoff"), number(4, "--socket")) {
        (Some(handoff), Some(socket)) => main(handoff, socket),
        _ => {
            eprintln!("error: this subcommand is started by Lazarus itself");
            ExitCode::from(failure::USAGE)
        }
    }
}

fn operator_main(args: Vec<OsString>) -> ExitCode {
    // A failed parse has no `--json` to look at yet.
    let json = args.iter().take_while(|arg| *arg != "--").any(|arg| arg == "--json");
    let parsed = Cli::command().try_get_matches_from(args).and_then(|matches| Cli::from_arg_matches(&matches));
    let cli = match parsed {
        Ok(cli) => cli,
        Err(error) => return failure::usage(&error, json),
    };
    let say = Say::new(cli.global.json);
    match dispatch(cli, &say) {
        Ok(code) => code,
        Err(failure) => say.failure(&failure),
    }
}

fn dispatch(cli: Cli, say: &Say) -> Result<ExitCode, Failure> {
    let command = cli.command.unwrap_or(Command::Status { cell: None, all: false });
    if let Command::Completions { shell } = command {
        let mut script = Vec::new();
        clap_complete::generate(shell, &mut Cli::command(), "lazarus", &mut script);
        // A reader that went away has what it wanted.
        let _ = std::io::stdout().write_all(&script);
        return Ok(ExitCode::SUCCESS);
    }
    let command = match command {
        // An agent in its cell, and a person who is about to join one: neither has a root of their own.
        Command::Cell(command) => return cell::run(command, say),
        Command::Join { token } => return join::run(&token, say),
        // Whoever writes an agent needs none yet.
        Command::Agent(AgentCommand::New { name, directory }) => return commands::agent_new(&name, directory.as_deref(), say),
        Command::Agent(AgentCommand::Check { file }) => return commands::agent_check(&file, say),
        command => command,
    };
    let root = match cli.global.root {
        Some(root) => root,
        None => ambient::default_root(|name| std::env::var_os(name)).map_err(crate::operator::Error::from)?,
    };
    if let Command::Send { cell, .. } | Command::Inbox { cell, .. } = &command
        && let Some(member) = join::member_of(cell, &root)?
    {
        return commands::correspond_as_member(member, command, say);
    }
    let operator = open(root, cli.global.identity)?;
    commands::carry_out(operator, command, say)
}

fn open(root: PathBuf, identity: Option<crate::cell::Identity>) -> Result<Operator, Failure> {
    let login = ambient::login_name();
    Ok(Operator::open(&root, identity, login.as_deref())?)
}
