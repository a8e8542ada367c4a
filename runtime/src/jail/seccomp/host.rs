//! The wasm host: what wasmtime, wasmtime-wasi and a tokio event loop need, and nothing else.
//!
//! A call that is not on the list fails with `EPERM`: libraries probe for optional calls and have a way without them, and a
//! guest must not be able to end its neighbours' host by making WASI ask for something odd (a socket, say). Calls that no path
//! of wasmtime or WASI leads to end the process at once: whoever makes one of them has broken out of wasmtime.

use seccompiler::SeccompAction;

use super::{
    List, Rules, errno,
    rule::{all, any_arguments, masked, never_execute, threads_only, to_self, when_null, when_one_of},
};
use crate::jail::error::SeccompError;

/// Memory, threads, time and signals: what any Rust program with threads needs.
#[rustfmt::skip]
pub(super) const RUNTIME: &[i64] = &[
    libc::SYS_read, libc::SYS_write, libc::SYS_readv, libc::SYS_writev, libc::SYS_close, libc::SYS_fstat, libc::SYS_lseek, libc::SYS_dup,
    libc::SYS_munmap, libc::SYS_mremap, libc::SYS_madvise, libc::SYS_brk, libc::SYS_mincore, libc::SYS_membarrier,
    libc::SYS_futex, libc::SYS_set_robust_list, libc::SYS_rseq, libc::SYS_set_tid_address, libc::SYS_sched_yield,
    libc::SYS_sched_getaffinity, libc::SYS_gettid, libc::SYS_getpid, libc::SYS_exit, libc::SYS_exit_group,
    libc::SYS_rt_sigaction, libc::SYS_rt_sigprocmask, libc::SYS_rt_sigreturn, libc::SYS_sigaltstack, libc::SYS_restart_syscall,
    libc::SYS_clock_gettime, libc::SYS_clock_getres, libc::SYS_clock_nanosleep, libc::SYS_nanosleep, libc::SYS_gettimeofday,
    libc::SYS_getrandom, libc::SYS_getrusage, libc::SYS_getuid, libc::SYS_geteuid, libc::SYS_getgid, libc::SYS_getegid,
    libc::SYS_ppoll, libc::SYS_uname, libc::SYS_sysinfo,
];

/// Files, as far as Landlock lets them be reached.
#[rustfmt::skip]
const FILES: &[i64] = &[
    libc::SYS_openat, libc::SYS_openat2, libc::SYS_statx, libc::SYS_newfstatat, libc::SYS_faccessat, libc::SYS_faccessat2,
    libc::SYS_getdents64, libc::SYS_readlinkat, libc::SYS_pread64, libc::SYS_pwrite64, libc::SYS_preadv, libc::SYS_pwritev,
    libc::SYS_preadv2, libc::SYS_pwritev2, libc::SYS_mkdirat, libc::SYS_unlinkat, libc::SYS_renameat2,
    libc::SYS_linkat, libc::SYS_symlinkat, libc::SYS_ftruncate, libc::SYS_fallocate, libc::SYS_fadvise64, libc::SYS_fsync,
    libc::SYS_fdatasync, libc::SYS_fcntl, libc::SYS_dup3, libc::SYS_fstatfs, libc::SYS_flock, libc::SYS_getcwd,
    libc::SYS_memfd_create, libc::SYS_sendfile, libc::SYS_copy_file_range,
];

/// The event loop, and messages on sockets that were inherited.
#[rustfmt::skip]
const EVENTS: &[i64] = &[
    libc::SYS_epoll_create1, libc::SYS_epoll_ctl, libc::SYS_epoll_pwait, libc::SYS_epoll_pwait2, libc::SYS_eventfd2,
    libc::SYS_timerfd_create, libc::SYS_timerfd_settime, libc::SYS_timerfd_gettime, libc::SYS_pipe2, libc::SYS_sendmsg, libc::SYS_recvmsg,
    libc::SYS_sendto, libc::SYS_recvfrom, libc::SYS_getsockopt, libc::SYS_setsockopt, libc::SYS_getsockname, libc::SYS_shutdown,
];

/// Older forms of the calls above, which libc still uses on this processor.
#[cfg(target_arch = "x86_64")]
#[rustfmt::skip]
pub(super) const RUNTIME_HERE: &[i64] = &[libc::SYS_poll, libc::SYS_arch_prctl, libc::SYS_time];
/// Older forms of the calls above, which libc still uses on this processor.
#[cfg(not(target_arch = "x86_64"))]
pub(super) const RUNTIME_HERE: &[i64] = &[];

/// Older forms of file and event calls, which libc still uses on this processor.
#[cfg(target_arch = "x86_64")]
#[rustfmt::skip]
const FILES_HERE: &[i64] = &[
    libc::SYS_open, libc::SYS_stat, libc::SYS_lstat, libc::SYS_access, libc::SYS_readlink, libc::SYS_mkdir, libc::SYS_rmdir,
    libc::SYS_unlink, libc::SYS_rename, libc::SYS_renameat, libc::SYS_link, libc::SYS_symlink, libc::SYS_dup2, libc::SYS_epoll_wait,
];
/// Older forms of file and event calls, which libc still uses on this processor.
#[cfg(target_arch = "aarch64")]
const FILES_HERE: &[i64] = &[libc::SYS_renameat];
/// Older forms of file and event calls, which libc still uses on this processor.
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
const FILES_HERE: &[i64] = &[];

/// Calls that only somebody who has broken out would make.
#[rustfmt::skip]
pub(super) const BROKEN_OUT: &[i64] = &[
    libc::SYS_execve, libc::SYS_execveat, libc::SYS_ptrace, libc::SYS_process_vm_readv, libc::SYS_process_vm_writev, libc::SYS_pidfd_getfd,
    libc::SYS_mount, libc::SYS_umount2, libc::SYS_pivot_root, libc::SYS_chroot, libc::SYS_move_mount, libc::SYS_open_tree, libc::SYS_fsopen,
    libc::SYS_fsmount, libc::SYS_mount_setattr, libc::SYS_unshare, libc::SYS_setns, libc::SYS_bpf, libc::SYS_io_uring_setup,
    libc::SYS_userfaultfd, libc::SYS_perf_event_open, libc::SYS_keyctl, libc::SYS_add_key, libc::SYS_request_key,
    libc::SYS_init_module, libc::SYS_finit_module, libc::SYS_delete_module, libc::SYS_kexec_load, libc::SYS_reboot,
    libc::SYS_open_by_handle_at, libc::SYS_setuid, libc::SYS_setgid, libc::SYS_setresuid, libc::SYS_setresgid, libc::SYS_capset,
];

/// Names a thread or an anonymous mapping: what the runtimes of Rust and C do. `PR_SET_VMA` is newer than libc's constants.
pub(super) const HARMLESS_PRCTLS: [u32; 3] = [libc::PR_SET_NAME.cast_unsigned(), libc::PR_GET_NAME.cast_unsigned(), 0x5356_4d41];

/// Makes a descriptor non-blocking or close-on-exec, counts what can be read, asks whether it is a terminal.
const HARMLESS_IOCTLS: [u32; 4] = [0x5421, 0x5451, 0x541b, 0x5401]; // FIONBIO, FIOCLEX, FIONREAD, TCGETS

pub(super) fn lists() -> Result<Vec<List>, SeccompError> {
    let mut rules: Rules = [RUNTIME, RUNTIME_HERE, FILES, FILES_HERE, EVENTS].into_iter().flat_map(any_arguments).collect();
    threads_only(&mut rules)?;
    never_execute(&mut rules)?;
    to_self(&mut rules)?;
    // Times of what is open alone: Landlock does not know of times, and whoever names a path could name any.
    when_null(&mut rules, libc::SYS_utimensat, 1)?;
    when_one_of(&mut rules, libc::SYS_prctl, 0, &HARMLESS_PRCTLS)?;
    when_one_of(&mut rules, libc::SYS_ioctl, 1, &HARMLESS_IOCTLS)?;
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
    List { rules: any_arguments(&[libc::SYS_clone3]), on: errno(libc::ENOSYS), off: SeccompAction::Allow }
}
