//! Landlock: which files, and nothing else, can be reached.

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, LandlockStatus, PathBeneath, RestrictionStatus, Ruleset, RulesetAttr, RulesetCreated,
    RulesetCreatedAttr, RulesetStatus, Scope, make_bitflags,
};
use rustix::fs::{FileType, Mode, OFlags, fstat};

use super::{FileRule, JailError, Profile, Reach};
use crate::policy::{Address, Enforcer, Report, Subject, Wall};

/// The newest version that these rules were tested with. An older kernel gives less, and the report says what is missing.
const ABI_TESTED: ABI = ABI::V7;

/// What Landlock is asked for.
pub(super) struct Asked {
    pub files: Vec<FileRule>,
    pub accept_degraded: bool,
    /// Whether a pid namespace already hides all processes but its own.
    pub own_processes: bool,
    pub profile: Profile,
}

/// The rights of a reach, below a directory.
fn rights(reach: Reach) -> BitFlags<AccessFs> {
    let read = make_bitflags!(AccessFs::{ReadFile | ReadDir});
    // Device nodes are never made, and ioctls on devices never allowed.
    let write = make_bitflags!(AccessFs::{
        WriteFile | Truncate | RemoveDir | RemoveFile | MakeDir | MakeReg | MakeSock | MakeFifo | MakeSym | Refer
    });
    match reach {
        Reach::Read => read,
        Reach::Execute => read | AccessFs::Execute,
        Reach::Write => read | write,
        Reach::WriteExecute => read | write | AccessFs::Execute,
        Reach::Device => make_bitflags!(AccessFs::{ReadFile | WriteFile | Truncate}),
    }
}

/// Restricts the calling thread.
pub(super) fn apply(asked: Asked, report: &mut Report) -> Result<(), JailError> {
    let Asked { files, accept_degraded, own_processes, profile } = asked;
    let granted: Vec<(Subject, Reach)> = files.iter().filter_map(|rule| Some((rule.subject.clone()?, rule.reach))).collect();
    let status = restrict(files)?;
    if let Some(because) = missing(&status) {
        if !accept_degraded {
            return Err(JailError::NoLandlock { because });
        }
        if !own_processes {
            // With a root of its own, an agent sees nothing else, and as writable as it was mounted; without, nobody holds any of it.
            for (subject, reach) in &granted {
                report.none(Enforcer::Landlock, subject.clone(), path_promise(subject, *reach), because.clone());
            }
        }
        report.none(Enforcer::Landlock, Wall::Files, files_promise(profile), because);
        return Ok(());
    }
    let abi = match status.landlock {
        LandlockStatus::Available { effective_abi, .. } => effective_abi,
        LandlockStatus::NotEnabled | LandlockStatus::NotImplemented => ABI::Unsupported,
    };
    for (subject, reach) in granted {
        let promise = path_promise(&subject, reach);
        held(abi, report, subject, promise);
    }
    describe(abi, profile, own_processes, report);
    Ok(())
}

/// One more layer, around the calling thread and what it starts: it can neither signal nor trace whoever is outside of the layer.
///
/// With `files`, it also reaches no others than those; without, as many as the layer around it.
/// A kernel that cannot scope signals (before ABI 6) leaves those as they are; the report of the outer layer says so.
///
/// # Errors
/// What the kernel says.
pub fn shield(files: Option<Vec<FileRule>>) -> Result<(), JailError> {
    if let Some(files) = files {
        return restrict(files).map(drop);
    }
    // Every layer, whatever it is for, denies moving and linking between directories where no rule of its own allows that (landlock(7)):
    // this one allows it everywhere, so that the layer around it decides.
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let everywhere = rustix::fs::open("/", flags, Mode::empty()).map_err(JailError::step("open the root for a layer of Landlock"))?;
    let scoped = Ruleset::default()
        .handle_access(AccessFs::Refer)
        .and_then(|ruleset| ruleset.scope(Scope::Signal))
        .and_then(Ruleset::create)
        .and_then(|ruleset| ruleset.add_rule(PathBeneath::new(everywhere, AccessFs::Refer)))
        .and_then(RulesetCreated::restrict_self);
    scoped.map(drop).map_err(JailError::Landlock)
}

fn restrict(files: Vec<FileRule>) -> Result<RestrictionStatus, JailError> {
    // Everything that the ABI knows is handled, so that whatever no rule allows is denied. No port is allowed at all.
    let mut ruleset = Ruleset::default()
        .handle_access(AccessFs::from_all(ABI_TESTED))
        .and_then(|ruleset| ruleset.handle_access(AccessNet::from_all(ABI_TESTED)))
        .and_then(|ruleset| ruleset.scope(Scope::from_all(ABI_TESTED)))
        .and_then(Ruleset::create)
        .map_err(JailError::Landlock)?;
    for FileRule { place, reach, subject: _ } in files {
        let stat = fstat(&place).map_err(JailError::step("look at an allowed file"))?;
        let directory = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
        let rights = if directory { rights(reach) } else { rights(reach) & AccessFs::from_file(ABI_TESTED) };
        ruleset = ruleset.add_rule(PathBeneath::new(place, rights)).map_err(JailError::Landlock)?;
    }
    ruleset.restrict_self().map_err(JailError::Landlock)
}

/// Why nothing is enforced; `None` where something is.
fn missing(status: &RestrictionStatus) -> Option<String> {
    match (&status.landlock, &status.ruleset) {
        (LandlockStatus::NotEnabled, _) => Some("Landlock is built in, but not enabled at boot".to_owned()),
        (LandlockStatus::NotImplemented, _) => Some("Landlock is not built in, or the kernel is older than Linux 5.13".to_owned()),
        (LandlockStatus::Available { .. }, RulesetStatus::NotEnforced) => Some("Landlock took no rule".to_owned()),
        (LandlockStatus::Available { .. }, RulesetStatus::FullyEnforced | RulesetStatus::PartiallyEnforced) => None,
    }
}

const fn files_promise(profile: Profile) -> &'static str {
    match profile {
        Profile::Process | Profile::WasmHost => "reaches no file but those that it was granted",
        Profile::Compiler => "opens no file",
    }
}

/// What a rule promises of the path that it was made for.
fn path_promise(subject: &Subject, reach: Reach) -> String {
    let how = match reach {
        Reach::Read => "read",
        Reach::Execute => "read and executed",
        Reach::Write | Reach::Device => "read and written",
        Reach::WriteExecute => "read, written and executed",
    };
    match subject {
        Subject::Path { path, .. } => format!("{} is {how}, and no more", path.display()),
        Subject::Variable { .. } | Subject::Address { .. } | Subject::Limit { .. } | Subject::Wall { .. } | Subject::Unnamed => {
            format!("{subject} is {how}, and no more")
        }
    }
}

/// Records what a rule holds: everything, but for truncation on old kernels.
fn held(abi: ABI, report: &mut Report, subject: Subject, promise: impl Into<String>) {
    if abi >= ABI::V3 {
        report.full(Enforcer::Landlock, subject, promise);
    } else {
        report.partial(Enforcer::Landlock, subject, promise, "this kernel does not check truncation (Linux before 6.2)");
    }
}

fn describe(abi: ABI, profile: Profile, own_processes: bool, report: &mut Report) {
    held(abi, report, Wall::Files.into(), files_promise(profile));
    // seccomp keeps the network shut in any case: Landlock is the second lock on that door where there is one.
    if abi >= ABI::V4 {
        report.full(Enforcer::Landlock, Address::Network, "binds and connects no TCP port");
    }
    let signals = "signals no process outside of its cell";
    if abi >= ABI::V6 {
        report.full(Enforcer::Landlock, Wall::Processes, signals);
        report.full(Enforcer::Landlock, Address::Network, "connects to no abstract socket outside of its cell");
    } else if own_processes {
        report.full(Enforcer::Namespace, Wall::Processes, signals);
    } else if profile == Profile::Process {
        let because = "this kernel's Landlock does not scope signals (Linux before 6.12), and there is no pid namespace";
        report.none(Enforcer::Landlock, Wall::Processes, signals, because);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::Extent;

    fn described(abi: ABI, profile: Profile, own_processes: bool) -> Report {
        let mut report = Report::new();
        describe(abi, profile, own_processes, &mut report);
        report
    }

    #[test]
    fn signals_that_nobody_scopes_are_not_held() {
        let report = described(ABI::V5, Profile::Process, false);
        let of_signals = |report: &Report| {
            let found = report.entries().iter().find(|entry| entry.subject == Wall::Processes.into());
            found.map(|entry| (entry.enforcer, matches!(entry.extent, Extent::None { .. })))
        };
        assert_eq!(of_signals(&report), Some((Enforcer::Landlock, true)));
        assert!(report.refusal().is_some_and(|why| why.contains("signals no process")), "{report:?}");
        // The twins: a pid namespace, or a newer kernel.
        assert_eq!(of_signals(&described(ABI::V5, Profile::Process, true)), Some((Enforcer::Namespace, false)));
        assert_eq!(of_signals(&described(ABI::V6, Profile::Process, false)), Some((Enforcer::Landlock, false)));
        assert_eq!(described(ABI::V6, Profile::Process, false).refusal(), None);
    }

    #[test]
    fn old_kernels_hold_files_in_part() {
        let partial = |abi: ABI| {
            described(abi, Profile::WasmHost, false).entries().iter().any(|entry| matches!(entry.extent, Extent::Partial { .. }))
        };
        assert!(partial(ABI::V2) && !partial(ABI::V3));
    }
}
