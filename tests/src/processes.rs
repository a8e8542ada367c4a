//! Processes of the machine, as a sceptic looks for them: in /proc.

use std::path::Path;

/// A process that was found.
#[derive(Debug, Clone)]
pub struct Process {
    /// Its pid.
    pub pid: u32,
    /// Its command line, spaces between the arguments.
    pub command: String,
}

impl Process {
    /// Ends it at once; one that is gone already is what is wanted.
    pub fn kill(&self) {
        if let Some(pid) = i32::try_from(self.pid).ok().and_then(rustix::process::Pid::from_raw) {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
    }
}

fn read(pid: u32, name: &str) -> Option<String> {
    let bytes = std::fs::read(format!("/proc/{pid}/{name}")).ok()?;
    Some(String::from_utf8_lossy(&bytes).replace('\0', " "))
}

/// Every pid of the machine.
pub fn pids() -> Vec<u32> {
    let entries = std::fs::read_dir("/proc").expect("/proc is there");
    entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect()
}

/// The parent of a process.
fn parent_of(pid: u32) -> Option<u32> {
    let stat = read(pid, "stat")?;
    stat.rsplit_once(") ")?.1.split(' ').nth(1)?.parse().ok()
}

/// Whether a pid is a living process: there, and no zombie.
pub fn is_alive(pid: u32) -> bool {
    let Ok(stat) = std::fs::read_to_string(format!("/proc/{pid}/stat")) else { return false };
    !matches!(stat.rsplit_once(") ").map(|(_, rest)| rest.chars().next()), Some(Some('Z' | 'X')))
}

/// Living processes whose environment, command line, working directory or open files mention `text`.
pub fn mentioning(text: &str) -> Vec<Process> {
    let own = std::process::id();
    let mentions = |pid: u32| {
        let link = |name: &str| std::fs::read_link(format!("/proc/{pid}/{name}")).is_ok_and(|path| path.to_string_lossy().contains(text));
        let files = || {
            let Ok(entries) = std::fs::read_dir(format!("/proc/{pid}/fd")) else { return false };
            entries.flatten().any(|entry| std::fs::read_link(entry.path()).is_ok_and(|path| path.to_string_lossy().contains(text)))
        };
        read(pid, "environ").is_some_and(|environ| environ.contains(text))
            || read(pid, "cmdline").is_some_and(|command| command.contains(text))
            || link("cwd")
            || files()
    };
    // One that another thread has just started is this very program until it executes its own, and has everything open that this has.
    let is_being_started = |pid: u32| {
        let same = |name: &str| read(pid, name).is_some_and(|of_it| Some(of_it) == read(own, name));
        parent_of(pid) == Some(own) && same("cmdline") && same("comm")
    };
    let found = pids().into_iter().filter(|&pid| pid != own && is_alive(pid) && !is_being_started(pid) && mentions(pid));
    found.map(|pid| Process { pid, command: read(pid, "cmdline").unwrap_or_default() }).collect()
}

/// Whether something of that name is on the PATH of the tests.
pub fn has_program(name: &str) -> bool {
    ["/usr/local/bin", "/usr/bin", "/bin", "/usr/sbin", "/sbin"].iter().any(|dir| Path::new(dir).join(name).exists())
}
