//! What close and destroy have in common: talking to the warden, and making sure that nothing lives.

use std::{
    io,
    time::{Duration, Instant},
};

use super::Error;
use crate::{
    cell::{CellId, ProcessRef, Record, Run},
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

/// Ends everything of a cell at once. Returns how many processes that took.
///
/// First the warden is asked, which knows its children best; where it does not answer, it is killed, and its agents with it.
/// Then every process that the registry knows of, and every jailed one that carries the cell's id in its environment, is looked for.
///
/// # Errors
/// A process that does not end, or of which nothing certain can be said: nothing is removed under it.
pub(super) fn end_everything(root: &Root, record: &Record, runs: &[Run], by: &crate::cell::Identity) -> Result<u32, Error> {
    let cell = &record.proposal.cell_id;
    let mut ended = 0;
    if record.warden.is_none() {
        // One whose summoner died before it was on record: it finds its cell given up, removes what it made, and ends.
        for starting in liveness::with_arguments(&[warden::SUBCOMMAND, cell.as_str()]) {
            ended += end_process(cell, &starting, GIVES_UP_WITHIN)?;
        }
    }
    if let Some(warden) = &record.warden
        && is_alive(cell, warden)?
    {
        // One that is stopped answers nobody: it is not waited for.
        let stopped = liveness::is_stopped(warden);
        let asked = if stopped { None } else { converse(root, record, &Ask::End { by: by.clone() }, ANSWER_MARGIN).ok() };
        ended += asked.map_or(0, wait_for_end);
        ended += end_process(cell, warden, if stopped { Duration::ZERO } else { Duration::from_secs(2) })?;
    }
    for run in runs.iter().filter(|run| run.ended.is_none()) {
        ended += end_process(cell, &run.process, Duration::ZERO)?;
    }
    for leftover in cgroup::leftovers(cell) {
        cgroup::clear(&leftover, GONE_WITHIN).map_err(|error| {
            let what = format!("control group {} is not empty: {error}", leftover.display());
            Error::NotDestroyed { cell: cell.clone(), what }
        })?;
    }
    Ok(ended + no_stragglers(cell)?)
}

/// Ends every process that still carries the cell's id in its environment: none, where the kernel did its part.
///
/// # Errors
/// One that does not end.
pub(super) fn no_stragglers(cell: &CellId) -> Result<u32, Error> {
    let deadline = Instant::now() + GONE_WITHIN;
    let mut ended = 0;
    loop {
        let stragglers = liveness::with_variable("LAZARUS_CELL", cell.as_str());
        if stragglers.is_empty() {
            return Ok(ended);
        }
        if Instant::now() >= deadline {
            let what = format!("{} of its processes do not end", stragglers.len());
            return Err(Error::NotDestroyed { cell: cell.clone(), what });
        }
        for straggler in &stragglers {
            ended += end_process(cell, straggler, Duration::ZERO)?;
        }
    }
}

fn wait_for_end(mut conversation: warden::Conversation) -> u32 {
    loop {
        match conversation.answer() {
            Ok(Some(Answer::Ended { processes })) => return processes,
            Ok(Some(Answer::Closing | Answer::Started { .. } | Answer::Noted | Answer::Handled { .. } | Answer::Parked { .. })) => {}
            Ok(Some(Answer::Refused { .. }) | None) | Err(_) => return 0,
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

/// Waits for a process for a while, then kills it. Returns 1 if it had to be killed.
fn end_process(cell: &CellId, process: &ProcessRef, patience: Duration) -> Result<u32, Error> {
    let start = Instant::now();
    while is_alive(cell, process)? {
        if start.elapsed() >= patience {
            let what =
                |why: String| Error::NotDestroyed { cell: cell.clone(), what: format!("process {} does not end: {why}", process.pid) };
            return liveness::kill_and_wait(process, GONE_WITHIN).map(|()| 1).map_err(|error| what(error.to_string()));
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    Ok(0)
}
