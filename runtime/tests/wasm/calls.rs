//! What guests ask of their cell: each call as the warden hears it, and each answer as the guest gets it.

use lazarus::{
    backend::protocol::{End, Occasion, Outcome},
    cell::Role,
    mail::{Artifact, Call, Facts, Gift, Message, MessageId, Reason, Refusal},
};

use crate::{
    Case,
    event_wat::{Agent, ECHO, QUIET},
    fixture::{Host, LONG, at_home, ended, launch, launch_agent, message, refusal},
    wat,
};

pub const CASES: &[Case] = &[
    ("an_agent_replies_to_a_message", an_agent_replies_to_a_message),
    ("each_call_is_heard_and_its_answer_arrives", each_call_is_heard_and_its_answer_arrives),
    ("what_cannot_be_asked_is_refused_in_the_host", what_cannot_be_asked_is_refused_in_the_host),
    ("a_program_may_log_and_beat", a_program_may_log_and_beat),
];

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
