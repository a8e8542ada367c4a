//! Agents that live by events: what they are told, what they ask, and how their events end. The test is the warden.

use std::time::Duration;

use lazarus::{
    backend::protocol::{End, Occasion, Outcome},
    cell::Role,
    mail::{Artifact, Call, Facts, Gift, Message, MessageId, Reason, Refusal},
};

use crate::{
    Case,
    event_wat::{Agent, DIARY, ECHO, QUIET, TROUBLE},
    fixture::{Host, LONG, at_home, ended, launch, launch_agent, limited, message, refusal},
    wat,
};

pub const CASES: &[Case] = &[
    ("an_agent_starts_handles_and_closes", an_agent_starts_handles_and_closes),
    ("an_agent_replies_to_a_message", an_agent_replies_to_a_message),
    ("each_call_is_heard_and_its_answer_arrives", each_call_is_heard_and_its_answer_arrives),
    ("what_cannot_be_asked_is_refused_in_the_host", what_cannot_be_asked_is_refused_in_the_host),
    ("failures_are_told_in_one_line", failures_are_told_in_one_line),
    ("a_trap_loses_the_event_and_the_instance", a_trap_loses_the_event_and_the_instance),
    ("an_idle_agent_is_dropped_and_woken", an_idle_agent_is_dropped_and_woken),
    ("a_resurrected_agent_is_told_so", a_resurrected_agent_is_told_so),
    ("an_agent_that_refuses_to_start_is_refused", an_agent_that_refuses_to_start_is_refused),
    ("an_event_is_a_sign_of_life", an_event_is_a_sign_of_life),
    ("every_instance_sees_the_same_directories", every_instance_sees_the_same_directories),
    ("one_agent_closes_and_the_other_lives", one_agent_closes_and_the_other_lives),
    ("a_program_may_log_and_beat", a_program_may_log_and_beat),
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

fn an_agent_replies_to_a_message() {
    let mut host = Host::start(&[launch_agent("echo", ECHO)]);
    host.until_ready("echo");
    // The largest text there is, made of what grows most on its way.
    for (event, text) in [(1, "hello".to_owned()), (2, "\u{1}".repeat(32 * 1024))] {
        host.event("echo", event, message(&text));
        let (number, call) = host.asked("echo");
        assert!(matches!(&call, Call::Reply { text: said, to: None } if said.as_str() == text), "{event}");
        host.answer("echo", number, Ok(Gift::Sent { id: MessageId::random() }));
        assert_eq!(host.until_over("echo", event), Outcome::Done);
    }
    host.event("echo", 3, message("again"));
    let (number, _) = host.asked("echo");
    host.answer("echo", number, Err(Refusal::new(Reason::Full, "reply: human:alice has 1000 messages waiting")));
    assert_eq!(host.until_over("echo", 3), Outcome::Retry { why: "reply: human:alice has 1000 messages waiting".into() });
    host.close(None, LONG);
    host.finish();
}

fn facts() -> Facts {
    Facts {
        cell: "laz-0123abcd".parse().unwrap(),
        project: "alpha".parse().unwrap(),
        identity: "agent:scribe".parse().unwrap(),
        role: Role::Observer,
        ttl_left: Some(7),
    }
}

fn each_call_is_heard_and_its_answer_arrives() {
    // me, send to itself, receive, declare; logs its identity, the id of what it sent, the text that it received, and the digest.
    let agent = Agent {
        message: "
          (call $ttl_left (i32.const 64)) (if (i64.ne (i64.load (i32.const 72)) (i64.const 7)) (then (unreachable)))
          (call $me (i32.const 64)) (call $log (i32.load (i32.const 64)) (i32.load (i32.const 68)))
          (if (i32.ne (i32.load8_u (i32.const 72)) (i32.const 1)) (then (unreachable)))
          (call $send (i32.load (i32.const 64)) (i32.load (i32.const 68)) (local.get $text) (local.get $text_len) (i32.const 64))
          (if (i32.load8_u (i32.const 64)) (then (unreachable)))
          (call $log (i32.load (i32.const 68)) (i32.load (i32.const 72)))
          (call $receive (i32.const 64))
          (if (i32.or (i32.load8_u (i32.const 64)) (i32.eqz (i32.load8_u (i32.const 72)))) (then (unreachable)))
          (call $log (i32.load (i32.const 104)) (i32.load (i32.const 108)))
          (call $declare (local.get $text) (local.get $text_len) (local.get $text) (local.get $text_len) (i32.const 64))
          (if (i32.load8_u (i32.const 64)) (then (unreachable)))
          (call $log (i32.load (i32.const 80)) (i32.load (i32.const 84)))
          (call $ok)",
        ..QUIET
    };
    let mut host = Host::start(&[launch_agent("scribe", agent)]);
    host.until_ready("scribe");
    let id = MessageId::random();
    // What is known of the cell is asked once an event, and again in the next.
    for (event, from) in [(1, 1), (2, 5)] {
        host.event("scribe", event, message("report.txt"));
        let sha256 = "a".repeat(64);
        let Occasion::Message(waiting) = message("it waited") else { unreachable!() };
        let waiting = Message { in_reply_to: Some(id.clone()), attempt: 3, ..waiting };
        let gifts = [
            (Gift::Facts(facts()), r#"{"call":"me"}"#),
            (Gift::Sent { id: id.clone() }, r#"{"call":"send","to":"agent:scribe","text":"report.txt"}"#),
            (Gift::Received { message: Some(waiting) }, r#"{"call":"receive","wait_ms":0}"#),
            (
                Gift::Kept(Artifact { name: "report.txt".into(), sha256: sha256.clone(), bytes: 1 }),
                r#"{"call":"declare","path":"report.txt","name":"report.txt"}"#,
            ),
        ];
        for (number, (gift, expected)) in (from..).zip(gifts) {
            let (asked, call) = host.asked("scribe");
            assert_eq!((asked, serde_json::to_string(&call).unwrap().as_str()), (number, expected));
            host.answer("scribe", number, Ok(gift));
        }
        assert_eq!(host.until_over("scribe", event), Outcome::Done);
        let expected = format!("info: agent:scribe\ninfo: {id}\ninfo: it waited\ninfo: {sha256}\n");
        assert!(host.log("scribe").ends_with(&expected), "{}", host.log("scribe"));
    }
    // An answer to another question is no answer; a function that has no refusal ends the guest.
    host.event("scribe", 3, message("x"));
    let (number, _) = host.asked("scribe");
    host.answer("scribe", number, Ok(Gift::Done));
    assert!(matches!(host.until_over("scribe", 3), Outcome::Lost { end: End::Trapped { .. } }));
    host.close(None, LONG);
    host.finish();
}

fn what_cannot_be_asked_is_refused_in_the_host() {
    // Sends its text to whom the text names; the words of the refusal come back as why it is parked.
    let agent = Agent {
        message: "(call $send (local.get $text) (local.get $text_len) (local.get $text) (i32.const 0) (i32.const 64))
          (if (i32.eqz (i32.load8_u (i32.const 64))) (then (unreachable)))
          (call $park (i32.load (i32.const 72)) (i32.load (i32.const 76)))",
        tick: "(call $reply_to (i32.const 1024) (i32.const 32769) (i32.const 64))
          (if (i32.ne (i32.load8_u (i32.const 68)) (i32.const 3)) (then (unreachable)))
          (call $park (i32.load (i32.const 72)) (i32.load (i32.const 76)))",
        ..QUIET
    };
    let mut host = Host::start(&[launch_agent("rude", agent)]);
    host.until_ready("rude");
    for (event, to, expected) in [(1, "nobody", "nobody"), (2, "human:alice", "empty")] {
        let outcome = host.tell("rude", event, to);
        assert!(matches!(&outcome, Outcome::Park { why } if why.contains(expected)), "{outcome:?}");
    }
    host.event("rude", 3, Occasion::Tick);
    let outcome = host.until_over("rude", 3);
    assert!(matches!(&outcome, Outcome::Park { why } if why.contains("32769")), "{outcome:?}");
    assert!(host.heard["rude"].calls.is_empty());
    host.close(None, LONG);
    host.finish();
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

/// A program that imports one function of the cell, of type `(level: enum, text: string)` or none, and calls it.
fn calls_the_cell() -> String {
    let run = "(call $write (i32.const 2) (i32.const 64) (i32.const 5)) (call $beat) (i32.const 0)";
    format!(
        r#"(component
  (import "lazarus:cell/log@0.1.0" (instance $log
    (type $a_level (enum "debug" "info" "warn" "error"))
    (export "level" (type $level (eq $a_level)))
    (export "write" (func (param "level" $level) (param "text" string)))))
  (import "lazarus:cell/heartbeat@0.1.0" (instance $heartbeat (export "beat" (func))))
  (core module $libc (memory (export "memory") 1) {})
  (core instance $libc (instantiate $libc))
  (core func $write (canon lower (func $log "write") (memory (core memory $libc "memory"))))
  (core func $beat (canon lower (func $heartbeat "beat")))
  (core module $main
    (import "cell" "write" (func $write (param i32 i32 i32))) (import "cell" "beat" (func $beat))
    (func (export "run") (result i32) {run}))
  (core instance $cell (export "write" (func $write)) (export "beat" (func $beat)))
  (core instance $main (instantiate $main (with "cell" (instance $cell))))
  (func $run (result (result)) (canon lift (core func $main "run")))
  (instance $runs (export "run" (func $run)))
  (export "wasi:cli/run@0.2.0" (instance $runs)))"#,
        wat::data(64, "hello")
    )
}

fn a_program_may_log_and_beat() {
    let home = tempfile::tempdir().unwrap();
    let heard = Host::start(&[at_home(launch("program", &calls_the_cell()), home.path())]).finish();
    assert_eq!(ended(&heard, "program"), End::Exited { code: 0 });
    assert_eq!(heard["program"].stderr, b"warn: hello\n");
    assert!(home.path().join("logs/heartbeat").exists());
    let asks = r#"(component (import "lazarus:cell/cell@0.1.0" (instance (export "close" (func)))))"#;
    let message = refusal(launch("program", asks));
    assert!(message.contains("lazarus:cell/cell@0.1.0") && message.contains("export lazarus:cell/agent"), "{message}");
}

fn an_agent_of_another_shape_is_refused() {
    let exports = |exports: &str| {
        let core = "(core module $m (func (export \"f\"))) (core instance $m (instantiate $m)) (func $f (canon lift (core func $m \"f\")))";
        format!("(component {core} (instance $i {exports}) (export \"lazarus:cell/agent@0.1.0\" (instance $i)))")
    };
    let all = ["start", "handle-message", "tick", "close"].map(|name| format!("(export \"{name}\" (func $f))")).concat();
    for (source, expected) in [(exports(""), "lazarus:cell/agent is not as this Lazarus knows it"), (exports(&all), "start")] {
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
