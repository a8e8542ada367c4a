//! The profiles of wasm hosts and compilers, applied by a process to itself.

use std::{
    fs::File,
    os::unix::process::ExitStatusExt,
    process::{Command, ExitCode, Output},
};

use lazarus::{
    jail::{Jail, JailError, JailLimits, Profile, Reach},
    policy::Extent,
};

use crate::{
    Case,
    fixture::{CANARY, World, program},
    probe,
};

pub const CASES: &[Case] = &[
    ("a_host_reaches_what_it_was_given", host),
    ("a_host_that_executes_is_killed", host_executes),
    ("a_host_write_past_the_limit_fails_alone", host_limit),
    ("engine_and_event_loop_work_in_the_jail", engine),
    ("a_compiler_opens_nothing", compiler),
    ("a_canary_descriptor_is_closed", canary),
    ("a_second_thread_is_refused", second_thread),
    ("an_orphan_is_refused", orphan),
];

/// Confines this process and runs operations: `confined host DIR operations…`.
pub fn main(profile: &str, operations: &[&str]) -> ExitCode {
    let (dir, operations) = operations.split_first().unwrap();
    let jail = match profile {
        "host" => Jail::new(Profile::WasmHost).allow(File::open(dir).unwrap().into(), Reach::Write),
        "compiler" => Jail::new(Profile::Compiler),
        "second-thread" => {
            let _thread = std::thread::spawn(|| std::thread::sleep(std::time::Duration::from_secs(1000)));
            return expect_refusal(Jail::new(Profile::WasmHost), |error| matches!(error, JailError::NotAlone(2)));
        }
        "orphan" => {
            let (ours, theirs) = lazarus::backend::packets::pair().unwrap();
            drop(theirs);
            let jail = Jail::new(Profile::WasmHost).tied_to(&ours).unwrap();
            return expect_refusal(jail, |error| matches!(error, JailError::Orphan));
        }
        "no-landlock" => return expect_refusal(Jail::new(Profile::WasmHost), |error| matches!(error, JailError::NoLandlock { .. })),
        "degraded" => Jail::new(Profile::WasmHost).accept_degraded(true),
        _ => panic!("no such profile: {profile}"),
    };
    if operations.iter().any(|operation| operation.starts_with("wasm:")) {
        probe::compile();
    }
    let report = jail.limits(JailLimits { file_size: Some(1 << 20), open_files: Some(64), ..JailLimits::default() }).apply().unwrap();
    println!("degraded = {}", report.is_degraded());
    println!("entries = {}", report.entries().iter().filter(|entry| entry.extent == Extent::Full).count());
    probe::main(operations)
}

fn expect_refusal(jail: Jail, is_it: fn(&JailError) -> bool) -> ExitCode {
    match jail.apply() {
        Err(error) if is_it(&error) => ExitCode::SUCCESS,
        other => panic!("{other:?}"),
    }
}

pub fn confined(arguments: &[&str]) -> Output {
    Command::new(program()).arg("confined").args(arguments).env_clear().output().unwrap()
}

/// Whether each operation ended as expected, and the process well.
fn expect(profile: &str, dir: &str, expected: &[(&str, String)]) {
    let mut arguments = vec![profile, dir];
    arguments.extend(expected.iter().map(|(_, operation)| operation.as_str()));
    let output = confined(&arguments);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    for (end, operation) in expected {
        assert!(text.lines().any(|line| line == format!("{operation} = {end}")), "{operation}: {end}\n{text}\n{output:?}");
    }
    assert!(output.status.success() && text.contains("degraded = false"), "{output:?}");
}

fn host() {
    let world = World::new();
    let (home, outside) = (world.path("home"), world.path("outside"));
    std::os::unix::fs::symlink(format!("{outside}/canary"), format!("{home}/planted")).unwrap();
    expect(
        "host",
        &home,
        &[
            ("ok", format!("read:{home}/file")),
            ("ok", format!("write:{home}/new")),
            ("ok", format!("mkdir:{home}/dir")),
            ("ok", format!("link:{home}/file:{home}/linked")),
            ("ok", format!("rename:{home}/linked:{home}/dir/renamed")),
            ("ok", format!("remove:{home}/dir/renamed")),
            ("EACCES", format!("read:{outside}/canary")),
            ("EACCES", format!("read:{home}/planted")),
            ("EACCES", format!("read:{home}/../outside/canary")),
            ("EXDEV", format!("link:{outside}/canary:{home}/stolen")),
            ("EACCES", format!("write:{outside}/new")),
            ("EACCES", format!("truncate:{outside}/canary")),
            ("EACCES", "read:/etc/passwd".to_owned()),
            ("EACCES", "read:/proc/self/environ".to_owned()),
            ("EACCES", "list:/".to_owned()),
            // A guest can lead WASI to these: they are refused, and do not end the host.
            ("EPERM", "socket:inet".to_owned()),
            ("EPERM", "socket:unix".to_owned()),
            ("EPERM", "socketpair:dgram".to_owned()),
            ("ok", "socketpair:stream".to_owned()),
            ("EPERM", format!("signal:{}", std::process::id())),
            ("EPERM", format!("mknod:{home}/device")),
            ("7", "threads".to_owned()),
        ],
    );
    assert_eq!(std::fs::read_to_string(format!("{outside}/canary")).unwrap(), CANARY);
}

fn host_executes() {
    let world = World::new();
    let dir = world.path("home");
    for profile in ["host", "compiler"] {
        for attack in ["replace:/bin/true", "mount:/tmp", "chroot:/", "unshare"] {
            let output = confined(&[profile, &dir, attack]);
            assert_eq!(output.status.signal(), Some(libc::SIGSYS), "{attack}: {output:?}");
        }
    }
}

fn host_limit() {
    let world = World::new();
    let home = world.path("home");
    expect("host", &home, &[("EFBIG", format!("fill:{home}/large")), ("ok", format!("read:{home}/file"))]);
    assert_eq!(std::fs::metadata(format!("{home}/large")).unwrap().len(), 1 << 20);
}

fn engine() {
    let world = World::new();
    let wasm = [
        ("99", "wasm:return".to_owned()),
        ("wasm trap: out of bounds memory access", "wasm:trap".to_owned()),
        ("wasm trap: call stack exhausted", "wasm:deep".to_owned()),
    ];
    expect("host", &world.path("home"), &[&wasm[..], &[("7", "tokio".to_owned())]].concat());
    expect("compiler", &world.path("home"), &[("true", "compile".to_owned())]);
}

fn compiler() {
    let world = World::new();
    let home = world.path("home");
    expect(
        "compiler",
        &home,
        &[
            ("EPERM", format!("read:{home}/file")),
            ("EPERM", format!("write:{home}/new")),
            ("EPERM", format!("list:{home}")),
            ("EPERM", "socketpair:stream".to_owned()),
            ("EPERM", "socket:inet".to_owned()),
            ("7", "threads".to_owned()),
            ("67108864", "memory:64".to_owned()),
        ],
    );
}

fn canary() {
    let world = World::new();
    let canary = File::open(world.path("outside/canary")).unwrap();
    rustix::io::fcntl_setfd(&canary, rustix::io::FdFlags::empty()).unwrap();
    let number = std::os::fd::AsRawFd::as_raw_fd(&canary);
    let read = format!("held:{number}");
    // Without the jail, it is there; with it, it is not.
    let output = Command::new(program()).args(["probe", &read]).output().unwrap();
    assert!(String::from_utf8_lossy(&output.stdout).contains(&format!("{read} = ok")), "{output:?}");
    expect("host", &world.path("home"), &[("EBADF", read)]);
}

fn second_thread() {
    let output = confined(&["second-thread", "/"]);
    assert!(output.status.success(), "{output:?}");
}

fn orphan() {
    let output = confined(&["orphan", "/"]);
    assert!(output.status.success(), "{output:?}");
}
