//! A kernel without Landlock, simulated by a filter that answers ENOSYS: refused, unless accepted, on record, and seen.

use std::collections::BTreeMap;

use lazarus_tests::{Lab, Outcome, lab::text};
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, SeccompRule};

/// `landlock_create_ruleset`, the same on every architecture.
const LANDLOCK_CREATE_RULESET: i64 = 444;
const ENOSYS: u32 = 38;

/// Runs a command as if on a kernel that has no Landlock: the filter binds this thread and what it starts.
fn without_landlock(lab: &Lab, args: &[&str]) -> Outcome {
    std::thread::scope(|scope| {
        let run = scope.spawn(|| {
            let rules: BTreeMap<i64, Vec<SeccompRule>> = [(LANDLOCK_CREATE_RULESET, Vec::new())].into();
            let arch = std::env::consts::ARCH.try_into().expect("an architecture with filters");
            let filter = SeccompFilter::new(rules, SeccompAction::Allow, SeccompAction::Errno(ENOSYS), arch).expect("a filter");
            let program: BpfProgram = filter.try_into().expect("compiled");
            seccompiler::apply_filter(&program).expect("applied");
            lab.json(args)
        });
        run.join().expect("it does not panic")
    })
}

#[test]
fn a_missing_landlock_refuses_unless_it_is_accepted_on_record() {
    let lab = Lab::new();
    for backend in ["process", "wasm"] {
        let refused = without_landlock(&lab, &["summon", "scribe", "p", "--backend", backend]).exits(1).message();
        assert!(refused.contains("Landlock") && refused.contains("--accept-degraded"), "{refused}");
        let with = ["summon", "scribe", "p", "--backend", backend, "--accept-degraded"];
        let summoned = without_landlock(&lab, &with).exits(0).json();
        assert_eq!(summoned["degraded"], true);
        let cell = text(&summoned["cell_id"]);
        assert_eq!(lab.cell(&cell)["cell"]["degraded"], true);
        let listed = lab.run(&["status"]).exits(0).stdout;
        assert!(listed.contains(&format!("{cell}: degraded, as accepted")), "{listed}");
        let explained = lab.run(&["explain", &cell]).exits(0).stdout;
        assert!(explained.lines().any(|line| line.starts_with("landlock") && line.contains("NOT")), "{explained}");
        lab.json(&["destroy", &cell]).exits(0);
    }
    // The twin: the same kernel as it is gives everything, and nothing is degraded.
    let whole = lab.summon(&["scribe", "p", "--backend", "wasm", "--accept-degraded"]);
    assert_eq!(lab.cell(&whole)["cell"]["degraded"], false);
    lab.json(&["destroy", &whole]).exits(0);
}
