//! What gets through to the warden, in which order, and what of the rest is told.

use std::{os::fd::OwnedFd, time::Duration};

use rustix::net::{AddressFamily, RecvFlags, SocketFlags, SocketType, socketpair};

use super::outbox::Outbox;
use crate::{
    backend::protocol::{self, End, FromChild, Packet, Stream},
    cell::AgentName,
};

fn pair() -> (OwnedFd, OwnedFd) {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None).expect("a pair")
}

fn read(socket: &OwnedFd) -> Option<Vec<u8>> {
    let mut packet = vec![0; protocol::PACKET_MOST_BYTES];
    let (count, _) = rustix::net::recv(socket, &mut packet[..], RecvFlags::DONTWAIT).ok()?;
    packet.truncate(count);
    Some(packet)
}

fn names() -> [AgentName; 2] {
    ["a", "b"].map(|name| name.parse().expect("a name"))
}

/// What a warden hears.
#[derive(Debug, Default)]
struct Heard {
    /// Of each guest, in the order of its streams.
    kept: [Vec<u8>; 2],
    dropped: u64,
    writes: u64,
    ends: usize,
    packets: usize,
    /// After how many packets the second guest was heard first.
    second: Option<usize>,
}

impl Heard {
    fn take(&mut self, packet: &[u8]) {
        self.packets += 1;
        match protocol::from_child(packet).expect("a packet") {
            Packet::Output { guest, bytes, .. } => {
                assert!(guest == 1 || self.ends == 0, "words stay behind the output before them");
                if guest == 1 {
                    self.second.get_or_insert(self.packets);
                }
                self.kept[usize::from(guest)].extend_from_slice(bytes);
            }
            Packet::Control(FromChild::Dropped { bytes, writes, .. }) => {
                self.dropped += bytes;
                self.writes += writes;
            }
            Packet::Control(FromChild::Ended { .. }) => self.ends += 1,
            Packet::Control(other) => panic!("{other:?}"),
        }
    }

    /// Hears all that comes, while `outbox` sends what waits.
    async fn all(&mut self, outbox: &Outbox, theirs: &OwnedFd) {
        loop {
            while let Some(packet) = read(theirs) {
                self.take(&packet);
            }
            tokio::select! { biased; () = outbox.flush() => {}, () = tokio::task::yield_now() => {} }
            let Some(packet) = read(theirs) else { return };
            self.take(&packet);
        }
    }
}

fn ended() -> FromChild {
    FromChild::Ended { agent: "a".parse().expect("a name"), end: End::Exited { code: 0 } }
}

#[tokio::test]
async fn a_flood_is_dropped_and_counted_and_drowns_only_itself() {
    for write in [32 * 1024, 4096, 1] {
        let (ours, theirs) = pair();
        let outbox = Outbox::new(ours, names()).expect("an outbox");
        let (mut heard, flood) = (Heard::default(), vec![b'x'; write]);
        let writes = (3 << 20) / write;
        let mut waits = false;
        for at in 0..writes {
            outbox.output(0, Stream::Stdout, &flood);
            waits |= outbox.is_paused(0);
            // The warden reads, but not as fast as the guest writes.
            if at.is_multiple_of(32 * 1024 / write) {
                tokio::select! { biased; () = outbox.flush() => {}, () = tokio::task::yield_now() => {} }
                read(&theirs).iter().for_each(|packet| heard.take(packet));
            }
        }
        let before = heard.packets;
        outbox.output(1, Stream::Stderr, b"quiet");
        outbox.say(0, &ended());
        heard.all(&outbox, &theirs).await;
        assert_eq!(heard.kept[0].len() as u64 + heard.dropped, (writes * write) as u64, "every byte arrives or is counted: {write}");
        assert!(heard.dropped > 1 << 20 && heard.writes > 0 && heard.ends == 1, "{write}: {} in {}", heard.dropped, heard.writes);
        assert_eq!(heard.kept[1], b"quiet");
        assert!(heard.second.is_some_and(|at| at - before < 400), "not behind all of the flood: {:?} of {}", heard.second, heard.packets);
        assert!(heard.packets < 1500, "short writes are joined: {write}: {}", heard.packets);
        assert!(waits, "who floods waits");
        assert!(!outbox.is_paused(1), "the twin");
    }
}

#[tokio::test]
async fn who_writes_modestly_loses_nothing_beside_a_flood() {
    let (ours, theirs) = pair();
    let outbox = Outbox::new(ours, names()).expect("an outbox");
    let mut heard = Heard::default();
    // The neighbour floods all the while.
    for line in 0..2000 {
        outbox.output(1, Stream::Stdout, &[b'x'; 8192]);
        outbox.output(0, Stream::Stdout, format!("line {line}\n").as_bytes());
        heard.all(&outbox, &theirs).await;
    }
    outbox.say(0, &ended());
    heard.all(&outbox, &theirs).await;
    let all: String = (0..2000).map(|line| format!("line {line}\n")).collect();
    assert!(heard.kept[0] == all.as_bytes(), "{} of {}", heard.kept[0].len(), all.len());
    assert!(!outbox.drops_line(0, Stream::Stderr, b"a line", 10));
    assert!(outbox.drops_line(1, Stream::Stderr, &[b'x'; 4096], 4100), "the twin");
}

#[tokio::test]
async fn a_word_goes_behind_what_its_guest_wrote_and_before_what_a_neighbour_wrote() {
    let (ours, theirs) = pair();
    let outbox = Outbox::new(ours, names()).expect("an outbox");
    let mut heard = Heard::default();
    for _ in 0..1000 {
        outbox.output(1, Stream::Stdout, b"x");
    }
    while let Some(packet) = read(&theirs) {
        heard.take(&packet);
    }
    assert!(heard.kept[1].len() < 1000, "the rest waits for more");
    outbox.output(0, Stream::Stderr, b"last words");
    outbox.say(0, &ended());
    while let Some(packet) = read(&theirs) {
        heard.take(&packet);
    }
    assert_eq!((&heard.kept[0][..], heard.ends), (&b"last words"[..], 1));
    assert!(heard.kept[1].len() < 1000, "it still waits");
    heard.all(&outbox, &theirs).await;
    assert_eq!((heard.kept[1].len(), heard.dropped), (1000, 0));
}

#[tokio::test]
async fn the_last_words_of_a_flood_go_with_its_end_and_are_counted_once() {
    let (ours, theirs) = pair();
    let outbox = Outbox::new(ours, names()).expect("an outbox");
    let (mut heard, mut written) = (Heard::default(), 0);
    for _ in 0..200 {
        outbox.output(0, Stream::Stderr, &[b'x'; 16 * 1024]);
        written += 16 * 1024;
        heard.all(&outbox, &theirs).await;
    }
    let panic = [&[b'x'; 8000][..], b"panicked at ...\n"].concat();
    outbox.output(0, Stream::Stderr, &panic);
    outbox.say(0, &ended());
    heard.all(&outbox, &theirs).await;
    assert!(heard.kept[0].ends_with(b"panicked at ...\n"));
    assert_eq!(heard.kept[0].len() as u64 + heard.dropped, (written + panic.len()) as u64);
}

#[tokio::test]
async fn what_was_dropped_is_told_even_if_nothing_more_is_said() {
    let (ours, theirs) = pair();
    let outbox = std::sync::Arc::new(Outbox::new(ours, names()).expect("an outbox"));
    let draining = tokio::spawn({
        let outbox = std::sync::Arc::clone(&outbox);
        async move { outbox.drain().await }
    });
    let mut heard = Heard::default();
    outbox.output(0, Stream::Stdout, &[b'x'; 3 << 20]);
    for _ in 0..500 {
        if heard.kept[0].len() as u64 + heard.dropped == 3 << 20 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
        while let Some(packet) = read(&theirs) {
            heard.take(&packet);
        }
    }
    draining.abort();
    assert_eq!(heard.kept[0].len() as u64 + heard.dropped, 3 << 20);
    assert!((1..=8).contains(&heard.writes), "{}", heard.writes);
}

#[tokio::test]
async fn a_warden_that_hung_up_is_noticed() {
    let (ours, theirs) = pair();
    let outbox = Outbox::new(ours, names()).expect("an outbox");
    drop(theirs);
    outbox.output(0, Stream::Stdout, b"x");
    assert!(outbox.is_gone());
}
