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
  (import "wasi_snapshot_preview1" "fd_readdir" (func $readdir (param i32 i32 i32 i64 i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_filestat_get" (func $filestat (param i32 i32 i32 i32 i32) (result i32)))
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
  (func $listings (param $count i32) (result i32)
    (local $errno i32)
    (loop $more
      ;; The directory itself, not to be written to.
      (local.set $errno (call $path_open (i32.const 3) (i32.const 0) (i32.const 24) (i32.const 1) (i32.const 2)
        (i64.const 2) (i64.const 0) (i32.const 0) (i32.const 16)))
      (if (local.get $errno) (then (return (local.get $errno))))
      (local.set $errno (call $readdir (i32.load (i32.const 16)) (i32.const 131072) (i32.const 300) (i64.const 0) (i32.const 8)))
      (if (local.get $errno) (then (return (local.get $errno))))
      (br_if $more (local.tee $count (i32.sub (local.get $count) (i32.const 1)))))
    (i32.const 0))
  ;; All entries but `.` and `..`, as $each of the component has them, read with a buffer of so many bytes. An entry that is cut off is
  ;; asked for again. Its inode must be that of its filestat (253).
  (func $each (param $remove i32) (param $count i32) (param $bytes i32) (result i32)
    (local $errno i32) (local $at i32) (local $end i32) (local $cookie i64) (local $name i32) (local $len i32)
    (loop $more
      (local.set $errno (call $readdir (i32.const 3) (i32.const 131072) (local.get $bytes) (local.get $cookie) (i32.const 8)))
      (if (local.get $errno) (then (return (local.get $errno))))
      (local.set $at (i32.const 131072))
      (local.set $end (i32.add (local.get $at) (i32.load (i32.const 8))))
      (block $cut (loop $entry
        (br_if $cut (i32.gt_u (i32.add (local.get $at) (i32.const 24)) (local.get $end)))
        (local.set $name (i32.add (local.get $at) (i32.const 24)))
        (local.set $len (i32.load offset=16 (local.get $at)))
        (br_if $cut (i32.gt_u (i32.add (local.get $name) (local.get $len)) (local.get $end)))
        (local.set $cookie (i64.load (local.get $at)))
        (if (i64.gt_u (local.get $cookie) (i64.const 2)) (then
          (if (i32.ne (i32.load8_u offset=20 (local.get $at)) (i32.const 4)) (then (return (i32.const 254))))
          (local.set $count (i32.sub (local.get $count) (i32.const 1)))
          (if (call $filestat (i32.const 3) (i32.const 0) (local.get $name) (local.get $len) (i32.const 256)) (then (return (i32.const 252))))
          (if (i64.ne (i64.load (i32.const 264)) (i64.load offset=8 (local.get $at))) (then (return (i32.const 253))))
          (if (local.get $remove) (then
            (local.set $errno (call $unlink (i32.const 3) (local.get $name) (local.get $len)))
            (if (local.get $errno) (then (return (local.get $errno))))))))
        (local.set $at (i32.add (local.get $name) (local.get $len)))
        (br $entry)))
      (br_if $more (i32.eq (i32.load (i32.const 8)) (local.get $bytes))))
    (select (i32.const 255) (i32.const 0) (i32.and (local.get $count) (i32.eqz (local.get $remove)))))
  (data (i32.const 24) ".")
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
        Op::Listings(count) => format!("(call $listings (i32.const {count}))"),
        // A buffer in which no name fits twice, and a large one.
        Op::Count(count) => format!(
            "(i32.or (call $each (i32.const 0) (i32.const {count}) (i32.const 300)) (call $each (i32.const 0) (i32.const {count}) (i32.const 16384)))"
        ),
        Op::Empty => "(call $each (i32.const 1) (i32.const 0) (i32.const 4096))".to_owned(),
        Op::Size(slot, size) => format!("(call $size (call $slot (i32.const {slot})) (i64.const {size}))"),
    }
}
