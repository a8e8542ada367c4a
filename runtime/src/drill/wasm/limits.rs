//! Memory, processor, disk: what a guest takes.

use libc::{EFBIG, EIO, EMFILE, ENOMEM, ENOSPC};

use super::{
    component::{many_directories, many_listings, sparse_file as sparse_component},
    preview1::{
        ask_time, grow, grow_table, large_file, many_files, memories, open_many, poll_many, random, recurse, sleep, sparse_file, spin,
        spin_at_start,
    },
    table::{component, preview1},
};
use crate::drill::{
    Attack,
    Death::{Errno, Limit, Refused},
    Outcome::{Crash, Escape, Write},
};

/// Little of everything that a guest can be given little of.
const SMALL: &[&str] = &["--memory", "4MiB", "--table-elements", "1000", "--home", "1MiB", "--open-files", "16"];
/// Little CPU time.
const BRIEF: &[&str] = &["--cpu", "200ms"];
/// Little time on the wall.
const SHORT: &[&str] = &["--timeout", "500ms"];
/// Few files.
const FEW: &[&str] = &["--files", "100"];

/// All of these classes.
pub const ATTACKS: &[Attack] = &[
    preview1("memory/grow", grow, SMALL).tries("grows its memory past its limit", &["1000"], &["10"]).dies(&[Errno(ENOMEM)], Escape),
    preview1("memory/two-memories", memories, SMALL)
        .tries("has two memories, each within its limit and both past it", &["40"], &["4"])
        .dies(&[Refused("memory")], Escape),
    preview1("memory/from-the-start", memories, SMALL)
        .tries("asks for four gigabytes before it runs", &["65536"], &["1"])
        .dies(&[Refused("memory")], Escape),
    preview1("memory/table", grow_table, SMALL).tries("grows a table past its limit", &["100000"], &["100"]).dies(&[Errno(ENOMEM)], Escape),
    preview1("memory/recursion", recurse, &[])
        .tries("calls itself without end", &["1000000000"], &["100"])
        .dies(&[Refused("call stack exhausted")], Crash),
    preview1("memory/random-bytes", random, &[])
        .tries("makes the host allocate what it asks for: a megabyte of random bytes", &["1048577"], &["1024"])
        .dies(&[Limit("random")], Crash),
    preview1("memory/subscriptions", poll_many, &[])
        .tries("makes the host allocate what it asks for: a hundred thousand subscriptions", &["100000"], &["10"])
        .dies(&[Errno(ENOMEM)], Crash),
    preview1("cpu/loop", spin, BRIEF).tries("computes for ever", &["for-ever"], &["1000"]).dies(&[Limit("cpu")], Escape),
    preview1("cpu/start-function", spin_at_start, BRIEF)
        .tries("computes for ever before it is ready", &["for-ever"], &["1000"])
        .dies(&[Limit("cpu"), Refused("of CPU time")], Escape),
    preview1("cpu/host-calls", ask_time, BRIEF)
        .tries("has the host compute for it, for ever", &["for-ever"], &["1000"])
        .dies(&[Limit("cpu")], Escape),
    preview1("cpu/sleep", sleep, SHORT)
        .tries("sleeps in the host, where no epoch interrupts it", &["3600000"], &["10"])
        .dies(&[Limit("timeout")], Escape),
    preview1("disk/large-file", large_file, SMALL)
        .tries("writes two megabytes into a home of one", &["2048"], &["10"])
        .dies(&[Errno(ENOSPC), Errno(EFBIG)], Write),
    preview1("disk/sparse-file", sparse_file, SMALL)
        .tries("makes a file of a terabyte, without writing", &["1099511627776"], &["1000"])
        .dies(&[Errno(ENOSPC), Errno(EFBIG)], Write),
    preview1("disk/many-files", many_files, FEW)
        .tries("makes a thousand empty files where it may have a hundred", &["1000"], &["10"])
        .dies(&[Errno(ENOSPC)], Write),
    component("disk/sparse-file", sparse_component, SMALL)
        .tries("makes a file of a terabyte, without writing", &["1099511627776"], &["1000"])
        .dies(&[Errno(ENOSPC), Errno(EFBIG)], Write),
    component("disk/many-directories", many_directories, FEW)
        .tries("makes a thousand directories where it may have a hundred", &["1000"], &["10"])
        .dies(&[Errno(ENOSPC)], Write),
    preview1("descriptors/exhaust", open_many, SMALL)
        .tries("opens its home four hundred times", &["400"], &["2"])
        .dies(&[Errno(EMFILE)], Crash),
    component("descriptors/listings", many_listings, SMALL)
        .tries("has the host list its home four hundred times at once", &["400"], &["2"])
        .dies(&[Errno(EIO)], Crash),
];
