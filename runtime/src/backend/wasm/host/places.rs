//! The directories that a guest sees, opened once: wasmtime and the jail then speak of the same ones.

use std::{fs::File, io, os::fd::OwnedFd, os::unix::fs::OpenOptionsExt, path::Path};

use rustix::fs::OFlags;

use super::guest::{HOME, SHARED};
use crate::{
    backend::{Launch, wasm::text::one_line},
    policy::Access,
};

/// Characters of a path in a message.
const PATH_MOST: usize = 200;

/// A directory of the machine, at a path of the guest.
#[derive(Debug)]
pub struct Place {
    /// The directory: opened without any right (`O_PATH`).
    pub fd: OwnedFd,
    /// Its path on the machine, for messages.
    pub host: String,
    /// The guest's path.
    pub guest: String,
    /// Whether the guest may write.
    pub writable: bool,
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

/// Opens what a launch names: home, what is shared, mounts; in this order, which the guest sees too.
///
/// # Errors
/// The first that is not a directory or cannot be opened.
pub fn open(launch: &Launch) -> Result<Vec<Place>, PlaceError> {
    let home = launch.home.iter().map(|path| (path.as_path(), HOME, true));
    let shared = launch.shared.iter().map(|path| (path.as_path(), SHARED, launch.role.writes_shared()));
    let mounts = launch.policy.mounts.iter().map(|mount| {
        let writable = match mount.access {
            Access::Ro => false,
            Access::Rw => true,
        };
        (mount.host.as_path(), mount.guest.as_str(), writable)
    });
    home.chain(shared).chain(mounts).map(|(host, guest, writable)| place(host, guest, writable)).collect()
}

fn place(path: &Path, guest: &str, writable: bool) -> Result<Place, PlaceError> {
    let (host, guest) = (one_line(&path.to_string_lossy(), PATH_MOST), guest.to_owned());
    let flags = (OFlags::PATH | OFlags::DIRECTORY).bits().cast_signed();
    match File::options().read(true).custom_flags(flags).open(path) {
        Ok(file) => Ok(Place { fd: file.into(), host, guest, writable }),
        Err(error) if error.kind() == io::ErrorKind::NotADirectory && path.is_file() => Err(PlaceError::File { host, guest }),
        Err(source) => Err(PlaceError::Open { host, guest, source }),
    }
}
