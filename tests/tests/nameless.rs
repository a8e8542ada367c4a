//! Files that a process agent holds without a name: they take room in its home, and count as those that have one.

use std::{
    os::unix::fs::{PermissionsExt, chown},
    process::{Command, Stdio},
};

use lazarus_tests::{
    Lab,
    lab::{binary, text, wait_until},
};

/// Makes sixteen files of 100,000 bytes in the home, and keeps them as the last line says.
const MANY: &str = "
import ctypes, mmap, os, sys, time
os.chdir(os.environ['HERMES_HOME'])
def new(n):
    f = os.open(str(n), os.O_RDWR | os.O_CREAT)
    os.unlink(str(n))
    return f
def unnamed(n):
    return os.open('.', os.O_RDWR | os.O_TMPFILE)
def fill(f):
    os.write(f, b'x' * 100000)
    return f
def mapped(f):
    m = mmap.mmap(f, 100000)
    os.close(f)
    return m
";

/// How they are kept.
const KEPT: [(&str, &str); 5] = [
    ("removed", "kept = [fill(new(n)) for n in range(16)]"),
    ("unnamed", "kept = [fill(unnamed(n)) for n in range(16)]"),
    ("mapped", "kept = [mapped(fill(new(n))) for n in range(16)]"),
    (
        "sent",
        "import subprocess; kept = [fill(new(n)) for n in range(16)]; subprocess.Popen(['sleep', '1000'], pass_fds=kept); [os.close(f) for f in kept]",
    ),
    ("taken", "f = os.open('file', os.O_RDWR | os.O_CREAT); ctypes.CDLL(None).fallocate(f, 1, ctypes.c_long(0), ctypes.c_long(1600000))"),
];
/// The twin: as many bytes, of which none are kept.
const LET_GO: &str = "[os.close(fill(new(n))) for n in range(16)]";

fn script(what: &str) -> String {
    format!("{MANY}{what}\nprint('done', flush=True)\ntime.sleep(1000)")
}

#[test]
fn what_has_no_name_counts_against_a_home() {
    let lab = Lab::new();
    let summon = |name: &str, what: &str, limit: &[&str]| {
        lab.summon(&[&[name, "p"], limit, &["--", "/usr/bin/python3", "-c", &script(what)]].concat())
    };
    let home = ["--home", "1MiB"];
    let twin = summon("twin", LET_GO, &home);
    let mut cells: Vec<(String, &str)> = KEPT.map(|(name, what)| (summon(name, what, &home), "limit home")).into();
    // As many as it likes of nothing at all.
    cells.push((summon("empty", "kept = [unnamed(n) for n in range(120)]", &["--files", "100"]), "limit files"));
    for (cell, limit) in &cells {
        lab.wait_for_state(cell, "failed");
        let reason = text(&lab.cell(cell)["cell"]["reason"]);
        assert!(reason.contains(limit), "{reason}");
    }
    assert!(lab.logs(&twin).contains("done"));
    assert_eq!(lab.state(&twin), "active");
    for (cell, _) in cells.into_iter().chain([(twin, "")]) {
        lab.json(&["destroy", &cell]).exits(0);
    }
}

#[test]
fn what_has_no_name_counts_against_what_is_shared() {
    let lab = Lab::new();
    let what = "os.chdir('/shared'); kept = [fill(unnamed(n)) for n in range(16)]";
    let script = script(what);
    let agents = ["--home", "1MiB", "--", "/usr/bin/python3", "-c", &script];
    let cell = lab.summon(&[&["scribe", "p"], &agents[..]].concat());
    lab.wait_for_state(&cell, "failed");
    let reason = text(&lab.cell(&cell)["cell"]["reason"]);
    assert!(reason.contains("/shared holds more than"), "{reason}");
    lab.json(&["destroy", &cell]).exits(0);
}

/// A process that nobody of its user may look into is looked into by root, and ended for an ordinary user: nobody knows what it holds.
#[test]
fn a_process_that_hides_what_it_holds_is_not_believed() {
    let lab = Lab::new();
    let hide = script("ctypes.CDLL(None).prctl(4, 0, 0, 0, 0)");
    if rustix::process::geteuid().is_root() {
        let cell = lab.summon(&["hides", "p", "--", "/usr/bin/python3", "-c", &hide]);
        wait_until("it has run for a while", || lab.logs(&cell).contains("done"));
        std::thread::sleep(std::time::Duration::from_secs(12));
        assert_eq!(lab.state(&cell), "active", "root sees that it holds nothing");
        lab.json(&["destroy", &cell]).exits(0);
        let other = run_of_another(&hide);
        assert!(other.contains("could not be measured for 5s: what process"), "{other}");
    } else {
        let cell = lab.summon(&["hides", "p", "--", "/usr/bin/python3", "-c", &hide]);
        lab.wait_for_state(&cell, "failed");
        lab.json(&["destroy", &cell]).exits(0);
    }
}

/// Runs a script as an ordinary user, with copies of the programs; what that says.
fn run_of_another(script: &str) -> String {
    const OTHER: u32 = 64_731;
    let home = tempfile::Builder::new().prefix("lzn-").tempdir().expect("a home");
    for name in ["lazarus", "lazarus-jail"] {
        let copy = home.path().join(name);
        std::fs::copy(binary().with_file_name(name), &copy).expect("copied: `cargo build` makes both");
        std::fs::set_permissions(&copy, std::fs::Permissions::from_mode(0o755)).expect("set");
    }
    chown(home.path(), Some(OTHER), Some(OTHER)).expect("theirs");
    let other = OTHER.to_string();
    let mut command = Command::new("setpriv");
    command.args(["--reuid", &other, "--regid", &other, "--clear-groups", "--inh-caps=-all"]).arg(home.path().join("lazarus"));
    command.args(["run", "--", "/usr/bin/python3", "-c", script]);
    command.env_clear().env("PATH", "/usr/bin:/bin").env("HOME", home.path()).current_dir(home.path()).stdin(Stdio::null());
    let output = command.env("LAZARUS_ROOT", home.path().join("root")).output().expect("setpriv, of util-linux, is needed");
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    String::from_utf8_lossy(&output.stderr).into_owned()
}
