//! The enforcement report: for each promise of a policy, who enforces it and how far.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::Subject;

/// Bytes of a refusal's list of what is not held: a state's reason has room for it, and for whose it is.
const REFUSAL_MOST_BYTES: usize = 600;

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
    /// The number that the kernel was given, where it was given one (a resource limit; a count of filters): what a look at the process must find.
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
        self.not_held().next().is_some()
    }

    /// What is not held at all, each as a phrase: the promise, and why not.
    pub fn not_held(&self) -> impl Iterator<Item = String> {
        self.entries.iter().filter_map(|entry| match &entry.extent {
            Extent::None { because } => Some(format!("{} ({because})", entry.promise)),
            Extent::Full | Extent::Partial { .. } => None,
        })
    }

    /// Why a cell must not live with this report, unless its operator accepts that; `None` where everything is held, at least in part.
    ///
    /// One line: what to do, then what is not held, as many as are read at a glance.
    pub fn refusal(&self) -> Option<String> {
        let all: Vec<String> = self.not_held().collect();
        let shown = all.iter().scan(REFUSAL_MOST_BYTES, |left, one| {
            *left = left.checked_sub(one.len() + 2)?;
            Some(one.as_str())
        });
        let shown: Vec<&str> = shown.collect();
        let more = match all.len() - shown.len() {
            0 => String::new(),
            more => format!("; and {more} more, which `lazarus explain` lists"),
        };
        (!all.is_empty()).then(|| {
            format!(
                "this machine does not hold its policy; --accept-degraded runs the cell without, on record. Not held: {}{more}",
                shown.join("; ")
            )
        })
    }

    /// The report in pieces that each fit a message of so many bytes, in order: a policy may have very many paths and variables.
    pub fn pieces(self, most_bytes: usize) -> Vec<Self> {
        let mut pieces = vec![Self::new()];
        let mut left = most_bytes;
        for entry in self.entries {
            let bytes = serde_json::to_string(&entry).map_or(most_bytes, |json| json.len() + 1);
            if bytes > left
                && let Some(last) = pieces.last()
                && !last.entries.is_empty()
            {
                pieces.push(Self::new());
                left = most_bytes;
            }
            left = left.saturating_sub(bytes);
            if let Some(last) = pieces.last_mut() {
                last.entries.push(entry);
            }
        }
        pieces
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::Wall;

    #[test]
    fn a_refusal_says_what_to_do_and_each_that_is_not_held() {
        let mut report = Report::new();
        report.full(Enforcer::Kernel, Wall::Files, "held");
        report.partial(Enforcer::Kernel, Wall::Files, "partly held", "something");
        assert_eq!((report.refusal(), report.is_degraded()), (None, false));
        report.none(Enforcer::Rlimit, Wall::Ipc, "first", "one reason");
        report.none(Enforcer::Rlimit, Wall::Calls, "second", "another");
        let refusal = report.refusal().expect("a refusal");
        assert!(refusal.contains("--accept-degraded") && refusal.ends_with("first (one reason); second (another)"), "{refusal}");
        for _ in 0..1000 {
            report.none(Enforcer::Rlimit, Wall::Ipc, "and so on", "there are many");
        }
        let refusal = report.refusal().expect("a refusal");
        assert!(refusal.len() < 900 && refusal.contains(" more, which"), "{refusal}");
    }

    #[test]
    fn pieces_are_bounded_and_nothing_is_lost() {
        let mut report = Report::new();
        for number in 0..500 {
            report.full(Enforcer::Kernel, Subject::variable(format!("V{number}")), "as granted");
        }
        report.full(Enforcer::Kernel, Wall::Files, "x".repeat(5000));
        let pieces = report.clone().pieces(2000);
        assert!(pieces.len() > 10);
        let sizes = pieces.iter().map(|piece| serde_json::to_string(piece).expect("JSON").len());
        assert_eq!(sizes.filter(|size| *size > 2000).count(), 1, "one entry alone is longer");
        let mut whole = Report::new();
        pieces.into_iter().for_each(|piece| whole.append(piece));
        assert_eq!(whole, report);
        assert_eq!(Report::new().pieces(10), [Report::new()]);
    }

    #[test]
    fn a_report_without_subjects_is_still_read() {
        let old = r#"[{"promise":"writes only below its home","enforcer":"landlock","extent":"full"}]"#;
        let report: Report = serde_json::from_str(old).expect("a report");
        assert_eq!(report.entries()[0].subject, Subject::Unnamed);
    }
}
