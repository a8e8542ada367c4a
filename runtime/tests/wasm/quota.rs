//! The quota of a home, on both surfaces: every way to make it grow, each beside what stays possible.

use std::{num::NonZeroU32, path::Path};

use lazarus::{
    backend::{Launch, protocol::End},
    policy::{ByteSize, Enforcer, Extent, LimitName, Subject},
};

use crate::{
    Case,
    fixture::{Heard, at_home, limited, run},
    script::{Got, How, Op, SURFACES, Surface, Way},
};

pub const CASES: &[Case] = &[
    ("every_way_to_add_bytes_is_counted", every_way_to_add_bytes_is_counted),
    ("every_way_to_add_an_entry_is_counted", every_way_to_add_an_entry_is_counted),
    ("every_way_to_make_room_makes_room", every_way_to_make_room_makes_room),
    ("a_file_without_a_name_is_charged_until_it_is_closed", a_file_without_a_name_is_charged_until_it_is_closed),
    ("a_file_with_two_names_is_charged_once", a_file_with_two_names_is_charged_once),
    ("a_call_that_fails_costs_nothing", a_call_that_fails_costs_nothing),
    ("the_quota_is_reported_as_held", the_quota_is_reported_as_held),
];

/// The least that a home may hold: what these tests fill.
pub const HOME: u64 = 64 * 1024;
/// The least number of entries.
pub const FILES: u32 = 64;
/// What these tests write at once.
const PIECE: u32 = 4096;

/// A home with a file of so many bytes, `fill`, and one to copy from, `src`.
pub fn home_with(fill: u64) -> tempfile::TempDir {
    let home = tempfile::tempdir().unwrap();
    std::fs::File::create(home.path().join("fill")).unwrap().set_len(fill).unwrap();
    std::fs::write(home.path().join("src"), vec![b's'; PIECE as usize]).unwrap();
    home
}

/// The guest, with the least home.
pub fn small(launch: Launch, home: &Path) -> Launch {
    limited(at_home(launch, home), |limits| {
        limits.home = ByteSize::kib(64);
        limits.files = NonZeroU32::new(FILES).unwrap();
    })
}

/// What the home holds: bytes, each file once, and entries.
pub fn holds(home: &Path) -> (u64, u64) {
    let dir = cap_std::fs::Dir::open_ambient_dir(home, cap_std::ambient_authority()).unwrap();
    let measured = lazarus::home::measure(&dir).unwrap();
    assert_eq!(measured.unread, 0);
    (measured.bytes, measured.files + measured.dirs)
}

/// Makes the calls; the guest must have come to its end.
pub fn made(surface: Surface, ops: &[Op], home: &Path) -> Heard {
    let heard = run(small(surface.launch("script", ops), home));
    assert_eq!(heard.ended.as_ref().unwrap_or_else(|| panic!("{heard:?}")).0, End::Exited { code: 0 }, "{surface:?}");
    heard
}

/// Makes the calls, each of which must come to what stands beside it.
pub fn expect(surface: Surface, steps: &[(Op, Got)], home: &Path) -> Heard {
    let ops: Vec<Op> = steps.iter().map(|(op, _)| *op).collect();
    let heard = made(surface, &ops, home);
    let got = surface.read(&heard.stdout);
    for (at, (op, expected)) in steps.iter().enumerate() {
        let before: Vec<_> = steps[at.saturating_sub(8)..at].iter().map(|(op, _)| op).collect();
        assert_eq!(got.get(at), Some(expected), "{surface:?}: call {at}, {op:?}, after {before:?}");
    }
    heard
}

use Got::{Done, Exists, Missing, NoSpace};

/// Every way to add bytes to `b`, which is open in slot 1 and empty; `a` is open in slot 0 with a piece, `src` in 9.
fn ways(surface: Surface) -> Vec<Op> {
    let mut ways = vec![
        Op::Write(1, 0, PIECE),
        Op::Write(1, 0, 1),
        Op::Write(1, 40_000, 1),
        Op::Write(0, u64::from(PIECE) - 1, 2),
        Op::Size(1, 1),
        Op::Size(0, 8192),
        Op::Symlink("there", "link"),
        Op::Stream(1, Way::Blocking, PIECE),
        Op::Stream(1, Way::Blocking, 1),
        Op::Stream(2, Way::Append, 1),
    ];
    if surface == Surface::Component {
        ways.extend([Way::Plain, Way::Zeroes, Way::BlockingZeroes, Way::Splice, Way::BlockingSplice].map(|way| Op::Stream(1, way, PIECE)));
        ways.push(Op::Stream(1, Way::Plain, 40_000));
        ways.push(Op::Stream(0, Way::Append, 1));
    }
    ways
}

fn every_way_to_add_bytes_is_counted() {
    for surface in SURFACES {
        for way in ways(surface) {
            let home = home_with(HOME - 2 * u64::from(PIECE));
            let heard = expect(
                surface,
                &[
                    (Op::Open(0, "a", How::Create), Done),
                    (Op::Open(1, "b", How::Create), Done),
                    (Op::Open(2, "b", How::Append), Done),
                    (Op::Open(9, "src", How::Existing), Done),
                    (Op::Write(0, 0, PIECE), Done), // to the last byte
                    (way, NoSpace),
                    (Op::Write(0, 0, PIECE), Done), // over what is there
                    (Op::Size(0, u64::from(PIECE)), Done),
                    (Op::Size(0, u64::MAX), NoSpace),
                    (Op::Write(0, u64::MAX - 1, 1), NoSpace),
                    (Op::Unlink("fill"), Done),
                    (way, Done), // the twin
                ],
                home.path(),
            );
            assert!(holds(home.path()).0 <= HOME, "{surface:?} {way:?}");
            assert_eq!(heard.struck.get(&LimitName::Home), Some(&3), "{surface:?} {way:?}: {:?}", heard.struck);
        }
    }
}

fn every_way_to_add_an_entry_is_counted() {
    let ways = [
        Op::Mkdir("new"),
        Op::Open(1, "new", How::Create),
        Op::Open(1, "new", How::Exclusive),
        Op::Open(1, "new", How::Anew),
        Op::Open(1, "new", How::Append),
        Op::Open(1, "dangling", How::Create),
        Op::Link("src", "new"),
        Op::Symlink("x", "new"),
    ];
    for surface in SURFACES {
        for way in ways {
            let home = home_with(0);
            std::os::unix::fs::symlink("target", home.path().join("dangling")).unwrap();
            for i in 3..FILES - 1 {
                std::fs::write(home.path().join(format!("file-{i}")), "").unwrap();
            }
            let heard = expect(
                surface,
                &[
                    (Op::Mkdir("last"), Done),
                    (way, NoSpace),
                    // What exists is opened, and told to exist, as ever.
                    (Op::Open(0, "src", How::Create), Done),
                    (Op::Open(0, "src", How::Exclusive), Exists),
                    (Op::Mkdir("last"), Exists),
                    (Op::Symlink("x", "src"), Exists),
                    (Op::Link("src", "fill"), Exists),
                    (Op::Open(0, "none", How::Existing), Missing),
                    (Op::Rmdir("last"), Done),
                    (way, Done), // the twin
                    (Op::Mkdir("another"), NoSpace),
                ],
                home.path(),
            );
            assert_eq!(holds(home.path()).1, u64::from(FILES), "{surface:?} {way:?}");
            assert_eq!(heard.struck.get(&LimitName::Files), Some(&2), "{surface:?} {way:?}: {:?}", heard.struck);
        }
    }
}

fn every_way_to_make_room_makes_room() {
    let size = u64::from(PIECE);
    let ways: &[&[Op]] = &[
        &[Op::Unlink("fill")],
        &[Op::Rename("src", "fill")],
        &[Op::Open(3, "fill", How::Truncate)],
        &[Op::Open(3, "fill", How::Anew)],
        &[Op::Open(3, "fill", How::Existing), Op::Size(3, 1)],
        &[Op::Open(3, "fill", How::Existing), Op::Size(3, HOME - 3 * size)],
        &[Op::Rename("fill", "moved"), Op::Unlink("moved")],
        &[Op::Open(3, "fill", How::Existing), Op::Close(3), Op::Unlink("fill")],
    ];
    for surface in SURFACES {
        for way in ways {
            let home = home_with(HOME - 2 * size);
            let mut steps =
                vec![(Op::Open(0, "a", How::Create), Done), (Op::Write(0, 0, PIECE), Done), (Op::Write(0, size, PIECE), NoSpace)];
            steps.extend(way.iter().map(|op| (*op, Done)));
            steps.push((Op::Write(0, size, PIECE), Done));
            expect(surface, &steps, home.path());
            assert!(holds(home.path()).0 <= HOME);
        }
        // No more room than there was: the last byte counts.
        let home = home_with(HOME - 2 * size);
        expect(
            surface,
            &[
                (Op::Open(0, "a", How::Create), Done),
                (Op::Open(3, "fill", How::Existing), Done),
                (Op::Size(3, HOME - 3 * size), Done),
                (Op::Size(0, 2 * size + 1), NoSpace),
                (Op::Size(0, 2 * size), Done),
                (Op::Size(3, HOME - 3 * size + 1), NoSpace),
            ],
            home.path(),
        );
        assert_eq!(holds(home.path()).0, HOME);
    }
}

fn a_file_without_a_name_is_charged_until_it_is_closed() {
    let size = u64::from(PIECE);
    for surface in SURFACES {
        // Its name is removed, or given to another.
        for removed in [Op::Unlink("fill"), Op::Rename("src", "fill")] {
            let home = home_with(HOME - 2 * size);
            expect(
                surface,
                &[
                    (Op::Open(0, "a", How::Create), Done),
                    (Op::Write(0, 0, PIECE), Done),
                    (Op::Open(3, "fill", How::Existing), Done),
                    (Op::Open(4, "fill", How::Existing), Done),
                    (removed, Done),
                    (Op::Write(0, size, PIECE), NoSpace),
                    (Op::Close(3), Done),
                    (Op::Write(0, size, PIECE), NoSpace),
                    (Op::Size(4, 0), Done),
                    (Op::Write(0, size, PIECE), Done),
                    (Op::Size(4, HOME - 3 * size), Done),
                    (Op::Write(0, 2 * size, PIECE), NoSpace),
                    (Op::Close(4), Done),
                    (Op::Write(0, 2 * size, PIECE), Done),
                ],
                home.path(),
            );
        }
    }
}

fn a_file_with_two_names_is_charged_once() {
    let size = u64::from(PIECE);
    for surface in SURFACES {
        for two_at_first in [false, true] {
            let home = home_with(HOME - 2 * size);
            let link = if two_at_first {
                std::fs::hard_link(home.path().join("fill"), home.path().join("second")).unwrap();
                (Op::Link("fill", "second"), Exists)
            } else {
                (Op::Link("fill", "second"), Done)
            };
            expect(
                surface,
                &[
                    (Op::Open(0, "a", How::Create), Done),
                    link,
                    (Op::Write(0, 0, PIECE), Done),
                    (Op::Unlink("fill"), Done),
                    (Op::Write(0, size, 1), NoSpace),
                    // Two names of one file: renaming leaves both.
                    (Op::Link("second", "third"), Done),
                    (Op::Rename("second", "third"), Done),
                    (Op::Unlink("second"), Done),
                    (Op::Write(0, size, 1), NoSpace),
                    (Op::Unlink("third"), Done),
                    (Op::Write(0, size, PIECE), Done),
                ],
                home.path(),
            );
        }
    }
}

fn a_call_that_fails_costs_nothing() {
    let size = u64::from(PIECE);
    for surface in SURFACES {
        let home = home_with(HOME - 2 * size);
        let mut steps = vec![(Op::Open(0, "a", How::Create), Done)];
        // More often than there is room for.
        for _ in 0..2 * FILES {
            steps.extend([
                (Op::Mkdir("src"), Exists),
                (Op::Mkdir("none/below"), Missing),
                (Op::Open(1, "src", How::Exclusive), Exists),
                (Op::Open(1, "none/file", How::Create), Missing),
                (Op::Link("none", "link"), Missing),
                (Op::Symlink("0123456789", "src"), Exists),
                (Op::Unlink("none"), Missing),
                (Op::Rmdir("none"), Missing),
                (Op::Rename("none", "src"), Missing),
            ]);
        }
        steps.extend([(Op::Write(0, 0, PIECE), Done), (Op::Write(0, size, 1), NoSpace)]);
        steps.extend(["d0", "d1", "d2", "d3", "d4"].map(|name| (Op::Mkdir(name), Done)));
        expect(surface, &steps, home.path());
        assert_eq!(holds(home.path()), (HOME, 8));
    }
}

fn the_quota_is_reported_as_held() {
    let home = home_with(0);
    let heard = made(Surface::Preview1, &[], home.path());
    for name in [LimitName::Home, LimitName::Files] {
        let report = heard.report.as_ref().unwrap();
        let held = report.entries().iter().find(|entry| {
            entry.enforcer == Enforcer::Wasm && matches!(&entry.subject, Subject::Limit { name: about, .. } if *about == name)
        });
        assert_eq!(held.map(|entry| &entry.extent), Some(&Extent::Full), "{name}: {report:?}");
    }
}
