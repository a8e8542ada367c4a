//! Resource limits: those of each process for itself.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::{JailError, JailLimits, Profile};
use crate::{
    policy::{ByteSize, Enforcer, LimitName, Report, Subject, Wall, format_duration},
    unchecked,
};

/// What is promised of core dumps: they would be written by the kernel, wherever the machine says.
pub const NO_CORE_DUMP: &str = "leaves no core dump";

/// Sets a limit, soft and hard alike, or `grace` above for the hard one; never above what is already in force. Returns what was set.
fn limit(resource: Resource, most: u64, grace: u64, step: &'static str) -> Result<Option<u64>, JailError> {
    let hard = getrlimit(resource).maximum.unwrap_or(u64::MAX);
    let rlimit = Rlimit { current: Some(most.min(hard)), maximum: Some(most.saturating_add(grace).min(hard)) };
    let set = rlimit.current;
    setrlimit(resource, rlimit).map_err(JailError::step(step))?;
    Ok(set)
}

fn size(bytes: u64) -> String {
    ByteSize::new(bytes).map_or_else(|| "0 B".to_owned(), |size| size.to_string())
}

/// Applies the limits.
pub(super) fn apply(limits: &JailLimits, profile: Profile, report: &mut Report) -> Result<(), JailError> {
    let set = limit(Resource::Core, 0, 0, "forbid core dumps")?;
    report.full(Enforcer::Rlimit, Wall::Files, NO_CORE_DUMP).set = set;
    if let Some(most) = limits.open_files {
        let set = limit(Resource::Nofile, most, 0, "limit open descriptors")?;
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
        let seconds = most.as_secs() + u64::from(most.subsec_nanos() > 0);
        // At the soft limit the kernel says SIGXCPU, which names the reason; who ignores it is killed a second later.
        let set = limit(Resource::Cpu, seconds.max(1), 1, "limit CPU time")?;
        let subject = Subject::limit(LimitName::Cpu, format_duration(most));
        let promise = format!("uses at most {} of CPU time", format_duration(most));
        match profile {
            Profile::Process => report.partial(Enforcer::Rlimit, subject, promise, "each process of the agent is counted for itself"),
            Profile::WasmHost | Profile::Compiler => report.full(Enforcer::Rlimit, subject, promise),
        }
        .set = set;
    }
    if let Some(most) = limits.data {
        let set = limit(Resource::Data, most, 0, "limit private memory")?;
        let subject = Subject::limit(LimitName::Memory, size(most));
        let promise = format!("uses at most {} of memory", size(most));
        let because = "each process of the agent is counted for itself, without what it shares or maps from files";
        report.partial(Enforcer::Rlimit, subject, promise, because).set = set;
    }
    if let Some(most) = limits.processes {
        let set = limit(Resource::Nproc, most.saturating_add(limits.processes_of_others), 0, "limit processes")?;
        let subject = Subject::limit(LimitName::Processes, most);
        let promise = format!("runs at most {most} processes and threads");
        if rustix::process::getuid().is_root() {
            report.none(Enforcer::Rlimit, subject, promise, "the limit does not bind root, and there is no control group")
        } else {
            report.partial(Enforcer::Rlimit, subject, promise, "the limit counts all processes of the same user")
        }
        .set = set;
    }
    Ok(())
}
