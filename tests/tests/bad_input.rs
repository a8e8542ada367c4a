//! What people and programs get wrong: each mistake has its exit code, one line that names it, and leaves nothing behind.

use std::{
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use lazarus::policy::Limits;
use lazarus_tests::{
    Lab, guests,
    lab::{binary, text, wait_until},
};
use serde_json::Value;

/// Exit codes, as `lazarus --help` documents them.
const REFUSED: i32 = 1;
const USAGE: i32 = 2;
const NOT_FOUND: i32 = 3;
const INTERNAL: i32 = 125;

/// What a person must never be shown: Rust's own way to talk.
const RUST: [&str; 10] =
    ["panicked at", "RUST_BACKTRACE", "stack backtrace", "Error {", "Err(", "Some(", "Os {", "kind: ", ".rs:", "unwrap"];

/// Asserts that an envelope is the one of a failure: one object, the contract's keys first, the code, the object's name.
#[track_caller]
fn is_failure(stdout: &[u8], code: i32, names: &str, what: &str) {
    let said = String::from_utf8_lossy(stdout);
    let envelope: Value = serde_json::from_str(&said).unwrap_or_else(|error| panic!("{what}: not one JSON object ({error}): {said:?}"));
    assert_eq!(envelope["success"], false, "{what}: {envelope}");
    assert_eq!(envelope["exit_code"], code, "{what}: {envelope}");
    assert!(said.starts_with("{\"success\":false,\"message\":\""), "{what}: {said}");
    is_one_line(&text(&envelope["message"]), names, what);
}

#[track_caller]
fn is_one_line(message: &str, names: &str, what: &str) {
    assert!(!message.is_empty() && !message.contains('\n'), "{what}: {message:?}");
    assert!(!message.chars().any(char::is_control), "{what}: {message:?}");
    assert!(message.contains(names), "{what}: {message:?} does not name {names:?}");
    for word in RUST {
        assert!(!message.contains(word), "{what}: {message:?}");
    }
}

/// Asserts what a person is told: nothing on stdout; on stderr one line, then hints, or what clap says of the usage.
#[track_caller]
fn is_told(output: &Output, code: i32, names: &str, what: &str) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.stdout.is_empty(), "{what}: {}", String::from_utf8_lossy(&output.stdout));
    for word in RUST {
        assert!(!said.contains(word), "{what}: {said}");
    }
    let mut lines = said.lines();
    let first = lines.next().unwrap_or_else(|| panic!("{what}: nothing was said"));
    assert!(first.starts_with("error: "), "{what}: {said}");
    assert!(said.contains(names), "{what}: {said:?} does not name {names:?}");
    if code != USAGE {
        assert!(first.contains(names), "{what}: {first:?} does not name {names:?}");
        for line in lines {
            // Below a line: what an approval is missing, or a hint.
            assert!(line.starts_with("hint: ") || line.starts_with("  "), "{what}: {said}");
        }
    }
}

/// Runs a mistake twice, for a program and for a person, and asserts what both are told.
#[track_caller]
fn refuses(lab: &Lab, args: &[&str], code: i32, names: &str) {
    let what = format!("{args:?}");
    let mut with = vec!["--json"];
    with.extend(args);
    let output = lab.command(&with).output().expect("started");
    assert_eq!(output.status.code(), Some(code), "{what}: {output:?}");
    is_failure(&output.stdout, code, names, &what);
    assert!(output.stderr.is_empty(), "{what}: {}", String::from_utf8_lossy(&output.stderr));
    let output = lab.command(args).output().expect("started");
    assert_eq!(output.status.code(), Some(code), "{what}: {output:?}");
    is_told(&output, code, names, &what);
    assert!(lab.cell_dirs().is_empty(), "{what}: {:?}", lab.cell_dirs());
    // What the command line alone refuses starts nothing; the lab looks again at its end.
    if code != USAGE {
        nothing_is_left(lab, &what);
    }
}

#[track_caller]
fn nothing_is_left(lab: &Lab, what: &str) {
    assert!(lab.cell_dirs().is_empty(), "{what}: {:?}", lab.cell_dirs());
    assert!(lab.processes().is_empty(), "{what}: {:?}", lab.processes());
}

/// The states of the cells that the registry knows.
fn states(lab: &Lab) -> Vec<String> {
    let all = lab.json(&["status", "--all"]).exits(0).json();
    all["active_cells"].as_array().expect("a list").iter().map(|cell| text(&cell["state"])).collect()
}

fn str(path: &Path) -> &str {
    path.to_str().expect("utf-8")
}

const PATHS: [&str; 5] = ["..", "../../x", "/etc/passwd", "a/b", "."];
const OTHERS: [&str; 6] = ["'; DROP TABLE cells; --", "a b", "Ärger", "名前", "a\u{1b}[2J", "a\nb"];

#[test]
fn names() {
    let lab = Lab::new();
    let long = "a".repeat(300);
    for name in PATHS.into_iter().chain(OTHERS).chain(["", &long]) {
        let shown: String = name.chars().take_while(|c| c.is_ascii_graphic() || *c == ' ').take(30).collect();
        refuses(&lab, &["summon", name, "p"], USAGE, &shown);
        refuses(&lab, &["summon", "scribe", name], USAGE, &shown);
        refuses(&lab, &["team", &format!("a+{name}"), "p"], USAGE, &shown);
        refuses(&lab, &["run", "--project", name, "--", "true"], USAGE, &shown);
        refuses(&lab, &["agent", "remove", name], USAGE, &shown);
        for identity in [name.to_owned(), format!("human:{name}"), format!("agent:{name}")] {
            refuses(&lab, &["invite", "laz-00000000", &identity, "observer"], USAGE, &shown);
        }
        refuses(&lab, &["--as", &format!("bot:{name}"), "status"], USAGE, &shown);
        refuses(&lab, &["summon", "scribe", "p", "--owner", &format!("human:{name}")], USAGE, &shown);
        refuses(&lab, &["invite", "laz-00000000", "human:alice", name], USAGE, &shown);
        for command in ["status", "close", "destroy", "logs"] {
            refuses(&lab, &[command, name], NOT_FOUND, "not found");
        }
    }
    refuses(&lab, &["--as", "king:alice", "status"], USAGE, "king:alice");
    refuses(&lab, &["team", "a+a", "p"], USAGE, "named twice");
    refuses(&lab, &["team", "", "p"], USAGE, "AGENTS");
    refuses(&lab, &["agent", "show", "nobody"], NOT_FOUND, "nobody");
    refuses(&lab, &["status", "laz-00000000"], NOT_FOUND, "Cell laz-00000000 not found");
    assert!(states(&lab).is_empty(), "nothing was written down");
}

#[test]
fn durations() {
    let lab = Lab::new();
    for (given, names) in
        [("0", "zero"), ("0s", "zero"), ("-5m", "-5m"), ("", "such as 90m"), ("soon", "soon"), ("1.5h", "1.5h"), ("5 parsecs", "5 parsecs")]
    {
        refuses(&lab, &["summon", "scribe", "p", &format!("--ttl={given}")], USAGE, names);
        refuses(&lab, &["run", &format!("--timeout={given}"), "--", "true"], USAGE, names);
        refuses(&lab, &["extend", "laz-00000000", "--", given], USAGE, names);
    }
    for huge in ["99999999999999999999", "18446744073709551615", "18446744073709551615d", "11000d"] {
        refuses(&lab, &["summon", "scribe", "p", "--ttl", huge], USAGE, huge);
        refuses(&lab, &["extend", "laz-00000000", huge], USAGE, huge);
    }
    refuses(&lab, &["close", "laz-00000000", "--grace", "10"], USAGE, "10");
    refuses(&lab, &["close", "laz-00000000", "--grace=-1s"], USAGE, "-1s");
    refuses(&lab, &["summon", "scribe", "p", "--on-expire", "explode"], USAGE, "explode");
    assert!(states(&lab).is_empty(), "nothing was written down");
}

#[test]
fn limits() {
    let lab = Lab::new();
    // Every limit of an agent, as the policy lists them.
    for name in Limits::default().settings().map(|(name, _)| name) {
        for value in ["0", "-1", "many", "99999999999999999999999", ""] {
            refuses(&lab, &["summon", "scribe", "p", &format!("--{name}={value}")], USAGE, name.as_str());
        }
        // A number below zero is a bad number, not another option.
        refuses(&lab, &["summon", "scribe", "p", &format!("--{name}"), "-5"], USAGE, &format!("set limit {name}"));
    }
    refuses(&lab, &["summon", "scribe", "p", "--memory", "9999999TiB"], USAGE, "9999999TiB");
    refuses(&lab, &["summon", "scribe", "p", "--instances", "4294967296"], USAGE, "4294967296");
    refuses(&lab, &["summon", "scribe", "p", "--stack", "1GiB"], USAGE, "stack");
    refuses(&lab, &["summon", "scribe", "p", "--fuel", "1"], USAGE, "--fuel");
    refuses(&lab, &["summon", "scribe", "p", "--backend", "docker"], USAGE, "docker");
    assert!(states(&lab).is_empty(), "nothing was written down");
}

#[test]
fn variables_and_mounts() {
    let lab = Lab::new();
    lab.file("there/file", "x");
    let summon = |more: &[&str], code: i32, names: &str| {
        let mut args = vec!["summon", "scribe", "p"];
        args.extend(more);
        refuses(&lab, &args, code, names);
    };
    summon(&["--env", "NOVALUE"], USAGE, "NAME=VALUE");
    summon(&["--env", "=x"], USAGE, "name");
    summon(&["--env", "1A=x"], USAGE, "1A");
    summon(&["--env", "Ä=x"], USAGE, "Ä");
    for reserved in ["HOME", "HERMES_HOME", "LD_PRELOAD", "LAZARUS_CELL", "TMPDIR"] {
        summon(&["--env", &format!("{reserved}=x")], USAGE, reserved);
    }
    summon(&["--env", &format!("BIG={}", "x".repeat(65 * 1024))], USAGE, "BIG");
    summon(&["--mount", "there"], USAGE, "there");
    summon(&["--mount", "there:relative"], USAGE, "relative");
    for guest in ["/a/../b", "/..", "/a//b", "/a/./b"] {
        summon(&["--mount", &format!("there:{guest}")], USAGE, guest);
    }
    summon(&["--mount", "not-there:/data"], REFUSED, "not-there");
    summon(&["--mount", "/:/data"], REFUSED, "whole machine");
    summon(&["--mount", &format!("{}:/data", str(&lab.root()))], REFUSED, str(&lab.root()));
    summon(&["--mount", &format!("{}:/data", str(&lab.root().join("cells")))], REFUSED, "cells");
    // What contains the root as well.
    let above = lab.root().parent().expect("in a directory").to_owned();
    summon(&["--mount", &format!("{}:/data", str(&above))], REFUSED, str(&above));
    summon(&["--mount", "/proc:/data"], REFUSED, "/proc");
    summon(&["--mount", "/dev/null:/data"], REFUSED, "/dev/null");
    for own in ["/", "/home", "/shared"] {
        summon(&["--mount", &format!("there:{own}")], REFUSED, own);
    }
    let hermes = lab.root().parent().expect("in a directory").join("home/.hermes");
    std::fs::create_dir(&hermes).expect("made");
    summon(&["--mount", &format!("{}:/data", str(&hermes))], REFUSED, ".hermes");
    summon(&["--read", "relative"], USAGE, "relative");
    summon(&["--read", "/"], USAGE, "/");
    summon(&["--read", "/no/such/place"], REFUSED, "/no/such/place");
    assert!(states(&lab).is_empty(), "nothing was written down");
}

#[test]
fn components() {
    let lab = Lab::new();
    let whole = wat::parse_str(guests::says("x", 0)).expect("a module");
    let foreign = guests::IMPORTS_NOTHING_REAL;
    let files: Vec<(PathBuf, &str)> = vec![
        (lab.file("text.wasm", "this is not WebAssembly"), "text.wasm"),
        (lab.file("empty.wasm", ""), "empty.wasm"),
        (lab.file("elf.wasm", b"\x7fELF\x02\x01\x01\0"), "elf.wasm"),
        (lab.file("truncated.wasm", &whole[..whole.len() - 1]), "truncated.wasm"),
        (lab.file("header.wasm", &whole[..8]), "_start"),
        (lab.file("junk.wasm", [&whole[..], &[0xff; 32]].concat()), "junk.wasm"),
        (lab.file("nonsense.wat", "(module (func (export \"_start\") i32.add))"), "nonsense.wat"),
        (lab.file("foreign.wat", foreign), "no_such_host"),
        (lab.file("large.wat", guests::BORN_TOO_LARGE), "memory"),
        (lab.file("born-dead.wat", guests::TRAPS_AT_BIRTH), "unreachable"),
        (lab.work(), "not a regular file"),
        (PathBuf::from("/dev/zero"), "/dev/zero"),
        (lab.work().join("missing.wasm"), "missing.wasm"),
    ];
    let fifo = lab.work().join("fifo.wasm");
    assert!(Command::new("mkfifo").arg(&fifo).status().expect("started").success());
    for (path, names) in files.iter().map(|(path, names)| (path, *names)).chain([(&fifo, "fifo.wasm")]) {
        refuses(&lab, &["summon", "scribe", "p", "--component", str(path)], REFUSED, names);
        refuses(&lab, &["run", "--component", str(path)], REFUSED, names);
    }
    assert!(states(&lab).iter().all(|state| state == "failed" || state == "destroyed"), "{:?}", states(&lab));
}

#[test]
fn a_component_that_is_never_ready() {
    let lab = Lab::new();
    let guest = lab.file("never.wat", guests::NEVER_READY);
    let output = lab.command(&["--json", "summon", "scribe", "p", "--component", str(&guest)]).output().expect("started");
    assert_eq!(output.status.code(), Some(REFUSED), "{output:?}");
    is_failure(&output.stdout, REFUSED, "ready", "never ready");
    nothing_is_left(&lab, "never ready");
    assert_eq!(states(&lab), ["failed"]);
}

#[test]
fn a_component_that_dies_at_once() {
    let lab = Lab::new();
    for (name, guest, reason) in [("traps", guests::TRAPS, "unreachable"), ("grows", guests::GROWS, "memory")] {
        let file = lab.file(&format!("{name}.wat"), guest);
        let cell = lab.summon(&["scribe", "p", "--component", str(&file)]);
        lab.wait_for_state(&cell, "failed");
        let told = text(&lab.cell(&cell)["cell"]["reason"]);
        is_one_line(&told, reason, name);
        wait_until("nothing lives", || lab.processes().is_empty());
        let _ = lab.json(&["destroy", &cell]).exits(0);
        nothing_is_left(&lab, name);
    }
}

#[test]
fn commands() {
    let lab = Lab::new();
    let plain = lab.file("plain", "#!/bin/sh\nexit 0\n");
    let mount = format!("{}:/tools", str(&lab.work()));
    for run in [&["summon", "scribe", "p"][..], &["run"]] {
        let with = |more: &[&str], code: i32, names: &str| refuses(&lab, &[run, more].concat(), code, names);
        with(&["--", "/no/such/program"], REFUSED, "/no/such/program");
        with(&["--", "no-such-program"], REFUSED, "no-such-program");
        with(&["--", "/usr"], REFUSED, "/usr");
        with(&["--", ""], REFUSED, "");
        with(&["--mount", &mount, "--", "/tools/plain"], REFUSED, "/tools/plain");
        // It is there, for the operator; the agent was not given it.
        with(&["--", str(&plain)], REFUSED, str(&plain));
        with(&["--backend", "wasm", "--", "true"], USAGE, "--component");
        with(&["--backend", "process", "--component", "x.wasm"], REFUSED, "process");
    }
    let _ = lab.json(&["frobnicate"]).exits(USAGE);
    refuses(&lab, &["frobnicate"], USAGE, "frobnicate");
    refuses(&lab, &["summon"], USAGE, "PROJECT");
    refuses(&lab, &["status", "--all", "laz-00000000"], USAGE, "--all");
}

#[test]
fn roots() {
    let lab = Lab::new();
    let base = lab.work();
    let file = lab.file("a-file", "x");
    let refuse = |root: &Path, names: &str| {
        refuses(&lab, &["--root", str(root), "status"], REFUSED, names);
        refuses(&lab, &["--root", str(root), "summon", "scribe", "p"], REFUSED, names);
    };
    refuse(&file, "a-file");
    refuse(&file.join("below"), "a-file");
    let home = base.parent().expect("the lab").join("home");
    refuse(&home.join(".hermes"), ".hermes");
    refuse(&home.join(".hermes/lazarus"), ".hermes");
    std::fs::create_dir_all(home.join(".hermes/deep")).expect("made");
    std::os::unix::fs::symlink(home.join(".hermes/deep"), base.join("link")).expect("linked");
    refuse(&base.join("link/root"), ".hermes");
    assert_eq!(std::fs::read_dir(home.join(".hermes/deep")).expect("read").count(), 0, "nothing was made there");
    let loose = base.join("loose");
    std::fs::create_dir(&loose).expect("made");
    std::fs::write(loose.join("something"), "x").expect("written");
    std::fs::set_permissions(&loose, std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("opened to all");
    refuse(&loose, "chmod 700");
    let output = lab.command(&["--json", "status"]).env_remove("LAZARUS_ROOT").env("HOME", "relative").output().expect("started");
    assert_eq!(output.status.code(), Some(REFUSED));
    is_failure(&output.stdout, REFUSED, "LAZARUS_ROOT", "nowhere");
}

/// Runs a shell script in a mount namespace of its own, as root in it: `$LAZARUS` is the program, `$AT` a directory to mount on.
fn with_mounts(lab: &Lab, script: &str) -> Output {
    let at = lab.work().join("mounted");
    std::fs::create_dir_all(&at).expect("made");
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", "private"]);
    if !rustix::process::geteuid().is_root() {
        command.arg("--map-root-user");
    }
    command
        .args(["/bin/sh", "-euc", script])
        .env_clear()
        .env("PATH", "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin")
        .env("HOME", lab.work())
        .env("LAZARUS", binary())
        .env("LAZARUS_ROOT", at.join("root"))
        .env("AT", &at)
        .stdin(Stdio::null());
    command.output().expect("unshare(1) is there")
}

/// What is said line by line: each line an envelope, with the exit code that the script printed before it.
#[track_caller]
fn codes_and_envelopes(output: &Output) -> Vec<(i32, String)> {
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{output:?}");
    let parse = |line: &str| {
        let (code, envelope) = line.split_once(' ').unwrap_or_else(|| panic!("{line:?}"));
        (code.parse().unwrap_or_else(|_| panic!("{line:?}")), envelope.to_owned())
    };
    said.lines().map(parse).collect()
}

/// A shell function that runs Lazarus and prints its exit code and its envelope on one line.
const DO: &str = "do_() { code=0; said=$(\"$LAZARUS\" --json \"$@\") || code=$?; printf '%s %s\\n' \"$code\" \"$said\"; }\n";

#[test]
fn a_read_only_file_system() {
    let lab = Lab::new();
    let script = format!("{DO} mount -t tmpfs -o ro none \"$AT\"; do_ status; do_ summon scribe p; do_ run -- true");
    let said = codes_and_envelopes(&with_mounts(&lab, &script));
    assert_eq!(said.len(), 3);
    for (code, envelope) in said {
        assert_eq!(code, REFUSED, "{envelope}");
        is_failure(envelope.as_bytes(), code, "read-only", "a read-only root");
    }
    // A root that became read-only is not written to, and says so.
    let script = format!("{DO} mount -t tmpfs none \"$AT\"; do_ status; mount -o remount,ro \"$AT\"; do_ summon scribe p; do_ run -- true");
    let said = codes_and_envelopes(&with_mounts(&lab, &script));
    assert_eq!(said[0].0, 0, "{said:?}");
    for (code, envelope) in &said[1..] {
        assert!([REFUSED, INTERNAL].contains(code), "{code} {envelope}");
        is_failure(envelope.as_bytes(), *code, "read-only", "a root that became read-only");
    }
    nothing_is_left(&lab, "read-only");
}

#[test]
fn a_full_disk() {
    let lab = Lab::new();
    let fill = "cat /dev/zero > \"$AT/fill\" 2>/dev/null || true";
    let script = format!("{DO} mount -t tmpfs -o size=64k none \"$AT\"; {fill}; do_ status; do_ summon scribe p");
    let said = codes_and_envelopes(&with_mounts(&lab, &script));
    assert_eq!(said.len(), 2);
    for (code, envelope) in said {
        assert!([REFUSED, INTERNAL].contains(&code), "{code} {envelope}");
        is_failure(envelope.as_bytes(), code, "full", "a full disk");
    }
    // It fills up after the root was made; nothing is half done, and everything works again once there is room.
    let script = format!(
        "{DO} mount -t tmpfs -o size=2m none \"$AT\"; do_ status; {fill}
         do_ summon scribe p; do_ run -- true; do_ team a+b p
         rm \"$AT/fill\"; do_ status; do_ audit verify; do_ run -- true; ls -A \"$AT/root/cells\" >&2"
    );
    let output = with_mounts(&lab, &script);
    let said = codes_and_envelopes(&output);
    assert_eq!(said.len(), 7, "{said:?}");
    for (code, envelope) in &said[1..4] {
        assert!([REFUSED, INTERNAL].contains(code), "{code} {envelope}");
        is_failure(envelope.as_bytes(), *code, "full", "a disk that filled up");
    }
    for (code, envelope) in [&said[0], &said[4], &said[5], &said[6]] {
        assert_eq!(*code, 0, "{envelope}");
    }
    assert_eq!(String::from_utf8_lossy(&output.stderr), "", "nothing is left in cells/");
    nothing_is_left(&lab, "full");
}

#[test]
fn registries() {
    let broken = |name: &str, names: &str, breaks: fn(&Path)| {
        let lab = Lab::new();
        let _ = lab.json(&["status"]).exits(0);
        let cell = lab.summon(&["scribe", "p"]);
        let _ = lab.json(&["destroy", &cell]).exits(0);
        let path = lab.root().join("registry.db");
        // What is not in the file yet.
        rusqlite::Connection::open(&path).and_then(|db| db.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))).expect(name);
        breaks(&path);
        for args in [&["status"][..], &["summon", "scribe", "p"], &["run", "--", "true"], &["destroy", &cell], &["audit", "verify"]] {
            refuses(&lab, args, INTERNAL, names);
        }
    };
    broken("newer", "newer Lazarus", |path| {
        rusqlite::Connection::open(path).and_then(|db| db.pragma_update(None, "user_version", 99)).expect("changed");
    });
    broken("foreign", "not of Lazarus", |path| {
        std::fs::remove_file(path).expect("removed");
        rusqlite::Connection::open(path).and_then(|db| db.execute_batch("CREATE TABLE recipes (name TEXT)")).expect("made");
    });
    broken("no database", "damaged", |path| {
        std::fs::write(path, "this is no database, and it is long enough to tell\n".repeat(100)).expect("written")
    });
    broken("torn", "damaged", |path| {
        let mut bytes = std::fs::read(path).expect("read");
        // Everything behind the first page.
        bytes[4096..].fill(0xa5);
        std::fs::write(path, bytes).expect("written");
    });
    broken("a directory", "not a regular file", |path| {
        std::fs::remove_file(path).expect("removed");
        std::fs::create_dir(path).expect("made");
    });
    broken("a link", "not a regular file", |path| {
        std::fs::rename(path, path.with_extension("moved")).expect("moved");
        std::os::unix::fs::symlink(path.with_extension("moved"), path).expect("linked");
    });
}

#[test]
fn definitions() {
    let lab = Lab::new();
    lab.file("scribe.wat", guests::says("x", 0));
    let wrong = "0".repeat(64);
    let cases: Vec<(String, &str)> = vec![
        ("[agent]\nname = \"scribe\"\ncomand = [\"true\"]\n".into(), "agent.toml:3:1: "),
        ("[agent]\nname = \"scribe\"\ncomand = [\"true\"]\n".into(), "did you mean `command`?"),
        ("[agent]\nname = \"scribe\"\n[grant]\nread = []\n".into(), "did you mean `grants`?"),
        ("[agent]\nname = \"scribe\"\n[limits]\nmemroy = \"1MiB\"\n".into(), "did you mean `memory`?"),
        ("[agent]\nname = \"scribe\"\n[limits]\nmemory = \"lots\"\n".into(), "agent.toml:4:"),
        ("[agent]\nname = \"scribe\"\n[limits]\nmemory = 0\n".into(), "zero"),
        ("[agent]\nname = \"../scribe\"\n".into(), "../scribe"),
        ("[agent]\n".into(), "name"),
        ("name = \"scribe\"\n".into(), "agent.toml:1:1: "),
        ("[agent]\nname = scribe\n".into(), "agent.toml:2:"),
        ("[agent]\nname = \"scribe\"\ncommand = \"true\"\n".into(), "a list"),
        ("[agent]\nname = \"scribe\"\ncommand = []\n".into(), "names no program"),
        ("[agent]\nname = \"scribe\"\ncommand = [\"a\"]\ncomponent = \"scribe.wat\"\n".into(), "excludes"),
        ("[agent]\nname = \"scribe\"\ncomponent = \"missing.wasm\"\n".into(), "missing.wasm"),
        (format!("[agent]\nname = \"scribe\"\ncomponent = \"scribe.wat\"\nsha256 = \"{wrong}\"\n"), &wrong),
        ("[agent]\nname = \"scribe\"\ncomponent = \"scribe.wat\"\nsha256 = \"abc\"\n".into(), "64 hexadecimal digits"),
        ("[agent]\nname = \"scribe\"\n[grants]\nenv = { HOME = \"/root\" }\n".into(), "HOME"),
        ("[agent]\nname = \"scribe\"\n[grants]\nhttp = [\"https://example.org/\"]\n".into(), "broker"),
        ("[agent]\nname = \"scribe\"\n[grants]\nmounts = [{ host = \"x\", guest = \"/a/../b\" }]\n".into(), "/a/../b"),
        ("\u{0}".into(), "agent.toml"),
    ];
    for (toml, names) in &cases {
        let file = lab.file("agent.toml", toml);
        refuses(&lab, &["agent", "add", str(&file)], REFUSED, names);
    }
    let not_text = lab.file("agent.toml", b"\xff\xfe[agent]");
    refuses(&lab, &["agent", "add", str(&not_text)], REFUSED, "UTF-8");
    refuses(&lab, &["agent", "add", "not-there.toml"], REFUSED, "not-there.toml");
    refuses(&lab, &["agent", "add", str(&lab.work())], REFUSED, "not a regular file");
    let large = lab.file("agent.toml", " ".repeat(65 * 1024));
    refuses(&lab, &["agent", "add", str(&large)], REFUSED, "agent.toml");
    let listed = lab.json(&["agent", "list"]).exits(0).json();
    assert!(listed["agents"].as_array().is_some_and(Vec::is_empty), "{listed}");
    assert_eq!(std::fs::read_dir(lab.root().join("agents")).expect("read").count(), 0, "nothing is half installed");
}

#[test]
fn a_component_that_was_changed_after_it_was_installed() {
    let lab = Lab::new();
    lab.file("scribe.wat", guests::says("x", 0));
    let file = lab.file("agent.toml", "[agent]\nname = \"scribe\"\ncomponent = \"scribe.wat\"\n");
    let _ = lab.json(&["agent", "add", str(&file)]).exits(0);
    let installed = lab.root().join("agents/scribe");
    let mut changed = 0;
    for entry in std::fs::read_dir(&installed).expect("read") {
        let path = entry.expect("read").path();
        if path.extension().is_some_and(|kind| kind != "toml" && kind != "json") || path.ends_with("component") {
            std::fs::write(&path, guests::says("y", 0)).expect("written");
            changed += 1;
        }
    }
    assert_eq!(
        changed,
        1,
        "{:?}",
        std::fs::read_dir(&installed).expect("read").flatten().map(|entry| entry.file_name()).collect::<Vec<_>>()
    );
    refuses(&lab, &["summon", "scribe", "p"], REFUSED, "scribe");
}
