//! Directories that guests list: what they hold, and what that costs the host.

use std::{num::NonZeroU32, path::Path};

use lazarus::{
    backend::{Launch, protocol::End},
    policy::LimitName,
};

use crate::{
    Case,
    fixture::{Host, at_home, launch, limited},
    script::{Got, Op, SURFACES, Surface},
    wat,
};

pub const CASES: &[Case] = &[
    ("a_directory_is_listed_whole_and_once", a_directory_is_listed_whole_and_once),
    ("what_is_listed_can_be_removed_meanwhile", what_is_listed_can_be_removed_meanwhile),
    ("many_listings_cost_the_host_little", many_listings_cost_the_host_little),
    ("listings_count_as_open_files", listings_count_as_open_files),
];

/// Names of 200 bytes.
fn home_of(files: usize) -> tempfile::TempDir {
    let home = tempfile::tempdir().unwrap();
    (0..files).for_each(|number| drop(std::fs::File::create(home.path().join(format!("{number:0>200}"))).unwrap()));
    home
}

fn script(surface: Surface, ops: &[Op], home: &Path, open_files: u32) -> Launch {
    limited(at_home(surface.launch("lister", ops), home), |limits| {
        limits.open_files = NonZeroU32::new(open_files).unwrap();
        limits.files = NonZeroU32::new(100_000).unwrap();
    })
}

/// Makes the calls, alone or beside another guest, and returns what came of them, how often the limit of open files was hit, and the most
/// private memory that was seen of the host, in KiB.
fn listed(surface: Surface, ops: &[Op], home: &Path, open_files: u32, alone: bool) -> (Vec<Got>, u64, u64) {
    let mut launches = vec![script(surface, ops, home, open_files)];
    if !alone {
        launches.push(launch("other", &wat::start("(call $sleep (i32.const 100000))")));
    }
    let mut host = Host::start(&launches);
    let pid = host.spawned.process.pid;
    let mut most = 0;
    while host.heard["lister"].ended.is_none() {
        host.hear(std::time::Duration::from_millis(5));
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let peak = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).map(|kib| kib.trim().trim_end_matches(" kB").to_owned());
        most = most.max(peak.map_or(0, |kib| kib.parse().unwrap()));
    }
    let heard = &host.heard["lister"];
    assert_eq!(heard.ended.as_ref().unwrap().0, End::Exited { code: 0 }, "{surface:?}: {heard:?}");
    let (got, hits) = (surface.read(&heard.stdout), heard.struck.get(&LimitName::OpenFiles).copied().unwrap_or(0));
    if !alone {
        host.close(None, std::time::Duration::from_millis(10));
    }
    host.finish();
    (got, hits, most)
}

fn a_directory_is_listed_whole_and_once() {
    for (surface, alone) in SURFACES.into_iter().flat_map(|surface| [(surface, true), (surface, false)]) {
        for files in [0, 1, 14, 15, 500] {
            let home = home_of(files);
            let count = u32::try_from(files).unwrap();
            let got = listed(surface, &[Op::Count(count), Op::Count(count), Op::Count(count + 1)], home.path(), 32, alone).0;
            assert_eq!(got, [Got::Done, Got::Done, Got::Other(255)], "{surface:?} {files} {alone}");
        }
    }
}

fn what_is_listed_can_be_removed_meanwhile() {
    for surface in SURFACES {
        let home = home_of(700);
        let got = listed(surface, &[Op::Empty, Op::Count(0)], home.path(), 32, true).0;
        assert_eq!(got, [Got::Done, Got::Done], "{surface:?}");
        assert_eq!(std::fs::read_dir(home.path()).unwrap().count(), 0, "{surface:?}");
    }
}

/// 250 listings of 20,000 names: 1 GiB, if each were held whole.
fn many_listings_cost_the_host_little() {
    let home = home_of(20_000);
    for surface in SURFACES {
        let (got, _, most) = listed(surface, &[Op::Listings(250)], home.path(), 1024, true);
        assert_eq!(got, [Got::Done], "{surface:?}");
        let (_, _, none) = listed(surface, &[Op::Mkdir("twin"), Op::Rmdir("twin")], home.path(), 1024, true);
        println!("    {surface:?}: {most} KiB, {none} without them");
        assert!(most < none + 32 * 1024, "{surface:?}: {most} KiB, {none} without them");
    }
}

/// Exactly as many as are allowed, alone and in company: a listing is one, and so is what was opened to be listed.
fn listings_count_as_open_files() {
    for (surface, alone) in SURFACES.into_iter().flat_map(|surface| [(surface, true), (surface, false)]) {
        let home = home_of(3);
        let most = match surface {
            Surface::Preview1 => 16,
            Surface::Component => 32,
        };
        let (got, hits, _) = listed(surface, &[Op::Listings(most), Op::Count(3), Op::Listings(1)], home.path(), 32, alone);
        assert_eq!(got, [Got::Done, Got::TooMany, Got::TooMany], "{surface:?} {alone}");
        assert!(hits > 0, "{surface:?} {alone}");
        let (got, hits, _) = listed(surface, &[Op::Listings(most - 1), Op::Count(3)], home.path(), 32, alone);
        assert_eq!((got, hits), (vec![Got::Done, Got::Done], 0), "{surface:?} {alone}");
    }
}
