//! Those who wait to hear what becomes of a message: `lazarus send --wait`.

use std::collections::BTreeMap;

use tokio::sync::mpsc;

use crate::{
    cell::text::one_line,
    mail::{Message, MessageId},
    registry::{MailState, Settlement},
    warden::spec::Answer,
};

/// How many may wait: each holds a conversation open.
const WAITERS_MOST: usize = 1000;
/// The longest reason that is told.
const WHY_MOST_BYTES: usize = 500;

/// Those who wait, by message.
#[derive(Debug, Default)]
pub struct Waiters {
    waiting: BTreeMap<MessageId, Vec<mpsc::UnboundedSender<Answer>>>,
}

impl Waiters {
    /// Adds one. The last of too many is refused.
    pub fn add(&mut self, message: MessageId, answers: mpsc::UnboundedSender<Answer>) {
        self.waiting.retain(|_, waiting| {
            waiting.retain(|answers| !answers.is_closed());
            !waiting.is_empty()
        });
        if self.waiting.values().map(Vec::len).sum::<usize>() >= WAITERS_MOST {
            let message = format!("{WAITERS_MOST} others wait for messages of this cell already; look into its inbox later");
            let _ = answers.send(Answer::Refused { message });
            return;
        }
        self.waiting.entry(message).or_default().push(answers);
    }

    /// Tells those who wait for what was settled. `answer` looks for the answer to a message that is not among those just sent.
    pub fn settled(&mut self, settlement: &Settlement, sent: &[Message], mut answer: impl FnMut(&MessageId) -> Option<Message>) {
        if self.waiting.is_empty() {
            return;
        }
        for id in &settlement.handled {
            let Some(waiting) = self.waiting.remove(id) else { continue };
            let reply = sent.iter().find(|message| message.in_reply_to.as_ref() == Some(id)).cloned().or_else(|| answer(id));
            tell(waiting, &Answer::Handled { reply });
        }
        for failed in settlement.failed.iter().filter(|failed| failed.retry_at.is_none()) {
            let why = one_line(&failed.why, WHY_MOST_BYTES);
            if let Some(waiting) = self.waiting.remove(&failed.id) {
                tell(waiting, &Answer::Parked { why });
            }
        }
    }
}

fn tell(waiting: Vec<mpsc::UnboundedSender<Answer>>, answer: &Answer) {
    for answers in waiting {
        // Whoever went away is not waited for.
        let _ = answers.send(answer.clone());
    }
}

/// What is said of a message that is decided already; `None` while it is not.
pub fn decided(state: &MailState, answer: Option<Message>) -> Option<Answer> {
    match state {
        MailState::Waiting { .. } => None,
        MailState::Handled { .. } => Some(Answer::Handled { reply: answer }),
        MailState::Parked { why, .. } => Some(Answer::Parked { why: why.clone() }),
    }
}
