//! Why: the exact rule that lets an agent do something, or keeps it from it, and who enforces that.
//!
//! ```text
//!  CELL ─→ plan.json (what was launched), the run's report (what was applied) ─┐
//!  PATH | HOST | CALL ─→ Question ─────────────────────────────────────────────┴→ Ruling: allowed or not, the rule, the enforcers
//! ```
//!
//! Answers come from the tables that enforce ([`crate::backend::reach`], [`crate::mail::may`], the imports that are linked, the seccomp lists), so
//! that what is said and what is held cannot part.

mod call;
mod path;
mod proc;
mod question;

use serde::Serialize;

use self::question::{Question, understand};
use super::{Error, Operator};
use crate::{
    backend::Launch,
    cell::{AgentName, CellId, Record, Role, State, text::one_line},
    jail::{Profile, ruling},
    policy::{Address, Applied, Enforcer, Extent, Subject, Wall},
    warden::{AgentPlan, KeptPlan},
};

/// What a name is said to be that no system call has.
const NO_SYSCALL: &str = "no system call of Linux on this machine's processor";
/// Bytes of the question that are repeated.
const SUBJECT_MOST_BYTES: usize = 300;

/// Whether something is allowed, and by which rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Ruling {
    /// Whether it is.
    pub allowed: bool,
    /// The rule that allows or denies it: a phrase for people.
    pub rule: String,
    /// Who enforces it, separated by commas.
    pub enforcer: String,
}

impl Ruling {
    fn new(said: &Result<String, String>, enforcers: &[Enforcer]) -> Self {
        let (Ok(rule) | Err(rule)) = said;
        let enforcer = enforcers.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        Self { allowed: said.is_ok(), rule: rule.clone(), enforcer }
    }

    /// A ruling about a path as a phrase: `allowed by mount …`, `denied: that mount is read-only`. What allows is a grant.
    pub fn by_grant(&self) -> String {
        if self.allowed { format!("allowed by {}", self.rule) } else { self.by_sentence() }
    }

    /// A ruling about a host or a call as a phrase: `allowed: send: executors …`. What allows is a sentence.
    pub fn by_sentence(&self) -> String {
        format!("{}: {}", if self.allowed { "allowed" } else { "denied" }, self.rule)
    }
}

/// What an answer is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase", tag = "kind")]
pub enum WhyAnswer {
    /// A path.
    Path {
        /// Whether it may be read.
        read: Ruling,
        /// Whether it may be written to.
        write: Ruling,
    },
    /// A host.
    Host(Ruling),
    /// A call.
    Call(Ruling),
}

/// An answer.
#[derive(Debug, Clone, Serialize)]
pub struct Why {
    /// The cell.
    pub cell_id: CellId,
    /// The agent.
    pub agent: AgentName,
    /// Its role.
    pub role: Role,
    /// What was asked about.
    pub subject: String,
    /// The answer.
    #[serde(flatten)]
    pub answer: WhyAnswer,
    /// The answer as a sentence; of a path, about reading it, or about writing to it where that was asked.
    pub message: String,
}

/// What the machine gave the agent's jail when it was applied.
struct Ground {
    /// Whether it has a root of its own, in a mount namespace.
    own_root: bool,
    /// Whether Landlock holds its files.
    landlock: bool,
    /// Whether Landlock shuts TCP as well.
    landlock_tcp: bool,
    /// Whether it takes part in its cell's talk.
    speaks: bool,
    /// Whether the reaper decides about changes of modes, owners, times and attributes: without a mount namespace, and where its streams are files of the machine.
    marks: bool,
}

impl Ground {
    /// Reads what a run's jail reported.
    fn of(applied: &Applied, record: &Record, launch: &Launch) -> Self {
        let held = |enforcer: Enforcer, is_asked: fn(&Subject) -> bool| {
            let mut entries = applied.enforcement.entries().iter();
            entries.any(|entry| entry.enforcer == enforcer && is_asked(&entry.subject) && !matches!(entry.extent, Extent::None { .. }))
        };
        let network = |subject: &Subject| matches!(subject, Subject::Address { what: Address::Network });
        let by_seccomp = |subject: Subject| {
            let mut entries = applied.enforcement.entries().iter();
            entries.find(|entry| entry.enforcer == Enforcer::Seccomp && entry.subject == subject).map(|entry| &entry.extent)
        };
        // Where nobody can decide about its connections, they are all refused.
        let cut_off = matches!(by_seccomp(Address::Cell.into()), Some(Extent::Partial { .. } | Extent::None { .. }));
        Self {
            // Reports of versions that named no subjects say as much by naming that enforcer at all.
            own_root: held(Enforcer::Namespace, |subject| matches!(subject, Subject::Path { .. } | Subject::Unnamed)),
            landlock: held(Enforcer::Landlock, |_| true),
            landlock_tcp: held(Enforcer::Landlock, network),
            speaks: !record.proposal.throwaway && launch.shared.is_some() && !cut_off,
            marks: matches!(by_seccomp(Wall::Files.into()), Some(Extent::Full)),
        }
    }
}

impl Operator {
    /// Says which rule lets an agent of a cell do something, or keeps it from it. `write`: the sentence is about writing to the path.
    ///
    /// # Errors
    /// No such cell or agent; a cell of which nothing is kept; a question that makes no sense, with how to ask.
    pub fn why(&mut self, cell: &str, subject: &str, agent: Option<&AgentName>, write: bool) -> Result<Why, Error> {
        let record = self.swept_cell(cell)?;
        let is_syscall = |name: &str| ruling(Profile::Process, true, true, name).is_ok_and(|found| found.is_some());
        let question = understand(subject, is_syscall).map_err(Error::NoAnswer)?;
        let plan = self.plan_of(&record, agent)?;
        let id = &record.proposal.cell_id;
        let launch = &plan.launch;
        let runs = self.registry.runs(id)?;
        let run = runs.into_iter().rev().find(|run| run.agent == launch.agent);
        let applied = run.and_then(|run| run.report.read::<Applied>().ok());
        let applied = applied.ok_or_else(|| Error::NoAnswer(format!("nothing was applied to agent {} of {id} yet", launch.agent)))?;
        let ground = Ground::of(&applied, &record, launch);
        let answer = match question {
            Question::Path(path) => {
                let (read, write) = path::rule(launch, &ground, &path);
                WhyAnswer::Path { read, write }
            }
            Question::Host(_) => WhyAnswer::Host(call::host(launch, &ground)),
            Question::Talk(talk) => WhyAnswer::Call(call::talk(launch, &ground, talk)),
            Question::Import(import) => WhyAnswer::Call(call::import(launch, &import)),
            Question::Syscall(name) => {
                let ruling = call::syscall(launch, &ground, &name).map_err(|error| Error::NoAnswer(error.to_string()))?;
                WhyAnswer::Call(ruling.ok_or_else(|| Error::NoAnswer(format!("{name} is {NO_SYSCALL}")))?)
            }
        };
        let subject = one_line(subject, SUBJECT_MOST_BYTES);
        let phrase = match &answer {
            WhyAnswer::Path { write: ruling, .. } if write => format!("write: {}", ruling.by_grant()),
            WhyAnswer::Path { read: ruling, .. } => format!("read: {}", ruling.by_grant()),
            WhyAnswer::Host(ruling) | WhyAnswer::Call(ruling) => ruling.by_sentence(),
        };
        let message = format!("{subject} for agent {} of {id}: {phrase}", launch.agent);
        Ok(Why { cell_id: id.clone(), agent: launch.agent.clone(), role: launch.role, subject, answer, message })
    }

    /// What was launched: of the agent that is named, or of the only one.
    fn plan_of(&self, record: &Record, agent: Option<&AgentName>) -> Result<AgentPlan, Error> {
        let id = &record.proposal.cell_id;
        let nothing = |why: String| Error::NoAnswer(format!("of {id} nothing can be said: {why}"));
        match record.state {
            State::Destroyed { .. } => {
                return Err(nothing("it is destroyed, and its policy with it; the audit says what it did".to_owned()));
            }
            State::Proposed => return Err(nothing("it is still being summoned".to_owned())),
            State::Active | State::Idle | State::Closing { .. } | State::Closed { .. } | State::Failed { .. } => {}
        }
        let dir = self.root.cell(id)?.ok_or_else(|| nothing("its directory is gone, and what it launched was kept there".to_owned()))?;
        let plans = KeptPlan::read(&dir).map_err(|error| nothing(error.to_string()))?.agents;
        let is_asked = |plan: &AgentPlan| agent.is_none_or(|agent| plan.launch.agent == *agent);
        let mut found: Vec<AgentPlan> = plans.into_iter().filter(is_asked).collect();
        match (found.len(), agent) {
            (0, Some(agent)) => Err(Error::NoSuchAgent { cell: id.clone(), agent: agent.clone() }),
            (0, None) => Err(nothing("it has no agents".to_owned())),
            (1, _) | (_, Some(_)) => Ok(found.swap_remove(0)),
            (_, None) => {
                let names: Vec<&str> = found.iter().map(|plan| plan.launch.agent.as_str()).collect();
                Err(Error::NoAnswer(format!("{id} has several agents: say which with --agent: {}", one_line(&names.join(", "), 500))))
            }
        }
    }
}
