//! Programs of both forms: what they print, how they end, and what is refused before it runs.

use std::{io::Write, os::unix::process::ExitStatusExt, process::Stdio};

use lazarus::{
    backend::protocol::End,
    policy::{Enforcer, Extent},
};

use crate::{
    Case,
    fixture::{at_home, end, launch, refusal, run, run_inherited},
    wat,
};

pub const CASES: &[Case] = &[
    ("hello_in_both_forms", hello_in_both_forms),
    ("exit_codes_are_exact", exit_codes_are_exact),
    ("components_say_whether_they_succeeded", components_say_whether_they_succeeded),
    ("arguments_and_variables_are_exactly_those_given", arguments_and_variables_are_exactly_those_given),
    ("traps_are_told_in_one_line", traps_are_told_in_one_line),
    ("programs_that_nobody_can_run_are_refused", programs_that_nobody_can_run_are_refused),
    ("a_start_function_that_fails_is_a_refusal", a_start_function_that_fails_is_a_refusal),
    ("inherited_streams_are_byte_exact", inherited_streams_are_byte_exact),
    ("a_reader_that_went_away_does_not_end_the_host", a_reader_that_went_away_does_not_end_the_host),
    ("the_report_says_what_is_held", the_report_says_what_is_held),
    ("the_network_is_closed", the_network_is_closed),
];

fn hello_in_both_forms() {
    for source in [wat::hello("hello\n", 0), wat::component_hello("hello\n", false)] {
        let heard = run(launch("hello", &source));
        assert_eq!((heard.stdout.as_slice(), heard.stderr.as_slice()), (&b"hello\n"[..], &b""[..]));
        assert_eq!(heard.ended.unwrap().0, End::Exited { code: 0 });
    }
}

fn exit_codes_are_exact() {
    assert_eq!(end(launch("returns", &wat::start(""))), End::Exited { code: 0 });
    for code in [0, 1, 125, 126, 127, 255, 256, 1000, -1] {
        assert_eq!(end(launch("exits", &wat::start(&format!("(call $exit (i32.const {code}))")))), End::Exited { code });
    }
}

fn components_say_whether_they_succeeded() {
    assert_eq!(end(launch("ok", &wat::component("", "(i32.const 0)"))), End::Exited { code: 0 });
    assert_eq!(end(launch("err", &wat::component("", "(i32.const 1)"))), End::Exited { code: 1 });
    for code in [0, 1] {
        let exits = wat::component("", &format!("(call $exit (i32.const {code})) (unreachable)"));
        assert_eq!(end(launch("exit", &exits)), End::Exited { code });
    }
}

fn arguments_and_variables_are_exactly_those_given() {
    // Prints the block of arguments, then that of variables: strings that end with NUL.
    let print = "(drop (call $args_sizes (i32.const 100) (i32.const 104))) (drop (call $args (i32.const 200) (i32.const 1024)))
        (call $put (i32.const 1) (i32.const 1024) (i32.load (i32.const 104)))
        (drop (call $env_sizes (i32.const 100) (i32.const 104))) (drop (call $env (i32.const 200) (i32.const 1024)))
        (call $put (i32.const 2) (i32.const 1024) (i32.load (i32.const 104)))";
    let mut launch = launch("args", &wat::start(print));
    launch.env = vec![("LANG".into(), "C.UTF-8".into()), ("EMPTY".into(), String::new())];
    if let lazarus::backend::Program::Compiled { args, .. } = &mut launch.program {
        *args = vec!["args".into(), "two words".into(), String::new()];
    }
    let heard = run(launch);
    assert_eq!(String::from_utf8_lossy(&heard.stdout), "args\0two words\0\0");
    assert_eq!(String::from_utf8_lossy(&heard.stderr), "LANG=C.UTF-8\0EMPTY=\0");
}

fn traps_are_told_in_one_line() {
    let named = "(func $in\\1b[2Jner unreachable) (func $outer (call $in\\1b[2Jner)) (func (export \"_start\") (call $outer))";
    let source = wat::command(&named.replace("$in\\1b[2Jner", "$\"in\\1b[2Jner\""));
    let End::Trapped { message } = end(launch("trap", &source)) else { panic!("no trap") };
    assert_eq!(message, "wasm trap: wasm `unreachable` instruction executed (in in?[2Jner, called by outer)");
    for (code, expected) in [
        ("(drop (i32.load (i32.const -1)))", "out of bounds memory access"),
        ("(drop (i32.div_s (i32.const 1) (i32.const 0)))", "integer divide by zero"),
    ] {
        let End::Trapped { message } = end(launch("trap", &wat::start(code))) else { panic!("no trap") };
        assert!(message.contains(expected), "{message}");
    }
    let component = wat::component("", "(unreachable)");
    assert!(matches!(end(launch("trap", &component)), End::Trapped { message } if message.contains("unreachable")));
}

fn programs_that_nobody_can_run_are_refused() {
    for (source, expected) in [
        ("(module)", "no _start"),
        ("(module (func (export \"_initialize\")))", "a reactor"),
        ("(module (func (export \"_start\") (param i32)))", "without parameters"),
        ("(module (import \"env\" \"launch_missiles\" (func)) (func (export \"_start\")))", "imports env::launch_missiles, which"),
        ("(module (import \"wasi_unstable\" \"fd_write\" (func)) (func (export \"_start\")))", "imports wasi_unstable::fd_write, which"),
        ("(component)", "exports neither wasi:cli/run nor lazarus:cell/agent"),
        ("(component (import \"acme:weapons/missiles@1.0.0\" (instance (export \"launch\" (func)))))", "acme:weapons/missiles@1.0.0"),
    ] {
        let message = refusal(launch("odd", source));
        assert!(message.contains(expected) && !message.contains('\n'), "{message}");
    }
}

fn a_start_function_that_fails_is_a_refusal() {
    let source = wat::command("(func $begin unreachable) (start $begin) (func (export \"_start\"))");
    let message = refusal(launch("trap", &source));
    assert!(message.starts_with("start the program: wasm trap: wasm `unreachable`"), "{message}");
}

fn inherited_streams_are_byte_exact() {
    // Copies stdin to stdout in pieces of 10,000 bytes, says so on stderr, and exits with 42.
    let copy = "(i32.store (i32.const 128) (i32.const 1024)) (i32.store (i32.const 132) (i32.const 10000))
        (block $end (loop $more
          (if (call $fd_read (i32.const 0) (i32.const 128) (i32.const 1) (i32.const 136)) (then (unreachable)))
          (br_if $end (i32.eqz (i32.load (i32.const 136))))
          (call $put (i32.const 1) (i32.const 1024) (i32.load (i32.const 136)))
          (br $more)))
        (call $put (i32.const 2) (i32.const 512) (i32.const 5)) (call $exit (i32.const 42))";
    let source = wat::command(&format!("{} (func (export \"_start\") {copy})", wat::data(512, "done\n")));
    let mut input = tempfile::tempfile().unwrap();
    let bytes: Vec<u8> = (0..3_000_000_u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    input.write_all(&bytes).unwrap();
    std::io::Seek::rewind(&mut input).unwrap();
    let (output, end) = run_inherited(&source, input.into());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.stdout == bytes, "{} of {} bytes", output.stdout.len(), bytes.len());
    assert_eq!(output.stderr, b"done\n");
    assert_eq!(end, "Some(Exited { code: 42 })");
}

fn a_reader_that_went_away_does_not_end_the_host() {
    let place = tempfile::tempdir().unwrap();
    let (file, said) = (place.path().join("guest.wat"), place.path().join("end"));
    std::fs::write(&file, wat::start("(loop $more (call $put (i32.const 1) (i32.const 1024) (i32.const 4096)) (br $more))")).unwrap();
    let mut child = std::process::Command::new(std::env::current_exe().unwrap())
        .args([std::path::Path::new("inherited"), &file, &said])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let status = child.wait().unwrap();
    assert_eq!((status.code(), status.signal()), (Some(0), None));
    // The guest was told that nobody reads, and gave up.
    assert!(std::fs::read_to_string(said).unwrap().contains("Trapped"));
}

fn the_report_says_what_is_held() {
    let home = tempfile::tempdir().unwrap();
    let heard = run(at_home(launch("report", &wat::start("")), home.path()));
    let report = heard.report.unwrap();
    let has = |enforcer, words: &str| {
        let mut entries = report.entries().iter();
        entries.any(|entry| entry.enforcer == enforcer && entry.extent == Extent::Full && entry.promise.contains(words))
    };
    for words in [
        "at most 512 MiB of memory",
        "100000 elements",
        "64 instances",
        "a stack of 512 KiB",
        "1h of CPU time",
        "4 MiB allocated by one host call",
        "64 KiB random bytes",
        "no network",
        "0 variables, none inherited",
        "/home is ",
        "no file outside of 1 directories",
        "an empty input",
    ] {
        assert!(has(Enforcer::Wasm, words), "{words}: {report:?}");
    }
    assert!(has(Enforcer::Seccomp, "") && has(Enforcer::Landlock, ""), "the jail's own entries follow: {report:?}");
    assert!(!report.is_degraded(), "{report:?}");
}

/// Sockets can be imported, and every call is denied.
fn the_network_is_closed() {
    let source = r#"(component
      (import "wasi:sockets/network@0.2.0" (instance $network
        (export "network" (type (sub resource)))
        (type $codes (enum "unknown" "access-denied" "not-supported" "invalid-argument" "out-of-memory" "timeout" "concurrency-conflict"
          "not-in-progress" "would-block" "invalid-state" "new-socket-limit" "address-not-bindable" "address-in-use" "remote-unreachable"
          "connection-refused" "connection-reset" "connection-aborted" "datagram-too-large" "name-unresolvable"
          "temporary-resolver-failure" "permanent-resolver-failure"))
        (export "error-code" (type (eq $codes)))
        (type $family (enum "ipv4" "ipv6"))
        (export "ip-address-family" (type (eq $family)))))
      (alias export $network "error-code" (type $code))
      (alias export $network "ip-address-family" (type $family))
      (import "wasi:sockets/tcp@0.2.0" (instance $tcp (export "tcp-socket" (type (sub resource)))))
      (alias export $tcp "tcp-socket" (type $socket))
      (import "wasi:sockets/tcp-create-socket@0.2.0" (instance $create
        (alias outer 1 $code (type $c)) (alias outer 1 $family (type $f)) (alias outer 1 $socket (type $s))
        (export "error-code" (type $code (eq $c)))
        (export "ip-address-family" (type $family (eq $f)))
        (export "tcp-socket" (type $socket (eq $s)))
        (type $own (own $socket))
        (type $made (result $own (error $code)))
        (type $make (func (param "address-family" $family) (result $made)))
        (export "create-tcp-socket" (func (type $make)))))
      (core module $libc (memory (export "memory") 1))
      (core instance $libc (instantiate $libc))
      (alias core export $libc "memory" (core memory $memory))
      (core func $make (canon lower (func $create "create-tcp-socket") (memory $memory)))
      (core module $main
        (import "libc" "memory" (memory 1))
        (import "wasi" "make" (func $make (param i32 i32)))
        ;; Success means: refused (tag 1), with access-denied (1) or not-supported (2).
        (func (export "run") (result i32)
          (call $make (i32.const 0) (i32.const 16))
          (i32.or
            (i32.ne (i32.load8_u (i32.const 16)) (i32.const 1))
            (i32.gt_u (i32.sub (i32.load8_u (i32.const 20)) (i32.const 1)) (i32.const 1)))))
      (core instance $wasi (export "make" (func $make)))
      (core instance $main (instantiate $main (with "libc" (instance $libc)) (with "wasi" (instance $wasi))))
      (func $run (result (result)) (canon lift (core func $main "run")))
      (instance $runs (export "run" (func $run)))
      (export "wasi:cli/run@0.2.0" (instance $runs)))"#;
    assert_eq!(end(launch("network", source)), End::Exited { code: 0 });
}
