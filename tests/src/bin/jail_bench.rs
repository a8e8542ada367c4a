//! What the jail adds to the start of a process, for `cargo xtask bench`: prints one JSON object of raw figures.
//!
//! Usage: `jail_bench DIRECTORY ROUNDS [BWRAP [CASE…]]`. All cases, or those named, are measured in turn, round by round. No registry and no
//! warden: a process agent is brought to life and followed to its end by this process. Its reaper is `lazarus-jail`, which is beside this
//! program as it is beside `lazarus`; where it is not, this program, in which the whole of `lazarus` is linked: to start it costs as much.

use std::{
    error::Error,
    path::{Path, PathBuf},
    process::{Command, ExitCode, Stdio},
    time::{Duration, Instant},
};

use lazarus::{
    backend::{
        Launch, Program,
        packets::{Received, Waiting, receive_message},
        process::{self, Groups, ProcessOptions, ReaperProgram},
        protocol::{End, FromChild},
    },
    cell::{CellId, Role},
    jail::{
        Jail, JailLimits, Profile, Reach,
        namespaces::{NamespaceSupport, prepare_warden},
    },
    policy::Policy,
};
use serde_json::json;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Rounds before the first that counts.
const WARM_UP: u32 = 5;
/// How long anything may take before the benchmark gives up.
const PATIENCE: Duration = Duration::from_secs(60);
/// What every case runs, and what the jail is compared to.
const TRUE: &str = "/bin/true";
/// This program, doing nothing: what starting it costs.
const START: &str = "start";
/// This program, confining itself as a wasm host does.
const CONFINE: &str = "confine";
/// This very program.
const OWN_PROGRAM: &str = "/proc/self/exe";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match words.as_slice() {
        [process::SUBCOMMAND, ..] => return lazarus::cli::main(),
        [START] => Ok(()),
        [CONFINE, directory] => confine(Path::new(directory)),
        [directory, rounds] => measure(Path::new(directory), rounds, None, &[]),
        [directory, rounds, bwrap, only @ ..] => measure(Path::new(directory), rounds, Some(bwrap), only),
        _ => Err("usage: jail_bench DIRECTORY ROUNDS [BWRAP [CASE…]]".into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("jail_bench: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The jail of a wasm host with one guest, which has a home.
fn confine(home: &Path) -> Result<()> {
    let limits = JailLimits { open_files: Some(256), file_size: Some(1 << 30), ..JailLimits::default() };
    let home = std::fs::File::open(home)?;
    Jail::new(Profile::WasmHost).limits(limits).allow(home.into(), Reach::Write).apply()?;
    Ok(())
}

/// Something to measure, once.
type Case<'a> = Box<dyn FnMut() -> Result<Duration> + 'a>;

fn timed(run: impl FnOnce() -> Result<()>) -> Result<Duration> {
    let start = Instant::now();
    run()?;
    Ok(start.elapsed())
}

/// A bare process, until its program is executed.
fn started() -> Result<Duration> {
    let mut command = Command::new(TRUE);
    command.env_clear().stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let start = Instant::now();
    let mut child = command.spawn()?;
    let took = start.elapsed();
    child.wait()?;
    Ok(took)
}

fn measure(directory: &Path, rounds: &str, bwrap: Option<&str>, only: &[&str]) -> Result<()> {
    let bench = Bench {
        namespaces: prepare_warden(),
        home: directory.join("jail-home"),
        cell: CellId::from_bits(std::process::id()),
        // Found beside this program as it is beside `lazarus`.
        reaper: ReaperProgram::find(),
    };
    std::fs::create_dir_all(&bench.home)?;
    let home = bench.home.to_str().ok_or("the path of the home is not text")?;
    let mut cases: Vec<(&str, Case<'_>)> = vec![
        ("bare", Box::new(|| timed(|| run(Command::new(TRUE))))),
        ("jail", Box::new(|| timed(|| bench.agent(true).map(drop)))),
        ("jail-without-groups", Box::new(|| timed(|| bench.agent(false).map(drop)))),
        ("bare-started", Box::new(started)),
        ("jail-started", Box::new(|| bench.agent(true))),
        (START, Box::new(|| timed(|| run(own(&[START]))))),
        (CONFINE, Box::new(|| timed(|| run(own(&[CONFINE, home]))))),
    ];
    if let Some(bwrap) = bwrap {
        cases.push(("bwrap", Box::new(move || timed(|| run(with(bwrap, &["--unshare-all", "--ro-bind", "/", "/", TRUE]))))));
    }
    cases.retain(|(name, _)| only.is_empty() || only.contains(name));
    let mut measured = vec![Vec::new(); cases.len()];
    for round in 0..WARM_UP + rounds.parse::<u32>()? {
        for ((_, case), micros) in cases.iter_mut().zip(&mut measured) {
            let took = u64::try_from(case()?.as_micros())?;
            if round >= WARM_UP {
                micros.push(took);
            }
        }
    }
    let cases: Vec<_> = cases.iter().zip(measured).map(|((name, _), micros)| json!({ "name": name, "micros": micros })).collect();
    println!("{}", json!({ "cases": cases }));
    Ok(())
}

fn with(program: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(arguments);
    command
}

fn own(arguments: &[&str]) -> Command {
    with(OWN_PROGRAM, arguments)
}

fn run(mut command: Command) -> Result<()> {
    let status = command.env_clear().stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status()?;
    if status.success() { Ok(()) } else { Err(format!("{command:?}: {status}").into()) }
}

/// Where agents live.
struct Bench {
    namespaces: NamespaceSupport,
    home: PathBuf,
    cell: CellId,
    reaper: ReaperProgram,
}

impl Bench {
    /// One process agent, from nothing to its end, as a warden brings it to life. Returns how long it took until its program was executed.
    fn agent(&self, groups: bool) -> Result<Duration> {
        let start = Instant::now();
        // Root's processes are limited by a control group or not at all, which is refused unless it was accepted.
        let policy = Policy { accept_degraded: !groups, ..Policy::default() };
        let agent = "bench".parse()?;
        let launch = Launch {
            agent,
            role: Role::Executor,
            program: Program::Command { argv: vec![TRUE.to_owned()] },
            policy,
            home: Some(self.home.clone()),
            shared: None,
            env: vec![("PATH".to_owned(), "/usr/bin:/bin".to_owned())],
            stdio: lazarus::backend::Stdio::Captured,
            tick: None,
            again: false,
        };
        let groups = if groups { Groups::Of(self.cell.clone()) } else { Groups::None };
        let options = ProcessOptions { namespaces: self.namespaces.clone(), groups, speaks: true, reaper: self.reaper.clone() };
        let mut spawned = process::spawn(&launch, &options)?;
        let mut ready = None;
        let end = loop {
            match receive_message(&spawned.socket, Waiting::Block)? {
                Received::Message(FromChild::Ended { end, .. }) => break end,
                Received::Message(FromChild::Ready { .. }) => ready = Some(start.elapsed()),
                Received::Message(FromChild::Report { .. }) => {}
                other => return Err(format!("the agent did not run: {other:?}").into()),
            }
        };
        if spawned.reap(PATIENCE)?.is_none() || end != (End::Exited { code: 0 }) {
            return Err(format!("the agent did not end well: {end:?}").into());
        }
        ready.ok_or_else(|| "the agent did not say that it is ready".into())
    }
}
