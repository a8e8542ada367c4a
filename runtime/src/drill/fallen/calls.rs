//! System calls: networks, processes, privileges, code. The list of what a host needs stands in the way.

use libc::{EACCES, ENOENT, ENOSYS, EPERM, SIGSYS};

use super::{
    acts::{call, code, file, loosen, process, talk},
    row,
};
use crate::drill::{
    Attack,
    Death::{self, Errno, Signal},
    Outcome::{Escape, Read},
};

/// A call with nothing but zeros, beside one that is allowed.
const fn bare(name: &'static str, what: &'static str, attack: &'static [&'static str], dies: &'static [Death]) -> Attack {
    row(name, what, call, attack, &["getpid"], dies, Escape)
}

/// Not on the list.
const REFUSED: &[Death] = &[Errno(EPERM)];
/// On the list of what only somebody makes who has broken out.
const KILLED: &[Death] = &[Signal(SIGSYS)];

/// The attacks.
#[rustfmt::skip]
pub(super) const ATTACKS: &[Attack] = &[
    row("network/tcp", "makes a TCP socket", talk, &["tcp", ""], &["pair", ""], REFUSED, Escape),
    row("network/tcp-ipv6", "makes a TCP socket for IPv6", talk, &["tcp6", ""], &["pair", ""], REFUSED, Escape),
    row("network/udp", "makes a UDP socket", talk, &["udp", ""], &["pair", ""], REFUSED, Escape),
    row("network/raw", "makes a raw socket", talk, &["raw", ""], &["pair", ""], REFUSED, Escape),
    row("network/netlink", "makes a netlink socket", talk, &["netlink", ""], &["pair", ""], REFUSED, Escape),
    row("network/packet", "makes a packet socket", talk, &["packet", ""], &["pair", ""], REFUSED, Escape),
    row("network/vsock", "makes a socket to the hypervisor", talk, &["vsock", ""], &["pair", ""], REFUSED, Escape),
    row("network/crypto", "makes a socket to the kernel's cryptography", talk, &["alg", ""], &["pair", ""], REFUSED, Escape),
    row("network/unix", "connects to a UNIX socket of the machine, by its path", talk, &["unix", "{socket}"], &["pair", "{socket}"], REFUSED, Escape),
    row("network/abstract", "connects to an abstract UNIX socket of the machine", talk,
        &["abstract", "{abstract}"], &["pair", "{abstract}"], REFUSED, Escape),
    bare("network/io-uring", "goes around the filter, by io_uring", &["io_uring_setup"], KILLED),
    row("neighbours/kill", "ends a process outside", process, &["kill", "{bystander}"], &["kill", "own"], REFUSED, Escape),
    row("neighbours/kill-warden", "ends a warden", process, &["kill", "{warden}"], &["kill", "own"], REFUSED, Escape),
    row("neighbours/handle", "opens a handle to a process", process, &["handle", "own"], &["kill", "own"], REFUSED, Escape),
    row("environment/of-others", "reads the variables of a process outside", file,
        &["read", "/proc/{bystander}/environ"], &["read", "{inside}/secret"], &[Errno(EACCES), Errno(ENOENT)], Read),
    row("neighbours/memory", "reads the memory of a process outside, through /proc", file,
        &["read", "/proc/{bystander}/mem"], &["read", "{inside}/secret"], &[Errno(EACCES), Errno(ENOENT)], Read),
    row("neighbours/descriptors", "lists the descriptors of a warden, through /proc", file,
        &["list", "/proc/{warden}/fd"], &["list", "{inside}"], &[Errno(EACCES), Errno(ENOENT)], Read),
    bare("neighbours/trace", "traces another process", &["ptrace"], KILLED),
    bare("neighbours/read-memory", "reads another process's memory, by the call for that", &["process_vm_readv"], KILLED),
    bare("neighbours/write-memory", "writes another process's memory, by the call for that", &["process_vm_writev"], KILLED),
    bare("neighbours/take-descriptor", "takes a descriptor of another process", &["pidfd_getfd"], KILLED),
    bare("neighbours/compare", "compares kernel objects of two processes", &["kcmp"], REFUSED),
    bare("neighbours/advise", "advises on another process's memory", &["process_madvise"], REFUSED),
    bare("neighbours/execute", "executes another program", &["execve"], KILLED),
    bare("neighbours/execute-descriptor", "executes another program, by a descriptor", &["execveat"], KILLED),
    bare("neighbours/clone", "starts a process with its flags in memory, where no filter looks", &["clone3"], &[Errno(ENOSYS)]),
    bare("neighbours/namespaces", "makes namespaces", &["unshare"], KILLED),
    bare("neighbours/enter", "enters other namespaces", &["setns"], KILLED),
    bare("neighbours/mount", "mounts a file system", &["mount"], KILLED),
    bare("neighbours/unmount", "unmounts a file system", &["umount2"], KILLED),
    bare("neighbours/move-mount", "moves a mount", &["move_mount"], KILLED),
    bare("neighbours/open-tree", "clones a mount", &["open_tree"], KILLED),
    bare("neighbours/new-filesystem", "makes a file system", &["fsopen"], KILLED),
    bare("neighbours/pivot", "swaps the root", &["pivot_root"], KILLED),
    bare("neighbours/chroot", "changes its root", &["chroot"], KILLED),
    bare("neighbours/by-handle", "opens a file by its handle, past all paths", &["open_by_handle_at"], KILLED),
    bare("neighbours/name-handle", "learns a file's handle", &["name_to_handle_at"], REFUSED),
    bare("neighbours/device", "makes a device node", &["mknodat"], REFUSED),
    bare("neighbours/bpf", "loads a program into the kernel", &["bpf"], KILLED),
    bare("neighbours/module", "loads a kernel module", &["init_module"], KILLED),
    bare("neighbours/perf", "counts what the machine does", &["perf_event_open"], KILLED),
    bare("neighbours/keys", "asks for the operator's keys", &["keyctl"], KILLED),
    bare("neighbours/add-key", "adds a key to the operator's", &["add_key"], KILLED),
    bare("neighbours/become", "becomes another user", &["setuid"], KILLED),
    bare("neighbours/capabilities", "takes capabilities", &["capset"], KILLED),
    bare("neighbours/swap", "adds swap to the machine", &["swapon"], REFUSED),
    bare("neighbours/realtime", "asks for real-time priority", &["sched_setscheduler"], REFUSED),
    bare("neighbours/watch-all", "watches every file of the machine", &["fanotify_init"], REFUSED),
    bare("neighbours/watch", "watches files", &["inotify_init1"], REFUSED),
    bare("neighbours/queue", "makes a message queue", &["msgget"], REFUSED),
    bare("neighbours/personality", "changes how the kernel treats it", &["personality"], REFUSED),
    bare("memory/shared", "makes shared memory, which outlives it", &["shmget"], REFUSED),
    bare("memory/secret", "makes memory that the machine cannot see", &["memfd_secret"], REFUSED),
    bare("memory/faults", "handles its own page faults, to stop the kernel half way", &["userfaultfd"], KILLED),
    row("memory/code-at-once", "maps memory to be written and executed", code, &["at-once"], &["data"], REFUSED, Escape),
    row("memory/code-mapped", "maps memory to be executed", code, &["mapped"], &["data"], REFUSED, Escape),
    row("memory/code-later", "writes code of its own, and makes it executable", code, &["later"], &["data"], REFUSED, Escape),
    row("memory/limits", "raises its limits", loosen, &["limits"], &["look"], REFUSED, Escape),
    row("environment/dumpable", "makes itself readable for others of its user", loosen, &["dumpable"], &["look"], REFUSED, Escape),
    row("neighbours/priority", "goes before everybody else", loosen, &["priority"], &["look"], REFUSED, Escape),
];
