//! A list of calls, as a component.

use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

use crate::script::{How, Op, Texts};

/// What these components use of WASI: the order of what is declared counts, where it becomes a number.
const WASI: [&str; 3] = [
    "package wasi:io@0.2.0;
     interface error { resource error; }
     interface poll { resource pollable { block: func(); } }
     interface streams {
       use error.{error};
       use poll.{pollable};
       variant stream-error { last-operation-failed(error), closed }
       resource input-stream { subscribe: func() -> pollable; }
       resource output-stream {
         check-write: func() -> result<u64, stream-error>;
         write: func(contents: list<u8>) -> result<_, stream-error>;
         blocking-write-and-flush: func(contents: list<u8>) -> result<_, stream-error>;
         blocking-flush: func() -> result<_, stream-error>;
         write-zeroes: func(len: u64) -> result<_, stream-error>;
         blocking-write-zeroes-and-flush: func(len: u64) -> result<_, stream-error>;
         splice: func(src: borrow<input-stream>, len: u64) -> result<u64, stream-error>;
         blocking-splice: func(src: borrow<input-stream>, len: u64) -> result<u64, stream-error>;
       }
     }",
    "package wasi:filesystem@0.2.0;
     interface types {
       use wasi:io/streams@0.2.0.{input-stream, output-stream, error};
       enum error-code { access, would-block, already, bad-descriptor, busy, deadlock, quota, exist, file-too-large, illegal-byte-sequence,
         in-progress, interrupted, invalid, io, is-directory, loop, too-many-links, message-size, name-too-long, no-device, no-entry, no-lock,
         insufficient-memory, insufficient-space, not-directory, not-empty, not-recoverable, unsupported, no-tty, no-such-device, overflow,
         not-permitted, pipe, read-only, invalid-seek, text-file-busy, cross-device }
       flags path-flags { symlink-follow }
       flags open-flags { create, directory, exclusive, truncate }
       flags descriptor-flags { read, write, file-integrity-sync, data-integrity-sync, requested-write-sync, mutate-directory }
       enum descriptor-type { unknown, block-device, character-device, directory, fifo, symbolic-link, regular-file, socket }
       record directory-entry { %type: descriptor-type, name: string }
       resource directory-entry-stream { read-directory-entry: func() -> result<option<directory-entry>, error-code>; }
       resource descriptor {
         read-directory: func() -> result<directory-entry-stream, error-code>;
         read-via-stream: func(offset: u64) -> result<input-stream, error-code>;
         write-via-stream: func(offset: u64) -> result<output-stream, error-code>;
         append-via-stream: func() -> result<output-stream, error-code>;
         set-size: func(size: u64) -> result<_, error-code>;
         write: func(buffer: list<u8>, offset: u64) -> result<u64, error-code>;
         create-directory-at: func(path: string) -> result<_, error-code>;
         link-at: func(old-path-flags: path-flags, old-path: string, new-descriptor: borrow<descriptor>, new-path: string) -> result<_, error-code>;
         open-at: func(path-flags: path-flags, path: string, open-flags: open-flags, %flags: descriptor-flags) -> result<descriptor, error-code>;
         remove-directory-at: func(path: string) -> result<_, error-code>;
         rename-at: func(old-path: string, new-descriptor: borrow<descriptor>, new-path: string) -> result<_, error-code>;
         symlink-at: func(old-path: string, new-path: string) -> result<_, error-code>;
         unlink-file-at: func(path: string) -> result<_, error-code>;
       }
       filesystem-error-code: func(err: borrow<error>) -> option<error-code>;
     }
     interface preopens { use types.{descriptor}; get-directories: func() -> list<tuple<descriptor, string>>; }",
    "package wasi:cli@0.2.0;
     interface stdout { use wasi:io/streams@0.2.0.{output-stream}; get-stdout: func() -> output-stream; }
     interface run { run: func() -> result; }
     world script { import wasi:filesystem/preopens@0.2.0; import wasi:filesystem/types@0.2.0; import stdout; export run; }",
];

/// The component. Of each call, its error and one is a byte on stdout, or 0.
pub fn component(ops: &[Op]) -> Vec<u8> {
    let mut texts = Texts::from(4096);
    let calls: String = ops.iter().map(|op| format!("(call $say {})\n", call(*op, &mut texts))).collect();
    let module = module(&texts.data, &calls);
    let mut resolve = Resolve::default();
    let mut package = None;
    for text in WASI {
        package = Some(resolve.push_str("script.wit", text).unwrap());
    }
    let world = resolve.select_world(&[package.unwrap()], Some("script")).unwrap();
    let mut binary = wat::parse_str(&module).unwrap_or_else(|error| panic!("{error}\n{module}"));
    embed_component_metadata(&mut binary, &resolve, world, StringEncoding::UTF8).unwrap();
    ComponentEncoder::default().module(&binary).unwrap().validate(true).encode().unwrap()
}

fn module(data: &str, calls: &str) -> String {
    let files = "wasi:filesystem/types@0.2.0";
    let streams = "wasi:io/streams@0.2.0";
    format!(
        r#"(module
  (import "{files}" "[method]descriptor.read-via-stream" (func $read_via (param i32 i64 i32)))
  (import "{files}" "[method]descriptor.write-via-stream" (func $write_via (param i32 i64 i32)))
  (import "{files}" "[method]descriptor.append-via-stream" (func $append_via (param i32 i32)))
  (import "{files}" "[method]descriptor.set-size" (func $set_size (param i32 i64 i32)))
  (import "{files}" "[method]descriptor.write" (func $write_at (param i32 i32 i32 i64 i32)))
  (import "{files}" "[method]descriptor.create-directory-at" (func $create_directory (param i32 i32 i32 i32)))
  (import "{files}" "[method]descriptor.link-at" (func $link_at (param i32 i32 i32 i32 i32 i32 i32 i32)))
  (import "{files}" "[method]descriptor.open-at" (func $open_at (param i32 i32 i32 i32 i32 i32 i32)))
  (import "{files}" "[method]descriptor.remove-directory-at" (func $remove_directory (param i32 i32 i32 i32)))
  (import "{files}" "[method]descriptor.rename-at" (func $rename_at (param i32 i32 i32 i32 i32 i32 i32)))
  (import "{files}" "[method]descriptor.symlink-at" (func $symlink_at (param i32 i32 i32 i32 i32 i32)))
  (import "{files}" "[method]descriptor.unlink-file-at" (func $unlink_at (param i32 i32 i32 i32)))
  (import "{files}" "[method]descriptor.read-directory" (func $read_directory (param i32 i32)))
  (import "{files}" "[method]directory-entry-stream.read-directory-entry" (func $read_entry (param i32 i32)))
  (import "{files}" "[resource-drop]directory-entry-stream" (func $drop_listing (param i32)))
  (import "{files}" "filesystem-error-code" (func $error_code (param i32 i32)))
  (import "{files}" "[resource-drop]descriptor" (func $drop_descriptor (param i32)))
  (import "wasi:io/error@0.2.0" "[resource-drop]error" (func $drop_error (param i32)))
  (import "{streams}" "[resource-drop]input-stream" (func $drop_in (param i32)))
  (import "{streams}" "[resource-drop]output-stream" (func $drop_out (param i32)))
  (import "{streams}" "[method]input-stream.subscribe" (func $subscribe (param i32) (result i32)))
  (import "wasi:io/poll@0.2.0" "[method]pollable.block" (func $block (param i32)))
  (import "wasi:io/poll@0.2.0" "[resource-drop]pollable" (func $drop_pollable (param i32)))
  (import "{streams}" "[method]output-stream.check-write" (func $check_write (param i32 i32)))
  (import "{streams}" "[method]output-stream.write" (func $stream_write (param i32 i32 i32 i32)))
  (import "{streams}" "[method]output-stream.blocking-write-and-flush" (func $blocking_write (param i32 i32 i32 i32)))
  (import "{streams}" "[method]output-stream.blocking-flush" (func $blocking_flush (param i32 i32)))
  (import "{streams}" "[method]output-stream.write-zeroes" (func $write_zeroes (param i32 i64 i32)))
  (import "{streams}" "[method]output-stream.blocking-write-zeroes-and-flush" (func $blocking_zeroes (param i32 i64 i32)))
  (import "{streams}" "[method]output-stream.splice" (func $splice (param i32 i32 i64 i32)))
  (import "{streams}" "[method]output-stream.blocking-splice" (func $blocking_splice (param i32 i32 i64 i32)))
  (import "wasi:filesystem/preopens@0.2.0" "get-directories" (func $directories (param i32)))
  (import "wasi:cli/stdout@0.2.0" "get-stdout" (func $get_stdout (result i32)))
  (memory (export "memory") 64)
  (global $next (mut i32) (i32.const 3145728))
  (global $out (mut i32) (i32.const 0))
  (global $home (mut i32) (i32.const 0))
  (global $second (mut i32) (i32.const 0))
  (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
    (local $at i32) (local.set $at (global.get $next))
    (global.set $next (i32.add (local.get $at) (i32.and (i32.add (local.get 3) (i32.const 7)) (i32.const -8))))
    (local.get $at))
  {data}
  (func $slot (param $slot i32) (result i32) (i32.load offset=1024 (i32.mul (local.get $slot) (i32.const 4))))
  ;; Of a result whose error is a byte at this place of the answer at 64: the error and one, or 0.
  (func $code (param $at i32) (result i32)
    (if (result i32) (i32.load8_u (i32.const 64)) (then (i32.add (i32.const 1) (i32.load8_u (i32.add (i32.const 64) (local.get $at)))))
      (else (i32.const 0))))
  ;; Of a result whose error is a stream error at this place: the file system's code and one, 200 for a closed stream.
  (func $stream_code (param $at i32) (result i32)
    (local $error i32)
    (if (i32.eqz (i32.load8_u (i32.const 64))) (then (return (i32.const 0))))
    (if (i32.load8_u (i32.add (i32.const 64) (local.get $at))) (then (return (i32.const 200))))
    (local.set $error (i32.load offset=4 (i32.add (i32.const 64) (local.get $at))))
    (call $error_code (local.get $error) (i32.const 96))
    (call $drop_error (local.get $error))
    (if (result i32) (i32.load8_u (i32.const 96)) (then (i32.add (i32.const 1) (i32.load8_u (i32.const 97)))) (else (i32.const 201))))
  (func $say (param $code i32)
    (i32.store8 (i32.const 128) (local.get $code))
    (call $blocking_write (global.get $out) (i32.const 128) (i32.const 1) (i32.const 64))
    (if (i32.load8_u (i32.const 64)) (then (unreachable))))
  (func $open (param $slot i32) (param $at i32) (param $len i32) (param $flags i32) (result i32)
    (call $open_at (global.get $home) (i32.const 1) (local.get $at) (local.get $len) (local.get $flags) (i32.const 3) (i32.const 64))
    (if (i32.eqz (i32.load8_u (i32.const 64)))
      (then (i32.store offset=1024 (i32.mul (local.get $slot) (i32.const 4)) (i32.load (i32.const 68)))))
    (call $code (i32.const 4)))
  (func $write (param $slot i32) (param $at i64) (param $len i32) (result i32)
    (call $write_at (call $slot (local.get $slot)) (i32.const 65536) (local.get $len) (local.get $at) (i32.const 64))
    (if (i32.load8_u (i32.const 64)) (then (return (call $code (i32.const 8)))))
    (select (i32.const 0) (i32.const 255) (i64.eq (i64.load (i32.const 72)) (i64.extend_i32_u (local.get $len)))))
  ;; Waits until what a stream took is written.
  (func $flushed (param $stream i32) (result i32)
    (call $blocking_flush (local.get $stream) (i32.const 64)) (call $stream_code (i32.const 4)))
  ;; The ways are numbered in their order.
  (func $streamed (param $stream i32) (param $in i32) (param $way i32) (param $len i32) (result i32)
    (local $code i32)
    (if (i32.or (i32.eqz (local.get $way)) (i32.eq (local.get $way) (i32.const 6))) (then
      (call $blocking_write (local.get $stream) (i32.const 65536) (local.get $len) (i32.const 64))
      (return (call $stream_code (i32.const 4)))))
    (if (i32.eq (local.get $way) (i32.const 3)) (then
      (call $blocking_zeroes (local.get $stream) (i64.extend_i32_u (local.get $len)) (i32.const 64))
      (return (call $stream_code (i32.const 4)))))
    (if (i32.eq (local.get $way) (i32.const 5)) (then
      (call $blocking_splice (local.get $stream) (local.get $in) (i64.extend_i32_u (local.get $len)) (i32.const 64))
      (return (call $stream_code (i32.const 8)))))
    (call $check_write (local.get $stream) (i32.const 64))
    (if (i32.load8_u (i32.const 64)) (then (unreachable)))
    (if (i32.eq (local.get $way) (i32.const 1)) (then
      (call $stream_write (local.get $stream) (i32.const 65536) (local.get $len) (i32.const 64))
      (local.set $code (call $stream_code (i32.const 4)))))
    (if (i32.eq (local.get $way) (i32.const 2)) (then
      (call $write_zeroes (local.get $stream) (i64.extend_i32_u (local.get $len)) (i32.const 64))
      (local.set $code (call $stream_code (i32.const 4)))))
    (if (i32.eq (local.get $way) (i32.const 4)) (then
      ;; Until there is something to read.
      (local.set $code (call $subscribe (local.get $in)))
      (call $block (local.get $code))
      (call $drop_pollable (local.get $code))
      (call $splice (local.get $stream) (local.get $in) (i64.extend_i32_u (local.get $len)) (i32.const 64))
      (local.set $code (call $stream_code (i32.const 8)))))
    (if (result i32) (local.get $code) (then (local.get $code)) (else (call $flushed (local.get $stream)))))
  (func $splices (param $way i32) (result i32)
    (i32.or (i32.eq (local.get $way) (i32.const 4)) (i32.eq (local.get $way) (i32.const 5))))
  (func $stream (param $slot i32) (param $way i32) (param $len i32) (result i32)
    (local $stream i32) (local $in i32) (local $code i32)
    (if (i32.eq (local.get $way) (i32.const 6))
      (then (call $append_via (call $slot (local.get $slot)) (i32.const 64)))
      (else (call $write_via (call $slot (local.get $slot)) (i64.const 0) (i32.const 64))))
    (if (i32.load8_u (i32.const 64)) (then (return (call $code (i32.const 4)))))
    (local.set $stream (i32.load (i32.const 68)))
    (if (call $splices (local.get $way)) (then
      (call $read_via (call $slot (i32.const 9)) (i64.const 0) (i32.const 64))
      (local.set $in (i32.load (i32.const 68)))))
    (local.set $code (call $streamed (local.get $stream) (local.get $in) (local.get $way) (local.get $len)))
    (if (call $splices (local.get $way)) (then (call $drop_in (local.get $in))))
    (call $drop_out (local.get $stream))
    (local.get $code))
  (func $listings (param $count i32) (result i32)
    (loop $more
      (call $read_directory (global.get $home) (i32.const 64))
      (if (i32.load8_u (i32.const 64)) (then (return (call $code (i32.const 4)))))
      (call $next (i32.load (i32.const 68)))
      (if (i32.load8_u (i32.const 64)) (then (return (call $code (i32.const 4)))))
      (br_if $more (local.tee $count (i32.sub (local.get $count) (i32.const 1)))))
    (i32.const 0))
  ;; The next entry, whose name overwrites the last one.
  (func $next (param $stream i32)
    (global.set $next (i32.const 3145728))
    (call $read_entry (local.get $stream) (i32.const 64)))
  ;; All entries, which must be files, and each of which is removed if they are to be.
  (func $each (param $remove i32) (param $count i32) (result i32)
    (local $stream i32)
    (call $read_directory (global.get $home) (i32.const 64))
    (if (i32.load8_u (i32.const 64)) (then (return (call $code (i32.const 4)))))
    (local.set $stream (i32.load (i32.const 68)))
    (block $end (loop $more
      (call $next (local.get $stream))
      (if (i32.load8_u (i32.const 64)) (then (return (call $code (i32.const 4)))))
      (br_if $end (i32.eqz (i32.load8_u (i32.const 68))))
      (if (i32.ne (i32.load8_u (i32.const 72)) (i32.const 6)) (then (return (i32.const 254))))
      (local.set $count (i32.sub (local.get $count) (i32.const 1)))
      (if (local.get $remove) (then
        (call $unlink_at (global.get $home) (i32.load (i32.const 76)) (i32.load (i32.const 80)) (i32.const 64))
        (if (i32.load8_u (i32.const 64)) (then (return (call $code (i32.const 1)))))))
      (br $more)))
    (call $drop_listing (local.get $stream))
    (select (i32.const 255) (i32.const 0) (i32.and (local.get $count) (i32.eqz (local.get $remove)))))
  (func $close (param $slot i32) (result i32) (call $drop_descriptor (call $slot (local.get $slot))) (i32.const 0))
  (func (export "wasi:cli/run@0.2.0#run") (result i32)
    (global.set $out (call $get_stdout))
    (call $directories (i32.const 64))
    (global.set $home (i32.load (i32.load (i32.const 64))))
    (if (i32.gt_u (i32.load (i32.const 68)) (i32.const 1)) (then (global.set $second (i32.load offset=12 (i32.load (i32.const 64))))))
    {calls}
    (i32.const 0)))"#
    )
}

/// A call whose answer is a code at 1 of the answer.
fn plain(call: &str) -> String {
    format!("(block (result i32) {call} (call $code (i32.const 1)))")
}

fn call(op: Op, texts: &mut Texts) -> String {
    let home = "(global.get $home)";
    let second = "(global.get $second)";
    let answer = "(i32.const 64)";
    match op {
        Op::Mkdir(path) => plain(&format!("(call $create_directory {home} {} {answer})", texts.put(path))),
        Op::Rmdir(path) => plain(&format!("(call $remove_directory {home} {} {answer})", texts.put(path))),
        Op::Unlink(path) => plain(&format!("(call $unlink_at {home} {} {answer})", texts.put(path))),
        Op::Rename(from, to) => plain(&format!("(call $rename_at {home} {} {home} {} {answer})", texts.put(from), texts.put(to))),
        Op::RenameAcross(from, to) => plain(&format!("(call $rename_at {home} {} {second} {} {answer})", texts.put(from), texts.put(to))),
        Op::Link(from, to) => plain(&format!("(call $link_at {home} (i32.const 0) {} {home} {} {answer})", texts.put(from), texts.put(to))),
        Op::LinkAcross(from, to) => {
            plain(&format!("(call $link_at {home} (i32.const 0) {} {second} {} {answer})", texts.put(from), texts.put(to)))
        }
        Op::Symlink(target, path) => plain(&format!("(call $symlink_at {home} {} {} {answer})", texts.put(target), texts.put(path))),
        Op::Open(slot, path, how) => {
            let flags = match how {
                How::Existing => 0,
                How::Create | How::Append => 1,
                How::Exclusive => 1 | 4,
                How::Truncate => 8,
                How::Anew => 1 | 8,
            };
            format!("(call $open (i32.const {slot}) {} (i32.const {flags}))", texts.put(path))
        }
        Op::Close(slot) => format!("(call $close (i32.const {slot}))"),
        Op::Write(slot, at, len) => format!("(call $write (i32.const {slot}) (i64.const {at}) (i32.const {len}))"),
        Op::Stream(slot, way, len) => format!("(call $stream (i32.const {slot}) (i32.const {}) (i32.const {len}))", way as u32),
        Op::Listings(count) => format!("(call $listings (i32.const {count}))"),
        Op::Count(count) => format!("(call $each (i32.const 0) (i32.const {count}))"),
        Op::Empty => "(call $each (i32.const 1) (i32.const 0))".to_owned(),
        Op::Size(slot, size) => plain(&format!("(call $set_size (call $slot (i32.const {slot})) (i64.const {size}) {answer})")),
    }
}
