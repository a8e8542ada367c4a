//! It does as it is told, natively as well.

use lazarus_guest::{
    Role, SENDS_MOST,
    testing::{Outcome, TestCell},
};

use super::*;

#[test]
fn it_says_what_came_of_each_call() {
    let mut cell = TestCell::<Faulty>::new();
    for (told, answer) in [
        ("me", "ok agent:tested executor"),
        ("members", "ok human:owner director; agent:tested executor"),
        ("send agent:nobody hello", "refused no-such-member"),
        ("send nobody hello", "refused malformed"),
        ("large 32769", "refused too-large"),
        ("large 32768", "ok msg-"),
        ("empty", "refused malformed"),
        ("invite agent:x executor", "refused not-granted"),
        ("invite agent:x king", "error accept role"),
        ("close", "refused not-granted"),
        ("audit", "refused not-granted"),
        ("file report 10", "ok"),
        ("declare report report.md", "ok report.md 10 bytes"),
        ("declare ../x x", "refused malformed"),
        ("declare report .hidden", "refused malformed"),
        ("link way /etc/hostname", "ok"),
        ("declare way hostname", "refused malformed"),
        ("write /nonexistent/x", "error"),
        ("read report", "ok xxxxxxxxxx"),
        ("receive", "ok nothing"),
        ("flood 3", "ok"),
        ("sleep 0.001", "ok"),
        ("grow 1", "ok"),
        ("nonsense", "error there is no word"),
        ("until 1 panic", "ok at attempt 1"),
    ] {
        let event = cell.message("human:owner", told).done();
        assert!(event.reply().is_some_and(|reply| reply.starts_with(answer)), "{told}: {:?}", event.reply());
    }
}

#[test]
fn it_leads_where_it_may() {
    let mut cell = TestCell::<Faulty>::new().role(Role::Director);
    assert_eq!(cell.message("human:owner", "invite human:guest observer").reply(), Some("ok token-of-human:guest"));
    assert!(!cell.is_closing());
    assert_eq!(cell.message("human:owner", "close").reply(), Some("ok closing"));
    assert!(cell.is_closing());
}

#[test]
fn it_sends_as_many_as_it_may() {
    let mut cell = TestCell::<Faulty>::new();
    let event = cell.message("human:owner", "many 65").done();
    assert_eq!(event.sent().len(), SENDS_MOST);
    assert!(cell.log().last().is_some_and(|(_, line)| line.starts_with("64 sent, then refused")), "{:?}", cell.log());
}

#[test]
fn it_goes_wrong_as_it_is_told() {
    let mut cell = TestCell::<Faulty>::new();
    let panicked = cell.message("human:owner", "until 2 panic");
    assert!(matches!(panicked.outcome(), Outcome::Lost(_)));
    assert_eq!(cell.again(&panicked).reply(), Some("ok at attempt 2"));
    assert_eq!(cell.message("human:owner", "state").reply(), Some("ok Some(Again), 2 handled, 0 ticks"));
    let event = cell.message("human:owner", "send-then park never");
    assert_eq!((event.outcome(), event.sent().len()), (&Outcome::Park("never".to_owned()), 0));
    let _ = cell.message("human:owner", "remember at-start retry not now").done();
    cell.idle();
    assert_eq!(*cell.message("human:owner", "state").outcome(), Outcome::Lost("start: not now".to_owned()));
}

#[test]
fn it_ticks() {
    let mut cell = TestCell::<Faulty>::new();
    assert_eq!(cell.tick().sent_to("human:owner"), ["tick 1"]);
}
