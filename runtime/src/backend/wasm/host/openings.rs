//! What a guest has open.

use std::{
    fs::File,
    sync::{Arc, Weak},
};

use crate::policy::Limits;

/// The files and directories that a guest has open, and its listings of directories: each is a descriptor of the host.
///
/// They are known by weak references, so that one counts for as long as anybody has it: a stream whose file was closed, or a helper thread.
#[derive(Debug)]
pub struct Openings {
    most: usize,
    /// Some of them may be closed by now.
    held: Vec<Weak<File>>,
}

impl Openings {
    /// Nothing is open yet: the directories that a guest is given are not its own doing.
    pub fn new(limits: &Limits) -> Self {
        Self { most: usize::try_from(limits.open_files.get()).unwrap_or(usize::MAX), held: Vec::new() }
    }

    /// Whether one more may be opened.
    pub fn has_room(&mut self) -> bool {
        if self.held.len() >= self.most {
            self.held.retain(|file| file.strong_count() > 0);
        }
        self.held.len() < self.most
    }

    /// Something was opened.
    pub fn add(&mut self, file: &Arc<File>) {
        self.held.push(Arc::downgrade(file));
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;

    #[test]
    fn what_is_open_counts_until_nobody_has_it() {
        let file = || Arc::new(File::open("/dev/null").expect("opened"));
        let mut openings = Openings::new(&Limits { open_files: NonZeroU32::new(2).expect("two"), ..Limits::default() });
        let (one, other) = (file(), file());
        for file in [&one, &other] {
            assert!(openings.has_room());
            openings.add(file);
        }
        let stream = Arc::clone(&one);
        drop(one);
        assert!(!openings.has_room(), "its stream has it");
        drop(stream);
        assert!(openings.has_room());
        openings.add(&file());
        assert!(openings.has_room(), "closed at once");
        drop(other);
    }
}
