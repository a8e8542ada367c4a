//! Whether people are members of the cell.

use super::Post;
use crate::cell::Identity;

impl Post {
    /// Whether somebody may come through the door: a person is a member, and the cell is open. The registry is asked anew.
    pub fn expects_people(&mut self) -> bool {
        self.roster = None;
        let is_person = |identity: &Identity| matches!(identity, Identity::Human(_));
        self.is_open && self.fresh_roster().is_ok_and(|roster| roster.members().iter().any(|member| is_person(&member.identity)))
    }
}
