//! System calls that no agent needs, and that reach past the jail: each refused by its number, beside one that is harmless.

use super::FILTERED;
use crate::drill::{
    Attack,
    Death::{self, Errno},
    Outcome::Escape,
    acts,
};

/// A row of this table.
const fn row(name: &'static str, what: &'static str, attack: &'static [&'static str], twin: &'static [&'static str]) -> Attack {
    died(name, what, attack, twin, FILTERED)
}

/// The same, where it dies otherwise.
const fn died(
    name: &'static str,
    what: &'static str,
    attack: &'static [&'static str],
    twin: &'static [&'static str],
    dies: &'static [Death],
) -> Attack {
    super::row(name, what, acts::call, attack, twin, dies, Escape)
}

/// A call that everybody may make.
const HARMLESS: &[&str] = &["getpid"];
/// Puts a character into a terminal's input; asks the console's interpreter; marks a descriptor to be closed on exec.
const TIOCSTI: &str = "21522";
const TIOCLINUX: &str = "21532";
const FIOCLEX: &str = "21585";
/// Commands of fcntl(2), from linux/fcntl.h.
const SETLEASE: &str = "1024";
const NOTIFY: &str = "1026";
const GETFD: &str = "1";

/// The attacks.
#[rustfmt::skip]
pub(super) const ATTACKS: &[Attack] = &[
    row("neighbours/mount", "mounts a file system", &["mount"], HARMLESS),
    row("neighbours/unmount", "takes a mount away that hides something", &["umount"], HARMLESS),
    row("neighbours/pivot-root", "makes another directory its root", &["pivot-root"], HARMLESS),
    row("neighbours/chroot", "makes another directory its root, the old way", &["chroot"], HARMLESS),
    row("neighbours/move-mount", "moves a mount", &["move-mount"], HARMLESS),
    row("neighbours/open-tree", "opens a tree of mounts", &["open-tree"], HARMLESS),
    row("neighbours/new-mount", "makes a file system by the newer calls", &["fsopen"], HARMLESS),
    row("neighbours/mount-attributes", "makes a read-only mount writable", &["mount-setattr"], HARMLESS),
    row("neighbours/enter-namespace", "enters a namespace", &["setns"], HARMLESS),
    died("neighbours/clone3", "makes a process in namespaces of its own, past the filter", &["clone3"], HARMLESS, &[Errno(libc::ENOSYS)]),
    row("neighbours/io-uring", "makes a queue of system calls that no filter sees", &["io-uring-setup"], HARMLESS),
    row("neighbours/kernel-program", "loads a program into the kernel", &["bpf"], HARMLESS),
    row("neighbours/page-faults", "answers page faults itself, as exploits of the kernel do", &["userfaultfd"], HARMLESS),
    row("neighbours/counters", "counts events of the machine", &["perf-event-open"], HARMLESS),
    row("neighbours/keys", "adds a key to its user's keyring", &["add-key"], HARMLESS),
    row("neighbours/keyring", "looks for its user's keyring", &["keyctl"], HARMLESS),
    row("neighbours/watch-files", "watches every file of a file system", &["fanotify-init"], HARMLESS),
    row("neighbours/quota", "asks for other users' quotas", &["quotactl"], HARMLESS),
    row("neighbours/accounting", "switches on process accounting", &["acct"], HARMLESS),
    row("neighbours/kernel-log", "reads the kernel's log", &["syslog"], HARMLESS),
    row("neighbours/new-kernel", "loads another kernel", &["kexec-load"], HARMLESS),
    row("neighbours/module", "loads a module into the kernel", &["init-module"], HARMLESS),
    row("neighbours/reboot", "restarts the machine", &["reboot"], HARMLESS),
    row("neighbours/clock", "sets the machine's clock", &["settimeofday"], HARMLESS),
    row("neighbours/host-name", "renames the machine", &["sethostname"], HARMLESS),
    row("neighbours/swap", "adds swap space", &["swapon"], HARMLESS),
    row("neighbours/personality", "switches on ancient behaviour of the kernel", &["personality", "131072"], &["personality", "4294967295"]),
    row("neighbours/terminal-input", "types into the terminal of whoever watches it",
        &["ioctl", "1", TIOCSTI], &["ioctl", "1", FIOCLEX]),
    row("neighbours/lease", "takes a lease, for which whoever opens the file waits", &["fcntl", "0", SETLEASE], &["fcntl", "0", GETFD]),
    row("neighbours/notify", "has itself told what others do in a directory", &["fcntl", "0", NOTIFY], &["fcntl", "0", GETFD]),
    row("neighbours/console", "asks the console's own interpreter", &["ioctl", "1", TIOCLINUX], &["ioctl", "1", FIOCLEX]),
];
