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

/// The receipt of a cell, once it is destroyed.
fn receipt(lab: &Lab, cell: &str) -> Value {
    lab.json(&["receipt", cell]).exits(0).json()["receipt"]["receipt"].clone()
}

#[test]
fn a_receipt_has_what_every_attempt_did() {
    let lab = Lab::new();
    let Some((cell, immutable)) = held(&lab) else { return };
    let before = std::fs::read_dir(lab.cell_dir(&cell).join("home")).expect("listed").count() as u64;
    for _ in 0..2 {
        lab.run(&["destroy", &cell]).exits(REFUSED);
    }
    drop(immutable);
    let destroyed = lab.json(&["destroy", &cell]).exits(0).json();
    let done = receipt(&lab, &cell);
    assert_eq!(destroyed["receipt"], done);
    // The reaper, the shell's sleep; and all that was there, the file that was held the last.
    assert_eq!((&done["processes_ended"], &done["at_least"]), (&2.into(), &false.into()), "{done}");
    assert!(done["files_removed"].as_u64() > Some(before - 10) && done["bytes_removed"].as_u64() > Some(300), "{done}");
    assert_eq!(done["home_digest_covers"], "all", "of before the first attempt: {done}");
    let attempts = done["attempts"].as_array().expect("a list");
    // The second did nothing.
    assert_eq!(attempts.len(), 1, "{done}");
    assert!(attempts[0]["files_removed"].as_u64() > Some(119) && attempts[0]["cut_short"] == false, "{done}");
    let shown = lab.run(&["receipt", &cell]).exits(0).stdout;
    assert!(shown.contains("earlier    of this, the attempt of") && shown.contains("which left something: 2 processes"), "{shown}");
    lab.run(&["receipt", &cell, "-o", "receipt.json"]).exits(0);
    lab.run(&["receipt", "--verify", "receipt.json"]).exits(0);
}

#[test]
fn an_attempt_that_was_killed_is_named_and_its_numbers_are_the_least() {
    for point in ["destroy.intent", "destroy.ended", "destroy.removed"] {
        let lab = Lab::new();
        let cell = lab.summon(&["scribe", "p", "--", "sleep", "1000"]);
        let killed = lab.command(&["destroy", &cell]).env("LAZARUS_FAILPOINT", point).status().expect("started");
        assert!(!killed.success());
        lab.run(&["destroy", &cell]).exits(0);
        let done = receipt(&lab, &cell);
        assert_eq!(done["at_least"], true, "{point}: {done}");
        let covers = text(&done["home_digest_covers"]);
        assert!(covers != "all" && covers.contains("which was cut short"), "{point}: {covers}");
        let attempt = &done["attempts"][0];
        assert_eq!(attempt["cut_short"], true, "{point}: {done}");
        // What it had done was written down before it was killed.
        let known = (attempt["processes_ended"].as_u64(), attempt["files_removed"].as_u64() > Some(5));
        let expected = match point {
            "destroy.intent" => (Some(0), false),
            "destroy.ended" => (Some(2), false),
            _ => (Some(2), true),
        };
        assert_eq!(known, expected, "{point}: {done}");
        assert_eq!(done["processes_ended"], 2, "{point}: {done}");
        assert!(done["files_removed"].as_u64() > Some(5) && done["home_sha256"].is_string(), "{point}: {done}");
        assert_eq!(phases(&lab, &cell, "destroy"), ["intent", "failed", "intent", "done"], "{point}");
        let shown = lab.run(&["receipt", &cell]).exits(0).stdout;
        assert!(shown.contains("at least 2 processes had to be ended") && shown.contains("which was cut short: at least"), "{shown}");
    }
}

#[test]
fn each_intent_to_destroy_has_one_outcome() {
    let lab = Lab::new();
    // Several at once.
    let cell = lab.summon(&["scribe", "p", "--", "sleep", "1000"]);
    let running: Vec<_> = (0..4).map(|_| lab.command(&["destroy", &cell]).spawn().expect("started")).collect();
    for mut child in running {
        assert!(child.wait().expect("waited for").success());
    }
    let rows = phases(&lab, &cell, "destroy");
    let count = |phase: &str| rows.iter().filter(|row| *row == phase).count();
    assert_eq!((count("intent"), count("done"), rows.len()), (count("done"), rows.len() / 2, count("intent") * 2), "{rows:?}");
    // A run whose own process, which is its warden, was killed: what catches up with it does not mean it twice.
    let mut run = lab.command(&["run", "--", "/bin/sleep", "1000"]).spawn().expect("started");
    let alive = || lab.json(&["status"]).exits(0).json()["active_cells"].as_array().expect("a list").clone();
    wait_until("it runs", || alive().iter().any(|cell| cell["state"] == "active"));
    let cell = text(&alive()[0]["cell_id"]);
    run.kill().and_then(|()| run.wait()).expect("killed");
    wait_until("it is swept", || lab.run(&["sweep"]).exits(0).stdout.is_empty() || lab.state(&cell) == "destroyed");
    wait_until("it is gone", || lab.state(&cell) == "destroyed");
    assert_eq!(phases(&lab, &cell, "destroy"), ["intent", "done"]);
    // One whose process was killed once the program had ended.
    for (by, point) in [("sweep", "warden.ended"), ("destroy", "destroy.removed"), ("destroy", "warden.ended")] {
        let killed = lab.command(&["run", "--", "/bin/true"]).env("LAZARUS_FAILPOINT", point).status().expect("started");
        assert!(!killed.success());
        let cells = std::fs::read_dir(lab.root().join("cells")).expect("listed").count();
        let all = lab.json(&["status", "--all"]).exits(0).json()["active_cells"].clone();
        let newest = all.as_array().expect("a list").iter().find(|cell| cell["state"] != "destroyed" || cells == 0);
        let cell = newest.map(|cell| text(&cell["cell_id"]));
        if let (Some(cell), "destroy") = (&cell, by) {
            lab.run(&["destroy", cell]).exits(0);
        }
        lab.run(&["sweep"]).exits(0);
        for cell in all.as_array().expect("a list").iter().map(|cell| text(&cell["cell_id"])) {
            let rows = phases(&lab, &cell, "destroy");
            assert_eq!(rows.iter().filter(|row| *row == "intent").count() * 2, rows.len(), "{by} {point} {cell}: {rows:?}");
        }
    }
    // One that is destroyed by somebody else while it runs.
    let mut run = lab.command(&["run", "--", "/bin/sleep", "1000"]).spawn().expect("started");
    wait_until("it runs", || alive().iter().any(|cell| cell["state"] == "active"));
    let cell = text(&alive()[0]["cell_id"]);
    lab.run(&["destroy", &cell]).exits(0);
    let _ = run.wait().expect("waited for");
    let rows = phases(&lab, &cell, "destroy");
    let intents = rows.iter().filter(|row| *row == "intent").count();
    assert_eq!(rows.len(), intents * 2, "{rows:?}");
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
