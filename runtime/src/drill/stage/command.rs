//! This very program, as an operator starts it: a cleared environment, the stage's own root, `--json`.

use std::{
    io::{self, Read, Write},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// Bytes of a command's output that are kept. A flood is an attack of its own, and is looked at where it goes.
const OUTPUT_MOST_BYTES: u64 = 4 << 20;
/// How often a command that runs is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// How long a command that was told to end may take, before it is killed.
const END_WITHIN: Duration = Duration::from_secs(5);

/// How a command ended.
#[derive(Debug, Clone)]
pub struct Told {
    /// Its exit code; `None` where a signal ended it, or it did not end in time and was killed.
    pub code: Option<i32>,
    /// What it wrote to its standard output: one JSON object.
    pub stdout: String,
    /// What it, and a program in the foreground, wrote to standard error.
    pub stderr: String,
    /// Whether it had to be ended.
    pub late: bool,
}

impl Told {
    /// A part of its envelope.
    pub fn value(&self, key: &str) -> Option<Value> {
        serde_json::from_str::<Value>(&self.stdout).ok()?.get(key).cloned()
    }

    /// A part of its envelope that is text; empty where there is none.
    pub fn text(&self, key: &str) -> String {
        self.value(key).and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
    }
}

/// How commands of a stage are started.
#[derive(Debug, Clone)]
pub(super) struct Commands {
    pub(super) root: PathBuf,
    pub(super) work: PathBuf,
    /// A variable of the operator that no cell may see.
    pub(super) secret: (String, String),
    /// Set when the operator interrupts the drill: what runs is ended then, and nothing more is started.
    pub(super) interrupt: Arc<AtomicBool>,
    /// Whether they answer with one JSON object, or as people read it.
    pub(super) json: bool,
}

impl Commands {
    /// The same, in another root.
    pub(super) fn in_root(&self, root: &Path) -> Self {
        Self { root: root.to_owned(), ..self.clone() }
    }

    fn command(&self, args: &[&str]) -> Command {
        // This very program, also when its file was replaced since it was started.
        let mut command = Command::new("/proc/self/exe");
        std::os::unix::process::CommandExt::arg0(&mut command, "lazarus");
        command.arg("--root").arg(&self.root).args(self.json.then_some("--json")).args(args);
        command.env_clear().env("PATH", "/usr/local/bin:/usr/bin:/bin").env("HOME", &self.work).env(&self.secret.0, &self.secret.1);
        command.current_dir(&self.work);
        command
    }

    /// Starts a command whose input and output are whatever is set.
    pub(super) fn spawn(&self, args: &[&str], stdin: Stdio, stdout: Stdio, stderr: Stdio) -> io::Result<Child> {
        self.command(args).stdin(stdin).stdout(stdout).stderr(stderr).spawn()
    }

    /// Runs a command to its end, or ends it.
    pub(super) fn run(&self, args: &[&str], input: &[u8], within: Duration) -> io::Result<Told> {
        if self.is_interrupted() {
            return Err(io::ErrorKind::Interrupted.into());
        }
        let mut child = self.spawn(args, Stdio::piped(), Stdio::piped(), Stdio::piped())?;
        let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let ended = thread::scope(|scope| {
            scope.spawn(move || {
                // A program that does not read its input to the end has its reasons.
                let _ = stdin.map(|mut stdin| stdin.write_all(input));
            });
            let out = scope.spawn(move || drain(stdout));
            let err = scope.spawn(move || drain(stderr));
            let ended = self.await_end(&mut child, within);
            (ended, out.join().unwrap_or_default(), err.join().unwrap_or_default())
        });
        let ((code, late), stdout, stderr) = (ended.0?, ended.1, ended.2);
        if self.is_interrupted() {
            return Err(io::ErrorKind::Interrupted.into());
        }
        Ok(Told { code, stdout, stderr, late })
    }

    fn is_interrupted(&self) -> bool {
        self.interrupt.load(Ordering::Relaxed)
    }

    /// Waits; past the time, asks it to end, then kills it. Returns its exit code, and whether that was needed.
    fn await_end(&self, child: &mut Child, within: Duration) -> io::Result<(Option<i32>, bool)> {
        let started = Instant::now();
        let mut told = None;
        loop {
            if let Some(status) = child.try_wait()? {
                return Ok((status.code(), told.is_some()));
            }
            if told.is_none() && (started.elapsed() > within || self.is_interrupted()) {
                told = Some(Instant::now());
                let _ = i32::try_from(child.id()).ok().and_then(Pid::from_raw).map(|pid| kill_process(pid, Signal::TERM));
            }
            if told.is_some_and(|told| told.elapsed() > END_WITHIN) {
                child.kill()?;
            }
            thread::sleep(LOOK_EVERY);
        }
    }
}

/// Reads to the end, and keeps the beginning.
fn drain(pipe: Option<impl Read>) -> String {
    let mut kept = Vec::new();
    if let Some(mut pipe) = pipe {
        let _ = pipe.by_ref().take(OUTPUT_MOST_BYTES).read_to_end(&mut kept);
        let _ = io::copy(&mut pipe, &mut io::sink());
    }
    String::from_utf8_lossy(&kept).into_owned()
}
