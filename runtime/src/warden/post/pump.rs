//! Who is given what next: looked up in the registry, and put on its way.

use std::time::{Duration, Instant};

use chrono::Utc;

use super::Post;
use crate::{
    backend::protocol::{Occasion, ToChild},
    cell::{AgentName, Identity},
    registry::RegistryError,
};

/// Events given before whatever else happened is looked at again: one packet each.
const SERVED_AT_ONCE: usize = 16;
/// When a registry that could not be read or written is looked at again: longer than [`super::settle::UNRECORDED_PAUSE`].
const LOOK_AGAIN: Duration = Duration::from_millis(1100);

impl Post {
    /// Something may wait for anybody: looks who that is, to be served soon.
    pub fn pump(&mut self) {
        if !self.is_open {
            return;
        }
        if self.look().is_err() {
            self.look_later();
        }
    }

    fn look(&mut self) -> Result<(), RegistryError> {
        let now = Utc::now();
        let registry = self.shelf.open()?;
        let waiting = registry.receivers_waiting(&self.cell, now)?;
        self.retry_at = registry.next_retry_after(&self.cell, now)?;
        for receiver in waiting {
            self.serve_soon(receiver);
        }
        Ok(())
    }

    /// The registry could not be read or written: it is looked at again a little later.
    pub(super) fn look_later(&mut self) {
        let again = Utc::now() + LOOK_AGAIN;
        self.retry_at = Some(self.retry_at.map_or(again, |at| at.min(again)));
    }

    /// Notes that something may wait for somebody.
    pub(super) fn serve_soon(&mut self, receiver: Identity) {
        if self.to_serve.insert(receiver.clone()) {
            self.queue.push_back(receiver);
        }
    }

    /// Whether somebody is still to be served.
    pub fn has_more(&self) -> bool {
        self.is_open && !self.queue.is_empty()
    }

    /// Serves some of those for whom something may wait.
    pub fn serve(&mut self) {
        if !self.is_open {
            return;
        }
        for _ in 0..SERVED_AT_ONCE {
            let Some(receiver) = self.queue.pop_front() else { return };
            self.to_serve.remove(&receiver);
            let desk = receiver.startable().filter(|agent| self.desks.get(*agent).is_some_and(|desk| desk.tenant.identity == receiver));
            let served = match desk.cloned() {
                Some(agent) => self.give_next(&agent),
                None => self.serve_lines(&receiver),
            };
            if served.is_err() {
                self.look_later();
            }
        }
    }

    fn give_next(&mut self, agent: &AgentName) -> Result<(), RegistryError> {
        let now = Instant::now();
        let Some(desk) = self.desks.get_mut(agent) else { return Ok(()) };
        // A host that has no room is looked at again when it has.
        if !desk.is_free(now) || self.full.contains(&desk.child) {
            return Ok(());
        }
        let identity = &desk.tenant.identity;
        let next = self.shelf.open()?.next_message(&self.cell, identity, Utc::now(), &[], desk.last_sender.as_ref())?;
        let Some(message) = next else { return Ok(()) };
        if let Some(event) = desk.give(&message, now) {
            let occasion = Occasion::Message(message);
            self.outbox.push((desk.child, ToChild::Event { agent: agent.clone(), event, occasion }));
            self.gave = true;
        }
        Ok(())
    }

    /// Ticks those whose time has come round.
    pub(super) fn tick(&mut self, now: Instant) {
        if !self.is_open {
            return;
        }
        for (agent, desk) in &mut self.desks {
            if let Some(event) = desk.tick(now, !self.full.contains(&desk.child)) {
                self.outbox.push((desk.child, ToChild::Event { agent: agent.clone(), event, occasion: Occasion::Tick }));
                self.gave = true;
            }
        }
    }
}
