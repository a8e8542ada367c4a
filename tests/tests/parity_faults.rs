//! The fourteen faults of the control surface that Lazarus replaces, each by its number: none may come back.

use lazarus_tests::{
    Lab, guests,
    lab::{text, wait_until},
    processes,
};

fn pid(value: &serde_json::Value) -> u32 {
    u32::try_from(value.as_u64().expect("a pid")).expect("a pid")
}

#[test]
fn fault_01_the_backend_asked_for_decides_every_later_command() {
    let lab = Lab::new();
    let wat = lab.file("waits.wat", guests::WAITS_FOR_INPUT);
    let wasm = lab.summon(&["scribe", "p", "--backend", "wasm", "--component", wat.to_str().expect("utf-8")]);
    let process = lab.summon(&["scribe", "p", "--backend", "process", "--", "sleep", "1000"]);
    for (cell, backend, program) in [(&wasm, "wasm", "lazarus"), (&process, "process", "sleep")] {
        let status = lab.cell(cell);
        assert_eq!(text(&status["cell"]["backend"]), backend);
        let command = std::fs::read(format!("/proc/{}/cmdline", pid(&status["probe"]["pid"]))).expect("it lives");
        assert!(String::from_utf8_lossy(&command).contains(program), "{backend}: {}", String::from_utf8_lossy(&command));
        lab.json(&["close", cell]).exits(0);
        assert_eq!(lab.state(cell), "closed");
        let destroyed = lab.json(&["destroy", cell]).exits(0).json();
        assert_eq!(destroyed["receipt"]["processes_alive"], 0);
    }
}

#[test]
fn fault_02_a_failed_spawn_is_not_active() {
    let lab = Lab::new();
    let refused = lab.json(&["summon", "scribe", "p", "--", "/no/such/program"]).exits(1).json();
    assert_eq!(refused["success"], false);
    assert!(text(&refused["message"]).contains("/no/such/program"), "{refused}");
    let status = lab.json(&["status"]).exits(0).json();
    let cells = status["active_cells"].as_array().expect("a list");
    assert_eq!(cells.len(), 1);
    assert_eq!(text(&cells[0]["state"]), "failed");
    assert!(lab.cell_dirs().is_empty(), "what was made for it is removed: {:?}", lab.cell_dirs());
}

#[test]
fn fault_03_nothing_exists_that_the_registry_does_not_know() {
    let lab = Lab::new();
    let mut command = lab.command(&["summon", "scribe", "p"]);
    let output = command.env("LAZARUS_FAILPOINT", "summon.warden-started").output().expect("started");
    assert_ne!(output.status.code(), Some(0), "the fail-point ended the command");
    wait_until("the orphan is in the registry, and settled", || {
        let all = lab.json(&["status", "--all"]).exits(0).json();
        let cells = all["active_cells"].as_array().expect("a list").clone();
        let known: Vec<String> = cells.iter().map(|cell| text(&cell["cell_id"])).collect();
        assert!(lab.cell_dirs().iter().all(|dir| known.contains(dir)), "{:?} of {known:?}", lab.cell_dirs());
        cells.len() == 1 && text(&cells[0]["state"]) != "proposed"
    });
    let all = lab.json(&["status", "--all"]).exits(0).json();
    lab.json(&["destroy", &text(&all["active_cells"][0]["cell_id"])]).exits(0);
    assert!(lab.cell_dirs().is_empty());
}

#[test]
fn fault_04_a_bad_role_is_refused() {
    let lab = Lab::new();
    let cell = lab.summon(&["scribe", "p"]);
    for role in ["king", "", "Executor", "executor ", "../x"] {
        let refused = lab.json(&["invite", &cell, "human:alice", role]).exits(2).json();
        assert_eq!(refused["success"], false, "{role}");
    }
    lab.json(&["destroy", &cell]).exits(0);
}

#[test]
fn fault_05_members_are_not_doubled_and_inviting_is_a_right() {
    let lab = Lab::new();
    let cell = lab.summon(&["scribe", "p", "--owner", "human:owner"]);
    let invited = lab.json(&["--as", "human:owner", "invite", &cell, "human:alice", "observer"]).exits(0).json();
    assert_eq!(text(&invited["message"]), format!("Invited human:alice as observer to {cell}"));
    assert_eq!(text(&invited["invited_by"]), "human:owner");
    lab.json(&["--as", "human:owner", "invite", &cell, "human:alice", "observer"]).exits(1);
    let refused = lab.json(&["--as", "human:alice", "invite", &cell, "human:bob", "observer"]).exits(1).message();
    assert!(refused.contains("human:alice may not"), "{refused}");
    lab.json(&["--as", "human:owner", "invite", &cell, "human:dora", "director"]).exits(0);
    lab.json(&["--as", "human:dora", "invite", &cell, "human:bob", "observer"]).exits(0);
    let members = lab.cell(&cell)["cell"]["members"].as_array().expect("a list").len();
    assert_eq!(members, 4);
    lab.json(&["destroy", &cell]).exits(0);
}

#[test]
fn fault_06_time_to_live_is_enforced_and_can_be_extended() {
    let lab = Lab::new();
    let short = lab.summon(&["scribe", "p", "--ttl", "1s"]);
    let longer = lab.summon(&["scribe", "p", "--ttl", "1s"]);
    let gone = lab.summon(&["scribe", "p", "--ttl", "1s", "--on-expire", "destroy"]);
    lab.json(&["extend", &longer, "1h"]).exits(0);
    lab.wait_for_state(&short, "closed");
    lab.wait_for_state(&gone, "destroyed");
    assert!(!lab.cell_dir(&gone).exists() && lab.cell_dir(&short).exists());
    assert_eq!(lab.state(&longer), "active", "an extended cell goes on");
    lab.json(&["destroy", &short]).exits(0);
    lab.json(&["destroy", &longer]).exits(0);
}

#[test]
fn fault_07_a_destroyed_cell_stays_destroyed_and_closing_ends() {
    let lab = Lab::new();
    let cell = lab.summon(&["scribe", "p"]);
    lab.json(&["close", &cell]).exits(0);
    assert_eq!(lab.state(&cell), "closed");
    lab.json(&["destroy", &cell]).exits(0);
    let refused = lab.json(&["close", &cell]).exits(1).message();
    assert!(refused.contains("(state=destroyed)"), "{refused}");
    assert_eq!(lab.state(&cell), "destroyed");
    lab.json(&["destroy", &cell]).exits(0);
    assert_eq!(lab.state(&cell), "destroyed");
}

#[test]
fn fault_08_destroy_ends_every_process_before_it_removes_a_file() {
    let lab = Lab::new();
    // A daemon in a session of its own, which puts its file back whenever that is gone.
    let script = "setsid sh -c 'while :; do echo back > \"$HERMES_HOME/workspace/zombie\"; sleep 0.02; done' & exec sleep 1000";
    let cell = lab.summon(&["scribe", "p", "--", "/bin/sh", "-c", script]);
    let file = lab.cell_dir(&cell).join("home/workspace/zombie");
    wait_until("the daemon writes", || file.exists());
    let pid = pid(&lab.cell(&cell)["probe"]["pid"]);
    let destroyed = lab.json(&["destroy", &cell]).exits(0).json();
    assert_eq!(destroyed["receipt"]["processes_alive"], 0);
    assert!(destroyed["receipt"]["remained"].as_array().is_some_and(Vec::is_empty), "{destroyed}");
    assert!(!processes::is_alive(pid));
    std::thread::sleep(std::time::Duration::from_millis(200));
    assert!(!lab.cell_dir(&cell).exists(), "nobody puts it back");
    assert!(lab.processes().is_empty(), "{:?}", lab.processes());
}

#[test]
fn fault_09_an_expired_cell_takes_no_invites() {
    let lab = Lab::new();
    let cell = lab.summon(&["scribe", "p", "--ttl", "1s", "--on-expire", "keep"]);
    wait_until("it is expired", || lab.cell(&cell)["expired"] == true);
    assert_eq!(lab.state(&cell), "active", "kept, as asked");
    let refused = lab.json(&["invite", &cell, "human:alice", "observer"]).exits(1).message();
    assert!(refused.starts_with(&format!("Cell {cell} is not accepting invites (state=")), "{refused}");
    lab.json(&["destroy", &cell]).exits(0);
}

#[test]
fn fault_10_no_two_agents_share_a_home() {
    let lab = Lab::new();
    let script = "echo \"$HERMES_HOME\" > \"$HERMES_HOME/workspace/mine\"; exec sleep 1000";
    let output = lab.json(&["team", "a+b+c", "p", "--", "/bin/sh", "-c", script]).exits(0).json();
    let cell = text(&output["cell_id"]);
    let home = |agent: &str| lab.cell_dir(&cell).join("home/profiles").join(agent);
    for agent in ["a", "b", "c"] {
        let file = home(agent).join("workspace/mine");
        wait_until("each agent wrote", || std::fs::read_to_string(&file).is_ok_and(|text| text.ends_with('\n')));
        assert_eq!(std::fs::read_to_string(&file).expect("read").trim(), home(agent).to_string_lossy());
    }
    // One of them tries to write into its neighbour's home.
    let attack = format!("echo x > {}/workspace/planted; echo done; exec sleep 1000", home("a").display());
    let invited = lab.file("mallory.toml", format!("[agent]\nname = \"mallory\"\ncommand = [\"/bin/sh\", \"-c\", {attack:?}]\n"));
    lab.json(&["agent", "add", invited.to_str().expect("utf-8")]).exits(0);
    lab.json(&["invite", &cell, "agent:mallory", "executor"]).exits(0);
    wait_until("mallory tried", || lab.logs(&cell).contains("done"));
    assert!(!home("a").join("workspace/planted").exists());
    lab.json(&["destroy", &cell]).exits(0);
}

#[test]
fn fault_11_closing_and_failed_cells_are_seen() {
    let lab = Lab::new();
    let failing = lab.summon(&["scribe", "p", "--", "/bin/sh", "-c", "exit 7"]);
    lab.wait_for_state(&failing, "failed");
    let stubborn = lab.summon(&["scribe", "p", "--", "/bin/sh", "-c", "trap '' TERM; while :; do sleep 1; done"]);
    lab.json(&["close", &stubborn, "--grace", "1h", "--no-wait"]).exits(0);
    let listed = lab.json(&["status"]).exits(0).json();
    let state = |cell: &str| {
        let cells = listed["active_cells"].as_array().expect("a list");
        cells.iter().find(|listed| listed["cell_id"] == cell).map(|listed| text(&listed["state"]))
    };
    assert_eq!(state(&failing).as_deref(), Some("failed"));
    assert_eq!(state(&stubborn).as_deref(), Some("closing"));
    let reason = text(&lab.cell(&failing)["cell"]["reason"]);
    assert!(reason.contains("code 7"), "{reason}");
    lab.json(&["destroy", &failing]).exits(0);
    lab.json(&["destroy", &stubborn]).exits(0);
}

#[test]
fn fault_12_names_never_reach_paths() {
    let lab = Lab::new();
    let long = "a".repeat(300);
    for name in ["", "..", "../../x", "/etc/passwd", "a/b", "'; DROP TABLE cells; --", "Ärger", "a b", ".", &long] {
        lab.json(&["summon", name, "p"]).exits(2);
        lab.json(&["summon", "scribe", name]).exits(2);
        lab.json(&["team", &format!("a+{name}"), "p"]).exits(2);
        lab.json(&["status", name]).exits(3);
        lab.json(&["destroy", name]).exits(3);
    }
    let listed = lab.json(&["status", "--all"]).exits(0).json();
    assert!(listed["active_cells"].as_array().is_some_and(Vec::is_empty), "{listed}");
    assert!(lab.cell_dirs().is_empty());
}

#[test]
fn fault_13_the_command_line_sets_owner_backend_and_time_to_live() {
    let lab = Lab::new();
    let wasm = lab.summon(&["scribe", "p", "--owner", "human:alice", "--backend", "wasm", "--ttl", "2h"]);
    let status = lab.cell(&wasm);
    assert_eq!(text(&status["cell"]["owner"]), "human:alice");
    assert_eq!(text(&status["cell"]["backend"]), "wasm");
    assert_eq!(status["cell"]["ttl_minutes"], 120);
    let plain = lab.summon(&["scribe", "p"]);
    assert_eq!(lab.cell(&plain)["cell"]["ttl_minutes"], 60);
    assert_eq!(text(&lab.cell(&plain)["cell"]["backend"]), "process");
    let team = text(&lab.json(&["team", "a+b", "p"]).exits(0).json()["cell_id"]);
    assert_eq!(lab.cell(&team)["cell"]["ttl_minutes"], 120);
    for cell in [wasm, plain, team] {
        lab.json(&["destroy", &cell]).exits(0);
    }
}

#[test]
fn fault_14_any_command_finds_the_processes_of_any_other() {
    let lab = Lab::new();
    let cell = lab.summon(&["scribe", "p"]);
    let pid = pid(&lab.cell(&cell)["probe"]["pid"]);
    assert!(processes::is_alive(pid));
    assert_eq!(text(&lab.cell(&cell)["probe"]["process"]), "alive");
    lab.json(&["destroy", &cell]).exits(0);
    assert!(!processes::is_alive(pid));
}
