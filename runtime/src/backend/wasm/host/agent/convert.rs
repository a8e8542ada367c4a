//! Between the words of the cell and those of the guest.

use super::bindings::{
    exports::lazarus::cell::agent::Failure,
    lazarus::cell::{artifacts, log::Level, types},
};
use crate::{
    backend::{protocol::Outcome, wasm::text::one_line},
    cell::{Identity, Role},
    mail::{Artifact, Message, Other, Reason, Refusal, Text, TextError},
};

/// Characters of a reason that a guest gives.
const WHY_MOST: usize = 300;

pub const fn role(role: Role) -> types::Role {
    match role {
        Role::Executor => types::Role::Executor,
        Role::Observer => types::Role::Observer,
        Role::Director => types::Role::Director,
        Role::Auditor => types::Role::Auditor,
    }
}

pub const fn role_of(role: types::Role) -> Role {
    match role {
        types::Role::Executor => Role::Executor,
        types::Role::Observer => Role::Observer,
        types::Role::Director => Role::Director,
        types::Role::Auditor => Role::Auditor,
    }
}

pub const fn level(level: Level) -> &'static str {
    match level {
        Level::Debug => "debug",
        Level::Info => "info",
        Level::Warn => "warn",
        Level::Error => "error",
    }
}

pub fn member(identity: &Identity, of: Role) -> types::Member {
    types::Member { identity: identity.to_string(), role: role(of) }
}

pub fn members(members: &[Other]) -> Vec<types::Member> {
    members.iter().map(|other| member(&other.identity, other.role)).collect()
}

pub fn message(message: Message) -> types::Message {
    types::Message {
        id: message.id.into(),
        sender: message.sender.to_string(),
        receiver: message.receiver.to_string(),
        text: message.text.into(),
        in_reply_to: message.in_reply_to.map(String::from),
        sent_at: u64::try_from(message.sent_at.timestamp_millis()).unwrap_or(0),
        attempt: message.attempt,
    }
}

pub fn artifact(artifact: Artifact) -> artifacts::Artifact {
    artifacts::Artifact { name: artifact.name, sha256: artifact.sha256, bytes: artifact.bytes }
}

pub fn refusal(refusal: Refusal) -> types::Refusal {
    let reason = match refusal.reason {
        Reason::NotGranted => types::Reason::NotGranted,
        Reason::NoSuchMember => types::Reason::NoSuchMember,
        Reason::NoSuchMessage => types::Reason::NoSuchMessage,
        Reason::TooLarge => types::Reason::TooLarge,
        Reason::Malformed => types::Reason::Malformed,
        Reason::Full => types::Reason::Full,
        Reason::TooFast => types::Reason::TooFast,
        Reason::WrongTime => types::Reason::WrongTime,
        Reason::Failed => types::Reason::Failed,
    };
    types::Refusal { reason, message: refusal.message, needs: refusal.needs }
}

/// An identity that a guest names.
pub fn identity_of(text: &str) -> Result<Identity, Refusal> {
    text.parse().map_err(|error| Refusal::new(Reason::Malformed, one_line(&format!("{error}"), WHY_MOST)))
}

/// A text that a guest writes.
pub fn text_of(text: String) -> Result<Text, Refusal> {
    Text::new(text).map_err(|error| {
        let reason = match error {
            TextError::TooLarge(_) => Reason::TooLarge,
            TextError::Empty | TextError::NotText(_) => Reason::Malformed,
        };
        Refusal::new(reason, error.to_string())
    })
}

/// How a handler that returned ended its event.
pub fn outcome(returned: Result<(), Failure>) -> Outcome {
    match returned {
        Ok(()) => Outcome::Done,
        Err(Failure::Retry(why)) => Outcome::Retry { why: one_line(&why, WHY_MOST) },
        Err(Failure::Park(why)) => Outcome::Park { why: one_line(&why, WHY_MOST) },
    }
}
