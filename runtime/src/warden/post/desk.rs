//! One agent that lives by events, as the post office sees it: pure, told the time.
//!
//! ```text
//!              ready                     give, tick
//!  Starting ──────────→ Free ─────────────────────────────→ Busy
//!  (event 0)              ↑ └─ idle: asleep, still free       │
//!      ↑                  └──────────── over ─────────────────┤
//!      └── again ── Away ←──────── its host ended ────────────┘
//! ```
//!
//! A desk has one event at a time, and an event one call at a time. What an event sends and takes is held here, and leaves with it, whole:
//! whoever ends an event gets it back as a [`Held`], and decides what becomes of that ([`super::settle`]).

use std::time::{Duration, Instant};

use crate::{
    cell::{Identity, Role},
    mail::{Draft, Message, MessageId},
};

/// Messages that one event may send, and messages that it may take besides the one that it handles.
pub const PER_EVENT_MOST: usize = 64;
/// What an event may take beyond its own limit before the warden ends its host: the host ends it at the limit.
pub const BACKSTOP: Duration = Duration::from_secs(15);

/// A message that somebody has, without its text: what settling it takes. Texts would add up in the warden's memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parcel {
    /// The message.
    pub id: MessageId,
    /// Who sent it.
    pub sender: Identity,
    /// Which delivery this is.
    pub attempt: u32,
}

impl Parcel {
    /// What is kept of a message that is given away.
    pub fn of(message: &Message) -> Self {
        Self { id: message.id.clone(), sender: message.sender.clone(), attempt: message.attempt }
    }
}

/// A word of a host that no host says: the end of that host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fault;

/// What an event holds until it is over.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Held {
    /// The message that it handles; none in a tick and in a start.
    pub given: Option<Parcel>,
    /// Those that it took besides.
    pub taken: Vec<Parcel>,
    /// Those that it sends.
    pub sent: Vec<Draft>,
    /// Whether its director wants the cell closed.
    pub closes: bool,
}

impl Held {
    /// The messages that it was given and took.
    pub fn received(&self) -> impl Iterator<Item = &Parcel> {
        self.given.iter().chain(&self.taken)
    }
}

/// An event in flight.
#[derive(Debug)]
struct Event {
    number: u64,
    held: Held,
    /// The call that waits for its answer.
    call: Option<u64>,
    /// When its host has failed to end it.
    until: Option<Instant>,
}

impl Event {
    const fn new(number: u64, held: Held, until: Option<Instant>) -> Self {
        Self { number, held, call: None, until }
    }
}

#[derive(Debug)]
enum Work {
    /// Its start is under way: event 0. Whoever started it watches the time.
    Starting(Event),
    Free,
    Busy(Event),
    /// Its host ended.
    Away,
}

/// When an agent is called without a message.
#[derive(Debug)]
struct Ticker {
    every: Duration,
    next: Instant,
}

/// What an agent is, that does not change while it runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tenant {
    /// Who.
    pub identity: Identity,
    /// As what.
    pub role: Role,
    /// What an event may take.
    pub event: Duration,
    /// How often it is called without a message.
    pub tick: Option<Duration>,
}

/// One agent's desk.
#[derive(Debug)]
pub struct Desk {
    /// Whose it is.
    pub tenant: Tenant,
    /// Its host: which of the warden's children.
    pub child: usize,
    /// Whose message it had last: the next is that of whoever comes after, in turn.
    pub last_sender: Option<Identity>,
    /// Nothing is given before: what it did could not be recorded.
    pub not_before: Option<Instant>,
    /// What its start sent, which is not accepted yet.
    pub started: Option<Held>,
    /// It is no member any more: it gets nothing, and what it asks is refused.
    pub revoked: bool,
    work: Work,
    events: u64,
    ticker: Option<Ticker>,
    asleep: bool,
}

impl Desk {
    /// The desk of an agent that is being started.
    pub const fn new(tenant: Tenant, child: usize) -> Self {
        let work = Work::Starting(Event::new(0, Held { given: None, taken: Vec::new(), sent: Vec::new(), closes: false }, None));
        Self {
            tenant,
            child,
            last_sender: None,
            not_before: None,
            started: None,
            revoked: false,
            work,
            events: 0,
            ticker: None,
            asleep: false,
        }
    }

    /// Its start went well: gives what that holds. `None` where it was not starting.
    pub fn ready(&mut self, now: Instant) -> Option<Held> {
        let Work::Starting(event) = std::mem::replace(&mut self.work, Work::Free) else { return None };
        self.ticker = self.tenant.tick.map(|every| Ticker { every, next: now + every });
        Some(event.held)
    }

    /// Its host ended: gives what the event in flight held.
    pub fn away(&mut self) -> Option<Held> {
        self.asleep = false;
        match std::mem::replace(&mut self.work, Work::Away) {
            Work::Starting(event) | Work::Busy(event) => Some(event.held),
            Work::Free | Work::Away => None,
        }
    }

    /// It is started again, in another host.
    pub fn again(&mut self, child: usize) {
        self.child = child;
        self.work = Work::Starting(Event::new(0, Held::default(), None));
    }

    /// Whether it can be given something.
    pub fn is_free(&self, now: Instant) -> bool {
        matches!(self.work, Work::Free) && !self.revoked && self.not_before.is_none_or(|at| now >= at)
    }

    /// Whether its memory was dropped, and nothing happened since.
    pub const fn is_asleep(&self) -> bool {
        self.asleep
    }

    /// Begins an event with a message; its number. `None` where it is not free.
    pub fn give(&mut self, message: &Message, now: Instant) -> Option<u64> {
        let number = self.begin(Held { given: Some(Parcel::of(message)), ..Held::default() }, now)?;
        self.last_sender = Some(message.sender.clone());
        Some(number)
    }

    /// Begins an event because its time has come round; its number. Without room in its host it is missed, and what was missed is not caught
    /// up.
    pub fn tick(&mut self, now: Instant, has_room: bool) -> Option<u64> {
        if self.tick_at().is_none_or(|at| now < at) {
            return None;
        }
        let number = if has_room { self.begin(Held::default(), now) } else { None };
        if let Some(ticker) = &mut self.ticker {
            ticker.next = now + ticker.every;
        }
        number
    }

    fn begin(&mut self, held: Held, now: Instant) -> Option<u64> {
        if !self.is_free(now) {
            return None;
        }
        self.events += 1;
        self.asleep = false;
        self.not_before = None;
        self.work = Work::Busy(Event::new(self.events, held, Some(now + self.tenant.event + BACKSTOP)));
        Some(self.events)
    }

    /// An event is over: gives what it held.
    ///
    /// # Errors
    /// It was not given.
    pub fn over(&mut self, number: u64) -> Result<Held, Fault> {
        match std::mem::replace(&mut self.work, Work::Free) {
            Work::Busy(event) if event.number == number => Ok(event.held),
            other => {
                self.work = other;
                Err(Fault)
            }
        }
    }

    /// Its memory was dropped. Means nothing where something happened meanwhile.
    pub const fn rested(&mut self) {
        if matches!(self.work, Work::Free) {
            self.asleep = true;
        }
    }

    /// A call begins. Whether the caller is in an event.
    ///
    /// # Errors
    /// Another call waits for its answer.
    pub const fn call(&mut self, number: u64) -> Result<bool, Fault> {
        match &mut self.work {
            Work::Starting(event) | Work::Busy(event) => {
                if event.call.is_some() {
                    return Err(Fault);
                }
                event.call = Some(number);
                Ok(true)
            }
            Work::Free | Work::Away => Ok(false),
        }
    }

    /// A call is answered. Whether anybody still waits for that: not after the end of its event.
    pub fn answered(&mut self, number: u64) -> bool {
        self.event_mut().and_then(|event| event.call.take_if(|waiting| *waiting == number)).is_some()
    }

    /// What the event in flight holds.
    pub const fn held(&self) -> Option<&Held> {
        match &self.work {
            Work::Starting(event) | Work::Busy(event) => Some(&event.held),
            Work::Free | Work::Away => None,
        }
    }

    /// What the event in flight holds, to add to it.
    pub fn held_mut(&mut self) -> Option<&mut Held> {
        self.event_mut().map(|event| &mut event.held)
    }

    const fn event_mut(&mut self) -> Option<&mut Event> {
        match &mut self.work {
            Work::Starting(event) | Work::Busy(event) => Some(event),
            Work::Free | Work::Away => None,
        }
    }

    /// The messages that it must not be given again.
    pub fn in_hand(&self) -> Vec<MessageId> {
        self.held().map(|held| held.received().map(|message| message.id.clone()).collect()).unwrap_or_default()
    }

    /// When its time comes round; only while nothing else happens to it.
    pub fn tick_at(&self) -> Option<Instant> {
        match (&self.work, &self.ticker, self.revoked) {
            (Work::Free, Some(ticker), false) => Some(ticker.next),
            (Work::Free | Work::Starting(_) | Work::Busy(_) | Work::Away, _, _) => None,
        }
    }

    /// Whether its host has failed to end its event; said once.
    pub fn is_overdue(&mut self, now: Instant) -> bool {
        match &mut self.work {
            Work::Busy(event) => event.until.take_if(|at| now >= *at).is_some(),
            Work::Starting(_) | Work::Free | Work::Away => false,
        }
    }

    /// When its host will have failed to end its event.
    pub const fn overdue_at(&self) -> Option<Instant> {
        match &self.work {
            Work::Busy(event) => event.until,
            Work::Starting(_) | Work::Free | Work::Away => None,
        }
    }
}
