//! What a world can be asked for, and what it shows.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use lazarus::cell::Role;

use crate::lab::PATIENCE;

/// What an agent of a case does. Whatever stays says `here` first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Behaviour {
    /// Stays until it is told to end, then says `told` and ends well.
    Stays,
    /// Says `done` and ends well.
    EndsWell,
    /// Ends with code 7.
    EndsBadly,
    /// Stays, whatever it is told.
    Stubborn,
    /// Writes a line with terminal escapes before `hello`, and ends well.
    WritesEscapes,
    /// Writes its variables, a line each, and ends well.
    TellsVariables,
    /// Prints the file `given` of its mount, then says `written` or `refused` for a file that it tries to make there, and ends well.
    UsesMount,
}

/// What is asked for beyond agents.
#[derive(Debug, Clone, Copy, Default)]
pub struct Wish {
    /// The time to live.
    pub ttl: Option<Duration>,
    /// Whether the cell is kept when that is over.
    pub keep: bool,
    /// Whether a directory with the file `given` (text: `given`) is mounted read-only at `/data`.
    pub mount: bool,
}

/// A refusal: the exit code, and the message of the contract.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// The exit code.
    pub code: i32,
    /// The message.
    pub message: String,
}

/// What was asked for, or why not.
pub type Answer<T> = Result<T, Refused>;

/// A cell as a world shows it.
#[derive(Debug, Clone, PartialEq)]
pub struct Seen {
    /// Its state.
    pub state: String,
    /// The reason that comes with it.
    pub reason: Option<String>,
    /// Whether its time is over.
    pub expired: bool,
    /// Its members and their roles.
    pub members: BTreeMap<String, Role>,
    /// `alive`, `dead` or `none`.
    pub process: String,
    /// Whether it has a pid.
    pub has_pid: bool,
    /// Seconds since it was proposed.
    pub age_seconds: f64,
    /// Its agents: whether each lives, and where its home is.
    pub agents: BTreeMap<String, SeenAgent>,
}

/// An agent as a world shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeenAgent {
    /// Whether it lives.
    pub lives: bool,
    /// Its home.
    pub home: Option<String>,
}

/// What a teardown says that it did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Torn {
    /// Processes that still live.
    pub alive: u64,
    /// What could not be removed.
    pub remained: usize,
    /// Files that were removed.
    pub files: u64,
}

/// A place where cells live.
pub trait World {
    /// Defines an agent, anew if need be.
    fn define(&mut self, agent: &str, behaviour: Behaviour);
    /// Summons defined agents: one alone, several as a team.
    fn summon(&mut self, agents: &[&str], wish: &Wish) -> Answer<String>;
    /// Lets somebody in.
    fn invite(&mut self, cell: &str, guest: &str, role: Role) -> Answer<()>;
    /// Shows a cell.
    fn status(&mut self, cell: &str) -> Answer<Seen>;
    /// The cells that are not over.
    fn listed(&mut self) -> Vec<String>;
    /// Closes a cell, and waits until it is.
    fn close(&mut self, cell: &str, grace: Duration) -> Answer<()>;
    /// Destroys a cell.
    fn destroy(&mut self, cell: &str) -> Answer<Torn>;
    /// Gives a cell more time.
    fn extend(&mut self, cell: &str, by: Duration) -> Answer<()>;
    /// What the cell's agents wrote.
    fn logs(&mut self, cell: &str) -> Vec<String>;
    /// Whether a home that was shown is still there.
    fn home_is_there(&self, home: &str) -> bool;
    /// Lets time pass.
    fn wait(&mut self, time: Duration);
    /// A variable of the operator's environment, which no agent may see: its name and its value.
    fn variable_of_the_operator(&self) -> (String, String);
}

/// What cases ask of a world in one breath.
impl dyn World + '_ {
    /// Defines and summons one agent, without further wishes.
    #[track_caller]
    pub fn one(&mut self, behaviour: Behaviour) -> String {
        self.one_with(behaviour, &Wish::default())
    }

    /// Defines and summons one agent.
    #[track_caller]
    pub fn one_with(&mut self, behaviour: Behaviour, wish: &Wish) -> String {
        self.define("scribe", behaviour);
        self.summon(&["scribe"], wish).expect("summoned")
    }

    /// Shows a cell that is there.
    #[track_caller]
    pub fn see(&mut self, cell: &str) -> Seen {
        self.status(cell).expect("it is there")
    }

    /// Waits until a cell looks as it should.
    #[track_caller]
    pub fn until(&mut self, cell: &str, is_so: impl Fn(&Seen) -> bool) -> Seen {
        let start = Instant::now();
        loop {
            let seen = self.see(cell);
            if is_so(&seen) {
                return seen;
            }
            assert!(start.elapsed() < PATIENCE, "{cell}: {seen:?}");
            self.wait(Duration::from_millis(20));
        }
    }

    /// Waits until a cell is in a state.
    #[track_caller]
    pub fn until_state(&mut self, cell: &str, state: &str) -> Seen {
        self.until(cell, |seen| seen.state == state)
    }

    /// Waits until an agent has written a line.
    #[track_caller]
    pub fn until_said(&mut self, cell: &str, line: &str) {
        let start = Instant::now();
        while !self.logs(cell).iter().any(|said| said == line) {
            assert!(start.elapsed() < PATIENCE, "{cell} never said {line:?}: {:?}", self.logs(cell));
            self.wait(Duration::from_millis(20));
        }
    }
}
