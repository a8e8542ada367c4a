//! Control groups: memory and processes of an agent, counted together. Made by the warden, where the machine lets it.
//!
//! Version 2 (most machines with systemd) has one tree, in which a part must be delegated to this user; version 1 has a tree
//! for each controller. The child joins by itself, through a door that was opened for it: it is counted from its first step.

use std::{
    fs, io,
    os::{fd::OwnedFd, unix::fs::MetadataExt},
    path::{Path, PathBuf},
    thread::sleep,
    time::{Duration, Instant},
};

use rustix::{
    fs::{Access, access},
    process::Signal,
};

use super::liveness;
use crate::{
    cell::{AgentName, CellId},
    policy::Limits,
};

/// How long a process that has ended may still be in its group.
const LEAVE_WITHIN: Duration = Duration::from_secs(2);
/// How long to wait between two looks at a group that is being emptied.
const RETRY: Duration = Duration::from_millis(2);
/// How deep groups are looked for: sessions, containers and their services are rarely half as deep.
const DEPTH_MOST: usize = 16;
/// The file through which a process joins, and in which members are listed.
const PROCS: &str = "cgroup.procs";

/// Why there is no control group for an agent; a fact of the machine, not a fault.
#[derive(Debug, thiserror::Error)]
pub enum CgroupUnavailable {
    /// No controller is mounted, or none is delegated to this user.
    #[error("find a control group in which memory and processes can be limited")]
    NotFound,
    /// A group could not be made or set up.
    #[error("make control group {path}")]
    Make {
        /// The group.
        path: PathBuf,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
}

/// A directory in which groups for agents can be made.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Parent {
    path: PathBuf,
    /// Limits to write into a new group: file, and which limit.
    memory: Option<&'static str>,
    processes: Option<&'static str>,
}

/// The control groups of one agent: one, or with version 1 one a controller. Dropping it removes what is empty.
#[derive(Debug)]
pub struct Cgroup {
    directories: Vec<PathBuf>,
    memory: bool,
    processes: bool,
}

fn prefix(cell: &CellId) -> String {
    // A dot is in no name, so that one cell's prefix is never another's.
    format!("lazarus.{cell}.")
}

/// The name of an agent's groups.
pub fn name(cell: &CellId, agent: &AgentName) -> String {
    format!("{}{agent}", prefix(cell))
}

impl Cgroup {
    /// Makes the groups of an agent and sets their limits.
    ///
    /// # Errors
    /// Where the machine gives none; the agent is then limited process by process.
    pub fn create(cell: &CellId, agent: &AgentName, limits: &Limits) -> Result<Self, CgroupUnavailable> {
        let mut group = Self { directories: Vec::new(), memory: false, processes: false };
        for parent in parents() {
            let path = parent.path.join(name(cell, agent));
            let fail = |source| CgroupUnavailable::Make { path: path.clone(), source };
            match fs::create_dir(&path) {
                Ok(()) => {}
                // Left behind by a warden that was killed; whoever is in it is counted, too, until it is swept.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(fail(error)),
            }
            group.directories.push(path.clone());
            if let Some(file) = parent.memory {
                fs::write(path.join(file), limits.memory.bytes().to_string()).map_err(fail)?;
                no_swap(&path, file, limits.memory.bytes());
                group.memory = true;
            }
            if let Some(file) = parent.processes {
                fs::write(path.join(file), limits.processes.to_string()).map_err(fail)?;
                group.processes = true;
            }
        }
        if group.memory || group.processes { Ok(group) } else { Err(CgroupUnavailable::NotFound) }
    }

    /// Opens the doors through which a process joins, by writing `0`.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn doors(&self) -> io::Result<Vec<OwnedFd>> {
        self.directories.iter().map(|path| Ok(fs::File::options().write(true).open(path.join(PROCS))?.into())).collect()
    }

    /// Whether memory is limited.
    pub const fn holds_memory(&self) -> bool {
        self.memory
    }

    /// Whether processes are limited.
    pub const fn holds_processes(&self) -> bool {
        self.processes
    }

    /// Whether the kernel has ended a member because there was no memory left for it: cgroup-v2's `memory.events`, version 1's
    /// `memory.oom_control`; both count in a line `oom_kill N`.
    pub fn ran_out_of_memory(&self) -> bool {
        let counts = |path: &PathBuf| {
            let text = fs::read_to_string(path.join("memory.events")).or_else(|_| fs::read_to_string(path.join("memory.oom_control")));
            let killed = |line: &str| line.strip_prefix("oom_kill ").is_some_and(|count| count.trim() != "0");
            text.is_ok_and(|text| text.lines().any(killed))
        };
        self.memory && self.directories.iter().any(counts)
    }

    /// Kills all members, again and again until there are none.
    ///
    /// # Errors
    /// `TimedOut` where some live on; otherwise what the kernel says.
    pub fn kill(&self, most: Duration) -> io::Result<()> {
        self.directories.iter().try_for_each(|path| kill_members(path, most))
    }

    /// Removes the groups; those of an agent that has ended are empty.
    ///
    /// # Errors
    /// `ResourceBusy` where a process is still in one.
    pub fn remove(mut self) -> io::Result<()> {
        std::mem::take(&mut self.directories).iter().try_for_each(|path| remove(path))
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        for path in &self.directories {
            // What cannot be removed is listed by `leftovers`.
            let _ = remove(path);
        }
    }
}

/// The groups of a cell that are still there: empty once all its agents were torn down.
///
/// They are below the group in which its warden was started, which may be another than this process is in (another login, say):
/// the whole trees are looked through, for groups of this user.
pub fn leftovers(cell: &CellId) -> Vec<PathBuf> {
    let prefix = prefix(cell);
    let own = rustix::process::geteuid().as_raw();
    let held = |h: &Hierarchy| h.unified || h.controllers.iter().any(|c| c == "memory" || c == "pids");
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let mut open: Vec<(PathBuf, usize)> = hierarchies(&mounts).into_iter().filter(held).map(|h| (h.mounted_at, 0)).collect();
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
/// As [`Cgroup::kill`] and [`Cgroup::remove`].
pub fn clear(leftover: &Path, most: Duration) -> io::Result<()> {
    kill_members(leftover, most)?;
    remove(leftover)
}

/// Removes a group without members. Its last member leaves the list a moment before it leaves the group: until then the kernel says EBUSY.
fn remove(path: &Path) -> io::Result<()> {
    let deadline = Instant::now() + LEAVE_WITHIN;
    loop {
        match fs::remove_dir(path) {
            Err(error) if error.kind() == io::ErrorKind::ResourceBusy && Instant::now() < deadline => {
                std::thread::sleep(RETRY);
            }
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => return Ok(()),
        }
    }
}

/// Keeps the limit from being dodged by swapping. Not every kernel counts swap; then the machine's own swap is the limit.
fn no_swap(path: &Path, memory_file: &str, bytes: u64) {
    let (file, value) = if memory_file == "memory.max" { ("memory.swap.max", 0) } else { ("memory.memsw.limit_in_bytes", bytes) };
    let _ = fs::write(path.join(file), value.to_string());
}

fn kill_members(path: &Path, most: Duration) -> io::Result<()> {
    let deadline = Instant::now() + most;
    // Version 2, Linux 5.14: all at once. Elsewhere the file is not there.
    let _ = fs::File::options().write(true).open(path.join("cgroup.kill")).and_then(|mut file| io::Write::write_all(&mut file, b"1"));
    loop {
        let members = match fs::read_to_string(path.join(PROCS)) {
            Ok(members) => members,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        };
        if members.trim().is_empty() {
            return Ok(());
        }
        for pid in members.split_ascii_whitespace().filter_map(|pid| pid.parse().ok()) {
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

/// Where groups can be made: with version 2 one directory, else one for each controller of version 1.
fn parents() -> Vec<Parent> {
    let (Ok(mounts), Ok(own)) = (fs::read_to_string("/proc/self/mountinfo"), fs::read_to_string("/proc/self/cgroup")) else {
        return Vec::new();
    };
    let hierarchies = hierarchies(&mounts);
    if let Some(parent) = hierarchies.iter().filter(|h| h.unified).find_map(|h| delegated(h, &own)) {
        return vec![parent];
    }
    let controller = |name: &str, memory, processes| {
        let hierarchy = hierarchies.iter().find(|h| !h.unified && h.controllers.iter().any(|c| c == name))?;
        let path = own_directory(hierarchy, &own, |controllers| controllers.split(',').any(|c| c == name));
        writable(&path).then_some(Parent { path, memory, processes })
    };
    let memory = controller("memory", Some("memory.limit_in_bytes"), None);
    let processes = controller("pids", None, Some("pids.max"));
    [memory, processes].into_iter().flatten().collect()
}

/// A mounted tree of control groups.
#[derive(Debug, PartialEq, Eq)]
struct Hierarchy {
    mounted_at: PathBuf,
    unified: bool,
    controllers: Vec<String>,
}

/// Reads the trees from `/proc/self/mountinfo`: fields before a lone dash, then type, source and options.
fn hierarchies(mounts: &str) -> Vec<Hierarchy> {
    let parse = |line: &str| {
        let (mount, kind) = line.split_once(" - ")?;
        let mounted_at = PathBuf::from(mount.split(' ').nth(4)?);
        let mut kind = kind.split(' ');
        match kind.next()? {
            "cgroup2" => Some(Hierarchy { mounted_at, unified: true, controllers: Vec::new() }),
            "cgroup" => {
                let controllers = kind.nth(1)?.split(',').map(str::to_owned).collect();
                Some(Hierarchy { mounted_at, unified: false, controllers })
            }
            _ => None,
        }
    };
    mounts.lines().filter_map(parse).collect()
}

/// The directory of this process's own group, from `/proc/self/cgroup`; the top where that is not visible (in a container).
fn own_directory(hierarchy: &Hierarchy, own: &str, is_it: impl Fn(&str) -> bool) -> PathBuf {
    let line = own.lines().filter_map(|line| line.split_once(':')?.1.split_once(':')).find(|(controllers, _)| is_it(controllers));
    let path = line.map(|(_, path)| hierarchy.mounted_at.join(path.trim_start_matches('/')));
    path.filter(|path| path.is_dir()).unwrap_or_else(|| hierarchy.mounted_at.clone())
}

fn writable(path: &Path) -> bool {
    access(path, Access::WRITE_OK).is_ok() && access(path.join(PROCS), Access::WRITE_OK).is_ok()
}

/// The nearest group above this process that gives its children both controllers, and that this user may write to.
///
/// It is an ancestor of where this process is, as the kernel wants it of whoever moves a process.
fn delegated(hierarchy: &Hierarchy, own: &str) -> Option<Parent> {
    let start = own_directory(hierarchy, own, str::is_empty);
    let gives = |path: &Path| {
        let given = fs::read_to_string(path.join("cgroup.subtree_control")).unwrap_or_default();
        ["memory", "pids"].iter().all(|controller| given.split_ascii_whitespace().any(|word| word == *controller))
    };
    let above = start.ancestors().take_while(|path| path.starts_with(&hierarchy.mounted_at));
    let path = above.into_iter().find(|path| gives(path) && writable(path))?.to_owned();
    Some(Parent { path, memory: Some("memory.max"), processes: Some("pids.max") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trees_are_read_from_the_list_of_mounts() {
        let mounts = "25 1 0:22 / / rw - ext4 /dev/a rw\n\
            26 25 0:23 / /sys/fs/cgroup/memory rw,nosuid shared:9 - cgroup cgroup rw,memory\n\
            27 25 0:24 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw,nsdelegate\n";
        let found = hierarchies(mounts);
        assert_eq!(found.len(), 2);
        assert_eq!((found[0].mounted_at.as_path(), found[0].unified), (Path::new("/sys/fs/cgroup/memory"), false));
        assert!(found[0].controllers.iter().any(|c| c == "memory") && found[1].unified);
    }

    #[test]
    fn the_own_group_is_found_by_controller() {
        let dir = tempfile::tempdir().expect("tempdir");
        fs::create_dir(dir.path().join("mine")).expect("mkdir");
        let hierarchy = Hierarchy { mounted_at: dir.path().to_owned(), unified: false, controllers: vec!["pids".to_owned()] };
        let is_it = |controllers: &str| controllers == "pids";
        assert_eq!(own_directory(&hierarchy, "4:pids:/mine\n3:memory:/x\n", is_it), dir.path().join("mine"));
        assert_eq!(own_directory(&hierarchy, "4:pids:/not/visible\n", is_it), dir.path());
        assert_eq!(own_directory(&hierarchy, "garbage", is_it), dir.path());
    }
}
