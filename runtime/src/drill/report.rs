//! What a drill found, as the operator is told.

use super::{Disturbance, Outcome, Stage, Verdict};
use crate::policy::{Enforcer, Extent, Report};

/// The machine that the drill ran on.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Machine {
    /// The kernel's release.
    pub kernel: String,
    /// The version of Landlock; 0 where there is none.
    pub landlock_abi: u32,
    /// The user's number.
    pub user: u32,
    /// Whether process agents have namespaces of their own.
    pub namespaces: bool,
    /// Whether control groups hold what they can.
    pub cgroups: bool,
    /// How file names are resolved in a host: `openat2`, or by our `own` steps where the kernel has none.
    pub resolver: &'static str,
}

impl Machine {
    /// Looks at this machine, with what the kernel gave the stage's own cell.
    pub fn look(report: &Report) -> Self {
        let by = |enforcer: Enforcer| report.entries().iter().any(|entry| entry.enforcer == enforcer && entry.extent == Extent::Full);
        Self {
            kernel: rustix::system::uname().release().to_string_lossy().into_owned(),
            landlock_abi: crate::unchecked::landlock_abi(),
            user: rustix::process::geteuid().as_raw(),
            namespaces: by(Enforcer::Namespace),
            cgroups: by(Enforcer::Cgroup),
            resolver: resolver(),
        }
    }
}

/// Whether this kernel, or the sandbox that this runs in, has `openat2`.
fn resolver() -> &'static str {
    use rustix::fs::{Mode, OFlags, ResolveFlags, openat2};
    match openat2(rustix::fs::CWD, "/", OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), ResolveFlags::empty()) {
        Err(rustix::io::Errno::NOSYS) => "own",
        Ok(_) | Err(_) => "openat2",
    }
}

/// What the canaries say when all is over.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Canaries {
    /// Whether every one is as it was.
    pub intact: bool,
    /// What is not, one sentence each.
    pub disturbed: Vec<String>,
}

impl Canaries {
    /// Takes the last look, and adds what the attacks themselves disturbed.
    pub(super) fn look(stage: &Stage, verdicts: &[Verdict]) -> Self {
        let mut disturbed: Vec<String> = stage.final_look().iter().map(Disturbance::to_string).collect();
        let beyond = |outcome: Outcome| !matches!(outcome, Outcome::Held | Outcome::Broken);
        disturbed.extend(verdicts.iter().filter(|verdict| beyond(verdict.outcome)).map(|one| format!("{}: {}", one.attack.name, one.how)));
        Self { intact: disturbed.is_empty(), disturbed }
    }
}

/// A drill that took place.
#[derive(Debug, Clone)]
pub struct DrillReport {
    /// The machine.
    pub machine: Machine,
    /// Every attack, in the order of the catalogue.
    pub verdicts: Vec<Verdict>,
    /// The canaries at the end.
    pub canaries: Canaries,
}

impl DrillReport {
    /// How many attacks were held.
    pub fn held(&self) -> usize {
        self.verdicts.iter().filter(|verdict| verdict.outcome == Outcome::Held).count()
    }

    /// How many succeeded where the cell's report says that they might.
    pub fn as_reported(&self) -> usize {
        self.verdicts.iter().filter(|verdict| verdict.as_reported.is_some()).count()
    }

    /// Whether the walls hold what the reports say, and no canary was disturbed otherwise.
    pub fn is_well(&self) -> bool {
        self.verdicts.iter().all(Verdict::is_well) && self.canaries.disturbed.len() <= self.as_reported()
    }

    /// The drill in one sentence.
    pub fn message(&self) -> String {
        let (total, held, reported) = (self.verdicts.len(), self.held(), self.as_reported());
        let others = total - held - reported;
        let mut message = format!("{held} of {total} attacks held");
        if reported > 0 {
            message.push_str(&format!(", {reported} got what the report says may be had here"));
        }
        if others > 0 {
            message.push_str(&format!("; {others} DID NOT HOLD"));
        }
        if self.canaries.intact {
            message.push_str("; every canary is as it was");
        }
        message
    }
}
