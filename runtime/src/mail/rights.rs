//! Who may write to whom, and who may read what: DESIGN's table of roles, as functions.

use super::Refusal;
use crate::cell::Role;

/// Whether a member of one role may begin to write to a member of another.
///
/// # Errors
/// Why not, and what it would need.
pub fn may_send(sender: Role, receiver: Role) -> Result<(), Refusal> {
    match (sender, receiver) {
        (Role::Executor | Role::Director, _) | (Role::Observer, Role::Director) => Ok(()),
        (Role::Observer, _) => {
            Err(Refusal::needs("role executor", "send: an observer writes to directors only, and answers who wrote to it"))
        }
        (Role::Auditor, _) => Err(Refusal::needs("role executor", "send: an auditor writes to nobody")),
    }
}

/// Whether a member may answer a message that it was sent.
///
/// # Errors
/// Why not, and what it would need.
pub fn may_answer(role: Role) -> Result<(), Refusal> {
    match role {
        Role::Executor | Role::Director | Role::Observer => Ok(()),
        Role::Auditor => Err(Refusal::needs("role executor", "reply: an auditor writes to nobody")),
    }
}

/// Whether a member may read messages that are not its own, and the audit of its cell.
pub const fn may_read_all(role: Role) -> bool {
    matches!(role, Role::Director | Role::Auditor)
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
}
