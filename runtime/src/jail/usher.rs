//! Covering what `/proc` shows of the machine, and letting go of the machine's root, beside the jail that goes on being made.
//!
//! ```text
//!  reaper: mounts /proc ─"proc"→ … mounts … → moves into its new root ─"moved"→ … Landlock, seccomp … → waits for "gone" → the agent may start
//!  usher:  (nursery thread)  └→ covers most of it ────────────────────────┴→ unmounts what was the root ─"gone"─┘
//! ```
//!
//! Both are in the same mount namespace. To cover twenty entries takes a twentieth of the whole jail. To unmount something, the kernel waits until no processor is looking at it any more: as long as much of the jail takes. Until then the
//! machine's root is there, under the new one's `..`: no agent is started before it is known to be gone.

use std::{
    io::{self, IoSlice, IoSliceMut},
    mem::MaybeUninit,
    os::fd::{AsFd, OwnedFd},
};

use rustix::{
    io::{Errno, retry_on_intr},
    mount::{UnmountFlags, unmount},
    net::{
        AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
        SocketFlags, SocketType, recv, recvmsg, send, sendmsg, socketpair,
    },
};

use super::{JailError, masks};

/// What the reaper says, with a descriptor, once its `/proc` is there.
const PROC: &[u8] = b"proc";
/// What the reaper says once it has moved.
const MOVED: &[u8] = b"moved";
/// Bytes of the longest word, and one.
const WORD_BYTES: usize = 6;

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
    /// Covers `/proc` and waits until the reaper has moved, unmounts what it left, and says what came of both. Whoever never moves is waited for until
    /// it ends.
    pub fn attend(self) {
        let mut covered = Ok(());
        loop {
            match self.hear() {
                Ok((word, Some(proc))) if word == PROC => covered = masks::cover(&proc),
                Ok((word, None)) if word == MOVED => break,
                Ok(_) | Err(_) => return,
            }
        }
        // The kernel has moved this thread's root along with the reaper's, and what was the root is mounted over it.
        let gone = unmount("/", UnmountFlags::DETACH);
        let gone = gone.map_or_else(Errno::raw_os_error, |()| 0);
        let covered = covered.map_or_else(|error| error.raw_os_error().unwrap_or(libc::EIO), |()| 0);
        let errnos = [covered.to_ne_bytes(), gone.to_ne_bytes()].concat();
        // A reaper that has ended has no use for it.
        let _ = send(&self.0, &errnos, SendFlags::NOSIGNAL);
    }

    /// A word of the reaper, and what came with it.
    fn hear(&self) -> rustix::io::Result<(Vec<u8>, Option<OwnedFd>)> {
        let mut said = [0; WORD_BYTES];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let heard = retry_on_intr(|| recvmsg(&self.0, &mut [IoSliceMut::new(&mut said)], &mut ancillary, RecvFlags::CMSG_CLOEXEC))?;
        let given = ancillary.drain().find_map(|message| match message {
            RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
            _ => None,
        });
        Ok((said[..heard.bytes.min(WORD_BYTES)].to_vec(), given))
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

    /// Says that this is the `/proc` that the agent will see, for most of it to be covered.
    pub(super) fn proc(&self, proc: &OwnedFd) -> rustix::io::Result<()> {
        let descriptors = [proc.as_fd()];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        if !ancillary.push(SendAncillaryMessage::ScmRights(&descriptors)) {
            return Err(Errno::NOBUFS);
        }
        sendmsg(&self.0, &[IoSlice::new(PROC)], &mut ancillary, SendFlags::NOSIGNAL).map(drop)
    }

    /// Says that this process has moved.
    pub(super) fn moved(&self) -> rustix::io::Result<()> {
        send(&self.0, MOVED, SendFlags::NOSIGNAL).map(drop)
    }

    /// Waits until `/proc` is covered, and what it left is gone.
    pub(super) fn closed(self) -> Result<(), JailError> {
        const COVER: &str = "cover what /proc shows of the machine";
        const LET_GO: &str = "let go of the machine's root";
        let mut errnos = [0_i32.to_ne_bytes(); 2].concat();
        let (_, length) = retry_on_intr(|| recv(self.0.as_fd(), &mut errnos[..], RecvFlags::empty())).map_err(JailError::step(LET_GO))?;
        if length != errnos.len() {
            return Err(JailError::step(LET_GO)(io::Error::new(io::ErrorKind::UnexpectedEof, "whoever was to unmount it is gone")));
        }
        for (step, errno) in [COVER, LET_GO].into_iter().zip(errnos.chunks_exact(size_of::<i32>())) {
            // Four bytes each.
            let errno = errno.try_into().map_or(libc::EIO, i32::from_ne_bytes);
            if errno != 0 {
                return Err(JailError::step(step)(io::Error::from_raw_os_error(errno)));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a door makes of an answer.
    fn answer(bytes: &[u8]) -> Result<(), String> {
        let (usher, door) = pair().expect("pair");
        door.moved().expect("said");
        assert_eq!(usher.hear().expect("heard").0, MOVED);
        send(&usher.0, bytes, SendFlags::NOSIGNAL).expect("sent");
        drop(usher);
        door.closed().map_err(|error| crate::cell::text::with_causes(&error))
    }

    fn errnos(covered: i32, gone: i32) -> Vec<u8> {
        [covered.to_ne_bytes(), gone.to_ne_bytes()].concat()
    }

    #[test]
    fn only_two_whole_words_are_a_yes() {
        assert_eq!(answer(&errnos(0, 0)), Ok(()), "the twin");
        assert!(answer(&errnos(0, libc::EPERM)).is_err_and(|error| error.contains("root") && error.contains("not permitted")));
        assert!(answer(&errnos(libc::EPERM, 0)).is_err_and(|error| error.contains("/proc") && error.contains("not permitted")));
        for less in [&[][..], &[0], &[0; 4], &[0; 7]] {
            assert!(answer(less).is_err_and(|error| error.contains("is gone")), "{less:?}");
        }
    }

    #[test]
    fn an_usher_does_nothing_before_somebody_moved() {
        for words in [&b""[..], b"move", b"gone!", b"proc", b"moved too"] {
            let (usher, door) = pair().expect("pair");
            send(&door.0, words, SendFlags::NOSIGNAL).expect("sent");
            usher.attend();
            assert!(door.closed().is_err(), "{words:?}");
        }
    }

    #[test]
    fn a_proc_that_cannot_be_covered_is_said() {
        let (usher, door) = pair().expect("pair");
        let file = std::fs::File::open("/dev/null").expect("opened");
        door.proc(&file.into()).expect("said");
        let (word, given) = usher.hear().expect("heard");
        assert_eq!(word, PROC);
        assert!(masks::cover(&given.expect("it came along")).is_err(), "it is no /proc");
    }
}
