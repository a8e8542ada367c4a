//! What came of one event.

use crate::{Failure, Message};

/// How an event ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Well: the message is handled, and what was sent is sent.
    Done,
    /// The agent says that it may succeed later.
    Retry(String),
    /// The agent says that it never will.
    Park(String),
    /// It panicked, or its instance could not be started: nothing was sent, and the instance is gone. Counts as a retry.
    Lost(String),
}

impl From<Result<(), Failure>> for Outcome {
    fn from(done: Result<(), Failure>) -> Self {
        match done {
            Ok(()) => Self::Done,
            Err(Failure::Retry(why)) => Self::Retry(why),
            Err(Failure::Park(why)) => Self::Park(why),
        }
    }
}

/// One event, after it.
#[derive(Debug, Clone)]
pub struct Event {
    pub(super) outcome: Outcome,
    pub(super) message: Option<Message>,
    pub(super) sent: Vec<Message>,
}

impl Event {
    /// Returns how it ended.
    pub fn outcome(&self) -> &Outcome {
        &self.outcome
    }

    /// Holds that it ended well, and returns it.
    ///
    /// # Panics
    /// It did not; the panic says why, at the test's own line.
    #[track_caller]
    pub fn done(self) -> Self {
        assert_eq!(self.outcome, Outcome::Done, "the event was not done; its message: {:?}", self.message.as_ref().map(|m| &m.text));
        self
    }

    /// Returns the text of the answer to the message, if there was one. An event that failed has answered nothing.
    pub fn reply(&self) -> Option<&str> {
        let asked = self.message.as_ref()?;
        self.sent.iter().find(|sent| sent.in_reply_to.as_ref() == Some(&asked.id)).map(|sent| sent.text.as_str())
    }

    /// Returns what was sent, replies included, in order. An event that failed has sent nothing.
    pub fn sent(&self) -> &[Message] {
        &self.sent
    }

    /// Returns the texts that were sent to somebody.
    pub fn sent_to(&self, receiver: &str) -> Vec<&str> {
        self.sent.iter().filter(|sent| sent.receiver == receiver).map(|sent| sent.text.as_str()).collect()
    }

    /// Returns the message that was delivered; none for a start, a tick or a close.
    pub fn message(&self) -> Option<&Message> {
        self.message.as_ref()
    }
}
