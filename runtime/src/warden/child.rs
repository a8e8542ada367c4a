//! One jailed child of a warden, and the agents that run in it.

use std::{io, os::unix::process::ExitStatusExt, time::Duration};

use crate::{
    backend::{
        process::agent_pid,
        protocol::{End, ToChild},
        spawned::{Containment, Spawned},
    },
    cell::{AgentName, ProcessRef},
    jail::liveness,
    policy::Policy,
};

use super::{
    counters::Counters,
    held::Held,
    life::Again,
    logs::Log,
    meter::Meter,
    writer::{Told, Writer},
};

/// How long a killed process may take to be gone.
const KILL_WITHIN: Duration = Duration::from_secs(5);

/// Where an agent's run stands.
#[derive(Debug)]
pub enum Stage {
    /// Started, not ready yet.
    Starting,
    /// Ready, and running.
    Running,
    /// Its host died; it is about to be started again.
    Paused,
    /// Over.
    Over(End),
}

/// The run of one agent.
#[derive(Debug)]
pub struct AgentRun {
    /// The agent.
    pub agent: AgentName,
    /// Where it stands.
    pub stage: Stage,
    /// Whether it lives by events: the post office then gives it what happens.
    pub by_events: bool,
    /// What it runs, as a phrase.
    pub program: String,
    /// What it was granted.
    pub policy: Policy,
    /// What the jail and the engine say they enforce, and what the warden does.
    pub held: Held,
    /// Its log; `None` where its streams are the caller's own.
    pub log: Option<Log>,
    /// Its home, where it has one.
    pub home: Option<std::path::PathBuf>,
    /// An end that the warden decided itself (a limit), which the child's own word does not change.
    pub decided: Option<End>,
    /// What the agent said when it refused to start.
    pub refusal: Option<String>,
}

impl AgentRun {
    /// Whether the run is over.
    pub const fn is_over(&self) -> bool {
        matches!(self.stage, Stage::Over(_))
    }

    /// Ends the run, once: as the warden decided, else as `end` says. Returns how, if it was not over.
    pub fn end(&mut self, end: End) -> Option<End> {
        if self.is_over() {
            return None;
        }
        if let Some(log) = &mut self.log {
            log.finish();
        }
        let end = self.decided.take().unwrap_or(end);
        self.stage = Stage::Over(end.clone());
        Some(end)
    }
}

/// A jailed child: a reaper with one process agent, or a host with one wasm agent or more.
pub struct Child {
    /// The process and its descriptors.
    pub spawned: Spawned,
    /// Its agents, in the order in which the child counts them.
    pub runs: Vec<AgentRun>,
    /// Whether its process is gone and reaped.
    pub gone: bool,
    /// Whether it belongs to the cell: an invited agent's child does once the agent is ready.
    pub joined: bool,
    /// Whether it was killed, and counted as such.
    pub killed: bool,
    /// Whether it said what no child says: nothing that it says counts any more.
    pub distrusted: bool,
    /// The agent's own process, where the child is its reaper.
    pub agent_process: Option<ProcessRef>,
    /// How it is told something, once it is watched.
    pub writer: Option<Writer>,
    /// The restarts that led to it, and what follows its own end.
    pub again: Again,
    /// The CPU time of a process agent, where it is counted.
    // After `spawned`: the group is removed once nobody is in it any more.
    pub meter: Option<Meter>,
    /// Limits that a process agent ran into, where they are counted.
    pub counters: Option<Counters>,
}

impl Child {
    /// A child that was just started.
    pub fn new(spawned: Spawned, runs: Vec<AgentRun>, joined: bool) -> Self {
        let budget = runs.first().map(|run| run.policy.limits.cpu);
        let meter = spawned.cgroup.as_ref().zip(budget).and_then(|(cgroup, budget)| Meter::new(cgroup, budget));
        let counters = spawned.cgroup.as_ref().map(Counters::new);
        Self {
            spawned,
            runs,
            gone: false,
            joined,
            killed: false,
            distrusted: false,
            agent_process: None,
            writer: None,
            again: Again::default(),
            meter,
            counters,
        }
    }

    /// Whether it still has a run that is not over.
    pub fn is_running(&self) -> bool {
        self.runs.iter().any(|run| !run.is_over())
    }

    /// The run of an agent, if it is this child's: a child's word counts for its own agents alone.
    pub fn run(&mut self, agent: &AgentName) -> Option<&mut AgentRun> {
        self.runs.iter_mut().find(|run| run.agent == *agent)
    }

    /// Looks for the agent's own process, once it is ready.
    pub fn find_agent_process(&mut self) {
        self.agent_process = match self.spawned.containment() {
            Containment::PidNamespace | Containment::Subreaper => {
                agent_pid(self.spawned.process.pid).and_then(|pid| liveness::identify(pid).ok())
            }
            Containment::Alone => None,
        };
    }

    /// The process that a reader would look for: a process agent's own, or the host's.
    pub fn process(&self) -> &ProcessRef {
        self.agent_process.as_ref().unwrap_or(&self.spawned.process)
    }

    /// The processes of its agent at this moment: what the reaper of a process agent started, and never the reaper.
    ///
    /// # Errors
    /// They cannot be listed.
    pub fn agent_processes(&self) -> io::Result<Vec<u32>> {
        let reaper = self.spawned.process.pid;
        if self.gone || matches!(self.spawned.containment(), Containment::Alone) {
            return Ok(Vec::new());
        }
        // Nobody leaves a control group; what descends from the reaper may change its parent while it is looked for.
        let members = self.spawned.cgroup.as_ref().and_then(|cgroup| cgroup.members().ok());
        let mut found = members.map_or_else(|| liveness::descendants(reaper), |members| Ok(members.into_iter().collect()))?;
        found.retain(|pid| *pid != reaper);
        Ok(found)
    }

    /// Tells the child something, without waiting for it.
    pub fn tell(&self, message: &ToChild) -> Told {
        self.writer.as_ref().filter(|_| !self.gone).map_or(Told::Now, |writer| writer.tell(message))
    }

    /// How many processes end with it: those in its control groups, where it has any, else what descends from it; and itself, though it be in
    /// no group yet. What is started after this look is not counted.
    pub fn living(&self) -> u32 {
        let own = self.spawned.process.pid;
        let in_groups = self.spawned.cgroup.as_ref().and_then(|cgroup| cgroup.members().ok());
        let mut living = in_groups.unwrap_or_else(|| liveness::descendants(own).unwrap_or_default().into_iter().collect());
        living.insert(own);
        u32::try_from(living.len()).unwrap_or(u32::MAX)
    }

    /// Ends the process at once. Everything that it started dies with it.
    pub fn kill(&self) {
        if !self.gone {
            // Gone already is what is wanted; what does not end is waited for, and said, by the caller.
            let _ = self.spawned.kill(KILL_WITHIN);
            // Without a pid namespace, what left the reaper's reach is still in the group.
            if let (Containment::Subreaper, Some(cgroup)) = (self.spawned.containment(), &self.spawned.cgroup) {
                let _ = cgroup.kill(KILL_WITHIN);
            }
        }
    }

    /// What an end means: one by SIGKILL that the kernel dealt out for want of memory is a limit that was reached.
    pub fn explained(&self, end: End) -> End {
        let killed = match &end {
            End::Signalled { signal } => *signal == libc::SIGKILL,
            // A shell says it so of the program that it waited for.
            End::Exited { code } => *code == 128 + libc::SIGKILL,
            End::Trapped { .. } | End::Limit { .. } => false,
        };
        let memory = self.runs.first().map(|run| run.policy.limits.memory);
        match memory {
            Some(most) if killed && self.spawned.cgroup.as_ref().is_some_and(|cgroup| cgroup.ran_out_of_memory()) => {
                End::Limit { limit: "memory".into(), message: format!("it needed more than {most}, and the kernel ended it") }
            }
            Some(_) | None => end,
        }
    }

    /// How its process ended; it has.
    pub fn reap(&mut self) -> End {
        self.gone = true;
        let status = self.spawned.reap(KILL_WITHIN).ok().flatten();
        match status.map(|status| (status.code(), status.signal())) {
            Some((Some(code), _)) => End::Exited { code },
            Some((None, Some(signal))) => End::Signalled { signal },
            Some((None, None)) | None => End::Signalled { signal: libc::SIGKILL },
        }
    }
}
