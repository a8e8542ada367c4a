//! Agents that live by events: what they are told, what they ask, and how their events end. The test is the warden.

use std::time::Duration;

use lazarus::{
    backend::protocol::{End, Occasion, Outcome, ToChild},
    mail::{Call, Facts, Gift, Message, MessageId, Reason, Refusal},
};

use crate::{
    Case,
    event_wat::{Agent, QUIET},
    fixture::{Host, LONG, at_home, launch, limited, message, refusal},
    wat,
};

pub const CASES: &[Case] = &[
    ("an_agent_starts_handles_and_closes", an_agent_starts_handles_and_closes),
    ("an_agent_replies_to_a_message", an_agent_replies_to_a_message),
];

/// Logs how it begins, what it is sent, each tick and its close.
pub const DIARY: Agent<'static> = Agent {
    start: "(call $log (i32.add (i32.const 1024) (i32.mul (local.get $beginning) (i32.const 16))) (i32.const 11)) (call $ok)",
    message: "(call $log (local.get $text) (local.get $text_len)) (call $ok)",
    tick: "(call $log (i32.const 1088) (i32.const 4)) (call $ok)",
    close: "(call $log (i32.const 1104) (i32.const 5))",
    more: r#"(data (i32.const 1024) "first      .....woken      .....again      .....resurrected.....tick............close")"#,
};

/// Answers each message with its own text, and retries where that is refused.
pub const ECHO: Agent<'static> = Agent {
    message: "(call $reply_to (local.get $text) (local.get $text_len) (i32.const 64))
      (if (result i32) (i32.load8_u (i32.const 64))
        (then (call $retry (i32.load (i32.const 72)) (i32.load (i32.const 76))))
        (else (call $ok)))",
    ..QUIET
};

fn log_of(host: &Host, agent: &str) -> String {
    String::from_utf8(host.heard[agent].stderr.clone()).unwrap()
}

fn an_agent_starts_handles_and_closes() {
    let mut host = Host::start(&[launch("diary", DIARY.component())]);
    host.until_ready("diary");
    assert_eq!(host.tell("diary", 1, "dear diary"), Outcome::Done);
    host.event("diary", 2, Occasion::Tick);
    assert_eq!(host.until_over("diary", 2), Outcome::Done);
    host.close(None, LONG);
    let heard = host.finish();
    assert_eq!(heard["diary"].ended.as_ref().unwrap().0, End::Exited { code: 0 });
    let log = String::from_utf8(heard["diary"].stderr.clone()).unwrap();
    assert_eq!(log, "info: first      \ninfo: dear diary\ninfo: tick\ninfo: close\n");
}

fn an_agent_replies_to_a_message() {
    let mut host = Host::start(&[launch("echo", ECHO.component())]);
    host.until_ready("echo");
    host.event("echo", 1, message("hello"));
    let (number, call) = host.asked("echo");
    assert!(matches!(&call, Call::Reply { text, to: None } if text.as_str() == "hello"), "{call:?}");
    host.answer("echo", number, Ok(Gift::Sent { id: MessageId::random() }));
    assert_eq!(host.until_over("echo", 1), Outcome::Done);
    host.event("echo", 2, message("again"));
    let (number, _) = host.asked("echo");
    host.answer("echo", number, Err(Refusal::new(Reason::Full, "reply: human:alice has 1000 messages waiting")));
    assert_eq!(host.until_over("echo", 2), Outcome::Retry { why: "reply: human:alice has 1000 messages waiting".into() });
    host.close(None, LONG);
    host.finish();
}
