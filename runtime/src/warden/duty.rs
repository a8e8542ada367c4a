//! Carrying out what [`super::life`] decides: the registry, the cell's record, new children, the end.

mod again;
mod guests;
mod homes;
mod mail;
mod people;
mod promises;
mod struck;
mod time;

use std::{
    collections::{HashMap, VecDeque},
    io,
    path::PathBuf,
    time::Duration,
};

use chrono::Utc;
use tokio::sync::mpsc;

use self::{guests::Invitation, homes::Homes, mail::Keeping, people::Entrance, promises::note_accepted};

use super::{
    child::{AgentRun, Child},
    control,
    life::{Life, Step, describe, is_well},
    make::{self, Made},
    post::Post,
    reopen::ReopenError,
    spec::{AgentPlan, Answer, Birth, Outcome, Readiness, WardenSpec},
    strikes::Strikes,
    watch::{Watch, Watched, termination_pipe},
    writer::Writer,
};
use crate::{
    backend::{process, protocol::End, wasm},
    cell::{
        AgentName, CloseReason, Event, FailReason, Opaque, ProcessRef, Record, Run, RunEnd, State,
        text::{one_line, with_causes},
    },
    failpoint::{self, Point},
    home::{LayoutError, LeaseError, ambient::RootError},
    jail::liveness,
    policy::Applied,
    registry::{Registry, RegistryError, TransitionExtras},
};

/// The name under which a warden stands in the audit.
pub(super) const ACTOR: &str = "warden";
/// The longest reason that is kept with a state.
const REASON_MOST_BYTES: usize = 1000;
/// Errands done beside the event loop at once: a copy and an invitation.
const ERRANDS_AT_ONCE: usize = 2;
/// How long the last answers may take to be written.
const LAST_WORDS_WITHIN: Duration = Duration::from_secs(1);

/// Why a warden could not do its duty.
#[derive(Debug, thiserror::Error)]
pub enum WardenError {
    /// The root.
    #[error("{0}")]
    Root(#[from] RootError),
    /// The cell's directory.
    #[error("{}", with_causes(.0))]
    Layout(#[from] LayoutError),
    /// The cell's lease.
    #[error("{}", with_causes(.0))]
    Lease(#[from] LeaseError),
    /// A cell that lived before, and cannot live again.
    #[error("{0}")]
    Reopen(#[from] ReopenError),
    /// A home that is none of the cell's.
    #[error("make home {0}: it is not of this cell")]
    Home(PathBuf),
    /// A template.
    #[error("open the agent's template: {0}")]
    Template(#[source] io::Error),
    /// A template that is not the one that was approved.
    #[error("use the template of agent {0}: it changed since it was approved")]
    TemplateChanged(AgentName),
    /// The control socket or the logs.
    #[error("open the cell's own files: {0}")]
    Control(#[source] io::Error),
    /// A process agent.
    #[error("{}", with_causes(.0))]
    Process(#[from] process::SpawnError),
    /// A wasm host.
    #[error("{}", with_causes(.0))]
    Wasm(#[from] wasm::SpawnError),
    /// The registry.
    #[error("{}", with_causes(.0))]
    Registry(#[from] RegistryError),
    /// The event loop, or this process' own identity.
    #[error("watch over the cell: {0}")]
    Watch(#[from] io::Error),
}

/// Watches over a cell from its proposal to its end. `ready` is called once the cell is active, durably.
///
/// # Errors
/// What keeps the warden itself from its work. The cell's own failure is an [`Outcome`].
pub fn watch_over(spec: WardenSpec, ready: impl FnOnce(&Readiness)) -> Result<Outcome, WardenError> {
    let made = match make::make(&spec) {
        Ok(made) => made,
        Err(WardenError::Reopen(error)) => return not_ready(&spec, None, error.to_string(), false),
        Err(error) => return not_ready(&spec, None, format!("could not {error}"), true),
    };
    // Without a pid namespace, what a reaper leaves behind comes here when it is killed, and is ended.
    rustix::process::set_child_subreaper(Some(rustix::process::getpid())).map_err(io::Error::from)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().max_blocking_threads(ERRANDS_AT_ONCE).build()?;
    let outcome = runtime.block_on(async {
        let children = match make::start(&made, &spec.agents, true) {
            Ok(children) => children,
            Err(error) => return not_ready(&spec, Some(made), format!("could not {error}"), false),
        };
        failpoint::hit(Point::WardenSpawned);
        let mut duty = Duty::new(spec, made, children)?;
        duty.run(ready).await
    });
    // What is still being done beside is of no use any more, and not waited for.
    runtime.shutdown_background();
    outcome
}

/// Records that a cell did not become active, and removes what was made for it; one that lived before stays as it was. Nothing of it lives
/// any more.
fn not_ready(spec: &WardenSpec, made: Option<Made>, message: String, internal: bool) -> Result<Outcome, WardenError> {
    let message = one_line(&message, REASON_MOST_BYTES);
    if let Birth::Again { .. } = spec.birth {
        return Ok(Outcome::NotReady { message, internal });
    }
    if let Some(made) = made {
        let _ = made.root.remove_cell(&spec.cell);
    } else if let Ok(root) = crate::home::Root::open(&spec.root) {
        let _ = root.remove_cell(&spec.cell);
    }
    let reason = FailReason::NotReady { message: message.clone() };
    let mut registry = Registry::open(&spec.root)?;
    match registry.transition(&spec.cell, Event::Fail(reason), ACTOR, TransitionExtras::default()) {
        Ok(_) => {}
        // A sweep took the cell for dead: the row says `failed` already.
        Err(error) if error.is_overtaken() => {}
        Err(error) => return Err(error.into()),
    }
    Ok(Outcome::NotReady { message, internal })
}

/// A warden at work.
struct Duty {
    spec: WardenSpec,
    made: Made,
    life: Life,
    watch: Watch,
    /// The task of the control socket.
    server: tokio::task::JoinHandle<io::Result<()>>,
    /// Closed when no conversation is left.
    conversations: mpsc::Receiver<std::convert::Infallible>,
    /// Invitations whose agents are not ready yet, by their child.
    invitations: HashMap<usize, Invitation>,
    /// The plans of agents that were invited and came.
    guests: Vec<AgentPlan>,
    /// Messages, and what members ask of the cell.
    post: Post,
    /// Copies of files that are to be made; the first is being made.
    keeping: VecDeque<Keeping>,
    /// Steps that came of something else.
    steps: VecDeque<Step>,
    /// Where people come in.
    entrance: Entrance,
    own: ProcessRef,
    /// What `active` became in the registry, until it is written beside the cell as well.
    record: Option<Record>,
    homes: Homes,
    /// Limits that agents ran into.
    strikes: Strikes,
    /// Whether the last step was what was due.
    was_due: bool,
}

impl Duty {
    fn new(spec: WardenSpec, made: Made, children: Vec<Child>) -> Result<Self, WardenError> {
        let watch = Watch::new();
        watch.signals(termination_pipe()?)?;
        let (sender, receiver) = mpsc::unbounded_channel();
        let listener = made.listener.try_clone()?;
        let (guard, conversations) = mpsc::channel(1);
        // Without a control socket the cell still ends by its time to live, and by destroy.
        let server = tokio::spawn(control::serve(listener, sender, guard));
        watch.requests(receiver);
        let life = Life::new(children, spec.ready_within);
        let own = liveness::identify(std::process::id())?;
        let post = Post::new(spec.root.clone(), spec.cell.clone());
        let mut duty = Self {
            spec,
            made,
            life,
            watch,
            server,
            conversations,
            invitations: HashMap::new(),
            guests: Vec::new(),
            post,
            keeping: VecDeque::new(),
            steps: VecDeque::new(),
            entrance: Entrance::default(),
            record: None,
            own,
            homes: Homes::default(),
            strikes: Strikes::default(),
            was_due: false,
        };
        for plan in duty.spec.agents.clone() {
            let agent = &plan.launch.agent;
            let child = duty.life.children.iter().position(|child| child.runs.iter().any(|run| run.agent == *agent));
            duty.take_in(&plan, child.unwrap_or_default());
            duty.serve_agent(&plan, child.unwrap_or_default())?;
        }
        for index in 0..duty.life.children.len() {
            duty.watch_child(index)?;
        }
        Ok(duty)
    }

    fn watch_child(&mut self, index: usize) -> io::Result<()> {
        let child = &mut self.life.children[index];
        child.writer = Some(Writer::new(index, child.spawned.socket.try_clone()?, self.watch.sender()));
        self.watch.child(index, Watched::of(&mut child.spawned)?)
    }

    /// Runs the cell to its end, and lets those who asked for it hear of it.
    async fn run(&mut self, ready: impl FnOnce(&Readiness)) -> Result<Outcome, WardenError> {
        let outcome = self.live(ready).await;
        self.post.closing();
        self.life.waiters.clear();
        self.invitations.clear();
        self.server.abort();
        // A peer that does not read its answer is not waited for any longer than this.
        let _ = tokio::time::timeout(LAST_WORDS_WITHIN, self.conversations.recv()).await;
        outcome
    }

    async fn live(&mut self, ready: impl FnOnce(&Readiness)) -> Result<Outcome, WardenError> {
        let mut ready = Some(ready);
        loop {
            self.hear();
            self.serve_post();
            let step = match self.steps.pop_front() {
                Some(step) => step,
                None => self.next_step().await,
            };
            // Before the step is taken: what it makes durable counts for what was said before.
            self.hear();
            match step {
                Step::Wait => {}
                Step::Activate => {
                    let Some(message) = self.activate()? else {
                        if let Some(ready) = ready.take() {
                            ready(&self.readiness());
                        }
                        // After the answer: the registry is what counts, and nobody should wait for this.
                        if let Some(record) = self.record.take() {
                            self.write_record(&record);
                        }
                        self.post.open_doors();
                        self.mind_the_door();
                        let after = self.life.activated(self.expiry(), self.spec.timeout);
                        if matches!(after, Step::Over) {
                            return self.over();
                        }
                        // Who ended while others were still starting: the registry knew no run of theirs until now.
                        for (agent, end) in self.life.ends() {
                            self.record_end(&agent, &end)?;
                        }
                        continue;
                    };
                    // Somebody decided meanwhile that the cell has failed: what was started is ended again.
                    self.end_children();
                    return self.fail(message);
                }
                Step::NotReady(message) => return self.fail(message),
                Step::Close { reason, grace, asker } => {
                    if self.close(reason, grace, asker)? {
                        return self.over();
                    }
                }
                Step::Start(plan, by, asker) => self.start(*plan, by, asker),
                Step::Joined(index) => self.joined(index),
                Step::NotJoined(index, why) => self.not_joined(index, &why),
                Step::Record(agent, end) => self.record_end(&agent, &end)?,
                Step::Again(index) => {
                    let after = self.start_again(index)?;
                    self.steps.push_back(after);
                }
                Step::Asked(ask, answers) => self.answer_ask(ask, answers),
                Step::Line(event) => self.on_line(event),
                Step::Errand(errand) => self.errand_done(errand),
                Step::Room(index) => self.post.has_room(index, true),
                Step::Over => return self.over(),
            }
        }
    }

    async fn next_step(&mut self) -> Step {
        let deadline = self.life.deadline(Utc::now()).min(self.homes.due_at());
        let deadline = self.post_due_at().into_iter().chain(self.life.metered_at()).fold(deadline, std::time::Instant::min);
        // What is due comes before what happened: an agent that never stops writing must not outlive its time. Nor does what is due hide
        // what happened: they take turns.
        if std::time::Instant::now() >= deadline && !std::mem::replace(&mut self.was_due, true) {
            return self.due();
        }
        self.was_due = false;
        match tokio::time::timeout_at(deadline.into(), self.watch.next()).await {
            Ok(Some(event)) => self.life.take(event),
            Ok(None) | Err(_) => self.due(),
        }
    }

    fn due(&mut self) -> Step {
        self.life.meter(std::time::Instant::now());
        self.measure_homes();
        self.note_counted_strikes(false);
        self.post.due(std::time::Instant::now());
        let step = self.life.overdue(Utc::now());
        if matches!(step, Step::Close { reason: CloseReason::Expired, .. }) && self.was_extended() { Step::Wait } else { step }
    }

    fn registry(&self) -> Result<Registry, RegistryError> {
        Registry::open(&self.spec.root)
    }

    fn readiness(&self) -> Readiness {
        let degraded = self.spec.accept_degraded && self.life.runs().any(|run| run.held.report().is_degraded());
        Readiness::Active { process: self.life.children[0].process().clone(), degraded }
    }

    /// Makes `active` durable. Returns why not, where somebody else decided otherwise.
    fn activate(&mut self) -> Result<Option<String>, WardenError> {
        failpoint::hit(Point::WardenReady);
        let started_at = Utc::now();
        for child in &mut self.life.children {
            child.find_agent_process();
        }
        let runs = self.life.children.iter().flat_map(|child| child.runs.iter().map(|run| self.run_of(child, run, started_at)));
        let extras = TransitionExtras { warden: Some(self.own.clone()), runs: runs.collect(), ..TransitionExtras::default() };
        let (event, extras) = match self.spec.birth {
            Birth::First => (Event::Ready, extras),
            Birth::Again { version, .. } => {
                let (expires_at, expected_version) = (Some(self.spec.expires_at), Some(version));
                let extras = TransitionExtras { expires_at, expected_version, accept_degraded: self.spec.accept_degraded, ..extras };
                (Event::Resurrect, extras)
            }
        };
        let mut registry = self.registry()?;
        note_accepted(&mut registry, &self.spec.cell, &self.spec.actor.to_string(), self.life.runs())?;
        let moved = registry.transition(&self.spec.cell, event, ACTOR, extras);
        match moved {
            Ok(outcome) => self.record = Some(outcome.into_record()),
            Err(error) if error.is_overtaken() => return Ok(Some(format!("it was given up before it was ready: {error}"))),
            Err(error) => {
                self.end_children();
                return Err(error.into());
            }
        }
        failpoint::hit(Point::WardenActive);
        Ok(None)
    }

    fn run_of(&self, child: &Child, run: &AgentRun, started_at: chrono::DateTime<Utc>) -> Run {
        let applied = Applied { by_events: run.by_events, ..Applied::new(run.program.clone(), &run.policy, run.held.report().clone()) };
        Run {
            agent: run.agent.clone(),
            generation: self.spec.birth.generation(),
            process: child.process().clone(),
            started_at,
            ended: None,
            report: Opaque::of(&applied),
        }
    }

    /// Writes the cell's own record, so that a lost registry can be rebuilt; a throwaway cell has nothing to rebuild.
    fn write_record(&self, record: &Record) {
        if self.spec.throwaway {
            return;
        }
        if let Ok(json) = serde_json::to_vec_pretty(record) {
            let _ = self.made.dir.write_record(&json);
        }
    }

    /// Makes `closing` durable and tells the agents. True where nothing lives any more.
    fn close(&mut self, reason: CloseReason, grace: Duration, asker: Option<mpsc::UnboundedSender<Answer>>) -> Result<bool, WardenError> {
        let actor = match &reason {
            CloseReason::Asked { by } => by.to_string(),
            CloseReason::Finished | CloseReason::Expired => ACTOR.to_owned(),
        };
        let moved = self
            .registry()
            .and_then(|mut registry| registry.transition(&self.spec.cell, Event::Close(reason), &actor, TransitionExtras::default()));
        match (moved, &asker) {
            (Ok(outcome), _) => self.write_record(outcome.record()),
            (Err(error), Some(asker)) => {
                let _ = asker.send(Answer::Refused { message: one_line(&error.to_string(), REASON_MOST_BYTES) });
                return Ok(false);
            }
            // Time is over, or the machine goes down, whether or not the registry can be written: the agents end. The next
            // command that can write records it.
            (Err(_), None) => {}
        }
        failpoint::hit(Point::WardenClosing);
        if let Some(asker) = asker {
            let _ = asker.send(Answer::Closing);
            self.life.waiters.push(asker);
        }
        self.post.closing();
        self.entrance = Entrance::default();
        Ok(matches!(self.life.closing(grace), Step::Over))
    }

    fn record_end(&mut self, agent: &AgentName, end: &End) -> Result<(), WardenError> {
        let how = one_line(&describe(end), REASON_MOST_BYTES);
        let end = RunEnd { at: Utc::now(), well: is_well(end), how };
        self.registry()?.end_run(&self.spec.cell, agent, &end, ACTOR)?;
        Ok(())
    }

    fn end_children(&mut self) {
        // Dropping a child ends it, with everything it started, and waits for that.
        self.life.children.clear();
    }

    fn fail(&mut self, message: String) -> Result<Outcome, WardenError> {
        self.end_children();
        if let Birth::Again { .. } = self.spec.birth {
            return not_ready(&self.spec, None, message, false);
        }
        let removed = self.made.root.remove_cell(&self.spec.cell);
        if let Some(first) = removed.remained.first() {
            let message = format!("{message} (and {first} could not be removed)");
            return not_ready(&self.spec, None, message, false);
        }
        not_ready(&self.spec, None, message, false)
    }

    /// Nothing lives any more: records how the cell ended, and tells those who wait.
    fn over(&mut self) -> Result<Outcome, WardenError> {
        failpoint::hit(Point::WardenEnded);
        let ends: Vec<(AgentName, End)> = self.life.ends().into_iter().collect();
        self.note_counted_strikes(true);
        self.end_children();
        let mut registry = self.registry()?;
        let record = registry.cell(&self.spec.cell)?;
        let bad = ends.iter().find(|(_, end)| !is_well(end));
        let closing = record.as_ref().is_some_and(|record| matches!(record.state, State::Closing { .. }));
        let run_end = |end: &End| {
            let told = closing && matches!(end, End::Signalled { signal } if *signal == libc::SIGTERM);
            let how = if told { "it ended as it was told to".to_owned() } else { describe(end) };
            RunEnd { at: Utc::now(), well: closing || is_well(end), how: one_line(&how, REASON_MOST_BYTES) }
        };
        let extras = TransitionExtras {
            ends: ends.iter().map(|(agent, end)| (agent.clone(), run_end(end))).collect(),
            ..TransitionExtras::default()
        };
        let event = match bad {
            Some((agent, end)) if !closing => {
                let message = one_line(&format!("agent {agent}: {}", describe(end)), REASON_MOST_BYTES);
                Event::Fail(FailReason::AgentEnded { message })
            }
            Some(_) | None => Event::Ended,
        };
        match registry.transition(&self.spec.cell, event, ACTOR, extras) {
            Ok(outcome) => self.write_record(outcome.record()),
            Err(error) if error.is_overtaken() => {}
            Err(error) => return Err(error.into()),
        }
        self.destroy_if_expired(&mut registry)?;
        let processes = self.life.killed;
        for waiter in self.life.waiters.drain(..) {
            let _ = waiter.send(Answer::Ended { processes });
        }
        Ok(Outcome::Ran(ends))
    }
}
