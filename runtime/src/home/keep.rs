//! Keeping a copy of a file that a guest names: an artifact, under the digest of its bytes.
//!
//! The guest may change its home while this happens. Each part of the path is opened by handle, through no link and across no mount
//! point; what was opened is looked at, not what has the name; and it is copied up to a bound, however it grows.

use std::{
    fs::File,
    io::{self, Read, Write},
    os::fd::{AsFd, OwnedFd},
};

use cap_std::fs::Dir;
use rustix::{fs::AtFlags, io::Errno};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::handle::{PRIVATE_FILE, create_file, descend, escape_name, open_file_within, sync_dir};

/// The longest path, in bytes, and the most parts of one: what a guest's own calls could name in one go.
const PATH_MOST_BYTES: usize = 4096;
const PARTS_MOST: usize = 64;
/// Bytes that are copied at once.
const BLOCK_BYTES: usize = 64 * 1024;

/// Why a file was not kept. Paths are escaped; nothing of the machine is named.
#[derive(Debug, thiserror::Error)]
pub enum KeepError {
    /// No path of a file below the home.
    #[error("keep {0:?}: a path is relative to the home, and `..` is no part of it")]
    Path(String),
    /// Nothing there.
    #[error("keep {0:?}: there is no such file in the home")]
    Missing(String),
    /// A link, in any part.
    #[error("keep {0:?}: a part of it is a link; name the file itself")]
    Link(String),
    /// A directory, FIFO, socket or device.
    #[error("keep {0:?}: it is not a regular file")]
    NotRegular(String),
    /// Larger than it may be, or growing past that.
    #[error("keep {path:?}: it has more than {most} bytes")]
    TooLarge {
        /// The path.
        path: String,
        /// The bound.
        most: u64,
    },
    /// The file could not be read.
    #[error("keep {path:?}: it cannot be read")]
    Read {
        /// The path.
        path: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The copy could not be written: the disk is full, say.
    #[error("keep {path:?}: the copy cannot be written")]
    Write {
        /// The path.
        path: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

/// Copies a file of a home, as it is now, into a directory that no guest reaches, under the SHA-256 of its bytes in hexadecimal. Returns
/// that and the number of bytes. The copy is on the disk when this returns; one of the same bytes that is there already is replaced.
///
/// # Errors
/// `path` is no path of a regular file below `home` without a link in any part, or the file has more than `most_bytes`; nothing is kept.
pub fn keep_file(home: &Dir, path: &str, into: &Dir, most_bytes: u64) -> Result<(String, u64), KeepError> {
    let shown = || escape_name(path.as_bytes());
    let unwritten = |source| KeepError::Write { path: shown(), source };
    let source = open_below(home, path)?;
    let too_large = || KeepError::TooLarge { path: shown(), most: most_bytes };
    let bytes = source.metadata().map_err(|source| KeepError::Read { path: shown(), source })?.len();
    if bytes > most_bytes {
        return Err(too_large());
    }
    let fresh = Fresh::create(into).map_err(unwritten)?;
    let (sha256, bytes) = match copy(source, &fresh.file, most_bytes) {
        Ok(Some(copied)) => copied,
        Ok(None) => return Err(too_large()),
        Err(Side::Read(source)) => return Err(KeepError::Read { path: shown(), source }),
        Err(Side::Write(source)) => return Err(unwritten(source)),
    };
    fresh.name_it(&sha256).map_err(unwritten)?;
    Ok((sha256, bytes))
}

/// Removes a kept file, which nobody refers to any more. One that is not there is no error.
///
/// # Errors
/// It cannot be removed.
pub fn forget_file(from: &Dir, sha256: &str) -> io::Result<()> {
    if sha256.len() != 64 || !sha256.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not the name of a kept file"));
    }
    match rustix::fs::unlinkat(from, sha256, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// The parts of a path; `None` of one that leads out, or is none.
fn parts(path: &str) -> Option<(Vec<&str>, &str)> {
    let is_bad = path.len() > PATH_MOST_BYTES || path.starts_with('/') || path.ends_with('/') || path.contains('\0');
    let mut parts: Vec<&str> = path.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
    if is_bad || parts.len() > PARTS_MOST || parts.contains(&"..") {
        return None;
    }
    let name = parts.pop()?;
    Some((parts, name))
}

/// Opens a regular file below a directory, through no link.
fn open_below(home: &Dir, path: &str) -> Result<File, KeepError> {
    let shown = || escape_name(path.as_bytes());
    let (way, name) = parts(path).ok_or_else(|| KeepError::Path(shown()))?;
    let error = |dir: &dyn AsFd, part: &str, error: io::Error| {
        let is_link = || rustix::fs::readlinkat(dir, part, Vec::new()).is_ok();
        match error.raw_os_error().map(Errno::from_raw_os_error) {
            Some(Errno::NOENT) => KeepError::Missing(shown()),
            Some(Errno::LOOP | Errno::NOTDIR) if is_link() => KeepError::Link(shown()),
            // A file on the way; a socket, or a device without a driver.
            Some(Errno::NOTDIR) => KeepError::Missing(shown()),
            Some(Errno::LOOP | Errno::NXIO | Errno::NODEV) => KeepError::NotRegular(shown()),
            None if error.kind() == io::ErrorKind::InvalidInput => KeepError::NotRegular(shown()),
            Some(_) | None => KeepError::Read { path: shown(), source: error },
        }
    };
    let mut inner: Option<OwnedFd> = None;
    for part in way {
        let next = match &inner {
            None => descend(home.as_fd(), part).map_err(|errno| error(home, part, errno.into()))?,
            Some(dir) => descend(dir.as_fd(), part).map_err(|errno| error(dir, part, errno.into()))?,
        };
        inner = Some(next);
    }
    match &inner {
        None => open_file_within(home.as_fd(), name).map_err(|source| error(home, name, source)),
        Some(dir) => open_file_within(dir.as_fd(), name).map_err(|source| error(dir, name, source)),
    }
}

/// A file without its name yet. It is removed when it does not get one.
struct Fresh<'d> {
    into: &'d Dir,
    name: String,
    file: File,
    named: bool,
}

impl<'d> Fresh<'d> {
    fn create(into: &'d Dir) -> io::Result<Self> {
        let name = format!("{}.new", Uuid::new_v4().simple());
        let file = create_file(into, &name, PRIVATE_FILE)?;
        Ok(Self { into, name, file, named: false })
    }

    fn name_it(mut self, name: &str) -> io::Result<()> {
        self.file.sync_all()?;
        rustix::fs::renameat(self.into, &self.name, self.into, name)?;
        self.named = true;
        sync_dir(self.into)
    }
}

impl Drop for Fresh<'_> {
    fn drop(&mut self) {
        if !self.named {
            // What cannot be removed goes with its cell.
            let _ = rustix::fs::unlinkat(self.into, &self.name, AtFlags::empty());
        }
    }
}

/// On which side a copy failed.
enum Side {
    Read(io::Error),
    Write(io::Error),
}

/// Copies at most `most` bytes, and returns their digest and number; `None` if there are more.
fn copy(mut source: impl Read, mut to: impl Write, most: u64) -> Result<Option<(String, u64)>, Side> {
    let mut block = vec![0; BLOCK_BYTES];
    let mut digest = Sha256::new();
    let mut copied: u64 = 0;
    loop {
        let read = match source.read(&mut block) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(Side::Read(error)),
        };
        copied = copied.saturating_add(read as u64);
        if copied > most {
            return Ok(None);
        }
        let bytes = block.get(..read).unwrap_or_default();
        digest.update(bytes);
        to.write_all(bytes).map_err(Side::Write)?;
    }
    let digest = digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(Some((digest, copied)))
}

#[cfg(test)]
#[path = "keep_tests.rs"]
mod tests;
