//! Whatever a policy grants: the report of its jail has an entry for each thing, and what is not held refuses.

use std::collections::BTreeMap;

use lazarus::{
    cell::Role,
    policy::{Access, Applier, ByteSize, Enforcer, Extent, LimitName, Limits, Mount, Report, Subject, Wall},
};
use proptest::{
    prelude::*,
    test_runner::{Config, TestRunner},
};

use crate::{
    Case,
    fixture::{World, no_namespaces},
};

pub const CASES: &[Case] = &[
    ("every_promise_of_any_policy_is_reported", every_promise),
    ("without_a_control_group_root_is_refused_unless_it_is_accepted", without_a_control_group),
    ("what_is_missing_without_namespaces_is_reported_one_by_one", without_namespaces),
];

/// Policies at random: each is a life of its own, so that there are few.
const POLICIES: u32 = 10;

#[derive(Debug)]
struct Drawn {
    env: BTreeMap<String, String>,
    mounts: Vec<(u8, bool)>,
    read: Vec<&'static str>,
    limits: (u64, u32, u32, u64),
    flags: [bool; 3],
}

fn drawn() -> impl Strategy<Value = Drawn> {
    let env = proptest::collection::btree_map("V[A-Z0-9_]{0,6}", "[ -~]{0,8}", 0..6);
    let mounts = proptest::collection::vec((0_u8..3, any::<bool>()), 0..4);
    let read = proptest::sample::subsequence(vec!["/etc/alternatives", "/etc/ld.so.cache", "/etc/nsswitch.conf"], 0..=3);
    // None so small that the jail itself would not come up.
    let limits = (64_u64..2048, 32_u32..4096, 16_u32..4096, 1_u64..100_000);
    (env, mounts, read, limits, any::<[bool; 3]>()).prop_map(|(env, mounts, read, limits, flags)| Drawn {
        env,
        mounts,
        read,
        limits,
        flags,
    })
}

/// What was drawn, in a world of its own.
fn world_of(drawn: &Drawn) -> World {
    let [namespaces, observer, speaks] = drawn.flags;
    let mut world = World::new();
    if !namespaces {
        world.namespaces = no_namespaces();
    }
    world.speaks = speaks;
    world.role = if observer { Role::Observer } else { Role::Executor };
    world.policy.accept_degraded = true;
    world.policy.env.clone_from(&drawn.env);
    world.env.extend(drawn.env.clone());
    for (number, writable) in &drawn.mounts {
        // At its own path, which a machine without namespaces can do, too; outside of what is writable above.
        let host = world.dir.path().join(format!("mount{number}"));
        std::fs::create_dir_all(&host).unwrap();
        let guest = if namespaces { format!("/mounted/{number}") } else { host.display().to_string() };
        let access = if *writable { Access::Rw } else { Access::Ro };
        if namespaces || !world.policy.mounts.iter().any(|mount| mount.host == host) {
            world.policy.mounts.push(Mount { host, guest: guest.try_into().unwrap(), access });
        }
    }
    if !drawn.read.is_empty() {
        let system = ["/usr", "/bin", "/lib", "/lib64"].into_iter().filter(|path| std::fs::exists(path).unwrap());
        world.policy.read = system.chain(drawn.read.iter().copied()).map(Into::into).collect();
    }
    let (mib, files, processes, seconds) = drawn.limits;
    world.policy.limits = Limits {
        memory: ByteSize::mib(mib),
        home: ByteSize::mib(mib),
        open_files: files.try_into().unwrap(),
        processes: processes.try_into().unwrap(),
        cpu: std::time::Duration::from_secs(seconds),
        ..Limits::default()
    };
    world
}

fn every_promise() {
    let config = Config { cases: POLICIES, failure_persistence: None, ..Config::default() };
    let outcome = TestRunner::new(config).run(&drawn(), |drawn| {
        let world = world_of(&drawn);
        let life = world.run(&["true"]);
        let report = life.report.clone().unwrap_or_default();
        let launch = world.launch(&["true"]);
        let missing: Vec<_> =
            launch.asked(world.speaks).unreported(&report).into_iter().filter(|promised| promised.by == Applier::Child).collect();
        prop_assert!(missing.is_empty() && life.refused.is_none(), "{:?}\n{:?}", missing, life);
        Ok(())
    });
    outcome.unwrap_or_else(|error| panic!("{error}"));
}

/// The entry about a subject by an enforcer.
fn extent(report: &Report, enforcer: Enforcer, is_it: impl Fn(&Subject) -> bool) -> Option<Extent> {
    let mut entries = report.entries().iter();
    entries.find(|entry| entry.enforcer == enforcer && is_it(&entry.subject)).map(|entry| entry.extent.clone())
}

fn of_processes(subject: &Subject) -> bool {
    matches!(subject, Subject::Limit { name: LimitName::Processes, value } if value == "128")
}

fn without_a_control_group() {
    let mut world = World::new();
    world.policy.accept_degraded = false;
    let marker = world.path("home/ran");
    let life = world.run(&["sh", "-c", &format!("echo > {marker}")]);
    let report = life.report.expect("a report");
    let held = extent(&report, Enforcer::Rlimit, of_processes);
    if !rustix::process::geteuid().is_root() {
        // An ordinary user is limited, if together with everything else of theirs.
        assert!(matches!(held, Some(Extent::Partial { ref because }) if because.contains("same user")), "{report:?}");
        assert!(life.ready && std::fs::exists(&marker).unwrap());
        return;
    }
    assert!(matches!(held, Some(Extent::None { ref because }) if because.contains("no control group")), "{report:?}");
    let refused = life.refused.expect("a refusal");
    assert!(refused.contains("--accept-degraded") && refused.contains("runs at most 128 processes and threads (the limit"), "{refused}");
    assert!(!life.ready && !std::fs::exists(&marker).unwrap(), "no code of the agent ran");
    world.policy.accept_degraded = true;
    let life = world.run(&["sh", "-c", &format!("echo > {marker}")]);
    assert!(life.ready && life.refused.is_none() && std::fs::exists(&marker).unwrap(), "{life:?}");
    assert!(life.report.is_some_and(|report| report.not_held().count() == 1));
}

fn without_namespaces() {
    let mut world = World::new();
    world.namespaces = no_namespaces();
    let report = world.run(&["true"]).report.expect("a report");
    let home = world.path("home");
    let partly = |enforcer, words: &str, is_it: &dyn Fn(&Subject) -> bool| {
        let found = extent(&report, enforcer, is_it);
        assert!(matches!(found, Some(Extent::Partial { ref because }) if because.contains(words)), "{words}: {report:?}");
    };
    partly(Enforcer::Landlock, "can be looked up", &|subject| *subject == Wall::Files.into());
    partly(Enforcer::Kernel, "could stay", &|subject| *subject == Wall::Teardown.into());
    partly(Enforcer::Landlock, "TMPDIR", &|subject| matches!(subject, Subject::Path { path, .. } if path.as_os_str() == "/tmp"));
    let held =
        extent(&report, Enforcer::Landlock, |subject| matches!(subject, Subject::Path { path, .. } if path.as_os_str() == home.as_str()));
    assert_eq!(held, Some(Extent::Full));
    assert!(report.entries().iter().all(|entry| entry.enforcer != Enforcer::Namespace), "{report:?}");
    // The twin, with namespaces: all of that is whole.
    let report = World::new().run(&["true"]).report.expect("a report");
    assert_eq!(extent(&report, Enforcer::Namespace, |subject| *subject == Wall::Files.into()), Some(Extent::Full));
    assert_eq!(extent(&report, Enforcer::Namespace, |subject| *subject == Wall::Teardown.into()), Some(Extent::Full));
}
