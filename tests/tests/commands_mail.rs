//! `send`, `inbox`, `invite human:x`, `revoke`, `artifacts` and `agent check`, as they are typed: envelopes, exit codes, and what people get wrong.

use std::os::unix::fs::symlink;

use lazarus_tests::{
    Lab,
    built::guest,
    lab::{text, wait_until},
};

/// Exit codes, as `lazarus --help` documents them.
const REFUSED: i32 = 1;
const USAGE: i32 = 2;
const NOT_FOUND: i32 = 3;

/// The longest text of a message.
const TEXT_MOST_BYTES: usize = 32 * 1024;

/// A lab with the agent that does what it is told to.
fn lab_with_clerk() -> Lab {
    let lab = Lab::new();
    std::fs::copy(guest("faulty"), lab.work().join("faulty.wasm")).expect("copied");
    let file = lab.file("agent.toml", "[agent]\nname = \"clerk\"\ncomponent = \"faulty.wasm\"\n");
    lab.run(&["agent", "add", &file.to_string_lossy()]).exits(0);
    lab
}

/// Messages of a cell in one inbox, as words `state text`.
fn inbox(lab: &Lab, args: &[&str]) -> Vec<String> {
    let mut all = vec!["inbox"];
    all.extend(args);
    let json = lab.json(&all).exits(0).json();
    let line = |line: &serde_json::Value| format!("{} {}", text(&line["state"]), text(&line["text"]));
    json["messages"].as_array().expect("a list").iter().map(line).collect()
}

#[test]
fn messages_have_their_envelopes_and_codes() {
    let lab = lab_with_clerk();
    let cell = lab.summon(&["clerk", "p"]);
    let sent = lab.json(&["send", &cell, "me"]).exits(0).json();
    assert_eq!((text(&sent["cell_id"]), text(&sent["to"])), (cell.clone(), "agent:clerk".to_owned()));
    assert_eq!(sent["messages"][0]["id"], sent["id"]);
    wait_until("the answer is there", || inbox(&lab, &[&cell]).len() == 1);
    // Whole, by its id; and a line for people.
    let id = text(&lab.json(&["inbox", &cell]).json()["messages"][0]["id"]);
    let one = lab.json(&["inbox", &cell, &id]).exits(0).json();
    assert_eq!(one["messages"][0]["in_reply_to"], sent["id"]);
    assert!(lab.run(&["inbox", &cell]).exits(0).stdout.contains(&id));
    assert!(lab.run(&["inbox", &cell, &id]).exits(0).stdout.contains("agent:clerk"));
    // An answer answers what was written to whoever gives it, and no other.
    lab.run(&["send", &cell, "--reply-to", &text(&sent["id"]), "x"]).exits(NOT_FOUND);
    lab.run(&["send", &cell, "--reply-to", &id, "--to", "human:nobody", "x"]).exits(USAGE);
    lab.run(&["send", &cell, "--reply-to", &id, "me", "--wait=20s"]).exits(0);
    assert_eq!(inbox(&lab, &[&cell]), Vec::<String>::new(), "answered is handled, and so is an answer that was printed");
    assert_eq!(inbox(&lab, &[&cell, "--all"]).len(), 2);
    // --ack marks what it showed.
    lab.run(&["send", &cell, "me"]).exits(0);
    wait_until("the answer is there", || inbox(&lab, &[&cell]).len() == 1);
    assert_eq!(inbox(&lab, &[&cell, "--ack"]).len(), 1);
    assert_eq!(inbox(&lab, &[&cell]).len(), 0);
    // From standard input and back, with an end of line of its own.
    let echoed = lab.run_with_input(&["send", &cell, "--wait=20s", "-"], b"me").exits(0);
    assert!(echoed.stdout.starts_with("ok agent:clerk executor") && echoed.stdout.ends_with(" of p\n"), "{echoed:?}");
    assert_eq!(inbox(&lab, &[&cell, "--of", "agent:clerk", "--all"]).len(), 4);
    lab.run(&["close", &cell]).exits(0);
    for args in [["send", &cell, "late", "--wait=1s"], ["send", &cell, "late", "--to=all"]] {
        let refused = lab.run(&args).exits(REFUSED);
        assert!(refused.stderr.contains("state=closed") && refused.stderr.contains("hint: "), "{refused:?}");
    }
    assert_eq!(inbox(&lab, &[&cell, "--all"]).len(), 4, "an inbox can be read when its cell is closed");
    lab.run(&["destroy", &cell]).exits(0);
    lab.run(&["send", &cell, "x"]).exits(REFUSED);
}

#[test]
fn a_message_that_is_refused_changes_nothing() {
    let lab = lab_with_clerk();
    let cell = lab.summon(&["clerk", "p"]);
    let large = "x".repeat(TEXT_MOST_BYTES + 1);
    lab.run(&["send", &cell, ""]).exits(USAGE);
    lab.run_with_input(&["send", &cell, "-"], b"").exits(USAGE);
    lab.run(&["send", &cell, &large]).exits(USAGE);
    lab.run_with_input(&["send", &cell, "-"], &vec![b'x'; 10 * TEXT_MOST_BYTES]).exits(USAGE);
    lab.run_with_input(&["send", &cell, "-"], b"\xff\xfe\x00binary").exits(USAGE);
    let typo = lab.run(&["send", &cell, "--to", "agent:clark", "x"]).exits(NOT_FOUND);
    assert!(typo.stderr.contains("did you mean agent:clerk?"), "{typo:?}");
    lab.run(&["send", &cell, "--to", "clark", "x"]).exits(NOT_FOUND);
    lab.run(&["send", &cell, "--to", "king:clerk", "x"]).exits(USAGE);
    lab.run(&["send", &cell, "--to", "../clerk", "x"]).exits(USAGE);
    lab.run(&["send", &cell, "--to", "all", "--wait", "x"]).exits(USAGE);
    lab.run(&["send", "laz-00000000", "x"]).exits(NOT_FOUND);
    lab.run(&["send", "nonsense", "x"]).exits(NOT_FOUND);
    lab.run(&["send", &cell, "--reply-to", "msg-1", "x"]).exits(USAGE);
    lab.run(&["send", &cell, "--reply-to", "msg-00000000000000000000000000000000", "x"]).exits(NOT_FOUND);
    lab.run(&["inbox", &cell, "msg-00000000000000000000000000000000"]).exits(NOT_FOUND);
    lab.run(&["inbox", &cell, "--retry", "msg-00000000000000000000000000000000"]).exits(NOT_FOUND);
    lab.run(&["inbox", &cell, "--parked", "--ack"]).exits(USAGE);
    lab.run(&["inbox", &cell, "--of", "agent:clerk", "--ack"]).exits(USAGE);
    assert_eq!(inbox(&lab, &[&cell, "--of", "agent:clerk", "--all"]), Vec::<String>::new());
    // Escape sequences reach the agent and come back as they are; a table shows them harmless.
    lab.run(&["send", &cell, "nonsense \u{1b}[2J\u{7}"]).exits(0);
    wait_until("it is answered", || inbox(&lab, &[&cell]).len() == 1);
    let shown = lab.run(&["inbox", &cell, "--of", "agent:clerk", "--all"]).exits(0).stdout;
    assert!(shown.contains("\\x1b[2J\\x07") && !shown.contains('\u{1b}'), "{shown:?}");
    lab.run(&["destroy", &cell]).exits(0);
}

#[test]
fn to_whom_must_be_said_where_it_is_not_clear() {
    let lab = Lab::new();
    let cell = text(&lab.json(&["team", "a+b", "p"]).exits(0).json()["cell_id"]);
    let unclear = lab.run(&["send", &cell, "x"]).exits(USAGE);
    assert!(unclear.stderr.contains("agent:a, agent:b"), "{unclear:?}");
    let all = lab.json(&["send", &cell, "--to", "all", "x"]).exits(0).json();
    assert_eq!(all["messages"].as_array().map(Vec::len), Some(2));
    assert_eq!(text(&lab.json(&["send", &cell, "--to", "b", "x"]).exits(0).json()["to"]), "agent:b");
    // Nobody reads there: the message stays, and says so.
    let waited = lab.json(&["send", &cell, "--to", "b", "--wait=300ms", "x"]).exits(REFUSED).json();
    assert_eq!((text(&waited["outcome"]), waited["success"].as_bool()), ("waiting".to_owned(), Some(false)));
    let listed = lab.json(&["status"]).exits(0).json();
    assert_eq!(listed["active_cells"][0]["mail"]["waiting"], 4);
    lab.run(&["destroy", &cell]).exits(0);
}

#[test]
fn a_parked_message_is_shown_retried_and_discarded() {
    let lab = lab_with_clerk();
    let cell = lab.summon(&["clerk", "p"]);
    let parked = lab.json(&["send", &cell, "--wait=20s", "park it is beyond me"]).exits(REFUSED).json();
    assert_eq!(text(&parked["outcome"]), "parked", "{parked}");
    let id = text(&parked["id"]);
    let listed = lab.json(&["inbox", &cell, "--parked"]).exits(0).json();
    assert_eq!((&listed["messages"][0]["id"], text(&listed["messages"][0]["state"])), (&parked["id"], "parked".to_owned()));
    assert!(lab.run(&["status", &cell]).exits(0).stdout.contains("1 parked"));
    // Once more, and in vain again: which delivery it is goes on counting.
    lab.json(&["inbox", &cell, "--retry", &id]).exits(0);
    wait_until("it is parked again", || lab.json(&["inbox", &cell, "--parked"]).json()["messages"][0]["attempt"] == 2);
    lab.run(&["--as", "human:eve", "inbox", &cell, "--discard", &id]).exits(REFUSED);
    lab.run(&["inbox", &cell, "--discard", &id]).exits(0);
    lab.run(&["inbox", &cell, "--discard", &id]).exits(NOT_FOUND);
    assert_eq!(inbox(&lab, &[&cell, "--parked"]).len(), 0);
    lab.run(&["destroy", &cell]).exits(0);
}

#[test]
fn roles_decide_who_writes_and_reads() {
    let lab = lab_with_clerk();
    let cell = lab.summon(&["clerk", "p"]);
    for (who, role) in [("human:eve", "observer"), ("human:ada", "auditor"), ("human:dora", "director")] {
        lab.run(&["invite", &cell, who, role]).exits(0);
    }
    lab.run(&["--as", "human:nobody", "send", &cell, "x"]).exits(REFUSED);
    lab.run(&["--as", "human:nobody", "inbox", &cell]).exits(REFUSED);
    lab.run(&["--as", "human:eve", "send", &cell, "--to", "agent:clerk", "x"]).exits(REFUSED);
    lab.run(&["--as", "human:eve", "send", &cell, "--to", "human:dora", "look here"]).exits(0);
    lab.run(&["--as", "human:ada", "send", &cell, "--to", "human:dora", "x"]).exits(REFUSED);
    assert_eq!(inbox(&lab, &["--as", "human:dora", &cell]), ["waiting look here"]);
    assert_eq!(inbox(&lab, &["--as", "human:ada", &cell, "--of", "human:dora"]), ["waiting look here"]);
    lab.run(&["--as", "human:eve", "inbox", &cell, "--of", "human:dora"]).exits(REFUSED);
    lab.run(&["--as", "human:eve", "inbox", &cell, "--parked"]).exits(REFUSED);
    // Whoever was written to may answer, also an observer.
    lab.run(&["send", &cell, "--to", "human:eve", "and you?"]).exits(0);
    let id = text(&lab.json(&["--as", "human:eve", "inbox", &cell]).exits(0).json()["messages"][0]["id"]);
    lab.run(&["--as", "human:dora", "send", &cell, "--reply-to", &id, "x"]).exits(NOT_FOUND);
    lab.run(&["--as", "human:eve", "send", &cell, "--reply-to", &id, "well"]).exits(0);
    lab.run(&["destroy", &cell]).exits(0);
}

#[test]
fn a_token_is_printed_once_and_stored_nowhere() {
    let lab = Lab::new();
    let cell = lab.summon(&["keeper", "p"]);
    let invited = lab.json(&["invite", &cell, "human:alice", "executor", "--expires", "1h"]).exits(0).json();
    let token = text(&invited["token"]);
    let secret = token.rsplit('.').next().expect("the last part").to_owned();
    assert!(token.starts_with("lz1.") && token.contains(&cell) && secret.len() == 64, "{token}");
    assert!(invited["expires_at"].is_string());
    let said = lab.run(&["invite", &cell, "human:bob", "observer"]).exits(0).stdout;
    assert!(said.contains("lazarus join lz1."), "{said}");
    lab.run(&["invite", &cell, "human:alice", "executor"]).exits(REFUSED);
    lab.run(&["invite", &cell, "agent:x", "executor", "--expires", "1h"]).exits(USAGE);
    lab.run(&["invite", &cell, "human:eve", "executor", "--expires", "0"]).exits(USAGE);
    for name in ["registry.db", "registry.db-wal"] {
        let bytes = std::fs::read(lab.root().join(name)).expect("read");
        assert!(!bytes.windows(secret.len()).any(|window| window == secret.as_bytes()), "{name} holds the secret");
    }
    lab.run(&["--as", "human:bob", "revoke", &cell, "human:alice"]).exits(REFUSED);
    assert_eq!(lab.json(&["revoke", &cell, "human:alice"]).exits(0).message(), format!("Revoked human:alice from {cell}"));
    lab.run(&["revoke", &cell, "human:alice"]).exits(NOT_FOUND);
    let runs = lab.run(&["revoke", &cell, "agent:keeper"]).exits(REFUSED);
    assert!(runs.stderr.contains("close"), "{runs:?}");
    lab.run(&["--as", "human:alice", "send", &cell, "x"]).exits(REFUSED);
    lab.run(&["destroy", &cell]).exits(0);
    lab.run(&["revoke", &cell, "human:bob"]).exits(REFUSED);
}

#[test]
fn artifacts_are_fetched_whole_and_replace_nothing() {
    let lab = lab_with_clerk();
    let cell = lab.summon(&["clerk", "p"]);
    assert_eq!(lab.run(&["artifacts", &cell]).exits(0).stdout, "No artifacts.\n");
    lab.run(&["send", &cell, "--wait=20s", "remember report the report"]).exits(0);
    lab.run(&["send", &cell, "--wait=20s", "declare report report.md"]).exits(0);
    lab.run(&["close", &cell]).exits(0);
    let listed = lab.json(&["artifacts", &cell]).exits(0).json();
    let line = &listed["artifacts"][0];
    assert_eq!((text(&line["name"]), line["bytes"].as_u64(), line["fetched_at"].is_null()), ("report.md".to_owned(), Some(10), true));
    lab.run(&["artifacts", &cell, "get", "other.md"]).exits(NOT_FOUND);
    lab.run(&["artifacts", &cell, "get", "other/report.md"]).exits(NOT_FOUND);
    lab.run(&["artifacts", &cell, "get", "../../registry.db"]).exits(NOT_FOUND);
    lab.run(&["artifacts", "get", &cell]).exits(USAGE);
    // Both ways to say it; a file that is there stays, but for --force.
    lab.run(&["artifacts", &cell, "get", "report.md"]).exits(0);
    assert_eq!(std::fs::read_to_string(lab.work().join("report.md")).expect("read"), "the report");
    std::fs::write(lab.work().join("report.md"), "mine").expect("written");
    lab.run(&["artifacts", "get", &cell, "clerk/report.md"]).exits(REFUSED);
    assert_eq!(std::fs::read_to_string(lab.work().join("report.md")).expect("read"), "mine");
    lab.run(&["artifacts", "get", &cell, "report.md", "--force"]).exits(0);
    assert_eq!(std::fs::read_to_string(lab.work().join("report.md")).expect("read"), "the report");
    assert_eq!(lab.run(&["artifacts", &cell, "get", "report.md", "-o", "-"]).exits(0).stdout, "the report");
    // A link at the destination is replaced, never followed.
    let canary = lab.file("canary", "untouched");
    symlink(&canary, lab.work().join("link")).expect("made");
    lab.run(&["artifacts", &cell, "get", "report.md", "-o", "link"]).exits(REFUSED);
    lab.run(&["artifacts", &cell, "get", "report.md", "-o", "link", "--force"]).exits(0);
    assert_eq!(std::fs::read_to_string(&canary).expect("read"), "untouched");
    assert_eq!(std::fs::read_to_string(lab.work().join("link")).expect("read"), "the report");
    lab.run(&["artifacts", &cell, "get", "report.md", "-o", "nowhere/x"]).exits(REFUSED);
    // What was changed on the disk is given to nobody.
    let kept = lab.cell_dir(&cell).join("artifacts").join(text(&line["sha256"]));
    std::fs::write(&kept, "the REPORT").expect("written");
    let broken = lab.run(&["artifacts", &cell, "get", "report.md", "-o", "again"]).exits(125);
    assert!(broken.stderr.contains("not those that were kept") && !lab.work().join("again").exists(), "{broken:?}");
    let names: Vec<String> =
        std::fs::read_dir(lab.work()).expect("read").map(|entry| entry.expect("read").file_name().to_string_lossy().into_owned()).collect();
    assert!(!names.iter().any(|name| name.starts_with(".lazarus")), "{names:?}");
    lab.run(&["destroy", &cell]).exits(0);
    assert_eq!(lab.run(&["artifacts", &cell]).exits(0).stdout, "No artifacts.\n");
}

#[test]
fn destroy_asks_where_nobody_has_the_results() {
    let lab = lab_with_clerk();
    let cell = lab.summon(&["clerk", "p"]);
    lab.run(&["send", &cell, "--wait=20s", "remember report the report"]).exits(0);
    lab.run(&["send", &cell, "--wait=20s", "declare report report.md"]).exits(0);
    let refused = lab.run(&["destroy", &cell]).exits(REFUSED);
    assert!(refused.stderr.contains("clerk/report.md") && refused.stderr.contains("--force"), "{refused:?}");
    assert_ne!(lab.state(&cell), "destroyed");
    lab.run(&["destroy", &cell, "--force"]).exits(0);
    assert_eq!(lab.state(&cell), "destroyed");
    // Again is success: there is nothing to lose.
    lab.run(&["destroy", &cell]).exits(0);
}

#[test]
fn authors_learn_what_a_program_is_before_it_runs() {
    let lab = Lab::new();
    let component = guest("faulty");
    let checked = lab.json(&["agent", "check", &component.to_string_lossy()]).exits(0).json();
    assert_eq!((text(&checked["kind"]), checked["runs"].as_bool()), ("agent".to_owned(), Some(true)));
    assert!(checked["sdk"].is_string(), "{checked}");
    let empty = lab.file("empty.wat", "(component)");
    let empty = lab.json(&["agent", "check", &empty.to_string_lossy()]).exits(REFUSED).json();
    assert!(text(&empty["message"]).contains("nothing to start"), "{empty}");
    let newer = lab.file("newer.wat", r#"(component (instance $i) (export "lazarus:cell/agent@0.9.0" (instance $i)))"#);
    let newer = lab.run(&["agent", "check", &newer.to_string_lossy()]).exits(REFUSED);
    assert!(newer.stderr.contains("0.1.0") && newer.stderr.contains("0.9.0"), "the supported range is named: {newer:?}");
    let network = lab.file("network.wat", r#"(component (import "wasi:http/outgoing-handler@0.2.0" (instance)))"#);
    let network = lab.json(&["agent", "check", &network.to_string_lossy()]).exits(REFUSED).json();
    assert!(text(&network["message"]).contains("wasi:http"), "{network}");
    lab.run(&["agent", "check", "nowhere.wasm"]).exits(REFUSED);
    lab.run(&["agent", "check", "/etc/passwd"]).exits(REFUSED);
    // In the foreground nobody could write to it.
    let run = lab.run(&["run", &component.to_string_lossy()]).exits(REFUSED);
    assert!(run.stderr.contains("lives by events") && run.stderr.contains("hint: "), "{run:?}");
    assert!(lab.cell_dirs().is_empty());
}

#[test]
fn a_new_crate_takes_no_place_that_is_taken() {
    let lab = Lab::new();
    let made = lab.json(&["agent", "new", "scribe"]).exits(0).json();
    assert!(made["files"].as_array().is_some_and(|files| files.iter().any(|file| file == "src/lib.rs")), "{made}");
    assert!(lab.work().join("scribe/Cargo.toml").is_file() && !lab.root().exists(), "it needs no root");
    lab.run(&["agent", "new", "scribe"]).exits(REFUSED);
    symlink("/nowhere", lab.work().join("dangling")).expect("made");
    lab.run(&["agent", "new", "scribe", "dangling"]).exits(REFUSED);
    lab.run(&["agent", "new", "scribe", "no/such/parent"]).exits(REFUSED);
    lab.run(&["agent", "new", "../scribe"]).exits(USAGE);
    lab.run(&["agent", "new", "clerk", "elsewhere"]).exits(0);
    assert!(lab.work().join("elsewhere/agent.toml").is_file());
}
