//! Hostile guests of preview 2, as text: components whose one secret is what they try.
//!
//! They print what they got, then `~` and the place of the file system's error code, counted from one (or `^` and that of the sockets'), in three
//! digits; 000 is success.

use super::text::{data, number};

/// Where the first path is in memory.
const FIRST: usize = 512;
/// Where the second path is.
const SECOND: usize = 4096;

/// Error codes of `wasi:filesystem/types@0.2.0`, in the order of its enum.
const FILE_ERRORS: &str = r#""access" "would-block" "already" "bad-descriptor" "busy" "deadlock" "quota" "exist" "file-too-large" "illegal-byte-sequence"
      "in-progress" "interrupted" "invalid" "io" "is-directory" "loop" "too-many-links" "message-size" "name-too-long" "no-device" "no-entry"
      "no-lock" "insufficient-memory" "insufficient-space" "not-directory" "not-empty" "not-recoverable" "unsupported" "no-tty"
      "no-such-device" "overflow" "not-permitted" "pipe" "read-only" "invalid-seek" "text-file-busy" "cross-device""#;

/// Error codes of `wasi:sockets/network@0.2.0`, in the order of its enum.
const SOCKET_ERRORS: &str = r#""unknown" "access-denied" "not-supported" "invalid-argument" "out-of-memory" "timeout" "concurrency-conflict"
      "not-in-progress" "would-block" "invalid-state" "new-socket-limit" "address-not-bindable" "address-in-use" "remote-unreachable"
      "connection-refused" "connection-reset" "connection-aborted" "datagram-too-large" "name-unresolvable" "temporary-resolver-failure"
      "permanent-resolver-failure""#;

/// Standard output, and what it needs.
const OUTPUT: &str = r#"(import "wasi:io/error@0.2.0" (instance $io_error (export "error" (type (sub resource)))))
  (alias export $io_error "error" (type $error))
  (import "wasi:io/streams@0.2.0" (instance $streams
    (export "output-stream" (type $out (sub resource)))
    (alias outer 1 $error (type $outer_error))
    (export "error" (type $an_error (eq $outer_error)))
    (type $own_error (own $an_error))
    (type $variant (variant (case "last-operation-failed" $own_error) (case "closed")))
    (export "stream-error" (type $stream_error (eq $variant)))
    (type $bytes (list u8))
    (type $borrow_out (borrow $out))
    (type $written (result (error $stream_error)))
    (type $write_type (func (param "self" $borrow_out) (param "contents" $bytes) (result $written)))
    (export "[method]output-stream.blocking-write-and-flush" (func (type $write_type)))))
  (alias export $streams "output-stream" (type $output_stream))
  (import "wasi:cli/stdout@0.2.0" (instance $stdout
    (alias outer 1 $output_stream (type $outer))
    (export "output-stream" (type $stream (eq $outer)))
    (type $own (own $stream))
    (type $get (func (result $own)))
    (export "get-stdout" (func (type $get)))))"#;

/// A memory, and where the host puts what it returns.
fn memory(bytes: &str) -> String {
    format!(
        r#"(core module $libc
    (memory (export "memory") 16)
    (global $next (mut i32) (i32.const 65536))
    (func (export "realloc") (param i32 i32 i32 i32) (result i32)
      (global.get $next)
      (global.set $next (i32.add (global.get $next) (i32.and (i32.add (local.get 3) (i32.const 7)) (i32.const -8)))))
    {bytes})
  (core instance $libc (instantiate $libc))
  (alias core export $libc "memory" (core memory $memory))
  (alias core export $libc "realloc" (core func $realloc))
  (core func $get_stdout (canon lower (func $stdout "get-stdout")))
  (core func $print (canon lower (func $streams "[method]output-stream.blocking-write-and-flush") (memory $memory)))"#
    )
}

/// The program: `imports` and their `names` beside those of the output; `run` ends by calling `$end` with an error's place, or does not.
fn command(imports: &str, names: &str, marker: u8, run: &str) -> String {
    format!(
        r#"(core module $main
    (import "libc" "memory" (memory 16))
    (import "wasi" "stdout" (func $stdout (result i32)))
    (import "wasi" "print" (func $print (param i32 i32 i32 i32)))
    {imports}
    (func $put (param $at i32) (param $len i32) (call $print (call $stdout) (local.get $at) (local.get $len) (i32.const 480)))
    ;; Says how it ended: the place of an error code, counted from one.
    (func $end (param $code i32)
      (i32.store8 (i32.const 64) (i32.const 10)) (i32.store8 (i32.const 65) (i32.const {marker}))
      (i32.store8 (i32.const 66) (i32.add (i32.const 48) (i32.div_u (local.get $code) (i32.const 100))))
      (i32.store8 (i32.const 67) (i32.add (i32.const 48) (i32.rem_u (i32.div_u (local.get $code) (i32.const 10)) (i32.const 10))))
      (i32.store8 (i32.const 68) (i32.add (i32.const 48) (i32.rem_u (local.get $code) (i32.const 10))))
      (i32.store8 (i32.const 69) (i32.const 10))
      (call $put (i32.const 64) (i32.const 6)))
    (func (export "run") (result i32) (call $try) (i32.const 0))
    {run})
  (core instance $wasi (export "stdout" (func $get_stdout)) (export "print" (func $print)) {names})
  (core instance $main (instantiate $main (with "libc" (instance $libc)) (with "wasi" (instance $wasi))))
  (func $run (result (result)) (canon lift (core func $main "run")))
  (instance $runs (export "run" (func $run)))
  (export "wasi:cli/run@0.2.0" (instance $runs)))"#
    )
}

/// The file system: what these guests use of it.
fn files(paths: [&str; 2], run: &str) -> String {
    let lowered = [
        ("open", "[method]descriptor.open-at", "i32 i32 i32 i32 i32 i32 i32"),
        ("read", "[method]descriptor.read", "i32 i64 i64 i32"),
        ("write", "[method]descriptor.write", "i32 i32 i32 i64 i32"),
        ("set_size", "[method]descriptor.set-size", "i32 i64 i32"),
        ("link", "[method]descriptor.link-at", "i32 i32 i32 i32 i32 i32 i32 i32"),
        ("rename", "[method]descriptor.rename-at", "i32 i32 i32 i32 i32 i32 i32"),
        ("symlink", "[method]descriptor.symlink-at", "i32 i32 i32 i32 i32 i32"),
        ("mkdir", "[method]descriptor.create-directory-at", "i32 i32 i32 i32"),
        ("unlink", "[method]descriptor.unlink-file-at", "i32 i32 i32 i32"),
        ("list", "[method]descriptor.read-directory", "i32 i32"),
    ];
    let lower = |(name, export, _): &(&str, &str, &str)| {
        format!("(core func ${name} (canon lower (func $files \"{export}\") (memory $memory) (realloc $realloc)))\n")
    };
    let import = |(name, _, params): &(&str, &str, &str)| format!("(import \"wasi\" \"{name}\" (func ${name} (param {params})))\n");
    let name = |(name, _, _): &(&str, &str, &str)| format!("(export \"{name}\" (func ${name}))");
    let lowers: String = lowered.iter().map(lower).collect();
    let imports: String = lowered.iter().map(import).collect();
    let names: String = lowered.iter().map(name).collect();
    let bytes = format!("{} {}", data(FIRST, paths[0]), data(SECOND, paths[1]));
    let types = FILE_TYPES.replace("ERRORS", FILE_ERRORS);
    let (memory, imports) = (memory(&bytes), format!("(import \"wasi\" \"directories\" (func $directories (param i32)))\n{imports}"));
    // The handle of a directory, by its number as preview 1 would count it: 3 is the first.
    let helpers = "(func $at (param $number i32) (result i32)
        (call $directories (i32.const 400))
        (i32.load (i32.add (i32.load (i32.const 400)) (i32.mul (i32.sub (local.get $number) (i32.const 3)) (i32.const 12)))))";
    let command = command(&imports, &format!("(export \"directories\" (func $directories)) {names}"), b'~', &format!("{helpers} {run}"));
    format!(
        "(component {OUTPUT} {types} {memory}
  (core func $directories (canon lower (func $preopens \"get-directories\") (memory $memory) (realloc $realloc)))
  {lowers} {command}"
    )
}

const FILE_TYPES: &str = r#"(import "wasi:filesystem/types@0.2.0" (instance $files
    (export "descriptor" (type $d (sub resource)))
    (type $codes (enum ERRORS))
    (export "error-code" (type $code (eq $codes)))
    (type $lookups (flags "symlink-follow"))
    (export "path-flags" (type $lookup (eq $lookups)))
    (type $opens (flags "create" "directory" "exclusive" "truncate"))
    (export "open-flags" (type $open (eq $opens)))
    (type $uses (flags "read" "write" "file-integrity-sync" "data-integrity-sync" "requested-write-sync" "mutate-directory"))
    (export "descriptor-flags" (type $use (eq $uses)))
    (type $borrow (borrow $d))
    (type $own (own $d))
    (type $opened (result $own (error $code)))
    (type $open_at (func (param "self" $borrow) (param "path-flags" $lookup) (param "path" string) (param "open-flags" $open)
      (param "flags" $use) (result $opened)))
    (export "[method]descriptor.open-at" (func (type $open_at)))
    (type $bytes (list u8))
    (type $piece (tuple $bytes bool))
    (type $got (result $piece (error $code)))
    (type $read (func (param "self" $borrow) (param "length" u64) (param "offset" u64) (result $got)))
    (export "[method]descriptor.read" (func (type $read)))
    (type $put (result u64 (error $code)))
    (type $write (func (param "self" $borrow) (param "buffer" $bytes) (param "offset" u64) (result $put)))
    (export "[method]descriptor.write" (func (type $write)))
    (type $done (result (error $code)))
    (type $set_size (func (param "self" $borrow) (param "size" u64) (result $done)))
    (export "[method]descriptor.set-size" (func (type $set_size)))
    (type $link (func (param "self" $borrow) (param "old-path-flags" $lookup) (param "old-path" string) (param "new-descriptor" $borrow)
      (param "new-path" string) (result $done)))
    (export "[method]descriptor.link-at" (func (type $link)))
    (type $rename (func (param "self" $borrow) (param "old-path" string) (param "new-descriptor" $borrow) (param "new-path" string)
      (result $done)))
    (export "[method]descriptor.rename-at" (func (type $rename)))
    (type $symlink (func (param "self" $borrow) (param "old-path" string) (param "new-path" string) (result $done)))
    (export "[method]descriptor.symlink-at" (func (type $symlink)))
    (type $one (func (param "self" $borrow) (param "path" string) (result $done)))
    (export "[method]descriptor.create-directory-at" (func (type $one)))
    (export "[method]descriptor.unlink-file-at" (func (type $one)))
    (export "directory-entry-stream" (type $listing (sub resource)))
    (type $own_listing (own $listing))
    (type $listed (result $own_listing (error $code)))
    (type $list (func (param "self" $borrow) (result $listed)))
    (export "[method]descriptor.read-directory" (func (type $list)))))
  (alias export $files "descriptor" (type $descriptor))
  (import "wasi:filesystem/preopens@0.2.0" (instance $preopens
    (alias outer 1 $descriptor (type $outer))
    (export "descriptor" (type $d (eq $outer)))
    (type $own (own $d))
    (type $pair (tuple $own string))
    (type $pairs (list $pair))
    (type $get (func (result $pairs)))
    (export "get-directories" (func (type $get)))))"#;

/// Opens a path below a directory, and uses it: `fd path how`, as [`super::preview1::open`].
pub fn open(args: &[String]) -> String {
    let [fd, path, how] = args else { return misused("open") };
    files([path, ""], &format!("(func $try {} (call $end (i32.const 0)))", opened(fd, path, how)))
}

/// Makes a link, and opens it: `fd text how`, as [`super::preview1::through_link`].
pub fn through_link(args: &[String]) -> String {
    let [fd, text, how] = args else { return misused("through_link") };
    let (how, behind) = how.split_once(':').unwrap_or((how, ""));
    let path = format!("drill-link{behind}");
    let make = format!(
        "(call $symlink (call $at {}) (i32.const {SECOND}) (i32.const {}) (i32.const {FIRST}) (i32.const 10) (i32.const 416)) {}",
        number(fd),
        text.len(),
        failed(416, 1)
    );
    files([&path, text], &format!("(func $try {make} {} (call $end (i32.const 0)))", opened(fd, &path, how)))
}

/// Code that ends the attempt where a result says so.
fn failed(at: usize, error_at: usize) -> String {
    format!(
        "(if (i32.load8_u (i32.const {at})) (then
           (call $end (i32.add (i32.load8_u (i32.const {})) (i32.const 1))) (return)))",
        at + error_at
    )
}

fn opened(fd: &str, path: &str, how: &str) -> String {
    let (flags, uses) = match how {
        "create" => (1, 2),
        "truncate" => (8, 2),
        "write" => (0, 2),
        _ => (0, 1),
    };
    let write = format!(
        "(call $write (i32.load (i32.const 420)) (i32.const {FIRST}) (i32.const 5) (i64.const 0) (i32.const 432)) {}",
        failed(432, 8)
    );
    let then = match how {
        "truncate" => String::new(),
        "create" | "write" => write,
        _ => format!(
            "(call $read (i32.load (i32.const 420)) (i64.const 4096) (i64.const 0) (i32.const 432)) {}
             (call $put (i32.load (i32.const 436)) (i32.load (i32.const 440)))",
            failed(432, 4)
        ),
    };
    format!(
        "(call $open (call $at {}) (i32.const 1) (i32.const {FIRST}) (i32.const {}) (i32.const {flags}) (i32.const {uses}) (i32.const 416))
         {} {then}",
        number(fd),
        path.len(),
        failed(416, 4)
    )
}

/// One call with two paths: `call fd path fd path`, as [`super::preview1::on_two_paths`].
pub fn on_two_paths(args: &[String]) -> String {
    let [call, from, path, to, other] = args else { return misused("on_two_paths") };
    let (first, second) =
        (format!("(i32.const {FIRST}) (i32.const {})", path.len()), format!("(i32.const {SECOND}) (i32.const {})", other.len()));
    let (from, to) = (number(from), number(to));
    let call = match call.as_str() {
        "rename" => format!("(call $rename (call $at {from}) {first} (call $at {to}) {second} (i32.const 416))"),
        "symlink" => format!("(call $symlink (call $at {to}) {first} {second} (i32.const 416))"),
        _ => format!("(call $link (call $at {from}) (i32.const 0) {first} (call $at {to}) {second} (i32.const 416))"),
    };
    files([path, other], &format!("(func $try {call} {} (call $end (i32.const 0)))", failed(416, 1)))
}

/// Makes a file of this size, without writing: `bytes`.
pub fn sparse_file(args: &[String]) -> String {
    let [bytes] = args else { return misused("sparse_file") };
    let size = bytes.parse::<u64>().unwrap_or(0);
    let code = format!(
        "(call $open (call $at (i32.const 3)) (i32.const 1) (i32.const {FIRST}) (i32.const 4) (i32.const 1) (i32.const 2) (i32.const 416)) {}
         (call $set_size (i32.load (i32.const 420)) (i64.const {size}) (i32.const 416)) {}",
        failed(416, 4),
        failed(416, 1)
    );
    files(["hole", ""], &format!("(func $try {code} (call $end (i32.const 0)))"))
}

/// Makes this many directories in a home: `directories`, at most 9,999.
pub fn many_directories(args: &[String]) -> String {
    let [directories] = args else { return misused("many_directories") };
    let digit = |at: usize, by: u32| {
        format!(
            "(i32.store8 (i32.const {at}) (i32.add (i32.const 48) (i32.rem_u (i32.div_u (local.get $i) (i32.const {by})) (i32.const 10))))"
        )
    };
    let code = format!(
        "(local $i i32) (local $home i32) (local.set $home (call $at (i32.const 3)))
         (loop $next {} {} {} {}
           (call $mkdir (local.get $home) (i32.const {FIRST}) (i32.const 4) (i32.const 416)) {}
           (br_if $next (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) {})))",
        digit(FIRST, 1000),
        digit(FIRST + 1, 100),
        digit(FIRST + 2, 10),
        digit(FIRST + 3, 1),
        failed(416, 1),
        number(directories)
    );
    files(["0000", ""], &format!("(func $try {code} (call $end (i32.const 0)))"))
}

/// Begins to list the home this often, and keeps all of it: `times`.
pub fn many_listings(args: &[String]) -> String {
    let [times] = args else { return misused("many_listings") };
    let code = format!(
        "(local $left i32) (local $home i32) (local.set $left {}) (local.set $home (call $at (i32.const 3)))
         (loop $next
           (call $list (local.get $home) (i32.const 416)) {}
           (br_if $next (local.tee $left (i32.sub (local.get $left) (i32.const 1)))))",
        number(times),
        failed(416, 4),
    );
    files(["", ""], &format!("(func $try {code} (call $end (i32.const 0)))"))
}

/// Asks for a socket: `none` (the twin asks for nothing), `tcp4`, `tcp6`, `udp4` or `udp6`.
pub fn socket(args: &[String]) -> String {
    let [what] = args else { return misused("socket") };
    let call = match what.as_str() {
        "tcp4" => "(call $tcp (i32.const 0) (i32.const 416))",
        "tcp6" => "(call $tcp (i32.const 1) (i32.const 416))",
        "udp4" => "(call $udp (i32.const 0) (i32.const 416))",
        "udp6" => "(call $udp (i32.const 1) (i32.const 416))",
        _ => "",
    };
    let types = SOCKET_TYPES.replace("ERRORS", SOCKET_ERRORS);
    let imports = "(import \"wasi\" \"tcp\" (func $tcp (param i32 i32))) (import \"wasi\" \"udp\" (func $udp (param i32 i32)))";
    let names = "(export \"tcp\" (func $tcp)) (export \"udp\" (func $udp))";
    let run = format!("(func $try {call} {} (call $end (i32.const 0)))", failed(416, 4));
    format!(
        "(component {OUTPUT} {types} {}
  (core func $tcp (canon lower (func $tcp_create \"create-tcp-socket\") (memory $memory)))
  (core func $udp (canon lower (func $udp_create \"create-udp-socket\") (memory $memory)))
  {}",
        memory(""),
        command(imports, names, b'^', &run)
    )
}

const SOCKET_TYPES: &str = r#"(import "wasi:sockets/network@0.2.0" (instance $network
    (type $codes (enum ERRORS))
    (export "error-code" (type $code (eq $codes)))
    (type $families (enum "ipv4" "ipv6"))
    (export "ip-address-family" (type $family (eq $families)))))
  (alias export $network "error-code" (type $code))
  (alias export $network "ip-address-family" (type $family))
  (import "wasi:sockets/tcp@0.2.0" (instance $tcp (export "tcp-socket" (type (sub resource)))))
  (alias export $tcp "tcp-socket" (type $tcp_socket))
  (import "wasi:sockets/tcp-create-socket@0.2.0" (instance $tcp_create
    (alias outer 1 $code (type $outer_code)) (export "error-code" (type $c (eq $outer_code)))
    (alias outer 1 $family (type $outer_family)) (export "ip-address-family" (type $f (eq $outer_family)))
    (alias outer 1 $tcp_socket (type $outer_socket)) (export "tcp-socket" (type $s (eq $outer_socket)))
    (type $own (own $s)) (type $made (result $own (error $c)))
    (type $create (func (param "address-family" $f) (result $made)))
    (export "create-tcp-socket" (func (type $create)))))
  (import "wasi:sockets/udp@0.2.0" (instance $udp (export "udp-socket" (type (sub resource)))))
  (alias export $udp "udp-socket" (type $udp_socket))
  (import "wasi:sockets/udp-create-socket@0.2.0" (instance $udp_create
    (alias outer 1 $code (type $outer_code)) (export "error-code" (type $c (eq $outer_code)))
    (alias outer 1 $family (type $outer_family)) (export "ip-address-family" (type $f (eq $outer_family)))
    (alias outer 1 $udp_socket (type $outer_socket)) (export "udp-socket" (type $s (eq $outer_socket)))
    (type $own (own $s)) (type $made (result $own (error $c)))
    (type $create (func (param "address-family" $f) (result $made)))
    (export "create-udp-socket" (func (type $create)))))"#;

/// A component that imports this, beside what it needs to say how it ended: an interface without functions.
pub fn importing(args: &[String]) -> String {
    let [interface] = args else { return misused("importing") };
    let import = if interface == "none" { String::new() } else { format!("(import \"{interface}\" (instance (export \"f\" (func))))") };
    format!("(component {OUTPUT} {import} {} {}", memory(""), command("", "", b'~', "(func $try (call $end (i32.const 0)))"))
}

/// A row of the catalogue that gives a guest other arguments than it takes: no text, which no engine takes for a program.
fn misused(guest: &str) -> String {
    format!("({guest} was given other arguments than it takes)")
}
