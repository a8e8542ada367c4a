//! Limits of process agents, beyond files: what all processes of one use together, and what could be held in the kernel.

use std::{sync::Arc, time::Instant};

use lazarus::{
    backend::{
        process::{Groups, ProcessOptions, spawn},
        protocol::End,
    },
    jail::cgroup::Cgroup,
    policy::{Access, Enforcer, Extent, LimitName, Subject},
};

use crate::{
    Case,
    fixture::{LONG, World, live, namespaces, no_namespaces, reaper, until_ready},
};

pub const CASES: &[Case] = &[
    ("the_cpu_time_of_all_processes_is_counted_together", cpu),
    ("memory_of_the_kernel_is_bounded", kernel),
    ("the_least_that_an_agent_may_be_given_runs_it", least),
    ("memory_file_systems_are_bounded_in_bytes_and_files", scratch),
];

/// Two processes that spin, each of which the shell has forgotten.
const SPIN: &str = "spin() { while :; do :; done; }; spin & spin & wait";

fn cpu() {
    let world = World::new();
    let cell = "laz-0011aadd".parse().unwrap();
    let group = match Cgroup::create(&cell, &"probe".parse().unwrap(), &world.policy.limits, 0) {
        Ok(group) if group.holds().cpu => Arc::new(group),
        Ok(_) | Err(_) => {
            // An ordinary user has none here: then each process is counted for itself, and the report says so.
            assert!(!rustix::process::geteuid().is_root(), "root counts CPU time in a control group");
            let report = live(world.spawn(&["true"])).report.unwrap();
            let is_it = |subject: &Subject| matches!(subject, Subject::Limit { name: LimitName::Cpu, .. });
            let entries: Vec<_> = report.entries().iter().filter(|entry| is_it(&entry.subject)).collect();
            assert!(matches!(entries.as_slice(), [entry] if matches!(entry.extent, Extent::Partial { .. })), "{entries:?}");
            return;
        }
    };
    let options = ProcessOptions { namespaces: namespaces(), groups: Groups::Made(Arc::clone(&group)), speaks: false, reaper: reaper() };
    // The twin: whoever sleeps uses next to nothing, however long that takes.
    let mut idle = spawn(&world.launch(&["sleep", "1000"]), &options).unwrap();
    let report = until_ready(&idle);
    let counted =
        |entry: &&lazarus::policy::Entry| entry.enforcer == Enforcer::Cgroup && entry.promise.contains("all its processes together");
    assert!(report.entries().iter().find(counted).is_some_and(|entry| entry.extent == Extent::Full), "{report:?}");
    let before = group.cpu_used().unwrap();
    std::thread::sleep(std::time::Duration::from_millis(300));
    let slept = group.cpu_used().unwrap() - before;
    assert!(slept.as_millis() < 100, "{slept:?}");
    idle.kill(LONG).unwrap();
    assert!(idle.reap(LONG).unwrap().is_some());
    // What has ended is still counted, and what was never waited for.
    let mut spinning = spawn(&world.launch(&["sh", "-c", SPIN]), &options).unwrap();
    until_ready(&spinning);
    let start = Instant::now();
    while group.cpu_used().unwrap() - before < std::time::Duration::from_millis(500) {
        assert!(start.elapsed() < LONG, "{:?}", group.cpu_used());
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    spinning.kill(LONG).unwrap();
    assert!(spinning.reap(LONG).unwrap().is_some());
    assert!(group.cpu_used().unwrap() - before >= std::time::Duration::from_millis(500), "the ended count as well");
}

/// With namespaces and without: what the jail itself needs is none of it.
fn least() {
    for namespaces in [namespaces(), no_namespaces()] {
        let mut world = World::new();
        (world.namespaces, world.speaks) = (namespaces, true);
        // Without a control group, the threads of this program that follow the agent count as well.
        world.policy.limits.processes = 8.try_into().unwrap();
        world.policy.limits.open_files = 16.try_into().unwrap();
        for path in ["ro", "rw", "outside"] {
            world.mount(path, &world.path(path), Access::Rw);
        }
        let life = world.run(&["/usr/bin/true"]);
        assert!(life.ready && life.end == Some(End::Exited { code: 0 }), "{life:?}");
        let life = world.run(&["sh", "-c", "ulimit -n; ulimit -Hn"]);
        assert_eq!(life.stdout, "16\n16\n", "{life:?}");
        let Ok(group) = Cgroup::create(&"laz-0011aaee".parse().unwrap(), &"probe".parse().unwrap(), &world.policy.limits, 0) else {
            continue;
        };
        let groups = Groups::Made(Arc::new(group));
        for (processes, said) in [(1, "first\n"), (2, "first\nsecond\n")] {
            world.policy.limits.processes = processes.try_into().unwrap();
            let options = ProcessOptions { groups: groups.clone(), ..world.options() };
            let life = live(spawn(&world.launch(&["sh", "-c", "echo first; /bin/echo second; exit 0"]), &options).unwrap());
            assert_eq!(life.stdout, said, "{life:?}");
        }
    }
}

/// The line of `/proc/self/limits` that begins with a name: what is in force, and how far it can be raised.
fn limit(limits: &str, name: &str) -> (String, String) {
    let line = limits.split('|').find_map(|line| line.strip_prefix(name)).unwrap_or_else(|| panic!("{name} in {limits}"));
    let mut words = line.split_ascii_whitespace().map(str::to_owned);
    (words.next().unwrap(), words.next().unwrap())
}

fn kernel() {
    let world = World::new();
    let life = world.probe(&["cat:/proc/self/limits".into()]);
    let limits = &life.said["cat:/proc/self/limits"];
    for (name, soft, hard) in [
        ("Max stack size", "8388608", "67108864"),
        ("Max locked memory", "65536", "65536"),
        ("Max msgqueue size", "131072", "131072"),
        ("Max pending signals", "1024", "1024"),
        ("Max realtime priority", "0", "0"),
        ("Max nice priority", "0", "0"),
        ("Max core file size", "0", "0"),
    ] {
        assert_eq!(limit(limits, name), (soft.to_owned(), hard.to_owned()), "{name}");
    }
    // A stack may be raised up to its bound, and no further; with namespaces and without.
    let mut shared = World::new();
    shared.namespaces = no_namespaces();
    for world in [world, shared] {
        let raised = |kib: &str| world.run(&["sh", "-c", &format!("ulimit -s {kib} && ulimit -s")]).stdout;
        assert_eq!((raised("65536").as_str(), raised("65537").as_str(), raised("unlimited").as_str()), ("65536\n", "", ""));
    }
}

fn scratch() {
    let world = World::new();
    for place in ["/tmp", "/dev/shm"] {
        world.expect(&[("ok", format!("many:{place}:1000")), ("ok", format!("remove:{place}/7"))]);
        world.expect(&[("No space left on device (os error 28)", format!("many:{place}:20000"))]);
        world.expect(&[("No space left on device (os error 28)", format!("fill:{place}/large"))]);
    }
}
