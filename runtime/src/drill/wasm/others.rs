//! Descriptors, variables, logs, networks, neighbours and imports.

use libc::{EACCES, EBADF, ENOENT, ENOTSOCK, EOPNOTSUPP, EPERM, ESRCH};

use super::{
    MOUNTS,
    component::{importing, socket},
    preview1::{accept, descriptor, open, renumber, residue, variable},
    table::{component, preview1},
};
use crate::drill::{
    Attack,
    Death::{Errno, Refused},
    Outcome::{Escape, Read},
};

/// All of these classes.
pub const ATTACKS: &[Attack] = &[
    preview1("descriptors/scan", descriptor, MOUNTS)
        .tries("looks for a descriptor that it was not given", &["7", "2000"], &["6", "2000"])
        .dies(&[Errno(EBADF)], Read),
    preview1("descriptors/renumber", renumber, MOUNTS)
        .tries("moves its home onto standard input, to read what stood there", &["3", "0"], &["0", "0"])
        .dies(&[Errno(EBADF), Errno(EPERM), Errno(libc::EISDIR)], Read),
    preview1("environment/variable", variable, &[])
        .tries("looks for a variable of the operator", &["LAZARUS_DRILL_SECRET"], &["HERMES_HOME"])
        .dies(&[Errno(ENOENT)], Read),
    preview1("network/accept", accept, &[])
        .tries("accepts a connection on a descriptor that it has", &["3"], &["none"])
        .dies(&[Errno(ENOTSOCK), Errno(EOPNOTSUPP)], Escape),
    component("network/tcp", socket, &[]).tries("makes a TCP socket", &["tcp4"], &["none"]).dies(&[Errno(EACCES)], Escape),
    component("network/tcp-ipv6", socket, &[]).tries("makes a TCP socket for IPv6", &["tcp6"], &["none"]).dies(&[Errno(EACCES)], Escape),
    component("network/udp", socket, &[]).tries("makes a UDP socket", &["udp4"], &["none"]).dies(&[Errno(EACCES)], Escape),
    component("network/udp-ipv6", socket, &[]).tries("makes a UDP socket for IPv6", &["udp6"], &["none"]).dies(&[Errno(EACCES)], Escape),
    component("network/http", importing, &[])
        .tries("imports a way to send HTTP requests", &["wasi:http/outgoing-handler@0.2.0"], &["none"])
        .dies(&[Refused("wasi:http/outgoing-handler")], Escape),
    component("supply/unknown-import", importing, &[])
        .tries("imports what nobody provides", &["acme:weapons/missiles@1.0.0"], &["none"])
        .dies(&[Refused("acme:weapons/missiles")], Escape),
    preview1("neighbours/other-home", open, &[])
        .tries("reads a file in another cell's home", &["3", "../../{neighbour-cell}/home/drill/secret", "read"], &["3", "SOUL.md", "read"])
        .dies(&[Errno(EPERM)], Read),
    preview1("registry/read", open, &[])
        .tries("reads the registry", &["3", "../../../registry.db", "read"], &["3", "SOUL.md", "read"])
        .dies(&[Errno(EPERM)], Read),
    preview1("memory/residue", residue, &[])
        .tries("looks in fresh memory for what an ended guest left there", &["look", "50"], &["fill", "50"])
        .dies(&[Errno(ESRCH)], Read),
];
