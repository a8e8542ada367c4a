//! The guest SDK, seen from Lazarus: its double has the same rights and limits, its components carry its version, and a new agent builds.

use std::{fs, path::Path};

use lazarus::{agent::scaffold, cell, mail};
use lazarus_guest::{Agent, Cell, Failure, Message, Reason, Role, testing::TestCell};
use lazarus_tests::{
    built::{self, guest},
    lab::Lab,
};

/// Writes to whoever it is told to, and says in its log how that went.
#[derive(Default)]
struct Writer;

impl Agent for Writer {
    fn message(&mut self, cell: &Cell, message: &Message) -> Result<(), Failure> {
        let done = if message.text == "reply" { cell.reply("x") } else { cell.send(&message.text, "x") };
        match done {
            Ok(_) => cell.info("ok"),
            Err(refusal) => cell.info(&format!("{} {}", refusal.reason, refusal.needs.unwrap_or_default())),
        }
        Ok(())
    }
}

fn theirs(role: Role) -> cell::Role {
    serde_json::from_value(role.as_str().into()).expect("the same words")
}

fn said(done: Result<(), mail::Refusal>) -> String {
    done.map_or_else(
        |refusal| {
            format!(
                "{} {}",
                serde_json::to_value(refusal.reason).expect("json").as_str().expect("a word"),
                refusal.needs.unwrap_or_default()
            )
        },
        |()| "ok".to_owned(),
    )
}

#[test]
fn the_double_has_the_rights_of_lazarus() {
    for sender in Role::ALL {
        let mut cell = TestCell::<Writer>::new().role(sender);
        for receiver in Role::ALL {
            cell = cell.member(&format!("agent:{receiver}"), receiver);
        }
        let mut expected = Vec::new();
        for receiver in Role::ALL {
            let _ = cell.message("human:owner", &format!("agent:{receiver}")).done();
            expected.push(said(mail::may_send(theirs(sender), theirs(receiver))));
        }
        let _ = cell.message("agent:executor", "reply").done();
        expected.push(said(mail::may_answer(theirs(sender))));
        let lines: Vec<String> = cell.log().into_iter().map(|(_, line)| line).collect();
        assert_eq!(lines, expected, "{sender}");
    }
}

#[test]
fn the_double_has_the_limits_and_words_of_lazarus() {
    assert_eq!(lazarus_guest::TEXT_MOST_BYTES, mail::TEXT_MOST_BYTES);
    const { assert!(lazarus_guest::AUDIT_MOST <= mail::HISTORY_MOST && lazarus_guest::HISTORY_MOST <= mail::HISTORY_MOST) };
    for reason in [
        Reason::NotGranted,
        Reason::NoSuchMember,
        Reason::NoSuchMessage,
        Reason::TooLarge,
        Reason::Malformed,
        Reason::Full,
        Reason::TooFast,
        Reason::WrongTime,
        Reason::Failed,
    ] {
        assert!(serde_json::from_value::<mail::Reason>(reason.as_str().into()).is_ok(), "{reason}");
    }
}

#[test]
fn components_of_event_agents_alone_carry_the_version() {
    let has = |name: &str, words: &str| {
        let bytes = fs::read(guest(name)).expect("read");
        bytes.windows(words.len()).any(|window| window == words.as_bytes())
    };
    let stamp = format!("\u{b}lazarus:sdk{}", lazarus_guest::WIT_VERSION);
    let agent = format!("lazarus:cell/agent@{}", lazarus_guest::WIT_VERSION);
    for name in ["keeper", "scribe", "courier", "reviewer", "faulty"] {
        assert!(has(name, &stamp) && has(name, &agent), "{name}");
    }
    assert!(has("python-echo", &agent) && !has("python-echo", "lazarus:sdk"), "the WIT stands alone");
    for name in ["hello", "surveyor"] {
        assert!(!has(name, "lazarus:"), "{name} is a plain program: the SDK must leave nothing in it");
    }
}

#[test]
fn the_definitions_of_the_examples_are_accepted() {
    let lab = Lab::new();
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples");
    for (name, files) in [
        ("keeper", &["agent.toml"][..]),
        ("scribe", &["agent.toml"]),
        ("courier", &["fetch.toml", "work.toml", "deliver.toml"]),
        ("reviewer", &["agent.toml"]),
        ("faulty", &["agent.toml"]),
        ("python-echo", &["agent.toml"]),
    ] {
        lab.file(&format!("{name}/{name}.wasm"), fs::read(guest(name)).expect("read"));
        for file in files {
            let copy = lab.file(&format!("{name}/{file}"), fs::read(examples.join(name).join(file)).expect("read"));
            lab.json(&["agent", "add", copy.to_str().expect("text")]).exits(0).json();
        }
    }
}

#[test]
fn a_new_agent_builds_tests_and_is_added() {
    let lab = Lab::new();
    // A name that cargo and Rust would not take as it stands.
    let name = "1st-try";
    let crate_dir = lab.work().join(name);
    for (path, bytes) in scaffold::render(&name.parse().expect("a name")) {
        lab.file(&format!("{name}/{}", path.display()), bytes);
    }
    // What is locked need not be looked up; on a user's machine cargo asks crates.io.
    let locked = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/Cargo.lock");
    fs::copy(locked, crate_dir.join("Cargo.lock")).expect("copied");

    let tested = built::cargo(&crate_dir).args(["test", "--quiet"]).output().expect("cargo runs");
    assert!(tested.status.success(), "{}", String::from_utf8_lossy(&tested.stderr));
    let component = built::component(&crate_dir, "agent_1st_try");
    assert!(fs::metadata(&component).expect("there").len() < 256 * 1024);
    lab.json(&["agent", "add", crate_dir.join("agent.toml").to_str().expect("text")]).exits(0).json();
}
