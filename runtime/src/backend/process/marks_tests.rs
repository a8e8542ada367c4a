//! Calls as the kernel would hold them, with the words of this very process.

use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

use super::*;

/// A place that may be written, and one that may not.
struct World {
    place: tempfile::TempDir,
    marks: Marks,
}

impl World {
    fn new() -> Self {
        let place = tempfile::tempdir().expect("tempdir");
        for dir in ["inside", "outside"] {
            std::fs::create_dir(place.path().join(dir)).expect("made");
            std::fs::write(place.path().join(dir).join("file"), "x").expect("written");
        }
        symlink("../outside/file", place.path().join("inside/out")).expect("linked");
        symlink("file", place.path().join("inside/in")).expect("linked");
        let inside = File::open(place.path().join("inside")).expect("opened");
        Self { marks: Marks::new(&[inside]).expect("marks"), place }
    }

    fn path(&self, path: &str) -> PathBuf {
        self.place.path().join(path)
    }

    fn text(&self, path: &str) -> CString {
        CString::new(self.path(path).as_os_str().as_bytes()).expect("no NUL")
    }

    fn mode(&self, path: &str) -> u32 {
        self.path(path).metadata().expect("there").permissions().mode() & 0o7777
    }

    fn make(&self, number: libc::c_long, arguments: &[u64]) -> Result<(), Errno> {
        let mut all = [0; 6];
        all[..arguments.len()].copy_from_slice(arguments);
        self.marks.make(&HeldCall { id: 0, thread: std::process::id(), number, arguments: all })
    }

    fn chmod(&self, path: &CStr, mode: u32) -> Result<(), Errno> {
        self.make(libc::SYS_fchmodat, &[here(), at(path), mode.into()])
    }
}

/// Each call that is held for a decision has one: with words that are nowhere, none of them is simply unknown.
#[test]
fn every_call_that_is_held_is_understood() {
    let world = World::new();
    for (name, number) in crate::jail::MARKS {
        let made = world.make(*number, &[u64::MAX, u64::MAX, u64::MAX, 0, 0]);
        assert!(matches!(made, Err(Errno::FAULT | Errno::BADF)), "{name}: {made:?}");
    }
}

/// `AT_FDCWD`, as it stands in a register.
fn here() -> u64 {
    u64::from(libc::AT_FDCWD.cast_unsigned())
}

fn at(text: &CStr) -> u64 {
    text.as_ptr().addr() as u64
}

fn number(file: &File) -> u64 {
    u64::try_from(file.as_raw_fd()).expect("not negative")
}

#[test]
fn what_lies_inside_is_changed_and_what_lies_outside_is_not() {
    let world = World::new();
    assert_eq!(world.chmod(&world.text("inside/file"), 0o640), Ok(()));
    assert_eq!(world.mode("inside/file"), 0o640);
    assert_eq!(world.chmod(&world.text("inside/in"), 0o600), Ok(()));
    assert_eq!(world.mode("inside/file"), 0o600);
    assert_eq!(world.chmod(&world.text("inside"), 0o750), Ok(()), "the place itself");
    let before = world.mode("outside/file");
    for path in ["outside/file", "inside/out", "inside/../outside/file", "outside", "."] {
        assert_eq!(world.chmod(&world.text(path), 0o777), Err(Errno::PERM), "{path}");
    }
    assert_eq!(world.mode("outside/file"), before);
    assert_eq!(world.chmod(&world.text("inside/none"), 0o600), Err(Errno::NOENT));
    // A place whose name only begins like one that may be written.
    std::fs::create_dir(world.path("inside2")).expect("made");
    assert_eq!(world.chmod(&world.text("inside2"), 0o777), Err(Errno::PERM));
}

#[test]
fn what_is_open_counts_by_where_it_lies() {
    let world = World::new();
    let (inside, outside) =
        (File::open(world.path("inside/file")).expect("opened"), File::open(world.path("outside/file")).expect("opened"));
    assert_eq!(world.make(libc::SYS_fchmod, &[number(&inside), 0o604]), Ok(()));
    assert_eq!(world.mode("inside/file"), 0o604);
    assert_eq!(world.make(libc::SYS_fchmod, &[number(&outside), 0o604]), Err(Errno::PERM));
    assert_eq!(world.make(libc::SYS_fchmod, &[1_000_000, 0o604]), Err(Errno::BADF));
    assert_eq!(world.make(libc::SYS_fchmod, &[here(), 0o604]), Err(Errno::BADF));
    // By the name that it has in /proc, as libraries do.
    let name = CString::new(format!("/proc/self/fd/{}", number(&inside))).expect("no NUL");
    assert_eq!(world.chmod(&name, 0o606), Ok(()));
    assert_eq!(world.mode("inside/file"), 0o606);
    let name = CString::new(format!("/proc/thread-self/fd/{}", number(&outside))).expect("no NUL");
    assert_eq!(world.chmod(&name, 0o606), Err(Errno::PERM));
    // Relative to an open directory, and the directory itself by an empty path.
    let dir = File::open(world.path("inside")).expect("opened");
    let empty = c"";
    assert_eq!(world.make(libc::SYS_fchmodat, &[number(&dir), at(c"../outside/file"), 0o777]), Err(Errno::PERM));
    assert_eq!(world.make(libc::SYS_fchmodat, &[number(&dir), at(c"file"), 0o600]), Ok(()));
    let all = u64::from(u32::MAX);
    let flags = u64::from(libc::AT_EMPTY_PATH.cast_unsigned());
    assert_eq!(world.make(libc::SYS_fchownat, &[number(&dir), at(empty), all, all, flags]), Ok(()));
    assert_eq!(world.make(libc::SYS_fchownat, &[number(&dir), at(empty), all, all, 0]), Err(Errno::NOENT));
    assert_eq!(world.make(libc::SYS_fchownat, &[number(&outside), at(empty), all, all, flags]), Err(Errno::PERM));
}

#[test]
fn a_file_without_a_name_belongs_where_it_was() {
    let world = World::new();
    for (dir, expected) in [("inside", Ok(())), ("outside", Err(Errno::PERM))] {
        let path = world.path(dir).join("file");
        let file = File::open(&path).expect("opened");
        std::fs::remove_file(&path).expect("removed");
        assert_eq!(world.make(libc::SYS_fchmod, &[number(&file), 0o600]), expected, "{dir}");
    }
    let pipe = std::io::pipe().expect("a pipe").0;
    let number = u64::try_from(pipe.as_raw_fd()).expect("not negative");
    assert_eq!(world.make(libc::SYS_fchmod, &[number, 0o600]), Err(Errno::PERM), "no file at all");
}

#[test]
fn nobody_becomes_another_by_a_mode() {
    let world = World::new();
    for mode in [0o4755, 0o2755, 0o6755] {
        assert_eq!(world.chmod(&world.text("inside/file"), mode), Err(Errno::PERM), "{mode:o}");
    }
    assert_eq!(world.chmod(&world.text("inside/file"), 0o1755), Ok(()), "the sticky bit is harmless");
}

#[test]
fn times_are_set_by_every_call_that_sets_them() {
    let world = World::new();
    let file = world.text("inside/file");
    let outside = world.text("outside/file");
    let precise: [i64; 4] = [1_000_000, 5, 2_000_000, 6];
    let address = precise.as_ptr().addr() as u64;
    assert_eq!(world.make(libc::SYS_utimensat, &[here(), at(&file), address, 0]), Ok(()));
    let found = world.path("inside/file").metadata().expect("there");
    assert_eq!((found.atime(), found.atime_nsec(), found.mtime(), found.mtime_nsec()), (1_000_000, 5, 2_000_000, 6));
    assert_eq!(world.make(libc::SYS_utimensat, &[here(), at(&outside), address, 0]), Err(Errno::PERM));
    assert_eq!(world.make(libc::SYS_utimensat, &[here(), at(&file), 0, 0]), Ok(()), "now");
    assert!(world.path("inside/file").metadata().expect("there").mtime() > 2_000_000);
    let nofollow = u64::from(libc::AT_SYMLINK_NOFOLLOW.cast_unsigned());
    assert_eq!(world.make(libc::SYS_utimensat, &[here(), at(&world.text("inside/out")), address, nofollow]), Ok(()), "the link itself");
    assert_eq!(world.path("inside/out").symlink_metadata().expect("there").mtime(), 2_000_000);
    assert_eq!(world.make(libc::SYS_utimensat, &[here(), at(&file), address, 1 << 20]), Err(Errno::INVAL));
    #[cfg(target_arch = "x86_64")]
    {
        assert_eq!(world.make(libc::SYS_utimes, &[at(&file), address]), Ok(()));
        let found = world.path("inside/file").metadata().expect("there");
        assert_eq!((found.atime_nsec(), found.mtime_nsec()), (5000, 6000));
        assert_eq!(world.make(libc::SYS_futimesat, &[here(), at(&outside), address]), Err(Errno::PERM));
        let whole: [i64; 2] = [7, 8];
        assert_eq!(world.make(libc::SYS_utime, &[at(&file), whole.as_ptr().addr() as u64]), Ok(()));
        let found = world.path("inside/file").metadata().expect("there");
        assert_eq!((found.atime(), found.mtime()), (7, 8));
        let odd: [i64; 4] = [0, 1_000_000, 0, 0];
        assert_eq!(world.make(libc::SYS_utimes, &[at(&file), odd.as_ptr().addr() as u64]), Err(Errno::INVAL));
        assert_eq!(world.make(libc::SYS_utime, &[at(&outside), 0]), Err(Errno::PERM));
    }
}

#[test]
fn attributes_are_set_and_removed_inside_alone() {
    let world = World::new();
    let (file, outside) = (world.text("inside/file"), world.text("outside/file"));
    let (name, value) = (c"user.lazarus", b"value");
    let set = |path: &CStr| world.make(libc::SYS_setxattr, &[at(path), at(name), value.as_ptr().addr() as u64, value.len() as u64, 0]);
    match set(&file) {
        Ok(()) => {
            let mut found = [0_u8; 16];
            let count = rustix::fs::getxattr(world.path("inside/file"), name, &mut found[..]).expect("set");
            assert_eq!(&found[..count], value);
            assert_eq!(world.make(libc::SYS_removexattr, &[at(&file), at(name)]), Ok(()));
            assert_eq!(world.make(libc::SYS_removexattr, &[at(&file), at(name)]), Err(Errno::NODATA));
        }
        // This file system keeps none.
        Err(errno) => assert_eq!(errno, Errno::NOTSUP),
    }
    assert_eq!(set(&outside), Err(Errno::PERM));
    assert_eq!(world.make(libc::SYS_removexattr, &[at(&outside), at(name)]), Err(Errno::PERM));
    assert_eq!(world.make(libc::SYS_lsetxattr, &[at(&world.text("inside/in")), at(name), 0, 0, 0]), Err(Errno::PERM), "a link's own");
    assert_eq!(world.make(libc::SYS_setxattr, &[at(&file), at(name), at(name), 1 << 40, 0]), Err(Errno::TOOBIG));
}

#[test]
fn words_that_are_not_there_or_have_no_end_are_refused() {
    let world = World::new();
    assert_eq!(world.make(libc::SYS_fchmodat, &[here(), 8, 0o600]), Err(Errno::FAULT));
    assert_eq!(world.make(libc::SYS_fchmodat, &[here(), u64::MAX - 3, 0o600]), Err(Errno::FAULT));
    let endless = vec![b'a'; 3 * PATH_MOST_BYTES];
    assert_eq!(world.make(libc::SYS_fchmodat, &[here(), endless.as_ptr().addr() as u64, 0o600]), Err(Errno::NAMETOOLONG));
    assert_eq!(world.make(libc::SYS_fchmodat, &[here(), at(c""), 0o600]), Err(Errno::NOENT));
    assert_eq!(world.make(libc::SYS_getpid, &[]), Err(Errno::PERM), "what is not of this list");
    let nobody = HeldCall { id: 0, thread: u32::MAX, number: libc::SYS_fchmod, arguments: [0; 6] };
    assert_eq!(world.marks.make(&nobody), Err(Errno::PERM));
}
