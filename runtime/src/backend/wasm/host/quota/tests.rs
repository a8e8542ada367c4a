//! The account beside the disk, after every call; and what happens to calls that are given up.

use std::{fs::File, os::fd::OwnedFd, sync::Arc, time::Duration};

use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use wasmtime::component::Resource;
use wasmtime_wasi::{
    FsPerms, OpenMode, WasiCtx, WasiView as _,
    filesystem::{Descriptor, Dir},
    p2::bindings::filesystem::types::{DescriptorFlags, ErrorCode, HostDescriptor, OpenFlags, PathFlags},
};

use super::{
    Allowance, Ledger,
    ledger::{Growth, Refused},
    survey::survey,
};
use crate::backend::wasm::host::{agent::Member, guest::State, outbox::Outbox, quota::Keeper, strikes::Strikes};

const ROOMY: Allowance = Allowance { bytes: 1 << 40, entries: 1 << 20 };

fn opened(place: &tempfile::TempDir) -> Arc<File> {
    Arc::new(File::open(place.path()).expect("opened"))
}

fn ledger(allowance: Allowance) -> (tempfile::TempDir, Arc<Ledger>) {
    let place = tempfile::tempdir().expect("a directory");
    let ledger = Ledger::open(opened(&place), allowance).expect("a ledger");
    (place, ledger)
}

fn file(place: &tempfile::TempDir, name: &str) -> Arc<File> {
    Arc::new(File::options().create(true).truncate(false).read(true).write(true).open(place.path().join(name)).expect("opened"))
}

#[test]
fn a_growth_that_fails_is_refunded() {
    let (place, ledger) = ledger(Allowance { bytes: 1000, entries: 10 });
    let one = file(&place, "one");
    let growing = ledger.grow(&one, Growth::Write { at: 0, bytes: 600 }).expect("room");
    assert_eq!(ledger.totals().0, 600);
    assert_eq!(ledger.grow(&one, Growth::Write { at: 600, bytes: 401 }).err(), Some(Refused::Bytes));
    growing.unsure();
    assert_eq!(ledger.totals().0, 0, "nothing was written");
    let growing = ledger.grow(&one, Growth::Write { at: 0, bytes: 600 }).expect("room");
    one.set_len(250).expect("written in part");
    growing.unsure();
    assert_eq!(ledger.totals().0, 250);
}

#[test]
fn calls_at_the_same_time_are_charged_together() {
    let (place, ledger) = ledger(Allowance { bytes: 1000, entries: 10 });
    let (one, other) = (file(&place, "one"), file(&place, "other"));
    let first = ledger.grow(&one, Growth::Write { at: 0, bytes: 500 }).expect("room");
    let over_it = ledger.grow(&one, Growth::Write { at: 100, bytes: 300 }).expect("nothing more");
    let second = ledger.grow(&other, Growth::Append(500)).expect("room");
    assert_eq!(ledger.grow(&other, Growth::Append(1)).err(), Some(Refused::Bytes));
    one.set_len(500).expect("written");
    // What one of them left undone is only known when none is under way.
    over_it.unsure();
    assert_eq!(ledger.totals().0, 1000);
    first.done();
    second.unsure();
    assert_eq!(ledger.totals().0, 500);
}

#[test]
fn a_call_that_is_given_up_stays_charged_until_it_is_over() {
    let (place, ledger) = ledger(Allowance { bytes: 1000, entries: 10 });
    let one = file(&place, "one");
    drop(ledger.grow(&one, Growth::Append(800)).expect("room"));
    // A helper thread still has the file.
    let helper = Arc::clone(&one);
    drop(one);
    assert_eq!(ledger.totals().0, 800);
    helper.set_len(300).expect("written in part");
    assert_eq!(ledger.totals().0, 800);
    drop(helper);
    assert_eq!(ledger.totals().0, 300);
    std::fs::remove_file(place.path().join("one")).expect("removed");
}

#[tokio::test]
async fn a_name_that_is_given_up_is_found_by_the_next_look() {
    let (place, ledger) = ledger(Allowance { bytes: 1000, entries: 2 });
    drop(ledger.name(0).expect("room"));
    assert_eq!(ledger.totals().1, 1);
    assert!(!ledger.look_over(true).await, "a helper thread may still make it");
    ledger.name(0).expect("room").over(true);
    assert_eq!(ledger.name(0).err(), Some(Refused::Entries));
    std::fs::write(place.path().join("made"), "").expect("written");
    tokio::time::sleep(Duration::from_millis(2100)).await;
    assert!(ledger.look_over(true).await);
    assert_eq!(ledger.totals(), (0, 1));
}

#[tokio::test]
async fn a_look_is_overtaken_by_what_is_under_way_and_is_not_taken_at_will() {
    let (place, ledger) = ledger(ROOMY);
    let one = file(&place, "one");
    let growing = ledger.grow(&one, Growth::Append(5)).expect("room");
    assert!(!ledger.look_over(false).await);
    growing.unsure();
    std::fs::write(place.path().join("other"), "1234567").expect("written");
    assert!(ledger.look_over(false).await);
    assert_eq!(ledger.totals(), (7, 2));
    std::fs::remove_file(place.path().join("other")).expect("removed");
    assert!(!ledger.look_over(false).await, "so soon");
    assert_eq!(ledger.totals(), (7, 2));
}

#[test]
fn a_file_whose_name_went_while_it_was_opened_is_charged() {
    let (place, ledger) = ledger(ROOMY);
    let one = file(&place, "one");
    one.set_len(70).expect("stretched");
    std::fs::remove_file(place.path().join("one")).expect("removed");
    ledger.opened(&one).expect("on record");
    assert_eq!(ledger.totals().0, 70);
    drop(one);
    assert_eq!(ledger.totals().0, 0);
}

#[test]
fn a_tree_that_cannot_be_read_is_no_account() {
    let place = tempfile::tempdir().expect("a directory");
    let dir = opened(&place);
    std::fs::remove_dir(place.path()).expect("removed");
    drop(place);
    // An empty directory without a name is still read; a file is not.
    assert!(Ledger::open(dir, ROOMY).is_ok());
    let file = tempfile::NamedTempFile::new().expect("a file");
    let not_a_dir = Arc::new(File::open(file.path()).expect("opened"));
    assert!(Ledger::open(not_a_dir, ROOMY).is_err());
}

/// A guest's state with a home at the given place, and the home's descriptor.
fn guest(place: &tempfile::TempDir, ledger: &Arc<Ledger>) -> (State, u32) {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let (ours, _): (OwnedFd, OwnedFd) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None).expect("a pair");
    let agent: crate::cell::AgentName = "guest".parse().expect("a name");
    let outbox = Arc::new(Outbox::new(ours, [agent.clone()]).expect("an outbox"));
    let strikes = Arc::new(Strikes::new(Arc::clone(&outbox), 0, agent));
    let member = Member { index: 0, outbox, stderr: None, pulse: None, desk: None, strikes: Arc::clone(&strikes), facts: None };
    let mut state = State::for_tests(WasiCtx::builder().build_p1(), &crate::policy::Limits::default(), member, Keeper::new(true, strikes));
    let dir = Dir::new(File::open(place.path()).expect("opened"), FsPerms::ReadWrite, OpenMode::READ | OpenMode::WRITE, true);
    let home = state.wasi.ctx().table.push(Descriptor::Dir(dir)).expect("room");
    state.nodes.opened(&home, Some(Arc::clone(ledger)).into());
    (state, home.rep())
}

/// Numbers that look random, the same each time.
struct Random(u64);

impl Random {
    fn below(&mut self, most: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % most
    }

    fn name(&mut self) -> String {
        ["a", "b", "c", "d", "d/a", "d/b", "e/a", "e"][usize::try_from(self.below(8)).expect("small")].to_owned()
    }
}

/// One call, whatever comes of it.
async fn call(state: &mut State, home: u32, open: &mut Vec<u32>, random: &mut Random) {
    let dir = || Resource::<Descriptor>::new_borrow(home);
    let (one, other) = (random.name(), random.name());
    let some = usize::try_from(random.below(open.len().max(1) as u64)).expect("small");
    let file = open.get(some).map(|rep| Resource::<Descriptor>::new_borrow(*rep));
    match (random.below(12), file) {
        (0, _) => drop(state.create_directory_at(dir(), one).await),
        (1, _) => drop(state.remove_directory_at(dir(), one).await),
        (2 | 3, _) => drop(state.unlink_file_at(dir(), one).await),
        (4, _) => drop(state.rename_at(dir(), one, dir(), other).await),
        (5, _) => drop(state.link_at(dir(), PathFlags::empty(), one, dir(), other).await),
        (6, _) => drop(state.symlink_at(dir(), other, one).await),
        (7 | 8, _) if open.len() < 6 => {
            let flags =
                [OpenFlags::empty(), OpenFlags::CREATE, OpenFlags::CREATE | OpenFlags::TRUNCATE, OpenFlags::CREATE | OpenFlags::EXCLUSIVE];
            let flags = flags[usize::try_from(random.below(4)).expect("small")];
            let how = DescriptorFlags::READ | DescriptorFlags::WRITE;
            if let Ok(file) = state.open_at(dir(), PathFlags::SYMLINK_FOLLOW, one, flags, how).await {
                open.push(file.rep());
            }
        }
        (9, Some(_)) => {
            let file = Resource::<Descriptor>::new_own(open.swap_remove(some));
            HostDescriptor::drop(state, file).expect("it was open");
        }
        (10, Some(file)) => {
            drop(state.write(file, vec![1; 1 + usize::try_from(random.below(5000)).expect("small")], random.below(20_000)).await)
        }
        (_, Some(file)) => drop(state.set_size(file, random.below(30_000)).await),
        (_, None) => {}
    }
}

/// Whatever is called in whatever order, the books say what the disk says, and what open files without a name hold.
#[tokio::test]
async fn the_books_agree_with_the_disk_after_every_call() {
    for seed in 1..=20 {
        let (place, ledger) = ledger(ROOMY);
        let (mut state, home) = guest(&place, &ledger);
        let (mut open, mut random) = (Vec::new(), Random(seed * 7919));
        for step in 0..400 {
            call(&mut state, home, &mut open, &mut random).await;
            let found = survey(opened(&place)).expect("surveyed");
            let mut nameless = std::collections::BTreeMap::new();
            for rep in &open {
                if let Ok(Descriptor::File(file)) = state.wasi.ctx().table.get(&Resource::<Descriptor>::new_borrow(*rep)) {
                    let stat = rustix::fs::fstat(&*file.file).expect("stat");
                    if stat.st_nlink == 0 {
                        nameless.insert(stat.st_ino, u64::try_from(stat.st_size).expect("a size"));
                    }
                }
            }
            let bytes = found.bytes + nameless.values().sum::<u64>();
            assert_eq!(ledger.totals(), (bytes, found.entries), "seed {seed}, step {step}");
        }
    }
}

/// A second guest that works on the same tree finds no way to make the books say less than there is.
#[tokio::test]
async fn two_guests_of_one_tree_never_make_the_books_say_too_little() {
    for seed in 1..=10 {
        let (place, ledger) = ledger(ROOMY);
        let ((mut one, home_of_one), (mut other, home_of_other)) = (guest(&place, &ledger), guest(&place, &ledger));
        let (mut open_by_one, mut open_by_other) = (Vec::new(), Vec::new());
        let (mut of_one, mut of_other) = (Random(seed * 7919), Random(seed * 104_729));
        for step in 0..300 {
            tokio::join!(
                call(&mut one, home_of_one, &mut open_by_one, &mut of_one),
                call(&mut other, home_of_other, &mut open_by_other, &mut of_other)
            );
            let found = survey(opened(&place)).expect("surveyed");
            let (bytes, entries) = ledger.totals();
            assert!(bytes >= found.bytes && entries >= found.entries, "seed {seed}, step {step}: {bytes} {entries} {found:?}");
        }
    }
}

#[tokio::test]
async fn a_descriptor_that_is_not_on_record_is_refused() {
    let (place, ledger) = ledger(ROOMY);
    let (mut state, _) = guest(&place, &ledger);
    let dir = Dir::new(File::open(place.path()).expect("opened"), FsPerms::ReadWrite, OpenMode::READ | OpenMode::WRITE, true);
    let unknown = state.wasi.ctx().table.push(Descriptor::Dir(dir)).expect("room");
    let made = state.create_directory_at(unknown, "new".into()).await;
    assert!(made.is_err_and(|error| error.downcast_ref().is_none_or(|code| !matches!(code, ErrorCode::InsufficientSpace))));
    assert!(!place.path().join("new").exists());
}

/// What wasmtime links for preview 1, each decided here: a function that an update adds is not in the list.
#[test]
fn every_function_of_preview_1_is_decided() {
    let engine = crate::backend::wasm::engine::engine(crate::backend::wasm::engine::Purpose::Compile).expect("an engine");
    let mut linker = wasmtime::Linker::<State>::new(&engine);
    super::super::p1::link(&mut linker).expect("linked");
    let state = {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let _entered = runtime.enter();
        let (place, ledger) = ledger(ROOMY);
        guest(&place, &ledger).0
    };
    let mut store = wasmtime::Store::new(&engine, state);
    let mut linked: Vec<String> = linker.iter(&mut store).map(|(_, name, _)| name.to_owned()).collect();
    linked.sort();
    let ours = [
        "fd_close",
        "fd_fdstat_set_flags",
        "fd_filestat_set_size",
        "fd_pwrite",
        "fd_readdir",
        "fd_renumber",
        "fd_write",
        "path_create_directory",
        "path_link",
        "path_open",
        "path_remove_directory",
        "path_rename",
        "path_symlink",
        "path_unlink_file",
        "random_get",
    ];
    let theirs = [
        "args_get",
        "args_sizes_get",
        "clock_res_get",
        "clock_time_get",
        "environ_get",
        "environ_sizes_get",
        "fd_advise",
        "fd_allocate",
        "fd_datasync",
        "fd_fdstat_get",
        "fd_fdstat_set_rights",
        "fd_filestat_get",
        "fd_filestat_set_times",
        "fd_pread",
        "fd_prestat_dir_name",
        "fd_prestat_get",
        "fd_read",
        "fd_seek",
        "fd_sync",
        "fd_tell",
        "path_filestat_get",
        "path_filestat_set_times",
        "path_readlink",
        "poll_oneoff",
        "proc_exit",
        "proc_raise",
        "sched_yield",
        "sock_accept",
        "sock_recv",
        "sock_send",
        "sock_shutdown",
    ];
    let mut decided: Vec<String> = ours.iter().chain(&theirs).map(|name| (*name).to_owned()).collect();
    decided.sort();
    assert_eq!(linked, decided);
}
