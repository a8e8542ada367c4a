//! What the double knows, and what its calls do.

use std::{
    collections::VecDeque,
    fs, io,
    path::{Component, Path},
    rc::Rc,
    time::{Duration, SystemTime},
};

use super::{
    directory::Directory,
    rights::{is_artifact_name, is_identity, may_answer, may_lead, may_read_all, may_send, needs, refuse},
    sha256,
};
use crate::{
    ARTIFACT_MOST_BYTES, ARTIFACTS_MOST, AUDIT_MOST, Artifact, HISTORY_MOST, LINE_MOST_BYTES, Level, Member, Message, Reason, Refusal,
    Role, SENDS_MOST, TEXT_MOST_BYTES,
};

/// A cell, as its double keeps it.
pub struct World {
    pub me: Member,
    pub project: String,
    pub ttl_left: Option<Duration>,
    pub members: Vec<Member>,
    pub home: Rc<Directory>,
    pub shared: Rc<Directory>,
    /// Everything that was accepted, in order.
    pub accepted: Vec<Message>,
    /// What waits beside the message that is being handled.
    pub waiting: VecDeque<Message>,
    pub log: Vec<(Level, String)>,
    pub artifacts: Vec<Artifact>,
    pub audit: Vec<String>,
    pub beats: u32,
    pub closing: bool,
    /// The event that is under way.
    pub event: Option<UnderWay>,
    pub next_id: u32,
}

/// An event that is under way.
#[derive(Default)]
pub struct UnderWay {
    pub message: Option<Message>,
    pub sent: Vec<Message>,
    pub received: Vec<Message>,
    pub close: bool,
}

impl World {
    pub fn id(&mut self) -> String {
        self.next_id += 1;
        format!("msg-{:032x}", self.next_id)
    }

    pub fn role_of(&self, identity: &str) -> Option<Role> {
        self.members.iter().find(|member| member.identity == identity).map(|member| member.role)
    }

    /// Writes a refusal to the audit, as Lazarus does.
    pub fn note<T>(&mut self, call: &str, done: Result<T, Refusal>) -> Result<T, Refusal> {
        if let Err(refusal) = &done {
            self.audit.push(format!("{} denied {call}: {}", self.me.identity, refusal.message));
        }
        done
    }

    pub fn invite(&mut self, guest: &str, role: Role) -> Result<Option<String>, Refusal> {
        may_lead(self.me.role, "invite")?;
        if !is_identity(guest) {
            return Err(refuse(Reason::Malformed, format!("invite: {guest:?} is no identity, such as agent:scribe or human:alice")));
        }
        if self.role_of(guest).is_some() {
            return Err(refuse(Reason::Failed, format!("invite {guest}: it is a member already")));
        }
        self.members.push(Member { identity: guest.to_owned(), role });
        self.audit.push(format!("{} invite {guest} as {role}", self.me.identity));
        Ok(guest.starts_with("human:").then(|| format!("token-of-{guest}")))
    }

    pub fn close(&mut self) -> Result<(), Refusal> {
        may_lead(self.me.role, "close")?;
        match &mut self.event {
            Some(event) => event.close = true,
            None => self.closing = true,
        }
        Ok(())
    }

    pub fn rows(&self, most: u32) -> Result<Vec<String>, Refusal> {
        if !may_read_all(self.me.role) {
            return Err(needs("director", "audit: directors and auditors may"));
        }
        let from = self.audit.len().saturating_sub(most.min(AUDIT_MOST) as usize);
        Ok(self.audit[from..].to_vec())
    }

    pub fn send(&mut self, receiver: &str, text: &str) -> Result<String, Refusal> {
        if !is_identity(receiver) {
            return Err(refuse(Reason::Malformed, format!("send: {receiver:?} is no identity, such as agent:scribe or human:alice")));
        }
        let Some(role) = self.role_of(receiver) else {
            return Err(refuse(Reason::NoSuchMember, format!("send: {receiver} is not in the cell")));
        };
        may_send(self.me.role, role)?;
        self.draft(receiver, text, None)
    }

    pub fn reply(&mut self, text: &str) -> Result<String, Refusal> {
        may_answer(self.me.role)?;
        let event = self.event.as_ref();
        let Some(asked) = event.and_then(|event| event.message.clone()) else {
            return Err(refuse(Reason::WrongTime, "reply: no message is being handled"));
        };
        if event.is_some_and(|event| event.sent.iter().any(|sent| sent.in_reply_to.as_ref() == Some(&asked.id))) {
            return Err(refuse(Reason::WrongTime, "reply: this message was answered already"));
        }
        self.draft(&asked.sender, text, Some(asked.id))
    }

    /// Holds a message back until the event has succeeded.
    fn draft(&mut self, receiver: &str, text: &str, in_reply_to: Option<String>) -> Result<String, Refusal> {
        match text.len() {
            0 => return Err(refuse(Reason::Malformed, "send: the text is empty")),
            1..=TEXT_MOST_BYTES => {}
            bytes => return Err(refuse(Reason::TooLarge, format!("send: {bytes} bytes, and at most {TEXT_MOST_BYTES} fit"))),
        }
        let message = Message {
            id: self.id(),
            sender: self.me.identity.clone(),
            receiver: receiver.to_owned(),
            text: text.to_owned(),
            in_reply_to,
            sent_at: SystemTime::now(),
            attempt: 0,
        };
        let Some(event) = &mut self.event else {
            return Err(refuse(Reason::WrongTime, "send: no event is under way"));
        };
        if event.sent.len() >= SENDS_MOST {
            return Err(refuse(Reason::TooFast, format!("send: an event sends at most {SENDS_MOST} messages")));
        }
        let id = message.id.clone();
        event.sent.push(message);
        Ok(id)
    }

    pub fn receive(&mut self) -> Result<Option<Message>, Refusal> {
        if self.me.role == Role::Auditor {
            return Err(needs("executor", "receive: an auditor takes no messages"));
        }
        let Some(event) = &mut self.event else {
            return Err(refuse(Reason::WrongTime, "receive: no event is under way"));
        };
        let next = self.waiting.pop_front();
        event.received.extend(next.clone());
        Ok(next)
    }

    pub fn history(&self, after: Option<&str>, most: u32) -> Result<Vec<Message>, Refusal> {
        let me = &self.me;
        let mine = |message: &&Message| may_read_all(me.role) || message.sender == me.identity || message.receiver == me.identity;
        let seen: Vec<&Message> = self.accepted.iter().filter(mine).collect();
        let from = match after {
            None => 0,
            Some(id) => match seen.iter().position(|message| message.id == id) {
                Some(at) => at + 1,
                None => return Err(refuse(Reason::NoSuchMessage, format!("history: there is no message {id:?}"))),
            },
        };
        let shown = seen[from..].iter().take(most.min(HISTORY_MOST) as usize);
        Ok(shown.map(|message| Message { attempt: 0, ..(*message).clone() }).collect())
    }

    pub fn write(&mut self, level: Level, text: &str) {
        let mut line = String::new();
        for c in text.chars() {
            let start = line.len();
            if c.is_control() {
                line.extend(c.escape_default())
            } else {
                line.push(c)
            }
            if line.len() > LINE_MOST_BYTES {
                line.truncate(start);
                break;
            }
        }
        self.log.push((level, line));
    }

    pub fn declare(&mut self, path: &str, name: &str) -> Result<Artifact, Refusal> {
        if self.me.role == Role::Auditor {
            return Err(needs("executor", "declare: an auditor has no home"));
        }
        if !is_artifact_name(name) {
            return Err(refuse(
                Reason::Malformed,
                format!("declare: {name:?} is no name: [A-Za-z0-9._-], 1 to 64, a letter or digit first"),
            ));
        }
        let bytes = read(self.home.path(), path)?;
        let known = self.artifacts.iter().position(|artifact| artifact.name == name);
        if known.is_none() && self.artifacts.len() >= ARTIFACTS_MOST {
            return Err(refuse(Reason::Full, format!("declare {name}: {ARTIFACTS_MOST} artifacts are kept already")));
        }
        let artifact = Artifact { name: name.to_owned(), sha256: sha256::hex(&bytes), bytes: bytes.len() as u64 };
        match known {
            Some(at) => self.artifacts[at] = artifact.clone(),
            None => self.artifacts.push(artifact.clone()),
        }
        Ok(artifact)
    }
}

/// Reads a regular file below the home, no part of whose path is a link.
fn read(home: &Path, path: &str) -> Result<Vec<u8>, Refusal> {
    let malformed = |why: &str| refuse(Reason::Malformed, format!("declare {path:?}: {why}"));
    let parts: Vec<Component<'_>> = Path::new(path).components().collect();
    if parts.is_empty() || !parts.iter().all(|part| matches!(part, Component::Normal(_))) {
        return Err(malformed("it is not a path below the home"));
    }
    let look = |path: &Path| fs::symlink_metadata(path).map_err(|error: io::Error| malformed(&error.to_string()));
    let mut at = home.to_owned();
    for part in parts {
        at.push(part);
        if look(&at)?.is_symlink() {
            return Err(malformed("a part of it is a link"));
        }
    }
    let metadata = look(&at)?;
    if !metadata.is_file() {
        return Err(malformed("it is no regular file"));
    }
    if metadata.len() > ARTIFACT_MOST_BYTES {
        return Err(refuse(Reason::TooLarge, format!("declare {path:?}: more than {ARTIFACT_MOST_BYTES} bytes")));
    }
    fs::read(&at).map_err(|error| malformed(&error.to_string()))
}
