//! The surveyor: an agent that looks at a project and writes down what it found.
//!
//! The one idea: one source is both a WASI component and a process, and does the same work behind either wall.
//!
//! What it was granted: its home, to write the report to; the project directory, read-only, at `/project`; one variable,
//! `SURVEYOR_STAY`. No network, no other file of the machine.
//!
//! It surveys the directory given by `LAZARUS_PROJECT_DIR`, else by its first argument, else `/project`; writes
//! `workspace/report.md` and `workspace/report.json` below its home; prints one line; and gives a sign of life. With
//! `--stay` (or `SURVEYOR_STAY`) it then lives, beating each second, until it is told to end: by the end of its standard
//! input as a component, by SIGTERM as a process.

mod markers;
mod report;
mod stay;
mod survey;

use std::{
    env, fs, io,
    path::{Path, PathBuf},
    process::ExitCode,
};

use lazarus_guest::plain::{Cell, variable};

/// Where the project stands unless the caller says otherwise.
const PROJECT_DEFAULT: &str = "/project";

fn main() -> ExitCode {
    match work() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("surveyor: failed to {error}");
            ExitCode::FAILURE
        }
    }
}

fn work() -> Result<(), String> {
    let mut arguments: Vec<String> = env::args().skip(1).collect();
    let asked_to_stay = arguments.iter().any(|argument| argument == "--stay");
    arguments.retain(|argument| argument != "--stay");
    let project = env::var_os("LAZARUS_PROJECT_DIR").map(PathBuf::from).or_else(|| arguments.first().map(PathBuf::from));
    let project = project.unwrap_or_else(|| PathBuf::from(PROJECT_DEFAULT));
    let home = env::var_os(variable::HOME).map(PathBuf::from).ok_or_else(|| format!("find a home: {} is not set", variable::HOME))?;
    let stop = stay::listen().map_err(|e| format!("listen for the end: {e}"))?;

    let survey = survey::survey(&project).map_err(|e| format!("survey {}: {e}", project.display()))?;
    let workspace = home.join("workspace");
    write_reports(&workspace, &survey).map_err(|e| format!("write the report to {}: {e}", workspace.display()))?;
    println!("{}", report::summary(&survey));

    // Outside of a cell nobody watches the heartbeat; the report is as good.
    let cell = Cell::from_env().ok();
    let beat = || {
        if let Some(Err(error)) = cell.as_ref().map(Cell::beat) {
            eprintln!("surveyor: failed to beat: {error}");
        }
    };
    beat();
    if asked_to_stay || env::var_os("SURVEYOR_STAY").is_some_and(|value| value == "1") {
        stop.wait(beat);
        println!("told to end");
    }
    Ok(())
}

fn write_reports(workspace: &Path, survey: &survey::Survey) -> io::Result<()> {
    fs::create_dir_all(workspace)?;
    fs::write(workspace.join("report.json"), report::json(survey)?)?;
    // The Markdown comes last: who sees it knows that both are there.
    fs::write(workspace.join("report.md.new"), report::markdown(survey))?;
    fs::rename(workspace.join("report.md.new"), workspace.join("report.md"))
}
