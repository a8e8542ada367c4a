//! Messages between a warden and its jailed child: one a packet, bounded before it is parsed.

use std::{
    io,
    os::fd::{AsFd, OwnedFd},
};

use rustix::{
    io::{Errno, retry_on_intr},
    net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socketpair},
};
use serde::{Serialize, de::DeserializeOwned};

use super::protocol::PACKET_MOST_BYTES;

/// The tag of a packet that holds a message in JSON.
const CONTROL: u8 = b'c';

/// What is asked for as send buffer: the kernel doubles it, and grants at most `net.core.wmem_max` (212,992 by default) before that.
const SEND_BUFFER_BYTES: usize = 208 * 1024;

/// Whether to wait when there is nothing to read, or no room to write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Waiting {
    /// Until there is.
    Block,
    /// Not at all.
    Never,
}

/// What was received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Received<T> {
    /// A message.
    Message(T),
    /// Nothing yet; only without waiting.
    Nothing,
    /// The other side is gone.
    Closed,
}

/// Why a message was not sent or received. Any of them is the end of that child.
#[derive(Debug, thiserror::Error)]
pub enum PacketError {
    /// A packet larger than any message.
    #[error("take a packet of {0} bytes: the most is {PACKET_MOST_BYTES}")]
    TooLarge(usize),
    /// Not a message of this protocol.
    #[error("understand a packet")]
    Malformed(#[source] serde_json::Error),
    /// A tag that does not exist.
    #[error("understand a packet: it has the unknown tag {0}")]
    Tag(u8),
    /// What the kernel said.
    #[error("use the message socket")]
    Socket(#[source] io::Error),
}

/// Makes a connected pair of message sockets: one for the warden, one for the child.
///
/// # Errors
/// What the kernel says.
pub fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let (one, other) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
    for end in [&one, &other] {
        // A packet must fit the sender's buffer whole; by default it is smaller than the largest packet (socket(7), SO_SNDBUF).
        rustix::net::sockopt::set_socket_send_buffer_size(end, SEND_BUFFER_BYTES)?;
    }
    Ok((one, other))
}

/// Sends one message; `false` where there is no room for it now, without waiting.
///
/// # Errors
/// A message too large for a packet, and what the kernel says: `EPIPE` where the other side is gone.
pub fn send_message<T: Serialize>(socket: impl AsFd, message: &T, waiting: Waiting) -> Result<bool, PacketError> {
    let mut packet = vec![CONTROL];
    serde_json::to_writer(&mut packet, message).map_err(PacketError::Malformed)?;
    if packet.len() > PACKET_MOST_BYTES {
        return Err(PacketError::TooLarge(packet.len()));
    }
    let flags = match waiting {
        Waiting::Block => SendFlags::NOSIGNAL,
        Waiting::Never => SendFlags::NOSIGNAL | SendFlags::DONTWAIT,
    };
    match retry_on_intr(|| send(&socket, &packet, flags)) {
        Ok(_) => Ok(true),
        Err(Errno::AGAIN) => Ok(false),
        Err(errno) => Err(PacketError::Socket(errno.into())),
    }
}

/// Receives one message.
///
/// # Errors
/// A packet that is too large or no message; what the kernel says.
pub fn receive_message<T: DeserializeOwned>(socket: impl AsFd, waiting: Waiting) -> Result<Received<T>, PacketError> {
    let mut packet = vec![0; PACKET_MOST_BYTES];
    // With TRUNC, the answer is the packet's real length, also where it did not fit.
    let flags = match waiting {
        Waiting::Block => RecvFlags::TRUNC,
        Waiting::Never => RecvFlags::TRUNC | RecvFlags::DONTWAIT,
    };
    let length = match retry_on_intr(|| recv(&socket, &mut packet[..], flags)) {
        Ok((_, length)) => length,
        Err(Errno::AGAIN) => return Ok(Received::Nothing),
        Err(Errno::CONNRESET) => return Ok(Received::Closed),
        Err(errno) => return Err(PacketError::Socket(errno.into())),
    };
    if length > PACKET_MOST_BYTES {
        return Err(PacketError::TooLarge(length));
    }
    match packet[..length].split_first() {
        None => Ok(Received::Closed),
        Some((&CONTROL, json)) => serde_json::from_slice(json).map(Received::Message).map_err(PacketError::Malformed),
        Some((tag, _)) => Err(PacketError::Tag(*tag)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::protocol::ToChild;

    fn close() -> ToChild {
        ToChild::Close { agent: None, grace_ms: 5 }
    }

    #[test]
    fn messages_arrive_one_a_packet() {
        let (a, b) = pair().expect("pair");
        assert_eq!(receive_message::<ToChild>(&b, Waiting::Never).expect("receive"), Received::Nothing);
        for _ in 0..2 {
            assert!(send_message(&a, &close(), Waiting::Block).expect("send"));
        }
        for _ in 0..2 {
            assert_eq!(receive_message(&b, Waiting::Block).expect("receive"), Received::Message(close()));
        }
        drop(a);
        assert_eq!(receive_message::<ToChild>(&b, Waiting::Block).expect("receive"), Received::Closed);
        assert!(send_message(&b, &close(), Waiting::Block).is_err());
    }

    #[test]
    fn hostile_packets_are_refused() {
        let (a, b) = pair().expect("pair");
        let mut large = vec![b' '; PACKET_MOST_BYTES + 1];
        large[0] = CONTROL;
        let hostile: [&[u8]; 5] = [b"c", b"c{", b"x{}", b"c{\"say\":\"shutdown\"}", &large];
        for packet in hostile {
            send(&a, packet, SendFlags::empty()).expect("send");
            assert!(receive_message::<ToChild>(&b, Waiting::Block).is_err(), "{:?}", &packet[..packet.len().min(20)]);
        }
        assert!(matches!(send_message(&a, &"x".repeat(PACKET_MOST_BYTES), Waiting::Block), Err(PacketError::TooLarge(_))));
    }

    #[test]
    fn a_full_socket_does_not_stop_who_will_not_wait() {
        let (a, _b) = pair().expect("pair");
        let mut sent = 0;
        while send_message(&a, &close(), Waiting::Never).expect("send") {
            sent += 1;
            assert!(sent < 1_000_000, "a socket without end");
        }
        assert!(sent > 0);
    }
}
