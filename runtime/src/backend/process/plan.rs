//! From a launch to what a reaper is told.

use std::{
    fs, io,
    os::{fd::OwnedFd, unix::fs::MetadataExt},
    path::PathBuf,
};

use rustix::process::{getgid, getuid};

use super::{
    SpawnError,
    connect::CELL_SOCKET,
    sources::{self, NoNamespace},
    spawn::reapers_own,
    spec::{Held, Linked, Place, Spec, View},
};
use crate::{
    backend::{
        Launch, Program,
        parcel::Parcel,
        reach::{MADE_UP, STREAMS},
    },
    jail::{cgroup::Cgroup, liveness, usher::Door},
    policy::Granted,
};

/// What an agent is given beyond what its launch says.
pub(super) struct Given<'a> {
    /// Its control groups.
    pub cgroup: Option<&'a Cgroup>,
    /// Its reaper's end of the hatch.
    pub hatch: Option<OwnedFd>,
    /// Its network namespace, and the door of its usher, where it has namespaces of its own.
    pub own: Option<(OwnedFd, Door)>,
    /// Whether it is only rehearsed.
    pub rehearsal: bool,
}

/// Opens what was granted, adds it to the parcel, and describes it.
pub(super) fn plan(launch: &Launch, none: NoNamespace<'_>, given: Given<'_>, parcel: &mut Parcel) -> Result<Spec, SpawnError> {
    let Given { cgroup, hatch, own, rehearsal } = given;
    let Program::Command { argv } = &launch.program else {
        return Err(SpawnError::NotACommand);
    };
    let sources = sources::open(launch, none)?;
    let mut places = Vec::new();
    for source in sources.places {
        places.push(Place { opened: parcel.enclose(source.opened), target: source.target, usage: source.usage, granted: source.granted });
    }
    let doors = cgroup.map(Cgroup::doors).transpose().map_err(SpawnError::Handoff)?.unwrap_or_default();
    let mut env = launch.env.clone();
    if hatch.is_some() {
        env.push(("LAZARUS_SOCKET".to_owned(), CELL_SOCKET.to_owned()));
    }
    if let Some(directory) = sources.client {
        lead_to(&mut env, &directory);
    }
    let view = match (none, own) {
        (Some(because), _) => View::Shared { because: because.to_owned(), links: sources.links },
        (None, Some((network, door))) => {
            let (network, door) = (parcel.enclose(network), parcel.enclose(door.into_socket()));
            View::Own { links: links(sources.links), texts: texts(launch), network, door }
        }
        (None, None) => return Err(SpawnError::Handoff(io::Error::other("there is no network namespace for it"))),
    };
    let held = cgroup.map(Held::by).unwrap_or_default();
    Ok(Spec {
        agent: launch.agent.clone(),
        argv: argv.clone(),
        env,
        home: launch.home.clone(),
        limits: launch.policy.limits.clone(),
        accept_degraded: launch.policy.accept_degraded,
        rehearsal,
        processes_of_others: if held.processes { 0 } else { processes_of_others(none.is_none()) },
        view,
        places,
        control_groups: doors.into_iter().map(|door| parcel.enclose(door)).collect(),
        hatch: hatch.map(|hatch| parcel.enclose(hatch)),
        held,
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

/// The processes and threads that the kernel counts with the agent's, as RLIMIT_NPROC does, with those that its reaper will have. The reaper itself
/// is there already.
fn processes_of_others(namespaces: bool) -> u64 {
    let there = if namespaces { processes_of_cell() } else { processes_of_user() };
    there + u64::from(reapers_own(namespaces)) - 1
}

/// Counts the processes and threads of this cell: in a user namespace of its own, there are no others.
fn processes_of_cell() -> u64 {
    let own = std::process::id();
    let threads = |pid: u32| fs::metadata(format!("/proc/{pid}/task")).map_or(0, |task| task.nlink().saturating_sub(2));
    liveness::descendants(own).unwrap_or_default().into_iter().chain([own]).map(threads).sum()
}

/// Counts the processes and threads of this user, on the whole machine.
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
