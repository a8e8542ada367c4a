//! The same tests on machines that give less: without `openat2`, without Landlock, and for an ordinary user.

use std::{
    collections::BTreeMap,
    os::unix::fs::PermissionsExt,
    process::{Command, ExitCode},
};

use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, TargetArch, apply_filter};

use crate::{
    Case,
    fixture::{Host, LONG, launch, run},
    wat,
};

pub const CASES: &[Case] = &[
    ("the_other_resolver_holds_as_well", the_other_resolver_holds_as_well),
    ("without_landlock_every_guest_is_refused_and_told_why", without_landlock_every_guest_is_refused_and_told_why),
    ("an_ordinary_user_has_the_same", an_ordinary_user_has_the_same),
];

/// Makes system calls "not exist" for this process and all that it starts.
pub fn deny(what: &str) {
    let number = match what {
        "openat2" => libc::SYS_openat2,
        "landlock" => libc::SYS_landlock_create_ruleset,
        _ => panic!("no such filter: {what}"),
    };
    let arch = TargetArch::try_from(std::env::consts::ARCH).unwrap();
    let missing = SeccompAction::Errno(libc::ENOSYS.unsigned_abs());
    let rules = BTreeMap::from([(number, Vec::new())]);
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, missing, arch).unwrap();
    let program: BpfProgram = filter.try_into().unwrap();
    apply_filter(&program).unwrap();
}

fn assert_passes(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}\n{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
}

/// Old kernels, and seccomp filters of containers, have no `openat2`: wasmtime then resolves paths itself.
fn the_other_resolver_holds_as_well() {
    let files = crate::files::CASES.iter().map(|(name, _)| *name);
    assert_passes(Command::new(std::env::current_exe().unwrap()).args(["under", "openat2"]).args(files));
}

fn without_landlock_every_guest_is_refused_and_told_why() {
    assert_passes(Command::new(std::env::current_exe().unwrap()).arg("without-landlock"));
}

/// What the test above starts.
pub fn without_landlock() -> ExitCode {
    let source = wat::hello("hello\n", 0);
    let mut hello = launch("hello", &source);
    deny("landlock");
    let mut host = Host::start(&[hello.clone()]);
    host.listen(|_| false);
    assert!(!host.spawned.reap(LONG).unwrap().expect("it ends").success());
    let message = host.heard["hello"].refused.clone().expect("a refusal");
    assert!(message.contains("Landlock"), "{message}");
    hello.policy.accept_degraded = true;
    let heard = run(hello);
    assert_eq!(heard.stdout, b"hello\n");
    assert!(heard.report.unwrap().is_degraded());
    ExitCode::SUCCESS
}

/// Everything again, as a user without privileges. Needs `setpriv` (util-linux), which every distribution has.
fn an_ordinary_user_has_the_same() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let place = tempfile::tempdir().unwrap();
    let program = place.path().join("wasm-tests");
    std::fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
    for path in [place.path(), &program] {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    let nobody = ["--reuid", "65534", "--regid", "65534", "--clear-groups", "--inh-caps=-all"];
    assert_passes(Command::new("setpriv").args(nobody).arg(&program).arg("again").current_dir("/"));
}
