//! What a `/proc` of one's own shows beside its processes: the kernel's figures of the whole machine. Most of them are covered.
//!
//! Whoever has the machine's user 0 may read what is root's alone, privileges or not: where the kernel's memory is, and what is in it. So only
//! what programs commonly read stays, and everything else that is there when the agent starts is covered, known by name or not. (`subset=pid` leaves nothing at all: `ps`, `free` and
//! `os.cpus()` of Node then find no processor and no memory.)

use std::{
    ffi::{CStr, CString},
    io,
    os::fd::{AsFd, OwnedFd},
};

use rustix::{
    fs::{self, Dir, FileType, Mode, OFlags},
    mount::{self, MountAttrFlags, MoveMountFlags, OpenTreeFlags},
};

use super::newroot::fresh;
use crate::unchecked::{self, MountAttributes};

/// What stays: how many processors and how much memory there are and how busy, which kernel it is, what it knows, and its settings, which are
/// read-only. Each cover takes a few microseconds of every start, and so what is harmless is not among them.
pub const SHOWN: [&str; 24] = [
    "buddyinfo",
    "cgroups",
    "consoles",
    "cpuinfo",
    "crypto",
    "devices",
    "diskstats",
    "dma",
    "execdomains",
    "filesystems",
    "interrupts",
    "loadavg",
    "meminfo",
    "misc",
    "partitions",
    "pressure",
    "softirqs",
    "stat",
    "swaps",
    "sys",
    "sysvipc",
    "uptime",
    "version",
    "vmstat",
];
/// A directory that every `/proc` has, and that is covered first, by what the covers of all others are made of.
const FIRST: &CStr = c"driver";
/// The covers: nobody may open them, their owner included.
const FILE: &CStr = c"file";
const DIRECTORY: &CStr = c"directory";
/// Bytes and files of what the covers are in: next to nothing.
const LIMITS: [(&str, &str); 3] = [("size", "4k"), ("nr_inodes", "4"), ("mode", "0")];

/// Whether an entry of `/proc` stays: processes, links to one's own, and what is [`SHOWN`].
fn stays(name: &[u8], kind: FileType) -> bool {
    name.first().is_none_or(|first| first.is_ascii_digit() || *first == b'.')
        || kind == FileType::Symlink
        || SHOWN.iter().any(|shown| shown.as_bytes() == name)
}

/// Covers everything in a mounted `/proc` but what [`stays`]. The caller is in the mount namespace in which it is mounted.
pub(super) fn cover(proc: &OwnedFd) -> io::Result<()> {
    let covered = to_cover(proc)?;
    let covers = fresh("tmpfs", &LIMITS, MountAttrFlags::MOUNT_ATTR_NODEV | MountAttrFlags::MOUNT_ATTR_NOEXEC)?;
    drop(fs::openat(&covers, FILE, OFlags::CREATE | OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?);
    fs::mkdirat(&covers, DIRECTORY, Mode::empty())?;
    unchecked::mount_setattr(covers.as_fd(), MountAttributes { read_only: true, no_exec: true, devices: false })?;
    // Only what is mounted somewhere can be mounted elsewhere, too.
    put(&covers, proc, FIRST)?;
    for (name, kind) in covered {
        let cover = if kind == FileType::Directory { DIRECTORY } else { FILE };
        let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
        put(&mount::open_tree(&covers, cover, flags)?, proc, &name)?;
    }
    Ok(())
}

fn to_cover(proc: &OwnedFd) -> io::Result<Vec<(CString, FileType)>> {
    let listed = fs::openat(proc, c".", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let mut covered = Vec::new();
    for entry in Dir::new(listed)? {
        let entry = entry?;
        let (name, kind) = (entry.file_name(), entry.file_type());
        if !stays(name.to_bytes(), kind) && name != FIRST {
            covered.push((name.to_owned(), kind));
        }
    }
    Ok(covered)
}

fn put(tree: &OwnedFd, proc: &OwnedFd, name: &CStr) -> rustix::io::Result<()> {
    mount::move_mount(tree, c"", proc, name, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
}
