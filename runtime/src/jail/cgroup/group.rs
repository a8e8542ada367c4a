//! The groups of one agent.

use std::{
    collections::BTreeSet,
    fs, io,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    time::Duration,
};

use super::{
    clear::{kill_members, members, remove},
    place::{Holds, Parent, Version, parents},
    tree::PROCS,
};
use crate::{
    cell::{AgentName, CellId},
    policy::Limits,
};

/// Why there is no control group for an agent; a fact of the machine, not a fault.
#[derive(Debug, thiserror::Error)]
pub enum CgroupUnavailable {
    /// No controller is mounted, or none is delegated to this user.
    #[error("find a control group in which memory, processes or CPU time can be limited")]
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

/// One group, and what it holds.
#[derive(Debug)]
struct Group {
    path: PathBuf,
    version: Version,
    holds: Holds,
}

/// How often the kernel held an agent at a limit, as it counts that.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Hits {
    /// Processes that were ended because there was no memory left for them.
    pub memory: u64,
    /// Processes and threads that were not started because there were as many as there may be.
    pub processes: u64,
}

/// What had happened in groups that were there before, left behind by a warden that was killed: it is none of the new agent's.
#[derive(Debug, Clone, Copy, Default)]
struct Before {
    cpu: Duration,
    hits: Hits,
}

/// The control groups of one agent: one, or with version 1 one a controller. Dropping it removes what is empty.
#[derive(Debug)]
pub struct Cgroup {
    groups: Vec<Group>,
    swaps: bool,
    /// Whether all of them were made for this agent: nothing can have happened in them before.
    fresh: bool,
    before: Before,
}

/// How the names of a cell's groups begin.
pub(super) fn prefix(cell: &CellId) -> String {
    // A dot is in no name, so that one cell's prefix is never another's.
    format!("lazarus.{cell}.")
}

/// The name of an agent's groups.
pub fn name(cell: &CellId, agent: &AgentName) -> String {
    format!("{}{agent}", prefix(cell))
}

impl Cgroup {
    /// Makes the groups of an agent and sets their limits; `beside` processes and threads in them are not the agent's.
    ///
    /// # Errors
    /// Where the machine gives none; the agent is then limited process by process.
    pub fn create(cell: &CellId, agent: &AgentName, limits: &Limits, beside: u32) -> Result<Self, CgroupUnavailable> {
        let limits = &Limits { processes: limits.processes.saturating_add(beside), ..limits.clone() };
        let mut made = Self { groups: Vec::new(), swaps: false, fresh: true, before: Before::default() };
        let mut unusable = None;
        for parent in parents() {
            let Some(holds) = parent.holds.beyond(made.holds()) else { continue };
            // One that cannot be used may be followed by another that can: version 1 after version 2.
            match made.add(&parent, holds, &name(cell, agent), limits) {
                Ok(()) => {}
                Err(error) => unusable = Some(error),
            }
        }
        if made.groups.is_empty() {
            return Err(unusable.unwrap_or(CgroupUnavailable::NotFound));
        }
        if !made.fresh {
            made.before = Before { cpu: made.cpu_in_all().unwrap_or_default(), hits: made.hits_in_all() };
        }
        Ok(made)
    }

    fn add(&mut self, parent: &Parent, holds: Holds, name: &str, limits: &Limits) -> Result<(), CgroupUnavailable> {
        let path = parent.path.join(name);
        let fail = |source| CgroupUnavailable::Make { path: path.clone(), source };
        parent.prepare().map_err(fail)?;
        match fs::create_dir(&path) {
            Ok(()) => {}
            // Left behind by a warden that was killed.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                // Whoever is in it, so that it stays, is counted, too, until it is swept.
                if fs::remove_dir(&path).is_ok() {
                    fs::create_dir(&path).map_err(fail)?;
                } else {
                    self.fresh = false;
                }
            }
            Err(error) => return Err(fail(error)),
        }
        let group = Group { path: path.clone(), version: parent.version, holds };
        let set = group.limit(limits);
        if set.is_err() {
            // Nobody has joined it.
            let _ = fs::remove_dir(&path);
        }
        self.swaps |= set.map_err(fail)?;
        self.groups.push(group);
        Ok(())
    }

    /// Opens the doors through which a process of one thread joins, by writing `0`.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn doors(&self) -> io::Result<Vec<OwnedFd>> {
        self.groups.iter().map(|group| Ok(fs::File::options().write(true).open(group.path.join(group.door()))?.into())).collect()
    }

    /// What is held, by all groups together.
    pub fn holds(&self) -> Holds {
        self.groups.iter().fold(Holds::default(), |held, group| held.and(group.holds))
    }

    /// Whether what the agent swaps out is memory beyond its limit: this kernel does not count it, and the machine has swap.
    pub const fn swaps(&self) -> bool {
        self.swaps
    }

    /// The CPU time that all processes of the agent have used, also those that have ended.
    ///
    /// # Errors
    /// `Unsupported` where no group counts it; otherwise what the kernel says.
    pub fn cpu_used(&self) -> io::Result<Duration> {
        Ok(self.cpu_in_all()?.saturating_sub(self.before.cpu))
    }

    fn cpu_in_all(&self) -> io::Result<Duration> {
        let group = self.groups.iter().find(|group| group.holds.cpu).ok_or(io::ErrorKind::Unsupported)?;
        group.cpu()
    }

    /// Whether the kernel has ended a member because there was no memory left for it.
    pub fn ran_out_of_memory(&self) -> bool {
        self.hits().memory > 0
    }

    /// How often the kernel held the agent at a limit so far. What no group holds is not counted.
    pub fn hits(&self) -> Hits {
        let all = self.hits_in_all();
        let before = self.before.hits;
        Hits { memory: all.memory.saturating_sub(before.memory), processes: all.processes.saturating_sub(before.processes) }
    }

    fn hits_in_all(&self) -> Hits {
        let mut hits = Hits::default();
        for group in &self.groups {
            if group.holds.memory {
                hits.memory += group.killed_for_memory();
            }
            if group.holds.processes {
                hits.processes += group.not_started();
            }
        }
        hits
    }

    /// Has another number of processes and threads that are not the agent's.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn beside(&self, limits: &Limits, beside: u32) -> io::Result<()> {
        let limits = Limits { processes: limits.processes.saturating_add(beside), ..limits.clone() };
        self.groups.iter().try_for_each(|group| group.limit_processes(&limits))
    }

    /// The processes that are in the groups now.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn members(&self) -> io::Result<BTreeSet<u32>> {
        let lists = self.groups.iter().map(|group| members(&group.path)).collect::<io::Result<Vec<_>>>()?;
        Ok(lists.into_iter().flatten().collect())
    }

    /// Kills all members, again and again until there are none.
    ///
    /// # Errors
    /// `TimedOut` where some live on; otherwise what the kernel says.
    pub fn kill(&self, most: Duration) -> io::Result<()> {
        self.groups.iter().try_for_each(|group| kill_members(&group.path, most))
    }

    /// Removes the groups; those of an agent that has ended are empty.
    ///
    /// # Errors
    /// `ResourceBusy` where a process is still in one.
    pub fn remove(mut self) -> io::Result<()> {
        std::mem::take(&mut self.groups).iter().try_for_each(|group| remove(&group.path))
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        for group in &self.groups {
            // What cannot be removed is listed by `leftovers`.
            let _ = remove(&group.path);
        }
    }
}

impl Group {
    /// Sets the limits that this group holds. True where memory can be swapped out beyond them.
    fn limit(&self, limits: &Limits) -> io::Result<bool> {
        let write = |file: &str, value: u64| fs::write(self.path.join(file), value.to_string());
        self.limit_processes(limits)?;
        if !self.holds.memory {
            return Ok(false);
        }
        let bytes = limits.memory.bytes();
        let swap = match self.version {
            Version::One => {
                write("memory.limit_in_bytes", bytes)?;
                // Memory and swap together. In this order: it may never be less than the other.
                write("memory.memsw.limit_in_bytes", bytes)
            }
            Version::Two => {
                write("memory.max", bytes)?;
                // An agent that lost one of its processes would go on in a state that nobody has thought of. Linux 4.19.
                let _ = write("memory.oom.group", 1);
                write("memory.swap.max", 0)
            }
        };
        // Not every kernel counts swap; where there is none, nothing is lost.
        Ok(swap.is_err() && machine_swaps())
    }

    fn limit_processes(&self, limits: &Limits) -> io::Result<()> {
        if self.holds.processes { fs::write(self.path.join("pids.max"), limits.processes.to_string()) } else { Ok(()) }
    }

    /// The file through which a process of one thread joins. In version 1 it is a thread that joins, by `tasks`: moving itself, it needs
    /// not wait for the whole machine's processes to stand still, as moving a whole process does.
    const fn door(&self) -> &'static str {
        match self.version {
            Version::One => "tasks",
            Version::Two => PROCS,
        }
    }

    /// From version 1's `cpuacct.usage`, in nanoseconds, or the line `usage_usec N` of cgroup-v2's `cpu.stat`.
    fn cpu(&self) -> io::Result<Duration> {
        let read = |file: &str| fs::read_to_string(self.path.join(file));
        let used = match self.version {
            Version::One => read("cpuacct.usage")?.trim().parse().ok().map(Duration::from_nanos),
            Version::Two => value_of(&read("cpu.stat")?, "usage_usec").map(Duration::from_micros),
        };
        used.ok_or_else(|| io::ErrorKind::InvalidData.into())
    }

    /// From cgroup-v2's `memory.events`, or version 1's `memory.oom_control`; both count in a line `oom_kill N`.
    fn killed_for_memory(&self) -> u64 {
        let file = match self.version {
            Version::One => "memory.oom_control",
            Version::Two => "memory.events",
        };
        fs::read_to_string(self.path.join(file)).ok().and_then(|text| value_of(&text, "oom_kill")).unwrap_or(0)
    }

    /// From `pids.events`, the same in both versions: a line `max N`.
    fn not_started(&self) -> u64 {
        fs::read_to_string(self.path.join("pids.events")).ok().and_then(|text| value_of(&text, "max")).unwrap_or(0)
    }
}

/// The number after a name, in a file of a name and a number a line.
fn value_of(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.trim().parse().ok())
}

/// Whether the machine swaps at all: a line of titles, then one a device.
fn machine_swaps() -> bool {
    fs::read_to_string(Path::new("/proc/swaps")).map_or(true, |text| text.lines().count() > 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(path: &Path, version: Version) -> Group {
        Group { path: path.to_owned(), version, holds: Holds { memory: true, processes: true, cpu: true } }
    }

    #[test]
    fn counters_are_read_in_both_versions() {
        let dir = tempfile::tempdir().expect("tempdir");
        let write = |file: &str, text: &str| fs::write(dir.path().join(file), text).expect("written");
        write("cpuacct.usage", "1500000000\n");
        write("cpu.stat", "usage_usec 2500000\nuser_usec 1\nsystem_usec 2\n");
        write("memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 3\n");
        write("pids.events", "max 42\n");
        assert_eq!(group(dir.path(), Version::Two).not_started(), 42);
        write("memory.events", "low 0\nhigh 0\nmax 9\noom 1\noom_kill 1\noom_group_kill 1\n");
        let (one, two) = (group(dir.path(), Version::One), group(dir.path(), Version::Two));
        assert_eq!((one.cpu().expect("read"), one.killed_for_memory()), (Duration::from_millis(1500), 3));
        assert_eq!((two.cpu().expect("read"), two.killed_for_memory()), (Duration::from_millis(2500), 1));
        write("cpu.stat", "nr_periods 0\n");
        assert!(two.cpu().is_err(), "a count that is not there is no zero");
    }

    #[test]
    fn limits_are_written_to_the_files_of_the_version() {
        let dir = tempfile::tempdir().expect("tempdir");
        let limits = Limits::default();
        let read = |file: &str| fs::read_to_string(dir.path().join(file)).ok();
        assert!(!group(dir.path(), Version::Two).limit(&limits).expect("set"));
        assert_eq!(read("memory.max"), Some(limits.memory.bytes().to_string()));
        assert_eq!((read("memory.swap.max"), read("memory.oom.group")), (Some("0".to_owned()), Some("1".to_owned())));
        assert_eq!(read("pids.max"), Some(limits.processes.to_string()));
        assert_eq!(read("memory.limit_in_bytes"), None);
        assert!(!group(dir.path(), Version::One).limit(&limits).expect("set"));
        assert_eq!((read("memory.limit_in_bytes"), read("memory.memsw.limit_in_bytes")), (read("memory.max"), read("memory.max")));
    }

    #[test]
    fn what_happened_before_is_not_the_new_agents() {
        let dir = tempfile::tempdir().expect("tempdir");
        let write = |file: &str, text: &str| fs::write(dir.path().join(file), text).expect("written");
        write("cpuacct.usage", "9000000000\n");
        write("memory.oom_control", "oom_kill 2\n");
        let before = Before { cpu: Duration::from_secs(8), hits: Hits { memory: 2, processes: 0 } };
        let cgroup = Cgroup { groups: vec![group(dir.path(), Version::One)], swaps: false, fresh: false, before };
        assert_eq!(cgroup.cpu_used().expect("read"), Duration::from_secs(1));
        assert!(!cgroup.ran_out_of_memory());
        write("memory.oom_control", "oom_kill 3\n");
        assert!(cgroup.ran_out_of_memory());
        // Not a group that the kernel would remove.
        std::mem::forget(cgroup);
    }
}
