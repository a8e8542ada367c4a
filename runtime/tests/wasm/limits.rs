//! Every limit, run into; each beside a twin that stays below it.

use std::{
    num::NonZeroU32,
    time::{Duration, Instant},
};

use lazarus::{
    backend::protocol::End,
    policy::{ByteSize, LimitName},
};

use crate::{
    Case,
    fixture::{Host, assert_limit, at_home, end, launch, limited, refusal, run},
    wat,
};

pub const CASES: &[Case] = &[
    ("cpu_of_a_loop", cpu_of_a_loop),
    ("cpu_of_a_start_function", cpu_of_a_start_function),
    ("cpu_of_host_calls", cpu_of_host_calls),
    ("a_start_function_that_sleeps_is_never_ready", a_start_function_that_sleeps_is_never_ready),
    ("memory_of_one", memory_of_one),
    ("memory_of_many", memory_of_many),
    ("memory_from_the_start", memory_from_the_start),
    ("memory_refused_and_survived", memory_refused_and_survived),
    ("tables", tables),
    ("instances", instances),
    ("deep_recursion", deep_recursion),
    ("random_bytes", random_bytes),
    ("host_call_allocations", host_call_allocations),
    ("large_buffers_are_read_in_parts", large_buffers_are_read_in_parts),
    ("open_files", open_files),
    ("output_floods", output_floods),
];

const SPIN: &str = "(loop $more (br $more))";

/// CPU time of a process that has ended and was not waited for yet, or lives.
fn cpu_used(pid: u32) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let after = stat.rsplit(')').next().unwrap();
    let field = |n: usize| after.split_whitespace().nth(n).unwrap().parse::<u64>().unwrap();
    // Fields 14 and 15, of which the first after the name is the third; in ticks of 10 ms.
    Duration::from_millis((field(11) + field(12)) * 10)
}

fn cpu_of_a_loop() {
    let spin = limited(launch("spin", &wat::start(SPIN)), |limits| limits.cpu = Duration::from_millis(300));
    let mut host = Host::start(&[spin]);
    host.until_ready("spin");
    let before = cpu_used(host.spawned.process.pid);
    host.listen(|heard| heard["spin"].ended.is_some());
    let used = cpu_used(host.spawned.process.pid) - before;
    println!("    budget 300 ms, used {used:?}");
    assert!((Duration::from_millis(280)..=Duration::from_millis(360)).contains(&used), "ended within 50 ms of its budget: {used:?}");
    assert_limit(&host.finish()["spin"].ended.as_ref().unwrap().0, "cpu");
    let twin = wat::start(
        "(local $i i32) (loop $more (br_if $more (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 1000))))",
    );
    assert_eq!(end(limited(launch("twin", &twin), |limits| limits.cpu = Duration::from_millis(300))), End::Exited { code: 0 });
}

fn cpu_of_a_start_function() {
    let source = wat::command(&format!("(func $begin {SPIN}) (start $begin) (func (export \"_start\"))"));
    let message = refusal(limited(launch("spin", &source), |limits| limits.cpu = Duration::from_millis(200)));
    assert!(message.contains("CPU time"), "{message}");
    let run = wat::component("", "(loop $more (br $more)) (i32.const 0)");
    assert_limit(&end(limited(launch("component", &run), |limits| limits.cpu = Duration::from_millis(200))), "cpu");
}

fn cpu_of_host_calls() {
    let source = wat::start("(loop $more (drop (call $random (i32.const 1024) (i32.const 50000))) (br $more))");
    assert_limit(&end(limited(launch("calls", &source), |limits| limits.cpu = Duration::from_millis(200))), "cpu");
}

fn a_start_function_that_sleeps_is_never_ready() {
    // `start` may call host functions once the memory is exported.
    let source = wat::command("(func $begin (call $sleep (i32.const 100000000))) (start $begin) (func (export \"_start\"))");
    let since = Instant::now();
    let message = refusal(launch("sleeper", &source));
    assert!(message.contains("not ready after 10 s"), "{message}");
    assert!(since.elapsed() < Duration::from_secs(20));
}

/// Grows by 64 pages until it is refused, then traps.
const GROW_AND_DIE: &str = "(loop $more (br_if $more (i32.ne (memory.grow (i32.const 64)) (i32.const -1)))) (unreachable)";

fn memory_of_one() {
    let source = wat::start(GROW_AND_DIE);
    assert_limit(&end(limited(launch("bomb", &source), |limits| limits.memory = ByteSize::mib(64))), "memory");
    let twin = wat::start("(if (i32.eq (memory.grow (i32.const 64)) (i32.const -1)) (then (unreachable)))");
    assert_eq!(end(limited(launch("twin", &twin), |limits| limits.memory = ByteSize::mib(64))), End::Exited { code: 0 });
}

fn memory_of_many() {
    // Ten memories that each grow to a tenth of what is refused to one.
    let grow = |pages| {
        let memories: String = (1..=10).map(|i| format!("(memory $m{i} 0)")).collect();
        let grown: String = (1..=10)
            .map(|i| format!("(if (i32.eq (memory.grow $m{i} (i32.const {pages})) (i32.const -1)) (then (unreachable)))"))
            .collect();
        wat::command(&format!("{memories} (func (export \"_start\") {grown})"))
    };
    assert_limit(&end(limited(launch("many", &grow(200)), |limits| limits.memory = ByteSize::mib(64))), "memory");
    assert_eq!(end(limited(launch("twin", &grow(90)), |limits| limits.memory = ByteSize::mib(64))), End::Exited { code: 0 });
}

fn memory_from_the_start() {
    let source = "(module (memory 2000) (func (export \"_start\")))";
    let message = refusal(limited(launch("large", source), |limits| limits.memory = ByteSize::mib(64)));
    assert!(message.contains("limit memory"), "{message}");
    assert_eq!(end(limited(launch("twin", source), |limits| limits.memory = ByteSize::mib(128))), End::Exited { code: 0 });
}

/// A guest that asks, is refused and goes on, is not ended for having asked.
fn memory_refused_and_survived() {
    let source = wat::start("(drop (memory.grow (i32.const 60000))) (call $exit (i32.const 3))");
    assert_eq!(end(limited(launch("asks", &source), |limits| limits.memory = ByteSize::mib(64))), End::Exited { code: 3 });
}

fn tables() {
    let grow = |count: u32| {
        let tables = "(table $a 0 funcref) (table $b 0 funcref)";
        let grown: String = ["$a", "$b"]
            .map(|t| format!("(if (i32.eq (table.grow {t} (ref.null func) (i32.const {count})) (i32.const -1)) (then (unreachable)))"))
            .concat();
        format!("(module {tables} (func (export \"_start\") {grown}))")
    };
    assert_limit(&end(launch("bomb", &grow(60_000))), "table-elements");
    assert_eq!(end(launch("twin", &grow(50_000))), End::Exited { code: 0 });
}

fn instances() {
    let many = |count: usize| {
        let instances: String = (0..count).map(|i| format!("(core instance $i{i} (instantiate $m))")).collect();
        format!(
            "(component (core module $m (memory 1) (func (export \"run\") (result i32) i32.const 0)) {instances}
              (func $run (result (result)) (canon lift (core func $i0 \"run\")))
              (instance $runs (export \"run\" (func $run))) (export \"wasi:cli/run@0.2.0\" (instance $runs)))"
        )
    };
    let few = |limits: &mut lazarus::policy::Limits| limits.instances = NonZeroU32::new(10).unwrap();
    let message = refusal(limited(launch("bomb", &many(11)), few));
    assert!(message.contains("limit instances: it may not have so many: instance count"), "{message}");
    assert_eq!(end(limited(launch("twin", &many(9)), few)), End::Exited { code: 0 });
}

fn deep_recursion() {
    let source = wat::command(
        "(func $deep (param i32) (result i32) (i32.add (i32.const 1) (call $deep (local.get 0)))) (func (export \"_start\") (drop (call $deep (i32.const 0))))",
    );
    for stack in [ByteSize::kib(16), ByteSize::kib(512), ByteSize::mib(16)] {
        let ended = end(limited(launch("deep", &source), |limits| limits.stack = stack));
        assert!(matches!(&ended, End::Trapped { message } if message.contains("call stack exhausted")), "{ended:?}");
    }
    // A host function on the smallest stack finds room beyond it.
    let twin = wat::hello("room\n", 0);
    let heard = run(limited(launch("twin", &twin), |limits| limits.stack = ByteSize::kib(16)));
    assert_eq!(heard.stdout, b"room\n");
}

fn random_bytes() {
    let ask = |count: u32| {
        wat::start(&format!(
            "(drop (memory.grow (i32.const 2))) (if (call $random (i32.const 0) (i32.const {count})) (then (unreachable)))"
        ))
    };
    assert_limit(&end(launch("greedy", &ask(65_537))), "random");
    assert_eq!(end(launch("twin", &ask(65_536))), End::Exited { code: 0 });
    let component = |count: u64| wat::component("", &format!("(call $random (i64.const {count}) (i32.const 0)) (i32.const 0)"));
    assert_limit(&end(launch("component", &component(1 << 40))), "random");
    assert_eq!(end(launch("twin", &component(1000))), End::Exited { code: 0 });
}

fn host_call_allocations() {
    // A list of 6 MiB for one write: lifted into the host before WASI sees it.
    let write = |bytes: u32| {
        wat::component("", &format!("(call $write (call $stdout) (i32.const 64) (i32.const {bytes}) (i32.const 0)) (i32.const 0)"))
    };
    assert_limit(&end(launch("bomb", &write(6 << 20))), "hostcall");
    assert_eq!(end(launch("twin", &write(4096))), End::Exited { code: 0 });
    // Preview 1: millions of subscriptions at once are an error, not an allocation.
    let poll = wat::start(
        "(drop (memory.grow (i32.const 2000)))
         (if (i32.eqz (call $poll (i32.const 65536) (i32.const 65536) (i32.const 1000000) (i32.const 8))) (then (unreachable)))",
    );
    let heard = run(launch("subscriptions", &poll));
    assert_eq!(heard.ended.as_ref().unwrap().0, End::Exited { code: 0 });
    assert_eq!(heard.struck.get(&LimitName::Hostcall), Some(&1));
}

/// A file of 10 MiB, read with one buffer of 10 MiB, where a call may allocate 4 MiB: in parts, and whole in the end. Alone and in company.
fn large_buffers_are_read_in_parts() {
    let home = tempfile::tempdir().unwrap();
    let size: u32 = 10 << 20;
    std::fs::write(home.path().join("large"), vec![b'x'; size as usize]).unwrap();
    // Opens `from` to read and `to` to write; then for each read, a write of all that was read with one more buffer.
    let code = format!(
        "(drop (memory.grow (i32.const 400)))
         (if (call $path_open (i32.const 3) (i32.const 0) (i32.const 512) (i32.const 5) (i32.const 0) (i64.const 2) (i64.const 0) (i32.const 0) (i32.const 100)) (then (unreachable)))
         (if (call $path_open (i32.const 3) (i32.const 0) (i32.const 520) (i32.const 4) (i32.const 9) (i64.const 64) (i64.const 0) (i32.const 0) (i32.const 104)) (then (unreachable)))
         (i32.store (i32.const 128) (i32.const 65536)) (i32.store (i32.const 132) (i32.const {size}))
         (block $end (loop $more
           (if (call $fd_read (i32.load (i32.const 100)) (i32.const 128) (i32.const 1) (i32.const 136)) (then (unreachable)))
           (if (i32.ne (i32.load (i32.const 132)) (i32.const {size})) (then (unreachable)))
           (br_if $end (i32.eqz (i32.load (i32.const 136))))
           (i32.store (i32.const 144) (i32.const 65536)) (i32.store (i32.const 148) (i32.load (i32.const 136)))
           (loop $rest
             (if (call $fd_write (i32.load (i32.const 104)) (i32.const 144) (i32.const 1) (i32.const 152)) (then (unreachable)))
             (i32.store (i32.const 148) (i32.sub (i32.load (i32.const 148)) (i32.load (i32.const 152))))
             (br_if $rest (i32.load (i32.const 148))))
           (br $more)))"
    );
    let source = wat::command(&format!("{} {} (func (export \"_start\") {code})", wat::data(512, "large"), wat::data(520, "copy")));
    let alone = at_home(launch("alone", &source), home.path());
    assert_eq!(end(alone.clone()), End::Exited { code: 0 });
    assert_eq!(std::fs::metadata(home.path().join("copy")).unwrap().len(), u64::from(size));
    let heard = Host::start(&[alone, launch("company", &wat::start(""))]).finish();
    assert_eq!(heard["alone"].ended.as_ref().unwrap().0, End::Exited { code: 0 });
    assert_eq!(std::fs::metadata(home.path().join("copy")).unwrap().len(), u64::from(size));
}

/// Opens the same file until it cannot; the exit code says whether it was stopped by an error, and the host lives.
fn open_files() {
    let home = tempfile::tempdir().unwrap();
    std::fs::write(home.path().join("file"), "x").unwrap();
    let open = |times: u32| {
        let code = format!(
            "(local $i i32) (loop $more
               (if (call $path_open (i32.const 3) (i32.const 0) (i32.const 512) (i32.const 4) (i32.const 0) (i64.const 2) (i64.const 0) (i32.const 0) (i32.const 100))
                 (then (call $exit (i32.const 9))))
               (br_if $more (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const {times}))))"
        );
        let source = wat::command(&format!("{} (func (export \"_start\") {code})", wat::data(512, "file")));
        let few = limited(launch("opener", &source), |limits| limits.open_files = NonZeroU32::new(32).unwrap());
        let heard = run(at_home(few, home.path()));
        (heard.ended.unwrap().0, heard.struck.get(&LimitName::OpenFiles).copied())
    };
    assert_eq!(open(33), (End::Exited { code: 9 }, Some(1)));
    assert_eq!(open(32), (End::Exited { code: 0 }, None));
}

/// 64 MiB to a warden that reads nothing until the end: the guest is not stuck, the host does not grow, and every byte is accounted for.
fn output_floods() {
    let pieces = 16_384_u32;
    let code = format!(
        "(local $i i32) (loop $more (call $put (i32.const 1) (i32.const 1024) (i32.const 4096))
           (br_if $more (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const {pieces}))))"
    );
    let mut host = Host::start(&[launch("flood", &wat::start(&code))]);
    std::thread::sleep(Duration::from_secs(1));
    let status = std::fs::read_to_string(format!("/proc/{}/status", host.spawned.process.pid)).unwrap();
    let data =
        status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap().trim().trim_end_matches(" kB").parse::<u64>().unwrap();
    assert!(data < 64 * 1024, "{data} KiB");
    // From now on it is read.
    host.listen(|_| false);
    let heard = &host.heard["flood"];
    assert_eq!(heard.stdout.len() as u64 + heard.dropped, u64::from(pieces) * 4096);
    assert!(heard.stdout.iter().all(|byte| *byte == 0));
    assert_eq!(host.finish()["flood"].ended.as_ref().unwrap().0, End::Exited { code: 0 });
}
