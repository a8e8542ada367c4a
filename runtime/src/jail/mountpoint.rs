//! Places in a new root, made without ever following a link, and only where the new root itself is: what is mounted in it is the machine's, and
//! nothing is made in there.

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

/// The new root, and the file systems that were made for it.
#[derive(Debug)]
pub(super) struct Ground {
    root: OwnedFd,
    own: Vec<u64>,
}

impl Ground {
    /// A new root that is empty.
    pub fn new(root: OwnedFd) -> io::Result<Self> {
        let own = vec![fs::fstat(&root)?.st_dev];
        Ok(Self { root, own })
    }

    /// Takes a file system that was made for it for a part of it.
    pub fn add(&mut self, place: &OwnedFd) -> io::Result<()> {
        self.own.push(fs::fstat(place)?.st_dev);
        Ok(())
    }

    /// The root, for who goes on with it.
    pub fn into_root(self) -> OwnedFd {
        self.root
    }

    /// Refuses a directory in which nothing may be made.
    fn is_own(&self, directory: &OwnedFd) -> io::Result<()> {
        let nothing =
            "there is nothing to mount on, and what is mounted above it is not the cell's; make it there, or choose another place";
        if self.own.contains(&fs::fstat(directory)?.st_dev) { Ok(()) } else { Err(io::Error::new(io::ErrorKind::NotFound, nothing)) }
    }

    /// Opens a directory in a directory, making it if it is not there.
    fn enter(&self, parent: &OwnedFd, name: &OsStr) -> io::Result<OwnedFd> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match fs::openat(parent, name, flags, Mode::empty()) {
            Err(Errno::NOENT) => {}
            opened => return Ok(opened?),
        }
        self.is_own(parent)?;
        match fs::mkdirat(parent, name, DIRECTORY_MODE) {
            Ok(()) | Err(Errno::EXIST) => Ok(fs::openat(parent, name, flags, Mode::empty())?),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Opens the directory that holds `path`, and the last part of `path`.
    fn parent<'p>(&self, path: &'p Path) -> io::Result<(OwnedFd, &'p OsStr)> {
        let parts = parts(path)?;
        let (last, above) = parts.split_last().ok_or_else(|| io::Error::from(Errno::INVAL))?;
        let mut place = self.root.as_fd().try_clone_to_owned()?;
        for part in above {
            place = self.enter(&place, part)?;
        }
        Ok((place, last))
    }

    /// Makes, if it is not there, a directory or an empty file, and opens it.
    pub fn make(&self, path: &Path, directory: bool) -> io::Result<OwnedFd> {
        let (parent, name) = self.parent(path)?;
        if directory {
            return self.enter(&parent, name);
        }
        match fs::openat(&parent, name, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty()) {
            Err(Errno::NOENT) => {
                self.is_own(&parent)?;
                // Made here and now: an empty file, and no link.
                Ok(fs::openat(&parent, name, OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC, TEXT_MODE)?)
            }
            Err(errno) => Err(errno.into()),
            Ok(place) => match fs::FileType::from_raw_mode(fs::fstat(&place)?.st_mode) {
                // A link would be mounted over where it stands, by its descriptor; but nothing of the kind belongs here.
                fs::FileType::Symlink => Err(Errno::LOOP.into()),
                fs::FileType::Directory => Err(io::Error::other("a file cannot be mounted there, since a directory is")),
                _ => Ok(place),
            },
        }
    }

    /// Makes a symbolic link.
    pub fn link(&self, path: &Path, text: &Path) -> io::Result<()> {
        let (parent, name) = self.parent(path)?;
        Ok(fs::symlinkat(text, &parent, name)?)
    }

    /// Makes a small file.
    pub fn text(&self, path: &Path, text: &str) -> io::Result<()> {
        let (parent, name) = self.parent(path)?;
        let file = fs::openat(&parent, name, OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC, TEXT_MODE)?;
        io::Write::write_all(&mut std::fs::File::from(file), text.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ground(path: &Path) -> Ground {
        Ground::new(fs::open(path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).expect("open")).expect("a ground")
    }

    #[test]
    fn places_are_made_as_deep_as_needed() {
        let dir = tempfile::tempdir().expect("tempdir");
        let ground = ground(dir.path());
        ground.make(Path::new("/a/b/c"), true).expect("directory");
        ground.make(Path::new("/a/b/f"), false).expect("file");
        ground.text(Path::new("/etc/t"), "hello").expect("text");
        ground.link(Path::new("/bin"), Path::new("usr/bin")).expect("link");
        assert!(dir.path().join("a/b/c").is_dir() && dir.path().join("a/b/f").is_file());
        assert_eq!(std::fs::read_to_string(dir.path().join("etc/t")).expect("read"), "hello");
        assert!(ground.make(Path::new("/a/b/c"), false).is_err_and(|error| error.to_string().contains("since a directory is")));
    }

    #[test]
    fn nothing_is_made_in_what_is_the_machines() {
        let dir = tempfile::tempdir().expect("tempdir");
        std::fs::create_dir_all(dir.path().join("there/deep")).expect("made");
        std::fs::write(dir.path().join("there/file"), "x").expect("written");
        let mut ground = ground(dir.path());
        let own = std::mem::take(&mut ground.own);
        for (path, directory) in [("/new", true), ("/new", false), ("/there/new/new", true), ("/there/deep/new", false)] {
            let said = ground.make(Path::new(path), directory).expect_err(path).to_string();
            assert!(said.contains("there is nothing to mount on"), "{path}: {said}");
        }
        ground.make(Path::new("/there/deep"), true).expect("what is there is found");
        ground.make(Path::new("/there/file"), false).expect("what is there is found");
        assert_eq!(std::fs::read_dir(dir.path()).expect("list").count(), 1);
        ground.own = own;
        ground.make(Path::new("/new"), true).expect("the ground's own");
    }

    #[test]
    fn links_are_never_followed() {
        let dir = tempfile::tempdir().expect("tempdir");
        let outside = tempfile::tempdir().expect("tempdir");
        let ground = ground(dir.path());
        ground.link(Path::new("/out"), outside.path()).expect("link");
        for path in ["/out", "/out/x", "/out/x/y"] {
            assert!(ground.make(Path::new(path), true).is_err(), "{path}");
            assert!(ground.make(Path::new(path), false).is_err(), "{path}");
        }
        assert_eq!(std::fs::read_dir(outside.path()).expect("list").count(), 0);
    }

    #[test]
    fn only_plain_paths_are_made() {
        let dir = tempfile::tempdir().expect("tempdir");
        let ground = ground(dir.path());
        for path in ["/", "", "a", "/..", "/a/../b", "../a"] {
            assert!(ground.make(Path::new(path), true).is_err(), "{path}");
        }
    }
}
