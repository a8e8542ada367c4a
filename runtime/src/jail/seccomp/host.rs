//! The wasm host: what wasmtime, wasmtime-wasi and a tokio event loop need, and nothing else.
//!
//! A call that is not on the list fails with `EPERM`: libraries probe for optional calls and have a way without them, and a
//! guest must not be able to end its neighbours' host by making WASI ask for something odd (a socket, say). Calls that no path
//! of wasmtime or WASI leads to end the process at once: whoever makes one of them has broken out of wasmtime.

use seccompiler::SeccompAction;

use super::{
    Call, List, Rules, calls, errno,
    rule::{all, any_arguments, masked, never_execute, threads_only, to_self, when_null, when_one_of},
};
use crate::jail::error::SeccompError;

/// Memory, threads, time and signals: what any Rust program with threads needs.
#[rustfmt::skip]
pub(super) const RUNTIME: &[Call] = calls![
    SYS_read, SYS_write, SYS_readv, SYS_writev, SYS_close, SYS_fstat, SYS_lseek, SYS_dup,
    SYS_munmap, SYS_mremap, SYS_madvise, SYS_brk, SYS_mincore, SYS_membarrier,
    SYS_futex, SYS_set_robust_list, SYS_rseq, SYS_set_tid_address, SYS_sched_yield,
    SYS_sched_getaffinity, SYS_gettid, SYS_getpid, SYS_exit, SYS_exit_group,
    SYS_rt_sigaction, SYS_rt_sigprocmask, SYS_rt_sigreturn, SYS_sigaltstack, SYS_restart_syscall,
    SYS_clock_gettime, SYS_clock_getres, SYS_clock_nanosleep, SYS_nanosleep, SYS_gettimeofday,
    SYS_getrandom, SYS_getrusage, SYS_getuid, SYS_geteuid, SYS_getgid, SYS_getegid,
    SYS_ppoll, SYS_uname, SYS_sysinfo,
];

/// Files, as far as Landlock lets them be reached.
#[rustfmt::skip]
const FILES: &[Call] = calls![
    SYS_openat, SYS_openat2, SYS_statx, SYS_newfstatat, SYS_faccessat, SYS_faccessat2,
    SYS_getdents64, SYS_readlinkat, SYS_pread64, SYS_pwrite64, SYS_preadv, SYS_pwritev,
    SYS_preadv2, SYS_pwritev2, SYS_mkdirat, SYS_unlinkat, SYS_renameat2,
    SYS_linkat, SYS_symlinkat, SYS_ftruncate, SYS_fallocate, SYS_fadvise64, SYS_fsync,
    SYS_fdatasync, SYS_dup3, SYS_fstatfs, SYS_flock, SYS_getcwd,
    SYS_memfd_create, SYS_sendfile, SYS_copy_file_range,
];

/// The event loop, and messages on sockets that were inherited.
#[rustfmt::skip]
const EVENTS: &[Call] = calls![
    SYS_epoll_create1, SYS_epoll_ctl, SYS_epoll_pwait, SYS_epoll_pwait2, SYS_eventfd2,
    SYS_timerfd_create, SYS_timerfd_settime, SYS_timerfd_gettime, SYS_pipe2, SYS_sendmsg, SYS_recvmsg,
    SYS_sendto, SYS_recvfrom, SYS_getsockopt, SYS_setsockopt, SYS_getsockname, SYS_shutdown,
];

/// Older forms of the calls above, which libc still uses on this processor.
#[cfg(target_arch = "x86_64")]
#[rustfmt::skip]
pub(super) const RUNTIME_HERE: &[Call] = calls![SYS_poll, SYS_arch_prctl, SYS_time];
/// Older forms of the calls above, which libc still uses on this processor.
#[cfg(not(target_arch = "x86_64"))]
pub(super) const RUNTIME_HERE: &[Call] = calls![];

/// Older forms of file and event calls, which libc still uses on this processor.
#[cfg(target_arch = "x86_64")]
#[rustfmt::skip]
const FILES_HERE: &[Call] = calls![
    SYS_open, SYS_stat, SYS_lstat, SYS_access, SYS_readlink, SYS_mkdir, SYS_rmdir,
    SYS_unlink, SYS_rename, SYS_renameat, SYS_link, SYS_symlink, SYS_dup2, SYS_epoll_wait,
];
/// Older forms of file and event calls, which libc still uses on this processor.
#[cfg(target_arch = "aarch64")]
const FILES_HERE: &[Call] = calls![SYS_renameat];
/// Older forms of file and event calls, which libc still uses on this processor.
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
const FILES_HERE: &[Call] = calls![];

/// Calls that only somebody who has broken out would make.
#[rustfmt::skip]
pub(super) const BROKEN_OUT: &[Call] = calls![
    SYS_execve, SYS_execveat, SYS_ptrace, SYS_process_vm_readv, SYS_process_vm_writev, SYS_pidfd_getfd,
    SYS_mount, SYS_umount2, SYS_pivot_root, SYS_chroot, SYS_move_mount, SYS_open_tree, SYS_fsopen,
    SYS_fsmount, SYS_mount_setattr, SYS_unshare, SYS_setns, SYS_bpf, SYS_io_uring_setup,
    SYS_userfaultfd, SYS_perf_event_open, SYS_keyctl, SYS_add_key, SYS_request_key,
    SYS_init_module, SYS_finit_module, SYS_delete_module, SYS_kexec_load, SYS_reboot,
    SYS_open_by_handle_at, SYS_setuid, SYS_setgid, SYS_setresuid, SYS_setresgid, SYS_capset,
];

/// Names a thread or an anonymous mapping: what the runtimes of Rust and C do. `PR_SET_VMA` is newer than libc's constants.
pub(super) const HARMLESS_PRCTLS: [u32; 3] = [libc::PR_SET_NAME.cast_unsigned(), libc::PR_GET_NAME.cast_unsigned(), 0x5356_4d41];

/// Makes a descriptor non-blocking or close-on-exec, counts what can be read, asks whether it is a terminal.
const HARMLESS_IOCTLS: [u32; 4] = [0x5421, 0x5451, 0x541b, 0x5401]; // FIONBIO, FIOCLEX, FIONREAD, TCGETS

/// Copies a descriptor, reads and sets its flags and its file's, and seals memory. Neither leases nor locks, for which others would wait.
const HARMLESS_FCNTLS: [u32; 8] = [0, 1, 2, 3, 4, 1030, 1033, 1034]; // F_DUPFD to F_SETFL, F_DUPFD_CLOEXEC, F_ADD_SEALS, F_GET_SEALS

pub(super) fn lists() -> Result<Vec<List>, SeccompError> {
    let mut rules: Rules = [RUNTIME, RUNTIME_HERE, FILES, FILES_HERE, EVENTS].into_iter().flat_map(any_arguments).collect();
    threads_only(&mut rules)?;
    never_execute(&mut rules)?;
    to_self(&mut rules)?;
    // Times of what is open alone: Landlock does not know of times, and whoever names a path could name any.
    when_null(&mut rules, libc::SYS_utimensat, 1)?;
    when_one_of(&mut rules, libc::SYS_prctl, 0, &HARMLESS_PRCTLS)?;
    when_one_of(&mut rules, libc::SYS_ioctl, 1, &HARMLESS_IOCTLS)?;
    when_one_of(&mut rules, libc::SYS_fcntl, 1, &HARMLESS_FCNTLS)?;
    // tokio wakes its signal driver through a pair of connected stream sockets.
    let streams = [masked(0, -1, libc::AF_UNIX)?, masked(1, 0xf, libc::SOCK_STREAM)?];
    rules.insert(libc::SYS_socketpair, vec![all(streams.into())?]);
    Ok(vec![not_there(), broken_out(), List { rules, on: SeccompAction::Allow, off: errno(libc::EPERM) }])
}

pub(super) fn broken_out() -> List {
    List { rules: any_arguments(BROKEN_OUT), on: SeccompAction::KillProcess, off: SeccompAction::Allow }
}

/// clone3 has its flags in memory, where no filter can look: without it, libc falls back to clone.
pub(super) fn not_there() -> List {
    List { rules: any_arguments(calls![SYS_clone3]), on: errno(libc::ENOSYS), off: SeccompAction::Allow }
}
