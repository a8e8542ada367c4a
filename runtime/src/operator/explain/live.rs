//! Of a living cell: every process of it, looked at in `/proc`, and compared with what its jail reported.

use std::{collections::BTreeMap, path::PathBuf};

use super::Life;
use crate::{
    backend::{Program, process::SMALL_PROGRAM},
    cell::{AgentName, ProcessRef, Record},
    jail::{
        cgroup,
        liveness::{self, Liveness},
        observe::{Agrees, Check, Expected, Observed, Part, Resource, Status, Who, compare, held_program, observe, program},
    },
    operator::Operator,
    policy::{Enforcer, Report, Subject},
    warden::KeptPlan,
};

/// Processes of a cell that are looked at: four times as many as an agent may have unless it is said otherwise.
const PROCESSES_MOST: usize = 512;

/// How often a process must not be seen below its warden before that is believed.
const LOOKS: usize = 3;

/// What all processes of a cell are compared with.
struct Ground<'a> {
    record: &'a Record,
    /// The last life of each agent, also of those that have ended.
    all: &'a [Life],
    lives: Vec<&'a Life>,
    warden: Option<Observed>,
    /// What it runs, and what it starts reapers from.
    program: Option<(PathBuf, u64)>,
    small_program: Option<(PathBuf, u64)>,
    /// What each agent launched, where that was kept.
    homes: BTreeMap<AgentName, Vec<PathBuf>>,
    /// Compiled programs.
    compiled: Vec<PathBuf>,
}

impl Operator {
    /// Compares the processes of a living cell with what was reported of them; `None` where nothing of it can live.
    pub(super) fn compare(&self, record: &Record, lives: &[Life]) -> Option<Vec<Check>> {
        let warden = record.warden.as_ref().filter(|_| record.state.may_live())?;
        if liveness::probe(warden) == Liveness::Dead {
            return None;
        }
        let ground = self.ground(record, lives, warden);
        let mut checks = Vec::new();
        let mut looked_at: Vec<ProcessRef> = Vec::new();
        let children = match liveness::children(warden.pid) {
            Ok(children) => noted(children),
            Err(error) => {
                let because = format!("the processes below the warden cannot be listed: {error}");
                return Some(ground.lives.iter().map(|life| unknown(who_of(life), "everything", "as reported", &because)).collect());
            }
        };
        for child in children {
            let below = noted(liveness::descendants(child.pid).unwrap_or_default());
            let agents: Vec<&Life> =
                ground.lives.iter().copied().filter(|life| life.run.process == child || below.contains(&life.run.process)).collect();
            for (process, is_top) in std::iter::once((&child, true)).chain(below.iter().map(|process| (process, false))) {
                let part = match (agents.iter().any(|life| is_wasm(life)), is_top) {
                    (true, _) => Part::Host,
                    (false, true) => Part::Reaper,
                    (false, false) => Part::Agent,
                };
                let who = Who { pid: process.pid, part, agents: agents.iter().map(|life| life.run.agent.clone()).collect() };
                if agents.is_empty() {
                    let because = "no run on record has this process: an agent that is just being started, or one that has just ended";
                    checks.push(unknown(who, "on record", "a run of the cell", because));
                    continue;
                }
                if looked_at.len() >= PROCESSES_MOST {
                    let because = format!("{PROCESSES_MOST} processes were looked at, and the cell has more");
                    checks.push(unknown(who, "everything", "as reported", &because));
                    return Some(checks);
                }
                // One that has ended meanwhile is none of the cell's any more.
                let Some(observed) = observe(process) else { continue };
                looked_at.push(process.clone());
                checks.extend(compare(&ground.expected(who, &agents), &observed));
            }
        }
        let missed = ground.lives.iter().filter(|life| !looked_at.contains(&life.run.process));
        checks.extend(missed.filter_map(|life| is_below(warden, life)));
        Some(checks)
    }

    fn ground<'a>(&self, record: &'a Record, lives: &'a [Life], warden: &ProcessRef) -> Ground<'a> {
        let id = &record.proposal.cell_id;
        let dir = self.root.cell(id).ok().flatten();
        let plans = dir.as_ref().and_then(|dir| KeptPlan::read(dir).ok()).map(|kept| kept.agents).unwrap_or_default();
        let places = plans.iter().map(|plan| {
            let launch = &plan.launch;
            (launch.agent.clone(), launch.home.iter().chain(&launch.shared).cloned().collect())
        });
        let compiled = plans.iter().filter_map(|plan| match &plan.launch.program {
            Program::Compiled { cached, .. } => Some(cached.clone()),
            Program::Command { .. } => None,
        });
        let mut ground = Ground {
            record,
            all: lives,
            lives: lives.iter().filter(|life| life.run.ended.is_none()).collect(),
            warden: observe(warden),
            program: program(warden.pid).ok(),
            small_program: held_program(warden.pid, SMALL_PROGRAM),
            homes: places.collect(),
            compiled: compiled.collect(),
        };
        if let (true, Some(dir)) = (plans.is_empty(), &dir) {
            // A throwaway cell keeps no plan: its one agent has the home of an only agent, and any program of the cache.
            let own = vec![dir.hermes_home(), dir.shared_path()];
            ground.homes = lives.iter().map(|life| (life.run.agent.clone(), own.clone())).collect();
            ground.compiled = vec![self.root.cache_path()];
        }
        ground
    }
}

impl<'a> Ground<'a> {
    /// What one process is compared with.
    fn expected(&'a self, who: Who, agents: &[&'a Life]) -> Expected<'a> {
        let applied = || agents.iter().filter_map(|life| life.applied.as_ref());
        let reports: Vec<&Report> = applied().map(|applied| &applied.enforcement).collect();
        let mut places = vec![PathBuf::from("/dev/null")];
        let mut code = Vec::new();
        let mut granted = Vec::new();
        match who.part {
            Part::Host => {
                // Of those that have ended as well: their host keeps what it opened for them.
                let process = agents.first().map(|life| &life.run.process);
                for life in self.all.iter().filter(|life| Some(&life.run.process) == process) {
                    places.extend(self.homes.get(&life.run.agent).into_iter().flatten().cloned());
                    let mounts = life.applied.iter().flat_map(|applied| &applied.policy.mounts);
                    places.extend(mounts.map(|mount| mount.host.clone()));
                }
                code.clone_from(&self.compiled);
            }
            // As the agent sees them, as does the kernel when it is asked about that process.
            Part::Agent | Part::Reaper => {
                places.extend(reports.iter().flat_map(|report| report.entries()).filter_map(|entry| match &entry.subject {
                    Subject::Path { path, .. } => Some(path.clone()),
                    Subject::Variable { .. }
                    | Subject::Address { .. }
                    | Subject::Limit { .. }
                    | Subject::Wall { .. }
                    | Subject::Unnamed => None,
                }));
                for limits in applied().map(|applied| &applied.policy.limits) {
                    granted.extend([
                        (Resource::OpenFiles, u64::from(limits.open_files.get())),
                        (Resource::FileSize, limits.home.bytes()),
                        (Resource::Data, limits.memory.bytes()),
                        // Counted in whole seconds, rounded up.
                        (Resource::Cpu, (limits.cpu.as_secs() + u64::from(limits.cpu.subsec_nanos() > 0)).max(1)),
                    ]);
                }
            }
        }
        if who.part == Part::Reaper {
            // To find what descends from it.
            places.push("/proc".into());
        }
        let warden = self.warden.as_ref();
        let status: Option<&Status> = warden.and_then(|warden| warden.threads.as_ref().ok()?.first());
        let namespaces = warden.and_then(|warden| warden.namespaces.as_ref().ok()).map(Vec::as_slice);
        let program = match who.part {
            Part::Reaper => self.small_program.as_ref().or(self.program.as_ref()),
            Part::Host | Part::Agent => self.program.as_ref(),
        };
        let group = match (who.part, agents.first()) {
            (Part::Host, _) | (_, None) => None,
            (Part::Agent | Part::Reaper, Some(life)) => Some(cgroup::name(&self.record.proposal.cell_id, &life.run.agent)),
        };
        Expected {
            who,
            reports,
            granted,
            warden: status,
            warden_namespaces: namespaces,
            program,
            places,
            code,
            group,
            own_streams: self.record.proposal.throwaway,
        }
    }
}

/// Whether an agent's engine reported: its process is a host.
fn is_wasm(life: &Life) -> bool {
    life.applied.as_ref().is_some_and(|applied| applied.enforcement.entries().iter().any(|entry| entry.enforcer == Enforcer::Wasm))
}

/// Notes down processes that were just listed; those that have ended meanwhile are left out.
fn noted(listed: Vec<u32>) -> Vec<ProcessRef> {
    listed.into_iter().filter_map(|pid| liveness::identify(pid).ok()).collect()
}

fn who_of(life: &Life) -> Who {
    let part = if is_wasm(life) { Part::Host } else { Part::Agent };
    Who { pid: life.run.process.pid, part, agents: vec![life.run.agent.clone()] }
}

fn unknown(process: Who, what: &str, expected: &str, because: &str) -> Check {
    let (what, expected, because) = (what.to_owned(), expected.to_owned(), Some(because.to_owned()));
    Check { process, what, expected, found: String::new(), agrees: Agrees::Unknown, because }
}

/// A run whose process was not among those that were looked at: it has ended since, or it is somewhere else, which must not be.
fn is_below(warden: &ProcessRef, life: &Life) -> Option<Check> {
    let (what, expected) = ("below its warden", "the process that was noted");
    match liveness::probe(&life.run.process) {
        // The warden is about to say so.
        Liveness::Dead => None,
        Liveness::Unknown { because } => Some(unknown(who_of(life), what, expected, &because)),
        Liveness::Alive => {
            // One look is no snapshot: it may have skipped a process while others were cleared away.
            let pid = life.run.process.pid;
            let mut looks = (0..LOOKS).map(|_| liveness::descendants(warden.pid));
            if looks.any(|found| found.is_ok_and(|found| found.contains(&pid))) {
                return Some(unknown(who_of(life), "everything", "as reported", "it was missed by the look at its cell: ask again"));
            }
            let (agrees, found) = (Agrees::No, "alive, and no descendant of its warden".to_owned());
            Some(Check { process: who_of(life), what: what.to_owned(), expected: expected.to_owned(), found, agrees, because: None })
        }
    }
}
