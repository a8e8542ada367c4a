//! Namespaces: who may make them, and how a thread of the warden gets a set of its own.
//!
//! ```text
//!  warden, main thread ── prepare_warden(): an ordinary user moves into a user namespace of its own, once
//!    └─ nursery thread ── enter(): new pid, mount, ipc and uts namespaces, for one agent
//!         ├─ reaper: process 1 of the pid namespace; when it ends, the kernel ends everything in it
//!         └─ network(): a new network namespace, which takes longest, while the reaper is loaded; it enters it by a descriptor
//! ```

use std::{
    fs::{self, File},
    io,
    os::fd::{AsFd, OwnedFd},
    path::Path,
};

use rustix::{
    mount::{MountPropagationFlags, mount_change},
    process::{getegid, geteuid},
    thread::{self, CapabilitySet, LinkNameSpaceType, UnshareFlags},
};

use crate::unchecked;

/// Whether agents can be given namespaces of their own. What an agent really got is in its report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NamespaceSupport {
    /// As far as can be known beforehand, yes.
    Full,
    /// No.
    None {
        /// Why not.
        because: String,
    },
}

/// The namespaces that each agent is born in.
const BORN_IN: UnshareFlags = UnshareFlags::NEWPID.union(UnshareFlags::NEWNS).union(UnshareFlags::NEWIPC).union(UnshareFlags::NEWUTS);
/// All namespaces that each agent gets.
const AGENT_NAMESPACES: UnshareFlags = BORN_IN.union(UnshareFlags::NEWNET);

/// What the reaper needs until it is confined: to mount its new root, and to empty its bounding set.
const REAPER_NEEDS: [CapabilitySet; 2] = [CapabilitySet::SYS_ADMIN, CapabilitySet::SETPCAP];

/// Makes namespaces possible for the agents of this process; to be called once, at its start, in its only thread.
///
/// Root needs nothing. For an ordinary user, the process moves into a user namespace of its own, in which its ids mean what
/// they mean outside and its privileges reach nothing outside. That is tried in a forked child first: on machines that
/// allow half of it, this process would be left without a name for its own user.
pub fn prepare_warden() -> NamespaceSupport {
    let none = |because: String| NamespaceSupport::None { because };
    match thread::capabilities(None) {
        Ok(sets) if sets.effective.contains(CapabilitySet::SYS_ADMIN) => return NamespaceSupport::Full,
        Ok(_) => {}
        Err(errno) => return none(format!("read capabilities: {errno}")),
    }
    match unchecked::in_forked_child(probe) {
        Ok(0) => {}
        Ok(step) => return none(format!("an ordinary user may not {} here", Step::from_code(step).words())),
        Err(error) => return none(format!("try user namespaces: {error}")),
    }
    match own_user_namespace() {
        Ok(()) => NamespaceSupport::Full,
        Err((step, error)) => none(format!("{}: {error}", step.words())),
    }
}

/// A step that a machine may refuse.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    User,
    Map,
    Agent,
}

impl Step {
    /// The step of a probe's exit code; 0 was success.
    const fn from_code(code: u8) -> Self {
        match code {
            0 | 1 => Self::User,
            2 => Self::Map,
            3.. => Self::Agent,
        }
    }

    const fn code(self) -> u8 {
        match self {
            Self::User => 1,
            Self::Map => 2,
            Self::Agent => 3,
        }
    }

    const fn words(self) -> &'static str {
        match self {
            Self::User => "make a user namespace",
            Self::Map => "map its user in a user namespace",
            Self::Agent => "make namespaces for an agent",
        }
    }
}

/// Tries everything, in a process that ends at once.
fn probe() -> u8 {
    if let Err((step, _)) = own_user_namespace() {
        return step.code();
    }
    match unchecked::unshare(AGENT_NAMESPACES) {
        Ok(()) => 0,
        Err(_) => Step::Agent.code(),
    }
}

/// Moves this process into a user namespace in which its user and group are mapped to themselves, and no one else is.
fn own_user_namespace() -> Result<(), (Step, io::Error)> {
    let (user, group) = (geteuid().as_raw(), getegid().as_raw());
    unchecked::unshare(UnshareFlags::NEWUSER).map_err(|error| (Step::User, error))?;
    // Groups cannot be dropped then: a group may be what denies access to a file.
    let maps = [("setgroups", "deny".to_owned()), ("uid_map", format!("{user} {user} 1")), ("gid_map", format!("{group} {group} 1"))];
    for (file, text) in maps {
        fs::write(Path::new("/proc/self").join(file), text).map_err(|error| (Step::Map, error))?;
    }
    Ok(())
}

/// Moves the calling thread into namespaces for one agent, all but that of the network; the first process that it starts is process 1 of the new pid namespace.
///
/// # Errors
/// What the kernel says; the thread may then be in some new namespaces, and should end.
pub fn enter() -> io::Result<()> {
    unchecked::unshare(BORN_IN)?;
    // What is mounted from here on must not show up in the namespace that this one was copied from.
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?;
    if geteuid().is_root() {
        return Ok(());
    }
    // An exec takes privileges from whoever is not root, unless they are ambient.
    let mut sets = thread::capabilities(None)?;
    for capability in REAPER_NEEDS {
        sets.inheritable |= capability;
    }
    thread::set_capabilities(None, sets)?;
    for capability in REAPER_NEEDS {
        thread::configure_capability_in_ambient_set(capability, true)?;
    }
    Ok(())
}

/// Moves the calling thread into a new network namespace, and returns a handle on it: nobody else is in it.
///
/// # Errors
/// What the kernel says.
pub fn network() -> io::Result<OwnedFd> {
    unchecked::unshare(UnshareFlags::NEWNET)?;
    Ok(File::open("/proc/thread-self/ns/net")?.into())
}

/// Moves the calling process into the network namespace of such a handle.
///
/// # Errors
/// What the kernel says; `EINVAL` for what is no network namespace.
pub(super) fn enter_network(network: &OwnedFd) -> io::Result<()> {
    Ok(thread::move_into_link_name_space(network.as_fd(), Some(LinkNameSpaceType::Network))?)
}
