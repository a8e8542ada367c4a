//! The enforcement report: for each promise of a policy, who enforces it and how far.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::Subject;

/// Who holds a promise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Enforcer {
    /// wasmtime and its WASI: the wall around a guest.
    Wasm,
    /// Linux Landlock.
    Landlock,
    /// A seccomp filter.
    Seccomp,
    /// A resource limit (`setrlimit(2)`).
    Rlimit,
    /// A control group.
    Cgroup,
    /// A Linux namespace.
    Namespace,
    /// Something the kernel does for a process that asked: `no_new_privs`, capabilities, parent-death signal.
    Kernel,
    /// The warden, which watches and ends.
    Warden,
}

impl fmt::Display for Enforcer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Wasm => "wasm",
            Self::Landlock => "landlock",
            Self::Seccomp => "seccomp",
            Self::Rlimit => "rlimit",
            Self::Cgroup => "cgroup",
            Self::Namespace => "namespace",
            Self::Kernel => "kernel",
            Self::Warden => "warden",
        })
    }
}

/// How far a promise is held.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "extent", rename_all = "lowercase")]
pub enum Extent {
    /// Wholly.
    Full,
    /// In part; the reason says what is missing.
    Partial {
        /// What is missing.
        because: String,
    },
    /// Not at all; the reason says why.
    None {
        /// Why not.
        because: String,
    },
}

/// One promise of a policy, and what became of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// What it is about.
    #[serde(default)]
    pub subject: Subject,
    /// The promise, as a short sentence: `writes only below its home`.
    pub promise: String,
    /// Who holds it.
    pub enforcer: Enforcer,
    /// How far.
    #[serde(flatten)]
    pub extent: Extent,
    /// The number that the kernel was given, where it was given one (a resource limit): what a look at the process must find.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub set: Option<u64>,
}

/// What an agent was given, and what holds it: kept with its run, so that a living cell can be explained.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Applied {
    /// What it runs, as a phrase.
    pub program: String,
    /// Whether it lives by events.
    #[serde(default)]
    pub by_events: bool,
    /// What it was granted. The values of variables are left out: they may be secrets.
    pub policy: super::Policy,
    /// What enforces that.
    pub enforcement: Report,
}

impl Applied {
    /// What is kept of a policy and a report.
    pub fn new(program: String, policy: &super::Policy, enforcement: Report) -> Self {
        let mut policy = policy.clone();
        policy.env.values_mut().for_each(String::clear);
        Self { program, by_events: false, policy, enforcement }
    }
}

/// What applying a policy really gave. Produced by the jail and the host as they apply it, never by intention.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Report {
    entries: Vec<Entry>,
}

impl Report {
    /// A report without entries.
    pub fn new() -> Self {
        Self::default()
    }

    /// Records a promise that is wholly held.
    pub fn full(&mut self, enforcer: Enforcer, subject: impl Into<Subject>, promise: impl Into<String>) -> &mut Entry {
        self.push(enforcer, subject.into(), promise.into(), Extent::Full)
    }

    /// Records a promise that is held in part.
    pub fn partial(
        &mut self,
        enforcer: Enforcer,
        subject: impl Into<Subject>,
        promise: impl Into<String>,
        because: impl Into<String>,
    ) -> &mut Entry {
        self.push(enforcer, subject.into(), promise.into(), Extent::Partial { because: because.into() })
    }

    /// Records a promise that is not held.
    pub fn none(
        &mut self,
        enforcer: Enforcer,
        subject: impl Into<Subject>,
        promise: impl Into<String>,
        because: impl Into<String>,
    ) -> &mut Entry {
        self.push(enforcer, subject.into(), promise.into(), Extent::None { because: because.into() })
    }

    fn push(&mut self, enforcer: Enforcer, subject: Subject, promise: String, extent: Extent) -> &mut Entry {
        self.entries.push_mut(Entry { subject, promise, enforcer, extent, set: None })
    }

    /// Adds the entries of another report, for the same agent, after these.
    pub fn append(&mut self, mut other: Self) {
        self.entries.append(&mut other.entries);
    }

    /// The entries, in the order in which they were applied.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Whether something that was promised is not held at all: what makes a cell *degraded*.
    pub fn is_degraded(&self) -> bool {
        self.entries.iter().any(|entry| matches!(entry.extent, Extent::None { .. }))
    }
}
