//! Process agents: any program, so that what is dangerous is listed, not what is needed.

use seccompiler::SeccompAction;

use super::{
    List, Rules, errno,
    rule::{NAMESPACE_FLAGS, all, any_arguments, differs, masked, pointer_given, when_one_of},
};
use crate::jail::error::SeccompError;

/// Calls that reach past the jail, or parts of the kernel that no agent needs and that bugs are often found in.
#[rustfmt::skip]
const DANGEROUS: &[i64] = &[
    // Other processes.
    libc::SYS_ptrace, libc::SYS_process_vm_readv, libc::SYS_process_vm_writev, libc::SYS_pidfd_getfd, libc::SYS_kcmp,
    libc::SYS_process_madvise,
    // What is mounted where.
    libc::SYS_mount, libc::SYS_umount2, libc::SYS_pivot_root, libc::SYS_chroot, libc::SYS_move_mount, libc::SYS_open_tree,
    libc::SYS_fsopen, libc::SYS_fsconfig, libc::SYS_fsmount, libc::SYS_fspick, libc::SYS_mount_setattr, libc::SYS_swapon, libc::SYS_swapoff,
    libc::SYS_quotactl, SYS_QUOTACTL_FD, libc::SYS_acct, libc::SYS_open_by_handle_at, libc::SYS_fanotify_init,
    // Namespaces; `clone` is looked at below.
    libc::SYS_unshare, libc::SYS_setns,
    // Ways around this filter, and programs in the kernel.
    libc::SYS_io_uring_setup, libc::SYS_io_uring_enter, libc::SYS_io_uring_register, libc::SYS_bpf, libc::SYS_userfaultfd,
    libc::SYS_perf_event_open,
    // Keys, which are not separated by namespaces.
    libc::SYS_add_key, libc::SYS_request_key, libc::SYS_keyctl,
    // The machine.
    libc::SYS_kexec_load, libc::SYS_init_module, libc::SYS_finit_module, libc::SYS_delete_module, libc::SYS_reboot,
    libc::SYS_sethostname, libc::SYS_setdomainname, libc::SYS_settimeofday, libc::SYS_clock_settime, libc::SYS_clock_adjtime,
    libc::SYS_adjtimex, libc::SYS_syslog, libc::SYS_vhangup,
];

/// Not in libc for every target; the number is the same on all (added in Linux 5.14).
const SYS_QUOTACTL_FD: i64 = 443;

/// Calls that only one processor has.
#[cfg(target_arch = "x86_64")]
#[rustfmt::skip]
const DANGEROUS_HERE: &[i64] = &[
    libc::SYS_iopl, libc::SYS_ioperm, libc::SYS_modify_ldt, libc::SYS_kexec_file_load, libc::SYS_uselib,
    libc::SYS_lookup_dcookie, libc::SYS_nfsservctl, libc::SYS__sysctl, libc::SYS_ustat, libc::SYS_sysfs,
];
/// Calls that only one processor has.
#[cfg(not(target_arch = "x86_64"))]
const DANGEROUS_HERE: &[i64] = &[libc::SYS_kexec_file_load];

/// Shared memory, semaphores and queues that go by number or name: without an ipc namespace they are those of the whole machine,
/// and open to the agent wherever they are its user's. Landlock does not know them.
#[rustfmt::skip]
const SHARED_MEMORY: &[i64] = &[
    libc::SYS_shmget, libc::SYS_shmat, libc::SYS_shmctl, libc::SYS_semget, libc::SYS_semop, libc::SYS_semtimedop, libc::SYS_semctl,
    libc::SYS_msgget, libc::SYS_msgsnd, libc::SYS_msgrcv, libc::SYS_msgctl, libc::SYS_mq_open, libc::SYS_mq_unlink,
];

/// Whatever could bring a socket to life, or point one elsewhere. There is no network in a cell.
const SOCKETS: &[i64] = &[libc::SYS_socket, libc::SYS_connect, libc::SYS_bind, libc::SYS_listen, libc::SYS_accept, libc::SYS_accept4];
/// The system call that is held, and decided outside of the agent, where an agent speaks with its cell.
pub(super) const HELD: libc::c_long = libc::SYS_connect;

/// Puts a character into a terminal's input, or asks the console's own interpreter: both run commands as whoever watches the terminal.
const TERMINAL_INJECTION: [u32; 2] = [0x5412, 0x541c]; // TIOCSTI, TIOCLINUX

/// Bits of a socket's type that name it; the others are flags.
const SOCKET_TYPE_MASK: i32 = 0xf;

/// The lists of a process agent. One that speaks with its cell may make UNIX stream sockets; where they lead is decided by whoever holds
/// its calls of [`HELD`], see [`super::hold_connects`].
pub(super) fn lists(own_namespaces: bool, speaks: bool) -> Result<Vec<List>, SeccompError> {
    let not_there = any_arguments(&[libc::SYS_clone3, libc::SYS_openat2]);
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
    rules.extend(any_arguments(DANGEROUS_HERE));
    let clones = NAMESPACE_FLAGS.iter().map(|flag| all(vec![masked(0, *flag, *flag)?])).collect::<Result<_, _>>()?;
    rules.insert(libc::SYS_clone, clones);
    when_one_of(&mut rules, libc::SYS_ioctl, 1, &TERMINAL_INJECTION)?;
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
        // The flags of a type are two bits outside of its mask.
        let other_types = (0..=SOCKET_TYPE_MASK).filter(|kind| *kind != libc::SOCK_STREAM);
        let mut refused = vec![other_families];
        for kind in other_types {
            refused.push(all(vec![masked(1, SOCKET_TYPE_MASK, kind)?])?);
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
