//! Guests, as text.

/// A preview 1 program: all imports that these tests use, one page of memory, helpers, then `body`.
pub fn command(body: &str) -> String {
    format!(
        r#"(module
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_read" (func $fd_read (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_close" (func $fd_close (param i32) (result i32)))
  (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "args_sizes_get" (func $args_sizes (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "args_get" (func $args (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "environ_sizes_get" (func $env_sizes (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "environ_get" (func $env (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_open" (func $path_open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_rename" (func $rename (param i32 i32 i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_link" (func $link (param i32 i32 i32 i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_symlink" (func $symlink (param i32 i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_unlink_file" (func $unlink (param i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_create_directory" (func $mkdir (param i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_filestat_set_times" (func $times (param i32 i32 i32 i32 i64 i64 i32) (result i32)))
  (memory (export "memory") 1)
  ;; Writes to a stream; its iovec is at 0, the count at 8.
  (func $put (param $fd i32) (param $at i32) (param $len i32)
    (i32.store (i32.const 0) (local.get $at))
    (i32.store (i32.const 4) (local.get $len))
    (if (call $fd_write (local.get $fd) (i32.const 0) (i32.const 1) (i32.const 8)) (then (unreachable))))
  ;; Sleeps for some milliseconds: its subscription is at 16, the event at 64.
  (func $sleep (param $ms i32)
    (i64.store (i32.const 16) (i64.const 0)) (i64.store (i32.const 24) (i64.const 0))
    (i32.store (i32.const 32) (i32.const 1))
    (i64.store (i32.const 40) (i64.mul (i64.extend_i32_u (local.get $ms)) (i64.const 1000000)))
    (i64.store (i32.const 48) (i64.const 0)) (i64.store (i32.const 56) (i64.const 0))
    (if (call $poll (i32.const 16) (i32.const 64) (i32.const 1) (i32.const 8)) (then (unreachable))))
  {body})"#
    )
}

/// A program whose `_start` is this code.
pub fn start(code: &str) -> String {
    command(&format!("(func (export \"_start\") {code})"))
}

/// Data at an address.
pub fn data(at: usize, text: &str) -> String {
    let escaped: String = text.bytes().map(|b| format!("\\{b:02x}")).collect();
    format!("(data (i32.const {at}) \"{escaped}\")")
}

/// Prints `text` to stdout, and exits with `code`.
pub fn hello(text: &str, code: i32) -> String {
    let print = format!("(call $put (i32.const 1) (i32.const 1024) (i32.const {}))", text.len());
    command(&format!("{} (func (export \"_start\") {print} (call $exit (i32.const {code})))", data(1024, text)))
}

/// Reads stdin to its end, then exits with 7.
pub const UNTIL_EOF: &str = "(i32.store (i32.const 128) (i32.const 256)) (i32.store (i32.const 132) (i32.const 64))
  (loop $more
    (if (call $fd_read (i32.const 0) (i32.const 128) (i32.const 1) (i32.const 8)) (then (unreachable)))
    (br_if $more (i32.load (i32.const 8))))
  (call $exit (i32.const 7))";

/// A component: imports of `wasi:io` and the standard streams, a memory, and `run`, a core function that returns 0 for success.
pub fn component(data: &str, run: &str) -> String {
    format!(
        r#"(component
  (import "wasi:io/error@0.2.0" (instance $io_error (export "error" (type (sub resource)))))
  (alias export $io_error "error" (type $error))
  (import "wasi:io/streams@0.2.0" (instance $streams
    (export "output-stream" (type $out (sub resource)))
    (export "input-stream" (type $in (sub resource)))
    (alias outer 1 $error (type $outer_error))
    (export "error" (type $an_error (eq $outer_error)))
    (type $own_error (own $an_error))
    (type $variant (variant (case "last-operation-failed" $own_error) (case "closed")))
    (export "stream-error" (type $stream_error (eq $variant)))
    (type $bytes (list u8))
    (type $borrow_out (borrow $out))
    (type $borrow_in (borrow $in))
    (type $written (result (error $stream_error)))
    (type $read (result $bytes (error $stream_error)))
    (type $write_type (func (param "self" $borrow_out) (param "contents" $bytes) (result $written)))
    (type $read_type (func (param "self" $borrow_in) (param "len" u64) (result $read)))
    (export "[method]output-stream.blocking-write-and-flush" (func (type $write_type)))
    (export "[method]input-stream.blocking-read" (func (type $read_type)))))
  (alias export $streams "output-stream" (type $output_stream))
  (alias export $streams "input-stream" (type $input_stream))
  (import "wasi:cli/stdout@0.2.0" (instance $stdout
    (alias outer 1 $output_stream (type $outer))
    (export "output-stream" (type $stream (eq $outer)))
    (type $own (own $stream))
    (type $get (func (result $own)))
    (export "get-stdout" (func (type $get)))))
  (import "wasi:cli/stdin@0.2.0" (instance $stdin
    (alias outer 1 $input_stream (type $outer))
    (export "input-stream" (type $stream (eq $outer)))
    (type $own (own $stream))
    (type $get (func (result $own)))
    (export "get-stdin" (func (type $get)))))
  (import "wasi:random/random@0.2.0" (instance $random
    (type $bytes (list u8))
    (type $get (func (param "len" u64) (result $bytes)))
    (export "get-random-bytes" (func (type $get)))))
  (import "wasi:cli/exit@0.2.0" (instance $exit
    (type $status (result))
    (type $do (func (param "status" $status)))
    (export "exit" (func (type $do)))))
  (core module $libc
    (memory (export "memory") 160)
    (global $next (mut i32) (i32.const 65536))
    (func (export "realloc") (param i32 i32 i32 i32) (result i32)
      (global.get $next)
      (global.set $next (i32.add (global.get $next) (i32.and (i32.add (local.get 3) (i32.const 7)) (i32.const -8)))))
    {data})
  (core instance $libc (instantiate $libc))
  (alias core export $libc "memory" (core memory $memory))
  (alias core export $libc "realloc" (core func $realloc))
  (core func $get_stdout (canon lower (func $stdout "get-stdout")))
  (core func $get_stdin (canon lower (func $stdin "get-stdin")))
  (core func $write (canon lower (func $streams "[method]output-stream.blocking-write-and-flush") (memory $memory)))
  (core func $read (canon lower (func $streams "[method]input-stream.blocking-read")
    (memory $memory) (realloc $realloc)))
  (core func $random (canon lower (func $random "get-random-bytes") (memory $memory) (realloc $realloc)))
  (core func $exit (canon lower (func $exit "exit")))
  (core module $main
    (import "libc" "memory" (memory 160))
    (import "wasi" "stdout" (func $stdout (result i32)))
    (import "wasi" "stdin" (func $stdin (result i32)))
    (import "wasi" "write" (func $write (param i32 i32 i32 i32)))
    (import "wasi" "read" (func $read (param i32 i64 i32)))
    (import "wasi" "random" (func $random (param i64 i32)))
    (import "wasi" "exit" (func $exit (param i32)))
    (func (export "run") (result i32) {run}))
  (core instance $wasi (export "stdout" (func $get_stdout)) (export "stdin" (func $get_stdin)) (export "write" (func $write))
    (export "read" (func $read)) (export "random" (func $random)) (export "exit" (func $exit)))
  (core instance $main (instantiate $main (with "libc" (instance $libc)) (with "wasi" (instance $wasi))))
  (func $run (result (result)) (canon lift (core func $main "run")))
  (instance $runs (export "run" (func $run)))
  (export "wasi:cli/run@0.2.0" (instance $runs)))"#
    )
}

/// A component that prints `text`, and then says whether it succeeded.
pub fn component_hello(text: &str, fails: bool) -> String {
    let run = format!(
        "(call $write (call $stdout) (i32.const 64) (i32.const {}) (i32.const 0))
         (i32.or (i32.load8_u (i32.const 0)) (i32.const {}))",
        text.len(),
        i32::from(fails)
    );
    component(&data(64, text), &run)
}
