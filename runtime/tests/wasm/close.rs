//! Telling agents to close, and hanging up.

use std::time::{Duration, Instant};

use lazarus::backend::{protocol::End, wasm::KEEPER_WAT};

use crate::{
    Case,
    fixture::{Host, LONG, assert_limit, at_home, launch},
    wat,
};

pub const CASES: &[Case] = &[
    ("stdin_ends_when_told_to_close", stdin_ends_when_told_to_close),
    ("a_sleeper_is_ended_when_the_grace_is_over", a_sleeper_is_ended_when_the_grace_is_over),
    ("a_spinner_is_ended_when_the_grace_is_over", a_spinner_is_ended_when_the_grace_is_over),
    ("one_is_closed_and_the_other_lives", one_is_closed_and_the_other_lives),
    ("the_keeper_beats_and_ends", the_keeper_beats_and_ends),
    ("a_host_whose_warden_hangs_up_ends", a_host_whose_warden_hangs_up_ends),
    ("a_host_that_hears_nonsense_ends", a_host_that_hears_nonsense_ends),
];

/// A component that reads its stdin until it ends (an error, tag 1), and succeeds then.
fn component_until_eof() -> String {
    wat::component(
        "",
        "(local $in i32) (local.set $in (call $stdin))
         (loop $more
           (call $read (local.get $in) (i64.const 64) (i32.const 0))
           (br_if $more (i32.eqz (i32.load8_u (i32.const 0)))))
         (i32.const 0)",
    )
}

fn stdin_ends_when_told_to_close() {
    for (source, code) in [(wat::start(wat::UNTIL_EOF), 7), (component_until_eof(), 0)] {
        let mut host = Host::start(&[launch("reader", &source)]);
        host.until_ready("reader");
        std::thread::sleep(Duration::from_millis(100));
        host.hear(Duration::from_millis(1));
        assert!(host.heard["reader"].ended.is_none(), "it waits");
        host.close(None, LONG);
        assert_eq!(host.finish()["reader"].ended.as_ref().unwrap().0, End::Exited { code });
    }
}

fn a_sleeper_is_ended_when_the_grace_is_over() {
    // For ever, with one subscription (the sleep that could be in place) and with two.
    let two = "(i64.store (i32.const 24) (i64.const 0)) (i32.store (i32.const 32) (i32.const 1)) (i64.store (i32.const 40) (i64.const -1))
        (i64.store (i32.const 72) (i64.const 0)) (i32.store (i32.const 80) (i32.const 1)) (i64.store (i32.const 88) (i64.const -1))
        (drop (call $poll (i32.const 16) (i32.const 256) (i32.const 2) (i32.const 8)))";
    for sleep in ["(loop $more (call $sleep (i32.const 100000000)) (br $more))", two] {
        let mut host = Host::start(&[launch("sleeper", &wat::start(sleep))]);
        host.until_ready("sleeper");
        let told = Instant::now();
        host.close(Some("sleeper"), Duration::from_millis(200));
        let heard = host.finish();
        assert!((Duration::from_millis(200)..Duration::from_secs(10)).contains(&told.elapsed()), "{:?}", told.elapsed());
        assert_limit(&heard["sleeper"].ended.as_ref().unwrap().0, "grace");
    }
}

fn a_spinner_is_ended_when_the_grace_is_over() {
    let mut host = Host::start(&[launch("spinner", &wat::start("(loop $more (br $more))"))]);
    host.until_ready("spinner");
    host.close(None, Duration::from_millis(100));
    assert_limit(&host.finish()["spinner"].ended.as_ref().unwrap().0, "grace");
}

fn one_is_closed_and_the_other_lives() {
    let source = wat::start(wat::UNTIL_EOF);
    let mut host = Host::start(&[launch("one", &source), launch("other", &source)]);
    host.until_ready("one");
    host.until_ready("other");
    host.close(Some("one"), LONG);
    host.listen(|heard| heard["one"].ended.is_some());
    std::thread::sleep(Duration::from_millis(100));
    host.hear(Duration::from_millis(1));
    assert!(host.heard["other"].ended.is_none());
    host.close(Some("other"), LONG);
    let heard = host.finish();
    assert!(heard.values().all(|heard| heard.ended.as_ref().unwrap().0 == End::Exited { code: 7 }));
}

fn the_keeper_beats_and_ends() {
    let home = tempfile::tempdir().unwrap();
    let mut host = Host::start(&[at_home(launch("keeper", KEEPER_WAT), home.path())]);
    host.until_ready("keeper");
    let beat = home.path().join("logs/heartbeat");
    let beaten = |after: Option<std::time::SystemTime>| {
        let deadline = Instant::now() + LONG;
        loop {
            let now = std::fs::metadata(&beat).and_then(|meta| meta.modified()).ok();
            if now > after {
                return now;
            }
            assert!(Instant::now() < deadline, "no beat");
            std::thread::sleep(Duration::from_millis(20));
        }
    };
    // One beat makes a file and writes to it, and may be seen as two times.
    let first = beaten(None);
    let again = beaten(first.map(|first| first + Duration::from_millis(500))).unwrap().duration_since(first.unwrap()).unwrap();
    assert!(again >= Duration::from_millis(900), "once a second: {again:?}");
    host.close(None, LONG);
    assert_eq!(host.finish()["keeper"].ended.as_ref().unwrap().0, End::Exited { code: 0 });
    // Without a home it lives all the same.
    let mut host = Host::start(&[launch("keeper", KEEPER_WAT)]);
    host.until_ready("keeper");
    host.close(None, LONG);
    assert_eq!(host.finish()["keeper"].ended.as_ref().unwrap().0, End::Exited { code: 0 });
}

fn a_host_whose_warden_hangs_up_ends() {
    for source in [wat::start("(loop $more (br $more))"), wat::start("(call $sleep (i32.const 100000000))")] {
        let mut host = Host::start(&[launch("orphan", &source)]);
        host.until_ready("orphan");
        rustix::net::shutdown(&host.spawned.socket, rustix::net::Shutdown::Both).unwrap();
        assert!(host.spawned.reap(Duration::from_secs(10)).unwrap().is_some(), "it ends at once");
    }
}

fn a_host_that_hears_nonsense_ends() {
    let mut host = Host::start(&[launch("listener", &wat::start("(call $sleep (i32.const 100000000))"))]);
    host.until_ready("listener");
    rustix::net::send(&host.spawned.socket, b"c{\"say\":\"dance\"}", rustix::net::SendFlags::empty()).unwrap();
    let status = host.spawned.reap(Duration::from_secs(10)).unwrap().expect("it ends");
    assert!(!status.success());
}
