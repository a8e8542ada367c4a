//! Summoning: propose, start the warden, wait until `active` is durable.

use std::{
    fs::File,
    io::{BufRead, BufReader, Read, Seek, Write},
    process::{Child, Command, Stdio},
    time::Duration,
};

use chrono::Utc;
use rustix::fs::MemfdFlags;
use serde::Serialize;

use super::{Error, Operator, Wish, approval::Purpose, plan::Planned};
use crate::{
    audit::Action,
    cell::{AgentName, BackendKind, CellId, Event, FailReason, Identity, Member, ProjectName, Proposal, Role},
    failpoint::{self, Point},
    jail::liveness,
    registry::RegistryError,
    warden::{self, Birth, Readiness, WardenSpec},
};

/// How long an agent may take to become ready.
pub(super) const READY_WITHIN: Duration = Duration::from_secs(10);
/// How long a cell for one agent lives, unless it is said.
const TTL_OF_ONE: Duration = Duration::from_secs(60 * 60);
/// How long a team lives, unless it is said.
const TTL_OF_TEAM: Duration = Duration::from_secs(120 * 60);
/// How often another id is drawn when one is taken: with a million cells in a root, each draw fails once in four thousand.
const DRAWS: usize = 8;

/// A new cell.
#[derive(Debug, Clone, Serialize)]
pub struct Summoned {
    /// Its id.
    pub cell_id: CellId,
    /// Its project.
    pub project: ProjectName,
    /// Its agents.
    pub agents: Vec<AgentName>,
    /// Its backend.
    pub backend: BackendKind,
    /// The first agent's process, or its host's.
    pub pid: u32,
    /// What was done, as a sentence.
    pub message: String,
    /// Its home.
    pub hermes_home: String,
    /// Whether something that was promised is not enforced, as the operator accepted.
    pub degraded: bool,
}

impl Operator {
    /// Starts agents in a new cell; returns when they are ready, and that is durable.
    ///
    /// # Errors
    /// What was asked for cannot be had, or an agent did not become ready: then nothing is left but the row that says so.
    pub fn summon(&mut self, agents: &[AgentName], project: &ProjectName, wish: &Wish, team: bool) -> Result<Summoned, Error> {
        failpoint::hit(Point::SummonStart);
        let action = if team { Action::Team } else { Action::Summon };
        let planned = self.plan_for(Purpose::new_cell(action), agents, wish)?;
        let backend = planned.backend;
        let proposal = self.propose(agents, project, wish, team, &planned)?;
        failpoint::hit(Point::SummonProposed);
        let spec = self.warden_spec(&proposal, planned, None);
        let id = proposal.cell_id.clone();
        match start_warden(&spec).and_then(await_readiness) {
            Ok(Readiness::Active { process, degraded }) => {
                failpoint::hit(Point::SummonActive);
                let names = agents.iter().map(AgentName::as_str).collect::<Vec<_>>().join("+");
                Ok(Summoned {
                    message: format!("Summoned {names} into {id} for {project}"),
                    cell_id: id,
                    project: project.clone(),
                    agents: agents.to_vec(),
                    backend,
                    pid: process.pid,
                    hermes_home: proposal.hermes_home.to_string_lossy().into_owned(),
                    degraded,
                })
            }
            Ok(Readiness::Failed { message, internal: false }) => Err(Error::NotReady { cell: id, message }),
            Ok(Readiness::Failed { message, internal: true }) => Err(Error::Broken { cell: id, message }),
            Err(source) => {
                // The warden is gone without a word: its agents died with it, and what it made is removed here.
                let message = format!("its warden ended before it was ready: {source}");
                self.abandon(&id, &message)?;
                Err(Error::Broken { cell: id, message })
            }
        }
    }

    /// Writes the cell down, before anything of it exists.
    pub(super) fn propose(
        &mut self,
        agents: &[AgentName],
        project: &ProjectName,
        wish: &Wish,
        team: bool,
        planned: &Planned,
    ) -> Result<Proposal, Error> {
        let owner = wish.owner.clone().unwrap_or_else(|| self.actor.clone());
        let created_at = Utc::now();
        let summoner = liveness::identify(std::process::id()).map_err(Error::OwnIdentity)?;
        let member = |agent: &AgentName| Member {
            identity: Identity::Agent(agent.clone()),
            role: Role::Executor,
            joined_at: created_at,
            invited_by: self.actor.clone(),
        };
        let ttl = wish.ttl.or(planned.ttl).unwrap_or(if team { TTL_OF_TEAM } else { TTL_OF_ONE });
        let mut proposal = Proposal {
            cell_id: CellId::from_bits(0),
            project: project.clone(),
            owner,
            backend: planned.backend,
            members: agents.iter().map(member).collect(),
            hermes_home: std::path::PathBuf::new(),
            ttl,
            on_expire: wish.on_expire.or(planned.on_expire).unwrap_or_default(),
            team,
            throwaway: wish.throwaway,
            accept_degraded: wish.accept_degraded,
            summoner,
            created_at,
        };
        for _ in 0..DRAWS {
            let (bits, _) = uuid::Uuid::new_v4().as_u64_pair();
            proposal.cell_id = CellId::from_bits((bits >> 32) as u32);
            proposal.hermes_home = self.root.cell_path(&proposal.cell_id).join("home");
            match self.registry.propose(&proposal, &self.actor.to_string()) {
                Ok(_) => return Ok(proposal),
                Err(RegistryError::IdTaken(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(RegistryError::IdTaken(proposal.cell_id).into())
    }

    pub(super) fn warden_spec(&self, proposal: &Proposal, planned: Planned, timeout: Option<Duration>) -> WardenSpec {
        let cell = &proposal.cell_id;
        WardenSpec {
            root: self.root.path().to_owned(),
            cell: cell.clone(),
            birth: Birth::First,
            actor: self.actor.clone(),
            throwaway: proposal.throwaway,
            accept_degraded: proposal.accept_degraded,
            homes: !planned.bare,
            agents: planned.into_agents(&self.root, proposal),
            ready_within: READY_WITHIN,
            timeout,
            expires_at: proposal.created_at + proposal.ttl,
            on_expire: proposal.on_expire,
        }
    }

    /// Records that a cell did not come to life, and removes what was made for it.
    fn abandon(&mut self, id: &CellId, message: &str) -> Result<(), Error> {
        let event = Event::Fail(FailReason::Internal { message: crate::cell::text::one_line(message, 500) });
        match self.registry.transition(id, event, &self.actor.to_string(), Default::default()) {
            Ok(_) => {}
            // Somebody else found out first.
            Err(error) if error.is_overtaken() => {}
            Err(error) => return Err(error.into()),
        }
        let _ = self.root.remove_cell(id);
        Ok(())
    }
}

/// Starts a detached warden, and tells it what to do.
pub(super) fn start_warden(spec: &WardenSpec) -> std::io::Result<Child> {
    let mut memory = File::from(rustix::fs::memfd_create("warden", MemfdFlags::CLOEXEC)?);
    memory.write_all(&serde_json::to_vec(spec)?)?;
    memory.rewind()?;
    // This very program, also when its file was replaced since it was started.
    let mut command = Command::new("/proc/self/exe");
    std::os::unix::process::CommandExt::arg0(&mut command, "lazarus");
    // The cell's id is for whoever looks for a warden that has not put itself on record yet, and for people who list processes.
    command.args([warden::SUBCOMMAND, spec.cell.as_str()]).env_clear().current_dir("/");
    if cfg!(debug_assertions)
        && let Some(point) = std::env::var_os(failpoint::VARIABLE)
    {
        command.env(failpoint::VARIABLE, point);
    }
    let child = command.stdin(Stdio::from(memory)).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
    failpoint::hit(Point::SummonWardenStarted);
    Ok(child)
}

/// Waits for the one line of a warden that was started.
pub(super) fn await_readiness(mut child: Child) -> std::io::Result<Readiness> {
    /// The answer is one line with one message.
    const ANSWER_MOST_BYTES: u64 = 64 * 1024;
    let stdout = child.stdout.take().ok_or(std::io::ErrorKind::BrokenPipe)?;
    let mut line = String::new();
    BufReader::new(stdout.take(ANSWER_MOST_BYTES)).read_line(&mut line)?;
    if line.is_empty() {
        let status = child.wait()?;
        return Err(std::io::Error::other(status.to_string()));
    }
    Ok(serde_json::from_str(&line)?)
}
