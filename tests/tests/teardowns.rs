//! What a teardown says of itself: in the audit, in the receipt, and when somebody shows the receipt again.

use lazarus_tests::{
    Lab,
    lab::{text, wait_until},
    planted::Immutable,
};
use serde_json::Value;

const REFUSED: i32 = 1;

/// The phases of a cell's rows of one action, the oldest first.
fn phases(lab: &Lab, cell: &str, action: &str) -> Vec<String> {
    let shown = lab.json(&["audit", "show", "--cell", cell, "--action", action]).exits(0).json();
    shown["rows"].as_array().expect("a list").iter().map(|row| text(&row["phase"])).collect()
}

/// Changes the registry as whoever can write the file can.
fn behind_its_back(lab: &Lab, sql: &str) {
    let db = rusqlite::Connection::open(lab.root().join("registry.db")).expect("opened");
    db.execute_batch(sql).expect("changed");
}

/// A closed cell of which one file cannot be removed; `None` where this user, or this file system, cannot make one.
fn held(lab: &Lab) -> Option<(String, Immutable)> {
    let script = "for i in $(seq 120); do echo $i > $HERMES_HOME/f$i; done; echo done > $HERMES_HOME/last; exec sleep 1000";
    let cell = lab.summon(&["scribe", "p", "--", "/bin/sh", "-c", script]);
    wait_until("it wrote", || lab.cell_dir(&cell).join("home/last").exists());
    let immutable = Immutable::make(&lab.cell_dir(&cell).join("home/f7"))?;
    Some((cell, immutable))
}

#[test]
fn a_teardown_that_did_part_of_its_work_failed_and_was_not_refused() {
    let lab = Lab::new();
    let Some((cell, immutable)) = held(&lab) else { return assert!(!rustix::process::geteuid().is_root(), "root can here") };
    let failed = lab.json(&["destroy", &cell]).exits(REFUSED).json();
    assert!(text(&failed["message"]).contains("1 of its files remain"), "{failed}");
    assert!(!lab.cell_dir(&cell).join("home/f8").exists(), "the others are gone");
    assert_eq!(phases(&lab, &cell, "destroy"), ["intent", "failed"]);
    drop(immutable);
    lab.run(&["destroy", &cell]).exits(0);
    assert_eq!(phases(&lab, &cell, "destroy"), ["intent", "failed", "intent", "done"]);
}

#[test]
fn a_receipt_that_was_changed_in_the_registry_is_not_shown() {
    let lab = Lab::new();
    let cell = lab.summon(&["scribe", "p", "--", "sleep", "1000"]);
    lab.run(&["destroy", &cell]).exits(0);
    let honest = lab.json(&["receipt", &cell]).exits(0).json()["receipt"].clone();
    behind_its_back(&lab, "DROP TRIGGER receipts_are_never_changed");
    let write = |document: &Value| behind_its_back(&lab, &format!("UPDATE receipts SET document = '{document}'"));
    let mut forged = honest.clone();
    forged["receipt"]["files_removed"] = 100_000.into();
    let mut unsigned = forged.clone();
    let fields = unsigned.as_object_mut().expect("an object");
    for name in ["key_id", "public_key", "signature"] {
        fields.remove(name);
    }
    fields.insert("unsigned_because".into(), "nobody knows".into());
    for (document, why) in [(&forged, "its signature does not fit"), (&unsigned, "the cell's tombstone does not say the same")] {
        write(document);
        let refused = lab.run(&["receipt", &cell]).exits(REFUSED);
        assert!(refused.stderr.contains("could not believe the receipt") && refused.stderr.contains(why), "{}", refused.stderr);
        assert_eq!(refused.stdout, "");
        assert_eq!(lab.json(&["receipt", &cell]).exits(REFUSED).json()["success"], false);
        lab.run(&["receipt", &cell, "-o", "receipt.json"]).exits(REFUSED);
        assert!(!lab.work().join("receipt.json").exists());
        // The cell is gone all the same.
        let again = lab.json(&["destroy", &cell]).exits(0).json();
        assert!(again["signed"] == false && text(&again["message"]).contains("could not believe the receipt"), "{again}");
    }
    // Whoever changes the tombstone as well meets the audit.
    let kept = unsigned["receipt"].to_string();
    behind_its_back(&lab, &format!("UPDATE cells SET receipt = '{kept}'"));
    assert!(lab.run(&["receipt", &cell]).exits(REFUSED).stderr.contains("of the audit, which it names, does not say the same"));
    // A key that this root never had.
    let other = Lab::new();
    let theirs = other.summon(&["scribe", "p", "--", "sleep", "1000"]);
    other.run(&["destroy", &theirs]).exits(0);
    write(&other.json(&["receipt", &theirs]).exits(0).json()["receipt"]);
    assert!(lab.run(&["receipt", &cell]).exits(REFUSED).stderr.contains("none of those that are believed here"));
    // The twin.
    behind_its_back(&lab, &format!("UPDATE cells SET receipt = '{}'", honest["receipt"]));
    write(&honest);
    lab.run(&["receipt", &cell, "-o", "receipt.json"]).exits(0);
}

#[test]
fn every_process_that_a_teardown_ends_is_counted() {
    let lab = Lab::new();
    let subtree = "sleep 1000 & sleep 1000 & echo >> $HERMES_HOME/up; wait";
    let script = format!("for i in 1 2 3 4 5 6 7 8; do setsid sh -c '{subtree}' & done; wait");
    let cell = lab.summon(&["scribe", "p", "--", "/bin/sh", "-c", &script]);
    let up = lab.cell_dir(&cell).join("home/up");
    wait_until("all are started", || std::fs::read(&up).is_ok_and(|lines| lines.len() == 8));
    // The reaper, the first shell, and eight shells with two others each.
    let destroyed = lab.json(&["destroy", &cell]).exits(0).json();
    assert_eq!(destroyed["receipt"]["processes_ended"], 26, "{destroyed}");
    // A warden that answers nobody takes all of it along; and is one more.
    let cell = lab.summon(&["scribe", "p", "--", "/bin/sh", "-c", &script]);
    let up = lab.cell_dir(&cell).join("home/up");
    wait_until("all are started", || std::fs::read(&up).is_ok_and(|lines| lines.len() == 8));
    let pid = lab.cell(&cell)["cell"]["warden"]["pid"].as_i64().and_then(|pid| i32::try_from(pid).ok()).expect("a warden");
    let warden = rustix::process::Pid::from_raw(pid).expect("a pid");
    rustix::process::kill_process(warden, rustix::process::Signal::STOP).expect("stopped");
    let destroyed = lab.json(&["destroy", &cell]).exits(0).json();
    assert_eq!(destroyed["receipt"]["processes_ended"], 27, "{destroyed}");
}
