//! A place to try things: an empty root, a cleared environment, and the real program.

use std::{
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::processes;

/// How long a test waits for something that must happen; generous, since the machines of tests are slow and shared.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// What a command did.
#[derive(Debug)]
pub struct Outcome {
    /// The exit code; -1 where a signal ended it.
    pub code: i32,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Outcome {
    fn of(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Asserts the exit code, showing everything where it is another.
    #[track_caller]
    pub fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, code, "stdout: {}\nstderr: {}", self.stdout, self.stderr);
        self
    }

    /// The one JSON object on standard output.
    #[track_caller]
    pub fn json(&self) -> Value {
        let value: Value = serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| panic!("stdout is not one JSON object ({error}): {:?}; stderr: {}", self.stdout, self.stderr));
        assert!(value.is_object(), "{value}");
        value
    }

    /// The message of the envelope.
    #[track_caller]
    pub fn message(&self) -> String {
        text(&self.json()["message"])
    }
}

/// A JSON string's text.
#[track_caller]
pub fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("not a string: {value}")).to_owned()
}

/// The program under test: `LAZARUS_BIN`, or the one that was built beside this test.
pub fn binary() -> PathBuf {
    std::env::var_os("LAZARUS_BIN").map(PathBuf::from).unwrap_or_else(|| {
        let test = std::env::current_exe().expect("a test has a path");
        let beside = test.parent().and_then(Path::parent).expect("target/<profile>/deps").join("lazarus");
        assert!(beside.exists(), "{} is missing: run `cargo build`, or `cargo xtask test`", beside.display());
        beside
    })
}

/// An empty root and the program. Whatever a test leaves alive in it is ended, and the test then fails.
pub struct Lab {
    temp: tempfile::TempDir,
    allow_leftovers: bool,
}

impl Default for Lab {
    fn default() -> Self {
        Self::new()
    }
}

impl Lab {
    /// A fresh lab.
    pub fn new() -> Self {
        let temp = tempfile::Builder::new().prefix("lazarus-lab-").tempdir().expect("a temporary directory");
        for name in ["home", "work"] {
            std::fs::create_dir(temp.path().join(name)).expect("made");
        }
        Self { temp, allow_leftovers: false }
    }

    /// Says that this test leaves cells alive on purpose; they are ended all the same.
    pub fn leaves_cells(&mut self) {
        self.allow_leftovers = true;
    }

    /// The Lazarus root. It does not exist before the first command.
    pub fn root(&self) -> PathBuf {
        self.temp.path().join("root")
    }

    /// A directory for the test's own files; commands run in it.
    pub fn work(&self) -> PathBuf {
        self.temp.path().join("work")
    }

    /// Writes a file into the working directory; returns its path.
    pub fn file(&self, name: &str, contents: impl AsRef<[u8]>) -> PathBuf {
        let path = self.work().join(name);
        std::fs::create_dir_all(path.parent().expect("below the lab")).expect("made");
        std::fs::write(&path, contents).expect("written");
        path
    }

    /// A command of the program, not started yet: cleared environment, the lab's root.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(binary());
        command
            .args(args)
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .env("HOME", self.temp.path().join("home"))
            .env("LAZARUS_ROOT", self.root())
            .current_dir(self.work())
            .stdin(Stdio::null());
        command
    }

    /// Runs a command to its end.
    #[must_use = "what it did must be looked at"]
    pub fn run(&self, args: &[&str]) -> Outcome {
        Outcome::of(self.command(args).output().expect("started"))
    }

    /// Runs a command with `--json`.
    #[must_use = "what it did must be looked at"]
    pub fn json(&self, args: &[&str]) -> Outcome {
        let mut with = vec!["--json"];
        with.extend(args);
        self.run(&with)
    }

    /// Runs a command with text on its standard input.
    #[must_use = "what it did must be looked at"]
    pub fn run_with_input(&self, args: &[&str], input: &[u8]) -> Outcome {
        let mut command = self.command(args);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("started");
        let mut stdin = child.stdin.take().expect("piped");
        let input = input.to_vec();
        let writer = std::thread::spawn(move || {
            // A program that does not read its input to the end is not at fault.
            let _ = stdin.write_all(&input);
        });
        let output = child.wait_with_output().expect("waited for");
        writer.join().expect("the writer does not panic");
        Outcome::of(output)
    }

    /// Summons, asserts success, returns the cell's id.
    #[track_caller]
    pub fn summon(&self, args: &[&str]) -> String {
        let mut all = vec!["summon"];
        all.extend(args);
        text(&self.json(&all).exits(0).json()["cell_id"])
    }

    /// The record of a cell.
    #[track_caller]
    pub fn cell(&self, cell: &str) -> Value {
        self.json(&["status", cell]).exits(0).json()
    }

    /// The state of a cell.
    #[track_caller]
    pub fn state(&self, cell: &str) -> String {
        text(&self.cell(cell)["cell"]["state"])
    }

    /// Waits until a cell is in a state.
    #[track_caller]
    pub fn wait_for_state(&self, cell: &str, wanted: &str) {
        wait_until(&format!("{cell} is {wanted}"), || self.state(cell) == wanted);
    }

    /// What a cell's agents wrote.
    #[track_caller]
    pub fn logs(&self, cell: &str) -> String {
        self.run(&["logs", cell]).exits(0).stdout
    }

    /// The directory of a cell.
    pub fn cell_dir(&self, cell: &str) -> PathBuf {
        self.root().join("cells").join(cell)
    }

    /// The names below `cells/`.
    pub fn cell_dirs(&self) -> Vec<String> {
        let Ok(entries) = std::fs::read_dir(self.root().join("cells")) else { return Vec::new() };
        entries.map(|entry| entry.expect("read").file_name().to_string_lossy().into_owned()).collect()
    }

    /// The processes that work for this lab's root: found by their environment and command line.
    pub fn processes(&self) -> Vec<processes::Process> {
        processes::mentioning(&self.temp.path().to_string_lossy())
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if self.allow_leftovers {
            // What is killed leaves control groups behind, which nobody would look for any more.
            for cell in self.cell_dirs() {
                let _ = self.command(&["destroy", &cell, "--force"]).output();
            }
        }
        let leftovers = self.processes();
        for process in &leftovers {
            process.kill();
        }
        if !leftovers.is_empty() && !self.allow_leftovers && !std::thread::panicking() {
            panic!("the test left processes alive: {leftovers:?}");
        }
    }
}

/// Waits until something is so.
#[track_caller]
pub fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < PATIENCE, "waited {PATIENCE:?} until {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
