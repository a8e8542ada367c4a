//! In the cell: the hidden subcommand that attacks. Nothing here is trusted by anybody.

use std::{
    fs::File,
    io::{self, Read, Write},
    os::{fd::OwnedFd, unix::process::ExitStatusExt},
    path::Path,
    process::{Child, Command, ExitCode, Stdio},
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fs::{OFlags, fcntl_setfl},
};
use serde::{Deserialize, Serialize};

use crate::drill::{Arena, Ground, Seen, catalogue, seen::parse};

/// The hidden subcommand: `__drill-attack lead`, what to try on its input or in a file; `__drill-attack try NAME ARGUMENT…`; `__drill-attack stand`.
pub const SUBCOMMAND: &str = "__drill-attack";
/// Leads a batch.
pub(super) const LEAD: &str = "lead";
/// Makes one attempt.
const TRY: &str = "try";
/// Does nothing, until its input ends.
pub const STAND: &str = "stand";
/// Takes so many MiB of memory, says so, and keeps them until its input ends.
const HOLD: &str = "hold";
/// Writes something to its log.
pub(super) const WRITE: &str = "write";
/// Lives on.
pub(super) const LINGER: &str = "linger";
/// With [`STAND`]: until it is ended.
pub const FOREVER: &str = "forever";

/// How long one attempt may take, unless its orders say otherwise.
const TRY_WITHIN: Duration = Duration::from_secs(60);
/// Bytes of an attempt's answer.
const ANSWER_MOST_BYTES: usize = 16 * 1024;
/// Bytes of a leader's orders.
const ORDERS_MOST_BYTES: u64 = 1 << 20;

/// What a leader is told to try, in this order.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Orders {
    pub attempts: Vec<Attempt>,
}

/// One attempt: an attack's act with the arguments of the attack or of its twin.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Attempt {
    /// Which attack: its number in the batch.
    pub slot: usize,
    /// Its name.
    pub name: String,
    /// The directory that it has for itself.
    pub place: String,
    /// Whether this is the twin.
    pub twin: bool,
    /// Arguments, filled but for what only the cell knows: `{home}` and `{socket-of-cell}`.
    pub arguments: Vec<String>,
}

/// How an attempt ended, as the leader saw it: one line of its output.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Answer {
    pub slot: usize,
    pub twin: bool,
    pub seen: Seen,
    pub milliseconds: u64,
}

/// Runs the attacker: what `lazarus __drill-attack …` does.
pub fn main_attack(args: &[String]) -> ExitCode {
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    match words.as_slice() {
        [LEAD] => lead(io::stdin()),
        [LEAD, path] => File::open(path).map_or(ExitCode::FAILURE, lead),
        [TRY, name, ..] => attempt(name, &args[2..]),
        [HOLD, mebibytes] => hold(mebibytes),
        [WRITE, kind] => code(super::logs::write(kind)),
        [LINGER, how] => code(super::ends::linger(how)),
        [STAND] => stand(false),
        [STAND, FOREVER] => stand(true),
        _ => {
            eprintln!("error: this subcommand is started by Lazarus itself");
            ExitCode::from(2)
        }
    }
}

fn code(result: io::Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Says that it is there, and stays.
fn stand(forever: bool) -> ExitCode {
    let said = writeln!(io::stdout(), "standing").and_then(|()| io::stdout().flush());
    if said.is_err() {
        return ExitCode::FAILURE;
    }
    let _ = io::copy(&mut io::stdin(), &mut io::sink());
    if !forever {
        return ExitCode::SUCCESS;
    }
    loop {
        std::thread::sleep(Duration::from_secs(3600));
    }
}

fn hold(mebibytes: &str) -> ExitCode {
    let memory = vec![7_u8; mebibytes.parse::<usize>().unwrap_or(0) << 20];
    // Touched again, so that no page of it is only promised.
    let sum: u64 = memory.iter().step_by(1024).map(|byte| u64::from(*byte)).sum();
    if sum == 0 {
        return ExitCode::FAILURE;
    }
    let code = stand(false);
    drop(memory);
    code
}

fn lead(orders: impl Read) -> ExitCode {
    let Ok(orders) = serde_json::from_reader::<_, Orders>(orders.take(ORDERS_MOST_BYTES)) else {
        eprintln!("error: these orders are none");
        return ExitCode::from(2);
    };
    let mut ground = Ground::default();
    let variable = |name: &str| std::env::var(name).unwrap_or_default();
    ground.set("home", variable("HERMES_HOME"));
    ground.set("socket-of-cell", variable("LAZARUS_SOCKET"));
    for attempt in orders.attempts {
        let inside = ground.fill(&attempt.place);
        let started = Instant::now();
        let seen = match furnish(Path::new(&inside)) {
            Ok(()) => start(&attempt, &ground),
            Err(error) => Seen::untold(&format!("its own place could not be made: {error}")),
        };
        let milliseconds = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        let answer = Answer { slot: attempt.slot, twin: attempt.twin, seen, milliseconds };
        let line = serde_json::to_string(&answer).unwrap_or_default();
        if writeln!(io::stdout(), "{line}").and_then(|()| io::stdout().flush()).is_err() {
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

/// What an attack has of its own in the cell, the same as outside.
fn furnish(inside: &Path) -> io::Result<()> {
    crate::drill::acts::make_place(inside)
}

/// Starts one attempt in a process of its own, and waits for it.
fn start(attempt: &Attempt, ground: &Ground) -> Seen {
    let mut command = Command::new("lazarus");
    command.args([SUBCOMMAND, TRY, &attempt.name]).args(ground.fill_all(&attempt.arguments));
    match command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn() {
        Ok(child) => watch(child).unwrap_or_else(|error| Seen::untold(&error.to_string())),
        Err(error) => Seen::untold(&format!("it could not be started: {error}")),
    }
}

/// Reads what an attempt says until it ends; others may hold its output open for longer.
fn watch(mut child: Child) -> io::Result<Seen> {
    let pipe: OwnedFd = child.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?.into();
    fcntl_setfl(&pipe, OFlags::NONBLOCK)?;
    let (started, mut said) = (Instant::now(), Vec::new());
    let tick = Timespec { tv_sec: 0, tv_nsec: 2_000_000 };
    loop {
        let ended = child.try_wait()?;
        let mut buffer = [0; 4096];
        while let Ok(read @ 1..) = rustix::io::read(&pipe, &mut buffer) {
            said.extend(buffer.iter().take(read).take(ANSWER_MOST_BYTES.saturating_sub(said.len())));
        }
        if let Some(status) = ended {
            return Ok(parse(&said).unwrap_or_else(|| match status.signal() {
                Some(number) => Seen::Signal { number },
                None => Seen::untold(&format!("it exited with {:?}", status.code())),
            }));
        }
        if started.elapsed() > TRY_WITHIN {
            child.kill()?;
            child.wait()?;
            return Ok(Seen::Stuck);
        }
        let mut watched = [PollFd::new(&pipe, PollFlags::IN)];
        // The end of what it says comes with its own end, or not at all.
        if poll(&mut watched, Some(&tick)).is_ok_and(|ready| ready > 0) && watched[0].revents().contains(PollFlags::HUP) {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

/// Makes one attempt, and says how it ended.
fn attempt(name: &str, arguments: &[String]) -> ExitCode {
    let act = catalogue().find_map(|attack| match attack.arena {
        Arena::Process { act, .. } if attack.name == name => Some(act),
        _ => None,
    });
    let Some(act) = act else {
        eprintln!("error: no such attack");
        return ExitCode::from(2);
    };
    let seen = Seen::of(act(arguments));
    let line = serde_json::to_string(&seen).unwrap_or_default();
    match writeln!(io::stdout(), "{line}").and_then(|()| io::stdout().flush()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}
