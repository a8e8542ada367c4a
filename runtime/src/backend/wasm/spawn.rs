//! Starting a host.

use std::{collections::BTreeMap, io, process::Stdio as Stream};

use cap_std::fs::Dir;

use super::{
    cache::{self, CacheError},
    host::{HOST_COMMAND, HostSpec},
};
use crate::backend::{
    Launch, Program, Stdio,
    handoff::Handoff,
    nursery::Nursery,
    packets,
    spawned::{Containment, Spawned},
};

/// Why a host was not started.
#[derive(Debug, thiserror::Error)]
pub enum SpawnError {
    /// Nothing to run.
    #[error("start a wasm host: it was given no agent")]
    Empty,
    /// More than one agent with the caller's own streams.
    #[error("start a wasm host: only a single agent can have the caller's own streams")]
    Streams,
    /// A command.
    #[error("start a wasm host: agent {0} is a command, not a compiled program")]
    NotCompiled(String),
    /// The cache.
    #[error(transparent)]
    Cache(#[from] CacheError),
    /// The process.
    #[error("start a wasm host")]
    Process(#[from] io::Error),
}

/// Starts the host of these launches, in this order; their programs are opened in `cache`.
///
/// Its stderr is captured where the agents' streams are: what is read there are the words of the host itself.
///
/// # Errors
/// Launches that no host can run; a program that the cache does not have; what the kernel says.
pub fn spawn(launches: &[Launch], cache: &Dir) -> Result<Spawned, SpawnError> {
    spawn_as(HOST_COMMAND, &[], launches, cache)
}

/// Starts a host by another hidden subcommand, with these arguments behind the usual ones: see [`super::main_fallen`].
///
/// # Errors
/// As [`spawn`].
pub fn spawn_as(subcommand: &'static str, arguments: &[String], launches: &[Launch], cache: &Dir) -> Result<Spawned, SpawnError> {
    bring(subcommand, arguments, launches, cache, false)
}

/// Starts a host that loads these programs and confines itself as it would for them, reports, and ends: no guest is instantiated.
///
/// # Errors
/// As [`spawn`].
pub fn rehearse(launches: &[Launch], cache: &Dir) -> Result<Spawned, SpawnError> {
    bring(HOST_COMMAND, &[], launches, cache, true)
}

fn bring(subcommand: &'static str, arguments: &[String], launches: &[Launch], cache: &Dir, rehearsal: bool) -> Result<Spawned, SpawnError> {
    let inherited = launches.iter().any(|launch| launch.stdio == Stdio::Inherited);
    if launches.is_empty() {
        return Err(SpawnError::Empty);
    }
    if inherited && launches.len() > 1 {
        return Err(SpawnError::Streams);
    }
    let (ours, theirs) = packets::pair()?;
    let mut handoff = Handoff::new(theirs)?;
    // Guests of one program have one descriptor: a cell may have a thousand of them.
    let (mut programs, mut program_of, mut known) = (Vec::new(), Vec::new(), BTreeMap::new());
    for launch in launches {
        let Program::Compiled { cached, form, .. } = &launch.program else {
            return Err(SpawnError::NotCompiled(launch.agent.to_string()));
        };
        // By its name, in the directory that was opened: the path is for people.
        let name = cached.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if !known.contains_key(name) {
            known.insert(name, programs.len());
            programs.push(handoff.pass(cache::open(cache, name, *form)?.into())?);
        }
        program_of.extend(known.get(name));
    }
    let agents = launches.iter().map(|launch| launch.agent.clone()).collect();
    let spec = HostSpec { launches: launches.to_vec(), programs, program_of, rehearsal };
    let arguments = arguments.to_vec();
    let (nursery, child) = Nursery::raise(move || {
        handoff.spawn(None, subcommand, &spec, |command| {
            command.args(arguments);
            if !inherited {
                command.stdin(Stream::null()).stdout(Stream::null()).stderr(Stream::piped());
            }
        })
    })?;
    Ok(Spawned::adopt(child, nursery, Containment::Alone, agents, ours)?)
}
