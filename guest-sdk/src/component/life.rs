//! The one instance of a component's agent.

use std::{
    cell::RefCell,
    time::{Duration, UNIX_EPOCH},
};

use super::generated::exports::lazarus::cell::agent as wit;
use crate::{Agent, Beginning, Cell, Failure, Message};

/// An agent, whatever its type.
trait Alive {
    fn message(&mut self, message: &Message) -> Result<(), Failure>;
    fn tick(&mut self) -> Result<(), Failure>;
    fn close(&mut self);
}

struct Life<A> {
    agent: A,
    cell: Cell,
}

impl<A: Agent> Alive for Life<A> {
    fn message(&mut self, message: &Message) -> Result<(), Failure> {
        self.agent.message(&self.cell, message)
    }

    fn tick(&mut self) -> Result<(), Failure> {
        self.agent.tick(&self.cell)
    }

    fn close(&mut self) {
        self.agent.close(&self.cell);
    }
}

thread_local! {
    static LIFE: RefCell<Option<Box<dyn Alive>>> = const { RefCell::new(None) };
}

fn with(event: impl FnOnce(&mut dyn Alive) -> Result<(), Failure>) -> Result<(), wit::Failure> {
    let done = LIFE.with_borrow_mut(|life| match life {
        Some(life) => event(life.as_mut()),
        None => Err(Failure::retry("the agent was not started")),
    });
    done.map_err(|failure| match failure {
        Failure::Retry(why) => wit::Failure::Retry(why),
        Failure::Park(why) => wit::Failure::Park(why),
    })
}

pub fn start<A: Agent>(beginning: wit::Beginning) -> Result<(), String> {
    let beginning = match beginning {
        wit::Beginning::First => Beginning::First,
        wit::Beginning::Woken => Beginning::Woken,
        wit::Beginning::Again => Beginning::Again,
        wit::Beginning::Resurrected => Beginning::Resurrected,
    };
    let cell = super::host::cell();
    let mut agent = A::default();
    agent.start(&cell, beginning).map_err(|failure| failure.to_string())?;
    LIFE.set(Some(Box::new(Life { agent, cell })));
    Ok(())
}

pub fn message(message: wit::Message) -> Result<(), wit::Failure> {
    let message = from_wit(message);
    with(|life| life.message(&message))
}

pub fn tick() -> Result<(), wit::Failure> {
    with(|life| life.tick())
}

pub fn close() {
    // An agent that never started has nothing to close.
    let _ = with(|life| {
        life.close();
        Ok(())
    });
}

pub(super) fn from_wit(message: wit::Message) -> Message {
    let wit::Message { id, sender, receiver, text, in_reply_to, sent_at, attempt } = message;
    let sent_at = UNIX_EPOCH.checked_add(Duration::from_millis(sent_at)).unwrap_or(UNIX_EPOCH);
    Message { id, sender, receiver, text, in_reply_to, sent_at, attempt }
}
