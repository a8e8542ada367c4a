//! The warden: what it must do whatever its agents do, and what it must not keep.

use std::time::Instant;

use lazarus_tests::{
    Lab,
    lab::{PATIENCE, text},
};

#[test]
fn an_agent_that_never_stops_writing_does_not_outlive_its_time() {
    let lab = Lab::new();
    let start = Instant::now();
    let cell = lab.summon(&["scribe", "p", "--ttl", "2s", "--log", "64KiB", "--", "/bin/sh", "-c", "trap '' TERM; exec yes"]);
    lab.wait_for_state(&cell, "closed");
    assert!(start.elapsed() < PATIENCE);
    let logs = lab.cell_dir(&cell).join("logs");
    let kept: u64 = ["scribe.log", "scribe.log.1"].iter().filter_map(|name| Some(std::fs::metadata(logs.join(name)).ok()?.len())).sum();
    assert!(kept <= 64 * 1024, "{kept}");
    assert!(lab.logs(&cell).contains("# dropped "), "what was not kept is counted");
    lab.json(&["destroy", &cell]).exits(0);
}

#[test]
fn a_descriptor_of_the_shell_is_not_held_by_the_warden() {
    let lab = Lab::new();
    let lock = lab.work().join("lock");
    // As `flock` scripts do it: the shell's own descriptor, which its commands inherit.
    let mut shell = lab.command(&["--json", "summon", "scribe", "p"]);
    let summon: Vec<_> = std::iter::once(shell.get_program()).chain(shell.get_args()).map(std::ffi::OsStr::to_owned).collect();
    shell = std::process::Command::new("/bin/sh");
    shell.args(["-c", "exec 9>\"$0\"; exec \"$@\""]).arg(&lock).args(summon).env_clear().env("LAZARUS_ROOT", lab.root());
    let output = shell.output().expect("started");
    let summoned: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let cell = text(&summoned["cell_id"]);
    let warden = lab.cell(&cell)["cell"]["warden"]["pid"].as_u64().expect("a pid");
    let held = std::fs::read_link(format!("/proc/{warden}/fd/9"));
    assert!(!held.is_ok_and(|path| path == lock), "the warden holds the lock");
    lab.json(&["destroy", &cell]).exits(0);
}

#[test]
fn a_home_that_outgrows_its_limit_ends_its_agent() {
    let lab = Lab::new();
    let script = "i=0; while :; do head -c 60000 /dev/zero > \"$HERMES_HOME/workspace/$i\"; i=$((i+1)); [ $i -lt 20 ] || sleep 1; done";
    let cell = lab.summon(&["scribe", "p", "--home", "512KiB", "--", "/bin/sh", "-c", script]);
    lab.wait_for_state(&cell, "failed");
    let reason = text(&lab.cell(&cell)["cell"]["reason"]);
    assert!(reason.contains("limit home"), "{reason}");
    lab.json(&["destroy", &cell]).exits(0);
}

#[test]
fn a_log_is_followed_until_the_cell_is_over() {
    let lab = Lab::new();
    let cell = lab.summon(&["scribe", "p", "--", "/bin/sh", "-c", "for i in 1 2 3 4 5; do echo line $i; sleep 0.2; done"]);
    let followed = lab.run(&["logs", &cell, "-f"]).exits(0).stdout;
    assert_eq!(followed.lines().count(), 5, "{followed}");
    assert!(followed.ends_with("scribe | line 5\n"), "{followed}");
    assert_eq!(lab.state(&cell), "closed");
    let last = lab.run(&["logs", &cell, "-n", "2"]).exits(0).stdout;
    assert_eq!(last, "scribe | line 4\nscribe | line 5\n");
    lab.json(&["destroy", &cell]).exits(0);
}

#[test]
fn a_process_that_needs_more_memory_than_it_may_says_so_in_its_end() {
    let lab = Lab::new();
    let script = "x=x; while :; do x=\"$x$x\"; done";
    let cell = lab.summon(&["scribe", "p", "--memory", "64MiB", "--", "/bin/sh", "-c", script]);
    lab.wait_for_state(&cell, "failed");
    let enforcers = lab.json(&["explain", &cell]).exits(0).json()["agents"][0]["enforcement"].to_string();
    let reason = text(&lab.cell(&cell)["cell"]["reason"]);
    if enforcers.contains("cgroup") {
        assert!(reason.contains("limit memory"), "{reason}");
    } else {
        // Without a control group the shell is refused memory, and ends as it takes that: with an error, or with a fault.
        assert!(reason.contains("exited with code") || reason.contains("ended by signal"), "{reason}");
    }
    lab.json(&["destroy", &cell]).exits(0);
}

#[test]
fn processes_that_spin_together_are_ended_at_their_cpu_time() {
    let lab = Lab::new();
    // Neither of the two comes to the limit alone before both have passed it together.
    let script = "spin() { while :; do :; done; }; spin & spin & wait";
    let cell = lab.summon(&["scribe", "p", "--cpu", "1s", "--", "/bin/sh", "-c", script]);
    let twin = lab.summon(&["scribe", "p", "--cpu", "1s", "--", "/bin/sh", "-c", "sleep 1000 & sleep 1000 & wait"]);
    lab.wait_for_state(&cell, "failed");
    let enforcers = lab.json(&["explain", &cell]).exits(0).json()["agents"][0]["enforcement"].to_string();
    let reason = text(&lab.cell(&cell)["cell"]["reason"]);
    assert!(reason.contains("limit cpu"), "{reason}");
    // Without a control group each is counted for itself.
    assert_eq!(reason.contains("together"), enforcers.contains("all its processes together"), "{reason}");
    assert_eq!(lab.state(&twin), "active");
    for cell in [cell, twin] {
        lab.json(&["destroy", &cell, "--force"]).exits(0);
    }
}

#[test]
fn a_home_with_more_files_than_it_may_have_ends_its_agent() {
    let lab = Lab::new();
    let make = |count: u32| format!("i=0; while [ $i -lt {count} ]; do : > file$i; i=$((i+1)); done; sleep 1000");
    let cell = lab.summon(&["scribe", "p", "--files", "200", "--", "/bin/sh", "-c", &make(1000)]);
    let twin = lab.summon(&["scribe", "p", "--files", "2000", "--", "/bin/sh", "-c", &make(1000)]);
    lab.wait_for_state(&cell, "failed");
    let reason = text(&lab.cell(&cell)["cell"]["reason"]);
    assert!(reason.contains("limit files: its home holds more than 200 files, directories and links"), "{reason}");
    assert_eq!(lab.state(&twin), "active");
    for cell in [cell, twin] {
        lab.json(&["destroy", &cell, "--force"]).exits(0);
    }
}
