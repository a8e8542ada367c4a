//! seccomp: which system calls can be made.
//!
//! A profile is up to four programs, one after the other in one filter ([`chain`]); the first that does not allow a call decides:
//!
//! 1. a guard against calls of another calling convention (x32), whose numbers no list names;
//! 2. calls that "do not exist" (`ENOSYS`), so that libc falls back to older ones whose arguments can be looked at;
//! 3. calls that end the process;
//! 4. the profile's own list.
//!
//! No call is named by two of them that refuse it differently. One filter instead of four is installed once, and costs each call once.
//! seccompiler begins each with a check of the processor's architecture, and ends the process on a mismatch.

mod chain;
mod compiler;
mod host;
mod names;
mod process;
mod rule;
mod ruling;

use std::collections::BTreeMap;

use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, SeccompRule, TargetArch, apply_filter, sock_filter};

use super::{JailError, Profile, error::SeccompError};
use crate::policy::{Address, Enforcer, Report, Wall};

pub use process::MARKS;
pub use ruling::{SyscallRuling, Verdict, ruling};

/// How many filters a profile is, for whoever looks at the process.
const FILTERS: u64 = 1;

/// A system call: its name, and its number on this processor.
type Call = (&'static str, i64);

/// System calls by the names that libc gives their numbers.
macro_rules! calls {
    ($($number:ident),* $(,)?) => {
        &[$((stringify!($number), libc::$number),)*]
    };
}
use calls;

/// Rules by number of the system call; an empty list matches any arguments.
type Rules = BTreeMap<i64, Vec<SeccompRule>>;

/// A list of system calls, and what happens to those on it and to the others.
struct List {
    rules: Rules,
    on: SeccompAction,
    off: SeccompAction,
}

/// The error number of a call that is refused.
const fn errno(number: i32) -> SeccompAction {
    SeccompAction::Errno(number.unsigned_abs())
}

/// Confines the calling thread to a profile. A process in namespaces of its own has its own shared memory and queues.
pub(super) fn apply(profile: Profile, own_namespaces: bool, speaks: bool, report: &mut Report) -> Result<(), JailError> {
    let lists = match profile {
        Profile::Process => process::lists(own_namespaces, speaks),
        Profile::WasmHost => host::lists(),
        Profile::Compiler => compiler::lists(),
    }
    .map_err(JailError::Seccomp)?;
    let mut programs = vec![guard()];
    for list in lists {
        programs.push(compile(list).map_err(JailError::Seccomp)?);
    }
    install(&chain::straighten(chain::chain(programs))).map_err(JailError::Seccomp)?;
    let sockets =
        if speaks { "opens no socket to any network or service but its own cell" } else { "opens no socket to any network or service" };
    report.full(Enforcer::Seccomp, Address::Network, sockets);
    let enforcer = if own_namespaces { Enforcer::Namespace } else { Enforcer::Seccomp };
    report.full(enforcer, Wall::Ipc, "shares no memory and no message queue with other programs");
    match profile {
        Profile::Process => {
            let promise = "makes no dangerous system call (tracing, mounting, namespaces, io_uring, …)";
            report.full(Enforcer::Seccomp, Wall::Calls, promise).set = Some(FILTERS);
            report.full(Enforcer::Seccomp, Wall::Privileges, "marks no file set-user-id or set-group-id");
        }
        Profile::WasmHost => {
            let promise = "makes only the system calls that a wasm host needs; executes no program";
            report.full(Enforcer::Seccomp, Wall::Calls, promise).set = Some(FILTERS);
            report.full(Enforcer::Seccomp, Wall::Processes, "starts, signals and traces no other process");
        }
        Profile::Compiler => {
            let promise = "makes only the system calls that a compiler needs; opens no file";
            report.full(Enforcer::Seccomp, Wall::Calls, promise).set = Some(FILTERS);
        }
    }
    Ok(())
}

/// The call that is held where an agent speaks with its cell: whoever holds it decides where it leads.
pub const CONNECT: libc::c_long = process::HELD;

/// Has calls of this thread, and of what it starts, held for whoever reads the returned descriptor. To be called by the one thread that
/// starts an agent, after its jail was applied (for [`CONNECT`] with [`super::Jail::speaks`]).
///
/// # Errors
/// What the kernel says: `EBUSY` where Lazarus itself runs in a sandbox that works like this.
pub fn hold(calls: &[libc::c_long]) -> std::io::Result<std::os::fd::OwnedFd> {
    crate::unchecked::hold_calls(calls)
}

/// Confines the thread that decides about held calls further: it executes nothing, starts nothing, and makes no socket.
///
/// # Errors
/// What the kernel says.
pub fn decides_only() -> Result<(), JailError> {
    let never = rule::any_arguments(calls![SYS_execve, SYS_execveat, SYS_clone, SYS_socket, SYS_connect]);
    let list = List { rules: never, on: errno(libc::EPERM), off: SeccompAction::Allow };
    compile(list).and_then(|program| install(&program)).map_err(JailError::Seccomp)
}

/// Refuses every `connect(2)` of this thread, and of what it starts: for where they cannot be held.
///
/// # Errors
/// What the kernel says.
pub fn refuse_connects() -> Result<(), JailError> {
    let list = List { rules: rule::any_arguments(&[("connect", process::HELD)]), on: errno(libc::EACCES), off: SeccompAction::Allow };
    compile(list).and_then(|program| install(&program)).map_err(JailError::Seccomp)
}

fn compile(list: List) -> Result<BpfProgram, SeccompError> {
    let processor = std::env::consts::ARCH;
    let arch = TargetArch::try_from(processor).map_err(|_| SeccompError::Processor(processor))?;
    let filter = SeccompFilter::new(list.rules, list.off, list.on, arch).map_err(SeccompError::Build)?;
    filter.try_into().map_err(SeccompError::Build)
}

fn install(program: &BpfProgram) -> Result<(), SeccompError> {
    apply_filter(program).map_err(SeccompError::Install)
}

/// Ends the process at a call of the x32 convention: its numbers have a bit of their own, and pass by every list of names.
///
/// Other processors have no such numbers, so that the guard lets all of theirs pass.
fn guard() -> BpfProgram {
    // From linux/bpf_common.h, linux/seccomp.h and asm/unistd.h.
    const LOAD_WORD: u16 = 0x20;
    const JUMP_IF_AT_LEAST: u16 = 0x35;
    const OFFSET_OF_NUMBER: u32 = 0;
    const X32_BIT: u32 = 0x4000_0000;
    let end = |action: SeccompAction| sock_filter { code: chain::RETURN, jt: 0, jf: 0, k: action.into() };
    vec![
        sock_filter { code: LOAD_WORD, jt: 0, jf: 0, k: OFFSET_OF_NUMBER },
        sock_filter { code: JUMP_IF_AT_LEAST, jt: 0, jf: 1, k: X32_BIT },
        end(SeccompAction::KillProcess),
        end(SeccompAction::Allow),
    ]
}
