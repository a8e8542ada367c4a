//! Letting go of the machine's root, beside the jail that goes on being made.
//!
//! ```text
//!  reaper: moves into its new root ─"moved"→ … capabilities, limits, Landlock, seccomp … → waits for "gone" → the agent may start
//!  usher:  (the nursery thread, in the same mount namespace)     └→ unmounts what was the root ─"gone"─┘
//! ```
//!
//! To unmount something, the kernel waits until no processor is looking at it any more: as long as much of the jail takes. Until then the
//! machine's root is there, under the new one's `..`: no agent is started before it is known to be gone.

use std::{
    io,
    os::fd::{AsFd, OwnedFd},
};

use rustix::{
    io::{Errno, retry_on_intr},
    mount::{UnmountFlags, unmount},
    net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socketpair},
};

/// What the reaper says once it has moved.
const MOVED: &[u8] = b"moved";

/// Whoever unmounts the old root: a thread in the mount namespace of the reaper, with privileges in it.
#[derive(Debug)]
pub struct Usher(OwnedFd);

/// The reaper's side.
#[derive(Debug)]
pub struct Door(OwnedFd);

/// Makes both sides.
///
/// # Errors
/// What the kernel says.
pub fn pair() -> io::Result<(Usher, Door)> {
    let (one, other) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
    Ok((Usher(one), Door(other)))
}

impl Usher {
    /// Waits until the reaper has moved, unmounts what it left, and says what came of it. Whoever never moves is waited for until it ends.
    pub fn attend(self) {
        let mut said = [0; MOVED.len()];
        let moved = retry_on_intr(|| recv(&self.0, &mut said[..], RecvFlags::empty()));
        if !matches!(moved, Ok((_, length)) if said[..length.min(MOVED.len())] == *MOVED) {
            return;
        }
        // The kernel has moved this thread's root along with the reaper's, and what was the root is mounted over it.
        let gone = unmount("/", UnmountFlags::DETACH);
        let errno = gone.map_or_else(Errno::raw_os_error, |()| 0);
        // A reaper that has ended has no use for it.
        let _ = send(&self.0, &errno.to_ne_bytes(), SendFlags::NOSIGNAL);
    }
}

impl Door {
    /// A side that was handed over.
    pub const fn of(socket: OwnedFd) -> Self {
        Self(socket)
    }

    /// The side, to be handed over.
    pub fn into_socket(self) -> OwnedFd {
        self.0
    }

    /// Says that this process has moved.
    pub(super) fn moved(&self) -> rustix::io::Result<()> {
        send(&self.0, MOVED, SendFlags::NOSIGNAL).map(drop)
    }

    /// Waits until what it left is gone.
    pub(super) fn closed(self) -> io::Result<()> {
        let mut errno = 0_i32.to_ne_bytes();
        let (_, length) = retry_on_intr(|| recv(self.0.as_fd(), &mut errno[..], RecvFlags::empty()))?;
        match i32::from_ne_bytes(errno) {
            _ if length != errno.len() => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "whoever was to unmount it is gone")),
            0 => Ok(()),
            errno => Err(io::Error::from_raw_os_error(errno)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(bytes: &[u8]) -> Result<(), String> {
        let (usher, door) = pair().expect("pair");
        door.moved().expect("said");
        let mut said = [0; 16];
        recv(&usher.0, &mut said[..], RecvFlags::empty()).expect("heard");
        send(&usher.0, bytes, SendFlags::NOSIGNAL).expect("sent");
        drop(usher);
        door.closed().map_err(|error| error.to_string())
    }

    #[test]
    fn only_a_whole_word_is_a_yes() {
        assert_eq!(answer(&0_i32.to_ne_bytes()), Ok(()), "the twin");
        assert!(answer(&libc::EPERM.to_ne_bytes()).is_err_and(|error| error.contains("not permitted")));
        for less in [&[][..], &[0], &[0; 3]] {
            assert!(answer(less).is_err_and(|error| error.contains("is gone")), "{less:?}");
        }
    }

    #[test]
    fn an_usher_does_nothing_before_somebody_moved() {
        for words in [&b""[..], b"move", b"gone!"] {
            let (usher, door) = pair().expect("pair");
            send(&door.0, words, SendFlags::NOSIGNAL).expect("sent");
            usher.attend();
            assert!(door.closed().is_err(), "{words:?}");
        }
    }
}
