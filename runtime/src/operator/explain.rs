//! Explaining: what an agent would be granted and this machine would enforce, or what a cell was granted, who enforces it, and whether its
//! processes are as their jails reported.

mod live;
mod rehearse;

use serde::Serialize;

use super::{Error, Operator, Wish, plan::Planned};
use crate::{
    backend::{Program, WasmForm},
    cell::{AgentName, BackendKind, CellId, Run},
    jail::observe::{Agrees, Check},
    policy::{Applied, Entry, LimitName, Plain, Policy, Report, Subject, plain},
};

/// What is said of every comparison with `/proc`.
const NO_TRACE: &str = "Landlock leaves no trace in /proc: what it holds is known by the report alone";

/// A promise that a rehearsal could not try.
#[derive(Debug, Clone, Serialize)]
pub struct NotRehearsed {
    /// What it is about.
    pub subject: Subject,
    /// Why not.
    pub because: String,
}

/// What is known of one agent.
#[derive(Debug, Clone, Serialize)]
pub struct AgentExplained {
    /// The agent.
    pub agent: AgentName,
    /// What it runs.
    pub program: Option<String>,
    /// Whether it lives by events.
    pub by_events: bool,
    /// What it is granted: before summoning, from its definition.
    pub policy: Option<Policy>,
    /// What enforces it, as its jail and its engine reported when they applied it: of a cell, to its processes; before, in a rehearsal.
    pub enforcement: Vec<Entry>,
    /// Before summoning: what the rehearsal was no rehearsal of.
    pub not_rehearsed: Vec<NotRehearsed>,
    /// Before summoning: why this machine would refuse to run it, unless that is accepted.
    pub refused: Option<String>,
}

/// How many comparisons came out how.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Compared {
    /// As reported.
    pub agree: usize,
    /// Otherwise than reported.
    pub disagree: usize,
    /// Not known.
    pub unknown: usize,
}

/// An explanation.
#[derive(Debug, Clone, Serialize)]
pub struct Explained {
    /// The cell, where one was named.
    pub cell_id: Option<CellId>,
    /// The backend.
    pub backend: BackendKind,
    /// Of a definition: whether it is approved as it is now. Nothing runs one that is not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub approved: Option<bool>,
    /// Of a definition that is not: what is not as it was approved, one line each.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub differences: Vec<String>,
    /// Its agents.
    pub agents: Vec<AgentExplained>,
    /// Of a cell that did not end well, or is ending: why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Of a living cell: its processes, compared with what was reported.
    pub checks: Vec<Check>,
    /// How many comparisons came out how; of a living cell.
    pub compared: Option<Compared>,
    /// What no comparison can show.
    pub not_compared: Vec<String>,
    /// In plain words.
    #[serde(flatten)]
    pub plain: Plain,
    /// What that means, as a sentence.
    pub message: String,
}

impl Explained {
    /// Whether a process is otherwise than its jail reported.
    pub fn disagrees(&self) -> bool {
        self.compared.is_some_and(|compared| compared.disagree > 0)
    }
}

impl Operator {
    /// Explains a cell, by its id, or an agent definition, by its name.
    ///
    /// # Errors
    /// Neither is there.
    pub fn explain(&mut self, subject: &str) -> Result<Explained, Error> {
        let no_cell = match self.cell(subject) {
            Ok(_) => return self.explain_cell(subject),
            Err(absent @ Error::CellNotFound(_)) => absent,
            Err(error) => return Err(error),
        };
        // An agent of an older release may be called like a cell; whoever asks for something that looks like one and is not there means a cell.
        let means_a_cell = subject.starts_with("laz-");
        let agent: AgentName = match subject.parse() {
            Ok(agent) => agent,
            Err(_) if means_a_cell => return Err(no_cell),
            Err(error) => return Err(Error::Name(error)),
        };
        let absent = || if means_a_cell { no_cell } else { Error::AgentNotFound(agent.clone()) };
        let installed = crate::agent::load(&self.root, &agent)?.ok_or_else(absent)?;
        let approval = self.approval_of(&installed)?;
        let differences = approval.lines(&installed.terms);
        let planned = self.plan_by(installed, &Wish::default())?;
        let backend = planned.backend;
        let (agents, reports) = self.rehearsed(planned)?;
        let refuses = agents.iter().any(|agent| agent.refused.is_some());
        let would = if refuses { "would refuse to run it" } else { "would enforce" };
        let stands = match approval.holds() {
            true => String::new(),
            false => format!(". It is NOT approved, and nothing runs it until `lazarus agent approve {agent}`"),
        };
        Ok(Explained {
            cell_id: None,
            backend,
            approved: Some(approval.holds()),
            differences,
            agents,
            reason: None,
            checks: Vec::new(),
            compared: None,
            not_compared: Vec::new(),
            plain: plain(backend, &reports.iter().collect::<Vec<_>>()),
            message: format!(
                "What {agent} would be granted, and what this machine {would}: rehearsed over a throwaway home, without its code{stands}"
            ),
        })
    }

    /// What planned agents would be granted, and what this machine would enforce of it; and the reports that say so.
    pub(super) fn rehearsed(&self, planned: Planned) -> Result<(Vec<AgentExplained>, Vec<Report>), Error> {
        let mut agents: Vec<AgentExplained> = planned
            .shown()
            .map(|(agent, program, policy)| AgentExplained {
                agent: agent.clone(),
                by_events: matches!(program, Program::Compiled { form: WasmForm::Agent, .. }),
                program: Some(program.phrase()),
                policy: Some(policy.clone()),
                enforcement: Vec::new(),
                not_rehearsed: Vec::new(),
                refused: None,
            })
            .collect();
        let reports = self.rehearse(planned, &mut agents)?;
        Ok((agents, reports))
    }

    fn explain_cell(&mut self, cell: &str) -> Result<Explained, Error> {
        let record = self.swept_cell(cell)?;
        let id = record.proposal.cell_id.clone();
        let runs = last_lives(self.registry.runs(&id)?);
        let checks = self.compare(&record, &runs);
        let compared = checks.as_ref().map(|checks| count(checks));
        let reports: Vec<&Report> = runs.iter().filter_map(|life| Some(&life.applied.as_ref()?.enforcement)).collect();
        let plain = plain(record.proposal.backend, &reports);
        let nothing = || format!("Nothing of {id} came to life: {}", record.reason().unwrap_or_else(|| "it is being summoned".to_owned()));
        let outcome = match compared {
            None => "; nothing of it lives, so that nothing was compared".to_owned(),
            Some(Compared { agree, disagree: 0, unknown: 0 }) => format!("; its processes agree with that, in {agree} comparisons"),
            Some(Compared { agree, disagree: 0, unknown }) => {
                format!("; its processes agree with that in {agree} comparisons, and {unknown} could not be made")
            }
            Some(Compared { disagree, .. }) => format!("; its processes do NOT agree with that, in {disagree} comparisons"),
        };
        let not_compared = checks.is_some().then(|| NO_TRACE.to_owned()).into_iter().collect();
        let agents = runs.iter().map(explained).collect();
        Ok(Explained {
            backend: record.proposal.backend,
            approved: None,
            differences: Vec::new(),
            agents,
            reason: record.reason(),
            checks: checks.unwrap_or_default(),
            compared,
            not_compared,
            plain,
            message: match runs.is_empty() {
                true => nothing(),
                false => format!("What enforces the policy of {id}, as reported when it was applied{outcome}"),
            },
            cell_id: Some(id),
        })
    }
}

/// The last life of an agent, and what is known of it.
struct Life {
    run: Run,
    applied: Option<Applied>,
}

/// Of every agent its last life, in the order in which they came.
fn last_lives(runs: Vec<Run>) -> Vec<Life> {
    let mut lives: Vec<Life> = Vec::new();
    for run in runs {
        let applied = run.report.read::<Applied>().ok();
        let life = Life { run, applied };
        match lives.iter_mut().find(|before| before.run.agent == life.run.agent) {
            Some(before) => *before = life,
            None => lives.push(life),
        }
    }
    lives
}

fn explained(life: &Life) -> AgentExplained {
    let applied = life.applied.as_ref();
    AgentExplained {
        agent: life.run.agent.clone(),
        by_events: applied.is_some_and(|applied| applied.by_events),
        program: applied.map(|applied| applied.program.clone()),
        enforcement: applied.map(|applied| applied.enforcement.entries().to_vec()).unwrap_or_default(),
        policy: applied.map(|applied| applied.policy.clone()),
        not_rehearsed: Vec::new(),
        refused: None,
    }
}

fn count(checks: &[Check]) -> Compared {
    let of = |agrees: Agrees| checks.iter().filter(|check| check.agrees == agrees).count();
    Compared { agree: of(Agrees::Yes), disagree: of(Agrees::No), unknown: of(Agrees::Unknown) }
}

/// What is said beside a limit whose name and number do not say it.
const fn beside(name: LimitName, by_events: bool) -> &'static str {
    match name {
        LimitName::Cpu if by_events => " an event",
        LimitName::Messages => " waiting, of at most 32 KiB each",
        LimitName::Event => ": the longest that one event may take, host calls included",
        LimitName::Idle => ": without an event, its memory is dropped; the next one makes it anew",
        _ => "",
    }
}

/// The grants and limits of a policy, as lines.
pub fn policy_lines(policy: &Policy, backend: BackendKind, by_events: bool) -> Vec<String> {
    let mut lines: Vec<String> = policy.env.keys().map(|name| format!("variable  {name}")).collect();
    lines.extend(policy.read.iter().map(|path| format!("read      {}", path.display())));
    lines.extend(policy.mounts.iter().map(|mount| format!("mount     {} at {} ({})", mount.host.display(), mount.guest, mount.access)));
    if policy.client {
        lines.push("client    this program, for `lazarus cell`".to_owned());
    }
    lines.push("network   none".to_owned());
    let concern = policy.limits.settings().filter(|(name, _)| name.concerns(backend, by_events));
    lines.extend(concern.map(|(name, setting)| format!("limit     {name} = {setting}{}", beside(name, by_events))));
    lines
}
