//! Sending, answering and looking at messages.

use std::time::Instant;

use super::{
    Post,
    call::{From, Place},
    desk::{PER_EVENT_MOST, Parcel},
    lines::failed,
};
use crate::{
    backend::protocol::PACKET_MOST_BYTES,
    cell::{Identity, text::one_line},
    mail::{self, CallKind, Draft, Gift, HISTORY_MOST, MessageId, Reason, Refusal, Text},
    registry::{AuditFilter, MailState},
};

/// Messages that may wait for a person, and for an agent whose limits the warden does not know.
const ROOM_MOST: u32 = 1000;
/// Bytes of a packet that are not the answer's list: its tag, the agent's name and the call's number.
const ENVELOPE_BYTES: usize = 4096;
/// Bytes of text that all events in flight hold to be sent: they are in the warden's memory.
const HELD_MOST_BYTES: usize = 16 * 1024 * 1024;
/// The longest audit row that is shown.
const ROW_MOST_BYTES: usize = 2048;

/// A message that somebody wants to send.
struct Letter<'a> {
    what: &'static str,
    to: &'a Identity,
    text: Text,
    answers: Option<MessageId>,
}

impl Post {
    /// Sends a message: with the event, or at once.
    pub(super) fn send(&mut self, from: &From, to: &Identity, text: Text) -> Result<Gift, Refusal> {
        let what = "send";
        let role = self.role_of(to).map_err(|error| failed(what, &error))?;
        let Some(role) = role else {
            return Err(Refusal::new(Reason::NoSuchMember, format!("send: {to} is not in the cell")));
        };
        mail::may_send(from.role, role)?;
        self.post_letter(from, Letter { what, to, text, answers: None })
    }

    /// Answers a message: the one that is being handled, or the one that is named.
    pub(super) fn reply(&mut self, from: &From, text: Text, to: Option<MessageId>) -> Result<Gift, Refusal> {
        mail::may_answer(from.role)?;
        let (id, asker) = match &from.place {
            Place::Event { agent, .. } => self.answered_in_event(agent, to)?,
            Place::Line { caller } => self.answered_on_line(caller.line, &from.identity, to)?,
        };
        let letter = Letter { what: "reply", to: &asker, text, answers: Some(id) };
        self.post_letter(from, letter)
    }

    fn answered_in_event(&self, agent: &crate::cell::AgentName, to: Option<MessageId>) -> Result<(MessageId, Identity), Refusal> {
        let wrong_time = |message: &str| Refusal::new(Reason::WrongTime, message);
        let held = self.desks.get(agent).and_then(super::desk::Desk::held);
        let held = held.ok_or_else(|| wrong_time("reply: no event is under way"))?;
        let message = match &to {
            Some(id) => held
                .received()
                .find(|message| message.id == *id)
                .ok_or_else(|| Refusal::new(Reason::NoSuchMessage, format!("reply: message {id} is not being handled")))?,
            None => held.given.as_ref().ok_or_else(|| wrong_time("reply: no message is being handled"))?,
        };
        if held.sent.iter().any(|draft| draft.in_reply_to.as_ref() == Some(&message.id)) {
            return Err(wrong_time("reply: the message was answered already"));
        }
        Ok((message.id.clone(), message.sender.clone()))
    }

    fn answered_on_line(
        &mut self,
        line: super::Line,
        identity: &Identity,
        to: Option<MessageId>,
    ) -> Result<(MessageId, Identity), Refusal> {
        let last = || self.lines.last_received(line).map(|message| message.id.clone());
        let Some(id) = to.or_else(last) else {
            let message = "reply: nothing was received on this connection that is not settled; name the message with `to`";
            return Err(Refusal::new(Reason::WrongTime, message));
        };
        let registry = self.shelf.open().map_err(|error| failed("reply", &error))?;
        let row = registry.mail(&self.cell, &id).map_err(|error| failed("reply", &error))?;
        let Some(row) = row.filter(|row| row.message.receiver == *identity) else {
            return Err(Refusal::new(Reason::NoSuchMessage, format!("reply: no message {id} was sent to {identity}")));
        };
        let parked = matches!(row.state, MailState::Parked { .. });
        if parked || registry.answer_to(&self.cell, &id).map_err(|error| failed("reply", &error))?.is_some() {
            let why = if parked { "was given up" } else { "was answered already" };
            return Err(Refusal::new(Reason::WrongTime, format!("reply: message {id} {why}")));
        }
        Ok((id, row.message.sender))
    }

    fn post_letter(&mut self, from: &From, letter: Letter<'_>) -> Result<Gift, Refusal> {
        let Letter { what, to, text, answers } = letter;
        let now = Instant::now();
        let answers_a_person = answers.is_some() && to.startable().is_none();
        if let Err(why) = self.account(&from.identity, now).traffic.send(now, answers_a_person) {
            return Err(Refusal::new(Reason::TooFast, format!("{what}: {why}")));
        }
        let most = self.rooms.get(to).copied().unwrap_or(ROOM_MOST);
        let (held, held_bytes) = self.held_for(to);
        if matches!(from.place, Place::Event { .. }) && held_bytes.saturating_add(text.as_str().len()) > HELD_MOST_BYTES {
            let message = format!("{what}: the events of this cell hold more than they may send at once; try again when some are over");
            return Err(Refusal::new(Reason::TooFast, message));
        }
        let registry = self.shelf.open().map_err(|error| failed(what, &error))?;
        let waiting = registry.waiting_for(&self.cell, to).map_err(|error| failed(what, &error))?;
        if (waiting as usize).saturating_add(held) >= most as usize {
            let message = format!("{what}: {most} messages wait for {to} already; try again when it has handled some");
            return Err(Refusal::new(Reason::Full, message));
        }
        let id = MessageId::random();
        let draft = Draft { id: id.clone(), sender: from.identity.clone(), receiver: to.clone(), text, in_reply_to: answers };
        match &from.place {
            Place::Event { agent, .. } => {
                let held = self.desks.get_mut(agent).and_then(super::desk::Desk::held_mut);
                let held = held.ok_or_else(|| Refusal::new(Reason::WrongTime, format!("{what}: no event is under way")))?;
                if held.sent.len() >= PER_EVENT_MOST {
                    return Err(Refusal::new(Reason::TooFast, format!("{what}: an event sends at most {PER_EVENT_MOST} messages")));
                }
                held.sent.push(draft);
            }
            Place::Line { .. } => {
                let actor = from.identity.to_string();
                registry.accept(&self.cell, &[draft], most, &actor).map_err(|error| failed(what, &error))?;
                self.serve_soon(to.clone());
            }
        }
        Ok(Gift::Sent { id })
    }

    /// How many messages for somebody events in flight hold, and how many bytes for anybody.
    fn held_for(&self, to: &Identity) -> (usize, usize) {
        let held = self.desks.values().filter_map(super::desk::Desk::held).flat_map(|held| &held.sent);
        held.fold((0, 0), |(count, bytes), draft| (count + usize::from(draft.receiver == *to), bytes + draft.text.as_str().len()))
    }

    /// Takes one more message in an event: it is settled with it.
    pub(super) fn receive_in_event(&mut self, from: &From, agent: &crate::cell::AgentName) -> Result<Gift, Refusal> {
        let no_event = || Refusal::new(Reason::WrongTime, "receive: no event is under way");
        let desk = self.desks.get_mut(agent).ok_or_else(no_event)?;
        let in_hand = desk.in_hand();
        if desk.held().is_none_or(|held| held.taken.len() >= PER_EVENT_MOST) {
            return Ok(Gift::Received { message: None });
        }
        let registry = self.shelf.open().map_err(|error| failed("receive", &error))?;
        let next = registry.next_message(&self.cell, &from.identity, chrono::Utc::now(), &in_hand, desk.last_sender.as_ref());
        let message = next.map_err(|error| failed("receive", &error))?;
        if let Some(message) = &message {
            desk.held_mut().ok_or_else(no_event)?.taken.push(Parcel::of(message));
            desk.last_sender = Some(message.sender.clone());
        }
        Ok(Gift::Received { message })
    }

    /// Shows messages: every one to those who may, to others their own; as many as fit one answer.
    pub(super) fn history(&mut self, from: &From, after: Option<&MessageId>, most: u32) -> Result<Gift, Refusal> {
        let only_with = (!mail::may_read_all(from.role)).then_some(&from.identity);
        let registry = self.shelf.open().map_err(|error| failed("history", &error))?;
        if let (Some(after), Some(own)) = (after, only_with) {
            // Whether somebody else's message exists is not told either.
            let row = registry.mail(&self.cell, after).map_err(|error| failed("history", &error))?;
            if row.is_none_or(|row| row.message.sender != *own && row.message.receiver != *own) {
                return Err(Refusal::new(Reason::NoSuchMessage, format!("history: no message {after} is there for {own}")));
            }
        }
        let messages = registry.history(&self.cell, after, most.min(HISTORY_MOST), only_with).map_err(|error| failed("history", &error))?;
        Ok(Gift::History { messages: fitting(messages) })
    }

    /// Shows the newest audit rows of the cell.
    pub(super) fn audit(&mut self, from: &From, most: u32) -> Result<Gift, Refusal> {
        mail::may(from.role, CallKind::Audit)?;
        let filter = AuditFilter { cell: Some(self.cell.clone()), newest: Some(most.min(HISTORY_MOST)), ..AuditFilter::default() };
        let entries = self.shelf.open().and_then(|registry| registry.audit_rows(&filter)).map_err(|error| failed("audit", &error))?;
        let row = |entry: crate::audit::Entry| {
            let at = entry.at.to_rfc3339_opts(chrono::SecondsFormat::Millis, true);
            let line = format!("{} {at} {} {} {} {}", entry.seq, entry.actor, entry.action, entry.phase, entry.detail);
            one_line(&line, ROW_MOST_BYTES)
        };
        let mut rows = fitting(entries.into_iter().rev().map(row).collect());
        rows.reverse();
        Ok(Gift::Audit { rows })
    }
}

/// As many of these, from the first on, as fit one answer.
fn fitting<T: serde::Serialize>(all: Vec<T>) -> Vec<T> {
    let mut left = PACKET_MOST_BYTES - ENVELOPE_BYTES;
    let mut fits = |one: &&T| {
        // A comma follows.
        let bytes = serde_json::to_vec(*one).map_or(usize::MAX, |json| json.len() + 1);
        let rest = left.checked_sub(bytes);
        left = rest.unwrap_or_default();
        rest.is_some()
    };
    let count = all.iter().take_while(|one| fits(one)).count();
    all.into_iter().take(count).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::Message;

    #[test]
    fn a_list_is_cut_where_a_packet_ends() {
        let message = |text: String| Message {
            id: MessageId::random(),
            sender: "agent:a".parse().expect("an identity"),
            receiver: "agent:b".parse().expect("an identity"),
            text: Text::new(text).expect("a text"),
            in_reply_to: None,
            sent_at: chrono::Utc::now(),
            attempt: 0,
        };
        let worst = "\u{1}".repeat(mail::TEXT_MOST_BYTES);
        assert_eq!(fitting(vec![message(worst.clone())]).len(), 1, "one always fits");
        assert_eq!(fitting(vec![message(worst); 3]).len(), 1);
        assert_eq!(fitting(vec![message("x".into()); 200]).len(), 200);
        let many = fitting(vec![message("x".repeat(mail::TEXT_MOST_BYTES)); 200]);
        let gift = Gift::History { messages: many };
        let agent = "a".parse().expect("a name");
        let answer = crate::backend::protocol::ToChild::Answer { agent, number: u64::MAX, answer: Ok(gift) };
        assert!(crate::backend::protocol::control(&answer).is_ok());
    }
}
