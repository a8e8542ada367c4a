//! What a guest was refused for a limit and lived on without: told to the warden, now and then.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use super::outbox::Outbox;
use crate::{backend::protocol::FromChild, cell::AgentName, policy::LimitName};

/// A guest's hits at one limit are told at most once in this time, together.
const TELL_EVERY: Duration = Duration::from_secs(1);

/// Hits at one limit that were not told yet.
#[derive(Debug, Default)]
struct Tally {
    count: u64,
    told: Option<Instant>,
}

/// The hits of one guest.
#[derive(Debug)]
pub struct Strikes {
    outbox: Arc<Outbox>,
    index: u16,
    agent: AgentName,
    tallies: Mutex<BTreeMap<LimitName, Tally>>,
}

impl Strikes {
    /// None yet.
    pub const fn new(outbox: Arc<Outbox>, index: u16, agent: AgentName) -> Self {
        Self { outbox, index, agent, tallies: Mutex::new(BTreeMap::new()) }
    }

    /// The guest was refused something.
    pub fn hit(&self, limit: LimitName) {
        let mut tallies = self.tallies.lock().unwrap_or_else(PoisonError::into_inner);
        let tally = tallies.entry(limit).or_default();
        tally.count = tally.count.saturating_add(1);
        if tally.told.is_none_or(|told| told.elapsed() >= TELL_EVERY) {
            tally.told = Some(Instant::now());
            let count = std::mem::take(&mut tally.count);
            self.outbox.say(self.index, &FromChild::Limit { agent: self.agent.clone(), limit, count });
        }
    }

    /// Tells what was not told yet: the guest ends, or its memory is dropped.
    pub fn tell_rest(&self) {
        let mut tallies = self.tallies.lock().unwrap_or_else(PoisonError::into_inner);
        for (limit, tally) in tallies.iter_mut().filter(|(_, tally)| tally.count > 0) {
            tally.told = Some(Instant::now());
            let count = std::mem::take(&mut tally.count);
            self.outbox.say(self.index, &FromChild::Limit { agent: self.agent.clone(), limit: *limit, count });
        }
    }
}
