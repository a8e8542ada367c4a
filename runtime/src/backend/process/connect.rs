//! Where an agent's connections lead: to its cell, whatever there is on the machine.
//!
//! An agent that speaks with its cell may make UNIX stream sockets, and its calls of `connect(2)` are held by the kernel until the reaper
//! has decided about them (seccomp_unotify(2)). The reaper never lets one be carried out. For the one address that it knows it makes a
//! pair of connected sockets, puts one end in the place of the agent's socket, and sends the other through the *hatch* to the warden; for
//! every other address the answer is `EACCES`. So no socket of another program can be reached, not by a path in something that was
//! mounted, nor where there is no mount namespace; no file has to be there; and who comes through a hatch is known without asking: it is
//! the agent of that reaper, or something that it started.
//!
//! The address is read from the memory of whoever calls, which could change it meanwhile: it would gain nothing, since its words only
//! choose between the cell and a refusal.

use std::{
    fs::File,
    io::IoSlice,
    mem::MaybeUninit,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::fs::FileExt,
    },
};

use rustix::{
    io::Errno,
    net::{AddressFamily, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags, SocketType, sendmsg, socketpair},
};

use crate::unchecked::{self, HeldCall};

/// The address of the cell, as every process agent sees it. There is no such file, and need not be.
pub const CELL_SOCKET: &str = "/run/lazarus/cell.sock";

/// What a path in a socket's address is preceded by: its family.
const FAMILY_BYTES: usize = 2;
/// The longest address of a UNIX socket: unix(7).
const ADDRESS_MOST_BYTES: usize = FAMILY_BYTES + 108;

/// Decides about one connection.
///
/// # Errors
/// What the caller is told: `EACCES` for every address but that of its cell.
pub(super) fn lead(listener: BorrowedFd<'_>, hatch: &OwnedFd, held: &HeldCall) -> Result<(), Errno> {
    let [number, address, length, ..] = held.arguments;
    if !names_the_cell(held.thread, address, length) {
        return Err(Errno::ACCESS);
    }
    // The kernel, too, looks at the lower half only.
    let number = u32::try_from(number & u64::from(u32::MAX)).map_err(|_| Errno::BADF)?;
    let flags = descriptor_flags(held.thread, number).ok_or(Errno::BADF)?;
    let (theirs, ours) = socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    rustix::io::ioctl_fionbio(&theirs, flags & libc::O_NONBLOCK != 0)?;
    pass(hatch, ours.as_fd())?;
    unchecked::give_to_held(listener, held.id, number, theirs.as_fd(), flags & libc::O_CLOEXEC != 0)
        .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))
}

/// Whether the address that a thread named is that of its cell.
fn names_the_cell(thread: u32, address: u64, length: u64) -> bool {
    let length = usize::try_from(length & u64::from(u32::MAX)).unwrap_or(usize::MAX);
    if length <= FAMILY_BYTES || length > ADDRESS_MOST_BYTES {
        return false;
    }
    let mut bytes = [0_u8; ADDRESS_MOST_BYTES];
    let Some(bytes) = bytes.get_mut(..length) else { return false };
    let read = File::open(format!("/proc/{thread}/mem")).and_then(|memory| memory.read_exact_at(bytes, address));
    if read.is_err() {
        return false;
    }
    let (family, path) = bytes.split_at(FAMILY_BYTES);
    // A path ends at its first NUL, or with the address.
    let path = path.split(|byte| *byte == 0).next().unwrap_or_default();
    i32::from(u16::from_ne_bytes([family[0], family[1]])) == libc::AF_UNIX && path == CELL_SOCKET.as_bytes()
}

/// The flags of a thread's descriptor, `O_CLOEXEC` among them; `None` where it is not open.
fn descriptor_flags(thread: u32, number: u32) -> Option<i32> {
    let text = std::fs::read_to_string(format!("/proc/{thread}/fdinfo/{number}")).ok()?;
    let flags = text.lines().find_map(|line| line.strip_prefix("flags:"))?;
    i32::from_str_radix(flags.trim(), 8).ok()
}

/// Sends a connection to the warden. One that has enough of them already takes no more for now.
fn pass(hatch: &OwnedFd, connection: BorrowedFd<'_>) -> Result<(), Errno> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    let descriptors = [connection];
    if !ancillary.push(SendAncillaryMessage::ScmRights(&descriptors)) {
        return Err(Errno::NOBUFS);
    }
    sendmsg(hatch, &[IoSlice::new(b"c")], &mut ancillary, SendFlags::NOSIGNAL | SendFlags::DONTWAIT).map(drop)
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd;

    use super::*;

    fn address(path: &[u8]) -> Vec<u8> {
        let mut bytes = u16::try_from(libc::AF_UNIX).expect("small").to_ne_bytes().to_vec();
        bytes.extend(path);
        bytes
    }

    #[test]
    fn only_the_cells_address_leads_anywhere() {
        let names = |bytes: &[u8]| names_the_cell(std::process::id(), bytes.as_ptr() as u64, bytes.len() as u64);
        assert!(names(&address(CELL_SOCKET.as_bytes())));
        assert!(names(&address(format!("{CELL_SOCKET}\0").as_bytes())));
        assert!(names(&address(format!("{CELL_SOCKET}\0after the end").as_bytes())));
        for path in ["", "\0/run/lazarus/cell.sock", "/run/lazarus/cell.soc", "/run/lazarus/cell.sock2", "/run/docker.sock"] {
            assert!(!names(&address(path.as_bytes())), "{path:?}");
        }
        let mut internet = address(CELL_SOCKET.as_bytes());
        internet[..2].copy_from_slice(&u16::try_from(libc::AF_INET).expect("small").to_ne_bytes());
        assert!(!names(&internet));
        assert!(!names_the_cell(std::process::id(), 8, 30), "memory that is not there");
        assert!(!names_the_cell(std::process::id(), 0, u64::MAX));
    }

    #[test]
    fn flags_of_a_descriptor_are_read() {
        let file = File::open("/dev/null").expect("open");
        let flags = descriptor_flags(std::process::id(), u32::try_from(file.as_raw_fd()).expect("a number")).expect("open");
        assert_ne!(flags & libc::O_CLOEXEC, 0);
        assert_eq!(flags & libc::O_NONBLOCK, 0);
        assert_eq!(descriptor_flags(std::process::id(), 1_000_000), None);
    }
}
