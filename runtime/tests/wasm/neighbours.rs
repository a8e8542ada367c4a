//! Several guests in one host: none harms another.

use std::time::{Duration, Instant};

use lazarus::{backend::protocol::End, policy::Extent};

use crate::{
    Case,
    fixture::{Host, assert_limit, launch, limited},
    wat,
};

pub const CASES: &[Case] = &[
    ("a_spinner_does_not_starve_its_neighbour", a_spinner_does_not_starve_its_neighbour),
    ("a_bad_guest_ends_alone", a_bad_guest_ends_alone),
    ("a_flood_does_not_silence_its_neighbour", a_flood_does_not_silence_its_neighbour),
    ("last_words_come_with_the_trap", last_words_come_with_the_trap),
    ("the_report_of_a_shared_host_is_honest", the_report_of_a_shared_host_is_honest),
    ("many_guests_in_one_host", many_guests_in_one_host),
];

/// Prints a dot every 50 ms, twenty times.
fn ticker() -> String {
    let code = "(local $i i32) (loop $more (call $sleep (i32.const 50)) (call $put (i32.const 1) (i32.const 1024) (i32.const 1))
        (br_if $more (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 20))))";
    wat::command(&format!("{} (func (export \"_start\") {code})", wat::data(1024, ".")))
}

fn a_spinner_does_not_starve_its_neighbour() {
    let spin = limited(launch("spinner", &wat::start("(loop $more (br $more))")), |limits| limits.cpu = Duration::from_secs(600));
    let mut host = Host::start(&[spin, launch("ticker", &ticker())]);
    host.until_ready("ticker");
    let since = Instant::now();
    host.listen(|heard| heard["ticker"].ended.is_some());
    let took = since.elapsed();
    println!("    20 sleeps of 50 ms beside a spinner: {took:?}");
    assert!(took < Duration::from_millis(3000), "{took:?}");
    assert_eq!(host.heard["ticker"].stdout.len(), 20);
    assert!(host.heard["spinner"].ended.is_none());
    let told = Instant::now();
    host.close(Some("spinner"), Duration::ZERO);
    host.finish();
    assert!(told.elapsed() < Duration::from_secs(5), "the host hears while a guest spins");
}

fn a_bad_guest_ends_alone() {
    let bad = [
        ("trap", wat::start("unreachable")),
        ("deep", wat::command("(func $f (call $f)) (func (export \"_start\") (call $f))")),
        ("bomb", wat::start("(loop $more (br_if $more (i32.ne (memory.grow (i32.const 64)) (i32.const -1)))) (unreachable)")),
        ("odd", "(module)".to_owned()),
        ("exits", wat::start("(call $exit (i32.const 3))")),
    ];
    let mut launches: Vec<_> = bad.iter().map(|(name, source)| launch(name, source)).collect();
    launches.insert(2, launch("good", &ticker()));
    let heard = Host::start(&launches).finish();
    let ended = |name: &str| heard[name].ended.as_ref().unwrap().0.clone();
    assert_eq!(ended("good"), End::Exited { code: 0 });
    assert_eq!(heard["good"].stdout.len(), 20);
    assert!(matches!(ended("trap"), End::Trapped { .. }) && matches!(ended("deep"), End::Trapped { .. }));
    assert_limit(&ended("bomb"), "memory");
    assert_eq!(ended("exits"), End::Exited { code: 3 });
    assert!(heard["odd"].refused.is_some());
}

fn a_flood_does_not_silence_its_neighbour() {
    for bytes in [4096, 1] {
        let flood = wat::start(&format!("(loop $more (call $put (i32.const 1) (i32.const 1024) (i32.const {bytes})) (br $more))"));
        let mut host = Host::start(&[launch("flood", &flood), launch("ticker", &ticker())]);
        host.listen(|heard| heard["ticker"].ended.is_some());
        assert_eq!((host.heard["ticker"].stdout.len(), host.heard["ticker"].dropped), (20, 0));
        host.close(None, Duration::ZERO);
        host.finish();
    }
}

/// A flood to stderr, its last words, and a trap; and the same without the flood.
fn last_words_come_with_the_trap() {
    for times in [2048, 1] {
        let code = format!(
            "(local $i i32) (loop $more (call $put (i32.const 2) (i32.const 1024) (i32.const 4096))
               (br_if $more (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const {times}))))
             (call $put (i32.const 2) (i32.const 512) (i32.const 8)) (unreachable)"
        );
        let source = wat::command(&format!("{} (func (export \"_start\") {code})", wat::data(512, "panicked")));
        let heard = Host::start(&[launch("one", &source)]).finish();
        let one = &heard["one"];
        assert!(matches!(one.ended.as_ref().unwrap().0, End::Trapped { .. }));
        assert!(one.stderr.ends_with(b"panicked"), "{}", one.stderr.len());
        assert_eq!(one.stderr.len() as u64 + one.dropped, times * 4096 + 8);
        assert_eq!((one.dropped > 0, one.dropped_writes > 0), (times > 1, times > 1));
    }
}

fn the_report_of_a_shared_host_is_honest() {
    let heard = Host::start(&[launch("one", &wat::start("")), launch("other", &wat::start(""))]).finish();
    let report = heard["one"].report.as_ref().unwrap();
    let partial = report.entries().iter().filter(|entry| matches!(entry.extent, Extent::Partial { .. })).count();
    assert!(partial >= 2, "{report:?}");
}

fn many_guests_in_one_host() {
    let launches: Vec<_> = (0..50).map(|i| launch(&format!("guest{i}"), &wat::hello("hello\n", i % 7))).collect();
    let heard = Host::start(&launches).finish();
    for i in 0..50 {
        let heard = &heard[&format!("guest{i}")];
        assert_eq!(heard.stdout, b"hello\n");
        assert_eq!(heard.ended.as_ref().unwrap().0, End::Exited { code: i % 7 });
    }
}
