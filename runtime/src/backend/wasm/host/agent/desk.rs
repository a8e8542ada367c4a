//! Where one agent and the warden's words for it meet: events and answers come in, calls and ends go out.
//!
//! ```text
//!  Busy (starting) ─ ready ─→ Waiting ─ event ─→ Busy ─ over ─→ Waiting … ─→ Ended
//! ```
//!
//! The warden has promised one event at a time, and an answer to each call. What breaks the promise is no word of our warden: the
//! host ends. What merely comes late is let go: an answer to a call whose event was cut short, an event for an agent that just ended.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, oneshot};

use super::super::outbox::Outbox;
use crate::{
    backend::protocol::{FromChild, Occasion, Outcome},
    cell::AgentName,
    mail::{Call, Gift, Reason, Refusal},
};

/// What comes of a call.
pub type Answer = Result<Gift, Refusal>;

/// The warden said what it cannot have to say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the warden broke the protocol")]
pub struct Nonsense;

/// What may come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Answers only: it starts, or handles an event.
    Busy,
    /// An event.
    Waiting,
    /// Nothing that matters.
    Ended,
}

#[derive(Debug)]
struct Inner {
    stage: Stage,
    event: Option<(u64, Occasion)>,
    /// The number of the last call.
    number: u64,
    caller: Option<oneshot::Sender<Answer>>,
}

/// The desk of one agent.
#[derive(Debug)]
pub struct Desk {
    index: u16,
    agent: AgentName,
    outbox: Arc<Outbox>,
    inner: Mutex<Inner>,
    bell: Notify,
}

impl Desk {
    /// The desk of an agent that starts.
    pub fn new(index: u16, agent: AgentName, outbox: Arc<Outbox>) -> Self {
        let inner = Inner { stage: Stage::Busy, event: None, number: 0, caller: None };
        Self { index, agent, outbox, inner: Mutex::new(inner), bell: Notify::new() }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes an event in.
    ///
    /// # Errors
    /// One too many, or one that cannot be.
    pub fn deliver(&self, event: u64, occasion: Occasion) -> Result<(), Nonsense> {
        let mut inner = self.inner();
        match inner.stage {
            Stage::Ended => Ok(()),
            Stage::Waiting if event > 0 => {
                inner.stage = Stage::Busy;
                inner.event = Some((event, occasion));
                self.bell.notify_one();
                Ok(())
            }
            Stage::Waiting | Stage::Busy => Err(Nonsense),
        }
    }

    /// Takes an answer in.
    ///
    /// # Errors
    /// One to a call that was never made.
    pub fn answer(&self, number: u64, answer: Answer) -> Result<(), Nonsense> {
        let mut inner = self.inner();
        if number == 0 || number > inner.number {
            return Err(Nonsense);
        }
        if number == inner.number
            && let Some(caller) = inner.caller.take()
        {
            // Its event may have been cut short: then nobody waits.
            let _ = caller.send(answer);
        }
        Ok(())
    }

    /// Waits for the next event.
    pub async fn next(&self) -> (u64, Occasion) {
        loop {
            if let Some(event) = self.inner().event.take() {
                return event;
            }
            self.bell.notified().await;
        }
    }

    /// Asks something of the cell, and waits for the answer.
    pub async fn call(&self, call: Call) -> Answer {
        let (caller, answer) = oneshot::channel();
        let number = {
            let mut inner = self.inner();
            inner.number += 1;
            inner.caller = Some(caller);
            inner.number
        };
        self.outbox.say(self.index, &FromChild::Call { agent: self.agent.clone(), number, call });
        // The caller is only let go when the host ends.
        answer.await.unwrap_or_else(|_| Err(Refusal::new(Reason::Failed, "the cell did not answer")))
    }

    /// Says that the agent is ready.
    pub fn ready(&self) {
        self.inner().stage = Stage::Waiting;
        self.outbox.say(self.index, &FromChild::Ready { agent: self.agent.clone() });
    }

    /// Says how an event ended.
    pub fn over(&self, event: u64, outcome: Outcome) {
        self.inner().stage = Stage::Waiting;
        self.outbox.say(self.index, &FromChild::EventOver { agent: self.agent.clone(), event, outcome });
    }

    /// Says that the agent's memory was dropped.
    pub fn idle(&self) {
        self.outbox.say(self.index, &FromChild::Idle { agent: self.agent.clone() });
    }

    /// Nothing that comes matters any more.
    pub fn end(&self) {
        self.inner().stage = Stage::Ended;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::packets;

    fn desk() -> (Arc<Desk>, std::os::fd::OwnedFd) {
        let (ours, theirs) = packets::pair().expect("a pair");
        rustix::io::ioctl_fionbio(&ours, true).expect("non-blocking");
        let agent: AgentName = "scribe".parse().expect("a name");
        let outbox = Arc::new(Outbox::new(ours, [agent.clone()]).expect("an outbox"));
        (Arc::new(Desk::new(0, agent, outbox)), theirs)
    }

    #[tokio::test]
    async fn one_event_at_a_time_and_none_before_it_is_ready() {
        let (desk, _warden) = desk();
        assert_eq!(desk.deliver(1, Occasion::Tick), Err(Nonsense));
        desk.ready();
        assert_eq!(desk.deliver(0, Occasion::Tick), Err(Nonsense));
        assert_eq!(desk.deliver(1, Occasion::Tick), Ok(()));
        assert_eq!(desk.deliver(2, Occasion::Tick), Err(Nonsense), "before it was taken");
        assert_eq!(desk.next().await, (1, Occasion::Tick));
        assert_eq!(desk.deliver(2, Occasion::Tick), Err(Nonsense), "before it is over");
        desk.over(1, Outcome::Done);
        assert_eq!(desk.deliver(2, Occasion::Tick), Ok(()));
        desk.end();
        assert_eq!(desk.deliver(3, Occasion::Tick), Ok(()), "too late to matter");
    }

    #[tokio::test]
    async fn answers_find_their_call_and_no_other() {
        let (desk, _warden) = desk();
        assert_eq!(desk.answer(1, Ok(Gift::Done)), Err(Nonsense), "nothing was asked");
        let cut = tokio::time::timeout(std::time::Duration::from_millis(1), desk.call(Call::Beat)).await;
        assert!(cut.is_err());
        let second = tokio::spawn({
            let desk = Arc::clone(&desk);
            async move { desk.call(Call::Close).await }
        });
        tokio::task::yield_now().await;
        assert_eq!(desk.answer(1, Ok(Gift::Done)), Ok(()), "late, and let go");
        assert_eq!(desk.answer(3, Ok(Gift::Done)), Err(Nonsense));
        let refused = Err(Refusal::new(Reason::NotGranted, "no"));
        assert_eq!(desk.answer(2, refused.clone()), Ok(()));
        assert_eq!(second.await.expect("answered"), refused);
    }
}
