//! Agents that live by events, through the whole program: messages there and back, failures, and deaths in the middle of it.

use std::time::{Duration, Instant};

use lazarus_tests::{
    built::guest,
    lab::{Lab, PATIENCE, text, wait_until},
    processes,
};
use serde_json::Value;

/// Installs an agent that goes wrong in every way that it is told to.
fn faulty(lab: &Lab, name: &str, more: &str) {
    std::fs::create_dir_all(lab.work().join(name)).expect("made");
    std::fs::copy(guest("faulty"), lab.work().join(name).join("faulty.wasm")).expect("copied");
    let file = lab.file(&format!("{name}/agent.toml"), format!("[agent]\nname = \"{name}\"\ncomponent = \"faulty.wasm\"\n{more}"));
    lab.run(&["agent", "add", &file.to_string_lossy()]).exits(0);
}

fn ask(lab: &Lab, cell: &str, words: &str) -> String {
    lab.run(&["send", cell, words, "--wait=30s"]).exits(0).stdout.trim_end().to_owned()
}

fn host(lab: &Lab, cell: &str) -> u64 {
    let runs = lab.cell(cell)["cell"]["runs"].clone();
    let open: Vec<&Value> = runs.as_array().expect("a list").iter().filter(|run| run["ended_at"].is_null()).collect();
    assert_eq!(open.len(), 1, "{runs}");
    open[0]["pid"].as_u64().expect("a pid")
}

fn kill(pid: u64) {
    let pid = rustix::process::Pid::from_raw(i32::try_from(pid).expect("a pid")).expect("a pid");
    // It may just have ended by itself.
    let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
}

/// What the audit says of a cell, a line a row.
fn audit(lab: &Lab, cell: &str) -> String {
    let registry = lazarus::registry::Registry::open(&lab.root()).expect("the registry");
    let filter = lazarus::registry::AuditFilter { cell: Some(cell.parse().expect("an id")), ..Default::default() };
    let rows = registry.audit_rows(&filter).expect("the rows");
    rows.iter().map(|row| format!("{} {} {} {}\n", row.actor, row.action, row.phase, row.detail)).collect()
}

#[test]
fn a_message_is_answered_and_a_later_one_by_the_same_instance() {
    let lab = Lab::new();
    faulty(&lab, "clerk", "");
    let cell = lab.summon(&["clerk", "p"]);
    assert_eq!(ask(&lab, &cell, "state"), "ok Some(First), 1 handled, 0 ticks");
    assert_eq!(ask(&lab, &cell, "state"), "ok Some(First), 2 handled, 0 ticks");
    let me = ask(&lab, &cell, "me");
    assert!(me.starts_with("ok agent:clerk executor in laz-") && me.ends_with(" of p"), "{me}");
    lab.json(&["destroy", &cell]).exits(0);
}

#[test]
fn an_event_that_fails_has_sent_nothing_and_is_tried_again() {
    let lab = Lab::new();
    faulty(&lab, "clerk", "");
    let cell = lab.summon(&["clerk", "p"]);
    let start = Instant::now();
    assert_eq!(ask(&lab, &cell, "until 3 trap"), "ok at attempt 3");
    assert!(start.elapsed() >= Duration::from_millis(1000), "0.2 and 0.8 s of pauses");
    assert_eq!(ask(&lab, &cell, "state").split(',').next(), Some("ok Some(Again)"), "a trap costs the instance");
    let parked = lab.run(&["send", &cell, "send-then park not today", "--wait=30s"]);
    assert_ne!(parked.code, 0, "{parked:?}");
    assert!(parked.stderr.contains("not today"), "{parked:?}");
    let inbox = lab.run(&["inbox", &cell, "--all"]).exits(0).stdout;
    assert!(!inbox.contains("never to be seen"), "{inbox}");
    // Its twin sends the same, and ends well.
    assert!(ask(&lab, &cell, "send-then").starts_with("ok"));
    let inbox = lab.run(&["inbox", &cell, "--all"]).exits(0).stdout;
    assert!(inbox.contains("never to be seen"), "{inbox}");
    lab.json(&["destroy", &cell]).exits(0);
}

#[test]
fn what_is_not_allowed_is_refused_and_audited_and_the_agent_goes_on() {
    let lab = Lab::new();
    faulty(&lab, "clerk", "");
    let cell = lab.summon(&["clerk", "p"]);
    for (words, answer) in [
        ("send agent:nobody hello", "refused no-such-member"),
        ("send nobody hello", "refused malformed"),
        ("large 32769", "refused too-large"),
        ("empty", "refused malformed"),
        ("close", "refused not-granted"),
        ("audit", "refused not-granted"),
        ("invite agent:x executor", "refused not-granted"),
        ("declare ../../../etc/passwd x", "refused malformed"),
        ("declare no-such-file x", "refused malformed"),
    ] {
        let got = ask(&lab, &cell, words);
        assert!(got.starts_with(answer), "{words}: {got}");
    }
    // It answers twice in one event, and that event fails for it.
    lab.run(&["send", &cell, "twice"]).exits(0);
    wait_until("the second answer is refused", || audit(&lab, &cell).contains("was answered already"));
    let rows = audit(&lab, &cell);
    for expected in
        ["send: agent:nobody is not in the cell", "close: only a director may", "audit: directors", "declare: keep ", "reply: the message"]
    {
        let row = format!("agent:clerk denied refused {expected}");
        assert!(rows.contains(&row), "{row}: {rows}");
    }
    assert_eq!(lab.state(&cell), "active");
    lab.json(&["destroy", &cell]).exits(0);
}

#[test]
fn an_event_sends_at_most_64_messages() {
    let lab = Lab::new();
    faulty(&lab, "clerk", "");
    let cell = lab.summon(&["clerk", "p"]);
    lab.run(&["send", &cell, "many 100", "--wait=30s"]).exits(0);
    wait_until("the agent has said how many", || lab.logs(&cell).contains("64 sent, then refused too-fast"));
    lab.json(&["destroy", &cell]).exits(0);
}

#[test]
fn a_killed_host_is_started_again_and_its_message_handled_at_the_second_attempt() {
    let lab = Lab::new();
    faulty(&lab, "clerk", "");
    let cell = lab.summon(&["clerk", "p"]);
    let id = text(&lab.json(&["send", &cell, "until 2 sleep 600"]).exits(0).json()["messages"][0]["id"]);
    let answered = || lab.run(&["inbox", &cell, "--all"]).exits(0).stdout.contains("ok at attempt 2");
    let start = Instant::now();
    while !answered() {
        assert!(start.elapsed() < PATIENCE, "message {id} was not handled; {}", audit(&lab, &cell));
        // Where the first one came before the event had begun, the second does not.
        let pid = host(&lab, &cell);
        kill(pid);
        let since = Instant::now();
        while since.elapsed() < Duration::from_secs(5) && !answered() {
            std::thread::sleep(Duration::from_millis(50));
        }
    }
    assert_eq!(ask(&lab, &cell, "state").split(',').next(), Some("ok Some(Resurrected)"));
    let runs = lab.cell(&cell)["cell"]["runs"].clone();
    assert!(runs.as_array().is_some_and(|runs| runs.len() >= 2), "{runs}");
    assert_eq!(lab.state(&cell), "active");
    lab.json(&["destroy", &cell]).exits(0);
}

#[test]
fn a_host_that_dies_again_and_again_fails_the_cell() {
    let lab = Lab::new();
    faulty(&lab, "clerk", "");
    let cell = lab.summon(&["clerk", "p"]);
    let start = Instant::now();
    while lab.state(&cell) != "failed" {
        assert!(start.elapsed() < 2 * PATIENCE, "{}", audit(&lab, &cell));
        let runs = lab.cell(&cell)["cell"]["runs"].clone();
        for run in runs.as_array().expect("a list").iter().filter(|run| run["ended_at"].is_null()) {
            kill(run["pid"].as_u64().expect("a pid"));
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    let reason = text(&lab.cell(&cell)["cell"]["reason"]);
    assert!(reason.contains("signal 9"), "{reason}");
    let runs = lab.cell(&cell)["cell"]["runs"].clone();
    assert_eq!(runs.as_array().map(Vec::len), Some(6), "the first and five restarts: {runs}");
    lab.json(&["destroy", &cell]).exits(0);
}

#[test]
fn a_killed_warden_loses_no_message() {
    let lab = Lab::new();
    faulty(&lab, "clerk", "");
    let cell = lab.summon(&["clerk", "p"]);
    let id = text(&lab.json(&["send", &cell, "sleep 600"]).exits(0).json()["messages"][0]["id"]);
    let warden = lab.cell(&cell)["cell"]["warden"]["pid"].as_u64().expect("a pid");
    kill(warden);
    lab.wait_for_state(&cell, "failed");
    wait_until("the host is gone with it", || !processes::is_alive(u32::try_from(warden).expect("a pid")));
    let inbox = lab.json(&["inbox", &cell, "--of", "agent:clerk"]).exits(0).stdout;
    assert!(inbox.contains(&id) && inbox.contains("waiting"), "{inbox}");
    lab.json(&["destroy", &cell]).exits(0);
}

#[test]
fn an_idle_cell_rests_and_wakes_with_the_next_message() {
    let lab = Lab::new();
    faulty(&lab, "clerk", "[limits]\nidle = \"200ms\"\n");
    let cell = lab.summon(&["clerk", "p"]);
    lab.wait_for_state(&cell, "idle");
    assert_eq!(ask(&lab, &cell, "state"), "ok Some(Woken), 1 handled, 0 ticks");
    let rows = audit(&lab, &cell);
    assert!(rows.contains("rest") && rows.contains("wake"), "{rows}");
    lab.wait_for_state(&cell, "idle");
    lab.json(&["close", &cell]).exits(0);
    assert_eq!(lab.state(&cell), "closed");
    lab.json(&["destroy", &cell]).exits(0);
}

#[test]
fn ticks_come_round() {
    let lab = Lab::new();
    faulty(&lab, "clerk", "[life]\ntick = \"1s\"\n");
    let cell = lab.summon(&["clerk", "p"]);
    wait_until("it ticked", || !ask(&lab, &cell, "state").ends_with(" 0 ticks"));
    lab.json(&["destroy", &cell]).exits(0);
}

#[test]
fn a_director_invites_and_closes() {
    let lab = Lab::new();
    faulty(&lab, "clerk", "");
    faulty(&lab, "boss", "");
    faulty(&lab, "aide", "");
    let cell = lab.summon(&["clerk", "p"]);
    lab.run(&["invite", &cell, "agent:boss", "director"]).exits(0);
    let to_boss = |words: &str| lab.run(&["send", &cell, "--to", "agent:boss", words, "--wait=60s"]).exits(0).stdout.trim_end().to_owned();
    assert_eq!(to_boss("invite agent:aide executor"), "ok no token");
    let token = to_boss("invite human:visitor observer");
    assert!(token.starts_with("ok lz1."), "{token}");
    let again = to_boss("invite agent:aide executor");
    assert!(again.starts_with("refused failed: invite: ") && again.contains("already"), "{again}");
    assert!(audit(&lab, &cell).contains("agent:boss invite done"), "{}", audit(&lab, &cell));
    let members = to_boss("members");
    let owner = text(&lab.cell(&cell)["cell"]["owner"]);
    assert_eq!(
        members,
        format!("ok {owner} director; agent:clerk executor; agent:boss director; agent:aide executor; human:visitor observer")
    );
    assert!(to_boss("audit").starts_with("ok "));
    assert_eq!(to_boss("close"), "ok closing");
    lab.wait_for_state(&cell, "closed");
    assert_eq!(text(&lab.cell(&cell)["cell"]["reason"]), "closed by agent:boss");
    lab.json(&["destroy", &cell]).exits(0);
}

#[test]
fn a_declared_file_is_kept_and_an_earlier_one_of_its_name_goes() {
    let lab = Lab::new();
    faulty(&lab, "clerk", "");
    let cell = lab.summon(&["clerk", "p"]);
    let kept = || {
        let names = std::fs::read_dir(lab.cell_dir(&cell).join("artifacts")).expect("a directory");
        names.map(|entry| entry.expect("read").file_name().to_string_lossy().into_owned()).collect::<Vec<_>>()
    };
    assert_eq!(ask(&lab, &cell, "file report.txt 1000"), "ok");
    let first = ask(&lab, &cell, "declare report.txt report");
    assert!(first.starts_with("ok report 1000 bytes "), "{first}");
    assert_eq!(kept(), [first.rsplit(' ').next().expect("a digest")]);
    ask(&lab, &cell, "file report.txt 2000");
    let second = ask(&lab, &cell, "declare report.txt report");
    assert_eq!(kept(), [second.rsplit(' ').next().expect("a digest")]);
    // A link is refused; its twin, the file itself, was kept.
    assert_eq!(ask(&lab, &cell, "link link.txt report.txt"), "ok");
    assert!(ask(&lab, &cell, "declare link.txt link").starts_with("refused malformed"));
    assert!(ask(&lab, &cell, "declare report.txt ../report").starts_with("refused malformed"));
    lab.run(&["destroy", &cell, "--force"]).exits(0);
}

#[test]
fn an_event_that_takes_too_long_is_lost_and_the_agent_goes_on() {
    let lab = Lab::new();
    faulty(&lab, "clerk", "[limits]\nevent = \"1s\"\n");
    let cell = lab.summon(&["clerk", "p"]);
    assert_eq!(ask(&lab, &cell, "until 2 sleep 600"), "ok at attempt 2");
    let runs = lab.cell(&cell)["cell"]["runs"].clone();
    assert_eq!(runs.as_array().map(Vec::len), Some(1), "its host lives on: {runs}");
    lab.json(&["destroy", &cell]).exits(0);
}
