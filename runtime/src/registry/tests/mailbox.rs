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
    assert_eq!(again.receivers_waiting(&cell, Utc::now()).expect("readable"), [critic.clone()]);
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

    let rows = fixture.registry.audit_rows(&AuditFilter { newest: Some(2), ..AuditFilter::default() }).expect("a log");
    let digest = "f3b9b3834113ef0f";
    assert_eq!(rows[0].detail, format!("{} from agent:scribe to agent:critic, 20 bytes, sha256 {digest}", sent.id));
    assert!(rows.iter().all(|row| !row.detail.contains("Apollo")), "{rows:?}");
    assert_eq!((rows[0].actor.as_str(), rows[1].actor.as_str()), ("agent:scribe", "warden"));
}
