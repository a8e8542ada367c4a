//! The life of a cell under its warden, from the first child to the last.
//!
//! ```text
//!  starting ──all ready──→ running ──close, end, expiry, signal──→ closing ──none lives──→ over
//!      │                      └───────────every agent ended by itself────────────────────────↗
//!      └──refused, ended, too late──→ over (not ready)
//! ```
//!
//! [`Life`] decides; [`super::watch`] reads; the registry is opened for each transition and closed again,
//! so that a warden that only waits holds little memory.

mod again;
mod cpu;
mod due;
mod ends;
mod struck;

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use chrono::{DateTime, Utc};
use tokio::sync::mpsc;

pub use again::Again;
pub use ends::{describe, is_well};

use super::{
    child::{AgentRun, Child, Stage},
    post::{Errand, LineEvent},
    spec::{Answer, Ask},
    watch::{Event, Packet},
};
use crate::{
    backend::{
        protocol::{End, FromChild, ToChild},
        spawned,
    },
    cell::{AgentName, CloseReason, Identity},
    policy::LimitName,
};

/// After the kill, how long a process may take to be gone before the warden says that it is not: one in
/// uninterruptible sleep dies only when the kernel lets it.
const KILL_WITHIN: Duration = Duration::from_secs(10);
/// The grace of a cell whose time is over, or whose warden is told to end.
const OWN_GRACE: Duration = Duration::from_secs(5);

/// What is said of an agent that is not ready in time.
const NOT_IN_TIME: &str = "it did not become ready in time";

/// Where a cell's life stands.
#[derive(Debug)]
enum Phase {
    /// Children were started, not all agents are ready.
    Starting { until: Instant },
    /// All agents were ready.
    Running,
    /// The agents were told to end; at `kill_at` they are ended.
    Closing { kill_at: Instant },
}

/// What the caller of [`Life`] must do next.
#[derive(Debug)]
pub enum Step {
    /// Wait for the next event, or until the deadline.
    Wait,
    /// Every agent is ready: make `active` durable, then call [`Life::activated`].
    Activate,
    /// The cell did not become active: everything is dead; remove and record it.
    NotReady(String),
    /// Somebody wants the cell closed: make `closing` durable, then call [`Life::closing`].
    Close {
        /// Why.
        reason: CloseReason,
        /// How long the agents may take.
        grace: Duration,
        /// Who waits for it, if anybody.
        asker: Option<mpsc::UnboundedSender<Answer>>,
    },
    /// Somebody wants another agent started.
    Start(Box<super::spec::AgentPlan>, Identity, mpsc::UnboundedSender<Answer>),
    /// An agent of a cell that goes on has ended: record it.
    Record(AgentName, End),
    /// An invited agent's child is ready: make it a member, then it belongs to the cell.
    Joined(usize),
    /// An invited agent's child did not become ready, and is gone.
    NotJoined(usize, String),
    /// A host of agents that live by events died, and its pause is over: start it again, then call [`Life::revived`].
    Again(usize),
    /// Somebody wants something of the post office.
    Asked(Ask, mpsc::UnboundedSender<Answer>),
    /// Something happened on a member's own connection.
    Line(LineEvent),
    /// Something that the post office ordered is done.
    Errand(Errand),
    /// A child has room for packets again.
    Room(usize),
    /// Nothing lives any more: record how the cell ended.
    Over,
}

/// What the post office must hear, in the order in which it happened, before the step that came of it is taken.
#[derive(Debug)]
pub enum News {
    /// An agent that lives by events has started.
    Ready(AgentName),
    /// A child said something that concerns the post office alone.
    Said(usize, FromChild),
    /// A host ended.
    HostEnded(usize, End),
    /// The run of an agent that lives by events is over.
    Over(AgentName),
    /// An agent ran so often into a limit.
    Struck(AgentName, LimitName, u64),
}

/// The life of one cell.
pub struct Life {
    /// Its children.
    pub children: Vec<Child>,
    phase: Phase,
    /// Those who wait for the end.
    pub waiters: Vec<mpsc::UnboundedSender<Answer>>,
    /// When its time is over, and what then; `None` where it is kept.
    pub expires_at: Option<DateTime<Utc>>,
    /// When a foreground run's time is over, and how long that was.
    pub timeout: Option<(Instant, Duration)>,
    /// Processes that were ended rather than ending by themselves, those of the agents and what they started among them.
    pub killed: u32,
    /// Invited agents' children that are not ready yet, and until when they may take.
    joining: Vec<(usize, Instant)>,
    /// What the post office has not heard yet.
    pub news: Vec<News>,
}

impl Life {
    /// A life whose children were just started.
    pub fn new(children: Vec<Child>, ready_within: Duration) -> Self {
        let phase = Phase::Starting { until: Instant::now() + ready_within };
        Self { children, phase, waiters: Vec::new(), expires_at: None, timeout: None, killed: 0, joining: Vec::new(), news: Vec::new() }
    }

    /// The run of every agent that belongs to the cell.
    pub fn runs(&self) -> impl Iterator<Item = &AgentRun> {
        self.children.iter().filter(|child| child.joined).flat_map(|child| &child.runs)
    }

    /// Takes one event; what follows from it is the result.
    pub fn take(&mut self, event: Event) -> Step {
        match event {
            Event::Packet(index, packet) => self.packet(index, packet),
            Event::Garbled(index) => self.garbled(index),
            Event::Output(index, stream, bytes) => self.logged(index, 0, stream, &bytes),
            Event::Exited(index) => self.exited(index),
            Event::Request(request) => self.request(request.ask, request.answers),
            Event::Signal => self.signal(),
            Event::Room(index) => Step::Room(index),
            Event::Deaf(index) => {
                self.children[index].kill();
                Step::Wait
            }
            Event::Errand(errand) => Step::Errand(errand),
            Event::Line(event) => Step::Line(event),
        }
    }

    fn packet(&mut self, index: usize, packet: Packet) -> Step {
        let child = &mut self.children[index];
        if child.distrusted {
            // It was killed for what it said before: what it had said after that already counts for nothing.
            return Step::Wait;
        }
        match packet {
            Packet::Output { guest, stream, bytes } => self.logged(index, usize::from(guest), stream, &bytes),
            Packet::Control(said) => self.said(index, said),
        }
    }

    fn said(&mut self, index: usize, said: FromChild) -> Step {
        let agent = said.agent().clone();
        if self.children[index].run(&agent).is_none() {
            return self.garbled(index);
        }
        let said = match said {
            FromChild::Ended { agent, end } => FromChild::Ended { agent, end: self.children[index].explained(end) },
            other => other,
        };
        let Some(run) = self.children[index].run(&agent) else { return Step::Wait };
        let is_starting = matches!(run.stage, Stage::Starting);
        match said {
            // What is enforced is said before any code of the agent runs; whoever says it later may be that code.
            FromChild::Report { .. } if !is_starting => return self.garbled(index),
            FromChild::Report { report, .. } => {
                if !run.held.hear(report) {
                    return self.garbled(index);
                }
            }
            // Once it was ready, or is over, there is nothing to be ready for.
            FromChild::Ready { .. } if !is_starting => return self.garbled(index),
            FromChild::Ready { .. } => {
                if let Err(why) = run.held.settle() {
                    return self.not_held(index, agent, why);
                }
                run.stage = Stage::Running;
                if run.by_events {
                    self.news.push(News::Ready(agent));
                }
                if let Some(at) = self.joining.iter().position(|(joining, _)| *joining == index) {
                    self.joining.remove(at);
                    return Step::Joined(index);
                }
            }
            FromChild::Refused { message, .. } => {
                run.refusal.get_or_insert(message);
                return self.run_ended(index, agent, End::Exited { code: 1 }, false);
            }
            FromChild::Ended { end, .. } => {
                let started = matches!(run.stage, Stage::Running);
                if !started {
                    run.refusal.get_or_insert_with(|| format!("it ended before it was ready: {}", describe(&end)));
                }
                return self.run_ended(index, agent, end, started);
            }
            said @ (FromChild::Call { .. } | FromChild::EventOver { .. } | FromChild::Idle { .. }) => {
                if !run.by_events {
                    return self.garbled(index);
                }
                if let FromChild::EventOver { outcome, .. } = &said {
                    self.lost(&agent, outcome);
                }
                self.news.push(News::Said(index, said));
                return Step::Wait;
            }
            FromChild::Limit { limit, count, .. } => {
                self.news.push(News::Struck(agent, limit, count));
                return Step::Wait;
            }
            FromChild::Dropped { bytes, writes, .. } => {
                if let Some(log) = &mut run.log {
                    log.add_dropped(bytes);
                    self.news.push(News::Struck(agent, LimitName::Log, writes.max(1)));
                }
                return Step::Wait;
            }
        }
        self.progress()
    }

    /// A run has ended by its child's word.
    fn run_ended(&mut self, index: usize, agent: AgentName, end: End, started: bool) -> Step {
        let child = &mut self.children[index];
        let again = child.again.is_restart();
        let mut ended = None;
        if let Some(run) = child.run(&agent) {
            ended = run.end(end.clone());
            if run.by_events {
                self.news.push(News::Over(agent.clone()));
            }
        }
        ended.iter().for_each(|end| self.struck_by(&agent, end));
        // One that was started again belongs to a cell that goes on.
        if started || again { self.after_end(agent, end) } else { self.did_not_start(index) }
    }

    /// An agent is ready, and must not live: not all of its policy is held.
    fn not_held(&mut self, index: usize, agent: AgentName, why: String) -> Step {
        let child = &mut self.children[index];
        child.kill();
        for run in &mut child.runs {
            run.refusal.get_or_insert_with(|| why.clone());
        }
        self.run_ended(index, agent, End::Exited { code: 1 }, false)
    }

    /// An agent's run is over: says so where the cell goes on without it.
    fn after_end(&mut self, agent: AgentName, end: End) -> Step {
        let others = self.runs().any(|run| !run.is_over());
        match self.phase {
            Phase::Running if others => Step::Record(agent, end),
            Phase::Starting { .. } | Phase::Running | Phase::Closing { .. } => self.progress(),
        }
    }

    /// An agent will not become ready: the cell, or the invitation, is given up.
    fn did_not_start(&mut self, index: usize) -> Step {
        if self.children[index].joined {
            return self.give_up_starting();
        }
        self.children[index].kill();
        Step::Wait
    }

    /// An invited agent's child was started.
    pub fn joining(&mut self, child: Child, within: Duration) -> usize {
        let index = self.children.len();
        self.children.push(child);
        self.joining.push((index, Instant::now() + within));
        index
    }

    /// A child said what none says: it is not to be trusted further, nor started again.
    pub fn garbled(&mut self, index: usize) -> Step {
        let child = &mut self.children[index];
        child.distrusted = true;
        for run in &mut child.runs {
            run.decided.get_or_insert_with(|| End::Limit {
                limit: "protocol".into(),
                message: "its process said what no agent's process says".into(),
            });
        }
        child.kill();
        Step::Wait
    }

    fn exited(&mut self, index: usize) -> Step {
        let child = &mut self.children[index];
        let end = child.reap();
        let end = child.explained(end);
        // What came after the word of an agent's end is written as well.
        child.runs.iter_mut().filter_map(|run| run.log.as_mut()).for_each(super::logs::Log::finish);
        if matches!(child.spawned.containment(), spawned::Containment::Subreaper) {
            // A reaper that was killed has left its agent to the warden. What does not end is found again by a teardown.
            let known: Vec<u32> = self.children.iter().filter(|child| !child.gone).map(|child| child.spawned.process.pid).collect();
            let _ = spawned::kill_orphans(&known, KILL_WITHIN);
        }
        let is_paused = self.pause(index, &end);
        let child = &mut self.children[index];
        if child.runs.iter().any(|run| run.by_events) {
            self.news.push(News::HostEnded(index, end.clone()));
        }
        let (mut recorded, mut ended) = (None, Vec::new());
        for run in child.runs.iter_mut().filter(|run| !run.is_over() && !matches!(run.stage, Stage::Paused)) {
            if matches!(run.stage, Stage::Starting) && run.refusal.is_none() {
                let words = run.log.as_ref().map(super::logs::Log::last_words).filter(|words| !words.is_empty());
                run.refusal = Some(words.unwrap_or_else(|| format!("it ended before it was ready: {}", describe(&end))));
            }
            ended.extend(run.end(end.clone()).map(|end| (run.agent.clone(), end)));
            if run.by_events {
                self.news.push(News::Over(run.agent.clone()));
            }
            recorded = Some(run.agent.clone());
        }
        ended.iter().for_each(|(agent, end)| self.struck_by(agent, end));
        if let Some(at) = self.joining.iter().position(|(joining, _)| *joining == index) {
            self.joining.remove(at);
            let why = self.children[index].runs.iter().find_map(|run| run.refusal.clone());
            return Step::NotJoined(index, why.unwrap_or_else(|| describe(&end)));
        }
        if matches!(self.phase, Phase::Starting { .. }) && self.children[index].runs.iter().any(|run| run.refusal.is_some()) {
            return self.give_up_starting();
        }
        match recorded {
            Some(agent) => self.after_end(agent, end),
            None if is_paused => Step::Wait,
            None => self.progress(),
        }
    }

    /// What follows from where the runs stand.
    fn progress(&mut self) -> Step {
        match self.phase {
            Phase::Starting { .. } => {
                let starting = self.runs().any(|run| matches!(run.stage, Stage::Starting));
                if starting { Step::Wait } else { Step::Activate }
            }
            Phase::Running | Phase::Closing { .. } => {
                let over = self.runs().all(AgentRun::is_over);
                if over {
                    // Whatever is left of a child whose agents are over is ended, and waited for.
                    self.kill_all();
                }
                if over && self.children.iter().all(|child| child.gone) { Step::Over } else { Step::Wait }
            }
        }
    }

    fn give_up_starting(&mut self) -> Step {
        if !matches!(self.phase, Phase::Starting { .. }) {
            return self.progress();
        }
        self.kill_all();
        if !self.children.iter().all(|child| child.gone) {
            return Step::Wait;
        }
        let refusal = self.runs().find_map(|run| Some((run.agent.clone(), run.refusal.clone()?)));
        let (agent, why) = refusal.unwrap_or_else(|| (self.children[0].runs[0].agent.clone(), "it did not become ready".into()));
        Step::NotReady(format!("agent {agent} did not start: {why}"))
    }

    /// The cell is active, durably.
    pub fn activated(&mut self, expires_at: Option<DateTime<Utc>>, timeout: Option<Duration>) -> Step {
        self.phase = Phase::Running;
        self.expires_at = expires_at;
        self.timeout = timeout.map(|timeout| (Instant::now() + timeout, timeout));
        self.progress()
    }

    /// The cell is closing, durably: the agents are told.
    pub fn closing(&mut self, grace: Duration) -> Step {
        self.end_paused();
        let kill_at = Instant::now() + grace;
        let kill_at = if let Phase::Closing { kill_at: earlier } = self.phase { kill_at.min(earlier) } else { kill_at };
        self.phase = Phase::Closing { kill_at };
        if grace.is_zero() {
            return self.kill_now();
        }
        let grace_ms = u64::try_from(grace.as_millis()).unwrap_or(u64::MAX);
        for child in self.children.iter().filter(|child| child.is_running()) {
            let _ = child.tell(&ToChild::Close { agent: None, grace_ms });
        }
        self.progress()
    }

    fn request(&mut self, ask: Ask, answers: mpsc::UnboundedSender<Answer>) -> Step {
        if matches!(self.phase, Phase::Starting { .. }) {
            let _ = answers.send(Answer::Refused { message: "the cell is still starting".into() });
            return Step::Wait;
        }
        match ask {
            Ask::Close { by, grace_ms } => {
                Step::Close { reason: CloseReason::Asked { by }, grace: Duration::from_millis(grace_ms), asker: Some(answers) }
            }
            Ask::End { by } => Step::Close { reason: CloseReason::Asked { by }, grace: Duration::ZERO, asker: Some(answers) },
            Ask::Start { by, plan } => Step::Start(plan, by, answers),
            ask @ (Ask::Mail | Ask::Await { .. } | Ask::Revoked { .. }) => Step::Asked(ask, answers),
        }
    }

    fn signal(&mut self) -> Step {
        match self.phase {
            Phase::Starting { .. } => {
                self.refuse_all("the warden was told to end");
                self.give_up_starting()
            }
            Phase::Running => Step::Close { reason: CloseReason::Finished, grace: OWN_GRACE, asker: None },
            Phase::Closing { .. } => self.kill_now(),
        }
    }

    fn refuse_all(&mut self, why: &str) {
        for run in self.children.iter_mut().flat_map(|child| &mut child.runs) {
            run.refusal.get_or_insert_with(|| why.to_owned());
        }
    }

    /// Ends one agent for a limit that the warden itself watches.
    pub fn end_for_limit(&mut self, agent: &AgentName, limit: &str, message: String) {
        let Some(child) = self.children.iter_mut().find(|child| child.runs.iter().any(|run| run.agent == *agent)) else { return };
        if let Some(run) = child.run(agent) {
            run.decided = Some(End::Limit { limit: limit.into(), message });
        }
        if child.runs.len() == 1 {
            child.kill();
        } else {
            let _ = child.tell(&ToChild::Close { agent: Some(agent.clone()), grace_ms: 0 });
        }
    }

    fn decide_all(&mut self, end: &End) {
        for run in self.children.iter_mut().flat_map(|child| &mut child.runs).filter(|run| !run.is_over()) {
            run.decided.get_or_insert_with(|| end.clone());
        }
    }

    fn kill_now(&mut self) -> Step {
        // Looked at again after this time only to say so in the log: the kernel decides when it is gone.
        self.phase = Phase::Closing { kill_at: Instant::now() + KILL_WITHIN };
        self.kill_all();
        self.progress_without_kill()
    }

    fn progress_without_kill(&self) -> Step {
        let gone = self.children.iter().all(|child| child.gone) && self.runs().all(AgentRun::is_over);
        if gone { Step::Over } else { Step::Wait }
    }

    fn kill_all(&mut self) {
        for child in self.children.iter_mut().filter(|child| !child.gone) {
            // Several may ask for the end of the same cell: a child is ended once.
            if child.is_running() && !child.killed {
                child.killed = true;
                self.killed = self.killed.saturating_add(child.living());
            }
            child.kill();
        }
    }

    /// How every agent's run ended, by agent.
    pub fn ends(&self) -> BTreeMap<AgentName, End> {
        let end = |run: &AgentRun| match &run.stage {
            Stage::Over(end) => Some((run.agent.clone(), end.clone())),
            Stage::Starting | Stage::Running | Stage::Paused => None,
        };
        self.runs().filter_map(end).collect()
    }
}
