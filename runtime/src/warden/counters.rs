//! Limits that a process agent ran into, as its control group counts them: nobody else would say so, where the agent lives on.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{
    jail::cgroup::{Cgroup, Hits},
    policy::LimitName,
};

/// The shortest time between two looks. There is no alarm for them: they are taken when the warden has something to do, such as to measure homes.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// What was seen of the counters of one agent.
#[derive(Debug)]
pub struct Counters {
    cgroup: Arc<Cgroup>,
    seen: Hits,
    next: Instant,
}

impl Counters {
    /// The counters of an agent that was just started.
    pub fn new(cgroup: &Arc<Cgroup>) -> Self {
        Self { cgroup: cgroup.clone(), seen: Hits::default(), next: Instant::now() + LOOK_EVERY }
    }

    /// Whether it is time to look.
    pub fn is_due(&self, now: Instant) -> bool {
        now >= self.next
    }

    /// Whether the kernel counts how often it ends processes for want of memory.
    pub fn has_memory(&self) -> bool {
        self.cgroup.holds().memory
    }

    /// Looks: which limits were hit since the last look, and how often.
    pub fn look(&mut self, now: Instant) -> Vec<(LimitName, u64)> {
        self.next = now + LOOK_EVERY;
        let hits = self.cgroup.hits();
        let since = [
            (LimitName::Memory, hits.memory.saturating_sub(self.seen.memory)),
            (LimitName::Processes, hits.processes.saturating_sub(self.seen.processes)),
        ];
        self.seen = hits;
        since.into_iter().filter(|(_, count)| *count > 0).collect()
    }
}
