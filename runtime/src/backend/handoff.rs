//! Starting a hidden subcommand of this program, with a description of its work and the descriptors for it.
//!
//! Nothing of it is on the command line or in the environment, which others can read: the description is in a sealed piece of
//! memory that the child inherits, and the command line holds two numbers of descriptors.

use std::{
    fs::File,
    io::{self, Read, Write},
    os::{
        fd::{AsRawFd, OwnedFd, RawFd},
        unix::process::CommandExt,
    },
    process::{Child, Command},
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
    /// The description.
    #[error("understand the description of the work")]
    Spec(#[source] serde_json::Error),
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

    /// Starts this program's hidden `subcommand`, with an empty environment. `prepare` sets its standard streams.
    ///
    /// The child is bound to the calling *thread*: see [`super::nursery`].
    ///
    /// # Errors
    /// What the kernel says.
    pub fn spawn<S: Serialize>(self, subcommand: &str, spec: &S, prepare: impl FnOnce(&mut Command)) -> io::Result<Child> {
        let spec = beyond_streams(seal(spec)?)?;
        let mut command = Command::new(OWN_PROGRAM);
        command.arg0("lazarus").arg(subcommand).env_clear().current_dir("/");
        command.arg("--handoff").arg(spec.as_raw_fd().to_string()).arg("--socket").arg(self.socket.as_raw_fd().to_string());
        prepare(&mut command);
        let _guard = SPAWNING.lock().unwrap_or_else(PoisonError::into_inner);
        let cleared = [&spec, &self.socket].into_iter().chain(&self.descriptors).try_for_each(|open| fcntl_setfd(open, FdFlags::empty()));
        let child = cleared.map_err(io::Error::from).and_then(|()| command.spawn());
        // While the lock is held: whatever is started next does not find them open.
        drop((self, spec));
        child
    }
}

fn beyond_streams(descriptor: OwnedFd) -> io::Result<OwnedFd> {
    if descriptor.as_raw_fd() >= FIRST_FREE { Ok(descriptor) } else { Ok(fcntl_dupfd_cloexec(&descriptor, FIRST_FREE)?) }
}

fn seal<S: Serialize>(spec: &S) -> io::Result<OwnedFd> {
    let memory = memfd_create("handoff", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
    let mut file = File::from(memory);
    file.write_all(&serde_json::to_vec(spec)?)?;
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

/// In the child: takes over the description.
///
/// # Errors
/// A number that was not passed on, and a description that is not of this type.
pub fn receive<S: DeserializeOwned>(number: RawFd) -> Result<S, HandoffError> {
    let file = File::from(take(number)?);
    let mut text = Vec::new();
    file.take(SPEC_MOST_BYTES).read_to_end(&mut text).map_err(|source| HandoffError::Take { number, source })?;
    serde_json::from_slice(&text).map_err(HandoffError::Spec)
}
