//! Ending whoever is in a group, and removing it.

use std::{
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    thread::sleep,
    time::{Duration, Instant},
};

use rustix::process::Signal;

use super::{
    group::prefix,
    tree::{PROCS, hierarchies},
};
use crate::{cell::CellId, jail::liveness};

/// How long a process that has ended may still be in its group.
const LEAVE_WITHIN: Duration = Duration::from_secs(2);
/// How long to wait between two looks at a group that is being emptied.
const RETRY: Duration = Duration::from_millis(2);
/// How deep groups are looked for: sessions, containers and their services are rarely half as deep.
const DEPTH_MOST: usize = 16;
/// The controllers of version 1 in whose trees an agent can have a group.
const CONTROLLERS: [&str; 3] = ["memory", "pids", "cpuacct"];

/// The groups of a cell that are still there: empty once all its agents were torn down.
///
/// They are below the group in which its warden was started, which may be another than this process is in (another login, say):
/// the whole trees are looked through, for groups of this user.
pub fn leftovers(cell: &CellId) -> Vec<PathBuf> {
    let prefix = prefix(cell);
    let own = rustix::process::geteuid().as_raw();
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let trees = hierarchies(&mounts).into_iter().filter(|tree| tree.unified || CONTROLLERS.iter().any(|name| tree.is_for(name)));
    let mut open: Vec<(PathBuf, usize)> = trees.map(|tree| (tree.mounted_at, 0)).collect();
    let mut found = Vec::new();
    while let Some((directory, depth)) = open.pop() {
        // One that was removed meanwhile has nothing left in it.
        let entries = fs::read_dir(&directory).into_iter().flatten().flatten();
        for entry in entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())) {
            let is_of_cell = entry.file_name().to_str().is_some_and(|name| name.starts_with(&prefix));
            if is_of_cell && entry.metadata().is_ok_and(|metadata| metadata.uid() == own) {
                found.push(entry.path());
            } else if depth < DEPTH_MOST {
                open.push((entry.path(), depth + 1));
            }
        }
    }
    found
}

/// Kills whoever is in a group that was left over, and removes it.
///
/// # Errors
/// As [`super::Cgroup::kill`] and [`super::Cgroup::remove`].
pub fn clear(leftover: &Path, most: Duration) -> io::Result<()> {
    kill_members(leftover, most)?;
    remove(leftover)
}

/// Removes a group without members. Its last member leaves the list a moment before it leaves the group: until then the kernel says EBUSY.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    let deadline = Instant::now() + LEAVE_WITHIN;
    loop {
        match fs::remove_dir(path) {
            Err(error) if error.kind() == io::ErrorKind::ResourceBusy && Instant::now() < deadline => sleep(RETRY),
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => return Ok(()),
        }
    }
}

/// The processes that are in a group; nobody is in one that is not there any more.
///
/// # Errors
/// What the kernel says.
pub fn members(path: &Path) -> io::Result<Vec<u32>> {
    match fs::read_to_string(path.join(PROCS)) {
        Ok(members) => Ok(members.split_ascii_whitespace().filter_map(|pid| pid.parse().ok()).collect()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// Kills whoever is in a group, again and again until nobody is.
pub(super) fn kill_members(path: &Path, most: Duration) -> io::Result<()> {
    let deadline = Instant::now() + most;
    // Version 2, Linux 5.14: all at once. Elsewhere the file is not there.
    let _ = fs::File::options().write(true).open(path.join("cgroup.kill")).and_then(|mut file| io::Write::write_all(&mut file, b"1"));
    loop {
        let members = members(path)?;
        if members.is_empty() {
            return Ok(());
        }
        for pid in members {
            // One that ended meanwhile is no trouble; the others are looked at again.
            if let Ok(noted) = liveness::identify(pid)
                && let Some(handle) = liveness::open(&noted)?
            {
                handle.signal(Signal::KILL)?;
            }
        }
        if Instant::now() > deadline {
            return Err(io::ErrorKind::TimedOut.into());
        }
        sleep(RETRY);
    }
}
