//! Messages: who may send, in which order they come, what a failure does, what stays.

use super::*;
use crate::mail::{Draft, Message, MessageId, Text};

/// More than any test here sends.
const ROOM: u32 = 5_000;

fn identity(text: &str) -> Identity {
    text.parse().expect("an identity")
}

fn draft(sender: &str, receiver: &str, text: &str) -> Draft {
    let text = Text::new(text.to_owned()).expect("a text");
    Draft { id: MessageId::random(), sender: identity(sender), receiver: identity(receiver), text, in_reply_to: None }
}

fn handled(ids: &[&MessageId]) -> Settlement {
    Settlement { handled: ids.iter().copied().cloned().collect(), ..Settlement::default() }
}

fn failed(id: &MessageId, why: &str, retry_at: Option<DateTime<Utc>>) -> Settlement {
    Settlement { failed: vec![FailedDelivery { id: id.clone(), why: why.into(), retry_at }], ..Settlement::default() }
}

impl Fixture {
    /// An active cell with the agents scribe, critic and editor, and human:alice, who owns it.
    fn team(&mut self, bits: u32) -> CellId {
        let cell = self.active(bits);
        for agent in ["agent:critic", "agent:editor"] {
            self.registry.add_member(&cell, &member(agent, Role::Executor), "human:alice").expect("invited");
        }
        cell
    }

    fn send(&mut self, cell: &CellId, sender: &str, receiver: &str, text: &str) -> MessageId {
        let accepted = self.registry.accept(cell, &[draft(sender, receiver, text)], ROOM, sender).expect("accepted");
        accepted[0].id.clone()
    }

    fn settle(&mut self, cell: &CellId, receiver: &str, settlement: &Settlement) -> Vec<Message> {
        self.registry.settle(cell, &identity(receiver), settlement, "warden").expect("settled")
    }

    fn next(&self, cell: &CellId, receiver: &str, after: Option<&str>) -> Option<Message> {
        self.registry.next_message(cell, &identity(receiver), Utc::now(), &[], after.map(identity).as_ref()).expect("readable")
    }

    /// The texts that a receiver gets when it handles everything at once.
    fn drain(&mut self, cell: &CellId, receiver: &str) -> Vec<String> {
        let mut texts = Vec::new();
        let mut last: Option<String> = None;
        while let Some(message) = self.next(cell, receiver, last.as_deref()) {
            self.settle(cell, receiver, &handled(&[&message.id]));
            texts.push(message.text.as_str().to_owned());
            last = Some(message.sender.to_string());
        }
        texts
    }
}

#[test]
fn a_message_goes_from_waiting_to_handled_and_is_audited_without_its_text() {
    let mut fixture = fixture();
    let cell = fixture.team(1);
    let sent = draft("agent:scribe", "agent:critic", "the secret of Apollo");
    let accepted = fixture.registry.accept(&cell, std::slice::from_ref(&sent), ROOM, "agent:scribe").expect("accepted");
    assert_eq!((accepted[0].id.clone(), accepted[0].attempt), (sent.id.clone(), 0));
    let critic = identity("agent:critic");
    let again = fixture.again();
    assert_eq!(again.receivers_waiting(&cell, Utc::now()).expect("readable"), std::slice::from_ref(&critic));
    let next = fixture.next(&cell, "agent:critic", None).expect("a message");
    assert_eq!(next, Message { attempt: 1, ..accepted[0].clone() });
    assert_eq!(fixture.next(&cell, "agent:scribe", None), None);
    assert_eq!(again.mail_counts(&cell).expect("counted"), MailCounts { waiting: 1, parked: 0 });

    let answer = Draft { in_reply_to: Some(sent.id.clone()), ..draft("agent:critic", "agent:scribe", "well said") };
    let settlement = Settlement { handled: vec![sent.id.clone()], sent: vec![answer.clone()], ..Settlement::default() };
    let answered = fixture.registry.settle(&cell, &critic, &settlement, "warden").expect("settled");
    assert_eq!(again.answer_to(&cell, &sent.id).expect("readable").as_ref(), Some(&answered[0]));
    assert_eq!(again.answer_to(&cell, &answer.id).expect("readable"), None);
    let row = again.mail(&cell, &sent.id).expect("readable").expect("there");
    assert!(matches!(row.state, MailState::Handled { .. }) && row.message.attempt == 1, "{row:?}");
    assert_eq!(fixture.next(&cell, "agent:critic", None), None);
    let history = again.history(&cell, None, 10, None).expect("readable");
    assert_eq!(history, [accepted[0].clone(), answered[0].clone()]);

    let rows = fixture.registry.audit_rows(&AuditFilter { newest: Some(3), ..AuditFilter::default() }).expect("a log");
    let digest = "f3b9b3834113ef0f";
    assert_eq!(rows[0].detail, format!("{} from agent:scribe to agent:critic, 20 bytes, sha256 {digest}", sent.id));
    assert!(rows.iter().all(|row| !row.detail.contains("Apollo")), "{rows:?}");
    assert_eq!((rows[0].actor.as_str(), rows[1].actor.as_str()), ("agent:scribe", "warden"));
}

#[test]
fn messages_of_one_sender_keep_their_order_and_senders_take_turns() {
    let mut fixture = fixture();
    let cell = fixture.team(1);
    for number in 0..4 {
        fixture.send(&cell, "agent:scribe", "agent:critic", &format!("scribe {number}"));
    }
    fixture.send(&cell, "agent:editor", "agent:critic", "editor 0");
    fixture.send(&cell, "human:alice", "agent:critic", "alice 0");
    fixture.send(&cell, "agent:editor", "agent:critic", "editor 1");
    let order = ["editor 0", "scribe 0", "alice 0", "editor 1", "scribe 1", "scribe 2", "scribe 3"];
    assert_eq!(fixture.drain(&cell, "agent:critic"), order);
}

#[test]
fn taken_messages_are_not_given_twice() {
    let mut fixture = fixture();
    let cell = fixture.team(1);
    let critic = identity("agent:critic");
    let mut taken = Vec::new();
    for text in ["one", "two"] {
        fixture.send(&cell, "agent:scribe", "agent:critic", text);
    }
    for text in ["one", "two"] {
        let next = fixture.registry.next_message(&cell, &critic, Utc::now(), &taken, None).expect("readable").expect("a message");
        assert_eq!(next.text.as_str(), text);
        taken.push(next.id);
    }
    assert_eq!(fixture.registry.next_message(&cell, &critic, Utc::now(), &taken, None).expect("readable"), None);
}

#[test]
fn a_message_that_waits_for_its_retry_is_not_overtaken() {
    let mut fixture = fixture();
    let cell = fixture.team(1);
    let critic = identity("agent:critic");
    let first = fixture.send(&cell, "agent:scribe", "agent:critic", "first");
    fixture.send(&cell, "agent:scribe", "agent:critic", "second");
    let later = columns::kept(Utc::now() + TimeDelta::minutes(1));
    fixture.settle(&cell, "agent:critic", &failed(&first, "it\ntrapped\u{1b}[2J", Some(later)));
    assert_eq!(fixture.next(&cell, "agent:critic", None), None);
    assert_eq!(fixture.registry.receivers_waiting(&cell, Utc::now()).expect("readable"), []);
    assert_eq!(fixture.registry.next_retry_after(&cell, Utc::now()).expect("readable"), Some(later));
    assert_eq!(fixture.registry.next_retry_after(&cell, later).expect("readable"), None);
    let row = fixture.registry.mail(&cell, &first).expect("readable").expect("there");
    assert_eq!(row.message.attempt, 1);
    let why = Some("it\\u{a}trapped\\u{1b}[2J".to_owned());
    assert_eq!(row.state, MailState::Waiting { not_before: Some(later), last_why: why });

    // Others are not held up.
    fixture.send(&cell, "agent:editor", "agent:critic", "of another");
    fixture.send(&cell, "agent:scribe", "agent:editor", "to another");
    assert_eq!(fixture.drain(&cell, "agent:critic"), ["of another"]);
    assert_eq!(fixture.drain(&cell, "agent:editor"), ["to another"]);

    // Its time has come.
    assert_eq!(fixture.registry.receivers_waiting(&cell, later).expect("readable"), std::slice::from_ref(&critic));
    let next = fixture.registry.next_message(&cell, &critic, later, &[], None).expect("readable").expect("a message");
    assert_eq!((next.id, next.attempt), (first.clone(), 2));
    fixture.settle(&cell, "agent:critic", &handled(&[&first]));
    let row = fixture.registry.mail(&cell, &first).expect("readable").expect("there");
    assert!(matches!(row.state, MailState::Handled { .. }) && row.message.attempt == 2, "{row:?}");
    assert_eq!(fixture.drain(&cell, "agent:critic"), ["second"]);
}

#[test]
fn a_parked_message_is_seen_with_its_reason_and_holds_up_nobody() {
    let mut fixture = fixture();
    let cell = fixture.team(1);
    let first = fixture.send(&cell, "agent:scribe", "agent:critic", "poison");
    fixture.send(&cell, "agent:scribe", "agent:critic", "meat");
    fixture.settle(&cell, "agent:critic", &failed(&first, "no such verb", None));
    assert_eq!(fixture.registry.mail_counts(&cell).expect("counted"), MailCounts { waiting: 1, parked: 1 });
    assert_eq!(fixture.drain(&cell, "agent:critic"), ["meat"]);
    let inbox = |receiver: Option<&str>, states| {
        let rows = fixture.registry.inbox(&cell, receiver.map(identity).as_ref(), states).expect("readable");
        rows.iter().map(|row| row.message.text.as_str().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(inbox(None, InboxFilter::Parked), ["poison"]);
    assert_eq!(inbox(Some("agent:critic"), InboxFilter::Parked), ["poison"]);
    assert_eq!(inbox(Some("agent:scribe"), InboxFilter::All), [""; 0]);
    assert_eq!(inbox(None, InboxFilter::All), ["poison", "meat"]);
    assert_eq!(inbox(None, InboxFilter::Waiting), [""; 0]);
    let row = fixture.registry.mail(&cell, &first).expect("readable").expect("there");
    assert!(matches!(&row.state, MailState::Parked { why, .. } if why == "no such verb") && row.message.attempt == 1, "{row:?}");
    // Nobody takes it out by a late word.
    fixture.settle(&cell, "agent:critic", &handled(&[&first]));
    assert_eq!(fixture.registry.mail_counts(&cell).expect("counted").parked, 1);
    let rows = fixture.registry.audit_rows(&AuditFilter::default()).expect("a log");
    let parked = format!("{first} from agent:scribe to agent:critic is parked: no such verb");
    assert!(rows.iter().any(|row| row.detail == parked && row.phase == Phase::Failed), "{rows:?}");
}

#[test]
fn a_second_acknowledgement_a_strangers_and_one_of_nothing_change_nothing() {
    let mut fixture = fixture();
    let cell = fixture.team(1);
    let other = fixture.team(2);
    let id = fixture.send(&cell, "agent:scribe", "agent:critic", "once");
    for (cell, receiver) in [(&cell, "agent:editor"), (&other, "agent:critic")] {
        fixture.settle(cell, receiver, &handled(&[&id]));
        fixture.settle(cell, receiver, &failed(&id, "mine", None));
    }
    assert_eq!(fixture.registry.mail_counts(&cell).expect("counted"), MailCounts { waiting: 1, parked: 0 });
    assert_eq!(fixture.registry.mail(&other, &id).expect("readable"), None);
    let before = fixture.log().len();
    fixture.settle(&cell, "agent:critic", &handled(&[&id, &id, &MessageId::random()]));
    let row = fixture.registry.mail(&cell, &id).expect("readable");
    fixture.settle(&cell, "agent:critic", &handled(&[&id]));
    fixture.settle(&cell, "agent:critic", &failed(&id, "late", Some(Utc::now())));
    assert_eq!(fixture.registry.mail(&cell, &id).expect("readable"), row);
    // What agents handle is one row; what people acknowledge, two.
    assert_eq!(fixture.log()[before..], ["inbox done"]);
    let before = before + 1;
    let id = fixture.send(&cell, "agent:scribe", "human:alice", "for you");
    fixture.registry.settle(&cell, &alice(), &handled(&[&id]), "human:alice").expect("settled");
    assert_eq!(fixture.log()[before..], ["send intent", "send done", "inbox intent", "inbox done"]);
}

#[test]
fn the_same_draft_again_is_one_message_and_another_of_its_id_is_none() {
    let mut fixture = fixture();
    let cell = fixture.team(1);
    let other = fixture.team(2);
    let sent = draft("agent:scribe", "agent:critic", "once");
    let accepted = fixture.registry.accept(&cell, std::slice::from_ref(&sent), ROOM, "agent:scribe").expect("accepted");
    let log = fixture.log();
    assert_eq!(fixture.registry.accept(&cell, std::slice::from_ref(&sent), ROOM, "agent:scribe").expect("accepted"), accepted);
    assert_eq!(fixture.log(), log);
    let forged = Draft { text: Text::new("twice".into()).expect("a text"), ..sent.clone() };
    let fresh = draft("agent:scribe", "agent:critic", "fresh");
    for (cell, drafts) in [(&cell, vec![fresh.clone(), forged]), (&other, vec![fresh, sent])] {
        let error = fixture.registry.accept(cell, &drafts, ROOM, "agent:scribe").expect_err("taken");
        assert!(matches!(error, RegistryError::MessageIdTaken(_)), "{error}");
    }
    // All or none.
    assert_eq!(fixture.log(), log);
    assert_eq!(fixture.drain(&cell, "agent:critic"), ["once"]);
}

#[test]
fn a_mailbox_is_full_for_one_receiver_and_all_or_none_is_accepted() {
    let mut fixture = fixture();
    let cell = fixture.team(1);
    let to = |receiver: &str| draft("agent:scribe", receiver, "x");
    let mut accept = |drafts: Vec<Draft>| fixture.registry.accept(&cell, &drafts, 3, "agent:scribe");
    accept(vec![to("agent:critic"), to("agent:critic")]).expect("room");
    let error = accept(vec![to("agent:editor"), to("agent:critic"), to("agent:critic")]).expect_err("full");
    let said = format!("Cell {cell} keeps at most 3 messages waiting for agent:critic; send again when it has handled some");
    assert_eq!(error.to_string(), said);
    accept(vec![to("agent:editor"), to("agent:critic")]).expect("the allowed twin");
    assert!(matches!(accept(vec![to("agent:critic")]), Err(RegistryError::MailboxFull { .. })));
    assert_eq!(fixture.drain(&cell, "agent:critic").len(), 3);
    fixture.send(&cell, "agent:scribe", "agent:critic", "again");
    assert_eq!(fixture.log().iter().filter(|row| *row == "send refused").count(), 2);
    assert_eq!(fixture.log().iter().filter(|row| *row == "limit done").count(), 1, "one a minute");
}

#[test]
fn who_may_send_and_be_sent_to() {
    let mut fixture = fixture();
    let cell = fixture.team(1);
    fixture.registry.add_member(&cell, &member("human:bob", Role::Observer), "human:alice").expect("invited");
    let mut accept = |draft: &Draft, actor: &str| fixture.registry.accept(&cell, std::slice::from_ref(draft), ROOM, actor).map(|_| ());
    let allowed = [
        ("agent:scribe", "agent:critic", "agent:scribe"),
        ("agent:scribe", "human:alice", "warden"),
        ("human:bob", "agent:scribe", "human:bob"),
        // The operator, who is no member: as themselves alone.
        ("human:root", "agent:scribe", "human:root"),
    ];
    for (sender, receiver, actor) in allowed {
        accept(&draft(sender, receiver, "x"), actor).unwrap_or_else(|error| panic!("{sender} {receiver}: {error}"));
    }
    let refused = [
        ("agent:ghost", "agent:scribe", "agent:ghost"),
        ("human:root", "agent:scribe", "warden"),
        ("human:root", "agent:scribe", "human:alice"),
        ("agent:scribe", "agent:ghost", "agent:scribe"),
        ("agent:scribe", "human:root", "agent:scribe"),
        ("bot:scribe", "agent:critic", "bot:scribe"),
    ];
    for (sender, receiver, actor) in refused {
        let error = accept(&draft(sender, receiver, "x"), actor).expect_err(sender);
        let says = error.to_string();
        let named = matches!(error, RegistryError::NoSender { .. } | RegistryError::NoReceiver { .. }) && says.contains("is no member");
        assert!(named && says.starts_with(&format!("Cell {cell} ")), "{says}");
    }
    assert_eq!(fixture.log().iter().filter(|row| *row == "send refused").count(), refused.len());
}

#[test]
fn a_person_who_is_no_member_is_answered_and_not_written_to() {
    let mut fixture = fixture();
    let cell = fixture.team(1);
    let asked = fixture.send(&cell, "human:root", "agent:scribe", "how far are you?");
    let answer = |to: &MessageId, from: &str| Draft { in_reply_to: Some(to.clone()), ..draft(from, "human:root", "done") };
    let mut accept = |draft: Draft| fixture.registry.accept(&cell, &[draft], ROOM, "warden").map(|_| ());
    // Asked was the scribe; nobody asked the critic, and nobody this.
    for bad in [answer(&asked, "agent:critic"), answer(&MessageId::random(), "agent:scribe"), draft("agent:scribe", "human:root", "x")] {
        assert!(matches!(accept(bad), Err(RegistryError::NoReceiver { .. })));
    }
    accept(answer(&asked, "agent:scribe")).expect("the allowed twin");
    assert_eq!(fixture.drain(&cell, "human:root"), ["done"]);
}

#[test]
fn who_left_sends_nothing_gets_nothing_and_what_waited_is_parked() {
    let mut fixture = fixture();
    let cell = fixture.team(1);
    fixture.registry.add_member(&cell, &member("human:bob", Role::Executor), "human:alice").expect("invited");
    let asked = fixture.send(&cell, "human:bob", "agent:scribe", "a question");
    fixture.send(&cell, "agent:scribe", "human:bob", "unread");
    fixture.registry.revoke_member(&cell, &identity("human:bob"), "human:alice").expect("revoked");
    let row = &fixture.registry.inbox(&cell, Some(&identity("human:bob")), InboxFilter::Parked).expect("readable")[0];
    assert!(matches!(&row.state, MailState::Parked { why, .. } if why == "human:bob left the cell"), "{row:?}");
    let last = fixture.registry.audit_rows(&AuditFilter { newest: Some(1), ..AuditFilter::default() }).expect("a log");
    assert_eq!(last[0].detail, "human:bob; 1 messages for them are parked");

    // Not in person either, nor as somebody who is answered.
    let error = fixture.registry.accept(&cell, &[draft("human:bob", "agent:scribe", "still here")], ROOM, "human:bob");
    assert!(matches!(error, Err(RegistryError::NoSender { .. })));
    // An event that was under way: what it sends to others holds.
    let late = Draft { in_reply_to: Some(asked.clone()), ..draft("agent:scribe", "human:bob", "an answer") };
    let good = draft("agent:scribe", "agent:critic", "he is gone");
    let settlement = Settlement { handled: vec![asked.clone()], sent: vec![late.clone(), good.clone()], ..Settlement::default() };
    let sent = fixture.settle(&cell, "agent:scribe", &settlement);
    assert_eq!(sent.iter().map(|message| &message.id).collect::<Vec<_>>(), [&good.id]);
    assert_eq!(fixture.registry.mail(&cell, &late.id).expect("readable"), None);
    let rows = fixture.registry.audit_rows(&AuditFilter { newest: Some(2), ..AuditFilter::default() }).expect("a log");
    assert!(rows[0].phase == Phase::Refused && rows[0].detail.contains(late.id.as_str()), "{rows:?}");
    assert_eq!(rows[1].phase, Phase::Done);
    // Invited again, they are as welcome as anybody.
    fixture.registry.add_member(&cell, &member("human:bob", Role::Executor), "human:alice").expect("invited");
    fixture.send(&cell, "human:bob", "agent:scribe", "back");
    // The owner may be revoked as a member, and stays the owner.
    fixture.send(&cell, "agent:scribe", "human:alice", "for the owner");
    fixture.registry.revoke_member(&cell, &alice(), "human:alice").expect("revoked");
    fixture.send(&cell, "agent:scribe", "human:alice", "more");
    assert_eq!(fixture.drain(&cell, "human:alice"), ["for the owner", "more"]);
}

#[test]
fn messages_are_accepted_while_a_cell_lives_and_settled_until_it_is_destroyed() {
    let asked = || Event::Close(CloseReason::Asked { by: alice() });
    let cases: [(Vec<Event>, Option<&str>); 6] = [
        (vec![], Some("proposed")),
        (vec![Event::Ready], None),
        (vec![Event::Ready, Event::Rest], None),
        (vec![Event::Ready, asked()], Some("closing")),
        (vec![Event::Ready, Event::Ended], Some("closed")),
        (vec![Event::Fail(FailReason::WardenDied)], Some("failed")),
    ];
    let mut fixture = fixture();
    for (bits, (events, refused)) in (1..).zip(cases) {
        let cell = fixture.propose(bits);
        fixture.registry.transition_many(&cell, events, "warden", none()).expect("allowed");
        let said = fixture.registry.accept(&cell, &[draft("human:alice", "agent:scribe", "x")], ROOM, "human:alice");
        let said = said.err().map(|error| error.to_string());
        assert_eq!(said, refused.map(|state| format!("Cell {cell} cannot take messages (state={state})")));
        let settlement = Settlement { sent: vec![draft("agent:scribe", "human:alice", "last words")], ..Settlement::default() };
        assert_eq!(fixture.settle(&cell, "agent:scribe", &settlement).len(), 1);
    }
    let absent = CellId::from_bits(99);
    let error = fixture.registry.accept(&absent, &[], ROOM, "human:alice").expect_err("absent");
    assert_eq!(error.to_string(), format!("Cell {absent} not found"));
    assert!(matches!(fixture.registry.settle(&absent, &alice(), &handled(&[]), "warden"), Err(RegistryError::NotFound(_))));
}

#[test]
fn an_event_is_settled_whole_or_not_at_all() {
    let mut fixture = fixture();
    let cell = fixture.team(1);
    let id = fixture.send(&cell, "agent:scribe", "agent:critic", "work");
    let log = fixture.log();
    let sent = vec![draft("agent:critic", "agent:scribe", "done"), draft("agent:critic", "agent:editor", "look")];
    let settlement = Settlement { handled: vec![id.clone()], sent: sent.clone(), ..Settlement::default() };
    // The machine ends in the middle: the second message's audit row is not written any more.
    let connection = fixture.registry.connection();
    let dies = format!(
        "CREATE TEMP TRIGGER dies BEFORE INSERT ON main.audit WHEN NEW.detail LIKE '{}%' BEGIN SELECT RAISE(ABORT, 'power'); END",
        sent[1].id
    );
    connection.execute_batch("PRAGMA trusted_schema = ON").expect("a pragma");
    connection.execute_batch(&dies).expect("a trigger");
    let error = fixture.registry.settle(&cell, &identity("agent:critic"), &settlement, "warden").expect_err("power");
    assert!(matches!(error, RegistryError::Storage { .. }), "{error}");
    let mut again = fixture.again();
    assert_eq!(fixture.log(), log);
    assert_eq!(again.history(&cell, None, 10, None).expect("readable").len(), 1);
    let next = again.next_message(&cell, &identity("agent:critic"), Utc::now(), &[], None).expect("readable").expect("still there");
    assert_eq!((&next.id, next.attempt), (&id, 1));
    // The same again, by whoever comes after.
    again.settle(&cell, &identity("agent:critic"), &settlement, "warden").expect("settled");
    assert_eq!(again.history(&cell, None, 10, None).expect("readable").len(), 3);
    again.audit_verify(None).expect("whole");
}

#[test]
fn history_goes_on_after_a_message_and_shows_a_member_its_own() {
    let mut fixture = fixture();
    let cell = fixture.team(1);
    let other = fixture.team(2);
    let ids: Vec<MessageId> = [("scribe", "critic"), ("critic", "editor"), ("editor", "scribe"), ("scribe", "editor")]
        .into_iter()
        .map(|(from, to)| fixture.send(&cell, &format!("agent:{from}"), &format!("agent:{to}"), "x"))
        .collect();
    let theirs = fixture.send(&other, "agent:scribe", "agent:critic", "x");
    let history = |after: Option<&MessageId>, most, of: Option<&str>| {
        let found = fixture.registry.history(&cell, after, most, of.map(identity).as_ref());
        found.map(|messages| messages.into_iter().map(|message| message.id).collect::<Vec<_>>())
    };
    assert_eq!(history(None, 200, None).expect("readable"), ids);
    assert_eq!(history(None, 2, None).expect("readable"), ids[..2]);
    assert_eq!(history(Some(&ids[1]), 200, None).expect("readable"), ids[2..]);
    assert_eq!(history(None, 200, Some("agent:critic")).expect("readable"), ids[..2]);
    assert_eq!(history(Some(&ids[0]), 1, Some("agent:scribe")).expect("readable"), ids[2..3]);
    assert!(matches!(history(Some(&theirs), 200, None), Err(RegistryError::NoMessage { .. })));
}

#[test]
fn the_oldest_settled_messages_go() {
    let mut fixture = fixture();
    let cell = fixture.team(1);
    let other = fixture.team(2);
    let kept = fixture.send(&other, "agent:scribe", "agent:critic", "of another cell");
    fixture.settle(&other, "agent:critic", &handled(&[&kept]));
    let first = fixture.send(&cell, "agent:scribe", "agent:critic", "the first");
    let second = fixture.send(&cell, "agent:scribe", "agent:critic", "the second");
    fixture.settle(&cell, "agent:critic", &handled(&[&first]));
    fixture.settle(&cell, "agent:critic", &failed(&second, "poison", None));
    // As if as many had been settled since.
    let connection = fixture.registry.connection();
    let fill = |state: &str, why: &str, from: i64, to: i64| {
        let sql = format!(
            "WITH RECURSIVE n(x) AS (SELECT {from} UNION ALL SELECT x + 1 FROM n WHERE x < {to})
            INSERT INTO messages (cell_id, message_id, sender, receiver, sent_at, state, failures, why, settled_at, settled_no, text)
            SELECT '{cell}', printf('msg-{prefix}%031x', x), 'agent:scribe', 'agent:critic', 1, '{state}', 0, {why}, 1, x, 'x' FROM n",
            prefix = if state == "handled" { 'a' } else { 'b' },
        );
        connection.execute_batch(&sql).expect("filled");
    };
    fill("handled", "NULL", 2, HANDLED_MOST as i64);
    fill("parked", "'x'", 2, PARKED_MOST as i64);
    let (third, fourth) =
        (fixture.send(&cell, "agent:scribe", "agent:critic", "3"), fixture.send(&cell, "agent:scribe", "agent:critic", "4"));
    assert!(fixture.registry.mail(&cell, &first).expect("readable").is_some());
    fixture.settle(&cell, "agent:critic", &handled(&[&third]));
    fixture.settle(&cell, "agent:critic", &failed(&fourth, "poison too", None));
    for (id, there) in [(&first, false), (&second, false), (&third, true), (&fourth, true)] {
        assert_eq!(fixture.registry.mail(&cell, id).expect("readable").is_some(), there, "{id}");
    }
    assert!(fixture.registry.mail(&other, &kept).expect("readable").is_some());
    assert_eq!(fixture.registry.mail_counts(&cell).expect("counted"), MailCounts { waiting: 0, parked: PARKED_MOST });
    let all = fixture.registry.inbox(&cell, None, InboxFilter::All).expect("readable");
    assert_eq!(all.len() as u64, HANDLED_MOST + PARKED_MOST);
}

#[test]
fn a_destroyed_cell_leaves_its_audit_and_nothing_else() {
    let mut fixture = fixture();
    let cell = fixture.team(1);
    let other = fixture.team(2);
    let marker = "a-text-that-nobody-else-writes";
    fixture.send(&cell, "agent:scribe", "agent:critic", &marker.repeat(500));
    let parked = fixture.send(&cell, "agent:scribe", "agent:critic", marker);
    fixture.settle(&cell, "agent:critic", &failed(&parked, "no", None));
    let kept = fixture.send(&other, "agent:scribe", "agent:critic", "stays");
    fixture.happens(&cell, Event::Fail(FailReason::WardenDied));
    assert_eq!(fixture.registry.mail_counts(&cell).expect("counted"), MailCounts { waiting: 1, parked: 1 });
    fixture.happens(&cell, Event::Destroy { by: alice(), receipt: Receipt::default() });
    assert_eq!(fixture.registry.mail_counts(&cell).expect("counted"), MailCounts::default());
    assert_eq!(fixture.registry.history(&cell, None, 9, None).expect("readable"), []);
    assert!(fixture.registry.mail(&other, &kept).expect("readable").is_some());
    for error in [
        fixture.registry.accept(&cell, &[draft("human:alice", "agent:scribe", "x")], ROOM, "human:alice").expect_err("destroyed"),
        fixture.registry.settle(&cell, &alice(), &handled(&[&parked]), "warden").expect_err("destroyed"),
    ] {
        assert_eq!(error.to_string(), format!("Cell {cell} cannot take messages (state=destroyed)"));
    }
    let rows = fixture.registry.audit_rows(&AuditFilter { cell: Some(cell), ..AuditFilter::default() }).expect("a log");
    assert!(rows.iter().any(|row| row.detail.contains(parked.as_str())), "{rows:?}");
    fixture.registry.audit_verify(None).expect("whole");
    // Nor do its bytes stay in the file.
    raw(fixture.root.path()).query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).expect("a checkpoint");
    let bytes = std::fs::read(fixture.root.path().join(FILE_NAME)).expect("the file");
    assert!(!bytes.windows(marker.len()).any(|window| window == marker.as_bytes()));
}
