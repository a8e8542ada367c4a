//! Opening a cell that lived before: under its lease, what is left of its last life is proven dead, and its homes must be there.

use std::{
    io,
    path::PathBuf,
    time::{Duration, Instant},
};

use super::{duty::WardenError, make::place_of, spec::WardenSpec};
use crate::{
    cell::{Event, ProcessRef, Record, decide},
    home::{CellDir, Held, Lease, LeaseError, Root},
    jail::{
        cgroup,
        liveness::{self, Liveness},
    },
    registry::Registry,
};

/// How long the lease is waited for: the last warden may be just ending.
const LEASE_WITHIN: Duration = Duration::from_secs(5);
/// How often, meanwhile, the registry is asked whether somebody else was faster.
const ASK_EVERY: Duration = Duration::from_millis(100);
/// How long processes of the last life may take to be gone.
const GONE_WITHIN: Duration = Duration::from_secs(5);
/// Time between two looks at them.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Why a cell that lived before cannot live again. Nothing was started, and nothing of it changed.
#[derive(Debug, thiserror::Error)]
pub enum ReopenError {
    /// There is no directory.
    #[error("its directory is gone")]
    Gone,
    /// Another command is bringing it back, or removing it.
    #[error("{0} holds its lease")]
    Held(Held),
    /// It is not as the operator saw it.
    #[error("another command changed it meanwhile")]
    Moved,
    /// A process of its last life does not end.
    #[error("process {0} of its last life still lives")]
    Alive(u32),
    /// Nothing certain can be said of a process of its last life.
    #[error("whether process {pid} of its last life has ended cannot be told ({because})")]
    Unknown {
        /// The process.
        pid: u32,
        /// Why not.
        because: String,
    },
    /// A control group of its last life is not empty.
    #[error("a control group of its last life cannot be cleared: {0}")]
    Group(#[source] io::Error),
    /// A home, or what the members share.
    #[error("{0} is gone")]
    Missing(PathBuf),
}

/// Opens a cell's directory and takes its lease for a further life, if it is as the operator saw it and nothing of it lives.
///
/// # Errors
/// [`ReopenError`], or what the system says.
pub fn reopen(spec: &WardenSpec, root: &Root, generation: u32, version: u64) -> Result<(CellDir, Lease), WardenError> {
    let dir = root.cell(&spec.cell)?.ok_or(ReopenError::Gone)?;
    let registry = Registry::open(root.path())?;
    let deadline = Instant::now() + LEASE_WITHIN;
    let lease = loop {
        let taken = Lease::take_within(&dir, generation, ASK_EVERY);
        if matches!(taken, Err(LeaseError::Held(_))) && Instant::now() < deadline {
            // Whoever holds it may be bringing the cell back: then there is nothing to wait for.
            as_seen(&registry, spec, version)?;
            continue;
        }
        break taken.map_err(not_leased)?;
    };
    // Whoever had the lease before may have brought the cell back, or removed it.
    let record = as_seen(&registry, spec, version)?;
    let runs = registry.runs(&spec.cell)?;
    let last = runs.iter().filter(|run| run.generation == record.generation).map(|run| &run.process);
    are_dead(record.warden.iter().chain(last))?;
    end_stragglers(&record)?;
    are_there(&dir, spec)?;
    Ok((dir, lease))
}

/// The cell, if it is as the operator saw it.
fn as_seen(registry: &Registry, spec: &WardenSpec, version: u64) -> Result<Record, WardenError> {
    let record = registry.cell_alone(&spec.cell)?.ok_or(ReopenError::Gone)?;
    if record.version != version || decide(&record.state, Event::Resurrect).is_err() {
        return Err(ReopenError::Moved.into());
    }
    Ok(record)
}

fn not_leased(error: LeaseError) -> WardenError {
    match error {
        LeaseError::Held(held) => ReopenError::Held(held).into(),
        LeaseError::Gone => ReopenError::Gone.into(),
        LeaseError::Io(error) if error.kind() == io::ErrorKind::NotFound => ReopenError::Gone.into(),
        error @ LeaseError::Io(_) => error.into(),
    }
}

/// Waits until processes that were noted are dead: they are not killed, since the registry says that they ended.
fn are_dead<'a>(processes: impl Iterator<Item = &'a ProcessRef>) -> Result<(), ReopenError> {
    let deadline = Instant::now() + GONE_WITHIN;
    for process in processes {
        loop {
            match liveness::probe(process) {
                Liveness::Dead => break,
                Liveness::Unknown { because } => return Err(ReopenError::Unknown { pid: process.pid, because }),
                Liveness::Alive if Instant::now() >= deadline => return Err(ReopenError::Alive(process.pid)),
                Liveness::Alive => std::thread::sleep(LOOK_EVERY),
            }
        }
    }
    Ok(())
}

/// Ends what a life that the registry never knew of may have left: agents of a warden that was killed before they were ready. The lease is
/// held, so they are nobody else's.
fn end_stragglers(record: &Record) -> Result<(), ReopenError> {
    let cell = &record.proposal.cell_id;
    let deadline = Instant::now() + GONE_WITHIN;
    loop {
        let stragglers = liveness::with_variable("LAZARUS_CELL", cell.as_str());
        let Some(first) = stragglers.first() else { break };
        for straggler in &stragglers {
            if liveness::kill_and_wait(straggler, deadline.saturating_duration_since(Instant::now())).is_err() {
                return Err(ReopenError::Alive(straggler.pid));
            }
        }
        if Instant::now() >= deadline {
            return Err(ReopenError::Alive(first.pid));
        }
    }
    cgroup::leftovers(cell).iter().try_for_each(|group| cgroup::clear(group, GONE_WITHIN)).map_err(ReopenError::Group)
}

/// Looks that the homes are there, and what the members share. None is made again: an agent would take an empty one for its own.
fn are_there(dir: &CellDir, spec: &WardenSpec) -> Result<(), WardenError> {
    let missing = |error: io::Error, path: PathBuf| match error.kind() {
        io::ErrorKind::NotFound => WardenError::from(ReopenError::Missing(path)),
        _ => WardenError::Control(error),
    };
    dir.shared().map_err(|error| missing(error, dir.shared_path()))?;
    for plan in &spec.agents {
        let Some(home) = &plan.launch.home else { continue };
        let place = place_of(dir, home, &plan.launch.agent).ok_or_else(|| WardenError::Home(home.clone()))?;
        if dir.home(place, &plan.launch.agent)?.is_none() {
            return Err(ReopenError::Missing(home.clone()).into());
        }
    }
    Ok(())
}
