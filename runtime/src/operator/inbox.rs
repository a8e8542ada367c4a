//! Reading messages: what waits for somebody, what was given up, and what becomes of it.

use std::{collections::HashSet, time::Duration};

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::{Error, Operator, teardown};
use crate::{
    audit::Action,
    cell::{CellId, Identity, Record, Role},
    mail::{MessageId, Refusal, may_read_all},
    registry::{InboxFilter, MailRow, MailState, Settlement},
    warden::Ask,
};

/// How often a followed inbox is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// How long a warden may take to say that it noted something.
const NOTED_WITHIN: Duration = Duration::from_secs(2);

/// Which messages are asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Shown {
    /// Those that wait.
    #[default]
    Waiting,
    /// Those that were given up: of every member.
    Parked,
    /// Every one that is kept.
    All,
}

/// What to read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct InboxRequest {
    /// Whose; where it is left out, that of whoever asks.
    pub of: Option<Identity>,
    /// Which.
    pub shown: Shown,
    /// Whether to go on until the cell is over.
    pub follow: bool,
    /// Whether what was shown is marked as handled.
    pub acknowledge: bool,
}

/// One message as it is shown.
#[derive(Debug, Clone, Serialize)]
pub struct MailLine {
    /// Its id.
    pub id: MessageId,
    /// Who wrote it.
    pub from: Identity,
    /// To whom.
    pub to: Identity,
    /// When it was accepted.
    pub sent_at: DateTime<Utc>,
    /// `waiting`, `retrying`, `handled` or `parked`.
    pub state: &'static str,
    /// How many deliveries have ended.
    pub attempt: u32,
    /// Why the last delivery failed, or it was given up.
    pub why: Option<String>,
    /// When it is delivered again, after a failure.
    pub not_before: Option<DateTime<Utc>>,
    /// Which message it answers.
    pub in_reply_to: Option<MessageId>,
    /// What it says, as its sender wrote it: hostile where the sender is.
    pub text: String,
}

impl MailLine {
    fn of(row: MailRow) -> Self {
        let (state, why, not_before) = match row.state {
            MailState::Waiting { not_before, last_why } => (if last_why.is_some() { "retrying" } else { "waiting" }, last_why, not_before),
            MailState::Handled { .. } => ("handled", None, None),
            MailState::Parked { why, .. } => ("parked", Some(why), None),
        };
        let message = row.message;
        Self {
            id: message.id,
            from: message.sender,
            to: message.receiver,
            sent_at: message.sent_at,
            state,
            attempt: message.attempt,
            why,
            not_before,
            in_reply_to: message.in_reply_to,
            text: message.text.into(),
        }
    }
}

/// What was done with a parked message.
#[derive(Debug, Clone, Serialize)]
pub struct Unparked {
    /// The cell.
    pub cell_id: CellId,
    /// The message.
    pub id: MessageId,
    /// What was done, as a sentence.
    pub message: String,
}

impl Operator {
    /// Reads messages; `sink` gets each, in the order in which they were accepted, and says whether it wants more. With `follow`, it gets
    /// each once, and this goes on until the cell is over.
    ///
    /// # Errors
    /// No such cell, no right to.
    pub fn inbox(&mut self, cell: &str, request: &InboxRequest, mut sink: impl FnMut(MailLine) -> bool) -> Result<(), Error> {
        let record = self.cell_alone(cell)?;
        let id = record.proposal.cell_id.clone();
        let own = self.actor.clone();
        let of_others = request.of.as_ref().is_some_and(|of| *of != own);
        let (receiver, filter) = match (request.shown, &request.of) {
            (Shown::Parked, of) => (of.clone(), InboxFilter::Parked),
            (Shown::Waiting, of) => (Some(of.clone().unwrap_or(own)), InboxFilter::Waiting),
            (Shown::All, of) => (Some(of.clone().unwrap_or(own)), InboxFilter::All),
        };
        self.must_read(&record, of_others || receiver.is_none())?;
        if request.acknowledge && (of_others || request.shown == Shown::Parked) {
            return Err(Error::Contradiction("--ack marks one's own messages: leave --of and --parked out"));
        }
        let mut known: HashSet<MessageId> = HashSet::new();
        loop {
            let over = !self.cell_alone(id.as_str())?.state.may_live();
            let mut shown = Vec::new();
            let mut there = HashSet::new();
            let mut wanted = true;
            for row in self.registry.inbox(&id, receiver.as_ref(), filter)? {
                let message = row.message.id.clone();
                there.insert(message.clone());
                if wanted && !known.contains(&message) {
                    wanted = sink(MailLine::of(row));
                    shown.push(message);
                }
            }
            // What is there no more does not come again: ids are never used twice.
            known = there;
            if request.acknowledge && wanted {
                self.acknowledge_own(&id, &shown)?;
            }
            if !request.follow || over || !wanted {
                return Ok(());
            }
            std::thread::sleep(LOOK_EVERY);
        }
    }

    /// One message, in whatever state.
    ///
    /// # Errors
    /// No such cell or message, or no right to.
    pub fn one_message(&mut self, cell: &str, message: &MessageId) -> Result<MailLine, Error> {
        let record = self.cell_alone(cell)?;
        let id = record.proposal.cell_id.clone();
        let row = self.registry.mail(&id, message)?;
        let own = row.as_ref().is_some_and(|row| row.message.receiver == self.actor || row.message.sender == self.actor);
        self.must_read(&record, !own)?;
        let row = row.ok_or_else(|| Error::NoMessageForYou { cell: id, id: message.clone(), who: self.actor.clone() })?;
        Ok(MailLine::of(row))
    }

    /// Lets a parked message be delivered once more.
    ///
    /// # Errors
    /// No such cell or parked message, no right to, a cell or receiver that takes no messages any more.
    pub fn retry_parked(&mut self, cell: &str, message: &MessageId) -> Result<Unparked, Error> {
        self.audited(Action::Inbox, Some(cell), |operator| operator.retry_audited(cell, message))
    }

    fn retry_audited(&mut self, cell: &str, message: &MessageId) -> Result<Unparked, Error> {
        let record = self.swept_cell(cell)?;
        self.must_lead(&record, "retry messages of", Action::Inbox)?;
        let id = record.proposal.cell_id.clone();
        self.note_intent(Action::Inbox, &id, &format!("retry {message}"))?;
        let row = self.registry.retry_parked(&id, message, &self.actor.to_string())?;
        // The message is kept, and looked for by every warden that starts.
        if let Ok(mut conversation) = teardown::converse(&self.root, &record, &Ask::Mail, NOTED_WITHIN) {
            let _ = conversation.answer();
        }
        let message = format!("Message {message} waits for {} again", row.receiver);
        Ok(Unparked { cell_id: id, id: row.id, message })
    }

    /// Removes a parked message.
    ///
    /// # Errors
    /// No such cell or parked message, or no right to.
    pub fn discard_parked(&mut self, cell: &str, message: &MessageId) -> Result<Unparked, Error> {
        self.audited(Action::Inbox, Some(cell), |operator| operator.discard_audited(cell, message))
    }

    fn discard_audited(&mut self, cell: &str, message: &MessageId) -> Result<Unparked, Error> {
        let record = self.swept_cell(cell)?;
        self.must_lead(&record, "discard messages of", Action::Inbox)?;
        let id = record.proposal.cell_id.clone();
        self.note_intent(Action::Inbox, &id, &format!("discard {message}"))?;
        let row = self.registry.discard_parked(&id, message, &self.actor.to_string())?;
        let message = format!("Message {message} for {} is discarded", row.receiver);
        Ok(Unparked { cell_id: id, id: row.id, message })
    }

    /// Whether the actor may read: what is its own as a member, what is others' where its role reads everything.
    fn must_read(&mut self, record: &Record, of_others: bool) -> Result<(), Error> {
        let role: Option<Role> = self.standing(record, &self.actor.clone())?;
        let cell = record.proposal.cell_id.clone();
        match role {
            Some(role) if !of_others || may_read_all(role) => Ok(()),
            Some(_) => {
                self.note_refused(Action::Inbox, &cell, "no right to others' messages")?;
                let refusal = Refusal::needs("role director", "inbox: only directors and auditors read others' messages");
                Err(Error::MailRefused { cell, refusal })
            }
            None => {
                self.note_refused(Action::Inbox, &cell, "no member")?;
                Err(Error::NotMember { who: self.actor.clone(), what: "read messages of", cell })
            }
        }
    }

    /// Marks messages of the actor as handled.
    pub(super) fn acknowledge_own(&mut self, cell: &CellId, messages: &[MessageId]) -> Result<(), Error> {
        if messages.is_empty() {
            return Ok(());
        }
        let settlement = Settlement { handled: messages.to_vec(), ..Settlement::default() };
        self.registry.settle(cell, &self.actor, &settlement, &self.actor.to_string())?;
        Ok(())
    }
}
