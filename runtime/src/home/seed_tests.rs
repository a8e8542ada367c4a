//! What is carried over from a template, and what never is.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
};

use super::*;

fn ground() -> (tempfile::TempDir, Dir) {
    let temp = tempfile::tempdir().expect("a directory");
    let dir = Dir::open_ambient_dir(temp.path(), cap_std::ambient_authority()).expect("opened");
    (temp, dir)
}

#[test]
fn files_and_directories_are_copied_with_the_owners_modes() {
    let ((from, template), (to, into)) = (ground(), ground());
    fs::create_dir_all(from.path().join("skills/one")).expect("made");
    fs::write(from.path().join("skills/one/run.sh"), "#!/bin/sh\n").expect("written");
    fs::set_permissions(from.path().join("skills/one/run.sh"), fs::Permissions::from_mode(0o4755)).expect("set");
    fs::write(from.path().join("SOUL.md"), "soul").expect("written");
    let seeded = seed(&template, &into, &Database::Copy).expect("copied");
    assert_eq!(seeded, Seeded { files: 2, bytes: 14, skipped: Vec::new() });
    let mode = |name: &str| fs::metadata(to.path().join(name)).expect(name).permissions().mode() & 0o7777;
    assert_eq!((mode("skills"), mode("skills/one/run.sh"), mode("SOUL.md")), (0o700, 0o700, 0o600));
    assert_eq!(fs::read_to_string(to.path().join("SOUL.md")).expect("read"), "soul");
}

#[test]
fn links_specials_and_secrets_stay_behind() {
    let ((from, template), (to, into)) = (ground(), ground());
    symlink("/etc", from.path().join("etc")).expect("linked");
    symlink("/etc/passwd", from.path().join("passwd")).expect("linked");
    rustix::fs::mkfifoat(&template, "fifo\u{1b}", PRIVATE_FILE).expect("a fifo");
    fs::create_dir_all(from.path().join("home/.claude")).expect("made");
    fs::create_dir(from.path().join("logs")).expect("made");
    for name in NEVER {
        fs::write(from.path().join(name), "secret").expect("written");
        fs::write(from.path().join("home/.claude").join(name), "secret").expect("written");
    }
    let seeded = seed(&template, &into, &Database::Copy).expect("copied");
    assert_eq!((seeded.files, seeded.skipped.len()), (0, 2 * NEVER.len() + 4));
    assert!(seeded.skipped.iter().any(|line| line == "fifo\\u{1b}: neither a file nor a directory"), "{:?}", seeded.skipped);
    assert!(seeded.skipped.iter().any(|line| line == "etc: a link"));
    assert_eq!(fs::read_dir(to.path()).expect("read").count(), 1);
    assert_eq!(fs::read_dir(to.path().join("home/.claude")).expect("read").count(), 0);
}

#[test]
fn a_template_is_bounded() {
    let bounds = Bounds { entries: 4, bytes: 1000, levels: 3 };
    let refused = |fill: &dyn Fn(&std::path::Path)| {
        let ((from, template), (_to, into)) = (ground(), ground());
        fill(from.path());
        match seed_bounded(&template, &into, &Database::Copy, bounds) {
            Ok(seeded) => format!("copied {} files", seeded.files),
            Err(SeedError::TooLarge { most, .. }) => most,
            Err(other) => panic!("{other}"),
        }
    };
    let files = |count: usize, bytes: u64| {
        move |path: &std::path::Path| {
            (0..count).for_each(|i| fs::File::create(path.join(i.to_string())).expect("made").set_len(bytes).expect("stretched"));
        }
    };
    assert_eq!(refused(&files(4, 250)), "copied 4 files");
    assert_eq!(refused(&files(5, 1)), "4 entries");
    assert_eq!(refused(&files(4, 251)), "1000 bytes");
    assert_eq!(refused(&files(1, 1 << 40)), "1000 bytes");
    assert_eq!(refused(&|path| fs::create_dir_all(path.join("d/d/d")).expect("made")), "copied 0 files");
    assert_eq!(refused(&|path| fs::create_dir_all(path.join("d/d/d/d")).expect("made")), "3 levels");
}

#[test]
fn a_live_database_is_backed_up_whole() {
    let ((from, template), (to, into)) = (ground(), ground());
    let live = rusqlite::Connection::open(from.path().join("state.db")).expect("opened");
    live.execute_batch(
        "PRAGMA journal_mode=WAL; PRAGMA wal_autocheckpoint=0; CREATE TABLE t(x TEXT) STRICT; INSERT INTO t VALUES ('remembered');",
    )
    .expect("written");
    assert!(fs::metadata(from.path().join("state.db-wal")).expect("a wal").len() > 0);
    // A copied file would lack what is in the WAL only.
    let canonical = |temp: &tempfile::TempDir| temp.path().canonicalize().expect("canonical");
    let seeded = seed(&template, &into, &Database::BackUp { from: canonical(&from), to: canonical(&to) }).expect("copied");
    assert_eq!(seeded.files, 1);
    drop(live);
    let names: Vec<_> = fs::read_dir(to.path()).expect("read").map(|entry| entry.expect("read").file_name()).collect();
    assert_eq!(names, ["state.db"]);
    assert_eq!(fs::metadata(to.path().join("state.db")).expect("there").permissions().mode() & 0o7777, 0o600);
    let copy = rusqlite::Connection::open(to.path().join("state.db")).expect("opened");
    assert_eq!(copy.query_row("SELECT x FROM t", [], |row| row.get::<_, String>(0)).expect("read"), "remembered");
}

#[test]
fn what_only_calls_itself_a_database_is_refused() {
    let ((from, template), (to, into)) = (ground(), ground());
    fs::write(from.path().join("state.db"), "x".repeat(5000)).expect("written");
    let canonical = |temp: &tempfile::TempDir| temp.path().canonicalize().expect("canonical");
    let refused = seed(&template, &into, &Database::BackUp { from: canonical(&from), to: canonical(&to) });
    assert!(matches!(refused, Err(SeedError::Database(_))), "{refused:?}");
}
