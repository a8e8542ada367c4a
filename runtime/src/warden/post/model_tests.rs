//! Desks and settlements against a mailbox of a few lines: whatever happens in whatever order, nothing is lost, overtaken, or given twice
//! at once.

use std::{collections::BTreeMap, time::Instant};

use chrono::{DateTime, Duration, Utc};
use proptest::prelude::*;

use super::{
    desk::{Desk, Parcel, Tenant},
    settle::{ATTEMPTS_MOST, settlement},
};
use crate::{
    backend::protocol::{End, Outcome},
    cell::{Identity, Role},
    mail::{Draft, Message, MessageId, Text},
    registry::Settlement,
};

#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    Waiting(DateTime<Utc>),
    Handled,
    Parked,
}

/// A mailbox that does what the registry promises.
struct Mailbox {
    all: Vec<(Message, u32, State)>,
    now: DateTime<Utc>,
}

impl Mailbox {
    fn accept(&mut self, draft: Draft) {
        let Draft { id, sender, receiver, text, in_reply_to } = draft;
        let message = Message { id, sender, receiver, text, in_reply_to, sent_at: self.now, attempt: 0 };
        self.all.push((message, 0, State::Waiting(DateTime::UNIX_EPOCH)));
    }

    /// The head of a sender's line, the senders taking turns.
    fn next(&self, receiver: &Identity, taken: &[MessageId], after: Option<&Identity>) -> Option<Message> {
        let mut heads: BTreeMap<String, Option<Message>> = BTreeMap::new();
        for (message, failures, state) in self.all.iter().filter(|(message, ..)| message.receiver == *receiver) {
            let State::Waiting(not_before) = state else { continue };
            if taken.contains(&message.id) {
                continue;
            }
            let due = (*not_before <= self.now).then(|| Message { attempt: failures + 1, ..message.clone() });
            heads.entry(message.sender.to_string()).or_insert(due);
        }
        let last = after.map(ToString::to_string).unwrap_or_default();
        let (before, later): (Vec<_>, Vec<_>) = heads.into_iter().partition(|(sender, _)| *sender <= last);
        later.into_iter().chain(before).find_map(|(_, head)| head)
    }

    fn settle(&mut self, settlement: Settlement) {
        for (message, failures, state) in &mut self.all {
            if settlement.handled.contains(&message.id) {
                assert!(matches!(state, State::Waiting(_)), "settled twice");
                *state = State::Handled;
            }
            if let Some(failed) = settlement.failed.iter().find(|failed| failed.id == message.id) {
                assert!(matches!(state, State::Waiting(_)), "settled twice");
                *failures += 1;
                *state = failed.retry_at.map_or(State::Parked, State::Waiting);
            }
        }
        for draft in settlement.sent {
            self.accept(draft);
        }
    }
}

#[derive(Debug, Clone)]
enum Act {
    Send(usize, usize),
    Give(usize),
    Take(usize),
    Reply(usize),
    Over(usize, Outcome),
    HostDies,
    Pass(i64),
}

fn act() -> impl Strategy<Value = Act> {
    let why = || "why".to_owned();
    let outcome = prop_oneof![
        4 => Just(Outcome::Done),
        2 => Just(Outcome::Retry { why: why() }),
        1 => Just(Outcome::Park { why: why() }),
        1 => Just(Outcome::Lost { end: End::Trapped { message: why() } }),
    ];
    prop_oneof![
        4 => (0_usize..3, 0_usize..2).prop_map(|(from, to)| Act::Send(from, to)),
        5 => (0_usize..2).prop_map(Act::Give),
        1 => (0_usize..2).prop_map(Act::Take),
        2 => (0_usize..2).prop_map(Act::Reply),
        4 => ((0_usize..2), outcome).prop_map(|(to, outcome)| Act::Over(to, outcome)),
        1 => Just(Act::HostDies),
        2 => (0_i64..20_000).prop_map(Act::Pass),
    ]
}

fn identity(index: usize) -> Identity {
    format!("agent:a{index}").parse().expect("an identity")
}

struct World {
    desks: Vec<(Desk, Option<u64>)>,
    mailbox: Mailbox,
    /// Deliveries in progress, by message: never more than one.
    given: Vec<MessageId>,
}

impl World {
    fn new() -> Self {
        let now = Instant::now();
        let desk = |index| {
            let event = std::time::Duration::from_secs(60);
            let mut desk = Desk::new(Tenant { identity: identity(index), role: Role::Executor, event, tick: None }, 0);
            assert!(desk.ready(now).is_some());
            (desk, None)
        };
        Self { desks: (0..2).map(desk).collect(), mailbox: Mailbox { all: Vec::new(), now: Utc::now() }, given: Vec::new() }
    }

    fn send(&mut self, from: usize, to: usize) {
        let text = Text::new("x".into()).expect("a text");
        let draft = Draft { id: MessageId::random(), sender: identity(from), receiver: identity(to), text, in_reply_to: None };
        self.mailbox.accept(draft);
    }

    /// What was given was not overtaken: everything earlier of the same pair is settled, or in the same hands.
    fn check_given(&mut self, message: &Message, to: usize) {
        assert!(!self.given.contains(&message.id), "given twice at once");
        self.given.push(message.id.clone());
        let in_hand = self.desks[to].0.in_hand();
        for (earlier, _, state) in self.mailbox.all.iter().take_while(|(earlier, ..)| earlier.id != message.id) {
            let same = earlier.sender == message.sender && earlier.receiver == message.receiver;
            assert!(!same || !matches!(state, State::Waiting(_)) || in_hand.contains(&earlier.id), "overtaken");
        }
    }

    fn give(&mut self, to: usize) {
        let now = Instant::now();
        let (desk, event) = &mut self.desks[to];
        let Some(message) = self.mailbox.next(&identity(to), &desk.in_hand(), desk.last_sender.as_ref()) else { return };
        let number = desk.give(&message, now);
        assert_eq!(number.is_some(), event.is_none(), "one event at a time");
        if number.is_some() {
            *event = number;
            self.check_given(&message, to);
        }
    }

    fn take(&mut self, to: usize) {
        let desk = &self.desks[to].0;
        let next = self.mailbox.next(&identity(to), &desk.in_hand(), desk.last_sender.as_ref());
        if let (Some(message), Some(held)) = (next, self.desks[to].0.held_mut()) {
            held.taken.push(Parcel::of(&message));
            self.check_given(&message, to);
        }
    }

    fn reply(&mut self, from: usize) {
        let Some(held) = self.desks[from].0.held_mut() else { return };
        let Some(given) = held.given.clone() else { return };
        let text = Text::new("y".into()).expect("a text");
        let (id, sender) = (MessageId::random(), identity(from));
        held.sent.push(Draft { id, sender, receiver: given.sender, text, in_reply_to: Some(given.id) });
    }

    fn end(&mut self, held: super::desk::Held, outcome: &Outcome) {
        self.given.retain(|id| !held.received().any(|message| message.id == *id));
        let now = self.mailbox.now;
        self.mailbox.settle(settlement(held, outcome, now));
    }

    fn over(&mut self, to: usize, outcome: &Outcome) {
        let (desk, event) = &mut self.desks[to];
        let Some(number) = event.take() else {
            assert!(desk.over(1).is_err(), "an event that was not given");
            return;
        };
        assert!(desk.over(number + 1).is_err());
        let held = desk.over(number).expect("the event that was given");
        self.end(held, outcome);
    }

    fn host_dies(&mut self) {
        let lost = Outcome::Lost { end: End::Signalled { signal: 9 } };
        for index in 0..self.desks.len() {
            let (desk, event) = &mut self.desks[index];
            *event = None;
            if let Some(held) = desk.away() {
                self.end(held, &lost);
            }
            let desk = &mut self.desks[index].0;
            assert!(!desk.is_free(Instant::now()));
            desk.again(1);
            assert!(desk.ready(Instant::now()).is_some());
        }
    }

    fn act(&mut self, act: &Act) {
        match act {
            Act::Send(from, to) => self.send(*from, *to),
            Act::Give(to) => self.give(*to),
            Act::Take(to) => self.take(*to),
            Act::Reply(from) => self.reply(*from),
            Act::Over(to, outcome) => self.over(*to, outcome),
            Act::HostDies => self.host_dies(),
            Act::Pass(milliseconds) => self.mailbox.now += Duration::milliseconds(*milliseconds),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_nothing_is_lost_overtaken_or_given_twice(acts in proptest::collection::vec(act(), 1..120)) {
        let mut world = World::new();
        for act in &acts {
            world.act(act);
        }
        let accepted = world.mailbox.all.len();
        // From now on everything goes well, and every message comes to its end.
        for _ in 0..4 * accepted + 4 {
            for to in 0..2 {
                world.over(to, &Outcome::Done);
                world.give(to);
            }
            world.mailbox.now += Duration::seconds(20);
        }
        for (message, failures, state) in &world.mailbox.all {
            prop_assert!(*failures <= ATTEMPTS_MOST);
            // The third one has no desk: what is written to it waits.
            let reachable = message.receiver != identity(2);
            prop_assert_eq!(matches!(state, State::Waiting(_)), !reachable, "{:?}", message);
        }
    }
}

#[test]
fn the_pauses_grow_and_the_fifth_failure_is_the_last() {
    let now = Utc::now();
    let pauses: Vec<Option<i64>> =
        (1..=5).map(|attempt| super::settle::retry_at(attempt, now).map(|at| (at - now).num_milliseconds())).collect();
    assert_eq!(pauses, [Some(200), Some(800), Some(3200), Some(12_800), None]);
}
