//! What impatient operators and hostile agents do, and what must come of it.

use std::{
    ffi::OsStr,
    os::unix::fs::PermissionsExt,
    time::{Duration, Instant},
};

use lazarus_tests::{
    Lab,
    lab::{text, wait_until},
    processes,
};
use rustix::process::{Pid, Signal, kill_process};

fn pid(value: &serde_json::Value) -> u32 {
    u32::try_from(value.as_u64().expect("a pid")).expect("a pid")
}

fn signal(pid: u32, signal: Signal) {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).expect("a pid");
    kill_process(pid, signal).expect("signalled");
}

#[test]
fn a_shell_that_exported_the_cell_id_survives_the_destroy() {
    let lab = Lab::new();
    let cell = lab.summon(&["scribe", "p"]);
    let mut editor = std::process::Command::new("sleep").arg("1000").env("LAZARUS_CELL", &cell).spawn().expect("started");
    let output = lab.command(&["--json", "destroy", &cell]).env("LAZARUS_CELL", &cell).output().expect("started");
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(processes::is_alive(editor.id()), "what the operator started with that variable is no agent");
    editor.kill().expect("killed");
    editor.wait().expect("waited for");
    assert_eq!(lab.state(&cell), "destroyed");
}

#[test]
fn no_file_becomes_set_user_id_by_an_agent() {
    let lab = Lab::new();
    let shared = lab.work().join("shared");
    std::fs::create_dir(&shared).expect("made");
    let mount = format!("{}:/rw:rw", shared.display());
    let run = |command: &str| lab.run(&["run", "--mount", &mount, "--", "sh", "-c", command]).code;
    assert_eq!(run("cp /bin/true /rw/t && chmod 0755 /rw/t"), 0, "the twin: any other mode");
    for mode in ["4755", "2755", "6755", "u+s", "g+s"] {
        assert_ne!(run(&format!("chmod {mode} /rw/t")), 0, "{mode}");
    }
    assert_ne!(run("perl -e 'use Fcntl; sysopen(F, \"/rw/new\", O_CREAT|O_WRONLY, 04755) or exit 1; chmod(04755, *F) or exit 1'"), 0);
    for entry in std::fs::read_dir(&shared).expect("read") {
        let mode = entry.expect("read").metadata().expect("there").permissions().mode();
        assert_eq!(mode & 0o6000, 0, "{mode:o}");
    }
}

#[test]
fn what_a_cell_shares_counts_against_its_limit() {
    let lab = Lab::new();
    let flood = "for i in 1 2 3 4; do head -c 900000 /dev/zero > /shared/flood$i; done; sleep 1000";
    let cell = lab.summon(&["scribe", "p", "--home", "1MiB", "--", "sh", "-c", flood]);
    lab.wait_for_state(&cell, "failed");
    let reason = lab.run(&["status", &cell]).exits(0).stdout;
    assert!(reason.contains("/shared holds more than 1 MiB"), "{reason}");
    let twin = lab.summon(&["scribe", "p", "--home", "8MiB", "--", "sh", "-c", flood]);
    std::thread::sleep(Duration::from_secs(6));
    assert_eq!(lab.state(&twin), "active");
    for cell in [cell, twin] {
        lab.json(&["destroy", &cell]).exits(0);
    }
}

#[test]
fn the_report_names_what_the_warden_itself_watches() {
    let lab = Lab::new();
    for backend in ["process", "wasm"] {
        let cell = lab.summon(&["scribe", "p", "--backend", backend, "--home", "5MiB", "--log", "3MiB"]);
        let explained = lab.run(&["explain", &cell]).exits(0).stdout;
        assert!(explained.contains("5 MiB in its home") && explained.contains("3 MiB of log"), "{backend}: {explained}");
        lab.json(&["destroy", &cell]).exits(0);
    }
}

#[test]
fn a_stopped_warden_does_not_hold_up_a_destroy() {
    let lab = Lab::new();
    for backend in ["process", "wasm"] {
        let cell = lab.summon(&["scribe", "p", "--backend", backend]);
        signal(pid(&lab.cell(&cell)["cell"]["warden"]["pid"]), Signal::STOP);
        let start = Instant::now();
        lab.json(&["destroy", &cell]).exits(0);
        assert!(start.elapsed() < Duration::from_secs(10), "{backend}: {:?}", start.elapsed());
    }
}

#[test]
fn a_stopped_agent_is_closed_and_destroyed() {
    let lab = Lab::new();
    for backend in ["process", "wasm"] {
        for command in ["close", "destroy"] {
            let cell = lab.summon(&["scribe", "p", "--backend", backend]);
            signal(pid(&lab.cell(&cell)["probe"]["pid"]), Signal::STOP);
            let mut args = vec![command, &cell];
            if command == "close" {
                args.extend(["--grace", "1s"]);
            }
            lab.json(&args).exits(0);
            lab.json(&["destroy", &cell]).exits(0);
        }
    }
}

#[test]
fn destroys_at_once_count_each_process_once() {
    let lab = Lab::new();
    let cell = lab.summon(&["scribe", "p"]);
    let running: Vec<_> =
        (0..4).map(|_| lab.command(&["--json", "destroy", &cell]).stdout(std::process::Stdio::piped()).spawn().expect("started")).collect();
    for child in running {
        let output = child.wait_with_output().expect("waited for");
        let envelope: serde_json::Value = serde_json::from_slice(&output.stdout).expect("one JSON object");
        assert_eq!(envelope["success"], true, "{envelope}");
        assert!(
            envelope["receipt"]["processes_ended"].as_u64().expect("a number") <= 4,
            "its agent's three, at most its warden: {envelope}"
        );
    }
}

#[test]
fn a_run_that_did_not_start_leaves_nothing_to_destroy() {
    let lab = Lab::new();
    let refused = lab.run(&["run", "--", "/no/such/program"]).exits(1);
    assert!(refused.stderr.contains("/no/such/program") && !refused.stderr.contains("hint"), "{}", refused.stderr);
    assert!(lab.cell_dirs().is_empty());
}

#[test]
fn a_run_of_an_unknown_name_is_a_mistake_and_no_silent_keeper() {
    let lab = Lab::new();
    let run = lab.run(&["run", "scrbie", "--timeout", "1s"]).exits(3);
    assert!(run.stderr.contains("Agent scrbie not found"), "{}", run.stderr);
}

#[test]
fn a_cell_whose_root_was_removed_ends_by_itself() {
    let lab = Lab::new();
    for backend in ["process", "wasm"] {
        lab.summon(&["scribe", "p", "--backend", backend]);
    }
    // A warden may be writing just then.
    wait_until("the root is removed", || std::fs::remove_dir_all(lab.root()).is_ok() || !lab.root().exists());
    wait_until("nothing lives", || lab.processes().is_empty());
}

#[test]
fn an_answer_that_could_not_be_written_is_no_success() {
    let lab = Lab::new();
    let full = std::fs::File::options().write(true).open("/dev/full").expect("there");
    let lost = lab.command(&["--json", "status"]).stdout(full).output().expect("started");
    assert_eq!(lost.status.code(), Some(125), "{lost:?}");
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let unwanted = lab.command(&["status"]).stdout(writer).output().expect("started");
    assert_eq!(unwanted.status.code(), Some(0), "a reader that went away has what it wanted: {unwanted:?}");
}

/// Does something as on a machine that denies user namespaces, as Ubuntu does.
fn without_namespaces<T: Send>(act: impl FnOnce() -> T + Send) -> T {
    use seccompiler::{BpfProgram, SeccompAction, SeccompFilter};
    let rules = [(libc::SYS_unshare, Vec::new())].into();
    let denied = SeccompAction::Errno(libc::EPERM.unsigned_abs());
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, denied, std::env::consts::ARCH.try_into().expect("supported"));
    let program: BpfProgram = filter.expect("built").try_into().expect("compiled");
    std::thread::scope(|scope| {
        let confined = scope.spawn(|| {
            seccompiler::apply_filter(&program).expect("applied");
            act()
        });
        confined.join().expect("no panic")
    })
}

#[test]
fn an_agent_does_not_outlive_its_killed_reaper() {
    let lab = Lab::new();
    for given in [true, false] {
        let leave = "(env -i setsid sleep 8571003 &); exec sleep 1000";
        let summon = || lab.summon(&["scribe", "p", "--", "sh", "-c", leave]);
        let cell = if given { summon() } else { without_namespaces(summon) };
        let left = || processes::mentioning("8571003").into_iter().any(|found| found.command.starts_with("sleep"));
        wait_until("it has left something", left);
        let agent = pid(&lab.cell(&cell)["probe"]["pid"]);
        let status = std::fs::read_to_string(format!("/proc/{agent}/status")).expect("it lives");
        let reaper = status.lines().find_map(|line| line.strip_prefix("PPid:")).expect("a parent").trim().parse().expect("a pid");
        signal(reaper, Signal::KILL);
        lab.wait_for_state(&cell, "failed");
        assert!(!left(), "namespaces given: {given}");
        lab.json(&["destroy", &cell]).exits(0);
    }
}

#[test]
fn a_home_full_of_traps_is_removed_and_nothing_else() {
    let lab = Lab::new();
    let canary = lab.file("outside/canary", "alive");
    let cell = lab.summon(&["scribe", "p"]);
    let home = lab.cell_dir(&cell).join("home");
    let traps = "mkfifo fifo; ln -s \"$1\" out; ln -s . self; ln -s loop loop; mkdir shut; touch shut/in; chmod 000 shut; \
                 i=0; while [ $i -lt 300 ]; do mkdir deep && cd deep || exit 1; i=$((i+1)); done";
    let outside = canary.parent().expect("below the lab");
    let status = std::process::Command::new("sh").args(["-c", traps, "sh"]).arg(outside).current_dir(&home).status().expect("run");
    assert!(status.success());
    std::os::unix::net::UnixListener::bind(home.join("socket")).expect("bound");
    let receipt = lab.json(&["destroy", &cell]).exits(0).json();
    assert_eq!(receipt["receipt"]["remained"].as_array().map(Vec::len), Some(0), "{receipt}");
    assert!(lab.cell_dirs().is_empty());
    assert_eq!(std::fs::read_to_string(&canary).expect("it is there"), "alive");
}

#[test]
fn random_kills_leave_a_registry_that_tells_the_truth() {
    let lab = Lab::new();
    // A small generator of its own: what fails once can be tried again.
    let mut seed = 0x2545_f491_4f6c_dd1d_u64;
    let mut draw = move |most: u64| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed % most
    };
    for _ in 0..20 {
        let backend = if draw(2) == 0 { "process" } else { "wasm" };
        let mut summon = lab.command(&["summon", "scribe", "p", "--backend", backend]);
        let mut child = summon.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null()).spawn().expect("started");
        std::thread::sleep(Duration::from_millis(draw(120)));
        let near = lab.processes();
        if let Some(victim) = near.get(usize::try_from(draw(near.len() as u64 + 1)).expect("small")) {
            victim.kill();
        }
        child.wait().expect("waited for");
    }
    let all = lab.json(&["status", "--all"]).exits(0).json();
    let known: Vec<String> = all["active_cells"].as_array().expect("a list").iter().map(|cell| text(&cell["cell_id"])).collect();
    assert!(lab.cell_dirs().iter().all(|dir| known.contains(dir)), "{:?} of {known:?}", lab.cell_dirs());
    for cell in &known {
        lab.json(&["destroy", cell]).exits(0);
    }
    assert!(lab.cell_dirs().is_empty());
    wait_until("nothing lives", || lab.processes().is_empty());
    lab.json(&["audit", "verify"]).exits(0);
}

/// A root on a disk of its own, of so many MiB, in a mount namespace that the commands then share.
struct SmallDisk {
    lab: Lab,
    holder: std::process::Child,
}

impl SmallDisk {
    fn new(mebibytes: u32) -> Self {
        let lab = Lab::new();
        std::fs::create_dir(lab.root()).expect("made");
        let root = lab.root().display().to_string();
        let script = format!("mount -t tmpfs -o mode=0700,size={mebibytes}m none '{root}' && echo mounted && exec sleep 1000");
        let mut unshare = std::process::Command::new("unshare");
        unshare.args(["--user", "--map-root-user", "--mount", "sh", "-c", &script]).stdout(std::process::Stdio::piped());
        let mut holder = unshare.spawn().expect("started");
        let mut said = String::new();
        let stdout = holder.stdout.take().expect("piped");
        std::io::BufRead::read_line(&mut std::io::BufReader::new(stdout), &mut said).expect("read");
        assert_eq!(said, "mounted\n", "a small disk could not be made");
        Self { lab, holder }
    }

    /// A command among those that see the disk.
    fn enter(&self, words: &[&OsStr]) -> std::process::Command {
        let mut command = std::process::Command::new("nsenter");
        command.args(["--preserve-credentials", "--user", "--mount", "--target", &self.holder.id().to_string(), "--"]);
        command.args(words).stdin(std::process::Stdio::null());
        command
    }

    fn run(&self, args: &[&str]) -> std::process::Output {
        let inner = self.lab.command(args);
        let words: Vec<&OsStr> = std::iter::once(inner.get_program()).chain(inner.get_args()).collect();
        let variables = inner.get_envs().filter_map(|(name, value)| Some((name, value?)));
        self.enter(&words).env_clear().envs(variables).output().expect("started")
    }

    #[track_caller]
    fn json(&self, args: &[&str]) -> serde_json::Value {
        let mut with = vec!["--json"];
        with.extend(args);
        let output = self.run(&with);
        assert!(output.status.success(), "{args:?}: {output:?}");
        serde_json::from_slice(&output.stdout).expect("JSON")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = self.holder.kill().and_then(|()| self.holder.wait());
    }
}

#[test]
fn destroy_empties_a_disk_that_an_agent_filled_and_keeps_on_filling() {
    for round in 1..=2 {
        let disk = SmallDisk::new(6);
        // It begins once it is told to: a disk that is full before the cell is active is another story.
        let flood = "until [ -e go ]; do sleep 0.05; done; while :; do head -c 8000000 /dev/zero >> flood; date >> dates; done 2>/dev/null";
        let cell = text(&disk.json(&["summon", "filler", "p", "--home", "64MiB", "--", "sh", "-c", flood])["cell_id"]);
        let go = disk.lab.cell_dir(&cell).join("home/workspace/go");
        assert!(disk.enter(&[OsStr::new("touch"), go.as_os_str()]).output().expect("started").status.success());
        // Whatever still goes into the registry is one of these commands; at last none of them can.
        wait_until(&format!("the disk is full (round {round})"), || !disk.run(&["extend", &cell, "1m"]).status.success());
        let destroyed = disk.json(&["destroy", &cell]);
        assert!(destroyed["receipt"]["processes_ended"].as_u64().expect("a number") >= 1, "{destroyed}");
        assert_eq!(destroyed["receipt"]["remained"], serde_json::json!([]), "{destroyed}");
        // The key of the first one was made when there was room again.
        assert_eq!(destroyed["signed"], true, "{destroyed}");
        assert_eq!(text(&disk.json(&["status", &cell])["cell"]["state"]), "destroyed");
        disk.json(&["audit", "verify"]);
    }
}
