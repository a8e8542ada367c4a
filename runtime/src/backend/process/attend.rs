//! The reaper while its agent lives: it waits for whatever ends, hears the warden, and does both in one thread, so that an agent that has used up
//! its processes takes nothing from it.

use std::{
    io,
    os::fd::{AsFd, OwnedFd},
};

use rustix::{
    event::{PollFd, PollFlags, poll},
    io::Errno,
    process::{Pid, Signal, WaitOptions, WaitStatus, wait},
};
use signal_hook::consts::SIGCHLD;

use super::{held::Leader, start::Started};
use crate::{
    backend::{
        packets::{Received, Waiting, receive_message},
        protocol::{End, ToChild},
    },
    jail::liveness::PidFd,
};

/// Becomes readable when a child has ended. Made before there is one.
pub(super) struct Deaths(OwnedFd);

impl Deaths {
    /// Has the kernel say from now on when a child ends.
    pub(super) fn watch() -> io::Result<Self> {
        let (reader, writer) = io::pipe()?;
        signal_hook::low_level::pipe::register(SIGCHLD, writer)?;
        rustix::io::ioctl_fionbio(&reader, true)?;
        Ok(Self(reader.into()))
    }

    /// Forgets what was said: whoever calls this looks at all children next.
    fn clear(&self) {
        let mut said = [0; 64];
        while matches!(rustix::io::read(&self.0, &mut said), Ok(1..) | Err(Errno::INTR)) {}
    }
}

/// What ended the wait for an agent.
pub(super) enum Attended {
    /// Its main process has ended.
    Ended(End),
    /// The warden is gone, or makes no sense: nobody is there to be told anything.
    Alone,
}

/// Waits for whatever ends, until it is the agent's main process; passes on what the warden says; has connections led once there is one.
pub(super) fn attend(socket: &OwnedFd, main: &mut Started, deaths: &Deaths, mut leader: Option<Leader>) -> Attended {
    loop {
        let connects = leader.as_ref().and_then(Leader::waits);
        let watched = [Some(deaths.0.as_fd()), Some(socket.as_fd()), connects];
        let mut polled: Vec<PollFd<'_>> =
            watched.into_iter().flatten().map(|watched| PollFd::from_borrowed_fd(watched, PollFlags::IN)).collect();
        match poll(&mut polled, None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Attended::Ended(lost(errno)),
        }
        let is_ready = |number: usize| polled.get(number).is_some_and(|polled| !polled.revents().is_empty());
        let (said, connects) = (is_ready(1), is_ready(2));
        // First, and whatever else there is: a signal may stand for several that ended.
        deaths.clear();
        if let Some(end) = reap(main.pid) {
            return Attended::Ended(end);
        }
        if said && !hear(socket, &main.handle) {
            return Attended::Alone;
        }
        if let Some(leader) = leader.as_mut().filter(|_| connects) {
            main.room.give_up();
            leader.begin();
        }
    }
}

/// Waits for all that have ended; says how the main process did, if it is among them.
fn reap(main: Pid) -> Option<End> {
    loop {
        match wait(WaitOptions::NOHANG) {
            Ok(Some((pid, status))) if pid == main => return Some(end_of(status)),
            Ok(Some(_)) | Err(Errno::INTR) => {}
            Ok(None) => return None,
            // No children at all: the main process cannot have ended unseen.
            Err(errno) => return Some(lost(errno)),
        }
    }
}

fn lost(errno: Errno) -> End {
    End::Limit { limit: "process".to_owned(), message: format!("lost sight of the agent: {errno}") }
}

fn end_of(status: WaitStatus) -> End {
    let limit = |limit: &str, message: &str| End::Limit { limit: limit.to_owned(), message: message.to_owned() };
    match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => End::Exited { code },
        (None, Some(libc::SIGXCPU)) => limit("cpu", "a process used up its CPU time"),
        (None, Some(libc::SIGXFSZ)) => limit("home", "a process wrote past the largest file that it may have"),
        (None, Some(signal)) => End::Signalled { signal },
        (None, None) => End::Signalled { signal: 0 },
    }
}

/// Hears the warden: passes on "close". `false` where it is gone, or makes no sense.
fn hear(socket: &OwnedFd, main: &PidFd) -> bool {
    match receive_message(socket, Waiting::Never) {
        Ok(Received::Message(ToChild::Close { agent: _, grace_ms: _ })) => {
            // A stopped process hears nothing until it is continued. One that is gone is no trouble.
            let _ = main.signal(Signal::TERM).and_then(|_| main.signal(Signal::CONT));
            true
        }
        // A process agent is told these over a socket of its own.
        Ok(Received::Nothing | Received::Message(ToChild::Event { .. } | ToChild::Answer { .. })) => true,
        Ok(Received::Closed) | Err(_) => false,
    }
}
