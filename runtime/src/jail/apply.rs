//! Applying a jail: every step in the one order that works.

use std::os::fd::AsFd;

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::{Signal, set_parent_process_death_signal, setsid},
};

use super::{Jail, JailError, Profile, capabilities, landlock, rlimits, seccomp};
use crate::{
    policy::{Enforcer, Report, Wall},
    unchecked,
};

impl Jail {
    /// Confines the calling thread, and all that it starts from now on.
    ///
    /// # Errors
    /// When a step is refused by the kernel. The process is then confined in part, and must end.
    pub fn apply(self) -> Result<Report, JailError> {
        let mut report = Report::new();
        let threads = unchecked::thread_count().map_err(JailError::step("count the threads of the process"))?;
        if threads != 1 {
            return Err(JailError::NotAlone(threads));
        }
        self.tie_to_parent(&mut report)?;
        self.leave_session()?;
        capabilities::forbid_new(&mut report)?;
        let mut files = self.files;
        let mut left = None;
        if let Some(root) = self.root {
            let (made, door) = root.enter(&mut report)?;
            files.extend(made);
            left = Some(door);
        }
        let own_namespaces = left.is_some();
        capabilities::drop_all(&mut report)?;
        rlimits::apply(&self.limits, self.profile, &mut report)?;
        if self.nothing_inherited.is_none() {
            unchecked::close_inherited().map_err(JailError::step("close inherited descriptors"))?;
        }
        report.full(Enforcer::Kernel, Wall::Descriptors, "holds no descriptor that it was not given");
        let asked = landlock::Asked { files, accept_degraded: self.accept_degraded, own_processes: own_namespaces, profile: self.profile };
        landlock::apply(asked, &mut report)?;
        seccomp::apply(self.profile, own_namespaces, self.speaks, &mut report)?;
        if let Some(door) = left {
            door.closed()?;
        }
        Ok(report)
    }

    /// Ends with the parent thread; refuses where the parent has already gone, since then no signal would ever come.
    fn tie_to_parent(&self, report: &mut Report) -> Result<(), JailError> {
        if !self.ends_itself {
            set_parent_process_death_signal(Some(Signal::KILL)).map_err(JailError::step("ask to end with the parent"))?;
        }
        let Some(lifeline) = &self.lifeline else { return Ok(()) };
        let mut polled = [PollFd::from_borrowed_fd(lifeline.as_fd(), PollFlags::empty())];
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        poll(&mut polled, Some(&now)).map_err(JailError::step("look at the message socket"))?;
        if polled[0].revents().intersects(PollFlags::HUP | PollFlags::ERR) {
            return Err(JailError::Orphan);
        }
        report.full(Enforcer::Kernel, Wall::Teardown, "ends when its warden ends");
        Ok(())
    }

    /// Leaves the session, and with it the controlling terminal, of whoever started the cell.
    fn leave_session(&self) -> Result<(), JailError> {
        match setsid() {
            Ok(_) => Ok(()),
            // Already the leader of a process group: `lazarus` was started by hand, in a shell with job control.
            Err(rustix::io::Errno::PERM) if self.profile != Profile::Process => Ok(()),
            Err(errno) => Err(JailError::Step { step: "leave the session", source: errno.into() }),
        }
    }
}
