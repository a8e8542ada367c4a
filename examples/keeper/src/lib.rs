//! The keeper: the smallest agent that lives by events.
//!
//! The one idea: an agent is a type and what it does when somebody writes. Whatever it is told, it says that it lives.
//!
//! What it was granted: nothing but its role. Any role that may answer will do; without one (`auditor`) each message is parked.

use lazarus_guest::{Agent, Cell, Failure, Message};

/// Says that it lives.
#[derive(Default)]
pub struct Keeper;

impl Agent for Keeper {
    fn message(&mut self, cell: &Cell, _: &Message) -> Result<(), Failure> {
        cell.reply("alive")?;
        Ok(())
    }
}

lazarus_guest::export!(Keeper);

#[cfg(test)]
mod tests {
    use lazarus_guest::{
        Role,
        testing::{Outcome, TestCell},
    };

    use super::Keeper;

    #[test]
    fn it_lives_whatever_it_is_told() {
        let mut cell = TestCell::<Keeper>::new().role(Role::Observer);
        assert_eq!(cell.message("human:owner", "are you there?").reply(), Some("alive"));
        cell.idle();
        assert_eq!(cell.message("human:owner", "still?").reply(), Some("alive"));
    }

    #[test]
    fn an_auditor_may_not_answer() {
        let mut cell = TestCell::<Keeper>::new().role(Role::Auditor);
        assert!(matches!(cell.message("human:owner", "?").outcome(), Outcome::Park(_)));
    }
}
