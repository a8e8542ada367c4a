//! Any sequence of sends, deliveries and failures: the mailbox agrees with a list in memory.

use proptest::prelude::*;

use super::*;
use crate::mail::{Draft, MessageId, Text};

const AGENTS: [&str; 3] = ["agent:scribe", "agent:critic", "agent:editor"];
/// The messages that may wait for one receiver.
const ROOM: u32 = 4;

/// What the model knows of a message.
#[derive(Debug, Clone)]
struct Known {
    id: MessageId,
    sender: usize,
    receiver: usize,
    failures: u32,
    not_before: i64,
    /// Whether it waits still.
    waits: bool,
}

#[derive(Debug, Clone)]
enum Act {
    Send {
        from: usize,
        to: usize,
    },
    /// The next message of a receiver is delivered, and handled, with so many answers.
    Handle {
        receiver: usize,
        answers: usize,
    },
    /// It is delivered, and fails; it comes again after so many steps, or never.
    Fail {
        receiver: usize,
        again: Option<i64>,
    },
    /// Time goes by.
    Wait {
        steps: i64,
    },
    /// Something old is acknowledged again.
    Repeat {
        receiver: usize,
        which: usize,
    },
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        4 => (0..3_usize, 0..3_usize).prop_map(|(from, to)| Act::Send { from, to }),
        3 => (0..3_usize, 0..3_usize).prop_map(|(receiver, answers)| Act::Handle { receiver, answers }),
        2 => (0..3_usize, prop::option::weighted(0.8, 1..6_i64)).prop_map(|(receiver, again)| Act::Fail { receiver, again }),
        2 => (1..6_i64).prop_map(|steps| Act::Wait { steps }),
        1 => (0..3_usize, 0..40_usize).prop_map(|(receiver, which)| Act::Repeat { receiver, which }),
    ]
}

struct Model {
    messages: Vec<Known>,
    /// Who was served last, for each receiver.
    last: [Option<usize>; 3],
    now: i64,
}

impl Model {
    fn waiting(&self, receiver: usize) -> usize {
        self.messages.iter().filter(|message| message.waits && message.receiver == receiver).count()
    }

    /// The message that comes next: of each sender its oldest, if that is due; senders by name, from the one after the last.
    fn next(&self, receiver: usize) -> Option<usize> {
        let mut senders: Vec<usize> = (0..3).collect();
        senders.sort_by_key(|sender| AGENTS[*sender]);
        let after = self.last[receiver].map_or(0, |last| senders.iter().position(|sender| *sender == last).expect("a sender") + 1);
        senders.rotate_left(after % 3);
        senders.into_iter().find_map(|sender| {
            let of_line = |message: &Known| message.waits && message.sender == sender && message.receiver == receiver;
            let head = self.messages.iter().position(of_line)?;
            (self.messages[head].not_before <= self.now).then_some(head)
        })
    }

    fn sent(&mut self, draft: &Draft, sender: usize, receiver: usize) {
        self.messages.push(Known { id: draft.id.clone(), sender, receiver, failures: 0, not_before: 0, waits: true });
    }
}

fn draft(from: usize, to: usize) -> Draft {
    let identity = |number: usize| AGENTS[number].parse().expect("an identity");
    Draft {
        id: MessageId::random(),
        sender: identity(from),
        receiver: identity(to),
        text: Text::new("x".into()).expect("a text"),
        in_reply_to: None,
    }
}

/// A step of the model's clock, as a time: far in the past, so that nothing depends on the real one.
fn at(step: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_000_000_000 + step, 0).expect("a time")
}

struct Run {
    fixture: Fixture,
    cell: CellId,
    model: Model,
}

impl Run {
    fn settle(&mut self, receiver: usize, settlement: &Settlement) {
        let receiver = AGENTS[receiver].parse().expect("an identity");
        self.fixture.registry.settle(&self.cell, &receiver, settlement, "warden").expect("settled");
    }

    /// What the registry says comes next agrees with the model.
    fn deliver(&mut self, receiver: usize) -> Result<Option<usize>, TestCaseError> {
        let expected = self.model.next(receiver);
        let of = |number: usize| -> Identity { AGENTS[number].parse().expect("an identity") };
        let after = self.model.last[receiver].map(of);
        let found =
            self.fixture.registry.next_message(&self.cell, &of(receiver), at(self.model.now), &[], after.as_ref()).expect("readable");
        let known = expected.map(|place| &self.model.messages[place]);
        prop_assert_eq!(found.map(|message| (message.id, message.attempt)), known.map(|known| (known.id.clone(), known.failures + 1)));
        if let Some(place) = expected {
            self.model.last[receiver] = Some(self.model.messages[place].sender);
        }
        Ok(expected)
    }

    fn act(&mut self, act: &Act) -> Result<(), TestCaseError> {
        match *act {
            Act::Send { from, to } => {
                let draft = draft(from, to);
                let accepted = self.fixture.registry.accept(&self.cell, std::slice::from_ref(&draft), ROOM, AGENTS[from]);
                if self.model.waiting(to) < ROOM as usize {
                    prop_assert!(accepted.is_ok(), "{accepted:?}");
                    self.model.sent(&draft, from, to);
                } else {
                    prop_assert!(matches!(accepted, Err(RegistryError::MailboxFull { .. })), "{accepted:?}");
                }
            }
            Act::Handle { receiver, answers } => {
                let Some(place) = self.deliver(receiver)? else { return Ok(()) };
                let (id, to) = (self.model.messages[place].id.clone(), self.model.messages[place].sender);
                let sent: Vec<Draft> = (0..answers).map(|_| draft(receiver, to)).collect();
                self.settle(receiver, &Settlement { handled: vec![id], sent: sent.clone(), ..Settlement::default() });
                self.model.messages[place].waits = false;
                sent.iter().for_each(|draft| self.model.sent(draft, receiver, to));
            }
            Act::Fail { receiver, again } => {
                let Some(place) = self.deliver(receiver)? else { return Ok(()) };
                let message = &mut self.model.messages[place];
                message.failures += 1;
                match again {
                    Some(steps) => message.not_before = self.model.now + steps,
                    None => message.waits = false,
                }
                let failed =
                    FailedDelivery { id: message.id.clone(), why: "it trapped".into(), retry_at: again.map(|_| at(message.not_before)) };
                self.settle(receiver, &Settlement { failed: vec![failed], ..Settlement::default() });
            }
            Act::Wait { steps } => self.model.now += steps,
            Act::Repeat { receiver, which } => {
                let Some(old) = self.model.messages.get(which).filter(|message| !message.waits || message.receiver != receiver) else {
                    return Ok(());
                };
                let failed = vec![FailedDelivery { id: old.id.clone(), why: "late".into(), retry_at: None }];
                let settlement = Settlement { handled: vec![old.id.clone()], failed, ..Settlement::default() };
                self.settle(receiver, &settlement);
            }
        }
        Ok(())
    }

    fn agree(&self) -> Result<(), TestCaseError> {
        let registry = &self.fixture.registry;
        let due: Vec<String> =
            registry.receivers_waiting(&self.cell, at(self.model.now)).expect("readable").iter().map(ToString::to_string).collect();
        let mut expected: Vec<&str> =
            (0..3).filter(|receiver| self.model.next(*receiver).is_some()).map(|receiver| AGENTS[receiver]).collect();
        expected.sort_unstable();
        prop_assert_eq!(due, expected);
        let retry = registry.next_retry_after(&self.cell, at(self.model.now)).expect("readable");
        let expected = self.model.messages.iter().filter(|message| message.waits && message.not_before > self.model.now);
        prop_assert_eq!(retry, expected.map(|message| at(message.not_before)).min());
        let waiting = (0..3).map(|receiver| self.model.waiting(receiver) as u64).sum::<u64>();
        prop_assert_eq!(registry.mail_counts(&self.cell).expect("counted").waiting, waiting);
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_sequence_agrees_with_a_list_in_memory(acts in prop::collection::vec(act(), 1..40)) {
        let mut fixture = fixture();
        let cell = fixture.active(1);
        for agent in &AGENTS[1..] {
            fixture.registry.add_member(&cell, &member(agent, Role::Executor), "human:alice").expect("invited");
        }
        let mut run = Run { fixture, cell, model: Model { messages: Vec::new(), last: [None; 3], now: 0 } };
        for act in &acts {
            run.act(act)?;
            run.agree()?;
        }
        // Whoever comes next, after a crash say, finds every accepted message, in order.
        let again = run.fixture.again();
        let ids: Vec<MessageId> = again.history(&run.cell, None, 1000, None).expect("readable").into_iter().map(|message| message.id).collect();
        prop_assert_eq!(ids, run.model.messages.iter().map(|message| message.id.clone()).collect::<Vec<_>>());
        again.audit_verify(None).expect("whole");
    }
}
