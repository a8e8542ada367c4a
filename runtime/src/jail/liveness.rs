//! Whether a process that was noted down still lives; and ending it, and nothing else.

use std::{
    fs, io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
    process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal},
};

use crate::cell::ProcessRef;

/// Field 22 of `/proc/<pid>/stat` (the start time), counted from the third, which follows the name.
const START_TIME_FIELD: usize = 22 - 3;
/// Most processes that are looked at below one: far more than any cell may have.
const DESCENDANTS_MOST: usize = 65_536;

/// Whether a noted process lives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Liveness {
    /// It does.
    Alive,
    /// It does not: it was seen to be gone, a zombie, or another process with its number.
    Dead,
    /// It cannot be known; nothing must be concluded, and nothing killed.
    Unknown {
        /// Why not.
        because: String,
    },
}

/// What `/proc/<pid>/stat` says about a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stat {
    /// The letter of its state: proc_pid_stat(5).
    pub state: u8,
    /// When it was started, in clock ticks since the machine was.
    pub start_ticks: u64,
}

/// A handle on one process, which stays its handle when the number is reused.
#[derive(Debug)]
pub struct PidFd(OwnedFd);

fn boot_id() -> io::Result<String> {
    Ok(fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned())
}

/// Reads the state and the start time of a process; `None` where there is no such process.
fn stat(pid: u32) -> io::Result<Option<Stat>> {
    let text = match fs::read(format!("/proc/{pid}/stat")) {
        Ok(text) => text,
        // ESRCH: it ended between the open and the read.
        Err(error) if error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(libc::ESRCH) => {
            // Without a /proc there would be nothing for anyone: that is no sign of death.
            fs::metadata("/proc/self/stat")?;
            return Ok(None);
        }
        Err(error) => return Err(error),
    };
    parse_stat(&text).map(Some).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "a process status that cannot be read"))
}

/// Reads `/proc/<pid>/stat` (proc_pid_stat(5)); `None` where it is none.
pub fn parse_stat(text: &[u8]) -> Option<Stat> {
    // The name is the process's own choice, and may hold anything, also ")": what follows the last one is the kernel's word.
    let end = text.iter().rposition(|byte| *byte == b')')?;
    let rest = std::str::from_utf8(text.get(end + 1..)?).ok()?;
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    let state = *fields.first()?.as_bytes().first()?;
    Some(Stat { state, start_ticks: fields.get(START_TIME_FIELD)?.parse().ok()? })
}

/// Notes down a process that runs now. The caller must know that it does: its own child, not yet waited for, or itself.
///
/// # Errors
/// When there is no such process, or `/proc` cannot be read.
pub fn identify(pid: u32) -> io::Result<ProcessRef> {
    let stat = stat(pid)?.ok_or_else(|| io::Error::from(Errno::SRCH))?;
    Ok(ProcessRef { pid, start_ticks: stat.start_ticks, boot_id: boot_id()? })
}

/// Whether the noted process lives. A zombie does not.
pub fn probe(noted: &ProcessRef) -> Liveness {
    let unknown = |what: &str, error: io::Error| Liveness::Unknown { because: format!("{what}: {error}") };
    match boot_id() {
        Ok(boot) if boot == noted.boot_id => {}
        Ok(_) => return Liveness::Dead,
        Err(error) => return unknown("read the boot id", error),
    }
    match stat(noted.pid) {
        Ok(Some(stat)) if stat.start_ticks == noted.start_ticks && !matches!(stat.state, b'Z' | b'X' | b'x') => Liveness::Alive,
        Ok(_) => Liveness::Dead,
        Err(error) => unknown("read its status", error),
    }
}

/// Whether the noted process is stopped (by SIGSTOP or a debugger), and so answers nobody.
pub fn is_stopped(noted: &ProcessRef) -> bool {
    probe(noted) == Liveness::Alive && matches!(stat(noted.pid), Ok(Some(Stat { state: b'T' | b't', .. })))
}

/// Opens a handle on the noted process; `None` where it is dead.
///
/// # Errors
/// When it cannot be known whether it lives.
pub fn open(noted: &ProcessRef) -> io::Result<Option<PidFd>> {
    let Some(pid) = i32::try_from(noted.pid).ok().and_then(Pid::from_raw) else { return Ok(None) };
    // First the handle, then the look: what is seen to be the noted process is what the handle holds.
    let handle = match pidfd_open(pid, PidfdFlags::NONBLOCK) {
        Ok(handle) => PidFd(handle),
        // EINVAL is also what the kernel says of a process that is just being cleared away (pidfd_open(2) means a thread by it,
        // which no noted process is).
        Err(Errno::SRCH | Errno::INVAL) => return Ok(None),
        Err(errno) => return Err(errno.into()),
    };
    match probe(noted) {
        Liveness::Alive => Ok(Some(handle)),
        Liveness::Dead => Ok(None),
        Liveness::Unknown { because } => Err(io::Error::other(because)),
    }
}

impl PidFd {
    /// A handle that was opened for a child of this process.
    pub const fn of_child(handle: OwnedFd) -> Self {
        Self(handle)
    }

    /// Sends a signal; `false` where the process is already gone.
    ///
    /// # Errors
    /// What the kernel says, such as a process of another user.
    pub fn signal(&self, signal: Signal) -> io::Result<bool> {
        match pidfd_send_signal(&self.0, signal) {
            Ok(()) => Ok(true),
            Err(Errno::SRCH) => Ok(false),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Waits until the process has ended (a zombie has); `false` where it has not in time.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn wait_end(&self, most: Duration) -> io::Result<bool> {
        let deadline = Instant::now() + most;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let mut polled = [PollFd::from_borrowed_fd(self.0.as_fd(), PollFlags::IN)];
            let timeout = Timespec::try_from(left).map_err(|_| io::Error::from(Errno::INVAL))?;
            match poll(&mut polled, Some(&timeout)) {
                Ok(0) => return Ok(false),
                Ok(_) => return Ok(true),
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
    }
}

impl AsFd for PidFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Kills the noted process and waits until it has ended. A process that had already ended is a success.
///
/// # Errors
/// `TimedOut` where it lives on (in an uninterruptible sleep, say); otherwise what the kernel says, or that it cannot be known.
pub fn kill_and_wait(noted: &ProcessRef, most: Duration) -> io::Result<()> {
    let Some(handle) = open(noted)? else { return Ok(()) };
    handle.signal(Signal::KILL)?;
    if handle.wait_end(most)? { Ok(()) } else { Err(io::ErrorKind::TimedOut.into()) }
}

/// The children of a process, those of all its threads; empty where there is no such process.
///
/// # Errors
/// When `/proc` cannot be read, or the kernel does not list children.
pub fn children(pid: u32) -> io::Result<Vec<u32>> {
    let gone = |error: &io::Error| error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(libc::ESRCH);
    let mut children = Vec::new();
    let tasks = match fs::read_dir(format!("/proc/{pid}/task")) {
        Ok(tasks) => tasks,
        Err(error) if gone(&error) => {
            fs::metadata("/proc/self/stat")?;
            return Ok(children);
        }
        Err(error) => return Err(error),
    };
    for task in tasks {
        match task.and_then(|task| fs::read_to_string(task.path().join("children"))) {
            Ok(text) => children.extend(text.split_ascii_whitespace().filter_map(|pid| pid.parse::<u32>().ok())),
            Err(error) if gone(&error) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(children)
}

/// How far a process is confined: `no_new_privs`, and how many seccomp filters it has. Neither is ever taken back, by the process
/// itself or for those that it starts.
type Confined = (u32, u32);

fn confined(pid: u32) -> Option<Confined> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let number = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
    Some((number("NoNewPrivs:")?, number("Seccomp_filters:").unwrap_or(0)))
}

/// Whether a process is more confined than this one: an agent, or what an agent started.
pub fn is_jailed(pid: u32) -> bool {
    matches!((confined(pid), confined(std::process::id())), (Some(found), Some(own)) if found > own)
}

/// The living processes in a jail whose initial environment holds `name=value`: a last look for what a teardown may have missed.
///
/// What cannot be read belongs to somebody else, or guards itself; neither is an agent of ours. Nor is what is no more confined
/// than this process: an operator's shell that exported the variable, and whatever was started from it, such as this very command.
pub fn with_variable(name: &str, value: &str) -> Vec<ProcessRef> {
    let wanted = format!("{name}={value}");
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
    let carries = |pid: &u32| {
        let environ = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        environ.split(|byte| *byte == 0).any(|variable| variable == wanted.as_bytes())
    };
    pids.filter(carries)
        .filter(|pid| is_jailed(*pid))
        .filter_map(|pid| identify(pid).ok())
        .filter(|found| matches!(probe(found), Liveness::Alive))
        .collect()
}

/// As whom a process acts. The owner of its files in `/proc` says so only of one that may be dumped (proc(5)).
fn effective_user(pid: u32) -> Option<u32> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix("Uid:")?.split_ascii_whitespace().nth(1)?.parse().ok())
}

/// The living processes of this user whose arguments, after their own name, are exactly these.
pub fn with_arguments(wanted: &[&str]) -> Vec<ProcessRef> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let own = rustix::process::geteuid().as_raw();
    let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
    let is_wanted = |pid: &u32| {
        let arguments = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let words: Vec<&[u8]> = arguments.split(|byte| *byte == 0).skip(1).collect();
        // The last one ends with a NUL, too.
        words.len() == wanted.len() + 1
            && words.iter().zip(wanted).all(|(word, wanted)| *word == wanted.as_bytes())
            && effective_user(*pid) == Some(own)
    };
    pids.filter(is_wanted).filter_map(|pid| identify(pid).ok()).filter(|found| matches!(probe(found), Liveness::Alive)).collect()
}

/// All processes that descend from one, at this moment. While they run, they may make more: look again until there are none.
///
/// # Errors
/// As [`children`].
pub fn descendants(pid: u32) -> io::Result<Vec<u32>> {
    let mut found = children(pid)?;
    let mut next = 0;
    while next < found.len() && found.len() < DESCENDANTS_MOST {
        let below = children(found[next])?;
        // A number may be reused between two looks: never list one twice.
        found.extend(below.into_iter().filter(|pid| !found.contains(pid)).collect::<Vec<_>>());
        next += 1;
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    fn sleeper() -> std::process::Child {
        Command::new("sleep").arg("1000").stdin(Stdio::null()).spawn().expect("spawn")
    }

    #[test]
    fn a_child_is_alive_then_a_zombie_then_gone() {
        let mut child = sleeper();
        let noted = identify(child.id()).expect("identify");
        assert_eq!(probe(&noted), Liveness::Alive);
        kill_and_wait(&noted, Duration::from_secs(10)).expect("kill");
        assert_eq!(probe(&noted), Liveness::Dead, "a zombie");
        child.wait().expect("wait");
        assert_eq!(probe(&noted), Liveness::Dead);
        kill_and_wait(&noted, Duration::ZERO).expect("killing the dead");
    }

    #[test]
    fn a_reused_number_is_not_the_noted_process() {
        let mut child = sleeper();
        let noted = identify(child.id()).expect("identify");
        let earlier = ProcessRef { start_ticks: noted.start_ticks + 1, ..noted.clone() };
        let other_boot = ProcessRef { boot_id: "another".to_owned(), ..noted.clone() };
        for reference in [earlier, other_boot] {
            assert_eq!(probe(&reference), Liveness::Dead);
            kill_and_wait(&reference, Duration::from_secs(1)).expect("nothing to kill");
        }
        assert_eq!(probe(&noted), Liveness::Alive, "the one with the number was not touched");
        child.kill().expect("kill");
        child.wait().expect("wait");
    }

    #[test]
    fn a_name_cannot_forge_a_status() {
        let stat = parse_stat(b"7 (x) Z 1 (y) ) S 1 7 7 0 -1 4194560 0 0 0 0 0 0 0 0 20 0 1 0 4711 0 0").expect("parsed");
        assert_eq!((stat.state, stat.start_ticks), (b'S', 4711));
        assert!(parse_stat(b"7 (x").is_none() && parse_stat(b"7 (x) S 1").is_none());
    }

    #[test]
    fn descendants_are_found_across_sessions() {
        let mut child = Command::new("sh").args(["-c", "setsid sleep 1000 & wait"]).spawn().expect("spawn");
        let deadline = Instant::now() + Duration::from_secs(10);
        let found = loop {
            let found = descendants(child.id()).expect("descendants");
            if !found.is_empty() || Instant::now() > deadline {
                break found;
            }
        };
        assert_eq!(found.len(), 1);
        let noted = identify(found[0]).expect("identify");
        child.kill().expect("kill");
        child.wait().expect("wait");
        kill_and_wait(&noted, Duration::from_secs(10)).expect("kill");
        assert_eq!(descendants(u32::MAX).expect("no such process"), Vec::<u32>::new());
    }
}
