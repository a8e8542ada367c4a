//! What `/proc` says of a jailed process, read by the trusted side, and whether that agrees with what its jail reported.
//!
//! ```text
//!  /proc/<pid>/… ── read(), bounded ──→ Observed ─┐
//!  report, warden's own /proc, paths ─ Expected ──┴─ compare(), pure ──→ checks: yes, no, or unknown and why
//! ```
//!
//! What cannot be read is unknown, and never counts as agreement. Landlock leaves no trace in `/proc`: nothing here speaks of it.

mod check;
mod compare;
mod parse;
mod read;

pub use check::{Agrees, Check, Expected, Part, Who};
pub use compare::compare;
pub use read::{held_program, observe, program};

/// A part of what was looked at, or why it could not be read.
pub type Seen<T> = Result<T, String>;

/// What `/proc/<pid>/status` says of one thread; `None` where the kernel has no such line.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Status {
    /// Whether it can gain no privileges by an exec.
    pub no_new_privs: Option<u64>,
    /// The mode of seccomp: 2 is a filter.
    pub seccomp: Option<u64>,
    /// How many filters there are (Linux 5.9).
    pub filters: Option<u64>,
    /// The inheritable, permitted, effective and ambient capabilities, all together.
    pub capabilities: Option<u64>,
    /// The bounding set of capabilities.
    pub bounding: Option<u64>,
    /// Real, effective, saved and file system user.
    pub users: Vec<u32>,
    /// Real, effective, saved and file system group.
    pub groups: Vec<u32>,
    /// Supplementary groups.
    pub supplementary: Vec<u32>,
}

/// A resource limit, soft and hard; `None` is unlimited.
pub type Bounds = (Option<u64>, Option<u64>);

/// The resource limits that a jail sets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resource {
    /// Size of a core dump.
    Core,
    /// CPU time, in seconds.
    Cpu,
    /// Private memory.
    Data,
    /// Size of a file.
    FileSize,
    /// Open descriptors.
    OpenFiles,
    /// Processes of the user.
    Processes,
    /// The stack.
    Stack,
    /// Memory that is never swapped out.
    Locked,
    /// POSIX message queues.
    Queues,
    /// Queued signals.
    Signals,
    /// Ordinary priority.
    Nice,
    /// Realtime priority.
    Realtime,
}

impl Resource {
    /// The name in `/proc/<pid>/limits`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Core => "Max core file size",
            Self::Cpu => "Max cpu time",
            Self::Data => "Max data size",
            Self::FileSize => "Max file size",
            Self::OpenFiles => "Max open files",
            Self::Processes => "Max processes",
            Self::Stack => "Max stack size",
            Self::Locked => "Max locked memory",
            Self::Queues => "Max msgqueue size",
            Self::Signals => "Max pending signals",
            Self::Nice => "Max nice priority",
            Self::Realtime => "Max realtime priority",
        }
    }
}

/// One open descriptor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Descriptor {
    /// Its number.
    pub number: u32,
    /// What it leads to.
    pub target: Target,
}

/// What a descriptor leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// A socket, by its inode.
    Socket(u64),
    /// A pipe.
    Pipe,
    /// Something without a file: `[eventpoll]`.
    Anonymous(String),
    /// Memory that has a descriptor.
    Memory,
    /// A character device, by its number: it is the same one wherever it is seen.
    Device(u32, u32, String),
    /// A file or a directory, as the process sees it.
    Path(String),
}

/// One mapping of memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mapping {
    /// Whether it can be written to.
    pub writable: bool,
    /// Whether it can be executed.
    pub executable: bool,
    /// The inode of the file; 0 without one.
    pub inode: u64,
    /// The file, as the process sees it; empty without one.
    pub path: String,
}

/// A line of `/proc/<pid>/cgroup`: the controllers (none with version 2), and the path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Membership {
    /// The controllers.
    pub controllers: Vec<String>,
    /// The group, from the top of its tree.
    pub path: String,
}

/// The names of the namespaces that are looked at, as in `/proc/<pid>/ns`.
pub const NAMESPACES: [&str; 5] = ["ipc", "mnt", "net", "pid", "uts"];

/// What `/proc` says of a process.
#[derive(Debug, Clone)]
pub struct Observed {
    /// Of each of its threads.
    pub threads: Seen<Vec<Status>>,
    /// Its resource limits, as lines.
    pub limits: Seen<Vec<(String, Bounds)>>,
    /// Its descriptors.
    pub descriptors: Seen<Vec<Descriptor>>,
    /// The inodes of those of its sockets that are none between processes of this machine.
    pub networked: Seen<Vec<u64>>,
    /// Its memory.
    pub maps: Seen<Vec<Mapping>>,
    /// Its namespaces, in the order of [`NAMESPACES`].
    pub namespaces: Seen<Vec<String>>,
    /// Its control groups.
    pub groups: Seen<Vec<Membership>>,
}
