//! Machines that give less: without Landlock and without namespaces (a filter answers for the kernel), and with control groups that cannot be
//! written to (mounted read-only, in a mount namespace of the test's own). Refused, unless accepted, on record; or reported.

use std::collections::BTreeMap;

use lazarus_tests::{Lab, Outcome, lab::text};
use rustix::mount::{MountFlags, MountPropagationFlags, mount_change, mount_remount};
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, SeccompRule};
use serde_json::Value;

/// `landlock_create_ruleset`, the same on every architecture.
const LANDLOCK_CREATE_RULESET: i64 = 444;
const ENOSYS: u32 = 38;
const EPERM: u32 = 1;

/// Runs a command as if on a kernel that answers a system call with an error: the filter binds this thread and what it starts.
fn without(call: i64, errno: u32, lab: &Lab, args: &[&str]) -> Outcome {
    elsewhere(lab, args, || {
        let rules: BTreeMap<i64, Vec<SeccompRule>> = [(call, Vec::new())].into();
        let arch = std::env::consts::ARCH.try_into().expect("an architecture with filters");
        let filter = SeccompFilter::new(rules, SeccompAction::Allow, SeccompAction::Errno(errno), arch).expect("a filter");
        let program: BpfProgram = filter.try_into().expect("compiled");
        seccompiler::apply_filter(&program).expect("applied");
    })
}

/// Runs a command in a thread that was changed first, and so starts it on another machine than this one.
fn elsewhere(lab: &Lab, args: &[&str], change: impl FnOnce() + Send) -> Outcome {
    std::thread::scope(|scope| {
        let run = scope.spawn(|| {
            change();
            lab.json(args)
        });
        run.join().expect("it does not panic")
    })
}

fn without_landlock(lab: &Lab, args: &[&str]) -> Outcome {
    without(LANDLOCK_CREATE_RULESET, ENOSYS, lab, args)
}

/// Where the trees of control groups are mounted.
fn cgroup_mounts() -> Vec<String> {
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").expect("read");
    let is_group = |line: &&str| line.contains(" - cgroup ") || line.contains(" - cgroup2 ");
    mounts.lines().filter(is_group).filter_map(|line| line.split(' ').nth(4).map(str::to_owned)).collect()
}

/// Runs a command where control groups can be seen, and not written to.
fn with_groups_read_only(lab: &Lab, args: &[&str]) -> Outcome {
    elsewhere(lab, args, || {
        lazarus::unchecked::unshare(rustix::thread::UnshareFlags::NEWNS).expect("a mount namespace");
        mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC).expect("private");
        for place in cgroup_mounts() {
            mount_remount(place.as_str(), MountFlags::BIND | MountFlags::RDONLY, "").expect("read-only");
        }
    })
}

/// What the audit says that the operator accepted for a cell.
fn accepted(lab: &Lab, cell: &str) -> Vec<(String, String)> {
    let registry = lazarus::registry::Registry::open(&lab.root()).expect("the registry");
    let filter = lazarus::registry::AuditFilter { cell: Some(cell.parse().expect("an id")), ..Default::default() };
    let rows = registry.audit_rows(&filter).expect("the rows");
    rows.into_iter().filter(|row| row.action == lazarus::audit::Action::Accept).map(|row| (row.actor, row.detail)).collect()
}

/// The entries about a limit, of the first agent of a cell.
fn entries(lab: &Lab, cell: &str, limit: &str) -> Vec<Value> {
    let explained = lab.json(&["explain", cell]).exits(0).json();
    let entries = explained["agents"][0]["enforcement"].as_array().expect("entries").clone();
    entries.into_iter().filter(|entry| entry["subject"]["name"] == limit).collect()
}

#[test]
fn a_missing_landlock_refuses_unless_it_is_accepted_on_record() {
    let lab = Lab::new();
    for backend in ["process", "wasm"] {
        let refused = without_landlock(&lab, &["summon", "scribe", "p", "--backend", backend]).exits(1).message();
        assert!(refused.contains("Landlock") && refused.contains("--accept-degraded"), "{refused}");
        // The cell that was refused says it as well, to whoever asks what would hold it.
        let cells = lab.json(&["status"]).exits(0).json();
        let failed = text(&cells["active_cells"][0]["cell_id"]);
        let explained = lab.json(&["explain", &failed]).exits(0).json();
        for said in [&explained["reason"], &explained["message"]] {
            assert!(text(said).contains("Landlock") && text(said).contains("scribe"), "{explained}");
        }
        assert!(lab.run(&["explain", &failed]).exits(0).stdout.contains("came to life: "));
        lab.json(&["destroy", &failed]).exits(0);
        let with = ["summon", "scribe", "p", "--backend", backend, "--accept-degraded"];
        let summoned = without_landlock(&lab, &with).exits(0).json();
        assert_eq!(summoned["degraded"], true);
        let cell = text(&summoned["cell_id"]);
        assert_eq!(lab.cell(&cell)["cell"]["degraded"], true);
        let listed = lab.run(&["status"]).exits(0).stdout;
        assert!(listed.contains(&format!("{cell}: degraded, as accepted")), "{listed}");
        let explained = lab.run(&["explain", &cell]).exits(0).stdout;
        assert!(explained.lines().any(|line| line.starts_with("landlock") && line.contains("NOT")), "{explained}");
        let rows = accepted(&lab, &cell);
        assert!(rows.len() == 1 && rows[0].1.contains("scribe lives without: reaches no file but those that it was granted"), "{rows:?}");
        lab.json(&["destroy", &cell]).exits(0);
    }
    // The twin: the same kernel as it is gives everything, and nothing is degraded.
    let whole = lab.summon(&["scribe", "p", "--backend", "wasm", "--accept-degraded"]);
    assert_eq!(lab.cell(&whole)["cell"]["degraded"], false);
    assert_eq!(accepted(&lab, &whole), [], "nothing had to be accepted");
    lab.json(&["destroy", &whole]).exits(0);
}

/// As root, nothing else limits the number of processes.
#[test]
fn control_groups_that_cannot_be_written_to_refuse_root_unless_it_is_accepted_on_record() {
    assert!(rustix::process::geteuid().is_root(), "these tests are run by root, who alone can mount");
    let lab = Lab::new();
    let refused = with_groups_read_only(&lab, &["summon", "scribe", "p"]).exits(1).message();
    let not_held = "runs at most 128 processes and threads (the limit does not bind root, and there is no control group)";
    assert!(refused.contains(not_held) && refused.contains("--accept-degraded"), "{refused}");
    assert_eq!(lab.cell_dirs(), Vec::<String>::new(), "nothing of it is left");
    let summoned = with_groups_read_only(&lab, &["summon", "scribe", "p", "--accept-degraded"]).exits(0).json();
    assert_eq!(summoned["degraded"], true);
    let cell = text(&summoned["cell_id"]);
    let rows = accepted(&lab, &cell);
    assert!(rows.len() == 1 && rows[0].1 == format!("scribe lives without: {not_held}") && rows[0].0.starts_with("human:"), "{rows:?}");
    let memory = entries(&lab, &cell, "memory");
    assert!(memory.len() == 1 && memory[0]["enforcer"] == "rlimit" && memory[0]["extent"] == "partial", "{memory:?}");
    let processes = entries(&lab, &cell, "processes");
    assert!(processes.len() == 1 && processes[0]["enforcer"] == "rlimit" && processes[0]["extent"] == "none", "{processes:?}");
    lab.json(&["destroy", &cell]).exits(0);
    // A wasm agent starts no processes, and needs no group.
    let wasm = with_groups_read_only(&lab, &["summon", "scribe", "p", "--backend", "wasm"]).exits(0).json();
    assert_eq!(wasm["degraded"], false);
    lab.json(&["destroy", &text(&wasm["cell_id"])]).exits(0);
    // The twin: with the groups of this machine.
    let cell = lab.summon(&["scribe", "p"]);
    let processes = entries(&lab, &cell, "processes");
    assert!(processes.iter().any(|entry| entry["enforcer"] == "cgroup" && entry["extent"] == "full"), "{processes:?}");
    assert_eq!(accepted(&lab, &cell), []);
    lab.json(&["destroy", &cell]).exits(0);
}

#[test]
fn missing_namespaces_are_reported_and_do_not_refuse() {
    let lab = Lab::new();
    let summoned = without(libc::SYS_unshare, EPERM, &lab, &["summon", "scribe", "p"]).exits(0).json();
    assert_eq!(summoned["degraded"], false);
    let cell = text(&summoned["cell_id"]);
    let explained = lab.json(&["explain", &cell]).exits(0).json();
    let entries = explained["agents"][0]["enforcement"].as_array().expect("entries");
    let of = |wall: &str| entries.iter().filter(|entry| entry["subject"]["which"] == wall).collect::<Vec<_>>();
    let partial = |wall: &str, words: &str| {
        let said =
            |entry: &&&Value| entry["extent"] == "partial" && entry["because"].as_str().is_some_and(|because| because.contains(words));
        assert!(of(wall).iter().any(|entry| said(&entry)), "{wall}: {entries:?}");
    };
    partial("files", "there is no mount namespace (make namespaces for the agent: Operation not permitted");
    partial("teardown", "there is no pid namespace");
    assert!(entries.iter().all(|entry| entry["enforcer"] != "namespace"), "{entries:?}");
    let said = explained["not_guaranteed"].to_string();
    assert!(said.contains("there is no mount namespace"), "{said}");
    assert_eq!(explained["compared"]["disagree"], 0);
    lab.json(&["destroy", &cell]).exits(0);
    // The twin.
    let cell = lab.summon(&["scribe", "p"]);
    let explained = lab.json(&["explain", &cell]).exits(0).json();
    assert!(explained["agents"][0]["enforcement"].to_string().contains("\"enforcer\":\"namespace\""));
    assert!(!explained["not_guaranteed"].to_string().contains("there is no mount namespace"));
    lab.json(&["destroy", &cell]).exits(0);
}

/// Sandboxes answer EPERM for what they do not know. What that keeps from holding refuses in one line; where there is another way, that is taken.
#[test]
fn calls_that_a_sandbox_refuses_end_in_one_line_or_in_another_way() {
    let lab = Lab::new();
    let hello = lazarus_tests::built::guest("hello").display().to_string();
    let process = ["run", "--", "/usr/bin/true"];
    let wasm = ["run", hello.as_str()];
    for args in [&process[..], &wasm] {
        let refused = without(libc::SYS_prlimit64, EPERM, &lab, args).exits(1);
        let said = format!("{}{}", refused.stderr, refused.stdout);
        assert!(said.contains("forbid core dumps: Operation not permitted"), "{said}");
        assert!(!said.contains("panicked"), "{said}");
        let refused = without(libc::SYS_seccomp, EPERM, &lab, args).exits(1);
        let said = format!("{}{}", refused.stderr, refused.stdout);
        assert_eq!(said.matches("(os error 1)").count(), 1, "{said}");
        let refused = without_landlock(&lab, args).exits(1);
        let said = format!("{}{}", refused.stderr, refused.stdout);
        assert_eq!(said.matches("Landlock is not built in").count(), 1, "{said}");
        // Its cell is made and removed without openat2.
        without(libc::SYS_openat2, EPERM, &lab, args).exits(0);
    }
    assert_eq!(lab.cell_dirs(), [""; 0]);
}
