//! Memory, processor and disk: taking more than was given, each in a cell of its own that has little.

use crate::drill::{
    Act, Attack,
    Death::{self, Errno, Harmless, Limit, Signal},
    Outcome::Crash,
    acts,
};

/// A row of this table.
const fn row(
    name: &'static str,
    what: &'static str,
    act: Act,
    attack: &'static [&'static str],
    twin: &'static [&'static str],
    dies: &'static [Death],
) -> Attack {
    super::row(name, what, act, attack, twin, dies, Crash)
}

/// How memory ends: the kernel kills whoever asks for more (control group), or gives none (rlimit).
const MEMORY: &[Death] = &[Signal(libc::SIGKILL), Signal(libc::SIGABRT), Limit("memory"), Errno(libc::ENOMEM)];
/// How the disk ends.
const FULL: &[Death] = &[Errno(libc::EFBIG), Errno(libc::ENOSPC), Errno(libc::EDQUOT), Signal(libc::SIGXFSZ), Limit("home")];

/// The attacks.
#[rustfmt::skip]
pub(super) const ATTACKS: &[Attack] = &[
    row("memory/grows", "takes eight times the memory that it was given", acts::grow,
        &["512"], &["8"], MEMORY).alone(&["--memory=64MiB"]),
    row("memory/together", "takes the memory in several processes, each of which stays below the limit", acts::grow_together,
        &["8", "24"], &["1", "24"], MEMORY).alone(&["--memory=96MiB"]).promised("MiB of memory"),
    row("memory/locked", "locks all its memory, so that the machine cannot move it away", acts::call,
        &["mlockall", "7"], &["getpid", "7"], &[Errno(libc::ENOMEM), Errno(libc::EPERM)]),
    row("cpu/spins", "uses the processor past its budget", acts::spin,
        &["3000"], &["20"], &[Signal(libc::SIGXCPU), Signal(libc::SIGKILL), Limit("cpu")]).alone(&["--cpu=1s"]),
    row("cpu/never-ends", "sleeps past the time that it was given", acts::sleep,
        &["9000"], &["1"], &[Limit("timeout")]).alone(&["--timeout=2s"]),
    row("cpu/priority", "takes precedence over every other process", acts::call,
        &["setpriority", "0", "0", "-20"], &["setpriority", "0", "0", "5"], &[Errno(libc::EACCES), Errno(libc::EPERM)]),
    row("cpu/real-time", "asks for a real-time schedule, which nothing else gets past", acts::schedule,
        &["real-time"], &["usual"], &[Errno(libc::EPERM)]),
    row("cpu/fork-bomb", "starts more processes than it was given", acts::forks,
        &["64"], &["2"], &[Errno(libc::EAGAIN)]).alone(&["--processes=24"]).promised("processes and threads"),
    row("disk/huge-file", "writes a file past the limit of its home", acts::fill,
        &["{inside}/huge", "16"], &["{inside}/huge", "1"], FULL).alone(&["--home=4MiB"]),
    row("disk/sparse-file", "makes a file that claims to be of 64 GiB", acts::sparse,
        &["{inside}/sparse", "65536"], &["{inside}/sparse", "1"], FULL),
    row("disk/many-files", "fills its home with thousands of small files", acts::many_files,
        &["{inside}", "4000"], &["{inside}", "20"], FULL).alone(&["--home=4MiB"]),
    row("disk/deep-tree", "leaves a tree of 400 directories to whoever removes its home", acts::deep_tree,
        &["{inside}/dir", "400"], &["{inside}/dir", "3"], &[Harmless]).alone(&[]),
    row("disk/closed-directory", "leaves a directory that nobody may enter to whoever removes its home", acts::chmod,
        &["{inside}/dir", "000"], &["{inside}/dir", "700"], &[Harmless]).alone(&[]),
    row("disk/before-1970", "leaves a file from long before 1970", acts::set_time,
        &["{inside}/file", "-9000000000"], &["{inside}/file", "0"], &[Harmless]).alone(&[]),
];
