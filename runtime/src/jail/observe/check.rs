//! Comparisons: of which process, with what, and what came of each.

use std::path::PathBuf;

use serde::Serialize;

use super::{Resource, Status};
use crate::{
    cell::{AgentName, text::one_line},
    policy::{Enforcer, Entry, Report},
};

/// Bytes of what was found: agents choose the names of files.
const FOUND_MOST_BYTES: usize = 300;

/// Which part of a cell a process is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Part {
    /// The process that confined itself, and started an agent.
    Reaper,
    /// An agent, or what it started.
    Agent,
    /// The host of wasm agents.
    Host,
}

impl Part {
    /// The part as a word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Reaper => "reaper",
            Self::Agent => "agent",
            Self::Host => "host",
        }
    }
}

/// A process of a cell.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Who {
    /// Its number.
    pub pid: u32,
    /// Which part of the cell.
    pub part: Part,
    /// Whose: one agent's, or the agents' of a host.
    pub agents: Vec<AgentName>,
}

/// Whether what was found agrees.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Agrees {
    /// It does.
    Yes,
    /// It does not: what was reported does not hold.
    No,
    /// That could not be seen.
    Unknown,
}

/// One comparison.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    /// Of which process.
    pub process: Who,
    /// What was compared.
    pub what: String,
    /// What the report leads to expect.
    pub expected: String,
    /// What was found.
    pub found: String,
    /// Whether they agree.
    pub agrees: Agrees,
    /// Why it is unknown, or what is wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub because: Option<String>,
}

/// What a process is compared with.
#[derive(Debug, Clone)]
pub struct Expected<'a> {
    /// The process.
    pub who: Who,
    /// What was reported of its agents.
    pub reports: Vec<&'a Report>,
    /// The most that the policy allows, where the kernel counts in the same unit.
    pub granted: Vec<(Resource, u64)>,
    /// What `/proc` says of the warden's main thread, which the child was started by.
    pub warden: Option<&'a Status>,
    /// The warden's namespaces.
    pub warden_namespaces: Option<&'a [String]>,
    /// The program that it runs, where it is a part of Lazarus, and its inode.
    pub program: Option<&'a (PathBuf, u64)>,
    /// Directories and files that it may have open, as it sees them.
    pub places: Vec<PathBuf>,
    /// Directories of code that it may have mapped, as it sees them.
    pub code: Vec<PathBuf>,
    /// The name of its control groups.
    pub group: Option<String>,
    /// Whether its standard streams are the caller's own.
    pub own_streams: bool,
}

/// Comparisons of one process, as they are made.
pub(super) struct Checks<'a> {
    pub who: &'a Who,
    pub all: Vec<Check>,
}

impl Checks<'_> {
    pub(super) fn add(
        &mut self,
        what: impl Into<String>,
        expected: impl Into<String>,
        found: &str,
        agrees: Agrees,
        because: Option<String>,
    ) {
        self.all.push(Check {
            process: self.who.clone(),
            what: what.into(),
            expected: expected.into(),
            found: one_line(found, FOUND_MOST_BYTES),
            agrees,
            because: because.map(|because| one_line(&because, FOUND_MOST_BYTES)),
        });
    }

    pub(super) fn unknown(&mut self, what: impl Into<String>, expected: impl Into<String>, because: &str) {
        self.add(what, expected, "", Agrees::Unknown, Some(because.to_owned()));
    }

    /// A comparison whose answer is known.
    pub(super) fn is(&mut self, what: impl Into<String>, expected: impl Into<String>, found: &str, agrees: bool) {
        self.add(what, expected, found, if agrees { Agrees::Yes } else { Agrees::No }, None);
    }
}

impl<'a> Expected<'a> {
    pub(super) fn entries(&self) -> impl Iterator<Item = &'a Entry> {
        self.reports.iter().flat_map(|report| report.entries())
    }

    /// Whether something is reported of every agent of the process.
    pub(super) fn all_say(&self, says: impl Fn(&Entry) -> bool) -> bool {
        !self.reports.is_empty() && self.reports.iter().all(|report| report.entries().iter().any(&says))
    }

    /// How many filters the jail installed, itself and for the agent's connections: those of one report, since the jail is one.
    pub(super) fn filters(&self) -> Option<u64> {
        let report = self.reports.first()?;
        let set: Vec<u64> =
            report.entries().iter().filter(|entry| entry.enforcer == Enforcer::Seccomp).filter_map(|entry| entry.set).collect();
        (!set.is_empty()).then(|| set.iter().sum())
    }
}
