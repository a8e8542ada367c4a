//! Starting a hidden subcommand of this program, or of the small one that is made of it, with a description of its work and the descriptors for it.
//!
//! Nothing of it is on the command line or in the environment, which others can read: the description is in a sealed piece of
//! memory that the child inherits, and the command line holds two numbers of descriptors. Its first line names the build that wrote it:
//! programs that do not belong together say so, and do nothing.

use std::{
    ffi::OsString,
    fs::File,
    io::{self, Read, Write},
    os::{
        fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd},
        unix::process::CommandExt,
    },
    process::{Child, Command, ExitCode},
    sync::{Mutex, PoisonError},
};

use rustix::{
    fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create},
    io::{FdFlags, fcntl_dupfd_cloexec, fcntl_setfd},
};
use serde::{Serialize, de::DeserializeOwned};

use crate::unchecked;

/// Bytes of a description: its environment and its mounts, with room to spare.
const SPEC_MOST_BYTES: u64 = 8 * 1024 * 1024;
/// The first number beyond the standard streams, which the child's own streams will replace.
const FIRST_FREE: RawFd = 3;
/// This very program, also when its file was replaced since it was started.
const OWN_PROGRAM: &str = "/proc/self/exe";
/// Which build this program is of: its version, and a digest of its sources.
const BUILD: &str = env!("LAZARUS_BUILD");
/// Characters of another build's name that are repeated.
const BUILD_MOST_CHARS: usize = 64;
/// What ends the first line.
const LINE_ENDS: u8 = b'\n';
/// The exit code of somebody who ran a hidden command by hand: the same as of any other command that does not exist.
const USAGE: u8 = 2;

/// Held while descriptors can be inherited, so that no other child of this process is started meanwhile and gets them, too.
static SPAWNING: Mutex<()> = Mutex::new(());

/// Why a description was not understood.
#[derive(Debug, thiserror::Error)]
pub enum HandoffError {
    /// A descriptor that was not passed on, or what the kernel said about it.
    #[error("take over descriptor {number}")]
    Take {
        /// Its number.
        number: RawFd,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// What follows a child did not arrive.
    #[error("receive the work")]
    Parcel(#[source] io::Error),
    /// A descriptor that the description names, and that did not come with it.
    #[error("take over descriptor {number} of the work: it was not enclosed, or was taken out already")]
    NotEnclosed {
        /// Its place.
        number: usize,
    },
    /// The description.
    #[error("understand the description of the work")]
    Spec(#[source] serde_json::Error),
    /// Another build wrote it.
    #[error(
        "take over the work: this program is of build {BUILD}, and was started by one of build {theirs}; install both programs of one build"
    )]
    Build {
        /// The build of whoever wrote it, bounded and without odd characters.
        theirs: String,
    },
}

/// What a child gets: the message socket, and descriptors that its description names by number.
#[derive(Debug)]
pub struct Handoff {
    socket: OwnedFd,
    descriptors: Vec<OwnedFd>,
}

impl Handoff {
    /// A handoff of the child's end of a message socket.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn new(socket: OwnedFd) -> io::Result<Self> {
        Ok(Self { socket: beyond_streams(socket)?, descriptors: Vec::new() })
    }

    /// Adds a descriptor, and returns its number in the child.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn pass(&mut self, descriptor: OwnedFd) -> io::Result<RawFd> {
        let descriptor = beyond_streams(descriptor)?;
        let number = descriptor.as_raw_fd();
        self.descriptors.push(descriptor);
        Ok(number)
    }

    /// Starts the hidden `subcommand` of `program` (`None`: this very program), with an empty environment. `prepare` sets its standard
    /// streams.
    ///
    /// The child is bound to the calling *thread*: see [`super::nursery`].
    ///
    /// # Errors
    /// What the kernel says.
    pub fn spawn<S: Serialize>(
        self,
        program: Option<BorrowedFd<'_>>,
        subcommand: &str,
        spec: &S,
        prepare: impl FnOnce(&mut Command),
    ) -> io::Result<Child> {
        let spec = beyond_streams(seal(spec)?)?;
        let named = [("--handoff", &spec), ("--socket", &self.socket)];
        let child = launch(program, subcommand, &named, &self.descriptors, prepare);
        drop((self, spec));
        child
    }
}

/// Starts the hidden `subcommand` of `program` as [`Handoff::spawn`] does, with its end of a message socket alone: what it shall do follows as a
/// [`super::parcel`].
///
/// # Errors
/// What the kernel says.
pub fn start(program: Option<BorrowedFd<'_>>, subcommand: &str, socket: OwnedFd, prepare: impl FnOnce(&mut Command)) -> io::Result<Child> {
    launch(program, subcommand, &[("--socket", &beyond_streams(socket)?)], &[], prepare)
}

/// Starts a program with some descriptors that its arguments name, and some that they do not.
fn launch(
    program: Option<BorrowedFd<'_>>,
    subcommand: &str,
    named: &[(&str, &OwnedFd)],
    others: &[OwnedFd],
    prepare: impl FnOnce(&mut Command),
) -> io::Result<Child> {
    // By its descriptor, which the child still has when it executes it, and which is closed then.
    let program = program.map_or_else(|| OWN_PROGRAM.to_owned(), |program| format!("/proc/self/fd/{}", program.as_raw_fd()));
    let mut command = Command::new(program);
    command.arg0("lazarus").arg(subcommand).env_clear().current_dir("/");
    for (name, descriptor) in named {
        command.arg(name).arg(descriptor.as_raw_fd().to_string());
    }
    prepare(&mut command);
    let passed = || named.iter().map(|(_, descriptor)| *descriptor).chain(others);
    let _guard = SPAWNING.lock().unwrap_or_else(PoisonError::into_inner);
    let cleared = passed().try_for_each(|open| fcntl_setfd(open, FdFlags::empty()));
    let child = cleared.map_err(io::Error::from).and_then(|()| command.spawn());
    // While the lock is held: whatever is started next does not find them open.
    let restored = passed().try_for_each(|open| fcntl_setfd(open, FdFlags::CLOEXEC));
    debug_assert!(restored.is_ok());
    child
}

fn beyond_streams(descriptor: OwnedFd) -> io::Result<OwnedFd> {
    if descriptor.as_raw_fd() >= FIRST_FREE { Ok(descriptor) } else { Ok(fcntl_dupfd_cloexec(&descriptor, FIRST_FREE)?) }
}

/// Writes a description into memory that nobody can change any more.
pub(super) fn seal<S: Serialize>(spec: &S) -> io::Result<OwnedFd> {
    let memory = memfd_create("handoff", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
    let mut file = File::from(memory);
    let mut text = Vec::from(BUILD);
    text.push(LINE_ENDS);
    serde_json::to_writer(&mut text, spec)?;
    file.write_all(&text)?;
    io::Seek::rewind(&mut file)?;
    fcntl_add_seals(&file, SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL)?;
    Ok(file.into())
}

/// In the child: takes over a descriptor by its number.
///
/// # Errors
/// A number that was not passed on, or was taken already.
pub fn take(number: RawFd) -> Result<OwnedFd, HandoffError> {
    unchecked::inherited_fd(number).map_err(|source| HandoffError::Take { number, source })
}

/// A description that was handed over, as it was written.
#[derive(Debug)]
pub struct Description {
    text: Vec<u8>,
}

impl Description {
    /// In the child: takes it over.
    ///
    /// # Errors
    /// A number that was not passed on.
    pub fn take(number: RawFd) -> Result<Self, HandoffError> {
        Self::read(take(number)?)
    }

    /// Reads it from its memory.
    pub(super) fn read(memory: OwnedFd) -> Result<Self, HandoffError> {
        let mut text = Vec::new();
        File::from(memory).take(SPEC_MOST_BYTES).read_to_end(&mut text).map_err(HandoffError::Parcel)?;
        Ok(Self { text })
    }

    /// Understands it.
    ///
    /// # Errors
    /// It is of another build, or not of this type.
    pub fn understand<S: DeserializeOwned>(&self) -> Result<S, HandoffError> {
        let (build, spec) = self.parts();
        if build != BUILD.as_bytes() {
            return Err(HandoffError::Build { theirs: build.escape_ascii().to_string().chars().take(BUILD_MOST_CHARS).collect() });
        }
        serde_json::from_slice(spec).map_err(HandoffError::Spec)
    }

    /// As [`Self::understand`], whichever build wrote it: for as much as is needed to say to whom it was refused.
    pub fn understand_of_any_build<S: DeserializeOwned>(&self) -> Option<S> {
        serde_json::from_slice(self.parts().1).ok()
    }

    fn parts(&self) -> (&[u8], &[u8]) {
        let ends = self.text.iter().position(|byte| *byte == LINE_ENDS).unwrap_or(self.text.len());
        (&self.text[..ends], self.text.get(ends + 1..).unwrap_or_default())
    }
}

/// In the child: takes over the description, and understands it.
///
/// # Errors
/// As [`Description::take`] and [`Description::understand`].
pub fn receive<S: DeserializeOwned>(number: RawFd) -> Result<S, HandoffError> {
    Description::take(number)?.understand()
}

/// The number of a descriptor that an argument names.
fn number(args: &[OsString], at: usize, name: &str) -> Option<RawFd> {
    let named = args.get(at).is_some_and(|arg| arg == name);
    if named { args.get(at + 1)?.to_str()?.parse().ok() } else { None }
}

fn by_hand() -> ExitCode {
    eprintln!("error: this subcommand is started by Lazarus itself");
    ExitCode::from(USAGE)
}

/// Runs a hidden subcommand with the two descriptors that its arguments name: `lazarus SUBCOMMAND --handoff N --socket M`.
pub fn handed_over(args: &[OsString], main: impl FnOnce(RawFd, RawFd) -> ExitCode) -> ExitCode {
    match (number(args, 2, "--handoff"), number(args, 4, "--socket")) {
        (Some(handoff), Some(socket)) => main(handoff, socket),
        _ => by_hand(),
    }
}

/// Runs a hidden subcommand whose work follows: `lazarus SUBCOMMAND --socket M`.
pub fn followed(args: &[OsString], main: impl FnOnce(RawFd) -> ExitCode) -> ExitCode {
    number(args, 2, "--socket").map_or_else(by_hand, main)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(build: &str) -> Description {
        Description { text: [build.as_bytes(), b"\n{\"agent\":\"scribe\"}"].concat() }
    }

    #[derive(Debug, PartialEq, Eq, serde::Deserialize)]
    struct Named {
        agent: String,
    }

    #[test]
    fn what_another_build_wrote_is_refused_and_says_for_whom_it_was() {
        let named = || Named { agent: "scribe".to_owned() };
        assert_eq!(written(BUILD).understand::<Named>().expect("the twin"), named());
        for build in ["0.0.9-0123456789abcdef", "", &BUILD[1..], &format!("{BUILD}0")] {
            let other = written(build);
            let refused = other.understand::<Named>();
            assert!(matches!(&refused, Err(HandoffError::Build { theirs }) if theirs == build), "{refused:?}");
            assert_eq!(other.understand_of_any_build(), Some(named()));
        }
        let garbage = Description { text: vec![0xff; 10_000] };
        let refused = garbage.understand::<Named>().map_err(|error| error.to_string()).expect_err("no build");
        assert!(refused.len() < 300, "{refused}");
        assert_eq!(garbage.understand_of_any_build::<Named>(), None);
    }
}
