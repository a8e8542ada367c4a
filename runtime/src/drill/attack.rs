//! One row of the catalogue: an attack, the twin that is allowed, and how the attack must die.

use std::{fmt, io};

use serde::Serialize;

use super::{Seen, Stage};

/// The classes of attack that a cell must withstand. Closed: a new class is a new kind of promise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Class {
    /// Reaching files by name.
    Paths,
    /// Reaching files by what is open.
    Descriptors,
    /// Variables, command lines, core dumps.
    Environment,
    /// Taking memory.
    Memory,
    /// Taking the processor.
    Cpu,
    /// Taking the disk.
    Disk,
    /// Flooding and forging logs.
    Logs,
    /// Reaching a network, a service or a kernel interface that is one.
    Network,
    /// Reaching other cells, their processes and the machine.
    Neighbours,
    /// Names and races that meet the registry.
    Registry,
    /// Programs and definitions that changed on the way.
    Supply,
}

impl Class {
    /// Every class, in the order in which they are shown.
    pub const ALL: [Self; 11] = [
        Self::Paths,
        Self::Descriptors,
        Self::Environment,
        Self::Memory,
        Self::Cpu,
        Self::Disk,
        Self::Logs,
        Self::Network,
        Self::Neighbours,
        Self::Registry,
        Self::Supply,
    ];

    /// The class as one word; names of its attacks begin with it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Paths => "paths",
            Self::Descriptors => "descriptors",
            Self::Environment => "environment",
            Self::Memory => "memory",
            Self::Cpu => "cpu",
            Self::Disk => "disk",
            Self::Logs => "logs",
            Self::Network => "network",
            Self::Neighbours => "neighbours",
            Self::Registry => "registry",
            Self::Supply => "supply",
        }
    }

    /// The class that a name begins with: `paths/…`. In a table, a name of no class does not compile.
    ///
    /// # Panics
    /// A name that begins with no class.
    pub const fn of(name: &str) -> Self {
        let mut at = 0;
        while at < Self::ALL.len() {
            if begins(name.as_bytes(), Self::ALL[at].as_str().as_bytes()) {
                return Self::ALL[at];
            }
            at += 1;
        }
        // Past the end: there is no such class, and nothing that could be returned in its place.
        Self::ALL[at]
    }
}

/// Whether a name is this word, a slash, and more.
const fn begins(name: &[u8], word: &[u8]) -> bool {
    let mut at = 0;
    while at < word.len() {
        if at >= name.len() || name[at] != word[at] {
            return false;
        }
        at += 1;
    }
    name.len() > word.len() && name[word.len()] == b'/'
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// What an attacker does in its jail: arguments in, what it gained or the error out.
pub type Act = fn(&[String]) -> io::Result<String>;

/// What the trusted side does for an attack that needs a cell, or a command, of its own: it starts it, waits, looks, and says what was seen.
pub type Drive = fn(&Stage, &[String]) -> io::Result<Seen>;

/// Makes the text of a guest (WebAssembly text) from its arguments.
pub type Guest = fn(&[String]) -> String;

/// Which cell a process attacker is in.
#[derive(Debug, Clone, Copy)]
pub enum Cell {
    /// The one that all share whose attacks leave their attacker and its neighbours alive.
    Common,
    /// One that takes part in its cell's talk: it is summoned, and may connect to its cell.
    Speaking,
    /// One of its own for the attack and one for its twin, with these options of `lazarus run`.
    Own(&'static [&'static str]),
}

/// Where an attack is made, and by what.
#[derive(Debug, Clone, Copy)]
pub enum Arena {
    /// By a process agent, in its jail.
    Process {
        /// What it does.
        act: Act,
        /// In which cell.
        cell: Cell,
    },
    /// By a process agent that the trusted side starts, watches and tears down in a way of its own.
    Driven {
        /// What the trusted side does.
        drive: Drive,
    },
    /// By a WASI guest, behind wasmtime: a component.
    Component {
        /// Its text.
        guest: Guest,
        /// Options of `lazarus run`; templates.
        options: &'static [&'static str],
    },
    /// By a WASI guest, behind wasmtime: a preview 1 core module.
    Preview1 {
        /// Its text.
        guest: Guest,
        /// Options of `lazarus run`; templates.
        options: &'static [&'static str],
    },
    /// By the wasm host itself, from inside its jail and without wasm: the first wall is assumed fallen.
    Fallen {
        /// What it does.
        act: Act,
    },
    /// On what the trusted side does with names, files and rows that strangers chose.
    Trusted {
        /// What is tried.
        drive: Drive,
    },
}

impl Arena {
    /// The arena as one word.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Process { .. } | Self::Driven { .. } => "process",
            Self::Component { .. } => "component",
            Self::Preview1 { .. } => "preview1",
            Self::Fallen { .. } => "fallen",
            Self::Trusted { .. } => "trusted",
        }
    }

    /// Whose walls are attacked: a backend's, or those of the trusted side itself.
    pub const fn backend(&self) -> &'static str {
        match self {
            Self::Process { .. } | Self::Driven { .. } => "process",
            Self::Component { .. } | Self::Preview1 { .. } | Self::Fallen { .. } => "wasm",
            Self::Trusted { .. } => "none",
        }
    }
}

/// A way in which an attack may die. Anything else is not HELD.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Death {
    /// A system call failed with this error number.
    Errno(i32),
    /// The attacker was ended by this signal.
    Signal(i32),
    /// Its cell was ended for this limit.
    Limit(&'static str),
    /// It was refused, in words that contain these.
    Refused(&'static str),
    /// It goes through and does no harm: the canaries alone decide.
    Harmless,
}

/// What an attacker achieved, in the words that reviewers know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Outcome {
    /// It died as it must, its twin succeeded, and every canary is as it was.
    Held,
    /// No outcome: the twin failed, or the attack died in another way than it must. The drill cannot say, and so does not pass.
    Broken,
    /// Something trusted died, or stopped answering.
    Crash,
    /// It got bytes that are not its own.
    Read,
    /// It changed something that is not its own.
    Write,
    /// It acted outside of its cell: a process, a network, a life after its end.
    Escape,
}

impl Outcome {
    /// The outcome as reviewers write it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Held => "HELD",
            Self::Broken => "BROKEN",
            Self::Crash => "CRASH",
            Self::Read => "READ",
            Self::Write => "WRITE",
            Self::Escape => "ESCAPE",
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A named attack.
///
/// Arguments are templates: `{outside}` and its like stand for what the [`Ground`](super::Ground) has under that name.
#[derive(Debug, Clone, Copy)]
pub struct Attack {
    /// `class/what`, unique in its arena.
    pub name: &'static str,
    /// Its class.
    pub class: Class,
    /// What it tries, as one sentence without a full stop.
    pub what: &'static str,
    /// Where, and by what.
    pub arena: Arena,
    /// The arguments of the attack.
    pub attack: &'static [&'static str],
    /// The arguments of the twin: one of them differs, and it must succeed.
    pub twin: &'static [&'static str],
    /// How the attack must die: in one of these ways.
    pub dies: &'static [Death],
    /// What it is if it succeeds.
    pub gain: Outcome,
    /// Words of the promise, in the cell's enforcement report, that holds it; where that says "partly" or "not", a success is as reported.
    pub promise: Option<&'static str>,
}

impl Attack {
    /// The same in a cell that takes part in its cell's talk.
    pub(super) const fn speaking(self) -> Self {
        self.in_cell(Cell::Speaking)
    }

    const fn in_cell(self, cell: Cell) -> Self {
        match self.arena {
            Arena::Process { act, .. } => Self { arena: Arena::Process { act, cell }, ..self },
            Arena::Driven { .. } | Arena::Component { .. } | Arena::Preview1 { .. } | Arena::Fallen { .. } | Arena::Trusted { .. } => self,
        }
    }

    /// The same in a cell of its own, with these options of `lazarus run`; its twin in another.
    pub(super) const fn alone(self, options: &'static [&'static str]) -> Self {
        self.in_cell(Cell::Own(options))
    }

    /// The same, held by the promise with these words.
    pub(super) const fn promised(self, words: &'static str) -> Self {
        Self { promise: Some(words), ..self }
    }

    /// Whether a word of `--only` chooses it: its class, its arena, or a beginning of its name.
    pub fn is_chosen_by(&self, word: &str) -> bool {
        self.class.as_str() == word || self.arena.as_str() == word || self.name.starts_with(word)
    }
}
