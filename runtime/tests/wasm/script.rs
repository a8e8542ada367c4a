//! File-system calls as a list, made by a guest one after the other: the same list as a preview 1 module and as a component.

use lazarus::backend::Launch;

use crate::{fixture, script_component, script_module};

/// One call. Paths are below the first directory that the guest was given; slots hold what is open.
#[derive(Debug, Clone, Copy)]
pub enum Op {
    Mkdir(&'static str),
    Rmdir(&'static str),
    Unlink(&'static str),
    Rename(&'static str, &'static str),
    Link(&'static str, &'static str),
    /// What it leads to, and its name.
    Symlink(&'static str, &'static str),
    /// A link from the first directory into the second, which must be of another place.
    LinkAcross(&'static str, &'static str),
    RenameAcross(&'static str, &'static str),
    /// Opens to read and write.
    Open(u32, &'static str, How),
    Close(u32),
    /// Writes so many bytes at a place.
    Write(u32, u64, u32),
    /// As a stream of it does, or at the place where the descriptor stands (preview 1: the first is that, whatever the way).
    Stream(u32, Way, u32),
    Size(u32, u64),
    /// Opens the first directory again so many times, and lists one name of each; all stay open. What it comes to is that of the last.
    Listings(u32),
    /// Lists the first directory: it must have exactly so many names, each of a file.
    Count(u32),
    /// Lists the first directory, and removes each name, which must be a file, as it comes.
    Empty,
}

/// How something is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    Existing,
    Create,
    Exclusive,
    Truncate,
    /// Made, and emptied.
    Anew,
    /// To be appended to (preview 1), made if there is none.
    Append,
}

/// The ways in which a stream is written to. Each stream is opened for its write, at the start of the file, and closed after.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    Blocking,
    Plain,
    Zeroes,
    BlockingZeroes,
    /// From the start of what is open in slot 9.
    Splice,
    BlockingSplice,
    /// At the end.
    Append,
}

/// What came of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Got {
    Done,
    NoSpace,
    Exists,
    Missing,
    /// Between two places.
    Crosses,
    /// One more is open than may be.
    TooMany,
    /// Any other error, as its surface numbers it.
    Other(u8),
}

/// Where WASI is met.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Surface {
    Preview1,
    Component,
}

pub const SURFACES: [Surface; 2] = [Surface::Preview1, Surface::Component];

impl Surface {
    /// A guest that makes these calls, and then ends well.
    pub fn launch(self, name: &str, ops: &[Op]) -> Launch {
        match self {
            Self::Preview1 => fixture::launch(name, &script_module::module(ops)),
            Self::Component => fixture::launch_binary(name, &script_component::component(ops)),
        }
    }

    /// What came of each call.
    pub fn read(self, stdout: &[u8]) -> Vec<Got> {
        let got = |byte: &u8| match (self, *byte) {
            (_, 0) => Got::Done,
            (Self::Preview1, 51) | (Self::Component, 24) => Got::NoSpace,
            (Self::Preview1, 20) | (Self::Component, 8) => Got::Exists,
            (Self::Preview1, 44) | (Self::Component, 21) => Got::Missing,
            (Self::Preview1, 75) | (Self::Component, 37) => Got::Crosses,
            (Self::Preview1, 33) | (Self::Component, 14) => Got::TooMany,
            (Self::Preview1 | Self::Component, other) => Got::Other(other),
        };
        stdout.iter().map(got).collect()
    }
}

/// Texts at addresses of a guest.
#[derive(Debug)]
pub struct Texts {
    next: usize,
    pub data: String,
}

impl Texts {
    pub const fn from(at: usize) -> Self {
        Self { next: at, data: String::new() }
    }

    /// A text, as its address and its length.
    pub fn put(&mut self, text: &str) -> String {
        let at = self.next;
        self.next += text.len();
        self.data.push_str(&crate::wat::data(at, text));
        format!("(i32.const {at}) (i32.const {})", text.len())
    }
}
