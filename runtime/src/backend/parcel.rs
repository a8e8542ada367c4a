//! What follows a child that was started: its work, and the descriptors for it.
//!
//! ```text
//!  parent ── start ──→ child: is loaded, waits for its parcel
//!    │ opens and decides meanwhile     │
//!    └── description, descriptors ─────┘  over the message socket, before any message
//! ```
//!
//! To start a program takes as long as to decide what it shall do: the two need not wait for each other. The description is in sealed memory,
//! as in a [`super::handoff`], and the first of the descriptors; the others it names by their place in the parcel.

use std::{
    io::{self, IoSlice, IoSliceMut},
    mem::MaybeUninit,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use rustix::{
    io::{Errno, retry_on_intr},
    net::{
        RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, recvmsg,
        sendmsg,
    },
};
use serde::{Deserialize, Serialize};

use super::handoff::{Description, HandoffError, seal};

/// Descriptors of one packet: the kernel takes 253 (unix(7), SCM_RIGHTS).
const PACKET_MOST_DESCRIPTORS: usize = 250;
/// What a packet says: how many descriptors are still to come after it.
type Left = [u8; 4];

/// The place of a descriptor in a parcel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Enclosed(usize);

/// Descriptors for a child.
#[derive(Debug, Default)]
pub struct Parcel {
    descriptors: Vec<OwnedFd>,
}

impl Parcel {
    /// Adds a descriptor, and returns its place.
    pub fn enclose(&mut self, descriptor: OwnedFd) -> Enclosed {
        self.descriptors.push(descriptor);
        Enclosed(self.descriptors.len() - 1)
    }

    /// Sends it, with a description of the work, to the child at the other end of a message socket.
    ///
    /// # Errors
    /// What the kernel says: `EPIPE` where the child is gone.
    pub fn send<S: Serialize>(self, socket: impl AsFd, spec: &S) -> io::Result<()> {
        let description = seal(spec)?;
        let all: Vec<BorrowedFd<'_>> = std::iter::once(&description).chain(&self.descriptors).map(AsFd::as_fd).collect();
        let mut left = all.len();
        for some in all.chunks(PACKET_MOST_DESCRIPTORS) {
            left -= some.len();
            let still: Left = u32::try_from(left).map_err(|_| Errno::TOOBIG)?.to_le_bytes();
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(PACKET_MOST_DESCRIPTORS))];
            let mut ancillary = SendAncillaryBuffer::new(&mut space);
            if !ancillary.push(SendAncillaryMessage::ScmRights(some)) {
                return Err(Errno::NOBUFS.into());
            }
            retry_on_intr(|| sendmsg(&socket, &[IoSlice::new(&still)], &mut ancillary, SendFlags::NOSIGNAL))?;
        }
        Ok(())
    }
}

/// In the child: a parcel that arrived.
#[derive(Debug)]
pub struct Arrived {
    /// The description of the work.
    pub description: Description,
    descriptors: Vec<Option<OwnedFd>>,
}

impl Arrived {
    /// Takes out a descriptor.
    ///
    /// # Errors
    /// It was not enclosed, or was taken out already.
    pub fn take(&mut self, place: Enclosed) -> Result<OwnedFd, HandoffError> {
        let Enclosed(number) = place;
        self.descriptors.get_mut(number).and_then(Option::take).ok_or(HandoffError::NotEnclosed { number })
    }
}

/// In the child: waits for its parcel.
///
/// # Errors
/// The parent is gone, or what it sent is no parcel.
pub fn receive(socket: impl AsFd) -> Result<Arrived, HandoffError> {
    let mut descriptors = Vec::new();
    loop {
        let left = receive_some(socket.as_fd(), &mut descriptors).map_err(HandoffError::Parcel)?;
        if left == 0 {
            break;
        }
    }
    let mut descriptors = descriptors.into_iter();
    let description = descriptors.next().ok_or_else(|| HandoffError::Parcel(io::ErrorKind::InvalidData.into()))?;
    Ok(Arrived { description: Description::read(description)?, descriptors: descriptors.map(Some).collect() })
}

/// Receives one packet; says how many descriptors are still to come.
fn receive_some(socket: BorrowedFd<'_>, into: &mut Vec<OwnedFd>) -> io::Result<u32> {
    let mut left = Left::default();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(PACKET_MOST_DESCRIPTORS))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let received = retry_on_intr(|| recvmsg(socket, &mut [IoSliceMut::new(&mut left)], &mut ancillary, RecvFlags::CMSG_CLOEXEC))?;
    let before = into.len();
    for message in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(descriptors) = message {
            into.extend(descriptors);
        }
    }
    if received.bytes == 0 {
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "whoever started this process is gone"));
    }
    let whole = received.bytes == left.len() && !received.flags.intersects(ReturnFlags::TRUNC | ReturnFlags::CTRUNC);
    // One without a descriptor would let a parcel go on for ever.
    if whole && into.len() > before { Ok(u32::from_le_bytes(left)) } else { Err(io::ErrorKind::InvalidData.into()) }
}

#[cfg(test)]
mod tests {
    use std::{
        fs::File,
        io::{Read, Write},
    };

    use super::*;
    use crate::backend::packets::pair;

    #[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
    struct Work {
        first: Enclosed,
        last: Enclosed,
    }

    #[test]
    fn a_parcel_arrives_whole_however_large_it_is() {
        for size in [2, PACKET_MOST_DESCRIPTORS - 1, PACKET_MOST_DESCRIPTORS, 3 * PACKET_MOST_DESCRIPTORS] {
            let (parent, child) = pair().expect("pair");
            let (reader, writer) = std::io::pipe().expect("pipe");
            let mut parcel = Parcel::default();
            let first = parcel.enclose(reader.into());
            for _ in 0..size - 2 {
                parcel.enclose(File::open("/dev/null").expect("open").into());
            }
            let last = parcel.enclose(writer.into());
            parcel.send(&parent, &Work { first, last }).expect("sent");
            let mut arrived = receive(&child).expect("arrived");
            assert_eq!(arrived.description.understand::<Work>().expect("understood"), Work { first, last });
            File::from(arrived.take(last).expect("enclosed")).write_all(b"through").expect("written");
            let mut text = String::new();
            File::from(arrived.take(first).expect("enclosed")).read_to_string(&mut text).expect("read");
            assert_eq!(text, "through", "{size}");
            for missing in [first, Enclosed(size)] {
                assert!(matches!(arrived.take(missing), Err(HandoffError::NotEnclosed { .. })), "{size}");
            }
        }
    }

    #[test]
    fn what_is_no_parcel_is_refused() {
        let (parent, child) = pair().expect("pair");
        for packet in [&b"c{}"[..], b"0000", &[0; 4], &[0; 100]] {
            rustix::net::send(&parent, packet, SendFlags::empty()).expect("sent");
            assert!(matches!(receive(&child), Err(HandoffError::Parcel(_))), "{packet:?}");
        }
        drop(parent);
        let gone = receive(&child).map(drop).map_err(|error| std::error::Error::source(&error).map(ToString::to_string));
        assert_eq!(gone, Err(Some("whoever started this process is gone".to_owned())));
    }
}
