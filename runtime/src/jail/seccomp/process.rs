//! Process agents: any program, so that what is dangerous is listed, not what is needed.

use seccompiler::SeccompAction;

use super::{
    Call, List, Rules, calls, errno,
    rule::{NAMESPACE_FLAGS, all, any_arguments, differs, masked, pointer_given, when_one_of},
};
use crate::jail::error::SeccompError;

/// Calls that reach past the jail, or parts of the kernel that no agent needs and that bugs are often found in.
#[rustfmt::skip]
const DANGEROUS: &[Call] = calls![
    // Other processes.
    SYS_ptrace, SYS_process_vm_readv, SYS_process_vm_writev, SYS_pidfd_getfd, SYS_kcmp,
    SYS_process_madvise,
    // What is mounted where.
    SYS_mount, SYS_umount2, SYS_pivot_root, SYS_chroot, SYS_move_mount, SYS_open_tree,
    SYS_fsopen, SYS_fsconfig, SYS_fsmount, SYS_fspick, SYS_mount_setattr, SYS_swapon, SYS_swapoff,
    SYS_quotactl, SYS_acct, SYS_open_by_handle_at, SYS_fanotify_init,
    // Namespaces; `clone` is looked at below.
    SYS_unshare, SYS_setns,
    // Ways around this filter, and programs in the kernel.
    SYS_io_uring_setup, SYS_io_uring_enter, SYS_io_uring_register, SYS_bpf, SYS_userfaultfd,
    SYS_perf_event_open,
    // Keys, which are not separated by namespaces.
    SYS_add_key, SYS_request_key, SYS_keyctl,
    // The machine.
    SYS_kexec_load, SYS_init_module, SYS_finit_module, SYS_delete_module, SYS_reboot,
    SYS_sethostname, SYS_setdomainname, SYS_settimeofday, SYS_clock_settime, SYS_clock_adjtime,
    SYS_adjtimex, SYS_syslog, SYS_vhangup,
];

/// Not in libc for every target; the numbers are the same on all (added in Linux 5.14 and 6.15).
const NEWER: &[Call] = &[("quotactl_fd", 443), ("open_tree_attr", 467)];

/// Calls that only one processor has.
#[cfg(target_arch = "x86_64")]
#[rustfmt::skip]
const DANGEROUS_HERE: &[Call] = calls![
    SYS_iopl, SYS_ioperm, SYS_modify_ldt, SYS_kexec_file_load, SYS_uselib,
    SYS_lookup_dcookie, SYS_nfsservctl, SYS__sysctl, SYS_ustat, SYS_sysfs,
];
/// Calls that only one processor has.
#[cfg(not(target_arch = "x86_64"))]
const DANGEROUS_HERE: &[Call] = calls![SYS_kexec_file_load];

/// Shared memory, semaphores and queues that go by number or name: without an ipc namespace they are those of the whole machine,
/// and open to the agent wherever they are its user's. Landlock does not know them.
#[rustfmt::skip]
const SHARED_MEMORY: &[Call] = calls![
    SYS_shmget, SYS_shmat, SYS_shmctl, SYS_semget, SYS_semop, SYS_semtimedop, SYS_semctl,
    SYS_msgget, SYS_msgsnd, SYS_msgrcv, SYS_msgctl, SYS_mq_open, SYS_mq_unlink,
];

/// Whatever could bring a socket to life, or point one elsewhere. There is no network in a cell.
const SOCKETS: &[Call] = calls![SYS_socket, SYS_connect, SYS_bind, SYS_listen, SYS_accept, SYS_accept4];
/// The system call that is held, and decided outside of the agent, where an agent speaks with its cell.
pub(super) const HELD: libc::c_long = libc::SYS_connect;

/// Calls that change a file's mode, owner, times or attributes, which Landlock does not know: where an agent has files that are not mounted in
/// a root of its own, whoever holds them decides about each.
#[rustfmt::skip]
pub const MARKS: &[Call] = &[
    ("fchmod", libc::SYS_fchmod), ("fchmodat", libc::SYS_fchmodat), ("fchmodat2", SYS_FCHMODAT2),
    ("fchown", libc::SYS_fchown), ("fchownat", libc::SYS_fchownat), ("utimensat", libc::SYS_utimensat),
    ("setxattr", libc::SYS_setxattr), ("lsetxattr", libc::SYS_lsetxattr), ("fsetxattr", libc::SYS_fsetxattr),
    ("removexattr", libc::SYS_removexattr), ("lremovexattr", libc::SYS_lremovexattr), ("fremovexattr", libc::SYS_fremovexattr),
    #[cfg(target_arch = "x86_64")] ("chmod", libc::SYS_chmod),
    #[cfg(target_arch = "x86_64")] ("chown", libc::SYS_chown),
    #[cfg(target_arch = "x86_64")] ("lchown", libc::SYS_lchown),
    #[cfg(target_arch = "x86_64")] ("utime", libc::SYS_utime),
    #[cfg(target_arch = "x86_64")] ("utimes", libc::SYS_utimes),
    #[cfg(target_arch = "x86_64")] ("futimesat", libc::SYS_futimesat),
];
/// Newer calls for the same, with what they change in a structure: libraries fall back to the older ones. Not in libc for every target; the
/// numbers are the same on all (added in Linux 6.13, 6.13 and 6.17).
const NEWER_MARKS: &[Call] = &[("setxattrat", 463), ("removexattrat", 466), ("file_setattr", 469)];
/// Requests of ioctl(2) that change attributes of a file that is open, be it only for reading: `FS_IOC_SETFLAGS` (in both widths),
/// `FS_IOC_FSSETXATTR` and `FS_IOC_SETVERSION`, from linux/fs.h.
const MARKS_BY_IOCTL: [u32; 4] = [0x4008_6602, 0x4004_6602, 0x401c_5820, 0x4008_7602];

/// Puts a character into a terminal's input, or asks the console's own interpreter: both run commands as whoever watches the terminal.
const TERMINAL_INJECTION: [u32; 2] = [0x5412, 0x541c]; // TIOCSTI, TIOCLINUX

/// Commands of fcntl(2) for which everybody else waits, or which tell what others do: `F_SETLEASE`, `F_NOTIFY` and `F_SETDELEG` (Linux 6.19), from
/// linux/fcntl.h. A lease on a program that was granted for reading would stop whoever starts it, for 45 seconds at a time.
const WAITED_FOR: [u32; 3] = [1024, 1026, 1040];

/// The flag of close_range(2) that first gives the calling thread a table of descriptors of its own; from linux/close_range.h.
const CLOSE_RANGE_UNSHARE: i32 = 1 << 1;

/// Bits of a socket's type that name it; the others are flags.
const SOCKET_TYPE_MASK: i32 = 0xf;

/// The lists of a process agent. One that speaks with its cell may make UNIX stream sockets; where they lead is decided by whoever holds
/// its calls of [`HELD`], see [`super::hold`].
pub(super) fn lists(own_namespaces: bool, speaks: bool) -> Result<Vec<List>, SeccompError> {
    let mut not_there = any_arguments(calls![SYS_clone3, SYS_openat2]);
    not_there.extend(any_arguments(NEWER_MARKS));
    // A copy of the table of descriptors for one thread alone: what is held open is counted by the table, one a process.
    not_there.insert(libc::SYS_close_range, vec![all(vec![masked(2, CLOSE_RANGE_UNSHARE, CLOSE_RANGE_UNSHARE)?])?]);
    let mut dangerous = dangerous()?;
    if !own_namespaces {
        dangerous.extend(any_arguments(SHARED_MEMORY));
        schedules_of_others(&mut dangerous)?;
    }
    Ok(vec![
        // Namespace flags of clone3, and the mode of openat2, are in memory, where no filter can look; libraries fall back.
        List { rules: not_there, on: errno(libc::ENOSYS), off: SeccompAction::Allow },
        // EACCES is what socket(2) documents for a socket that one may not make.
        List { rules: sockets(speaks)?, on: errno(libc::EACCES), off: SeccompAction::Allow },
        List { rules: dangerous, on: errno(libc::EPERM), off: SeccompAction::Allow },
    ])
}

fn dangerous() -> Result<Rules, SeccompError> {
    let mut rules = any_arguments(DANGEROUS);
    rules.extend(any_arguments(NEWER));
    rules.extend(any_arguments(DANGEROUS_HERE));
    let mut clones: Vec<_> = NAMESPACE_FLAGS.iter().map(|flag| all(vec![masked(0, *flag, *flag)?])).collect::<Result<_, _>>()?;
    // A thread with a table of descriptors of its own, which no library makes.
    clones.push(all(vec![masked(0, libc::CLONE_THREAD | libc::CLONE_FILES, libc::CLONE_THREAD)?])?);
    rules.insert(libc::SYS_clone, clones);
    let requests = [TERMINAL_INJECTION.as_slice(), &MARKS_BY_IOCTL].concat();
    when_one_of(&mut rules, libc::SYS_ioctl, 1, &requests)?;
    when_one_of(&mut rules, libc::SYS_fcntl, 1, &WAITED_FOR)?;
    // Limits of its own (0) are its business; those of another process of the same user are not, and Landlock does not know them.
    rules.insert(libc::SYS_prlimit64, vec![all(vec![differs(0, 0)?])?]);
    // Asking (-1), the usual one (0) and debuggers' fixed addresses stay allowed; others switch on ancient behaviour.
    let unusual = [differs(0, -1)?, differs(0, 0)?, differs(0, libc::ADDR_NO_RANDOMIZE)?];
    rules.insert(libc::SYS_personality, vec![all(unusual.into())?]);
    set_id(&mut rules)?;
    Ok(rules)
}

/// Priorities and schedules of other processes: without a pid namespace, those of all processes of its user. Its own (0) are its
/// business; Landlock does not know them.
fn schedules_of_others(rules: &mut Rules) -> Result<(), SeccompError> {
    // What is counted by process, and the number by which ioprio_set(2) says so.
    const IOPRIO_WHO_PROCESS: i32 = 1;
    for (call, process) in [(libc::SYS_setpriority, libc::PRIO_PROCESS.cast_signed()), (libc::SYS_ioprio_set, IOPRIO_WHO_PROCESS)] {
        rules.insert(call, vec![all(vec![differs(0, process)?])?, all(vec![differs(1, 0)?])?]);
    }
    for call in [libc::SYS_sched_setaffinity, libc::SYS_sched_setscheduler, libc::SYS_sched_setparam, libc::SYS_sched_setattr] {
        rules.insert(call, vec![all(vec![differs(0, 0)?])?]);
    }
    Ok(())
}

/// Bits of a mode that let whoever executes a file become its owner or group.
const SET_ID: [u32; 2] = [libc::S_ISUID, libc::S_ISGID];
/// Not in libc for every target; the number is the same on all (added in Linux 6.6).
const SYS_FCHMODAT2: i64 = 452;
/// The bit of `O_TMPFILE` that is not `O_DIRECTORY`.
const TMPFILE: i32 = libc::O_TMPFILE & !libc::O_DIRECTORY;

/// Marking a file set-user-id or set-group-id: in a directory that is mounted writable, it would be there for every user of the
/// machine, and run as the operator.
fn set_id(rules: &mut Rules) -> Result<(), SeccompError> {
    // The call, its argument with the mode, and its argument with the flags where the mode counts with some of them only.
    let mut calls = vec![
        (libc::SYS_fchmod, 1, None),
        (libc::SYS_fchmodat, 2, None),
        (SYS_FCHMODAT2, 2, None),
        (libc::SYS_mknodat, 2, None),
        (libc::SYS_openat, 3, Some(2)),
    ];
    #[cfg(target_arch = "x86_64")]
    calls.extend([(libc::SYS_chmod, 1, None), (libc::SYS_creat, 1, None), (libc::SYS_mknod, 1, None), (libc::SYS_open, 2, Some(1))]);
    for (call, mode, flags) in calls {
        let mut each = Vec::new();
        for bit in SET_ID.map(u32::cast_signed) {
            match flags {
                None => each.push(all(vec![masked(mode, bit, bit)?])?),
                Some(flags) => {
                    for makes in [libc::O_CREAT, TMPFILE] {
                        each.push(all(vec![masked(flags, makes, makes)?, masked(mode, bit, bit)?])?);
                    }
                }
            }
        }
        rules.insert(call, each);
    }
    Ok(())
}

/// Pairs of connected UNIX sockets stay, as pipes that go both ways: event loops need them. Not those of datagrams, which
/// can be pointed at any path by `sendmsg` (`SOCK_RAW` is another name for them), where no filter can look.
fn sockets(speaks: bool) -> Result<Rules, SeccompError> {
    let mut rules = any_arguments(SOCKETS);
    if speaks {
        let other_families = all(vec![differs(0, libc::AF_UNIX)?])?;
        // The flags of a type are two bits outside of its mask. Every other type differs from streams in one of the bits within.
        let bits = (0..i32::BITS).map(|bit| 1 << bit).filter(|bit| SOCKET_TYPE_MASK & bit != 0);
        let mut refused = vec![other_families];
        for bit in bits {
            refused.push(all(vec![masked(1, bit, bit & !libc::SOCK_STREAM)?])?);
        }
        rules.insert(libc::SYS_socket, refused);
        rules.remove(&HELD);
    }
    let datagrams = all(vec![masked(1, SOCKET_TYPE_MASK, libc::SOCK_DGRAM)?])?;
    let raw = all(vec![masked(1, SOCKET_TYPE_MASK, libc::SOCK_RAW)?])?;
    rules.insert(libc::SYS_socketpair, vec![all(vec![differs(0, libc::AF_UNIX)?])?, datagrams, raw]);
    rules.insert(libc::SYS_sendto, vec![all(vec![pointer_given(4)?])?]);
    Ok(rules)
}
