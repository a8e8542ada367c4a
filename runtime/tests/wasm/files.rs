//! Directories: what is granted, and every way out of it that a guest can try.

use std::{os::unix::fs::symlink, path::Path};

use lazarus::{
    backend::{Launch, protocol::End},
    cell::Role,
};

use crate::{
    Case,
    fixture::{Host, at_home, end, launch, refusal, run},
    wat,
};

pub const CASES: &[Case] = &[
    ("a_home_is_read_and_written", a_home_is_read_and_written),
    ("there_is_no_way_out_of_a_home", there_is_no_way_out_of_a_home),
    ("a_read_only_mount_stays_as_it_is", a_read_only_mount_stays_as_it_is),
    ("directories_are_not_bridged", directories_are_not_bridged),
    ("shared_is_writable_by_role", shared_is_writable_by_role),
    ("a_mount_that_is_a_file_is_refused", a_mount_that_is_a_file_is_refused),
    ("a_pipe_is_not_waited_for_by_the_others", a_pipe_is_not_waited_for_by_the_others),
    ("mounts_follow_home_and_shared_in_order", mounts_follow_home_and_shared_in_order),
];

/// errno of preview 1.
const OK: i32 = 0;

/// A place with a canary beside the home.
struct World {
    place: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        let place = tempfile::tempdir().unwrap();
        for dir in ["home", "home/sub", "project", "shared"] {
            std::fs::create_dir(place.path().join(dir)).unwrap();
        }
        for file in ["canary", "home/inside", "project/kept"] {
            std::fs::write(place.path().join(file), "untouched").unwrap();
        }
        Self { place }
    }

    fn path(&self, below: &str) -> std::path::PathBuf {
        self.place.path().join(below)
    }

    fn assert_untouched(&self) {
        for file in ["canary", "project/kept"] {
            assert_eq!(std::fs::read_to_string(self.path(file)).unwrap(), "untouched", "{file}");
        }
        let names = |dir: &Path| std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name()).collect::<Vec<_>>();
        assert_eq!(names(&self.path("project")), ["kept"]);
        assert_eq!(names(self.place.path()).len(), 4, "{:?}", names(self.place.path()));
    }
}

/// A guest that makes one call, and exits with its errno. Two paths lie at 512 and 4096.
fn one_call(call: &str, first: &str, second: &str) -> String {
    let call = call
        .replace("FIRST", &format!("(i32.const 512) (i32.const {})", first.len()))
        .replace("SECOND", &format!("(i32.const 4096) (i32.const {})", second.len()));
    wat::command(&format!("{} {} (func (export \"_start\") (call $exit {call}))", wat::data(512, first), wat::data(4096, second)))
}

/// Opens a path below descriptor `fd`; `how` is: look-up flags, flags, rights.
fn open(fd: u32, path: &str, how: (u32, u32, u64)) -> String {
    let (lookup, flags, rights) = how;
    let call = format!(
        "(call $path_open (i32.const {fd}) (i32.const {lookup}) FIRST (i32.const {flags}) (i64.const {rights}) (i64.const 0) (i32.const 0) (i32.const 100))"
    );
    one_call(&call, path, "")
}

/// To read, following links; to create and write; to truncate and write.
const READ: (u32, u32, u64) = (1, 0, 2);
const CREATE: (u32, u32, u64) = (1, 1, 64);
const TRUNCATE: (u32, u32, u64) = (1, 8, 64);

fn errno(launch: Launch) -> i32 {
    match end(launch) {
        End::Exited { code } => code,
        other => panic!("{other:?}"),
    }
}

fn in_world(world: &World, source: &str) -> Launch {
    let mut launch = at_home(launch("files", source), &world.path("home"));
    let mount = format!("{}:/project:ro", world.path("project").display());
    launch.policy.mounts = vec![mount.parse().unwrap()];
    launch
}

fn a_home_is_read_and_written() {
    let world = World::new();
    for (path, how) in [("inside", READ), ("new", CREATE), ("sub/new", CREATE), ("sub/../inside", READ), ("inside", TRUNCATE)] {
        assert_eq!(errno(in_world(&world, &open(3, path, how))), OK, "{path}");
    }
    assert!(world.path("home/sub/new").exists());
    assert_eq!(std::fs::read_to_string(world.path("home/inside")).unwrap(), "");
    world.assert_untouched();
}

fn there_is_no_way_out_of_a_home() {
    let world = World::new();
    let canary = world.path("canary");
    symlink("../canary", world.path("home/relative")).unwrap();
    symlink(&canary, world.path("home/absolute")).unwrap();
    symlink("..", world.path("home/up")).unwrap();
    symlink("../", world.path("home/up-slash")).unwrap();
    symlink("sub/../../canary", world.path("home/winding")).unwrap();
    symlink("loop", world.path("home/loop")).unwrap();
    symlink("../made-by-the-guest", world.path("home/dangling")).unwrap();
    symlink("/proc/self/root", world.path("home/root")).unwrap();
    symlink("inside", world.path("home/good")).unwrap();
    let absolute = canary.to_str().unwrap().to_owned();
    let attacks = [
        "../canary",
        "../canary/",
        "sub/../../canary",
        "./../canary",
        "..",
        "../",
        "/",
        "//",
        "/etc/passwd",
        absolute.as_str(),
        "relative",
        "relative/",
        "absolute",
        "absolute/",
        "up/canary",
        "up/",
        "up-slash/canary",
        "up-slash",
        "up-slash/",
        "winding",
        "loop",
        "root/etc/passwd",
        "inside/../../canary",
        "",
        "a\0b",
    ];
    for path in attacks {
        for how in [READ, CREATE, TRUNCATE, (1, 2, 2)] {
            let found = errno(in_world(&world, &open(3, path, how)));
            // A name with NUL may be made of what stands before it: inside.
            assert_ne!(found, OK, "{path:?} {how:?}");
        }
    }
    assert_ne!(errno(in_world(&world, &open(3, "dangling", CREATE))), OK, "a dangling link is not created through");
    assert_ne!(errno(in_world(&world, &open(3, &"x".repeat(300), CREATE))), OK);
    assert_ne!(errno(in_world(&world, &open(3, &"x/".repeat(1500), READ))), OK);
    assert_eq!(errno(in_world(&world, &open(3, "good", READ))), OK, "the twin: a link that stays inside");
    // Links that lead out cannot be made absolute, and those that can be made lead nowhere.
    let link = |target: &str| one_call("(call $symlink FIRST (i32.const 3) SECOND)", target, "planted");
    assert_ne!(errno(in_world(&world, &link(&absolute))), OK);
    let _made = errno(in_world(&world, &link("../canary")));
    assert_ne!(errno(in_world(&world, &open(3, "planted", READ))), OK);
    // Descriptors that were not given: streams, and numbers beyond.
    for fd in [0, 1, 2, 5, 6, 100, u32::MAX] {
        assert_ne!(errno(in_world(&world, &open(fd, "inside", READ))), OK, "{fd}");
    }
    world.assert_untouched();
}

fn a_read_only_mount_stays_as_it_is() {
    let world = World::new();
    assert_eq!(errno(in_world(&world, &open(4, "kept", READ))), OK, "the twin");
    for (path, how) in [("kept", TRUNCATE), ("new", CREATE), ("kept", (1, 0, 66)), ("kept", (1, 0, 64)), ("kept/", TRUNCATE)] {
        assert_ne!(errno(in_world(&world, &open(4, path, how))), OK, "{path} {how:?}");
    }
    for call in [
        "(call $unlink (i32.const 4) FIRST)",
        "(call $mkdir (i32.const 4) SECOND)",
        "(call $rename (i32.const 4) FIRST (i32.const 4) SECOND)",
        "(call $link (i32.const 4) (i32.const 0) FIRST (i32.const 4) SECOND)",
        "(call $symlink FIRST (i32.const 4) SECOND)",
        "(call $times (i32.const 4) (i32.const 0) FIRST (i64.const 1) (i64.const 1) (i32.const 5))",
    ] {
        assert_ne!(errno(in_world(&world, &one_call(call, "kept", "new"))), OK, "{call}");
        let twin = call.replace("(i32.const 4)", "(i32.const 3)");
        std::fs::write(world.path("home/kept"), "").unwrap();
        assert_eq!(errno(in_world(&world, &one_call(&twin, "kept", "new"))), OK, "{twin}");
        let _ = std::fs::remove_dir(world.path("home/new"));
        let _ = std::fs::remove_file(world.path("home/new"));
    }
    let before = std::fs::metadata(world.path("project/kept")).unwrap().modified().unwrap();
    assert!(before.elapsed().unwrap().as_secs() < 3600, "its times are its own");
    world.assert_untouched();
}

/// Out of what may only be read into what may be written, and back: by renaming, and by a second name that would then be writable.
fn directories_are_not_bridged() {
    let world = World::new();
    for (call, from, to) in [
        ("(call $rename (i32.const 3) FIRST (i32.const 4) SECOND)", "inside", "taken"),
        ("(call $rename (i32.const 4) FIRST (i32.const 3) SECOND)", "kept", "taken"),
        ("(call $link (i32.const 4) (i32.const 0) FIRST (i32.const 3) SECOND)", "kept", "bridge"),
        ("(call $link (i32.const 3) (i32.const 0) FIRST (i32.const 4) SECOND)", "inside", "bridge"),
    ] {
        assert_ne!(errno(in_world(&world, &one_call(call, from, to))), OK, "{call}");
    }
    assert!(!world.path("home/bridge").exists() && !world.path("home/taken").exists());
    assert!(world.path("home/inside").exists());
    world.assert_untouched();
}

fn shared_is_writable_by_role() {
    for role in Role::ALL {
        let world = World::new();
        let mut launch = launch("member", &open(if role.has_home() { 4 } else { 3 }, "note", CREATE));
        launch.role = role;
        launch.home = role.has_home().then(|| world.path("home"));
        launch.shared = Some(world.path("shared"));
        assert_eq!(errno(launch) == OK, role.writes_shared(), "{role}");
        assert_eq!(world.path("shared/note").exists(), role.writes_shared(), "{role}");
    }
}

fn a_mount_that_is_a_file_is_refused() {
    let world = World::new();
    let mut launch = launch("mounts", &wat::start(""));
    launch.policy.mounts = vec![format!("{}:/canary", world.path("canary").display()).parse().unwrap()];
    let message = refusal(launch.clone());
    assert!(message.contains("it is a file") && message.contains("mount the directory"), "{message}");
    launch.policy.mounts = vec![format!("{}:/nowhere", world.path("nowhere").display()).parse().unwrap()];
    let message = refusal(launch);
    assert!(message.contains("/nowhere") && message.contains("No such file"), "{message}");
}

/// A pipe that someone put into a directory blocks whoever opens it: its guest, but neither its neighbours nor the close.
fn a_pipe_is_not_waited_for_by_the_others() {
    let world = World::new();
    rustix::fs::mkfifoat(rustix::fs::CWD, world.path("home/pipe"), 0o600.into()).unwrap();
    let opener = at_home(launch("opener", &open(3, "pipe", READ)), &world.path("home"));
    let mut host = Host::start(&[opener, launch("other", &wat::hello("hello\n", 0))]);
    host.listen(|heard| heard["other"].ended.is_some());
    assert_eq!(host.heard["other"].stdout, b"hello\n");
    // It was refused, and ends by itself.
    assert!(host.finish()["opener"].ended.is_some());
}

fn mounts_follow_home_and_shared_in_order() {
    let world = World::new();
    // Asks every descriptor from 3 for its name, and prints them.
    let code = "(local $fd i32) (local.set $fd (i32.const 3))
        (loop $next
          (if (i32.eqz (call $prestat (local.get $fd) (i32.const 200)))
            (then
              (drop (call $name (local.get $fd) (i32.const 300) (i32.load (i32.const 204))))
              (i32.store8 (i32.add (i32.const 300) (i32.load (i32.const 204))) (i32.const 10))
              (call $put (i32.const 1) (i32.const 300) (i32.add (i32.const 1) (i32.load (i32.const 204))))
              (local.set $fd (i32.add (local.get $fd) (i32.const 1)))
              (br $next))))";
    let source = wat::start(code).replacen(
        "(module",
        "(module (import \"wasi_snapshot_preview1\" \"fd_prestat_get\" (func $prestat (param i32 i32) (result i32)))
         (import \"wasi_snapshot_preview1\" \"fd_prestat_dir_name\" (func $name (param i32 i32 i32) (result i32)))",
        1,
    );
    let mut launch = at_home(launch("order", &source), &world.path("home"));
    launch.shared = Some(world.path("shared"));
    let project = world.path("project");
    launch.policy.mounts = ["/b", "/a", "/"].map(|guest| format!("{}:{guest}", project.display()).parse().unwrap()).to_vec();
    assert_eq!(String::from_utf8_lossy(&run(launch).stdout), "/home\n/shared\n/b\n/a\n/\n");
}
