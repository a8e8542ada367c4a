//! Agents that live by events: what they are told, and how their events end. The test is the warden.

use std::time::Duration;

use lazarus::{
    backend::protocol::{End, Occasion, Outcome},
    cell::Role,
    mail::Gift,
};

use crate::{
    Case,
    event_wat::{Agent, DIARY, QUIET, TROUBLE},
    fixture::{Host, LONG, at_home, ended, launch, launch_agent, limited, message, refusal},
    wat,
};

pub const CASES: &[Case] = &[
    ("an_agent_starts_handles_and_closes", an_agent_starts_handles_and_closes),
    ("failures_are_told_in_one_line", failures_are_told_in_one_line),
    ("a_trap_loses_the_event_and_the_instance", a_trap_loses_the_event_and_the_instance),
    ("an_idle_agent_is_dropped_and_woken", an_idle_agent_is_dropped_and_woken),
    ("a_resurrected_agent_is_told_so", a_resurrected_agent_is_told_so),
    ("an_agent_that_refuses_to_start_is_refused", an_agent_that_refuses_to_start_is_refused),
    ("an_event_is_a_sign_of_life", an_event_is_a_sign_of_life),
    ("every_instance_sees_the_same_directories", every_instance_sees_the_same_directories),
    ("one_agent_closes_and_the_other_lives", one_agent_closes_and_the_other_lives),
    ("an_agent_of_another_shape_is_refused", an_agent_of_another_shape_is_refused),
    ("a_warden_that_breaks_the_protocol_ends_the_host", a_warden_that_breaks_the_protocol_ends_the_host),
];

fn an_agent_starts_handles_and_closes() {
    let mut host = Host::start(&[launch_agent("diary", DIARY)]);
    host.until_ready("diary");
    assert_eq!(host.tell("diary", 1, "dear diary"), Outcome::Done);
    host.event("diary", 2, Occasion::Tick);
    assert_eq!(host.until_over("diary", 2), Outcome::Done);
    assert_eq!(host.tell("diary", 3, "two\nlines \u{1b}[2J"), Outcome::Done);
    host.close(None, LONG);
    let heard = host.finish();
    assert_eq!(ended(&heard, "diary"), End::Exited { code: 0 });
    let log = String::from_utf8(heard["diary"].stderr.clone()).unwrap();
    assert_eq!(log, "info: first      \ninfo: dear diary\ninfo: tick\ninfo: two\\x0alines \\x1b[2J\ninfo: close\n");
}

fn failures_are_told_in_one_line() {
    let mut host = Host::start(&[launch_agent("trouble", TROUBLE)]);
    host.until_ready("trouble");
    assert_eq!(host.tell("trouble", 1, "retry\nthis\u{1b}[2J"), Outcome::Retry { why: "retry this?[2J".into() });
    let outcome = host.tell("trouble", 2, &format!("park {}", "x".repeat(30_000)));
    assert!(matches!(&outcome, Outcome::Park { why } if why.chars().count() == 300), "{outcome:?}");
    assert_eq!(host.tell("trouble", 3, "fine"), Outcome::Done);
    host.close(None, LONG);
    host.finish();
    // All in one instance: a failure that is told costs none.
    let mut host = Host::start(&[launch_agent("trouble", TROUBLE)]);
    host.until_ready("trouble");
    host.tell("trouble", 1, "retry");
    host.tell("trouble", 2, "fine");
    assert_eq!(host.log("trouble"), "info: first      \n");
    host.close(None, LONG);
    host.finish();
}

fn a_trap_loses_the_event_and_the_instance() {
    let mut host = Host::start(&[launch_agent("trouble", TROUBLE)]);
    host.until_ready("trouble");
    for event in [1, 3] {
        let outcome = host.tell("trouble", event, "trap");
        assert!(matches!(&outcome, Outcome::Lost { end: End::Trapped { message } } if message.contains("unreachable")), "{outcome:?}");
        assert_eq!(host.tell("trouble", event + 1, "fine"), Outcome::Done);
    }
    assert_eq!(host.log("trouble"), "info: first      \ninfo: again      \ninfo: again      \n");
    host.close(None, LONG);
    assert_eq!(ended(&host.finish(), "trouble"), End::Exited { code: 0 });
}

fn an_idle_agent_is_dropped_and_woken() {
    let idle = |name: &str| limited(launch_agent(name, TROUBLE), |limits| limits.idle = Duration::from_millis(20));
    let mut host = Host::start(&[idle("sleepy"), launch_agent("awake", TROUBLE)]);
    host.until_ready("awake");
    host.listen(|heard| heard["sleepy"].idle == 1);
    assert_eq!(host.tell("sleepy", 1, "hello"), Outcome::Done);
    host.listen(|heard| heard["sleepy"].idle == 2);
    assert!(matches!(host.tell("sleepy", 2, "trap"), Outcome::Lost { .. }));
    assert_eq!(host.tell("sleepy", 3, "hello"), Outcome::Done);
    host.listen(|heard| heard["sleepy"].idle == 3);
    assert_eq!(host.log("sleepy"), "info: first      \ninfo: woken      \ninfo: woken      \ninfo: again      \n");
    assert_eq!(host.heard["awake"].idle, 0);
    // There is no waking for the close.
    host.close(None, LONG);
    let heard = host.finish();
    assert!(!heard["sleepy"].stderr.ends_with(b"close\n") && heard["awake"].stderr.ends_with(b"close\n"));
    assert_eq!((ended(&heard, "sleepy"), ended(&heard, "awake")), (End::Exited { code: 0 }, End::Exited { code: 0 }));
}

fn a_resurrected_agent_is_told_so() {
    let mut launch = launch_agent("diary", DIARY);
    launch.again = true;
    let mut host = Host::start(&[launch]);
    host.until_ready("diary");
    host.close(None, LONG);
    assert!(host.finish()["diary"].stderr.starts_with(b"info: resurrected\n"));
}

fn an_agent_that_refuses_to_start_is_refused() {
    let agent = |start| Agent { start, more: r#"(data (i32.const 1024) "no home,\nno work")"#, ..QUIET };
    let says = agent("(call $failed (i32.const 1024) (i32.const 16))");
    assert_eq!(refusal(launch_agent("picky", says)), "start the agent: it says: no home, no work");
    assert!(refusal(launch_agent("broken", agent("(unreachable)"))).starts_with("start the agent: wasm trap: wasm `unreachable`"));
    // Refusing to wake loses the event, not the run; at the next try it may do better.
    let grumpy = agent("(if (result i32) (local.get $beginning) (then (call $failed (i32.const 1024) (i32.const 16))) (else (call $ok)))");
    let mut host = Host::start(&[limited(launch_agent("grumpy", grumpy), |limits| limits.idle = Duration::from_millis(5))]);
    host.listen(|heard| heard["grumpy"].idle == 1);
    for event in [1, 2] {
        let outcome = host.tell("grumpy", event, "hello");
        let why = "its start failed: no home, no work";
        assert!(matches!(&outcome, Outcome::Lost { end: End::Trapped { message } } if message == why), "{outcome:?}");
    }
    host.close(None, LONG);
    assert_eq!(ended(&host.finish(), "grumpy"), End::Exited { code: 0 });
}

fn an_event_is_a_sign_of_life() {
    let home = tempfile::tempdir().unwrap();
    let mut host = Host::start(&[at_home(launch_agent("diary", DIARY), home.path())]);
    host.until_ready("diary");
    assert_eq!(host.tell("diary", 1, "hello"), Outcome::Done);
    let beat = home.path().join("logs/heartbeat");
    assert!(beat.metadata().unwrap().modified().unwrap().elapsed().unwrap() < LONG);
    host.close(None, LONG);
    host.finish();
}

/// The directories were opened before the jail closed, and are there for instances that are made behind it; a path that was swapped
/// meanwhile leads nowhere new.
fn every_instance_sees_the_same_directories() {
    // Logs the path of each directory, makes one in it that is called as the message says, and logs whether that was allowed.
    let agent = Agent {
        message: r#"(local $at i32) (local $left i32)
          (call $directories (i32.const 64))
          (local.set $at (i32.load (i32.const 64))) (local.set $left (i32.load (i32.const 68)))
          (loop $more
            (call $log (i32.load offset=4 (local.get $at)) (i32.load offset=8 (local.get $at)))
            (call $mkdir (i32.load (local.get $at)) (local.get $text) (local.get $text_len) (i32.const 80))
            (call $log (i32.add (i32.const 1024) (i32.mul (i32.load8_u (i32.const 80)) (i32.const 4))) (i32.const 4))
            (local.set $at (i32.add (local.get $at) (i32.const 12)))
            (br_if $more (local.tee $left (i32.sub (local.get $left) (i32.const 1)))))
          (call $ok)"#,
        more: r#"(data (i32.const 1024) "madenot!")"#,
        ..QUIET
    };
    let place = tempfile::tempdir().unwrap();
    let at = |name: &str| place.path().join(name);
    for name in ["home", "other", "shared"] {
        std::fs::create_dir(at(name)).unwrap();
    }
    let looker = |name: &str, home: &str, role| {
        let mut launch = limited(launch_agent(name, agent), |limits| limits.idle = Duration::from_millis(20));
        (launch.role, launch.shared) = (role, Some(at("shared")));
        at_home(launch, &at(home))
    };
    let mut host = Host::start(&[looker("worker", "home", Role::Executor), looker("watcher", "other", Role::Observer)]);
    for (event, name) in [(1, "first"), (2, "second")] {
        host.listen(|heard| heard.values().all(|heard| u64::try_from(heard.idle) == Ok(event)));
        for agent in ["worker", "watcher"] {
            assert_eq!(host.tell(agent, event, &format!("{name} {agent}")), Outcome::Done);
        }
        if event == 1 {
            std::fs::rename(at("home"), at("moved")).unwrap();
            std::os::unix::fs::symlink("/tmp", at("home")).unwrap();
        }
    }
    assert_eq!(host.log("worker"), "info: /home\ninfo: made\ninfo: /shared\ninfo: made\n".repeat(2));
    assert_eq!(host.log("watcher"), "info: /home\ninfo: made\ninfo: /shared\ninfo: not!\n".repeat(2));
    assert!(at("moved/first worker").exists() && at("moved/second worker").exists());
    assert!(at("shared/second worker").exists() && at("other/second watcher").exists() && !at("shared/second watcher").exists());
    host.close(None, LONG);
    host.finish();
}

fn one_agent_closes_and_the_other_lives() {
    let mut host = Host::start(&[launch_agent("one", DIARY), launch_agent("other", DIARY)]);
    host.until_ready("one");
    host.until_ready("other");
    host.close(Some("one"), LONG);
    host.listen(|heard| heard["one"].ended.is_some());
    // Too late to matter, and no reason to end the other.
    host.event("one", 1, message("too late"));
    assert_eq!(host.tell("other", 1, "still there"), Outcome::Done);
    host.close(None, LONG);
    let heard = host.finish();
    assert!(heard["one"].over.is_empty() && heard["one"].stderr.ends_with(b"close\n"));
}

fn an_agent_of_another_shape_is_refused() {
    let exports = |exports: &str| {
        let core = "(core module $m (func (export \"f\"))) (core instance $m (instantiate $m)) (func $f (canon lift (core func $m \"f\")))";
        format!("(component {core} (instance $i {exports}) (export \"lazarus:cell/agent@0.1.0\" (instance $i)))")
    };
    let all = ["start", "handle-message", "tick", "close"].map(|name| format!("(export \"{name}\" (func $f))")).concat();
    let newer = exports("").replace("(component", r#"(component (import "lazarus:cell/log@0.1.9" (instance (export "sing" (func))))"#);
    for (source, expected) in [
        (exports(""), "run the agent: its export lazarus:cell/agent is not as this Lazarus knows it"),
        (exports(&all), "start the agent: its export lazarus:cell/agent is not as this Lazarus knows it"),
        (newer, "run the agent: it imports lazarus:cell/log@0.1.9, not all of which this Lazarus has"),
    ] {
        let message = refusal(launch("odd", &source));
        assert!(message.contains(expected) && !message.contains('\n'), "{message}");
    }
}

fn a_warden_that_breaks_the_protocol_ends_the_host() {
    let launches = || [launch_agent("agent", TROUBLE), launch("program", &wat::start("(call $sleep (i32.const 100000000))"))];
    let nonsense: [fn(&mut Host); 6] = [
        |host| host.event("agent", 0, Occasion::Tick),
        |host| host.event("nobody", 1, Occasion::Tick),
        |host| host.event("program", 1, Occasion::Tick),
        |host| host.answer("agent", 1, Ok(Gift::Done)),
        |host| host.answer("program", 1, Ok(Gift::Done)),
        |host| {
            // The first waits for its answer.
            host.event("agent", 1, message("wait"));
            host.asked("agent");
            host.event("agent", 2, Occasion::Tick);
        },
    ];
    for speak in nonsense {
        let mut host = Host::start(&launches());
        host.until_ready("agent");
        host.until_ready("program");
        speak(&mut host);
        host.breaks();
    }
}
