//! The temporary directory of a drill: private, locked while its drill lives, and found again by the next one if it died.

use std::{
    fmt::Write,
    io,
    os::fd::{AsFd, OwnedFd},
    path::{Path, PathBuf},
};

use cap_std::fs::Dir;
use rustix::{
    fs::{FileType, FlockOperation, Mode, OFlags},
    io::Errno,
    rand::GetRandomFlags,
};

use crate::home::{ambient, remove_tree};

/// What the names of all stages begin with.
const PREFIX: &str = "lazarus-drill-";
/// The lock that a living drill holds.
const LOCK: &str = "lock";
/// Bytes of a stage's path: what the address of a socket holds (unix(7): 107) but for the longest one below a stage, a cell's control socket.
const PATH_MOST_BYTES: usize = 107 - "/root/cells/laz-00000000/run/control.sock".len();
/// Bytes of random tokens: as many as a key, since a guess would be taken for a leak.
const TOKEN_BYTES: usize = 16;

/// A random word of hexadecimal digits, which nobody can have by accident.
pub(super) fn token() -> io::Result<String> {
    let mut bytes = [0; TOKEN_BYTES];
    let mut filled = 0;
    while filled < bytes.len() {
        filled += rustix::rand::getrandom(&mut bytes[filled..], GetRandomFlags::empty())?;
    }
    Ok(bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    }))
}

/// A stage's directory.
pub(super) struct Place {
    parent: Dir,
    name: String,
    path: PathBuf,
    dir: Dir,
    _lock: OwnedFd,
}

impl Place {
    /// Makes a directory for the operator alone below the machine's directory for temporary files.
    pub(super) fn make(temporary: &Path) -> io::Result<Self> {
        let (parent, above) = opened(temporary)?;
        let name = format!("{PREFIX}{}", &token()?[..12]);
        let path = above.join(&name);
        if path.as_os_str().len() > PATH_MOST_BYTES {
            let why = format!("{} is too long for the addresses of sockets below it; set TMPDIR to a shorter one", above.display());
            return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
        }
        let dir = ambient::make_named_dir(&path)?;
        let lock = lock(&dir)?;
        Ok(Self { parent, name, path, dir, _lock: lock })
    }

    /// The directory's path.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The directory.
    pub(super) const fn dir(&self) -> &Dir {
        &self.dir
    }

    /// Removes it with all that it holds, and looks; what remained is named.
    pub(super) fn remove(&self) -> Vec<String> {
        remove_tree(&self.parent, &self.name).remained
    }

    /// Directories of drills that died: this user's own, and nobody holds their lock. Each is locked as long as it is held here.
    pub(super) fn left(temporary: &Path) -> io::Result<Vec<Self>> {
        let (parent, above) = opened(temporary)?;
        let own = rustix::process::geteuid().as_raw();
        let mut left = Vec::new();
        for entry in rustix::fs::Dir::read_from(&parent)? {
            let entry = entry?;
            let Ok(name) = entry.file_name().to_str() else { continue };
            if !name.starts_with(PREFIX) {
                continue;
            }
            let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            // What cannot be opened is somebody else's.
            let Ok(dir) = rustix::fs::openat(&parent, name, flags, Mode::empty()) else { continue };
            let stat = rustix::fs::fstat(&dir)?;
            if stat.st_uid != own || FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
                continue;
            }
            let dir = Dir::from(dir);
            match lock(&dir) {
                Ok(lock) => {
                    left.push(Self { parent: parent.try_clone()?, name: name.to_owned(), path: above.join(name), dir, _lock: lock })
                }
                Err(error) if error.raw_os_error() == Some(Errno::WOULDBLOCK.raw_os_error()) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(left)
    }
}

/// Opens the machine's directory for temporary files.
fn opened(temporary: &Path) -> io::Result<(Dir, PathBuf)> {
    let named = |error: io::Error| io::Error::new(error.kind(), format!("{} (TMPDIR): {error}", temporary.display()));
    ambient::open_named_dir(temporary).map_err(named)
}

fn lock(dir: &Dir) -> io::Result<OwnedFd> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let lock = rustix::fs::openat(dir.as_fd(), LOCK, flags, Mode::RUSR | Mode::WUSR)?;
    rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive)?;
    Ok(lock)
}
