//! What a tree holds at this moment, by walking it.

use std::{io, os::fd::AsFd};

use crate::home;

/// What was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Survey {
    /// Bytes of files and links, each file once.
    pub bytes: u64,
    /// Files, directories, links and whatever else there is.
    pub entries: u64,
}

/// Walks a tree.
///
/// # Errors
/// It cannot be read, or not all of it: what was found would be too little.
pub fn survey(dir: impl AsFd) -> io::Result<Survey> {
    let found = home::measure(dir)?;
    if found.unread > 0 {
        return Err(io::Error::other(format!("{} of its directories cannot be read", found.unread)));
    }
    Ok(Survey { bytes: found.bytes, entries: found.files.saturating_add(found.dirs) })
}
