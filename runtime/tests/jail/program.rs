//! What reapers are started from: the small program, or this one; neither does what another build tells it, nor less than all of its work.

use std::{
    fs::File,
    io::{IoSlice, Seek, Write},
    mem::MaybeUninit,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    process::{Child, Stdio},
};

use lazarus::backend::{
    handoff,
    packets::{Received, Waiting, pair, receive_message},
    parcel::Parcel,
    process::{ReaperProgram, SUBCOMMAND, spawn},
    protocol::FromChild,
};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use serde_json::json;

use crate::{
    Case,
    fixture::{Life, World, live, no_namespaces, reaper},
};

pub const CASES: &[Case] = &[
    ("both_programs_make_the_same_jail", same),
    ("a_reaper_refuses_what_another_build_tells_it", another_build),
    ("a_reaper_that_is_not_told_all_starts_nothing", not_all),
    ("what_is_no_reaper_starts_no_agent", no_reaper),
    ("a_reaper_that_is_told_nothing_ends", told_nothing),
];

/// What an agent sees of itself and, where that is in its own `/proc`, of its reaper.
const LOOK: &str = "umask; env; ls /proc/self/fd | wc -l; cat /proc/1/comm; tr '\\0' ' ' < /proc/1/cmdline | sed 's/--socket.*//'";

fn run(world: &World, program: ReaperProgram) -> Life {
    let mut options = world.options();
    options.reaper = program;
    live(spawn(&world.launch(&["sh", "-c", LOOK]), &options).unwrap())
}

/// What was reported, without the numbers that were set: without a namespace, one of them counts the processes of the machine.
fn said(life: &Life) -> Vec<String> {
    let entries = life.report.iter().flat_map(|report| report.entries());
    entries.map(|entry| format!("{:?} {} {:?} {:?}", entry.subject, entry.promise, entry.enforcer, entry.extent)).collect()
}

fn same() {
    for own in [true, false] {
        for speaks in [true, false] {
            let mut world = World::new();
            world.speaks = speaks;
            if !own {
                world.namespaces = no_namespaces();
            }
            let (small, large) = (run(&world, reaper()), run(&world, ReaperProgram::own()));
            assert_eq!(said(&small), said(&large));
            assert_eq!(small.stdout, large.stdout);
            assert!(small.ready && small.report.is_some(), "{small:?}");
            assert!(small.stdout.starts_with("0077\n"), "{small:?}");
            assert_eq!(small.stdout.ends_with("lazarus\nlazarus __jail "), own, "{small:?}");
        }
    }
}

/// A reaper of either program that was told nothing yet, and this end of its message socket.
fn untold(program: Option<BorrowedFd<'_>>) -> (Child, OwnedFd) {
    let (ours, theirs) = pair().unwrap();
    let silent = |command: &mut std::process::Command| {
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    };
    (handoff::start(program, SUBCOMMAND, theirs, silent).unwrap(), ours)
}

fn of_both(test: fn(Option<BorrowedFd<'_>>)) {
    test(None);
    test(reaper().small());
}

/// A parcel of one descriptor, the description, as any build would send it.
fn send(socket: &OwnedFd, description: &str) {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(description.as_bytes()).unwrap();
    file.rewind().unwrap();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    let enclosed = [file.as_fd()];
    assert!(ancillary.push(SendAncillaryMessage::ScmRights(&enclosed)));
    sendmsg(socket, &[IoSlice::new(&[0; 4])], &mut ancillary, SendFlags::NOSIGNAL).unwrap();
}

fn another_build() {
    of_both(|program| {
        let (mut child, socket) = untold(program);
        send(&socket, "0.0.1-0123456789abcdef\n{\"agent\":\"probe\",\"an older word\":1}");
        let said = receive_message(&socket, Waiting::Block).unwrap();
        let Received::Message(FromChild::Refused { agent, message }) = said else { panic!("{said:?}") };
        assert_eq!(agent.as_str(), "probe");
        assert!(message.contains("of build 0.1.0-") && message.contains("by one of build 0.0.1-0123456789abcdef"), "{message}");
        assert_eq!(child.wait().unwrap().code(), Some(125));
    });
}

fn not_all() {
    of_both(|program| {
        // Whoever is told of its own build, and not of the network namespace, the homes, and all the rest.
        let (mut child, socket) = untold(program);
        Parcel::default().send(&socket, &json!({ "agent": "probe", "view": { "kind": "own", "links": [], "texts": [] } })).unwrap();
        let said = receive_message(&socket, Waiting::Block).unwrap();
        assert!(matches!(&said, Received::Message(FromChild::Refused { message, .. }) if message.contains("understand")), "{said:?}");
        assert_eq!(receive_message::<FromChild>(&socket, Waiting::Block).unwrap(), Received::Closed);
        assert_eq!(child.wait().unwrap().code(), Some(125));
    });
}

fn no_reaper() {
    let program = ReaperProgram::opened(File::open("/bin/true").unwrap().into());
    let world = World::new();
    let mut options = world.options();
    options.reaper = program;
    // It may be gone before it is told anything.
    if let Ok(spawned) = spawn(&world.launch(&["true"]), &options) {
        let life = live(spawned);
        assert!(!life.ready && life.report.is_none() && life.end.is_none(), "{life:?}");
    }
}

fn told_nothing() {
    of_both(|program| {
        let (mut child, socket) = untold(program);
        drop(socket);
        assert_eq!(child.wait().unwrap().code(), Some(125));
        let (mut child, socket) = untold(program);
        rustix::net::send(&socket, b"c{}", SendFlags::NOSIGNAL).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(125));
    });
}
