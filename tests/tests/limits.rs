//! Limits as the operator meets them: what holds them, and what they leave on record.

use std::fmt::Write as _;

use lazarus::{
    audit::Action,
    registry::{AuditFilter, Registry},
};
use lazarus_tests::{
    Lab,
    lab::{text, wait_until},
};

/// The rows of limits of a cell.
fn limit_rows(lab: &Lab, cell: &str) -> Vec<String> {
    let registry = Registry::open(&lab.root()).expect("the registry");
    let filter = AuditFilter { cell: Some(cell.parse().expect("an id")), ..AuditFilter::default() };
    let rows = registry.audit_rows(&filter).expect("rows");
    rows.into_iter().filter(|row| row.action == Action::Limit).map(|row| row.detail).collect()
}

fn wait_for_row(lab: &Lab, cell: &str, begins: &str) {
    wait_until(&format!("{begins} is on record"), || limit_rows(lab, cell).iter().any(|row| row.starts_with(begins)));
}

/// A preview 1 module: `code` runs with `out` open below descriptor 3, as what stands at 16; then it sleeps.
fn guest(code: &str) -> String {
    format!(
        r#"(module
  (import "wasi_snapshot_preview1" "path_open" (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_pwrite" (func $pwrite (param i32 i32 i32 i64 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 3)
  (data (i32.const 512) "out")
  (data (i32.const 1024) "still here\n")
  (func $print (param $at i32) (param $len i32)
    (i32.store (i32.const 0) (local.get $at)) (i32.store (i32.const 4) (local.get $len))
    (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8))))
  (func (export "_start") (local $i i32)
    (if (call $open (i32.const 3) (i32.const 0) (i32.const 512) (i32.const 3) (i32.const 9) (i64.const 66) (i64.const 0)
      (i32.const 0) (i32.const 16)) (then (unreachable)))
    {code}
    (call $print (i32.const 1024) (i32.const 11))
    (i64.store (i32.const 64) (i64.const 0)) (i64.store (i32.const 72) (i64.const 0)) (i32.store (i32.const 80) (i32.const 1))
    (i64.store (i32.const 88) (i64.const 3600000000000)) (i64.store (i32.const 96) (i64.const 0)) (i64.store (i32.const 104) (i64.const 0))
    (drop (call $poll (i32.const 64) (i32.const 128) (i32.const 1) (i32.const 8)))))"#
    )
}

fn summoned(lab: &Lab, name: &str, code: &str, limits: &[&str]) -> String {
    let file = lab.file(&format!("{name}.wat"), guest(code));
    let mut args = vec![name, "p", "--component", file.to_str().expect("a path")];
    args.extend(limits);
    lab.summon(&args)
}

/// Writes 64 KiB at `at`; what must come of it, as an errno.
fn write(at: u64, errno: u32) -> String {
    format!(
        "(i32.store (i32.const 0) (i32.const 65536)) (i32.store (i32.const 4) (i32.const 65536))
         (if (i32.ne (call $pwrite (i32.load (i32.const 16)) (i32.const 0) (i32.const 1) (i64.const {at}) (i32.const 8)) (i32.const {errno}))
           (then (unreachable)))"
    )
}

#[test]
fn a_write_past_the_home_fails_the_guest_goes_on_and_one_row_says_so() {
    let lab = Lab::new();
    let mut code = write(0, 0);
    for _ in 0..200 {
        code.push_str(&write(1 << 20, 51));
    }
    code.push_str(&write(65_536, 0));
    let cell = summoned(&lab, "scribe", &code, &["--home", "512KiB"]);
    wait_until("it has gone on", || lab.logs(&cell).contains("still here"));
    wait_for_row(&lab, &cell, "scribe: limit home");
    assert_eq!(lab.state(&cell), "active");
    assert_eq!(limit_rows(&lab, &cell).len(), 1, "at most one row a minute: {:?}", limit_rows(&lab, &cell));
    let explained = lab.run(&["explain", &cell]).exits(0).stdout;
    assert!(explained.contains("512 KiB in its home: a write past that fails"), "{explained}");
    lab.json(&["audit", "verify"]).exits(0);
    // The allowed twin: the same writes, and room for them.
    let twin = summoned(&lab, "twin", &(write(0, 0) + &write(1 << 20, 0) + &write(65_536, 0)), &["--home", "4MiB"]);
    wait_until("it has gone on", || lab.logs(&twin).contains("still here"));
    assert_eq!(limit_rows(&lab, &twin), [""; 0]);
    for cell in [cell, twin] {
        lab.json(&["destroy", &cell]).exits(0);
    }
}

#[test]
fn an_end_by_a_limit_has_a_row_of_its_own_on_both_backends() {
    let lab = Lab::new();
    let spin = summoned(&lab, "spin", "(loop $more (br $more))", &["--cpu", "200ms"]);
    let touch = "i=0; while [ $i -lt 200 ]; do : > $HERMES_HOME/f$i; i=$((i+1)); done; sleep 1000";
    let many = lab.summon(&["many", "p", "--files", "100", "--", "sh", "-c", touch]);
    for (cell, row) in [(&spin, "spin: limit cpu"), (&many, "many: limit files")] {
        lab.wait_for_state(cell, "failed");
        wait_for_row(&lab, cell, row);
        assert_eq!(limit_rows(&lab, cell).len(), 1);
    }
    let reason = lab.run(&["status", &many]).exits(0).stdout;
    assert!(reason.contains("more than 100 files, directories and links"), "{reason}");
    for cell in [spin, many] {
        lab.json(&["destroy", &cell]).exits(0);
    }
}

/// Binary, escape sequences, lines that look like rows: in any amount, they leave the log within its limit and harmless.
#[test]
fn a_flood_of_the_log_leaves_what_was_allowed_and_one_row() {
    let lab = Lab::new();
    // 24 MiB: of zeros, of escapes, and of a forged line.
    let mut forged = String::new();
    for byte in b"\x1b[2J\x1b]0;owned\x07\r2026-01-01T00:00:00.000Z lazarus forged\n" {
        let _ = write!(forged, "\\{byte:02x}");
    }
    let flood = format!(
        "(loop $more (call $print (i32.const 65536) (i32.const 65536)) (call $print (i32.const 2048) (i32.const {length}))
        (br_if $more (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 384))))",
        length = forged.len() / 3
    );
    let file = lab.file(
        "flood.wat",
        guest(&flood).replacen("(data (i32.const 512)", &format!("(data (i32.const 2048) \"{forged}\") (data (i32.const 512)"), 1),
    );
    let cell = lab.summon(&["flood", "p", "--component", file.to_str().expect("a path"), "--log", "256KiB"]);
    wait_for_row(&lab, &cell, "flood: limit log");
    let logs = lab.cell_dir(&cell).join("logs");
    let kept = || {
        let files = std::fs::read_dir(&logs).expect("logs").map(|file| file.expect("a file"));
        files
            .map(|file| (text(&file.file_name().to_string_lossy().into_owned().into()), std::fs::read(file.path()).unwrap_or_default()))
            .collect::<Vec<_>>()
    };
    let mut before = 0;
    wait_until("the flood is over", || {
        std::thread::sleep(std::time::Duration::from_millis(500));
        let now: usize = kept().iter().map(|(_, bytes)| bytes.iter().map(|byte| usize::from(*byte)).sum::<usize>()).sum();
        std::mem::replace(&mut before, now) == now
    });
    let sizes: usize = kept().iter().map(|(_, bytes)| bytes.len()).sum();
    assert!((1..=256 * 1024).contains(&sizes), "{sizes}");
    for (name, bytes) in kept() {
        assert!(bytes.iter().all(|byte| *byte == b'\n' || !byte.is_ascii_control()), "{name} has control characters");
        for line in String::from_utf8_lossy(&bytes).lines() {
            assert!(!line.contains(" lazarus forged") || line.contains(" out "), "{line}");
        }
    }
    assert_eq!(lab.state(&cell), "active");
    assert_eq!(limit_rows(&lab, &cell).len(), 1);
    lab.json(&["destroy", &cell]).exits(0);
}

/// The bytes of output that stand in a log, and how many it says were dropped. Lines only, none longer than a line of the log.
fn kept_and_dropped(log: &str) -> (u64, u64) {
    let (mut kept, mut dropped) = (0, 0);
    for line in log.lines() {
        let (_, said) = line.split_once(' ').expect("a time");
        if let Some(text) = said.strip_prefix("out ") {
            kept += text.len() as u64 + 1;
        } else {
            let count = said.strip_prefix("lazarus dropped ").and_then(|said| said.split_once(' ')).expect("a count");
            dropped += count.0.parse::<u64>().expect("a number");
        }
    }
    (kept, dropped)
}

/// 8 MiB of lines, as fast as it goes: what is not kept is counted to the byte, and what is kept are the first lines. 512 KiB are kept whole.
#[test]
fn what_a_flood_lost_is_counted_and_a_modest_log_loses_nothing() {
    let lab = Lab::new();
    for (name, writes) in [("flood", 128_u64), ("modest", 8)] {
        // A line of 64 bytes, over and over.
        let code = format!(
            "(loop $fill (i32.store8 (i32.add (i32.const 65536) (local.get $i)) (i32.const 97))
              (if (i32.eq (i32.and (local.get $i) (i32.const 63)) (i32.const 63)) (then
                (i32.store8 (i32.add (i32.const 65536) (local.get $i)) (i32.const 10))))
              (br_if $fill (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 65536))))
            (local.set $i (i32.const 0))
            (loop $more (call $print (i32.const 65536) (i32.const 65536))
              (br_if $more (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const {writes})))) (return)"
        );
        let cell = summoned(&lab, name, &code, &["--log", "64MiB"]);
        lab.wait_for_state(&cell, "closed");
        let log = std::fs::read_to_string(lab.cell_dir(&cell).join("logs").join(format!("{name}.log"))).expect("the log");
        let (kept, dropped) = kept_and_dropped(&log);
        assert_eq!(kept + dropped, writes * 65536, "{name}: {kept} kept");
        let is_flood = name == "flood";
        assert_eq!(dropped > 0, is_flood, "{name}: {dropped}");
        // One at once, and at the end one of what came after it.
        assert!(if is_flood { (1..=2).contains(&limit_rows(&lab, &cell).len()) } else { limit_rows(&lab, &cell).is_empty() }, "{name}");
        assert!(kept >= 512 * 1024 && log.lines().take(8192).all(|line| line.ends_with(&"a".repeat(63))), "{name}: the first are kept");
        lab.json(&["destroy", &cell]).exits(0);
    }
}

#[test]
fn bad_limits_are_refused_by_name_and_nothing_is_made() {
    let lab = Lab::new();
    for (limit, value) in [
        ("--files", "0"),
        ("--files", "-1"),
        ("--home", "0"),
        ("--files", "4294967296"),
        ("--home", "63KiB"),
        ("--cpu", "0s"),
        ("--log", ""),
    ] {
        let refused = lab.run(&["summon", "scribe", "p", &format!("{limit}={value}")]);
        assert_ne!(refused.code, 0, "{limit}={value}");
        assert!(refused.stderr.contains(limit.trim_start_matches('-')), "{limit}={value}: {}", refused.stderr);
    }
    assert_eq!(lab.cell_dirs(), [""; 0]);
    // The range that is said is the one that there is, whatever is wrong with the number.
    for (limit, values, range) in [("open-files", ["0", "-1", "x"], "from 16 to 65536"), ("processes", ["0", "1.5", ""], "from 1 to 65536")]
    {
        for value in values {
            let refused = lab.run(&["summon", "scribe", "p", &format!("--{limit}={value}")]);
            assert!(refused.code != 0 && refused.stderr.contains(range), "{limit}={value}: {}", refused.stderr);
        }
    }
    // The least that a process agent may be given runs it.
    let least = ["run", "--processes=1", "--open-files=16", "--", "/bin/sh", "-c"];
    lab.run(&[&least[..], &["ulimit -n; exec /usr/bin/true"]].concat()).exits(0);
    let forks = lab.run(&[&least[..], &["/usr/bin/true; exit 0"]].concat());
    assert!(forks.code != 0 && forks.stderr.contains("fork"), "{forks:?}");
    let cell = lab.summon(&["scribe", "p", "--files=64"]);
    lab.json(&["destroy", &cell]).exits(0);
}

#[test]
fn what_a_process_agent_ran_into_is_on_record_though_it_lives_on() {
    let lab = Lab::new();
    // bash cannot start the most of them, and goes on.
    let script = "for i in $(seq 50); do (sleep 1000 & ) 2>/dev/null; done; while :; do sleep 1; done";
    let cell = lab.summon(&["many", "p", "--processes", "10", "--", "/bin/bash", "-c", script]);
    wait_for_row(&lab, &cell, "many: limit processes, ");
    // A child that needs too much is ended, and its agent lives.
    let script = "(head -c 200000000 /dev/zero | tail > /dev/null) & wait; exec sleep 1000";
    let cell = lab.summon(&["hungry", "p", "--memory", "64MiB", "--", "/bin/sh", "-c", script]);
    wait_for_row(&lab, &cell, "hungry: limit memory, ");
    for cell in lab.cell_dirs() {
        lab.run(&["destroy", &cell]).exits(0);
    }
}
