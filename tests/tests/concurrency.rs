//! Many commands at once against one root: nothing is lost, and nobody sees a locked database.

use std::process::Stdio;

use lazarus_tests::{Lab, lab::text};

/// As many commands as the issue of the registry's concurrency asks for.
const COMMANDS: usize = 200;

#[test]
fn two_hundred_commands_at_once_lose_nothing() {
    let lab = Lab::new();
    // The first commands also create the root and the registry, at the same moment.
    let start = |args: &[&str]| {
        let mut command = lab.command(args);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("started")
    };
    let summons = COMMANDS / 10;
    let mut children: Vec<_> = (0..summons).map(|n| start(&["--json", "summon", &format!("a{n}"), "p"])).collect();
    let cells: Vec<String> = children
        .drain(..)
        .map(|child| {
            let output = child.wait_with_output().expect("waited for");
            let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{said}");
            text(&serde_json::from_slice::<serde_json::Value>(&output.stdout).expect("JSON")["cell_id"])
        })
        .collect();
    let children: Vec<_> = (0..COMMANDS)
        .map(|n| {
            let cell = &cells[n % cells.len()];
            match n % 4 {
                0 => start(&["--json", "status"]),
                1 => start(&["--json", "invite", cell, &format!("human:h{n}"), "observer"]),
                2 => start(&["--json", "extend", cell, "1m"]),
                _ => start(&["--json", "audit", "verify"]),
            }
        })
        .collect();
    for child in children {
        let output = child.wait_with_output().expect("waited for");
        let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{said}");
        assert!(!said.contains("locked"), "{said}");
    }
    let members: usize = cells.iter().map(|cell| lab.cell(cell)["cell"]["members"].as_array().map_or(0, Vec::len)).sum();
    assert_eq!(members, cells.len() + COMMANDS / 4, "each agent and each guest");
    for child in cells.iter().map(|cell| start(&["--json", "destroy", cell])).collect::<Vec<_>>() {
        assert!(child.wait_with_output().expect("waited for").status.success());
    }
    lab.json(&["audit", "verify"]).exits(0);
    assert!(lab.cell_dirs().is_empty());
}

#[test]
fn two_operators_destroy_the_same_cell_at_once() {
    let lab = Lab::new();
    for _ in 0..5 {
        let cell = lab.summon(&["scribe", "p"]);
        let both: Vec<_> =
            (0..2).map(|_| lab.command(&["--json", "destroy", &cell]).stdout(Stdio::piped()).spawn().expect("started")).collect();
        for child in both {
            let output = child.wait_with_output().expect("waited for");
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
        }
        let status = lab.cell(&cell);
        assert_eq!(text(&status["cell"]["state"]), "destroyed");
        assert!(status["cell"]["receipt"]["files_removed"].as_u64().is_some_and(|files| files > 0), "the receipt of who did it: {status}");
        assert!(!lab.cell_dir(&cell).exists());
    }
}

#[test]
fn a_summoner_that_has_done_its_work_is_not_taken_for_dead() {
    // Whoever reads a cell as `proposed` just before it becomes active finds its summoner gone just after: it ended well.
    let lab = Lab::new();
    let start = |args: &[&str]| lab.command(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("started");
    for _ in 0..6 {
        let summons: Vec<_> = (0..4).map(|n| start(&["--json", "summon", &format!("a{n}"), "p"])).collect();
        let looks: Vec<_> = (0..40).map(|_| start(&["--json", "sweep"])).collect();
        for child in looks {
            assert!(child.wait_with_output().expect("waited for").status.success());
        }
        for child in summons {
            let output = child.wait_with_output().expect("waited for");
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
            let cell = text(&serde_json::from_slice::<serde_json::Value>(&output.stdout).expect("JSON")["cell_id"]);
            let status = lab.cell(&cell);
            assert_eq!(text(&status["cell"]["state"]), "active", "{status}");
            let _ = lab.json(&["destroy", &cell]).exits(0);
        }
    }
}
