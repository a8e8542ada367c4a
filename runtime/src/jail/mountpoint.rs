//! Places in a new root, made without ever following a link.

use std::{
    ffi::OsStr,
    io,
    os::{
        fd::{AsFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::{Component, Path},
};

use rustix::{
    fs::{self, Mode, OFlags},
    io::Errno,
};

/// Directories are for everyone to pass: the agent need not have the id of who made them.
const DIRECTORY_MODE: Mode = Mode::RWXU.union(Mode::RGRP).union(Mode::XGRP).union(Mode::ROTH).union(Mode::XOTH);
/// Texts are for everyone to read.
const TEXT_MODE: Mode = Mode::RUSR.union(Mode::RGRP).union(Mode::ROTH);

/// The parts of an absolute path; anything but plain names is refused.
fn parts(path: &Path) -> io::Result<Vec<&OsStr>> {
    let refuse = || io::Error::new(io::ErrorKind::InvalidInput, "not a plain absolute path below the root");
    let mut parts = Vec::new();
    for component in path.components() {
        match component {
            Component::RootDir => {}
            Component::Normal(part) => parts.push(part),
            Component::CurDir | Component::ParentDir | Component::Prefix(_) => return Err(refuse()),
        }
    }
    if parts.is_empty() || !path.as_os_str().as_bytes().starts_with(b"/") { Err(refuse()) } else { Ok(parts) }
}

/// Opens a directory in a directory, making it if it is not there.
fn enter(parent: &OwnedFd, name: &OsStr) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    // Most are there: below something that was bound read-only, none could be made.
    match fs::openat(parent, name, flags, Mode::empty()) {
        Err(Errno::NOENT) => {}
        opened => return opened,
    }
    match fs::mkdirat(parent, name, DIRECTORY_MODE) {
        Ok(()) | Err(Errno::EXIST) => fs::openat(parent, name, flags, Mode::empty()),
        Err(errno) => Err(errno),
    }
}

/// Opens the directory that holds `path`, and the last part of `path`.
fn parent<'p>(root: &OwnedFd, path: &'p Path) -> io::Result<(OwnedFd, &'p OsStr)> {
    let parts = parts(path)?;
    let (last, above) = parts.split_last().ok_or_else(|| io::Error::from(Errno::INVAL))?;
    let mut place = root.as_fd().try_clone_to_owned()?;
    for part in above {
        place = enter(&place, part)?;
    }
    Ok((place, last))
}

/// Makes, if it is not there, a directory or an empty file, and opens it.
pub(super) fn make(root: &OwnedFd, path: &Path, directory: bool) -> io::Result<OwnedFd> {
    let (place, name) = parent(root, path)?;
    if directory {
        return Ok(enter(&place, name)?);
    }
    match fs::openat(&place, name, OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC, TEXT_MODE) {
        // It was made here and now: an empty file, and no link.
        Ok(made) => return Ok(made),
        Err(Errno::EXIST) => {}
        Err(errno) => return Err(errno.into()),
    }
    let place = fs::openat(&place, name, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?;
    // A link would be mounted over where it stands, by its descriptor; but nothing of the kind belongs here.
    let kind = fs::FileType::from_raw_mode(fs::fstat(&place)?.st_mode);
    if kind == fs::FileType::Symlink { Err(Errno::LOOP.into()) } else { Ok(place) }
}

/// Makes a symbolic link.
pub(super) fn link(root: &OwnedFd, path: &Path, text: &Path) -> io::Result<()> {
    let (place, name) = parent(root, path)?;
    Ok(fs::symlinkat(text, &place, name)?)
}

/// Makes a small file.
pub(super) fn text(root: &OwnedFd, path: &Path, text: &str) -> io::Result<()> {
    let (place, name) = parent(root, path)?;
    let file = fs::openat(&place, name, OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC, TEXT_MODE)?;
    io::Write::write_all(&mut std::fs::File::from(file), text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(path: &Path) -> OwnedFd {
        fs::open(path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).expect("open")
    }

    #[test]
    fn places_are_made_as_deep_as_needed() {
        let dir = tempfile::tempdir().expect("tempdir");
        let root = open(dir.path());
        make(&root, Path::new("/a/b/c"), true).expect("directory");
        make(&root, Path::new("/a/b/f"), false).expect("file");
        text(&root, Path::new("/etc/t"), "hello").expect("text");
        link(&root, Path::new("/bin"), Path::new("usr/bin")).expect("link");
        assert!(dir.path().join("a/b/c").is_dir() && dir.path().join("a/b/f").is_file());
        assert_eq!(std::fs::read_to_string(dir.path().join("etc/t")).expect("read"), "hello");
    }

    #[test]
    fn links_are_never_followed() {
        let dir = tempfile::tempdir().expect("tempdir");
        let outside = tempfile::tempdir().expect("tempdir");
        let root = open(dir.path());
        link(&root, Path::new("/out"), outside.path()).expect("link");
        for path in ["/out", "/out/x", "/out/x/y"] {
            assert!(make(&root, Path::new(path), true).is_err(), "{path}");
            assert!(make(&root, Path::new(path), false).is_err(), "{path}");
        }
        assert_eq!(std::fs::read_dir(outside.path()).expect("list").count(), 0);
    }

    #[test]
    fn only_plain_paths_are_made() {
        let dir = tempfile::tempdir().expect("tempdir");
        let root = open(dir.path());
        for path in ["/", "", "a", "/..", "/a/../b", "../a"] {
            assert!(make(&root, Path::new(path), true).is_err(), "{path}");
        }
    }
}
