//! `cargo xtask demo`: the main job on real input, as the commands that an operator would type and their real output.
//!
//! One agent surveys a real project twice, as a component and as a process. The demo then holds Lazarus to its word: both
//! live and beat, both saw the same, a closed cell was told to end, and of destroyed cells nothing is left. The first thing
//! that is not as promised ends the demo with an error.

mod leftovers;
mod report;
mod stage;

use std::{fs, time::Duration};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::{
    guest_toolchain, guests,
    lazarus::{Lazarus, Process},
    workspace::Workspace,
};
use stage::{Cell, Stage, until};

/// What is surveyed, and where the agents see it.
const MOUNT: &str = "examples/project:/project:ro";
/// An agent that starts, surveys a handful of files and beats takes well under a second; a busy machine gets more.
const READY_MOST: Duration = Duration::from_secs(30);

#[derive(Default, clap::Args)]
pub struct Options {
    /// Keep the temporary LAZARUS_ROOT, to look at what remains: the registry, the audit, the reports
    #[arg(long)]
    keep: bool,
}

/// Runs the demo.
///
/// # Errors
/// The first promise that was not kept.
pub fn main(workspace: &Workspace, options: &Options) -> Result<()> {
    guests::build_native(workspace)?;
    let components = guest_toolchain::ensure(workspace, false).and_then(|toolchain| guests::build_components(workspace, &toolchain));
    if let Err(error) = &components {
        eprintln!("   xtask: no guest can be compiled to WebAssembly here: {error:#}");
        eprintln!("   xtask: the demo goes on with the built-in keeper in place of the compiled surveyor");
    }
    let directory = tempfile::Builder::new().prefix("lazarus-demo-").tempdir()?;
    let lazarus = Lazarus::build(workspace, false, &directory.path().join("root"))?;
    let mut stage = Stage::new(lazarus);
    let outcome = perform(workspace, &mut stage, &directory.path().join("agents"), components.is_ok());
    stage.end();
    if options.keep {
        println!("\nKept: {}", directory.keep().display());
    }
    outcome?;
    println!("\nEverything was as promised.");
    Ok(())
}

fn perform(workspace: &Workspace, stage: &mut Stage, agents: &std::path::Path, components: bool) -> Result<()> {
    stage.say("Install the agents");
    println!("$ export LAZARUS_ROOT={}", stage.lazarus().root().display());
    stage.install_native(workspace, agents)?;
    if components {
        stage.install_component(workspace, agents)?;
    }

    stage.say("Summon one as a component, one as a process");
    let compiled = match components {
        true => stage.summon(&["surveyor", "tides", "--mount", MOUNT], "wasm")?,
        false => stage.summon(&["keeper", "tides", "--backend", "wasm"], "wasm")?,
    };
    let native = stage.summon(&["surveyor-native", "tides", "--mount", MOUNT], "process")?;
    let surveyors: Vec<&Cell> = if components { vec![&compiled, &native] } else { vec![&native] };

    stage.say("Watch them work");
    wait_for_work(stage, &[&compiled, &native], &surveyors)?;
    stage.run(&["status"])?;

    stage.say("Read what they found");
    report::show_and_compare(&surveyors)?;
    for cell in &surveyors {
        let log = stage.run(&["logs", &cell.id])?;
        ensure!(log.contains("surveyed "), "the log of {} has no summary: {log:?}", cell.id);
    }

    stage.say("Close one: it is told to end, and its home stays");
    close(stage, surveyors[0])?;

    stage.say("Destroy both: nothing stays");
    for cell in [&compiled, &native] {
        destroy(stage, cell)?;
    }

    stage.say("Verify");
    leftovers::verify(stage, &[&compiled, &native])
}

/// Waits until the cells are active with a living process and a fresh sign of life, and the reports are written.
fn wait_for_work(stage: &Stage, cells: &[&Cell], surveyors: &[&Cell]) -> Result<()> {
    until("every cell is active and beats", READY_MOST, || {
        let status = stage.lazarus().json(&["status"])?;
        let active = status["active_cells"].as_array().context("find active_cells in the status")?;
        for cell in cells {
            let row =
                active.iter().find(|row| row["cell_id"] == cell.id.as_str()).with_context(|| format!("find {} in the status", cell.id))?;
            ensure!(matches!(row["state"].as_str(), Some("active" | "idle")), "{} is {}", cell.id, row["state"]);
            ensure!(row["expired"] == false, "{} is said to be expired", cell.id);
            ensure!(beats(&row["probe"]), "{} shows no heartbeat: {}", cell.id, row["probe"]);
        }
        Ok(())
    })?;
    until("both reports are written", READY_MOST, || {
        surveyors.iter().try_for_each(|cell| {
            fs::metadata(cell.home.join("workspace/report.md")).map(drop).with_context(|| format!("find the report of {}", cell.id))
        })
    })
}

/// Whether a probe knows of a heartbeat.
fn beats(probe: &Value) -> bool {
    probe.as_object().is_some_and(|facts| facts.iter().any(|(name, fact)| name.contains("heartbeat") && !fact.is_null() && fact != false))
}

fn close(stage: &Stage, cell: &Cell) -> Result<()> {
    stage.json(&["close", &cell.id])?;
    let status = stage.lazarus().json(&["status", &cell.id])?;
    ensure!(status["cell"]["state"] == "closed", "{} is {} after its close", cell.id, status["cell"]["state"]);
    ensure!(!cell.processes.iter().any(Process::lives), "a process of {} lives after its close", cell.id);
    ensure!(cell.home.join("workspace/report.md").is_file(), "the home of {} did not stay", cell.id);
    let log = stage.run(&["logs", &cell.id])?;
    ensure!(log.contains("told to end"), "the agent of {} was ended without being told: {log:?}", cell.id);
    Ok(())
}

fn destroy(stage: &Stage, cell: &Cell) -> Result<()> {
    let answer = stage.json(&["destroy", &cell.id])?;
    ensure!(answer["receipt"].is_object(), "the destruction of {} has no receipt: {answer}", cell.id);
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_heartbeat_is_a_known_fact() {
        assert!(beats(&json!({"pid": 7, "heartbeat_age_ms": 0})));
        for probe in [json!(null), json!({}), json!({"pid": 7}), json!({"heartbeat_age_ms": null}), json!({"heartbeat": false})] {
            assert!(!beats(&probe), "{probe}");
        }
    }
}
