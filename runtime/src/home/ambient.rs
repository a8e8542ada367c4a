//! The place of this crate that opens paths of the machine by name ([`super::look`] looks at some, and opens nothing to read or write).
//!
//! Each function says who calls it and on whose word the path is opened. Everything else works
//! from the handles that these return. Links are followed here, since the operator named the path.

use std::{
    ffi::OsString,
    fs::File,
    io,
    os::unix::fs::{DirBuilderExt, MetadataExt},
    path::{Component, Path, PathBuf},
};

use cap_std::fs::Dir;
use rusqlite::{Connection, OpenFlags};
use rustix::{
    fs::{AtFlags, CWD, FileType, Mode, OFlags, RenameFlags},
    io::Errno,
};

use super::{handle::PRIVATE_DIR, look::looks_like_a_root};

/// The name of the directory that Hermes takes for its root, whatever HERMES_HOME says, in the operator's home.
const HERMES: &str = ".hermes";

/// Why the Lazarus root was refused.
#[derive(Debug, thiserror::Error)]
pub enum RootError {
    /// Neither a root nor a home to put it in.
    #[error("find the Lazarus root: neither XDG_DATA_HOME nor HOME is an absolute path; name one with --root or LAZARUS_ROOT")]
    Nowhere,
    /// Below `~/.hermes`, where Hermes would replace each cell's home by its active profile.
    #[error(
        "use {0} as the Lazarus root: it is inside ~/.hermes, where Hermes replaces every HERMES_HOME by its active profile; name another with --root or LAZARUS_ROOT"
    )]
    InsideHermes(PathBuf),
    /// Below another root: in a cell's home it would be its agent's to write.
    #[error("use {path} as the Lazarus root: it is inside another one, {outer}; name another with --root or LAZARUS_ROOT")]
    InsideRoot {
        /// The root.
        path: PathBuf,
        /// The other one.
        outer: PathBuf,
    },
    /// Something else has the name.
    #[error("use {0} as the Lazarus root: it is not a directory")]
    NotDirectory(PathBuf),
    /// Another user's.
    #[error("use {path} as the Lazarus root: it belongs to user {owner}, not to you")]
    NotOurs {
        /// The root.
        path: PathBuf,
        /// Whose it is.
        owner: u32,
    },
    /// Others may read or write it.
    #[error("use {path} as the Lazarus root: others may reach it (mode {mode:03o}); run: chmod 700 '{path}'")]
    Loose {
        /// The root.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// On a file system that cannot be written to.
    #[error("make the Lazarus root {0}: the file system is read-only; name another with --root or LAZARUS_ROOT")]
    ReadOnly(PathBuf),
    /// On a full disk, or past a quota.
    #[error("make the Lazarus root {0}: the disk is full, or your quota is")]
    Full(PathBuf),
    /// Anything else.
    #[error("open the Lazarus root {path}")]
    Io {
        /// The root.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

impl RootError {
    pub(super) fn of(path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        match source.kind() {
            io::ErrorKind::ReadOnlyFilesystem => Self::ReadOnly(path),
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Full(path),
            io::ErrorKind::NotADirectory | io::ErrorKind::AlreadyExists => Self::NotDirectory(path),
            _ => Self::Io { path, source },
        }
    }
}

/// Returns where the Lazarus root is when the operator does not say: `$XDG_DATA_HOME/lazarus`, or `~/.local/share/lazarus`.
///
/// Called by the command line, with a way to read the operator's environment.
///
/// # Errors
/// Neither variable holds an absolute path.
pub fn default_root(variable: impl Fn(&str) -> Option<OsString>) -> Result<PathBuf, RootError> {
    let absolute = |name: &str| variable(name).map(PathBuf::from).filter(|path| path.is_absolute());
    absolute("XDG_DATA_HOME")
        .or_else(|| absolute("HOME").map(|home| home.join(".local/share")))
        .map(|data| data.join("lazarus"))
        .ok_or(RootError::Nowhere)
}

/// Returns the operator's own `~/.hermes`, whether or not it exists.
pub(super) fn operator_hermes() -> Option<PathBuf> {
    home().map(|home| home.join(HERMES))
}

/// Returns the default Lazarus root, whether or not it exists: it is kept from agents also while another one is in use.
pub(super) fn usual_root() -> Option<PathBuf> {
    let variable = |name: &str| if name == "HOME" { home().map(PathBuf::into_os_string) } else { std::env::var_os(name) };
    default_root(variable).ok()
}

/// The operator's home: `$HOME`, or what the machine's list of users says where that is not set.
fn home() -> Option<PathBuf> {
    std::env::home_dir().filter(|home| home.is_absolute())
}

/// What identifies an existing file or directory, whatever it is called.
pub(super) fn inode_of(path: &Path) -> Option<(u64, u64)> {
    std::fs::metadata(path).ok().map(|meta| (meta.dev(), meta.ino()))
}

/// Whether `inner` is `outer` or below it: by path, and by inode, so that neither a link nor a bind mount hides it.
/// Both are canonical, as far as they exist.
pub(super) fn is_within(inner: &Path, outer: &Path) -> bool {
    let id = inode_of(outer);
    inner.starts_with(outer) || (id.is_some() && inner.ancestors().any(|ancestor| inode_of(ancestor) == id))
}

/// Resolves links in the part of a path that exists. Returns it, and the names that do not exist yet.
fn settle(path: &Path) -> io::Result<(PathBuf, Vec<OsString>)> {
    let path = std::path::absolute(path)?;
    let mut parts: Vec<Component<'_>> = path.components().collect();
    let mut missing = Vec::new();
    loop {
        match parts.iter().collect::<PathBuf>().canonicalize() {
            Ok(found) => {
                missing.reverse();
                return Ok((found, missing));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => match parts.pop() {
                Some(Component::Normal(name)) => missing.push(name.to_owned()),
                _ => return Err(error),
            },
            Err(error) => return Err(error),
        }
    }
}

/// As much of a path as can be made canonical, with the rest as it is written.
pub(super) fn settled(path: &Path) -> PathBuf {
    settle(path).map_or_else(|_| path.to_owned(), |(found, missing)| missing.iter().fold(found, |path, name| path.join(name)))
}

/// Opens the Lazarus root, which is made, with its parents, if there is none.
///
/// Called by [`super::Root::open`] alone, on the operator's word (`--root`, LAZARUS_ROOT, or the default). An empty directory
/// of the operator's is taken over and closed to others; one that holds something is taken as it is, or refused.
pub(super) fn open_root(path: &Path, hermes: Option<&Path>) -> Result<(Dir, PathBuf), RootError> {
    let io_error = |source| RootError::of(path, source);
    let (found, missing) = settle(path).map_err(io_error)?;
    let whole = missing.iter().fold(found.clone(), |path, name| path.join(name));
    if hermes.is_some_and(|hermes| is_within(&whole, &settled(hermes))) {
        return Err(RootError::InsideHermes(path.to_owned()));
    }
    if let Some(outer) = whole.ancestors().skip(1).find(|above| looks_like_a_root(above)) {
        return Err(RootError::InsideRoot { path: path.to_owned(), outer: outer.to_owned() });
    }
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut dir = Dir::from(rustix::fs::openat(CWD, &found, flags, Mode::empty()).map_err(io::Error::from).map_err(io_error)?);
    for name in &missing {
        match rustix::fs::mkdirat(&dir, name, PRIVATE_DIR) {
            // Two commands at once may both be the first.
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => return Err(io_error(error.into())),
        }
        dir = Dir::from(rustix::fs::openat(&dir, name, flags, Mode::empty()).map_err(io::Error::from).map_err(io_error)?);
    }
    let stat = rustix::fs::fstat(&dir).map_err(|error| io_error(error.into()))?;
    if stat.st_uid != rustix::process::geteuid().as_raw() {
        return Err(RootError::NotOurs { path: whole, owner: stat.st_uid });
    }
    let mode = stat.st_mode & 0o777;
    if mode & 0o077 != 0 {
        let is_empty = |dir: &Dir| Ok::<_, io::Error>(dir.entries()?.next().is_none());
        if !is_empty(&dir).map_err(io_error)? {
            return Err(RootError::Loose { path: whole, mode });
        }
        rustix::fs::fchmod(&dir, PRIVATE_DIR).map_err(|error| io_error(error.into()))?;
        // From here on nobody else adds to it: whatever is there now came before.
        if !is_empty(&dir).map_err(io_error)? {
            return Err(RootError::Loose { path: whole, mode });
        }
    }
    Ok((dir, whole))
}

/// Whether a cell is below a root, which is neither made nor opened.
///
/// Called for `lazarus send` and `lazarus inbox`, to tell a cell of this user from one of another that they joined.
pub fn has_cell(root: &Path, cell: &crate::cell::CellId) -> bool {
    std::fs::symlink_metadata(root.join("cells").join(cell.as_str())).is_ok()
}

/// Opens the directory in which a person keeps the cells that they joined: `$XDG_STATE_HOME/lazarus/joined`, or the same below
/// `~/.local/state`. With `make`, it is made if there is none, for nobody else to enter; without, `None` says that there is none.
///
/// Called for `lazarus join`, and for the commands of somebody who joined, with a way to read their environment.
///
/// # Errors
/// With `make`, neither variable holds an absolute path; what the system says.
pub fn open_joined(variable: impl Fn(&str) -> Option<OsString>, make: bool) -> io::Result<Option<Dir>> {
    let absolute = |name: &str| variable(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let state = absolute("XDG_STATE_HOME").or_else(|| absolute("HOME").map(|home| home.join(".local/state")));
    let Some(state) = state else {
        let nowhere = || io::Error::new(io::ErrorKind::NotFound, "neither XDG_STATE_HOME nor HOME is an absolute path");
        return if make { Err(nowhere()) } else { Ok(None) };
    };
    if make {
        std::fs::DirBuilder::new().recursive(true).mode(PRIVATE_DIR.as_raw_mode()).create(&state)?;
    }
    let flags = OFlags::DIRECTORY | OFlags::CLOEXEC;
    let mut dir = match rustix::fs::openat(CWD, &state, flags, Mode::empty()) {
        Err(Errno::NOENT) if !make => return Ok(None),
        opened => Dir::from(opened?),
    };
    for name in ["lazarus", "joined"] {
        let next = if make { super::handle::open_or_make_dir(&dir, name) } else { super::handle::open_dir(&dir, name) };
        dir = match next {
            Err(error) if error.kind() == io::ErrorKind::NotFound && !make => return Ok(None),
            next => next?,
        };
    }
    Ok(Some(dir))
}

/// Returns the operator's login name, from the machine's own list of users; `None` where it is not on it.
///
/// Called by the command line, to name who gives a command. The environment is not asked: anybody can set it.
pub fn login_name() -> Option<String> {
    /// Lists of users are small where they are files; a directory service is not asked.
    const USERS_MOST_BYTES: u64 = 4 * 1024 * 1024;
    let uid = rustix::process::geteuid().as_raw().to_string();
    let users = read_named_file(Path::new("/etc/passwd"), USERS_MOST_BYTES).ok()?;
    let users = String::from_utf8_lossy(&users);
    let mut fields = users.lines().map(|line| line.split(':').collect::<Vec<_>>());
    fields.find(|fields| fields.get(2) == Some(&uid.as_str())).and_then(|fields| fields.first().map(ToString::to_string))
}

/// Opens a regular file that the operator named, of at most `most` bytes, for reading.
///
/// Called for an agent definition and for a component (`agent add`, `--component`, `run FILE.wasm`), and for a head or a receipt that is checked. A FIFO or a device
/// is refused and never waited for.
///
/// # Errors
/// It does not exist, is no regular file, or is too large.
pub fn open_named_file(path: &Path, most: u64) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = File::from(rustix::fs::openat(CWD, path, flags, Mode::empty())?);
    let meta = file.metadata()?;
    if !meta.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
    }
    if meta.len() > most {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("larger than {most} bytes")));
    }
    Ok(file)
}

/// Whether there is anything at a path that the operator, or a definition of theirs, named. Opens nothing.
///
/// Called for a definition that is looked at (`agent check`).
pub fn is_there(path: &Path) -> bool {
    std::fs::symlink_metadata(path).is_ok()
}

/// Reads a regular file that the operator named, of at most `most` bytes.
///
/// Called as [`open_named_file`] is.
///
/// # Errors
/// As [`open_named_file`]; also when it grows past `most` while it is read.
pub fn read_named_file(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    use std::io::Read;
    let mut bytes = Vec::new();
    open_named_file(path, most)?.take(most + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("larger than {most} bytes")));
    }
    Ok(bytes)
}

/// A file that is being written, and gets the name that the operator gave when it is whole. Dropped before, nothing of it is left; where the
/// file system has files without a name, also not when this process is killed.
///
/// Made for results that are fetched (`artifacts CELL get`) and for archives (`archive CELL`).
#[derive(Debug)]
pub struct FreshFile {
    dir: Dir,
    name: OsString,
    file: File,
    /// Its name until then; `None` while it has none.
    temporary: Option<String>,
}

impl FreshFile {
    /// Makes the file. Links on the way to its directory are followed, since the operator named them.
    ///
    /// # Errors
    /// The path names no file, its directory is not there, or cannot be written to.
    pub fn create(path: &Path) -> io::Result<Self> {
        let name = path.file_name().ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "that names no file"))?.to_owned();
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let (dir, _) = open_named_dir(parent)?;
        let flags = OFlags::WRONLY | OFlags::CLOEXEC;
        match rustix::fs::openat(&dir, c".", flags | OFlags::TMPFILE, super::handle::PRIVATE_FILE) {
            Ok(file) => return Ok(Self { dir, name, file: File::from(file), temporary: None }),
            // What file systems without such files say: NFS, FUSE, overlays on either.
            Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::INVAL | Errno::NOSYS) => {}
            Err(error) => return Err(error.into()),
        }
        let temporary = temporary_name();
        let flags = flags | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW;
        let file = File::from(rustix::fs::openat(&dir, &temporary, flags, super::handle::PRIVATE_FILE)?);
        Ok(Self { dir, name, file, temporary: Some(temporary) })
    }

    /// Where its bytes go.
    pub const fn file(&mut self) -> &mut File {
        &mut self.file
    }

    /// Gives it its name. What has that name is an error, or, with `replace`, replaced: a link too, which is never followed, but no device, FIFO
    /// or socket.
    ///
    /// # Errors
    /// `AlreadyExists`; or the disk is full, or the name that of no file.
    pub fn keep(mut self, replace: bool) -> io::Result<()> {
        self.file.sync_all()?;
        if replace && let Ok(there) = rustix::fs::statat(&self.dir, &self.name, AtFlags::SYMLINK_NOFOLLOW) {
            match FileType::from_raw_mode(there.st_mode) {
                FileType::RegularFile | FileType::Symlink => {}
                _ => return Err(io::Error::new(io::ErrorKind::InvalidInput, "what is there is not a file")),
            }
        }
        let temporary = match self.temporary.take() {
            Some(temporary) => temporary,
            None if replace => {
                let temporary = temporary_name();
                self.link_to(temporary.as_ref())?;
                temporary
            }
            None => return self.link_to(&self.name),
        };
        // From here on it has a name to be removed by.
        let temporary = self.temporary.insert(temporary);
        let how = if replace { RenameFlags::empty() } else { RenameFlags::NOREPLACE };
        match rustix::fs::renameat_with(&self.dir, &*temporary, &self.dir, &self.name, how) {
            // A file system without that kind of rename: a second name is never given twice either.
            Err(Errno::INVAL) if !replace => rustix::fs::linkat(&self.dir, &*temporary, &self.dir, &self.name, AtFlags::empty())?,
            renamed => {
                renamed?;
                self.temporary = None;
            }
        }
        Ok(())
    }

    /// Gives a file that has none a name, which nothing has yet.
    fn link_to(&self, name: &std::ffi::OsStr) -> io::Result<()> {
        use std::os::fd::AsRawFd;
        // By descriptor it would need a privilege; its name in /proc leads to the same inode.
        let own = format!("/proc/self/fd/{}", self.file.as_raw_fd());
        Ok(rustix::fs::linkat(CWD, own, &self.dir, name, AtFlags::SYMLINK_FOLLOW)?)
    }
}

impl Drop for FreshFile {
    fn drop(&mut self) {
        if let Some(temporary) = &self.temporary {
            // What cannot be removed is named `.lazarus-…`, and seen.
            let _ = rustix::fs::unlinkat(&self.dir, temporary, AtFlags::empty());
        }
    }
}

/// The machine's directory for temporary files: `TMPDIR`, else `/tmp`. A relative one is none.
///
/// Called for the stage of a drill, which makes a directory of its own there.
pub fn temporary(variable: impl Fn(&str) -> Option<OsString>) -> PathBuf {
    variable("TMPDIR").map(PathBuf::from).filter(|path| path.is_absolute()).unwrap_or_else(|| PathBuf::from("/tmp"))
}

/// Whether a directory of the machine has an entry of that name. Removes it, where it is a file of this user: it was left by an attack.
///
/// Called for what a drill's attackers may leave in directories that all processes share.
pub fn is_left(directory: &Path, name: &str) -> bool {
    let Ok(stat) = rustix::fs::statat(CWD, directory.join(name), AtFlags::SYMLINK_NOFOLLOW) else { return false };
    if stat.st_uid == rustix::process::geteuid().as_raw() {
        let _ = rustix::fs::unlinkat(CWD, directory.join(name), AtFlags::empty());
    }
    true
}

fn temporary_name() -> String {
    format!(".lazarus-{}", uuid::Uuid::new_v4().simple())
}

/// Makes a directory that the operator named, and opens it. Its parents are there.
///
/// Called for a crate that is scaffolded (`agent new`).
///
/// # Errors
/// `AlreadyExists` where anything has the name, or takes it meanwhile; or its parent is not there, or cannot be written to.
pub fn make_named_dir(path: &Path) -> io::Result<Dir> {
    rustix::fs::mkdirat(CWD, path, PRIVATE_DIR)?;
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let dir = Dir::from(rustix::fs::openat(CWD, path, flags, Mode::empty())?);
    // Whoever can write to its parent could have put another one there.
    let is_fresh = rustix::fs::fstat(&dir)?.st_uid == rustix::process::geteuid().as_raw() && dir.entries()?.next().is_none();
    if is_fresh { Ok(dir) } else { Err(io::ErrorKind::AlreadyExists.into()) }
}

/// Opens a directory that the operator named. Returns it with its canonical path.
///
/// Called for the template that an agent definition names, when the operator installs that definition.
///
/// # Errors
/// It does not exist, or is no directory.
pub fn open_named_dir(path: &Path) -> io::Result<(Dir, PathBuf)> {
    let path = path.canonicalize()?;
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok((Dir::from(rustix::fs::openat(CWD, &path, flags, Mode::empty())?), path))
}

/// Opens a SQLite database by path, since SQLite knows no handles: for reading only, and not through any link.
///
/// Called for the `state.db` of a template, in a directory that [`open_named_dir`] opened, when a definition is installed.
pub(super) fn open_database(path: &Path) -> rusqlite::Result<Connection> {
    Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_NOFOLLOW)
}

/// Creates a SQLite database by path.
///
/// Called for the copy of a `state.db`, in a directory that Lazarus has just made and that no agent can reach yet.
pub(super) fn create_database(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_NOFOLLOW;
    Connection::open_with_flags(path, flags)
}

#[cfg(test)]
#[path = "ambient_tests.rs"]
mod tests;
