//! The Lazarus root: where it may be, and whose.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
};

use super::*;

fn mode(path: &Path) -> u32 {
    fs::metadata(path).expect("there").permissions().mode() & 0o7777
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("set");
}

#[test]
fn the_default_root_follows_the_operators_environment() {
    let from = |xdg: Option<&str>, home: Option<&str>| {
        default_root(|name| match name {
            "XDG_DATA_HOME" => xdg.map(OsString::from),
            "HOME" => home.map(OsString::from),
            _ => None,
        })
    };
    assert_eq!(from(Some("/data"), Some("/h")).expect("found"), Path::new("/data/lazarus"));
    assert_eq!(from(None, Some("/h")).expect("found"), Path::new("/h/.local/share/lazarus"));
    assert_eq!(from(Some("relative"), Some("/h")).expect("found"), Path::new("/h/.local/share/lazarus"));
    assert!(matches!(from(Some(""), None), Err(RootError::Nowhere)));
}

#[test]
fn a_root_is_made_with_its_parents_for_its_owner_alone() {
    let temp = tempfile::tempdir().expect("a directory");
    let path = temp.path().join("a/b/lazarus");
    let (_dir, found) = open_root(&path, None).expect("made");
    assert_eq!(found, path.canonicalize().expect("canonical"));
    for part in ["a", "a/b", "a/b/lazarus"] {
        assert_eq!(mode(&temp.path().join(part)), 0o700, "{part}");
    }
    let link = temp.path().join("link");
    symlink(&path, &link).expect("linked");
    assert_eq!(open_root(&link, None).expect("opened").1, found);
}

#[test]
fn a_loose_root_is_closed_while_it_is_empty_and_refused_later() {
    let temp = tempfile::tempdir().expect("a directory");
    let path = temp.path().join("root");
    fs::create_dir(&path).expect("made");
    set_mode(&path, 0o755);
    open_root(&path, None).expect("taken over");
    assert_eq!(mode(&path), 0o700);
    fs::write(path.join("registry.db"), "x").expect("written");
    open_root(&path, None).expect("opened");
    for loose in [0o755, 0o770, 0o701, 0o722] {
        set_mode(&path, loose);
        let error = open_root(&path, None).expect_err("refused");
        assert!(matches!(error, RootError::Loose { mode, .. } if mode == loose));
        assert!(error.to_string().ends_with(&format!("run: chmod 700 '{}'", path.display())), "{error}");
        assert_eq!(mode(&path), loose);
    }
}

#[test]
fn a_root_of_somebody_else_or_of_another_kind_is_refused() {
    let temp = tempfile::tempdir().expect("a directory");
    let path = temp.path().join("root");
    fs::write(&path, "x").expect("written");
    assert!(matches!(open_root(&path, None), Err(RootError::NotDirectory(_))));
    assert!(matches!(open_root(&path.join("below"), None), Err(RootError::NotDirectory(_))));
    fs::remove_file(&path).expect("removed");
    symlink(temp.path().join("nowhere"), &path).expect("linked");
    assert!(matches!(open_root(&path, None), Err(RootError::NotDirectory(_))));
    fs::remove_file(&path).expect("removed");
    fs::create_dir(&path).expect("made");
    if crate::home::test_ground::may_give_away() {
        std::os::unix::fs::chown(&path, Some(65_534), None).expect("given away");
        assert!(matches!(open_root(&path, None), Err(RootError::NotOurs { owner: 65_534, .. })));
    } else {
        assert!(matches!(open_root(Path::new("/usr"), None), Err(RootError::NotOurs { owner: 0, .. })));
    }
}

#[test]
fn a_root_inside_hermes_is_refused_however_it_is_named() {
    let temp = tempfile::tempdir().expect("a directory");
    let home = temp.path().join("home");
    let hermes = home.join(".hermes");
    fs::create_dir(&home).expect("made");
    let inside = |path: &Path| matches!(open_root(path, Some(&hermes)), Err(RootError::InsideHermes(_)));
    assert!(inside(&hermes.join("lazarus")), "also before ~/.hermes exists");
    assert!(!hermes.exists(), "and nothing was made");
    fs::create_dir(&hermes).expect("made");
    symlink(&hermes, temp.path().join("link")).expect("linked");
    symlink(&home, temp.path().join("home-link")).expect("linked");
    for path in [
        hermes.clone(),
        hermes.join("a/b"),
        home.join("x/../.hermes/a"),
        temp.path().join("link/a"),
        temp.path().join("home-link/.hermes"),
        home.join("../link/deep/er"),
    ] {
        // A path through what does not exist is no path: it is refused, either way, and nothing is made.
        assert!(inside(&path) || open_root(&path, Some(&hermes)).is_err(), "{}", path.display());
    }
    assert_eq!(fs::read_dir(&hermes).expect("read").count(), 0);
    open_root(&home.join(".hermes-not"), Some(&hermes)).expect("another directory");
}

#[test]
fn full_and_read_only_disks_say_so() {
    if crate::home::test_ground::elsewhere(module_path!(), "full_and_read_only_disks_say_so") {
        return;
    }
    let temp = tempfile::tempdir().expect("a directory");
    let disk = temp.path().join("disk");
    fs::create_dir(&disk).expect("made");
    let run = |program: &str, args: &[&str]| {
        assert!(std::process::Command::new(program).args(args).arg(&disk).status().expect("it runs").success(), "{program} (run as root)");
    };
    run("mount", &["-t", "tmpfs", "-o", "nr_inodes=2,mode=700", "none"]);
    fs::write(disk.join("last"), "").expect("the last inode");
    let full = open_root(&disk.join("root"), None);
    run("mount", &["-o", "remount,ro"]);
    let read_only = open_root(&disk.join("root"), None);
    run("umount", &[]);
    assert!(matches!(full, Err(RootError::Full(_))), "{full:?}");
    assert!(matches!(read_only, Err(RootError::ReadOnly(_))), "{read_only:?}");
}

#[test]
fn a_named_file_is_regular_and_bounded() {
    let temp = tempfile::tempdir().expect("a directory");
    let path = temp.path().join("file");
    fs::write(&path, "12345").expect("written");
    symlink(&path, temp.path().join("link")).expect("linked");
    rustix::fs::mkfifoat(CWD, temp.path().join("fifo"), Mode::RUSR).expect("a fifo");
    assert_eq!(read_named_file(&temp.path().join("link"), 5).expect("read"), b"12345");
    assert_eq!(read_named_file(&path, 4).expect_err("refused").kind(), io::ErrorKind::FileTooLarge);
    for other in [temp.path().join("fifo"), temp.path().to_owned(), PathBuf::from("/dev/zero")] {
        assert_eq!(read_named_file(&other, 5).expect_err("refused").kind(), io::ErrorKind::InvalidInput, "{}", other.display());
    }
}
