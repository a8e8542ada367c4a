//! Agents that live by events, as text: a core module with the canonical ABI, made a component by the official encoder.

use std::{collections::BTreeMap, path::Path, sync::Mutex};

use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

/// What an agent does. Each is core code; a handler's result is left by `$ok`, `$failed`, `$retry` or `$park`.
#[derive(Clone, Copy)]
pub struct Agent<'a> {
    /// On start; `$beginning` is 0 for first, 1 woken, 2 again, 3 resurrected.
    pub start: &'a str,
    /// On a message; its text is at `$text`, of `$text_len` bytes; `$attempt`.
    pub message: &'a str,
    /// On a tick.
    pub tick: &'a str,
    /// On close.
    pub close: &'a str,
    /// More of the module: data, globals, functions.
    pub more: &'a str,
}

/// An agent that does nothing, well.
pub const QUIET: Agent<'static> = Agent { start: "(call $ok)", message: "(call $ok)", tick: "(call $ok)", close: "", more: "" };

/// Logs how it begins, what it is sent, each tick and its close.
pub const DIARY: Agent<'static> = Agent {
    start: "(call $log (i32.add (i32.const 1024) (i32.mul (local.get $beginning) (i32.const 16))) (i32.const 11)) (call $ok)",
    message: "(call $log (local.get $text) (local.get $text_len)) (call $ok)",
    tick: "(call $log (i32.const 1088) (i32.const 4)) (call $ok)",
    close: "(call $log (i32.const 1104) (i32.const 5))",
    more: r#"(data (i32.const 1024) "first      .....woken      .....again      .....resurrected.....tick............close")"#,
};

/// Answers each message with its own text, and fails with the cell's words where that is refused: to be tried again.
pub const ECHO: Agent<'static> = Agent {
    message: "(call $reply_to (local.get $text) (local.get $text_len) (i32.const 64))
      (if (result i32) (i32.load8_u (i32.const 64))
        (then (call $retry (i32.load (i32.const 72)) (i32.load (i32.const 76))))
        (else (call $ok)))",
    ..QUIET
};

/// Does what the first letter of a message says: trap, spin (and log that first), bomb (of memory), compute for a while, log for ever, wait for an answer, retry,
/// park; anything else goes well. Logs how it begins.
pub const TROUBLE: Agent<'static> = Agent {
    message: "(local $do i32) (local $i i32) (local.set $do (i32.load8_u (local.get $text)))
      (if (i32.eq (local.get $do) (i32.const 116)) (then (unreachable)))
      (if (i32.eq (local.get $do) (i32.const 115)) (then
        (call $log (local.get $text) (local.get $text_len)) (loop $more (br $more))))
      (if (i32.eq (local.get $do) (i32.const 98)) (then
        (loop $more (br_if $more (i32.ne (memory.grow (i32.const 16)) (i32.const -1)))) (unreachable)))
      (if (i32.eq (local.get $do) (i32.const 99)) (then
        (loop $more (br_if $more (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 20000000))))))
      (if (i32.eq (local.get $do) (i32.const 108)) (then (loop $more (call $log (i32.const 4096) (i32.const 4096)) (br $more))))
      (if (i32.eq (local.get $do) (i32.const 119)) (then (call $reply_to (local.get $text) (local.get $text_len) (i32.const 64))))
      (if (i32.eq (local.get $do) (i32.const 114)) (then (return (call $retry (local.get $text) (local.get $text_len)))))
      (if (i32.eq (local.get $do) (i32.const 112)) (then (return (call $park (local.get $text) (local.get $text_len)))))
      (call $ok)",
    ..DIARY
};

impl Agent<'_> {
    /// As a component.
    pub fn component(&self) -> Vec<u8> {
        encoded(&self.module())
    }

    /// As a core module.
    fn module(&self) -> String {
        let Self { start, message, tick, close, more } = self;
        format!(
            r#"(module
  (import "lazarus:cell/cell@0.1.0" "me" (func $me (param i32)))
  (import "lazarus:cell/cell@0.1.0" "ttl-left" (func $ttl_left (param i32)))
  (import "lazarus:cell/mailbox@0.1.0" "send" (func $send (param i32 i32 i32 i32 i32)))
  (import "lazarus:cell/mailbox@0.1.0" "reply" (func $reply_to (param i32 i32 i32)))
  (import "lazarus:cell/mailbox@0.1.0" "receive" (func $receive (param i32)))
  (import "lazarus:cell/log@0.1.0" "write" (func $write (param i32 i32 i32)))
  (import "lazarus:cell/heartbeat@0.1.0" "beat" (func $beat))
  (import "lazarus:cell/artifacts@0.1.0" "declare" (func $declare (param i32 i32 i32 i32 i32)))
  (import "wasi:filesystem/preopens@0.2.0" "get-directories" (func $directories (param i32)))
  (import "wasi:filesystem/types@0.2.0" "[method]descriptor.create-directory-at" (func $mkdir (param i32 i32 i32 i32)))
  (import "wasi:clocks/monotonic-clock@0.2.0" "subscribe-duration" (func $subscribe (param i64) (result i32)))
  (import "wasi:io/poll@0.2.0" "[method]pollable.block" (func $block (param i32)))
  (memory (export "memory") 16)
  (global $next (mut i32) (i32.const 131072))
  (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
    (local $at i32)
    (if (i32.gt_u (i32.add (global.get $next) (local.get 3)) (i32.const 900000)) (then (global.set $next (i32.const 131072))))
    (local.set $at (global.get $next))
    (global.set $next (i32.add (local.get $at) (i32.and (i32.add (local.get 3) (i32.const 7)) (i32.const -8))))
    (local.get $at))
  ;; Results: of start at 16 (a tag, a text), of handlers at 32 (a tag, a kind, a text). Answers of calls at 64.
  (func $ok (result i32) (i32.store8 (i32.const 16) (i32.const 0)) (i32.const 16))
  (func $failed (param $at i32) (param $len i32) (result i32)
    (i32.store8 (i32.const 16) (i32.const 1)) (i32.store (i32.const 20) (local.get $at)) (i32.store (i32.const 24) (local.get $len))
    (i32.const 16))
  (func $not_done (param $kind i32) (param $at i32) (param $len i32) (result i32)
    (i32.store8 (i32.const 32) (i32.const 1)) (i32.store8 (i32.const 36) (local.get $kind))
    (i32.store (i32.const 40) (local.get $at)) (i32.store (i32.const 44) (local.get $len)) (i32.const 32))
  (func $retry (param $at i32) (param $len i32) (result i32) (call $not_done (i32.const 0) (local.get $at) (local.get $len)))
  (func $park (param $at i32) (param $len i32) (result i32) (call $not_done (i32.const 1) (local.get $at) (local.get $len)))
  (func $log (param $at i32) (param $len i32) (call $write (i32.const 1) (local.get $at) (local.get $len)))
  {more}
  (func (export "lazarus:cell/agent@0.1.0#start") (param $beginning i32) (result i32) {start})
  (func (export "lazarus:cell/agent@0.1.0#handle-message")
    (param $id i32) (param $id_len i32) (param $sender i32) (param $sender_len i32) (param $receiver i32) (param $receiver_len i32)
    (param $text i32) (param $text_len i32) (param $answers i32) (param $answer i32) (param $answer_len i32)
    (param $sent_at i64) (param $attempt i32) (result i32) {message})
  (func (export "lazarus:cell/agent@0.1.0#tick") (result i32) {tick})
  (func (export "lazarus:cell/agent@0.1.0#close") {close}))"#
        )
    }
}

/// What these agents use of WASI, and a world of it beside their own.
const WASI: [&str; 4] = [
    "package wasi:io@0.2.0; interface poll { resource pollable { block: func(); } }",
    "package wasi:clocks@0.2.0;
     interface monotonic-clock { use wasi:io/poll@0.2.0.{pollable}; subscribe-duration: func(when: u64) -> pollable; }",
    "package wasi:filesystem@0.2.0;
     interface types {
       enum error-code { access, would-block, already, bad-descriptor, busy, deadlock, quota, exist, file-too-large, illegal-byte-sequence,
         in-progress, interrupted, invalid, io, is-directory, loop, too-many-links, message-size, name-too-long, no-device, no-entry, no-lock,
         insufficient-memory, insufficient-space, not-directory, not-empty, not-recoverable, unsupported, no-tty, no-such-device, overflow,
         not-permitted, pipe, read-only, invalid-seek, text-file-busy, cross-device }
       resource descriptor { create-directory-at: func(path: string) -> result<_, error-code>; }
     }
     interface preopens { use types.{descriptor}; get-directories: func() -> list<tuple<descriptor, string>>; }",
    "package tests:agents;
     world agent-with-wasi {
       include lazarus:cell/event-agent@0.1.0;
       import wasi:clocks/monotonic-clock@0.2.0;
       import wasi:filesystem/preopens@0.2.0;
     }",
];

/// Makes the component; the same text, once a process.
fn encoded(module: &str) -> Vec<u8> {
    static MADE: Mutex<BTreeMap<String, Vec<u8>>> = Mutex::new(BTreeMap::new());
    let mut made = MADE.lock().unwrap();
    if let Some(component) = made.get(module) {
        return component.clone();
    }
    let mut resolve = Resolve::default();
    resolve.push_path(Path::new(env!("CARGO_MANIFEST_DIR")).join("../guest-sdk/wit")).unwrap();
    let mut package = None;
    for text in WASI {
        package = Some(resolve.push_str("tests.wit", text).unwrap());
    }
    let world = resolve.select_world(&[package.unwrap()], Some("agent-with-wasi")).unwrap();
    let mut binary = wat::parse_str(module).unwrap_or_else(|error| panic!("{error}\n{module}"));
    embed_component_metadata(&mut binary, &resolve, world, StringEncoding::UTF8).unwrap();
    let component = ComponentEncoder::default().module(&binary).unwrap().validate(true).encode().unwrap();
    made.insert(module.to_owned(), component.clone());
    component
}
