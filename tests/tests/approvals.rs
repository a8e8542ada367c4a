//! Approvals: what is installed is used only as it was approved; whatever asks for more waits for the operator's word.

use std::{fs, path::Path};

use lazarus_tests::{
    Lab, guests,
    lab::{Outcome, text},
};
use serde_json::Value;

const REFUSED: i32 = 1;
const NOT_FOUND: i32 = 3;

const SCRIBE: &str = r#"[agent]
name = "scribe"
component = "scribe.wat"
args = ["quiet"]
template = "template"
[grants]
env = { MODE = "quiet" }
mounts = [{ host = "project", guest = "/project" }, { host = "out", guest = "/out", access = "rw" }]
[limits]
memory = "64MiB"
[life]
ttl = "30m"
"#;

/// A lab with the parts of the definition, which is not installed.
fn ground() -> Lab {
    let lab = Lab::new();
    lab.file("scribe.wat", guests::says("one", 0));
    for name in ["project/notes", "out/x", "other/x", "template/SOUL.md"] {
        lab.file(name, "x");
    }
    lab.file("agent.toml", SCRIBE);
    lab
}

fn add(lab: &Lab, more: &[&str]) -> Value {
    lab.json(&[&["agent", "add", "agent.toml"][..], more].concat()).exits(0).json()
}

fn replace(lab: &Lab, definition: &str) -> Value {
    lab.file("agent.toml", definition);
    add(lab, &["--replace"])
}

fn lines(value: &Value) -> Vec<String> {
    value.as_array().unwrap_or_else(|| panic!("no list: {value}")).iter().map(text).collect()
}

/// Asserts that nothing runs the agent, that each way says why, line by line, and that each is audited as refused.
#[track_caller]
fn nothing_runs_it(lab: &Lab, difference: &str) {
    let refusals = |action: &str| refusals(lab, action).into_iter().filter(|detail| detail.contains(difference)).count();
    for (action, args) in
        [("run", &["run", "scribe"][..]), ("summon", &["summon", "scribe", "p"]), ("team", &["team", "scribe+other", "p"])]
    {
        let before = refusals(action);
        let refused = lab.json(args).exits(REFUSED).json();
        assert!(text(&refused["message"]).contains("agent scribe is not approved"), "{refused}");
        assert!(lines(&refused["differences"]).iter().any(|line| line.contains(difference)), "{difference}: {refused}");
        assert!(text(&refused["hint"]).contains("lazarus agent approve scribe"), "{refused}");
        assert_eq!(refusals(action), before + 1, "{action}: {difference}");
    }
    let told = lab.run(&["run", "scribe"]).exits(REFUSED);
    assert!(told.stderr.lines().any(|line| line.starts_with("  ") && line.contains(difference)), "{}", told.stderr);
    assert!(told.stderr.contains("lazarus agent approve scribe"), "{}", told.stderr);
    let shown = lab.json(&["agent", "show", "scribe"]).exits(0).json();
    assert_eq!(shown["approved"], false, "{shown}");
    assert!(lines(&shown["differences"]).iter().any(|line| line.contains(difference)), "{shown}");
    let listed = lab.json(&["agent", "list"]).exits(0).json();
    assert_eq!(listed["agents"][0]["approved"], false, "{listed}");
    assert!(lab.cell_dirs().is_empty() && lab.processes().is_empty(), "{difference}");
}

#[track_caller]
fn it_runs(lab: &Lab, says: &str) {
    assert_eq!(lab.run(&["run", "scribe"]).exits(0).stdout, format!("{says}\n"));
    let shown = lab.json(&["agent", "show", "scribe"]).exits(0).json();
    assert_eq!((&shown["approved"], &shown["differences"]), (&Value::Bool(true), &Value::Array(Vec::new())), "{shown}");
}

fn rows(lab: &Lab, sql: &str) -> Vec<String> {
    let db = rusqlite::Connection::open(lab.root().join("registry.db")).expect("opened");
    let mut select = db.prepare(sql).expect("understood");
    let rows = select.query_map([], |row| row.get(0)).expect("read");
    rows.map(|row| row.expect("a text")).collect()
}

fn refusals(lab: &Lab, action: &str) -> Vec<String> {
    rows(lab, &format!("SELECT detail FROM audit WHERE action = '{action}' AND phase = 'refused' ORDER BY seq"))
}

#[track_caller]
fn approve(lab: &Lab) -> Value {
    lab.json(&["agent", "approve", "scribe"]).exits(0).json()
}

#[test]
fn installing_is_consent_and_says_to_what() {
    let lab = ground();
    let added = add(&lab, &[]);
    assert_eq!((&added["approved"], &added["differences"]), (&Value::Bool(true), &Value::Array(Vec::new())), "{added}");
    let asks = lines(&added["asks"]);
    let project = format!("+ mount {} at /project (ro)", lab.work().join("project").display());
    for line in [project.as_str(), "+ env MODE", "+ limit memory = 64 MiB", "+ life ttl = 30m"] {
        assert!(asks.iter().any(|said| said == line), "{line}: {asks:?}");
    }
    it_runs(&lab, "one");
    let _ = lab.run(&["agent", "remove", "scribe"]).exits(0);
    let told = lab.run(&["agent", "add", "agent.toml"]).exits(0).stdout;
    assert!(told.contains("Added agent scribe (wasm), approved, with:") && told.contains(&project), "{told}");
}

#[test]
fn whatever_asks_for_more_waits_for_an_approval() {
    let lab = ground();
    add(&lab, &[]);
    let work = lab.work().display().to_string();
    let cases: Vec<(&str, &str, String)> = vec![
        ("[\"quiet\"]", "[\"loud\"]", "program component with \"quiet\" → component with \"loud\"".into()),
        ("mounts = [", "mounts = [{ host = \"other\", guest = \"/y\", access = \"rw\" }, ", format!("+ mount {work}/other at /y (rw)")),
        ("guest = \"/project\"", "guest = \"/project\", access = \"rw\"", format!("→ {work}/project at /project (rw)")),
        ("host = \"project\"", "host = \"other\"", format!("→ {work}/other at /project (ro)")),
        ("MODE = \"quiet\"", "MODE = \"loud\"", "env MODE has another value".into()),
        ("MODE = \"quiet\"", "MODE = \"quiet\", MORE = \"\"", "+ env MORE".into()),
        ("64MiB", "2GiB", "limit memory 64 MiB → 2 GiB".into()),
        ("memory = \"64MiB\"", "", "limit memory 64 MiB → 512 MiB".into()),
        ("30m", "31m", "life ttl 30m → 31m".into()),
        ("ttl = \"30m\"", "ttl = \"30m\"\non-expire = \"keep\"", "life on-expire unsaid → keep".into()),
        ("ttl = \"30m\"", "ttl = \"30m\"\ntick = \"5s\"", "life tick unsaid → 5s".into()),
        ("template = \"template\"", "", "template sha256".into()),
    ];
    for (from, to, difference) in cases {
        assert!(SCRIBE.contains(from), "{from}");
        let replaced = replace(&lab, &SCRIBE.replace(from, to));
        assert_eq!(replaced["approved"], false, "{replaced}");
        assert!(text(&replaced["message"]).contains("NOT approved"), "{replaced}");
        assert!(lines(&replaced["differences"]).iter().any(|line| line.contains(&difference)), "{difference}: {replaced}");
        nothing_runs_it(&lab, &difference);
        let approved = approve(&lab);
        assert!(lines(&approved["differences"]).iter().any(|line| line.contains(&difference)), "{approved}");
        it_runs(&lab, "one");
        // And back, which is another change to some of these, and none to others.
        let back = replace(&lab, SCRIBE);
        if back["approved"] == false {
            approve(&lab);
        }
        it_runs(&lab, "one");
    }
}

#[test]
fn whatever_asks_for_less_stays_approved() {
    let lab = ground();
    add(&lab, &[]);
    let mut definition = SCRIBE.to_owned();
    for (from, to) in [
        ("access = \"rw\"", "access = \"ro\""),
        (", { host = \"out\", guest = \"/out\", access = \"ro\" }", ""),
        ("64MiB", "32MiB"),
        ("30m", "10m"),
        ("ttl = \"10m\"", "ttl = \"10m\"\non-expire = \"destroy\""),
        ("env = { MODE = \"quiet\" }", "env = {}"),
        ("[limits]", "# only a remark\n[limits]"),
    ] {
        assert!(definition.contains(from), "{from}");
        definition = definition.replace(from, to);
        let replaced = replace(&lab, &definition);
        assert_eq!(replaced["approved"], true, "{from} → {to}: {replaced}");
        it_runs(&lab, "one");
    }
    let how = rows(&lab, "SELECT how FROM approvals ORDER BY seq");
    assert_eq!(how, ["add"; 8], "each is on record");
    // What was given up is asked for again: it compares with the newest approval, not with the first.
    assert_eq!(replace(&lab, SCRIBE)["approved"], false);
    nothing_runs_it(&lab, "+ env MODE");
}

#[test]
fn another_component_waits_for_an_approval() {
    let lab = ground();
    let before = text(&add(&lab, &[])["sha256"]);
    lab.file("scribe.wat", guests::says("two", 0));
    let replaced = replace(&lab, SCRIBE);
    assert_eq!(replaced["approved"], false, "{replaced}");
    nothing_runs_it(&lab, &format!("component sha256 {}… → {}…", &before[..12], &text(&replaced["sha256"])[..12]));
    let approved = approve(&lab);
    assert_eq!((&approved["sha256"], &approved["agent"]), (&replaced["sha256"], &Value::from("scribe")), "{approved}");
    assert_eq!(approved["grants"]["mounts"][0]["guest"], "/out", "{approved}");
    it_runs(&lab, "two");
    let words = rows(&lab, "SELECT phase FROM audit WHERE action = 'agent_approve' ORDER BY seq");
    assert_eq!(words, ["done", "intent", "done"], "adding, then the command");
    let digest = rows(&lab, "SELECT detail FROM audit WHERE action = 'agent_approve' ORDER BY seq DESC LIMIT 1");
    assert!(digest[0].contains(&text(&replaced["sha256"])), "{digest:?}");
}

#[test]
fn what_is_edited_where_it_lies_is_not_approved() {
    let lab = ground();
    add(&lab, &[]);
    let installed = lab.root().join("agents/scribe");
    type Edit<'a> = &'a dyn Fn(&str) -> String;
    let edits: [(&str, Edit<'_>, &str); 5] = [
        ("agent.toml", &|old| old.replace("64MiB", "2GiB"), "limit memory 64 MiB → 2 GiB"),
        ("agent.toml", &|old| format!("{old}\n# no more than a remark\n"), "definition sha256"),
        ("component.wasm", &|_| guests::says("two", 0), "component sha256"),
        ("template/SOUL.md", &|_| "another soul".to_owned(), "template sha256"),
        ("lock.json", &|old| old.replace("/project\"", "/other\""), "/other at /project (ro)"),
    ];
    for (file, edit, difference) in edits {
        let path = installed.join(file);
        let old = fs::read_to_string(&path).expect("read");
        let new = edit(&old);
        assert_ne!(old, new, "{file}");
        fs::write(&path, new).expect("written");
        nothing_runs_it(&lab, difference);
        fs::write(&path, old).expect("written");
        it_runs(&lab, "one");
    }
    fs::write(installed.join("component.wasm"), guests::says("two", 0)).expect("written");
    approve(&lab);
    it_runs(&lab, "two");
}

#[test]
fn an_invitation_and_a_resurrection_ask_as_well() {
    let lab = ground();
    add(&lab, &[]);
    lab.file("keeper.toml", "[agent]\nname = \"keeper\"\n");
    let _ = lab.run(&["agent", "add", "keeper.toml"]).exits(0);
    let cell = lab.summon(&["keeper", "p"]);
    let _ = lab.run(&["close", &cell]).exits(0);
    let wider = "[agent]\nname = \"keeper\"\n[limits]\nmemory = \"1GiB\"\n";
    lab.file("keeper.toml", wider);
    let _ = lab.run(&["agent", "add", "keeper.toml", "--replace"]).exits(0);
    let refused = lab.json(&["resurrect", &cell]).exits(REFUSED).json();
    assert_eq!(lines(&refused["differences"]).last().map(String::as_str), Some("limit memory 512 MiB → 1 GiB"), "{refused}");
    assert_eq!(lab.state(&cell), "closed");
    assert_eq!(refusals(&lab, "resurrect").len(), 1);
    let _ = lab.run(&["agent", "approve", "keeper"]).exits(0);
    let _ = lab.run(&["resurrect", &cell]).exits(0);
    lab.file("keeper.toml", wider.replace("1GiB", "2GiB"));
    let _ = lab.run(&["agent", "add", "keeper.toml", "--replace"]).exits(0);
    let other = lab.summon(&["anybody", "p"]);
    let refused = lab.json(&["invite", &other, "agent:keeper", "executor"]).exits(REFUSED).json();
    assert!(lines(&refused["differences"]).iter().any(|line| line == "limit memory 1 GiB → 2 GiB"), "{refused}");
    let kept = rows(&lab, &format!("SELECT detail FROM audit WHERE action = 'invite' AND phase = 'refused' AND cell_id = '{other}'"));
    assert!(kept.len() == 1 && kept[0].contains("1 GiB → 2 GiB"), "{kept:?}");
    let _ = lab.run(&["agent", "approve", "keeper"]).exits(0);
    let _ = lab.run(&["invite", &other, "agent:keeper", "executor"]).exits(0);
    // A cell that was made from a definition that is gone has what was approved when it was made.
    let _ = lab.run(&["close", &cell]).exits(0);
    let _ = lab.run(&["agent", "remove", "keeper"]).exits(0);
    let _ = lab.run(&["resurrect", &cell]).exits(0);
    for cell in [&cell, &other] {
        let _ = lab.run(&["destroy", cell]).exits(0);
    }
}

/// Makes the registry what an older release leaves: definitions, and no approvals.
fn as_an_older_release(root: &Path) {
    let db = rusqlite::Connection::open(root.join("registry.db")).expect("opened");
    db.execute_batch("DROP TRIGGER approvals_are_never_removed; DELETE FROM approvals").expect("forgotten");
}

#[test]
fn what_an_older_release_installed_is_approved_if_it_is_as_it_was() {
    let lab = ground();
    add(&lab, &[]);
    as_an_older_release(&lab.root());
    // Looking writes nothing.
    let listed = lab.json(&["agent", "list"]).exits(0).json();
    assert_eq!(listed["agents"][0]["approved"], true, "{listed}");
    assert!(rows(&lab, "SELECT how FROM approvals").is_empty());
    it_runs(&lab, "one");
    assert_eq!(rows(&lab, "SELECT how FROM approvals"), ["adopt"]);
    let last = rows(&lab, "SELECT detail FROM audit WHERE action = 'agent_approve' ORDER BY seq DESC LIMIT 1");
    assert!(last[0].contains("a release without approvals had installed it"), "{last:?}");

    // Replaced before it was ever used: the comparison is with what the older release had installed.
    as_an_older_release_again(&lab);
    assert_eq!(replace(&lab, &SCRIBE.replace("64MiB", "2GiB"))["approved"], false);
    nothing_runs_it(&lab, "limit memory 64 MiB → 2 GiB");

    // Changed after the older release had installed it: nobody approved that.
    approve(&lab);
    as_an_older_release_again(&lab);
    fs::write(lab.root().join("agents/scribe/component.wasm"), guests::says("two", 0)).expect("written");
    nothing_runs_it(&lab, "+ component sha256");
    approve(&lab);
    it_runs(&lab, "two");
}

fn as_an_older_release_again(lab: &Lab) {
    let db = rusqlite::Connection::open(lab.root().join("registry.db")).expect("opened");
    db.execute_batch("DELETE FROM approvals").expect("forgotten");
}

#[test]
fn what_was_removed_is_compared_with_nothing() {
    let lab = ground();
    add(&lab, &[]);
    let _ = lab.run(&["agent", "remove", "scribe"]).exits(0);
    let _: Outcome = lab.json(&["agent", "approve", "scribe"]).exits(NOT_FOUND);
    assert_eq!(refusals(&lab, "agent_approve"), ["Agent scribe not found"]);
    lab.file("agent.toml", SCRIBE.replace("64MiB", "2GiB"));
    assert_eq!(add(&lab, &[])["approved"], true);
    it_runs(&lab, "one");
    assert_eq!(rows(&lab, "SELECT how FROM approvals ORDER BY seq"), ["add", "remove", "add"]);
    let same = approve(&lab);
    assert!(text(&same["message"]).contains("had not changed") && lines(&same["differences"]).is_empty(), "{same}");
    let _ = lab.json(&["audit", "verify"]).exits(0);
}

/// What would be granted is no use to whoever is not told that it is not granted yet.
#[test]
fn an_explanation_says_whether_anybody_approved_it() {
    let lab = ground();
    add(&lab, &[]);
    let explained = lab.json(&["explain", "scribe"]).exits(0).json();
    assert!(explained["approved"] == true && explained["differences"].is_null(), "{explained}");
    assert!(!text(&explained["message"]).contains("approved"), "{explained}");
    let not_approved = |difference: &str| {
        let explained = lab.json(&["explain", "scribe"]).exits(0).json();
        assert_eq!(explained["approved"], false, "{explained}");
        assert!(
            text(&explained["message"]).contains("NOT approved, and nothing runs it until `lazarus agent approve scribe`"),
            "{explained}"
        );
        assert!(lines(&explained["differences"]).iter().any(|line| line.contains(difference)), "{explained}");
        let people = lab.run(&["explain", "scribe"]).exits(0).stdout;
        assert!(people.contains("not as it was approved\n") && people.contains(difference), "{people}");
    };
    let _ = replace(&lab, &SCRIBE.replace("64MiB", "2GiB"));
    not_approved("limit memory 64 MiB → 2 GiB");
    approve(&lab);
    assert_eq!(lab.json(&["explain", "scribe"]).exits(0).json()["approved"], true);
    // Edited where it lies.
    let installed = lab.root().join("agents/scribe/agent.toml");
    std::fs::write(&installed, SCRIBE.replace("64MiB", "3GiB")).expect("written");
    not_approved("limit memory 2 GiB → 3 GiB");
}
