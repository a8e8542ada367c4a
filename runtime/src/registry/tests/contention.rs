//! Many at once: threads with connections of their own, and processes that all find no registry.

use std::{
    env, fs,
    process::{Command, Stdio},
    thread,
};

use super::*;

const THREADS: u32 = 16;
const ROUNDS: u32 = 6;
const PROCESSES: u32 = 24;
/// Tells a copy of this test that it is one of the processes, and where.
const ROOT_VARIABLE: &str = "REGISTRY_TEST_ROOT";

/// One command's worth of work, on a connection of its own: a cell from proposal to closed, and a hand at the common one.
fn work(root: &Path, common: &CellId, bits: u32) -> Result<(), RegistryError> {
    let mut registry = Registry::open(root)?;
    let cell = registry.propose(&proposal(bits), "human:alice")?.proposal.cell_id;
    let extras = TransitionExtras { warden: Some(process(bits)), runs: vec![run("scribe")], ..none() };
    registry.transition(&cell, Event::Ready, "warden", extras)?;
    registry.add_member(common, &member(&format!("agent:a{bits}"), Role::Observer), "human:alice")?;
    registry.live_cells()?;
    registry.transition(&cell, Event::Ended, "warden", none())?;
    Ok(())
}

fn check(root: &Path, common: &CellId, cells: u32, rows: u64) {
    let registry = Registry::open(root).expect("the registry");
    let records = registry.cells(CellFilter::All).expect("readable");
    assert_eq!(records.len() as u32, cells + 1);
    assert_eq!(registry.live_cells().expect("readable").len(), 1);
    let common = registry.cell(common).expect("readable").expect("there");
    assert_eq!(common.proposal.members.len() as u32, cells + 2);
    assert_eq!(registry.audit_verify(None).expect("whole").seq, rows);
    for record in records.iter().filter(|record| record.proposal.cell_id != common.proposal.cell_id) {
        assert_eq!((record.state.name(), record.version), ("closed", 3));
        assert_eq!(registry.runs(&record.proposal.cell_id).expect("runs").len(), 1);
    }
}

#[test]
fn threads_lose_nothing_and_see_no_lock() {
    let mut fixture = fixture();
    let common = fixture.active(0);
    let root = fixture.root.path();
    thread::scope(|scope| {
        for thread in 0..THREADS {
            let common = &common;
            scope.spawn(move || {
                for round in 0..ROUNDS {
                    let bits = 1 + thread * ROUNDS + round;
                    work(root, common, bits).unwrap_or_else(|error| panic!("{error}: {error:?}"));
                }
            });
        }
    });
    check(root, &common, THREADS * ROUNDS, 3 + 5 * u64::from(THREADS * ROUNDS));
}

/// What each process does: wait for the signal to start, then create what all the others create as well.
fn be_a_process(root: &Path, bits: u32) {
    std::io::read_to_string(std::io::stdin()).expect("the signal");
    let mut registry = Registry::open(root).unwrap_or_else(|error| panic!("{error}: {error:?}"));
    let common = CellId::from_bits(0);
    match registry.propose(&proposal(0), "human:alice") {
        Ok(_) => {
            registry.transition(&common, Event::Ready, "warden", none()).expect("ready");
        }
        Err(RegistryError::IdTaken(_)) => {
            while registry.cell(&common).expect("readable").is_some_and(|record| record.state == State::Proposed) {
                thread::yield_now();
            }
        }
        Err(error) => panic!("{error}: {error:?}"),
    }
    drop(registry);
    work(root, &common, bits).unwrap_or_else(|error| panic!("{error}: {error:?}"));
}

#[test]
fn processes_that_create_the_registry_at_the_same_moment_all_succeed() {
    if let Some(root) = env::var_os(ROOT_VARIABLE) {
        // A copy, started below.
        let (root, bits) = (Path::new(&root), env::var("REGISTRY_TEST_BITS").expect("a number").parse().expect("a number"));
        return be_a_process(root, bits);
    }
    let root = tempfile::tempdir().expect("a directory");
    let name = "registry::tests::contention::processes_that_create_the_registry_at_the_same_moment_all_succeed";
    let mut children: Vec<_> = (1..=PROCESSES)
        .map(|bits| {
            Command::new(env::current_exe().expect("this test"))
                .args(["--exact", name])
                .env(ROOT_VARIABLE, root.path())
                .env("REGISTRY_TEST_BITS", bits.to_string())
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .expect("a process")
        })
        .collect();
    // The end of their input is the signal.
    children.iter_mut().for_each(|child| drop(child.stdin.take()));
    for child in children {
        let output = child.wait_with_output().expect("its end");
        let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success() && said.contains("1 passed"), "{said}");
    }
    // One summoned the common cell; the others were refused, on record.
    check(root.path(), &CellId::from_bits(0), PROCESSES, 3 + u64::from(PROCESSES - 1) + 5 * u64::from(PROCESSES));
    let names: Vec<_> = fs::read_dir(root.path()).expect("the root").map(|entry| entry.expect("a name").file_name()).collect();
    assert_eq!(names.len(), 3, "{names:?}");
}
