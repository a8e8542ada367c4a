//! One set of lifecycle cases on both backends and on a model of them; and the envelopes of the command contract.

use lazarus::cell::BackendKind;
use lazarus_tests::{
    Lab,
    conformance::{Behaviour, Case, Real, Where, World},
    each_case,
    lab::text,
};

macro_rules! tests {
    ($($case:ident,)*) => {
        $(mod $case {
            use super::{Case, Where};

            #[test]
            fn on_processes() {
                Case::$case.holds_in(Where::Process);
            }

            #[test]
            fn on_wasm() {
                Case::$case.holds_in(Where::Wasm);
            }

            #[test]
            fn on_the_model() {
                Case::$case.holds_in(Where::Fake);
            }
        })*
    };
}

each_case!(tests);

/// The keys of a JSON object's text, in the order in which they stand there.
fn keys(object: &str) -> Vec<String> {
    let mut found = Vec::new();
    let (mut depth, mut is_key, mut chars) = (0_usize, false, object.chars());
    while let Some(c) = chars.next() {
        match c {
            '{' | '[' => (depth, is_key) = (depth + 1, c == '{' && depth == 0),
            '}' | ']' if depth <= 1 => break,
            '}' | ']' => depth -= 1,
            ',' => is_key = depth == 1,
            '"' => {
                let mut word = String::new();
                while let Some(c) = chars.next() {
                    match c {
                        '"' => break,
                        '\\' => word.extend(chars.next()),
                        _ => word.push(c),
                    }
                }
                if is_key && depth == 1 {
                    found.push(word);
                }
                is_key = false;
            }
            _ => {}
        }
    }
    found
}

/// Runs a command, and asserts that its envelope starts with the contract's keys.
#[track_caller]
fn envelope(lab: &Lab, args: &[&str], contract: &[&str]) -> serde_json::Value {
    let outcome = lab.json(args).exits(0);
    let found = keys(&outcome.stdout);
    assert!(found.len() >= contract.len(), "{args:?}: {found:?}");
    assert_eq!(found[..contract.len()], *contract, "{args:?}: {found:?}");
    assert_eq!(outcome.stdout.lines().count(), 1, "{args:?}: one object on one line");
    outcome.json()
}

fn envelopes(backend: BackendKind) {
    let mut real = Real::new(backend);
    for agent in ["scribe", "critic"] {
        real.define(agent, Behaviour::Stays);
    }
    let lab = &real.lab;
    let summoned = envelope(lab, &["summon", "scribe", "p"], &["success", "cell_id", "project", "agent", "backend", "pid", "message"]);
    assert_eq!(
        (&summoned["agent"], &summoned["project"], text(&summoned["backend"])),
        (&"scribe".into(), &"p".into(), backend.to_string())
    );
    let cell = text(&summoned["cell_id"]);
    assert!(cell.len() == 12 && cell.starts_with("laz-") && cell[4..].bytes().all(|b| b.is_ascii_hexdigit()), "{cell}");
    let teamed = envelope(lab, &["team", "scribe+critic", "p"], &["success", "cell_id", "project", "agents", "backend", "pid", "message"]);
    assert_eq!(teamed["agents"], serde_json::json!(["scribe", "critic"]));
    envelope(lab, &["invite", &cell, "human:alice", "observer"], &["success", "cell_id", "guest", "role", "invited_by", "message"]);
    let one = envelope(lab, &["status", &cell], &["success", "cell", "probe", "expired"]);
    assert_eq!(one["probe"]["pid"], summoned["pid"]);
    for (no_command, args) in [(false, &["status"][..]), (true, &[])] {
        let all = envelope(lab, args, &["success", "active_cells"]);
        assert_eq!(all["active_cells"].as_array().map(Vec::len), Some(2), "{no_command}");
    }
    let outcome = lab.json(&["status"]).exits(0);
    let listed = &outcome.stdout[outcome.stdout.find('[').expect("a list") + 1..];
    assert_eq!(keys(listed)[..7], ["cell_id", "project", "backend", "state", "members", "probe", "expired"]);
    envelope(lab, &["close", &cell], &["success", "cell_id", "message"]);
    for cell in [&cell, &text(&teamed["cell_id"])] {
        envelope(lab, &["destroy", cell], &["success", "cell_id", "message", "receipt"]);
    }
    let missing = lab.json(&["status", "laz-00000000"]).exits(3);
    assert_eq!(keys(&missing.stdout)[..2], ["success", "message"]);
}

#[test]
fn envelopes_on_processes() {
    envelopes(BackendKind::Process);
}

#[test]
fn envelopes_on_wasm() {
    envelopes(BackendKind::Wasm);
}
