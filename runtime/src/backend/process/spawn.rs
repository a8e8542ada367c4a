//! The warden's side: bringing a reaper to life.

use std::{
    io,
    os::fd::OwnedFd,
    path::PathBuf,
    process::{Child, Stdio as ChildStdio},
    sync::Arc,
};

use super::{
    SUBCOMMAND,
    plan::{Given, plan},
};
use crate::{
    backend::{
        Launch, Stdio,
        handoff::Handoff,
        nursery::Nursery,
        packets,
        spawned::{Containment, Spawned},
    },
    jail::{
        JailError,
        cgroup::Cgroup,
        liveness,
        namespaces::{self, NamespaceSupport},
    },
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

/// What a spawn needs beyond the launch.
#[derive(Debug, Clone)]
pub struct ProcessOptions {
    /// What [`namespaces::prepare_warden`] said at the start of this process.
    pub namespaces: NamespaceSupport,
    /// Control groups for this agent, where they could be had.
    pub cgroup: Option<Arc<Cgroup>>,
    /// Whether the agent takes part in its cell's talk: it then has an address to connect to, and [`Spawned::hatch`] is where its
    /// connections arrive.
    pub speaks: bool,
}

/// A reaper that was just started.
struct Born {
    child: Child,
    socket: OwnedFd,
    hatch: Option<OwnedFd>,
    containment: Containment,
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
    let because = match &options.namespaces {
        NamespaceSupport::Full => match raise(launch, options, None, rehearsal)? {
            Outcome::Born(nursery, born) => return adopt(launch, nursery, born),
            Outcome::NoNamespaces(because) => because,
        },
        NamespaceSupport::None { because } => because.clone(),
    };
    match raise(launch, options, Some(because), rehearsal)? {
        Outcome::Born(nursery, born) => adopt(launch, nursery, born),
        Outcome::NoNamespaces(because) => Err(SpawnError::Start(io::Error::other(because))),
    }
}

enum Outcome {
    Born(Nursery, Born),
    NoNamespaces(String),
}

/// Why a birth failed: for good, or only with namespaces.
enum Failure {
    Namespaces(String),
    Spawn(SpawnError),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Spawn(error.into())
    }
}

fn raise(launch: &Launch, options: &ProcessOptions, none: Option<String>, rehearsal: bool) -> Result<Outcome, SpawnError> {
    let (launch, options) = (launch.clone(), options.clone());
    let raised = Nursery::raise(move || {
        if none.is_none() {
            namespaces::enter().map_err(|error| Failure::Namespaces(format!("make namespaces for the agent: {error}")))?;
        }
        birth(&launch, none.as_deref(), &options, rehearsal).map_err(Failure::Spawn)
    });
    match raised {
        Ok((nursery, born)) => Ok(Outcome::Born(nursery, born)),
        Err(Failure::Namespaces(because)) => Ok(Outcome::NoNamespaces(because)),
        Err(Failure::Spawn(error)) => Err(error),
    }
}

/// Starts the reaper; in the nursery thread.
fn birth(launch: &Launch, none: Option<&str>, options: &ProcessOptions, rehearsal: bool) -> Result<Born, SpawnError> {
    let (ours, theirs) = packets::pair().map_err(SpawnError::Handoff)?;
    let mut handoff = Handoff::new(theirs).map_err(SpawnError::Handoff)?;
    let (hatch, agents_end) = match options.speaks.then(packets::pair).transpose().map_err(SpawnError::Handoff)? {
        Some((hatch, agents_end)) => (Some(hatch), Some(agents_end)),
        None => (None, None),
    };
    let spec = plan(launch, none, Given { cgroup: options.cgroup.as_deref(), hatch: agents_end, rehearsal }, &mut handoff)?;
    let child = handoff.spawn(SUBCOMMAND, &spec, |command| {
        match launch.stdio {
            Stdio::Captured => command.stdin(ChildStdio::null()).stdout(ChildStdio::piped()).stderr(ChildStdio::piped()),
            Stdio::Inherited => command.stdin(ChildStdio::inherit()).stdout(ChildStdio::inherit()).stderr(ChildStdio::inherit()),
        };
    })?;
    let containment = if none.is_some() { Containment::Subreaper } else { Containment::PidNamespace };
    Ok(Born { child, socket: ours, hatch, containment })
}

fn adopt(launch: &Launch, nursery: Nursery, born: Born) -> Result<Spawned, SpawnError> {
    let mut spawned = Spawned::adopt(born.child, nursery, born.containment, vec![launch.agent.clone()], born.socket)?;
    spawned.hatch = born.hatch;
    Ok(spawned)
}

/// The agent's own pid, once it is ready. Children are listed in the order in which they came; what was orphaned came later.
pub fn agent_pid(reaper: u32) -> Option<u32> {
    liveness::children(reaper).ok()?.into_iter().next()
}
