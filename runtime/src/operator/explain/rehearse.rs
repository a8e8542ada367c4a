//! Before summoning: what this machine would enforce, found out by a process that confines itself as the agent's would.

use std::{
    io::{Read, Seek, Write},
    process::{Command, Stdio},
};

use chrono::Utc;

use super::{AgentExplained, NotRehearsed};
use crate::{
    cell::{AgentName, CellId, Identity, Member, OnExpire, Proposal, Role},
    home,
    jail::liveness,
    operator::{Error, Operator, plan::Planned},
    policy::{Applier, Enforcer, Report},
    warden::{AgentPlan, REHEARSE_COMMAND, Rehearsal, RehearsalSpec, Rehearsed},
};

/// Bytes of what a rehearsal says: reports of very large policies.
const ANSWER_MOST_BYTES: u64 = 64 * 1024 * 1024;
/// Why what the warden does is not rehearsed.
const WARDENS: &str = "the warden sees to it while the cell lives";

impl Operator {
    /// Rehearses the confinement of planned agents, and puts what came of it with what is known of them. Returns the reports.
    pub(super) fn rehearse(&self, planned: Planned, agents: &mut [AgentExplained]) -> Result<Vec<Report>, Error> {
        let (bits, _) = uuid::Uuid::new_v4().as_u64_pair();
        let id = CellId::from_bits((bits >> 32) as u32);
        let names: Vec<AgentName> = agents.iter().map(|agent| agent.agent.clone()).collect();
        let proposal = self.of_no_cell(&id, &names, &planned)?;
        let mut plans = planned.into_agents_at(&home::stage_path(&self.root, &id), &proposal);
        for plan in &mut plans {
            // So that it goes on past what is missing, and reports that.
            plan.launch.policy.accept_degraded = true;
        }
        let spec = RehearsalSpec { root: self.root.path().to_owned(), id, agents: plans };
        let outcome = match hold(&spec) {
            Ok(Rehearsal::Done(rehearsed)) => Ok(rehearsed),
            Ok(Rehearsal::Failed(why)) => Err(why),
            Err(error) => Err(error.to_string()),
        };
        let mut reports = Vec::new();
        for (explained, plan) in agents.iter_mut().zip(&spec.agents) {
            let rehearsed = match &outcome {
                Ok(rehearsed) => rehearsed.iter().find(|one| one.agent == plan.launch.agent),
                Err(_) => None,
            };
            match (rehearsed, &outcome) {
                (Some(rehearsed), _) => reports.push(put(explained, plan, rehearsed)),
                (None, Err(why)) => explained.refused = Some(format!("the rehearsal failed: {why}")),
                (None, Ok(_)) => explained.refused = Some("the rehearsal said nothing of it".to_owned()),
            }
        }
        Ok(reports)
    }

    /// What a cell for these agents would be proposed as; it never is.
    fn of_no_cell(&self, id: &CellId, agents: &[AgentName], planned: &Planned) -> Result<Proposal, Error> {
        let created_at = Utc::now();
        let member = |agent: &AgentName| Member {
            identity: Identity::Agent(agent.clone()),
            role: Role::Executor,
            joined_at: created_at,
            invited_by: self.actor.clone(),
        };
        Ok(Proposal {
            cell_id: id.clone(),
            project: "rehearsal".parse()?,
            owner: self.actor.clone(),
            backend: planned.backend,
            members: agents.iter().map(member).collect(),
            hermes_home: std::path::PathBuf::new(),
            ttl: std::time::Duration::ZERO,
            on_expire: OnExpire::default(),
            team: false,
            throwaway: false,
            accept_degraded: false,
            summoner: liveness::identify(std::process::id()).map_err(Error::OwnIdentity)?,
            created_at,
        })
    }
}

/// Puts what was rehearsed of one agent with what is known of it. What its child should have reported, and did not, is not held.
fn put(explained: &mut AgentExplained, plan: &AgentPlan, rehearsed: &Rehearsed) -> Report {
    let asked = plan.launch.asked(true);
    let mut report = rehearsed.report.clone();
    let missing = asked.unreported(&report);
    for promised in asked.promised() {
        match promised.by {
            Applier::Warden => {
                explained.not_rehearsed.push(NotRehearsed { subject: promised.subject, because: WARDENS.to_owned() });
            }
            Applier::Child if rehearsed.refused.is_some() && missing.contains(&promised) => {
                let because = "it was refused before this was tried".to_owned();
                explained.not_rehearsed.push(NotRehearsed { subject: promised.subject, because });
            }
            Applier::Child if missing.contains(&promised) => {
                let promise = promised.subject.to_string();
                report.none(Enforcer::Warden, promised.subject, promise, "nobody reported it");
            }
            Applier::Child => {}
        }
    }
    explained.refused = rehearsed.refused.clone().or_else(|| report.refusal());
    explained.enforcement = report.entries().to_vec();
    report
}

/// Has a process of its own hold the rehearsal: it may have to move into a user namespace.
fn hold(spec: &RehearsalSpec) -> std::io::Result<Rehearsal> {
    let mut memory = std::fs::File::from(rustix::fs::memfd_create("rehearsal", rustix::fs::MemfdFlags::CLOEXEC)?);
    memory.write_all(&serde_json::to_vec(spec)?)?;
    memory.rewind()?;
    let mut command = Command::new("/proc/self/exe");
    std::os::unix::process::CommandExt::arg0(&mut command, "lazarus");
    command.args([REHEARSE_COMMAND, spec.id.as_str()]).env_clear().current_dir("/");
    let mut child = command.stdin(Stdio::from(memory)).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
    let mut answer = Vec::new();
    let stdout = child.stdout.take().ok_or(std::io::ErrorKind::BrokenPipe)?;
    let read = stdout.take(ANSWER_MOST_BYTES).read_to_end(&mut answer);
    let status = child.wait()?;
    read?;
    if answer.is_empty() {
        return Err(std::io::Error::other(format!("it ended without a word: {status}")));
    }
    Ok(serde_json::from_slice(&answer)?)
}
