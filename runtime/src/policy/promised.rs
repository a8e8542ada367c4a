//! What a policy promises, whoever is to hold it: the list that a report must cover, so that what nobody reported is found.
//!
//! ```text
//!  policy + backend ── promised() ──→ subjects ─┐
//!  jail, engine, warden ── Report ──────────────┴─ unreported() ──→ what a forgotten enforcer left out: counted as not held
//! ```

use std::path::PathBuf;

use super::{Access, Address, Granted, LimitName, Policy, Report, Setting, Subject, Wall};
use crate::cell::BackendKind;

/// Whose work it is to hold a promise, and to report it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Applier {
    /// The jailed child's: its jail, or its engine, before any code of an agent runs.
    Child,
    /// The warden's, for as long as the cell lives.
    Warden,
}

/// One subject of a policy, which a report must cover.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Promised {
    /// What it is about.
    pub subject: Subject,
    /// Who reports it.
    pub by: Applier,
}

/// One agent, as far as it decides what is promised.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// What it was granted.
    pub policy: &'a Policy,
    /// What runs it.
    pub backend: BackendKind,
    /// Whether it lives by events.
    pub by_events: bool,
    /// Whether it has a home.
    pub home: bool,
    /// What it can do with what its cell shares, if it sees that.
    pub shared: Option<Access>,
    /// Whether it can connect to its cell (process agents).
    pub speaks: bool,
    /// Whether its output is captured, rather than the caller's own streams.
    pub captured: bool,
}

impl Asked<'_> {
    /// Everything that is promised, in the order of the policy: paths, variables, addresses, limits, walls.
    pub fn promised(&self) -> Vec<Promised> {
        let child = |subject| Promised { subject, by: Applier::Child };
        let mut promised: Vec<Promised> = self.paths().into_iter().map(child).collect();
        promised.extend(self.policy.env.keys().map(Subject::variable).map(child));
        promised.push(child(Address::Network.into()));
        if self.backend == BackendKind::Process && self.speaks {
            promised.push(child(Address::Cell.into()));
        }
        promised.extend(self.limits());
        promised.extend(self.walls().into_iter().map(|wall| child(wall.into())));
        promised
    }

    fn paths(&self) -> Vec<Subject> {
        let mut paths = Vec::new();
        // Where these (and the client) are seen depends on what the machine gives: they are known by what they are.
        paths.extend(self.home.then(|| Subject::path(PathBuf::new(), Access::Rw, Granted::Home)));
        paths.extend(self.shared.map(|access| Subject::path(PathBuf::new(), access, Granted::Shared)));
        paths.extend(self.policy.mounts.iter().map(|mount| Subject::path(mount.guest.as_path(), mount.access, Granted::Mount)));
        match self.backend {
            BackendKind::Process => {
                paths.extend(self.policy.read.iter().map(|path| Subject::path(path, Access::Ro, Granted::Read)));
                paths.push(Subject::path("/tmp", Access::Rw, Granted::Scratch));
                paths.extend(self.policy.client.then(|| Subject::path(PathBuf::new(), Access::Ro, Granted::Client)));
            }
            BackendKind::Wasm => {}
        }
        paths
    }

    fn limits(&self) -> Vec<Promised> {
        let promised = |(name, setting): (LimitName, Setting)| {
            let by = self.applier(name).filter(|_| name.concerns(self.backend, self.by_events))?;
            Some(Promised { subject: Subject::limit(name, setting), by })
        };
        self.policy.limits.settings().filter_map(promised).collect()
    }

    /// Who holds a limit; nobody, where there is nothing for it to hold.
    fn applier(&self, name: LimitName) -> Option<Applier> {
        match name {
            LimitName::Messages => Some(Applier::Warden),
            LimitName::Log => self.captured.then_some(Applier::Warden),
            // The host of wasm agents counts each call; a process agent's home is watched.
            LimitName::Home | LimitName::Files => self.home.then_some(match self.backend {
                BackendKind::Process => Applier::Warden,
                BackendKind::Wasm => Applier::Child,
            }),
            LimitName::Memory
            | LimitName::TableElements
            | LimitName::Instances
            | LimitName::Stack
            | LimitName::Cpu
            | LimitName::Event
            | LimitName::Idle
            | LimitName::Hostcall
            | LimitName::Random
            | LimitName::OpenFiles
            | LimitName::Processes => Some(Applier::Child),
            LimitName::Ttl | LimitName::Timeout => None,
        }
    }

    fn walls(&self) -> Vec<Wall> {
        let mut walls = vec![
            Wall::Files,
            Wall::Processes,
            Wall::Privileges,
            Wall::Calls,
            Wall::Descriptors,
            Wall::Environment,
            Wall::Ipc,
            Wall::Teardown,
        ];
        match self.backend {
            // Its streams are descriptors like any other.
            BackendKind::Process => {}
            BackendKind::Wasm => walls.push(Wall::Streams),
        }
        walls
    }

    /// What was promised, and nobody reported.
    pub fn unreported(&self, report: &Report) -> Vec<Promised> {
        let mut promised = self.promised();
        promised.retain(|promised| !promised.is_covered(report));
        promised
    }
}

impl Promised {
    /// Whether somebody reported it.
    pub fn is_covered(&self, report: &Report) -> bool {
        report.entries().iter().any(|entry| covers(&entry.subject, &self.subject))
    }
}

/// Whether an entry about one subject answers for another.
fn covers(reported: &Subject, promised: &Subject) -> bool {
    if let Subject::Path { access: promised, granted: as_what @ (Granted::Home | Granted::Shared | Granted::Client), .. } = promised {
        return matches!(reported, Subject::Path { access, granted, .. } if access == promised && granted == as_what);
    }
    reported == promised
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use proptest::prelude::*;

    use super::*;
    use crate::policy::{ByteSize, Enforcer, Limits, Mount};

    fn policies() -> impl Strategy<Value = Policy> {
        let names = proptest::collection::btree_map("[A-Z][A-Z0-9_]{0,6}", ".{0,4}", 0..5);
        let read = proptest::collection::vec("/[a-z]{1,6}", 0..4);
        let mounts = proptest::collection::vec(("/[a-z]{1,6}", any::<bool>()), 0..4);
        let limits = (1_u64..1 << 30, 1_u32..5000, 1_u64..100_000);
        (names, read, mounts, limits).prop_map(|(env, read, mounts, (bytes, count, seconds))| {
            let mount = |(guest, writable): (String, bool)| Mount {
                host: "/somewhere".into(),
                guest: guest.try_into().expect("a guest path"),
                access: if writable { Access::Rw } else { Access::Ro },
            };
            let limits = Limits {
                memory: ByteSize::new(bytes).expect("not zero"),
                open_files: NonZeroU32::new(count).expect("not zero"),
                cpu: std::time::Duration::from_secs(seconds),
                ..Limits::default()
            };
            let (read, mounts) = (read.into_iter().map(Into::into).collect(), mounts.into_iter().map(mount).collect());
            Policy { env, read, mounts, limits, client: bytes % 2 == 0, ..Policy::default() }
        })
    }

    proptest! {
        /// A report with an entry for everything lacks nothing; without the entries of any one subject, it lacks that one and no other.
        #[test]
        fn whatever_nobody_reported_is_found(
            policy in policies(),
            (wasm, flags) in (any::<bool>(), any::<[bool; 5]>()),
            left_out in any::<prop::sample::Index>(),
        ) {
            let [by_events, home, shared, speaks, captured] = flags;
            let backend = if wasm { BackendKind::Wasm } else { BackendKind::Process };
            let shared = shared.then_some(Access::Rw);
            let asked = Asked { policy: &policy, backend, by_events, home, shared, speaks, captured };
            let promised = asked.promised();
            let mut whole = Report::new();
            for promised in &promised {
                whole.full(Enforcer::Kernel, promised.subject.clone(), promised.subject.to_string());
            }
            prop_assert_eq!(asked.unreported(&whole), Vec::new());
            let left_out = left_out.get(&promised);
            let mut lacking = Report::new();
            for promised in promised.iter().filter(|promised| promised.subject != left_out.subject) {
                lacking.full(Enforcer::Kernel, promised.subject.clone(), promised.subject.to_string());
            }
            let found = asked.unreported(&lacking);
            prop_assert!(!found.is_empty() && found.iter().all(|found| found == left_out), "{:?} of {:?}", found, left_out);
            prop_assert_eq!(asked.unreported(&Report::new()), promised);
        }
    }

    #[test]
    fn another_value_or_another_access_is_no_answer() {
        let policy = Policy::default();
        let asked = Asked {
            policy: &policy,
            backend: BackendKind::Wasm,
            by_events: false,
            home: true,
            shared: Some(Access::Ro),
            speaks: false,
            captured: true,
        };
        let lacks = |subject: Subject, report: &Report| asked.unreported(report).iter().any(|found| found.subject == subject);
        let mut report = Report::new();
        report.full(Enforcer::Wasm, Subject::limit(LimitName::Memory, "1 KiB"), "another limit");
        report.full(Enforcer::Wasm, Subject::path("/shared", Access::Rw, Granted::Shared), "more than was granted");
        report.full(Enforcer::Wasm, Subject::path("/home", Access::Rw, Granted::Home), "wherever it is seen");
        assert!(lacks(Subject::limit(LimitName::Memory, policy.limits.memory), &report));
        assert!(lacks(Subject::path("", Access::Ro, Granted::Shared), &report));
        assert!(!lacks(Subject::path("", Access::Rw, Granted::Home), &report));
    }
}
