//! `agent check`: what a program imports and needs, and what a definition grants of that, before anything is installed or run.

use lazarus_tests::{Lab, guests, lab::text};
use serde_json::Value;

const REFUSED: i32 = 1;

/// A component that imports these interfaces, and can be started.
fn component(imports: &[&str]) -> String {
    let imports: String = imports.iter().map(|import| format!("(import \"{import}\" (instance))")).collect();
    format!("(component {imports} (instance $i) (export \"wasi:cli/run@0.2.0\" (instance $i)))")
}

fn checked(lab: &Lab, file: &str, code: i32) -> Value {
    lab.json(&["agent", "check", file]).exits(code).json()
}

#[track_caller]
fn import<'a>(checked: &'a Value, name: &str) -> &'a Value {
    let groups = checked["imports"].as_array().expect("a list");
    let has = |group: &&Value| group["imports"].as_array().is_some_and(|names| names.iter().any(|import| import == name));
    groups.iter().find(has).unwrap_or_else(|| panic!("{name}: {checked}"))
}

#[track_caller]
fn remarks(checked: &Value) -> Vec<String> {
    checked["definition"]["remarks"].as_array().unwrap_or_else(|| panic!("{checked}")).iter().map(text).collect()
}

#[test]
fn every_import_says_what_it_needs() {
    let lab = Lab::new();
    let all = [
        ("wasi:cli/environment@0.2.3", true, "variables that are granted (`env`)"),
        ("wasi:cli/stdout@0.2.3", true, "needs nothing"),
        ("wasi:clocks/wall-clock@0.2.3", true, "needs nothing"),
        ("wasi:filesystem/types@0.2.3", true, "other directories need a mount"),
        ("wasi:io/streams@0.2.3", true, "needs nothing"),
        ("wasi:random/random@0.2.3", true, "needs nothing"),
        ("wasi:sockets/tcp@0.2.3", true, "finds every network closed"),
        ("lazarus:cell/log@0.1.0", true, "needs nothing"),
        ("lazarus:cell/mailbox@0.1.0", false, "only agents that live by events"),
        ("wasi:http/outgoing-handler@0.2.3", false, "it grants no network yet"),
        ("wasi:keyvalue/store@0.2.0", false, "does not provide"),
        ("wasi:cli/stderr@0.3.0", false, "does not provide"),
    ];
    lab.file("all.wat", component(&all.map(|(name, ..)| name)));
    let told = checked(&lab, "all.wat", REFUSED);
    for (name, provided, needs) in all {
        let group = import(&told, name);
        assert!(group["provided"] == provided && text(&group["needs"]).contains(needs), "{name}: {group}");
        assert!(group["granted"].is_null() && told["definition"].is_null(), "a program alone grants nothing: {group}");
    }
    assert_eq!(told["troubles"].as_array().map(Vec::len), Some(4), "{told}");
    // The twin: without those that nobody provides, it runs here.
    let provided: Vec<&str> = all.iter().filter(|(_, provided, _)| *provided).map(|(name, ..)| *name).collect();
    lab.file("provided.wat", component(&provided));
    assert_eq!(checked(&lab, "provided.wat", 0)["runs"], true);
    lab.file("module.wat", guests::says("x", 0));
    let module = checked(&lab, "module.wat", 0);
    assert_eq!(import(&module, "wasi_snapshot_preview1::fd_write")["needs"], "needs nothing", "{module}");
    let _ = lab.json(&["agent", "check", "missing.wasm"]).exits(REFUSED);
}

#[test]
fn a_definition_says_what_it_grants_of_that_and_what_nothing_needs() {
    let lab = Lab::new();
    lab.file("project/x", "x");
    lab.file("scribe.wat", component(&["wasi:cli/environment@0.2.3", "wasi:filesystem/types@0.2.3", "wasi:io/streams@0.2.3"]));
    let definition = "[agent]\nname = \"scribe\"\ncomponent = \"scribe.wat\"\n[grants]\nenv = { MODE = \"quiet\" }\n\
        mounts = [{ host = \"project\", guest = \"/project\" }]\n";
    lab.file("agent.toml", definition);
    let told = checked(&lab, "agent.toml", 0);
    assert_eq!(
        (&told["kind"], &told["definition"]["agent"], &told["definition"]["backend"]),
        (&"component".into(), &"scribe".into(), &"wasm".into())
    );
    let granted = |name: &str| text(&import(&told, name)["granted"]);
    assert_eq!(granted("wasi:filesystem/types@0.2.3"), "its home, /shared, /project (ro)");
    assert_eq!(granted("wasi:cli/environment@0.2.3"), "those that the cell sets, and MODE");
    assert_eq!(granted("wasi:io/streams@0.2.3"), "nothing is needed");
    assert_eq!(remarks(&told), Vec::<String>::new());
    assert!(told["definition"]["asks"].to_string().contains("+ env MODE"), "{told}");
    assert!(!lab.root().join("agents").exists(), "nothing is installed");

    // What nothing needs, or is not there, is remarked upon; it is no refusal.
    lab.file("scribe.wat", component(&["wasi:io/streams@0.2.3"]));
    let more = definition.replace("\"project\"", "\"absent\"") + "[limits]\nprocesses = 3\nevent = \"5s\"\n[life]\ntick = \"1m\"\n";
    lab.file("agent.toml", &more);
    let told = remarks(&checked(&lab, "agent.toml", 0)).join("\n");
    for remark in
        ["asks for `mounts`", "asks for `env`", "sets `processes`", "sets `event`", "sets `tick`", "absent, which is not there yet"]
    {
        assert!(told.contains(remark), "{remark}: {told}");
    }
    let people = lab.run(&["agent", "check", "agent.toml"]).exits(0).stdout;
    assert!(people.contains("remark    it asks for `mounts`") && people.contains("GRANTED"), "{people}");

    // What it cannot have, and what cannot be accepted, is refused.
    lab.file("scribe.wat", component(&["wasi:http/types@0.2.3"]));
    let told = checked(&lab, "agent.toml", REFUSED);
    assert!(told["runs"] == false && text(&told["message"]).contains("does not run here: it imports wasi:http"), "{told}");
    lab.file("scribe.wat", component(&[]));
    lab.file("agent.toml", definition.replace("[grants]", &format!("sha256 = \"{}\"\n[grants]", "0".repeat(64))));
    assert!(text(&checked(&lab, "agent.toml", REFUSED)["message"]).contains("and it pins 000000"));
    lab.file("agent.toml", definition.replace("/project", "/home"));
    let told = lab.json(&["agent", "check", "agent.toml"]).exits(REFUSED).message();
    assert!(told.contains("agent.toml:6:") && told.contains("the cell has its own there"), "{told}");
    lab.file("agent.toml", "[agent]\nname = \"scribe\"\ncommand = [\"true\"]\n");
    let told = checked(&lab, "agent.toml", 0);
    assert!(told["kind"] == "command" && remarks(&told)[0].contains("lazarus why CELL NAME"), "{told}");
}
