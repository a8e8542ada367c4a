//! A rehearsal: the confinement of a policy, applied to a short-lived child over throwaway homes, for its report alone.
//!
//! ```text
//!  lazarus explain AGENT ── spec ──→ lazarus __rehearse ── spawns as a warden does ──→ __jail | __host: confine, report, end
//!                        ←─ reports ─┘  removes the homes and control groups
//! ```
//!
//! No code of an agent runs, no cell is made, and nothing is left. What a warden does while a cell lives is not part of it.

use std::{
    io::{self, Write},
    process::ExitCode,
    time::{Duration, Instant},
};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde::{Deserialize, Serialize};

use super::{
    SPEC_MOST_BYTES,
    duty::WardenError,
    make::{place_of, seen_from},
    spec::AgentPlan,
};
use crate::{
    backend::{
        Launch, Program,
        packets::{Received, Waiting, receive_message},
        process,
        protocol::FromChild,
        spawned::Spawned,
        wasm,
    },
    cell::{
        AgentName, CellId,
        text::{one_line, with_causes},
    },
    home::{Root, Stage, clear_stale},
    jail::{
        cgroup,
        namespaces::{self, NamespaceSupport},
    },
    policy::Report,
};

/// The hidden subcommand that runs a rehearsal: its spec on standard input, what came of it on standard output.
pub const SUBCOMMAND: &str = "__rehearse";
/// How long a child may take to report.
const REPORT_WITHIN: Duration = Duration::from_secs(10);
/// How long what a rehearsal left may take to end.
const CLEAR_WITHIN: Duration = Duration::from_secs(2);
/// Bytes of the reason of a refusal.
const WHY_MOST_BYTES: usize = 1000;

/// What is to be rehearsed.
#[derive(Debug, Serialize, Deserialize)]
pub struct RehearsalSpec {
    /// The Lazarus root.
    pub root: std::path::PathBuf,
    /// The id under which the homes are made: of no cell.
    pub id: CellId,
    /// The agents, with their homes where [`crate::home::stage_path`] says.
    pub agents: Vec<AgentPlan>,
}

/// What came of the rehearsal of one agent.
#[derive(Debug, Serialize, Deserialize)]
pub struct Rehearsed {
    /// The agent.
    pub agent: AgentName,
    /// What its jail and its engine reported.
    pub report: Report,
    /// Why it would not have started, as far as it came.
    pub refused: Option<String>,
}

/// What came of a rehearsal.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rehearsal {
    /// Its agents, in their order.
    Done(Vec<Rehearsed>),
    /// It could not be held: why.
    Failed(String),
}

/// Runs a rehearsal.
pub fn main_rehearse() -> ExitCode {
    let _ = rustix::thread::set_name(c"lazarus-rehears");
    let read = || -> io::Result<RehearsalSpec> {
        crate::unchecked::close_inherited()?;
        Ok(serde_json::from_reader(io::Read::take(io::stdin().lock(), SPEC_MOST_BYTES))?)
    };
    let rehearsal = match read() {
        Ok(spec) => rehearse(&spec).map_or_else(|error| Rehearsal::Failed(with_causes(&error)), Rehearsal::Done),
        Err(error) => Rehearsal::Failed(error.to_string()),
    };
    let said = serde_json::to_writer(io::stdout().lock(), &rehearsal).map_err(io::Error::from).and_then(|()| io::stdout().flush());
    if said.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn rehearse(spec: &RehearsalSpec) -> Result<Vec<Rehearsed>, WardenError> {
    let processes = spec.agents.iter().any(|plan| matches!(plan.launch.program, Program::Command { .. }));
    let reaper = process::ReaperProgram::find();
    // As a warden does, and for the same reason first of all.
    let namespaces = if processes {
        namespaces::prepare_warden()
    } else {
        NamespaceSupport::None { because: "the cell was summoned for wasm agents".into() }
    };
    let root = Root::open(&spec.root)?;
    for stale in clear_stale(&root) {
        for group in cgroup::leftovers(&stale) {
            // What does not end now is tried again by the next rehearsal only if its directory stayed, too; it holds nothing of anyone's.
            let _ = cgroup::clear(&group, CLEAR_WITHIN);
        }
    }
    let stage = Stage::make(&root, &spec.id)?;
    let outcome = on_stage(spec, &root, &stage, &namespaces, &reaper);
    let removed = stage.clear();
    match removed.remained.first() {
        Some(first) => Err(WardenError::Watch(io::Error::other(format!("{first} could not be removed")))),
        None => outcome,
    }
}

fn on_stage(
    spec: &RehearsalSpec,
    root: &Root,
    stage: &Stage,
    namespaces: &NamespaceSupport,
    reaper: &process::ReaperProgram,
) -> Result<Vec<Rehearsed>, WardenError> {
    let mut rehearsed = Vec::new();
    let mut compiled = Vec::new();
    for plan in &spec.agents {
        if let Some(home) = &plan.launch.home {
            let agent = &plan.launch.agent;
            let place = place_of(stage.dir(), home, agent).ok_or_else(|| WardenError::Home(home.clone()))?;
            stage.dir().make_home(place, agent, None)?;
        }
        match &plan.launch.program {
            Program::Command { .. } => {
                let launch = seen_from(&plan.launch, namespaces);
                let options = process::ProcessOptions {
                    namespaces: namespaces.clone(),
                    groups: process::Groups::Of(spec.id.clone()),
                    speaks: true,
                    reaper: reaper.clone(),
                };
                rehearsed.extend(hear(process::rehearse(&launch, &options)?, std::slice::from_ref(&launch)));
            }
            Program::Compiled { .. } => compiled.push(plan.launch.clone()),
        }
    }
    if !compiled.is_empty() {
        rehearsed.extend(hear(wasm::rehearse(&compiled, root.cache())?, &compiled));
    }
    Ok(rehearsed)
}

/// Hears what a child reports, until it ends; it is ended where it does not in time.
fn hear(child: Spawned, launches: &[Launch]) -> Vec<Rehearsed> {
    let empty = |launch: &Launch| Rehearsed { agent: launch.agent.clone(), report: Report::new(), refused: None };
    let mut heard: Vec<Rehearsed> = launches.iter().map(empty).collect();
    let deadline = Instant::now() + REPORT_WITHIN;
    while let Some(said) = next(&child, deadline) {
        match said {
            FromChild::Report { agent, report } => {
                if let Some(one) = heard.iter_mut().find(|one| one.agent == agent) {
                    one.report.append(report);
                }
            }
            FromChild::Refused { agent, message } => {
                if let Some(one) = heard.iter_mut().find(|one| one.agent == agent) {
                    one.refused.get_or_insert(one_line(&message, WHY_MOST_BYTES));
                }
            }
            FromChild::Ready { .. }
            | FromChild::Ended { .. }
            | FromChild::Call { .. }
            | FromChild::EventOver { .. }
            | FromChild::Idle { .. }
            | FromChild::Limit { .. }
            | FromChild::Dropped { .. } => break,
        }
    }
    for one in heard.iter_mut().filter(|one| one.report.entries().is_empty()) {
        one.refused.get_or_insert_with(|| "its process ended before it reported anything".to_owned());
    }
    // Dropping the child ends it, and waits.
    drop(child);
    heard
}

/// The next thing that a child says; `None` when it has said all, makes no sense, or its time is over.
fn next(child: &Spawned, deadline: Instant) -> Option<FromChild> {
    loop {
        let left = Timespec::try_from(deadline.saturating_duration_since(Instant::now())).ok()?;
        let mut polled = [PollFd::new(&child.socket, PollFlags::IN)];
        match poll(&mut polled, Some(&left)) {
            Ok(0) => return None,
            Ok(_) => {}
            Err(rustix::io::Errno::INTR) => continue,
            Err(_) => return None,
        }
        match receive_message(&child.socket, Waiting::Never) {
            Ok(Received::Message(said)) => return Some(said),
            Ok(Received::Nothing) => {}
            Ok(Received::Closed) | Err(_) => return None,
        }
    }
}
