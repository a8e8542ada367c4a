//! The executor: a stage, the arenas one after the other, the canaries, the verdicts.

use std::{
    collections::BTreeMap,
    io,
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread,
};

use super::{
    Attack, Disturbance, DrillError, DrillReport, Ground, Seen, Stage, Tried, Verdict,
    attack::Drive,
    catalogue::chosen,
    error::stage as failed,
    fallen, judge, process,
    report::{Canaries, Machine},
    trusted, wasm,
};

/// What the operator asks for.
#[derive(Debug, Clone)]
pub struct Request {
    /// Words that choose attacks; all where there is none.
    pub only: Vec<String>,
    /// The machine's directory for temporary files.
    pub temporary: PathBuf,
    /// Set, by whoever catches the operator's signals, to end the drill early; its stage is cleared then, too.
    pub interrupt: Arc<AtomicBool>,
    /// Grants attackers what they must not get, so that tests see a drill fail. No build that is released sets it.
    pub weakened: bool,
}

/// An arena's executor: tries those of the attacks that are its own, and tells of each.
type Executor = fn(&Stage, &[(usize, &'static Attack)], &mut dyn FnMut(usize, Tried)) -> io::Result<()>;

/// One a kind of arena. Each passes over what is not its own.
const EXECUTORS: &[Executor] = &[process::try_all, wasm::try_all, fallen::try_all, trusted::try_all];

/// Runs a drill. `progress` is told of each verdict.
///
/// # Errors
/// The stage could not be set or cleared, or the operator interrupted the drill. What an attack does is never an error.
pub fn run(request: &Request, progress: &mut dyn FnMut(&Verdict)) -> Result<DrillReport, DrillError> {
    let attacks: Vec<(usize, &'static Attack)> = chosen(&request.only)?.into_iter().enumerate().collect();
    let interrupted = || request.interrupt.load(Ordering::Relaxed);
    // What it was doing when it was interrupted failed for that alone. What could not be cleared is said in any case.
    let stage = Stage::set(request).map_err(|error| match error {
        DrillError::Stage { .. } | DrillError::Command { .. } if interrupted() => DrillError::Interrupted,
        other => other,
    })?;
    let report = on(&stage, &attacks, progress);
    let cleared = stage.clear();
    if interrupted() {
        return cleared.and(Err(DrillError::Interrupted));
    }
    let report = report?;
    cleared.map(|()| report)
}

fn on(stage: &Stage, attacks: &[(usize, &'static Attack)], progress: &mut dyn FnMut(&Verdict)) -> Result<DrillReport, DrillError> {
    let mut verdicts = BTreeMap::new();
    for executor in EXECUTORS {
        let mut tell = |slot: usize, tried: Tried| {
            if let Some((_, attack)) = attacks.get(slot) {
                let verdict = judge(attack, &tried, stage.report());
                progress(&verdict);
                verdicts.insert(slot, verdict);
            }
        };
        executor(stage, attacks, &mut tell).map_err(failed("try its attacks"))?;
    }
    let missing = attacks.iter().filter(|(slot, _)| !verdicts.contains_key(slot));
    let missed: Vec<(usize, Verdict)> = missing.map(|(slot, attack)| (*slot, untried(stage, attack))).collect();
    verdicts.extend(missed);
    let verdicts: Vec<Verdict> = verdicts.into_values().collect();
    let canaries = Canaries::look(stage, &verdicts);
    Ok(DrillReport { machine: Machine::look(stage.report()), verdicts, canaries })
}

/// An attack that no arena tried is broken, never passed over.
fn untried(stage: &Stage, attack: &'static Attack) -> Verdict {
    let never = || Seen::untold("no arena tried it");
    judge(attack, &Tried { twin: never(), attack: never(), seconds: 0.0, disturbed: Vec::<Disturbance>::new() }, stage.report())
}

/// Drives an attack's twin, then the attack.
pub(super) fn drive_both(stage: &Stage, attack: &'static Attack, drive: Drive, ground: &Ground) -> (Seen, Seen) {
    let one = |templates: &[&str]| drive(stage, &ground.fill_all(templates)).unwrap_or_else(|error| Seen::untold(&error.to_string()));
    let twin = one(attack.twin);
    (twin, one(attack.attack))
}

/// How many cells attack at the same time: most of them wait for most of their time.
pub(super) const WORKERS: usize = 4;

/// Tries attacks several at a time. `one` tries an attack and its twin, and finds what they disturbed of their own; what all have in common
/// is looked at when none of them runs any more.
pub(super) fn several(
    stage: &Stage,
    attacks: Vec<(usize, &'static Attack)>,
    one: impl Fn(usize, &'static Attack) -> io::Result<Tried> + Sync,
    tell: &mut dyn FnMut(usize, Tried),
) -> io::Result<()> {
    let left = Mutex::new(attacks);
    let (sender, receiver) = mpsc::channel();
    let mut tried = thread::scope(|scope| {
        for _ in 0..WORKERS {
            let (left, one, sender) = (&left, &one, sender.clone());
            scope.spawn(move || {
                while let Some((slot, attack)) = left.lock().unwrap_or_else(PoisonError::into_inner).pop() {
                    if sender.send(one(slot, attack).map(|tried| (slot, attack, tried))).is_err() {
                        break;
                    }
                }
            });
        }
        drop(sender);
        receiver.into_iter().collect::<io::Result<Vec<_>>>()
    })?;
    blame(stage.disturbed_by_any(), tried.iter_mut().map(|(_, attack, tried)| (*attack, tried)).collect());
    for (slot, _, tried) in tried {
        tell(slot, tried);
    }
    Ok(())
}

/// What is disturbed and belongs to no attack in particular counts against those that did not die as they must; else against all.
pub(super) fn blame(disturbed: Vec<Disturbance>, tried: Vec<(&Attack, &mut Tried)>) {
    let suspicious = |attack: &Attack, tried: &Tried| !attack.dies.iter().any(|death| tried.attack.is(*death));
    let any = tried.iter().any(|(attack, tried)| suspicious(attack, tried));
    for (attack, tried) in tried {
        if !any || suspicious(attack, tried) {
            tried.disturbed.extend(disturbed.iter().cloned());
        }
    }
}
