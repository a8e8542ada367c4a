//! What goes wrong, as one line with a hint, and as an exit code of the documented table.

use std::process::ExitCode;

use serde::Serialize;

use crate::{
    home::ambient::RootError,
    operator::{Error, Kind, Replacing},
};

/// Refused, or failed in a way that the operator can change.
pub const REFUSED: u8 = 1;
/// The command line says something that cannot be meant.
pub const USAGE: u8 = 2;
/// What was named is not there.
pub const NOT_FOUND: u8 = 3;
/// Lazarus itself, or the machine under it, failed.
pub const INTERNAL: u8 = 125;

/// A failed command: what happened, and what to do about it.
#[derive(Debug)]
pub struct Failure {
    /// The exit code.
    pub code: u8,
    /// One line: the object, and the cause behind a colon.
    pub message: String,
    /// What to do, where there is something to do.
    pub hint: Option<String>,
    /// What is not as it was approved, one line each; of that failure alone.
    pub differences: Vec<String>,
}

/// The envelope of a failed command.
#[derive(Serialize)]
struct Envelope<'a> {
    success: bool,
    message: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<&'a str>,
    exit_code: u8,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    differences: &'a [String],
}

impl Failure {
    /// A failure with a code and a message.
    pub fn new(code: u8, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), hint: None, differences: Vec::new() }
    }

    /// The JSON envelope, as one line.
    pub fn json(&self) -> String {
        let envelope = Envelope {
            success: false,
            message: &self.message,
            hint: self.hint.as_deref(),
            exit_code: self.code,
            differences: &self.differences,
        };
        serde_json::to_string(&envelope).unwrap_or_else(|_| r#"{"success":false}"#.to_owned())
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let code = match error.kind() {
            Kind::Refused => REFUSED,
            Kind::Usage => USAGE,
            Kind::NotFound => NOT_FOUND,
            Kind::Internal => INTERNAL,
        };
        let (message, hint) = (chain(&error), hint(&error));
        let differences = if let Error::NotApproved { differences, .. } = error { differences } else { Vec::new() };
        Self { code, message, hint, differences }
    }
}

/// An error and its causes, in one line.
fn chain(error: &dyn std::error::Error) -> String {
    crate::cell::text::one_line(&crate::cell::text::with_causes(error), 2000)
}

fn hint(error: &Error) -> Option<String> {
    let text = match error {
        Error::CellNotFound(_) => "`lazarus status --all` lists every cell".to_owned(),
        Error::AgentNotFound(_) => "`lazarus agent list` lists the definitions; `lazarus agent add FILE` installs one".to_owned(),
        Error::NotApproved { agent, .. } => {
            format!("look at it (`lazarus agent show {agent}`), then `lazarus agent approve {agent}` approves it as it is now")
        }
        Error::LivesByEvents => "`lazarus summon` it, and write to it with `lazarus send CELL TEXT --wait`".to_owned(),
        Error::Unfetched { cell, .. } => {
            format!("`lazarus artifacts {cell} get NAME` fetches one; `lazarus destroy {cell} --force` destroys them with the cell")
        }
        Error::NoSuchArtifact { cell, .. } => format!("`lazarus artifacts {cell}` lists them"),
        Error::DestinationExists(_, Replacing::Forced) => "choose another name, or, for a file, --force".to_owned(),
        Error::DestinationExists(_, Replacing::Never) => "choose another name".to_owned(),
        Error::State { cell, refusal } if refusal.asks_to == "take messages" => match refusal.state {
            "closing" | "closed" | "failed" => format!("its agents have ended: `lazarus logs {cell}` has their words; summon another cell"),
            _ => "`lazarus status` lists the cells that are there".to_owned(),
        },
        Error::State { cell, refusal } if refusal.asks_to == "be resurrected" => match refusal.state {
            "closing" => format!("it is just ending; `lazarus status {cell}` says when it is closed"),
            "proposed" => format!("it is just being summoned; `lazarus status {cell}` says what becomes of it"),
            "destroyed" => "that is final: `lazarus summon` makes a new cell".to_owned(),
            _ => format!("it lives: `lazarus close {cell}` ends it, `lazarus extend {cell} TIME` gives it more time"),
        },
        Error::NotResurrected { cell, .. } => {
            format!("nothing of it changed, and nothing of it runs; `lazarus logs {cell}` has its agents' words")
        }
        Error::NotReady { cell, .. } => format!("`lazarus destroy {cell}` puts the record away"),
        Error::Audit(error) => error.hint()?.to_owned(),
        Error::Root(RootError::Nowhere) => "name a root with --root or LAZARUS_ROOT".to_owned(),
        _ => return None,
    };
    Some(text)
}

/// A command line that clap refused, or `--help` and `--version`, which it answers itself.
pub fn usage(error: &clap::Error, json: bool) -> ExitCode {
    if !error.use_stderr() {
        // A reader that went away has what it wanted.
        let _ = error.print();
        return ExitCode::SUCCESS;
    }
    if json {
        let rendered = error.render().to_string();
        let first = rendered.lines().take_while(|line| !line.is_empty()).flat_map(str::split_whitespace).collect::<Vec<_>>().join(" ");
        let message = first.trim_start_matches("error: ").trim().to_owned();
        println!("{}", Failure::new(USAGE, crate::cell::text::one_line(&message, 500)).json());
    } else {
        let _ = error.print();
    }
    ExitCode::from(USAGE)
}
