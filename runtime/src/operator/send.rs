//! Sending: a message is checked, committed, and its cell's warden told to look. From then on nothing loses it.

use std::time::Duration;

use serde::Serialize;

use super::{Error, Operator, teardown};
use crate::{
    audit::Action,
    cell::{CellId, Identity, Record, Role},
    mail::{Draft, Message, MessageId, Text, may_answer, may_send},
    policy::Limits,
    registry::MailState,
    warden::{Answer, Ask},
};

/// How long a warden may take to say that it noted something.
const NOTED_WITHIN: Duration = Duration::from_secs(2);
/// Members that an error names; of more it says how many.
const NAMED_MOST: usize = 12;

/// To whom somebody writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Recipient {
    /// Every member but the sender.
    All,
    /// One member.
    Member(Identity),
    /// The member of that name, whatever its kind.
    Named(String),
}

/// What is to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outgoing {
    /// To whom; where it is left out, to the sender of what is answered, or else to the cell's only agent.
    pub to: Option<Recipient>,
    /// The message that it answers.
    pub reply_to: Option<MessageId>,
    /// What it says.
    pub text: Text,
}

/// One message that was accepted.
#[derive(Debug, Clone, Serialize)]
pub struct SentOne {
    /// Its id.
    pub id: MessageId,
    /// To whom.
    pub to: Identity,
}

/// What sending did.
#[derive(Debug, Clone, Serialize)]
pub struct Sent {
    /// The cell.
    pub cell_id: CellId,
    /// The messages: one for each receiver.
    pub messages: Vec<SentOne>,
    /// Whether the cell's warden said that it looks. The messages are kept either way.
    pub noticed: bool,
}

/// What became of a message that was waited for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// Its receiver is done with it.
    Handled {
        /// What it answered, if anything.
        reply: Option<Message>,
    },
    /// It was given up.
    Parked {
        /// Why: one line.
        why: String,
    },
    /// Not known yet: the message waits.
    Waiting {
        /// Why this no longer does: one line.
        because: String,
    },
}

impl Operator {
    /// Sends a message into a cell: in one commit, also to all.
    ///
    /// # Errors
    /// No such cell, member or message; no right to; a cell that takes no messages; no room for more. Nothing was sent.
    pub fn send(&mut self, cell: &str, outgoing: &Outgoing) -> Result<Sent, Error> {
        let (record, mut sent) = self.accept(cell, outgoing)?;
        // A warden that is just ending loses nothing: the messages are kept.
        let told = teardown::converse(&self.root, &record, &Ask::Mail, NOTED_WITHIN);
        sent.noticed = told.is_ok_and(|mut conversation| matches!(conversation.answer(), Ok(Some(Answer::Noted))));
        Ok(sent)
    }

    /// Sends a message to one member, and waits until it is decided what becomes of it, at most `within`.
    ///
    /// # Errors
    /// As [`Operator::send`].
    pub fn send_and_wait(&mut self, cell: &str, outgoing: &Outgoing, within: Duration) -> Result<(Sent, Fate), Error> {
        if outgoing.to == Some(Recipient::All) {
            return Err(Error::Contradiction("--wait waits for the answer of one member: name it with --to"));
        }
        let (record, mut sent) = self.accept(cell, outgoing)?;
        let Some(message) = sent.messages.first().map(|sent| sent.id.clone()) else {
            return Err(Error::Contradiction("nobody was written to"));
        };
        let fate = self.fate_of(&record, &message, within)?;
        sent.noticed = !matches!(fate, Fate::Waiting { .. });
        Ok((sent, fate))
    }

    /// Marks an answer as handled: whoever waited for it has it.
    ///
    /// # Errors
    /// The registry cannot be written to; then it stays in the inbox.
    pub fn received(&mut self, cell: &CellId, reply: &Message) -> Result<(), Error> {
        self.acknowledge_own(cell, std::slice::from_ref(&reply.id))
    }

    /// Asks the warden what becomes of a message; where it does not say, the registry.
    fn fate_of(&mut self, record: &Record, message: &MessageId, within: Duration) -> Result<Fate, Error> {
        let cell = &record.proposal.cell_id;
        let ask = Ask::Await { message: message.clone() };
        let mut because = "the cell's warden has gone".to_owned();
        if let Ok(mut conversation) = teardown::converse(&self.root, record, &ask, within) {
            loop {
                match conversation.answer() {
                    Ok(Some(Answer::Handled { reply })) => return Ok(Fate::Handled { reply }),
                    Ok(Some(Answer::Parked { why })) => return Ok(Fate::Parked { why }),
                    Ok(Some(Answer::Refused { message })) => {
                        because = message;
                        break;
                    }
                    Ok(Some(Answer::Closing | Answer::Ended { .. } | Answer::Started { .. } | Answer::Noted)) => {}
                    Ok(None) => break,
                    Err(_) => {
                        because = format!("it was not handled within {}", crate::policy::format_duration(within));
                        break;
                    }
                }
            }
        }
        Ok(match self.registry.mail(cell, message)?.map(|row| row.state) {
            Some(MailState::Handled { .. }) => Fate::Handled { reply: self.registry.answer_to(cell, message)? },
            Some(MailState::Parked { why, .. }) => Fate::Parked { why },
            Some(MailState::Waiting { last_why: Some(why), .. }) => {
                Fate::Waiting { because: format!("{because}; the last delivery: {why}") }
            }
            Some(MailState::Waiting { last_why: None, .. }) | None => Fate::Waiting { because },
        })
    }

    fn accept(&mut self, cell: &str, outgoing: &Outgoing) -> Result<(Record, Sent), Error> {
        self.audited(Action::Send, Some(cell), |operator| operator.accept_audited(cell, outgoing))
    }

    fn accept_audited(&mut self, cell: &str, outgoing: &Outgoing) -> Result<(Record, Sent), Error> {
        let record = self.cell_alone(cell)?;
        let id = record.proposal.cell_id.clone();
        let role = self.standing(&record, &self.actor.clone())?;
        let Some(role) = role else {
            self.note_refused(Action::Send, &id, "no member")?;
            return Err(Error::NotMember { who: self.actor.clone(), what: "write to", cell: id });
        };
        let answered = outgoing.reply_to.as_ref().map(|message| self.answered(&id, message)).transpose()?;
        let receivers = self.receivers(&record, outgoing, answered.as_ref())?;
        let mut most = u32::MAX;
        for receiver in &receivers {
            let allowed = match &answered {
                Some(_) => may_answer(role),
                None => self.standing(&record, receiver)?.map_or(Ok(()), |to| may_send(role, to)),
            };
            if let Err(refusal) = allowed {
                self.note_refused(Action::Send, &id, &format!("to {receiver}: {refusal}"))?;
                return Err(Error::MailRefused { cell: id, refusal });
            }
            most = most.min(self.most_waiting(&id, receiver)?);
        }
        let draft = |receiver: &Identity| Draft {
            id: MessageId::random(),
            sender: self.actor.clone(),
            receiver: receiver.clone(),
            text: outgoing.text.clone(),
            in_reply_to: outgoing.reply_to.clone(),
        };
        let drafts: Vec<Draft> = receivers.iter().map(draft).collect();
        let actor = self.actor.to_string();
        let messages = self.registry.accept(&id, &drafts, most, &actor)?;
        if let Some(answered) = &outgoing.reply_to {
            // Whoever answers a message is done with it.
            self.acknowledge_own(&id, std::slice::from_ref(answered))?;
        }
        let messages = messages.into_iter().map(|message| SentOne { id: message.id, to: message.receiver }).collect();
        Ok((record, Sent { cell_id: id, messages, noticed: false }))
    }

    /// The role that somebody has in a cell: the operator in person and the owner lead it.
    pub(super) fn standing(&mut self, record: &Record, identity: &Identity) -> Result<Option<Role>, Error> {
        if record.proposal.owner == *identity || (self.in_person && self.actor == *identity) {
            return Ok(Some(Role::Director));
        }
        Ok(self.registry.member(&record.proposal.cell_id, identity)?.map(|member| member.role))
    }

    /// The message that is answered: one that was sent to whoever answers.
    fn answered(&mut self, cell: &CellId, id: &MessageId) -> Result<Message, Error> {
        match self.registry.mail(cell, id)? {
            Some(row) if row.message.receiver == self.actor => Ok(row.message),
            Some(_) | None => {
                self.note_refused(Action::Send, cell, &format!("an answer to {id}, which is no message for {}", self.actor))?;
                Err(Error::NoMessageForYou { cell: cell.clone(), id: id.clone(), who: self.actor.clone() })
            }
        }
    }

    fn receivers(&mut self, record: &Record, outgoing: &Outgoing, answered: Option<&Message>) -> Result<Vec<Identity>, Error> {
        let id = &record.proposal.cell_id;
        match (&outgoing.to, answered) {
            (None, Some(answered)) => Ok(vec![answered.sender.clone()]),
            (Some(Recipient::Member(to)), Some(answered)) if *to == answered.sender => Ok(vec![to.clone()]),
            (Some(_), Some(_)) => Err(Error::Contradiction("an answer goes to whoever wrote: leave --to out")),
            (Some(Recipient::Member(to)), None) => {
                if *to == record.proposal.owner || *to == self.actor || self.registry.member(id, to)?.is_some() {
                    return Ok(vec![to.clone()]);
                }
                self.nobody(record, &to.to_string())
            }
            (Some(Recipient::Named(name)), None) => {
                let members = self.members(id)?;
                let named: Vec<&Identity> = members.iter().filter(|member| name_of(member) == *name).collect();
                match named.as_slice() {
                    [only] => Ok(vec![(*only).clone()]),
                    [] => self.nobody(record, name),
                    several => Err(Error::SeveralMembers { cell: id.clone(), what: "a name", members: listed(several.iter().copied()) }),
                }
            }
            (Some(Recipient::All), None) => {
                let members: Vec<Identity> = self.members(id)?.into_iter().filter(|member| *member != self.actor).collect();
                if members.is_empty() { Err(Error::NobodyElse(id.clone())) } else { Ok(members) }
            }
            (None, None) => {
                let members = self.members(id)?;
                let mut agents = members.iter().filter(|member| member.startable().is_some() && **member != self.actor);
                match (agents.next(), agents.next()) {
                    (Some(only), None) => Ok(vec![only.clone()]),
                    (None, _) if members.is_empty() => Err(Error::NobodyElse(id.clone())),
                    (Some(_), Some(_)) | (None, _) => {
                        Err(Error::SeveralMembers { cell: id.clone(), what: "nobody in particular", members: listed(members.iter()) })
                    }
                }
            }
        }
    }

    /// Refuses a member that is not there, with the one that was probably meant.
    fn nobody(&mut self, record: &Record, given: &str) -> Result<Vec<Identity>, Error> {
        let id = record.proposal.cell_id.clone();
        self.note_refused(Action::Send, &id, &format!("to {given}, who is no member"))?;
        let members = self.members(&id)?;
        let score = |member: &Identity| {
            let whole = strsim::jaro_winkler(&member.to_string(), given);
            whole.max(strsim::jaro_winkler(name_of(member), given.rsplit(':').next().unwrap_or_default()))
        };
        let best = members.iter().max_by(|a, b| score(a).total_cmp(&score(b)));
        let hint = match best.filter(|best| score(best) > 0.8) {
            Some(best) => format!("did you mean {best}?"),
            None => format!("its members are {}", listed(members.iter())),
        };
        Err(Error::NoSuchMember { cell: id, who: crate::cell::text::one_line(given, 80), hint })
    }

    fn members(&mut self, cell: &CellId) -> Result<Vec<Identity>, Error> {
        let record = self.registry.cell(cell)?.ok_or_else(|| Error::CellNotFound(cell.to_string()))?;
        Ok(record.proposal.members.into_iter().map(|member| member.identity).collect())
    }

    fn most_waiting(&mut self, cell: &CellId, receiver: &Identity) -> Result<u32, Error> {
        let own = receiver.startable().map(|agent| self.registry.messages_limit(cell, agent)).transpose()?.flatten();
        Ok(own.unwrap_or(Limits::default().messages.get()))
    }
}

/// The name in an identity.
fn name_of(identity: &Identity) -> &str {
    match identity {
        Identity::Agent(name) | Identity::Bot(name) => name.as_str(),
        Identity::Human(name) => name,
    }
}

/// Members in one line, bounded.
fn listed<'a>(members: impl ExactSizeIterator<Item = &'a Identity>) -> String {
    let more = members.len().saturating_sub(NAMED_MOST);
    let named: Vec<String> = members.take(NAMED_MOST).map(Identity::to_string).collect();
    let more = if more == 0 { String::new() } else { format!(" and {more} more") };
    if named.is_empty() { "nobody".to_owned() } else { named.join(", ") + &more }
}
