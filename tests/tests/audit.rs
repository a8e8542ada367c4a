//! `audit show`, `audit keygen`, `audit head`, `audit verify`: as they are typed, and against logs that somebody cut, wrote anew or swapped.

use std::path::Path;

use lazarus_tests::{Lab, lab::text};
use rusqlite::Connection;
use serde_json::Value;

const REFUSED: i32 = 1;
const USAGE: i32 = 2;
const NOT_FOUND: i32 = 3;

/// Whoever can write the file, past every trigger.
fn forger(lab: &Lab) -> Connection {
    let connection = Connection::open(lab.root().join("registry.db")).expect("a connection");
    connection.execute_batch("DROP TRIGGER audit_is_never_changed; DROP TRIGGER audit_is_never_shortened").expect("dropped");
    connection
}

/// A lab with a key, some rows, a head that was exported, and more rows after it.
fn lab_with_head() -> (Lab, String) {
    let lab = Lab::new();
    let key = text(&lab.json(&["audit", "keygen"]).exits(0).json()["public_key"]);
    lab.run(&["run", "--", "/bin/true"]).exits(0);
    lab.run(&["audit", "head", "-o", "head.json"]).exits(0);
    lab.run(&["run", "--", "/bin/true"]).exits(0);
    (lab, key)
}

fn verdicts(verified: &Value) -> (String, String) {
    (text(&verified["integrity"]["verdict"]), text(&verified["completeness"]["verdict"]))
}

fn head_of(lab: &Lab) -> Value {
    serde_json::from_str(&std::fs::read_to_string(lab.work().join("head.json")).expect("a head")).expect("JSON")
}

#[test]
fn a_log_is_compared_with_a_head_and_says_who_vouches_for_it() {
    let (lab, key) = lab_with_head();
    let plain = lab.json(&["audit", "verify"]).exits(0).json();
    assert_eq!(verdicts(&plain), ("intact".into(), "unknown".into()));
    let own = lab.json(&["audit", "verify", "--against", "head.json"]).exits(0).json();
    assert_eq!(verdicts(&own), ("intact".into(), "proven".into()));
    assert_eq!(own["completeness"]["row"], head_of(&lab)["seq"]);
    assert_eq!(own["completeness"]["voucher"]["by"], "key_of_this_root");
    assert!(text(&own["message"]).contains("proves less"), "{own}");
    let pinned = lab.json(&["audit", "verify", "--against", "head.json", "--key", &key]).exits(0).json();
    assert_eq!(pinned["completeness"]["voucher"]["by"], "pinned_key");
    // Keys of the command before there were two verdicts.
    assert!(plain["rows"].as_u64() > head_of(&lab)["seq"].as_u64() && text(&plain["head"]).len() == 64, "{plain}");
    // A bare head: as good as where it was kept.
    let head = head_of(&lab);
    lab.file("bare", format!("{}:{}\n", head["seq"], text(&head["hash"])));
    let bare = lab.json(&["audit", "verify", "--against", "bare"]).exits(0).json();
    assert_eq!(bare["completeness"]["voucher"]["by"], "nobody");
    lab.run(&["audit", "verify", "--against", "bare", "--key", &key]).exits(REFUSED);
    // A key that was replaced still counts, from standard input too.
    lab.run(&["audit", "keygen", "--replace"]).exits(0);
    let signed = std::fs::read(lab.work().join("head.json")).expect("a head");
    lab.run_with_input(&["audit", "verify", "--against", "-"], &signed).exits(0);
}

#[test]
fn rows_that_were_cut_off_show_against_a_head_alone() {
    let (lab, _) = lab_with_head();
    let seq = head_of(&lab)["seq"].as_i64().expect("a place");
    forger(&lab).execute("DELETE FROM audit WHERE seq >= ?1", [seq]).expect("cut");
    assert_eq!(verdicts(&lab.json(&["audit", "verify"]).exits(0).json()), ("intact".into(), "unknown".into()));
    let cut = lab.json(&["audit", "verify", "--against", "head.json"]).exits(REFUSED).json();
    assert_eq!(verdicts(&cut), ("intact".into(), "truncated".into()));
    assert_eq!(
        (&cut["success"], &cut["completeness"]["head"], &cut["completeness"]["end"]),
        (&false.into(), &seq.into(), &(seq - 1).into())
    );
    assert!(lab.run(&["audit", "verify", "--against", "head.json"]).exits(REFUSED).stdout.contains("TRUNCATED"));
}

#[test]
fn a_log_that_was_written_anew_shows_against_a_head_alone() {
    let (lab, _) = lab_with_head();
    let seq = head_of(&lab)["seq"].as_i64().expect("a place");
    forger(&lab).execute("DELETE FROM audit WHERE seq >= ?1", [seq]).expect("cut");
    // Lazarus itself goes on from there, with rows that fit each other.
    while lab.json(&["audit", "verify"]).exits(0).json()["rows"].as_i64() < Some(seq + 2) {
        lab.run(&["sweep"]).exits(0);
    }
    let anew = lab.json(&["audit", "verify", "--against", "head.json"]).exits(REFUSED).json();
    assert_eq!(verdicts(&anew), ("intact".into(), "rewritten".into()));
    assert_eq!(anew["completeness"]["row"], seq);
}

#[test]
fn a_changed_row_is_named_and_completeness_is_another_question() {
    let (lab, _) = lab_with_head();
    forger(&lab).execute("UPDATE audit SET detail = 'nothing happened' WHERE seq = 2", []).expect("changed");
    let broken = lab.json(&["audit", "verify", "--against", "head.json"]).exits(REFUSED).json();
    assert_eq!(verdicts(&broken), ("broken".into(), "unknown".into()));
    assert_eq!((&broken["integrity"]["row"], &broken["rows"]), (&2.into(), &1.into()));
    let said = lab.run(&["audit", "verify"]).exits(REFUSED).stdout;
    assert!(said.contains("BROKEN at row 2") && said.contains("completeness: unknown"), "{said}");
}

#[test]
fn a_head_that_nobody_vouches_for_is_refused() {
    let (lab, key) = lab_with_head();
    let (other, _) = lab_with_head();
    let stranger = text(&head_of(&other)["public_key"]);
    let refused = |file: &str, more: &[&str], why: &str| {
        let args = [&["audit", "verify", "--against", file], more].concat();
        let said = lab.run(&args).exits(REFUSED).stderr;
        assert!(said.contains(why) && !said.contains('\u{1b}'), "{file} {more:?}: {said}");
    };
    refused("head.json", &["--key", &stranger], "none of those that are believed");
    let theirs = lab.file("theirs.json", std::fs::read(other.work().join("head.json")).expect("a head"));
    refused(&theirs.to_string_lossy(), &[], "another root");
    refused(&theirs.to_string_lossy(), &["--key", &stranger], "another root");
    let mut changed = head_of(&lab);
    changed["seq"] = 1.into();
    lab.file("changed.json", changed.to_string());
    refused("changed.json", &["--key", &key], "signature does not fit");
    // Theirs, said to be of this root: the signature covers whose it is.
    let mut moved = head_of(&other);
    moved["root_id"] = head_of(&lab)["root_id"].clone();
    lab.file("moved.json", moved.to_string());
    refused("moved.json", &["--key", &stranger], "signature does not fit");
    lab.file("nonsense", "\u{1b}[2J{\n");
    refused("nonsense", &[], "not an audit head");
    lab.file("large", vec![b' '; 100_000]);
    refused("large", &[], "larger");
    refused("nowhere", &[], "could not read");
    for args in [vec!["--key", key.as_str()], vec!["--against", "head.json", "--key", "zz"]] {
        lab.run(&[&["audit", "verify"], args.as_slice()].concat()).exits(USAGE);
    }
}

#[test]
fn keys_are_the_operators_alone_and_outside_of_every_jail() {
    use std::os::unix::fs::PermissionsExt;
    let lab = Lab::new();
    let said = lab.run(&["audit", "head"]).exits(REFUSED).stderr;
    assert!(said.contains("audit keygen"), "{said}");
    let key = lab.run(&["audit", "keygen"]).exits(0).stdout;
    assert_eq!(key.lines().next().map(str::len), Some(64), "{key}");
    let keys = lab.root().join("keys");
    let mode = |path: &Path| std::fs::metadata(path).expect("there").permissions().mode() & 0o7777;
    assert_eq!((mode(&keys), mode(&keys.join("signing"))), (0o700, 0o600));
    let secret = std::fs::read_to_string(keys.join("signing")).expect("a key");
    let mount = format!("{}:/keys", keys.display());
    lab.run(&["summon", "a", "p", "--mount", &mount]).exits(REFUSED);
    lab.run(&["summon", "a", "p", "--read", &keys.to_string_lossy()]).exits(REFUSED);
    // An agent that looks for it, by its own path; the allowed twin is its home.
    let look =
        format!("cat {}/signing; cat $HERMES_HOME/../../../keys/signing; echo mine > $HERMES_HOME/x && cat $HERMES_HOME/x", keys.display());
    let ran = lab.run(&["run", "--", "/bin/sh", "-c", &look]).exits(0);
    assert!(ran.stdout.contains("mine") && !ran.stdout.contains(secret.trim()), "{ran:?}");
    // Nothing of it is ever said.
    for args in [&["audit", "show"][..], &["--json", "audit", "show"], &["--json", "audit", "head"]] {
        assert!(!lab.run(args).exits(0).stdout.contains(secret.trim()), "{args:?}");
    }
}

#[test]
fn rows_are_shown_by_cell_actor_action_phase_time_and_number() {
    let lab = Lab::new();
    let cell = lab.summon(&["scribe", "p", "--", "sleep", "1000"]);
    let other = lab.summon(&["critic", "p", "--", "sleep", "1000"]);
    lab.run(&["extend", &cell, "10m"]).exits(0);
    let shown = |args: &[&str]| {
        let json = lab.json(&[&["audit", "show"], args].concat()).exits(0).json();
        json["rows"].as_array().expect("a list").clone()
    };
    let all = shown(&[]);
    let places: Vec<_> = all.iter().map(|row| row["seq"].as_u64().expect("a place")).collect();
    assert_eq!(places, (1..=all.len() as u64).collect::<Vec<_>>(), "the newest last");
    for key in ["seq", "at", "actor", "action", "phase", "cell_id", "detail", "hash"] {
        assert!(all.iter().all(|row| row.get(key).is_some()), "{key}");
    }
    assert!(shown(&["--cell", &cell]).iter().all(|row| row["cell_id"] == cell.as_str()));
    assert!(!shown(&["--cell", &other, "--action", "ready"]).is_empty() && shown(&["--cell", &other, "--action", "extend"]).is_empty());
    let extended: Vec<String> = shown(&["--action", "extend"]).iter().map(|row| text(&row["phase"])).collect();
    assert_eq!(extended, ["intent", "done"]);
    assert_eq!(shown(&["--action", "extend", "--phase", "done"]).len(), 1);
    assert!(shown(&["--actor", "warden"]).iter().all(|row| row["actor"] == "warden"));
    assert_eq!(shown(&["-n", "2"]), all[all.len() - 2..]);
    assert_eq!(shown(&["--since", "1h"]).len(), all.len());
    assert!(shown(&["--until", "1h"]).is_empty() && shown(&["--since", "2100-01-01"]).is_empty());
    let third = text(&all[2]["at"]);
    assert_eq!(shown(&["--until", &third]).len() + shown(&["--since", &third]).len(), all.len());
    let table = lab.run(&["audit", "show", "-n", "1"]).exits(0).stdout;
    assert!(table.starts_with("ROW") && table.lines().count() == 2, "{table}");
    let words =
        [("--action", "eat", "audit_keygen"), ("--phase", "maybe", "refused"), ("--since", "soon", "RFC 3339"), ("--actor", "x", "warden")];
    for (option, value, allowed) in words {
        let said = lab.run(&["audit", "show", option, value]).exits(USAGE).stderr;
        assert!(said.contains(allowed), "{option}: {said}");
    }
    for args in [["--cell", "nope"], ["-n", "0"]] {
        lab.run(&[&["audit", "show"][..], &args].concat()).exits(USAGE);
    }
    for cell in [&cell, &other] {
        lab.run(&["destroy", cell]).exits(0);
    }
}

#[test]
fn who_may_read_what_is_decided_by_the_role_in_the_cell() {
    let lab = Lab::new();
    let cell = lab.summon(&["scribe", "p", "--owner", "human:owner", "--", "sleep", "1000"]);
    let other = lab.summon(&["critic", "p", "--", "sleep", "1000"]);
    for (who, role) in [("human:dora", "director"), ("human:otto", "observer"), ("human:anna", "auditor"), ("bot:eve", "executor")] {
        lab.run(&["invite", &cell, who, role]).exits(0);
    }
    for who in ["human:owner", "human:dora", "human:anna"] {
        let rows = lab.json(&["--as", who, "audit", "show", "--cell", &cell]).exits(0).json();
        assert!(!rows["rows"].as_array().expect("a list").is_empty(), "{who}");
    }
    let denied = || lab.json(&["audit", "show", "--action", "denied"]).exits(0).json()["rows"].as_array().expect("a list").len();
    for (number, (who, cell)) in [
        ("human:otto", Some(&cell)),
        ("bot:eve", Some(&cell)),
        ("human:nobody", Some(&cell)),
        ("human:dora", Some(&other)),
        ("human:anna", None),
    ]
    .into_iter()
    .enumerate()
    {
        let mut args = vec!["--as", who, "audit", "show"];
        if let Some(cell) = cell {
            args.extend(["--cell", cell]);
        }
        lab.run(&args).exits(REFUSED);
        assert_eq!(denied(), number + 1, "{who} is on record");
    }
    lab.run(&["--as", "human:dora", "audit", "show", "--cell", "laz-00000000"]).exits(NOT_FOUND);
    for cell in [&cell, &other] {
        lab.run(&["destroy", cell]).exits(0);
    }
}

#[test]
fn small_things_are_said_plainly() {
    let lab = Lab::new();
    let cell = lab.summon(&["scribe", "p", "--", "sleep", "1000"]);
    lab.run(&["destroy", &cell]).exits(0);
    lab.run(&["receipt", &cell, "-o", "receipt.json"]).exits(0);
    // Of a log without rows there is one head.
    let wrong = lab.file("head", format!("0:{}", "ab".repeat(32)));
    let verdict = lab.run(&["audit", "verify", "--against", &wrong.to_string_lossy()]).exits(1);
    assert!(verdict.stdout.contains("REWRITTEN: row 0"), "{}", verdict.stdout);
    let right = lab.file("head", format!("0:{}", "00".repeat(32)));
    lab.run(&["audit", "verify", "--against", &right.to_string_lossy()]).exits(0);
    // An option that is not there is not offered.
    for args in [&["receipt", &cell, "-o", "receipt.json"][..], &["audit", "head", "-o", "receipt.json"], &["agent", "new", "receipt.json"]]
    {
        let refused = lab.run(args);
        assert!(refused.code != 0 && !refused.stderr.contains("--force"), "{args:?}: {}", refused.stderr);
    }
    let weak = lab.run(&["receipt", "--verify", "receipt.json", "--key", &"0".repeat(64)]).exits(2);
    assert!(weak.stderr.contains("these digits are no key of anybody"), "{}", weak.stderr);
    // A receipt without its signature's parts.
    let mut document: serde_json::Value =
        serde_json::from_slice(&std::fs::read(lab.work().join("receipt.json")).expect("read")).expect("JSON");
    document.as_object_mut().expect("an object").remove("signature");
    let file = lab.file("part.json", document.to_string());
    let refused = lab.run(&["receipt", "--verify", &file.to_string_lossy()]).exits(1);
    assert!(refused.stderr.contains("it has neither `key_id`") && !refused.stderr.contains("untagged"), "{}", refused.stderr);
    // Nothing is made to find out that a root has no keys.
    let nowhere = lab.work().join("nowhere");
    lab.run(&["--root", &nowhere.to_string_lossy(), "receipt", "--verify", "receipt.json"]).exits(1);
    assert!(!nowhere.exists());
    // A key that others may reach signs nothing, and the message says what to do.
    let key = lab.root().join("keys/signing");
    std::fs::set_permissions(&key, std::os::unix::fs::PermissionsExt::from_mode(0o666)).expect("set");
    let refused = lab.run(&["audit", "head"]).exits(125).stderr;
    assert!(refused.contains("others may reach the file `signing` there (mode 666)") && refused.contains("keygen --replace"), "{refused}");
    lab.run(&["audit", "keygen", "--replace"]).exits(0);
    std::fs::write(&key, "cut").expect("written");
    let refused = lab.run(&["audit", "head"]).exits(125).stderr;
    assert!(refused.contains("the file `signing` there is no key") && refused.contains("keygen --replace"), "{refused}");
}

#[test]
fn a_reason_is_in_the_audit_once() {
    let lab = Lab::new();
    lab.run(&["summon", "a", "p", "--memory", "1"]).exits(2);
    let rows = lab.json(&["audit", "show"]).exits(0).json();
    let detail = rows["rows"].as_array().and_then(|rows| rows.last()).expect("a row")["detail"].to_string();
    assert_eq!(detail.matches("limit memory").count(), 1, "{detail}");
}

#[test]
fn what_could_not_be_said_is_no_success() {
    let lab = Lab::new();
    for args in [&["sweep"][..], &["drill", "--only", "paths/absolute"]] {
        let full = std::fs::File::options().write(true).open("/dev/full").expect("opened");
        let status = lab.command(args).stdout(full).stderr(std::process::Stdio::null()).status().expect("started");
        assert_eq!(status.code(), Some(125), "{args:?}");
    }
    let mut command = lab.command(&["drill", "--only", "paths/absolute"]);
    let output = command.env("TMPDIR", "/no/such/place").output().expect("started");
    assert!(String::from_utf8_lossy(&output.stderr).contains("/no/such/place"), "{output:?}");
}
