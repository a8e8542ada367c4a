//! System calls of an agent that the kernel holds until the reaper has decided about them (seccomp_unotify(2)): where connections lead, and,
//! where the agent has files of the machine, what may be changed about them.
//!
//! ```text
//!  hold ── connections alone ──→ waits ─ first call ─→ a thread leads   (most agents never make one: its room is kept)
//!     └─── changes, too ───────→ a thread leads, from before the first: it makes such calls itself, and must not be held with the agent
//! ```

use std::{
    fs::File,
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::{
        Arc,
        mpsc::{SyncSender, sync_channel},
    },
    thread,
    time::Duration,
};

use super::{connect, marks::Marks};
use crate::{
    jail::{CONNECT, MARKS, decides_only, hold},
    unchecked,
};

/// How often a thread is tried to be made, and how long to wait in between.
const BEGIN_TRIES: u32 = 10;
const BEGIN_AGAIN: Duration = Duration::from_millis(1);

/// What is decided.
pub(super) struct Duties {
    /// Where connections to the cell go; none where the agent does not speak with it.
    pub hatch: Option<OwnedFd>,
    /// What may be changed about files; none where the agent has none of the machine.
    pub marks: Option<Marks>,
}

/// What decides about the held calls of an agent.
pub(super) struct Leader {
    listener: Arc<OwnedFd>,
    /// Until a thread has them.
    duties: Option<Arc<Duties>>,
}

impl Leader {
    /// Has the calls of this thread, and of what it starts, held from now on. None where there is nothing to decide.
    ///
    /// # Errors
    /// This machine holds no calls for anybody, or does not show what a process means by one.
    pub(super) fn hold(duties: Duties) -> io::Result<Option<Self>> {
        let mut calls: Vec<_> = duties.hatch.iter().map(|_| CONNECT).collect();
        calls.extend(duties.marks.iter().flat_map(|_| MARKS.iter().map(|(_, number)| *number)));
        if calls.is_empty() {
            return Ok(None);
        }
        // What a call means is read from the memory of whoever makes it.
        File::open("/proc/self/stat")?;
        let at_once = duties.marks.is_some();
        let duties = Arc::new(duties);
        if !at_once {
            return Ok(Some(Self { listener: Arc::new(hold(&calls)?), duties: Some(duties) }));
        }
        let give = begin_before(duties)?;
        let listener = Arc::new(hold(&calls)?);
        // It was there a moment ago, and waits for nothing else.
        give.send(Arc::clone(&listener)).map_err(|_| ended_early())?;
        Ok(Some(Self { listener, duties: None }))
    }

    /// Becomes readable with the first held call; `None` once a thread decides about them.
    pub(super) fn waits(&self) -> Option<BorrowedFd<'_>> {
        self.duties.as_ref().map(|_| self.listener.as_fd())
    }

    /// Decides about calls from now on, in a thread of its own: whoever makes one could keep it waiting.
    ///
    /// There is room for it, which is not the agent's. Where processes are counted for the whole machine or user, there may be none all the same: the
    /// connection then fails, as one does that finds no room (`EAGAIN`), and the next one is as good as the first.
    pub(super) fn begin(&mut self) {
        let Some(duties) = self.duties.clone() else { return };
        let listener = Arc::clone(&self.listener);
        // A thread that has ended is still counted for a moment.
        let begun = (0..BEGIN_TRIES).any(|_| {
            let (listener, duties) = (Arc::clone(&listener), Arc::clone(&duties));
            let begun = thread::Builder::new().spawn(move || lead(&listener, &duties)).is_ok();
            if !begun {
                thread::sleep(BEGIN_AGAIN);
            }
            begun
        });
        if begun {
            self.duties = None;
        } else if let Ok(held) = unchecked::held_call(self.listener.as_fd()) {
            let _ = unchecked::end_held_call(self.listener.as_fd(), held.id, libc::EAGAIN);
        }
    }
}

fn ended_early() -> io::Error {
    io::Error::other("the thread that decides about calls ended early")
}

/// Starts a thread that decides about calls, before any is held: it waits until it is told whom to listen to.
fn begin_before(duties: Arc<Duties>) -> io::Result<SyncSender<Arc<OwnedFd>>> {
    let (give, given) = sync_channel::<Arc<OwnedFd>>(1);
    let (tell, told) = sync_channel(1);
    thread::Builder::new().spawn(move || {
        if tell.send(decides_only()).is_ok()
            && let Ok(listener) = given.recv()
        {
            lead(&listener, &duties);
        }
    })?;
    match told.recv() {
        Ok(Ok(())) => Ok(give),
        Ok(Err(error)) => Err(io::Error::other(error)),
        Err(_) => Err(ended_early()),
    }
}

/// Decides about every held call, for as long as there is somebody who could make one.
fn lead(listener: &OwnedFd, duties: &Duties) {
    loop {
        let held = match unchecked::held_call(listener.as_fd()) {
            Ok(held) => held,
            // Who asked has gone, or this thread was interrupted.
            Err(error) if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::EINTR)) => continue,
            Err(_) => return,
        };
        let decided = match (held.number, &duties.hatch, &duties.marks) {
            (CONNECT, Some(hatch), _) => connect::lead(listener.as_fd(), hatch, &held),
            (_, _, Some(marks)) => marks.make(&held),
            (_, _, None) => Err(rustix::io::Errno::ACCESS),
        };
        let errno = decided.err().map_or(0, rustix::io::Errno::raw_os_error);
        // One that went away meanwhile has no use for an answer.
        let _ = unchecked::end_held_call(listener.as_fd(), held.id, errno);
    }
}
