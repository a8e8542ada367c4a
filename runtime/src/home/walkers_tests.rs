//! Every walker of this module against the same planted home: what it finds there, and what it leaves alone outside.
//!
//! The canary's kernel-side watch says whether anything outside was opened, so that a walker that looks and then thinks better of it fails too.
//! Archives have tests of their own beside these.

use std::{
    fs,
    os::unix::fs::symlink,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use cap_std::fs::Dir;
use rustix::{
    fs::{CWD, RenameFlags},
    process::{Resource, Rlimit, setrlimit},
};

use super::{
    ArchiveWish, Database, KeepError, Root, SeedError, digest_tree,
    handle::{modified_at, open_dir, open_file, read_file},
    keep_file, measure,
    planted::{Canary, EGG, HUGE_BYTES, Immutable, PLAIN, Planter, SECRET, SECRETS, holds, super_journal},
    remove_tree, seed,
    test_ground::{elsewhere, may_give_away, meanwhile, with_few},
};
use crate::cell::CellId;

struct Ground {
    temp: tempfile::TempDir,
    /// The directory that holds `home` and nothing else.
    around: Dir,
    home: Dir,
    canary: Canary,
}

fn ground() -> Ground {
    ground_in(tempfile::tempdir().expect("a directory"))
}

fn ground_in(temp: tempfile::TempDir) -> Ground {
    fs::create_dir_all(temp.path().join("around/home")).expect("made");
    let canary = Canary::new(&temp.path().join("outside"));
    let around = Dir::open_ambient_dir(temp.path().join("around"), cap_std::ambient_authority()).expect("opened");
    let home = open_dir(&around, "home").expect("opened");
    Ground { temp, around, home, canary }
}

impl Ground {
    fn path(&self) -> std::path::PathBuf {
        self.temp.path().join("around/home")
    }

    fn planter(&self) -> Planter {
        Planter::new(&self.path())
    }

    /// A second directory, which a walker writes to.
    fn beside(&self) -> Dir {
        fs::create_dir(self.temp.path().join("into")).expect("made");
        Dir::open_ambient_dir(self.temp.path().join("into"), cap_std::ambient_authority()).expect("opened")
    }
}

/// Everything below a directory, as bytes: to look for what must not be there.
fn all_bytes(dir: &Path) -> Vec<u8> {
    let mut bytes = Vec::new();
    for entry in fs::read_dir(dir).expect("read") {
        let entry = entry.expect("read");
        let kind = entry.file_type().expect("known");
        if kind.is_dir() {
            bytes.extend(all_bytes(&entry.path()));
        } else if kind.is_file() {
            bytes.extend(fs::read(entry.path()).expect("read"));
        }
    }
    bytes
}

#[test]
fn measuring_counts_what_is_planted_and_opens_no_file() {
    let ground = ground();
    let mut planter = ground.planter();
    planter.everything(&ground.canary, may_give_away());
    let measured = measure(&ground.home).expect("measured");
    ground.canary.assert_untouched();
    assert!(planter.opened_specials().is_empty());
    let planted = planter.planted();
    assert_eq!((measured.files, measured.dirs, measured.unread), (planted.files, planted.dirs, 0), "shut directories as well");
    assert!(measured.bytes >= HUGE_BYTES && measured.bytes < HUGE_BYTES + (1 << 20), "no link was followed: {}", measured.bytes);
    assert!(measured.allocated < 1 << 20);
}

#[test]
fn seeding_takes_files_alone_and_no_secret() {
    let ground = ground();
    let mut planter = ground.planter();
    planter.plain();
    planter.specials(may_give_away());
    planter.names();
    planter.secrets();
    planter.times();
    let seeded = seed(&ground.home, &ground.beside(), &Database::Copy).expect("copied");
    assert!(planter.opened_specials().is_empty());
    let made = ground.temp.path().join("into");
    let bytes = all_bytes(&made);
    assert!(holds(&bytes, PLAIN) && !holds(&bytes, SECRET));
    assert_eq!(fs::read(made.join("plain/same")).expect("copied"), PLAIN);
    for left_out in ["plain/link: a link", "specials/fifo: neither", "specials/socket: neither", ".env: never"] {
        assert!(seeded.skipped.iter().any(|line| line.starts_with(left_out)), "{left_out}: {:?}", seeded.skipped);
    }
    assert_eq!(seeded.skipped.len(), 2 + 2 + 2 * SECRETS.len() + if may_give_away() { 3 } else { 0 });
    assert!(fs::read_dir(made.join("specials")).expect("read").next().is_none());
    ground.canary.assert_untouched();
}

#[test]
fn a_digest_is_of_what_lies_there_and_of_nothing_outside() {
    let ground = ground();
    let mut planter = ground.planter();
    planter.plain();
    planter.links(&ground.canary);
    fs::remove_file(ground.path().join("links/hard")).expect("removed");
    planter.specials(may_give_away());
    planter.names();
    planter.times();
    let first = digest_tree(&ground.home).expect("digested");
    assert_eq!(digest_tree(&ground.home).expect("digested"), first);
    assert!(planter.opened_specials().is_empty());
    ground.canary.assert_untouched();
    planter.huge();
    let started = Instant::now();
    assert_eq!(digest_tree(&ground.home).expect_err("refused").kind(), std::io::ErrorKind::FileTooLarge);
    assert!(started.elapsed() < Duration::from_secs(10));
}

#[test]
fn seeding_follows_no_link_and_stops_at_what_is_too_large() {
    let ground = ground();
    let mut planter = ground.planter();
    planter.links(&ground.canary);
    fs::remove_file(ground.path().join("links/hard")).expect("removed");
    let into = ground.beside();
    let seeded = seed(&ground.home, &into, &Database::Copy).expect("copied");
    assert_eq!((seeded.files, seeded.skipped.len() as u64), (0, planter.planted().files - 1));
    ground.canary.assert_untouched();
    planter.huge();
    fs::create_dir(ground.temp.path().join("into/again")).expect("made");
    let again = open_dir(&into, "again").expect("opened");
    let refused = seed(&ground.home, &again, &Database::Copy).expect_err("refused");
    assert_eq!(measure(&again).expect("measured").bytes, 0, "nothing of it was copied to find out");
    assert!(matches!(&refused, SeedError::TooLarge { path, most } if path == "huge" && most.ends_with("bytes")), "{refused}");
}

#[test]
fn a_templates_database_is_not_waited_for_and_removes_nothing() {
    let beside = |plant: &dyn Fn(&Path, &Canary)| {
        let ground = ground();
        let database = rusqlite::Connection::open(ground.path().join("state.db")).expect("opened");
        database.execute_batch("CREATE TABLE t(x TEXT); INSERT INTO t VALUES ('kept');").expect("written");
        drop(database);
        plant(&ground.path(), &ground.canary);
        let canonical = ground.temp.path().canonicalize().expect("canonical");
        let into = ground.beside();
        let database = Database::BackUp { from: canonical.join("around/home"), to: canonical.join("into") };
        let started = Instant::now();
        let seeded = seed(&ground.home, &into, &database);
        assert!(started.elapsed() < Duration::from_secs(10));
        ground.canary.assert_untouched();
        seeded.map(|seeded| seeded.files).map_err(|error| error.to_string())
    };
    assert_eq!(beside(&|_, _| {}), Ok(1), "the twin");
    let journal = |home: &Path, canary: &Canary| {
        fs::write(home.join("state.db-journal"), super_journal(&canary.path().join("egg"))).expect("written");
    };
    assert_eq!(beside(&journal), Err("back up state.db".to_owned()));
    for name in ["state.db-wal", "state.db-journal", "state.db-shm"] {
        let fifo = |home: &Path, _: &Canary| rustix::fs::mkfifoat(CWD, home.join(name), rustix::fs::Mode::RUSR).expect("a FIFO");
        assert_eq!(beside(&fifo), Err(format!("copy {name}")));
        assert_eq!(
            beside(&|home, canary| symlink(canary.path().join("egg"), home.join(name)).expect("linked")),
            Err(format!("copy {name}"))
        );
        assert_eq!(beside(&|home, _| fs::create_dir(home.join(name)).expect("made")), Err(format!("copy {name}")));
    }
}

#[test]
fn keeping_takes_a_named_file_and_nothing_else() {
    let ground = ground();
    let mut planter = ground.planter();
    planter.everything(&ground.canary, may_give_away());
    let kept = ground.beside();
    let keep = |path: &str| keep_file(&ground.home, path, &kept, 1 << 20);
    let (sha256, bytes) = keep("plain/file").expect("kept");
    assert_eq!((bytes, fs::read(ground.temp.path().join("into").join(sha256)).expect("kept")), (PLAIN.len() as u64, PLAIN.to_vec()));
    keep("names/..x").expect("the twin of a path that climbs");
    for path in ["links/dir", "links/file", "links/dir/egg", "links/slash/egg", "links/3/egg", "links/zero", "links/memory", "links/loop"] {
        assert!(matches!(keep(path), Err(KeepError::Link(_))), "{path}: {:?}", keep(path));
    }
    for path in ["specials/fifo", "specials/socket", "modes", "plain"] {
        assert!(matches!(keep(path), Err(KeepError::NotRegular(_))), "{path}: {:?}", keep(path));
    }
    if may_give_away() {
        for path in ["specials/null", "specials/zero", "specials/disk"] {
            assert!(matches!(keep(path), Err(KeepError::NotRegular(_))), "{path}: {:?}", keep(path));
        }
    }
    assert!(matches!(keep("huge"), Err(KeepError::TooLarge { .. })));
    assert!(matches!(keep("../around/home/plain/file"), Err(KeepError::Path(_))));
    ground.canary.assert_untouched();
    assert!(planter.opened_specials().is_empty());
    assert_eq!(
        fs::read_dir(ground.temp.path().join("into")).expect("read").count(),
        1,
        "the same bytes are one file; of the rest, nothing is left"
    );
}

#[test]
fn removing_leaves_nothing_inside_and_everything_outside() {
    let ground = ground();
    let mut planter = ground.planter();
    planter.everything(&ground.canary, may_give_away());
    let removed = remove_tree(&ground.around, "home");
    ground.canary.assert_untouched();
    let planted = planter.planted();
    assert!(planter.opened_specials().is_empty());
    assert_eq!((removed.files, removed.dirs, &removed.remained), (planted.files, planted.dirs + 1, &Vec::new()));
    assert_eq!(fs::read_dir(ground.temp.path().join("around")).expect("read").count(), 0);
}

#[test]
fn an_immutable_file_remains_and_is_named() {
    let ground = ground();
    fs::create_dir(ground.path().join("a")).expect("made");
    fs::write(ground.path().join("a/held"), PLAIN).expect("written");
    fs::write(ground.path().join("a/free"), PLAIN).expect("written");
    if let Some(held) = Immutable::make(&ground.path().join("a/held")) {
        let removed = remove_tree(&ground.around, "home");
        assert_eq!(removed.remained, ["home/a/held: not permitted; it may be immutable, or another user's"]);
        assert!(!ground.path().join("a/free").exists() && ground.path().join("a/held").exists());
        drop(held);
    } else {
        assert!(!may_give_away(), "root can make a file immutable here");
    }
    assert!(remove_tree(&ground.around, "home").is_complete(), "the twin");
}

#[test]
fn small_files_are_read_from_files_alone() {
    let ground = ground();
    let mut planter = ground.planter();
    planter.everything(&ground.canary, may_give_away());
    let specials = open_dir(&ground.home, "specials").expect("opened");
    let links = open_dir(&ground.home, "links").expect("opened");
    let plain = open_dir(&ground.home, "plain").expect("opened");
    assert_eq!(read_file(&plain, "file", 100).expect("read"), PLAIN);
    assert!(modified_at(&plain, "file").is_some());
    for name in ["fifo", "socket", "null", "zero", "disk", "nothing"] {
        assert!(read_file(&specials, name, 100).is_err() && open_file(&specials, name).is_err(), "{name}");
        assert_eq!(modified_at(&specials, name), None, "{name}");
    }
    for name in ["dir", "file", "zero", "memory", "loop", "dangling", "3"] {
        assert!(read_file(&links, name, 100).is_err() && open_dir(&links, name).is_err(), "{name}");
        assert_eq!(modified_at(&links, name), None, "{name}");
    }
    assert_eq!(read_file(&ground.home, "huge", 1000).expect_err("refused").kind(), std::io::ErrorKind::FileTooLarge);
    ground.canary.assert_untouched();
    assert!(planter.opened_specials().is_empty());
}

#[test]
fn a_time_that_nobody_has_is_no_beat_and_no_panic() {
    // In memory, where files have any time that a number can be.
    let ground = ground_in(tempfile::tempdir_in("/dev/shm").expect("a directory in memory"));
    let mut planter = ground.planter();
    planter.times();
    let times = open_dir(&ground.home, "times").expect("opened");
    let seconds = |name: &str| {
        let at = modified_at(&times, name)?;
        at.duration_since(std::time::UNIX_EPOCH)
            .map(|since| since.as_secs() as i64)
            .or_else(|error| Ok::<_, ()>(-(error.duration().as_secs() as i64)))
            .ok()
    };
    assert_eq!((seconds("1969"), seconds("2020"), seconds("2300")), (Some(-1), Some(1_577_836_800), Some(10_413_792_000)));
    for name in ["first", "last"] {
        assert!(modified_at(&times, name).is_some(), "{name} is a time");
    }
}

#[test]
fn a_directory_that_becomes_a_link_leads_no_walker_out() {
    let ground = ground();
    fs::create_dir(ground.path().join("x")).expect("made");
    fs::write(ground.path().join("x/egg"), PLAIN).expect("written");
    symlink(ground.canary.path(), ground.path().join("y")).expect("linked");
    let into = ground.beside();
    let (mut kept, mut refused, mut seeded) = (0, 0, 0);
    let again = || {
        let _ = rustix::fs::renameat_with(CWD, ground.path().join("x"), CWD, ground.path().join("y"), RenameFlags::EXCHANGE);
    };
    meanwhile(again, || {
        for round in 0..100 {
            match keep_file(&ground.home, "x/egg", &into, 100) {
                Ok((_, bytes)) => {
                    assert_eq!(bytes, PLAIN.len() as u64);
                    kept += 1;
                }
                Err(_) => refused += 1,
            }
            // One of them is a link with its text for a size; an egg that was counted would be another one.
            assert!(measure(&ground.home).is_ok_and(|measured| measured.files <= 3));
            let fresh = super::make_dir(&into, &format!("seed-{round}")).expect("made");
            seeded += u32::from(seed(&ground.home, &fresh, &Database::Copy).is_ok());
        }
    });
    assert!(kept > 0 && refused > 0 && seeded > 0, "both were met: {kept}, {refused}, {seeded}");
    assert!(!holds(&all_bytes(&ground.temp.path().join("into")), EGG));
    ground.canary.assert_untouched();
}

#[test]
fn a_mount_is_crossed_by_no_walker() {
    if elsewhere(module_path!(), "a_mount_is_crossed_by_no_walker") {
        return;
    }
    let ground = ground();
    let (dir, file) = (ground.path().join("dir"), ground.path().join("file"));
    fs::create_dir(&dir).expect("made");
    fs::write(&file, PLAIN).expect("written");
    let mount = |from: &Path, at: &Path| assert!(Command::new("mount").arg("--bind").args([from, at]).status().expect("it runs").success());
    mount(ground.canary.path(), &dir);
    mount(&ground.canary.path().join("egg"), &file);
    ground.canary.touched();
    let into = ground.beside();
    let measured = measure(&ground.home);
    let kept = [keep_file(&ground.home, "dir/egg", &into, 100), keep_file(&ground.home, "file", &into, 100)];
    let seeded = seed(&ground.home, &into, &Database::Copy);
    let digested = digest_tree(&ground.home);
    let removed = remove_tree(&ground.around, "home");
    for point in [&dir, &file] {
        assert!(Command::new("umount").arg(point).status().expect("it runs").success());
    }
    ground.canary.assert_untouched();
    assert!(measured.is_ok_and(|measured| (measured.files, measured.dirs, measured.unread) == (1, 1, 1)));
    assert!(kept.iter().all(Result::is_err), "{kept:?}");
    assert!(seeded.is_err() && digested.is_err(), "{seeded:?}, {digested:?}");
    assert_eq!(removed.remained.len(), 2, "{removed:?}");
    assert!(remove_tree(&ground.around, "home").is_complete(), "the twin");
}

/// Descriptors that a walker may have open, with those of the test itself; a tree of 5,000 levels is 80 times as deep.
const FEW_DESCRIPTORS: u64 = 160;
/// What a walker may add to the memory of the process, whatever it walks.
const LITTLE_MEMORY_KIB: u64 = 32 * 1024;
/// Generous: the machines of tests are slow and shared.
const SOON: Duration = Duration::from_secs(60);

#[test]
fn deep_and_wide_trees_cost_few_descriptors_and_little_memory() {
    if with_few(module_path!(), "deep_and_wide_trees_cost_few_descriptors_and_little_memory") {
        return;
    }
    let temp = tempfile::tempdir_in("/dev/shm").expect("a directory in memory");
    let root = Root::open(&temp.path().join("root")).expect("a root");
    let cell = root.create_cell(&CellId::from_bits(1)).expect("a cell");
    let mut planter = Planter::new(&cell.hermes_home());
    planter.plain();
    planter.wide(20_000);
    planter.deep(5_000);
    let planted = planter.planted();
    let home = open_dir(cell.dir(), "home").expect("opened");
    let limit = Rlimit { current: Some(FEW_DESCRIPTORS), maximum: Some(FEW_DESCRIPTORS) };
    setrlimit(Resource::Nofile, limit).expect("set: this process runs nothing else");
    let before = peak_memory_kib();
    let started = Instant::now();

    let measured = measure(&home).expect("measured");
    assert_eq!((measured.files, measured.dirs, measured.unread), (planted.files, planted.dirs, 0));

    let (archived, out) = cell.archive(ArchiveWish { most_bytes: 1 << 20, live: false }, std::io::sink()).expect("archived");
    let _ = out;
    // The part of the deep tree that a path can name, and the rest as one line.
    assert_eq!((archived.files, archived.skipped.count()), (20_002, 1));
    let name = &archived.skipped.named[0];
    assert!(name.name.starts_with("…/deeper") && name.why.contains("4096"), "{name:?}");

    fs::create_dir(temp.path().join("kept")).expect("made");
    let kept = Dir::open_ambient_dir(temp.path().join("kept"), cap_std::ambient_authority()).expect("opened");
    assert!(matches!(keep_file(&home, &"deep/".repeat(65), &kept, 100), Err(KeepError::Path(_))));
    keep_file(&home, "wide/entry-7", &kept, 100).expect("the twin");

    fs::create_dir(temp.path().join("seeded")).expect("made");
    let seeded = Dir::open_ambient_dir(temp.path().join("seeded"), cap_std::ambient_authority()).expect("opened");
    let refused = seed(&home, &seeded, &Database::Copy).expect_err("refused");
    assert!(matches!(&refused, SeedError::TooLarge { most, .. } if most.ends_with("levels") || most.ends_with("entries")), "{refused}");

    let removed = root.remove_cell(&CellId::from_bits(1));
    assert!(removed.is_complete() && removed.files >= planted.files, "{removed:?}");
    assert!(started.elapsed() < SOON, "{:?}", started.elapsed());
    let grown = peak_memory_kib() - before;
    assert!(grown < LITTLE_MEMORY_KIB, "{grown} KiB");
}

/// The most memory that this process ever had, in KiB.
fn peak_memory_kib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("read");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("it is there");
    line.trim().trim_end_matches("kB").trim().parse().expect("a number")
}
