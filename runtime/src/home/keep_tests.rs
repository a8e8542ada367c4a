//! Attacks on the keeping of files, each beside its allowed twin.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    sync::atomic::{AtomicU64, Ordering},
};

use rustix::fs::Mode;

use super::*;
use crate::home::test_ground::meanwhile;

const MOST: u64 = 100_000;

struct Ground {
    temp: tempfile::TempDir,
    home: Dir,
    into: Dir,
}

/// A home and a directory to keep in, with a secret beside them.
fn ground() -> Ground {
    let temp = tempfile::tempdir().expect("a directory");
    for name in ["home/out", "kept"] {
        fs::create_dir_all(temp.path().join(name)).expect("made");
    }
    fs::write(temp.path().join("secret"), "secret").expect("written");
    fs::write(temp.path().join("home/out/report.md"), "# Report\n").expect("written");
    let open = |name: &str| Dir::open_ambient_dir(temp.path().join(name), cap_std::ambient_authority()).expect("opened");
    let (home, into) = (open("home"), open("kept"));
    Ground { temp, home, into }
}

impl Ground {
    fn keep(&self, path: &str) -> Result<(String, u64), KeepError> {
        keep_file(&self.home, path, &self.into, MOST)
    }

    fn at(&self, name: &str) -> std::path::PathBuf {
        self.temp.path().join(name)
    }

    fn kept(&self) -> Vec<String> {
        let names = fs::read_dir(self.at("kept")).expect("read").map(|entry| entry.expect("read").file_name());
        names.map(|name| name.into_string().expect("text")).collect()
    }
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn a_file_is_kept_under_its_digest_for_the_owner_alone() {
    let ground = ground();
    let digest = sha256(b"# Report\n");
    for path in ["out/report.md", "./out//report.md", "out/./report.md"] {
        assert_eq!(ground.keep(path).expect(path), (digest.clone(), 9));
    }
    assert_eq!(ground.kept(), [digest.as_str()]);
    let kept = ground.at("kept").join(&digest);
    assert_eq!(fs::read(&kept).expect("read"), b"# Report\n");
    assert_eq!(fs::metadata(&kept).expect("there").permissions().mode() & 0o7777, 0o600);
    // As it was then: later changes change nothing.
    fs::write(ground.at("home/out/report.md"), "").expect("written");
    assert_eq!(fs::read(&kept).expect("read"), b"# Report\n");
    assert_eq!(ground.keep("out/report.md").expect("empty"), (sha256(b""), 0));
    forget_file(&ground.into, &digest).expect("removed");
    forget_file(&ground.into, &digest).expect("nothing to do");
    assert_eq!(ground.kept(), [sha256(b"")]);
    for name in ["../secret", "", "..", "secret"] {
        assert!(forget_file(&ground.into, name).is_err(), "{name:?}");
    }
}

#[test]
fn paths_that_lead_out_are_refused() {
    let ground = ground();
    let secret = ground.at("secret").to_str().expect("text").to_owned();
    let (deep, long) = ("a/".repeat(PARTS_MOST) + "x", "a".repeat(PATH_MOST_BYTES + 1));
    let bad = ["", ".", "/", "..", "../secret", "out/../../secret", "out/..", "out/", "out/report.md/", "a\0b", &secret, &deep, &long];
    for path in bad {
        assert!(matches!(ground.keep(path), Err(KeepError::Path(_))), "{path:?}");
    }
    for path in ["nothing", "out/nothing", "no/report.md", "out/report.md/x"] {
        assert!(matches!(ground.keep(path), Err(KeepError::Missing(_))), "{path:?}: {:?}", ground.keep(path));
    }
    let said = ground.keep("x\u{1b}[2J\u{202e}").expect_err("missing").to_string();
    assert!(!said.contains('\u{1b}') && !said.contains('\u{202e}'), "{said}");
    assert_eq!(ground.kept(), [""; 0]);
}

#[test]
fn no_link_is_followed_in_any_part() {
    let ground = ground();
    symlink(ground.at("secret"), ground.at("home/absolute")).expect("linked");
    symlink("../secret", ground.at("home/relative")).expect("linked");
    symlink("out/report.md", ground.at("home/inside")).expect("linked");
    symlink("out", ground.at("home/way")).expect("linked");
    symlink(ground.temp.path(), ground.at("home/out/up")).expect("linked");
    symlink("loop", ground.at("home/loop")).expect("linked");
    symlink("/proc/self/environ", ground.at("home/proc")).expect("linked");
    for path in ["absolute", "relative", "inside", "way/report.md", "out/up/secret", "loop", "loop/x", "proc"] {
        assert!(matches!(ground.keep(path), Err(KeepError::Link(_))), "{path}: {:?}", ground.keep(path));
    }
    assert_eq!(ground.kept(), [""; 0]);
    ground.keep("out/report.md").expect("the allowed twin");
}

#[test]
fn what_is_no_regular_file_is_refused_and_not_waited_for() {
    let ground = ground();
    rustix::fs::mkfifoat(&ground.home, "fifo", Mode::RUSR | Mode::WUSR).expect("a fifo");
    let _socket = std::os::unix::net::UnixListener::bind(ground.at("home/socket")).expect("a socket");
    for path in ["fifo", "socket", "out"] {
        assert!(matches!(ground.keep(path), Err(KeepError::NotRegular(_))), "{path}: {:?}", ground.keep(path));
    }
    assert_eq!(ground.kept(), [""; 0]);
}

#[test]
fn a_device_is_refused() {
    let ground = ground();
    // As a home in which there is one, which never ends.
    let dev = Dir::open_ambient_dir("/dev", cap_std::ambient_authority()).expect("devices");
    assert!(matches!(keep_file(&dev, "zero", &ground.into, MOST), Err(KeepError::NotRegular(_))));
    assert_eq!(ground.kept(), [""; 0]);
}

#[test]
fn sizes_are_bounded_also_of_a_file_that_grows() {
    let ground = ground();
    fs::write(ground.at("home/just"), vec![b'x'; MOST as usize]).expect("written");
    assert_eq!(ground.keep("just").expect("it fits").1, MOST);
    fs::write(ground.at("home/large"), vec![b'x'; MOST as usize + 1]).expect("written");
    fs::File::create(ground.at("home/sparse")).expect("made").set_len(1 << 40).expect("stretched");
    for path in ["large", "sparse"] {
        assert!(matches!(ground.keep(path), Err(KeepError::TooLarge { most: MOST, .. })), "{path}");
    }
    assert_eq!(ground.kept().len(), 1);

    // A reader of a file that is written as fast as it is read: more than its size said, and without an end.
    struct Growing<'a>(&'a AtomicU64);
    impl Read for Growing<'_> {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            into.fill(b'x');
            self.0.fetch_add(into.len() as u64, Ordering::Relaxed);
            Ok(into.len())
        }
    }
    let (read, mut written) = (AtomicU64::new(0), Vec::new());
    assert!(matches!(copy(Growing(&read), &mut written, MOST), Ok(None)));
    assert!(read.into_inner() <= MOST + BLOCK_BYTES as u64 && written.len() as u64 <= MOST);
}

#[test]
fn a_file_that_somebody_writes_to_and_swaps_is_kept_whole_or_not_at_all() {
    let ground = ground();
    let (path, link) = (ground.at("home/out/report.md"), ground.at("home/link"));
    let again = || {
        fs::write(&path, vec![b'y'; 200_000]).expect("written");
        let _ = symlink("../secret", &link);
        let _ = fs::rename(&link, &path);
        let _ = fs::remove_file(&path);
        fs::write(&path, "short").expect("written");
    };
    meanwhile(again, || {
        for _ in 0..300 {
            match ground.keep("out/report.md") {
                Ok((digest, bytes)) => {
                    let kept = fs::read(ground.at("kept").join(&digest)).expect("read");
                    assert_eq!((sha256(&kept), kept.len() as u64), (digest, bytes));
                    assert!(bytes <= MOST && kept != b"secret");
                }
                Err(KeepError::Missing(_) | KeepError::Link(_) | KeepError::TooLarge { .. } | KeepError::NotRegular(_)) => {}
                Err(other) => panic!("{other}: {other:?}"),
            }
        }
    });
    assert!(ground.kept().iter().all(|name| name.len() == 64), "{:?}", ground.kept());
}

#[test]
fn what_cannot_be_written_leaves_nothing() {
    let ground = ground();
    fs::create_dir(ground.at("kept").join(sha256(b"# Report\n"))).expect("in the way");
    assert!(matches!(ground.keep("out/report.md"), Err(KeepError::Write { .. })));
    assert_eq!(ground.kept().len(), 1);
}
