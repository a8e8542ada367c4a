//! Why: the rule that `lazarus why` names is the one that holds. Each answer is compared with what the agent itself finds, from within.

use std::{fs, path::Path};

use lazarus::{
    cell::Role,
    mail::{CallKind, may},
};
use lazarus_tests::{
    Lab,
    built::guest,
    guests,
    lab::{text, wait_until},
};
use serde_json::Value;

const REFUSED: i32 = 1;
const NOT_FOUND: i32 = 3;

fn why(lab: &Lab, cell: &str, subject: &str) -> Value {
    let answer = lab.json(&["why", cell, subject]).exits(0).json();
    assert_eq!((&answer["cell_id"], &answer["subject"]), (&Value::from(cell), &Value::from(subject)), "{answer}");
    assert!(!text(&answer["message"]).is_empty(), "{answer}");
    answer
}

#[track_caller]
fn path_is(answer: &Value, read: bool, write: bool, rules: &[&str]) {
    assert_eq!(
        (&answer["kind"], &answer["read"]["allowed"], &answer["write"]["allowed"]),
        (&"path".into(), &read.into(), &write.into()),
        "{answer}"
    );
    for rule in rules {
        assert!(text(&answer["read"]["rule"]).contains(rule) || text(&answer["write"]["rule"]).contains(rule), "{rule}: {answer}");
    }
    for ruling in ["read", "write"] {
        assert!(text(&answer[ruling]["enforcer"]).contains("landlock"), "{answer}");
    }
}

#[track_caller]
fn call_is(answer: &Value, allowed: bool, rule: &str, enforcer: &str) {
    assert_eq!(answer["allowed"], allowed, "{answer}");
    assert!(text(&answer["rule"]).contains(rule), "{rule}: {answer}");
    assert!(text(&answer["enforcer"]).contains(enforcer), "{enforcer}: {answer}");
}

/// Tells of each path whether it can be read and written to, from within: `PATH r w`, `PATH - -`.
const TRIES: &str = r#"
for path in "$@"; do
  r=-; w=-
  if [ -d "$path" ]; then
    ls "$path" >/dev/null 2>&1 && r=r
    ( : > "$path/.try" ) 2>/dev/null && { w=w; rm -f "$path/.try"; }
  else
    ( : < "$path" ) 2>/dev/null && r=r
    ( : >> "$path" ) 2>/dev/null && w=w
  fi
  echo "$path $r $w"
done
echo end
exec sleep 1000
"#;

#[test]
fn of_a_process_agent_every_answer_is_what_it_finds() {
    let lab = Lab::new();
    let (notes, out) = (lab.file("project/notes.txt", "x"), lab.file("out/x", "x"));
    let mounts = [format!("{}:/project", dir(&notes)), format!("{}:/out:rw", dir(&out))];
    let paths: Vec<String> = [
        "/project",
        "/project/notes.txt",
        "/out",
        "/out/x",
        "/shared",
        "/tmp",
        "/dev/shm",
        "/dev/null",
        "/etc/passwd",
        "/etc/shadow",
        "/etc/hostname",
        "/usr",
        "/usr/bin/env",
        "/bin/sh",
        "/proc",
        "/proc/self/status",
        "/proc/1/status",
        "/proc/1/environ",
        "/proc/1/fd",
        "/proc/cpuinfo",
        "/proc/sys/kernel/ostype",
        "/proc/vmallocinfo",
        "/proc/keys",
        "/proc/cmdline",
        "/proc/driver",
        "/proc/bus",
        "/root",
        "/",
        "/run/lazarus",
        "/sys",
        "/dev",
        "/nothing",
        "/etc",
        "/etc/group",
        "/etc/ssl",
        "/home",
    ]
    .iter()
    .map(ToString::to_string)
    .collect();
    let mut args = vec!["scribe", "p", "--mount", &mounts[0], "--mount", &mounts[1], "--", "/bin/sh", "-c", TRIES, "sh"];
    args.extend(paths.iter().map(String::as_str));
    let cell = lab.summon(&args);
    wait_until("it has tried everything", || lab.logs(&cell).lines().any(|line| line.ends_with("| end")));
    let logs = lab.logs(&cell);
    let home = text(&lab.cell(&cell)["cell"]["hermes_home"]);
    for path in &paths {
        let found =
            logs.lines().find_map(|line| line.strip_prefix(&format!("scribe | {path} "))).unwrap_or_else(|| panic!("{path}: {logs}"));
        let answer = why(&lab, &cell, path);
        let said = |which: &str| answer[which]["allowed"] == true;
        assert_eq!(
            found,
            format!("{} {}", if said("read") { "r" } else { "-" }, if said("write") { "w" } else { "-" }),
            "{path}: {answer}"
        );
    }
    path_is(
        &why(&lab, &cell, "/project/notes.txt"),
        true,
        false,
        &[&format!("mount {} at /project (ro)", dir(&notes)), "that mount is read-only"],
    );
    path_is(&why(&lab, &cell, &home), true, true, &["its home"]);
    path_is(&why(&lab, &cell, "/usr/lib"), true, false, &["the system's own programs"]);
    path_is(&why(&lab, &cell, &dir(&notes)), true, true, &["; what the machine calls that, the agent sees at /project"]);
    // The lab is below the machine's /tmp, which is not the agent's.
    path_is(&why(&lab, &cell, &lab.root().join("registry.db").display().to_string()), true, true, &["nothing of the machine's is in it"]);
    path_is(&why(&lab, &cell, "/run/lazarus/cell.sock"), true, true, &["leads to the warden and nowhere else"]);
    let people = lab.run(&["why", &cell, "/project/notes.txt"]).exits(0).stdout;
    assert!(people.contains("read: allowed by mount ") && people.contains("write: denied: that mount is read-only"), "{people}");
    let sentence = lab.json(&["why", &cell, "/project/notes.txt", "--write"]).exits(0).message();
    assert!(sentence.contains("write: denied: that mount is read-only"), "{sentence}");
    for host in ["example.com", "example.com:443", "10.0.0.1", "[::1]:80", "https://example.com/x", "localhost:1"] {
        let answer = why(&lab, &cell, host);
        assert_eq!(answer["kind"], "host");
        call_is(&answer, false, "grants no network", "seccomp");
        call_is(&answer, false, "its cell's own talk (/run/lazarus/cell.sock)", "namespace");
    }
    for (call, allowed, rule, enforcer) in [
        ("send", true, "write to every member", "warden"),
        ("lazarus:cell/mailbox.send", true, "write to every member", "warden"),
        ("invite", false, "invite: only a director may", "warden"),
        ("log", true, "standard output", "warden"),
        ("ptrace", false, "it fails with EPERM", "seccomp"),
        ("mount", false, "it fails with EPERM", "seccomp"),
        ("io_uring_setup", false, "it fails with EPERM", "seccomp"),
        ("socket", true, "UNIX stream sockets alone", "seccomp"),
        ("connect", true, "is held, and leads to its own cell's talk", "seccomp"),
        ("close", false, "close: only a director may", "warden"),
        ("close(2)", true, "is let pass", "seccomp"),
        ("chdir(2)", true, "is let pass: a process agent's list has what is refused, and not this", "seccomp"),
        ("getppid", true, "is let pass", "seccomp"),
        ("wasi:sockets/tcp", false, "imports nothing", "seccomp"),
    ] {
        let answer = why(&lab, &cell, call);
        assert_eq!(answer["kind"], "call", "{answer}");
        call_is(&answer, allowed, rule, enforcer);
    }
    // Closed and failed cells are answered about as well, destroyed ones are not.
    let _ = lab.run(&["close", &cell]).exits(0);
    path_is(&why(&lab, &cell, "/project/notes.txt"), true, false, &["that mount is read-only"]);
    let _ = lab.run(&["destroy", &cell]).exits(0);
    let gone = lab.json(&["why", &cell, "/project"]).exits(REFUSED).message();
    assert!(gone.contains("it is destroyed, and its policy with it"), "{gone}");
}

fn dir(file: &Path) -> String {
    file.parent().unwrap_or_else(|| panic!("{file:?}")).display().to_string()
}

#[test]
fn of_a_wasm_agent_answers_are_in_its_own_paths() {
    let lab = Lab::new();
    let notes = lab.file("project/notes.txt", "x");
    lab.file("waits.wat", guests::WAITS_FOR_INPUT);
    let mount = format!("{}:/project:ro", dir(&notes));
    let cell = lab.summon(&["scribe", "p", "--component", "waits.wat", "--mount", &mount]);
    let home = text(&lab.cell(&cell)["cell"]["hermes_home"]);
    path_is(&why(&lab, &cell, "/home/x"), true, true, &["its home"]);
    path_is(&why(&lab, &cell, "/shared"), true, true, &["its role (executor)"]);
    path_is(&why(&lab, &cell, "/project/notes.txt"), true, false, &["mount ", "at /project (ro)", "that mount is read-only"]);
    path_is(&why(&lab, &cell, &home), false, false, &["the agent sees at /home"]);
    for path in ["/", "/etc/passwd", "/usr", "/tmp", "/proc", "/dev/null", "/projects", "/run/lazarus/cell.sock"] {
        path_is(&why(&lab, &cell, path), false, false, &["nothing that it was granted contains it"]);
    }
    assert!(text(&why(&lab, &cell, "/home")["read"]["enforcer"]).starts_with("wasm"));
    call_is(&why(&lab, &cell, "10.0.0.1"), false, "grants no network", "wasm");
    call_is(&why(&lab, &cell, "fd_write"), true, "needs nothing", "wasm");
    call_is(&why(&lab, &cell, "sock_send"), false, "finds every network closed", "wasm");
    call_is(&why(&lab, &cell, "wasi:http/outgoing-handler"), false, "does not provide", "wasm");
    call_is(&why(&lab, &cell, "send"), false, "a core module is given nothing of lazarus:cell", "wasm");
    call_is(&why(&lab, &cell, "ptrace"), false, "the process is ended", "seccomp");
    // What its host may make is a list of what is needed: a call that it does not name is refused.
    call_is(&why(&lab, &cell, "chdir(2)"), false, "it is not on the list of its host", "seccomp");
    call_is(&why(&lab, &cell, "read(2)"), true, "is let pass by the list of its host", "seccomp");
    // A module is given preview 1, a component WASI 0.2 and what else has interfaces; each is told of the other kind.
    call_is(&why(&lab, &cell, "wasi_snapshot_preview1"), true, "is given", "wasm");
    call_is(&why(&lab, &cell, "wasi_snapshot_preview1::nothing"), false, "does not provide", "wasm");
    for interface in ["wasi:filesystem/types", "wasi:sockets/tcp", "wasi:filesystem", "lazarus:cell/mailbox"] {
        call_is(&why(&lab, &cell, interface), false, "is given only to components, and this is a core module", "wasm");
    }
    let _ = lab.run(&["destroy", &cell]).exits(0);
    let cell = lab.summon(&["scribe", "p", "--component", &guest("scribe").display().to_string()]);
    for import in ["fd_write", "wasi_snapshot_preview1", "wasi_snapshot_preview1::path_open"] {
        call_is(&why(&lab, &cell, import), false, "is given only to core modules (preview 1), and this is a component", "wasm");
    }
    call_is(&why(&lab, &cell, "wasi:filesystem"), true, "is given", "wasm");
    for (version, allowed, rule) in [
        ("0.1.0", true, "needs a role"),
        ("0.1.9", true, "needs a role"),
        ("9.9.9", false, "not run in that version"),
        ("0.1.0-rc.1", false, "version"),
    ] {
        call_is(&why(&lab, &cell, &format!("lazarus:cell/cell@{version}")), allowed, rule, "wasm");
        lab.file("of.wat", format!("(component (import \"lazarus:cell/cell@{version}\" (instance)) (instance $i) (export \"lazarus:cell/agent@0.1.0\" (instance $i)))"));
        let told = lab.json(&["agent", "check", "of.wat"]).exits(REFUSED).message();
        assert_eq!(told.contains("it was built for lazarus:cell"), !allowed, "{version}: {told}");
    }
    call_is(&why(&lab, &cell, "wasi:io/poll@0.2.99"), true, "needs nothing", "wasm");
    call_is(&why(&lab, &cell, "wasi:io/poll@0.20.0"), false, "does not provide", "wasm");
    let _ = lab.run(&["destroy", &cell]).exits(0);
}

#[test]
fn questions_that_make_no_sense_say_how_to_ask() {
    let lab = Lab::new();
    let team = text(&lab.json(&["team", "one+two", "p"]).exits(0).json()["cell_id"]);
    let refused = lab.json(&["why", &team, "/home"]).exits(REFUSED).message();
    assert!(refused.contains("--agent: one, two"), "{refused}");
    let _ = lab.json(&["why", &team, "/home", "--agent", "three"]).exits(NOT_FOUND);
    let answer = lab.json(&["why", &team, "/shared", "--agent", "two"]).exits(0).json();
    assert_eq!(answer["agent"], "two");
    for (subject, says) in [
        ("project/x", "a path starts with '/'"),
        ("../x", "a path starts with '/'"),
        ("~/x", "a path starts with '/'"),
        ("/a/../b", "'..' parts"),
        ("/a//b", "empty, '.' or '..' parts"),
        ("word", "system calls such as ptrace or close(2)"),
        ("", "no path, host or call"),
        ("\u{1b}[2J", "control characters"),
        ("example.com:99999", "no host"),
        ("nonsense(2)", "no system call of Linux"),
        ("lazarus:cell/mailbox.destroy", "nothing of lazarus:cell"),
    ] {
        let refused = lab.json(&["why", &team, subject, "--agent", "one"]).exits(REFUSED).message();
        assert!(refused.contains(says), "{subject:?}: {refused}");
    }
    let _ = lab.json(&["why", "laz-00000000", "/home"]).exits(NOT_FOUND);
    let _ = lab.json(&["why", "nonsense", "/home"]).exits(NOT_FOUND);
    let _ = lab.run(&["destroy", &team]).exits(0);
    // A cell that never became active has nothing that was applied.
    let _ = lab.json(&["summon", "scribe", "p", "--", "/no/such/program"]).exits(REFUSED);
    let failed = text(&lab.json(&["status", "--all"]).exits(0).json()["active_cells"][0]["cell_id"]);
    let refused = lab.json(&["why", &failed, "/home"]).exits(REFUSED).message();
    assert!(refused.contains(&failed), "{refused}");
}

/// Makes every call of the cell, and prints what came of each: `CALL: answer` in one line.
const CALLS: &str = r#"
call() { name=$1; shift; said=$(lazarus --json cell "$@" 2>&1); echo "$name: $said"; }
call me me
call members members
call send send agent:lead hello
call reply reply --to msg-00000000000000000000000000000000 hello
call receive recv
call history history
call invite invite bot:nobody observer
call audit audit
call beat beat
call declare artifact workspace/nothing nothing
[ "$LAZARUS_ROLE" = director ] || call close close
echo end
exec sleep 1000
"#;

#[test]
fn a_guest_is_told_the_very_sentence_that_why_names() {
    let lab = Lab::new();
    for name in ["lead", "watcher", "checker", "worker"] {
        let definition = format!("[agent]\nname = \"{name}\"\ncommand = [\"/bin/sh\", \"-c\", {CALLS:?}]\n[grants]\nclient = true\n");
        lab.file(&format!("{name}.toml"), definition);
        let _ = lab.run(&["agent", "add", &format!("{name}.toml")]).exits(0);
    }
    let cell = lab.summon(&["worker", "p"]);
    for (name, role) in [("lead", "director"), ("watcher", "observer"), ("checker", "auditor")] {
        let _ = lab.run(&["invite", &cell, &format!("agent:{name}"), role]).exits(0);
    }
    let mut refused = 0;
    for agent in ["worker", "lead", "watcher", "checker"] {
        let said = || lab.run(&["logs", &cell, agent]).exits(0).stdout;
        wait_until(&format!("{agent} has made its calls"), || said().lines().any(|line| line.ends_with("| end")));
        for call in ["me", "members", "send", "reply", "receive", "history", "invite", "audit", "beat", "declare", "close"] {
            let said = said();
            let Some(told) = said.lines().find_map(|line| line.strip_prefix(&format!("{agent} | {call}: "))) else {
                assert!(agent == "lead" && call == "close", "{agent} {call}: {said}");
                continue;
            };
            let told: Value = serde_json::from_str(told).unwrap_or_else(|error| panic!("{agent} {call}: {error}: {told}"));
            let answer = lab.json(&["why", &cell, call, "--agent", agent]).exits(0).json();
            let of_its_role = told["success"] == false && told["hint"].as_str().is_some_and(|hint| hint.starts_with("it needs role "));
            assert_eq!(answer["allowed"], !of_its_role, "{agent} {call}: {answer} {told}");
            if of_its_role {
                refused += 1;
                assert_eq!(answer["rule"], told["message"], "{agent} {call}");
            }
        }
    }
    // invite, audit and close of the executor and the observer; of the auditor all but reading.
    assert_eq!(refused, 3 + 3 + 6, "each refusal was met");
    let _ = lab.run(&["destroy", &cell, "--force"]).exits(0);
    assert_eq!(fs::read_dir(lab.root().join("cells")).expect("read").count(), 0);
}

#[test]
fn the_double_of_the_sdk_refuses_in_the_same_words() {
    let double = concat!(env!("CARGO_MANIFEST_DIR"), "/../guest-sdk/src/testing");
    let files =
        fs::read_dir(double).expect("the double is there").map(|entry| fs::read_to_string(entry.expect("read").path()).expect("read"));
    let sources: String = files.collect();
    let mut sentences = 0;
    for role in Role::ALL {
        for call in CallKind::ALL {
            if let Err(refusal) = may(role, *call) {
                // What the double does not have, an agent that is tested against it cannot be refused.
                let sentence = refusal.message.strip_prefix(&format!("{}: ", call.as_str())).expect("begins with the call");
                assert!(sources.contains(sentence), "{role} {}: {}", call.as_str(), refusal.message);
                sentences += 1;
            }
        }
    }
    assert_eq!(sentences, 3 + 3 + 6);
}
