//! The `lazarus` command, called as an operator calls it.

use std::{
    fs::{self, File},
    io::{Read, Seek},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::{run, workspace::Workspace};

/// No command takes this long; one that does hangs.
const CALL_MOST: Duration = Duration::from_secs(60);

/// A binary and the root that it works on.
pub struct Lazarus {
    binary: PathBuf,
    root: PathBuf,
    work: PathBuf,
}

/// What a command said.
pub struct Answer {
    /// Whether it ended with 0.
    pub success: bool,
    /// Its data.
    pub stdout: String,
    /// Its talk.
    pub stderr: String,
}

impl Lazarus {
    /// Builds the binary of a profile, to be called in `workspace.root` with `root` as LAZARUS_ROOT.
    ///
    /// # Errors
    /// It does not compile.
    pub fn build(workspace: &Workspace, release: bool, root: &Path) -> Result<Self> {
        let mut cargo = run::cargo(&workspace.root);
        cargo.args(["build", "--quiet", "--locked", "--package", "lazarus", "--bins"]);
        if release {
            cargo.arg("--release");
        }
        run::step(&mut cargo)?;
        let binary = workspace.lazarus(if release { "release" } else { "debug" });
        Ok(Self { binary, root: root.to_owned(), work: workspace.root.clone() })
    }

    /// A command with these arguments, without any identity or root of the caller's.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.binary);
        command.args(arguments).current_dir(&self.work).env("LAZARUS_ROOT", &self.root).env_remove("LAZARUS_IDENTITY");
        command
    }

    /// Calls it, and waits; a command that hangs is ended and is an error.
    ///
    /// # Errors
    /// It does not start, hangs, or writes no text.
    pub fn call(&self, arguments: &[&str]) -> Result<Answer> {
        let mut command = self.command(arguments);
        let words = run::words(&command);
        // Files, not pipes: what outlives the command and holds its streams open must not make it look alive.
        let (mut stdout, mut stderr) = (tempfile::tempfile()?, tempfile::tempfile()?);
        command.stdin(Stdio::null()).stdout(stdout.try_clone()?).stderr(stderr.try_clone()?);
        let mut child = command.spawn().with_context(|| format!("start {words}"))?;
        let started = Instant::now();
        let status = loop {
            if let Some(status) = child.try_wait()? {
                break status;
            }
            if started.elapsed() > CALL_MOST {
                child.kill()?;
                child.wait()?;
                bail!("{words}: it did not end within {} s", CALL_MOST.as_secs());
            }
            thread::sleep(Duration::from_millis(5));
        };
        Ok(Answer { success: status.success(), stdout: read_back(&mut stdout)?, stderr: read_back(&mut stderr)? })
    }

    /// Calls it with `--json`, and returns the one object that it must print.
    ///
    /// # Errors
    /// It fails, or does not keep the contract of `--json`.
    pub fn json(&self, arguments: &[&str]) -> Result<Value> {
        let arguments: Vec<_> = std::iter::once("--json").chain(arguments.iter().copied()).collect();
        let answer = self.call(&arguments)?;
        parse(&answer).with_context(|| format!("call {}", run::words(&self.command(&arguments))))
    }

    /// The program's file.
    pub fn binary(&self) -> &Path {
        &self.binary
    }

    /// The root that it works on.
    pub fn root(&self) -> &Path {
        &self.root
    }
}

/// Takes an answer to `--json` apart: one object, that says success, and an exit code that says the same.
///
/// # Errors
/// Any of it is not so.
pub fn parse(answer: &Answer) -> Result<Value> {
    let value: Value = serde_json::from_str(answer.stdout.trim_end())
        .with_context(|| format!("parse its one object from {:?} (it said: {:?})", answer.stdout, answer.stderr))?;
    let said = value["success"].as_bool();
    ensure!(said == Some(answer.success), "its exit code and its answer differ: {value}");
    ensure!(answer.success, "it answered: {}", value["message"].as_str().unwrap_or(&answer.stdout));
    Ok(value)
}

fn read_back(file: &mut File) -> Result<String> {
    file.rewind()?;
    let mut text = String::new();
    file.read_to_string(&mut text).context("read the command's output")?;
    Ok(text)
}

/// A process, known by more than its number: a number is used again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    /// Its number.
    pub pid: u64,
    started: String,
}

impl Process {
    /// Looks at a process that lives now.
    ///
    /// # Errors
    /// It does not live.
    pub fn living(pid: u64) -> Result<Self> {
        let started = start_time(pid).with_context(|| format!("find process {pid}: it does not live"))?;
        Ok(Self { pid, started })
    }

    /// Whether it still lives; what has ended and only waits to be collected does not.
    pub fn lives(&self) -> bool {
        start_time(self.pid).is_some_and(|started| started == self.started)
    }
}

/// The start time of a process that is not a zombie.
fn start_time(pid: u64) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name stands in parentheses and may hold anything; behind the last one come the state and 18 more fields.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    let state = fields.next()?;
    if matches!(state, "Z" | "X") { None } else { fields.nth(18).map(str::to_owned) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(success: bool, stdout: &str) -> Answer {
        Answer { success, stdout: stdout.to_owned(), stderr: String::new() }
    }

    #[test]
    fn an_answer_must_be_one_object_that_agrees_with_the_exit_code() {
        assert!(parse(&answer(true, "{\"success\":true,\"cell_id\":\"laz-00000000\"}\n")).is_ok());
        for (success, stdout) in [(true, ""), (true, "{}{}"), (true, "{\"success\":false}"), (false, "{\"success\":true}"), (true, "{}")] {
            assert!(parse(&answer(success, stdout)).is_err(), "{stdout}");
        }
        let refused = parse(&answer(false, "{\"success\":false,\"message\":\"Cell laz-00000000 not found\"}"));
        assert_eq!(refused.map_err(|e| e.to_string()), Err("it answered: Cell laz-00000000 not found".to_owned()));
    }

    #[test]
    fn a_process_is_alive_until_it_ended() -> Result<()> {
        let mut child = Command::new("sleep").arg("60").spawn()?;
        let process = Process::living(child.id().into())?;
        assert!(process.lives());
        child.kill()?;
        child.wait()?;
        assert!(!process.lives());
        Ok(())
    }
}
