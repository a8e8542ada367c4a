//! The post office of a cell: carries messages between its members, and carries out what they ask of their cell.
//!
//! ```text
//!  registry ── next_message ──→ desk: one event at a time ── ToChild::Event ──→ host ─ handler
//!     ↑                           │  held: what it sends and takes   ←─ Call, Answer ─┤
//!     └──── settle: one commit ───┴──────────────────────────────── EventOver ────────┘
//!
//!  a message:  waiting ─ given ─┬─ Done ────────→ handled, and what the event sent is waiting
//!                 ↑             ├─ Retry, Lost ─→ waiting again after a pause; the fifth time parked
//!                 └── warden ───┤
//!                     died      └─ Park ────────→ parked
//! ```
//!
//! - [`desk`]: one agent that lives by events, a pure machine; [`settle`]: what its event's end does to messages; [`pump`]: who is next.
//! - [`call`] carries out what members ask, with [`letters`] (messages) and [`errand`] (what takes longer); [`rate`] bounds how often.
//! - [`lines`]: members that do not live by events, a process agent's socket and a person who joined. Their way in is a [`Line`]: the task
//!   of the socket sends [`LineEvent`]s to the event loop, which calls [`Post::open`], [`Post::call`] and [`Post::close`].
//! - [`roster`], [`shelf`], [`waiters`]: who is here, the registry, and who waits to hear of a message.
//!
//! Nothing that counts is only here: an accepted message is in the registry until it is settled, so a warden that dies loses none. What the
//! post office wants done outside of it (packets, a closing cell, a command) it puts into [`Post::outbox`] and [`Post::orders`].

mod call;
mod desk;
mod errand;
mod letters;
mod line;
mod lines;
mod people;
mod pump;
mod rate;
mod roster;
mod settle;
mod shelf;
mod traffic;
mod waiters;

use std::{
    collections::{BTreeMap, HashMap, HashSet, VecDeque},
    path::PathBuf,
    time::Instant,
};

use chrono::{DateTime, Utc};
use tokio::sync::mpsc;

pub use desk::{Fault, Tenant};
pub use errand::{Done, Errand, Invitation, keep};
pub use line::{Answers, Caller, Line, LineEvent, Opened, Who};

use self::{
    call::{Account, From},
    desk::Desk,
    lines::Lines,
    roster::Roster,
    shelf::Shelf,
    waiters::Waiters,
};
use super::spec::Answer;
use crate::{
    backend::protocol::{End, Outcome, ToChild},
    cell::{AgentName, CellId, Identity, Role},
    mail::MessageId,
    registry::{RegistryError, TransitionExtras},
    warden::duty::ACTOR,
};

/// What the post office wants the warden to do.
#[derive(Debug)]
pub enum Order {
    /// Close the cell.
    Close {
        /// The director who says so.
        by: Identity,
    },
    /// End a host: it does not end an event.
    End {
        /// Which of the warden's children.
        child: usize,
    },
    /// Copy a file of an agent's home; [`Post::done`] hears of it.
    Keep {
        /// Which order.
        ticket: u64,
        /// Whose home.
        agent: AgentName,
        /// The file, as the agent names it. Hostile.
        path: String,
    },
    /// Let somebody in; [`Post::done`] hears of it.
    Invite {
        /// Which order.
        ticket: u64,
        /// The director.
        by: Identity,
        /// Who.
        guest: Identity,
        /// As what.
        role: Role,
    },
}

/// A call whose answer comes later.
#[derive(Debug)]
struct Pending {
    from: From,
    answers: Option<Answers>,
    /// Of an artifact.
    name: String,
    is_invitation: bool,
}

/// The post office of one cell.
#[derive(Debug)]
pub struct Post {
    cell: CellId,
    shelf: Shelf,
    roster: Option<Roster>,
    desks: BTreeMap<AgentName, Desk>,
    lines: Lines,
    /// How many messages may wait for an agent.
    rooms: HashMap<Identity, u32>,
    accounts: HashMap<Identity, Account>,
    waiters: Waiters,
    /// Those for whom something may wait, in the order in which that became known; and the same as a set.
    queue: VecDeque<Identity>,
    to_serve: HashSet<Identity>,
    /// Hosts that have no room for another packet.
    full: HashSet<usize>,
    pending: BTreeMap<u64, Pending>,
    tickets: u64,
    retry_at: Option<DateTime<Utc>>,
    /// The cell is active, durably, and not closing.
    is_open: bool,
    is_closing: bool,
    /// The registry says that the cell is idle.
    is_resting: bool,
    /// An event was given since that was last asked.
    gave: bool,
    /// Packets to be sent, by child.
    pub outbox: Vec<(usize, ToChild)>,
    /// What is to be done.
    pub orders: Vec<Order>,
}

impl Post {
    /// The post office of a cell that is being made.
    pub fn new(root: PathBuf, cell: CellId) -> Self {
        Self {
            cell,
            shelf: Shelf::new(root, Instant::now()),
            roster: None,
            desks: BTreeMap::new(),
            lines: Lines::default(),
            rooms: HashMap::new(),
            accounts: HashMap::new(),
            waiters: Waiters::default(),
            queue: VecDeque::new(),
            to_serve: HashSet::new(),
            full: HashSet::new(),
            pending: BTreeMap::new(),
            tickets: 0,
            retry_at: None,
            is_open: false,
            is_closing: false,
            is_resting: false,
            gave: false,
            outbox: Vec::new(),
            orders: Vec::new(),
        }
    }

    /// An agent of any kind takes part: so many messages may wait for it.
    pub fn takes_part(&mut self, identity: Identity, messages: u32) {
        self.rooms.insert(identity, messages);
    }

    /// An agent that lives by events is being started in a host.
    pub fn move_in(&mut self, agent: AgentName, tenant: Tenant, child: usize) {
        self.desks.insert(agent, Desk::new(tenant, child));
    }

    /// Its host ended, and it is being started again in another.
    pub fn move_over(&mut self, agent: &AgentName, child: usize) {
        if let Some(desk) = self.desks.get_mut(agent) {
            desk.again(child);
        }
    }

    /// Its run is over: what it was given is waiting again, for a later run.
    pub fn move_out(&mut self, agent: &AgentName) {
        self.desks.remove(agent);
    }

    /// The cell is active, durably: from now on events are given, and early calls carried out.
    pub fn open_doors(&mut self) {
        self.is_open = true;
        self.member_came();
        self.pump();
    }

    /// Somebody became a member.
    pub fn member_came(&mut self) {
        self.roster = None;
        let started = self.desks.iter().filter(|(_, desk)| desk.started.is_some()).map(|(agent, _)| agent.clone());
        for agent in started.collect::<Vec<_>>() {
            self.settle_start(&agent);
        }
        for (caller, call, answers) in self.lines.take_early() {
            self.call(caller, call, answers);
        }
    }

    /// The cell is closing: no new events, and no waiting for messages.
    pub fn closing(&mut self) {
        self.is_open = false;
        self.is_closing = true;
        self.queue.clear();
        self.to_serve.clear();
        for (caller, call, answers) in self.lines.take_early() {
            self.carry_out_on_line(caller, call, answers);
        }
        self.count_denials(Instant::now(), true);
    }

    /// A member was revoked: it is hung up on, and gets nothing more.
    pub fn revoked(&mut self, member: &Identity) {
        self.roster = None;
        self.lines.hang_up(Some(member));
        for desk in self.desks.values_mut().filter(|desk| desk.tenant.identity == *member) {
            desk.revoked = true;
        }
    }

    /// An agent's start went well. What that sent is accepted once the cell is active, or the agent a member.
    pub fn ready(&mut self, agent: &AgentName) {
        let now = Instant::now();
        let Some(desk) = self.desks.get_mut(agent) else { return };
        let Some(held) = desk.ready(now) else { return };
        let identity = desk.tenant.identity.clone();
        desk.started = Some(held);
        // An invited agent is no member yet.
        if self.is_open && matches!(self.role_of(&identity), Ok(Some(_))) {
            self.settle_start(agent);
        }
    }

    fn settle_start(&mut self, agent: &AgentName) {
        if let Some(held) = self.desks.get_mut(agent).and_then(|desk| desk.started.take()) {
            self.event_over(agent, held, &Outcome::Done);
        }
    }

    /// An event is over.
    ///
    /// # Errors
    /// What no host says: another's agent, or an event that it was not given.
    pub fn over(&mut self, child: usize, agent: &AgentName, event: u64, outcome: &Outcome) -> Result<(), Fault> {
        let desk = self.desks.get_mut(agent).filter(|desk| desk.child == child).ok_or(Fault)?;
        let held = desk.over(event)?;
        self.event_over(agent, held, outcome);
        Ok(())
    }

    /// An agent's memory was dropped.
    pub fn rested(&mut self, child: usize, agent: &AgentName) {
        if let Some(desk) = self.desks.get_mut(agent).filter(|desk| desk.child == child) {
            desk.rested();
        }
    }

    /// A host ended: the events of its agents were in vain.
    pub fn host_ended(&mut self, child: usize, end: &End) {
        self.full.remove(&child);
        let lost: Vec<(AgentName, desk::Held)> = self
            .desks
            .iter_mut()
            .filter(|(_, desk)| desk.child == child)
            .filter_map(|(agent, desk)| Some((agent.clone(), desk.away()?)))
            .collect();
        if self.is_closing {
            return;
        }
        for (agent, held) in lost {
            self.event_over(&agent, held, &Outcome::Lost { end: end.clone() });
        }
    }

    /// Whether a host takes packets, as it was last seen.
    pub fn has_room(&mut self, child: usize, room: bool) {
        if !room {
            self.full.insert(child);
        } else if self.full.remove(&child) {
            self.pump();
        }
    }

    /// Tells somebody what becomes of a message, now or later.
    pub fn wait_for(&mut self, message: MessageId, answers: mpsc::UnboundedSender<Answer>) {
        let found = self.shelf.open().and_then(|registry| {
            let Some(row) = registry.mail(&self.cell, &message)? else { return Ok(None) };
            let answer = registry.answer_to(&self.cell, &message)?;
            Ok(Some((row, answer)))
        });
        let decided = match found {
            Ok(Some((row, answer))) => {
                // Whoever waits need not have said that there is something to be delivered.
                self.serve_soon(row.message.receiver);
                waiters::decided(&row.state, answer)
            }
            Ok(None) => Some(Answer::Refused { message: format!("no message {message} is in the cell") }),
            Err(error) => Some(Answer::Refused { message: format!("the registry could not be read: {error}") }),
        };
        match decided {
            Some(answer) => drop(answers.send(answer)),
            None => self.waiters.add(message, answers),
        }
    }

    /// Does what is due.
    pub fn due(&mut self, now: Instant) {
        self.shelf.tidy(now);
        self.lines.give_up(now);
        self.count_denials(now, false);
        let stuck: HashSet<usize> = self.desks.values_mut().filter_map(|desk| desk.is_overdue(now).then_some(desk.child)).collect();
        self.orders.extend(stuck.into_iter().map(|child| Order::End { child }));
        self.tick(now);
        if self.retry_at.is_some_and(|at| Utc::now() >= at) {
            self.pump();
        }
        self.serve();
    }

    /// When something is due.
    pub fn due_at(&self, now: Instant) -> Option<Instant> {
        if self.has_more() {
            return Some(now);
        }
        let timers = [self.shelf.tidy_at(), self.lines.give_up_at(), self.count_denials_at()];
        let retry = self.retry_at.filter(|_| self.is_open).map(|at| now + (at - Utc::now()).to_std().unwrap_or_default());
        let desks = self.desks.values().filter(|_| self.is_open).flat_map(|desk| [desk.tick_at(), desk.overdue_at()]);
        timers.into_iter().chain([retry]).chain(desks).flatten().min()
    }

    /// What the registry should be told: that the cell rests, or that it wakes; `None` where it knows. Both only once.
    ///
    /// `alone`: nobody in the cell runs who does not live by events.
    pub fn news(&mut self, alone: bool) -> Option<crate::cell::Event> {
        let gave = std::mem::take(&mut self.gave);
        let rests = alone && self.is_open && !self.desks.is_empty() && self.desks.values().all(Desk::is_asleep);
        match (self.is_resting, gave, rests) {
            (true, true, _) => {
                self.is_resting = false;
                Some(crate::cell::Event::Wake)
            }
            (false, _, true) => {
                self.is_resting = true;
                Some(crate::cell::Event::Rest)
            }
            (true, false, _) | (false, _, false) => None,
        }
    }

    /// Tells the registry such news: through the connection that messages use, for a message waits meanwhile.
    ///
    /// # Errors
    /// The registry cannot be written to, or the cell is no longer where the news would change it.
    pub fn tell(&mut self, event: crate::cell::Event) -> Result<(), RegistryError> {
        self.shelf.open()?.transition(&self.cell, event, ACTOR, TransitionExtras::default()).map(drop)
    }

    /// Everyone who is here, believed for a little while.
    fn fresh_roster(&mut self) -> Result<&Roster, RegistryError> {
        let now = Instant::now();
        let roster = match self.roster.take().filter(|roster| !roster.is_stale(now)) {
            Some(roster) => roster,
            None => {
                let record = self.shelf.open()?.cell(&self.cell)?;
                Roster::of(&record.ok_or_else(|| RegistryError::NotFound(self.cell.clone()))?, now)
            }
        };
        Ok(self.roster.insert(roster))
    }

    /// As what somebody can be written to; `None` for a stranger.
    fn role_of(&mut self, identity: &Identity) -> Result<Option<Role>, RegistryError> {
        let roster = self.fresh_roster()?;
        if let Some(role) = roster.role_of(identity) {
            return Ok(Some(role));
        }
        if !roster.may_be_behind(Instant::now()) {
            return Ok(None);
        }
        self.roster = None;
        Ok(self.fresh_roster()?.role_of(identity))
    }
}

#[cfg(test)]
mod model_tests;
#[cfg(test)]
mod tests;
