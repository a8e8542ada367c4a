//! Commands that walk what guests wrote, against homes that were planted by one: they end soon, touch nothing outside, and say what is left.
//!
//! What each walker finds in such a home, the unit tests beside them say (`runtime/src/home/walkers_tests.rs`, `archive_tests.rs`).

use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use lazarus_tests::{
    Lab, Outcome,
    lab::{binary, text, wait_until},
    planted::{Canary, EGG, Immutable, PLAIN, Planter, SECRET, holds},
};
use rustix::fs::{CWD, FileType, Mode};

const REFUSED: i32 = 1;
const USAGE: i32 = 2;
const NOT_FOUND: i32 = 3;
const INTERNAL: i32 = 125;

/// No walker waits for anything: generous, since the machines of tests are slow and shared.
const SOON: Duration = Duration::from_secs(20);

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// A lab with a canary beside its root.
fn lab() -> (Lab, Canary) {
    let lab = Lab::new();
    let canary = Canary::new(&lab.work().join("outside"));
    (lab, canary)
}

/// A closed cell of the keeper; its home is not planted yet.
fn closed(lab: &Lab, backend: &str) -> String {
    let cell = lab.summon(&["keeper", "p", "--backend", backend]);
    lab.run(&["close", &cell]).exits(0);
    cell
}

/// Plants below a directory of the home, beside what Lazarus furnished.
fn plant(home: &Path, canary: &Canary) -> Planter {
    let below = home.join("workspace/planted");
    fs::create_dir(&below).expect("made");
    let mut planter = Planter::new(&below);
    planter.everything(canary, is_root());
    planter
}

/// Runs a command that must end by itself.
#[track_caller]
fn soon(lab: &Lab, args: &[&str]) -> Outcome {
    let started = Instant::now();
    let outcome = lab.run(args);
    assert!(started.elapsed() < SOON, "{args:?} took {:?}", started.elapsed());
    outcome
}

/// What takes a name in place of a file, and how it is made.
type Impostor<'c> = (&'static str, Box<dyn Fn(&Path) + 'c>);

fn impostors(canary: &Canary) -> Vec<Impostor<'_>> {
    let egg = canary.path().join("egg");
    let mut all: Vec<Impostor<'_>> = vec![
        ("a link", Box::new(move |at: &Path| symlink(&egg, at).expect("linked"))),
        ("a dangling link", Box::new(|at: &Path| symlink("nothing/at/all", at).expect("linked"))),
        ("a loop", Box::new(|at: &Path| symlink(at, at).expect("linked"))),
        ("a FIFO", Box::new(|at: &Path| rustix::fs::mkfifoat(CWD, at, Mode::RWXU).expect("a FIFO"))),
        ("a directory", Box::new(|at: &Path| fs::create_dir_all(at.join("full")).expect("made"))),
    ];
    if is_root() {
        let device = |at: &Path| {
            let zero = rustix::fs::makedev(1, 5);
            rustix::fs::mknodat(CWD, at, FileType::CharacterDevice, Mode::RWXU, zero).expect("a device");
        };
        all.push(("a device", Box::new(device)));
    }
    all
}

fn clear(at: &Path) {
    let removed = if at.is_dir() && !at.is_symlink() { fs::remove_dir_all(at) } else { fs::remove_file(at) };
    removed.unwrap_or_else(|error| assert_eq!(error.kind(), std::io::ErrorKind::NotFound, "{}", at.display()));
}

#[test]
fn destroy_removes_a_planted_home_and_nothing_outside() {
    for backend in ["process", "wasm"] {
        let (lab, canary) = lab();
        let cell = closed(&lab, backend);
        let mut planter = plant(&lab.cell_dir(&cell).join("home"), &canary);
        planter.wide(500);
        planter.deep(700);
        let planted = planter.planted();
        let destroyed = lab.json(&["destroy", &cell]).exits(0).json();
        canary.assert_untouched();
        let receipt = &destroyed["receipt"];
        assert!(receipt["files_removed"].as_u64() >= Some(planted.files), "{backend}: {receipt}");
        assert!(receipt["directories_removed"].as_u64() >= Some(planted.dirs), "{backend}: {receipt}");
        assert_eq!(receipt["remained"].as_array().map(Vec::len), Some(0));
        assert_eq!(lab.cell_dirs(), Vec::<String>::new());
    }
}

#[test]
fn destroy_of_a_living_cell_removes_what_its_agent_planted() {
    let (lab, canary) = lab();
    let outside = canary.path().display();
    let script = format!(
        "cd \"$HERMES_HOME\"; ln -s {outside} out; ln -s {outside}/egg logs/heartbeat; mkfifo fifo; mkdir -p shut/in; touch shut/in/x; \
         chmod 0 shut/in shut; i=0; while [ $i -lt 300 ]; do mkdir deeper-than-a-path-can-be && cd deeper-than-a-path-can-be || break; i=$((i+1)); done; \
         echo planted; sleep 1000"
    );
    let cell = lab.summon(&["scribe", "p", "--", "sh", "-c", &script]);
    wait_until("the agent planted", || lab.logs(&cell).contains("planted"));
    assert!(lab.cell(&cell)["probe"]["heartbeat_age_seconds"].is_null(), "a link is no heartbeat");
    lab.run(&["destroy", &cell]).exits(0);
    canary.assert_untouched();
    assert_eq!(lab.cell_dirs(), Vec::<String>::new());
}

#[test]
fn no_agent_hides_from_its_limit_behind_a_shut_door() {
    let lab = Lab::new();
    let script = "mkdir shut; for i in 1 2 3; do head -c 900000 /dev/zero > shut/$i; done; chmod 0 shut \"$HERMES_HOME\"; sleep 1000";
    let cell = lab.summon(&["scribe", "p", "--home", "1MiB", "--", "sh", "-c", &format!("cd \"$HERMES_HOME\"; {script}")]);
    lab.wait_for_state(&cell, "failed");
    let status = lab.run(&["status", &cell]).exits(0).stdout;
    assert!(status.contains("its home holds more than 1 MiB"), "{status}");
    lab.run(&["destroy", &cell]).exits(0);
}

#[test]
fn what_cannot_be_removed_is_no_success() {
    if !is_root() {
        // An ordinary user can make nothing that it cannot remove: no immutable file, and none of another user.
        return assert!(Immutable::make(&binary()).is_none());
    }
    for backend in ["process", "wasm"] {
        let (lab, canary) = lab();
        let cell = closed(&lab, backend);
        plant(&lab.cell_dir(&cell).join("home"), &canary);
        let held = lab.cell_dir(&cell).join("home/workspace/held");
        fs::write(&held, PLAIN).expect("written");
        let immutable = Immutable::make(&held).expect("immutable (as root, on a file system that has it)");
        let refused = lab.json(&["destroy", &cell]).exits(REFUSED).json();
        let message = text(&refused["message"]);
        assert!(message.contains("1 of its files remain") && message.contains("held: not permitted; it may be immutable"), "{message}");
        assert_ne!(lab.state(&cell), "destroyed");
        assert_eq!(fs::read(&held).expect("there"), PLAIN);
        drop(immutable);
        lab.run(&["destroy", &cell]).exits(0);
        assert_eq!((lab.state(&cell), lab.cell_dirs()), ("destroyed".to_owned(), Vec::new()));
        canary.assert_untouched();
    }
}

#[test]
fn a_planted_heartbeat_is_none() {
    let (lab, canary) = lab();
    let cell = closed(&lab, "process");
    let beat = lab.cell_dir(&cell).join("home/logs/heartbeat");
    let age = || {
        let started = Instant::now();
        let age = lab.cell(&cell)["probe"]["heartbeat_age_seconds"].clone();
        assert!(started.elapsed() < SOON);
        age
    };
    assert!(age().is_number(), "the twin");
    for (what, plant) in impostors(&canary) {
        clear(&beat);
        plant(&beat);
        assert!(age().is_null(), "{what}");
    }
    clear(&beat);
    fs::remove_dir(beat.parent().expect("logs")).or_else(|_| fs::remove_dir_all(beat.parent().expect("logs"))).expect("removed");
    symlink(canary.path(), beat.parent().expect("logs")).expect("linked");
    assert!(age().is_null(), "through a link");
    canary.assert_untouched();
    lab.run(&["destroy", &cell]).exits(0);
}

#[test]
fn a_planted_log_is_not_read() {
    let (lab, canary) = lab();
    let cell = lab.summon(&["scribe", "p", "--", "sh", "-c", "echo said"]);
    lab.wait_for_state(&cell, "closed");
    let log = lab.cell_dir(&cell).join("logs/scribe.log");
    assert!(soon(&lab, &["logs", &cell]).exits(0).stdout.contains("said"), "the twin");
    for name in ["scribe.log", "scribe.log.1"] {
        let at = log.with_file_name(name);
        for (what, plant) in impostors(&canary) {
            clear(&at);
            plant(&at);
            let refused = soon(&lab, &["logs", &cell]).exits(INTERNAL);
            assert!(refused.stderr.contains("could not read the logs of"), "{what}: {refused:?}");
        }
        clear(&at);
    }
    canary.assert_untouched();
    lab.run(&["destroy", &cell]).exits(0);
}

#[test]
fn planted_records_are_not_believed() {
    let (lab, canary) = lab();
    let cell = closed(&lab, "process");
    let dir = lab.cell_dir(&cell);
    let plan = fs::read(dir.join("plan.json")).expect("read");
    for (what, plant) in impostors(&canary) {
        for name in ["plan.json", "cell.json"] {
            clear(&dir.join(name));
            plant(&dir.join(name));
        }
        let refused = soon(&lab, &["resurrect", &cell]);
        assert_ne!(refused.code, 0, "{what}: {refused:?}");
        soon(&lab, &["status", &cell]).exits(0);
        assert_eq!(lab.state(&cell), "closed", "{what}");
    }
    for name in ["plan.json", "cell.json"] {
        clear(&dir.join(name));
    }
    fs::write(dir.join("plan.json"), plan).expect("written");
    lab.run(&["resurrect", &cell]).exits(0);
    canary.assert_untouched();
    lab.run(&["destroy", &cell]).exits(0);
}

#[test]
fn a_planted_lock_is_neither_taken_nor_written_to() {
    let (lab, canary) = lab();
    let cell = closed(&lab, "process");
    let lock = lab.cell_dir(&cell).join("run/lock");
    let mut all = impostors(&canary);
    all.push(("a second name", Box::new(|at: &Path| fs::hard_link(canary.path().join("hard"), at).expect("linked"))));
    for (what, plant) in all {
        clear(&lock);
        plant(&lock);
        for command in ["destroy", "resurrect", "archive"] {
            let refused = soon(&lab, &[command, &cell]);
            // Through a dangling link nothing is made, and a directory that is gone is no lock to wait for.
            assert_ne!(refused.code, 0, "{command} past {what}: {refused:?}");
        }
    }
    canary.assert_whole();
    clear(&lock);
    lab.run(&["destroy", &cell]).exits(0);
}

#[test]
fn a_new_crate_and_a_template_follow_nothing() {
    let (lab, canary) = lab();
    for (what, plant) in impostors(&canary) {
        let at = lab.work().join("crate");
        clear(&at);
        plant(&at);
        soon(&lab, &["agent", "new", "scribe", "crate"]).exits(REFUSED);
        assert!(fs::symlink_metadata(&at).is_ok(), "{what} stays");
    }
    clear(&lab.work().join("crate"));
    soon(&lab, &["agent", "new", "scribe", "crate"]).exits(0);

    let template = lab.work().join("template");
    fs::create_dir(&template).expect("made");
    let mut planter = Planter::new(&template);
    planter.plain();
    planter.specials(is_root());
    planter.names();
    planter.secrets();
    let definition = "[agent]\nname = \"scribe\"\ntemplate = \"template\"\n";
    let file = lab.file("agent.toml", definition);
    soon(&lab, &["agent", "add", &file.to_string_lossy()]).exits(0);
    let cell = lab.summon(&["scribe", "p"]);
    let home = lab.cell_dir(&cell).join("home");
    assert_eq!(fs::read(home.join("plain/file")).expect("copied"), PLAIN);
    assert!(!home.join("plain/link").is_symlink() && !home.join("auth.json").exists() && !home.join("specials/fifo").exists());
    assert!(!holds(&fs::read(home.join(".env")).expect("its own"), SECRET));
    planter.links(&canary);
    fs::remove_file(template.join("links/hard")).expect("removed");
    soon(&lab, &["agent", "add", &file.to_string_lossy(), "--replace"]).exits(0);
    planter.huge();
    let refused = soon(&lab, &["agent", "add", &file.to_string_lossy(), "--replace"]).exits(REFUSED);
    assert!(refused.stderr.contains("huge: a template has at most"), "{refused:?}");
    canary.assert_untouched();
    lab.run(&["destroy", &cell]).exits(0);
}

#[test]
fn an_archive_is_whole_and_says_what_it_left_out() {
    let (lab, canary) = lab();
    let cell = closed(&lab, "process");
    plant(&lab.cell_dir(&cell).join("home"), &canary);
    fs::write(lab.cell_dir(&cell).join("shared/note"), PLAIN).expect("written");
    let started = Instant::now();
    let archived = lab.json(&["archive", &cell]).exits(0).json();
    assert!(started.elapsed() < SOON);
    canary.assert_untouched();
    let file = lab.work().join(format!("{cell}.tar"));
    let bytes = fs::read(&file).expect("made");
    assert!(!holds(&bytes, EGG) && !holds(&bytes, SECRET));
    assert_eq!(fs::metadata(&file).expect("there").permissions().mode() & 0o777, 0o600);
    assert_eq!((archived["file"].as_str(), archived["live"].as_bool()), (Some(format!("{cell}.tar").as_str()), Some(false)));
    assert_eq!(archived["archive_bytes"].as_u64(), Some(bytes.len() as u64));
    let sum = Command::new("sha256sum").arg(&file).output().expect("it runs");
    assert!(String::from_utf8_lossy(&sum.stdout).starts_with(&text(&archived["sha256"])), "{sum:?}");
    let listed = Command::new("tar").arg("-tf").arg(&file).env("LC_ALL", "C").output().expect("tar runs");
    let names = String::from_utf8_lossy(&listed.stdout).into_owned();
    assert!(listed.status.success() && names.lines().all(|line| line.starts_with(&cell)), "{names}");
    for there in ["home/SOUL.md", "home/workspace/planted/plain/file", "shared/note"] {
        assert!(names.lines().any(|line| line == format!("{cell}/{there}")), "{there}: {names}");
    }
    let count = ["files", "directories", "links"].iter().map(|key| archived[key].as_u64().expect("a number")).sum::<u64>();
    assert_eq!(names.lines().count() as u64, count);
    let skipped = archived["skipped"].as_array().expect("a list");
    let why = |end: &str| skipped.iter().find(|noted| text(&noted["name"]).ends_with(end)).map(|noted| text(&noted["why"]));
    assert_eq!(why("specials/fifo").as_deref(), Some("a FIFO"));
    assert!(why("planted/.env").is_some_and(|why| why.contains("secrets")), "{skipped:?}");
    assert!(why("planted/huge").is_some_and(|why| why.contains("more than 2147483648 bytes")), "the homes' own limits count: {skipped:?}");
    // For people, on one line each, and nothing that a terminal obeys.
    let said = lab.run(&["archive", &cell, "--force"]).exits(0).stdout;
    assert!(said.starts_with(&format!("Archived {cell} to {cell}.tar: ")) && !said.contains('\u{1b}'), "{said:?}");
    assert_eq!(fs::read(&file).expect("made again"), bytes, "the same home, the same bytes");
    lab.run(&["destroy", &cell]).exits(0);
    let gone = lab.run(&["archive", &cell, "-o", "x.tar"]).exits(REFUSED);
    assert!(gone.stderr.contains("cannot be archived (state=destroyed)"), "{gone:?}");
    lab.run(&["audit", "verify"]).exits(0);
}

#[test]
fn an_archive_replaces_nothing_unasked_and_leaves_no_half() {
    let (lab, canary) = lab();
    let cell = closed(&lab, "process");
    fs::write(lab.cell_dir(&cell).join("home/note"), PLAIN).expect("written");
    let names = || {
        let names = fs::read_dir(lab.work()).expect("read").map(|entry| entry.expect("read").file_name().to_string_lossy().into_owned());
        let mut names: Vec<String> = names.collect();
        names.sort();
        names
    };
    fs::write(lab.work().join("taken"), "mine").expect("written");
    lab.run(&["archive", &cell, "-o", "taken"]).exits(REFUSED);
    assert_eq!(fs::read_to_string(lab.work().join("taken")).expect("read"), "mine");
    lab.run(&["archive", &cell, "-o", "taken", "--force"]).exits(0);
    assert!(fs::read(lab.work().join("taken")).expect("read").starts_with(cell.as_bytes()));
    // A link is replaced itself; what is no file is not.
    symlink(canary.path().join("egg"), lab.work().join("link")).expect("linked");
    lab.run(&["archive", &cell, "-o", "link"]).exits(REFUSED);
    lab.run(&["archive", &cell, "-o", "link", "--force"]).exits(0);
    assert!(fs::symlink_metadata(lab.work().join("link")).expect("there").is_file());
    rustix::fs::mkfifoat(CWD, lab.work().join("fifo"), Mode::RWXU).expect("a FIFO");
    for place in ["fifo", "outside", "nowhere/x.tar", "/", ".."] {
        soon(&lab, &["archive", &cell, "-o", place, "--force"]).exits(REFUSED);
    }
    canary.assert_untouched();
    assert_eq!(names(), ["fifo", "link", "outside", "taken"], "nothing is left of those that failed");
    // Standard output: the archive alone, and what is said beside it.
    let out = lab.command(&["archive", &cell, "-o", "-"]).output().expect("started");
    assert!(out.status.success() && out.stdout == fs::read(lab.work().join("taken")).expect("read"));
    assert!(String::from_utf8_lossy(&out.stderr).contains("to standard output"));
    lab.json(&["archive", &cell, "-o", "-"]).exits(USAGE);
    lab.run(&["archive", &cell, "--most", "0"]).exits(USAGE);
    lab.run(&["archive", "laz-00000000"]).exits(NOT_FOUND);
    lab.run(&["archive", "../../x"]).exits(NOT_FOUND);
    let small = lab.json(&["archive", &cell, "-o", "small", "--most", "1"]).exits(0).json();
    assert!(small["bytes"].as_u64() <= Some(1) && small["skipped"].as_array().is_some_and(|skipped| !skipped.is_empty()), "{small}");
    // A reader that goes away, and one that is killed, leave nothing half.
    let mut child = lab.command(&["archive", &cell, "-o", "-"]).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("started");
    drop(child.stdout.take());
    child.wait().expect("it ends");
    fs::File::create(lab.cell_dir(&cell).join("home/large")).and_then(|file| file.set_len(1 << 30)).expect("stretched");
    let mut child = lab.command(&["archive", &cell, "-o", "killed"]).stdout(Stdio::null()).spawn().expect("started");
    let descriptors = PathBuf::from(format!("/proc/{}/fd", child.id()));
    let writes = |entry: fs::DirEntry| fs::metadata(entry.path()).is_ok_and(|meta| meta.is_file() && meta.len() > 1 << 20);
    let in_work = |entry: &fs::DirEntry| fs::read_link(entry.path()).is_ok_and(|to| to.starts_with(lab.work()));
    wait_until("it writes", || fs::read_dir(&descriptors).expect("read").flatten().filter(in_work).any(writes));
    child.kill().expect("killed");
    child.wait().expect("ended");
    assert_eq!(names(), ["fifo", "link", "outside", "small", "taken"]);
    lab.run(&["destroy", &cell]).exits(0);
}

#[test]
fn an_archive_is_for_those_who_lead_and_is_on_record() {
    let lab = Lab::new();
    let cell = text(&lab.json(&["team", "a+b", "p"]).exits(0).json()["cell_id"]);
    for (who, role) in [("human:dora", "director"), ("human:ada", "auditor"), ("human:eve", "executor")] {
        lab.run(&["invite", &cell, who, role]).exits(0);
    }
    for who in ["human:ada", "human:eve", "human:zoe", "agent:a"] {
        let refused = lab.run(&["--as", who, "archive", &cell]).exits(REFUSED);
        assert!(refused.stderr.contains("may not archive"), "{refused:?}");
    }
    assert!(!lab.work().join(format!("{cell}.tar")).exists());
    // Of a cell that lives, as it is found.
    fs::write(lab.cell_dir(&cell).join("home/profiles/a/state.db"), PLAIN).expect("written");
    let archived = lab.json(&["--as", "human:dora", "archive", &cell]).exits(0).json();
    assert_eq!(archived["live"].as_bool(), Some(true));
    assert!(text(&archived["message"]).contains("its agents live"), "{archived}");
    let skipped = archived["skipped"].to_string();
    assert!(skipped.contains("profiles/a/state.db") && skipped.contains("in use"), "{skipped}");
    let listed = Command::new("tar").arg("-tf").arg(lab.work().join(format!("{cell}.tar"))).output().expect("tar runs");
    let names = String::from_utf8_lossy(&listed.stdout).into_owned();
    for there in ["home/profiles/a/SOUL.md", "home/profiles/b/SOUL.md"] {
        assert!(names.contains(&format!("{cell}/{there}\n")), "{names}");
    }
    let registry = rusqlite::Connection::open(lab.root().join("registry.db")).expect("opened");
    let mut rows =
        registry.prepare("SELECT phase, actor, detail FROM audit WHERE action = 'archive' AND cell_id = ?1 ORDER BY seq").expect("SQL");
    let rows = rows.query_map([&cell], |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?, row.get::<_, String>(2)?)));
    let rows: Vec<_> = rows.expect("read").map(|row| row.expect("read")).collect();
    let phases: Vec<&str> = rows.iter().map(|(phase, _, _)| phase.as_str()).collect();
    assert_eq!(phases, ["refused", "refused", "refused", "refused", "intent", "done"]);
    let (_, actor, detail) = rows.last().expect("the last");
    assert!(actor == "human:dora" && detail.contains(&text(&archived["sha256"])), "{detail}");
    lab.run(&["destroy", &cell]).exits(0);
}

/// All of it again as a user without privileges. Needs `setpriv` (util-linux), which every distribution has.
#[test]
fn an_ordinary_user_has_the_same_walkers() {
    if !is_root() {
        return;
    }
    let place = tempfile::tempdir().expect("a directory");
    let (tests, program) = (place.path().join("walkers"), place.path().join("lazarus"));
    fs::copy(std::env::current_exe().expect("a test has a path"), &tests).expect("copied");
    fs::copy(binary(), &program).expect("copied");
    for path in [place.path(), &tests, &program] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("set");
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups", "--inh-caps=-all"]).arg(&tests).current_dir("/");
    let output = command.env("LAZARUS_BIN", &program).output().expect("setpriv, of util-linux, is needed");
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("test result: ok"), "{said}");
}
