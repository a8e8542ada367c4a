//! Writing and reading as somebody who joined: the same words as the operator's, carried out by the cell, as that member and nothing more.

use std::{
    collections::HashSet,
    time::{Duration, Instant},
};

use super::{Fate, InboxRequest, MailLine, MemberClient, Outgoing, Recipient, Sent, SentOne, Shown};
use crate::{
    cell::Identity,
    mail::{Call, Gift, HISTORY_MOST, Message, MessageId, Other, Reason, Refusal},
    member::ClientError,
};

/// The longest that one call waits for a message; who waits longer asks again.
const WAIT_MOST: Duration = Duration::from_secs(60);
/// Messages that are looked through for one.
const LOOKED_MOST: usize = 1024;

fn no_such(what: String) -> ClientError {
    Refusal::new(Reason::NoSuchMessage, what).into()
}

/// What only the operator's own commands can do.
fn not_here(what: &str) -> ClientError {
    Refusal::needs("the operator's own account", format!("{what}: a member who joined sees its own messages")).into()
}

impl MemberClient {
    /// Sends a message into the cell.
    ///
    /// # Errors
    /// As the cell refuses it; nothing was sent, or, to several, not to all.
    pub fn send(&mut self, outgoing: &Outgoing) -> Result<Sent, ClientError> {
        let mut messages = Vec::new();
        match (&outgoing.to, &outgoing.reply_to) {
            (None, Some(answered)) => {
                let to = self.take(answered)?;
                let text = outgoing.text.clone();
                messages.push(SentOne { id: self.sent(&Call::Reply { text, to: Some(answered.clone()) })?, to });
                // As the operator's own answer does: what was answered is done with.
                self.client.call(&Call::Acknowledge { id: answered.clone() })?;
            }
            (Some(_), Some(_)) => {
                let why = "send: an answer goes to who wrote the message: name one of the two";
                return Err(Refusal::new(Reason::Malformed, why).into());
            }
            (to, None) => {
                for to in self.receivers(to.as_ref())? {
                    let id = self.sent(&Call::Send { to: to.clone(), text: outgoing.text.clone() })?;
                    messages.push(SentOne { id, to });
                }
            }
        }
        Ok(Sent { cell_id: self.joined.cell.clone(), messages, noticed: true })
    }

    /// Sends a message to one member, and waits for its answer, at most `within`.
    ///
    /// # Errors
    /// As [`MemberClient::send`].
    pub fn send_and_wait(&mut self, outgoing: &Outgoing, within: Duration) -> Result<(Sent, Fate), ClientError> {
        if outgoing.to == Some(Recipient::All) {
            return Err(Refusal::new(Reason::Malformed, "--wait waits for the answer of one member: name it with --to").into());
        }
        let sent = self.send(outgoing)?;
        let until = Instant::now() + within;
        let awaited = sent.messages.first().map(|sent| sent.id.clone());
        while let Some(message) = self.next(until)? {
            // Others were waiting already: they are waiting again when this connection ends.
            if message.in_reply_to == awaited {
                return Ok((sent, Fate::Handled { reply: Some(message) }));
            }
        }
        Ok((sent, Fate::Waiting { because: "no answer came in time".to_owned() }))
    }

    /// Marks an answer as handled: whoever waited for it has it.
    ///
    /// # Errors
    /// The cell is over; then it stays in the inbox.
    pub fn received(&mut self, reply: &Message) -> Result<(), ClientError> {
        self.client.call(&Call::Acknowledge { id: reply.id.clone() }).map(drop)
    }

    /// Reads messages; `sink` gets each and says whether it wants more. With `follow`, this goes on until the cell is over.
    ///
    /// # Errors
    /// What the cell refuses, and what only the operator may see.
    pub fn inbox(&mut self, request: &InboxRequest, sink: &mut dyn FnMut(MailLine) -> bool) -> Result<(), ClientError> {
        if request.of.as_ref().is_some_and(|of| *of != self.joined.identity) {
            return Err(not_here("inbox --of"));
        }
        let mut known = HashSet::new();
        match request.shown {
            Shown::Parked => return Err(not_here("inbox --parked")),
            Shown::Waiting => {}
            Shown::All => {
                let own = self.joined.identity.clone();
                for message in self.history()?.into_iter().filter(|message| message.receiver == own) {
                    known.insert(message.id.clone());
                    if !sink(MailLine::of_member(message)) {
                        return Ok(());
                    }
                }
            }
        }
        loop {
            let until = Instant::now() + if request.follow { WAIT_MOST } else { Duration::ZERO };
            match self.next(until) {
                Ok(Some(message)) => {
                    let id = message.id.clone();
                    let wanted = known.contains(&id) || sink(MailLine::of_member(message));
                    if !wanted {
                        return Ok(());
                    }
                    if request.acknowledge {
                        self.client.call(&Call::Acknowledge { id })?;
                    }
                }
                Ok(None) if request.follow => {}
                Ok(None) => return Ok(()),
                // The cell is over: that is what was followed to.
                Err(ClientError::Ended) if request.follow => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }

    /// One message, sent to or by this member.
    ///
    /// # Errors
    /// There is none such.
    pub fn one_message(&mut self, id: &MessageId) -> Result<MailLine, ClientError> {
        let found = self.history()?.into_iter().find(|message| message.id == *id);
        found.map(MailLine::of_member).ok_or_else(|| no_such(format!("no message {id} is there for {}", self.joined.identity)))
    }

    /// Decides about a parked message: only the operator's own commands do.
    ///
    /// # Errors
    /// Always.
    pub fn decide_parked(&self) -> Result<super::Unparked, ClientError> {
        Err(not_here("inbox --retry, --discard"))
    }

    fn sent(&mut self, call: &Call) -> Result<MessageId, ClientError> {
        match self.client.call(call)? {
            Gift::Sent { id } => Ok(id),
            _ => Err(ClientError::Ended),
        }
    }

    /// The next message that waits, until a time.
    fn next(&mut self, until: Instant) -> Result<Option<Message>, ClientError> {
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let wait_ms = u64::try_from(left.min(WAIT_MOST).as_millis()).unwrap_or(0);
            match self.client.call(&Call::Receive { wait_ms })? {
                Gift::Received { message: Some(message) } => return Ok(Some(message)),
                _ if left.is_zero() => return Ok(None),
                _ => {}
            }
        }
    }

    /// Takes waiting messages until the given one is among them: only what was received here can be settled here. Returns its sender.
    fn take(&mut self, id: &MessageId) -> Result<Identity, ClientError> {
        for _ in 0..LOOKED_MOST {
            match self.next(Instant::now())? {
                Some(message) if message.id == *id => return Ok(message.sender),
                Some(_) => {}
                None => break,
            }
        }
        Err(no_such(format!("no message {id} is waiting for {}", self.joined.identity)))
    }

    /// Every message that this member sees, the oldest first.
    fn history(&mut self) -> Result<Vec<Message>, ClientError> {
        let mut all: Vec<Message> = Vec::new();
        loop {
            let after = all.last().map(|message| message.id.clone());
            let Gift::History { messages } = self.client.call(&Call::History { after, most: HISTORY_MOST })? else { return Ok(all) };
            if messages.is_empty() {
                return Ok(all);
            }
            all.extend(messages);
        }
    }

    fn receivers(&mut self, to: Option<&Recipient>) -> Result<Vec<Identity>, ClientError> {
        if let Some(Recipient::Member(identity)) = to {
            return Ok(vec![identity.clone()]);
        }
        let own = self.joined.identity.clone();
        let Gift::Members { members } = self.client.call(&Call::Members)? else { return Err(ClientError::Ended) };
        let others: Vec<Identity> =
            members.into_iter().map(|Other { identity, .. }| identity).filter(|identity| *identity != own).collect();
        let name_of = |identity: &Identity| identity.to_string().split_once(':').map(|(_, name)| name.to_owned());
        let (found, wanted): (Vec<Identity>, String) = match to {
            Some(Recipient::All) => return Ok(others),
            Some(Recipient::Named(name)) => {
                (others.into_iter().filter(|other| name_of(other).as_deref() == Some(name)).collect(), format!("member named {name}"))
            }
            Some(Recipient::Member(_)) | None => {
                (others.into_iter().filter(|other| other.startable().is_some()).collect(), "agent".to_owned())
            }
        };
        match found.len() {
            1 => Ok(found),
            0 => Err(Refusal::new(Reason::NoSuchMember, format!("send: no {wanted} is in the cell")).into()),
            count => {
                Err(Refusal::new(Reason::NoSuchMember, format!("send: {count} are the {wanted}; name one with --to, such as agent:NAME"))
                    .into())
            }
        }
    }
}

impl MailLine {
    /// A message as a member sees it: what became of it, only the operator is told.
    fn of_member(message: Message) -> Self {
        Self {
            id: message.id,
            from: message.sender,
            to: message.receiver,
            sent_at: message.sent_at,
            state: if message.attempt == 0 { "kept" } else { "waiting" },
            attempt: message.attempt.saturating_sub(1),
            why: None,
            not_before: None,
            in_reply_to: message.in_reply_to,
            text: message.text.into(),
        }
    }
}
