//! What is open, and what is inherited.

use super::{HIDDEN, READ_ONLY, row};
use crate::drill::{
    Attack,
    Death::{Errno, Harmless},
    Outcome::{Crash, Escape, Read, Write},
    acts,
};

/// The attacks.
#[rustfmt::skip]
pub(super) const ATTACKS: &[Attack] = &[
    row("descriptors/inherited", "looks for a descriptor that it was not given, and reads what it finds", acts::held,
        &["3"], &["0"], &[Errno(libc::EBADF)], Read),
    row("descriptors/exhausted", "opens files until the machine has no descriptors left", acts::exhaust,
        &["{inside}/file", "100000"], &["{inside}/file", "50"], &[Errno(libc::EMFILE)], Crash),
    row("descriptors/reopened-for-writing", "opens a file for reading, and the open file again for writing", acts::reopen,
        &["{readonly}/file"], &["{inside}/file"], READ_ONLY, Write),
    row("descriptors/of-a-warden", "opens what a warden holds open", acts::read,
        &["/proc/{warden}/fd/3"], &["{inside}/secret"], HIDDEN, Read),
    row("descriptors/of-the-reaper", "opens what process 1 of its cell holds open", acts::read,
        &["/proc/1/fd/3"], &["{inside}/secret"], HIDDEN, Read),
    row("descriptors/taken-from-another", "takes a descriptor out of another process", acts::call,
        &["pidfd-getfd", "1", "0"], &["getpid", "1", "0"], &[Errno(libc::EPERM)], Read),
    row("descriptors/compared", "compares its descriptors with those of another process", acts::call,
        &["kcmp", "{bystander}", "{bystander}"], &["getpid", "{bystander}", "{bystander}"], &[Errno(libc::EPERM)], Read),
    row("descriptors/sent-to-the-warden", "fills its warden's table with descriptors that it sends along", acts::send_descriptors,
        &["{socket-of-cell}", "64"], &["{socket-of-cell}", "0"],
        &[Harmless, Errno(libc::EPIPE), Errno(libc::ECONNRESET), Errno(libc::EAGAIN)], Crash).speaking(),
    row("descriptors/by-handle", "opens a file by a handle, past every directory", acts::call,
        &["open-by-handle-at", "-100"], &["getpid", "-100"], &[Errno(libc::EPERM)], Escape),
    row("environment/operator-variable", "reads a variable of whoever summoned it", acts::variable,
        &["DRILL_OPERATOR_SECRET"], &["HERMES_HOME"], &[Errno(libc::ENOENT)], Read),
    row("environment/of-init", "reads the variables of process 1 of its cell", acts::read,
        &["/proc/1/environ"], &["{inside}/secret"], HIDDEN, Read),
    row("environment/of-the-operator", "reads the variables of whoever started this drill", acts::read,
        &["/proc/{drill}/environ"], &["{inside}/secret"], HIDDEN, Read),
    row("environment/of-a-bystander", "reads the variables of a process outside", acts::read,
        &["/proc/{bystander}/environ"], &["{inside}/secret"], HIDDEN, Read),
    row("environment/of-a-neighbour", "reads the variables of an agent in another cell", acts::read,
        &["/proc/{neighbour}/environ"], &["{inside}/secret"], HIDDEN, Read),
    row("environment/command-line", "reads the command line of a process outside", acts::read,
        &["/proc/{bystander}/cmdline"], &["{inside}/secret"], HIDDEN, Read),
    row("environment/plan-of-a-cell", "reads another cell's plan, which holds its variables", acts::read,
        &["{root}/cells/{neighbour-cell}/plan.json"], &["{inside}/secret"], HIDDEN, Read),
    row("environment/core-dump", "asks for core dumps, into which secrets go", acts::allow_core,
        &["1000000"], &["0"], &[Errno(libc::EPERM), Errno(libc::EINVAL)], Read),
];
