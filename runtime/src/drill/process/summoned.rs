//! Cells that are summoned, as agents live: with a warden of their own, logs, and a part in their cell's talk.

use std::{
    io, thread,
    time::{Duration, Instant},
};

use serde_json::Value;

use super::{
    attacker::{LEAD, SUBCOMMAND},
    batch::OPTIONS,
};
use crate::{
    drill::stage::{Stage, Told},
    jail::liveness,
};

/// How long one command about such a cell may take.
pub(super) const COMMAND_WITHIN: Duration = Duration::from_secs(30);
/// How long its agent may take to end by itself.
const END_WITHIN: Duration = Duration::from_secs(90);
/// How often its state is asked for.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// How long it may live: a drill that is killed leaves it behind.
const TTL: [&str; 4] = ["--ttl", "10m", "--on-expire", "destroy"];

/// A cell that was summoned for one attack; torn down before it is let go of.
pub(super) struct Summoned<'a> {
    stage: &'a Stage,
    /// Its id.
    pub id: String,
}

/// What its agent wrote.
pub(super) struct Line {
    /// `out`, `err` or `lazarus`.
    pub stream: String,
    /// The text, as the warden kept it.
    pub text: String,
}

impl<'a> Summoned<'a> {
    /// Summons an attacker with these options and this command behind the program's own name.
    pub fn new(stage: &'a Stage, options: &[&str], command: &[&str]) -> io::Result<Self> {
        let with = stage.options();
        let mut args = vec!["summon", "attacker", "drill"];
        args.extend(OPTIONS.iter().chain(&TTL));
        args.extend(with.iter().map(String::as_str));
        args.extend(options);
        args.extend(["--", "lazarus", SUBCOMMAND]);
        args.extend(command);
        let told = succeeded("summon", stage.lazarus(&args, b"", COMMAND_WITHIN)?)?;
        Ok(Self { stage, id: told.text("cell_id") })
    }

    /// Waits until its agent has ended by itself. Returns the state, and the reason where there is one.
    pub fn wait(&self) -> io::Result<(String, String)> {
        let started = Instant::now();
        loop {
            let told = succeeded("status", self.stage.lazarus(&["status", &self.id], b"", COMMAND_WITHIN)?)?;
            let cell = told.value("cell").unwrap_or_default();
            let text = |key: &str| cell.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
            let state = text("state");
            if matches!(state.as_str(), "closed" | "failed" | "destroyed") || started.elapsed() > END_WITHIN {
                return Ok((state, text("reason")));
            }
            thread::sleep(LOOK_EVERY);
        }
    }

    /// What its agent wrote, as the registry's readers get it.
    pub fn logs(&self) -> io::Result<Vec<Line>> {
        let told = succeeded("logs", self.stage.lazarus(&["logs", &self.id], b"", COMMAND_WITHIN)?)?;
        let lines = told.value("lines").and_then(|lines| lines.as_array().cloned()).unwrap_or_default();
        let text = |line: &Value, key: &str| line.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        Ok(lines.iter().map(|line| Line { stream: text(line, "stream"), text: text(line, "text") }).collect())
    }

    /// Its processes that live.
    pub fn alive(&self) -> Vec<u32> {
        liveness::with_variable("LAZARUS_CELL", &self.id).into_iter().map(|process| process.pid).collect()
    }

    /// Closes it: its agent is told, and gets that long.
    pub fn close(&self, grace: &str) -> io::Result<Told> {
        self.stage.lazarus(&["close", &self.id, "--grace", grace], b"", COMMAND_WITHIN)
    }

    /// Destroys it, and says what that did.
    pub fn destroy(&self) -> io::Result<Told> {
        self.stage.lazarus(&["destroy", &self.id, "--force"], b"", COMMAND_WITHIN)
    }
}

/// A command's answer, where it did what it was asked for.
pub(super) fn succeeded(command: &str, told: Told) -> io::Result<Told> {
    if told.code == Some(0) {
        return Ok(told);
    }
    let message = told.text("message");
    Err(io::Error::other(format!(
        "`lazarus {command}` failed ({:?}): {}",
        told.code,
        if message.is_empty() { told.stderr } else { message }
    )))
}

/// Summons a leader, waits for its end, and returns its words where a foreground run has them.
pub(super) fn lead(stage: &Stage, orders: &[u8]) -> io::Result<Told> {
    let path = stage.leave("orders.json", orders)?;
    let cell = Summoned::new(stage, &[], &[LEAD, &path])?;
    let (state, reason) = cell.wait()?;
    let words: Vec<String> = cell.logs()?.into_iter().filter(|line| line.stream == "out").map(|line| line.text).collect();
    let destroyed = cell.destroy()?;
    let code = if state == "closed" { destroyed.code } else { Some(1) };
    let stdout = serde_json::json!({ "message": reason }).to_string();
    Ok(Told { code, stdout, stderr: words.join("\n"), late: state == "active" })
}
