//! Files by their paths and by what is open: Landlock alone stands in the way.

use libc::{EACCES, EBADF, ELOOP, EPERM, EXDEV};

use super::{
    acts::{descriptors, file, files},
    row,
};
use crate::drill::{
    Attack,
    Death::{self, Errno},
    Outcome::{Read, Write},
};

/// Landlock says EACCES.
const DENIED: &[Death] = &[Errno(EACCES)];

/// The attacks.
#[rustfmt::skip]
pub(super) const ATTACKS: &[Attack] = &[
    row("paths/read", "reads a file outside", file, &["read", "{outside}/secret"], &["read", "{inside}/secret"], DENIED, Read),
    row("paths/read-openat2", "reads a file outside, by the newer call", file,
        &["read-beneath", "{outside}/secret"], &["read-beneath", "{inside}/secret"], DENIED, Read),
    row("paths/list", "lists a directory outside", file, &["list", "{outside}"], &["list", "{inside}"], DENIED, Read),
    row("paths/machine", "reads the machine's list of users", file, &["read", "/etc/passwd"], &["read", "{inside}/secret"], DENIED, Read),
    row("paths/through-link", "reads a file outside, through a link that was there", file,
        &["read", "{inside}/absolute"], &["read", "{inside}/good"], DENIED, Read),
    row("paths/own-link", "makes a link that leads outside, and reads through it", files,
        &["symlink", "{outside}/secret", "{inside}/made"], &["symlink", "{inside}/secret", "{inside}/made"], DENIED, Read),
    row("paths/root-link", "reads a file outside, through /proc/self/root", file,
        &["read", "/proc/self/root{outside}/secret"], &["read", "{inside}/secret"], DENIED, Read),
    row("paths/write", "writes to a file outside", file, &["write", "{outside}/file"], &["write", "{inside}/file"], DENIED, Write),
    row("paths/truncate", "empties a file outside", file, &["truncate", "{outside}/file"], &["truncate", "{inside}/file"], DENIED, Write),
    row("paths/create", "creates a file outside", file, &["create", "{outside}/new"], &["create", "{inside}/new"], DENIED, Write),
    row("paths/create-unnamed", "creates a file without a name outside", file, &["unnamed", "{outside}"], &["unnamed", "{inside}"], DENIED, Write),
    row("paths/mkdir", "makes a directory outside", file, &["mkdir", "{outside}/new"], &["mkdir", "{inside}/new"], DENIED, Write),
    row("paths/unlink", "removes a file outside", file, &["unlink", "{outside}/file"], &["unlink", "{inside}/file"], DENIED, Write),
    row("paths/rename-out", "moves a file out", files,
        &["rename", "{inside}/file", "{outside}/moved"], &["rename", "{inside}/file", "{inside}/moved"], &[Errno(EACCES), Errno(EXDEV)], Write),
    row("paths/rename-in", "moves a file in", files,
        &["rename", "{outside}/file", "{inside}/moved"], &["rename", "{inside}/file", "{inside}/moved"], &[Errno(EACCES), Errno(EXDEV)], Write),
    row("paths/link-in", "gives a file outside a name inside", files,
        &["link", "{outside}/file", "{inside}/linked"], &["link", "{inside}/file", "{inside}/linked"], &[Errno(EACCES), Errno(EXDEV), Errno(EPERM)], Read),
    row("paths/read-only-write", "writes to a file that it may read", file, &["write", "{readonly}/file"], &["write", "{inside}/file"], DENIED, Write),
    row("paths/read-only-create", "creates a file where it may read", file, &["create", "{readonly}/new"], &["create", "{inside}/new"], DENIED, Write),
    row("paths/read-only-link", "links a file that it may read to where it may write, to write to it there", files,
        &["link", "{readonly}/file", "{inside}/linked"], &["link", "{inside}/file", "{inside}/linked"], &[Errno(EACCES), Errno(EXDEV), Errno(EPERM)], Write),
    row("paths/mode", "changes the mode of a file that it may read, which Landlock does not know of", file,
        &["mode", "{readonly}/file"], &["read", "{readonly}/file"], &[Errno(EPERM)], Write),
    row("paths/owner", "changes the owner of a file that it may read", file,
        &["own", "{readonly}/file"], &["read", "{readonly}/file"], &[Errno(EPERM)], Write),
    row("paths/times-outside", "sets the times of a file outside, which Landlock does not know of", files,
        &["times", "{inside}/file", "{outside}/file"], &["times", "{inside}/file", ""], &[Errno(EPERM)], Write),
    row("paths/attribute", "sets an attribute of a file that it may read", file,
        &["attribute", "{readonly}/file"], &["read", "{readonly}/file"], &[Errno(EPERM)], Write),
    row("paths/times", "sets the times of a file that it may read, by its path", file,
        &["times", "{readonly}/file"], &["read", "{readonly}/file"], &[Errno(EPERM)], Write),
    row("paths/link-loop", "follows a link to itself", file, &["read", "{inside}/loop"], &["read", "{inside}/good"], &[Errno(ELOOP)], Read),
    row("descriptors/foreign", "looks through its descriptors for a file or directory that is not its own business", descriptors,
        &["foreign"], &["own"], &[Errno(EBADF)], Read),
    row("environment/own-start", "reads the variables that its own process was started with, through /proc", file,
        &["read", "/proc/self/environ"], &["read", "{inside}/secret"], DENIED, Read),
    row("neighbours/home", "reads another cell's home", file, &["read", "{neighbour-home}/secret"], &["read", "{inside}/secret"], DENIED, Read),
    row("neighbours/write-home", "writes into another cell's home", file,
        &["create", "{neighbour-home}/new"], &["create", "{inside}/new"], DENIED, Write),
    row("registry/read", "reads the registry", file, &["read", "{root}/registry.db"], &["read", "{inside}/secret"], DENIED, Read),
    row("registry/write", "writes to the registry", file, &["write", "{root}/registry.db"], &["write", "{inside}/file"], DENIED, Write),
    row("supply/poison-cache", "puts code of its own into the cache of compiled programs", file,
        &["create", "{root}/cache/poison.cwasm"], &["create", "{inside}/poison.cwasm"], DENIED, Write),
    row("supply/read-cache", "lists the cache of compiled programs", file, &["list", "{root}/cache"], &["list", "{inside}"], DENIED, Read),
];
