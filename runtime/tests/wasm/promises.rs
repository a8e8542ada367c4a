//! Whatever a policy grants: the report of its host has an entry for each thing.

use lazarus::{
    cell::Role,
    policy::{Access, Applier, ByteSize, Limits, Mount},
};
use proptest::{
    prelude::*,
    test_runner::{Config, TestRunner},
};

use crate::{
    Case,
    event_wat::QUIET,
    fixture::{Host, at_home, launch, launch_agent},
    wat,
};

pub const CASES: &[Case] = &[("every_promise_of_any_policy_is_reported", every_promise)];

/// Policies at random: each is a host of its own, so that there are few.
const POLICIES: u32 = 12;

fn every_promise() {
    let module = launch("probe", &wat::start(""));
    let component = launch("probe", &wat::component_hello("hello\n", false));
    let agent = launch_agent("probe", QUIET);
    let env = proptest::collection::btree_map("V[A-Z0-9_]{0,6}", "[ -~]{0,8}", 0..6);
    let mounts = proptest::collection::vec(any::<bool>(), 0..4);
    let limits = (1_u64..2048, 16_u32..4096, 1_u32..4096, 1_u64..86_400);
    let drawn = (0_usize..3, env, mounts, limits, any::<[bool; 4]>());
    let config = Config { cases: POLICIES, failure_persistence: None, ..Config::default() };
    let outcome =
        TestRunner::new(config).run(&drawn, |(which, env, mounts, (mib, files, count, seconds), [home, shared, observer, neighbour])| {
            let place = tempfile::tempdir().unwrap();
            let dir = |name: &str| {
                let path = place.path().join(name);
                std::fs::create_dir_all(&path).unwrap();
                path
            };
            let mut launch = [&module, &component, &agent][which].clone();
            launch.role = if observer { Role::Observer } else { Role::Executor };
            launch.env = env.clone().into_iter().collect();
            launch.policy.env = env;
            for (number, writable) in mounts.iter().enumerate() {
                let (host, guest) = (dir(&format!("mount{number}")), format!("/mounted/{number}").try_into().unwrap());
                launch.policy.mounts.push(Mount { host, guest, access: if *writable { Access::Rw } else { Access::Ro } });
            }
            launch.shared = shared.then(|| dir("shared"));
            if home {
                launch = at_home(launch, &dir("home"));
            }
            launch.policy.limits = Limits {
                memory: ByteSize::mib(mib),
                hostcall: ByteSize::kib(4 * mib),
                open_files: files.try_into().unwrap(),
                instances: count.try_into().unwrap(),
                cpu: std::time::Duration::from_secs(seconds),
                event: std::time::Duration::from_secs(seconds),
                ..Limits::default()
            };
            let mut launches = vec![launch.clone()];
            if neighbour {
                let mut other = module.clone();
                other.agent = "other".parse().unwrap();
                launches.push(other);
            }
            let mut host = Host::start(&launches);
            host.listen(|heard| heard["probe"].ready || heard["probe"].refused.is_some());
            let report = host.heard["probe"].report.clone().unwrap_or_default();
            let missing: Vec<_> =
                launch.asked(true).unreported(&report).into_iter().filter(|promised| promised.by == Applier::Child).collect();
            prop_assert!(missing.is_empty(), "{:?}\n{:?}", missing, report);
            prop_assert!(!report.is_degraded());
            Ok(())
        });
    outcome.unwrap_or_else(|error| panic!("{error}"));
}
