//! Small guests, as WebAssembly text: each does one thing, and a test says what must come of it.

/// A preview 1 module that prints `text` and a newline, then exits with `code`.
pub fn says(text: &str, code: u32) -> String {
    let length = text.len() + 1;
    format!(
        r#"(module
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (memory (export "memory") 1)
  (data (i32.const 16) "{text}\n")
  (func (export "_start")
    (i32.store (i32.const 0) (i32.const 16))
    (i32.store (i32.const 4) (i32.const {length}))
    (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))
    (call $exit (i32.const {code}))))"#
    )
}

/// A module that never comes back from its entry point.
pub const SPINS: &str = r#"(module (memory (export "memory") 1) (func (export "_start") (loop (br 0))))"#;

/// A module whose start function never comes back, so that it is never ready.
pub const NEVER_READY: &str = r#"(module (memory (export "memory") 1) (start $s) (func $s (loop (br 0))) (func (export "_start")))"#;

/// A module that traps at once.
pub const TRAPS: &str = r#"(module (memory (export "memory") 1) (func (export "_start") unreachable))"#;

/// A module that grows its memory until it is refused, then traps.
pub const GROWS: &str = r#"(module (memory (export "memory") 1)
  (func (export "_start") (loop (br_if 0 (i32.ne (memory.grow (i32.const 16)) (i32.const -1)))) unreachable))"#;

/// A module that asks for more memory at its instantiation than any default allows: 4 GiB.
pub const BORN_TOO_LARGE: &str = r#"(module (memory (export "memory") 65536) (func (export "_start")))"#;

/// A module that imports what no host has.
pub const IMPORTS_NOTHING_REAL: &str =
    r#"(module (import "no_such_host" "no_such_call" (func)) (memory (export "memory") 1) (func (export "_start")))"#;

/// A module that ends when its standard input does.
pub const WAITS_FOR_INPUT: &str = r#"(module
  (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "_start")
    (i32.store (i32.const 0) (i32.const 64))
    (i32.store (i32.const 4) (i32.const 16))
    (loop $again
      (if (i32.ne (call $read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8)) (i32.const 0)) (then (return)))
      (br_if $again (i32.ne (i32.load (i32.const 8)) (i32.const 0))))))"#;

/// A module that sleeps for an hour inside one host call.
pub const SLEEPS: &str = r#"(module
  (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "_start")
    (i32.store (i32.const 16) (i32.const 1))
    (i64.store (i32.const 24) (i64.const 3600000000000))
    (drop (call $poll (i32.const 0) (i32.const 128) (i32.const 1) (i32.const 256)))))"#;

/// A module that copies its standard input to its standard output, 64 KiB at a time, and ends where that does.
pub const COPIES: &str = r#"(module
  (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 2)
  (func (export "_start") (local $at i32) (local $left i32)
    (loop $again
      (i32.store (i32.const 0) (i32.const 1024))
      (i32.store (i32.const 4) (i32.const 65536))
      (if (call $read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8)) (then unreachable))
      (local.set $at (i32.const 1024))
      (local.set $left (i32.load (i32.const 8)))
      (if (i32.eqz (local.get $left)) (then (return)))
      (loop $more
        (i32.store (i32.const 0) (local.get $at))
        (i32.store (i32.const 4) (local.get $left))
        (if (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)) (then unreachable))
        (local.set $at (i32.add (local.get $at) (i32.load (i32.const 8))))
        (local.set $left (i32.sub (local.get $left) (i32.load (i32.const 8))))
        (br_if $more (local.get $left)))
      (br $again))))"#;

/// A module that prints its arguments to standard output and its variables to standard error, a line each.
pub const TELLS: &str = r#"(module
  (import "wasi_snapshot_preview1" "args_sizes_get" (func $args_sizes (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "args_get" (func $args (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "environ_sizes_get" (func $env_sizes (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "environ_get" (func $env (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 2)
  ;; Ends each of the strings in 65536.. with a newline instead of a NUL, and writes them all.
  (func $lines (param $stream i32) (param $bytes i32) (local $at i32)
    (local.set $at (i32.const 65536))
    (block $done (loop $next
      (br_if $done (i32.ge_u (local.get $at) (i32.add (i32.const 65536) (local.get $bytes))))
      (if (i32.eqz (i32.load8_u (local.get $at))) (then (i32.store8 (local.get $at) (i32.const 10))))
      (local.set $at (i32.add (local.get $at) (i32.const 1)))
      (br $next)))
    (i32.store (i32.const 0) (i32.const 65536))
    (i32.store (i32.const 4) (local.get $bytes))
    (if (call $write (local.get $stream) (i32.const 0) (i32.const 1) (i32.const 8)) (then unreachable)))
  (func (export "_start")
    (drop (call $args_sizes (i32.const 16) (i32.const 20)))
    (drop (call $args (i32.const 1024) (i32.const 65536)))
    (call $lines (i32.const 1) (i32.load (i32.const 20)))
    (drop (call $env_sizes (i32.const 16) (i32.const 20)))
    (drop (call $env (i32.const 1024) (i32.const 65536)))
    (call $lines (i32.const 2) (i32.load (i32.const 20)))))"#;

/// A module that opens `path` below its preopened directory 3, prints what is in it, and exits with 0; with the errno where it cannot.
pub fn prints_file(path: &str) -> String {
    let length = path.len();
    format!(
        r#"(module
  (import "wasi_snapshot_preview1" "path_open" (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (memory (export "memory") 1)
  (data (i32.const 64) "{path}")
  (func $ok (param $errno i32) (if (local.get $errno) (then (call $exit (local.get $errno)))))
  (func (export "_start")
    ;; Right 2: to read.
    (call $ok (call $open (i32.const 3) (i32.const 0) (i32.const 64) (i32.const {length}) (i32.const 0) (i64.const 2) (i64.const 0)
      (i32.const 0) (i32.const 16)))
    (i32.store (i32.const 0) (i32.const 1024))
    (i32.store (i32.const 4) (i32.const 4096))
    (call $ok (call $read (i32.load (i32.const 16)) (i32.const 0) (i32.const 1) (i32.const 8)))
    (i32.store (i32.const 4) (i32.load (i32.const 8)))
    (call $ok (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))))"#
    )
}

/// A preview 1 module that writes these bytes (as WebAssembly text writes strings) to its standard output, and ends.
pub fn writes(escaped: &str, length: usize) -> String {
    format!(
        r#"(module
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 512) "{escaped}")
  (func (export "_start")
    (i32.store (i32.const 0) (i32.const 512))
    (i32.store (i32.const 4) (i32.const {length}))
    (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))))"#
    )
}

/// A module that prints `text` and a newline, then sleeps for an hour inside one host call.
pub fn says_and_sleeps(text: &str) -> String {
    let length = text.len() + 1;
    format!(
        r#"(module
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 512) "{text}\n")
  (func (export "_start")
    (i32.store (i32.const 300) (i32.const 512))
    (i32.store (i32.const 304) (i32.const {length}))
    (drop (call $write (i32.const 1) (i32.const 300) (i32.const 1) (i32.const 256)))
    ;; A subscription at 0: a relative time on the monotonic clock.
    (i32.store (i32.const 16) (i32.const 1))
    (i64.store (i32.const 24) (i64.const 3600000000000))
    (drop (call $poll (i32.const 0) (i32.const 128) (i32.const 1) (i32.const 256)))))"#
    )
}

/// A module that prints `here`, waits for the end of its standard input, prints `told`, and ends.
pub const STAYS_UNTIL_TOLD: &str = r#"(module
  (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 512) "here\ntold\n")
  (func $say (param $at i32)
    (i32.store (i32.const 0) (local.get $at))
    (i32.store (i32.const 4) (i32.const 5))
    (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8))))
  (func (export "_start")
    (call $say (i32.const 512))
    (loop $again
      (i32.store (i32.const 0) (i32.const 64))
      (i32.store (i32.const 4) (i32.const 16))
      (if (call $read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8)) (then unreachable))
      (br_if $again (i32.load (i32.const 8))))
    (call $say (i32.const 517))))"#;

/// A module whose third directory, after its home and what is shared, is a mount: prints the file `given` of it, then tries to make the
/// file `planted` there and says `written` or `refused`.
pub const USES_MOUNT: &str = r#"(module
  (import "wasi_snapshot_preview1" "path_open" (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 512) "givenplantedwritten\nrefused\n")
  (func $say (param $at i32) (param $length i32)
    (i32.store (i32.const 0) (local.get $at))
    (i32.store (i32.const 4) (local.get $length))
    (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8))))
  (func (export "_start")
    ;; Right 2: to read.
    (if (call $open (i32.const 5) (i32.const 0) (i32.const 512) (i32.const 5) (i32.const 0) (i64.const 2) (i64.const 0)
      (i32.const 0) (i32.const 16)) (then unreachable))
    (i32.store (i32.const 0) (i32.const 1024))
    (i32.store (i32.const 4) (i32.const 64))
    (if (call $read (i32.load (i32.const 16)) (i32.const 0) (i32.const 1) (i32.const 8)) (then unreachable))
    (call $say (i32.const 1024) (i32.load (i32.const 8)))
    ;; Flag 1: to make it. Right 64: to write.
    (if (call $open (i32.const 5) (i32.const 0) (i32.const 517) (i32.const 7) (i32.const 1) (i64.const 64) (i64.const 0)
      (i32.const 0) (i32.const 16))
      (then (call $say (i32.const 532) (i32.const 8)))
      (else (call $say (i32.const 524) (i32.const 8))))))"#;

/// A module that traps in its start function, so that it is never ready.
pub const TRAPS_AT_BIRTH: &str = r#"(module (memory (export "memory") 1) (start $s) (func $s unreachable) (func (export "_start")))"#;
