//! Hosts that die while their agents live by events: they are started again, for nothing that counts was in them.
//!
//! ```text
//!  running ──host dies──→ paused ──after a pause──→ starting ──ready──→ running
//!                            └──the sixth time within a minute, or closing──→ over
//! ```
//!
//! Not what the warden ended for a limit or for nonsense; and no plain program, which would begin anew.

use std::time::{Duration, Instant};

use super::{Life, News, Phase, Step};
use crate::{
    backend::protocol::End,
    cell::AgentName,
    warden::child::{Child, Stage},
};

/// Restarts within [`WITHIN`], at the most.
const RESTARTS_MOST: usize = 5;
/// The time in which they count.
const WITHIN: Duration = Duration::from_secs(60);
/// The first pause; each later one is three times as long: 0.1, 0.3, 0.9, 2.7, 8.1 s.
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// The restarts that led to a child, and what follows its own end.
#[derive(Debug, Default)]
pub struct Again {
    /// When they were, within the last minute.
    restarts: Vec<Instant>,
    is_restart: bool,
    /// When it must be ready.
    ready_by: Option<Instant>,
    /// Once it has died: when it is started again, and how it ended.
    next: Option<(Instant, End)>,
}

impl Again {
    /// Whether the child was started in the place of one that died.
    pub const fn is_restart(&self) -> bool {
        self.is_restart
    }

    /// Whether there may be another restart, and when.
    fn next_at(&mut self, now: Instant) -> Option<Instant> {
        self.restarts.retain(|at| now.saturating_duration_since(*at) < WITHIN);
        let before = self.restarts.len();
        let pause = FIRST_PAUSE * 3_u32.pow(u32::try_from(before).unwrap_or(u32::MAX).min(8));
        (before < RESTARTS_MOST).then(|| {
            self.restarts.push(now);
            now + pause
        })
    }
}

impl Life {
    /// A child is gone. Pauses those of its agents that are to be started again; whether there are any.
    pub(super) fn pause(&mut self, index: usize, end: &End) -> bool {
        let child = &mut self.children[index];
        let is_theirs = matches!(self.phase, Phase::Running) && child.joined;
        let mut paused: Vec<&mut Stage> = child
            .runs
            .iter_mut()
            .filter(|run| is_theirs && run.by_events && !run.is_over() && run.decided.is_none() && run.refusal.is_none())
            .map(|run| &mut run.stage)
            .collect();
        if paused.is_empty() {
            return false;
        }
        let Some(at) = child.again.next_at(Instant::now()) else { return false };
        child.again.next = Some((at, end.clone()));
        for stage in &mut paused {
            **stage = Stage::Paused;
        }
        true
    }

    /// When the next restart is due, or must be ready.
    pub(super) fn again_at(&self) -> Option<Instant> {
        let times = |child: &Child| [child.again.next.as_ref().map(|(at, _)| *at), child.again.ready_by];
        self.children.iter().flat_map(times).flatten().min()
    }

    /// The child whose agents are to be started again now. One that was, and is not ready in time, is killed.
    pub(super) fn due_again(&mut self, now: Instant) -> Option<usize> {
        for child in &mut self.children {
            if child.again.ready_by.take_if(|at| now >= *at).is_some() && child.runs.iter().any(|run| matches!(run.stage, Stage::Starting))
            {
                child.kill();
            }
        }
        let is_due = |child: &Child| child.again.next.as_ref().is_some_and(|(at, _)| now >= *at);
        self.children.iter().position(is_due)
    }

    /// The agents of a child that died which are to be started again.
    pub fn paused(&self, index: usize) -> Vec<AgentName> {
        let runs = self.children[index].runs.iter();
        runs.filter(|run| matches!(run.stage, Stage::Paused)).map(|run| run.agent.clone()).collect()
    }

    /// A child was started in the place of one that died: takes over its agents and their logs. Returns its place.
    pub fn revived(&mut self, index: usize, mut child: Child, ready_within: Duration) -> (usize, End) {
        let old = &mut self.children[index];
        let end = old.again.next.take().map_or(End::Signalled { signal: libc::SIGKILL }, |(_, end)| end);
        child.again = Again {
            restarts: std::mem::take(&mut old.again.restarts),
            is_restart: true,
            ready_by: Some(Instant::now() + ready_within),
            next: None,
        };
        for run in &mut child.runs {
            if let Some(before) = old.run(&run.agent) {
                run.log = before.log.take();
                run.held.follow(&mut before.held);
            }
        }
        old.runs.retain(|run| !matches!(run.stage, Stage::Paused));
        self.children.push(child);
        (self.children.len() - 1, end)
    }

    /// A child could not be started in the place of one that died: that counts as another death of it.
    pub fn not_revived(&mut self, index: usize) -> Step {
        let again = &mut self.children[index].again;
        let next = again.next_at(Instant::now());
        match (&mut again.next, next) {
            (Some((at, _)), Some(later)) => {
                *at = later;
                Step::Wait
            }
            (Some(_) | None, _) => {
                self.end_paused_of(index);
                self.progress()
            }
        }
    }

    /// Nothing is started again any more.
    pub(super) fn end_paused(&mut self) {
        for index in 0..self.children.len() {
            self.end_paused_of(index);
        }
    }

    fn end_paused_of(&mut self, index: usize) {
        let child = &mut self.children[index];
        let Some((_, end)) = child.again.next.take() else { return };
        for run in child.runs.iter_mut().filter(|run| matches!(run.stage, Stage::Paused)) {
            run.end(end.clone());
            self.news.push(News::Over(run.agent.clone()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn restarts_are_counted_and_the_pause_grows() {
        let mut again = Again::default();
        let start = Instant::now();
        let pauses: Vec<u128> = (0..5).filter_map(|_| Some((again.next_at(start)? - start).as_millis())).collect();
        assert_eq!(pauses, [100, 300, 900, 2700, 8100]);
        assert_eq!(again.next_at(start + Duration::from_secs(59)), None);
        let later = start + Duration::from_secs(61);
        assert_eq!(again.next_at(later), Some(later + FIRST_PAUSE), "a minute later they are forgotten");
    }
}
