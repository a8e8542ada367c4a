//! Networks, services, and parts of the kernel that are one.

use crate::drill::{
    Act, Attack,
    Death::{self, Errno},
    Outcome::Escape,
    acts,
};

/// A row of this table.
const fn row(name: &'static str, what: &'static str, act: Act, attack: &'static [&'static str], twin: &'static [&'static str]) -> Attack {
    super::row(name, what, act, attack, twin, REFUSED, Escape).speaking()
}

/// A row about a socket by its numbers.
const fn socket(name: &'static str, what: &'static str, attack: &'static [&'static str], twin: &'static [&'static str]) -> Attack {
    row(name, what, acts::socket, attack, twin)
}

/// What socket(2) documents for a socket that one may not make.
const REFUSED: &[Death] = &[Errno(libc::EACCES)];
/// The one address that leads anywhere: that of its own cell.
const CELL: &[&str] = &["unix:{socket-of-cell}"];

/// The attacks.
#[rustfmt::skip]
pub(super) const ATTACKS: &[Attack] = &[
    row("network/tcp-loopback", "connects to a service of this machine", acts::connect, &["tcp:127.0.0.1:{tcp}"], CELL),
    row("network/tcp-any-address", "connects to a service of this machine by the address 0.0.0.0", acts::connect, &["tcp:0.0.0.0:{tcp}"], CELL),
    row("network/tcp6-loopback", "connects to a service of this machine over IPv6", acts::connect, &["tcp:[::1]:{tcp}"], CELL),
    row("network/tcp-mapped", "connects by an IPv4 address that is written as IPv6", acts::connect, &["tcp:[::ffff:127.0.0.1]:{tcp}"], CELL),
    row("network/tcp-nat64", "connects by an IPv4 address behind the prefix of NAT64", acts::connect, &["tcp:[64:ff9b::7f00:1]:{tcp}"], CELL),
    row("network/metadata", "connects to where clouds serve credentials", acts::connect, &["tcp:169.254.169.254:80"], CELL),
    row("network/unix-socket", "connects to a service of this machine by a socket's path", acts::connect, &["unix:{socket}"], CELL),
    row("network/abstract-socket", "connects to a service of this machine by a socket's abstract name", acts::connect, &["abstract:{abstract}"], CELL),
    row("network/control-socket", "connects to another cell's warden", acts::connect,
        &["unix:{root}/cells/{neighbour-cell}/run/control.sock"], CELL),
    row("network/dns", "asks a name server, which would tell others", acts::connect, &["udp:127.0.0.1:{udp}"], CELL),
    socket("network/internet", "makes a socket of the internet", &["2", "1"], &["1", "1"]),
    socket("network/raw", "makes a UNIX socket by its other name, raw", &["1", "3"], &["1", "1"]),
    socket("network/sequenced", "makes a UNIX socket for sequenced packets", &["1", "5"], &["1", "1"]),
    socket("network/packet", "makes a socket that sees every packet", &["17", "1"], &["1", "1"]),
    socket("network/netlink", "makes a socket to the kernel's network administration", &["16", "1"], &["1", "1"]),
    socket("network/virtual-machine", "makes a socket to the hypervisor (AF_VSOCK)", &["40", "1"], &["1", "1"]),
    socket("network/kernel-crypto", "makes a socket to the kernel's cryptography (AF_ALG)", &["38", "1"], &["1", "1"]),
    socket("network/bluetooth", "makes a socket to radio devices", &["31", "1"], &["1", "1"]),
    socket("network/express-data", "makes a socket past the kernel's network stack (AF_XDP)", &["44", "1"], &["1", "1"]),
    socket("network/unix-datagram", "makes a UNIX socket that can be pointed at any path", &["1", "2"], &["1", "1"]),
];
