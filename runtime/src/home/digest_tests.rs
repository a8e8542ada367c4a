//! Digests of trees that mean no harm, and of some that do.

use std::{fs, os::unix::fs::PermissionsExt, os::unix::fs::symlink, path::Path};

use rustix::fs::Mode;

use super::*;

const LIMITS: DigestLimits =
    DigestLimits { time: Duration::from_secs(20), bytes: 1 << 20, entries: 10_000, lines_bytes: 1 << 20, depth: 16 };

fn ground() -> (tempfile::TempDir, Dir) {
    let temp = tempfile::tempdir().expect("a directory");
    let dir = Dir::open_ambient_dir(temp.path(), cap_std::ambient_authority()).expect("opened");
    fs::create_dir(temp.path().join("home")).expect("made");
    (temp, dir)
}

fn of(dir: &Dir) -> TreeDigest {
    digest(dir, &["home", "shared"], LIMITS)
}

/// The digest of lines that are written down here, as the form says: path, kind, size, digest.
fn expected(mut lines: Vec<(&str, &str, u64, String)>) -> String {
    lines.sort_unstable();
    let text: String = lines.iter().map(|(path, kind, size, digest)| format!("{path}\0{kind}\0{size}\0{digest}\n")).collect();
    hex(&Sha256::digest(text.as_bytes()))
}

fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

#[test]
fn a_digest_is_that_of_its_sorted_lines() {
    let (temp, dir) = ground();
    let home = temp.path().join("home");
    fs::create_dir_all(home.join("a/b")).expect("made");
    fs::write(home.join("a/b/deep"), b"deep").expect("written");
    fs::write(home.join("a-b"), b"").expect("written");
    symlink("/etc/passwd", home.join("link")).expect("linked");
    let none = || "-".to_owned();
    let lines = vec![
        ("home", "dir", 0, none()),
        ("home/a", "dir", 0, none()),
        ("home/a/b", "dir", 0, none()),
        ("home/a/b/deep", "file", 4, sha256(b"deep")),
        ("home/a-b", "file", 0, sha256(b"")),
        ("home/link", "link", 11, sha256(b"/etc/passwd")),
    ];
    assert_eq!(of(&dir), TreeDigest { sha256: expected(lines), covers: COVERS_ALL.to_owned() });
    // Nothing there is the digest of no line, of everything.
    assert_eq!(digest(&dir, &["nothing"], LIMITS), TreeDigest { sha256: sha256(b""), covers: COVERS_ALL.to_owned() });
}

#[test]
fn whatever_changes_in_a_tree_changes_its_digest() {
    let (temp, dir) = ground();
    let home = temp.path().join("home");
    let mut seen = std::collections::BTreeSet::from([of(&dir).sha256]);
    let mut differs = |what: &str| assert!(seen.insert(of(&dir).sha256), "{what}");
    fs::write(home.join("file"), b"one").expect("written");
    differs("a file");
    fs::write(home.join("file"), b"two").expect("written");
    differs("its bytes");
    fs::rename(home.join("file"), home.join("other")).expect("renamed");
    differs("its name");
    fs::remove_file(home.join("other")).expect("removed");
    fs::create_dir(home.join("other")).expect("made");
    differs("its kind");
    symlink("x", home.join("link")).expect("linked");
    differs("a link");
    fs::remove_file(home.join("link")).expect("removed");
    symlink("y", home.join("link")).expect("linked");
    differs("its target");
    fs::write(home.join("name\nwith\u{1b}[2Jteeth"), b"").expect("written");
    differs("a hostile name");
}

#[test]
fn no_link_is_followed_and_nothing_special_is_opened() {
    let (temp, dir) = ground();
    let home = temp.path().join("home");
    let outside = temp.path().join("outside");
    fs::create_dir(&outside).expect("made");
    symlink(&outside, home.join("out")).expect("linked");
    symlink("../..", home.join("up")).expect("linked");
    // Opening one would wait for a writer for ever.
    rustix::fs::mkfifoat(&dir, "home/fifo", Mode::RUSR | Mode::WUSR).expect("a fifo");
    let _socket = std::os::unix::net::UnixListener::bind(home.join("socket")).expect("a socket");
    if crate::home::test_ground::may_give_away() {
        // A terminal that hangs up, a tape that rewinds: a device acts when it is opened. This one is /dev/null.
        let null = rustix::fs::makedev(1, 3);
        rustix::fs::mknodat(&dir, "home/null", FileType::CharacterDevice, Mode::RUSR, null).expect("a device");
    }
    let before = of(&dir);
    assert_eq!(before.covers, COVERS_ALL);
    fs::write(outside.join("secret"), b"what lies outside").expect("written");
    assert_eq!(of(&dir), before, "something outside was looked at");
    // The whole home a link, planted in its place.
    fs::rename(&home, temp.path().join("away")).expect("renamed");
    symlink(&outside, &home).expect("linked");
    let target = outside.to_str().expect("UTF-8");
    let line = vec![("home", "link", target.len() as u64, sha256(target.as_bytes()))];
    assert_eq!(of(&dir), TreeDigest { sha256: expected(line), covers: COVERS_ALL.to_owned() });
}

#[test]
fn what_the_owner_may_not_read_is_read_all_the_same() {
    let (temp, dir) = ground();
    let home = temp.path().join("home");
    fs::create_dir(home.join("locked")).expect("made");
    fs::write(home.join("locked/file"), b"hidden").expect("written");
    let open = of(&dir);
    let mode = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("chmod");
    mode(&home.join("locked/file"), 0);
    mode(&home.join("locked"), 0);
    assert_eq!(of(&dir), open);
    assert_eq!(open.covers, COVERS_ALL);
}

#[test]
fn a_file_with_a_name_outside_keeps_its_mode() {
    let (temp, dir) = ground();
    let outside = temp.path().join("outside");
    fs::write(&outside, b"not the cell's alone").expect("written");
    fs::hard_link(&outside, temp.path().join("home/inside")).expect("linked");
    fs::set_permissions(&outside, fs::Permissions::from_mode(0o000)).expect("chmod");
    // Root reads it as it is; for everybody else it is left out, which is said.
    let may_read = fs::read(&outside).is_ok();
    assert_eq!(of(&dir).covers == COVERS_ALL, may_read);
    assert_eq!(fs::metadata(&outside).expect("there").permissions().mode() & 0o777, 0o000);
}

#[test]
fn every_bound_is_said_and_none_is_passed() {
    let (temp, dir) = ground();
    let home = temp.path().join("home");
    fs::write(home.join("small"), b"small").expect("written");
    fs::File::create(home.join("sparse")).expect("made").set_len(1 << 40).expect("stretched");
    let start = Instant::now();
    let sparse = of(&dir);
    assert!(sparse.covers.starts_with("all but the contents of 1 files of 1099511627776 bytes"), "{}", sparse.covers);
    assert!(start.elapsed() < Duration::from_secs(10), "it was read: {:?}", start.elapsed());
    let lines = vec![
        ("home", "dir", 0, "-".to_owned()),
        ("home/small", "file", 5, sha256(b"small")),
        ("home/sparse", "file", 1 << 40, "?".to_owned()),
    ];
    assert_eq!(sparse.sha256, expected(lines), "what it does not cover is named in it all the same");
    // The allowed twin: one byte less than there is room for.
    fs::File::create(home.join("sparse")).expect("made").set_len((1 << 20) - 5).expect("stretched");
    assert_eq!(of(&dir).covers, COVERS_ALL);

    let few = digest(&dir, &["home"], DigestLimits { entries: 2, ..LIMITS });
    assert!(few.covers.contains("entries beyond the first 2"), "{}", few.covers);
    let slow = digest(&dir, &["home"], DigestLimits { time: Duration::ZERO, ..LIMITS });
    assert!(slow.covers.contains("entries beyond the first 0"), "{}", slow.covers);
    let little = digest(&dir, &["home"], DigestLimits { lines_bytes: 10, ..LIMITS });
    assert!(little.covers.contains("entries beyond"), "{}", little.covers);
}

#[test]
fn depth_is_bounded_and_what_is_below_is_said() {
    let (temp, dir) = ground();
    let mut path = temp.path().join("home");
    for _ in 0..15 {
        path.push("d");
    }
    fs::create_dir_all(&path).expect("made");
    assert_eq!(of(&dir).covers, COVERS_ALL);
    fs::create_dir(path.join("d")).expect("made");
    assert!(of(&dir).covers.starts_with("all but what is in 1 directories"), "{}", of(&dir).covers);
    // Far deeper than any path can name.
    let flags = rustix::fs::OFlags::DIRECTORY | rustix::fs::OFlags::CLOEXEC;
    let mut at = rustix::fs::openat(&dir, "home", flags, Mode::empty()).expect("opened");
    for _ in 0..3000 {
        rustix::fs::mkdirat(&at, "very-deep", Mode::RWXU).expect("made");
        at = rustix::fs::openat(&at, "very-deep", flags, Mode::empty()).expect("opened");
    }
    assert!(of(&dir).covers.starts_with("all but what is in 2 directories"), "{}", of(&dir).covers);
    assert!(crate::home::remove_tree(&dir, "home").is_complete());
}

#[test]
fn a_mount_is_not_digested_and_that_is_said() {
    if crate::home::test_ground::elsewhere(module_path!(), "a_mount_is_not_digested_and_that_is_said") {
        return;
    }
    let (temp, dir) = ground();
    let point = temp.path().join("home/mount");
    fs::create_dir(&point).expect("made");
    assert_eq!(of(&dir).covers, COVERS_ALL);
    let run = |program: &str, args: &[&str]| {
        let status = std::process::Command::new(program).args(args).arg(&point).status().expect("it runs");
        assert!(status.success(), "{program} (run as root)");
    };
    run("mount", &["-t", "tmpfs", "-o", "size=64k", "none"]);
    fs::write(point.join("file"), "x").expect("written");
    let mounted = of(&dir);
    run("umount", &[]);
    assert!(mounted.covers.starts_with("all but what is in 1 directories"), "{}", mounted.covers);
}
