//! What an attempt saw of its own end: told by the attacker, or found by whoever started it.

use std::{fmt, io};

use serde::{Deserialize, Serialize};

use super::Death;
use crate::cell::text::one_line;

/// Bytes of what an attacker says it got. Enough for a secret and what stands around it.
const SAID_MOST_BYTES: usize = 2048;
/// Bytes of it that people are shown.
const SHOWN_MOST_BYTES: usize = 100;

/// How an attempt ended, as far as it could see itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "seen", rename_all = "lowercase")]
pub enum Seen {
    /// It went through.
    Succeeded {
        /// What it got, bounded.
        said: String,
    },
    /// A system call failed.
    Errno {
        /// The error number.
        number: i32,
    },
    /// Its process was ended by a signal.
    Signal {
        /// Its number.
        number: i32,
    },
    /// It was ended for a limit.
    Limit {
        /// The name of the limit.
        limit: String,
    },
    /// It was refused, in words.
    Refused {
        /// The words, bounded.
        message: String,
    },
    /// It did not come to an end in the time that it had.
    Stuck,
    /// There is no word of it, and it should have left one.
    Untold {
        /// What is known instead.
        message: String,
    },
}

impl Seen {
    /// What an act returned.
    pub fn of(result: io::Result<String>) -> Self {
        match result {
            Ok(said) => Self::succeeded(&said),
            Err(error) => match error.raw_os_error() {
                Some(number) => Self::Errno { number },
                None => Self::refused(&error.to_string()),
            },
        }
    }

    /// It went through, and got this.
    pub fn succeeded(said: &str) -> Self {
        Self::Succeeded { said: said.chars().take(SAID_MOST_BYTES).collect() }
    }

    /// It was refused in these words.
    pub fn refused(message: &str) -> Self {
        Self::Refused { message: one_line(message, SAID_MOST_BYTES) }
    }

    /// There is no word of it.
    pub fn untold(message: &str) -> Self {
        Self::Untold { message: one_line(message, SAID_MOST_BYTES) }
    }

    /// Whether it went through.
    pub const fn is_success(&self) -> bool {
        matches!(self, Self::Succeeded { .. })
    }

    /// The words that came with it; empty where there are none.
    pub fn words(&self) -> &str {
        match self {
            Self::Succeeded { said } => said,
            Self::Refused { message } | Self::Untold { message } => message,
            Self::Errno { .. } | Self::Signal { .. } | Self::Limit { .. } | Self::Stuck => "",
        }
    }

    /// Whether this is that way to die.
    pub fn is(&self, death: Death) -> bool {
        match (death, self) {
            (Death::Errno(wanted), Self::Errno { number }) | (Death::Signal(wanted), Self::Signal { number }) => wanted == *number,
            (Death::Limit(wanted), Self::Limit { limit }) => wanted == limit,
            (Death::Refused(wanted), Self::Refused { message }) => message.contains(wanted),
            (Death::Harmless, Self::Succeeded { .. }) => true,
            (Death::Errno(_) | Death::Signal(_) | Death::Limit(_) | Death::Refused(_) | Death::Harmless, _) => false,
        }
    }
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Succeeded { said } if said.is_empty() => f.write_str("it went through"),
            Self::Succeeded { said } => write!(f, "it went through: {}", one_line(said, SHOWN_MOST_BYTES)),
            Self::Errno { number } => f.write_str(&errno_name(*number)),
            Self::Signal { number } => f.write_str(&signal_name(*number)),
            Self::Limit { limit } => write!(f, "ended at its limit of {limit}"),
            Self::Refused { message } => write!(f, "refused: {}", one_line(message, SHOWN_MOST_BYTES)),
            Self::Stuck => f.write_str("no end in the time that it had"),
            Self::Untold { message } => write!(f, "no word of it: {}", one_line(message, SHOWN_MOST_BYTES)),
        }
    }
}

macro_rules! names {
    ($number:expr; $($name:ident)+) => {
        match $number {
            $(libc::$name => stringify!($name).to_owned(),)+
            other => other.to_string(),
        }
    };
}

/// The kernel's name of an error.
pub fn errno_name(number: i32) -> String {
    names!(number; EPERM ENOENT ESRCH EINTR EIO ENXIO E2BIG EBADF ECHILD EAGAIN ENOMEM EACCES EFAULT EBUSY EEXIST EXDEV ENODEV ENOTDIR
        EISDIR EINVAL ENFILE EMFILE ENOTTY EFBIG ENOSPC ESPIPE EROFS EMLINK EPIPE ENAMETOOLONG ENOSYS ENOTEMPTY ELOOP EDQUOT EOPNOTSUPP
        EAFNOSUPPORT EPROTONOSUPPORT ENETUNREACH EHOSTUNREACH ECONNREFUSED ETIMEDOUT EADDRNOTAVAIL ENETDOWN)
}

/// The kernel's name of a signal.
pub fn signal_name(number: i32) -> String {
    names!(number; SIGHUP SIGINT SIGQUIT SIGILL SIGTRAP SIGABRT SIGBUS SIGFPE SIGKILL SIGSEGV SIGPIPE SIGALRM SIGTERM SIGXCPU SIGXFSZ SIGSYS
        SIGSTOP)
}

/// What an attempt said last: the last of its lines that is an answer.
pub fn parse(said: &[u8]) -> Option<Seen> {
    said.split(|byte| *byte == b'\n').rev().find_map(|line| serde_json::from_slice(line).ok())
}
