//! The one file of this workspace that contains `unsafe` code. Each function carries its argument.
#![allow(unsafe_code, reason = "the single, documented exception to the workspace's deny")]

use std::{
    ffi::CStr,
    fs,
    io::{self, Error},
    os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd},
    sync::{Mutex, PoisonError},
};

use rustix::{
    process::{Resource, Rlimit},
    thread::UnshareFlags,
};
use tokio::io::unix::AsyncFd;

/// Held while descriptors of earlier owners are taken or closed, so that a flag that was read is still true when it is acted on.
static INHERITED: Mutex<()> = Mutex::new(());

/// Whether descriptor `number` is open and would survive an exec.
fn survives_exec(number: RawFd) -> io::Result<bool> {
    // SAFETY: F_GETFD takes an integer and returns an integer; a number that is not open yields EBADF. Nothing is changed.
    let flags = unsafe { libc::fcntl(number, libc::F_GETFD) };
    if flags < 0 { Err(Error::last_os_error()) } else { Ok(flags & libc::FD_CLOEXEC == 0) }
}

/// Takes ownership of a descriptor that this process was started with.
///
/// It becomes close-on-exec, so that it is not passed on by accident.
///
/// # Errors
/// A number that is not open, is one of the three standard streams, was already taken, or was opened by this process.
pub fn inherited_fd(number: RawFd) -> io::Result<OwnedFd> {
    let _guard = INHERITED.lock().unwrap_or_else(PoisonError::into_inner);
    if number <= libc::STDERR_FILENO || !survives_exec(number)? {
        return Err(Error::from_raw_os_error(libc::EBADF));
    }
    // SAFETY: F_SETFD takes an integer; the descriptor is open, as was just seen.
    if unsafe { libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC) } < 0 {
        return Err(Error::last_os_error());
    }
    // SAFETY: an `OwnedFd` must be the only owner. Whatever this process opened itself, through std, rustix or tokio, is
    // close-on-exec from its birth; this one was not, so that it was open before the exec and has no owner here. It is
    // close-on-exec from now on, so that a second call for the same number is refused above. The lock makes the two steps one.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// A proof that this process has no descriptor that it was started with but the standard streams and those that it took: what it opens itself
/// is never one, so that it holds for as long as the process lives.
#[derive(Debug)]
pub struct NothingInherited(());

/// Closes every descriptor that this process was started with and has not taken through [`inherited_fd`].
///
/// The three standard streams stay.
///
/// # Errors
/// When the open descriptors cannot be listed (`/proc` is not there) or one cannot be closed.
pub fn close_inherited() -> io::Result<NothingInherited> {
    let _guard = INHERITED.lock().unwrap_or_else(PoisonError::into_inner);
    let mut foreign = Vec::new();
    for entry in fs::read_dir("/proc/self/fd")? {
        let Some(number) = entry?.file_name().to_str().and_then(|name| name.parse::<RawFd>().ok()) else { continue };
        if number > libc::STDERR_FILENO && survives_exec(number)? {
            foreign.push(number);
        }
    }
    for number in &foreign {
        let range = libc::c_uint::try_from(*number).map_err(|_| Error::from_raw_os_error(libc::EBADF))?;
        // SAFETY: closing must not pull a descriptor away from under an owner. As argued in `inherited_fd`, one that is not
        // close-on-exec was open before the exec and has no owner in this process; the lock keeps it from being taken meanwhile.
        if unsafe { libc::syscall(libc::SYS_close_range, range, range, 0_u32) } < 0 {
            return Err(Error::last_os_error());
        }
    }
    Ok(NothingInherited(()))
}

/// Moves the calling thread into new namespaces.
///
/// # Errors
/// What the kernel says; `EINVAL` too for [`UnshareFlags::FILES`], which is not for this function.
pub fn unshare(flags: UnshareFlags) -> io::Result<()> {
    if flags.contains(UnshareFlags::FILES) {
        return Err(Error::from_raw_os_error(libc::EINVAL));
    }
    // SAFETY: the one danger named by `unshare_unsafe` is a table of descriptors that threads no longer share; that flag was refused.
    unsafe { rustix::thread::unshare_unsafe(flags) }.map_err(Error::from)
}

/// What [`mount_setattr`] turns on, beside `nosuid`; it turns nothing off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MountAttributes {
    /// Nothing can be written through the mount.
    pub read_only: bool,
    /// Nothing can be executed from it.
    pub no_exec: bool,
    /// Device nodes can be opened.
    pub devices: bool,
}

/// The kernel's `struct mount_attr`, in its first version (Linux 5.12).
#[repr(C)]
struct MountAttr {
    attr_set: u64,
    attr_clr: u64,
    propagation: u64,
    userns_fd: u64,
}

/// Turns attributes on, for a whole tree of mounts; `nosuid` always is among them.
///
/// # Errors
/// What the kernel says; `ENOSYS` before Linux 5.12.
pub fn mount_setattr(tree: BorrowedFd<'_>, attributes: MountAttributes) -> io::Result<()> {
    // From linux/mount.h; libc does not have them for every target.
    const MOUNT_ATTR_RDONLY: u64 = 0x1;
    const MOUNT_ATTR_NOSUID: u64 = 0x2;
    const MOUNT_ATTR_NODEV: u64 = 0x4;
    const MOUNT_ATTR_NOEXEC: u64 = 0x8;
    const EMPTY: &CStr = c"";
    let mut attr_set = MOUNT_ATTR_NOSUID;
    if !attributes.devices {
        attr_set |= MOUNT_ATTR_NODEV;
    }
    if attributes.read_only {
        attr_set |= MOUNT_ATTR_RDONLY;
    }
    if attributes.no_exec {
        attr_set |= MOUNT_ATTR_NOEXEC;
    }
    let attr = MountAttr { attr_set, attr_clr: 0, propagation: 0, userns_fd: 0 };
    let flags = libc::AT_EMPTY_PATH | libc::AT_RECURSIVE;
    // SAFETY: the path is a NUL-terminated constant; `attr` lives through the call, has the layout that the kernel documents, and the
    // size passed is its own. The kernel reads both and writes to neither.
    let result =
        unsafe { libc::syscall(libc::SYS_mount_setattr, tree.as_raw_fd(), EMPTY.as_ptr(), flags, &raw const attr, size_of::<MountAttr>()) };
    if result < 0 { Err(Error::last_os_error()) } else { Ok(()) }
}

/// A resource limit of this process. (rustix takes it for certain that the kernel answers; a sandbox around Lazarus need not let it.)
///
/// # Errors
/// What the kernel says.
pub fn resource_limit(resource: Resource) -> io::Result<Rlimit> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the call writes one `rlimit`, which is ours and lives through it.
    if unsafe { libc::getrlimit(resource as _, &raw mut limit) } < 0 {
        return Err(Error::last_os_error());
    }
    let bound = |value| (value != libc::RLIM_INFINITY).then_some(value);
    Ok(Rlimit { current: bound(limit.rlim_cur), maximum: bound(limit.rlim_max) })
}

/// Has the kernel discard `SIGXFSZ`, so that a write past the largest file size fails with `EFBIG` instead of ending the process.
///
/// # Errors
/// What the kernel says.
pub fn ignore_file_size_signal() -> io::Result<()> {
    // SAFETY: SIG_IGN installs no handler, so that no code of ours ever runs in signal context; nothing else here uses SIGXFSZ.
    let before = unsafe { libc::signal(libc::SIGXFSZ, libc::SIG_IGN) };
    if before == libc::SIG_ERR { Err(Error::last_os_error()) } else { Ok(()) }
}

/// Runs `probe` in a forked child, and returns its answer: whether something *would* work, without doing it here.
///
/// # Errors
/// `EDEADLK` where the process has more than one thread; what fork or wait say; `ECHILD` where the child was ended by a signal.
pub fn in_forked_child(probe: fn() -> u8) -> io::Result<u8> {
    if thread_count()? != 1 {
        return Err(Error::from_raw_os_error(libc::EDEADLK));
    }
    // SAFETY: fork is dangerous where other threads hold locks that no one will release in the child. This process has one thread, the
    // calling one, as was just counted; only it could have started another since. The child has a whole copy of a consistent process.
    let child = unsafe { libc::fork() };
    if child < 0 {
        return Err(Error::last_os_error());
    }
    if child == 0 {
        let answer = probe();
        // SAFETY: ends the child at once: no destructor and no exit handler of the parent's copy runs, which could flush its buffers twice.
        unsafe { libc::_exit(libc::c_int::from(answer)) }
    }
    let child = rustix::process::Pid::from_raw(child);
    let (_, status) = rustix::io::retry_on_intr(|| rustix::process::waitpid(child, rustix::process::WaitOptions::empty()))?
        .ok_or_else(|| Error::from_raw_os_error(libc::ECHILD))?;
    status.exit_status().and_then(|code| u8::try_from(code).ok()).ok_or_else(|| Error::from_raw_os_error(libc::ECHILD))
}

/// Counts the threads of this process.
///
/// # Errors
/// When `/proc` is not there.
pub fn thread_count() -> io::Result<u64> {
    // The directory has a link for itself, one for its parent, and one a thread: one call, whatever their number.
    use std::os::unix::fs::MetadataExt;
    Ok(fs::metadata("/proc/self/task")?.nlink().saturating_sub(2))
}

/// Maps the machine code of a compiled core module.
///
/// # Errors
/// A file that is not an artefact of this wasmtime and of the engine's settings.
pub fn map_module(engine: &wasmtime::Engine, code: fs::File) -> wasmtime::Result<wasmtime::Module> {
    // SAFETY: what is mapped must have been made by wasmtime for this engine, and must not change while it is mapped. The only caller is the
    // wasm host, for descriptors that its trusted parent opened in the cache of compiled programs: a directory that the parent alone can write
    // to, whose entries are named by the digest of source, engine and settings, are written only by the parent from what its compiling process
    // printed, and are replaced by renaming, never in place. wasmtime itself refuses another version, other settings and other processors.
    // Should the compiling process have been taken over by what it compiled, then this is foreign code: it runs in the host, whose jail
    // closes before any function of a guest is called, and which holds nothing but what that guest was granted.
    unsafe { wasmtime::Module::deserialize_open_file(engine, code) }
}

/// Maps the machine code of a compiled component.
///
/// # Errors
/// As [`map_module`].
pub fn map_component(engine: &wasmtime::Engine, code: &fs::File) -> wasmtime::Result<wasmtime::component::Component> {
    let place = format!("/proc/self/fd/{}", code.as_raw_fd());
    // SAFETY: as for `map_module`. The path leads to the descriptor's own file, whatever has become of its name; the descriptor is open
    // throughout the call, since it is borrowed, and the mapping keeps the file after it.
    unsafe { wasmtime::component::Component::deserialize_file(engine, place) }
}

/// Registers an owned descriptor with the event loop of the current tokio runtime.
///
/// # Errors
/// A descriptor that cannot be waited for.
pub fn watched(fd: OwnedFd, interest: tokio::io::Interest) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: tokio asks that `as_raw_fd` names the same open descriptor for as long as the `AsyncFd` lives. An `OwnedFd`
    // is the only owner of its descriptor, returns that number always, and closes it only when it is dropped, after which
    // `AsyncFd` no longer uses it (it deregisters first, and hands out no way to replace it).
    unsafe { AsyncFd::register_with_interest(fd, interest) }.map_err(|error| error.into_parts().1)
}

/// The version of Landlock that the running kernel has; 0 where it has none.
pub fn landlock_abi() -> u32 {
    // From linux/landlock.h.
    const LANDLOCK_CREATE_RULESET_VERSION: u32 = 1;
    let none = std::ptr::null::<libc::c_void>();
    // SAFETY: with this flag, no pointer and no size, the call reads and writes nothing, and makes nothing: it returns a number.
    let version = unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, none, 0_usize, LANDLOCK_CREATE_RULESET_VERSION) };
    u32::try_from(version).unwrap_or(0)
}

/// Makes a system call by its number, as an attacker does that no library helps: for the drill, in a process that is there for this alone.
///
/// # Errors
/// What the kernel says; `EINVAL` for a call that is not in the list, or an address that is not null.
pub fn attempt_call(name: &str, arguments: [u64; 6]) -> io::Result<i64> {
    let (_, number, addresses) =
        ATTEMPTED.iter().find(|(known, ..)| *known == name).ok_or_else(|| Error::from_raw_os_error(libc::EINVAL))?;
    if (0..6).any(|at| addresses & (1 << at) != 0 && arguments[at] != 0) {
        return Err(Error::from_raw_os_error(libc::EINVAL));
    }
    let [a, b, c, d, e, f] = arguments;
    // SAFETY: a call by number is dangerous where it reads or writes memory by address, changes the mapping of memory, closes or replaces
    // descriptors that somebody owns, or returns twice. The list has no call of the last three kinds, and each argument that its calls
    // take as an address was just seen to be null, which the kernel takes for no memory or answers with EFAULT.
    let result = unsafe { libc::syscall(*number, a, b, c, d, e, f) };
    if result < 0 { Err(Error::last_os_error()) } else { Ok(result) }
}

/// Calls that [`attempt_call`] makes: name, number, and a bit for each argument that is an address.
#[rustfmt::skip]
const ATTEMPTED: &[(&str, libc::c_long, u8)] = &[
    ("getpid", libc::SYS_getpid, 0), ("kill", libc::SYS_kill, 0), ("prlimit", libc::SYS_prlimit64, 0b1100),
    ("setpriority", libc::SYS_setpriority, 0), ("personality", libc::SYS_personality, 0), ("mlockall", libc::SYS_mlockall, 0),
    ("ptrace", libc::SYS_ptrace, 0b1100), ("process-vm-readv", libc::SYS_process_vm_readv, 0b1010),
    ("process-vm-writev", libc::SYS_process_vm_writev, 0b1010), ("pidfd-open", libc::SYS_pidfd_open, 0),
    ("pidfd-getfd", libc::SYS_pidfd_getfd, 0), ("kcmp", libc::SYS_kcmp, 0), ("mount", libc::SYS_mount, 0b1_0111),
    ("umount", libc::SYS_umount2, 0b1), ("pivot-root", libc::SYS_pivot_root, 0b11), ("chroot", libc::SYS_chroot, 0b1),
    ("move-mount", libc::SYS_move_mount, 0b1010), ("open-tree", libc::SYS_open_tree, 0b10), ("fsopen", libc::SYS_fsopen, 0b1),
    ("mount-setattr", libc::SYS_mount_setattr, 0b1010), ("open-by-handle-at", libc::SYS_open_by_handle_at, 0b10),
    ("fanotify-init", libc::SYS_fanotify_init, 0), ("setns", libc::SYS_setns, 0), ("clone3", libc::SYS_clone3, 0b1),
    ("io-uring-setup", libc::SYS_io_uring_setup, 0b10), ("bpf", libc::SYS_bpf, 0b10), ("userfaultfd", libc::SYS_userfaultfd, 0),
    ("perf-event-open", libc::SYS_perf_event_open, 0b1), ("add-key", libc::SYS_add_key, 0b111), ("keyctl", libc::SYS_keyctl, 0b1_1100),
    ("kexec-load", libc::SYS_kexec_load, 0b101), ("init-module", libc::SYS_init_module, 0b101), ("swapon", libc::SYS_swapon, 0b1),
    ("reboot", libc::SYS_reboot, 0b1111), ("sethostname", libc::SYS_sethostname, 0b1), ("settimeofday", libc::SYS_settimeofday, 0b11),
    ("syslog", libc::SYS_syslog, 0b10), ("quotactl", libc::SYS_quotactl, 0b1010), ("acct", libc::SYS_acct, 0b1),
    ("ioctl", libc::SYS_ioctl, 0b100), ("shmget", libc::SYS_shmget, 0), ("msgget", libc::SYS_msgget, 0), ("fcntl", libc::SYS_fcntl, 0b100),
    ("socket", libc::SYS_socket, 0),
];

/// Asks for a scheduling policy for this process, with that priority.
///
/// # Errors
/// What the kernel says: `EPERM` for a real-time policy without the right to it.
pub fn set_scheduler(policy: libc::c_int, priority: libc::c_int) -> io::Result<()> {
    let parameters = libc::sched_param { sched_priority: priority };
    // SAFETY: the call reads one `sched_param`, which lives through it.
    let result = unsafe { libc::sched_setscheduler(0, policy, &raw const parameters) };
    if result < 0 { Err(Error::last_os_error()) } else { Ok(()) }
}

/// System calls that a drill makes with nothing but zeros, by their names. With zeros, none of them can reach memory of this process, end it, or
/// change the machine where no wall holds it: they fail for their arguments, do nothing, or do it to this process alone.
#[rustfmt::skip]
const TRIED: &[(&str, libc::c_long)] = &[
    ("getpid", libc::SYS_getpid), ("execve", libc::SYS_execve), ("execveat", libc::SYS_execveat), ("ptrace", libc::SYS_ptrace),
    ("process_vm_readv", libc::SYS_process_vm_readv), ("process_vm_writev", libc::SYS_process_vm_writev),
    ("pidfd_getfd", libc::SYS_pidfd_getfd), ("mount", libc::SYS_mount), ("umount2", libc::SYS_umount2), ("pivot_root", libc::SYS_pivot_root),
    ("chroot", libc::SYS_chroot), ("move_mount", libc::SYS_move_mount), ("open_tree", libc::SYS_open_tree), ("fsopen", libc::SYS_fsopen),
    ("unshare", libc::SYS_unshare), ("setns", libc::SYS_setns), ("bpf", libc::SYS_bpf), ("io_uring_setup", libc::SYS_io_uring_setup),
    ("userfaultfd", libc::SYS_userfaultfd), ("perf_event_open", libc::SYS_perf_event_open), ("keyctl", libc::SYS_keyctl),
    ("add_key", libc::SYS_add_key), ("request_key", libc::SYS_request_key), ("init_module", libc::SYS_init_module),
    ("open_by_handle_at", libc::SYS_open_by_handle_at), ("name_to_handle_at", libc::SYS_name_to_handle_at), ("setuid", libc::SYS_setuid),
    ("capset", libc::SYS_capset), ("clone3", libc::SYS_clone3), ("personality", libc::SYS_personality), ("swapon", libc::SYS_swapon),
    ("mknodat", libc::SYS_mknodat), ("seccomp", libc::SYS_seccomp), ("sched_setscheduler", libc::SYS_sched_setscheduler),
    ("shmget", libc::SYS_shmget), ("msgget", libc::SYS_msgget), ("mq_open", libc::SYS_mq_open), ("inotify_init1", libc::SYS_inotify_init1),
    ("fanotify_init", libc::SYS_fanotify_init), ("memfd_secret", libc::SYS_memfd_secret), ("kcmp", libc::SYS_kcmp),
    ("process_madvise", libc::SYS_process_madvise), ("setpriority", libc::SYS_setpriority),
];

/// Makes one of the calls that a drill tries, by its name, with nothing but zeros as arguments.
///
/// # Errors
/// What the kernel says; `Unsupported` for a name that is not among them.
pub fn attempt_zeroed(name: &str) -> io::Result<i64> {
    let number = TRIED.iter().find(|(known, _)| *known == name).map(|(_, number)| *number).ok_or(io::ErrorKind::Unsupported)?;
    // SAFETY: only calls of `TRIED` are made. Their pointers are null and their lengths zero, so that the kernel reads and writes nothing here;
    // none of them returns twice, unmaps or closes anything. A descriptor that one of them makes is not owned by anybody, and stays open until
    // this process, which is an attacker's and short-lived, ends.
    let result = unsafe { libc::syscall(number, 0_usize, 0_usize, 0_usize, 0_usize, 0_usize, 0_usize) };
    if result < 0 { Err(Error::last_os_error()) } else { Ok(result) }
}

/// How a drill asks for memory that could hold code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CodeMemory {
    /// Not at all: written, then only read. The twin.
    Data,
    /// Mapped to be written and executed.
    AtOnce,
    /// Mapped to be executed.
    Mapped,
    /// Mapped to be written, and made executable later.
    Later,
}

/// Maps a page as asked, changes it as asked, and gives it back.
///
/// # Errors
/// What the kernel says.
pub fn attempt_code_memory(what: CodeMemory) -> io::Result<()> {
    const PAGE_BYTES: usize = 4096;
    let (first, then) = match what {
        CodeMemory::Data => (libc::PROT_READ | libc::PROT_WRITE, libc::PROT_READ),
        CodeMemory::AtOnce => (libc::PROT_WRITE | libc::PROT_EXEC, libc::PROT_READ),
        CodeMemory::Mapped => (libc::PROT_READ | libc::PROT_EXEC, libc::PROT_READ),
        CodeMemory::Later => (libc::PROT_READ | libc::PROT_WRITE, libc::PROT_READ | libc::PROT_EXEC),
    };
    // SAFETY: a new, private, anonymous mapping at an address that the kernel chooses touches no memory that anybody has.
    let page = unsafe { libc::mmap(std::ptr::null_mut(), PAGE_BYTES, first, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1, 0) };
    if page == libc::MAP_FAILED {
        return Err(Error::last_os_error());
    }
    // SAFETY: the page is the one that was just mapped, nobody else knows of it, and nothing in it is read, written or executed.
    let changed = if unsafe { libc::mprotect(page, PAGE_BYTES, then) } < 0 { Err(Error::last_os_error()) } else { Ok(()) };
    // SAFETY: as above; the page is not used afterwards.
    unsafe { libc::munmap(page, PAGE_BYTES) };
    changed
}

/// A descriptor of this process by its number, to be looked at while it is open.
///
/// # Errors
/// `EBADF`: it is not open.
pub fn any_descriptor(number: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: F_DUPFD_CLOEXEC takes integers; a number that is not open yields EBADF. Nothing of the original is changed.
    let copy = unsafe { libc::fcntl(number, libc::F_DUPFD_CLOEXEC, 0) };
    // SAFETY: the kernel just made this descriptor, and nobody else has it.
    if copy < 0 { Err(Error::last_os_error()) } else { Ok(unsafe { OwnedFd::from_raw_fd(copy) }) }
}

/// A system call that the kernel holds until somebody else has decided about it: seccomp_unotify(2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeldCall {
    /// What it is known by, until it is decided.
    pub id: u64,
    /// The thread that makes it.
    pub thread: u32,
    /// Its number.
    pub number: libc::c_long,
    /// Its arguments. Pointers are into that thread's memory.
    pub arguments: [u64; 6],
}

/// Has these system calls of this thread, and of whatever it starts from now on, held for whoever reads the returned descriptor.
///
/// The thread must have `no_new_privs`. A filter that refuses a call comes first: it is then refused, and nobody is asked.
///
/// # Errors
/// What the kernel says: `EBUSY` where somebody else holds calls of this thread already.
pub fn hold_calls(numbers: &[libc::c_long]) -> io::Result<OwnedFd> {
    // From linux/bpf_common.h: load a word at an offset (that of the call's number is 0); jump if equal; return.
    let step = |code: u16, jt: u8, jf: u8, k: u32| libc::sock_filter { code, jt, jf, k };
    let mut program = vec![step(0x20, 0, 0, 0)];
    for number in numbers {
        let number = u32::try_from(*number).map_err(|_| Error::from_raw_os_error(libc::EINVAL))?;
        program.extend([step(0x15, 0, 1, number), step(0x06, 0, 0, libc::SECCOMP_RET_USER_NOTIF)]);
    }
    program.push(step(0x06, 0, 0, libc::SECCOMP_RET_ALLOW));
    let length = u16::try_from(program.len()).map_err(|_| Error::from_raw_os_error(libc::EINVAL))?;
    let program = libc::sock_fprog { len: length, filter: program.as_mut_ptr() };
    let flags = libc::SECCOMP_FILTER_FLAG_NEW_LISTENER;
    // SAFETY: `program` and the instructions that it points to, as many as it says, live through the call, which only reads them.
    let listener = unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags, &raw const program) };
    if listener < 0 {
        return Err(Error::last_os_error());
    }
    let listener = RawFd::try_from(listener).map_err(|_| Error::from_raw_os_error(libc::EBADF))?;
    // SAFETY: the kernel just made this descriptor for this call (close-on-exec), so that nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(listener) })
}

/// The next call that is held; waits for one.
///
/// # Errors
/// What the kernel says: `ENOENT` where its thread went away meanwhile (look for the next one), `EINTR`.
pub fn held_call(listener: BorrowedFd<'_>) -> io::Result<HeldCall> {
    // SAFETY: the type is made of integers alone, for which all zeroes are a value; the kernel asks for a zeroed one.
    let mut held: libc::seccomp_notif = unsafe { std::mem::zeroed() };
    // SAFETY: the request writes one `seccomp_notif`, the size of which is part of its number, into memory that is ours and lives through it.
    if unsafe { libc::ioctl(listener.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_RECV, &raw mut held) } < 0 {
        return Err(Error::last_os_error());
    }
    Ok(HeldCall { id: held.id, thread: held.pid, number: held.data.nr.into(), arguments: held.data.args })
}

/// Ends a held call with an error number; 0 lets it return 0 without having been made.
///
/// # Errors
/// What the kernel says: `ENOENT` where its thread went away meanwhile.
pub fn end_held_call(listener: BorrowedFd<'_>, id: u64, errno: i32) -> io::Result<()> {
    let mut answer = libc::seccomp_notif_resp { id, val: 0, error: -errno, flags: 0 };
    // SAFETY: the request reads one `seccomp_notif_resp`, which lives through it.
    let result = unsafe { libc::ioctl(listener.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_SEND, &raw mut answer) };
    if result < 0 { Err(Error::last_os_error()) } else { Ok(()) }
}

/// Puts a copy of `given` in the place of descriptor `number` of the process whose call is held.
///
/// # Errors
/// What the kernel says: `ENOENT` where its thread went away meanwhile.
pub fn give_to_held(listener: BorrowedFd<'_>, id: u64, number: u32, given: BorrowedFd<'_>, close_on_exec: bool) -> io::Result<()> {
    let given = u32::try_from(given.as_raw_fd()).map_err(|_| Error::from_raw_os_error(libc::EBADF))?;
    // The constants are wider than the fields that they are for.
    let flags = u32::try_from(libc::SECCOMP_ADDFD_FLAG_SETFD).map_err(|_| Error::from_raw_os_error(libc::EINVAL))?;
    let newfd_flags = if close_on_exec { libc::O_CLOEXEC.cast_unsigned() } else { 0 };
    let mut request = libc::seccomp_notif_addfd { id, flags, srcfd: given, newfd: number, newfd_flags };
    // SAFETY: the request reads one `seccomp_notif_addfd`, which lives through it. It changes descriptors of the other process alone;
    // where that is this very one, nobody here holds a call of its own.
    let result = unsafe { libc::ioctl(listener.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_ADDFD, &raw mut request) };
    if result < 0 { Err(Error::last_os_error()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_descriptor_of_our_own_is_not_inherited() {
        let file = fs::File::open("/dev/null").expect("open");
        assert_eq!(inherited_fd(file.as_raw_fd()).map_err(|e| e.raw_os_error()).err(), Some(Some(libc::EBADF)));
        assert!(inherited_fd(1).is_err());
        assert!(inherited_fd(-1).is_err());
        assert!(inherited_fd(1_000_000).is_err());
    }

    #[test]
    fn an_inherited_descriptor_is_taken_once() {
        // A descriptor without the flag stands for one that survived an exec.
        let file = fs::File::open("/dev/null").expect("open");
        let survivor = rustix::io::fcntl_dupfd_cloexec(&file, 3).expect("duplicate");
        rustix::io::fcntl_setfd(&survivor, rustix::io::FdFlags::empty()).expect("clear");
        let number = std::os::fd::IntoRawFd::into_raw_fd(survivor);
        let taken = inherited_fd(number).expect("taken");
        assert!(inherited_fd(number).is_err());
        assert!(rustix::io::fcntl_getfd(&taken).expect("flags").contains(rustix::io::FdFlags::CLOEXEC));
    }

    #[test]
    fn threads_are_counted() {
        let before = thread_count().expect("count");
        assert!(before >= 1);
        let (hold, wait) = std::sync::mpsc::channel::<()>();
        let thread = std::thread::spawn(move || wait.recv());
        assert!(thread_count().expect("count") > 1);
        drop(hold);
        assert!(thread.join().is_ok());
    }

    #[test]
    fn a_table_of_descriptors_is_not_unshared() {
        assert!(unshare(UnshareFlags::FILES).is_err());
    }
}
