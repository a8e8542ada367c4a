//! The directories that guests see, opened once: wasmtime and the jail then speak of the same ones.

use std::{
    collections::BTreeMap,
    fs::File,
    io,
    os::fd::AsRawFd,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use rustix::fs::OFlags;
use wasmtime_wasi::{FsPerms, OpenMode, filesystem::Dir};

use super::quota::{Allowance, Ledger};
use crate::{
    backend::{
        Launch,
        reach::{self, Reached},
        wasm::text::one_line,
    },
    policy::{Access, Granted, Subject},
};

/// Characters of a path in a message.
const PATH_MOST: usize = 200;

/// A directory of the machine, at a path of the guest.
#[derive(Clone)]
pub struct Place {
    /// The directory: opened without any right (`O_PATH`), and kept for as long as the guest lives. Every instance of the guest sees this
    /// one, whatever its path leads to by then; no path is ever resolved again.
    pub dir: Dir,
    /// Its path on the machine, for messages.
    pub host: String,
    /// The guest's path.
    pub guest: String,
    /// Whether the guest may write.
    pub writable: bool,
    /// As what it was granted.
    pub granted: Granted,
    /// The account of what the guest writes here: none where it may only read, and for mounts.
    pub ledger: Option<Arc<Ledger>>,
}

impl Place {
    /// What is granted by it.
    pub fn subject(&self) -> Subject {
        Subject::path(&self.guest, if self.writable { Access::Rw } else { Access::Ro }, self.granted)
    }
}

/// Why a directory was not opened.
#[derive(Debug, thiserror::Error)]
pub enum PlaceError {
    /// A file.
    #[error("mount {host} at {guest}: it is a file, and a wasm agent can only be given directories; mount the directory that it is in")]
    File {
        /// The path on the machine.
        host: String,
        /// The guest's path.
        guest: String,
    },
    /// A home that cannot be measured, so that nothing could be held to its limit.
    #[error("measure {host}: {source}")]
    Measure {
        /// The path on the machine.
        host: String,
        /// What is wrong with it.
        source: io::Error,
    },
    /// Something else.
    #[error("mount {host} at {guest}: {source}")]
    Open {
        /// The path on the machine.
        host: String,
        /// The guest's path.
        guest: String,
        /// What the kernel said.
        source: io::Error,
    },
}

/// Directories that are open already: what a thousand guests share is opened once.
pub struct Opened {
    /// Whether file work is done on the thread where the guest runs.
    in_place: bool,
    open: BTreeMap<PathBuf, Dir>,
    /// What /shared may hold: nobody knows which of the guests wrote it, so that the largest of their limits counts.
    shared: Allowance,
    ledgers: BTreeMap<PathBuf, Arc<Ledger>>,
}

impl Opened {
    /// None yet.
    pub const fn new(in_place: bool, shared: Allowance) -> Self {
        Self { in_place, open: BTreeMap::new(), shared, ledgers: BTreeMap::new() }
    }

    /// Opens what a launch names: home, what is shared, mounts; in this order, which the guest sees too.
    ///
    /// # Errors
    /// The first that is not a directory or cannot be opened.
    pub fn places(&mut self, launch: &Launch) -> Result<Vec<Place>, PlaceError> {
        let own = Allowance::of(&launch.policy.limits);
        let place = |reached: &Reached| {
            let Reached { origin, host, guest, access } = reached;
            self.place(host, &guest.to_string_lossy(), *access == Access::Rw, origin.granted(), own)
        };
        reach::reached(launch, true).iter().map(place).collect()
    }

    fn place(&mut self, path: &Path, guest: &str, writable: bool, granted: Granted, own: Allowance) -> Result<Place, PlaceError> {
        let (host, guest) = (one_line(&path.to_string_lossy(), PATH_MOST), guest.to_owned());
        match self.dir(path) {
            Ok(mut dir) => {
                // The descriptor is shared, what may be done with it is not.
                (dir.perms, dir.open_mode) =
                    if writable { (FsPerms::ReadWrite, OpenMode::READ | OpenMode::WRITE) } else { (FsPerms::ReadOnly, OpenMode::READ) };
                let allowance = match granted {
                    _ if !writable => None,
                    Granted::Home => Some(own),
                    Granted::Shared => Some(self.shared),
                    Granted::Mount | Granted::Read | Granted::Scratch | Granted::Client | Granted::Device | Granted::Made => None,
                };
                let measured = allowance.map(|allowance| self.ledger(path, &dir, allowance)).transpose();
                let ledger = measured.map_err(|source| PlaceError::Measure { host: host.clone(), source })?;
                Ok(Place { dir, host, guest, writable, granted, ledger })
            }
            Err(error) if error.kind() == io::ErrorKind::NotADirectory && path.is_file() => Err(PlaceError::File { host, guest }),
            Err(source) => Err(PlaceError::Open { host, guest, source }),
        }
    }

    /// The account of a directory: one, however many guests write there.
    fn ledger(&mut self, path: &Path, dir: &Dir, allowance: Allowance) -> io::Result<Arc<Ledger>> {
        if let Some(ledger) = self.ledgers.get(path) {
            return Ok(Arc::clone(ledger));
        }
        let ledger = Ledger::open(Arc::clone(&dir.dir), allowance)?;
        self.ledgers.insert(path.to_owned(), Arc::clone(&ledger));
        Ok(ledger)
    }

    fn dir(&mut self, path: &Path) -> io::Result<Dir> {
        if let Some(dir) = self.open.get(path) {
            return Ok(dir.clone());
        }
        let flags = (OFlags::PATH | OFlags::DIRECTORY).bits().cast_signed();
        let file = File::options().read(true).custom_flags(flags).open(path)?;
        // The plan has the way without links: what was swapped since is not what was granted.
        if std::fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd()))? != path {
            return Err(io::Error::other("it leads elsewhere than when it was granted"));
        }
        let dir = Dir::new(file, FsPerms::ReadOnly, OpenMode::READ, self.in_place);
        self.open.insert(path.to_owned(), dir.clone());
        Ok(dir)
    }
}
