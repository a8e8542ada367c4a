//! Saying things: data to stdout, talk to stderr; one JSON object with `--json`; colour only on a terminal.

use std::{
    io::{IsTerminal, Write},
    process::ExitCode,
};

use serde::Serialize;

use super::failure::Failure;

/// How this command talks.
pub struct Say {
    json: bool,
    colour: bool,
}

impl Say {
    /// Talks in JSON, or to a person.
    pub fn new(json: bool) -> Self {
        // https://no-color.org: any value but an empty one switches colour off.
        let wanted = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        Self { json, colour: wanted && std::io::stdout().is_terminal() }
    }

    /// Whether stdout holds JSON and nothing else.
    pub const fn json(&self) -> bool {
        self.json
    }

    /// Prints the envelope, or what a person reads instead.
    pub fn done<T: Serialize>(&self, envelope: &T, people: impl FnOnce() -> String) -> ExitCode {
        let text = if self.json { Self::line(envelope) } else { people() };
        match Self::write(&text) {
            Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
                // It was done; whoever keeps what it said must learn that they did not get it.
                eprintln!("error: it was done, but could not be said: {error}");
                ExitCode::from(super::failure::INTERNAL)
            }
            Ok(()) | Err(_) => ExitCode::SUCCESS,
        }
    }

    /// One JSON object on one line.
    pub fn line<T: Serialize>(envelope: &T) -> String {
        serde_json::to_string(envelope).unwrap_or_else(|error| Failure::new(super::failure::INTERNAL, error.to_string()).json())
    }

    /// Prints to stdout, with a newline. A reader that went away has what it wanted.
    pub fn print(&self, text: &str) -> bool {
        Self::write(text).is_ok()
    }

    fn write(text: &str) -> std::io::Result<()> {
        let mut out = std::io::stdout().lock();
        let end = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
        write!(out, "{text}{end}").and_then(|()| out.flush())
    }

    /// Says what went wrong.
    pub fn failure(&self, failure: &Failure) -> ExitCode {
        if self.json {
            self.print(&failure.json());
        } else {
            eprintln!("{} {}", paint(ERROR, "error:", std::io::stderr().is_terminal() && self.colour_wanted()), failure.message);
            for line in &failure.differences {
                eprintln!("  {line}");
            }
            if let Some(hint) = &failure.hint {
                eprintln!("hint: {hint}");
            }
        }
        ExitCode::from(failure.code)
    }

    /// How wide stdout is: a terminal's columns, or enough for a line of a file.
    pub fn width() -> usize {
        /// A line of a file or a pipe: wide enough to be searched.
        const WIDE_COLUMNS: usize = 240;
        rustix::termios::tcgetwinsize(std::io::stdout()).map_or(WIDE_COLUMNS, |size| usize::from(size.ws_col).max(40))
    }

    fn colour_wanted(&self) -> bool {
        std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
    }

    /// A state's name, painted on a terminal. The word alone carries the meaning.
    pub fn state(&self, state: &str) -> String {
        let style = match state {
            "active" | "idle" => GOOD,
            "failed" => ERROR,
            _ => return state.to_owned(),
        };
        paint(style, state, self.colour)
    }
}

const GOOD: &str = "32";
const ERROR: &str = "31";

fn paint(style: &str, text: &str, colour: bool) -> String {
    if colour { format!("\u{1b}[{style}m{text}\u{1b}[0m") } else { text.to_owned() }
}
