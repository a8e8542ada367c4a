//! Machines that give less: simulated by a filter that every process from here on inherits.

use std::{
    collections::BTreeMap,
    os::unix::fs::{MetadataExt, PermissionsExt},
    process::Command,
};

use lazarus::{
    backend::{
        process::{Groups, ProcessOptions, SpawnError, spawn},
        spawned::Containment,
    },
    jail::{
        JailError,
        cgroup::{self, Cgroup},
        namespaces::NamespaceSupport,
    },
    policy::{Access, ByteSize, Enforcer, Entry, Extent, LimitName, Subject},
};
use rustix::mount::{MountFlags, MountPropagationFlags, UnmountFlags, mount_change, mount_remount, unmount};
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, TargetArch, apply_filter};

use crate::{
    Case,
    fixture::{LONG, World, live, namespaces, no_namespaces, program, reaper, until_ready},
    profiles::confined,
};

pub const CASES: &[Case] = &[
    ("without_landlock_nothing_runs_unless_accepted", no_landlock),
    ("without_namespaces_agents_are_tied_down_otherwise", no_namespaces_given),
    ("a_mount_elsewhere_needs_a_namespace", mount_elsewhere),
    ("marks_of_files_are_left_alone_without_a_mount_namespace", marks),
    ("control_groups_hold_what_rlimits_cannot", control_groups),
    ("control_groups_that_cannot_be_used_are_reported", no_control_groups),
];

/// What is run on a lesser machine, by those above.
pub const INNER: &[Case] =
    &[("without_landlock", inner_no_landlock), ("without_namespaces", inner_no_namespaces), ("without_groups", inner_no_control_groups)];

/// Makes system calls "not exist", or be forbidden, for this process and all that it starts; or changes what it sees mounted.
pub fn deny(what: &str) {
    if let "read-only-groups" | "no-groups" = what {
        return lesser_groups(what == "no-groups");
    }
    let (numbers, errno) = match what {
        "landlock" => (vec![libc::SYS_landlock_create_ruleset], libc::ENOSYS),
        "namespaces" => (vec![libc::SYS_unshare], libc::EPERM),
        _ => panic!("no such filter: {what}"),
    };
    let rules: BTreeMap<_, _> = numbers.into_iter().map(|number| (number, Vec::new())).collect();
    let arch = TargetArch::try_from(std::env::consts::ARCH).unwrap();
    let denied = SeccompAction::Errno(errno.unsigned_abs());
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, denied, arch).unwrap();
    let program: BpfProgram = filter.try_into().unwrap();
    apply_filter(&program).unwrap();
}

/// Control groups as in many containers: mounted read-only, or not at all.
fn lesser_groups(gone: bool) {
    lazarus::unchecked::unshare(rustix::thread::UnshareFlags::NEWNS).unwrap();
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC).unwrap();
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    let groups = mounts.lines().filter(|line| line.contains(" - cgroup")).filter_map(|line| line.split(' ').nth(4));
    for place in groups {
        if gone {
            unmount(place, UnmountFlags::DETACH).unwrap();
        } else {
            mount_remount(place, MountFlags::BIND | MountFlags::RDONLY, "").unwrap();
        }
    }
}

/// Runs a case of this program on a lesser machine.
fn under(filter: &str, case: &str) {
    let output = Command::new(program()).args(["under", filter, case]).output().unwrap();
    assert!(output.status.success(), "{}\n{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
}

fn no_landlock() {
    under("landlock", "without_landlock");
}

fn inner_no_landlock() {
    let mut world = World::new();
    world.policy.accept_degraded = false;
    let life = world.run(&["true"]);
    assert!(life.refused.as_deref().is_some_and(|message| message.contains("no Landlock")), "{life:?}");
    assert!(!life.ready && life.report.is_none());
    let mut world = World::new();
    world.policy.accept_degraded = true;
    let life = world.run(&["true"]);
    assert!(life.ready, "{life:?}");
    let report = life.report.unwrap();
    assert!(report.is_degraded());
    assert!(report.entries().iter().any(|entry| entry.enforcer == Enforcer::Landlock && matches!(entry.extent, Extent::None { .. })));
    // What is not Landlock's holds all the same.
    world.expect(&[("EACCES", "socket:inet".to_owned()), ("EPERM", "mount:/tmp".to_owned()), ("EROFS", "write:/usr/attack".to_owned())]);
    assert!(confined(&["no-landlock", "/"]).status.success());
    assert!(confined(&["degraded", "/"]).status.success());
}

fn no_namespaces_given() {
    under("namespaces", "without_namespaces");
}

fn inner_no_namespaces() {
    let world = World::new();
    let spawned = world.spawn(&["sleep", "1000"]);
    let report = until_ready(&spawned);
    // Root finds out when it tries; an ordinary user at the start.
    assert!(rustix::process::geteuid().is_root() || matches!(namespaces(), NamespaceSupport::None { .. }));
    assert_eq!(spawned.containment(), Containment::Subreaper);
    let partial = |promise: &str| {
        let entry = report.entries().iter().find(|entry| entry.promise.contains(promise)).unwrap();
        matches!(&entry.extent, Extent::Partial { because } if because.contains("namespace"))
    };
    assert!(partial("leaves no process behind") && partial("sees no file"), "{report:?}");
}

/// The tools that everybody uses: they work on what is the agent's own, and leave alone what is not.
fn marks() {
    let mut world = World::new();
    world.namespaces = no_namespaces();
    let (own, rw) = (world.path("ro"), world.path("rw"));
    world.mount("ro", &own, Access::Ro);
    world.mount("rw", &rw, Access::Rw);
    let mode = |path: &str| std::fs::metadata(world.path(path)).unwrap().permissions().mode() & 0o777;
    let years = |path: &str| std::fs::metadata(world.path(path)).unwrap().mtime() / 31_556_952 + 1970;
    for path in ["home/file", "outside/file", "ro/file", "rw/file"] {
        std::fs::set_permissions(world.path(path), std::fs::Permissions::from_mode(0o644)).unwrap();
    }
    let script = format!(
        "cd {home}; ln -s {outside} out; mkdir dir; echo x > dir/x; chmod 640 dir/x
         for file in file {rw}/file; do chmod 600 $file && touch -d 2001-06-01 $file && echo own; done
         for file in {outside}/file out/file ../outside/file {own}/file {outside}; do
           chmod 777 $file 2>/dev/null && echo changed mode $file; touch -d 2001-06-01 $file 2>/dev/null && echo changed time $file
           chmod 777 /proc/self/root$file 2>/dev/null && echo changed through root; done
         exec 9<{own}/file; chmod 777 /dev/fd/9 2>/dev/null && echo changed what is open; chmod 777 /proc/self/fd/9 2>/dev/null && echo changed it
         cp -p dir/x copy && tar cf t.tar dir && rm -r dir && tar xpf t.tar && stat -c '%a %a' dir/x copy | sort -u
         chmod 4755 copy 2>/dev/null && echo set-user-id; echo end",
        home = world.path("home"),
        outside = world.path("outside"),
    );
    let life = world.run(&["/bin/sh", "-c", &script]);
    assert_eq!(life.stdout, "own\nown\n640 640\nend\n", "{life:?}");
    assert_eq!((mode("home/file"), years("home/file")), (0o600, 2001));
    assert_eq!((mode("rw/file"), years("rw/file")), (0o600, 2001));
    for path in ["outside/file", "ro/file"] {
        assert_eq!(mode(path), 0o644, "{path}");
        assert!(years(path) > 2001, "{path}");
    }
    let report = life.report.expect("a report");
    let entry = report.entries().iter().find(|entry| entry.promise.contains("modes, owners, times")).unwrap();
    assert_eq!((entry.enforcer, &entry.extent), (Enforcer::Seccomp, &Extent::Full));
    // One that speaks with its cell has both held.
    world.speaks = true;
    world.expect(&[("ok", format!("read:{own}/file")), ("EACCES", format!("write:{own}/file"))]);
}

fn mount_elsewhere() {
    let mut world = World::new();
    world.namespaces = no_namespaces();
    let own_path = world.path("ro");
    world.mount("ro", &own_path, Access::Ro);
    world.expect(&[("ok", format!("read:{own_path}/file")), ("EACCES", format!("write:{own_path}/file"))]);
    world.mount("rw", "/elsewhere", Access::Rw);
    let refused = |world: &World| spawn(&world.launch(&["true"]), &world.options()).err();
    assert!(matches!(refused(&world), Some(SpawnError::Jail(JailError::MountNeedsNamespace { .. }))));
    world.policy.mounts.pop();
    // Read-only below the writable home: only a mount can do that.
    let inside = world.path("home/workspace");
    world.mount("home/workspace", &inside, Access::Ro);
    assert!(matches!(refused(&world), Some(SpawnError::Jail(JailError::MountNeedsNamespace { .. }))));
}

fn no_control_groups() {
    if rustix::process::geteuid().is_root() {
        for what in ["read-only-groups", "no-groups"] {
            under(what, "without_groups");
        }
    } else {
        // An ordinary user may not write to them, on this machine.
        inner_no_control_groups();
    }
}

fn inner_no_control_groups() {
    let mut world = World::new();
    world.policy.limits.memory = ByteSize::mib(64);
    let cell = "laz-0011aacc".parse().unwrap();
    let made = Cgroup::create(&cell, &"probe".parse().unwrap(), &world.policy.limits, 0);
    assert!(made.is_err(), "{made:?}");
    assert_eq!(cgroup::leftovers(&cell), Vec::<std::path::PathBuf>::new());
    let life = world.run(&["true"]);
    let report = life.report.expect("a report");
    for (name, promise) in
        [(LimitName::Memory, "of memory"), (LimitName::Cpu, "of CPU time"), (LimitName::Processes, "processes and threads")]
    {
        let is_it =
            |entry: &&Entry| matches!(&entry.subject, Subject::Limit { name: of, .. } if *of == name) && entry.promise.contains(promise);
        let entries: Vec<&Entry> = report.entries().iter().filter(is_it).collect();
        let held: Vec<&Entry> =
            entries.iter().copied().filter(|entry| entry.promise.starts_with("uses") || entry.promise.starts_with("runs")).collect();
        let [entry] = held.as_slice() else { panic!("{name}: {entries:?}") };
        let because = match &entry.extent {
            Extent::Partial { because } | Extent::None { because } => because,
            Extent::Full => panic!("{entry:?}"),
        };
        assert!(because.contains("no control group"), "{entry:?}");
        let nothing = name == LimitName::Processes && rustix::process::geteuid().is_root();
        assert_eq!(matches!(entry.extent, Extent::None { .. }), nothing, "{entry:?}");
    }
    // What is left still bounds each process.
    world.expect(&[("out of memory", "memory:200".to_owned()), ("16777216", "memory:16".to_owned())]);
}

fn control_groups() {
    let cell = "laz-0011aabb".parse().unwrap();
    let mut world = World::new();
    world.policy.limits.memory = ByteSize::mib(64);
    world.policy.limits.processes = 40.try_into().unwrap();
    let group = match Cgroup::create(&cell, &"probe".parse().unwrap(), &world.policy.limits, 0) {
        Ok(group) => std::sync::Arc::new(group),
        Err(error) => {
            // An ordinary user has none here; then the limits fall to rlimits, and the report says so.
            assert!(!rustix::process::geteuid().is_root(), "{error}");
            let report = live(world.spawn(&["true"])).report.unwrap();
            assert!(report.entries().iter().any(|entry| entry.enforcer == Enforcer::Rlimit && entry.promise.contains("of memory")));
            let exe = program().display().to_string();
            let life = world.run(&[&exe, "probe", "forks:4"]);
            assert!(life.stdout.contains("= all"), "{life:?}");
            assert!(world.run(&[&exe, "probe", "forks:60"]).stdout.contains("= fewer"));
            return;
        }
    };
    let options =
        ProcessOptions { namespaces: namespaces(), groups: Groups::Made(std::sync::Arc::clone(&group)), speaks: false, reaper: reaper() };
    let exe = program().display().to_string();
    let run = |operation: &str| live(spawn(&world.launch(&[&exe, "probe", operation]), &options).unwrap());
    let life = run("forks:4");
    assert!(life.stdout.contains("= all"), "{life:?}");
    let report = life.report.unwrap();
    let held: Vec<_> = report.entries().iter().filter(|entry| entry.enforcer == Enforcer::Cgroup).collect();
    assert!(held.len() == 3 && held.iter().all(|entry| entry.extent == Extent::Full), "{report:?}");
    assert!(run("forks:60").stdout.contains("= fewer"));
    assert!(run("memory:16").stdout.contains("= 16777216"));
    assert!(!group.ran_out_of_memory());
    // Version 2 ends the whole group, its reaper too, which then cannot say how.
    let end = run("memory:200").end;
    assert!(matches!(end, None | Some(lazarus::backend::protocol::End::Signalled { signal: libc::SIGKILL })), "{end:?}");
    assert!(group.ran_out_of_memory());
    let mut spawned = spawn(&world.launch(&["sleep", "1000"]), &options).unwrap();
    until_ready(&spawned);
    assert!(!cgroup::leftovers(&cell).is_empty());
    group.kill(LONG).unwrap();
    assert!(spawned.reap(LONG).unwrap().is_some());
    drop((spawned, options));
    std::sync::Arc::into_inner(group).expect("the last owner").remove().unwrap();
    assert_eq!(cgroup::leftovers(&cell), Vec::<std::path::PathBuf>::new());
}
