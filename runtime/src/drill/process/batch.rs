//! The trusted side of process attackers: cells that are started as an operator starts them, with orders, and what came back.

use std::{
    io,
    time::{Duration, Instant},
};

use super::attacker::{Answer, Attempt, LEAD, Orders, SUBCOMMAND};
use crate::drill::{
    Arena, Attack, Cell, Disturbance, Ground, Seen, Tried,
    run::driven,
    stage::{Stage, Told},
};

/// How long a cell with all its attempts may take.
const CELL_WITHIN: Duration = Duration::from_secs(120);
/// Options of every attacker's cell. Nothing but the client is on its path, so that no other `lazarus` is taken for it.
const OPTIONS: [&str; 3] = ["--client", "--env=PATH=/nowhere", "--project=drill"];

/// An attack of this drill: its number, and what its names stand for.
struct Entry {
    slot: usize,
    attack: &'static Attack,
    ground: Ground,
}

impl Entry {
    fn attempt(&self, twin: bool) -> Attempt {
        let templates = if twin { self.attack.twin } else { self.attack.attack };
        Attempt { slot: self.slot, name: self.attack.name.to_owned(), twin, arguments: self.ground.fill_all(templates) }
    }
}

/// Tries every one of these attacks that a process agent makes; tells of each as soon as it is known.
///
/// # Errors
/// The stage failed; what an attack does is never an error.
pub fn try_all(stage: &Stage, attacks: &[(usize, &'static Attack)], tell: &mut dyn FnMut(usize, Tried)) -> io::Result<()> {
    let mut common = Vec::new();
    for (slot, attack) in attacks.iter().copied() {
        match attack.arena {
            Arena::Process { cell: Cell::Common, .. } => common.push(Entry { slot, attack, ground: stage.furnish(slot)? }),
            Arena::Process { cell: Cell::Own(options), .. } => {
                let entry = Entry { slot, attack, ground: stage.furnish(slot)? };
                tell(slot, alone(stage, &entry, options)?);
            }
            Arena::Driven { drive } => {
                let ground = stage.furnish(slot)?;
                tell(slot, driven(stage, slot, attack, drive, &ground));
            }
            Arena::Component { .. } | Arena::Preview1 { .. } | Arena::Fallen { .. } | Arena::Trusted { .. } => {}
        }
    }
    together(stage, common, tell)
}

/// Many attacks in one cell, each with its twin before it.
fn together(stage: &Stage, entries: Vec<Entry>, tell: &mut dyn FnMut(usize, Tried)) -> io::Result<()> {
    if entries.is_empty() {
        return Ok(());
    }
    let attempts = entries.iter().flat_map(|entry| [entry.attempt(true), entry.attempt(false)]).collect();
    let told = run(stage, &[], attempts)?;
    let answers = answers(&told);
    let found = |slot: usize, twin: bool| answers.iter().find(|answer| answer.slot == slot && answer.twin == twin);
    let mut tried: Vec<(&Entry, Tried)> = Vec::new();
    for entry in &entries {
        let (twin, attack) = (found(entry.slot, true), found(entry.slot, false));
        let seen = |answer: Option<&Answer>| answer.map_or_else(|| ended(&told), |answer| answer.seen.clone());
        let milliseconds = [twin, attack].iter().flatten().map(|answer| answer.milliseconds).sum::<u64>();
        let (twin, attack) = (seen(twin), seen(attack));
        let disturbed = stage.disturbed(entry.slot, attack.words());
        tried.push((entry, Tried { twin, attack, seconds: seconds(milliseconds), disturbed }));
    }
    blame(stage, &told, &mut tried);
    for (entry, tried) in tried {
        tell(entry.slot, tried);
    }
    Ok(())
}

/// One attack in a cell of its own, and its twin in another.
fn alone(stage: &Stage, entry: &Entry, options: &[&str]) -> io::Result<Tried> {
    let started = Instant::now();
    let one = |twin: bool| -> io::Result<(Seen, Told)> {
        let told = run(stage, options, vec![entry.attempt(twin)])?;
        let seen = answers(&told).pop().map_or_else(|| ended(&told), |answer| answer.seen);
        Ok((seen, told))
    };
    let (twin, _) = one(true)?;
    let (attack, told) = one(false)?;
    let disturbed = stage.disturbed(entry.slot, &format!("{}{}", told.stdout, told.stderr));
    let mut tried = vec![(entry, Tried { twin, attack, seconds: started.elapsed().as_secs_f64(), disturbed })];
    blame(stage, &told, &mut tried);
    tried.pop().map(|(_, tried)| tried).ok_or_else(|| io::Error::other("an attack was lost"))
}

/// What is disturbed and belongs to no attack in particular counts against those that did not die as they must; else against all.
fn blame(stage: &Stage, told: &Told, tried: &mut [(&Entry, Tried)]) {
    let mut disturbed = stage.disturbed_by_any();
    let said: Vec<Disturbance> = tried.iter().flat_map(|(_, tried)| tried.disturbed.clone()).collect();
    // Secrets that were written past the answers.
    disturbed.extend(stage.leaked(&format!("{}{}", told.stdout, told.stderr)).into_iter().filter(|leak| !said.contains(leak)));
    if !told.late && told.code.is_none() || told.code == Some(125) {
        disturbed.push(Disturbance::Died("the cell's warden".into()));
    }
    if disturbed.is_empty() {
        return;
    }
    let suspicious = |(entry, tried): &(&Entry, Tried)| !entry.attack.dies.iter().any(|death| tried.attack.is(*death));
    let any = tried.iter().any(suspicious);
    for one in tried.iter_mut().filter(|one| !any || suspicious(one)) {
        one.1.disturbed.extend(disturbed.iter().cloned());
    }
}

/// Runs a cell with a leader in it.
fn run(stage: &Stage, options: &[&str], attempts: Vec<Attempt>) -> io::Result<Told> {
    let orders = serde_json::to_vec(&Orders { attempts })?;
    let with = stage.options();
    let mut args = vec!["run"];
    args.extend(OPTIONS);
    args.extend(with.iter().map(String::as_str));
    args.extend(options);
    args.extend(["--", "lazarus", SUBCOMMAND, LEAD]);
    stage.lazarus(&args, &orders, CELL_WITHIN)
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
    let limit = message.split("limit ").nth(1).and_then(|rest| rest.split(':').next());
    match limit {
        Some(limit) => Seen::Limit { limit: limit.to_owned() },
        None if message.is_empty() => Seen::untold(&told.stderr),
        None => Seen::untold(&message),
    }
}

#[allow(clippy::cast_precision_loss, reason = "milliseconds of a drill are far below 2^52")]
fn seconds(milliseconds: u64) -> f64 {
    milliseconds as f64 / 1000.0
}
