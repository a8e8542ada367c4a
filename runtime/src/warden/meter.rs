//! The CPU time of a process agent: all its processes together, counted by its control group, read here.
//!
//! Nothing has to be read while the budget cannot be spent yet: what is left lasts at least as long as it would on all processors at once.
//! So an agent that does little is looked at a few times in its life, and one that spins ever more often, until it is ended.

use std::{
    io,
    num::NonZeroU32,
    sync::Arc,
    time::{Duration, Instant},
};

use crate::jail::cgroup::Cgroup;

/// The shortest time between two looks. With what a tick of the kernel's clock adds, an agent is ended well within 50 ms of its budget.
const LOOK_LEAST: Duration = Duration::from_millis(10);
/// The longest: processors can be switched on.
const LOOK_MOST: Duration = Duration::from_secs(60);

/// What is left of an agent's CPU time, and when to look again.
#[derive(Debug)]
pub struct Meter {
    cgroup: Arc<Cgroup>,
    budget: Duration,
    processors: NonZeroU32,
    next: Instant,
}

/// What a look showed.
#[derive(Debug)]
pub enum Reading {
    /// It may go on.
    Within,
    /// It has used its budget, or more.
    Spent,
    /// The count is gone: nobody knows what it uses.
    Lost(io::Error),
}

impl Meter {
    /// A meter of an agent that was just started; `None` where nobody counts its CPU time.
    pub fn new(cgroup: &Arc<Cgroup>, budget: Duration) -> Option<Self> {
        let meter = Self { cgroup: cgroup.clone(), budget, processors: processors(), next: Instant::now() };
        cgroup.holds().cpu.then_some(meter)
    }

    /// When to look next.
    pub const fn due_at(&self) -> Instant {
        self.next
    }

    /// Looks, and decides when to look next.
    pub fn look(&mut self, now: Instant) -> Reading {
        let used = match self.cgroup.cpu_used() {
            Ok(used) => used,
            Err(error) => {
                self.next = now + LOOK_LEAST;
                return Reading::Lost(error);
            }
        };
        self.next = now + until_next(self.budget, used, self.processors);
        if used >= self.budget { Reading::Spent } else { Reading::Within }
    }
}

/// The processors of the machine. Not those that this process is bound to: an agent may bind itself to others.
fn processors() -> NonZeroU32 {
    let listed = std::fs::read_to_string("/proc/stat").map(|text| count(&text));
    // Where nobody says, an agent is looked at as often as if there were very many.
    listed.ok().and_then(NonZeroU32::new).unwrap_or(NonZeroU32::MAX)
}

/// The lines `cpuN …` of `/proc/stat`.
fn count(stat: &str) -> u32 {
    let is_one = |line: &&str| line.strip_prefix("cpu").is_some_and(|rest| rest.starts_with(|first: char| first.is_ascii_digit()));
    u32::try_from(stat.lines().filter(is_one).count()).unwrap_or(u32::MAX)
}

/// How long what is left lasts at the least.
fn until_next(budget: Duration, used: Duration, processors: NonZeroU32) -> Duration {
    (budget.saturating_sub(used) / processors.get()).clamp(LOOK_LEAST, LOOK_MOST)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TWO: NonZeroU32 = NonZeroU32::new(2).unwrap();

    #[test]
    fn processors_are_counted_one_by_one() {
        assert_eq!(count("cpu  1 2 3\ncpu0 1 2 3\ncpu1 1 2 3\nintr 5 6\n"), 2);
        assert_eq!(count(""), 0);
        assert!(processors() < NonZeroU32::MAX, "this machine lists them");
    }

    #[test]
    fn an_idle_agent_is_looked_at_rarely_and_a_full_one_often() {
        assert_eq!(until_next(Duration::from_secs(3600), Duration::ZERO, TWO), LOOK_MOST);
        assert_eq!(until_next(Duration::from_secs(10), Duration::from_secs(6), TWO), Duration::from_secs(2));
        assert_eq!(until_next(Duration::from_secs(10), Duration::from_millis(9_999), TWO), LOOK_LEAST);
        assert_eq!(until_next(Duration::from_secs(10), Duration::from_secs(11), TWO), LOOK_LEAST);
    }

    #[test]
    fn whoever_spins_on_all_processors_is_seen_in_time_after_few_looks() {
        let budget = Duration::from_secs(100);
        let (mut used, mut looks) = (Duration::ZERO, 0);
        while used < budget {
            used += until_next(budget, used, TWO) * TWO.get();
            looks += 1;
        }
        assert!(used - budget <= LOOK_LEAST * TWO.get() && looks < 20, "{used:?} after {looks} looks");
    }
}
