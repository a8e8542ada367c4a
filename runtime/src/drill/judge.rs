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
        (Outcome::Broken, format!("its allowed twin failed ({twin}), so that nothing is proved; the attack: {seen}"))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        drill::{Arena, Class, Death},
        policy::{Enforcer, Wall},
    };

    fn nothing(_: &[String]) -> std::io::Result<String> {
        Ok(String::new())
    }

    static ATTACK: Attack = Attack {
        name: "paths/test",
        class: Class::Paths,
        what: "does nothing",
        arena: Arena::Fallen { act: nothing },
        attack: &["a"],
        twin: &["b"],
        dies: &[Death::Errno(libc::EACCES), Death::Signal(libc::SIGSYS)],
        gain: Outcome::Write,
        promise: Some("the promise"),
    };

    fn outcome(twin: Seen, attack: Seen, disturbed: Vec<Disturbance>, report: &Report) -> (Outcome, bool) {
        let verdict = judge(&ATTACK, &Tried { twin, attack, seconds: 0.0, disturbed }, report);
        (verdict.outcome, verdict.is_well())
    }

    #[test]
    fn every_line_of_the_table() {
        let went = || Seen::succeeded("");
        let errno = |number: i32| Seen::Errno { number };
        let report = Report::new();
        let leaked = || Disturbance::Leaked("a secret".into());
        let table = [
            (went(), errno(libc::EACCES), vec![], Outcome::Held),
            (went(), Seen::Signal { number: libc::SIGSYS }, vec![], Outcome::Held),
            (went(), errno(libc::EPERM), vec![], Outcome::Broken),
            (went(), Seen::Stuck, vec![], Outcome::Broken),
            (went(), Seen::untold("gone"), vec![], Outcome::Broken),
            (went(), went(), vec![], Outcome::Write),
            (errno(libc::EACCES), errno(libc::EACCES), vec![], Outcome::Broken),
            (errno(libc::EACCES), went(), vec![], Outcome::Broken),
            // Canaries count for more than anybody's word.
            (went(), errno(libc::EACCES), vec![leaked()], Outcome::Read),
            (errno(libc::EACCES), errno(libc::EACCES), vec![leaked()], Outcome::Read),
            (went(), errno(libc::EACCES), vec![Disturbance::Changed("a file".into()), leaked()], Outcome::Write),
            (went(), errno(libc::EACCES), vec![leaked(), Disturbance::Contacted("a port".into())], Outcome::Escape),
            (went(), errno(libc::EACCES), vec![Disturbance::Touched("a process".into())], Outcome::Escape),
            (went(), errno(libc::EACCES), vec![Disturbance::Survived("a process".into())], Outcome::Escape),
            (went(), errno(libc::EACCES), vec![Disturbance::Died("a warden".into())], Outcome::Crash),
        ];
        for (twin, attack, disturbed, expected) in table {
            let told = format!("{twin} / {attack} / {disturbed:?}");
            assert_eq!(outcome(twin, attack, disturbed, &report), (expected, expected == Outcome::Held), "{told}");
        }
    }

    #[test]
    fn what_the_report_says_excuses_what_it_is_about_and_nothing_else() {
        let (went, report) = (
            || Seen::succeeded(""),
            |fill: fn(&mut Report)| {
                let mut report = Report::new();
                fill(&mut report);
                report
            },
        );
        let partly = report(|report| {
            report.partial(Enforcer::Kernel, Wall::Files, "holds the promise", "it is old");
        });
        assert_eq!(outcome(went(), went(), vec![], &partly), (Outcome::Write, true));
        assert_eq!(outcome(went(), Seen::Stuck, vec![], &partly), (Outcome::Broken, false), "what nobody can say is not excused");
        let by_another = report(|report| {
            report.partial(Enforcer::Kernel, Wall::Files, "holds the promise", "it is old");
            report.full(Enforcer::Landlock, Wall::Files, "holds the promise");
        });
        assert_eq!(outcome(went(), went(), vec![], &by_another), (Outcome::Write, false), "another holds it wholly");
        let of_another = report(|report| {
            report.partial(Enforcer::Kernel, Wall::Files, "another", "it is old");
        });
        assert_eq!(outcome(went(), went(), vec![], &of_another), (Outcome::Write, false));
    }
}
