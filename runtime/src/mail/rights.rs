//! Who may ask what of its cell, who may write to whom, and who may read what: DESIGN's table of roles, as functions.
//!
//! Whoever enforces this and whoever explains it (`lazarus why`) ask here: a refusal has one sentence, wherever it is read.

use super::{CallKind, Refusal};
use crate::cell::Role;

/// What an observer may do with `send`.
const OBSERVER_SENDS: &str = "send: an observer writes to directors only, and answers who wrote to it";
/// How an agent that lives by events settles what it was given.
const SETTLES_BY_RETURN: &str = "an agent that lives by events acknowledges by its handler's return";

/// Whether a role may make a call at all, and by which rule. Of `send`, the receiver's role decides further: [`may_send`].
///
/// # Errors
/// Why not, and what it would need: what the caller is told.
pub fn may(role: Role, call: CallKind) -> Result<&'static str, Refusal> {
    const EVERYONE: &str = "every member may";
    match (call, role) {
        (CallKind::Me | CallKind::Members | CallKind::Beat | CallKind::Acknowledge | CallKind::Fail, _) => Ok(EVERYONE),
        (CallKind::Send, Role::Executor | Role::Director) => Ok("send: executors and directors write to every member"),
        (CallKind::Send, Role::Observer) => Ok(OBSERVER_SENDS),
        (CallKind::Send, Role::Auditor) => Err(Refusal::needs("role executor", "send: an auditor writes to nobody")),
        (CallKind::Reply, Role::Executor | Role::Director | Role::Observer) => Ok("reply: whoever was written to may answer"),
        (CallKind::Reply, Role::Auditor) => Err(Refusal::needs("role executor", "reply: an auditor writes to nobody")),
        (CallKind::Receive, Role::Executor | Role::Director | Role::Observer) => Ok("receive: every member takes its own messages"),
        (CallKind::Receive, Role::Auditor) => Err(Refusal::needs("role executor", "receive: an auditor takes no messages")),
        (CallKind::History, Role::Director | Role::Auditor) => Ok("history: directors and auditors see every message"),
        (CallKind::History, Role::Executor | Role::Observer) => Ok("history: a member sees the messages that it wrote and got"),
        (CallKind::Invite, Role::Director) => Ok("invite: a director may"),
        (CallKind::Invite, Role::Executor | Role::Observer | Role::Auditor) => {
            Err(Refusal::needs("role director", "invite: only a director may"))
        }
        (CallKind::Close, Role::Director) => Ok("close: a director may"),
        (CallKind::Close, Role::Executor | Role::Observer | Role::Auditor) => {
            Err(Refusal::needs("role director", "close: only a director may"))
        }
        (CallKind::Audit, Role::Director | Role::Auditor) => Ok("audit: directors and auditors may"),
        (CallKind::Audit, Role::Executor | Role::Observer) => Err(Refusal::needs("role director", "audit: directors and auditors may")),
        (CallKind::Declare, Role::Executor | Role::Director | Role::Observer) => {
            Ok("declare: whoever has a home may hand over a file of it")
        }
        (CallKind::Declare, Role::Auditor) => Err(Refusal::needs("role executor", "declare: an auditor has no home")),
    }
}

/// Whether a member of one role may begin to write to a member of another.
///
/// # Errors
/// Why not, and what it would need.
pub fn may_send(sender: Role, receiver: Role) -> Result<(), Refusal> {
    may(sender, CallKind::Send)?;
    match (sender, receiver) {
        (Role::Executor | Role::Director | Role::Auditor, _) | (Role::Observer, Role::Director) => Ok(()),
        (Role::Observer, Role::Executor | Role::Observer | Role::Auditor) => Err(Refusal::needs("role executor", OBSERVER_SENDS)),
    }
}

/// Whether a member may answer a message that it was sent.
///
/// # Errors
/// Why not, and what it would need.
pub fn may_answer(role: Role) -> Result<(), Refusal> {
    may(role, CallKind::Reply).map(drop)
}

/// Whether a member may read messages that are not its own, and the audit of its cell.
pub const fn may_read_all(role: Role) -> bool {
    matches!(role, Role::Director | Role::Auditor)
}

/// Why an agent that lives by events makes no such call, if that is so: what it is told.
pub fn by_events(call: CallKind) -> Option<String> {
    match call {
        CallKind::Acknowledge | CallKind::Fail => Some(format!("{}: {SETTLES_BY_RETURN}", call.as_str())),
        CallKind::Me
        | CallKind::Members
        | CallKind::Send
        | CallKind::Reply
        | CallKind::Receive
        | CallKind::History
        | CallKind::Invite
        | CallKind::Close
        | CallKind::Audit
        | CallKind::Beat
        | CallKind::Declare => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_write_as_the_table_says() {
        let allowed: Vec<(Role, Role)> = Role::ALL
            .into_iter()
            .flat_map(|from| Role::ALL.into_iter().map(move |to| (from, to)))
            .filter(|(from, to)| may_send(*from, *to).is_ok())
            .collect();
        assert_eq!(allowed.len(), 4 + 4 + 1, "{allowed:?}");
        assert!(allowed.contains(&(Role::Observer, Role::Director)));
        assert!(may_answer(Role::Observer).is_ok() && may_answer(Role::Auditor).is_err());
        assert!(may_read_all(Role::Auditor) && !may_read_all(Role::Observer));
    }

    #[test]
    fn what_a_role_may_ask_agrees_with_what_it_is() {
        for role in Role::ALL {
            assert_eq!(may(role, CallKind::Invite).is_ok(), role.leads(), "{role}");
            assert_eq!(may(role, CallKind::Close).is_ok(), role.leads(), "{role}");
            assert_eq!(may(role, CallKind::Audit).is_ok(), may_read_all(role), "{role}");
            assert_eq!(may(role, CallKind::Declare).is_ok(), role.has_home(), "{role}");
            for call in CallKind::ALL {
                if let Err(refusal) = may(role, *call) {
                    assert!(refusal.message.starts_with(&format!("{}: ", call.as_str())) && refusal.needs.is_some(), "{refusal:?}");
                }
            }
            let to_somebody = Role::ALL.into_iter().any(|to| may_send(role, to).is_ok());
            assert_eq!(may(role, CallKind::Send).is_ok(), to_somebody, "{role}");
        }
    }
}
