//! Which places of the machine an agent sees, and opening them: once, by the trusted side, in the namespace they are used in.

use std::{
    fs, io,
    os::{
        fd::{AsRawFd, OwnedFd},
        unix::fs::MetadataExt,
    },
    path::{Path, PathBuf},
};

use rustix::fs::{CWD, FileType, Mode, OFlags, fstat, openat};

use super::{
    SpawnError,
    spec::{Linked, Use},
};
use crate::{
    backend::{
        Launch,
        reach::{self, CLIENT_DIRECTORY, Origin, Reached},
    },
    home::is_the_systems,
    policy::{Access, Granted},
};

/// The client's name there.
const CLIENT: &str = "lazarus";
/// This very program, also when its file was replaced since it was started.
const OWN_PROGRAM: &str = "/proc/self/exe";

/// An opened place, and where the agent will see it.
#[derive(Debug)]
pub(super) struct Source {
    pub opened: OwnedFd,
    pub target: PathBuf,
    pub usage: Use,
    pub granted: Granted,
}

/// What the agent sees of the machine, opened.
#[derive(Debug, Default)]
pub(super) struct Sources {
    pub places: Vec<Source>,
    /// Symbolic links of the machine into what is granted.
    pub links: Vec<Linked>,
    /// Where the agent finds the client, if it was granted.
    pub client: Option<String>,
}

/// Why there is no mount namespace; `None` where there is one.
pub(super) type NoNamespace<'a> = Option<&'a str>;

/// Opens everything that was granted to an agent.
pub(super) fn open(launch: &Launch, none: NoNamespace<'_>) -> Result<Sources, SpawnError> {
    let mut sources = Sources::default();
    let reached = reach::reached(launch, none.is_none());
    sources.read(reached.iter().filter(|place| matches!(place.origin, Origin::System | Origin::Read)))?;
    for Reached { origin, host, guest, access } in &reached {
        let usage = match access {
            Access::Ro => Use::Read,
            Access::Rw => Use::Write,
        };
        match origin {
            // Read above, all together.
            Origin::System | Origin::Read => {}
            Origin::Home | Origin::Shared => sources.push(own_directory(host)?, guest, usage, origin.granted()),
            Origin::Mount(_) => sources.mount(host, guest, usage, none)?,
            Origin::Device => {
                sources.push(place(host, OFlags::empty(), |kind| kind == FileType::CharacterDevice)?, guest, Use::Device, origin.granted());
            }
        }
    }
    if launch.policy.client {
        sources.client(none)?;
    }
    Ok(sources)
}

impl Sources {
    fn push(&mut self, opened: OwnedFd, target: &Path, usage: Use, granted: Granted) {
        self.places.push(Source { opened, target: target.to_owned(), usage, granted });
    }

    /// Paths for reading: a link into another of them stays a link (`/bin` → `usr/bin`); any other is resolved, here and now.
    fn read<'r>(&mut self, places: impl Iterator<Item = &'r Reached>) -> Result<(), SpawnError> {
        let mut trees = Vec::new();
        let mut linked = Vec::new();
        for Reached { origin, host, .. } in places {
            let fail = |source| SpawnError::Open { path: host.clone(), source };
            let link = match fs::symlink_metadata(host) {
                Ok(found) => found.is_symlink(),
                // Not every machine has all of the system's.
                Err(error) if *origin == Origin::System && error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(fail(error)),
            };
            let opened = place(host, OFlags::empty(), |kind| link || is_plain(kind))?;
            // Where it is: what was opened, not what its path leads to by now.
            let resolved = fs::read_link(format!("/proc/self/fd/{}", opened.as_raw_fd())).map_err(fail)?;
            // It was looked at when it was planned; what was swapped since is not what was granted.
            if resolved != *host && !is_the_systems(host, &resolved) {
                return Err(fail(leads_elsewhere()));
            }
            if link { linked.push((host, resolved)) } else { trees.push((host, opened, resolved)) }
        }
        for (path, resolved) in linked {
            if trees.iter().any(|(_, _, tree)| resolved.starts_with(tree)) {
                let text = fs::read_link(path).map_err(|source| SpawnError::Open { path: path.clone(), source })?;
                self.links.push(Linked { path: path.clone(), text, granted: Granted::Read });
            } else {
                trees.push((path, place(&resolved, OFlags::NOFOLLOW, is_plain)?, resolved));
            }
        }
        for (path, opened, _) in trees {
            self.push(opened, path, Use::Read, Granted::Read);
        }
        Ok(())
    }

    /// This program, for reading and executing: where it is on the machine, or in a root of the agent's own.
    fn client(&mut self, none: NoNamespace<'_>) -> Result<(), SpawnError> {
        let own = Path::new(OWN_PROGRAM);
        let fail = |source: io::Error| SpawnError::Open { path: own.to_owned(), source };
        let path = fs::read_link(own).map_err(fail)?;
        // By its path: what runs was opened in another mount namespace, and cannot be bound into this one.
        let opened = place(&path, OFlags::NOFOLLOW, |kind| kind == FileType::RegularFile)?;
        let runs = fs::metadata(own).map_err(fail)?;
        let found = fstat(&opened).map_err(|errno| fail(errno.into()))?;
        if (found.st_dev, found.st_ino) != (runs.dev(), runs.ino()) {
            return Err(SpawnError::Open { path, source: io::Error::other("it was replaced since this cell was started") });
        }
        let target = if none.is_some() { path } else { Path::new(CLIENT_DIRECTORY).join(CLIENT) };
        self.client = target.parent().map(|directory| directory.to_string_lossy().into_owned());
        self.push(opened, &target, Use::Read, Granted::Client);
        Ok(())
    }

    fn mount(&mut self, host: &Path, guest: &Path, usage: Use, none: NoNamespace<'_>) -> Result<(), SpawnError> {
        if let Some(because) = none
            && (host != guest || self.is_writable_above(host, usage))
        {
            let (host, guest) = (host.to_owned(), guest.to_owned());
            return Err(SpawnError::Jail(crate::jail::JailError::MountNeedsNamespace { host, guest, because: because.to_owned() }));
        }
        let opened = place(host, OFlags::empty(), is_plain)?;
        // The plan has the way without links.
        let fail = |source| SpawnError::Open { path: host.to_owned(), source };
        if fs::read_link(format!("/proc/self/fd/{}", opened.as_raw_fd())).map_err(fail)? != *host {
            return Err(fail(leads_elsewhere()));
        }
        self.push(opened, guest, usage, Granted::Mount);
        Ok(())
    }

    /// Whether a read-only path lies below a writable one: Landlock alone cannot take a right away again further down.
    fn is_writable_above(&self, path: &Path, usage: Use) -> bool {
        usage == Use::Read && self.places.iter().any(|place| place.usage == Use::Write && path.starts_with(&place.target))
    }
}

fn leads_elsewhere() -> io::Error {
    io::Error::other("it leads elsewhere than when it was granted")
}

fn is_plain(kind: FileType) -> bool {
    matches!(kind, FileType::Directory | FileType::RegularFile)
}

/// A directory that Lazarus made: it is no link.
fn own_directory(path: &Path) -> Result<OwnedFd, SpawnError> {
    place(path, OFlags::NOFOLLOW, |kind| kind == FileType::Directory)
}

fn place(path: &Path, flags: OFlags, accept: impl FnOnce(FileType) -> bool) -> Result<OwnedFd, SpawnError> {
    let fail = |source: io::Error| SpawnError::Open { path: path.to_owned(), source };
    if !path.is_absolute() {
        return Err(fail(io::Error::new(io::ErrorKind::InvalidInput, "not an absolute path")));
    }
    let opened = openat(CWD, path, OFlags::PATH | OFlags::CLOEXEC | flags, Mode::empty()).map_err(|errno| fail(errno.into()))?;
    let kind = FileType::from_raw_mode(fstat(&opened).map_err(|errno| fail(errno.into()))?.st_mode);
    if accept(kind) { Ok(opened) } else { Err(SpawnError::Kind { path: path.to_owned() }) }
}
