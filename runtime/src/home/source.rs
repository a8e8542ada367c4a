//! Which paths of the machine may be granted to an agent at all, whoever asks.

use std::{
    io,
    path::{Component, Path, PathBuf},
};

use rustix::fs::FileType;

use super::{
    Root,
    ambient::{is_within, look_up, operator_hermes, settled},
};

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
    /// What Lazarus keeps: other cells, the registry, the audit log.
    #[error("grant {0}: it is inside the Lazarus root, or contains it, with every cell's home and the registry")]
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
            | Self::Kind(_) => self.to_string(),
        }
    }
}

/// Checks a path that is to be mounted into a cell. Returns its canonical form, which is the path itself, made absolute: no link is on its way.
///
/// `/` is never granted, not even to a bare run: it holds `/proc`, and with that the memory of the very process that runs a guest.
///
/// # Errors
/// It does not exist, or is never granted.
pub fn check_mount_source(root: &Root, path: &Path) -> Result<PathBuf, SourceError> {
    check(root.path(), operator_hermes().as_deref(), path, Use::Mount)
}

/// Checks a path that a process agent is to read and execute from. Returns whether it exists on this machine; it is granted
/// as it was written, since programs name it like that.
///
/// Links are followed: `/bin` is one on most machines. What they lead to is looked at.
///
/// The code of a Hermes that is installed inside `~/.hermes` may be read; `~/.hermes` itself may not.
///
/// # Errors
/// It is never granted.
pub fn check_read_source(root: &Root, path: &Path) -> Result<bool, SourceError> {
    match check(root.path(), operator_hermes().as_deref(), path, Use::Read) {
        Ok(_) => Ok(true),
        Err(SourceError::Missing { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

#[derive(Clone, Copy)]
enum Use {
    Mount,
    Read,
}

fn check(root: &Path, hermes: Option<&Path>, path: &Path, wanted: Use) -> Result<PathBuf, SourceError> {
    let (found, kind, on_proc) = look_up(path).map_err(|source| SourceError::Missing { path: path.to_owned(), source })?;
    let given = || path.to_owned();
    if found == Path::new("/") {
        return Err(SourceError::WholeMachine);
    }
    if on_proc {
        return Err(SourceError::Proc(given()));
    }
    if matches!((wanted, kind), (Use::Read, FileType::CharacterDevice)) {
        return Err(SourceError::Device(given()));
    }
    let system = is_within(&found, Path::new("/sys")) || is_within(&found, Path::new("/dev"));
    if system && matches!(kind, FileType::Directory | FileType::RegularFile) {
        return Err(SourceError::System(given()));
    }
    match kind {
        FileType::Directory | FileType::RegularFile => {}
        _ => return Err(SourceError::Kind(given())),
    }
    if is_within(&found, root) || is_within(root, &found) {
        return Err(SourceError::LazarusRoot(given()));
    }
    if let Some(hermes) = hermes.map(settled) {
        let inside = is_within(&found, &hermes);
        let refused = match wanted {
            Use::Mount => inside || is_within(&hermes, &found),
            Use::Read => is_within(&hermes, &found),
        };
        if refused {
            return Err(SourceError::Hermes(given()));
        }
    }
    match wanted {
        Use::Mount => direct(path, &found)?,
        Use::Read => {}
    }
    Ok(found)
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
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use super::*;

    #[test]
    fn what_is_never_granted() {
        let temp = tempfile::tempdir().expect("a directory");
        let at = |name: &str| temp.path().join(name);
        for name in ["data/root/cells", "home/.hermes/hermes-agent", "home/project", "other"] {
            fs::create_dir_all(at(name)).expect("made");
        }
        fs::write(at("other/file"), "x").expect("written");
        symlink(at("data/root/cells"), at("other/link")).expect("linked");
        rustix::fs::mkfifoat(rustix::fs::CWD, at("other/fifo"), rustix::fs::Mode::RUSR).expect("a fifo");
        let (root, hermes) = (at("data/root"), at("home/.hermes"));
        let mount = |path: &Path| check(&root, Some(&hermes), path, Use::Mount);
        let read = |path: &Path| check(&root, Some(&hermes), path, Use::Read);

        for name in ["other", "other/file", "home/project"] {
            assert_eq!(mount(&at(name)).expect(name), at(name).canonicalize().expect("canonical"));
            assert!(read(&at(name)).is_ok());
        }
        let leads = at("home/project");
        assert!(matches!(mount(&at("other/../home/project")), Err(SourceError::Parent { leads: found, .. }) if found == leads));
        assert!(mount(&at("./other/./file")).is_ok());
        symlink(&leads, at("straight")).expect("linked");
        fs::create_dir(leads.join("below")).expect("made");
        for name in ["straight", "straight/below"] {
            assert!(matches!(mount(&at(name)), Err(SourceError::Link { leads: found, .. }) if found.starts_with(&leads)), "{name}");
            assert!(read(&at(name)).is_ok(), "links to read are followed, and looked at: {name}");
        }
        for name in ["/sys", "/sys/kernel", "/dev", "/dev/shm"] {
            assert!(matches!(mount(Path::new(name)), Err(SourceError::System(_))), "{name}");
            assert!(matches!(read(Path::new(name)), Err(SourceError::System(_))), "{name}");
        }
        for name in ["data", "data/root", "data/root/cells", "other/link"] {
            assert!(matches!(mount(&at(name)), Err(SourceError::LazarusRoot(_))), "{name}");
            assert!(matches!(read(&at(name)), Err(SourceError::LazarusRoot(_))), "{name}");
        }
        for name in ["home", "home/.hermes", "home/.hermes/hermes-agent"] {
            assert!(matches!(mount(&at(name)), Err(SourceError::Hermes(_))), "{name}");
        }
        assert!(read(&at("home/.hermes/hermes-agent")).is_ok());
        assert!(matches!(read(&at("home/.hermes")), Err(SourceError::Hermes(_))));
        assert!(matches!(mount(Path::new("/")), Err(SourceError::WholeMachine)));
        assert!(matches!(mount(Path::new("/../")), Err(SourceError::WholeMachine)));
        assert!(matches!(read(Path::new("/")), Err(SourceError::WholeMachine)));
        assert!(matches!(mount(Path::new("/proc/self")), Err(SourceError::Proc(_))));
        assert!(matches!(read(Path::new("/proc")), Err(SourceError::Proc(_))));
        assert!(matches!(mount(&at("other/fifo")), Err(SourceError::Kind(_))));
        assert!(matches!(mount(Path::new("/dev/null")), Err(SourceError::Kind(_))));
        assert!(matches!(read(Path::new("/dev/null")), Err(SourceError::Device(_))), "every process agent has it");
        assert!(matches!(mount(&at("nothing")), Err(SourceError::Missing { .. })));
    }

    #[test]
    fn a_bind_mount_does_not_hide_the_root() {
        if crate::home::test_ground::elsewhere(module_path!(), "a_bind_mount_does_not_hide_the_root") {
            return;
        }
        let temp = tempfile::tempdir().expect("a directory");
        let (root, alias) = (temp.path().join("root"), temp.path().join("alias"));
        fs::create_dir_all(root.join("cells")).expect("made");
        fs::create_dir(&alias).expect("made");
        let run = |program: &str, args: &[&std::ffi::OsStr]| {
            assert!(std::process::Command::new(program).args(args).status().expect("it runs").success(), "{program} (run as root)");
        };
        run("mount", &["--bind".as_ref(), root.as_os_str(), alias.as_os_str()]);
        let found = ["alias", "alias/cells"].map(|name| check(&root, None, &temp.path().join(name), Use::Mount));
        run("umount", &[alias.as_os_str()]);
        for refused in found {
            assert!(matches!(refused, Err(SourceError::LazarusRoot(_))), "{refused:?}");
        }
    }
}
