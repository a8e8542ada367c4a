//! A model of a world, in memory: no processes, no files, a clock that is set by hand. States are moved by the same function.

use std::{collections::BTreeMap, time::Duration};

use lazarus::cell::{CloseReason, Decision, Event, FailReason, Identity, Receipt, Role, State, decide, text::push_printable};

use super::world::{Answer, Behaviour, Refused, Seen, SeenAgent, Torn, Wish, World};

/// How long a cell lives, unless it is said; no case waits that long.
const TTL: Duration = Duration::from_secs(3600);
/// Files of a furnished home.
const FILES_OF_A_HOME: u64 = 1;

#[derive(Debug, Default)]
pub(super) struct Fake {
    now: Duration,
    defined: BTreeMap<String, Behaviour>,
    cells: Vec<Cell>,
}

#[derive(Debug)]
struct Cell {
    id: String,
    state: State,
    created: Duration,
    expires: Duration,
    keep: bool,
    team: bool,
    mount: bool,
    members: BTreeMap<String, Role>,
    agents: BTreeMap<String, Agent>,
    log: Vec<String>,
}

#[derive(Debug)]
struct Agent {
    behaviour: Behaviour,
    lives: bool,
    home: String,
    /// Why it failed its cell, where it did.
    bad: Option<String>,
}

fn operator() -> Identity {
    "human:operator".parse().expect("an identity")
}

impl Cell {
    /// Moves the cell; an event that the state does not allow is a refusal of the contract.
    fn apply(&mut self, event: Event) -> Answer<()> {
        match decide(&self.state, event) {
            Ok(Decision::To(state)) => self.state = state,
            Ok(Decision::Already) => {}
            Err(refusal) => return Err(Refused { code: 1, message: format!("Cell {} {refusal}", self.id) }),
        }
        Ok(())
    }

    fn start(&mut self, name: &str, behaviour: Behaviour) {
        let place = if self.team { "home/profiles/" } else { "guests/profiles/" };
        let home = if !self.team && self.agents.is_empty() { "home".to_owned() } else { format!("{place}{name}") };
        let home = format!("/fake/{}/{home}", self.id);
        let says: Vec<String> = match behaviour {
            Behaviour::Stays | Behaviour::Stubborn => vec!["here".into()],
            Behaviour::EndsWell => vec!["done".into()],
            Behaviour::EndsBadly => Vec::new(),
            Behaviour::WritesEscapes => {
                let mut line = String::new();
                push_printable(&mut line, b"\x1b]0;x\x07hello");
                vec![line]
            }
            Behaviour::TellsVariables => {
                let own = [("CELL", self.id.as_str()), ("AGENT", name), ("ROLE", "executor")];
                let own = own.map(|(key, value)| format!("LAZARUS_{key}={value}"));
                own.into_iter().chain([format!("HERMES_HOME={home}")]).collect()
            }
            Behaviour::UsesMount if self.mount => vec!["given".into(), "refused".into()],
            Behaviour::UsesMount => vec!["refused".into()],
        };
        let (lives, bad) = match behaviour {
            Behaviour::Stays | Behaviour::Stubborn => (true, None),
            Behaviour::EndsBadly => (false, Some(format!("agent {name}: it exited with code 7"))),
            Behaviour::EndsWell | Behaviour::WritesEscapes | Behaviour::TellsVariables | Behaviour::UsesMount => (false, None),
        };
        self.log.extend(says);
        self.agents.insert(name.to_owned(), Agent { behaviour, lives, home, bad });
    }

    /// What follows once nobody lives any more.
    fn settle(&mut self) -> Answer<()> {
        if !self.state.may_live() || self.agents.values().any(|agent| agent.lives) {
            return Ok(());
        }
        let bad = self.agents.values().find_map(|agent| agent.bad.clone());
        match bad.filter(|_| !matches!(self.state, State::Closing { .. })) {
            Some(message) => self.apply(Event::Fail(FailReason::AgentEnded { message })),
            None => self.apply(Event::Ended),
        }
    }

    fn close(&mut self, reason: CloseReason) -> Answer<()> {
        self.apply(Event::Close(reason))?;
        for agent in self.agents.values_mut().filter(|agent| agent.lives) {
            if agent.behaviour == Behaviour::Stays {
                self.log.push("told".into());
            }
            agent.lives = false;
        }
        self.settle()
    }

    fn is_expired(&self, now: Duration) -> bool {
        self.state.may_live() && now >= self.expires
    }
}

impl Fake {
    /// The cell, after whatever the passing of time has done to it.
    fn cell(&mut self, id: &str) -> Answer<&mut Cell> {
        let now = self.now;
        let found = self.cells.iter_mut().find(|cell| cell.id == id);
        let cell = found.ok_or_else(|| Refused { code: 3, message: format!("Cell {id} not found") })?;
        if cell.is_expired(now) && !cell.keep {
            cell.close(CloseReason::Expired)?;
        }
        Ok(cell)
    }
}

impl World for Fake {
    fn define(&mut self, agent: &str, behaviour: Behaviour) {
        self.defined.insert(agent.to_owned(), behaviour);
    }

    fn summon(&mut self, agents: &[&str], wish: &Wish) -> Answer<String> {
        let id = format!("laz-{:08x}", self.cells.len() + 1);
        let mut cell = Cell {
            id: id.clone(),
            state: State::Proposed,
            created: self.now,
            expires: self.now + wish.ttl.unwrap_or(TTL),
            keep: wish.keep,
            team: agents.len() > 1,
            mount: wish.mount,
            members: agents.iter().map(|agent| (format!("agent:{agent}"), Role::Executor)).collect(),
            agents: BTreeMap::new(),
            log: Vec::new(),
        };
        cell.apply(Event::Ready)?;
        for agent in agents {
            cell.start(agent, self.defined[*agent]);
        }
        cell.settle()?;
        self.cells.push(cell);
        Ok(id)
    }

    fn invite(&mut self, cell: &str, guest: &str, role: Role) -> Answer<()> {
        let now = self.now;
        let defined = self.defined.clone();
        let cell = self.cell(cell)?;
        let expired = cell.is_expired(now);
        if expired || !cell.state.accepts_invites() {
            let state = if expired { "expired" } else { cell.state.name() };
            return Err(Refused { code: 1, message: format!("Cell {} is not accepting invites (state={state})", cell.id) });
        }
        if cell.members.contains_key(guest) {
            return Err(Refused { code: 1, message: format!("{guest} is already a member of {}", cell.id) });
        }
        cell.members.insert(guest.to_owned(), role);
        if let Some((name, behaviour)) = guest.strip_prefix("agent:").and_then(|name| Some((name, *defined.get(name)?))) {
            cell.start(name, behaviour);
        }
        Ok(())
    }

    fn status(&mut self, cell: &str) -> Answer<Seen> {
        let now = self.now;
        let cell = self.cell(cell)?;
        let lives = cell.agents.values().any(|agent| agent.lives);
        let gone = matches!(cell.state, State::Destroyed { .. });
        let agent = |agent: &Agent| SeenAgent { lives: agent.lives, home: (!gone).then(|| agent.home.clone()) };
        Ok(Seen {
            state: cell.state.name().to_owned(),
            reason: cell.state.reason(),
            expired: cell.is_expired(now),
            members: cell.members.clone(),
            process: if lives { "alive" } else { "dead" }.to_owned(),
            has_pid: true,
            age_seconds: (now - cell.created).as_secs_f64(),
            agents: cell.agents.iter().map(|(name, it)| (name.clone(), agent(it))).collect(),
        })
    }

    fn listed(&mut self) -> Vec<String> {
        self.cells.iter().filter(|cell| !cell.state.is_over()).map(|cell| cell.id.clone()).collect()
    }

    fn close(&mut self, cell: &str, _grace: Duration) -> Answer<()> {
        self.cell(cell)?.close(CloseReason::Asked { by: operator() })
    }

    fn destroy(&mut self, cell: &str) -> Answer<Torn> {
        let cell = self.cell(cell)?;
        if cell.state.may_live() {
            for agent in cell.agents.values_mut() {
                agent.lives = false;
            }
            cell.apply(Event::Close(CloseReason::Asked { by: operator() }))?;
            cell.settle()?;
        }
        let files = cell.agents.len() as u64 * FILES_OF_A_HOME;
        let receipt = Receipt { files_removed: files, ..Receipt::default() };
        cell.apply(Event::Destroy { by: operator(), receipt })?;
        cell.log.clear();
        let State::Destroyed { receipt, .. } = &cell.state else { unreachable!("it was destroyed") };
        Ok(Torn { alive: u64::from(receipt.processes_alive), remained: receipt.remained.len(), files: receipt.files_removed })
    }

    fn extend(&mut self, cell: &str, by: Duration) -> Answer<()> {
        let now = self.now;
        let cell = self.cell(cell)?;
        if !cell.state.accepts_invites() {
            return Err(Refused { code: 1, message: format!("Cell {} cannot be extended (state={})", cell.id, cell.state.name()) });
        }
        cell.expires = cell.expires.max(now) + by;
        Ok(())
    }

    fn logs(&mut self, cell: &str) -> Vec<String> {
        self.cell(cell).expect("it is there").log.clone()
    }

    fn home_is_there(&self, home: &str) -> bool {
        let there = |cell: &Cell| !matches!(cell.state, State::Destroyed { .. }) && cell.agents.values().any(|agent| agent.home == home);
        self.cells.iter().any(there)
    }

    fn wait(&mut self, time: Duration) {
        self.now += time;
    }

    fn variable_of_the_operator(&self) -> (String, String) {
        ("OPERATORS_TOKEN".into(), "none of it is real".into())
    }
}
