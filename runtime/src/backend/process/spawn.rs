//! The warden's side: bringing a reaper to life.

use std::{
    io,
    path::PathBuf,
    sync::{Arc, mpsc::sync_channel},
};

use super::{
    ReaperProgram,
    birth::{Birth, Born, Failure},
};
use crate::{
    backend::{Launch, nursery::Nursery, spawned::Spawned},
    cell::CellId,
    jail::{JailError, cgroup::Cgroup, liveness, namespaces::NamespaceSupport},
};

/// Why an agent could not be brought to life. What goes wrong later, in the jail, is told over the message socket.
#[derive(Debug, thiserror::Error)]
pub enum SpawnError {
    /// Not a launch for this backend.
    #[error("run a compiled program as a process: it is for the wasm backend")]
    NotACommand,
    /// Something that was granted cannot be opened.
    #[error("open {path}, which the agent was granted")]
    Open {
        /// The path.
        path: PathBuf,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// Something that was granted is neither a directory nor a file, or a home is no directory.
    #[error("grant {path}: it is not a directory or a plain file, or is a link where none belongs")]
    Kind {
        /// The path.
        path: PathBuf,
    },
    /// Something that no jail on this machine could hold.
    #[error(transparent)]
    Jail(JailError),
    /// What the child should be given could not be prepared.
    #[error("prepare what the agent is given")]
    Handoff(#[source] io::Error),
    /// The process could not be started or watched.
    #[error("start a process")]
    Start(#[from] io::Error),
}

/// The control groups of an agent.
#[derive(Debug, Clone)]
pub enum Groups {
    /// None: it is limited process by process.
    None,
    /// These.
    Made(Arc<Cgroup>),
    /// Some of its own, as an agent of this cell, made while its reaper is loaded; none where the machine gives none.
    Of(CellId),
}

/// What a spawn needs beyond the launch.
#[derive(Debug, Clone)]
pub struct ProcessOptions {
    /// What [`crate::jail::namespaces::prepare_warden`] said at the start of this process.
    pub namespaces: NamespaceSupport,
    /// Its control groups; what came of it is [`Spawned::cgroup`].
    pub groups: Groups,
    /// Whether the agent takes part in its cell's talk: it then has an address to connect to, and [`Spawned::hatch`] is where its
    /// connections arrive.
    pub speaks: bool,
    /// What its reaper is started from.
    pub reaper: ReaperProgram,
}

/// Brings an agent to life, in its jail. It says `Report` and then `Ready` (or `Refused`) over the message socket.
///
/// Where the machine turns out to refuse namespaces after all, the agent runs without, and its report says so.
///
/// # Errors
/// When something granted cannot be opened, or no process can be started.
pub fn spawn(launch: &Launch, options: &ProcessOptions) -> Result<Spawned, SpawnError> {
    bring(launch, options, false)
}

/// Brings a reaper to life that confines itself as it would for this agent, says `Report` (or `Refused`), and ends: the agent is not started.
///
/// # Errors
/// As [`spawn`].
pub fn rehearse(launch: &Launch, options: &ProcessOptions) -> Result<Spawned, SpawnError> {
    bring(launch, options, true)
}

fn bring(launch: &Launch, options: &ProcessOptions, rehearsal: bool) -> Result<Spawned, SpawnError> {
    let mut options = options.clone();
    let because = match &options.namespaces {
        NamespaceSupport::Full => match raise(launch, &mut options, None, rehearsal)? {
            Outcome::Born(spawned) => return Ok(*spawned),
            Outcome::NoNamespaces(because) => because,
        },
        NamespaceSupport::None { because } => because.clone(),
    };
    match raise(launch, &mut options, Some(because), rehearsal)? {
        Outcome::Born(spawned) => Ok(*spawned),
        Outcome::NoNamespaces(because) => Err(SpawnError::Start(io::Error::other(because))),
    }
}

enum Outcome {
    Born(Box<Spawned>),
    NoNamespaces(String),
}

/// Processes and threads of a reaper: itself, the thread that starts the agent, or in its place one that leads its connections, and, without
/// namespaces, one that decides about marks of files. What they are not is the agent's.
pub(super) const fn reapers_own(namespaces: bool) -> u32 {
    if namespaces { 2 } else { 3 }
}

/// Has a nursery thread start the reaper, and makes the control groups meanwhile.
fn raise(launch: &Launch, options: &mut ProcessOptions, none: Option<String>, rehearsal: bool) -> Result<Outcome, SpawnError> {
    let (tell, groups) = sync_channel(1);
    let beside = reapers_own(none.is_none());
    let birth = Birth { launch: launch.clone(), none, speaks: options.speaks, reaper: options.reaper.clone(), groups, rehearsal };
    let meanwhile = || {
        let cgroup = match &options.groups {
            Groups::None => None,
            Groups::Made(cgroup) => {
                // It may have been made for a reaper that was to have namespaces. Where that cannot be changed, the agent has one process less.
                let _ = cgroup.beside(&launch.policy.limits, beside);
                Some(Arc::clone(cgroup))
            }
            // Where the machine gives no group, the agent is limited process by process, and its report says so.
            Groups::Of(cell) => Cgroup::create(cell, &launch.agent, &launch.policy.limits, beside).ok().map(Arc::new),
        };
        options.groups = cgroup.clone().map_or(Groups::None, Groups::Made);
        // A birth that failed has no use for them.
        let _ = tell.send(cgroup);
    };
    match Nursery::raise_while(move || birth.give(), meanwhile) {
        Ok((nursery, born)) => {
            let Born { child, socket, hatch, cgroup, containment } = born;
            let mut spawned = Spawned::adopt(child, nursery, containment, vec![launch.agent.clone()], socket)?;
            (spawned.hatch, spawned.cgroup) = (hatch, cgroup);
            Ok(Outcome::Born(Box::new(spawned)))
        }
        Err(Failure::Namespaces(because)) => Ok(Outcome::NoNamespaces(because)),
        Err(Failure::Spawn(error)) => Err(error),
    }
}

/// The agent's own pid, once it is ready. Children are listed in the order in which they came; what was orphaned came later.
pub fn agent_pid(reaper: u32) -> Option<u32> {
    liveness::children(reaper).ok()?.into_iter().next()
}
