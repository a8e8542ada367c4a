//! Process agents: what they reach, and what they do not.

use lazarus::{
    cell::Role,
    jail::namespaces::NamespaceSupport,
    policy::{Access, Extent},
};

use crate::{
    Case,
    fixture::{CANARY, World, namespaces, no_namespaces},
};

pub const CASES: &[Case] = &[
    ("files_are_reached_as_granted", files),
    ("links_and_renames_stay_inside", links),
    ("mounts_are_as_writable_as_granted", mounts),
    ("an_observer_reads_what_is_shared", observer),
    ("no_way_to_a_network", network),
    ("dangerous_calls_are_refused", calls),
    ("other_processes_are_out_of_reach", processes),
    ("proc_shows_processes_and_little_of_the_machine", proc),
    ("nothing_is_inherited", inherited),
    ("refusals_name_the_command", refusals),
    ("the_report_is_what_was_given", report),
    ("limits_of_files_and_memory_hold", limits),
];

/// With namespaces, and without.
fn both() -> [World; 2] {
    assert_eq!(namespaces(), NamespaceSupport::Full, "this machine is expected to give namespaces");
    let mut shared = World::new();
    shared.namespaces = no_namespaces();
    [World::new(), shared]
}

fn own(world: &World) -> bool {
    world.namespaces == NamespaceSupport::Full
}

fn files() {
    for world in both() {
        let absent = if own(&world) { "ENOENT" } else { "EACCES" };
        world.expect(&[
            ("ok", format!("read:{}", world.path("home/file"))),
            (absent, format!("read:{}", world.path("outside/file"))),
            (absent, format!("read:{}", world.path("home/../outside/file"))),
            ("ok", format!("write:{}", world.path("home/new"))),
            (absent, format!("write:{}", world.path("outside/new"))),
            (absent, format!("truncate:{}", world.path("outside/canary"))),
            (absent, format!("list:{}", world.path("outside"))),
            ("ok", format!("list:{}", world.path("home"))),
            ("ok", "list:/usr".to_owned()),
            (if own(&world) { "EROFS" } else { "EACCES" }, "write:/usr/attack".to_owned()),
            (absent, "read:/etc/shadow".to_owned()),
            (absent, "list:/root".to_owned()),
            ("ok", "write:/dev/null".to_owned()),
            ("exit 0", "exec:/bin/true".to_owned()),
        ]);
        assert_eq!(std::fs::read_to_string(world.path("outside/canary")).unwrap(), CANARY);
        assert!(!std::path::Path::new(&world.path("outside/new")).exists());
    }
}

fn links() {
    for world in both() {
        let absent = if own(&world) { "ENOENT" } else { "EACCES" };
        let (home, outside) = (world.path("home"), world.path("outside"));
        std::os::unix::fs::symlink(format!("{outside}/canary"), format!("{home}/planted")).unwrap();
        world.expect(&[
            ("ok", format!("link:{home}/file:{home}/linked")),
            (if own(&world) { "ENOENT" } else { "EXDEV" }, format!("link:{outside}/canary:{home}/stolen")),
            ("ok", format!("rename:{home}/linked:{home}/renamed")),
            // Between directories, as git and package managers do: the layer around the agent alone must not forbid it.
            ("ok", format!("link:{home}/renamed:{home}/workspace/linked")),
            ("ok", format!("rename:{home}/workspace/linked:{home}/moved")),
            (absent, format!("rename:{home}/renamed:{outside}/escaped")),
            ("ok", format!("symlink:{outside}/canary:{home}/link")),
            (absent, format!("read:{home}/link")),
            (absent, format!("read:{home}/planted")),
            (absent, format!("append:{home}/planted")),
            ("EACCES", format!("mknod:{home}/device")),
        ]);
        assert_eq!(std::fs::read_to_string(world.path("outside/canary")).unwrap(), CANARY);
    }
}

fn mounts() {
    let mut world = World::new();
    world.mount("ro", "/in/ro", Access::Ro);
    world.mount("rw", "/in/rw", Access::Rw);
    world.mount("ro/file", "/in/one-file", Access::Ro);
    let inside_home = world.path("home/project");
    // Nothing is made in what is mounted.
    std::fs::create_dir(&inside_home).expect("made");
    world.mount("ro", &inside_home, Access::Ro);
    world.expect(&[
        ("ok", "read:/in/ro/file".to_owned()),
        ("EROFS", "write:/in/ro/file".to_owned()),
        ("EROFS", "truncate:/in/ro/file".to_owned()),
        ("EROFS", "remove:/in/ro/file".to_owned()),
        ("ok", "write:/in/rw/file".to_owned()),
        ("EXDEV", "link:/in/ro/file:/in/rw/linked".to_owned()),
        ("EXDEV", "rename:/in/ro/file:/in/rw/renamed".to_owned()),
        ("ok", "read:/in/one-file".to_owned()),
        ("EROFS", "append:/in/one-file".to_owned()),
        ("EROFS", format!("write:{inside_home}/file")),
        ("ok", format!("read:{inside_home}/file")),
        ("ok", "write:/tmp/scratch".to_owned()),
        ("EROFS", "write:/in/new".to_owned()),
    ]);
    assert_eq!(std::fs::read_to_string(world.path("ro/file")).unwrap(), "ro");
    assert_eq!(std::fs::read_to_string(world.path("rw/file")).unwrap(), "attack");
}

/// Everything that this machine's `/proc` has, whatever that is.
fn proc() {
    let entries = std::fs::read_dir("/proc").unwrap().map(|entry| entry.unwrap());
    let of_the_machine = entries.filter(|entry| !entry.file_type().unwrap().is_symlink());
    let named = of_the_machine.map(|entry| (entry.file_name().into_string().unwrap(), entry.file_type().unwrap().is_dir()));
    let named: Vec<_> = named.filter(|(name, _)| name.parse::<u32>().is_err()).collect();
    assert!(named.len() > 20, "{named:?}");
    for world in both() {
        let expected = named.iter().map(|(name, is_dir)| {
            let shown = own(&world) && lazarus::jail::SHOWN.contains(&name.as_str());
            (if shown { "ok" } else { "EACCES" }, format!("{}:/proc/{name}", if *is_dir { "list" } else { "read" }))
        });
        let mut expected: Vec<_> = expected.collect();
        if own(&world) {
            expected.extend([
                ("ok", "read:/proc/self/status".into()),
                ("ok", "read:/proc/1/status".into()),
                ("EACCES", "read:/proc/1/environ".into()),
            ]);
            expected.extend([("ok", "read:/proc/net/unix".into()), ("EROFS", "write:/proc/sys/kernel/core_pattern".into())]);
        }
        world.expect(&expected);
    }
}

fn observer() {
    for mut world in both() {
        let shared = if own(&world) { "/shared".to_owned() } else { world.path("shared") };
        world.expect(&[("ok", format!("write:{shared}/new")), ("ok", format!("read:{shared}/file"))]);
        world.role = Role::Observer;
        let refused = if own(&world) { "EROFS" } else { "EACCES" };
        world.expect(&[
            (refused, format!("write:{shared}/newer")),
            (refused, format!("truncate:{shared}/file")),
            ("ok", format!("read:{shared}/file")),
        ]);
        assert_eq!(std::fs::read_to_string(world.path("shared/file")).unwrap(), "shared");
    }
}

fn network() {
    for world in both() {
        world.expect(&[
            ("EACCES", "socket:inet".to_owned()),
            ("EACCES", "socket:inet6".to_owned()),
            ("EACCES", "socket:netlink".to_owned()),
            ("EACCES", "socket:unix".to_owned()),
            ("EACCES", "socketpair:dgram".to_owned()),
            ("ok", "socketpair:stream".to_owned()),
            // io_uring_setup(1, NULL): another way to make sockets.
            ("EPERM", format!("raw:{}:1:0", libc::SYS_io_uring_setup)),
        ]);
    }
}

fn calls() {
    let clone = |flags: i32| format!("raw:{}:{}:0:0:0:0", libc::SYS_clone, flags | libc::SIGCHLD);
    for world in both() {
        world.expect(&[
            ("EPERM", "mount:/tmp".to_owned()),
            ("EPERM", "unmount:/usr".to_owned()),
            ("EPERM", "chroot:/usr".to_owned()),
            ("EPERM", "unshare".to_owned()),
            ("EPERM", "sethostname:attack".to_owned()),
            ("EPERM", clone(libc::CLONE_NEWUSER)),
            ("EPERM", clone(libc::CLONE_NEWNS)),
            ("ENOSYS", format!("raw:{}:0:0", libc::SYS_clone3)),
            ("EPERM", format!("raw:{}:0:0:0", libc::SYS_bpf)),
            ("EPERM", format!("raw:{}:0:0:0:0", libc::SYS_ptrace)),
            ("EPERM", format!("raw:{}:0", libc::SYS_userfaultfd)),
            ("EPERM", format!("raw:{}:0:0:0:0:0", libc::SYS_keyctl)),
            ("EPERM", format!("raw:{}:0:0:0:0:0", libc::SYS_perf_event_open)),
            ("EPERM", format!("raw:{}:0:0:0:0", libc::SYS_kexec_load)),
            ("EPERM", format!("raw:{}:0x20000", libc::SYS_personality)),
            ("ok", format!("raw:{}:0xffffffff", libc::SYS_personality)),
            ("ok", format!("raw:{}:0:7:0:0", libc::SYS_prlimit64)),
            ("EPERM", format!("raw:{}:{}:7:0:0", libc::SYS_prlimit64, std::process::id())),
            // Another's priority: nobody's, in a pid namespace of its own.
            (if own(&world) { "ESRCH" } else { "EPERM" }, format!("raw:{}:0:{}:10", libc::SYS_setpriority, std::process::id())),
            ("ok", format!("raw:{}:0:0:10", libc::SYS_setpriority)),
            // A private segment, of the agent's own ipc namespace or not at all.
            (if own(&world) { "ok" } else { "EPERM" }, format!("raw:{}:0x1234:4096:0x3ff", libc::SYS_shmget)),
            // TIOCSTI on stdin: refused before it is seen that stdin is no terminal; TCGETS is not.
            ("EPERM", format!("raw:{}:0:0x5412:0", libc::SYS_ioctl)),
            ("Inappropriate ioctl for device (os error 25)", format!("raw:{}:0:0x5401:0", libc::SYS_ioctl)),
            ("7", "threads".to_owned()),
        ]);
        #[cfg(target_arch = "x86_64")]
        {
            // getpid by the x32 convention, and by the usual one.
            let x32 = format!("raw:{}", 0x4000_0000 | libc::SYS_getpid);
            let life = world.probe(&[x32.clone(), format!("raw:{}", libc::SYS_getpid)]);
            assert!(life.said[&x32].contains(&libc::SIGSYS.to_string()), "{life:?}");
        }
    }
}

fn processes() {
    let outside = std::process::id();
    for world in both() {
        let signal = if own(&world) { "ESRCH" } else { "EPERM" };
        let absent = if own(&world) { "ENOENT" } else { "EACCES" };
        world.expect(&[
            (signal, format!("signal:{outside}")),
            (absent, format!("read:/proc/{outside}/environ")),
            (absent, format!("read:/proc/{outside}/cmdline")),
        ]);
    }
    let world = World::new();
    let life = world.probe(&[
        "list:/proc/self".into(),
        "pid".into(),
        "read:/proc/1/environ".into(),
        "read:/proc/1/mem".into(),
        "kill:1".into(),
        "read:/proc/1/fd/0".into(),
        "write:/proc/sys/kernel/core_pattern".into(),
    ]);
    assert_eq!(life.said["list:/proc/self"], "ok", "{life:?}");
    // The reaper is process 1, and one layer of Landlock further out.
    for attack in ["read:/proc/1/environ", "read:/proc/1/mem", "read:/proc/1/fd/0"] {
        assert_eq!(life.said[attack], "EACCES", "{attack} {life:?}");
    }
    assert_eq!(life.said["kill:1"], "EPERM", "{life:?}");
    assert_eq!(life.said["write:/proc/sys/kernel/core_pattern"], "EROFS", "{life:?}");
}

fn inherited() {
    for world in both() {
        // A careless open: without close-on-exec, as C code does it. The handoff must not be the only thing that is careful.
        let canary = std::fs::File::open(world.path("outside/canary")).unwrap();
        rustix::io::fcntl_setfd(&canary, rustix::io::FdFlags::empty()).unwrap();
        let life = world.probe(&[
            "env".into(),
            "cwd".into(),
            format!("read:/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&canary)),
            "descriptors".into(),
        ]);
        assert_eq!(life.said["env"], "GRANTED=yes|PATH=/usr/bin:/bin", "{life:?}");
        assert_eq!(life.said["cwd"], world.path("home/workspace"));
        assert_eq!(life.said["descriptors"], "none", "{life:?}");
        assert!(!life.stdout.contains("= ok"), "{life:?}");
    }
}

fn refusals() {
    for world in both() {
        std::fs::write(world.path("home/not-a-program"), "text").unwrap();
        let not_a_program = world.path("home/not-a-program");
        for (argv, words) in [
            (vec!["no-such-command", "--secret"], "\"no-such-command\": no such command"),
            (vec!["/no/such/path"], "\"/no/such/path\""),
            (vec![not_a_program.as_str()], "not-a-program\": Permission denied"),
        ] {
            let life = world.run(&argv);
            let message = life.refused.clone().unwrap_or_default();
            assert!(message.contains(words) && !message.contains("--secret") && message.lines().count() == 1, "{life:?}");
            assert!(!life.ready && life.end.is_none(), "{life:?}");
        }
    }
}

fn report() {
    for world in both() {
        let life = world.run(&["true"]);
        let report = life.report.expect("a report");
        let partial: Vec<_> = report.entries().iter().filter(|entry| matches!(entry.extent, Extent::Partial { .. })).collect();
        let full = |promise: &str| report.entries().iter().any(|entry| entry.promise.contains(promise) && entry.extent == Extent::Full);
        assert!(full("reaches no file") && full("no socket") && full("no capabilities") && full("no process outside"), "{report:?}");
        assert_eq!(full("leaves no process behind"), own(&world), "{report:?}");
        assert_eq!(full("sees no process but its own"), own(&world), "{report:?}");
        assert!(partial.iter().any(|entry| entry.promise.contains("of memory")), "without a control group: {report:?}");
    }
}

fn limits() {
    let mut world = World::new();
    world.policy.limits.home = lazarus::policy::ByteSize::mib(1);
    world.policy.limits.memory = lazarus::policy::ByteSize::mib(64);
    let life = world.run(&["sh", "-c", "ulimit -c; ulimit -n; ulimit -f"]);
    assert_eq!(life.stdout, "0\n256\n2048\n", "{life:?}");
    world.expect(&[("out of memory", "memory:200".to_owned()), ("16777216", "memory:16".to_owned())]);
    let life = world.run(&[&crate::fixture::program().display().to_string(), "probe", &format!("fill:{}", world.path("home/large"))]);
    assert!(matches!(life.end, Some(lazarus::backend::protocol::End::Limit { ref limit, .. }) if limit == "home"), "{life:?}");
    assert_eq!(std::fs::metadata(world.path("home/large")).unwrap().len(), 1 << 20);
}
