//! What a cell's reports come to in plain words: what its operator can rely on, and what not.

use serde::Serialize;

use super::{Address, Enforcer, Entry, Extent, LimitName, Report, Subject, Wall};
use crate::cell::BackendKind;

/// Guarantees, and what is none.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Plain {
    /// What holds, wholly, by the word of whoever holds it.
    pub guarantees: Vec<String>,
    /// What does not, or not wholly, or is nobody's promise at all.
    pub not_guaranteed: Vec<String>,
}

/// What can be guaranteed, in the order in which it is said.
#[derive(Debug, Clone, Copy)]
enum Topic {
    Files,
    Network,
    Cell,
    Wall(Wall),
    Limit(LimitName),
}

/// Every topic: whatever a report can speak of is among them.
fn topics() -> impl Iterator<Item = Topic> {
    // Of files the paths speak, and what is outside of them.
    let walls = Wall::ALL.iter().filter(|wall| **wall != Wall::Files).map(|wall| Topic::Wall(*wall));
    let limits = LimitName::ALL.iter().map(|name| Topic::Limit(*name));
    [Topic::Files, Topic::Network, Topic::Cell].into_iter().chain(walls).chain(limits)
}

impl Topic {
    fn is_about(self, subject: &Subject) -> bool {
        match self {
            Self::Files => matches!(subject, Subject::Path { .. } | Subject::Wall { which: Wall::Files }),
            Self::Network => *subject == Subject::from(Address::Network),
            Self::Cell => *subject == Subject::from(Address::Cell),
            Self::Wall(wall) => *subject == Subject::from(wall),
            Self::Limit(limit) => matches!(subject, Subject::Limit { name, .. } if *name == limit),
        }
    }

    /// What is guaranteed where everything about it is held, for the reader who knows none of the words of the kernel.
    fn words(self, values: &str) -> String {
        let words = match self {
            Self::Files => "It reads and writes the files that it was granted, and no others.",
            Self::Network => "It reaches no network, and no service of this machine.",
            Self::Cell => "It connects to its own cell as itself, and to nothing else.",
            Self::Wall(wall) => match wall {
                Wall::Files => "It reaches no file but those that it was granted.",
                Wall::Processes => "It signals and traces no process outside of its cell.",
                Wall::Privileges => "It has no privileges, and gains none.",
                Wall::Calls => "It makes no system call that is known to be dangerous.",
                Wall::Descriptors => "It holds nothing open that its starter had open.",
                Wall::Environment => "It sees no variable of whoever started it.",
                Wall::Streams => "Its standard streams lead where they were said to.",
                Wall::Ipc => "It shares no memory and no message queue with other programs.",
                Wall::Teardown => "Nothing of it goes on when it has ended, or when its warden has.",
                Wall::Neighbours => "It reaches nothing of the other agents of its host.",
            },
            Self::Limit(LimitName::Ttl) => return format!("Its cell ends by itself: at {values}, unless it is extended."),
            Self::Limit(name) => return format!("Its limit {name} holds: {values}."),
        };
        words.to_owned()
    }
}

/// Puts the reports of a cell's agents into plain words. What only some of them can rely on, is not guaranteed.
pub fn plain(backend: BackendKind, reports: &[&Report]) -> Plain {
    let mut plain = Plain::default();
    for topic in topics() {
        let about = |entry: &&Entry| topic.is_about(&entry.subject);
        let entries: Vec<&Entry> = reports.iter().flat_map(|report| report.entries()).filter(about).collect();
        let everyone = reports.iter().all(|report| report.entries().iter().any(|entry| topic.is_about(&entry.subject)));
        if entries.is_empty() || !everyone {
            continue;
        }
        let weak: Vec<&&Entry> = entries.iter().filter(|entry| !is_covered(entry, &entries)).collect();
        if weak.is_empty() {
            plain.guarantees.push(topic.words(&values(&entries)));
        }
        for entry in weak {
            let line = match &entry.extent {
                Extent::Full => continue,
                Extent::Partial { because } => format!("{}: only in part: {because}.", entry.promise),
                Extent::None { because } => format!("{}: NOT held: {because}.", entry.promise),
            };
            if !plain.not_guaranteed.contains(&line) {
                plain.not_guaranteed.push(line);
            }
        }
    }
    if reports.is_empty() {
        plain.not_guaranteed.push("Anything: nothing was reported of it.".to_owned());
    }
    plain.not_guaranteed.extend(of_nobody(backend).into_iter().map(str::to_owned));
    plain
}

/// Whether an entry takes nothing away: it is wholly held, or somebody else wholly holds the same.
fn is_covered(entry: &Entry, all: &[&Entry]) -> bool {
    match &entry.extent {
        Extent::Full => true,
        // A limit that one counts for each process, and another for all, is held by that other.
        Extent::Partial { .. } => {
            matches!(entry.subject, Subject::Limit { .. })
                && all.iter().any(|other| other.extent == Extent::Full && other.subject == entry.subject && is_whole(other))
        }
        Extent::None { .. } => false,
    }
}

/// Whether whoever holds a limit counts all of what it is about: a limit of each process, or of one file, is not that.
fn is_whole(entry: &Entry) -> bool {
    match entry.enforcer {
        Enforcer::Rlimit => false,
        Enforcer::Wasm
        | Enforcer::Landlock
        | Enforcer::Seccomp
        | Enforcer::Cgroup
        | Enforcer::Namespace
        | Enforcer::Kernel
        | Enforcer::Warden => true,
    }
}

fn values(entries: &[&Entry]) -> String {
    let mut values: Vec<&str> = Vec::new();
    // What is counted for each process is said only where nobody counts all together.
    let any_whole = entries.iter().any(|entry| is_whole(entry));
    for entry in entries.iter().filter(|entry| is_whole(entry) || !any_whole) {
        if let Subject::Limit { value, .. } = &entry.subject
            && !values.contains(&value.as_str())
        {
            values.push(value);
        }
    }
    let values = values.join(" or ");
    if any_whole || values.is_empty() { values } else { format!("{values}, each of its processes for itself") }
}

/// What is nobody's promise, whatever the machine.
fn of_nobody(backend: BackendKind) -> Vec<&'static str> {
    let common = [
        "Anything against a fault of the kernel, or against side channels (caches, timing, load).",
        "That what it was granted stays secret, or whole where it may write: it can keep, print and damage that.",
        "That what it writes is true or harmless: its files, output, messages and results are a stranger's.",
    ];
    let own = match backend {
        BackendKind::Process => "Most system calls of the kernel are open to it: only those that are known to be dangerous are not.",
        BackendKind::Wasm => {
            "The agents of one host share its process: between them stands wasmtime alone; and the host's own memory has no one limit."
        }
    };
    common.into_iter().chain([own]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_partly_held_is_said_and_not_guaranteed() {
        let mut report = Report::new();
        report.full(Enforcer::Wasm, Wall::Privileges, "gains nothing");
        report.full(Enforcer::Kernel, Address::Network, "no network");
        let because = "each process of the agent is counted for itself";
        report.partial(Enforcer::Rlimit, Subject::limit(LimitName::Cpu, "1h"), "uses at most 1h", because);
        report.none(Enforcer::Landlock, Wall::Processes, "signals nobody", "an old kernel");
        let plain = plain(BackendKind::Process, &[&report]);
        let has = |lines: &[String], words: &str| lines.iter().any(|line| line.contains(words));
        assert!(has(&plain.guarantees, "no privileges") && has(&plain.guarantees, "no network"), "{plain:?}");
        assert!(has(&plain.not_guaranteed, because) && has(&plain.not_guaranteed, "NOT held: an old kernel"), "{plain:?}");
        assert!(!has(&plain.guarantees, "cpu") && !has(&plain.guarantees, "signals"), "{plain:?}");
        assert!(has(&plain.not_guaranteed, "side channels"));
    }

    #[test]
    fn whatever_is_reported_is_either_guaranteed_or_said_not_to_be() {
        let walls = Wall::ALL.iter().map(|wall| Subject::from(*wall));
        let limits = LimitName::ALL.iter().map(|name| Subject::limit(*name, "so much"));
        let others = [Address::Network.into(), Address::Cell.into()];
        for subject in walls.chain(limits).chain(others) {
            let (mut whole, mut part) = (Report::new(), Report::new());
            whole.full(Enforcer::Wasm, subject.clone(), "a promise");
            part.partial(Enforcer::Wasm, subject.clone(), "a promise", "a reason of its own");
            assert_eq!(plain(BackendKind::Wasm, &[&whole]).guarantees.len(), 1, "{subject:?}");
            let plain = plain(BackendKind::Wasm, &[&part]);
            assert!(plain.guarantees.is_empty(), "{subject:?}");
            assert!(plain.not_guaranteed.iter().any(|line| line.contains("a reason of its own")), "{subject:?}");
        }
    }

    #[test]
    fn a_limit_that_somebody_holds_wholly_is_guaranteed_and_one_of_some_agents_is_not() {
        let mut held = Report::new();
        held.partial(Enforcer::Rlimit, Subject::limit(LimitName::Memory, "1 MiB"), "at most 1 MiB", "each process for itself");
        held.full(Enforcer::Cgroup, Subject::limit(LimitName::Memory, "1 MiB"), "at most 1 MiB");
        let guaranteed =
            |reports: &[&Report]| plain(BackendKind::Process, reports).guarantees.iter().any(|line| line.contains("memory holds: 1 MiB"));
        assert!(guaranteed(&[&held]));
        let mut other = Report::new();
        other.partial(Enforcer::Rlimit, Subject::limit(LimitName::Memory, "2 MiB"), "at most 2 MiB", "each process for itself");
        assert!(!guaranteed(&[&held, &other]));
        assert!(!guaranteed(&[&held, &Report::new()]), "nothing is known of the other");
        assert!(plain(BackendKind::Wasm, &[]).guarantees.is_empty());
    }

    #[test]
    fn what_is_counted_for_each_process_is_said_so() {
        let mut report = Report::new();
        report.full(Enforcer::Rlimit, Subject::limit(LimitName::OpenFiles, 324), "opens at most 324 descriptors a process");
        let words = |report: &Report| plain(BackendKind::Process, &[report]).guarantees;
        assert_eq!(words(&report), ["Its limit open-files holds: 324, each of its processes for itself."]);
        report.full(Enforcer::Wasm, Subject::limit(LimitName::OpenFiles, 256), "at most 1280 together");
        assert_eq!(words(&report), ["Its limit open-files holds: 256."]);
    }

    #[test]
    fn one_file_is_not_the_whole_home() {
        let mut report = Report::new();
        report.full(Enforcer::Rlimit, Subject::limit(LimitName::Home, "1 MiB"), "writes no file larger than 1 MiB");
        report.partial(Enforcer::Warden, Subject::limit(LimitName::Home, "1 MiB"), "keeps at most 1 MiB", "measured every few seconds");
        let plain = plain(BackendKind::Process, &[&report]);
        assert!(plain.not_guaranteed.iter().any(|line| line.contains("measured every few seconds")), "{plain:?}");
        assert!(plain.guarantees.is_empty());
    }
}
