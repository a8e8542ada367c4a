//! From what was tried and what the canaries say to an outcome. Pure: a table of tests stands for every line.

use std::fmt;

use super::{Attack, Outcome, Seen};
use crate::policy::{Extent, Report};

/// Something outside of the jail that is not as it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Disturbance {
    /// A secret stands in what an attacker wrote.
    Leaked(String),
    /// A file or directory is not as it was.
    Changed(String),
    /// A listener was reached.
    Contacted(String),
    /// A process outside was signalled, stopped or traced.
    Touched(String),
    /// A process of a cell outlived it.
    Survived(String),
    /// Something trusted died or stopped answering.
    Died(String),
}

impl Disturbance {
    /// What an attacker achieved by it.
    pub const fn outcome(&self) -> Outcome {
        match self {
            Self::Leaked(_) => Outcome::Read,
            Self::Changed(_) => Outcome::Write,
            Self::Contacted(_) | Self::Touched(_) | Self::Survived(_) => Outcome::Escape,
            Self::Died(_) => Outcome::Crash,
        }
    }
}

impl fmt::Display for Disturbance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Leaked(what) => write!(f, "{what} leaked"),
            Self::Changed(what) => write!(f, "{what} changed"),
            Self::Contacted(what) => write!(f, "{what} was reached"),
            Self::Touched(what) => write!(f, "{what}"),
            Self::Survived(what) => write!(f, "{what} outlived its cell"),
            Self::Died(what) => write!(f, "{what} died"),
        }
    }
}

/// An attack and its twin, tried.
#[derive(Debug, Clone)]
pub struct Tried {
    /// How the twin ended.
    pub twin: Seen,
    /// How the attack ended.
    pub attack: Seen,
    /// How long both took.
    pub seconds: f64,
    /// What is not as it was before.
    pub disturbed: Vec<Disturbance>,
}

/// What became of one attack.
#[derive(Debug, Clone)]
pub struct Verdict {
    /// The attack.
    pub attack: &'static Attack,
    /// What it achieved.
    pub outcome: Outcome,
    /// How it died, or what it got.
    pub how: String,
    /// How its twin ended.
    pub twin: String,
    /// Why a success is no surprise: what the cell's report says of the promise.
    pub as_reported: Option<String>,
    /// How long attack and twin took.
    pub seconds: f64,
}

impl Verdict {
    /// Whether the machine holds what its report says: the attack was held, or succeeded where the report says that it might.
    pub const fn is_well(&self) -> bool {
        matches!(self.outcome, Outcome::Held) || self.as_reported.is_some()
    }
}

/// Judges one attack. The canaries come first, then the twin, and only then what the attacker says.
pub fn judge(attack: &'static Attack, tried: &Tried, report: &Report) -> Verdict {
    let Tried { twin, attack: seen, seconds, disturbed } = tried;
    let worst = disturbed.iter().max_by_key(|disturbance| disturbance.outcome());
    let (outcome, how) = if let Some(disturbance) = worst {
        (disturbance.outcome(), disturbance.to_string())
    } else if !twin.is_success() {
        (Outcome::Broken, format!("its allowed twin failed, so that nothing is proved; the attack: {seen}"))
    } else if attack.dies.iter().any(|death| seen.is(*death)) {
        (Outcome::Held, seen.to_string())
    } else if seen.is_success() {
        (attack.gain, seen.to_string())
    } else {
        (Outcome::Broken, format!("it died otherwise than it must: {seen}"))
    };
    let as_reported = match outcome {
        Outcome::Held | Outcome::Broken => None,
        Outcome::Crash | Outcome::Read | Outcome::Write | Outcome::Escape => attack.promise.and_then(|words| reserved(report, words)),
    };
    Verdict { attack, outcome, how, twin: twin.to_string(), as_reported, seconds: *seconds }
}

/// Why a promise is not wholly held, where no enforcer holds it wholly. A promise that the report does not make is none.
fn reserved(report: &Report, words: &str) -> Option<String> {
    let entries = || report.entries().iter().filter(|entry| entry.promise.contains(words));
    if entries().any(|entry| entry.extent == Extent::Full) {
        return None;
    }
    entries().find_map(|entry| match &entry.extent {
        Extent::Full => None,
        Extent::Partial { because } | Extent::None { because } => Some(format!("{}: {because}", entry.promise)),
    })
}
