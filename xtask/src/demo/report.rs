//! The reports of the demo's agents.

use std::fs;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::stage::Cell;

/// Prints the reports, and holds them against each other and against the project itself.
pub fn show_and_compare(surveyors: &[&Cell]) -> Result<()> {
    let mut seen: Option<(String, String)> = None;
    for cell in surveyors {
        let read = |name: &str| {
            let file = cell.home.join("workspace").join(name);
            fs::read_to_string(&file).with_context(|| format!("read {}", file.display()))
        };
        let (markdown, json) = (read("report.md")?, read("report.json")?);
        println!("$ cat {}", cell.home.join("workspace/report.md").display());
        println!("{markdown}");
        let value: Value = serde_json::from_str(&json).with_context(|| format!("parse the report of {}", cell.id))?;
        ensure!(value["total"]["files"].as_u64() > Some(0), "the survey of {} saw no file: {value}", cell.id);
        ensure!(value["marker_count"].as_u64() > Some(0), "the survey of {} saw nothing left to do: {value}", cell.id);
        match &seen {
            None => seen = Some((markdown, json)),
            Some(first) => {
                ensure!(*first == (markdown, json), "the two surveys of one project differ");
                println!("# Both reports agree, to the byte.");
            }
        }
    }
    Ok(())
}
