//! What an archive holds of a home that a hostile agent left, read back by readers that are not ours.

use std::{collections::BTreeMap, fs, io::Read, os::unix::ffi::OsStrExt, path::PathBuf, process::Command};

use super::*;
use crate::{
    cell::CellId,
    home::{
        CellDir, Root,
        planted::{Canary, EGG, HUGE_BYTES, Immutable, NAMES, PLAIN, Planter, SECRET, SECRETS, TIMES, holds, super_journal},
        test_ground::{elsewhere, may_give_away, meanwhile},
    },
};

const TOP: &str = "laz-00000001";
const WISH: ArchiveWish = ArchiveWish { most_bytes: 1 << 20, live: false };

struct Ground {
    temp: tempfile::TempDir,
    _root: Root,
    cell: CellDir,
    canary: Canary,
}

fn ground() -> Ground {
    ground_in(tempfile::tempdir().expect("a directory"))
}

fn ground_in(temp: tempfile::TempDir) -> Ground {
    let root = Root::open(&temp.path().join("root")).expect("a root");
    let cell = root.create_cell(&CellId::from_bits(1)).expect("a cell");
    let canary = Canary::new(&temp.path().join("outside"));
    Ground { temp, _root: root, cell, canary }
}

impl Ground {
    fn home(&self) -> PathBuf {
        self.cell.hermes_home()
    }

    fn archive(&self, wish: ArchiveWish) -> (Archived, Vec<u8>) {
        self.cell.archive(wish, Vec::new()).expect("archived")
    }
}

/// An entry, as the crate `tar` reads it.
#[derive(Debug)]
struct ReadBack {
    kind: tar::EntryType,
    link: Vec<u8>,
    mode: u32,
    mtime: [u8; 12],
    owner: (u64, u64),
    content: Vec<u8>,
}

/// Reads an archive, and holds of each entry what must hold of all.
fn read_back(bytes: &[u8]) -> BTreeMap<Vec<u8>, ReadBack> {
    let mut found = BTreeMap::new();
    for entry in tar::Archive::new(bytes).entries().expect("an archive") {
        let mut entry = entry.expect("an entry");
        let path = entry.path_bytes().trim_ascii_end_matches();
        let mut content = Vec::new();
        entry.read_to_end(&mut content).expect("its content");
        let header = entry.header();
        let read = ReadBack {
            kind: header.entry_type(),
            link: entry.link_name_bytes().unwrap_or_default().into_owned(),
            mode: header.mode().expect("a mode"),
            mtime: header.as_gnu().expect("the GNU form").mtime,
            owner: (header.uid().expect("a number"), header.gid().expect("a number")),
            content,
        };
        let parts: Vec<&[u8]> = path.split(|byte| *byte == b'/').collect();
        assert_eq!(parts[0], TOP.as_bytes(), "{path:?}");
        assert!(parts.iter().all(|part| !matches!(*part, b"" | b"." | b"..")), "{path:?}");
        for above in 1..parts.len() {
            let above = parts[..above].join(&b'/');
            let is_dir = found.get(&above).is_some_and(|above: &ReadBack| above.kind == tar::EntryType::Directory);
            assert!(is_dir, "{path:?} is below something else than a directory that came before it");
        }
        assert_eq!((read.mode & !0o777, read.owner), (0, (0, 0)), "{path:?}");
        let replaced = found.insert(path.clone(), read);
        assert!(replaced.is_none(), "{path:?} is there twice");
    }
    found
}

trait TrimSlash {
    fn trim_ascii_end_matches(&self) -> Vec<u8>;
}

impl TrimSlash for std::borrow::Cow<'_, [u8]> {
    fn trim_ascii_end_matches(&self) -> Vec<u8> {
        self.strip_suffix(b"/").unwrap_or(self).to_vec()
    }
}

fn path(name: &str) -> Vec<u8> {
    format!("{TOP}/home/{name}").into_bytes()
}

/// Why something was left out.
#[track_caller]
fn skipped<'a>(archived: &'a Archived, name: &str) -> &'a str {
    let name = format!("{TOP}/home/{name}");
    let found = archived.skipped.named.iter().find(|noted| noted.name == name);
    &found.unwrap_or_else(|| panic!("{name} is not named: {:?}", archived.skipped)).why
}

#[test]
fn an_archive_holds_what_is_allowed_and_names_the_rest() {
    let ground = ground();
    let mut planter = Planter::new(&ground.home());
    planter.everything(&ground.canary, may_give_away());
    let (archived, bytes) = ground.archive(WISH);
    ground.canary.assert_untouched();
    assert!(planter.opened_specials().is_empty());
    assert!(!holds(&bytes, EGG) && !holds(&bytes, SECRET));
    let entries = read_back(&bytes);

    let content = |name: &str| entries[&path(name)].content.clone();
    assert_eq!(content("plain/file"), PLAIN);
    let same = &entries[&path("plain/same")];
    assert_eq!((same.kind, &same.link), (tar::EntryType::Link, &path("plain/file")), "a file of two names is there once");
    assert_eq!(entries[&path("plain/link")].link, b"file");
    assert_eq!(entries[&path("plain/around")].link, b"../plain/./file");
    for name in ["loop", "ping", "1", "2", "3", "up", "long"] {
        assert_eq!(entries[&path(&format!("links/{name}"))].kind, tar::EntryType::Symlink, "{name}");
    }
    for name in ["dir", "file", "slash", "zero", "memory", "root", "dangling", "climbing", "together"] {
        assert!(skipped(&archived, &format!("links/{name}")).starts_with("a link that could lead out"));
    }
    assert_eq!(skipped(&archived, "links/hard"), "a hard link to a file that has a name elsewhere");
    assert_eq!((skipped(&archived, "specials/fifo"), skipped(&archived, "specials/socket")), ("a FIFO", "a socket"));
    if may_give_away() {
        for name in ["null", "zero", "disk"] {
            assert_eq!(skipped(&archived, &format!("specials/{name}")), "a device");
        }
    }
    for name in SECRETS {
        assert!(skipped(&archived, name).starts_with("never carried over") && skipped(&archived, &format!("nested/{name}")).len() > 9);
    }
    assert!(skipped(&archived, "huge").starts_with(&HUGE_BYTES.to_string()), "{:?}", archived.skipped);
    for name in NAMES {
        assert_eq!(entries[&[&path("names/"), name].concat()].content, PLAIN, "{name:?}");
    }
    assert!(entries.contains_key(&[&path("names/"), &[b'd'; 255][..]].concat()));
    assert_eq!(entries[&path("modes/set-user-id")].mode, 0o755);
    assert_eq!(entries[&path("times/2020")].mtime, *b"13602760400\0");
    assert_eq!(entries[&path("times/1969")].mtime, [0xff; 12]);

    let count = |kinds: &[tar::EntryType]| entries.values().filter(|entry| kinds.contains(&entry.kind)).count() as u64;
    use tar::EntryType::{Directory, Link, Regular, Symlink};
    assert_eq!(archived.files, count(&[Regular, Link]));
    assert_eq!((archived.directories, archived.links), (count(&[Directory]), count(&[Symlink])));
    assert_eq!(archived.bytes, entries.values().map(|entry| entry.content.len() as u64).sum::<u64>());
    assert_eq!(archived.changed.count(), 0, "{:?}", archived.changed);
    // Nothing is silently missing: each thing that was planted is there, or was named, with what is in a directory that could not be entered.
    let planted = planter.planted();
    let own_dirs = archived.directories - 3;
    let unentered = if rustix::process::geteuid().is_root() { 0 } else { 2 };
    let here = archived.files + archived.links + own_dirs;
    assert!(here + archived.skipped.count() + unentered >= planted.files + planted.dirs, "{archived:?}, {planted:?}");
    for noted in &archived.skipped.named {
        assert!(!noted.name.chars().chain(noted.why.chars()).any(char::is_control), "{noted:?}");
    }
}

#[test]
fn gnu_tar_unpacks_it_and_no_link_leads_out() {
    let ground = ground();
    let mut planter = Planter::new(&ground.home());
    planter.everything(&ground.canary, false);
    fs::create_dir(ground.home().join("a")).expect("made");
    fs::create_dir(ground.home().join("a/b")).expect("made");
    for (name, text) in [("a/b/down", "../b"), ("a/b/top", "../../.."), ("a/b/chain", "top/home/a/b/top"), ("a/b/out", "top/..")] {
        std::os::unix::fs::symlink(text, ground.home().join(name)).expect("linked");
    }
    let (archived, bytes) = ground.archive(WISH);
    assert!(skipped(&archived, "a/b/out").starts_with("a link that could lead out"));
    let unpacked = ground.temp.path().join("unpacked");
    fs::create_dir(&unpacked).expect("made");
    fs::write(ground.temp.path().join("x.tar"), &bytes).expect("written");
    let tar = Command::new("tar").args(["-xf", "../x.tar"]).current_dir(&unpacked).env("LC_ALL", "C").output().expect("tar runs");
    // The first and the last of all times are none that it can set, which it says.
    let said = String::from_utf8_lossy(&tar.stderr);
    assert!(said.lines().all(|line| line.contains("time") || line.contains("Exiting")), "{said}");
    assert_eq!(fs::read(unpacked.join(TOP).join("home/plain/same")).expect("there"), PLAIN);
    for (name, seconds) in TIMES.iter().filter(|(name, _)| !matches!(*name, "first" | "last")) {
        use std::os::unix::fs::MetadataExt;
        let source = fs::metadata(ground.home().join("times").join(name)).expect("there").mtime();
        let copy = fs::metadata(unpacked.join(TOP).join("home/times").join(name)).expect("there").mtime();
        assert_eq!(copy, source, "{name}, which was to have {seconds}");
    }
    let top = unpacked.join(TOP).canonicalize().expect("canonical");
    let mut links = 0;
    for (entry, read) in read_back(&bytes) {
        if read.kind == tar::EntryType::Symlink {
            links += 1;
            if let Ok(target) = unpacked.join(std::ffi::OsStr::from_bytes(&entry)).canonicalize() {
                assert!(target.starts_with(&top), "{} leads to {}", String::from_utf8_lossy(&entry), target.display());
            }
        }
    }
    assert!(links > 8, "{links}");
    ground.canary.assert_untouched();
}

#[test]
fn a_link_is_judged_by_where_it_stands() {
    for (path, text, inside) in [
        ("laz/home/link", "file", true),
        ("laz/home/link", "./a/b/c/", true),
        ("laz/home/link", "..", true),
        ("laz/home/link", "../shared/x", true),
        ("laz/home/link", "../..", false),
        ("laz/home/link", "./.././..", false),
        ("laz/home/a/link", "../../home", true),
        ("laz/home/a/link", "../../..", false),
        ("laz/home/a/link", "b/..", false),
        ("laz/home/a/link", "../a/../..", false),
        ("laz/home/link", "/", false),
        ("laz/home/link", "//x", false),
        ("laz/home/link", "", false),
        ("laz/home/link", "...", true),
        ("laz/home/link", "..x/..y", true),
    ] {
        assert_eq!(stays_inside(path.as_bytes(), text.as_bytes()), inside, "{path} -> {text}");
    }
}

#[test]
fn the_same_home_gives_the_same_bytes() {
    let ground = ground();
    for name in ["z", "m", "a"] {
        fs::write(ground.home().join(name), name).expect("written");
    }
    let (_, first) = ground.archive(WISH);
    let (_, second) = ground.archive(WISH);
    assert!(first == second && first.len() > 1024);
    fs::write(ground.home().join("z"), "y").expect("written");
    assert!(ground.archive(WISH).1 != first);
}

#[test]
fn bytes_are_bounded_and_what_is_too_large_is_named() {
    let ground = ground();
    for (name, bytes) in [("a", 600_u64), ("b", 600), ("c", 400), ("d", 1)] {
        fs::File::create(ground.home().join(name)).expect("made").set_len(bytes).expect("stretched");
    }
    let (archived, bytes) = ground.archive(ArchiveWish { most_bytes: 1000, live: false });
    assert_eq!((archived.files, archived.bytes, archived.skipped.count()), (2, 1000, 2));
    assert!(skipped(&archived, "b").starts_with("600 bytes"));
    assert!(read_back(&bytes).contains_key(&path("c")), "what still fits is there");
}

#[test]
fn what_changes_while_it_is_read_spoils_no_entry() {
    let ground = ground();
    fs::create_dir(ground.home().join("x")).expect("made");
    fs::write(ground.home().join("x/file"), PLAIN).expect("written");
    std::os::unix::fs::symlink(ground.canary.path(), ground.home().join("y")).expect("linked");
    let (mut there, mut gone) = (0, 0);
    let again = || {
        let home = ground.home();
        let exchange = rustix::fs::RenameFlags::EXCHANGE;
        let _ = rustix::fs::renameat_with(rustix::fs::CWD, home.join("x"), rustix::fs::CWD, home.join("y"), exchange);
        let _ = fs::write(home.join("grows"), vec![b'g'; 200_000]);
        let _ = fs::write(home.join("grows"), b"");
    };
    meanwhile(again, || {
        for _ in 0..100 {
            let (archived, bytes) = ground.archive(ArchiveWish { live: true, ..WISH });
            let entries = read_back(&bytes);
            assert!(!holds(&bytes, EGG));
            let found = entries.contains_key(&path("x/file")) || entries.contains_key(&path("y/file"));
            (there, gone) = if found { (there + 1, gone) } else { (there, gone + 1) };
            assert!(found || archived.skipped.count() > 0, "{archived:?}");
        }
    });
    assert!(there > 0, "{there} {gone}");
    ground.canary.assert_untouched();
}

#[test]
fn a_database_is_archived_with_its_log_and_never_with_a_journal() {
    let ground = ground();
    let write = |name: &str, mode: &str| {
        let dir = ground.home().join(name);
        fs::create_dir(&dir).expect("made");
        let live = rusqlite::Connection::open(dir.join("state.db")).expect("opened");
        let sql =
            format!("PRAGMA journal_mode={mode}; PRAGMA wal_autocheckpoint=0; CREATE TABLE t(x TEXT); INSERT INTO t VALUES ('kept');");
        live.execute_batch(&sql).expect("written");
        // As a killed agent leaves it: nobody checkpoints.
        let files: Vec<(PathBuf, Vec<u8>)> =
            ["state.db", "state.db-wal"].iter().filter_map(|name| Some((dir.join(name), fs::read(dir.join(name)).ok()?))).collect();
        drop(live);
        files.into_iter().for_each(|(path, bytes)| fs::write(path, bytes).expect("written"));
        dir
    };
    write("log", "WAL");
    write("plain", "DELETE");
    // A journal names the file that SQLite removes when it has rolled back.
    let hot = write("hot", "DELETE");
    fs::write(hot.join("state.db-journal"), super_journal(&ground.canary.path().join("egg"))).expect("written");
    let odd = write("odd", "DELETE");
    rustix::fs::mkfifoat(rustix::fs::CWD, odd.join("state.db-wal"), rustix::fs::Mode::RUSR).expect("a FIFO");
    std::os::unix::fs::symlink(ground.canary.path().join("egg"), odd.join("state.db-journal")).expect("linked");
    let garbled = write("garbled", "WAL");
    for name in ["state.db", "state.db-wal"] {
        fs::write(garbled.join(name), vec![b'x'; 5000]).expect("written");
    }

    let (archived, bytes) = ground.archive(WISH);
    let entries = read_back(&bytes);
    let rows = |name: &str| {
        let copy = ground.temp.path().join(format!("{name}.db"));
        fs::write(&copy, &entries[&path(&format!("{name}/state.db"))].content).expect("written");
        let copy = rusqlite::Connection::open(copy).expect("opened");
        copy.query_row("SELECT x FROM t", [], |row| row.get::<_, String>(0)).expect("read")
    };
    assert_eq!((rows("log"), rows("plain"), rows("odd")), ("kept".to_owned(), "kept".to_owned(), "kept".to_owned()));
    assert!(skipped(&archived, "hot/state.db").contains("cut short"), "{archived:?}");
    assert!(skipped(&archived, "garbled/state.db").contains("not a database"), "{archived:?}");
    assert!(!entries.keys().any(|path| path.ends_with(b"-wal") || path.ends_with(b"-journal")));
    assert!(fs::symlink_metadata(ground.cell.path().join(".archive")).is_err(), "nothing is left of the copy");
    ground.canary.assert_untouched();

    let (archived, _) = ground.archive(ArchiveWish { live: true, ..WISH });
    assert!(skipped(&archived, "plain/state.db").contains("in use"));
}

#[test]
fn a_mount_is_named_and_not_read() {
    if elsewhere(module_path!(), "a_mount_is_named_and_not_read") {
        return;
    }
    let ground = ground();
    let (dir, file) = (ground.home().join("dir"), ground.home().join("file"));
    fs::create_dir(&dir).expect("made");
    fs::write(&file, PLAIN).expect("written");
    let run = |args: &[&std::ffi::OsStr]| assert!(Command::new("mount").arg("--bind").args(args).status().expect("it runs").success());
    run(&[ground.canary.path().as_os_str(), dir.as_os_str()]);
    run(&[ground.canary.path().join("egg").as_os_str(), file.as_os_str()]);
    ground.canary.touched();
    let (archived, bytes) = ground.archive(WISH);
    for point in [&dir, &file] {
        assert!(Command::new("umount").arg(point).status().expect("it runs").success());
    }
    assert!(!holds(&bytes, EGG));
    let why = "something is mounted there";
    assert_eq!((skipped(&archived, "dir"), skipped(&archived, "file")), (why, why));
    ground.canary.assert_untouched();
    assert_eq!(read_back(&ground.archive(WISH).1)[&path("file")].content, PLAIN, "the twin");
}

#[test]
fn an_immutable_file_is_a_file() {
    let ground = ground();
    fs::write(ground.home().join("held"), PLAIN).expect("written");
    let _held = Immutable::make(&ground.home().join("held"));
    assert_eq!(read_back(&ground.archive(WISH).1)[&path("held")].content, PLAIN);
}
