//! What close and destroy have in common: talking to the warden, and making sure that nothing lives.

use std::{
    collections::BTreeSet,
    io,
    time::{Duration, Instant},
};

use super::Error;
use crate::{
    cell::{CellId, Identity, ProcessRef, Record, Run},
    home::Root,
    jail::{
        cgroup,
        liveness::{self, Liveness},
    },
    warden::{self, Answer, Ask},
};

/// How long a warden may take to answer beyond the grace that it was asked for: it ends what does not end by itself, and the
/// kernel may take its time with that.
const ANSWER_MARGIN: Duration = Duration::from_secs(20);
/// How long a warden that was never on record may take to see that its cell was given up.
const GIVES_UP_WITHIN: Duration = Duration::from_secs(5);
/// How long a killed process may take to be gone.
const GONE_WITHIN: Duration = Duration::from_secs(10);

/// How long to wait for an answer.
pub(super) fn answer_within(grace: Duration) -> Duration {
    grace.saturating_add(ANSWER_MARGIN)
}

/// Asks a cell's warden for something.
pub(super) fn converse(root: &Root, record: &Record, ask: &Ask, within: Duration) -> Result<warden::Conversation, Error> {
    let cell = record.proposal.cell_id.clone();
    let silent = |source| Error::WardenSilent { cell: cell.clone(), source };
    let gone = || silent(io::Error::from(io::ErrorKind::NotFound));
    let dir = root.cell(&cell)?.ok_or_else(gone)?;
    let run = dir.run().map_err(silent)?;
    warden::ask(&run, ask, within).map_err(silent)
}

/// The processes that a teardown had to end.
#[derive(Debug, Default)]
pub(super) struct Toll {
    /// Those that the warden ended, which counted them itself.
    by_warden: u32,
    /// The others, by number: each once, though it be met in several ways.
    others: BTreeSet<u32>,
}

impl Toll {
    /// How many they are.
    pub fn total(&self) -> u32 {
        u32::try_from(self.others.len()).unwrap_or(u32::MAX).saturating_add(self.by_warden)
    }
}

/// Ends everything of a cell at once, and counts the processes that this took, each of the agents' own among them, also where it fails.
///
/// First the warden is asked, which knows its children best; where it does not answer, it is killed, and its agents with it.
/// Then every process that the registry knows of, and every jailed one that carries the cell's id in its environment, is looked for.
///
/// # Errors
/// A process that does not end, or of which nothing certain can be said: nothing is removed under it.
pub(super) fn end_everything(root: &Root, record: &Record, runs: &[Run], by: &Identity, toll: &mut Toll) -> Result<(), Error> {
    let cell = &record.proposal.cell_id;
    if record.warden.is_none() {
        // One whose summoner died before it was on record: it finds its cell given up, removes what it made, and ends.
        for starting in liveness::with_arguments(&[warden::SUBCOMMAND, cell.as_str()]) {
            end_process(cell, &starting, GIVES_UP_WITHIN, toll)?;
        }
    }
    if let Some(warden) = &record.warden
        && is_alive(cell, warden)?
    {
        end_warden(root, record, warden, by, toll)?;
    }
    for run in runs.iter().filter(|run| run.ended.is_none()) {
        end_process(cell, &run.process, Duration::ZERO, toll)?;
    }
    for leftover in cgroup::leftovers(cell) {
        // What cannot be listed cannot be cleared, and is said below.
        toll.others.extend(cgroup::members(&leftover).unwrap_or_default());
        cgroup::clear(&leftover, GONE_WITHIN).map_err(|error| {
            let what = format!("control group {} is not empty: {error}", leftover.display());
            Error::NotDestroyed { cell: cell.clone(), what }
        })?;
    }
    no_stragglers(cell, toll)
}

/// Ends a warden, and its agents with it.
fn end_warden(root: &Root, record: &Record, warden: &ProcessRef, by: &Identity, toll: &mut Toll) -> Result<(), Error> {
    let cell = &record.proposal.cell_id;
    // One that is stopped answers nobody: it is not waited for.
    let stopped = liveness::is_stopped(warden);
    let asked = if stopped { None } else { converse(root, record, &Ask::End { by: by.clone() }, ANSWER_MARGIN).ok() };
    match asked.and_then(wait_for_end) {
        Some(ended) => toll.by_warden = toll.by_warden.saturating_add(ended),
        // Its end is that of all that it watches over: they are counted before.
        None => toll.others.extend(watched_over(cell, warden)),
    }
    end_process(cell, warden, if stopped { Duration::ZERO } else { Duration::from_secs(2) }, toll)
}

/// What lives below a warden: in the control groups of its cell, where there are any, else its descendants.
fn watched_over(cell: &CellId, warden: &ProcessRef) -> BTreeSet<u32> {
    let in_groups = cgroup::leftovers(cell).iter().filter_map(|group| cgroup::members(group).ok()).flatten().collect::<BTreeSet<u32>>();
    if !in_groups.is_empty() {
        return in_groups;
    }
    liveness::descendants(warden.pid).unwrap_or_default().into_iter().collect()
}

/// Ends every process that still carries the cell's id in its environment: none, where the kernel did its part.
///
/// # Errors
/// One that does not end.
pub(super) fn no_stragglers(cell: &CellId, toll: &mut Toll) -> Result<(), Error> {
    let deadline = Instant::now() + GONE_WITHIN;
    loop {
        let stragglers = liveness::with_variable("LAZARUS_CELL", cell.as_str());
        if stragglers.is_empty() {
            return Ok(());
        }
        if Instant::now() >= deadline {
            let what = format!("{} of its processes do not end", stragglers.len());
            return Err(Error::NotDestroyed { cell: cell.clone(), what });
        }
        for straggler in &stragglers {
            end_process(cell, straggler, Duration::ZERO, toll)?;
        }
    }
}

/// How many processes the warden ended; nothing where it does not say so.
fn wait_for_end(mut conversation: warden::Conversation) -> Option<u32> {
    loop {
        match conversation.answer() {
            Ok(Some(Answer::Ended { processes })) => return Some(processes),
            Ok(Some(Answer::Closing | Answer::Started { .. } | Answer::Noted | Answer::Handled { .. } | Answer::Parked { .. })) => {}
            Ok(Some(Answer::Refused { .. }) | None) | Err(_) => return None,
        }
    }
}

fn is_alive(cell: &CellId, process: &ProcessRef) -> Result<bool, Error> {
    match liveness::probe(process) {
        Liveness::Alive => Ok(true),
        Liveness::Dead => Ok(false),
        Liveness::Unknown { because } => {
            let what = format!("whether process {} is its own cannot be told ({because}); nothing was killed", process.pid);
            Err(Error::NotDestroyed { cell: cell.clone(), what })
        }
    }
}

/// Waits for a process for a while, then kills it, and counts it if it had to be killed.
fn end_process(cell: &CellId, process: &ProcessRef, patience: Duration, toll: &mut Toll) -> Result<(), Error> {
    let start = Instant::now();
    while is_alive(cell, process)? {
        if start.elapsed() >= patience {
            let what =
                |why: String| Error::NotDestroyed { cell: cell.clone(), what: format!("process {} does not end: {why}", process.pid) };
            liveness::kill_and_wait(process, GONE_WITHIN).map_err(|error| what(error.to_string()))?;
            toll.others.insert(process.pid);
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    Ok(())
}
