//! The few ways in which a directory's entries are opened: by handle, by one plain name, following nothing.

use std::{
    fs::File,
    io::{self, Read, Write},
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    time::{Duration, SystemTime},
};

use cap_std::fs::Dir;
use rustix::{
    fs::{AtFlags, CWD, FileType, FlockOperation, Mode, OFlags, ResolveFlags},
    io::Errno,
    path::Arg,
};

/// What a directory of ours may be used for: by its owner, for everything; by others, for nothing.
pub(crate) const PRIVATE_DIR: Mode = Mode::RWXU;
/// The same for files.
pub(crate) const PRIVATE_FILE: Mode = Mode::RUSR.union(Mode::WUSR);

/// Characters of an escaped name that are shown: a name has at most 255 bytes, each of which can become four characters.
const NAME_MOST_CHARS: usize = 120;

/// Flags for opening a directory. Linux reports a link in its place as "not a directory".
const DIRECTORY: OFlags = OFlags::DIRECTORY.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Opens a directory inside another one. Links are not followed.
pub(crate) fn open_dir(parent: &Dir, name: &str) -> io::Result<Dir> {
    Ok(Dir::from(rustix::fs::openat(parent, name, DIRECTORY, Mode::empty())?))
}

/// Opens a directory that Lazarus made and an agent writes to. One that the agent shut is opened to its owner again.
pub(super) fn open_own_dir(parent: &Dir, name: &str) -> io::Result<Dir> {
    match open_dir(parent, name) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            unlock_dir(parent.as_fd(), name)?;
            open_dir(parent, name)
        }
        opened => opened,
    }
}

/// Makes a directory for its owner alone and opens it. Anything that has the name already, a link included, is an error.
pub(crate) fn make_dir(parent: &Dir, name: &str) -> io::Result<Dir> {
    rustix::fs::mkdirat(parent, name, PRIVATE_DIR)?;
    open_dir(parent, name)
}

/// Opens a directory, which is made if there is none.
pub(crate) fn open_or_make_dir(parent: &Dir, name: &str) -> io::Result<Dir> {
    match make_dir(parent, name) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => open_dir(parent, name),
        made => made,
    }
}

/// Creates a file for its owner alone. Anything that has the name already is an error.
pub(crate) fn create_file(parent: impl AsFd, name: impl Arg, mode: Mode) -> io::Result<File> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(File::from(rustix::fs::openat(parent, name, flags, mode)?))
}

/// How a file of a guest is opened, whatever it turns out to be: nothing is followed, waited for, or made the controlling terminal.
const FILE: OFlags = OFlags::RDONLY.union(OFlags::NOFOLLOW).union(OFlags::NONBLOCK).union(OFlags::NOCTTY).union(OFlags::CLOEXEC);

/// Opens a regular file for reading. Links are not followed; a FIFO is refused without waiting for it, and a device without waking its driver.
pub(crate) fn open_file(parent: impl AsFd, name: impl Arg + Copy) -> io::Result<File> {
    refuse_special(&parent, name)?;
    regular(rustix::fs::openat(parent, name, FILE, Mode::empty())?)
}

/// Opens a regular file of a tree that a guest wrote: as [`open_file`] does, and nothing that is mounted there.
pub(super) fn open_file_within(parent: BorrowedFd<'_>, name: impl Arg + Copy) -> io::Result<File> {
    refuse_special(parent, name)?;
    regular(open_within(parent, name, FILE)?)
}

/// Opens something in a tree that a guest wrote: neither through a link nor across a mount point.
fn open_within(parent: BorrowedFd<'_>, name: impl Arg + Copy, flags: OFlags) -> rustix::io::Result<OwnedFd> {
    let opened = rustix::fs::openat2(parent, name, flags, Mode::empty(), ResolveFlags::NO_XDEV | ResolveFlags::NO_SYMLINKS);
    let is_there = match opened {
        Err(Errno::NOSYS) => false,
        Err(Errno::PERM) => !is_filtered(parent),
        Ok(_) | Err(_) => true,
    };
    if is_there {
        return opened;
    }
    // Before Linux 5.6 and in some sandboxes. Comparing devices misses a bind mount of the same file system,
    // which nothing in a cell can make there.
    let opened = rustix::fs::openat(parent, name, flags, Mode::empty())?;
    if rustix::fs::fstat(&opened)?.st_dev == rustix::fs::fstat(parent)?.st_dev { Ok(opened) } else { Err(Errno::XDEV) }
}

/// Whether a filter, as older containers have one, answers EPERM for whatever is asked of `openat2`: it then does so also for the very directory,
/// of which nothing but a handle is wanted, as no file system does.
fn is_filtered(directory: BorrowedFd<'_>) -> bool {
    let handle = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    matches!(rustix::fs::openat2(directory, c".", handle, Mode::empty(), ResolveFlags::empty()), Err(Errno::PERM))
}

/// Opens a file of ours for adding to it, which is made if there is none. A link, a FIFO, a device, and a file that has a name elsewhere, are
/// refused, and nothing is waited for.
pub(crate) fn open_to_append(parent: &Dir, name: &str) -> io::Result<File> {
    let flags = OFlags::WRONLY | OFlags::APPEND | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    match refuse_special(parent, name) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    own(rustix::fs::openat(parent, name, flags, PRIVATE_FILE)?)
}

/// The file behind a handle, if nobody but its directory has a name for it: what is written to it is written nowhere else.
pub(super) fn own(file: OwnedFd) -> io::Result<File> {
    if rustix::fs::fstat(&file)?.st_nlink > 1 {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it has a second name, as no file of Lazarus has"));
    }
    regular(file)
}

/// Refuses what is neither a regular file nor a link: to open a device can be an act in itself. Opening refuses the link.
fn refuse_special(parent: impl AsFd, name: impl Arg) -> io::Result<()> {
    match FileType::from_raw_mode(rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW)?.st_mode) {
        FileType::RegularFile | FileType::Symlink => Ok(()),
        _ => Err(not_regular()),
    }
}

fn regular(file: OwnedFd) -> io::Result<File> {
    match FileType::from_raw_mode(rustix::fs::fstat(&file)?.st_mode) {
        FileType::RegularFile => Ok(File::from(file)),
        _ => Err(not_regular()),
    }
}

fn not_regular() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, "not a regular file")
}

/// Reads the whole of a regular file that may not be larger than `most` bytes.
pub(crate) fn read_file(parent: impl AsFd, name: impl Arg + Copy, most: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    open_file(parent, name)?.take(most + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("larger than {most} bytes")));
    }
    Ok(bytes)
}

/// When a regular file was last written to, by whatever time its owner gave it; nothing is opened. `None` where there is no such file, or the
/// time has no form here.
#[allow(clippy::useless_conversion, reason = "the number is a signed one on other processors")]
pub(crate) fn modified_at(parent: impl AsFd, name: impl Arg) -> Option<SystemTime> {
    let stat = rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW).ok()?;
    let since = Duration::from_secs(stat.st_mtime.unsigned_abs());
    let at = if stat.st_mtime < 0 { SystemTime::UNIX_EPOCH.checked_sub(since) } else { SystemTime::UNIX_EPOCH.checked_add(since) };
    let nanos = Duration::from_nanos(u64::try_from(stat.st_mtime_nsec).unwrap_or(0));
    let is_file = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
    at?.checked_add(nanos).filter(|_| is_file)
}

/// Replaces a file as a whole: after a crash at any point, the old or the new content is there, never a part.
pub(crate) fn replace_file(parent: &Dir, name: &str, content: &[u8]) -> io::Result<()> {
    let fresh = format!("{name}.new");
    // Left by a writer that crashed; one that lives holds the lease of what the file belongs to.
    match rustix::fs::unlinkat(parent, &fresh, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => {}
        Err(error) => return Err(error.into()),
    }
    let mut file = create_file(parent, &fresh, PRIVATE_FILE)?;
    file.write_all(content)?;
    file.sync_all()?;
    rustix::fs::renameat(parent, &fresh, parent, name)?;
    sync_dir(parent)
}

/// Creates a file for its owner alone, as [`create_file`] does, in a directory of ours.
pub(crate) fn create_private_file(parent: &Dir, name: &str) -> io::Result<File> {
    create_file(parent, name, PRIVATE_FILE)
}

/// Makes the names in a directory survive a crash.
pub(crate) fn sync_dir(dir: &Dir) -> io::Result<()> {
    Ok(rustix::fs::fsync(readable(dir.as_fd())?)?)
}

/// Waits for the lock of a directory, and holds it as long as what is returned lives.
pub(crate) fn lock_dir(dir: &Dir) -> io::Result<OwnedFd> {
    let handle = readable(dir.as_fd())?;
    rustix::fs::flock(&handle, FlockOperation::LockExclusive)?;
    Ok(handle)
}

/// Opens a directory again, to be listed or synced: whoever made the handle may have asked for less (O_PATH), and shares its
/// place in the listing.
pub(super) fn readable(dir: BorrowedFd<'_>) -> rustix::io::Result<OwnedFd> {
    rustix::fs::openat(dir, c".", DIRECTORY, Mode::empty())
}

/// Enters a directory of a tree that a guest wrote: neither through a link nor across a mount point.
pub(super) fn descend(parent: BorrowedFd<'_>, name: impl Arg + Copy) -> rustix::io::Result<OwnedFd> {
    descend_with(parent, name, OFlags::empty())
}

fn descend_with(parent: BorrowedFd<'_>, name: impl Arg + Copy, more: OFlags) -> rustix::io::Result<OwnedFd> {
    open_within(parent, name, DIRECTORY | more)
}

/// Gives the owner back every right on a directory, which is found by handle and never through a link.
pub(super) fn unlock_dir(parent: BorrowedFd<'_>, name: impl Arg + Copy) -> rustix::io::Result<()> {
    use std::os::fd::AsRawFd;
    let dir = descend_with(parent, name, OFlags::PATH)?;
    // A handle that needs no right to get (O_PATH) cannot be given to fchmod; its name in /proc leads to the same inode.
    rustix::fs::chmodat(CWD, format!("/proc/self/fd/{}", dir.as_raw_fd()), PRIVATE_DIR, AtFlags::empty())
}

/// Gives the owner back the right to read a regular file, which is found by handle and never through a link. One that has another name
/// besides is not touched: that name may be outside, and its owner's to decide about.
pub(super) fn unlock_file(parent: BorrowedFd<'_>, name: impl Arg + Copy) -> rustix::io::Result<()> {
    use std::os::fd::AsRawFd;
    let file = rustix::fs::openat(parent, name, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?;
    let stat = rustix::fs::fstat(&file)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile || stat.st_nlink != 1 {
        return Err(Errno::INVAL);
    }
    rustix::fs::chmodat(CWD, format!("/proc/self/fd/{}", file.as_raw_fd()), PRIVATE_FILE, AtFlags::empty())
}

/// Writes a name that a guest chose so that a terminal shows it and does nothing else; bounded.
pub fn escape_name(name: &[u8]) -> String {
    let mut text = String::new();
    for chunk in name.utf8_chunks() {
        for c in chunk.valid().chars() {
            // Direction marks and other invisible characters could make one name look like another.
            if c.is_alphanumeric() || (c.is_ascii() && !c.is_ascii_control() && c != '\\') {
                text.push(c);
            } else {
                text.extend(c.escape_default());
            }
        }
        for byte in chunk.invalid() {
            text.push_str(&format!("\\x{byte:02x}"));
        }
    }
    if text.chars().count() > NAME_MOST_CHARS {
        text = text.chars().take(NAME_MOST_CHARS - 1).chain(['…']).collect();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lose_their_teeth() {
        assert_eq!(escape_name(b"notes.md"), "notes.md");
        assert_eq!(escape_name("Übersicht 1".as_bytes()), "Übersicht 1");
        assert_eq!(escape_name(b"a\nb\x1b[2J\xff\\"), "a\\nb\\u{1b}[2J\\xff\\\\");
        assert_eq!(escape_name("x\u{202e}y".as_bytes()), "x\\u{202e}y");
        assert_eq!(escape_name(&[b'a'; 255]).chars().count(), NAME_MOST_CHARS);
    }

    #[test]
    fn only_regular_files_are_read_and_only_up_to_a_size() {
        let temp = tempfile::tempdir().expect("a directory");
        let dir = Dir::open_ambient_dir(temp.path(), cap_std::ambient_authority()).expect("opened");
        std::fs::write(temp.path().join("file"), b"12345").expect("written");
        std::os::unix::fs::symlink("file", temp.path().join("link")).expect("linked");
        rustix::fs::mkfifoat(&dir, "fifo", PRIVATE_FILE).expect("a fifo");
        assert_eq!(read_file(&dir, "file", 5).expect("read"), b"12345");
        assert_eq!(read_file(&dir, "file", 4).expect_err("refused").kind(), io::ErrorKind::FileTooLarge);
        assert!(read_file(&dir, "link", 9).is_err());
        assert!(read_file(&dir, "fifo", 9).is_err());
    }

    #[test]
    fn a_file_is_replaced_as_a_whole_also_after_a_crash() {
        let temp = tempfile::tempdir().expect("a directory");
        let dir = Dir::open_ambient_dir(temp.path(), cap_std::ambient_authority()).expect("opened");
        std::fs::write(temp.path().join("r.json.new"), b"half").expect("written");
        replace_file(&dir, "r.json", b"one").expect("replaced");
        replace_file(&dir, "r.json", b"two").expect("replaced");
        assert_eq!(read_file(&dir, "r.json", 99).expect("read"), b"two");
        assert_eq!(std::fs::read_dir(temp.path()).expect("read").count(), 1);
    }
}
