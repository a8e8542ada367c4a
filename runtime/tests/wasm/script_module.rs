//! A list of calls, as a preview 1 module.

use crate::script::{How, Op, Texts, Way};

/// To read and to write.
const RIGHTS: u64 = 2 | 64;

/// The module. Each call's errno is a byte on stdout.
pub fn module(ops: &[Op]) -> String {
    let mut texts = Texts::from(4096);
    let calls: String = ops.iter().map(|op| format!("(call $say {})\n", call(*op, &mut texts))).collect();
    format!(
        r#"(module
  (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_pwrite" (func $fd_pwrite (param i32 i32 i32 i64 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_close" (func $fd_close (param i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_filestat_set_size" (func $size (param i32 i64) (result i32)))
  (import "wasi_snapshot_preview1" "path_open" (func $path_open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_rename" (func $rename (param i32 i32 i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_link" (func $link (param i32 i32 i32 i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_symlink" (func $symlink (param i32 i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_unlink_file" (func $unlink (param i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_remove_directory" (func $rmdir (param i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_create_directory" (func $mkdir (param i32 i32 i32) (result i32)))
  (memory (export "memory") 64)
  {data}
  ;; What is open, by slot, from 1024 on.
  (func $slot (param $slot i32) (result i32) (i32.load offset=1024 (i32.mul (local.get $slot) (i32.const 4))))
  (func $say (param $errno i32)
    (i32.store8 (i32.const 64) (local.get $errno))
    (i32.store (i32.const 0) (i32.const 64)) (i32.store (i32.const 4) (i32.const 1))
    (if (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)) (then (unreachable))))
  (func $open (param $slot i32) (param $at i32) (param $len i32) (param $flags i32) (param $fdflags i32) (result i32)
    (local $errno i32)
    (local.set $errno (call $path_open (i32.const 3) (i32.const 1) (local.get $at) (local.get $len) (local.get $flags)
      (i64.const {RIGHTS}) (i64.const 0) (local.get $fdflags) (i32.const 16)))
    (if (i32.eqz (local.get $errno)) (then (i32.store offset=1024 (i32.mul (local.get $slot) (i32.const 4)) (i32.load (i32.const 16)))))
    (local.get $errno))
  ;; A write that writes less than it was given is an error of its own: 255.
  (func $all (param $errno i32) (param $len i32) (result i32)
    (if (result i32) (local.get $errno) (then (local.get $errno))
      (else (select (i32.const 0) (i32.const 255) (i32.eq (i32.load (i32.const 8)) (local.get $len))))))
  (func $pwrite (param $slot i32) (param $at i64) (param $len i32) (result i32)
    (i32.store (i32.const 0) (i32.const 65536)) (i32.store (i32.const 4) (local.get $len))
    (call $all (call $fd_pwrite (call $slot (local.get $slot)) (i32.const 0) (i32.const 1) (local.get $at) (i32.const 8)) (local.get $len)))
  (func $write (param $slot i32) (param $len i32) (result i32)
    (i32.store (i32.const 0) (i32.const 65536)) (i32.store (i32.const 4) (local.get $len))
    (call $all (call $fd_write (call $slot (local.get $slot)) (i32.const 0) (i32.const 1) (i32.const 8)) (local.get $len)))
  (func (export "_start") {calls}))"#,
        data = texts.data
    )
}

fn call(op: Op, texts: &mut Texts) -> String {
    match op {
        Op::Mkdir(path) => format!("(call $mkdir (i32.const 3) {})", texts.put(path)),
        Op::Rmdir(path) => format!("(call $rmdir (i32.const 3) {})", texts.put(path)),
        Op::Unlink(path) => format!("(call $unlink (i32.const 3) {})", texts.put(path)),
        Op::Rename(from, to) => format!("(call $rename (i32.const 3) {} (i32.const 3) {})", texts.put(from), texts.put(to)),
        Op::RenameAcross(from, to) => format!("(call $rename (i32.const 3) {} (i32.const 4) {})", texts.put(from), texts.put(to)),
        Op::Link(from, to) => format!("(call $link (i32.const 3) (i32.const 0) {} (i32.const 3) {})", texts.put(from), texts.put(to)),
        Op::LinkAcross(from, to) => {
            format!("(call $link (i32.const 3) (i32.const 0) {} (i32.const 4) {})", texts.put(from), texts.put(to))
        }
        Op::Symlink(target, path) => format!("(call $symlink {} (i32.const 3) {})", texts.put(target), texts.put(path)),
        Op::Open(slot, path, how) => {
            let (flags, fdflags) = match how {
                How::Existing => (0, 0),
                How::Create => (1, 0),
                How::Exclusive => (1 | 4, 0),
                How::Truncate => (8, 0),
                How::Anew => (1 | 8, 0),
                How::Append => (1, 1),
            };
            format!("(call $open (i32.const {slot}) {} (i32.const {flags}) (i32.const {fdflags}))", texts.put(path))
        }
        Op::Close(slot) => format!("(call $fd_close (call $slot (i32.const {slot})))"),
        Op::Write(slot, at, len) => format!("(call $pwrite (i32.const {slot}) (i64.const {at}) (i32.const {len}))"),
        Op::Stream(slot, way, len) => match way {
            Way::Blocking | Way::Plain | Way::Zeroes | Way::BlockingZeroes | Way::Splice | Way::BlockingSplice | Way::Append => {
                format!("(call $write (i32.const {slot}) (i32.const {len}))")
            }
        },
        Op::Size(slot, size) => format!("(call $size (call $slot (i32.const {slot})) (i64.const {size}))"),
    }
}
