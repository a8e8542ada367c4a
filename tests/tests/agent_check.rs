//! `agent check`: what a program imports and needs, and what a definition grants of that, before anything is installed or run.

use lazarus_tests::{Lab, guests, lab::text};
use serde_json::Value;

const REFUSED: i32 = 1;

/// A component that imports these interfaces, and can be started.
fn component(imports: &[&str]) -> String {
    let imports: String = imports.iter().map(|import| format!("(import \"{import}\" (instance))")).collect();
    format!(
        "(component {imports} (core module $m (func (export \"run\") (result i32) i32.const 0)) (core instance $c (instantiate $m)) \
         (func $run (result (result)) (canon lift (core func $c \"run\"))) (instance $i (export \"run\" (func $run))) \
         (export \"wasi:cli/run@0.2.0\" (instance $i)))"
    )
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

/// Neither a definition nor a rehearsal of one.
#[track_caller]
fn nothing_is_left(lab: &Lab) {
    let agents = std::fs::read_dir(lab.root().join("agents")).expect("a root").count();
    assert!(agents == 0 && !lab.root().join("rehearsals").exists() && lab.cell_dirs().is_empty(), "{agents} entries of agents/");
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
        ("lazarus:cell/mailbox@0.1.0", false, "is given only to agents that live by events"),
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
    nothing_is_left(&lab);

    // What nothing needs, or is not there, is remarked upon; it is no refusal.
    lab.file("scribe.wat", component(&["wasi:io/streams@0.2.3"]));
    let more = definition.replace("\"project\"", "\"absent\"") + "[limits]\nevent = \"5s\"\n[life]\ntick = \"1m\"\n";
    lab.file("agent.toml", &more);
    let told = remarks(&checked(&lab, "agent.toml", 0)).join("\n");
    for remark in ["asks for `mounts`", "asks for `env`", "sets `event`", "sets `tick`", "absent, which is not there yet"] {
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
    assert!(text(&checked(&lab, "agent.toml", REFUSED)["message"]).contains("and the definition pins 000000"));
    lab.file("agent.toml", definition.replace("/project", "/home"));
    let told = lab.json(&["agent", "check", "agent.toml"]).exits(REFUSED).message();
    assert!(told.contains("agent.toml:6:") && told.contains("the cell has its own there"), "{told}");
    lab.file("agent.toml", "[agent]\nname = \"scribe\"\ncommand = [\"true\"]\n");
    let told = checked(&lab, "agent.toml", 0);
    assert!(told["kind"] == "command" && remarks(&told)[0].contains("lazarus why CELL NAME"), "{told}");
}

/// Whatever would refuse a program when it is summoned refuses it here, in the same words; its twin differs in that alone.
#[test]
fn a_program_runs_here_if_a_summon_of_it_would_start() {
    let lab = Lab::new();
    let module = |rest: &str| format!("(module {rest} (func (export \"_start\")))");
    let write =
        |of: &str| format!("(import \"wasi_snapshot_preview1\" \"fd_write\" (func {of} (result i32))) (memory (export \"memory\") 1)");
    let start = |what: &str| format!("(module (memory (export \"memory\") 1) {what})");
    for (name, text, twin, says) in [
        ("a 64-bit memory", module("(memory i64 1)"), module("(memory 1)"), "memory64 must be enabled"),
        ("shared memory", module("(memory 1 1 shared)"), module("(memory 1 1)"), "threads must be enabled"),
        ("another signature", module(&write("(param i64)")), module(&write("(param i32 i32 i32 i32)")), "incompatible import type"),
        ("parameters", start("(func (export \"_start\") (param i32))"), start("(func (export \"_start\"))"), "without parameters"),
        (
            "no function",
            start("(global (export \"_start\") i32 (i32.const 0)) (func)"),
            start("(global i32 (i32.const 0)) (func (export \"_start\"))"),
            "is not a function",
        ),
        (
            "no function of a component",
            "(component (instance $i) (export \"wasi:cli/run@0.2.0\" (instance $i)))".into(),
            component(&[]),
            "exports neither wasi:cli/run nor",
        ),
    ] {
        lab.file("program.wat", text);
        let told = checked(&lab, "program.wat", REFUSED);
        assert!(told["runs"] == false && told["success"] == false && text_of(&told["troubles"]).contains(says), "{name}: {told}");
        let summoned = lab.run(&["summon", "x", "p", "--component", "program.wat"]).exits(REFUSED);
        assert!(summoned.stderr.contains(says), "{name}: {summoned:?}");
        lab.file("program.wat", twin);
        assert_eq!(checked(&lab, "program.wat", 0)["runs"], true, "{name}");
    }
}

fn text_of(list: &Value) -> String {
    list.as_array().map(|list| list.iter().map(text).collect::<Vec<_>>().join("; ")).unwrap_or_default()
}

/// What `agent add` or a summon would refuse a definition for is said by a check, each reason of it.
#[test]
fn a_definition_runs_here_if_it_would_be_installed_and_started() {
    let lab = Lab::new();
    lab.json(&["status"]).exits(0);
    lab.file("good.wat", component(&[]));
    lab.file("file", "x");
    lab.file("dir/x", "x");
    std::os::unix::fs::symlink("dir", lab.work().join("link")).expect("made");
    let root = lab.root().display().to_string();
    let wasm = |rest: &str| format!("[agent]\nname = \"a\"\ncomponent = \"good.wat\"\n{rest}\n");
    let process = |rest: &str| format!("[agent]\nname = \"a\"\ncommand = [\"sleep\", \"1\"]\n{rest}\n");
    let mount = |host: &str| format!("[grants]\nmounts = [{{ host = \"{host}\", guest = \"/x\" }}]");
    let both = format!("[grants]\nread = [\"/proc\", \"{root}\"]");
    for (text, says) in [
        (wasm(&mount(&format!("{root}/registry.db"))), vec!["registry.db: it is inside a Lazarus root"]),
        (wasm(&mount(&format!("{root}/cells"))), vec!["it is inside a Lazarus root"]),
        (process(&mount("link")), vec!["agent.toml:5:11: ", "it is a link"]),
        (process(&both), vec!["grant /proc", "it is inside a Lazarus root"]),
        (process("template = \"nowhere\""), vec!["read the template of agent a", "nowhere"]),
        (wasm("template = \"file\""), vec!["read the template of agent a", "Not a directory"]),
        (process(&format!("template = \"nowhere\"\n{both}")), vec!["grant /proc", "read the template"]),
        (wasm(&mount("file")), vec!["can only be given directories"]),
        (process("").replace("sleep", "no-such-command"), vec!["no such command in the agent's PATH"]),
        (process("").replace("sleep", "/no/such/program"), vec!["is not there or was not granted"]),
    ] {
        lab.file("agent.toml", &text);
        let told = checked(&lab, "agent.toml", REFUSED);
        let troubles = text_of(&told["troubles"]);
        assert!(told["runs"] == false && says.iter().all(|says| troubles.contains(says)), "{text}: {told}");
        assert!(!troubles.contains(".new-"), "what is named is what its author knows: {troubles}");
    }
    for twin in [wasm(&mount("dir")), process(&mount("file")), process("template = \"dir\""), process("[grants]\nread = [\"/usr\"]")] {
        lab.file("agent.toml", &twin);
        assert_eq!(checked(&lab, "agent.toml", 0)["runs"], true, "{twin}");
    }
    nothing_is_left(&lab);
}
