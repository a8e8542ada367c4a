//! What a guest plants, and how its tree is removed all the same.

use std::{
    ffi::OsStr,
    fs,
    os::unix::{ffi::OsStrExt, fs::PermissionsExt, fs::symlink, net::UnixListener},
    path::Path,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
};

use rustix::fs::{CWD, FileType, Mode, RenameFlags};

use super::*;
use crate::home::test_ground::{meanwhile, without_override};

struct Ground {
    temp: tempfile::TempDir,
    dir: Dir,
}

/// A directory with `tree`, which is to be removed, and `canary`, which nothing may touch.
fn ground() -> Ground {
    ground_in(tempfile::tempdir().expect("a directory"))
}

/// The same in memory where there is such a place: for trees whose shape matters, and not the disk.
fn quick_ground() -> Ground {
    ground_in(tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).expect("a directory"))
}

fn ground_in(temp: tempfile::TempDir) -> Ground {
    let dir = Dir::open_ambient_dir(temp.path(), cap_std::ambient_authority()).expect("opened");
    fs::create_dir_all(temp.path().join("canary/nest")).expect("made");
    fs::create_dir(temp.path().join("tree")).expect("made");
    fs::write(temp.path().join("canary/egg"), "egg").expect("written");
    fs::write(temp.path().join("canary/nest/egg"), "egg").expect("written");
    Ground { temp, dir }
}

impl Ground {
    fn tree(&self) -> std::path::PathBuf {
        self.temp.path().join("tree")
    }

    fn canary(&self) -> std::path::PathBuf {
        self.temp.path().join("canary")
    }

    #[track_caller]
    fn assert_gone(&self, removed: &Removed) {
        assert_eq!(removed.remained, Vec::<String>::new());
        assert!(fs::symlink_metadata(self.tree()).is_err());
        self.assert_canary();
    }

    #[track_caller]
    fn assert_canary(&self) {
        assert_eq!(fs::read_to_string(self.canary().join("egg")).expect("the canary lives"), "egg");
        assert_eq!(fs::read_to_string(self.canary().join("nest/egg")).expect("the canary lives"), "egg");
        assert_eq!(fs::metadata(self.canary()).expect("the canary lives").permissions().mode() & 0o777, 0o755);
    }
}

#[test]
fn links_are_removed_and_never_followed() {
    let ground = ground();
    let tree = ground.tree();
    symlink(ground.canary(), tree.join("dir")).expect("linked");
    symlink(ground.canary().join("egg"), tree.join("file")).expect("linked");
    symlink("../canary/nest/", tree.join("relative")).expect("linked");
    symlink("loop", tree.join("loop")).expect("linked");
    fs::hard_link(ground.canary().join("egg"), tree.join("hard")).expect("linked");
    let removed = remove_tree(&ground.dir, "tree");
    ground.assert_gone(&removed);
    // The hard link's bytes are still in use, and a link's are its target's name.
    assert_eq!((removed.files, removed.dirs), (5, 1));
    assert!(removed.bytes < 3 * 4096);
}

#[test]
fn a_link_in_place_of_the_tree_is_removed_itself() {
    let ground = ground();
    fs::remove_dir(ground.tree()).expect("removed");
    symlink("canary", ground.tree()).expect("linked");
    let removed = remove_tree(&ground.dir, "tree");
    ground.assert_gone(&removed);
    assert_eq!((removed.files, removed.dirs), (1, 0));
}

#[test]
fn removing_nothing_is_complete_and_a_path_is_refused() {
    let ground = ground();
    assert_eq!(remove_tree(&ground.dir, "nothing"), Removed::default());
    for name in ["", ".", "..", "canary/egg", "/etc", "a\0b"] {
        assert!(!remove_tree(&ground.dir, name).is_complete(), "{name:?}");
    }
    ground.assert_canary();
}

#[test]
fn odd_files_and_odd_names_are_removed() {
    let ground = ground();
    let tree = ground.tree();
    let _socket = UnixListener::bind(tree.join("socket")).expect("bound");
    rustix::fs::mkfifoat(CWD, tree.join("fifo"), Mode::RUSR).expect("a fifo");
    // Only root can make a device, so that only root's cells can hold one.
    let devices = u64::from(crate::home::test_ground::may_give_away());
    if devices > 0 {
        let null = rustix::fs::makedev(1, 3);
        rustix::fs::mknodat(CWD, tree.join("device"), FileType::CharacterDevice, Mode::RUSR, null).expect("a device");
    }
    for name in [&b"a\nb"[..], b"\x1b[2J", b"\xff\xfe", &[b'n'; 255], b"-rf", b"*", b" "] {
        fs::write(tree.join(OsStr::from_bytes(name)), "x").expect("written");
    }
    fs::create_dir_all(tree.join(OsStr::from_bytes(&[b'd'; 255]))).expect("made");
    let removed = remove_tree(&ground.dir, "tree");
    ground.assert_gone(&removed);
    assert_eq!((removed.files, removed.dirs, removed.bytes), (9 + devices, 2, 7));
}

/// Makes a chain of directories that is far longer than a path may be.
fn dig(top: &Path, levels: usize) {
    let mut at = rustix::fs::openat(CWD, top, rustix::fs::OFlags::DIRECTORY, Mode::empty()).expect("opened");
    for _ in 0..levels {
        rustix::fs::mkdirat(&at, "deeper", Mode::RWXU).expect("made");
        at = rustix::fs::openat(&at, "deeper", rustix::fs::OFlags::DIRECTORY, Mode::empty()).expect("opened");
    }
    rustix::fs::symlinkat("/", &at, "root").expect("linked");
}

#[test]
fn ten_thousand_levels_are_removed_with_few_descriptors() {
    let ground = quick_ground();
    dig(&ground.tree(), 10_000);
    // A guest may take the names that lifting would choose.
    fs::write(ground.tree().join(".lazarus-lifted-1"), "x").expect("written");
    fs::create_dir_all(ground.tree().join(".lazarus-lifted-2/full")).expect("made");
    let removed = remove_tree(&ground.dir, "tree");
    ground.assert_gone(&removed);
    assert_eq!((removed.files, removed.dirs), (2, 10_003));
}

#[test]
fn a_wide_tree_is_removed() {
    let ground = quick_ground();
    for i in 0..3000 {
        fs::write(ground.tree().join(format!("f{i}")), "x").expect("written");
        fs::create_dir(ground.tree().join(format!("d{i}"))).expect("made");
    }
    let removed = remove_tree(&ground.dir, "tree");
    ground.assert_gone(&removed);
    assert_eq!((removed.files, removed.dirs, removed.bytes), (3000, 3001, 3000));
}

#[test]
fn directories_without_rights_are_removed() {
    let ground = ground();
    let shut = ground.tree().join("shut");
    fs::create_dir_all(shut.join("inner")).expect("made");
    fs::write(shut.join("inner/file"), "x").expect("written");
    symlink(ground.canary(), shut.join("link")).expect("linked");
    for path in [shut.join("inner"), shut.clone(), ground.tree()] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o000)).expect("shut");
    }
    let removed = without_override(|| {
        assert!(fs::read_dir(&shut).is_err(), "the rights bind this thread");
        remove_tree(&ground.dir, "tree")
    });
    ground.assert_gone(&removed);
    assert_eq!((removed.files, removed.dirs), (2, 3));
}

#[test]
fn what_cannot_be_removed_is_named_and_the_rest_goes() {
    if crate::home::test_ground::elsewhere(module_path!(), "what_cannot_be_removed_is_named_and_the_rest_goes") {
        return;
    }
    let ground = ground();
    fs::create_dir_all(ground.tree().join("a/b")).expect("made");
    fs::write(ground.tree().join("a/b/file"), "x").expect("written");
    fs::write(ground.tree().join("a/other"), "x").expect("written");
    if !crate::home::test_ground::may_give_away() {
        // In a namespace all files are one user's: a mount point is what cannot be removed there.
        let point = ground.tree().join("a/b");
        let mount = std::process::Command::new("mount").args(["-t", "tmpfs", "none"]).arg(&point).status().expect("mount runs");
        assert!(mount.success());
        let removed = remove_tree(&ground.dir, "tree");
        assert!(removed.remained.iter().any(|line| line.starts_with("tree/a/b: a mount point")), "{:?}", removed.remained);
        assert!(!ground.tree().join("a/other").exists());
        return;
    }
    let held = ground.tree().join("a/b/\u{1b}held");
    fs::write(&held, "x").expect("written");
    // The sticky bit of a directory that is another's keeps others from unlinking what is not theirs.
    rustix::fs::chown(&held, Some(rustix::fs::Uid::from_raw(65_534)), None).expect("given away (run as root)");
    rustix::fs::chown(ground.tree().join("a/b"), Some(rustix::fs::Uid::from_raw(65_533)), None).expect("given away");
    fs::set_permissions(ground.tree().join("a/b"), fs::Permissions::from_mode(0o1777)).expect("set");
    let removed = without_override(|| remove_tree(&ground.dir, "tree"));
    assert!(!removed.is_complete());
    assert!(removed.remained.iter().any(|line| line.starts_with("tree/a/b/\\u{1b}held: not permitted")), "{:?}", removed.remained);
    assert!(!ground.tree().join("a/other").exists());
    assert!(held.exists());
    ground.assert_canary();
}

#[test]
fn a_mount_is_neither_crossed_nor_emptied() {
    if crate::home::test_ground::elsewhere(module_path!(), "a_mount_is_neither_crossed_nor_emptied") {
        return;
    }
    let ground = ground();
    let mounted = ground.tree().join("sub/mounted");
    fs::create_dir_all(&mounted).expect("made");
    let status = std::process::Command::new("mount").arg("--bind").arg(ground.canary()).arg(&mounted).status().expect("mount runs");
    assert!(status.success(), "a bind mount (run as root)");
    let removed = remove_tree(&ground.dir, "tree");
    let status = std::process::Command::new("umount").arg(&mounted).status().expect("umount runs");
    assert!(status.success());
    assert_eq!(removed.remained.first().map(String::as_str), Some("tree/sub/mounted: a mount point, or in use"));
    ground.assert_canary();
    ground.assert_gone(&remove_tree(&ground.dir, "tree"));
}

#[test]
fn a_directory_swapped_for_a_link_leads_nowhere() {
    let ground = ground();
    let again = || {
        let (dir, link) = (ground.tree().join("x"), ground.tree().join("y"));
        let _ = rustix::fs::renameat_with(CWD, &dir, CWD, &link, RenameFlags::EXCHANGE);
    };
    meanwhile(again, || {
        for _ in 0..50 {
            fs::create_dir_all(ground.tree().join("x/inner")).expect("made");
            for i in 0..20 {
                let _ = fs::write(ground.tree().join(format!("x/inner/{i}")), "x");
            }
            symlink(ground.canary(), ground.tree().join("y")).expect("linked");
            let removed = remove_tree(&ground.dir, "tree");
            ground.assert_gone(&removed);
            fs::create_dir(ground.tree()).expect("made again");
        }
    });
    ground.assert_canary();
}

#[test]
fn a_process_that_refills_the_tree_is_reported_and_not_waited_for() {
    let ground = ground();
    let (made, refills) = (AtomicBool::new(false), AtomicU64::new(0));
    let again = || {
        let _ = fs::create_dir_all(ground.tree().join("again"));
        let _ = fs::write(ground.tree().join(format!("again/{}", refills.fetch_add(1, Ordering::Relaxed) % 8)), "x");
        made.store(true, Ordering::Relaxed);
    };
    let removed = meanwhile(again, || {
        while !made.load(Ordering::Relaxed) {
            std::thread::yield_now();
        }
        remove_tree(&ground.dir, "tree")
    });
    // Whoever wins, the result must be true when the call returns: complete only if the tree was gone at that moment.
    assert!(removed.dirs + removed.files > 0 || !removed.is_complete());
    ground.assert_gone(&remove_tree(&ground.dir, "tree"));
}
