//! Who may do what: the same table as Lazarus's own.

use crate::{Reason, Refusal, Role};

pub fn refuse(reason: Reason, message: impl Into<String>) -> Refusal {
    Refusal { reason, message: message.into(), needs: None }
}

pub fn needs(role: &str, message: &str) -> Refusal {
    Refusal { reason: Reason::NotGranted, message: message.to_owned(), needs: Some(format!("role {role}")) }
}

pub fn may_send(sender: Role, receiver: Role) -> Result<(), Refusal> {
    match (sender, receiver) {
        (Role::Executor | Role::Director, _) | (Role::Observer, Role::Director) => Ok(()),
        (Role::Observer, _) => Err(needs("executor", "send: an observer writes to directors only, and answers who wrote to it")),
        (Role::Auditor, _) => Err(needs("executor", "send: an auditor writes to nobody")),
    }
}

pub fn may_answer(role: Role) -> Result<(), Refusal> {
    match role {
        Role::Executor | Role::Director | Role::Observer => Ok(()),
        Role::Auditor => Err(needs("executor", "reply: an auditor writes to nobody")),
    }
}

pub fn may_lead(role: Role, call: &str) -> Result<(), Refusal> {
    match role {
        Role::Director => Ok(()),
        Role::Executor | Role::Observer | Role::Auditor => Err(needs("director", &format!("{call}: only a director may"))),
    }
}

pub fn may_read_all(role: Role) -> bool {
    matches!(role, Role::Director | Role::Auditor)
}

/// Whether a text is `agent:…`, `bot:…` or `human:…` with a name of `[a-z0-9][a-z0-9_-]{0,63}`.
pub fn is_identity(text: &str) -> bool {
    let Some((kind, name)) = text.split_once(':') else { return false };
    let part = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '-';
    let starts = name.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit());
    matches!(kind, "agent" | "bot" | "human") && starts && name.len() <= 64 && name.chars().all(part)
}

/// Whether a text is `[A-Za-z0-9._-]{1,64}` and begins with a letter or a digit.
pub fn is_artifact_name(text: &str) -> bool {
    let part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    text.len() <= 64 && text.starts_with(|c: char| c.is_ascii_alphanumeric()) && text.chars().all(part)
}
