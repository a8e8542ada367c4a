//! The registry, as the post office uses it: open while there is traffic, closed when there is none, for a warden that only waits holds
//! little memory.

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use crate::registry::{Registry, RegistryError};

/// How long without use it stays open: longer than a conversation pauses.
const SILENCE: Duration = Duration::from_secs(5);

/// The registry of a root, opened when it is needed.
#[derive(Debug)]
pub struct Shelf {
    root: PathBuf,
    open: Option<Registry>,
    used: Instant,
}

impl Shelf {
    /// The registry in a root; not opened yet.
    pub fn new(root: PathBuf, now: Instant) -> Self {
        Self { root, open: None, used: now }
    }

    /// The registry, open.
    ///
    /// # Errors
    /// It cannot be opened.
    pub fn open(&mut self) -> Result<&mut Registry, RegistryError> {
        self.used = Instant::now();
        match &mut self.open {
            Some(registry) => Ok(registry),
            closed => Ok(closed.insert(Registry::open(&self.root)?)),
        }
    }

    /// Closes it where it was not used for a while.
    pub fn tidy(&mut self, now: Instant) {
        if self.tidy_at().is_some_and(|at| now >= at) {
            self.open = None;
        }
    }

    /// When there is something to close.
    pub fn tidy_at(&self) -> Option<Instant> {
        self.open.as_ref().map(|_| self.used + SILENCE)
    }
}
