//! `lazarus resurrect`: a cell that was closed or failed lives again from its home, or is left exactly as it was.

use std::{path::Path, process::Stdio};

use lazarus::failpoint::{Point, VARIABLE};
use lazarus_tests::{
    Lab,
    built::guest,
    lab::{Outcome, text, wait_until},
    processes::Process,
};

/// A process agent that counts its lives in its home.
const COUNTS: &str = "n=$(cat \"$HERMES_HOME/lives\" 2>/dev/null); echo \"$n+\" > \"$HERMES_HOME/lives\"; exec sleep 1000";

/// The same as a preview 1 module: it adds a byte to `/home/lives`, then ends when its standard input does.
const COUNTS_WAT: &str = r#"(module
  (import "wasi_snapshot_preview1" "path_open" (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 200) "lives") (data (i32.const 216) "+")
  (func (export "_start")
    (if (call $open (i32.const 3) (i32.const 0) (i32.const 200) (i32.const 5) (i32.const 1) (i64.const 64) (i64.const 64) (i32.const 1) (i32.const 300))
      (then unreachable))
    (i32.store (i32.const 0) (i32.const 216))
    (i32.store (i32.const 4) (i32.const 1))
    (if (call $write (i32.load (i32.const 300)) (i32.const 0) (i32.const 1) (i32.const 8)) (then unreachable))
    (i32.store (i32.const 0) (i32.const 400))
    (i32.store (i32.const 4) (i32.const 16))
    (loop $again
      (if (i32.ne (call $read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8)) (i32.const 0)) (then (return)))
      (br_if $again (i32.ne (i32.load (i32.const 8)) (i32.const 0))))))"#;

fn summon(lab: &Lab, agent: &[&str]) -> String {
    let mut args = vec!["scribe", "p"];
    args.extend(agent);
    lab.summon(&args)
}

/// How often the agent of a one-agent cell has lived, by its own account.
fn lives(lab: &Lab, cell: &str) -> usize {
    let kept = std::fs::read_to_string(lab.cell_dir(cell).join("home/lives")).unwrap_or_default();
    kept.bytes().filter(|byte| *byte == b'+').count()
}

fn resurrect(lab: &Lab, cell: &str) -> Outcome {
    lab.json(&["resurrect", cell])
}

/// Kills a cell's warden, and waits until that is known.
fn kill_warden(lab: &Lab, cell: &str) {
    let pid = lab.cell(cell)["cell"]["warden"]["pid"].as_u64().and_then(|pid| u32::try_from(pid).ok()).expect("a pid");
    Process { pid, command: String::new() }.kill();
    lab.wait_for_state(cell, "failed");
}

/// A cell that did not come back: it says so, its state and its home are as they were, and nothing lives.
#[track_caller]
fn stays(lab: &Lab, cell: &str, outcome: Outcome, code: i32, why: &str) {
    let message = outcome.exits(code).message();
    assert!(message.contains(why), "{message}");
    let status = lab.cell(cell);
    assert!(matches!(text(&status["cell"]["state"]).as_str(), "closed" | "failed"), "{status}");
    wait_until("nothing of it lives", || lab.processes().is_empty());
}

fn lives_again(agent: &[&str]) {
    let lab = Lab::new();
    let cell = summon(&lab, agent);
    wait_until("its first life is counted", || lives(&lab, &cell) == 1);
    let members = lab.cell(&cell)["cell"]["members"].clone();
    lab.json(&["close", &cell]).exits(0);
    let told = resurrect(&lab, &cell).exits(0).json();
    assert_eq!((&told["generation"], text(&told["cell_id"]), text(&told["agent"])), (&2.into(), cell.clone(), "scribe".to_owned()));
    wait_until("its second life is counted", || lives(&lab, &cell) == 2);
    let status = lab.cell(&cell)["cell"].clone();
    assert_eq!((&status["members"], text(&status["state"])), (&members, "active".to_owned()));
    let runs = status["runs"].as_array().expect("a list").clone();
    assert_eq!(runs.len(), 2, "{runs:?}");
    assert_eq!(runs.iter().filter(|run| run["ended_at"].is_null()).count(), 1, "{runs:?}");

    kill_warden(&lab, &cell);
    assert_eq!(resurrect(&lab, &cell).exits(0).json()["generation"], 3);
    wait_until("its third life is counted", || lives(&lab, &cell) == 3);
    lab.json(&["extend", &cell, "5m"]).exits(0);
    lab.json(&["close", &cell]).exits(0);
    assert_eq!(resurrect(&lab, &cell).exits(0).json()["generation"], 4);
    let receipt = lab.json(&["destroy", &cell]).exits(0).json()["receipt"].clone();
    assert_eq!(receipt["processes_alive"], 0);
    assert!(lab.cell_dirs().is_empty());
    let again = resurrect(&lab, &cell).exits(1).json();
    assert!(text(&again["message"]).contains("state=destroyed") && text(&again["hint"]).contains("final"), "{again}");
    lab.json(&["audit", "verify"]).exits(0);
}

#[test]
fn a_process_agent_goes_on_where_it_was() {
    lives_again(&["--", "/bin/sh", "-c", COUNTS]);
}

#[test]
fn a_wasm_agent_goes_on_where_it_was() {
    let lab = Lab::new();
    let file = lab.file("counts.wat", COUNTS_WAT);
    lives_again(&["--component", &file.to_string_lossy()]);
}

#[test]
fn of_two_at_once_one_brings_it_back() {
    let lab = Lab::new();
    let cell = summon(&lab, &["--", "/bin/sh", "-c", COUNTS]);
    wait_until("it has begun", || lives(&lab, &cell) == 1);
    for generation in 2..5 {
        lab.json(&["close", &cell]).exits(0);
        let start = || lab.command(&["--json", "resurrect", &cell]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("started");
        let both = [start(), start()].map(|child| child.wait_with_output().expect("waited for"));
        let won = both.iter().filter(|output| output.status.success()).count();
        assert_eq!(won, 1, "{both:?}");
        assert!(both.iter().all(|output| matches!(output.status.code(), Some(0 | 1))), "{both:?}");
        let status = lab.cell(&cell);
        assert_eq!((text(&status["cell"]["state"]), text(&status["probe"]["process"])), ("active".into(), "alive".into()));
        wait_until("one life was added", || lives(&lab, &cell) == generation);
    }
    lab.json(&["destroy", &cell]).exits(0);
}

#[test]
fn of_resurrect_and_destroy_at_once_neither_leaves_anything_behind() {
    let lab = Lab::new();
    for _ in 0..6 {
        let cell = summon(&lab, &["--", "/bin/sh", "-c", COUNTS]);
        lab.json(&["close", &cell]).exits(0);
        let start = |verb| lab.command(&["--json", verb, &cell]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("started");
        let both = [start("resurrect"), start("destroy")].map(|child| child.wait_with_output().expect("waited for"));
        // Whoever was first: it is destroyed, and has no life in it.
        let state = lab.state(&cell);
        assert!(both[1].status.success() && state == "destroyed", "{state}: {both:?}");
        lab.json(&["destroy", &cell]).exits(0);
        assert!(lab.cell_dirs().is_empty(), "{both:?}");
        wait_until("nothing lives", || lab.processes().is_empty());
    }
    lab.json(&["audit", "verify"]).exits(0);
}

#[test]
fn what_lives_and_who_may_not_is_refused() {
    let lab = Lab::new();
    let cell = summon(&lab, &[]);
    let active = resurrect(&lab, &cell).exits(1).json();
    assert!(text(&active["message"]).contains("state=active") && text(&active["hint"]).contains("extend"), "{active}");
    lab.json(&["close", &cell]).exits(0);
    stays(&lab, &cell, lab.json(&["--as", "human:mallory", "resurrect", &cell]), 1, "human:mallory may not resurrect");
    stays(&lab, &cell, lab.json(&["--as", "agent:scribe", "resurrect", &cell]), 1, "agent:scribe may not resurrect");
    lab.json(&["resurrect", "laz-00000000"]).exits(3);
    resurrect(&lab, &cell).exits(0);
    lab.json(&["destroy", &cell]).exits(0);
    // Of a summon that failed nothing is left to go on with.
    let failed = lab.json(&["summon", "scribe", "p", "--", "/no/such/program"]).exits(1);
    let id = failed.message().split_whitespace().nth(1).expect("an id").to_owned();
    stays(&lab, &id, resurrect(&lab, &id), 1, "its directory is gone");
    lab.json(&["destroy", &id]).exits(0);
}

#[test]
fn what_it_needs_must_be_there_and_its_own() {
    let lab = Lab::new();
    let (cell, other) = (summon(&lab, &[]), summon(&lab, &[]));
    for cell in [&cell, &other] {
        lab.json(&["close", cell]).exits(0);
    }
    let (dir, aside) = (lab.cell_dir(&cell), lab.work().join("aside"));
    let away = |name: &str| std::fs::rename(dir.join(name), &aside).expect("moved");
    let back = |name: &str| {
        let _ = std::fs::remove_file(dir.join(name));
        std::fs::rename(&aside, dir.join(name)).expect("moved");
    };

    away("home");
    stays(&lab, &cell, resurrect(&lab, &cell), 1, "home is gone");
    assert!(!dir.join("home").exists(), "no empty home is made in its place");
    std::os::unix::fs::symlink(&aside, dir.join("home")).expect("linked");
    stays(&lab, &cell, resurrect(&lab, &cell), 125, "not a directory");
    back("home");

    away("shared");
    stays(&lab, &cell, resurrect(&lab, &cell), 1, "shared is gone");
    back("shared");

    away("plan.json");
    stays(&lab, &cell, resurrect(&lab, &cell), 1, "was not kept");
    std::fs::copy(lab.cell_dir(&other).join("plan.json"), dir.join("plan.json")).expect("copied");
    stays(&lab, &cell, resurrect(&lab, &cell), 1, &format!("is of cell {other}"));
    std::fs::write(dir.join("plan.json"), "{").expect("written");
    stays(&lab, &cell, resurrect(&lab, &cell), 1, "cannot be understood");
    std::fs::remove_file(dir.join("plan.json")).expect("removed");
    std::os::unix::fs::symlink(&aside, dir.join("plan.json")).expect("linked");
    stays(&lab, &cell, resurrect(&lab, &cell), 1, "cannot be read");
    back("plan.json");

    // A dead warden's socket is replaced; a file of its name is not removed.
    let socket = dir.join("run/control.sock");
    let _ = std::fs::remove_file(&socket);
    std::fs::write(&socket, "mine").expect("written");
    stays(&lab, &cell, resurrect(&lab, &cell), 125, "in use");
    assert_eq!(std::fs::read_to_string(&socket).expect("still there"), "mine");
    std::fs::remove_file(&socket).expect("removed");
    drop(std::os::unix::net::UnixListener::bind(&socket).expect("a dead one"));
    resurrect(&lab, &cell).exits(0);

    for cell in [&cell, &other] {
        lab.json(&["destroy", cell]).exits(0);
    }
}

#[test]
fn an_agent_that_does_not_start_again_leaves_the_home_as_it_was() {
    let lab = Lab::new();
    // A process agent whose program is gone, and comes back.
    let program =
        lab.file("program", "#!/bin/sh\necho \"$(cat \"$HERMES_HOME/lives\" 2>/dev/null)+\" > \"$HERMES_HOME/lives\"\nexec sleep 1000\n");
    std::fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("set");
    let path = program.to_string_lossy();
    let work = lab.work();
    let cell = summon(&lab, &["--read", &work.to_string_lossy(), "--", &path]);
    wait_until("it has begun", || lives(&lab, &cell) == 1);
    kill_warden(&lab, &cell);
    std::fs::rename(&program, work.join("aside")).expect("moved");
    stays(&lab, &cell, resurrect(&lab, &cell), 1, "agent scribe did not start");
    assert_eq!((lab.state(&cell), lives(&lab, &cell)), ("failed".into(), 1));
    std::fs::rename(work.join("aside"), &program).expect("moved");
    resurrect(&lab, &cell).exits(0);
    wait_until("it lives again", || lives(&lab, &cell) == 2);
    lab.json(&["destroy", &cell]).exits(0);

    // An agent that lives by events, and refuses its start.
    let cell = summon(&lab, &["--component", &guest("faulty").to_string_lossy()]);
    lab.json(&["close", &cell]).exits(0);
    let told = lab.cell_dir(&cell).join("home/at-start");
    std::fs::write(&told, "park not today").expect("written");
    let before = std::fs::read_dir(lab.cell_dir(&cell).join("home")).expect("a home").count();
    stays(&lab, &cell, resurrect(&lab, &cell), 1, "agent scribe did not start");
    assert_eq!(std::fs::read_dir(lab.cell_dir(&cell).join("home")).expect("a home").count(), before);
    assert_eq!(lab.state(&cell), "closed");
    std::fs::remove_file(&told).expect("removed");
    assert_eq!(resurrect(&lab, &cell).exits(0).json()["generation"], 2, "a life that did not begin does not count");
    lab.json(&["destroy", &cell]).exits(0);
}

#[test]
fn messages_that_waited_are_delivered_to_agents_that_know_that_they_lived() {
    let lab = Lab::new();
    let cell = summon(&lab, &["--component", &guest("faulty").to_string_lossy()]);
    let warden = lab.cell(&cell)["cell"]["warden"]["pid"].as_u64().and_then(|pid| i32::try_from(pid).ok()).expect("a pid");
    let pid = rustix::process::Pid::from_raw(warden).expect("a pid");
    // Accepted while its warden is stopped, which is killed before it can deliver it.
    rustix::process::kill_process(pid, rustix::process::Signal::STOP).expect("stopped");
    lab.json(&["send", &cell, "state"]).exits(0);
    kill_warden(&lab, &cell);
    resurrect(&lab, &cell).exits(0);
    wait_until("it is answered", || lab.run(&["inbox", &cell, "--all"]).exits(0).stdout.contains("ok Some(Resurrected)"));
    lab.json(&["destroy", &cell]).exits(0);
}

#[test]
fn an_expired_cell_gets_new_time() {
    let lab = Lab::new();
    let cell = summon(&lab, &["--ttl", "1s"]);
    lab.wait_for_state(&cell, "closed");
    assert!(text(&lab.cell(&cell)["cell"]["reason"]).contains("time to live over"));
    // Its own time again, and so it expires again; then another.
    resurrect(&lab, &cell).exits(0);
    lab.wait_for_state(&cell, "closed");
    let told = lab.json(&["resurrect", &cell, "--ttl", "10m"]).exits(0).json();
    let until: chrono::DateTime<chrono::Utc> = text(&told["expires_at"]).parse().expect("a time");
    let left = until - chrono::Utc::now();
    assert!((chrono::TimeDelta::minutes(9)..=chrono::TimeDelta::minutes(10)).contains(&left), "{left}");
    assert_eq!((lab.state(&cell), lab.cell(&cell)["expired"].clone()), ("active".into(), false.into()));
    lab.json(&["destroy", &cell]).exits(0);
}

#[test]
fn guests_come_back_and_who_was_revoked_does_not() {
    let lab = Lab::new();
    for name in ["helper", "leaver"] {
        let script = serde_json::to_string(COUNTS).expect("a string");
        let definition = format!("[agent]\nname = \"{name}\"\ncommand = [\"/bin/sh\", \"-c\", {script}]\n");
        let file = lab.file(&format!("{name}/agent.toml"), definition);
        lab.run(&["agent", "add", &file.to_string_lossy()]).exits(0);
    }
    let cell = summon(&lab, &["--", "/bin/sh", "-c", COUNTS]);
    let kept = |agent: &str| lab.cell_dir(&cell).join("guests/profiles").join(agent).join("lives");
    for name in ["helper", "leaver"] {
        lab.json(&["invite", &cell, &format!("agent:{name}"), "executor"]).exits(0);
        wait_until("the guest has begun", || kept(name).exists());
    }
    lab.json(&["invite", &cell, "human:alice", "observer"]).exits(0);
    lab.json(&["close", &cell]).exits(0);
    lab.json(&["revoke", &cell, "agent:leaver"]).exits(0);
    let told = resurrect(&lab, &cell).exits(0).json();
    assert_eq!(told["agents"], serde_json::json!(["scribe", "helper"]));
    let lives_of = |agent: &str| std::fs::read_to_string(kept(agent)).expect("kept").matches('+').count();
    wait_until("the guest lives again", || lives_of("helper") == 2);
    assert_eq!(lives_of("leaver"), 1);
    let members = lab.cell(&cell)["cell"]["members"].to_string();
    assert!(members.contains("human:alice") && !members.contains("agent:leaver"), "{members}");
    lab.json(&["destroy", &cell]).exits(0);
}

/// Empties the cache of compiled programs.
fn empty(cache: &Path) {
    for entry in std::fs::read_dir(cache).expect("a cache") {
        std::fs::remove_file(entry.expect("read").path()).expect("removed");
    }
}

#[test]
fn a_program_that_the_cache_lost_is_compiled_again_or_asked_for() {
    let lab = Lab::new();
    let file = lab.file("counts.wat", COUNTS_WAT);
    let definition = lab.file("agent.toml", "[agent]\nname = \"defined\"\ncomponent = \"counts.wat\"\n");
    lab.run(&["agent", "add", &definition.to_string_lossy()]).exits(0);
    let defined = lab.summon(&["defined", "p"]);
    let keeper = lab.summon(&["keeper", "p", "--backend", "wasm"]);
    for cell in [&defined, &keeper] {
        lab.json(&["close", cell]).exits(0);
        empty(&lab.root().join("cache"));
        resurrect(&lab, cell).exits(0);
        lab.json(&["destroy", cell]).exits(0);
    }
    // A program that was only named on the command line: from its file again, and from no other that has its name now.
    let named = lab.summon(&["named", "p", "--component", &file.to_string_lossy()]);
    lab.json(&["close", &named]).exits(0);
    empty(&lab.root().join("cache"));
    std::fs::write(lab.work().join("counts.wat"), lazarus_tests::guests::WAITS_FOR_INPUT).expect("written");
    lab.run(&["run", &file.to_string_lossy()]).exits(0);
    stays(&lab, &named, resurrect(&lab, &named), 1, "no longer in the cache");
    std::fs::write(&file, COUNTS_WAT).expect("written");
    lab.run(&["run", &file.to_string_lossy()]).exits(0);
    resurrect(&lab, &named).exits(0);
    lab.json(&["destroy", &named]).exits(0);
}

#[test]
fn a_mount_that_leads_elsewhere_now_is_not_granted_again() {
    let lab = Lab::new();
    let data = lab.work().join("data");
    std::fs::create_dir(&data).expect("made");
    let mount = format!("{}:/data:ro", data.display());
    let cell = summon(&lab, &["--mount", &mount]);
    lab.json(&["close", &cell]).exits(0);
    std::fs::rename(&data, lab.work().join("aside")).expect("moved");
    std::os::unix::fs::symlink("/etc", &data).expect("linked");
    stays(&lab, &cell, resurrect(&lab, &cell), 1, "leads elsewhere");
    std::fs::remove_file(&data).expect("removed");
    std::fs::rename(lab.work().join("aside"), &data).expect("moved");
    resurrect(&lab, &cell).exits(0);
    lab.json(&["destroy", &cell]).exits(0);
}

/// The steps that a resurrection passes.
const STEPS: [Point; 8] = [
    Point::ResurrectIntent,
    Point::SummonWardenStarted,
    Point::WardenStart,
    Point::WardenAgain,
    Point::WardenSpawned,
    Point::WardenReady,
    Point::WardenActive,
    Point::ResurrectActive,
];

fn each_step(agent: &[&str]) {
    for point in STEPS {
        let (lab, name) = (Lab::new(), point.name());
        let cell = summon(&lab, agent);
        wait_until("its first life is counted", || lives(&lab, &cell) == 1);
        lab.json(&["close", &cell]).exits(0);
        let output = lab.command(&["resurrect", &cell]).env(VARIABLE, name).output().expect("started");
        assert!(!output.status.success(), "{name}: {output:?}");
        // Where the command died, its warden may go on, and bring the cell back; where the warden died, nothing lives.
        let command_died = output.status.code().is_none();
        assert_eq!(command_died, !name.starts_with("warden."), "{name}: {output:?}");
        let lasts = || match lab.state(&cell).as_str() {
            "closed" | "failed" => !command_died || point == Point::ResurrectIntent,
            "active" => command_died,
            other => panic!("{name}: {other}"),
        };
        wait_until(&format!("{name}: it settles"), lasts);
        if lab.state(&cell) == "active" {
            lab.json(&["close", &cell]).exits(0);
        }
        wait_until(&format!("{name}: nothing lives"), || lab.processes().is_empty());
        let before = lives(&lab, &cell);
        resurrect(&lab, &cell).exits(0);
        wait_until(&format!("{name}: it goes on where it was"), || lives(&lab, &cell) == before + 1);
        let receipt = lab.json(&["destroy", &cell]).exits(0).json()["receipt"].clone();
        assert_eq!(receipt["processes_alive"], 0, "{name}");
        assert!(lab.cell_dirs().is_empty(), "{name}");
        lab.json(&["audit", "verify"]).exits(0);
    }
}

#[test]
fn a_crash_at_every_step_of_a_resurrection() {
    each_step(&["--", "/bin/sh", "-c", COUNTS]);
    let lab = Lab::new();
    let file = lab.file("counts.wat", COUNTS_WAT);
    each_step(&["--component", &file.to_string_lossy()]);
}
