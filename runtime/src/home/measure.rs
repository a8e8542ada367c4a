//! Counting what lies below a directory that a guest writes to, perhaps at this moment.
//!
//! No link is followed and no mount point crossed. The first levels are held open; deeper, only
//! each directory's inode and the place reached in it are kept, and the way back is `..`, taken
//! only if it leads to the inode that was left.

use std::{
    collections::HashSet,
    ffi::CStr,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use rustix::{
    fs::{AtFlags, FileType, Mode, OFlags},
    io::Errno,
};

use super::handle::{PRIVATE_DIR, descend, readable, unlock_dir};

/// Directories held open at once; descriptors are scarce (1024 by default).
const MOST_OPEN: usize = 64;
/// Bytes of one block, as `stat` counts them.
const BLOCK_BYTES: u64 = 512;
/// Bytes that a small file may take beyond its size: its last block, and one of attributes.
const ROUNDING_BYTES: u64 = 8 * 1024;
/// Files with several names that are remembered, so that their bytes count once. What more there are count once a name, which is too much
/// rather than too little.
const MOST_SHARED: usize = 1 << 20;

/// What a tree holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Measured {
    /// Files, links and everything else that is no directory included. One with several names counts once a name.
    pub files: u64,
    /// Directories, without the one that was measured.
    pub dirs: u64,
    /// Bytes of the files, as their sizes say, or as they take on the disk where that is far more; of one with several names, once.
    pub bytes: u64,
    /// Bytes that files and directories take on the disk.
    pub allocated: u64,
    /// Directories that could not be read, or were moved away while they were.
    pub unread: u64,
}

struct Level {
    /// Device and inode.
    id: (u64, u64),
    /// Dropped for deep levels while something below is read.
    entries: Option<rustix::fs::Dir>,
    /// Where to go on reading after `entries` was dropped.
    resume: i64,
}

/// Counts what lies below a directory.
///
/// What vanishes meanwhile is not counted; what cannot be read is counted in [`Measured::unread`]. A directory of ours that its agent shut is
/// opened to its owner again, and to nobody else: what is in it counts as well.
///
/// # Errors
/// The directory itself cannot be read.
pub fn measure(dir: impl AsFd) -> std::io::Result<Measured> {
    let mut measured = Measured::default();
    let mut shared = HashSet::new();
    let entries = rustix::fs::Dir::new(readable(dir.as_fd())?)?;
    let mut levels = vec![level(entries)?];
    while let Some(current) = levels.last_mut() {
        let Some(entries) = current.entries.as_mut() else {
            // Its way back was lost.
            measured.unread += 1;
            levels.pop();
            continue;
        };
        match entries.read() {
            Some(Ok(entry)) => {
                current.resume = entry.offset();
                let name = entry.file_name();
                if name.to_bytes() == b"." || name.to_bytes() == b".." {
                    continue;
                }
                match count(&mut measured, &mut shared, entries, name) {
                    Ok(None) | Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {}
                    Ok(Some(inner)) => {
                        if levels.len() >= MOST_OPEN
                            && let Some(outer) = levels.last_mut()
                        {
                            outer.entries = None;
                        }
                        levels.push(inner);
                    }
                    Err(_) => measured.unread += 1,
                }
            }
            Some(Err(_)) => {
                measured.unread += 1;
                ascend(&mut levels);
            }
            None => ascend(&mut levels),
        }
    }
    Ok(measured)
}

fn level(entries: rustix::fs::Dir) -> rustix::io::Result<Level> {
    let stat = entries.stat()?;
    Ok(Level { id: (stat.st_dev, stat.st_ino), entries: Some(entries), resume: 0 })
}

/// Counts one entry; a directory is opened, to be read next.
fn count(
    measured: &mut Measured,
    shared: &mut HashSet<(u64, u64)>,
    dir: &rustix::fs::Dir,
    name: &CStr,
) -> rustix::io::Result<Option<Level>> {
    let dir = dir.fd()?;
    let stat = look_at(dir, name)?;
    let is_dir = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
    if !is_dir && stat.st_nlink > 1 {
        let id = (stat.st_dev, stat.st_ino);
        if shared.contains(&id) {
            measured.files += 1;
            return Ok(None);
        }
        if shared.len() < MOST_SHARED {
            shared.insert(id);
        }
    }
    let allocated = u64::try_from(stat.st_blocks).unwrap_or(0).saturating_mul(BLOCK_BYTES);
    measured.allocated = measured.allocated.saturating_add(allocated);
    if is_dir {
        measured.dirs += 1;
        return level(rustix::fs::Dir::new(enter(dir, name)?)?).map(Some);
    }
    measured.files += 1;
    measured.bytes = measured.bytes.saturating_add(bytes_of(u64::try_from(stat.st_size).unwrap_or(0), allocated));
    Ok(None)
}

/// What a file counts for. Its size; but where it takes far more (`fallocate` with `FALLOC_FL_KEEP_SIZE` takes any amount for a file of no size,
/// and attributes take blocks of their own), what it takes.
const fn bytes_of(size: u64, allocated: u64) -> u64 {
    // Blocks are rounded up, and some file systems take as much again for a file that grows.
    if allocated > size.saturating_mul(2).saturating_add(ROUNDING_BYTES) { allocated } else { size }
}

/// Looks at an entry. A directory in which its owner may not look anything up is given that right back.
fn look_at(dir: BorrowedFd<'_>, name: &CStr) -> rustix::io::Result<rustix::fs::Stat> {
    let look = || rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW);
    match look() {
        Err(Errno::ACCESS) => rustix::fs::fchmod(dir, PRIVATE_DIR).and_then(|()| look()),
        looked => looked,
    }
}

/// Enters a directory. One that its owner may not read is given that right back: nothing is hidden from a limit by shutting it.
fn enter(dir: BorrowedFd<'_>, name: &CStr) -> rustix::io::Result<OwnedFd> {
    match descend(dir, name) {
        Err(Errno::ACCESS) => unlock_dir(dir, name).and_then(|()| descend(dir, name)),
        entered => entered,
    }
}

/// Leaves the innermost directory for the one above, reopening that if it was dropped.
fn ascend(levels: &mut Vec<Level>) {
    let Some(left) = levels.pop() else { return };
    let Some(above) = levels.last_mut() else { return };
    if above.entries.is_some() {
        return;
    }
    let reopened = left.entries.ok_or(Errno::BADF).and_then(|left| {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut entries = rustix::fs::Dir::new(rustix::fs::openat(left.fd()?, "..", flags, Mode::empty())?)?;
        let stat = entries.stat()?;
        // Moved meanwhile: whatever `..` is now, it is not where we came from.
        if (stat.st_dev, stat.st_ino) != above.id {
            return Err(Errno::NOENT);
        }
        entries.seek(above.resume)?;
        Ok(entries)
    });
    above.entries = reopened.ok();
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use cap_std::fs::Dir;

    use super::*;

    fn ground() -> (tempfile::TempDir, Dir) {
        let temp = tempfile::tempdir().expect("a directory");
        let dir = Dir::open_ambient_dir(temp.path(), cap_std::ambient_authority()).expect("opened");
        (temp, dir)
    }

    #[test]
    fn files_and_bytes_are_counted_and_links_are_not_followed() {
        let (temp, dir) = ground();
        fs::create_dir_all(temp.path().join("a/b")).expect("made");
        fs::write(temp.path().join("a/one"), [0; 1000]).expect("written");
        fs::write(temp.path().join("a/b/two"), [0; 500]).expect("written");
        symlink("/usr", temp.path().join("a/usr")).expect("linked");
        rustix::fs::mkfifoat(&dir, "fifo", Mode::RUSR).expect("a fifo");
        let measured = measure(&dir).expect("measured");
        assert_eq!((measured.files, measured.dirs, measured.bytes, measured.unread), (4, 2, 1504, 0));
        assert!(measured.allocated >= 2 * BLOCK_BYTES);
    }

    #[test]
    fn a_file_with_several_names_has_its_bytes_once() {
        let (temp, dir) = ground();
        fs::create_dir(temp.path().join("a")).expect("made");
        fs::write(temp.path().join("one"), [0; 1000]).expect("written");
        for name in ["two", "a/three"] {
            fs::hard_link(temp.path().join("one"), temp.path().join(name)).expect("linked");
        }
        let measured = measure(&dir).expect("measured");
        assert_eq!((measured.files, measured.dirs, measured.bytes), (3, 1, 1000));
    }

    #[test]
    fn a_sparse_file_has_its_size_and_takes_its_blocks() {
        let (temp, dir) = ground();
        fs::File::create(temp.path().join("sparse")).expect("made").set_len(1 << 40).expect("stretched");
        let measured = measure(&dir).expect("measured");
        assert_eq!(measured.bytes, 1 << 40);
        assert!(measured.allocated < 1 << 20);
    }

    #[test]
    fn a_file_that_takes_far_more_than_its_size_counts_for_what_it_takes() {
        let (temp, dir) = ground();
        fs::write(temp.path().join("small"), "x").expect("written");
        let file = fs::File::create(temp.path().join("grows")).expect("made");
        rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, 1 << 20).expect("allocated");
        assert_eq!(measure(&dir).expect("measured").bytes, (1 << 20) + 1, "the twin: as large as it says");
        file.set_len(0).expect("emptied");
        rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::KEEP_SIZE, 0, 1 << 20).expect("allocated");
        let measured = measure(&dir).expect("measured");
        assert!((1 << 20..1 << 21).contains(&measured.bytes), "{measured:?}");
    }

    #[test]
    fn nothing_hides_in_the_depth_or_in_the_breadth() {
        let (temp, dir) = ground();
        let flags = OFlags::DIRECTORY | OFlags::CLOEXEC;
        let mut at = rustix::fs::openat(&dir, ".", flags, Mode::empty()).expect("opened");
        // Each level has entries before and after the way down, in whatever order the file system lists them.
        for depth in 0..300 {
            for i in 0..3 {
                rustix::fs::mkdirat(&at, format!("{depth}-side-{i}"), Mode::RWXU).expect("made");
                rustix::fs::symlinkat("x", &at, format!("{depth}-link-{i}")).expect("linked");
            }
            rustix::fs::mkdirat(&at, "deeper", Mode::RWXU).expect("made");
            at = rustix::fs::openat(&at, "deeper", flags, Mode::empty()).expect("opened");
        }
        let measured = measure(&dir).expect("measured");
        assert_eq!((measured.files, measured.dirs, measured.bytes, measured.unread), (900, 1200, 900, 0));
        assert!(crate::home::remove_tree(&dir, "deeper").is_complete());
        drop(temp);
    }

    #[test]
    fn nothing_hides_behind_a_shut_door() {
        use std::os::unix::fs::PermissionsExt;

        let (temp, dir) = ground();
        for name in ["shut", "blind", "listed", "open"] {
            fs::create_dir_all(temp.path().join(name).join("inner")).expect("made");
            fs::write(temp.path().join(name).join("inner/file"), [0; 1000]).expect("written");
        }
        for (name, mode) in [("shut/inner", 0), ("shut", 0), ("blind", 0o111), ("listed", 0o400)] {
            fs::set_permissions(temp.path().join(name), fs::Permissions::from_mode(mode)).expect("shut");
        }
        let measured = crate::home::test_ground::without_override(|| {
            assert!(fs::read_dir(temp.path().join("shut")).is_err(), "the rights bind this thread");
            measure(&dir).expect("measured")
        });
        assert_eq!((measured.files, measured.dirs, measured.bytes, measured.unread), (4, 8, 4000, 0));
        let mode = |name: &str| fs::metadata(temp.path().join(name)).expect("there").permissions().mode() & 0o777;
        assert_eq!((mode("shut"), mode("listed")), (0o700, 0o700), "to its owner and nobody else");
    }

    #[test]
    fn a_mount_is_not_crossed_and_is_counted_as_unread() {
        if crate::home::test_ground::elsewhere(module_path!(), "a_mount_is_not_crossed_and_is_counted_as_unread") {
            return;
        }
        let (temp, dir) = ground();
        fs::create_dir(temp.path().join("proc")).expect("made");
        let point = temp.path().join("proc");
        let run = |program: &str, args: &[&str]| {
            let status = std::process::Command::new(program).args(args).arg(&point).status().expect("it runs");
            assert!(status.success(), "{program} (run as root)");
        };
        run("mount", &["-t", "tmpfs", "-o", "size=64k", "none"]);
        fs::write(point.join("file"), "x").expect("written");
        let measured = measure(&dir).expect("measured");
        run("umount", &[]);
        assert_eq!((measured.files, measured.dirs, measured.unread), (0, 1, 1));
    }

    #[test]
    fn a_tree_that_changes_is_measured_without_error() {
        let (temp, dir) = ground();
        let again = || {
            let _ = fs::create_dir_all(temp.path().join("a/b/c"));
            let _ = fs::rename(temp.path().join("a/b"), temp.path().join("b"));
            let _ = fs::remove_dir_all(temp.path().join("b"));
        };
        crate::home::test_ground::meanwhile(again, || {
            for _ in 0..500 {
                assert!(measure(&dir).expect("measured").files == 0);
            }
        });
    }
}
