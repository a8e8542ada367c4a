//! What becomes of what an event held: decided here, purely, and committed in one go.

use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};

use super::{
    Post,
    desk::{Held, Parcel},
};
use crate::{
    backend::protocol::Outcome,
    cell::{AgentName, Identity},
    registry::{FailedDelivery, RegistryError, Settlement},
    warden::life::describe,
};

/// Deliveries of one message, at the most; then it is parked.
pub const ATTEMPTS_MOST: u32 = 5;
/// The pause after the first delivery in vain; each later one is four times as long: 0.2, 0.8, 3.2, 12.8 s.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
/// How long an agent gets nothing after what it did could not be recorded.
pub(super) const UNRECORDED_PAUSE: Duration = Duration::from_secs(1);

/// When a message may be delivered again whose delivery was in vain; `None` when that was the last.
pub fn retry_at(attempt: u32, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let pause = FIRST_PAUSE * 4_u32.pow(attempt.saturating_sub(1).min(ATTEMPTS_MOST));
    (attempt < ATTEMPTS_MOST).then(|| now + pause)
}

/// What an event's end does to the messages that it held. Only one that ended well has sent anything.
pub fn settlement(held: Held, outcome: &Outcome, now: DateTime<Utc>) -> Settlement {
    let failed = |message: &Parcel, why: &str, retry_at| FailedDelivery { id: message.id.clone(), why: why.to_owned(), retry_at };
    match outcome {
        Outcome::Done => {
            Settlement { handled: held.received().map(|message| message.id.clone()).collect(), failed: Vec::new(), sent: held.sent }
        }
        Outcome::Retry { why } => again(&held, why, now),
        Outcome::Lost { end } => again(&held, &describe(end), now),
        Outcome::Park { why } => {
            // The agent speaks of the message that it was given; those that it took besides were only in the way.
            let given = held.given.iter().map(|message| failed(message, why, None));
            let taken = held.taken.iter().map(|message| failed(message, why, retry_at(message.attempt, now)));
            Settlement { failed: given.chain(taken).collect(), ..Settlement::default() }
        }
    }
}

fn again(held: &Held, why: &str, now: DateTime<Utc>) -> Settlement {
    let failed =
        |message: &Parcel| FailedDelivery { id: message.id.clone(), why: why.to_owned(), retry_at: retry_at(message.attempt, now) };
    Settlement { failed: held.received().map(failed).collect(), ..Settlement::default() }
}

impl Post {
    /// An agent's event is over: what it held leaves its desk.
    pub(super) fn event_over(&mut self, agent: &AgentName, held: Held, outcome: &Outcome) {
        let now = Instant::now();
        let Some(desk) = self.desks.get_mut(agent) else { return };
        let identity = desk.tenant.identity.clone();
        let closes = held.closes && *outcome == Outcome::Done;
        let settlement = if desk.revoked { Settlement::default() } else { settlement(held, outcome, Utc::now()) };
        if self.commit(&identity, &settlement).is_err()
            && let Some(desk) = self.desks.get_mut(agent)
        {
            // Nothing of it happened, then: its messages still wait, and come again when the registry can be written to, perhaps.
            desk.not_before = Some(now + UNRECORDED_PAUSE);
            self.look_later();
            return;
        }
        if closes {
            self.orders.push(super::Order::Close { by: identity.clone() });
        }
        self.serve_soon(identity);
    }

    /// Commits a settlement, tells those who wait for it, and notes for whom there is something new.
    pub(super) fn commit(&mut self, receiver: &Identity, settlement: &Settlement) -> Result<(), RegistryError> {
        if *settlement == Settlement::default() {
            return Ok(());
        }
        let registry = self.shelf.open()?;
        let sent = registry.settle(&self.cell, receiver, settlement, &receiver.to_string())?;
        self.waiters.settled(settlement, &sent, |id| registry.answer_to(&self.cell, id).ok().flatten());
        if let Some(at) = settlement.failed.iter().filter_map(|failed| failed.retry_at).min() {
            self.retry_at = Some(self.retry_at.map_or(at, |earlier| earlier.min(at)));
        }
        for message in sent {
            self.serve_soon(message.receiver);
        }
        Ok(())
    }
}
