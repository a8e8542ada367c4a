//! The command line: parses, calls one use case, prints. Nothing is decided here.

mod agent_args;
mod args;
mod audit_args;
mod cell;
mod commands;
mod failure;
mod join;
mod say;
mod table;

use std::{
    ffi::OsString,
    io::Write,
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::{CommandFactory, FromArgMatches};

use self::{
    agent_args::AgentCommand,
    args::{Cli, Command},
    audit_args::ReceiptArgs,
    failure::Failure,
    say::Say,
};
use crate::{
    backend::{
        UMASK,
        handoff::{followed, handed_over},
        process, wasm,
    },
    drill,
    home::ambient,
    operator::Operator,
    warden,
};

/// Runs the program that `main` is; returns its exit code.
pub fn main() -> ExitCode {
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(UMASK));
    let args: Vec<OsString> = std::env::args_os().collect();
    // The hidden subcommands come first: they are started often, and by Lazarus alone.
    match args.get(1).and_then(|arg| arg.to_str()) {
        Some(warden::SUBCOMMAND) => warden::main_warden(),
        Some(warden::REHEARSE_COMMAND) => warden::main_rehearse(),
        Some(process::SUBCOMMAND) => followed(&args, process::main_jail),
        Some(wasm::HOST_COMMAND) => handed_over(&args, wasm::main_host),
        Some(wasm::COMPILE_COMMAND) => wasm::main_compile(),
        Some(drill::SUBCOMMAND) => {
            let words: Vec<String> = args.iter().skip(2).map(|arg| arg.to_string_lossy().into_owned()).collect();
            drill::main_attack(&words)
        }
        Some(drill::FALLEN_SUBCOMMAND) => {
            let words: Vec<String> = args.iter().skip(6).map(|arg| arg.to_string_lossy().into_owned()).collect();
            handed_over(&args, |handoff, socket| drill::main_fallen_attack(handoff, socket, &words))
        }
        _ => operator_main(args),
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
        Command::Drill { only, list: true } => return commands::drill_list(&only, say),
        // Whoever writes an agent needs none yet.
        Command::Agent(AgentCommand::New { name, directory }) => return commands::agent_new(&name, directory.as_deref(), say),
        // Whoever checks a receipt need not have the root that it is of.
        Command::Receipt(args) if args.verify.is_some() => return check_receipt(&args, cli.global.root, say),
        command => command,
    };
    let root = root_of(cli.global.root)?;
    if let Command::Send { cell, .. } | Command::Inbox { cell, .. } = &command
        && let Some(member) = join::member_of(cell, &root)?
    {
        return commands::correspond_as_member(member, command, say);
    }
    let operator = open(root, cli.global.identity)?;
    commands::carry_out(operator, command, say)
}

fn root_of(named: Option<PathBuf>) -> Result<PathBuf, Failure> {
    match named {
        Some(root) => Ok(root),
        None => Ok(ambient::default_root(|name| std::env::var_os(name)).map_err(crate::operator::Error::from)?),
    }
}

fn check_receipt(args: &ReceiptArgs, root: Option<PathBuf>, say: &Say) -> Result<ExitCode, Failure> {
    let file = args.verify.as_deref().unwrap_or(Path::new("-"));
    let root = if args.key.is_some() { None } else { Some(root_of(root)?) };
    commands::check_receipt(file, args, root.as_deref(), say)
}

/// Every command that can be typed, its words joined with a blank, hidden ones included: for the test that proves that each is audited.
pub fn leaves() -> Vec<String> {
    fn walk(command: &clap::Command, path: &str, leaves: &mut Vec<String>) {
        let words = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path} {name}") };
        for below in command.get_subcommands() {
            let path = words(below.get_name());
            // One that needs none of its own subcommands does something by itself.
            if !below.has_subcommands() || !below.is_subcommand_required_set() {
                leaves.push(path.clone());
            }
            walk(below, &path, leaves);
        }
    }
    let mut leaves = Vec::new();
    walk(&Cli::command(), "", &mut leaves);
    leaves
}

fn open(root: PathBuf, identity: Option<crate::cell::Identity>) -> Result<Operator, Failure> {
    let login = ambient::login_name();
    Ok(Operator::open(&root, identity, login.as_deref())?)
}
