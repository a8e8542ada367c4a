//! The trusted side of process attackers: cells that are started as an operator starts them, with orders, and what came back.

use std::{
    io,
    sync::{Mutex, PoisonError, mpsc},
    thread,
    time::{Duration, Instant},
};

use super::{
    attacker::{Answer, Attempt, LEAD, Orders, SUBCOMMAND},
    summoned,
};
use crate::drill::{
    Arena, Attack, Cell, Disturbance, Ground, Seen, Tried,
    run::{WORKERS, blame, drive_both},
    stage::{Stage, Told},
};

/// How long a cell with all its attempts may take.
const CELL_WITHIN: Duration = Duration::from_secs(120);
/// Options of every attacker's cell. Nothing but the client is on its path, so that no other `lazarus` is taken for it.
pub(super) const OPTIONS: [&str; 2] = ["--client", "--env=PATH=/nowhere"];
/// An attack of this drill: its number, and what its names stand for.
struct Entry {
    slot: usize,
    attack: &'static Attack,
    ground: Ground,
}

impl Entry {
    fn attempt(&self, twin: bool) -> Attempt {
        let (templates, kind) = if twin { (self.attack.twin, 't') } else { (self.attack.attack, 'a') };
        let place = format!("{{home}}/drill/{kind}{}", self.slot);
        let mut ground = self.ground.clone();
        ground.set("inside", &place);
        Attempt { slot: self.slot, name: self.attack.name.to_owned(), place, twin, arguments: ground.fill_all(templates) }
    }
}

/// What was seen of an attack and its twin.
struct Pair<'a> {
    entry: &'a Entry,
    twin: Seen,
    attack: Seen,
    wrote: String,
    seconds: f64,
    crashed: bool,
}

/// Cells that are filled and run for themselves.
enum Job<'a> {
    Together { entries: Vec<&'a Entry>, speaking: bool },
    Alone { entry: &'a Entry, options: &'static [&'static str] },
    Driven { entry: &'a Entry, drive: crate::drill::attack::Drive },
}

/// Tries every one of these attacks that a process agent makes, several cells at a time.
///
/// # Errors
/// The stage failed; what an attack does is never an error.
pub fn try_all(stage: &Stage, attacks: &[(usize, &'static Attack)], tell: &mut dyn FnMut(usize, Tried)) -> io::Result<()> {
    let own = attacks.iter().filter(|(_, attack)| matches!(attack.arena, Arena::Process { .. } | Arena::Driven { .. }));
    let entries = own.map(|(slot, attack)| Ok(Entry { slot: *slot, attack, ground: stage.furnish(*slot)? }));
    let entries = entries.collect::<io::Result<Vec<_>>>()?;
    let mut tried = Vec::new();
    for (pair, leaks) in all_jobs(stage, jobs(&entries))? {
        let mut disturbed = stage.disturbed(pair.entry.slot, &pair.wrote);
        disturbed.extend(leaks);
        if pair.crashed {
            disturbed.push(Disturbance::Died("the cell's warden".into()));
        }
        let Pair { entry, twin, attack, seconds, .. } = pair;
        tried.push((entry, Tried { twin, attack, seconds, disturbed }));
    }
    blame(stage.disturbed_by_any(), tried.iter_mut().map(|(entry, tried)| (entry.attack, tried)).collect());
    for (entry, tried) in tried {
        tell(entry.slot, tried);
    }
    Ok(())
}

/// Sorts attacks into cells. The long ones come first.
fn jobs(entries: &[Entry]) -> Vec<Job<'_>> {
    let (mut common, mut speaking, mut jobs) = (Vec::new(), Vec::new(), Vec::new());
    for entry in entries {
        match entry.attack.arena {
            Arena::Process { cell: Cell::Common, .. } => common.push(entry),
            Arena::Process { cell: Cell::Speaking, .. } => speaking.push(entry),
            Arena::Process { cell: Cell::Own(options), .. } => jobs.push(Job::Alone { entry, options }),
            Arena::Driven { drive } => jobs.push(Job::Driven { entry, drive }),
            Arena::Component { .. } | Arena::Preview1 { .. } | Arena::Fallen { .. } | Arena::Trusted { .. } => {}
        }
    }
    for (entries, speaking) in [(speaking, true), (common, false)] {
        if !entries.is_empty() {
            jobs.push(Job::Together { entries, speaking });
        }
    }
    jobs
}

/// A pair, and secrets that its cell wrote past its answers.
type Found<'a> = (Pair<'a>, Vec<Disturbance>);

/// Does all jobs, several at a time.
fn all_jobs<'a>(stage: &Stage, jobs: Vec<Job<'a>>) -> io::Result<Vec<Found<'a>>> {
    let jobs = Mutex::new(jobs);
    let (sender, receiver) = mpsc::channel();
    thread::scope(|scope| {
        for _ in 0..WORKERS {
            let (jobs, sender) = (&jobs, sender.clone());
            scope.spawn(move || {
                while let Some(job) = jobs.lock().unwrap_or_else(PoisonError::into_inner).pop() {
                    if sender.send(job.work(stage)).is_err() {
                        break;
                    }
                }
            });
        }
        drop(sender);
        let mut found = Vec::new();
        for pairs in receiver {
            found.extend(pairs?);
        }
        Ok(found)
    })
}

impl<'a> Job<'a> {
    fn work(self, stage: &Stage) -> io::Result<Vec<Found<'a>>> {
        match self {
            Self::Together { entries, speaking } => together(stage, entries, speaking),
            Self::Alone { entry, options } => alone(stage, entry, options),
            Self::Driven { entry, drive } => {
                let started = Instant::now();
                let (twin, attack) = drive_both(stage, entry.attack, drive, &entry.ground);
                let wrote = attack.words().to_owned();
                let seconds = started.elapsed().as_secs_f64();
                Ok(vec![(Pair { entry, twin, attack, wrote, seconds, crashed: false }, Vec::new())])
            }
        }
    }
}

/// Many attacks in one cell, each with its twin before it.
fn together<'a>(stage: &Stage, entries: Vec<&'a Entry>, speaking: bool) -> io::Result<Vec<Found<'a>>> {
    let attempts = entries.iter().flat_map(|entry| [entry.attempt(true), entry.attempt(false)]).collect();
    let orders = serde_json::to_vec(&Orders { attempts })?;
    let told = if speaking { summoned::lead(stage, &orders)? } else { run(stage, &[], &orders)? };
    let answers = answers(&told);
    let crashed = is_crash(&told);
    let mut found = Vec::new();
    for entry in entries {
        let answer = |twin: bool| answers.iter().find(|answer| answer.slot == entry.slot && answer.twin == twin);
        let seen = |answer: Option<&Answer>| answer.map_or_else(|| ended(&told), |answer| answer.seen.clone());
        let milliseconds = [answer(true), answer(false)].iter().flatten().map(|answer| answer.milliseconds).sum::<u64>();
        let (twin, attack) = (seen(answer(true)), seen(answer(false)));
        let wrote = attack.words().to_owned();
        let seconds = Duration::from_millis(milliseconds).as_secs_f64();
        found.push((Pair { entry, twin, attack, wrote, seconds, crashed }, Vec::new()));
    }
    // Whoever wrote a secret past the answers is not known: it counts against all of the cell.
    let said = found.iter().map(|(pair, _)| pair.wrote.as_str()).collect::<String>();
    if stage.leaked(&said).is_empty() {
        let leaked = stage.leaked(&told.stderr);
        found.iter_mut().for_each(|(_, leaks)| leaks.extend(leaked.iter().cloned()));
    }
    Ok(found)
}

/// One attack in a cell of its own, and its twin in another.
fn alone<'a>(stage: &Stage, entry: &'a Entry, options: &[&str]) -> io::Result<Vec<Found<'a>>> {
    let started = Instant::now();
    let one = |twin: bool| -> io::Result<(Seen, Told)> {
        let told = run(stage, options, &serde_json::to_vec(&Orders { attempts: vec![entry.attempt(twin)] })?)?;
        let seen = answers(&told).pop().map_or_else(|| ended(&told), |answer| answer.seen);
        Ok((seen, told))
    };
    let (twin, _) = one(true)?;
    let (attack, told) = one(false)?;
    let crashed = is_crash(&told);
    let wrote = format!("{}{}", told.stdout, told.stderr);
    Ok(vec![(Pair { entry, twin, attack, wrote, seconds: started.elapsed().as_secs_f64(), crashed }, Vec::new())])
}

/// Runs a cell with a leader in it, in the foreground.
fn run(stage: &Stage, options: &[&str], orders: &[u8]) -> io::Result<Told> {
    let with = stage.options();
    let mut args = vec!["run"];
    args.extend(OPTIONS);
    args.extend(with.iter().map(String::as_str));
    args.extend(options);
    args.extend(["--", "lazarus", SUBCOMMAND, LEAD]);
    stage.lazarus(&args, orders, CELL_WITHIN)
}

/// Whether the warden, or Lazarus itself, came to harm: it left no envelope, or says so.
fn is_crash(told: &Told) -> bool {
    !told.late && (told.code.is_none() || told.code == Some(125))
}

/// What the leader said. With `--json`, a program's own output goes to standard error.
fn answers(told: &Told) -> Vec<Answer> {
    told.stderr.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

/// Where an attempt left no answer: how its cell ended.
fn ended(told: &Told) -> Seen {
    if told.late {
        return Seen::Stuck;
    }
    let message = told.text("message");
    let after = |words: &str| message.split_once(words).map(|(_, rest)| rest);
    if let Some(limit) = after("limit ").and_then(|rest| rest.split(':').next()) {
        return Seen::Limit { limit: limit.to_owned() };
    }
    if let Some(number) = after("ended by signal ").and_then(|rest| rest.split_whitespace().next()?.parse().ok()) {
        return Seen::Signal { number };
    }
    Seen::untold(if message.is_empty() { &told.stderr } else { &message })
}
