//! What a guest may have of memory, tables and instances: counted together, over all of them.

use std::sync::Arc;

use wasmtime::ResourceLimiter;

use super::strikes::Strikes;
use crate::policy::{Enforcer, LimitName, Limits, Report, Subject};

/// A limit that the guest ran into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hit {
    /// All memories together.
    Memory,
    /// All tables together.
    TableElements,
}

impl Hit {
    /// The limit, as definitions call it.
    pub const fn limit(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::TableElements => "table-elements",
        }
    }
}

/// Something that grows, up to a sum over all its kind.
#[derive(Debug)]
struct Sum {
    most: usize,
    now: usize,
    /// What the growth that was last permitted added, to be taken back if it fails after all.
    last: usize,
}

impl Sum {
    const fn new(most: usize) -> Self {
        Self { most, now: 0, last: 0 }
    }

    /// Permits a growth from `current` to `desired`, or not. `None`: the guest's own maximum refuses it, which is no limit of ours.
    fn grow(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> Option<bool> {
        self.last = 0;
        if maximum.is_some_and(|maximum| desired > maximum) {
            return None;
        }
        let more = desired.saturating_sub(current);
        if more > self.most.saturating_sub(self.now) {
            return Some(false);
        }
        self.now += more;
        self.last = more;
        Some(true)
    }

    /// Takes back a growth that was permitted and failed.
    fn failed(&mut self) {
        self.now -= std::mem::take(&mut self.last);
    }
}

/// The limiter of one guest's store.
#[derive(Debug)]
pub struct Limiter {
    memory: Sum,
    elements: Sum,
    each: usize,
    hit: Option<Hit>,
    /// Where refusals are told.
    strikes: Option<Arc<Strikes>>,
}

impl Limiter {
    /// Reports what a limiter holds.
    pub fn promise(limits: &Limits, report: &mut Report) {
        let memory = Subject::limit(LimitName::Memory, limits.memory);
        report.full(Enforcer::Wasm, memory, format!("at most {} of memory, over all its memories", limits.memory));
        let elements = Subject::limit(LimitName::TableElements, limits.table_elements);
        report.full(Enforcer::Wasm, elements, format!("at most {} elements, over all its tables", limits.table_elements));
        let instances = Subject::limit(LimitName::Instances, limits.instances);
        report.full(Enforcer::Wasm, instances, format!("at most {} instances, memories and tables, each", limits.instances));
    }

    /// Makes the limiter of a fresh store.
    pub fn new(limits: &Limits, strikes: Option<Arc<Strikes>>) -> Self {
        let each = usize::try_from(limits.instances.get()).unwrap_or(usize::MAX);
        let elements = usize::try_from(limits.table_elements.get()).unwrap_or(usize::MAX);
        Self { memory: Sum::new(limits.memory.as_usize()), elements: Sum::new(elements), each, hit: None, strikes }
    }

    /// The limit that last refused something to the guest.
    pub const fn hit(&self) -> Option<Hit> {
        self.hit
    }

    fn struck(&self, limit: LimitName) {
        if let Some(strikes) = &self.strikes {
            strikes.hit(limit);
        }
    }

    /// Forgets what was refused: the guest lived on without it.
    pub const fn forget(&mut self) {
        self.hit = None;
    }
}

impl ResourceLimiter for Limiter {
    fn memory_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        let permitted = self.memory.grow(current, desired, maximum);
        if permitted == Some(false) {
            self.hit = Some(Hit::Memory);
            self.struck(LimitName::Memory);
        }
        Ok(permitted == Some(true))
    }

    fn memory_grow_failed(&mut self, _: wasmtime::Error) -> wasmtime::Result<()> {
        self.memory.failed();
        Ok(())
    }

    fn table_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        let permitted = self.elements.grow(current, desired, maximum);
        if permitted == Some(false) {
            self.hit = Some(Hit::TableElements);
            self.struck(LimitName::TableElements);
        }
        Ok(permitted == Some(true))
    }

    fn table_grow_failed(&mut self, _: wasmtime::Error) -> wasmtime::Result<()> {
        self.elements.failed();
        Ok(())
    }

    fn instances(&self) -> usize {
        self.each
    }

    fn tables(&self) -> usize {
        self.each
    }

    fn memories(&self) -> usize {
        self.each
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::ByteSize;

    const PAGE: usize = 65_536;

    #[test]
    fn memories_are_counted_together() {
        let limits = Limits { memory: ByteSize::kib(256), ..Limits::default() };
        let mut limiter = Limiter::new(&limits, None);
        assert!(limiter.memory_growing(0, 2 * PAGE, None).expect("answer"));
        assert!(limiter.memory_growing(0, PAGE, None).expect("answer"), "a second memory");
        assert!(!limiter.memory_growing(PAGE, 3 * PAGE, None).expect("answer"), "past the sum");
        assert_eq!(limiter.hit(), Some(Hit::Memory));
        assert!(limiter.memory_growing(2 * PAGE, 3 * PAGE, None).expect("answer"), "up to the sum");
    }

    #[test]
    fn a_failed_growth_is_taken_back_once() {
        let limits = Limits { memory: ByteSize::kib(128), ..Limits::default() };
        let mut limiter = Limiter::new(&limits, None);
        assert!(limiter.memory_growing(0, 2 * PAGE, None).expect("answer"));
        for _ in 0..2 {
            limiter.memory_grow_failed(wasmtime::Error::msg("no memory")).expect("taken back");
        }
        assert!(limiter.memory_growing(0, 2 * PAGE, None).expect("answer"));
        assert!(!limiter.memory_growing(0, PAGE, None).expect("answer"));
    }

    #[test]
    fn a_guests_own_maximum_is_no_limit_of_ours() {
        let mut limiter = Limiter::new(&Limits::default(), None);
        assert!(!limiter.memory_growing(0, 2 * PAGE, Some(PAGE)).expect("answer"));
        assert!(!limiter.table_growing(0, 20, Some(10)).expect("answer"));
        assert_eq!(limiter.hit(), None);
    }
}
