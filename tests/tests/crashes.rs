//! A kill -9 at every step of summon, close and destroy: the registry tells the truth afterwards, nothing lives that
//! it does not know, and the cell can be destroyed.

use lazarus::failpoint::{Point, VARIABLE};
use lazarus_tests::{
    Lab, guests,
    lab::{text, wait_until},
};
use serde_json::Value;

fn cells(lab: &Lab) -> Vec<Value> {
    lab.json(&["status", "--all"]).exits(0).json()["active_cells"].as_array().expect("a list").clone()
}

/// What must be so once everything has settled, whatever happened before.
fn settles_and_can_be_destroyed(lab: &Lab, point: Point) {
    let name = point.name();
    wait_until(&format!("{name}: every cell is in a state that lasts"), || {
        cells(lab).iter().all(|cell| !matches!(text(&cell["state"]).as_str(), "proposed" | "closing"))
    });
    for cell in cells(lab) {
        let (id, state) = (text(&cell["cell_id"]), text(&cell["state"]));
        let probe = text(&cell["probe"]["process"]);
        match state.as_str() {
            "active" => assert_eq!(probe, "alive", "{name}: {cell}"),
            "closed" | "failed" | "destroyed" => assert_ne!(probe, "alive", "{name}: {cell}"),
            other => panic!("{name}: {other}"),
        }
        let receipt = lab.json(&["destroy", &id]).exits(0).json()["receipt"].clone();
        assert_eq!(receipt["processes_alive"], 0, "{name}");
        assert_eq!(lab.state(&id), "destroyed", "{name}");
        // Whoever was killed, whoever destroyed it in the end: one receipt, signed, and the same again.
        let kept = lab.json(&["receipt", &id]).exits(0).json()["receipt"].clone();
        assert!(kept["signature"].is_string() && kept["receipt"] == receipt, "{name}: {kept}");
    }
    assert!(lab.cell_dirs().is_empty(), "{name}: {:?}", lab.cell_dirs());
    wait_until(&format!("{name}: no process is left"), || lab.processes().is_empty());
    lab.json(&["audit", "verify"]).exits(0);
}

fn with_point(lab: &Lab, args: &[&str], point: Point) {
    let output = lab.command(args).env(VARIABLE, point.name()).output().expect("started");
    // Whether the command saw the crash depends on whose it was; what it says must not be success where it died itself.
    assert!(output.status.code().is_none() || output.status.code() != Some(101), "{}: {output:?}", point.name());
}

fn each_point(agent: &[&str]) {
    // A resurrection's own steps are in resurrect.rs.
    let of_resurrect = |point: &Point| matches!(point, Point::ResurrectIntent | Point::WardenAgain | Point::ResurrectActive);
    for &point in Point::ALL.iter().filter(|point| !of_resurrect(point)) {
        let lab = Lab::new();
        let mut summon = vec!["summon", "scribe", "p"];
        summon.extend(agent);
        let name = point.name();
        if name.starts_with("destroy.") || name == "warden.closing" || name == "warden.ended" {
            // The warden inherits the point from the command that summons; it passes it only when it closes.
            let output = lab.command(&summon).env(VARIABLE, if name.starts_with("warden.") { name } else { "" }).output().expect("started");
            assert!(output.status.success(), "{name}: {output:?}");
            let id = text(&cells(&lab)[0]["cell_id"]);
            let end = if name.starts_with("destroy.") { "destroy" } else { "close" };
            with_point(&lab, &[end, &id], point);
        } else {
            with_point(&lab, &summon, point);
        }
        settles_and_can_be_destroyed(&lab, point);
    }
}

#[test]
fn a_crash_at_every_step_with_a_process_agent() {
    each_point(&["--", "sleep", "1000"]);
}

#[test]
fn a_crash_at_every_step_with_a_wasm_agent() {
    let lab = Lab::new();
    let guest = lab.file("waits.wat", guests::WAITS_FOR_INPUT);
    each_point(&["--component", guest.to_str().expect("utf-8")]);
}

#[test]
fn a_killed_warden_takes_its_agents_with_it_and_is_found_out() {
    let lab = Lab::new();
    let daemon = "setsid sleep 1000 & exec sleep 1000";
    let cell = lab.summon(&["scribe", "p", "--", "/bin/sh", "-c", daemon]);
    let status = lab.cell(&cell);
    let warden = u32::try_from(status["cell"]["warden"]["pid"].as_u64().expect("a pid")).expect("a pid");
    lazarus_tests::processes::Process { pid: warden, command: String::new() }.kill();
    lab.wait_for_state(&cell, "failed");
    let reason = text(&lab.cell(&cell)["cell"]["reason"]);
    assert!(reason.contains("warden died"), "{reason}");
    wait_until("the agent and its daemon are gone", || lab.processes().is_empty());
    lab.json(&["destroy", &cell]).exits(0);
}

#[test]
fn a_killed_agent_is_a_failed_cell() {
    let lab = Lab::new();
    let cell = lab.summon(&["scribe", "p", "--", "sleep", "1000"]);
    let pid = u32::try_from(lab.cell(&cell)["probe"]["pid"].as_u64().expect("a pid")).expect("a pid");
    lazarus_tests::processes::Process { pid, command: String::new() }.kill();
    lab.wait_for_state(&cell, "failed");
    let reason = text(&lab.cell(&cell)["cell"]["reason"]);
    assert!(reason.contains("signal 9"), "{reason}");
    lab.json(&["destroy", &cell]).exits(0);
}
