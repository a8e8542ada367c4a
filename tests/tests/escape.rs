//! The drill as the suite's escape tests: every attack of the catalogue, through the real program, on this machine; and proof that it can fail.

use std::{
    collections::{BTreeMap, BTreeSet},
    os::unix::fs::{PermissionsExt, chown},
    path::PathBuf,
    process::{Command, Stdio},
};

use lazarus_tests::{
    Lab, Outcome,
    lab::{binary, text, wait_until},
    processes,
};
use rustix::process::{Pid, Signal, kill_process};
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter};
use serde_json::Value;

/// The classes of attack that a cell must withstand; each has attacks.
const CLASSES: [&str; 11] =
    ["paths", "descriptors", "environment", "memory", "cpu", "disk", "logs", "network", "neighbours", "registry", "supply"];
/// Who attacks, and what is attacked.
const ARENAS: [&str; 5] = ["process", "component", "preview1", "fallen", "trusted"];
/// Somebody whom no list of users names.
const OTHER: u32 = 64_124;

/// A lab with a directory for temporary files, of which nothing may be left.
struct Ground {
    lab: Lab,
    temporary: PathBuf,
}

impl Ground {
    fn new() -> Self {
        let lab = Lab::new();
        let temporary = lab.work().join("t");
        std::fs::create_dir(&temporary).expect("made");
        Self { lab, temporary }
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = self.lab.command(args);
        command.env("TMPDIR", &self.temporary);
        command
    }

    /// Runs a drill to its end.
    fn drill(&self, args: &[&str]) -> Outcome {
        let mut all = vec!["--json", "drill"];
        all.extend(args);
        finish(&mut self.command(&all))
    }

    /// What a drill has left in the directory for temporary files.
    fn left(&self) -> Vec<String> {
        let entries = std::fs::read_dir(&self.temporary).expect("there");
        entries.map(|entry| entry.expect("read").file_name().to_string_lossy().into_owned()).collect()
    }

    /// The rows that the audit log has of drills: phase and detail.
    fn audited(&self) -> Vec<(String, String)> {
        let registry = rusqlite::Connection::open(self.lab.root().join("registry.db")).expect("opened");
        let mut rows = registry.prepare("SELECT phase, detail FROM audit WHERE action = 'drill' ORDER BY seq").expect("prepared");
        let rows = rows.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).expect("asked");
        rows.map(|row| row.expect("read")).collect()
    }
}

fn finish(command: &mut Command) -> Outcome {
    let output = command.output().expect("started");
    Outcome {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// The attacks of a drill that are not held, in words.
fn not_held(drill: &Value) -> Vec<String> {
    let attacks = drill["attacks"].as_array().expect("attacks").iter();
    let fell = attacks.filter(|attack| attack["outcome"] != "HELD" && attack["as_reported"].is_null());
    fell.map(|attack| {
        format!("{} {}: {} ({}; twin: {})", attack["arena"], attack["name"], attack["outcome"], attack["how"], attack["twin"])
    })
    .collect()
}

/// Asserts that a drill took place, and that everything was held.
#[track_caller]
fn assert_held(outcome: &Outcome) -> Value {
    let drill = outcome.json();
    assert!(drill["attacks"].is_array(), "{drill}");
    assert_eq!(not_held(&drill), Vec::<String>::new());
    assert_eq!((outcome.code, &drill["success"], &drill["exit_code"]), (0, &Value::from(true), &Value::from(0)), "{drill}");
    let (held, total, reported) = (&drill["held"], &drill["total"], &drill["as_reported"]);
    assert_eq!(held.as_u64().zip(reported.as_u64()).map(|(held, reported)| held + reported), total.as_u64(), "{drill}");
    assert_eq!(drill["canaries"]["intact"], reported == 0, "{drill}");
    drill
}

/// The catalogue, as `--list` has it: names by class and by arena.
fn listed(ground: &Ground) -> BTreeMap<(String, String), usize> {
    let listed = finish(&mut ground.command(&["--json", "drill", "--list"])).exits(0).json();
    let attacks = listed["attacks"].as_array().expect("attacks").clone();
    let mut count = BTreeMap::new();
    for attack in &attacks {
        assert_ne!(attack["attack"], attack["twin"], "a twin differs: {attack}");
        *count.entry((text(&attack["class"]), text(&attack["arena"]))).or_default() += 1;
    }
    assert_eq!(listed["total"].as_u64(), Some(attacks.len() as u64));
    count
}

#[test]
fn every_attack_is_held() {
    let ground = Ground::new();
    let drill = assert_held(&ground.drill(&[]));
    let attacks = drill["attacks"].as_array().expect("attacks");
    assert!(attacks.len() >= 80, "only {} attacks", attacks.len());
    let mut count = BTreeMap::new();
    for attack in attacks {
        assert!(!text(&attack["twin"]).is_empty() && !text(&attack["how"]).is_empty(), "{attack}");
        *count.entry((text(&attack["class"]), text(&attack["arena"]))).or_default() += 1;
    }
    assert_eq!(count, listed(&ground), "what is listed is what is tried");
    let classes: BTreeSet<&str> = count.keys().map(|(class, _)| class.as_str()).collect();
    let arenas: BTreeSet<&str> = count.keys().map(|(_, arena)| arena.as_str()).collect();
    assert_eq!((classes, arenas), (CLASSES.into(), ARENAS.into()));
    let rows = ground.audited();
    let phases: Vec<&str> = rows.iter().map(|(phase, _)| phase.as_str()).collect();
    assert_eq!(phases, ["intent", "done"], "{rows:?}");
    assert!(rows[1].1.contains(&format!("{} held of {}", drill["held"], attacks.len())), "{rows:?}");
    assert_eq!((ground.left(), ground.lab.cell_dirs()), (vec![], vec![]), "nothing is left");
}

/// Process agents and fallen hosts: what an ordinary user's kernel gives less of. Where this is no root, the test above is that user's.
#[test]
fn every_attack_is_held_for_an_ordinary_user() {
    if rustix::process::geteuid().is_root() {
        drill_of_another(OTHER, &["--only", "process", "--only", "fallen"]);
    }
}

/// And without user namespaces, as on Ubuntu: process agents see the machine's files, and Landlock, seccomp and the reaper are all there is.
#[test]
fn every_attack_by_a_process_is_held_without_namespaces() {
    let drill = std::thread::scope(|scope| {
        let run = scope.spawn(|| {
            deny(libc::SYS_unshare, libc::EPERM);
            if rustix::process::geteuid().is_root() {
                drill_of_another(OTHER + 1, &["--only", "process"])
            } else {
                assert_held(&Ground::new().drill(&["--only", "process"]))
            }
        });
        run.join().expect("it does not panic")
    });
    assert_eq!(drill["machine"]["namespaces"], false, "{}", drill["machine"]);
    // What Landlock does not know is held all the same, and not only reported.
    let attacks = drill["attacks"].as_array().expect("attacks");
    for name in
        ["paths/mode-outside", "paths/time-outside", "paths/owner-outside", "paths/attribute-in-read-only", "paths/mode-of-what-is-open"]
    {
        let attack = attacks.iter().find(|attack| attack["name"] == name).unwrap_or_else(|| panic!("{name} is not in the catalogue"));
        assert_eq!((&attack["outcome"], &attack["how"]), (&Value::from("HELD"), &Value::from("EPERM")), "{attack}");
    }
}

/// A drill by somebody who is not root, with a copy of the program and a root of their own. Not by the same user twice at a time: without
/// a control group, processes are counted by user.
fn drill_of_another(user: u32, only: &[&str]) -> Value {
    let home = tempfile::Builder::new().prefix("lzu-").tempdir().expect("a home");
    let program = home.path().join("lazarus");
    for name in ["lazarus", "lazarus-jail"] {
        let copy = home.path().join(name);
        std::fs::copy(binary().with_file_name(name), &copy).expect("copied: `cargo build` makes both");
        std::fs::set_permissions(&copy, std::fs::Permissions::from_mode(0o755)).expect("set");
    }
    chown(home.path(), Some(user), Some(user)).expect("theirs");
    let other = user.to_string();
    let mut command = Command::new("setpriv");
    command.args(["--reuid", &other, "--regid", &other, "--clear-groups", "--inh-caps=-all"]).arg(&program);
    command.args(["--json", "drill"]).args(only);
    command.env_clear().env("PATH", "/usr/bin:/bin").env("HOME", home.path()).env("TMPDIR", home.path()).current_dir(home.path());
    let drill = assert_held(&finish(command.env("LAZARUS_ROOT", home.path().join("root")).stdin(Stdio::null())));
    assert_eq!(drill["machine"]["user"], user);
    let left = std::fs::read_dir(home.path()).expect("there").filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    assert_eq!(left.filter(|name| name.starts_with("lazarus-drill-")).collect::<Vec<_>>(), Vec::<String>::new());
    drill
}

/// Old kernels, and seccomp filters of containers, have no `openat2`: whatever resolves names of files then does it itself.
#[test]
fn every_attack_is_held_without_openat2() {
    let ground = Ground::new();
    let outcome = std::thread::scope(|scope| {
        let run = scope.spawn(|| {
            deny(libc::SYS_openat2, libc::ENOSYS);
            ground.drill(&["--only", "component", "--only", "preview1", "--only", "fallen", "--only", "paths"])
        });
        run.join().expect("it does not panic")
    });
    let drill = assert_held(&outcome);
    assert_eq!(drill["machine"]["resolver"], "own");
    let resolvers: BTreeSet<String> =
        drill["attacks"].as_array().expect("attacks").iter().map(|attack| text(&attack["resolver"])).collect();
    assert_eq!(resolvers, BTreeSet::from(["own".to_owned()]));
}

/// Has a system call fail for this thread and all that it starts.
fn deny(number: i64, errno: i32) {
    let arch = std::env::consts::ARCH.try_into().expect("an architecture with filters");
    let missing = SeccompAction::Errno(errno.unsigned_abs());
    let filter = SeccompFilter::new([(number, Vec::new())].into(), SeccompAction::Allow, missing, arch).expect("a filter");
    let program: BpfProgram = filter.try_into().expect("compiled");
    seccompiler::apply_filter(&program).expect("applied");
}

/// A drill that could not fail would prove nothing: here attackers are granted what they must not get.
#[test]
fn a_drill_says_so_where_a_wall_has_a_hole() {
    let ground = Ground::new();
    let only =
        ["--only", "paths/absolute", "--only", "paths/create-outside", "--only", "paths/time-outside", "--only", "paths/password-file"];
    let mut all = vec!["--json", "drill"];
    all.extend(only);
    let outcome = finish(ground.command(&all).env("LAZARUS_DRILL_WEAKENED", "1")).exits(1);
    let drill = outcome.json();
    let of = |name: &str| {
        let attacks = drill["attacks"].as_array().expect("attacks").iter();
        let found = attacks.filter(|attack| attack["name"] == name && attack["arena"] == "process");
        found.map(|attack| text(&attack["outcome"])).collect::<Vec<_>>()
    };
    assert_eq!(of("paths/absolute"), ["READ"], "{drill}");
    assert_eq!(of("paths/create-outside"), ["WRITE"], "{drill}");
    assert_eq!(of("paths/time-outside"), ["WRITE"], "{drill}");
    assert_eq!(of("paths/password-file"), ["HELD"], "what was not granted is still held: {drill}");
    assert_eq!((&drill["success"], &drill["canaries"]["intact"]), (&Value::from(false), &Value::from(false)));
    assert_eq!(ground.audited().last().map(|(phase, _)| phase.clone()), Some("failed".to_owned()));
    assert_eq!(ground.left(), Vec::<String>::new());
    // The twin: the same attacks, on walls without the hole.
    assert_held(&ground.drill(&only));
}

#[test]
fn a_drill_that_is_interrupted_leaves_nothing() {
    let ground = Ground::new();
    let mut child = ground.command(&["--json", "drill"]).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("started");
    wait_until("its stage is set", || ground.lab.processes().len() > 3);
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw).expect("a pid");
    kill_process(pid, Signal::INT).expect("told");
    let status = child.wait().expect("waited for");
    assert_eq!(status.code(), Some(1));
    assert_eq!(ground.left(), Vec::<String>::new());
    assert!(ground.lab.processes().is_empty(), "{:?}", ground.lab.processes());
    assert_eq!(ground.audited().last().map(|(phase, _)| phase.clone()), Some("failed".to_owned()));
}

#[test]
fn what_a_killed_drill_left_is_cleared_by_the_next() {
    let mut ground = Ground::new();
    ground.lab.leaves_cells();
    let mut child = ground.command(&["--json", "drill"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("started");
    wait_until("its stage is set", || ground.lab.processes().len() > 3);
    child.kill().expect("killed");
    child.wait().expect("waited for");
    assert_eq!(ground.left().len(), 1, "what it had is still there");
    assert_held(&ground.drill(&["--only", "paths/absolute"]));
    assert_eq!(ground.left(), Vec::<String>::new());
    wait_until("nothing of it lives", || ground.lab.processes().iter().all(|process| !processes::is_alive(process.pid)));
}

#[test]
fn words_choose_attacks_and_wrong_ones_are_refused() {
    let ground = Ground::new();
    let refused = ground.drill(&["--only", "no-such-class"]).exits(3).message();
    assert!(refused.contains("no-such-class"), "{refused}");
    assert_eq!(ground.audited().last().map(|(phase, _)| phase.clone()), Some("refused".to_owned()));
    let people = finish(&mut ground.command(&["drill", "--list", "--only", "logs"])).exits(0).stdout;
    assert!(people.contains("logs/flood") && !people.contains("paths/"), "{people}");
    let shown = finish(&mut ground.command(&["drill", "--only", "registry/id-as-sql"])).exits(0).stdout;
    assert!(shown.contains("HELD") && shown.contains("1 of 1 attacks held; every canary is as it was"), "{shown}");
}
