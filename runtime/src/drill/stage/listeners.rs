//! Ports and sockets outside of every jail that nobody may reach. Whoever does is noted, whatever they say.

use std::{
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    os::{
        fd::{AsFd, OwnedFd},
        linux::net::SocketAddrExt,
        unix::net::{SocketAddr as UnixAddr, UnixListener, UnixStream},
    },
    path::Path,
};

use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

use super::super::Ground;

/// The listeners of a stage.
pub(super) struct Listeners {
    tcp: TcpListener,
    /// Machines without IPv6 have none; nobody can reach what is not there.
    tcp6: Option<TcpListener>,
    udp: UdpSocket,
    path: UnixListener,
    named: UnixListener,
}

impl Listeners {
    /// Opens them, proves that each notes who comes, and gives their addresses names.
    pub(super) fn open(socket: &Path, token: &str, ground: &mut Ground) -> io::Result<Self> {
        let tcp = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let port = tcp.local_addr()?.port();
        let tcp6 = TcpListener::bind((Ipv6Addr::LOCALHOST, port)).ok();
        let udp = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        let path = bind(socket)?;
        let name = format!("lazarus-drill-{token}");
        let named = UnixListener::bind_addr(&UnixAddr::from_abstract_name(&name)?)?;
        ground.set("tcp", port.to_string());
        ground.set("udp", udp.local_addr()?.port().to_string());
        ground.set("socket", socket.to_string_lossy());
        ground.set("abstract", &name);
        let listeners = Self { tcp, tcp6, udp, path, named };
        listeners.be_quick()?;
        listeners.prove(socket, &name)?;
        Ok(listeners)
    }

    fn be_quick(&self) -> io::Result<()> {
        self.tcp.set_nonblocking(true)?;
        self.tcp6.as_ref().map_or(Ok(()), |listener| listener.set_nonblocking(true))?;
        self.udp.set_nonblocking(true)?;
        self.path.set_nonblocking(true)?;
        self.named.set_nonblocking(true)
    }

    /// Comes to each of them from outside of any jail: one that would not notice proves nothing later.
    fn prove(&self, socket: &Path, name: &str) -> io::Result<()> {
        let unproved = |which: &str| io::Error::other(format!("the listener {which} does not notice who comes"));
        let address = self.tcp.local_addr()?;
        TcpStream::connect(address)?;
        if let Some(listener) = &self.tcp6 {
            TcpStream::connect(listener.local_addr()?)?;
        }
        UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?.send_to(b"proof", self.udp.local_addr()?)?;
        UnixStream::connect_addr(&UnixAddr::from_abstract_name(name)?)?;
        let by_path = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
        rustix::net::connect(&by_path, &SocketAddrUnix::new(socket)?)?;
        let noticed = self.reached();
        let wanted = if self.tcp6.is_some() { 5 } else { 4 };
        if noticed.len() == wanted { Ok(()) } else { Err(unproved(&format!("(of {wanted}, {noticed:?})"))) }
    }

    /// Who came since the last look.
    pub(super) fn reached(&self) -> Vec<String> {
        let mut reached = Vec::new();
        while let Ok((_, from)) = self.tcp.accept() {
            reached.push(came("TCP", from));
        }
        while let Some(Ok((_, from))) = self.tcp6.as_ref().map(TcpListener::accept) {
            reached.push(came("TCP over IPv6", from));
        }
        let mut buffer = [0; 64];
        while let Ok((_, from)) = self.udp.recv_from(&mut buffer) {
            reached.push(came("UDP", from));
        }
        while self.path.accept().is_ok() {
            reached.push("the UNIX socket".to_owned());
        }
        while self.named.accept().is_ok() {
            reached.push("the abstract UNIX socket".to_owned());
        }
        reached
    }
}

fn came(what: &str, from: SocketAddr) -> String {
    format!("the {what} listener (from {from})")
}

fn bind(socket: &Path) -> io::Result<UnixListener> {
    let listener: OwnedFd = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    rustix::net::bind(listener.as_fd(), &SocketAddrUnix::new(socket)?)?;
    rustix::net::listen(listener.as_fd(), 16)?;
    Ok(UnixListener::from(listener))
}
