//! A live, jailed child of this process.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    process::{Child, ExitStatus},
    sync::Arc,
    time::{Duration, Instant},
};

use rustix::{
    io::Errno,
    process::{Pid, PidfdFlags, Signal, WaitOptions, pidfd_open, wait, waitpid},
};

use super::nursery::Nursery;
use crate::{
    cell::{AgentName, ProcessRef},
    jail::{
        cgroup::Cgroup,
        liveness::{self, PidFd},
    },
};

/// How long dropping a child waits for its end. A killed process ends at once, unless the kernel itself is stuck in a call of it.
const DROP_WAIT: Duration = Duration::from_secs(5);
/// How long a reaper whose agent was killed has to end by itself.
const REAPER_WAIT: Duration = Duration::from_secs(1);
/// How long to wait between two looks at processes that were killed and have not ended yet.
const RETRY: Duration = Duration::from_millis(2);
/// How often nothing must be seen below a process before it counts as nothing: one look is no snapshot, and `/proc` may skip a
/// child while others are cleared away (proc_pid_children(5)).
const EMPTY_LOOKS: u32 = 3;

/// What ends with the child, when the child is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Containment {
    /// Everything it ever started: the kernel sees to it.
    PidNamespace,
    /// Everything it ever started is a descendant of it while it lives: they are found and killed one by one, before it is.
    Subreaper,
    /// It can start nothing.
    Alone,
}

/// A live, jailed child: a wasm host, or the reaper of a process agent. Dropping it kills it and waits.
#[derive(Debug)]
pub struct Spawned {
    child: Child,
    pidfd: PidFd,
    containment: Containment,
    /// The child itself: what to note down, to find it again from another process.
    pub process: ProcessRef,
    /// The agents that it runs.
    pub agents: Vec<AgentName>,
    /// The message socket.
    pub socket: OwnedFd,
    /// The agent's stdout, where it is captured.
    pub stdout: Option<OwnedFd>,
    /// The agent's stderr, where it is captured.
    pub stderr: Option<OwnedFd>,
    /// Where connections of a process agent to its cell arrive: packets of one descriptor each.
    pub hatch: Option<OwnedFd>,
    // After the child: fields are dropped in order, and it must be waited for before its nursery is closed.
    _nursery: Nursery,
    /// The control groups of a process agent, where it has any: removed last, while the nursery's thread ends.
    pub cgroup: Option<Arc<Cgroup>>,
}

impl Spawned {
    /// Takes charge of a child that was just started in `nursery`.
    ///
    /// # Errors
    /// What the kernel says; the child is then killed.
    pub fn adopt(
        mut child: Child,
        nursery: Nursery,
        containment: Containment,
        agents: Vec<AgentName>,
        socket: OwnedFd,
    ) -> io::Result<Self> {
        let opened = open(&child).and_then(|pidfd| Ok((pidfd, liveness::identify(child.id())?)));
        let (pidfd, process) = match opened {
            Ok(opened) => opened,
            Err(error) => {
                // Not waited for yet, so that its number is still its own.
                let _ = child.kill().and_then(|()| child.wait());
                return Err(error);
            }
        };
        let stdout = child.stdout.take().map(OwnedFd::from);
        let stderr = child.stderr.take().map(OwnedFd::from);
        Ok(Self { child, pidfd, containment, process, agents, socket, stdout, stderr, hatch: None, _nursery: nursery, cgroup: None })
    }

    /// The handle to poll: it becomes readable when the child has ended.
    pub fn pidfd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }

    /// What ends with the child.
    pub const fn containment(&self) -> Containment {
        self.containment
    }

    /// Kills the child, and whatever it started. Returns once the signals are sent; see [`Self::reap`].
    ///
    /// # Errors
    /// What the kernel says; `TimedOut` where descendants of it do not end.
    pub fn kill(&self, most: Duration) -> io::Result<()> {
        match self.containment {
            Containment::PidNamespace | Containment::Alone => {}
            Containment::Subreaper => {
                kill_below(self.process.pid, most)?;
                // With its agent dead, the reaper waits for what was killed, and ends: nothing is left for the machine to clear away.
                self.pidfd.wait_end(most.min(REAPER_WAIT))?;
            }
        }
        self.pidfd.signal(Signal::KILL).map(drop)
    }

    /// The child's exit status, if it has ended.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn try_reap(&mut self) -> io::Result<Option<ExitStatus>> {
        self.child.try_wait()
    }

    /// Waits for the child's end; `None` where it has not ended in time.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn reap(&mut self, most: Duration) -> io::Result<Option<ExitStatus>> {
        if self.pidfd.wait_end(most)? { self.child.try_wait() } else { Ok(None) }
    }
}

fn open(child: &Child) -> io::Result<PidFd> {
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw).ok_or(io::ErrorKind::InvalidInput)?;
    Ok(PidFd::of_child(pidfd_open(pid, PidfdFlags::NONBLOCK)?))
}

/// Kills all descendants of a process, again and again until it has none; the process itself is left alone.
///
/// # Errors
/// `TimedOut` where some live on; otherwise what the kernel says.
pub fn kill_below(pid: u32, most: Duration) -> io::Result<()> {
    let mut empty_looks = 0;
    kill_until(pid, most, |alive| {
        empty_looks = if alive == 0 { empty_looks + 1 } else { 0 };
        empty_looks >= EMPTY_LOOKS
    })
}

/// Kills all descendants of this process, which adopts what they leave behind, until the kernel says that it has no child at all:
/// a look into `/proc` can miss one that changes its parent meanwhile, the answer of `waitid(2)` cannot.
///
/// # Errors
/// As [`kill_below`].
pub fn kill_own(most: Duration) -> io::Result<()> {
    kill_until(std::process::id(), most, |_| childless())
}

/// Whether this process has no children, dead or alive, once those that have ended are cleared away.
fn childless() -> bool {
    loop {
        match wait(WaitOptions::NOHANG) {
            Ok(Some(_)) | Err(Errno::INTR) => {}
            Ok(None) => return false,
            Err(_) => return true,
        }
    }
}

/// Kills whatever descends from a process until `done`, which hears after each look how many still lived.
fn kill_until(pid: u32, most: Duration, mut done: impl FnMut(usize) -> bool) -> io::Result<()> {
    let deadline = Instant::now() + most;
    loop {
        // One that ended meanwhile is no trouble; one that cannot be looked at is tried again, until the deadline.
        let alive = liveness::descendants(pid)?.into_iter().filter(|found| matches!(kill_one(*found), Ok(true) | Err(_))).count();
        if done(alive) {
            return Ok(());
        }
        if Instant::now() > deadline {
            return Err(io::ErrorKind::TimedOut.into());
        }
        std::thread::sleep(RETRY);
    }
}

/// Kills a process that was just listed; `false` where it had ended.
fn kill_one(pid: u32) -> io::Result<bool> {
    match liveness::identify(pid) {
        Ok(noted) => liveness::open(&noted)?.map_or(Ok(false), |handle| handle.signal(Signal::KILL)),
        Err(error) if error.raw_os_error() == Some(libc::ESRCH) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Kills what a reaper that ended before its time left to this process, which adopts it: every jailed child that is not known.
///
/// # Errors
/// `TimedOut` where some live on; otherwise what the kernel says.
pub fn kill_orphans(known: &[u32], most: Duration) -> io::Result<()> {
    let deadline = Instant::now() + most;
    loop {
        let mut alive = 0;
        for orphan in liveness::children(std::process::id())?.into_iter().filter(|pid| !known.contains(pid)) {
            let Ok(noted) = liveness::identify(orphan) else { continue };
            if !liveness::is_jailed(orphan) {
                continue;
            }
            alive += 1;
            // It is first emptied, so that less is handed on by its end.
            kill_below(orphan, deadline.saturating_duration_since(Instant::now()))?;
            liveness::kill_and_wait(&noted, deadline.saturating_duration_since(Instant::now()))?;
            let _ = waitpid(i32::try_from(orphan).ok().and_then(Pid::from_raw), WaitOptions::NOHANG);
        }
        if alive == 0 {
            return Ok(());
        }
        if Instant::now() > deadline {
            return Err(io::ErrorKind::TimedOut.into());
        }
    }
}

impl Drop for Spawned {
    fn drop(&mut self) {
        // The outcome cannot be told from here; whoever must know calls `kill` and `reap` first, and then there is nothing left to do.
        if matches!(self.child.try_wait(), Ok(Some(_))) {
            return;
        }
        let _ = self.kill(DROP_WAIT);
        let _ = self.reap(DROP_WAIT);
    }
}
