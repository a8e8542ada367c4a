//! Hostile guests of preview 1, as text: core modules whose one secret is what they try. Their arguments are written into them.
//!
//! A guest prints what it got, then `=` and the error number of the call that decided, in three digits; 000 is success. What ends it before that
//! (a trap, a limit) its host tells.

use super::text::{data, number};

/// Where the first path is; no path is longer than what lies between.
const FIRST: usize = 512;
/// Where the second path is.
const SECOND: usize = 4096;

/// Imports, one page of memory, how a guest says what it got, and `body`.
fn program(body: &str) -> String {
    with_memory("(memory (export \"memory\") 1)", body)
}

fn with_memory(memory: &str, body: &str) -> String {
    format!(
        r#"(module
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_read" (func $fd_read (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_readdir" (func $fd_readdir (param i32 i32 i32 i64 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_close" (func $fd_close (param i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_renumber" (func $fd_renumber (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_fdstat_get" (func $fd_stat (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_filestat_set_size" (func $fd_size (param i32 i64) (result i32)))
  (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "clock_time_get" (func $clock (param i32 i64 i32) (result i32)))
  (import "wasi_snapshot_preview1" "environ_sizes_get" (func $env_sizes (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "environ_get" (func $env (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "sock_accept" (func $accept (param i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_open" (func $path_open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_rename" (func $rename (param i32 i32 i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_link" (func $link (param i32 i32 i32 i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_symlink" (func $symlink (param i32 i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_readlink" (func $readlink (param i32 i32 i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_unlink_file" (func $unlink (param i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_create_directory" (func $mkdir (param i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_filestat_set_times" (func $times (param i32 i32 i32 i32 i64 i64 i32) (result i32)))
  {memory}
  ;; Writes to a stream; its iovec is at 0, the count at 8.
  (func $put (param $fd i32) (param $at i32) (param $len i32)
    (i32.store (i32.const 0) (local.get $at))
    (i32.store (i32.const 4) (local.get $len))
    (drop (call $fd_write (local.get $fd) (i32.const 0) (i32.const 1) (i32.const 8))))
  ;; Says how it ended, and ends.
  (func $end (param $errno i32)
    (i32.store16 (i32.const 64) (i32.const 0x3d0a))
    (i32.store8 (i32.const 66) (i32.add (i32.const 48) (i32.div_u (local.get $errno) (i32.const 100))))
    (i32.store8 (i32.const 67) (i32.add (i32.const 48) (i32.rem_u (i32.div_u (local.get $errno) (i32.const 10)) (i32.const 10))))
    (i32.store8 (i32.const 68) (i32.add (i32.const 48) (i32.rem_u (local.get $errno) (i32.const 10))))
    (i32.store8 (i32.const 69) (i32.const 10))
    (call $put (i32.const 1) (i32.const 64) (i32.const 6))
    (call $exit (i32.const 0)))
  ;; Ends where a call failed.
  (func $must (param $errno i32) (if (local.get $errno) (then (call $end (local.get $errno)))))
  ;; Opens what is at the first path; its descriptor is at 100.
  (func $open (param $fd i32) (param $lookup i32) (param $len i32) (param $flags i32) (param $rights i64)
    (call $must (call $path_open (local.get $fd) (local.get $lookup) (i32.const 512) (local.get $len) (local.get $flags)
      (local.get $rights) (i64.const 0) (i32.const 0) (i32.const 100))))
  ;; Reads from a descriptor, and prints it.
  (func $show (param $fd i32)
    (i32.store (i32.const 0) (i32.const 8192)) (i32.store (i32.const 4) (i32.const 4096))
    (call $must (call $fd_read (local.get $fd) (i32.const 0) (i32.const 1) (i32.const 8)))
    (call $put (i32.const 1) (i32.const 8192) (i32.load (i32.const 8))))
  ;; Sleeps for some milliseconds: its subscription is at 16, the event at 200.
  (func $sleep (param $ms i32)
    (i64.store (i32.const 16) (i64.const 0)) (i64.store (i32.const 24) (i64.const 0))
    (i32.store (i32.const 32) (i32.const 1))
    (i64.store (i32.const 40) (i64.mul (i64.extend_i32_u (local.get $ms)) (i64.const 1000000)))
    (i64.store (i32.const 48) (i64.const 0)) (i64.store (i32.const 56) (i64.const 0))
    (call $must (call $poll (i32.const 16) (i32.const 200) (i32.const 1) (i32.const 8))))
  {body})"#
    )
}

fn start(code: &str) -> String {
    program(&format!("(func (export \"_start\") {code} (call $end (i32.const 0)))"))
}

/// A start whose two paths are in memory.
fn start_with(paths: [&str; 2], code: &str) -> String {
    let body = format!("{} {} (func (export \"_start\") {code} (call $end (i32.const 0)))", data(FIRST, paths[0]), data(SECOND, paths[1]));
    program(&body)
}

/// Opens a path below a descriptor, and reads or writes: `fd path how`, where `how` is `read`, `create`, `truncate` or `write`.
pub fn open(args: &[String]) -> String {
    let [fd, path, how] = args else { return misused("open") };
    start_with([path, ""], &opened(fd, path, how))
}

/// Makes a link, and opens it: `fd text how`. The link's text is a path; the link is `drill-link`, or what follows it in `how` after a colon.
pub fn through_link(args: &[String]) -> String {
    let [fd, text, how] = args else { return misused("through_link") };
    let (how, behind) = how.split_once(':').unwrap_or((how, ""));
    let path = format!("drill-link{behind}");
    let make = format!(
        "(call $must (call $symlink (i32.const {SECOND}) (i32.const {}) {} (i32.const {FIRST}) (i32.const 10)))",
        text.len(),
        number(fd)
    );
    start_with([&path, text], &format!("{make} {}", opened(fd, &path, how)))
}

/// Code that opens what is at the first path, and uses it.
fn opened(fd: &str, path: &str, how: &str) -> String {
    let (flags, rights, then) = match how {
        "create" => (1, 64, "(call $must (call $fd_write (i32.load (i32.const 100)) (i32.const 0) (i32.const 1) (i32.const 8)))"),
        "truncate" => (8, 64, ""),
        "write" => (0, 64, "(call $must (call $fd_write (i32.load (i32.const 100)) (i32.const 0) (i32.const 1) (i32.const 8)))"),
        _ => (0, 2, "(call $show (i32.load (i32.const 100)))"),
    };
    format!(
        "(call $open {} (i32.const 1) (i32.const {}) (i32.const {flags}) (i64.const {rights}))
         (i32.store (i32.const 0) (i32.const {FIRST})) (i32.store (i32.const 4) (i32.const 5)) {then}",
        number(fd),
        path.len()
    )
}

/// One call with one path: `call fd path`, where `call` is `unlink`, `mkdir` or `times`.
pub fn on_path(args: &[String]) -> String {
    let [call, fd, path] = args else { return misused("on_path") };
    let (fd, path_code) = (number(fd), format!("(i32.const {FIRST}) (i32.const {})", path.len()));
    let call = match call.as_str() {
        "times" => format!("(call $times {fd} (i32.const 1) {path_code} (i64.const 1) (i64.const 1) (i32.const 5))"),
        "mkdir" => format!("(call $mkdir {fd} {path_code})"),
        _ => format!("(call $unlink {fd} {path_code})"),
    };
    start_with([path, ""], &format!("(call $must {call})"))
}

/// One call with two paths: `call fd path fd path`, where `call` is `rename`, `link` or `symlink` (whose first path is its text).
pub fn on_two_paths(args: &[String]) -> String {
    let [call, from, path, to, other] = args else { return misused("on_two_paths") };
    let first = format!("(i32.const {FIRST}) (i32.const {})", path.len());
    let second = format!("(i32.const {SECOND}) (i32.const {})", other.len());
    let call = match call.as_str() {
        "rename" => format!("(call $rename {} {first} {} {second})", number(from), number(to)),
        "symlink" => format!("(call $symlink {first} {} {second})", number(to)),
        _ => format!("(call $link {} (i32.const 0) {first} {} {second})", number(from), number(to)),
    };
    start_with([path, other], &format!("(call $must {call})"))
}

/// Links a file of one directory into another, and writes to it there: `fd path fd path`.
pub fn link_and_write(args: &[String]) -> String {
    let [from, path, to, other] = args else { return misused("link_and_write") };
    let link = format!(
        "(call $must (call $link {} (i32.const 0) (i32.const {SECOND}) (i32.const {}) {} (i32.const {FIRST}) (i32.const {})))",
        number(from),
        path.len(),
        number(to),
        other.len()
    );
    start_with([other, path], &format!("{link} {}", opened(to, other, "write")))
}

/// Opens names of a growing depth, each `a`, to this depth: `fd depth`.
pub fn deep_name(args: &[String]) -> String {
    let [fd, depth] = args else { return misused("deep_name") };
    let path = "a/".repeat(depth.parse().unwrap_or(0)) + "a";
    program(&format!(
        "{} (func (export \"_start\") (call $must (call $mkdir {} (i32.const 16384) (i32.const {}))) (call $end (i32.const 0)))",
        data(16_384, &path),
        number(fd),
        path.len()
    ))
}

/// Looks for a descriptor that it was not given: `first last`. Success is to find one; else EBADF.
pub fn descriptor(args: &[String]) -> String {
    let [first, last] = args else { return misused("descriptor") };
    start(&format!(
        "(local $fd i32) (local.set $fd {})
         (loop $next
           (if (i32.eqz (call $fd_stat (local.get $fd) (i32.const 304))) (then (call $end (i32.const 0))))
           (br_if $next (i32.le_u (local.tee $fd (i32.add (local.get $fd) (i32.const 1))) {})))
         (call $end (i32.const 8))",
        number(first),
        number(last)
    ))
}

/// Moves a descriptor onto another number, and reads from there: `from to`.
pub fn renumber(args: &[String]) -> String {
    let [from, to] = args else { return misused("renumber") };
    start(&format!("(call $must (call $fd_renumber {} {})) (call $show {})", number(from), number(to), number(to)))
}

/// Opens the home this often: `times`.
pub fn open_many(args: &[String]) -> String {
    let [times] = args else { return misused("open_many") };
    let code = format!(
        "(local $left i32) (local.set $left {})
         (loop $next
           (call $open (i32.const 3) (i32.const 1) (i32.const 1) (i32.const 0) (i64.const 2))
           (br_if $next (local.tee $left (i32.sub (local.get $left) (i32.const 1)))))",
        number(times)
    );
    start_with([".", ""], &code)
}

/// Looks for a variable whose name begins like this: `name`. Prints its line; else ENOENT.
pub fn variable(args: &[String]) -> String {
    let [name] = args else { return misused("variable") };
    let (len, first) = (name.len(), data(FIRST, name));
    program(&format!(
        "{first} (func (export \"_start\") (local $count i32) (local $i i32) (local $j i32) (local $at i32)
           (call $must (call $env_sizes (i32.const 0) (i32.const 4)))
           (local.set $count (i32.load (i32.const 0)))
           (call $must (call $env (i32.const 8192) (i32.const 12288)))
           (block $none (loop $next
             (br_if $none (i32.ge_u (local.get $i) (local.get $count)))
             (local.set $at (i32.load (i32.add (i32.const 8192) (i32.mul (local.get $i) (i32.const 4)))))
             (local.set $i (i32.add (local.get $i) (i32.const 1)))
             (local.set $j (i32.const 0))
             (loop $same
               (br_if $next (i32.ne (i32.load8_u (i32.add (local.get $at) (local.get $j)))
                 (i32.load8_u (i32.add (i32.const {FIRST}) (local.get $j)))))
               (br_if $same (i32.lt_u (local.tee $j (i32.add (local.get $j) (i32.const 1))) (i32.const {len}))))
             (call $put (i32.const 1) (local.get $at) (i32.const 128))
             (call $end (i32.const 0))))
           (call $end (i32.const 44)))"
    ))
}

/// Grows its memory by this many pages, and uses the last of them: `pages`. Else ENOMEM.
pub fn grow(args: &[String]) -> String {
    let [pages] = args else { return misused("grow") };
    start(&format!("(if (i32.eq (memory.grow {}) (i32.const -1)) (then (call $end (i32.const 48))))", number(pages)))
}

/// Has memories of this many pages each, two of them: `pages`. What cannot be had is refused before it starts.
pub fn memories(args: &[String]) -> String {
    let [pages] = args else { return misused("memories") };
    let memory = format!("(memory (export \"memory\") 1) (memory {}) (memory {})", count(pages), count(pages));
    with_memory(&memory, "(func (export \"_start\") (call $end (i32.const 0)))")
}

/// Grows a table by this many elements: `elements`. Else ENOMEM.
pub fn grow_table(args: &[String]) -> String {
    let [elements] = args else { return misused("grow_table") };
    program(&format!(
        "(table $t 1 funcref) (func (export \"_start\")
           (if (i32.eq (table.grow $t (ref.null func) {}) (i32.const -1)) (then (call $end (i32.const 48))))
           (call $end (i32.const 0)))",
        number(elements)
    ))
}

/// Calls itself this often: `depth`.
pub fn recurse(args: &[String]) -> String {
    let [depth] = args else { return misused("recurse") };
    program(&format!(
        "(func $deeper (param $left i32) (result i32)
           (if (result i32) (local.get $left)
             (then (i32.add (call $deeper (i32.sub (local.get $left) (i32.const 1))) (i32.const 1)))
             (else (i32.const 0))))
         (func (export \"_start\") (drop (call $deeper {})) (call $end (i32.const 0)))",
        number(depth)
    ))
}

/// Asks for this many random bytes: `bytes`.
pub fn random(args: &[String]) -> String {
    let [bytes] = args else { return misused("random") };
    let body =
        format!("(func (export \"_start\") (call $must (call $random (i32.const 8192) {})) (call $end (i32.const 0)))", number(bytes));
    with_memory("(memory (export \"memory\") 64)", &body)
}

/// Polls this many subscriptions, all at once: `count`. Their memory is zero: clocks that are due at once.
pub fn poll_many(args: &[String]) -> String {
    let [many] = args else { return misused("poll_many") };
    let body = format!(
        "(func (export \"_start\") (call $must (call $poll (i32.const 65536) (i32.const 8388608) {} (i32.const 8))) (call $end (i32.const 0)))",
        number(many)
    );
    with_memory("(memory (export \"memory\") 256)", &body)
}

/// Fills fresh memory with a pattern, or looks for anything in it that is not zero: `fill` or `look`, and pages. Success is to find something; else ESRCH.
pub fn residue(args: &[String]) -> String {
    let [what, pages] = args else { return misused("residue") };
    let end = format!("(i32.mul (i32.add {} (i32.const 1)) (i32.const 65536))", number(pages));
    let each = if what == "fill" {
        "(i32.store (local.get $at) (i32.const 0x5ec2e7))"
    } else {
        "(if (i32.load (local.get $at)) (then (call $end (i32.const 0))))"
    };
    let last = if what == "fill" { "(call $end (i32.const 0))" } else { "(call $end (i32.const 71))" };
    program(&format!(
        "(func (export \"_start\") (local $at i32)
           (if (i32.eq (memory.grow {}) (i32.const -1)) (then (call $end (i32.const 48))))
           (local.set $at (i32.const 65536))
           (loop $next {each}
             (br_if $next (i32.lt_u (local.tee $at (i32.add (local.get $at) (i32.const 4))) {end})))
           {last})",
        number(pages)
    ))
}

/// Computes: `rounds`, `for-ever` is the attack.
pub fn spin(args: &[String]) -> String {
    start(&turning(args, ""))
}

/// Computes in its start function, before it is ready.
pub fn spin_at_start(args: &[String]) -> String {
    program(&format!("(func $begin {}) (start $begin) (func (export \"_start\") (call $end (i32.const 0)))", turning(args, "")))
}

/// Asks for the time again and again.
pub fn ask_time(args: &[String]) -> String {
    start(&turning(args, "(drop (call $clock (i32.const 0) (i64.const 1) (i32.const 304)))"))
}

fn turning(args: &[String], each: &str) -> String {
    let again = match args {
        [rounds] if rounds == "for-ever" => "(i32.const 1)".to_owned(),
        [rounds] => format!("(i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) {})", number(rounds)),
        _ => "(i32.const 0)".to_owned(),
    };
    format!("(local $i i32) (loop $next {each} (br_if $next {again}))")
}

/// Sleeps in the host: `milliseconds`.
pub fn sleep(args: &[String]) -> String {
    let [milliseconds] = args else { return misused("sleep") };
    start(&format!("(call $sleep {})", number(milliseconds)))
}

/// Writes a file of this many KiB: `kib`.
pub fn large_file(args: &[String]) -> String {
    let [kib] = args else { return misused("large_file") };
    let code = format!(
        "(local $left i32) (local.set $left {})
         (call $open (i32.const 3) (i32.const 1) (i32.const 4) (i32.const 1) (i64.const 64))
         (loop $next
           (i32.store (i32.const 0) (i32.const 8192)) (i32.store (i32.const 4) (i32.const 1024))
           (call $must (call $fd_write (i32.load (i32.const 100)) (i32.const 0) (i32.const 1) (i32.const 8)))
           (br_if $next (local.tee $left (i32.sub (local.get $left) (i32.const 1)))))",
        number(kib)
    );
    start_with(["full", ""], &code)
}

/// Makes a file without blocks of this size: `bytes`.
pub fn sparse_file(args: &[String]) -> String {
    let [bytes] = args else { return misused("sparse_file") };
    let code = format!(
        "(call $open (i32.const 3) (i32.const 1) (i32.const 4) (i32.const 1) (i64.const 4194368))
         (call $must (call $fd_size (i32.load (i32.const 100)) (i64.const {})))",
        count(bytes)
    );
    start_with(["hole", ""], &code)
}

/// Makes this many empty files: `files`, at most 9,999.
pub fn many_files(args: &[String]) -> String {
    let [files] = args else { return misused("many_files") };
    let code = format!(
        "(local $i i32)
         (loop $next
           (i32.store8 (i32.const 512) (i32.add (i32.const 48) (i32.rem_u (i32.div_u (local.get $i) (i32.const 1000)) (i32.const 10))))
           (i32.store8 (i32.const 513) (i32.add (i32.const 48) (i32.rem_u (i32.div_u (local.get $i) (i32.const 100)) (i32.const 10))))
           (i32.store8 (i32.const 514) (i32.add (i32.const 48) (i32.rem_u (i32.div_u (local.get $i) (i32.const 10)) (i32.const 10))))
           (i32.store8 (i32.const 515) (i32.add (i32.const 48) (i32.rem_u (local.get $i) (i32.const 10))))
           (call $open (i32.const 3) (i32.const 1) (i32.const 4) (i32.const 1) (i64.const 64))
           (drop (call $fd_close (i32.load (i32.const 100))))
           (br_if $next (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) {})))",
        number(files)
    );
    start_with(["0000", ""], &code)
}

/// Accepts a connection on a descriptor: `fd`, or `none` of the twin, which has no use for one.
pub fn accept(args: &[String]) -> String {
    let [fd] = args else { return misused("accept") };
    match fd.as_str() {
        "none" => start(""),
        fd => start(&format!("(call $must (call $accept {} (i32.const 0) (i32.const 304)))", number(fd))),
    }
}

fn count(text: &str) -> u64 {
    text.parse().unwrap_or(0)
}

/// A row of the catalogue that gives a guest other arguments than it takes: no text, which no engine takes for a program.
fn misused(guest: &str) -> String {
    format!("({guest} was given other arguments than it takes)")
}
