//! Each comparison, with what agrees and with what does not.

use super::*;
use crate::{
    jail::observe::{Agrees, Who},
    policy::{Access, Granted, Report, Wall},
};

const PROGRAM: &str = "/opt/lazarus/lazarus";

fn report() -> Report {
    let mut report = Report::new();
    report.full(Enforcer::Kernel, Wall::Privileges, GAINS_NO_CAPABILITY);
    report.full(Enforcer::Namespace, Wall::Files, "sees no file but those that it was granted");
    report.full(Enforcer::Rlimit, Wall::Files, NO_CORE_DUMP).set = Some(0);
    report.full(Enforcer::Rlimit, Subject::limit(LimitName::OpenFiles, 256), "opens at most 256").set = Some(256);
    report.full(Enforcer::Rlimit, Subject::limit(LimitName::Cpu, "1h"), "at most 1h").set = Some(3600);
    report.full(Enforcer::Seccomp, Wall::Calls, "makes no dangerous call").set = Some(4);
    report.full(Enforcer::Cgroup, Subject::limit(LimitName::Memory, "1 MiB"), "at most 1 MiB");
    report.full(Enforcer::Landlock, Subject::path("/home/x", Access::Rw, Granted::Home), "its home");
    report
}

fn status() -> Status {
    Status {
        no_new_privs: Some(1),
        seccomp: Some(2),
        filters: Some(5),
        capabilities: Some(0),
        bounding: Some(0),
        users: vec![7; 4],
        groups: vec![8; 4],
        supplementary: vec![8],
    }
}

fn mapping(path: &str, rights: &str, inode: u64) -> Mapping {
    Mapping { writable: rights.contains('w'), executable: rights.contains('x'), inode, path: path.to_owned() }
}

fn observed() -> Observed {
    let names = |of: &str| NAMESPACES.iter().map(|name| format!("{name}:[{of}]")).collect();
    let path = |number, path: &str| Descriptor { number, target: Target::Path(path.to_owned()) };
    Observed {
        threads: Ok(vec![status(), status()]),
        limits: Ok(vec![
            ("Max core file size".to_owned(), (Some(0), Some(0))),
            ("Max open files".to_owned(), (Some(256), Some(256))),
            ("Max cpu time".to_owned(), (Some(3600), Some(3601))),
        ]),
        descriptors: Ok(vec![
            Descriptor { number: 0, target: Target::Device(1, 3, "/null".to_owned()) },
            Descriptor { number: 3, target: Target::Socket(42) },
            Descriptor { number: 4, target: Target::Anonymous("[eventpoll]".to_owned()) },
            path(5, "/home/x/notes (deleted)"),
        ]),
        networked: Ok(vec![41]),
        maps: Ok(vec![mapping("/home/x/tool", "rx", 3), mapping("", "rw", 0), mapping("[vdso]", "rx", 0)]),
        namespaces: Ok(names("2")),
        groups: Ok(vec![Membership { controllers: vec!["memory".to_owned()], path: "/top/lazarus.laz-1.x".to_owned() }]),
    }
}

/// What is expected of a part, compared with what was observed: the comparisons that do not agree, by their names.
fn wrong(part: Part, change: impl FnOnce(&mut Observed, &mut Report)) -> Vec<(String, Agrees)> {
    let (mut observed, mut report) = (observed(), report());
    change(&mut observed, &mut report);
    let warden = Status { no_new_privs: Some(0), filters: Some(1), ..status() };
    let warden_namespaces: Vec<String> = NAMESPACES.iter().map(|name| format!("{name}:[1]")).collect();
    let program = (PathBuf::from(PROGRAM), 99);
    let expected = Expected {
        who: Who { pid: 4711, part, agents: vec!["x".parse().expect("a name")] },
        reports: vec![&report],
        granted: vec![(Resource::OpenFiles, 300)],
        warden: Some(&warden),
        warden_namespaces: Some(&warden_namespaces),
        program: Some(&program),
        places: vec!["/home/x".into()],
        code: vec!["/root/cache/a.cwasm".into()],
        group: Some("lazarus.laz-1.x".to_owned()),
        own_streams: false,
    };
    let checks = compare(&expected, &observed);
    assert!(checks.len() > 11, "{checks:?}");
    checks.into_iter().filter(|check| check.agrees != Agrees::Yes).map(|check| (check.what, check.agrees)).collect()
}

fn no(what: &str) -> Vec<(String, Agrees)> {
    vec![(what.to_owned(), Agrees::No)]
}

#[test]
fn what_is_as_it_was_reported_agrees() {
    assert_eq!(wrong(Part::Agent, |_, _| {}), []);
    // Less than was given is as good: agents may lower their own limits.
    let lower = |observed: &mut Observed, _: &mut Report| observed.limits.as_mut().expect("limits")[1].1 = (Some(10), Some(100));
    assert_eq!(wrong(Part::Agent, lower), []);
}

#[test]
fn one_thread_that_is_less_confined_is_found() {
    let thread =
        |change: fn(&mut Status)| wrong(Part::Agent, move |observed, _| change(&mut observed.threads.as_mut().expect("threads")[1]));
    assert_eq!(thread(|thread| thread.no_new_privs = Some(0)), no("no_new_privs"));
    assert_eq!(thread(|thread| thread.seccomp = Some(0)), no("seccomp"));
    assert_eq!(thread(|thread| thread.filters = Some(4)), no("seccomp filters"));
    assert_eq!(thread(|thread| thread.capabilities = Some(0x2000)), no("capabilities"));
    assert_eq!(thread(|thread| thread.bounding = Some(1)), no("bounding set of capabilities"));
    assert_eq!(thread(|thread| thread.users = vec![7, 0, 7, 7]), no("user"));
    assert_eq!(thread(|thread| thread.groups = vec![0; 4]), no("group"));
    assert_eq!(thread(|thread| thread.supplementary = vec![8, 27]), no("supplementary groups"));
}

#[test]
fn limits_that_were_raised_are_found() {
    let limit = |at: usize, bounds: Bounds| wrong(Part::Agent, move |observed, _| observed.limits.as_mut().expect("limits")[at].1 = bounds);
    assert_eq!(limit(0, (None, None)), no("limit: Max core file size"));
    assert_eq!(limit(1, (Some(257), Some(257))), no("limit: Max open files"));
    assert_eq!(limit(1, (Some(256), None)), no("limit: Max open files"), "it could raise it itself");
    assert_eq!(limit(2, (Some(3600), Some(3602))), no("limit: Max cpu time"));
    // Those that nobody asks for, of which the report speaks as well.
    for (promise, name) in [
        (crate::jail::LOCKED, "Max locked memory"),
        (crate::jail::QUEUES, "Max msgqueue size"),
        (crate::jail::SIGNALS, "Max pending signals"),
        (crate::jail::NO_PRIORITY, "Max nice priority"),
        (crate::jail::NO_REALTIME, "Max realtime priority"),
    ] {
        let found = |bounds: Bounds| {
            wrong(Part::Agent, move |observed, report| {
                report.full(Enforcer::Rlimit, Wall::Privileges, promise).set = Some(64);
                observed.limits.as_mut().expect("limits").push((name.to_owned(), bounds));
            })
        };
        assert_eq!(found((Some(64), Some(64))), [], "the twin");
        assert_eq!(found((Some(64), None)), no(&format!("limit: {name}")));
    }
    // A report that allows more than the policy does not make it right.
    let tampered = |observed: &mut Observed, report: &mut Report| {
        observed.limits.as_mut().expect("limits")[1].1 = (Some(1000), Some(1000));
        report.full(Enforcer::Rlimit, Subject::limit(LimitName::OpenFiles, 1000), "more").set = Some(1000);
    };
    assert_eq!(wrong(Part::Agent, tampered), no("limit: Max open files"));
}

#[test]
fn a_report_that_says_more_than_holds_is_found() {
    let says = |entry: fn(&mut Report)| wrong(Part::Agent, move |_, report| entry(report));
    let filters = says(|report| report.full(Enforcer::Seccomp, Wall::Processes, "another").set = Some(1));
    assert_eq!(filters, no("seccomp filters"));
    let pids = says(|report| {
        report.full(Enforcer::Cgroup, Subject::limit(LimitName::Processes, 7), "runs at most 7");
    });
    assert_eq!(pids, no("control group for pids"));
    let data = says(|report| report.full(Enforcer::Rlimit, Subject::limit(LimitName::Memory, "1 KiB"), "at most").set = Some(1024));
    assert_eq!(data, [("limit: Max data size".to_owned(), Agrees::Unknown)], "the kernel does not say");
}

#[test]
fn descriptors_that_were_not_granted_are_found() {
    let holds = |target: Target| {
        wrong(Part::Agent, move |observed, _| observed.descriptors.as_mut().expect("some").push(Descriptor { number: 9, target }))
    };
    for path in ["/root/registry.db", "/home/xy", "/home", "/home/x/../y"] {
        assert_eq!(holds(Target::Path(path.to_owned())), no("descriptors"), "{path}");
    }
    assert_eq!(holds(Target::Socket(41)), no("descriptors"), "of a network");
    assert_eq!(holds(Target::Anonymous("[io_uring]".to_owned())), no("descriptors"));
    assert_eq!(holds(Target::Device(1, 1, "/dev/mem".to_owned())), no("descriptors"));
    assert_eq!(holds(Target::Device(1, 9, "/urandom".to_owned())), []);
    assert_eq!(holds(Target::Path("/home/x/more".to_owned())), []);
    let unread = wrong(Part::Agent, |observed, _| observed.networked = Err("hidden".to_owned()));
    assert_eq!(unread, [("descriptors".to_owned(), Agrees::Unknown)], "a socket of which nothing is known");
}

#[test]
fn memory_that_should_not_be_there_is_found() {
    let maps = |part: Part, path: &'static str, rights: &'static str| {
        wrong(part, move |observed, _| observed.maps = Ok(vec![mapping(PROGRAM, "rx", 99), mapping(path, rights, 5)]))
    };
    let both = "memory that is both writable and executable";
    assert_eq!(maps(Part::Host, "", "rwx"), no(both));
    assert_eq!(maps(Part::Host, "/root/cache/a.cwasm", "rx"), []);
    assert_eq!(maps(Part::Host, "/usr/lib/libc.so.6", "rx"), []);
    assert_eq!(maps(Part::Host, "/home/x/libc.so.6", "rx"), no("mapped code"));
    assert_eq!(maps(Part::Host, "/root/cache/b.cwasm", "rx"), no("mapped code"));
    assert_eq!(maps(Part::Host, "/home/x/data", "rw"), [], "data is none");
    assert_eq!(maps(Part::Reaper, "/lib/libc.so.6", "rx"), []);
    assert_eq!(maps(Part::Reaper, "/home/x/tool", "rx"), no("mapped code"));
    let agent = |path: &'static str, rights: &'static str| {
        wrong(Part::Agent, move |observed, _| observed.maps = Ok(vec![mapping(path, rights, 5)]))
    };
    assert_eq!(agent("", "rwx"), [], "a program may compile as it runs");
    assert_eq!(agent("/home/x/tool (deleted)", "rx"), []);
    assert_eq!(agent("/root/registry.db-shm", "rw"), no("mapped files"));
}

#[test]
fn shared_namespaces_and_other_groups_are_found() {
    let shared = wrong(Part::Agent, |observed, _| observed.namespaces.as_mut().expect("some")[2] = "net:[1]".to_owned());
    assert_eq!(shared, no("namespaces"));
    let elsewhere = wrong(Part::Agent, |observed, _| observed.groups.as_mut().expect("some")[0].path = "/top".to_owned());
    assert_eq!(elsewhere, no("control group for memory"));
    let unified = wrong(Part::Agent, |observed, _| observed.groups.as_mut().expect("some")[0].controllers.clear());
    assert_eq!(unified, []);
    let counted = |controllers: &'static [&'static str], path: &'static str| {
        wrong(Part::Agent, move |observed, report| {
            report.full(Enforcer::Cgroup, Subject::limit(LimitName::Cpu, "1h"), "uses at most 1h, all its processes together");
            let controllers = controllers.iter().map(|name| (*name).to_owned()).collect();
            observed.groups.as_mut().expect("some").push(Membership { controllers, path: path.to_owned() });
        })
    };
    for controllers in [&["cpu", "cpuacct"][..], &["cpuacct"], &[]] {
        assert_eq!(counted(controllers, "/lazarus.laz-1.x"), [], "{controllers:?}");
        assert_eq!(counted(controllers, "/top"), no("control group for cpuacct"), "{controllers:?}");
    }
}

#[test]
fn what_cannot_be_read_is_unknown_and_never_agrees() {
    let hidden = wrong(Part::Agent, |observed, _| {
        let no = || "this user may not read it".to_owned();
        *observed = Observed {
            threads: Err(no()),
            limits: Err(no()),
            descriptors: Err(no()),
            networked: Err(no()),
            maps: Err(no()),
            namespaces: Err(no()),
            groups: Err(no()),
        };
    });
    assert!(hidden.len() > 8 && hidden.iter().all(|(_, agrees)| *agrees == Agrees::Unknown), "{hidden:?}");
    let old = wrong(Part::Agent, |observed, _| observed.threads = Ok(vec![Status { filters: None, capabilities: None, ..status() }]));
    let names: Vec<&str> = old.iter().map(|(what, _)| what.as_str()).collect();
    assert_eq!(names, ["seccomp filters", "capabilities"]);
    assert!(old.iter().all(|(_, agrees)| *agrees == Agrees::Unknown));
}
