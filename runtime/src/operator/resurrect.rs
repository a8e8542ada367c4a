//! Resurrecting: a cell that is closed or failed lives again from its home, with the members, policy and programs that it had.
//!
//! ```text
//!  plan.json ─→ members' plans, looked at again ─→ intent ─→ warden: lease, nothing of it lives, homes are there ─→ agents start
//!                                                                                                                │
//!  closed | failed, untouched  ←─ whatever goes wrong, and a crash at any point ──────────────────────────────────┤
//!  active, generation + 1      ←─ one commit, if the cell is still of the version that the operator saw ──────────┘
//! ```

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::{
    Error, Operator,
    summon::{READY_WITHIN, await_readiness, start_warden},
};
use crate::{
    audit::Action,
    backend::{Program, wasm},
    cell::{AgentName, BackendKind, CellId, Event, ProjectName, Record, decide},
    failpoint::{self, Point},
    home::{SourceError, Sources},
    policy::format_duration,
    warden::{AgentPlan, Birth, KeptPlan, Readiness, WardenSpec},
};

/// A cell that lives again.
#[derive(Debug, Clone, Serialize)]
pub struct Resurrected {
    /// Its id.
    pub cell_id: CellId,
    /// Its project.
    pub project: ProjectName,
    /// Its agents, those that were invited included.
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
    /// Which of its lives this is: 2 after the first resurrection.
    pub generation: u32,
    /// When its time to live is over.
    pub expires_at: DateTime<Utc>,
}

impl Operator {
    /// Brings a closed or failed cell back to life; returns when its agents are ready, and that is durable. It lives for `ttl`, or for as long
    /// as it was summoned for.
    ///
    /// # Errors
    /// No such cell, no right to, a state that cannot be resurrected, something that it needs is gone, or an agent did not become ready: the
    /// cell and its homes are then as they were.
    pub fn resurrect(&mut self, cell: &str, ttl: Option<Duration>, accept_degraded: bool) -> Result<Resurrected, Error> {
        self.audited(Action::Resurrect, Some(cell), |operator| operator.resurrect_audited(cell, ttl, accept_degraded))
    }

    fn resurrect_audited(&mut self, cell: &str, ttl: Option<Duration>, accept_degraded: bool) -> Result<Resurrected, Error> {
        let record = self.swept_cell(cell)?;
        let id = record.proposal.cell_id.clone();
        self.must_lead(&record, "resurrect", Action::Resurrect)?;
        if let Err(refusal) = decide(&record.state, Event::Resurrect) {
            self.note_refused(Action::Resurrect, &id, &refusal.to_string())?;
            return Err(Error::State { cell: id, refusal });
        }
        let spec = self.spec_again(&record, ttl, accept_degraded)?;
        let accepted = if spec.accept_degraded { ", whatever the kernel cannot enforce" } else { "" };
        let lives = format_duration(ttl.unwrap_or(record.proposal.ttl));
        self.note_intent(Action::Resurrect, &id, &format!("generation {}, for {lives}{accepted}", spec.birth.generation()))?;
        failpoint::hit(Point::ResurrectIntent);
        let (why, internal) = match start_warden(&spec).and_then(await_readiness) {
            Ok(Readiness::Active { process, degraded }) => {
                failpoint::hit(Point::ResurrectActive);
                return self.resurrected(&id, &spec, process.pid, degraded);
            }
            Ok(Readiness::Failed { message, internal }) => (message, internal),
            Err(source) => (format!("its warden ended before it was ready: {source}"), true),
        };
        self.note_failed(Action::Resurrect, &id, &why)?;
        Err(Error::NotResurrected { cell: id, why, internal })
    }

    fn resurrected(&self, id: &CellId, spec: &WardenSpec, pid: u32, degraded: bool) -> Result<Resurrected, Error> {
        let record = self.registry.cell_alone(id)?.ok_or_else(|| Error::CellNotFound(id.to_string()))?;
        let generation = spec.birth.generation();
        Ok(Resurrected {
            cell_id: id.clone(),
            agents: spec.agents.iter().map(|plan| plan.launch.agent.clone()).collect(),
            backend: record.proposal.backend,
            pid,
            message: format!("Resurrected {id} for {}, generation {generation}", record.proposal.project),
            project: record.proposal.project,
            hermes_home: record.proposal.hermes_home.to_string_lossy().into_owned(),
            degraded,
            generation,
            expires_at: record.expires_at,
        })
    }

    /// What a warden is told that brings a cell back: what was launched, for those who are still members, looked at again.
    fn spec_again(&mut self, record: &Record, ttl: Option<Duration>, accept_degraded: bool) -> Result<WardenSpec, Error> {
        let proposal = &record.proposal;
        let id = &proposal.cell_id;
        let not = |why: String| Error::NotResurrected { cell: id.clone(), why, internal: false };
        if proposal.throwaway {
            return Err(not("it was the throwaway cell of a run".to_owned()));
        }
        let dir = self.root.cell(id)?.ok_or_else(|| not("its directory is gone".to_owned()))?;
        if self.registry.runs(id)?.is_empty() {
            return Err(not("it never became active: there is no life to go on with".to_owned()));
        }
        let accept_degraded = accept_degraded || proposal.accept_degraded;
        let mut agents = Vec::new();
        for mut plan in KeptPlan::read(&dir).map_err(|error| not(error.to_string()))?.agents {
            let (who, role) = (&plan.identity, plan.launch.role);
            if proposal.members.iter().any(|member| member.identity == *who && member.role == role) {
                self.look_again(id, &mut plan)?;
                self.still_approved(&plan)?;
                plan.launch.again = true;
                plan.launch.policy.accept_degraded = accept_degraded;
                agents.push(plan);
            }
        }
        if agents.is_empty() {
            return Err(not("none of its agents is a member any more".to_owned()));
        }
        let lives = chrono::Duration::from_std(ttl.unwrap_or(proposal.ttl)).ok();
        let expires_at = lives.and_then(|lives| Utc::now().checked_add_signed(lives));
        Ok(WardenSpec {
            root: self.root.path().to_owned(),
            cell: id.clone(),
            birth: Birth::Again { generation: record.generation.saturating_add(1), version: record.version },
            actor: self.actor.clone(),
            agents,
            throwaway: false,
            accept_degraded,
            homes: true,
            ready_within: READY_WITHIN,
            timeout: None,
            expires_at: expires_at.ok_or(Error::Contradiction("that is longer than Lazarus can count"))?,
            on_expire: proposal.on_expire,
        })
    }

    /// Refuses an agent whose definition is installed and not approved as it is now. One that was removed since says nothing: what was launched was
    /// approved when it was.
    fn still_approved(&mut self, plan: &AgentPlan) -> Result<(), Error> {
        if plan.definition.is_none() {
            return Ok(());
        }
        match crate::agent::load(&self.root, &plan.launch.agent)? {
            Some(installed) => self.must_be_approved(&installed),
            None => Ok(()),
        }
    }

    /// Looks again at what an agent was granted, which may have become something else, and finds its program in the cache.
    fn look_again(&self, id: &CellId, plan: &mut AgentPlan) -> Result<(), Error> {
        let agent = &plan.launch.agent;
        let not = |why: String| Error::NotResurrected { cell: id.clone(), why, internal: false };
        let sources = Sources::of(&self.root);
        for mount in &plan.launch.policy.mounts {
            let leads_elsewhere = match sources.mount(&mount.host) {
                Err(SourceError::Link { .. }) => true,
                found => found? != mount.host,
            };
            if leads_elsewhere {
                return Err(not(format!("{} leads elsewhere than when it was granted to {agent}", mount.host.display())));
            }
        }
        let asked = std::mem::take(&mut plan.launch.policy.read);
        if asked.is_empty() {
            if matches!(plan.launch.program, Program::Command { .. }) {
                sources.read_by_default()?;
            }
        } else {
            let mut there = Vec::new();
            for path in &asked {
                if sources.read(path)?.is_some() {
                    there.push(path.clone());
                }
            }
            // Nothing named would stand for the system's own, which is more than was granted.
            if there.is_empty() {
                return Err(not(format!("nothing that was granted to {agent} for reading is there any more")));
            }
            plan.launch.policy.read = there;
        }
        if let Program::Compiled { cached, form, .. } = &mut plan.launch.program {
            let digest = plan.source_sha256.as_deref().unwrap_or_default();
            let found = match wasm::find(self.root.cache(), digest, *form)? {
                Some(name) => Some(name),
                None => self.compile_again(agent, digest)?,
            };
            let name = found.ok_or_else(|| {
                not(format!(
                    "the program of agent {agent} is no longer in the cache: install it again, or run its file once with `lazarus run`"
                ))
            })?;
            *cached = self.root.cache_path().join(name);
        }
        Ok(())
    }

    /// Compiles a program that the cache has lost, if the agent's definition still has that very source, or it is the keeper.
    fn compile_again(&self, agent: &AgentName, digest: &str) -> Result<Option<String>, Error> {
        let component = crate::agent::load(&self.root, agent)?.and_then(|installed| installed.component);
        if let Some(mut component) = component.filter(|component| component.sha256.to_string() == digest) {
            let cached = wasm::ensure(self.root.cache(), &mut component.file, Some(digest));
            let cached = cached.map_err(|source| Error::Compile { path: component.path.clone(), source })?;
            return Ok(Some(cached.file_name()));
        }
        let keeper = wasm::ensure_bytes(self.root.cache(), wasm::KEEPER_WAT.as_bytes())?;
        Ok((keeper.source_sha256 == digest).then(|| keeper.file_name()))
    }
}
