//! Other cells, other processes, and the trusted side itself.

use super::{FILTERED, HIDDEN, row};
use crate::drill::{
    Attack,
    Death::{self, Errno, Harmless, Signal},
    Outcome::{Crash, Escape, Read, Write},
    acts,
};

/// No such process, in a pid namespace; not for it, behind Landlock.
const NOBODY: &[Death] = &[Errno(libc::ESRCH), Errno(libc::EPERM)];
/// A call that its own process may be asked about.
const SELF: &str = "0";

/// The attacks.
#[rustfmt::skip]
pub(super) const ATTACKS: &[Attack] = &[
    row("neighbours/home", "reads a secret in another cell's home", acts::read,
        &["{neighbour-home}/secret"], &["{inside}/secret"], HIDDEN, Read),
    row("neighbours/home-written", "writes into another cell's home", acts::create,
        &["{neighbour-home}/new"], &["{inside}/new"], HIDDEN, Write),
    row("neighbours/cell", "lists what another cell has", acts::list,
        &["{root}/cells/{neighbour-cell}"], &["{inside}/dir"], HIDDEN, Read),
    row("neighbours/logs", "lists another cell's logs", acts::list,
        &["{root}/cells/{neighbour-cell}/logs"], &["{inside}/dir"], HIDDEN, Read),
    row("neighbours/registry", "reads the registry", acts::read, &["{root}/registry.db"], &["{inside}/secret"], HIDDEN, Read),
    row("neighbours/registry-written", "writes into the registry", acts::append,
        &["{root}/registry.db"], &["{inside}/file"], HIDDEN, Write),
    row("neighbours/kill-bystander", "kills a process outside", acts::signal,
        &["{bystander}", "9"], &["child", "9"], NOBODY, Escape),
    row("neighbours/stop-bystander", "stops a process outside", acts::signal,
        &["{bystander}", "19"], &["child", "19"], NOBODY, Escape),
    row("neighbours/kill-neighbour", "kills an agent of another cell", acts::signal,
        &["{neighbour}", "9"], &["child", "9"], NOBODY, Escape),
    row("neighbours/kill-warden", "kills a warden", acts::signal,
        &["{warden}", "9"], &["child", "9"], NOBODY, Escape),
    row("neighbours/kill-operator", "kills whoever runs this drill", acts::signal,
        &["{drill}", "9"], &["child", "9"], NOBODY, Escape),
    row("neighbours/kill-all", "kills every process that it can", acts::call,
        &["kill", "-1", "9"], &["kill", "-1", "0"], &[Harmless, Errno(libc::ESRCH), Errno(libc::EPERM), Signal(libc::SIGKILL)], Escape)
        .alone(&[]),
    row("neighbours/kill-reaper", "kills process 1 of its cell, which is to end it", acts::signal,
        &["1", "9"], &["child", "9"], &[Errno(libc::EPERM)], Escape),
    row("neighbours/trace", "traces a process outside", acts::call,
        &["ptrace", "16", "{bystander}"], &["getpid", "16", "{bystander}"], FILTERED, Read),
    row("neighbours/memory-read", "reads a process's memory", acts::call,
        &["process-vm-readv", "{bystander}"], &["getpid", "{bystander}"], FILTERED, Read),
    row("neighbours/memory-written", "writes a process's memory", acts::call,
        &["process-vm-writev", "{bystander}"], &["getpid", "{bystander}"], FILTERED, Write),
    row("neighbours/memory-file", "reads a process's memory through /proc", acts::read,
        &["/proc/{bystander}/mem"], &["{inside}/secret"], HIDDEN, Read),
    row("neighbours/limits", "sets the limits of a process outside", acts::call,
        &["prlimit", "{bystander}", "7"], &["prlimit", SELF, "7"], FILTERED, Escape),
    row("neighbours/priority", "sets the priority of a process outside", acts::call,
        &["setpriority", "0", "{bystander}", "10"], &["setpriority", "0", SELF, "10"], NOBODY, Escape),
    row("neighbours/handle", "gets hold of a process outside", acts::call,
        &["pidfd-open", "{bystander}"], &["getpid", "{bystander}"], NOBODY, Read).promised("sees no process but"),
    row("neighbours/shared-memory", "makes a segment of shared memory that all processes of its user can open", acts::call,
        &["shmget", "1146244172", "4096", "950"], &["getpid", "1146244172", "4096", "950"], &[Harmless, Errno(libc::EPERM)], Escape),
    row("neighbours/stray-file", "leaves a file for others in the machine's directory for temporary files", acts::create,
        &["/tmp/{stray}"], &["{inside}/{stray}"], &[Harmless, Errno(libc::ENOENT), Errno(libc::EACCES)], Write),
    row("neighbours/stray-memory", "leaves a file for others in the machine's shared memory", acts::create,
        &["/dev/shm/{stray}"], &["{inside}/{stray}"], &[Harmless, Errno(libc::ENOENT), Errno(libc::EACCES)], Write),
    row("neighbours/user-namespace", "makes a user namespace, in which it would be root", acts::unshare,
        &["user"], &["none"], FILTERED, Escape),
    row("neighbours/mount-namespace", "makes a mount namespace", acts::unshare, &["mount"], &["none"], FILTERED, Escape),
    row("neighbours/network-namespace", "makes a network namespace", acts::unshare, &["network"], &["none"], FILTERED, Escape),
    row("neighbours/answer-of-the-reaper", "stops process 1 of its cell, so that nobody ends it", acts::signal,
        &["1", "19"], &["child", "19"], &[Errno(libc::EPERM)], Crash),
];
