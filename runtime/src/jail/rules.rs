//! What a jail is asked to hold.

use std::{
    os::fd::{AsFd, OwnedFd},
    time::Duration,
};

use super::NewRoot;
use crate::{policy::Subject, unchecked::NothingInherited};

/// What kind of process is confined.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Profile {
    /// Any program: system calls are allowed but for the dangerous ones, among them every way to a network.
    Process,
    /// A wasm host: only the system calls that wasmtime and its event loop need.
    WasmHost,
    /// A compiler of wasm: reads its input and writes its output, on descriptors that it was given. No file can be opened.
    Compiler,
}

/// How far a file or a directory tree can be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// Read files, list directories.
    Read,
    /// And execute.
    Execute,
    /// Read and write: create, remove, rename and truncate; but not execute.
    Write,
    /// Everything of [`Reach::Write`], and execute.
    WriteExecute,
    /// Read and write an existing file or device; create nothing.
    Device,
}

/// One file or directory tree that stays reachable.
#[derive(Debug)]
pub struct FileRule {
    /// Opened beforehand, so that no path is resolved twice; `O_PATH` is enough.
    pub place: OwnedFd,
    /// How far.
    pub reach: Reach,
    /// What was granted by it, for the report; `None` for what is the jail's own.
    pub subject: Option<Subject>,
}

/// Limits of one process, through `setrlimit(2)`. What is `None` is left alone.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct JailLimits {
    /// Open descriptors.
    pub open_files: Option<u64>,
    /// CPU time of each process. Counted in whole seconds, rounded up.
    pub cpu: Option<Duration>,
    /// Whether a control group counts the CPU time of all processes together, so that this is the second line.
    pub cpu_counted_together: bool,
    /// Bytes of the largest file that can be written.
    pub file_size: Option<u64>,
    /// Processes and threads.
    pub processes: Option<u64>,
    /// Those of the same user that exist already, and that the kernel counts, too.
    pub processes_of_others: u64,
    /// Bytes of private memory of each process. Never for a wasm host, which reserves more than it uses.
    pub data: Option<u64>,
}

/// Asked-for rules. [`Jail::apply`] consumes them, and returns what the kernel really gave.
///
/// [`Jail::new`] grants nothing: no file, no network, no capability, no inherited descriptor but the three
/// standard streams and those that were taken through [`crate::unchecked::inherited_fd`].
#[derive(Debug)]
pub struct Jail {
    pub(super) profile: Profile,
    pub(super) files: Vec<FileRule>,
    pub(super) limits: JailLimits,
    pub(super) accept_degraded: bool,
    pub(super) lifeline: Option<OwnedFd>,
    pub(super) root: Option<NewRoot>,
    pub(super) ends_itself: bool,
    pub(super) speaks: bool,
    pub(super) nothing_inherited: Option<NothingInherited>,
}

impl Jail {
    /// A jail that grants nothing.
    pub fn new(profile: Profile) -> Self {
        Self {
            profile,
            files: Vec::new(),
            limits: JailLimits::default(),
            accept_degraded: false,
            lifeline: None,
            root: None,
            ends_itself: false,
            speaks: false,
            nothing_inherited: None,
        }
    }

    /// Lets a file or a directory tree be reached. A file cannot be listed or created in; those rights are left out for it.
    #[must_use]
    pub fn allow(mut self, place: OwnedFd, reach: Reach) -> Self {
        self.files.push(FileRule { place, reach, subject: None });
        self
    }

    /// As [`Self::allow`], and has the report say of the subject how far it is held.
    #[must_use]
    pub fn grant(mut self, place: OwnedFd, reach: Reach, subject: Subject) -> Self {
        self.files.push(FileRule { place, reach, subject: Some(subject) });
        self
    }

    /// Sets the limits.
    #[must_use]
    pub fn limits(mut self, limits: JailLimits) -> Self {
        self.limits = limits;
        self
    }

    /// Confines also where the kernel has no Landlock; the report then says so.
    #[must_use]
    pub fn accept_degraded(mut self, accept: bool) -> Self {
        self.accept_degraded = accept;
        self
    }

    /// Lets a process agent make UNIX stream sockets. The caller has to hold its calls of `connect(2)`: see [`super::hold`].
    #[must_use]
    pub fn speaks(mut self) -> Self {
        self.speaks = true;
        self
    }

    /// Says that what was inherited is closed already: whoever does that when the process has few descriptors yet is done sooner.
    #[must_use]
    pub fn after_closing(mut self, closed: NothingInherited) -> Self {
        self.nothing_inherited = Some(closed);
        self
    }

    /// Gives the process a root of its own, in the mount namespace that it already is alone in.
    #[must_use]
    pub fn root(mut self, root: NewRoot) -> Self {
        self.root = Some(root);
        self
    }

    /// Leaves it to the process to end, and to end what it started, when its message socket is hung up; the kernel is not asked to.
    #[must_use]
    pub fn ends_itself(mut self) -> Self {
        self.ends_itself = true;
        self
    }

    /// Names the message socket to the parent: where it is hung up, the parent is gone, and applying fails.
    ///
    /// # Errors
    /// When the descriptor cannot be duplicated.
    pub fn tied_to(mut self, socket: impl AsFd) -> std::io::Result<Self> {
        self.lifeline = Some(socket.as_fd().try_clone_to_owned()?);
        Ok(self)
    }
}
