//! What messages cost, for `cargo xtask bench`: prints one JSON object of raw figures.
//!
//! Usage: `mail_bench LAZARUS KEEPER.WASM DIRECTORY ROUNDS`. The program under test is `LAZARUS`; everything is made below `DIRECTORY`.
//! All cases are measured in turn, round by round.

use std::{
    error::Error,
    fs,
    io::{Read, Write},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use lazarus::{
    cell::{CellId, State},
    mail::Text,
    operator::{Fate, Operator, Outgoing, Recipient},
    registry::Registry,
};
use serde_json::{Value, json};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Rounds before the first that counts.
const WARM_UP: u32 = 5;
/// A round of the agent that sleeps comes with each so many of the others: it waits for the sleep.
const ASLEEP_EVERY: u32 = 4;
/// Agents of the large team.
const TEAM: u64 = 1000;
/// How long anything may take before the benchmark gives up.
const PATIENCE: Duration = Duration::from_secs(120);
/// Without an event for so long, an agent's memory is dropped: where that is measured.
const IDLE: &str = "100ms";
/// And where it must not happen.
const NEVER: &str = "1h";

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [lazarus, keeper, directory, rounds] = arguments.as_slice() else {
        return Err("usage: mail_bench LAZARUS KEEPER.WASM DIRECTORY ROUNDS".into());
    };
    let bench = Bench { lazarus: lazarus.into(), directory: directory.into() };
    let mut figures = bench.rounds(Path::new(keeper), rounds.parse()?)?;
    figures["team"] = bench.team(Path::new(keeper))?;
    println!("{figures}");
    Ok(())
}

/// The program under test, and where it works.
struct Bench {
    lazarus: PathBuf,
    directory: PathBuf,
}

impl Bench {
    fn root(&self) -> PathBuf {
        self.directory.join("mail-root")
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.lazarus);
        command.args(arguments).env("LAZARUS_ROOT", self.root()).env_remove("LAZARUS_IDENTITY").stdin(Stdio::null());
        command
    }

    fn call(&self, arguments: &[&str]) -> Result<Value> {
        let output = self.command(arguments).arg("--json").stderr(Stdio::inherit()).output()?;
        let shown: String = arguments.join(" ").chars().take(200).collect();
        let value: Value = serde_json::from_slice(&output.stdout).map_err(|error| format!("{shown}: {}: {error}", output.status))?;
        if output.status.success() { Ok(value) } else { Err(format!("{shown}: {}", value["message"]).into()) }
    }

    /// The program as its user starts it, on the same root and by the same person.
    fn operator(&self) -> Result<Operator> {
        Ok(Operator::open(&self.root(), None, std::env::var("USER").ok().as_deref())?)
    }

    /// A cell of one agent; its id.
    fn summon(&self, keeper: &Path, idle: &str) -> Result<CellId> {
        let file = keeper.to_str().ok_or("the path of the keeper is not text")?;
        cell_of(&self.call(&["summon", "keeper", "bench", "--component", file, "--idle", idle])?)
    }

    fn rounds(&self, keeper: &Path, rounds: u32) -> Result<Value> {
        let (warm, asleep) = (self.summon(keeper, NEVER)?, self.summon(keeper, IDLE)?);
        let registry = Registry::open(&self.root())?;
        let mut operator = self.operator()?;
        let mut socket = Echo::new()?;
        let sqlite = sqlite(&self.directory.join("bare.sqlite3"))?;
        let mut cases: [(&str, Vec<u64>); 5] = ["socket", "sqlite", "warm", "command", "asleep"].map(|name| (name, Vec::new()));
        for round in 0..WARM_UP + rounds {
            let mut measured = vec![
                (0, socket.round()?),
                (1, timed(|| Ok(sqlite.execute("INSERT INTO bare (body) VALUES (?1)", ["hello"])?))?),
                (2, ask(&mut operator, &warm)?),
                (3, timed(|| self.send_by_command(&warm))?),
            ];
            if round % ASLEEP_EVERY == 0 {
                wait_until("the agent sleeps", || is_idle(&registry, &asleep))?;
                measured.push((4, ask(&mut operator, &asleep)?));
            }
            for (case, took) in measured.into_iter().filter(|_| round >= WARM_UP) {
                cases[case].1.push(micros(took));
            }
        }
        for cell in [&warm, &asleep] {
            self.call(&["destroy", &cell.to_string(), "--force"])?;
        }
        let cases: Vec<Value> = cases.into_iter().map(|(name, micros)| json!({ "name": name, "micros": micros })).collect();
        Ok(json!({ "cases": cases }))
    }

    fn send_by_command(&self, cell: &CellId) -> Result<()> {
        let output = self.command(&["send", &cell.to_string(), "hello", "--wait"]).output()?;
        if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).into_owned().into()) }
    }

    /// A thousand agents of one component: what they cost when they sleep, and how long it takes until each has handled a message.
    fn team(&self, keeper: &Path) -> Result<Value> {
        let mut operator = self.operator()?;
        let definitions = self.directory.join("definitions");
        fs::create_dir_all(&definitions)?;
        fs::copy(keeper, definitions.join("keeper.wasm"))?;
        let file = definitions.join("agent.toml");
        for number in 0..TEAM {
            let limits = format!("[limits]\nmemory = \"16MiB\"\nhome = \"1MiB\"\nidle = \"{IDLE}\"\n");
            fs::write(&file, format!("[agent]\nname = \"a{number}\"\ncomponent = \"keeper.wasm\"\n\n{limits}"))?;
            operator.agent_add(&file, false)?;
        }
        let names: Vec<String> = (0..TEAM).map(|number| format!("a{number}")).collect();
        let start = Instant::now();
        let cell = cell_of(&self.call(&["team", &names.join("+"), "bench"])?)?;
        let summoned = start.elapsed();
        let registry = Registry::open(&self.root())?;
        wait_until("the team sleeps", || is_idle(&registry, &cell))?;
        let asleep = start.elapsed();
        let (warden_kib, host_kib) = self.memory(&mut operator, &cell)?;

        let outgoing = Outgoing { to: Some(Recipient::All), reply_to: None, text: Text::new("hello".to_owned())? };
        let start = Instant::now();
        let sent = operator.send(&cell.to_string(), &outgoing)?;
        let accepted = start.elapsed();
        let is_handled = || {
            let waiting = registry.waiting_by_receiver(&cell)?;
            Ok(waiting.iter().all(|(receiver, _)| receiver.startable().is_none()))
        };
        wait_until("the team has handled its messages", is_handled)?;
        let handled = start.elapsed();
        let answers = registry.mail_counts(&cell)?;
        if sent.messages.len() as u64 != TEAM || answers.waiting != TEAM || answers.parked != 0 {
            return Err(format!("{} were written to, {answers:?}", sent.messages.len()).into());
        }
        wait_until("the team sleeps again", || is_idle(&registry, &cell))?;
        let (warden_after_kib, host_after_kib) = self.memory(&mut operator, &cell)?;
        let start = Instant::now();
        self.call(&["destroy", &cell.to_string(), "--force"])?;
        Ok(json!({
            "agents": TEAM,
            "summon_us": micros(summoned),
            "asleep_us": micros(asleep),
            "accepted_us": micros(accepted),
            "handled_us": micros(handled),
            "destroy_us": micros(start.elapsed()),
            "idle_kib": { "warden": warden_kib, "host": host_kib },
            "idle_after_kib": { "warden": warden_after_kib, "host": host_after_kib },
        }))
    }

    /// Private memory of a cell's warden and of its host, in KiB.
    fn memory(&self, operator: &mut Operator, cell: &CellId) -> Result<(u64, u64)> {
        let status = serde_json::to_value(operator.status(&cell.to_string())?.cell)?;
        let warden = status["warden"]["pid"].as_u64().ok_or("the status has no warden")?;
        let mut hosts: Vec<u64> = status["runs"].as_array().into_iter().flatten().filter_map(|run| run["pid"].as_u64()).collect();
        hosts.sort_unstable();
        hosts.dedup();
        Ok((private_kib(warden)?, hosts.into_iter().map(private_kib).sum::<Result<u64>>()?))
    }
}

fn cell_of(answer: &Value) -> Result<CellId> {
    Ok(answer["cell_id"].as_str().ok_or("the answer has no cell_id")?.parse()?)
}

fn is_idle(registry: &Registry, cell: &CellId) -> Result<bool> {
    Ok(matches!(registry.cell_alone(cell)?.map(|record| record.state), Some(State::Idle)))
}

/// One message to the only agent of a cell, until its answer is here. That the answer was received is noted, untimed.
fn ask(operator: &mut Operator, cell: &CellId) -> Result<Duration> {
    let outgoing = Outgoing { to: None, reply_to: None, text: Text::new("hello".to_owned())? };
    let start = Instant::now();
    let (_, fate) = operator.send_and_wait(&cell.to_string(), &outgoing, PATIENCE)?;
    let took = start.elapsed();
    match fate {
        Fate::Handled { reply: Some(reply) } => operator.received(cell, &reply)?,
        other => return Err(format!("not answered: {other:?}").into()),
    }
    Ok(took)
}

/// A bare database with the registry's own promises.
fn sqlite(path: &Path) -> Result<rusqlite::Connection> {
    let sqlite = rusqlite::Connection::open(path)?;
    sqlite.pragma_update(None, "journal_mode", "WAL")?;
    sqlite.pragma_update(None, "synchronous", "FULL")?;
    sqlite.execute("CREATE TABLE bare (id INTEGER PRIMARY KEY, body TEXT)", ())?;
    Ok(sqlite)
}

/// A thread that says again what it is told.
struct Echo(UnixStream);

impl Echo {
    fn new() -> Result<Self> {
        let (near, mut far) = UnixStream::pair()?;
        // It ends with the other end of its socket.
        thread::spawn(move || {
            let mut bytes = [0; 64];
            while far.read_exact(&mut bytes).and_then(|()| far.write_all(&bytes)).is_ok() {}
        });
        Ok(Self(near))
    }

    fn round(&mut self) -> Result<Duration> {
        let mut bytes = [7; 64];
        timed(|| {
            self.0.write_all(&bytes)?;
            Ok(self.0.read_exact(&mut bytes)?)
        })
    }
}

fn timed<T>(measured: impl FnOnce() -> Result<T>) -> Result<Duration> {
    let start = Instant::now();
    measured()?;
    Ok(start.elapsed())
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

fn wait_until(what: &str, mut is_so: impl FnMut() -> Result<bool>) -> Result<()> {
    let start = Instant::now();
    while !is_so()? {
        if start.elapsed() > PATIENCE {
            return Err(format!("waited {PATIENCE:?} until {what}").into());
        }
        thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

fn private_kib(pid: u64) -> Result<u64> {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    let private = rollup.lines().filter(|line| line.starts_with("Private_"));
    Ok(private.filter_map(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok()).sum())
}
