//! What comes with time: deadlines, expiry, restarts.

use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};

use super::{KILL_WITHIN, Life, NOT_IN_TIME, OWN_GRACE, Phase, Step};
use crate::{backend::protocol::End, cell::CloseReason};

impl Life {
    /// When [`Life::overdue`] must be called at the latest.
    pub fn deadline(&self, now: DateTime<Utc>) -> Instant {
        // A wall clock may be set, and a machine may sleep: look again at least this often.
        const LOOK_AGAIN: Duration = Duration::from_secs(30);
        let instant = Instant::now();
        let mut next = instant + LOOK_AGAIN;
        match self.phase {
            Phase::Starting { until } => next = next.min(until),
            Phase::Closing { kill_at } => next = next.min(kill_at),
            Phase::Running => {
                if let Some(at) = self.expires_at {
                    next = next.min(instant + (at - now).to_std().unwrap_or_default());
                }
                if let Some((at, _)) = self.timeout {
                    next = next.min(at);
                }
            }
        }
        let joining = self.joining.iter().map(|(_, until)| *until);
        joining.chain(self.again_at()).fold(next, Instant::min)
    }

    /// Does what is due. `still_expired` asks the registry whether the time to live was extended meanwhile.
    pub fn overdue(&mut self, now: DateTime<Utc>) -> Step {
        let instant = Instant::now();
        for (index, until) in self.joining.iter_mut().filter(|(_, until)| instant >= *until) {
            *until = instant + KILL_WITHIN;
            let child = &mut self.children[*index];
            for run in &mut child.runs {
                run.refusal.get_or_insert_with(|| NOT_IN_TIME.to_owned());
            }
            child.kill();
        }
        if let Some(index) = self.due_again(instant) {
            return Step::Again(index);
        }
        match self.phase {
            Phase::Starting { until } if instant >= until => {
                self.phase = Phase::Starting { until: instant + KILL_WITHIN };
                self.refuse_all(NOT_IN_TIME);
                self.give_up_starting()
            }
            Phase::Running if self.timeout.is_some_and(|(at, _)| instant >= at) => {
                let after = self.timeout.take().map_or(Duration::ZERO, |(_, after)| after);
                let message = format!("it ran longer than {}", crate::policy::format_duration(after));
                self.decide_all(&End::Limit { limit: "timeout".into(), message });
                self.end_paused();
                self.kill_all();
                self.progress()
            }
            Phase::Running if self.expires_at.is_some_and(|at| now >= at) => {
                Step::Close { reason: CloseReason::Expired, grace: OWN_GRACE, asker: None }
            }
            Phase::Closing { kill_at } if instant >= kill_at => self.kill_now(),
            Phase::Starting { .. } | Phase::Running | Phase::Closing { .. } => Step::Wait,
        }
    }
}
