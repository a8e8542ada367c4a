//! What a promise is about: a path, a variable, an address, a limit, or one of the general walls.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::Access;

/// Declares a closed enum whose variants are words, as they are written in definitions, on command lines and in JSON.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $word:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum $name {
            $($(#[$variant_doc])* #[serde(rename = $word)] $variant,)+
        }

        impl $name {
            /// Every one, in the order of the declaration.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The word as it is written everywhere.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)+
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }
    };
}

words! {
    /// As what an agent was given a path.
    Granted {
        /// Its home.
        Home = "home",
        /// What the members of its cell share.
        Shared = "shared",
        /// A path of the machine, to read and execute from.
        Read = "read",
        /// A mount.
        Mount = "mount",
        /// A directory in memory, of its own: `/tmp`.
        Scratch = "scratch",
        /// This program, to speak with its cell from a shell.
        Client = "client",
        /// A device that holds nothing of anyone's.
        Device = "device",
        /// A small file or file system that is made up for it: `/etc/passwd`, `/proc`.
        Made = "made",
    }
}

words! {
    /// Whom an agent could reach, but for files.
    Address {
        /// Networks, and services that listen on sockets.
        Network = "network",
        /// Its own cell.
        Cell = "cell",
    }
}

words! {
    /// A limit, as definitions and command lines call it; the last few are limits of the cell.
    LimitName {
        /// Memory.
        Memory = "memory",
        /// Elements of tables.
        TableElements = "table-elements",
        /// Core instances, memories and tables.
        Instances = "instances",
        /// The stack.
        Stack = "stack",
        /// CPU time.
        Cpu = "cpu",
        /// Time on the wall of one event.
        Event = "event",
        /// Time without an event, after which memory is dropped.
        Idle = "idle",
        /// Messages that wait.
        Messages = "messages",
        /// Bytes that one host call may allocate.
        Hostcall = "hostcall",
        /// Random bytes a call.
        Random = "random",
        /// Open descriptors.
        OpenFiles = "open-files",
        /// Processes and threads.
        Processes = "processes",
        /// Bytes below the home, and of one file.
        Home = "home",
        /// Files, directories and links below the home.
        Files = "files",
        /// Bytes of log.
        Log = "log",
        /// The cell's time to live.
        Ttl = "ttl",
        /// How long a foreground run may take.
        Timeout = "timeout",
    }
}

words! {
    /// A general wall: what is denied to every agent, whatever its policy says.
    Wall {
        /// No file but those that were granted.
        Files = "files",
        /// No process but its own is seen, signalled or traced.
        Processes = "processes",
        /// No privileges, and no way to gain any.
        Privileges = "privileges",
        /// No system call that it does not need, or that is dangerous.
        Calls = "calls",
        /// No descriptor that it was not given.
        Descriptors = "descriptors",
        /// No variable that it was not given.
        Environment = "environment",
        /// Standard streams that lead where they should.
        Streams = "streams",
        /// No memory and no message queue is shared with other programs.
        Ipc = "ipc",
        /// Nothing of it is left when it ends, or when its warden does.
        Teardown = "teardown",
        /// The agents of one host are kept apart.
        Neighbours = "neighbours",
    }
}

/// What a promise is about.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "kind")]
pub enum Subject {
    /// A path.
    Path {
        /// As the agent sees it.
        path: PathBuf,
        /// What can be done with it.
        access: Access,
        /// As what it was given.
        granted: Granted,
    },
    /// A variable. Its value is on no record.
    Variable {
        /// Its name.
        name: String,
    },
    /// Whom it could reach.
    Address {
        /// Whom.
        what: Address,
    },
    /// A limit.
    Limit {
        /// Which.
        name: LimitName,
        /// How much, for people.
        value: String,
    },
    /// A general wall.
    Wall {
        /// Which.
        which: Wall,
    },
    /// Not said: in a report of a version of Lazarus that named no subjects.
    #[default]
    Unnamed,
}

impl Subject {
    /// A path, as the agent sees it.
    pub fn path(path: impl AsRef<Path>, access: Access, granted: Granted) -> Self {
        Self::Path { path: path.as_ref().to_owned(), access, granted }
    }

    /// A variable.
    pub fn variable(name: impl Into<String>) -> Self {
        Self::Variable { name: name.into() }
    }

    /// A limit.
    pub fn limit(name: LimitName, value: impl fmt::Display) -> Self {
        Self::Limit { name, value: value.to_string() }
    }
}

impl From<Wall> for Subject {
    fn from(which: Wall) -> Self {
        Self::Wall { which }
    }
}

impl From<Address> for Subject {
    fn from(what: Address) -> Self {
        Self::Address { what }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // Where it will be is not known yet.
            Self::Path { path, access, granted } if path.as_os_str().is_empty() => write!(f, "{granted} ({access})"),
            Self::Path { path, access, granted } => write!(f, "{granted} {} ({access})", path.display()),
            Self::Variable { name } => write!(f, "variable {name}"),
            Self::Address { what } => write!(f, "{what}"),
            Self::Limit { name, value } => write!(f, "limit {name} = {value}"),
            Self::Wall { which } => write!(f, "{which}"),
            Self::Unnamed => f.write_str("unnamed"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_home_without_a_place_yet_is_named_without_one() {
        let home = |path: &str| Subject::path(path, Access::Rw, Granted::Home).to_string();
        assert_eq!((home(""), home("/home")), ("home (rw)".to_owned(), "home /home (rw)".to_owned()));
    }
}
