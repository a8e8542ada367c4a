//! Which paths of the machine may be granted to an agent at all, whoever asks.

use std::{
    cell::OnceCell,
    io,
    path::{Component, Path, PathBuf},
};

use rustix::fs::FileType;

use super::{
    Root,
    ambient::{is_within, operator_hermes, settled, usual_root},
    look::{Found, look_up, looks_like_a_root, mount_of, mount_table},
    mounted::MountTable,
};
use crate::policy::READ_BY_DEFAULT;

/// The installed code of a Hermes, in the operator's `~/.hermes`.
const HERMES_CODE: &str = "hermes-agent";

/// Why a path of the machine is never granted.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// It cannot be found.
    #[error("find {path}")]
    Missing {
        /// The path.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The whole machine.
    #[error("grant /: it is the whole machine; name what the agent needs")]
    WholeMachine,
    /// What Lazarus keeps: other cells, the registry, the audit log; of this root, the default one, or any other.
    #[error("grant {0}: it is inside a Lazarus root, or contains it, with every cell's home and the registry")]
    LazarusRoot(PathBuf),
    /// The operator's own Hermes, with its credentials.
    #[error("grant {0}: it is inside the operator's ~/.hermes, or contains it, with its credentials")]
    Hermes(PathBuf),
    /// Processes: their memory, environment and descriptors, the granting host's own included.
    #[error("grant {0}: it leads to the memory and the environment of processes")]
    Proc(PathBuf),
    /// A kernel's own view of the machine, or its devices.
    #[error(
        "grant {0}: it leads to the machine's devices, or to what its kernel shows and can be told; name what the agent needs of its own"
    )]
    System(PathBuf),
    /// A way with `..` in it: where it leads depends on what lies on the way.
    #[error("grant {path}: it has '..' in it; name where it leads: {leads}")]
    Parent {
        /// The path.
        path: PathBuf,
        /// Where it leads now.
        leads: PathBuf,
    },
    /// A link, or a way through one: whoever can change the link decides what is granted.
    #[error("grant {path}: it is a link, or leads through one, and could lead elsewhere tomorrow; name where it leads: {leads}")]
    Link {
        /// The path.
        path: PathBuf,
        /// Where it leads now.
        leads: PathBuf,
    },
    /// A device.
    #[error("grant {0}: it is a device; every process agent has /dev/null, zero, full, random and urandom without a grant, and no other")]
    Device(PathBuf),
    /// A socket, FIFO or device: a way to talk to something outside, not a file.
    #[error("grant {0}: it is neither a directory nor a regular file")]
    Kind(PathBuf),
    /// A file, where a directory is needed.
    #[error("copy {0}: it is not a directory")]
    NoDirectory(PathBuf),
    /// Something is mounted below it that shows more than files.
    #[error(
        "grant {path}: a file system of the kind {kind} is mounted in it, at {below}; unmount that, or name what else of {path} the agent needs"
    )]
    Below {
        /// The path.
        path: PathBuf,
        /// Where something is mounted.
        below: PathBuf,
        /// The kind of its file system, as the kernel names it.
        kind: String,
    },
    /// What is mounted below it shows what is kept from agents.
    #[error("grant {path}: what is mounted in it, at {below}, shows {kept}; unmount that, or name what else of {path} the agent needs")]
    Shown {
        /// The path.
        path: PathBuf,
        /// Where something is mounted.
        below: PathBuf,
        /// What it shows.
        kept: PathBuf,
    },
    /// The kernel did not say what is mounted.
    #[error("grant {0}: what is mounted in it cannot be told, since /proc/self/mountinfo cannot be read or understood")]
    Untold(PathBuf),
}

impl SourceError {
    /// The error with its cause, for those who have one line.
    pub fn whole(&self) -> String {
        match self {
            Self::Missing { source, .. } => format!("{self}: {source}"),
            Self::WholeMachine
            | Self::LazarusRoot(_)
            | Self::Hermes(_)
            | Self::Proc(_)
            | Self::System(_)
            | Self::Parent { .. }
            | Self::Device(_)
            | Self::Link { .. }
            | Self::Kind(_)
            | Self::NoDirectory(_)
            | Self::Below { .. }
            | Self::Shown { .. }
            | Self::Untold(_) => self.to_string(),
        }
    }
}

/// What a path is to be used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Use {
    Mount,
    Read,
    Template,
}

/// Looks at paths of the machine before they become part of a policy: what Lazarus and the operator's Hermes keep, and what is mounted where.
///
/// `/` is never granted, not even to a bare run: it holds `/proc`, and with that the memory of the very process that runs a guest.
#[derive(Debug)]
pub struct Sources {
    /// Lazarus roots: the one in use, and the default one.
    roots: Vec<PathBuf>,
    hermes: Option<PathBuf>,
    /// Read once, when it is first needed.
    mounts: OnceCell<Option<MountTable>>,
}

impl Sources {
    /// For what is granted in cells of this root.
    pub fn of(root: &Root) -> Self {
        let roots = std::iter::once(root.path().to_owned()).chain(usual_root().map(|usual| settled(&usual)).filter(|usual| usual.exists()));
        Self::kept(roots.collect(), operator_hermes())
    }

    fn kept(roots: Vec<PathBuf>, hermes: Option<PathBuf>) -> Self {
        Self { roots, hermes: hermes.map(|hermes| settled(&hermes)), mounts: OnceCell::new() }
    }

    /// Checks a path that is to be mounted into a cell. Returns its canonical form, which is the path itself, made absolute: no link is on its way.
    ///
    /// # Errors
    /// It does not exist, or is never granted.
    pub fn mount(&self, path: &Path) -> Result<PathBuf, SourceError> {
        self.check(path, Use::Mount)
    }

    /// Checks a directory that is to be copied into homes, as a mount is checked.
    ///
    /// # Errors
    /// It does not exist, is no directory, or is never granted.
    pub fn template(&self, path: &Path) -> Result<PathBuf, SourceError> {
        self.check(path, Use::Template)
    }

    /// Checks a path that a process agent is to read and execute from. Returns where it leads, if it exists on this machine; it is granted
    /// as it was written, since programs name it like that.
    ///
    /// A link may lead to the system's own programs and libraries, since `/bin` is one on most machines; whoever could change it could not
    /// make more of it than any process agent may read.
    ///
    /// The code of a Hermes that is installed inside `~/.hermes` may be read; nothing else of it.
    ///
    /// # Errors
    /// It is never granted.
    pub fn read(&self, path: &Path) -> Result<Option<PathBuf>, SourceError> {
        match self.check(path, Use::Read) {
            Ok(found) => Ok(Some(found)),
            Err(SourceError::Missing { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Checks what every process agent may read where nothing else is named. Returns those that exist, and where they lead.
    ///
    /// # Errors
    /// One of them is never granted: a root can be below /usr, and something mounted there.
    pub fn read_by_default(&self) -> Result<Vec<(PathBuf, PathBuf)>, SourceError> {
        let found = READ_BY_DEFAULT.iter().map(PathBuf::from).filter_map(|path| {
            let found = self.read(&path).transpose()?;
            Some(found.map(|found| (path, found)))
        });
        found.collect()
    }

    fn check(&self, path: &Path, wanted: Use) -> Result<PathBuf, SourceError> {
        let found = look_up(path).map_err(|source| SourceError::Missing { path: path.to_owned(), source })?;
        let given = || path.to_owned();
        if found.path == Path::new("/") {
            return Err(SourceError::WholeMachine);
        }
        if found.on_proc {
            return Err(SourceError::Proc(given()));
        }
        if wanted == Use::Read && found.kind == FileType::CharacterDevice {
            return Err(SourceError::Device(given()));
        }
        let is_plain = matches!(found.kind, FileType::Directory | FileType::RegularFile);
        let system = is_within(&found.path, Path::new("/sys")) || is_within(&found.path, Path::new("/dev"));
        if system && is_plain {
            return Err(SourceError::System(given()));
        }
        if wanted == Use::Template && is_plain && found.kind != FileType::Directory {
            return Err(SourceError::NoDirectory(given()));
        }
        if !is_plain {
            return Err(SourceError::Kind(given()));
        }
        self.is_kept(path, &found.path, wanted)?;
        match wanted {
            Use::Mount | Use::Template => direct(path, &found.path)?,
            Use::Read if is_the_systems(path, &found.path) => {}
            Use::Read => direct(path, &found.path)?,
        }
        self.looks_like_files(path, &found)?;
        Ok(found.path)
    }

    /// Refuses what Lazarus and the operator's Hermes keep, and what contains it.
    fn is_kept(&self, path: &Path, found: &Path, wanted: Use) -> Result<(), SourceError> {
        let touches = |kept: &PathBuf| is_within(found, kept) || is_within(kept, found);
        if self.roots.iter().any(touches) || found.ancestors().any(looks_like_a_root) {
            return Err(SourceError::LazarusRoot(path.to_owned()));
        }
        let code = |hermes: &PathBuf| wanted == Use::Read && is_within(found, &hermes.join(HERMES_CODE));
        match &self.hermes {
            Some(hermes) if touches(hermes) && !code(hermes) => Err(SourceError::Hermes(path.to_owned())),
            Some(_) | None => Ok(()),
        }
    }

    /// Refuses a path that is on, or has mounted below it, more than files, or what is kept under another name.
    fn looks_like_files(&self, path: &Path, found: &Found) -> Result<(), SourceError> {
        let untold = || SourceError::Untold(path.to_owned());
        let read = || mount_table().ok().and_then(|text| MountTable::parse(&text));
        let table = self.mounts.get_or_init(read).as_ref().ok_or_else(untold)?;
        let on = table.of(&found.path, found.mount).ok_or_else(untold)?;
        if !on.holds_files() {
            return Err(SourceError::System(path.to_owned()));
        }
        for kept in self.roots.iter().chain(&self.hermes) {
            let number = mount_of(kept);
            let kept_on = table.of(kept, number).ok_or_else(untold)?;
            // On the very mount of what is kept, paths say enough.
            if !on.is_same(kept_on) && table.shows_at(on, &found.path, kept, kept_on) {
                return Err(SourceError::Shown { path: path.to_owned(), below: on.point.clone(), kept: kept.clone() });
            }
        }
        for mounted in table.below(&found.path, on) {
            let (below, kind) = (mounted.point.clone(), mounted.kind.clone());
            if !mounted.holds_files() {
                return Err(SourceError::Below { path: path.to_owned(), below, kind });
            }
            for kept in self.roots.iter().chain(&self.hermes) {
                let on = table.of(kept, mount_of(kept)).ok_or_else(untold)?;
                if table.shows(mounted, kept, on) {
                    return Err(SourceError::Shown { path: path.to_owned(), below, kept: kept.clone() });
                }
            }
        }
        Ok(())
    }
}

/// Whether a link may lead there: the path is one of those that every process agent may read, or what it leads to is in one of them.
pub fn is_the_systems(path: &Path, found: &Path) -> bool {
    let own = READ_BY_DEFAULT.iter().map(Path::new);
    own.clone().any(|own| own == path) || own.filter_map(|own| own.canonicalize().ok()).any(|own| found.starts_with(own))
}

/// Refuses a way that is not the straight one.
fn direct(path: &Path, found: &Path) -> Result<(), SourceError> {
    let (path, leads) = (path.to_owned(), found.to_owned());
    if path.components().any(|part| part == Component::ParentDir) {
        return Err(SourceError::Parent { path, leads });
    }
    match std::path::absolute(&path) {
        Ok(absolute) if absolute.components().eq(found.components()) => Ok(()),
        Ok(_) => Err(SourceError::Link { path, leads }),
        Err(source) => Err(SourceError::Missing { path, source }),
    }
}

#[cfg(test)]
#[path = "source_tests.rs"]
mod tests;
