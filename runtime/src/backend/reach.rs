//! What of the machine an agent can reach, as one list: both backends open what stands here, and `lazarus why` reads it.

use std::path::{Path, PathBuf};

use super::{Launch, Program};
use crate::policy::{Access, Granted, READ_BY_DEFAULT};

/// Devices that hold nothing of anyone's.
const DEVICES: [&str; 5] = ["/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom"];
/// Where a wasm guest sees its home.
pub const WASM_HOME: &str = "/home";
/// Where a team's members see what they share; but for process agents without a root of their own.
pub const SHARED: &str = "/shared";
/// Where an agent that was granted the client sees this program, in a root of its own.
pub const CLIENT_DIRECTORY: &str = "/run/lazarus/bin";
/// Small files that are made up for a process agent in a root of its own: names for the one user and group that exist in the cell.
pub const MADE_UP: [&str; 2] = ["/etc/passwd", "/etc/group"];
/// Links to an agent's own streams, in a root of its own: their path, and where below `/proc/self/fd` they lead.
pub const STREAMS: [(&str, &str); 4] = [("/dev/fd", ""), ("/dev/stdin", "/0"), ("/dev/stdout", "/1"), ("/dev/stderr", "/2")];

/// By which word something is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// The system's own programs and libraries, where nothing else was named to read.
    System,
    /// A path to read and execute from.
    Read,
    /// The agent's home.
    Home,
    /// What the team shares.
    Shared,
    /// A mount: which of the policy's.
    Mount(usize),
    /// A device that holds nothing.
    Device,
}

impl Origin {
    /// As what it is reported.
    pub const fn granted(self) -> Granted {
        match self {
            Self::System | Self::Read => Granted::Read,
            Self::Home => Granted::Home,
            Self::Shared => Granted::Shared,
            Self::Mount(_) => Granted::Mount,
            Self::Device => Granted::Device,
        }
    }
}

/// One place that is granted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reached {
    /// By which word.
    pub origin: Origin,
    /// Where it is on the machine.
    pub host: PathBuf,
    /// Where the agent sees it.
    pub guest: PathBuf,
    /// Whether it may be written to.
    pub access: Access,
}

/// Everything that is granted to an agent, in the order in which it is opened. `own_root`: a process agent in a mount namespace of its own; of a
/// wasm guest, it is all the same.
pub fn reached(launch: &Launch, own_root: bool) -> Vec<Reached> {
    let mut list = Vec::new();
    let mut grant = |origin, host: &Path, guest: &Path, access| {
        list.push(Reached { origin, host: host.to_owned(), guest: guest.to_owned(), access });
    };
    let is_process = matches!(launch.program, Program::Command { .. });
    if is_process {
        if launch.policy.read.is_empty() {
            READ_BY_DEFAULT.iter().map(Path::new).for_each(|path| grant(Origin::System, path, path, Access::Ro));
        } else {
            launch.policy.read.iter().for_each(|path| grant(Origin::Read, path, path, Access::Ro));
        }
    }
    if let Some(home) = &launch.home {
        // Process agents have it at its real path: programs keep absolute paths in their state.
        grant(Origin::Home, home, if is_process { home } else { Path::new(WASM_HOME) }, Access::Rw);
    }
    if let Some(shared) = &launch.shared {
        let access = if launch.role.writes_shared() { Access::Rw } else { Access::Ro };
        let guest = if is_process && !own_root { shared.as_path() } else { Path::new(SHARED) };
        grant(Origin::Shared, shared, guest, access);
    }
    for (index, mount) in launch.policy.mounts.iter().enumerate() {
        grant(Origin::Mount(index), &mount.host, mount.guest.as_path(), mount.access);
    }
    if is_process {
        DEVICES.iter().map(Path::new).for_each(|path| grant(Origin::Device, path, path, Access::Rw));
    }
    list
}
