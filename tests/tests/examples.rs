//! The example agents, each through the whole program: from their own definitions, as their documents tell an operator to use them.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use lazarus_tests::{
    Lab,
    built::guest,
    lab::{text, wait_until},
    processes::Process,
};
use serde_json::Value;

/// A refusal's exit code, as `lazarus --help` documents it.
const REFUSED: i32 = 1;

/// Installs an example by one of its own definitions.
#[track_caller]
fn install(lab: &Lab, example: &str, definition: &str) {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples");
    lab.file(&format!("{example}/{example}.wasm"), std::fs::read(guest(example)).expect("read"));
    let written = std::fs::read(examples.join(example).join(definition)).expect("the example has it");
    let copy = lab.file(&format!("{example}/{definition}"), written);
    lab.run(&["agent", "add", &copy.to_string_lossy()]).exits(0);
}

/// Installs the agent that goes wrong as it is told to, under a name and with these limits.
#[track_caller]
fn install_faulty(lab: &Lab, name: &str, limits: &str) {
    lab.file(&format!("{name}/faulty.wasm"), std::fs::read(guest("faulty")).expect("read"));
    let definition = format!("[agent]\nname = \"{name}\"\ncomponent = \"faulty.wasm\"\n[limits]\n{limits}\n");
    let file = lab.file(&format!("{name}/agent.toml"), definition);
    lab.run(&["agent", "add", &file.to_string_lossy()]).exits(0);
}

/// Starts a team; its cell's id.
#[track_caller]
fn team(lab: &Lab, agents: &str) -> String {
    text(&lab.json(&["team", agents, "p"]).exits(0).json()["cell_id"])
}

/// What an agent of a cell answers.
#[track_caller]
fn ask(lab: &Lab, cell: &str, to: &str, words: &str) -> String {
    lab.run(&["send", cell, "--to", to, words, "--wait=60s"]).exits(0).stdout.trim_end().to_owned()
}

/// The messages of an inbox.
#[track_caller]
fn inbox(lab: &Lab, args: &[&str]) -> Vec<Value> {
    let mut all = vec!["inbox"];
    all.extend(args);
    lab.json(&all).exits(0).json()["messages"].as_array().expect("a list").clone()
}

/// The texts of the messages that somebody was sent by `sender`.
#[track_caller]
fn told(lab: &Lab, cell: &str, receiver: &str, sender: &str) -> Vec<String> {
    let all = inbox(lab, &[cell, "--of", receiver, "--all"]);
    all.iter().filter(|message| message["from"] == sender).map(|message| text(&message["text"])).collect()
}

/// Kills a cell's warden without a word, and waits until that is known.
fn kill_warden(lab: &Lab, cell: &str) {
    let pid = lab.cell(cell)["cell"]["warden"]["pid"].as_u64().and_then(|pid| u32::try_from(pid).ok()).expect("a pid");
    Process { pid, command: String::new() }.kill();
    lab.wait_for_state(cell, "failed");
}

#[test]
fn the_keeper_says_that_it_lives() {
    let lab = Lab::new();
    let component = guest("keeper");
    let cell = lab.summon(&["keeper", "p", "--component", &component.to_string_lossy()]);
    assert_eq!(lab.run(&["send", &cell, "--wait", "hello"]).exits(0).stdout, "alive\n");
    lab.run(&["destroy", &cell]).exits(0);
}

#[test]
fn the_scribe_goes_on_where_it_was() {
    let lab = Lab::new();
    install(&lab, "scribe", "agent.toml");
    let cell = lab.summon(&["scribe", "p", "--idle", "1s"]);
    let write = |words: &str| ask(&lab, &cell, "agent:scribe", words);
    assert_eq!(write("one"), "1 written down");
    // Its memory is dropped, then its processes end as they should, then without a word.
    lab.wait_for_state(&cell, "idle");
    assert_eq!(write("two\nlines"), "2 written down");
    lab.run(&["close", &cell]).exits(0);
    lab.run(&["resurrect", &cell]).exits(0);
    assert_eq!(write("three"), "3 written down");
    kill_warden(&lab, &cell);
    lab.run(&["resurrect", &cell]).exits(0);
    assert_eq!(write("four"), "4 written down");

    let journal = std::fs::read_to_string(lab.cell_dir(&cell).join("home/journal")).expect("in its home");
    let words: Vec<&str> = journal.lines().filter_map(|line| line.splitn(3, ' ').nth(2)).collect();
    assert_eq!(words, ["one", "two\\nlines", "three", "four"]);
    let logs = lab.logs(&cell);
    for begun in
        ["First: the journal has 0", "Woken: the journal has 1", "Resurrected: the journal has 2", "Resurrected: the journal has 3"]
    {
        assert!(logs.contains(begun), "{begun}: {logs}");
    }
    lab.run(&["destroy", &cell]).exits(0);
}

#[test]
fn the_couriers_pass_a_job_on_and_deliver_it() {
    let lab = Lab::new();
    for definition in ["fetch.toml", "work.toml", "deliver.toml"] {
        install(&lab, "courier", definition);
    }
    let cell = team(&lab, "fetch+work+deliver");
    let under_way = ask(&lab, &cell, "agent:fetch", "four words are here");
    let job = under_way.strip_suffix(" is under way").expect("the job's name").to_owned();
    let delivered = format!("{job}: 4 words");
    let from_deliver =
        || inbox(&lab, &[&cell]).iter().filter(|m| m["from"] == "agent:deliver").map(|m| text(&m["text"])).collect::<Vec<_>>();
    wait_until("the result is delivered", || from_deliver() == [delivered.clone()]);

    let shared = lab.cell_dir(&cell).join("shared");
    assert_eq!(std::fs::read_to_string(shared.join(format!("{job}.in"))).expect("shared"), "four words are here");
    assert_eq!(std::fs::read_to_string(shared.join(format!("{job}.out"))).expect("shared"), "4 words");
    assert_eq!(inbox(&lab, &[&cell, "--parked"]), Vec::<Value>::new());
    lab.run(&["destroy", &cell]).exits(0);
}

#[test]
fn the_reviewer_cannot_write_and_tells_whoever_leads() {
    let lab = Lab::new();
    install(&lab, "reviewer", "agent.toml");
    install_faulty(&lab, "writer", "");
    let cell = lab.summon(&["writer", "p"]);
    let owner = text(&lab.cell(&cell)["cell"]["owner"]);
    lab.run(&["invite", &cell, "agent:reviewer", "observer"]).exits(0);
    let shared = lab.cell_dir(&cell).join("shared");

    // Its twin in the same cell, an executor, writes there.
    assert_eq!(ask(&lab, &cell, "agent:writer", "remember /shared/plan.md one line"), "ok");
    assert_eq!(std::fs::read_to_string(shared.join("plan.md")).expect("written"), "one line");
    let report = "plan.md: 1 lines; a reviewer cannot write to /shared (PermissionDenied)";
    assert_eq!(ask(&lab, &cell, "agent:reviewer", "plan.md"), report);
    // The same where the writer asks: the answer is the writer's, and the owner leads.
    assert!(ask(&lab, &cell, "agent:writer", "send agent:reviewer plan.md").starts_with("ok msg-"));
    wait_until("the owner is told", || told(&lab, &cell, &owner, "agent:reviewer") == [report; 2]);
    wait_until("the writer is answered", || told(&lab, &cell, "agent:writer", "agent:reviewer") == [report]);
    // It reads nothing but what is shared.
    let parked = lab.run(&["send", &cell, "--to", "agent:reviewer", "../home/config.yaml", "--wait=60s"]).exits(REFUSED);
    assert!(parked.stderr.contains("not the name of a file"), "{parked:?}");

    assert!(!shared.join(".reviewed").exists());
    // As an executor it writes, and warns.
    let free = lab.summon(&["reviewer", "p"]);
    std::fs::write(lab.cell_dir(&free).join("shared/plan.md"), "one line").expect("the operator's own");
    assert_eq!(ask(&lab, &free, "agent:reviewer", "plan.md"), "plan.md: 1 lines; WARNING: a reviewer could write to /shared");
    assert!(lab.cell_dir(&free).join("shared/.reviewed").is_file());
    for cell in [cell, free] {
        lab.run(&["destroy", &cell]).exits(0);
    }
}

/// Python is compiled with it: on a slow machine this summon alone takes most of a minute.
#[test]
fn an_agent_in_python_answers() {
    let lab = Lab::new();
    install(&lab, "python-echo", "agent.toml");
    let cell = lab.summon(&["python-echo", "p"]);
    assert_eq!(ask(&lab, &cell, "agent:python-echo", "hello"), "hello (message 1, from Python)");
    assert_eq!(ask(&lab, &cell, "agent:python-echo", "\u{e9}t\u{e9} \u{1f40d}"), "\u{e9}t\u{e9} \u{1f40d} (message 2, from Python)");
    let parked = lab.run(&["send", &cell, "park", "--wait=60s"]).exits(REFUSED);
    assert!(parked.stderr.contains("told to"), "{parked:?}");
    lab.run(&["destroy", &cell]).exits(0);
}

#[test]
fn a_message_that_always_traps_is_parked_with_its_reason() {
    let lab = Lab::new();
    install_faulty(&lab, "clerk", "");
    let cell = lab.summon(&["clerk", "p"]);
    let refused = lab.json(&["send", &cell, "trap", "--wait=90s"]).exits(REFUSED).json();
    assert_eq!(text(&refused["outcome"]), "parked", "{refused}");
    let parked = inbox(&lab, &[&cell, "--parked"]);
    assert_eq!(parked.len(), 1, "{parked:?}");
    assert_eq!((&parked[0]["id"], parked[0]["attempt"].as_u64()), (&refused["id"], Some(5)), "{parked:?}");
    assert!(text(&parked[0]["why"]).starts_with("it trapped: "), "{parked:?}");
    let shown = lab.run(&["inbox", &cell, "--parked"]).exits(0).stdout;
    assert!(shown.contains(&text(&parked[0]["why"])), "{shown}");
    // The agent is none the worse.
    assert_eq!(ask(&lab, &cell, "agent:clerk", "state"), "ok Some(Again), 1 handled, 0 ticks");
    lab.run(&["destroy", &cell]).exits(0);
}

#[test]
fn a_handler_that_never_returns_is_parked_while_others_answer() {
    let lab = Lab::new();
    install_faulty(&lab, "stuck", "event = \"1s\"");
    install_faulty(&lab, "clerk", "");
    let cell = team(&lab, "stuck+clerk");
    let sent = lab.json(&["send", &cell, "--to", "agent:stuck", "spin"]).exits(0).json();
    let id = text(&sent["messages"][0]["id"]);
    let (start, mut answered, patience) = (Instant::now(), 0, Duration::from_secs(90));
    while inbox(&lab, &[&cell, "--parked"]).is_empty() {
        assert!(start.elapsed() < patience, "it was not parked: {}", lab.logs(&cell));
        let asked = Instant::now();
        answered += 1;
        assert_eq!(ask(&lab, &cell, "agent:clerk", "state"), format!("ok Some(First), {answered} handled, 0 ticks"));
        assert!(asked.elapsed() < Duration::from_secs(15), "an answer took {:?}", asked.elapsed());
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(answered > 5, "{answered}");
    let parked = inbox(&lab, &[&cell, "--parked"]);
    assert_eq!((text(&parked[0]["id"]), parked[0]["attempt"].as_u64()), (id, Some(5)), "{parked:?}");
    assert_eq!(text(&parked[0]["why"]), "limit event: the event was not over after 1s");
    assert_eq!(ask(&lab, &cell, "agent:stuck", "state"), "ok Some(Again), 1 handled, 0 ticks");
    lab.run(&["destroy", &cell]).exits(0);
}
