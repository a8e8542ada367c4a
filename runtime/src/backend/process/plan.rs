//! From a launch to what a reaper is told.

use std::{
    fs,
    os::{fd::OwnedFd, unix::fs::MetadataExt},
    path::PathBuf,
};

use rustix::process::{getgid, getuid};

use super::{
    SpawnError,
    connect::CELL_SOCKET,
    sources::{self, NoNamespace},
    spec::{Held, Linked, Place, Spec, View},
};
use crate::{
    backend::{
        Launch, Program,
        handoff::Handoff,
        reach::{MADE_UP, STREAMS},
    },
    jail::cgroup::Cgroup,
    policy::Granted,
};

/// What an agent is given beyond what its launch says.
pub(super) struct Given<'a> {
    /// Its control groups.
    pub cgroup: Option<&'a Cgroup>,
    /// Its reaper's end of the hatch.
    pub hatch: Option<OwnedFd>,
    /// Whether it is only rehearsed.
    pub rehearsal: bool,
}

/// Opens what was granted, adds it to the handoff, and describes it.
pub(super) fn plan(launch: &Launch, none: NoNamespace<'_>, given: Given<'_>, handoff: &mut Handoff) -> Result<Spec, SpawnError> {
    let Given { cgroup, hatch, rehearsal } = given;
    let Program::Command { argv } = &launch.program else {
        return Err(SpawnError::NotACommand);
    };
    let sources = sources::open(launch, none)?;
    let mut places = Vec::new();
    for source in sources.places {
        let descriptor = handoff.pass(source.opened).map_err(SpawnError::Handoff)?;
        places.push(Place { descriptor, target: source.target, usage: source.usage, granted: source.granted });
    }
    let mut control_groups = Vec::new();
    for door in cgroup.map(Cgroup::doors).transpose().map_err(SpawnError::Handoff)?.unwrap_or_default() {
        control_groups.push(handoff.pass(door).map_err(SpawnError::Handoff)?);
    }
    let mut env = launch.env.clone();
    if hatch.is_some() {
        env.push(("LAZARUS_SOCKET".to_owned(), CELL_SOCKET.to_owned()));
    }
    if let Some(directory) = sources.client {
        lead_to(&mut env, &directory);
    }
    let view = match none {
        Some(because) => View::Shared { because: because.to_owned(), links: sources.links },
        None => View::Own { links: links(sources.links), texts: texts(launch) },
    };
    Ok(Spec {
        agent: launch.agent.clone(),
        argv: argv.clone(),
        env,
        home: launch.home.clone(),
        limits: launch.policy.limits.clone(),
        accept_degraded: launch.policy.accept_degraded,
        rehearsal,
        processes_of_others: if none.is_some() { processes_of_user() } else { 0 },
        view,
        places,
        control_groups,
        hatch: hatch.map(|hatch| handoff.pass(hatch)).transpose().map_err(SpawnError::Handoff)?,
        held: cgroup.map_or_else(Held::default, |group| Held { memory: group.holds_memory(), processes: group.holds_processes() }),
    })
}

/// Has programs looked for in one more directory, after all others: what it holds replaces nothing of the agent's own.
fn lead_to(env: &mut [(String, String)], directory: &str) {
    if let Some((_, path)) = env.iter_mut().rfind(|(name, _)| name == "PATH") {
        path.push(':');
        path.push_str(directory);
    }
}

/// Links of the machine, and those that programs expect in `/dev`.
fn links(mut links: Vec<Linked>) -> Vec<Linked> {
    let made =
        |path: &str, number: &str| Linked { path: path.into(), text: format!("/proc/self/fd{number}").into(), granted: Granted::Made };
    links.extend(STREAMS.map(|(path, number)| made(path, number)));
    links
}

/// Names for the one user and group that exist in the cell. The machine's own lists are none of the agent's business.
fn texts(launch: &Launch) -> Vec<(PathBuf, String)> {
    let (name, user, group) = (launch.agent.as_str(), getuid().as_raw(), getgid().as_raw());
    let home = launch.home.as_ref().map_or_else(|| "/".to_owned(), |home| home.display().to_string());
    let [passwd, groups] = MADE_UP;
    // A home whose path would break the format of the file is not named in it.
    let home = if home.contains([':', '\n']) { "/" } else { home.as_str() };
    vec![(passwd.into(), format!("{name}:x:{user}:{group}:{name}:{home}:/bin/sh\n")), (groups.into(), format!("{name}:x:{group}:\n"))]
}

/// Counts the processes and threads of this user, on the whole machine: as RLIMIT_NPROC does.
fn processes_of_user() -> u64 {
    let user = getuid().as_raw();
    let Ok(processes) = fs::read_dir("/proc") else { return 0 };
    let tasks = processes.flatten().filter(|entry| entry.file_name().to_str().is_some_and(|name| name.parse::<u32>().is_ok()));
    tasks
        .filter_map(|entry| fs::metadata(entry.path().join("task")).ok())
        .filter(|task| task.uid() == user)
        .map(|task| task.nlink().saturating_sub(2))
        .sum()
}
