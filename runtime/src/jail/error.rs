//! Why a process could not be confined.

use std::{io, path::PathBuf};

/// Why a process could not be confined. It must end: some of the jail may already hold.
#[derive(Debug, thiserror::Error)]
pub enum JailError {
    /// Another thread exists, which the jail would not bind.
    #[error("confine the process: it has {0} threads, and the jail would bind one")]
    NotAlone(u64),
    /// The parent is gone, so that nobody would end this process.
    #[error("confine the process: its warden is gone")]
    Orphan,
    /// The kernel has no Landlock, and the operator did not accept to do without.
    #[error("confine the process: this kernel has no Landlock ({because}); --accept-degraded runs the cell without it, on record")]
    NoLandlock {
        /// What the kernel said.
        because: String,
    },
    /// A mount at a path other than its own, where no mount namespace can be had.
    #[error("mount {host} at {guest}: this machine gives no mount namespace ({because}), so that a mount can only be seen at its own path")]
    MountNeedsNamespace {
        /// The path on the machine.
        host: PathBuf,
        /// The path asked for.
        guest: PathBuf,
        /// Why there is no namespace.
        because: String,
    },
    /// A step that the kernel refused.
    #[error("{step}")]
    Step {
        /// What was tried.
        step: &'static str,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// A part of the new root that could not be made.
    #[error("put {path} into the cell's root")]
    Root {
        /// The path, as the agent would see it.
        path: PathBuf,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// A Landlock rule that the kernel refused.
    #[error("restrict the file system")]
    Landlock(#[source] ::landlock::RulesetError),
    /// A seccomp filter that could not be built or installed.
    #[error("filter system calls")]
    Seccomp(#[source] SeccompError),
}

/// Why a seccomp filter could not be built or installed.
#[derive(Debug, thiserror::Error)]
pub enum SeccompError {
    /// This processor has no filter.
    #[error("build a filter for {0}: this processor is not supported")]
    Processor(&'static str),
    /// The filter does not compile.
    #[error("build the filter")]
    Build(#[source] seccompiler::BackendError),
    /// The kernel refused the filter.
    #[error("install the filter")]
    Install(#[source] seccompiler::Error),
}

impl JailError {
    /// Makes an error of a step, for `map_err`.
    pub(super) fn step<E: Into<io::Error>>(step: &'static str) -> impl FnOnce(E) -> Self {
        move |source| Self::Step { step, source: source.into() }
    }
}
