//! `lazarus run`, from end to end: the program's own streams and exit code, and nothing left afterwards.

use std::{
    fs::File,
    io::{Read, Write},
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use lazarus_tests::{
    Lab, guests,
    lab::{text, wait_until},
};

/// More than fits into any pipe or buffer on the way, many times over.
const MUCH: usize = 64 * 1024 * 1024;

/// The arguments that run a WebAssembly file.
fn wasm(path: &Path) -> [&str; 2] {
    ["run", path.to_str().expect("utf-8")]
}

/// Asserts that nothing is left of a run: no directory, no process, and the cells of the registry are destroyed.
#[track_caller]
fn nothing_is_left(lab: &Lab) {
    let all = lab.json(&["status", "--all"]).exits(0).json();
    for cell in all["active_cells"].as_array().expect("a list") {
        assert_eq!(text(&cell["state"]), "destroyed", "{cell}");
    }
    assert!(lab.cell_dirs().is_empty(), "{:?}", lab.cell_dirs());
    assert!(lab.processes().is_empty(), "{:?}", lab.processes());
}

/// Bytes without a pattern that a buffer's size could hide in: xorshift64*.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        bytes.extend_from_slice(&state.wrapping_mul(0x2545_f491_4f6c_dd1d).to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

/// Feeds a command, collects what it says, and compares byte for byte.
#[track_caller]
fn copies(mut command: Command, input: Vec<u8>) {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("started");
    let mut stdin = child.stdin.take().expect("piped");
    let sent = input.clone();
    let writer = std::thread::spawn(move || stdin.write_all(&sent));
    let output = child.wait_with_output().expect("waited for");
    writer.join().expect("no panic").expect("everything was read");
    assert!(output.status.success(), "{}: {}", output.status, String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.stdout.len(), input.len());
    assert!(output.stdout == input, "a byte differs");
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_process_passes_64_mib_through() {
    let lab = Lab::new();
    copies(lab.command(&["run", "--", "cat"]), noise(MUCH));
    nothing_is_left(&lab);
}

#[test]
fn a_wasm_program_passes_64_mib_through() {
    let lab = Lab::new();
    let guest = lab.file("copies.wat", guests::COPIES);
    copies(lab.command(&wasm(&guest)), noise(MUCH));
    nothing_is_left(&lab);
}

#[test]
fn exit_codes_are_the_programs_own() {
    let lab = Lab::new();
    for code in [0, 7, 255] {
        let process = lab.run(&["run", "--", "/bin/sh", "-c", &format!("echo out; echo err >&2; exit {code}")]).exits(code);
        assert_eq!((process.stdout.as_str(), process.stderr.as_str()), ("out\n", "err\n"));
        let guest = lab.file(&format!("says-{code}.wat"), guests::says("out", u32::try_from(code).expect("small")));
        let wasm = lab.run(&wasm(&guest)).exits(code);
        assert_eq!((wasm.stdout.as_str(), wasm.stderr.as_str()), ("out\n", ""));
        nothing_is_left(&lab);
    }
    // As shells say it.
    let _ = lab.run(&["run", "--", "/bin/sh", "-c", "kill -9 $$"]).exits(128 + 9);
    nothing_is_left(&lab);
}

#[test]
fn what_cannot_run_is_said_and_leaves_nothing() {
    let lab = Lab::new();
    let traps = lab.file("traps.wat", guests::TRAPS);
    let trapped = lab.run(&wasm(&traps)).exits(1);
    assert!(trapped.stderr.contains("unreachable"), "{}", trapped.stderr);
    let missing = lab.run(&["run", "--", "/no/such/program"]).exits(1);
    assert!(missing.stderr.contains("/no/such/program"), "{}", missing.stderr);
    for outcome in [trapped, missing] {
        assert_eq!(outcome.stderr.lines().filter(|line| line.starts_with("error: ")).count(), 1, "{}", outcome.stderr);
    }
    let _ = lab.run(&["run"]).exits(2);
    let _ = lab.run(&["run", "./not-there.wasm"]).exits(1);
    nothing_is_left(&lab);
}

#[test]
fn time_runs_out() {
    let lab = Lab::new();
    let spins = lab.file("spins.wat", guests::SPINS);
    let sleeps = lab.file("sleeps.wat", guests::SLEEPS);
    let [spins, sleeps] = [spins, sleeps].map(|path| path.to_str().expect("utf-8").to_owned());
    let runs: [&[&str]; 4] = [
        &["run", "--timeout", "1s", "--", "sleep", "1000"],
        &["run", "--timeout", "1s", "--", "/bin/sh", "-c", "trap '' TERM INT; setsid sleep 1000 & while :; do sleep 1; done"],
        &["run", "--timeout", "1s", &spins],
        &["run", "--timeout", "1s", &sleeps],
    ];
    for args in runs {
        let start = Instant::now();
        let ended = lab.run(args).exits(1);
        assert!(ended.stderr.contains("longer than 1s"), "{args:?}: {}", ended.stderr);
        assert!(start.elapsed() < Duration::from_secs(20), "{args:?}: {:?}", start.elapsed());
        nothing_is_left(&lab);
    }
}

#[test]
fn arguments_come_after_two_dashes() {
    let lab = Lab::new();
    let odd = ["--json", "a b", "", "--", "-x", "ä$HOME"];
    let mut args = vec!["run", "--", "printf", "[%s]\\n"];
    args.extend(odd);
    assert_eq!(lab.run(&args).exits(0).stdout, odd.map(|arg| format!("[{arg}]\n")).concat());
    let tells = lab.file("tells.wat", guests::TELLS);
    let mut args = wasm(&tells).to_vec();
    args.push("--");
    args.extend(odd);
    assert_eq!(lab.run(&args).exits(0).stdout, format!("tells.wat\n{}", odd.map(|arg| format!("{arg}\n")).concat()));
    nothing_is_left(&lab);
}

#[test]
fn a_bare_run_has_what_the_command_line_names() {
    let lab = Lab::new();
    lab.file("first/file", "first\n");
    lab.file("second/file", "second\n");
    let tells = lab.file("tells.wat", guests::TELLS);
    let tells = tells.to_str().expect("utf-8");
    let bare = lab.run(&["run", "--bare", "--env", "ONLY=this", tells, "--", "one"]).exits(0);
    assert_eq!((bare.stdout.as_str(), bare.stderr.as_str()), ("tells.wat\none\n", "ONLY=this\n"));
    let none = lab.run(&["run", "--bare", tells]).exits(0);
    assert_eq!(none.stderr, "");
    let prints = lab.file("prints.wat", guests::prints_file("file"));
    let prints = prints.to_str().expect("utf-8");
    // The first mount is the first preopened directory, also at /.
    let [one, two] = ["first:/", "second:/also"];
    assert_eq!(lab.run(&["run", "--bare", "--mount", one, "--mount", two, prints]).exits(0).stdout, "first\n");
    let [one, two] = ["first:/also", "second:/"];
    assert_eq!(lab.run(&["run", "--bare", "--mount", two, "--mount", one, prints]).exits(0).stdout, "second\n");
    // Without a mount there is no descriptor 3: EBADF.
    let _ = lab.run(&["run", "--bare", prints]).exits(8);
    let process = lab.run(&["run", "--bare", "--env", "ONLY=this", "--", "/usr/bin/env"]).exits(0);
    assert_eq!(process.stdout, "ONLY=this\n");
    nothing_is_left(&lab);
}

/// Starts a command, and waits until its program has said that it runs.
fn started(lab: &Lab, args: &[&str]) -> Child {
    let mut child = lab.command(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("started");
    let mut said = [0; 1];
    child.stdout.as_mut().expect("piped").read_exact(&mut said).expect("the program says something");
    child
}

fn pid(child: &Child) -> rustix::process::Pid {
    rustix::process::Pid::from_child(child)
}

/// A program on each backend that says one byte and then stays, with a descendant where it can have one.
fn that_stay(lab: &Lab) -> Vec<Vec<String>> {
    let process = ["run", "--", "/bin/sh", "-c", "setsid sleep 1000 & echo; while :; do sleep 1; done"].map(str::to_owned);
    let guest = lab.file("stays.wat", guests::says_and_sleeps(""));
    vec![process.to_vec(), wasm(&guest).map(str::to_owned).to_vec()]
}

/// Sends signals to a run, and asserts that it ends, not well, and leaves nothing.
#[track_caller]
fn ends_by(lab: &Lab, args: &[String], signals: &[rustix::process::Signal], within: Duration) {
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let mut child = started(lab, &args);
    let start = Instant::now();
    for signal in signals {
        rustix::process::kill_process(pid(&child), *signal).expect("it lives");
        // The same signal twice at once is one signal.
        std::thread::sleep(Duration::from_millis(100));
    }
    let status = child.wait().expect("waited for");
    assert!(!status.success(), "{args:?}, {signals:?}: {status}");
    assert!(start.elapsed() < within, "{args:?}, {signals:?}: {:?}", start.elapsed());
    nothing_is_left(lab);
}

#[test]
fn a_signal_ends_the_program() {
    use rustix::process::Signal;
    let lab = Lab::new();
    let runs = that_stay(&lab);
    for signal in [Signal::INT, Signal::TERM, Signal::HUP] {
        ends_by(&lab, &runs[0], &[signal], Duration::from_secs(4));
    }
    // A program that does not hear its input's end gets its grace; whoever signals again does not wait for that.
    ends_by(&lab, &runs[1], &[Signal::INT], Duration::from_secs(15));
    ends_by(&lab, &runs[1], &[Signal::INT, Signal::INT], Duration::from_secs(4));
}

#[test]
fn a_killed_run_leaves_nothing_for_the_next_command_to_find() {
    let lab = Lab::new();
    for args in that_stay(&lab) {
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let mut child = started(&lab, &args);
        assert_eq!(lab.cell_dirs().len(), 1);
        child.kill().expect("it lives");
        let _ = child.wait().expect("waited for");
        wait_until("its program died with it", || lab.processes().is_empty());
        let _ = lab.json(&["status"]).exits(0);
        nothing_is_left(&lab);
    }
}

/// A shell that controls its jobs, on a terminal of its own, with the program's path in `$L`.
fn on_a_terminal(lab: &Lab, script: &str) -> (File, Child) {
    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a terminal");
    grantpt(&master).and_then(|()| unlockpt(&master)).expect("granted");
    let slave = ptsname(&master, Vec::new()).expect("its name");
    let slave = File::options().read(true).write(true).open(slave.to_str().expect("utf-8")).expect("opened");
    let run = lab.command(&[]);
    let mut shell = Command::new("setsid");
    shell.args(["--ctty", "--wait", "bash", "-m", "-c", script]).env_clear().current_dir(lab.work());
    shell.envs(run.get_envs().filter_map(|(name, value)| value.map(|value| (name, value)))).env("L", run.get_program());
    let copy = || Stdio::from(slave.try_clone().expect("copied"));
    let child = shell.stdin(copy()).stdout(copy()).stderr(copy()).spawn().expect("started");
    (File::from(master), child)
}

/// Types something once the agent, whose output goes to the file `out`, is ready; returns what it and the shell wrote in the end.
fn typed(lab: &Lab, script: &str, keys: &[u8]) -> [String; 2] {
    let read = |name: &str| std::fs::read_to_string(lab.work().join(name)).unwrap_or_default();
    let (mut terminal, mut shell) = on_a_terminal(lab, script);
    wait_until("the agent is ready", || read("out").contains("ready"));
    terminal.write_all(keys).expect("typed");
    wait_until("the shell ends", || shell.try_wait().expect("looked").is_some());
    ["out", "shell"].map(read)
}

#[test]
fn what_is_typed_for_the_shell_is_not_the_agents() {
    let lab = Lab::new();
    // Its outputs lead to the terminal as well, and are open for reading where somebody else opened them.
    for stream in [0, 2] {
        lab.file("out", "");
        let agent = format!("\"$L\" run -- sh -c 'echo ready; exec cat <&{stream}' > out & ");
        let script = agent + "read line; echo \"$line\" > shell; wait";
        assert_eq!(typed(&lab, &script, b"typed\n"), ["ready\n", "typed\n"], "{stream}");
    }
    nothing_is_left(&lab);
}

#[test]
fn what_is_typed_in_the_foreground_is_the_agents_and_the_terminal_does_not_stop_it() {
    let lab = Lab::new();
    let script = "\"$L\" run -- sh -c 'echo ready; exec cat' > out; echo \"$?\" > shell";
    assert_eq!(typed(&lab, script, b"\x1atyped\n\x04"), ["ready\ntyped\n", "0\n"]);
    nothing_is_left(&lab);
}

#[test]
fn the_files_of_its_streams_are_not_the_programs_to_change() {
    use std::os::unix::fs::MetadataExt;
    let lab = Lab::new();
    for (input, output) in [("in", "out"), ("in", "/dev/null"), ("/dev/null", "out")] {
        for name in ["in", "out"] {
            lab.file(name, "x");
        }
        let (input, output) = (lab.work().join(input), lab.work().join(output));
        let marks =
            |path: &Path| std::fs::metadata(path).map(|meta| (meta.mode(), meta.uid(), meta.mtime(), meta.mtime_nsec())).expect("there");
        let before = [marks(&input), marks(&output)];
        let script = "chmod 612 /dev/stdin; chmod 612 /proc/self/fd/1; touch -d 1999-01-01 /dev/stdin 2>&1; \
                      touch /tmp/own && chmod 612 /tmp/own && test $(stat -c %a /tmp/own) = 612";
        let mut command = lab.command(&["run", "--", "sh", "-c", script]);
        let into = File::options().append(true).open(&output).expect("opened");
        let status = command.stdin(File::open(&input).expect("opened")).stdout(into).stderr(Stdio::piped()).status().expect("ran");
        assert!(status.success(), "its own files are: {status}");
        let after = [marks(&input), marks(&output)];
        // What it said was appended.
        assert_eq!((before[0], before[1].0, before[1].1), (after[0], after[1].0, after[1].1), "{} {}", input.display(), output.display());
    }
    let mut command = lab.command(&["run", "--", "true"]);
    let refused = command.stdin(File::open(lab.work()).expect("opened")).output().expect("ran");
    assert_eq!(refused.status.code(), Some(2), "{refused:?}");
    assert!(String::from_utf8_lossy(&refused.stderr).contains("standard input is a directory"), "{refused:?}");
    nothing_is_left(&lab);
}
