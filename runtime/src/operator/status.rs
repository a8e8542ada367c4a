//! Showing cells: the record, and three separate facts about liveness that are never mixed.

use std::time::SystemTime;

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::{ArtifactLine, Error, Operator};
use crate::{
    cell::{AgentName, BackendKind, CellId, Identity, Member, OnExpire, ProcessRef, ProjectName, Receipt, Record, Run, State, is_expired},
    home::{CellDir, Place, Root},
    jail::liveness::{self, Liveness},
    registry::CellFilter,
};

/// What was found out about a cell's life just now.
#[derive(Debug, Clone, Serialize)]
pub struct Probe {
    /// `alive`, `dead`, `unknown`, or `none` where nothing was ever started.
    pub process: &'static str,
    /// The agent's process, or its host's; of a team, the first that lives.
    pub pid: Option<u32>,
    /// Seconds since an agent last beat; `null` where none ever did.
    pub heartbeat_age_seconds: Option<f64>,
    /// Seconds since the cell was proposed.
    pub age_seconds: f64,
}

/// One agent's run as it is shown.
#[derive(Debug, Clone, Serialize)]
pub struct RunStatus {
    /// The agent.
    pub agent: AgentName,
    /// `alive`, `dead` or `unknown`.
    pub process: &'static str,
    /// Its process, or its host's.
    pub pid: u32,
    /// When it was ready.
    pub started_at: DateTime<Utc>,
    /// When it ended.
    pub ended_at: Option<DateTime<Utc>>,
    /// How it ended.
    pub how: Option<String>,
    /// Its home.
    pub home: Option<String>,
    /// `process`, `program` (WASI), or `event agent`.
    pub kind: &'static str,
    /// Messages that wait for it: of one cell; 0 in a list.
    pub waiting: u64,
}

/// How many messages of a cell are not handled.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct MailStatus {
    /// Those that wait.
    pub waiting: u64,
    /// Those that were given up.
    pub parked: u64,
}

/// A cell as it is shown: the keys of the command contract first.
#[derive(Debug, Clone, Serialize)]
pub struct CellView {
    /// Its id.
    pub cell_id: CellId,
    /// Its project.
    pub project: ProjectName,
    /// Who owns it.
    pub owner: Identity,
    /// What it runs.
    pub backend: BackendKind,
    /// Its state's name.
    pub state: &'static str,
    /// Its members.
    pub members: Vec<Member>,
    /// Its home (of a team: the directory of the homes).
    pub hermes_home: String,
    /// Its time to live.
    pub ttl_minutes: serde_json::Number,
    /// When it was proposed.
    pub created_at: DateTime<Utc>,
    /// When it was destroyed.
    pub destroyed_at: Option<DateTime<Utc>>,
    /// Since when it has been in its state.
    pub state_since: DateTime<Utc>,
    /// The reason that comes with the state.
    pub reason: Option<String>,
    /// When its time is over.
    pub expires_at: DateTime<Utc>,
    /// What happens then.
    pub on_expire: OnExpire,
    /// How many lives it has had.
    pub generation: u32,
    /// Whether something that was promised is not enforced, as the operator accepted.
    pub degraded: bool,
    /// Its warden.
    pub warden: Option<ProcessRef>,
    /// What the teardown did.
    pub receipt: Option<Receipt>,
    /// Its agents' runs.
    pub runs: Vec<RunStatus>,
}

/// A cell and what was found out about it.
#[derive(Debug, Clone, Serialize)]
pub struct CellStatus {
    /// The record.
    pub cell: CellView,
    /// Its life.
    pub probe: Probe,
    /// Whether its time is over.
    pub expired: bool,
    /// Its messages.
    pub mail: MailStatus,
    /// What its agents declared as results: of one cell; empty in a list.
    pub artifacts: Vec<ArtifactLine>,
}

impl Operator {
    /// One cell.
    ///
    /// # Errors
    /// No such cell.
    pub fn status(&mut self, cell: &str) -> Result<CellStatus, Error> {
        let record = self.swept_cell(cell)?;
        let id = record.proposal.cell_id.clone();
        let mut status = self.view(record)?;
        status.artifacts = self.registry.artifacts(&id)?.into_iter().map(ArtifactLine::of).collect();
        if status.mail.waiting > 0 {
            let waiting = self.registry.waiting_by_receiver(&id)?;
            for run in &mut status.cell.runs {
                let own = waiting.iter().filter(|(receiver, _)| receiver.startable() == Some(&run.agent));
                run.waiting = own.map(|(_, waiting)| waiting).sum();
            }
        }
        Ok(status)
    }

    /// The cells that are not over, or all, oldest first.
    ///
    /// # Errors
    /// A registry that cannot be read.
    pub fn status_of_all(&mut self, all: bool) -> Result<Vec<CellStatus>, Error> {
        let filter = if all { CellFilter::All } else { CellFilter::NotOver };
        let records = self.registry.cells(filter)?;
        records.into_iter().map(|record| self.view(record)).collect()
    }

    fn view(&mut self, record: Record) -> Result<CellStatus, Error> {
        let now = Utc::now();
        let runs = self.registry.runs(&record.proposal.cell_id)?;
        let dir = self.root.cell(&record.proposal.cell_id)?;
        let homes = Homes { root: &self.root, dir: dir.as_ref(), record: &record };
        let probe = probe(&homes, &runs, now);
        let expired = is_expired(Some(record.expires_at), now) && record.state.may_live();
        let counts = self.registry.mail_counts(&record.proposal.cell_id)?;
        let mail = MailStatus { waiting: counts.waiting, parked: counts.parked };
        let backend = record.proposal.backend;
        let degraded = record.proposal.accept_degraded && runs.iter().any(is_degraded);
        let runs = runs.iter().map(|run| run_status(&homes, run, backend)).collect();
        let destroyed_at = matches!(record.state, State::Destroyed { .. }).then_some(record.state_since);
        let reason = record.reason();
        let receipt = match &record.state {
            State::Destroyed { receipt, .. } => Some(receipt.clone()),
            State::Proposed | State::Active | State::Idle | State::Closing { .. } | State::Closed { .. } | State::Failed { .. } => None,
        };
        let proposal = record.proposal;
        let cell = CellView {
            cell_id: proposal.cell_id,
            project: proposal.project,
            owner: proposal.owner,
            backend: proposal.backend,
            state: record.state.name(),
            members: proposal.members,
            hermes_home: proposal.hermes_home.to_string_lossy().into_owned(),
            ttl_minutes: minutes(proposal.ttl),
            created_at: proposal.created_at,
            destroyed_at,
            state_since: record.state_since,
            reason,
            expires_at: record.expires_at,
            on_expire: proposal.on_expire,
            generation: record.generation,
            degraded,
            warden: record.warden,
            receipt,
            runs,
        };
        Ok(CellStatus { cell, probe, expired, mail, artifacts: Vec::new() })
    }
}

/// Whole minutes as a whole number, others as a fraction.
fn minutes(ttl: std::time::Duration) -> serde_json::Number {
    if ttl.as_secs().is_multiple_of(60) && ttl.subsec_nanos() == 0 {
        return (ttl.as_secs() / 60).into();
    }
    serde_json::Number::from_f64(ttl.as_secs_f64() / 60.0).unwrap_or_else(|| 0.into())
}

fn is_degraded(run: &Run) -> bool {
    run.report.read::<crate::policy::Applied>().is_ok_and(|applied| applied.enforcement.is_degraded())
}

/// Where the homes of a cell's agents are.
struct Homes<'a> {
    root: &'a Root,
    dir: Option<&'a CellDir>,
    record: &'a Record,
}

impl Homes<'_> {
    /// The place of an agent's home: what was invited later has it beside those of the first.
    fn place(&self, agent: &AgentName) -> Option<Place> {
        let dir = self.dir?;
        let there = |place| matches!(dir.home(place, agent), Ok(Some(_)));
        if there(Place::Guest) {
            return Some(Place::Guest);
        }
        let own = if self.record.proposal.team { Place::Member } else { Place::Only };
        there(own).then_some(own)
    }

    /// When an agent last beat.
    fn beat(&self, agent: &AgentName) -> Option<SystemTime> {
        let home = self.dir?.home(self.place(agent)?, agent).ok()??;
        // The agent owns its home: only a regular file counts, and no link is followed.
        let logs = crate::home::open_dir(&home, "logs").ok()?;
        crate::home::modified_at(&logs, "heartbeat")
    }
}

fn probe(homes: &Homes<'_>, runs: &[Run], now: DateTime<Utc>) -> Probe {
    let words: Vec<&'static str> = runs.iter().map(life_of).collect();
    let first = |wanted: &str| runs.iter().zip(&words).find(|(_, word)| **word == wanted);
    let shown = first("alive").or_else(|| first("unknown")).or_else(|| runs.iter().zip(&words).next_back());
    let beats = runs.iter().filter_map(|run| homes.beat(&run.agent));
    // An agent may give its file any time: one that is yet to come counts as now.
    let age = |beat: SystemTime| SystemTime::now().duration_since(beat).unwrap_or_default().as_secs_f64();
    Probe {
        process: shown.map_or("none", |(_, word)| word),
        pid: shown.map(|(run, _)| run.process.pid),
        heartbeat_age_seconds: beats.max().map(age).map(rounded),
        age_seconds: rounded((now - homes.record.proposal.created_at).to_std().unwrap_or_default().as_secs_f64()),
    }
}

/// Milliseconds are as exact as anything that is measured here.
fn rounded(seconds: f64) -> f64 {
    (seconds * 1000.0).round() / 1000.0
}

fn life_of(run: &Run) -> &'static str {
    match liveness::probe(&run.process) {
        // A host goes on after one of its agents has ended.
        Liveness::Alive if run.ended.is_some() => "dead",
        Liveness::Alive => "alive",
        Liveness::Dead => "dead",
        Liveness::Unknown { .. } => "unknown",
    }
}

fn run_status(homes: &Homes<'_>, run: &Run, backend: BackendKind) -> RunStatus {
    let by_events = || run.report.read::<serde_json::Value>().is_ok_and(|report| report["by_events"] == true);
    let home = homes.place(&run.agent).map(|place| homes.path(place, &run.agent));
    RunStatus {
        agent: run.agent.clone(),
        process: life_of(run),
        pid: run.process.pid,
        started_at: run.started_at,
        ended_at: run.ended.as_ref().map(|end| end.at),
        how: run.ended.as_ref().map(|end| end.how.clone()),
        home,
        kind: match backend {
            BackendKind::Process => "process",
            BackendKind::Wasm if by_events() => "event agent",
            BackendKind::Wasm => "program",
        },
        waiting: 0,
    }
}

impl Homes<'_> {
    fn path(&self, place: Place, agent: &AgentName) -> String {
        let path = self.dir.map_or_else(|| self.root.path().to_owned(), |dir| dir.home_path(place, agent));
        path.to_string_lossy().into_owned()
    }
}
