;; The keeper: Lazarus' default agent, a preview 1 program. It stays alive and beats: once a second it rewrites
;; `logs/heartbeat` in its home, whose modification time is the last beat. It ends, with code 0, when its stdin ends.
(module
  (import "wasi_snapshot_preview1" "fd_prestat_get" (func $prestat_get (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_prestat_dir_name" (func $prestat_name (param i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_create_directory" (func $mkdir (param i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_open"
    (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_close" (func $close (param i32) (result i32)))
  (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)

  (data (i32.const 0) "logs/heartbeat")  ;; 14 bytes; the first 4 are the directory
  (data (i32.const 16) "/home")
  (data (i32.const 32) "beat\n")
  ;; 40: descriptor of the heartbeat; 44: a count; 48: one iovec; 64: prestat; 80: its name; 96: read buffer
  ;; 256: two subscriptions of 48 bytes; 384: two events of 32 bytes

  (global $home (mut i32) (i32.const -1))

  ;; Finds the preopen that is called /home. An agent without one lives, but leaves no beat.
  (func $find_home
    (local $fd i32)
    (local.set $fd (i32.const 3))
    (loop $next
      (if (call $prestat_get (local.get $fd) (i32.const 64)) (then (return)))
      (if (i32.eq (i32.load (i32.const 68)) (i32.const 5))
        (then
          (drop (call $prestat_name (local.get $fd) (i32.const 80) (i32.const 5)))
          (if (i32.and
                (i32.eq (i32.load (i32.const 80)) (i32.load (i32.const 16)))
                (i32.eq (i32.load8_u (i32.const 84)) (i32.load8_u (i32.const 20))))
            (then (global.set $home (local.get $fd)) (return)))))
      (local.set $fd (i32.add (local.get $fd) (i32.const 1)))
      (br $next)))

  (func $beat
    (if (i32.lt_s (global.get $home) (i32.const 0)) (then (return)))
    ;; Create or truncate; the right to write (bit 6). A home that is full or gone is no reason to die.
    (if (call $open (global.get $home) (i32.const 0) (i32.const 0) (i32.const 14)
          (i32.const 9) (i64.const 64) (i64.const 0) (i32.const 0) (i32.const 40))
      (then (return)))
    (i32.store (i32.const 48) (i32.const 32))
    (i32.store (i32.const 52) (i32.const 5))
    (drop (call $write (i32.load (i32.const 40)) (i32.const 48) (i32.const 1) (i32.const 44)))
    (drop (call $close (i32.load (i32.const 40)))))

  ;; Says whether stdin has ended, after the poll said that it can be read.
  (func $ended (result i32)
    (i32.store (i32.const 48) (i32.const 96))
    (i32.store (i32.const 52) (i32.const 128))
    (i32.store (i32.const 44) (i32.const 0))
    (i32.or
      (i32.ne (call $read (i32.const 0) (i32.const 48) (i32.const 1) (i32.const 44)) (i32.const 0))
      (i32.eqz (i32.load (i32.const 44)))))

  (func (export "_start")
    (local $event i32)
    (call $find_home)
    (if (i32.ge_s (global.get $home) (i32.const 0))
      (then (drop (call $mkdir (global.get $home) (i32.const 0) (i32.const 4)))))
    ;; The first subscription: a second on the monotonic clock (0 is the tag of clocks, 1 the clock).
    (i32.store (i32.const 272) (i32.const 1))
    (i64.store (i32.const 280) (i64.const 1000000000))
    ;; The second: stdin can be read (1 is the tag).
    (i64.store (i32.const 304) (i64.const 1))
    (i32.store8 (i32.const 312) (i32.const 1))
    (i32.store (i32.const 320) (i32.const 0))
    (loop $live
      (call $beat)
      ;; Without a poll there is no way to wait: end rather than spin.
      (if (call $poll (i32.const 256) (i32.const 384) (i32.const 2) (i32.const 44)) (then (unreachable)))
      (local.set $event (i32.const 384))
      ;; The events are in the order of the subscriptions: stdin's, if it is there, is the last.
      (if (i32.gt_u (i32.load (i32.const 44)) (i32.const 1)) (then (local.set $event (i32.const 416))))
      (if (i32.eq (i32.load8_u (i32.add (local.get $event) (i32.const 10))) (i32.const 1))
        (then (br_if $live (i32.eqz (call $ended))) (return)))
      (br $live))))
