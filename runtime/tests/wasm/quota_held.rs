//! What holds a quota beyond single calls: other places, other guests, other instances, abuse, and any order of calls.

use std::num::NonZeroU32;

use lazarus::{
    backend::protocol::{End, Outcome},
    policy::ByteSize,
};

use crate::{
    Case,
    event_wat::{Agent, QUIET},
    fixture::{Host, at_home, ended, launch, launch_agent, limited, run},
    quota::{FILES, HOME, expect, holds, home_with, made, small},
    script::{Got, How, Op, SURFACES, Surface, Way},
    wat,
};

pub const CASES: &[Case] = &[
    ("between_two_places_nothing_is_linked_or_renamed", between_two_places_nothing_is_linked_or_renamed),
    ("a_mount_has_no_quota", a_mount_has_no_quota),
    ("what_is_shared_is_counted_for_all", what_is_shared_is_counted_for_all),
    ("neighbours_have_quotas_of_their_own", neighbours_have_quotas_of_their_own),
    ("a_home_that_is_too_large_already_only_shrinks", a_home_that_is_too_large_already_only_shrinks),
    ("instances_of_one_agent_have_one_account", instances_of_one_agent_have_one_account),
    ("one_huge_file_sparse_or_not", one_huge_file_sparse_or_not),
    ("tiny_files_are_bounded", tiny_files_are_bounded),
    ("a_deep_tree_is_bounded", a_deep_tree_is_bounded),
    ("times_before_1970_are_no_trouble", times_before_1970_are_no_trouble),
    ("descriptors_are_moved_and_closed", descriptors_are_moved_and_closed),
    ("whatever_the_order_of_calls_the_account_is_exact", whatever_the_order_of_calls_the_account_is_exact),
];

use Got::{Crosses, Done, NoSpace};

fn leaked(text: String) -> &'static str {
    Box::leak(text.into_boxed_str())
}

/// What a guest gets that has a second place: a mount, or what is shared.
fn with_second(surface: Surface, ops: &[Op], shared: bool) -> (Vec<Got>, tempfile::TempDir) {
    let place = tempfile::tempdir().unwrap();
    for dir in ["home", "second"] {
        std::fs::create_dir(place.path().join(dir)).unwrap();
    }
    std::fs::write(place.path().join("home/src"), "x").unwrap();
    let second = place.path().join("second");
    let mut launch = small(surface.launch("two", ops), &place.path().join("home"));
    if shared {
        launch.shared = Some(second);
    } else {
        launch.policy.mounts = vec![format!("{}:/second:rw", second.display()).parse().unwrap()];
    }
    let heard = run(launch);
    assert_eq!(heard.ended.unwrap().0, End::Exited { code: 0 });
    (surface.read(&heard.stdout), place)
}

fn between_two_places_nothing_is_linked_or_renamed() {
    for surface in SURFACES {
        for shared in [false, true] {
            let ops =
                [Op::LinkAcross("src", "taken"), Op::RenameAcross("src", "taken"), Op::Link("src", "kept"), Op::Rename("kept", "still")];
            let (got, place) = with_second(surface, &ops, shared);
            assert_eq!(got, [Crosses, Crosses, Done, Done], "{surface:?} {shared}");
            assert!(!place.path().join("second/taken").exists() && place.path().join("home/src").exists());
        }
    }
}

fn a_mount_has_no_quota() {
    for surface in SURFACES {
        // The mount is the only place, and so the first. A single file is as large as the jail lets any be.
        let mount = tempfile::tempdir().unwrap();
        let ops = [Op::Open(0, "a", How::Create), Op::Open(1, "b", How::Create), Op::Size(0, HOME), Op::Size(1, HOME), Op::Mkdir("d")];
        let mut launch = limited(surface.launch("mount", &ops), |limits| limits.home = ByteSize::kib(64));
        launch.policy.mounts = vec![format!("{}:/data:rw", mount.path().display()).parse().unwrap()];
        let heard = run(launch);
        assert_eq!(surface.read(&heard.stdout), [Done; 5]);
        assert_eq!(holds(mount.path()).0, 2 * HOME);
    }
}

/// Two guests of one host, one after the other, by what the first leaves: together no more than the larger of their limits.
fn what_is_shared_is_counted_for_all() {
    for surface in SURFACES {
        let shared = tempfile::tempdir().unwrap();
        let ops = |name| {
            let mut ops = vec![Op::Open(0, name, How::Create)];
            ops.extend((0..32).map(|i| Op::Write(0, i * 4096, 4096)));
            ops
        };
        // Without a home, /shared is the first place.
        let launches: Vec<_> = ["one", "other"]
            .map(|name| {
                let mut launch =
                    limited(surface.launch(name, &ops(name)), |limits| limits.home = ByteSize::kib(if name == "one" { 64 } else { 96 }));
                launch.shared = Some(shared.path().to_owned());
                launch
            })
            .into();
        let heard = Host::start(&launches).finish();
        let written: usize = heard.values().map(|heard| surface.read(&heard.stdout).iter().filter(|got| **got == Done).count() - 1).sum();
        for name in ["one", "other"] {
            assert_eq!(ended(&heard, name), End::Exited { code: 0 });
            assert!(surface.read(&heard[name].stdout).contains(&NoSpace));
        }
        assert_eq!((written as u64 * 4096, holds(shared.path()).0), (96 * 1024, 96 * 1024), "{surface:?}");
    }
}

fn neighbours_have_quotas_of_their_own() {
    for surface in SURFACES {
        let place = tempfile::tempdir().unwrap();
        let launches: Vec<_> = ["one", "other"]
            .map(|name| {
                let home = place.path().join(name);
                std::fs::create_dir(&home).unwrap();
                let mut ops = vec![Op::Open(0, "a", How::Create)];
                ops.extend((0..17).map(|i| Op::Write(0, i * 4096, 4096)));
                ops.extend([Op::Unlink("a"), Op::Close(0), Op::Open(0, "a", How::Create), Op::Size(0, HOME), Op::Size(0, HOME + 1)]);
                small(surface.launch(name, &ops), &home)
            })
            .into();
        let heard = Host::start(&launches).finish();
        for name in ["one", "other"] {
            let got = surface.read(&heard[name].stdout);
            assert_eq!((got[16], got[17], &got[18..]), (Done, NoSpace, &[Done, Done, Done, Done, NoSpace][..]), "{surface:?} {name}");
            assert_eq!(holds(&place.path().join(name)).0, HOME);
        }
    }
}

fn a_home_that_is_too_large_already_only_shrinks() {
    for surface in SURFACES {
        let home = home_with(10 * HOME);
        expect(
            surface,
            &[
                (Op::Open(0, "a", How::Create), Done),
                (Op::Write(0, 0, 1), NoSpace),
                (Op::Open(1, "fill", How::Existing), Done),
                (Op::Write(1, 0, 4096), Done),
                (Op::Size(1, 2 * HOME), Done),
                (Op::Write(0, 0, 1), NoSpace),
                (Op::Size(1, 0), Done),
                (Op::Write(0, 0, 1), Done),
            ],
            home.path(),
        );
    }
}

/// Makes a directory of each message's name; fails with the error's number where that is refused.
const MAKER: Agent<'static> = Agent {
    message: "(call $directories (i32.const 64))
      (call $mkdir (i32.load (i32.load (i32.const 64))) (local.get $text) (local.get $text_len) (i32.const 80))
      (i32.store8 (i32.const 96) (i32.add (i32.const 97) (i32.load8_u (i32.const 81))))
      (if (result i32) (i32.load8_u (i32.const 80)) (then (call $retry (i32.const 96) (i32.const 1))) (else (call $ok)))",
    ..QUIET
};

fn instances_of_one_agent_have_one_account() {
    let home = tempfile::tempdir().unwrap();
    let launch = limited(at_home(launch_agent("maker", MAKER), home.path()), |limits| {
        limits.files = NonZeroU32::new(FILES).unwrap();
        limits.idle = std::time::Duration::from_millis(50);
    });
    let mut host = Host::start(&[launch]);
    host.until_ready("maker");
    let mut refused = 0;
    for event in 1..=u64::from(FILES) + 8 {
        if event % 16 == 0 {
            // Its memory is dropped; the next event is another instance's.
            let before = host.heard["maker"].idle;
            host.listen(|heard| heard["maker"].idle > before);
        }
        match host.tell("maker", event, &format!("dir-{event}")) {
            Outcome::Done => assert_eq!(refused, 0, "no room is made"),
            // `insufficient-space` is the 24th of its enum.
            Outcome::Retry { why } if why == "x" => refused += 1,
            other => panic!("{other:?}"),
        }
    }
    // The heartbeat is a file, in a directory, of the home as well.
    assert_eq!((holds(home.path()).1, refused), (u64::from(FILES), 10));
    std::fs::remove_dir(home.path().join("dir-1")).unwrap();
    // Somebody else made room: the tree is looked over, now and then.
    std::thread::sleep(std::time::Duration::from_millis(300));
    assert_eq!(host.tell("maker", 1000, "later"), Outcome::Done);
    host.close(None, std::time::Duration::from_secs(5));
    host.finish();
}

fn one_huge_file_sparse_or_not() {
    for surface in SURFACES {
        let home = home_with(0);
        let terabyte = 1 << 40;
        expect(
            surface,
            &[
                (Op::Open(0, "huge", How::Create), Done),
                (Op::Size(0, terabyte), NoSpace),
                (Op::Write(0, terabyte, 1), NoSpace),
                (Op::Write(0, HOME - 4096, 1), NoSpace), // `src` is there
                (Op::Write(0, HOME - 4097, 1), Done),
                (Op::Size(0, terabyte), NoSpace),
            ],
            home.path(),
        );
        assert_eq!(holds(home.path()).0, HOME);
    }
}

fn tiny_files_are_bounded() {
    for surface in SURFACES {
        let home = home_with(0);
        let steps: Vec<_> = (0..300)
            .flat_map(|i| {
                let made = if i < FILES - 2 { Done } else { NoSpace };
                let open = Op::Open(0, leaked(format!("tiny-{i}")), How::Create);
                if made == Done { vec![(open, made), (Op::Write(0, 0, 1), Done), (Op::Close(0), Done)] } else { vec![(open, made)] }
            })
            .collect();
        expect(surface, &steps, home.path());
        assert_eq!(holds(home.path()), (4096 + u64::from(FILES) - 2, u64::from(FILES)));
    }
}

fn a_deep_tree_is_bounded() {
    for surface in SURFACES {
        let home = home_with(0);
        let steps: Vec<_> = (1..100_u32).map(|depth| (Op::Mkdir(leaked(vec!["d"; depth as usize].join("/"))), depth)).collect();
        let heard = made(surface, &steps.iter().map(|(op, _)| *op).collect::<Vec<_>>(), home.path());
        let got = surface.read(&heard.stdout);
        let depth = FILES as usize - 2;
        assert!(got[..depth].iter().all(|got| *got == Done) && got[depth] == NoSpace, "{surface:?} {got:?}");
        assert!(got[depth..].iter().all(|got| *got != Done));
        assert_eq!(holds(home.path()).1, u64::from(FILES));
    }
}

/// Preview 1 cannot say a time before 1970; what it can say, of any size, ends nobody else.
fn times_before_1970_are_no_trouble() {
    let home = home_with(0);
    let times = |nanos: &str| {
        let call = format!(
            "(call $times (i32.const 3) (i32.const 0) (i32.const 512) (i32.const 3) (i64.const {nanos}) (i64.const {nanos}) (i32.const 5))"
        );
        wat::command(&format!("{} (func (export \"_start\") (call $exit {call}))", wat::data(512, "src")))
    };
    for nanos in ["0", "1", "-1", "0x7fffffffffffffff", "0x8000000000000000"] {
        let heard = run(small(launch("times", &times(nanos)), home.path()));
        assert!(matches!(heard.ended, Some((End::Exited { .. }, _))), "{nanos}: {heard:?}");
    }
    // A file that somebody else dated so is opened, counted and removed like any.
    let before = std::time::SystemTime::UNIX_EPOCH - std::time::Duration::from_secs(86_400);
    let times = std::fs::FileTimes::new().set_modified(before).set_accessed(before);
    std::fs::File::options().write(true).open(home.path().join("fill")).unwrap().set_times(times).unwrap();
    for surface in SURFACES {
        expect(surface, &[(Op::Open(0, "fill", How::Existing), Done), (Op::Size(0, HOME), NoSpace), (Op::Size(0, 1), Done)], home.path());
        std::fs::File::options().write(true).open(home.path().join("fill")).unwrap().set_times(times).unwrap();
    }
}

/// Preview 1 lets a guest move its descriptors about: what is behind a number stays charged to whom it belongs.
fn descriptors_are_moved_and_closed() {
    let home = home_with(HOME - 4096);
    let calls = "
      ;; fill, 4; a, 5
      (if (call $path_open (i32.const 3) (i32.const 1) (i32.const 512) (i32.const 4) (i32.const 0) (i64.const 66) (i64.const 0) (i32.const 0) (i32.const 100)) (then (unreachable)))
      (if (call $path_open (i32.const 3) (i32.const 1) (i32.const 520) (i32.const 1) (i32.const 1) (i64.const 66) (i64.const 0) (i32.const 0) (i32.const 104)) (then (unreachable)))
      ;; a takes the number of fill, which is closed by that; then the number of the home itself.
      (if (call $renumber (i32.load (i32.const 104)) (i32.load (i32.const 100))) (then (unreachable)))
      (if (i32.ne (call $size (i32.load (i32.const 100)) (i64.const 1)) (i32.const 51)) (then (unreachable)))
      (if (i32.ne (call $size (i32.load (i32.const 104)) (i64.const 1)) (i32.const 8)) (then (unreachable)))
      (if (call $unlink (i32.const 3) (i32.const 512) (i32.const 4)) (then (unreachable)))
      (if (call $renumber (i32.load (i32.const 100)) (i32.const 3)) (then (unreachable)))
      (if (call $size (i32.const 3) (i64.const 61440)) (then (unreachable)))
      (if (i32.ne (call $size (i32.const 3) (i64.const 61441)) (i32.const 51)) (then (unreachable)))
      ;; A number that was never given, and one that was closed.
      (if (call $fd_close (i32.const 3)) (then (unreachable)))
      (if (i32.ne (call $size (i32.const 3) (i64.const 1)) (i32.const 8)) (then (unreachable)))";
    let source = wat::command(&format!("{} {} (func (export \"_start\") {calls})", wat::data(512, "fill"), wat::data(520, "a"))).replacen(
        "(module",
        "(module (import \"wasi_snapshot_preview1\" \"fd_renumber\" (func $renumber (param i32 i32) (result i32)))
         (import \"wasi_snapshot_preview1\" \"fd_filestat_set_size\" (func $size (param i32 i64) (result i32)))",
        1,
    );
    let heard = run(small(launch("mover", &source), home.path()));
    assert_eq!(heard.ended.unwrap().0, End::Exited { code: 0 });
    assert_eq!(holds(home.path()).0, HOME);
}

/// Numbers that look random, the same each time.
struct Random(u64);

impl Random {
    fn below(&mut self, most: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % most
    }

    fn name(&mut self) -> &'static str {
        ["a", "b", "c", "d/e", "d/f", "src", "fill", "d"][usize::try_from(self.below(8)).unwrap()]
    }

    fn op(&mut self, surface: Surface, open: &mut [bool; 4]) -> Op {
        loop {
            let slot = u32::try_from(self.below(4)).unwrap();
            let is_open = &mut open[slot as usize];
            match self.below(12) {
                0 => return Op::Mkdir(self.name()),
                1 => return Op::Rmdir(self.name()),
                2 | 3 => return Op::Unlink(self.name()),
                4 => return Op::Rename(self.name(), self.name()),
                5 => return Op::Link(self.name(), self.name()),
                6 => return Op::Symlink("somewhere", self.name()),
                7 if !*is_open => {
                    // A name of its own, so that it does open: what the slot stands for is known.
                    *is_open = true;
                    let own = ["s0", "s1", "s2", "s3"][slot as usize];
                    return Op::Open(slot, own, [How::Create, How::Anew][usize::try_from(self.below(2)).unwrap()]);
                }
                8 if *is_open && self.below(3) == 0 => {
                    *is_open = false;
                    return Op::Close(slot);
                }
                8 => return Op::Unlink(["s0", "s1", "s2", "s3"][slot as usize]),
                9 if *is_open => return Op::Write(slot, self.below(HOME), 1 + u32::try_from(self.below(8192)).unwrap()),
                10 if *is_open => return Op::Size(slot, self.below(HOME)),
                11 if *is_open => {
                    let ways = [Way::Blocking, Way::Append, Way::Zeroes, Way::Plain, Way::BlockingZeroes];
                    let way = if surface == Surface::Component { ways[usize::try_from(self.below(5)).unwrap()] } else { Way::Blocking };
                    return Op::Stream(slot, way, 1 + u32::try_from(self.below(4096)).unwrap());
                }
                _ => {}
            }
        }
    }
}

/// What is left after any calls is known from the disk; the same calls once more, and then exactly that much fits.
fn whatever_the_order_of_calls_the_account_is_exact() {
    for surface in SURFACES {
        for seed in 1..=8 {
            let mut random = Random(seed * 7919);
            let mut open = [false; 4];
            let mut ops: Vec<Op> = (0..400).map(|_| random.op(surface, &mut open)).collect();
            ops.extend((0..4).filter(|slot| open[*slot as usize]).map(Op::Close));
            let home = home_with(HOME / 4);
            let first = made(surface, &ops, home.path());
            let (bytes, entries) = holds(home.path());
            assert!(bytes <= HOME && entries <= u64::from(FILES), "{surface:?} {seed}");
            ops.extend([Op::Open(5, "the-probe", How::Create), Op::Size(5, HOME - bytes + 1), Op::Size(5, HOME - bytes)]);
            let names: Vec<Op> = (entries + 1..=u64::from(FILES)).map(|i| Op::Mkdir(leaked(format!("probe-{i}")))).collect();
            ops.extend(names.iter().copied());
            let home = home_with(HOME / 4);
            let second = made(surface, &ops, home.path());
            let got = surface.read(&second.stdout);
            assert_eq!(second.stdout[..first.stdout.len()], first.stdout, "the same calls have the same answers");
            assert_eq!(got[first.stdout.len()..first.stdout.len() + 3], [Done, NoSpace, Done], "{surface:?} {seed}: {ops:?}");
            let made = &got[first.stdout.len() + 3..];
            assert_eq!(
                (made.last(), made.iter().filter(|got| **got == Done).count()),
                (Some(&NoSpace), names.len() - 1),
                "{surface:?} {seed}"
            );
            assert_eq!(holds(home.path()), (HOME, u64::from(FILES)), "{surface:?} {seed}");
        }
    }
}
