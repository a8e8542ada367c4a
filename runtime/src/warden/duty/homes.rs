//! What the warden sees to on disk: homes that outgrow their limit, and a cell whose time is over.

use std::{
    collections::HashMap,
    io,
    path::PathBuf,
    time::{Duration, Instant},
};

use cap_std::fs::Dir;

use super::{ACTOR, Duty, WardenError};
use crate::{
    audit::{Action, Draft, Phase},
    backend::reach::SHARED,
    cell::{AgentName, CloseReason, OnExpire, Record, State},
    home::{Claim, Claiming},
    jail::{Nameless, liveness, nameless, path_of},
    policy::{LimitName, Limits, format_duration},
    registry::Registry,
    seal::{self, Razed},
    warden::{
        child::{AgentRun, Child},
        make,
        pace::{Amount, HIDDEN_MOST, MEASURE_MOST, Pace, UNKNOWN_MOST},
    },
};

/// What agents write to, and when it is measured next.
#[derive(Debug, Default)]
pub(super) struct Homes {
    paces: HashMap<AgentName, Pace>,
    shared: Option<Pace>,
}

impl Homes {
    /// When [`Duty::measure_homes`] must be called at the latest.
    pub fn due_at(&self) -> Instant {
        let first = self.paces.values().chain(&self.shared).map(Pace::due_at).min();
        first.unwrap_or_else(|| Instant::now() + MEASURE_MOST)
    }
}

/// Whether what an agent writes is measured: until it is over, so that one that does not end when it is told to is told again.
const fn is_watched(run: &AgentRun) -> bool {
    !run.is_over() && run.home.is_some()
}

/// What an agent's home may hold.
fn most_of(run: &AgentRun) -> Amount {
    Amount { bytes: run.policy.limits.home.bytes(), entries: run.policy.limits.files.get().into() }
}

/// Who may hold files of a tree open, and where they see it.
struct Holders {
    processes: io::Result<Vec<u32>>,
    place: PathBuf,
}

/// What a look at a tree came to.
enum Found {
    /// Nothing to act on.
    Within,
    /// More than it may hold.
    Outgrown(Amount),
    /// Nobody knows, for too long.
    Unknown(String, Duration),
}

/// Looks at a directory, if it is time. An error is why it could not be opened.
fn look(pace: &mut Pace, dir: io::Result<Dir>, holders: impl FnOnce() -> Holders, most: Amount) -> Found {
    let began = Instant::now();
    if began < pace.due_at() {
        return Found::Within;
    }
    match dir {
        Ok(dir) => {
            // Where nobody says how much is free, nothing is: then it is measured by the clock alone.
            let room = rustix::fs::fstatvfs(&dir);
            let free = room.map_or_else(
                |_| Amount::default(),
                |room| Amount { bytes: room.f_bfree.saturating_mul(room.f_frsize), entries: room.f_ffree },
            );
            if pace.look(began, free, most) { measure(pace, &dir, &holders(), (began, free), most) } else { Found::Within }
        }
        Err(error) => missed(pace, began, error.to_string()),
    }
}

fn measure(pace: &mut Pace, dir: &Dir, holders: &Holders, (began, free): (Instant, Amount), most: Amount) -> Found {
    let mut counted = count(dir, holders);
    // What was given a name between the two looks is there twice: then a second one says so.
    if counted.as_ref().is_ok_and(|counted| counted.nameless && counted.seen.exceeds(most)) {
        counted = count(dir, holders);
    }
    match counted {
        Err(error) => missed(pace, began, error.to_string()),
        Ok(counted) if counted.seen.exceeds(most) => {
            pace.measured(began, Instant::now(), counted.seen, free);
            Found::Outgrown(counted.seen)
        }
        Ok(Counted { unread: unread @ 1.., .. }) => {
            missed(pace, began, format!("{unread} directories could not be read, or moved meanwhile"))
        }
        Ok(Counted { unseen: Some(why), .. }) => {
            if pace.hidden(began, Instant::now()) {
                Found::Unknown(why, HIDDEN_MOST)
            } else {
                Found::Within
            }
        }
        Ok(Counted { seen, .. }) => {
            pace.measured(began, Instant::now(), seen, free);
            Found::Within
        }
    }
}

/// What was seen of a tree.
struct Counted {
    seen: Amount,
    /// Whether something of it has no name.
    nameless: bool,
    /// Directories that could not be read.
    unread: u64,
    /// Why more may be held open.
    unseen: Option<String>,
}

/// Counts what has a name in a directory, and what its agents hold that has none any more.
fn count(dir: &Dir, holders: &Holders) -> io::Result<Counted> {
    // These first: what loses its name meanwhile is seen the next time, and what is seen is not seen twice.
    let places = [holders.place.clone(), path_of(dir)?];
    let (held, unlisted) = match &holders.processes {
        Ok(processes) => (nameless(processes, &places), None),
        Err(error) => (Nameless::default(), Some(format!("its processes cannot be listed ({error})"))),
    };
    let named = crate::home::measure(dir)?;
    let seen = Amount {
        bytes: named.bytes.saturating_add(held.bytes),
        entries: named.files.saturating_add(named.dirs).saturating_add(held.files),
    };
    Ok(Counted { seen, nameless: held.files > 0, unread: named.unread, unseen: unlisted.or(held.unseen) })
}

/// What is not known may be known the next time; but not for long.
fn missed(pace: &mut Pace, began: Instant, why: String) -> Found {
    if pace.missed(began, Instant::now()) { Found::Unknown(why, UNKNOWN_MOST) } else { Found::Within }
}

/// Which limit is not held, and why.
fn broken(what: &str, found: Found, limits: &Limits) -> Option<(LimitName, String)> {
    match found {
        Found::Within => None,
        Found::Outgrown(seen) => Some(passed(what, seen, limits)),
        Found::Unknown(why, most) => Some((LimitName::Home, format!("{what} could not be measured for {}: {why}", format_duration(most)))),
    }
}

/// Which limit is passed, and by what.
fn passed(what: &str, seen: Amount, limits: &Limits) -> (LimitName, String) {
    if seen.bytes > limits.home.bytes() {
        (LimitName::Home, format!("{what} holds more than {}", limits.home))
    } else {
        (LimitName::Files, format!("{what} holds more than {} files, directories and links", limits.files))
    }
}

impl Duty {
    /// Ends those agents whose homes have outgrown their limits.
    pub(super) fn measure_homes(&mut self) {
        let mut homes = std::mem::take(&mut self.homes);
        let mut outgrown = Vec::new();
        for run in self.life.runs().filter(|run| is_watched(run)) {
            let Some(home) = &run.home else { continue };
            let pace = homes.paces.entry(run.agent.clone()).or_insert_with(|| Pace::new(Instant::now()));
            if Instant::now() < pace.due_at() {
                continue;
            }
            let gone = || io::Error::from(io::ErrorKind::NotFound);
            let place = make::place_of(&self.made.dir, home, &run.agent).ok_or_else(gone);
            let opened = place.and_then(|place| self.made.dir.home(place, &run.agent).map_err(io::Error::other)?.ok_or_else(gone));
            let holders = || Holders { processes: self.processes_of(&run.agent), place: home.clone() };
            let found = look(pace, opened, holders, most_of(run));
            outgrown.extend(broken("its home", found, &run.policy.limits).map(|why| (run.agent.clone(), why)));
        }
        homes.paces.retain(|agent, _| self.life.runs().any(|run| run.agent == *agent && is_watched(run)));
        if homes.paces.is_empty() {
            homes.shared = None;
        } else {
            outgrown.extend(self.outgrown_shared(homes.shared.get_or_insert_with(|| Pace::new(Instant::now()))));
        }
        self.homes = homes;
        for (agent, (limit, message)) in outgrown {
            self.life.end_for_limit(&agent, limit.as_str(), message);
        }
    }

    /// The processes of an agent; none of a wasm agent, whose host counts what it has open.
    fn processes_of(&self, agent: &AgentName) -> io::Result<Vec<u32>> {
        let child = self.life.children.iter().find(|child| child.runs.iter().any(|run| run.agent == *agent && !run.is_over()));
        child.map_or_else(|| Ok(Vec::new()), Child::agent_processes)
    }

    fn holders_of_shared(&self) -> Holders {
        let listed: io::Result<Vec<Vec<u32>>> = self.life.children.iter().map(Child::agent_processes).collect();
        Holders { processes: listed.map(|listed| listed.concat()), place: SHARED.into() }
    }

    /// Every agent, where what they share has outgrown the largest of their limits (nobody knows which of them wrote it), or is gone.
    fn outgrown_shared(&self, pace: &mut Pace) -> Vec<(AgentName, (LimitName, String))> {
        if Instant::now() < pace.due_at() {
            return Vec::new();
        }
        let agents: Vec<&AgentRun> = self.life.runs().filter(|run| is_watched(run)).collect();
        let Some(most) = agents.iter().map(|run| &run.policy.limits).max_by_key(|limits| limits.home) else { return Vec::new() };
        let Some(files) = agents.iter().map(|run| run.policy.limits.files).max() else { return Vec::new() };
        let most = Limits { files, ..most.clone() };
        let amount = Amount { bytes: most.home.bytes(), entries: files.get().into() };
        let why = match self.made.dir.shared() {
            // Somebody removed the whole root: nobody can find this cell any more, so it ends by itself.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                pace.missed(Instant::now(), Instant::now());
                (LimitName::Home, "the cell's directory was removed".to_owned())
            }
            opened => match broken("/shared", look(pace, opened, || self.holders_of_shared(), amount), &most) {
                Some(why) => why,
                None => return Vec::new(),
            },
        };
        agents.into_iter().map(|run| (run.agent.clone(), why.clone())).collect()
    }

    /// Destroys a cell whose time is over, where its policy says so. Nothing of it lives any more, and its lease is held.
    ///
    /// What cannot be removed is left for a sweep, which tries again and says why.
    pub(super) fn destroy_if_expired(&mut self, registry: &mut Registry) -> Result<(), WardenError> {
        let record = registry.cell(&self.spec.cell)?;
        let expired = |record: &Record| matches!(record.state, State::Closed { reason: CloseReason::Expired });
        let Some(record) = record.filter(expired).filter(|_| self.spec.on_expire == OnExpire::Destroy) else { return Ok(()) };
        // Whoever tears it down already need not be helped.
        let Ok(Claiming::Held(_claim)) = Claim::take(&self.made.dir, Duration::ZERO) else { return Ok(()) };
        let cell = &self.spec.cell;
        let draft = |phase, detail: &str| Draft::new(ACTOR, Action::Destroy, phase, Some(cell), detail);
        let teardown = registry.begin_teardown(&record, ACTOR, Some(draft(Phase::Intent, "its time to live is over")))?;
        let mut receipt = match seal::raze(&self.made.root, registry, cell, &teardown, self.life.killed)? {
            Razed::Nothing(receipt) => receipt,
            Razed::Remains(remained) => {
                let detail = format!("{} of its files remain, the first is {}", remained.len(), remained.first().map_or("", |first| first));
                registry.audit(draft(Phase::Failed, &detail))?;
                return Ok(());
            }
        };
        let runs = registry.runs(cell)?;
        receipt.processes_verified = liveness::gone(runs.iter().map(|run| &run.process));
        match seal::bury(&self.made.root, registry, cell, Some(&teardown), &record.proposal.owner, ACTOR, receipt) {
            Err(error) if !error.is_overtaken() => Err(error.into()),
            Ok(_) | Err(_) => Ok(()),
        }
    }
}
