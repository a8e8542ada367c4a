//! Where the two jailed processes of this backend close their jails: one call each.

use std::{
    collections::BTreeSet,
    os::fd::{AsFd, AsRawFd},
    time::Duration,
};

use rustix::process::{Resource, Rlimit, setrlimit};

use super::host::{Loaded, most_resources};
use crate::{
    jail::{Jail, JailError, JailLimits, Profile, Reach},
    policy::{Enforcer, Entry, Extent, Report, Subject, Wall},
    unchecked,
};

/// CPU time of a compilation, over all its threads: its deadline, on the cores of a large machine.
const COMPILE_CPU: Duration = Duration::from_secs(600);
/// Private memory of a compilation. Cranelift needs some hundred times the code of the largest function.
const COMPILE_MEMORY_BYTES: u64 = 4 * 1024 * 1024 * 1024;
/// Its descriptors: three streams, and what threads and the random source need for a moment.
const COMPILE_FILES: u64 = 32;
/// Descriptors of the host itself: streams, socket, event loop, and its programs.
const HOST_FILES: u64 = 64;

/// Confines the compiling process, before it reads a byte.
///
/// # Errors
/// A jail that does not close: the process must end.
pub fn compiler() -> Result<(), JailError> {
    let limits =
        JailLimits { open_files: Some(COMPILE_FILES), cpu: Some(COMPILE_CPU), data: Some(COMPILE_MEMORY_BYTES), ..JailLimits::default() };
    // Hostile input is only ever parsed here, so that a missing Landlock is not a reason to parse it elsewhere: seccomp forbids opening files too.
    Jail::new(Profile::Compiler).limits(limits).accept_degraded(true).apply().map(drop)
}

/// Lets this process open as many descriptors as it may, until [`host`] says how many it needs. Where it cannot, opening fails in its time.
pub fn make_room() {
    if let Ok(Rlimit { maximum, .. }) = unchecked::resource_limit(Resource::Nofile) {
        let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
    }
}

/// Confines the host, after loading and before any guest code; returns what the kernel gave, which is the same for all its guests.
///
/// # Errors
/// A jail that does not close: the process must end.
pub fn host(guests: &[Loaded], socket: impl AsFd) -> Result<Report, JailError> {
    // Where guests share the process, its bound leaves each what its table of resources could hold: none can use up another's.
    let alone = guests.len() == 1;
    let files = |guest: &Loaded| {
        let limits = &guest.recipe.launch.policy.limits;
        let own = if alone { u64::from(limits.open_files.get()) } else { most_resources(limits) as u64 };
        own + 2 * guest.recipe.places().len() as u64
    };
    let wanted = guests.iter().map(files).sum::<u64>() + HOST_FILES;
    let jail_limits = JailLimits {
        open_files: Some(wanted),
        file_size: guests.iter().map(|guest| guest.recipe.launch.policy.limits.home.bytes()).max(),
        // Not of CPU time, which is the engine's affair: the host outlives a guest that spent its own.
        ..JailLimits::default()
    };
    let duplicate = |source| JailError::Step { step: "hold the host's descriptors", source };
    let mut jail = Jail::new(Profile::WasmHost).limits(jail_limits).tied_to(socket).map_err(duplicate)?;
    jail = jail.accept_degraded(guests.iter().all(|guest| guest.recipe.launch.policy.accept_degraded));
    // What many guests share is one descriptor, and one rule a reach.
    let mut ruled = BTreeSet::new();
    for place in guests.iter().flat_map(|guest| guest.recipe.places()) {
        if ruled.insert((place.dir.dir.as_raw_fd(), place.writable)) {
            let reach = if place.writable { Reach::Write } else { Reach::Read };
            jail = jail.allow(place.dir.dir.as_fd().try_clone_to_owned().map_err(duplicate)?, reach);
        }
    }
    let given = unchecked::resource_limit(Resource::Nofile).map_err(duplicate)?.maximum.unwrap_or(u64::MAX);
    let mut report = jail.apply()?;
    if guests.len() > 1 {
        let because = "the agents of one host share its jail: between them stands the wasm wall alone";
        report.partial(Enforcer::Landlock, Wall::Neighbours, "reaches no file of its neighbours", because);
        let promise = "leaves its neighbours the descriptors that they may open";
        if wanted <= given {
            report.full(Enforcer::Rlimit, Wall::Neighbours, promise);
        } else {
            report.partial(
                Enforcer::Rlimit,
                Wall::Neighbours,
                promise,
                format!("together they may open {wanted}, and this machine gives a process {given}"),
            );
        }
    }
    Ok(report)
}

/// What Landlock holds of the directories of one guest, as the report of its host's jail says: each was a rule of it.
pub fn places(guest: &Loaded, jail: &Report) -> Report {
    let mut report = Report::new();
    let of_files = |entry: &&Entry| entry.enforcer == Enforcer::Landlock && entry.subject == Subject::from(Wall::Files);
    let Some(files) = jail.entries().iter().find(of_files) else { return report };
    for place in guest.recipe.places() {
        let promise =
            format!("the host can {} {}, for {}", if place.writable { "read and write" } else { "only read" }, place.host, place.guest);
        match &files.extent {
            Extent::Full => report.full(Enforcer::Landlock, place.subject(), promise),
            Extent::Partial { because } => report.partial(Enforcer::Landlock, place.subject(), promise, because.clone()),
            // Said once, of all files: what wasmtime holds of each directory, it holds all the same.
            Extent::None { .. } => break,
        };
    }
    report
}
