//! The double as what carries an agent's calls.

use std::{cell::RefCell, rc::Rc, time::Duration};

use super::world::World;
use crate::{Artifact, Cell, Level, Member, Message, Refusal, Role, cell::Host};

/// The id of every double.
const CELL_ID: &str = "laz-00000000";

struct Double(Rc<RefCell<World>>);

/// The cell that a tested agent is given.
pub fn cell(world: &Rc<RefCell<World>>) -> Cell {
    let (home, shared) = {
        let world = world.borrow();
        let home = (world.me.role != Role::Auditor).then(|| world.home.path().to_owned());
        (home, Some(world.shared.path().to_owned()))
    };
    Cell::new(Box::new(Double(Rc::clone(world))), home, shared)
}

impl Double {
    fn call<T>(&self, name: &str, act: impl FnOnce(&mut World) -> Result<T, Refusal>) -> Result<T, Refusal> {
        let mut world = self.0.borrow_mut();
        let done = act(&mut world);
        world.note(name, done)
    }
}

impl Host for Double {
    fn me(&self) -> Member {
        self.0.borrow().me.clone()
    }

    fn id(&self) -> String {
        CELL_ID.to_owned()
    }

    fn project(&self) -> String {
        self.0.borrow().project.clone()
    }

    fn ttl_left(&self) -> Option<Duration> {
        self.0.borrow().ttl_left
    }

    fn members(&self) -> Result<Vec<Member>, Refusal> {
        Ok(self.0.borrow().members.clone())
    }

    fn invite(&self, guest: &str, role: Role) -> Result<Option<String>, Refusal> {
        self.call("invite", |world| world.invite(guest, role))
    }

    fn close(&self) -> Result<(), Refusal> {
        self.call("close", World::close)
    }

    fn audit(&self, most: u32) -> Result<Vec<String>, Refusal> {
        self.call("audit", |world| world.rows(most))
    }

    fn send(&self, receiver: &str, text: &str) -> Result<String, Refusal> {
        self.call("send", |world| world.send(receiver, text))
    }

    fn reply(&self, text: &str) -> Result<String, Refusal> {
        self.call("reply", |world| world.reply(text))
    }

    fn receive(&self) -> Result<Option<Message>, Refusal> {
        self.call("receive", World::receive)
    }

    fn history(&self, after: Option<&str>, most: u32) -> Result<Vec<Message>, Refusal> {
        self.call("history", |world| world.history(after, most))
    }

    fn write(&self, level: Level, text: &str) {
        self.0.borrow_mut().write(level, text);
    }

    fn beat(&self) {
        self.0.borrow_mut().beats += 1;
    }

    fn declare(&self, path: &str, name: &str) -> Result<Artifact, Refusal> {
        self.call("declare", |world| world.declare(path, name))
    }
}
