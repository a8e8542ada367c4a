//! Where the two jailed processes of this backend close their jails: one call each.

use std::{os::fd::AsFd, time::Duration};

use super::host::{Loaded, most_resources};
use crate::{
    jail::{Jail, JailError, JailLimits, Profile, Reach},
    policy::{Enforcer, Report},
};

/// CPU time of a compilation, over all its threads: its deadline, on the cores of a large machine.
const COMPILE_CPU: Duration = Duration::from_secs(600);
/// Private memory of a compilation. Cranelift needs some hundred times the code of the largest function.
const COMPILE_MEMORY_BYTES: u64 = 4 * 1024 * 1024 * 1024;
/// Its descriptors: three streams, and what threads and the random source need for a moment.
const COMPILE_FILES: u64 = 32;
/// Descriptors of the host itself: streams, socket, event loop, and the two that it holds for each directory.
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

/// Confines the host, after loading and before any guest code; returns what the kernel gave, which is the same for all its guests.
///
/// # Errors
/// A jail that does not close: the process must end.
pub fn host(guests: &[Loaded], socket: impl AsFd) -> Result<Report, JailError> {
    // Where guests share the process, its bound leaves each what its table of resources could hold: none can use up another's.
    let alone = guests.len() == 1;
    let files = |guest: &Loaded| {
        let limits = &guest.launch.policy.limits;
        let own = if alone { u64::from(limits.open_files.get()) } else { most_resources(limits) as u64 };
        own + 2 * guest.places.len() as u64
    };
    let jail_limits = JailLimits {
        open_files: Some(guests.iter().map(files).sum::<u64>() + HOST_FILES),
        file_size: guests.iter().map(|guest| guest.launch.policy.limits.home.bytes()).max(),
        // Not of CPU time, which is the engine's affair: the host outlives a guest that spent its own.
        ..JailLimits::default()
    };
    let duplicate = |source| JailError::Step { step: "hold the host's descriptors", source };
    let mut jail = Jail::new(Profile::WasmHost).limits(jail_limits).tied_to(socket).map_err(duplicate)?;
    jail = jail.accept_degraded(guests.iter().all(|guest| guest.launch.policy.accept_degraded));
    for place in guests.iter().flat_map(|guest| &guest.places) {
        let reach = if place.writable { Reach::Write } else { Reach::Read };
        jail = jail.allow(place.fd.try_clone().map_err(duplicate)?, reach);
    }
    let mut report = jail.apply()?;
    if guests.len() > 1 {
        let because = "the agents of one host share its jail: between them stands the wasm wall alone";
        report.partial(Enforcer::Landlock, "reaches no file of its neighbours", because);
    }
    Ok(report)
}
