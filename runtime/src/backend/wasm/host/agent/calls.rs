//! The host functions of `lazarus:cell`. Those that need the cell ask the warden, and wait; nothing is decided here.
//!
//! A guest has one call at a time, since nothing of it runs while a call waits. What it hands over is bounded before it is sent on:
//! texts and identities by their types, the rest here; all of it together by what one host call may allocate.

use wasmtime::component::{HasSelf, Linker};

use super::{
    super::guest::State,
    bindings::{
        EventAgent,
        lazarus::cell::{artifacts, cell, heartbeat, log, mailbox, types},
    },
    convert,
    member::unexpected,
};
use crate::{
    cell::Identity,
    mail::{Call, Gift, HISTORY_MOST, MessageId, Reason, Refusal},
};

/// Messages that one call shows.
const MESSAGES_MOST: u32 = 100;
/// The longest path of an artifact: PATH_MAX of Linux.
const PATH_MOST_BYTES: usize = 4096;
/// The longest name of an artifact that is sent on, to be refused.
const NAME_MOST_BYTES: usize = 256;

/// Whether a call was carried out, as guests see it.
type Done<T> = wasmtime::Result<Result<T, types::Refusal>>;

/// Gives an agent all of `lazarus:cell`.
///
/// # Errors
/// What the engine says.
pub fn link_agent(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    EventAgent::add_to_linker::<State, HasSelf<State>>(linker, |state| state)
}

/// Gives a program that does not live by events what it can have of `lazarus:cell`: the log and the heartbeat. What else there is belongs
/// to events.
///
/// # Errors
/// What the engine says.
pub fn link_command(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    log::add_to_linker::<State, HasSelf<State>>(linker, |state| state)?;
    heartbeat::add_to_linker::<State, HasSelf<State>>(linker, |state| state)
}

impl State {
    /// Asks the cell, and takes what is expected out of the answer.
    async fn ask<T>(&mut self, call: Call, take: impl FnOnce(Gift) -> Option<T>) -> Result<T, Refusal> {
        let gift = self.member.ask(call).await?;
        take(gift).ok_or_else(unexpected)
    }
}

/// The form in which guests see what came of a call.
fn told<T>(done: Result<T, Refusal>) -> Done<T> {
    Ok(done.map_err(convert::refusal))
}

/// A function that cannot be refused was: the guest ends, as it could not be told otherwise.
fn cannot_fail(refusal: Refusal) -> wasmtime::Error {
    wasmtime::Error::msg(refusal.message)
}

impl types::Host for State {}

impl cell::Host for State {
    async fn me(&mut self) -> wasmtime::Result<types::Member> {
        let facts = self.member.facts().await.map_err(cannot_fail)?;
        Ok(convert::member(&facts.identity, facts.role))
    }

    async fn id(&mut self) -> wasmtime::Result<String> {
        Ok(self.member.facts().await.map_err(cannot_fail)?.cell.to_string())
    }

    async fn project(&mut self) -> wasmtime::Result<String> {
        Ok(self.member.facts().await.map_err(cannot_fail)?.project.to_string())
    }

    async fn ttl_left(&mut self) -> wasmtime::Result<Option<u64>> {
        Ok(self.member.facts().await.map_err(cannot_fail)?.ttl_left)
    }

    async fn members(&mut self) -> Done<Vec<types::Member>> {
        let members = |gift| if let Gift::Members { members } = gift { Some(convert::members(&members)) } else { None };
        told(self.ask(Call::Members, members).await)
    }

    async fn invite(&mut self, guest: String, role: types::Role) -> Done<Option<String>> {
        let token = |gift| if let Gift::Invited { token } = gift { Some(token) } else { None };
        let guest = match convert::identity_of(&guest) {
            Ok(guest) => guest,
            Err(refusal) => return told(Err(refusal)),
        };
        told(self.ask(Call::Invite { guest, role: convert::role_of(role) }, token).await)
    }

    async fn close(&mut self) -> Done<()> {
        told(self.ask(Call::Close, done).await)
    }

    async fn audit(&mut self, most: u32) -> Done<Vec<String>> {
        let rows = |gift| if let Gift::Audit { rows } = gift { Some(rows) } else { None };
        told(self.ask(Call::Audit { most: most.min(HISTORY_MOST) }, rows).await)
    }
}

impl mailbox::Host for State {
    async fn send(&mut self, receiver: String, text: String) -> Done<String> {
        let asked = convert::identity_of(&receiver).and_then(|to: Identity| Ok(Call::Send { to, text: convert::text_of(text)? }));
        match asked {
            Ok(call) => told(self.ask(call, sent).await),
            Err(refusal) => told(Err(refusal)),
        }
    }

    async fn reply(&mut self, text: String) -> Done<String> {
        match convert::text_of(text) {
            Ok(text) => told(self.ask(Call::Reply { text, to: None }, sent).await),
            Err(refusal) => told(Err(refusal)),
        }
    }

    async fn receive(&mut self) -> Done<Option<types::Message>> {
        let message = |gift| if let Gift::Received { message } = gift { Some(message.map(convert::message)) } else { None };
        // Waiting would be for events: the agent is in the middle of one.
        told(self.ask(Call::Receive { wait_ms: 0 }, message).await)
    }

    async fn history(&mut self, after: Option<String>, most: u32) -> Done<Vec<types::Message>> {
        let messages =
            |gift| if let Gift::History { messages } = gift { Some(messages.into_iter().map(convert::message).collect()) } else { None };
        let no_such = |_| Refusal::new(Reason::NoSuchMessage, "history: no message has that id");
        match after.map(|id| id.parse::<MessageId>()).transpose().map_err(no_such) {
            Ok(after) => told(self.ask(Call::History { after, most: most.min(MESSAGES_MOST) }, messages).await),
            Err(refusal) => told(Err(refusal)),
        }
    }
}

impl log::Host for State {
    async fn write(&mut self, level: log::Level, text: String) -> wasmtime::Result<()> {
        self.member.log(convert::level(level), &text).await;
        Ok(())
    }
}

impl heartbeat::Host for State {
    async fn beat(&mut self) -> wasmtime::Result<()> {
        self.member.beat();
        Ok(())
    }
}

impl artifacts::Host for State {
    async fn declare(&mut self, path: String, name: String) -> Done<artifacts::Artifact> {
        let kept = |gift| if let Gift::Kept(artifact) = gift { Some(convert::artifact(artifact)) } else { None };
        if path.len() > PATH_MOST_BYTES || name.len() > NAME_MOST_BYTES {
            return told(Err(Refusal::new(Reason::Malformed, "declare: the path or the name is too long")));
        }
        told(self.ask(Call::Declare { path, name }, kept).await)
    }
}

fn done(gift: Gift) -> Option<()> {
    matches!(gift, Gift::Done).then_some(())
}

fn sent(gift: Gift) -> Option<String> {
    if let Gift::Sent { id } = gift { Some(id.into()) } else { None }
}
