//! A cell with one agent in it, and the test as everybody else.

use std::{
    any::Any,
    cell::RefCell,
    collections::VecDeque,
    panic::{AssertUnwindSafe, catch_unwind},
    path::PathBuf,
    rc::Rc,
    time::{Duration, SystemTime},
};

use super::{
    directory::Directory,
    double,
    event::{Event, Outcome},
    rights::is_identity,
    world::{UnderWay, World},
};
use crate::{Agent, Artifact, Beginning, Cell, Level, Member, Message, Role};

/// The double of a cell, with one agent of type `A` in it: `agent:tested`, an executor, together with `human:owner`, a director.
///
/// The agent is started by its first event.
///
/// ```
/// use lazarus_guest::{Agent, Cell, Failure, Message, Role, testing::{Outcome, TestCell}};
///
/// #[derive(Default)]
/// struct Watch;
/// impl Agent for Watch {
///     fn message(&mut self, cell: &Cell, message: &Message) -> Result<(), Failure> {
///         cell.send("agent:writer", &message.text)?; // Not what an observer may: `?` parks the message.
///         Ok(())
///     }
/// }
///
/// let mut cell = TestCell::<Watch>::new().role(Role::Observer).member("agent:writer", Role::Executor);
/// let event = cell.message("human:owner", "tell the writer");
/// assert!(matches!(event.outcome(), Outcome::Park(why) if why.contains("needs role executor")));
/// assert!(event.sent().is_empty());
/// ```
pub struct TestCell<A: Agent> {
    world: Rc<RefCell<World>>,
    instance: Option<(A, Cell)>,
    next: Beginning,
}

impl<A: Agent> Default for TestCell<A> {
    fn default() -> Self {
        Self::new()
    }
}

/// Who and what is there before the agent starts.
impl<A: Agent> TestCell<A> {
    /// Makes a cell, with a fresh home and an empty `/shared`, both in the system's temporary place.
    ///
    /// # Panics
    /// The directories cannot be made.
    pub fn new() -> Self {
        let directory = |label| Rc::new(Directory::new(label).expect("the temporary place can be written to"));
        let me = Member { identity: "agent:tested".to_owned(), role: Role::Executor };
        let owner = Member { identity: "human:owner".to_owned(), role: Role::Director };
        let world = World {
            members: vec![owner, me.clone()],
            me,
            project: "test".to_owned(),
            ttl_left: Some(Duration::from_secs(3600)),
            home: directory("home"),
            shared: directory("shared"),
            accepted: Vec::new(),
            waiting: VecDeque::new(),
            log: Vec::new(),
            artifacts: Vec::new(),
            audit: Vec::new(),
            beats: 0,
            closing: false,
            event: None,
            next_id: 0,
        };
        Self { world: Rc::new(RefCell::new(world)), instance: None, next: Beginning::First }
    }

    /// Gives the agent a role. `/shared` is then read-only for observers and auditors, except where the tests run as root, who writes
    /// everywhere.
    pub fn role(self, role: Role) -> Self {
        {
            let mut world = self.world.borrow_mut();
            world.me.role = role;
            let me = world.me.identity.clone();
            world.members.iter_mut().filter(|member| member.identity == me).for_each(|member| member.role = role);
        }
        self.lock_shared();
        self
    }

    /// Gives the agent an identity, such as `agent:fetch`.
    ///
    /// # Panics
    /// It is none.
    #[track_caller]
    pub fn named(self, identity: &str) -> Self {
        assert!(is_identity(identity), "{identity:?} is no identity: agent:NAME, bot:NAME or human:NAME");
        {
            let mut world = self.world.borrow_mut();
            let old = std::mem::replace(&mut world.me.identity, identity.to_owned());
            world.members.iter_mut().filter(|member| member.identity == old).for_each(|member| member.identity = identity.to_owned());
        }
        self
    }

    /// Adds a member.
    ///
    /// # Panics
    /// What was given is no identity.
    #[track_caller]
    pub fn member(self, identity: &str, role: Role) -> Self {
        assert!(is_identity(identity), "{identity:?} is no identity: agent:NAME, bot:NAME or human:NAME");
        self.world.borrow_mut().members.push(Member { identity: identity.to_owned(), role });
        self
    }

    /// Lets two agents share one `/shared`, as the members of a team do.
    pub fn sharing_with<B: Agent>(self, other: &TestCell<B>) -> Self {
        let shared = Rc::clone(&other.world.borrow().shared);
        self.world.borrow_mut().shared = shared;
        self
    }

    /// Says how long the cell still lives; none for ever.
    pub fn ttl_left(self, left: Option<Duration>) -> Self {
        self.world.borrow_mut().ttl_left = left;
        self
    }

    fn lock_shared(&self) {
        let world = self.world.borrow();
        world.shared.read_only(!world.me.role.writes_shared());
    }
}

/// What happens to the agent.
impl<A: Agent> TestCell<A> {
    /// Starts the agent, if it is not; its first event does that by itself.
    #[must_use = "the event may have failed: look at its outcome, its reply, or call `done`"]
    pub fn start(&mut self) -> Event {
        self.event(None, |_, _| Ok(()))
    }

    /// Delivers a new message.
    ///
    /// # Panics
    /// The sender is no member: add it with [`TestCell::member`].
    #[must_use = "the event may have failed: look at its outcome, its reply, or call `done`"]
    #[track_caller]
    pub fn message(&mut self, sender: &str, text: &str) -> Event {
        let message = self.accept(sender, text);
        self.deliver(message)
    }

    /// Delivers the message of an event again, as Lazarus does after a failure, or when the machine stopped before the success was written
    /// down: the same id, the next attempt.
    ///
    /// # Panics
    /// That event had no message.
    #[must_use = "the event may have failed: look at its outcome, its reply, or call `done`"]
    #[track_caller]
    pub fn again(&mut self, event: &Event) -> Event {
        let message = event.message.clone().expect("a tick, a start or a close is not delivered again");
        self.deliver(Message { attempt: message.attempt + 1, ..message })
    }

    /// Puts a message into the mailbox, where [`Cell::receive`] finds it; returns its id.
    ///
    /// # Panics
    /// As [`TestCell::message`].
    #[track_caller]
    pub fn waiting(&mut self, sender: &str, text: &str) -> String {
        let message = self.accept(sender, text);
        let id = message.id.clone();
        self.world.borrow_mut().waiting.push_back(message);
        id
    }

    /// Lets the time of a tick pass.
    #[must_use = "the event may have failed: look at its outcome, its reply, or call `done`"]
    pub fn tick(&mut self) -> Event {
        self.event(None, |agent, cell| agent.tick(cell))
    }

    /// Lets the idle time pass: the instance is dropped, and the next event makes one from the home.
    pub fn idle(&mut self) {
        if self.instance.take().is_some() {
            self.next = Beginning::Woken;
        }
    }

    /// Lets the cell be closed and resurrected, or its host end, without a word to the agent.
    pub fn resurrect(&mut self) {
        if self.instance.take().is_some() || self.next != Beginning::First {
            self.next = Beginning::Resurrected;
        }
    }

    /// Closes the cell. An agent that is idle is not asked.
    pub fn close(&mut self) -> Event {
        self.world.borrow_mut().closing = true;
        let Some((mut agent, cell)) = self.instance.take() else {
            return Event { outcome: Outcome::Done, message: None, sent: Vec::new() };
        };
        self.world.borrow_mut().event = Some(UnderWay::default());
        let outcome = caught(|| {
            agent.close(&cell);
            Outcome::Done
        });
        self.next = Beginning::Resurrected;
        self.settle(outcome, None)
    }

    #[track_caller]
    fn accept(&mut self, sender: &str, text: &str) -> Message {
        let mut world = self.world.borrow_mut();
        assert!(world.role_of(sender).is_some(), "{sender} is not in the cell: add it with `.member({sender:?}, Role::…)`");
        let message = Message {
            id: world.id(),
            sender: sender.to_owned(),
            receiver: world.me.identity.clone(),
            text: text.to_owned(),
            in_reply_to: None,
            sent_at: SystemTime::now(),
            attempt: 1,
        };
        world.accepted.push(message.clone());
        message
    }

    fn deliver(&mut self, message: Message) -> Event {
        let shown = message.clone();
        self.event(Some(message), move |agent, cell| agent.message(cell, &shown))
    }

    fn event(&mut self, message: Option<Message>, handler: impl FnOnce(&mut A, &Cell) -> Result<(), crate::Failure>) -> Event {
        self.world.borrow_mut().event = Some(UnderWay::default());
        if self.instance.is_none() {
            let cell = double::cell(&self.world);
            let mut agent = A::default();
            let started = caught(|| match agent.start(&cell, self.next) {
                Ok(()) => Outcome::Done,
                Err(failure) => Outcome::Lost(format!("start: {failure}")),
            });
            if started != Outcome::Done {
                // A first start that failed is no life that could be gone on with.
                if self.next != Beginning::First {
                    self.next = Beginning::Again;
                }
                return self.settle(started, message);
            }
            self.instance = Some((agent, cell));
            self.next = Beginning::Again;
        }
        if let Some(event) = &mut self.world.borrow_mut().event {
            event.message = message.clone();
        }
        let outcome = match &mut self.instance {
            Some((agent, cell)) => caught(|| handler(agent, cell).into()),
            None => Outcome::Lost("it was not started".to_owned()),
        };
        self.settle(outcome, message)
    }

    /// Ends the event: what it sent is accepted if it succeeded, and never happened if not.
    fn settle(&mut self, outcome: Outcome, message: Option<Message>) -> Event {
        let mut world = self.world.borrow_mut();
        let UnderWay { mut sent, received, close, .. } = world.event.take().unwrap_or_default();
        if outcome == Outcome::Done {
            world.accepted.extend(sent.iter().cloned());
            world.closing |= close;
        } else {
            sent.clear();
            received.into_iter().rev().for_each(|message| world.waiting.push_front(Message { attempt: message.attempt + 1, ..message }));
        }
        drop(world);
        if matches!(outcome, Outcome::Lost(_)) {
            self.instance = None;
        }
        Event { outcome, message, sent }
    }
}

/// What is there afterwards.
impl<A: Agent> TestCell<A> {
    /// Returns the agent's home.
    pub fn home(&self) -> PathBuf {
        self.world.borrow().home.path().to_owned()
    }

    /// Returns what the members share.
    pub fn shared(&self) -> PathBuf {
        self.world.borrow().shared.path().to_owned()
    }

    /// Returns the lines that the agent has logged, whatever came of the events.
    pub fn log(&self) -> Vec<(Level, String)> {
        self.world.borrow().log.clone()
    }

    /// Returns what the agent has declared.
    pub fn artifacts(&self) -> Vec<Artifact> {
        self.world.borrow().artifacts.clone()
    }

    /// Returns who is in the cell, those included whom the agent has invited.
    pub fn members(&self) -> Vec<Member> {
        self.world.borrow().members.clone()
    }

    /// Returns the rows of the double's audit: refusals and invitations.
    pub fn audit(&self) -> Vec<String> {
        self.world.borrow().audit.clone()
    }

    /// Returns how often the agent beat.
    pub fn beats(&self) -> u32 {
        self.world.borrow().beats
    }

    /// Tells whether the cell was closed: by the test, or by a director's event that succeeded.
    pub fn is_closing(&self) -> bool {
        self.world.borrow().closing
    }
}

/// A panic is to a native test what a trap is to a component.
fn caught(event: impl FnOnce() -> Outcome) -> Outcome {
    catch_unwind(AssertUnwindSafe(event)).unwrap_or_else(|panic| Outcome::Lost(words(&*panic)))
}

fn words(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned()).or_else(|| panic.downcast_ref::<String>().cloned());
    text.unwrap_or_else(|| "it panicked".to_owned())
}
