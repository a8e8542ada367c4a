//! Networks, services, and what looks like one.

use std::{
    io::{self, Read, Write},
    mem::MaybeUninit,
    net::{SocketAddr, TcpStream, UdpSocket},
    os::{
        fd::AsFd,
        linux::net::SocketAddrExt,
        unix::net::{SocketAddr as UnixAddr, UnixStream},
    },
    time::Duration,
};

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketAddrUnix};

use super::{at, done, number};
use crate::unchecked::attempt_call;

/// How long a connection may take; whatever is reached is on this machine.
const CONNECT_WITHIN: Duration = Duration::from_secs(2);
/// A call that every member may make.
const WHO_AM_I: &[u8] = b"{\"n\":1,\"call\":\"me\"}\n";

/// `[address]`: connects to `tcp:IP:PORT`, `udp:IP:PORT`, `unix:PATH` or `abstract:NAME`, and says something.
pub(in crate::drill) fn connect(arguments: &[String]) -> io::Result<String> {
    let address = at(arguments, 0)?;
    let (kind, rest) = address.split_once(':').unwrap_or_default();
    match kind {
        "tcp" => {
            let address: SocketAddr = rest.parse().map_err(|_| io::Error::other("no such address"))?;
            done(TcpStream::connect_timeout(&address, CONNECT_WITHIN)?.write_all(b"attack"))
        }
        // As a question to a name server is sent.
        "udp" => done(UdpSocket::bind("0.0.0.0:0")?.send_to(b"attack", rest).map(drop)),
        "abstract" => done(UnixStream::connect_addr(&UnixAddr::from_abstract_name(rest)?)?.write_all(b"attack")),
        _ => done(UnixStream::connect(rest)?.write_all(WHO_AM_I)),
    }
}

/// `[family, type]`: makes a socket of these numbers.
pub(in crate::drill) fn socket(arguments: &[String]) -> io::Result<String> {
    done(attempt_call("socket", [number(arguments, 0)?, number(arguments, 1)?, 0, 0, 0, 0]).map(drop))
}

/// `[path, count]`: asks its cell who it is, with that many descriptors of its own attached.
pub(in crate::drill) fn send_descriptors(arguments: &[String]) -> io::Result<String> {
    /// How many fit into one message.
    const MOST: usize = 64;
    let address = SocketAddrUnix::new(at(arguments, 0)?)?;
    let socket = rustix::net::socket(rustix::net::AddressFamily::UNIX, rustix::net::SocketType::STREAM, None)?;
    rustix::net::connect(&socket, &address)?;
    let own = io::stdout();
    let descriptors: Vec<_> = (0..number::<usize>(arguments, 1)?.min(MOST)).map(|_| own.as_fd()).collect();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST))];
    let mut attached = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() {
        attached.push(SendAncillaryMessage::ScmRights(&descriptors));
    }
    rustix::net::sendmsg(&socket, &[io::IoSlice::new(WHO_AM_I)], &mut attached, SendFlags::NOSIGNAL)?;
    let mut stream = UnixStream::from(socket);
    stream.set_read_timeout(Some(CONNECT_WITHIN))?;
    let mut said = [0; 512];
    let read = stream.read(&mut said)?;
    Ok(String::from_utf8_lossy(&said[..read]).into_owned())
}
