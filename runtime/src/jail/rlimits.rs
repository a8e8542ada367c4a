//! Resource limits: those of each process for itself.

use std::time::Duration;

use rustix::process::{Resource, Rlimit, setrlimit};

use super::{JailError, JailLimits, Profile};
use crate::{
    policy::{ByteSize, Enforcer, LimitName, Report, Subject, Wall, format_duration},
    unchecked,
};

/// The stack of a process's first thread, as nearly every distribution sets it.
const STACK_BYTES: u64 = 8 * 1024 * 1024;
/// How far a program may raise that: a stack counts neither as private memory nor, without a control group, as anything else.
const STACK_MOST_BYTES: u64 = 64 * 1024 * 1024;
/// What nobody asks for, and everybody has: a limit, what is promised of it, and what setting it is called.
struct Kernel {
    resource: Resource,
    most: u64,
    wall: Wall,
    promise: &'static str,
    step: &'static str,
}

/// What could be used to hold memory of the kernel, or more than one's share of the processors.
#[rustfmt::skip]
const KERNEL: [Kernel; 5] = [
    // Memory that is never swapped out: what programs that keep a key need, and what Linux gave everyone before 5.16. Not of the limit of
    // memory, which it does not hold.
    Kernel { resource: Resource::Memlock, most: 64 * 1024, wall: Wall::Privileges, promise: LOCKED, step: "limit locked memory" },
    // Memory of the kernel: one queue of the default size (ten messages of 8 KiB, and their heads).
    Kernel { resource: Resource::Msgqueue, most: 128 * 1024, wall: Wall::Ipc, promise: QUEUES, step: "limit message queues" },
    // And POSIX timers, which are memory of the kernel. Those of the same user's other processes count as well.
    Kernel { resource: Resource::Sigpending, most: 1024, wall: Wall::Ipc, promise: SIGNALS, step: "limit queued signals" },
    Kernel { resource: Resource::Rtprio, most: 0, wall: Wall::Privileges, promise: NO_REALTIME, step: "forbid realtime priority" },
    Kernel { resource: Resource::Nice, most: 0, wall: Wall::Privileges, promise: NO_PRIORITY, step: "forbid higher priority" },
];

/// What is promised of locked memory.
pub const LOCKED: &str = "locks at most 64 KiB of memory a process";
/// What is promised of message queues.
pub const QUEUES: &str = "holds at most 128 KiB in POSIX message queues";
/// What is promised of queued signals.
pub const SIGNALS: &str = "has at most 1024 signals and timers queued";
/// What is promised of realtime priority.
pub const NO_REALTIME: &str = "runs at no realtime priority";
/// What is promised of ordinary priority.
pub const NO_PRIORITY: &str = "runs at no higher priority than its operator";

/// What is promised of core dumps: they would be written by the kernel, wherever the machine says.
pub const NO_CORE_DUMP: &str = "leaves no core dump";

/// How far a limit can be had: never above what is already in force.
fn hard(resource: Resource, step: &'static str) -> Result<u64, JailError> {
    Ok(unchecked::resource_limit(resource).map_err(JailError::step(step))?.maximum.unwrap_or(u64::MAX))
}

/// Sets a limit, soft and hard alike, or `grace` above for the hard one; never above what is already in force. Returns what was set.
fn limit(resource: Resource, most: u64, grace: u64, step: &'static str) -> Result<Option<u64>, JailError> {
    let hard = hard(resource, step)?;
    let rlimit = Rlimit { current: Some(most.min(hard)), maximum: Some(most.saturating_add(grace).min(hard)) };
    let set = rlimit.current;
    setrlimit(resource, rlimit).map_err(JailError::step(step))?;
    Ok(set)
}

fn size(bytes: u64) -> String {
    ByteSize::new(bytes).map_or_else(|| "0 B".to_owned(), |size| size.to_string())
}

/// What limiting descriptors is called.
const LIMIT_FILES: &str = "limit open descriptors";

/// Limits the descriptors of this process, and of what it starts: of a process agent, at the last moment, since what its jail holds open while it
/// is made is not the agent's.
///
/// # Errors
/// What the kernel says.
pub fn limit_open_files(most: u64) -> Result<(), JailError> {
    limit(Resource::Nofile, most, 0, LIMIT_FILES).map(drop)
}

/// Applies the limits; but for the descriptors of a process agent, of which only the report speaks yet: see [`limit_open_files`].
pub(super) fn apply(limits: &JailLimits, profile: Profile, report: &mut Report) -> Result<(), JailError> {
    let set = limit(Resource::Core, 0, 0, "forbid core dumps")?;
    report.full(Enforcer::Rlimit, Wall::Files, NO_CORE_DUMP).set = set;
    if profile == Profile::Process {
        kernel_resources(report)?;
    }
    if let Some(most) = limits.open_files {
        let set = match profile {
            Profile::Process => Some(most.min(hard(Resource::Nofile, LIMIT_FILES)?)),
            Profile::WasmHost | Profile::Compiler => limit(Resource::Nofile, most, 0, LIMIT_FILES)?,
        };
        let subject = Subject::limit(LimitName::OpenFiles, most);
        report.full(Enforcer::Rlimit, subject, format!("opens at most {most} descriptors a process")).set = set;
    }
    if let Some(most) = limits.file_size {
        if matches!(profile, Profile::WasmHost | Profile::Compiler) {
            // One guest's write past the limit must fail for that guest, not end the host of all.
            unchecked::ignore_file_size_signal().map_err(JailError::step("ignore the file size signal"))?;
        }
        let set = limit(Resource::Fsize, most, 0, "limit the size of files")?;
        let subject = Subject::limit(LimitName::Home, size(most));
        report.full(Enforcer::Rlimit, subject, format!("writes no file larger than {}", size(most))).set = set;
    }
    if let Some(most) = limits.cpu {
        cpu(most, limits.cpu_counted_together, profile, report)?;
    }
    if let Some(most) = limits.data {
        let set = limit(Resource::Data, most, 0, "limit private memory")?;
        let subject = Subject::limit(LimitName::Memory, size(most));
        let promise = format!("uses at most {} of memory", size(most));
        let because =
            "there is no control group: each process of the agent is counted for itself, without what it shares or maps from files";
        report.partial(Enforcer::Rlimit, subject, promise, because).set = set;
    }
    if let Some(most) = limits.processes {
        let set = limit(Resource::Nproc, most.saturating_add(limits.processes_of_others), 0, "limit processes")?;
        let subject = Subject::limit(LimitName::Processes, most);
        let promise = format!("runs at most {most} processes and threads");
        if rustix::process::getuid().is_root() {
            report.none(Enforcer::Rlimit, subject, promise, "the limit does not bind root, and there is no control group")
        } else {
            report.partial(Enforcer::Rlimit, subject, promise, "there is no control group: the limit counts all processes of the same user")
        }
        .set = set;
    }
    Ok(())
}

/// CPU time of each process for itself.
fn cpu(most: Duration, counted_together: bool, profile: Profile, report: &mut Report) -> Result<(), JailError> {
    let seconds = (most.as_secs() + u64::from(most.subsec_nanos() > 0)).max(1);
    // At the soft limit the kernel says SIGXCPU, which names the reason; who ignores it is killed a second later.
    let set = limit(Resource::Cpu, seconds, 1, "limit CPU time")?;
    let subject = Subject::limit(LimitName::Cpu, format_duration(most));
    let promise = format!("uses at most {} of CPU time", format_duration(most));
    match profile {
        Profile::Process if counted_together => {
            let rounded = format_duration(Duration::from_secs(seconds));
            report.full(Enforcer::Rlimit, subject, format!("uses at most {rounded} of CPU time in any one process"))
        }
        Profile::Process => {
            let because = "there is no control group: each process of the agent is counted for itself, in whole seconds";
            report.partial(Enforcer::Rlimit, subject, promise, because)
        }
        Profile::WasmHost | Profile::Compiler => report.full(Enforcer::Rlimit, subject, promise),
    }
    .set = set;
    Ok(())
}

/// What no definition asks for, and what could be used to hold memory of the kernel, or more than its share of the processors.
fn kernel_resources(report: &mut Report) -> Result<(), JailError> {
    limit(Resource::Stack, STACK_BYTES, STACK_MOST_BYTES - STACK_BYTES, "limit the stack")?;
    let most = size(STACK_MOST_BYTES);
    let stack = report.full(Enforcer::Rlimit, Subject::limit(LimitName::Stack, &most), format!("has at most {most} of stack a process"));
    // A program may raise it so far.
    stack.set = Some(STACK_MOST_BYTES);
    for Kernel { resource, most, wall, promise, step } in KERNEL {
        let set = limit(resource, most, 0, step)?;
        report.full(Enforcer::Rlimit, wall, promise).set = set;
    }
    Ok(())
}
