//! What is said to hold of one agent's policy, and whether the agent may live with it.
//!
//! ```text
//!  the child's report, in pieces ─┐
//!  what the warden took on itself ┼─ settle() ─→ the whole report ─→ nothing is missing, or the operator accepted that: it lives
//!  what was promised ─────────────┘   what nobody reported is not held       else: refused, with each thing that is not held
//! ```

use crate::policy::{Asked, Enforcer, Promised, Report};

/// Pieces of one report, at the most. That of the largest policy has some twenty; a child that is no longer its own master has no end.
const PIECES_MOST: usize = 64;

/// What is gathered of one agent until it is ready, and what came of it.
#[derive(Debug)]
pub struct Held {
    promised: Vec<Promised>,
    accepts: bool,
    own: Report,
    heard: Report,
    pieces: usize,
    /// Whole, once it is settled; until then that of the run before it, if its host was started again.
    report: Report,
    follows: bool,
}

impl Held {
    /// Nothing heard yet.
    pub fn new(asked: &Asked<'_>) -> Self {
        let (own, heard, report) = (Report::new(), Report::new(), Report::new());
        Self { promised: asked.promised(), accepts: asked.policy.accept_degraded, own, heard, pieces: 0, report, follows: false }
    }

    /// Where the warden records what it holds itself, as it takes that on.
    pub const fn own(&mut self) -> &mut Report {
        &mut self.own
    }

    /// Takes a piece of what the child reports; `false` where there are more than any report has.
    #[must_use]
    pub fn hear(&mut self, piece: Report) -> bool {
        self.pieces += 1;
        let fits = self.pieces <= PIECES_MOST;
        if fits {
            self.heard.append(piece);
        }
        fits
    }

    /// What enforces the policy.
    pub const fn report(&self) -> &Report {
        &self.report
    }

    /// Takes over from the run before it, whose host died: what the warden holds goes on, and less than was held then is not enough.
    pub fn follow(&mut self, before: &mut Self) {
        self.own = std::mem::take(&mut before.own);
        self.report = std::mem::take(&mut before.report);
        self.follows = true;
    }

    /// Makes the report whole: the agent is ready, and everybody has said what they hold.
    ///
    /// # Errors
    /// Why the agent must not live: something is not held, and nobody accepted that; or held less than in the run before.
    pub fn settle(&mut self) -> Result<(), String> {
        let mut report = std::mem::take(&mut self.heard);
        // It stays: the run that follows, should the host die, is held in the same way.
        report.append(self.own.clone());
        let covered = |promised: &&Promised| !promised.is_covered(&report);
        let missing: Vec<Promised> = self.promised.iter().filter(covered).cloned().collect();
        for Promised { subject, .. } in missing {
            let promise = subject.to_string();
            report.none(Enforcer::Warden, subject, promise, "nobody reported it");
        }
        let before = std::mem::replace(&mut self.report, report);
        if self.follows {
            let less = self.report.not_held().find(|now| !before.not_held().any(|then| then == *now));
            return less.map_or(Ok(()), |less| Err(format!("less of its policy is held than before its host was started again: {less}")));
        }
        self.report.refusal().filter(|_| !self.accepts).map_or(Ok(()), Err)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        cell::BackendKind,
        policy::{Policy, Subject, Wall},
    };

    fn held(policy: &Policy) -> Held {
        let backend = BackendKind::Wasm;
        Held::new(&Asked { policy, backend, by_events: true, home: true, shared: None, speaks: false, captured: true })
    }

    /// Everything that is promised, but for some subjects.
    fn report(held: &Held, but: &[Subject]) -> Report {
        let mut report = Report::new();
        for promised in held.promised.iter().filter(|promised| !but.contains(&promised.subject)) {
            report.full(Enforcer::Wasm, promised.subject.clone(), promised.subject.to_string());
        }
        report
    }

    #[test]
    fn what_nobody_reported_is_not_held_and_refuses() {
        let policy = Policy::default();
        let mut whole = held(&policy);
        assert!(whole.hear(report(&whole, &[])));
        assert_eq!(whole.settle(), Ok(()));
        assert!(!whole.report().is_degraded());
        let mut forgotten = held(&policy);
        assert!(forgotten.hear(report(&forgotten, &[Wall::Ipc.into()])));
        let refusal = forgotten.settle().expect_err("a refusal");
        assert!(refusal.contains("ipc (nobody reported it)") && refusal.contains("--accept-degraded"), "{refusal}");
        let accepted = Policy { accept_degraded: true, ..Policy::default() };
        let mut degraded = held(&accepted);
        assert!(degraded.hear(report(&degraded, &[Wall::Ipc.into()])));
        assert_eq!(degraded.settle(), Ok(()));
        assert_eq!(degraded.report().not_held().collect::<Vec<_>>(), ["ipc (nobody reported it)"]);
    }

    #[test]
    fn what_the_warden_holds_counts_and_goes_on() {
        let policy = Policy::default();
        let mut first = held(&policy);
        assert!(first.hear(report(&first, &[Wall::Ipc.into()])));
        first.own().full(Enforcer::Warden, Wall::Ipc, "held by the warden");
        assert_eq!(first.settle(), Ok(()));
        let mut second = held(&policy);
        second.follow(&mut first);
        assert!(second.hear(report(&second, &[Wall::Ipc.into()])));
        assert_eq!(second.settle(), Ok(()), "of a host that is started again as well");
    }

    #[test]
    fn a_run_that_follows_another_holds_no_less() {
        let accepted = Policy { accept_degraded: true, ..Policy::default() };
        let mut first = held(&accepted);
        assert!(first.hear(report(&first, &[Wall::Ipc.into()])));
        assert_eq!(first.settle(), Ok(()));
        let mut second = held(&accepted);
        second.follow(&mut first);
        assert!(second.hear(report(&second, &[Wall::Ipc.into()])));
        assert_eq!(second.settle(), Ok(()), "as before");
        let mut third = held(&accepted);
        third.follow(&mut second);
        assert!(third.hear(report(&third, &[Wall::Ipc.into(), Wall::Files.into()])));
        assert!(third.settle().is_err_and(|why| why.contains("files (nobody reported it)")));
    }

    #[test]
    fn a_report_without_end_is_none() {
        let mut held = held(&Policy::default());
        assert!((0..PIECES_MOST).all(|_| held.hear(Report::new())));
        assert!(!held.hear(Report::new()));
    }
}
