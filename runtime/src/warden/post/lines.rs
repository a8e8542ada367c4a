//! The lines of members that do not live by events: who is connected, what is leased to them, who waits for the next message.
//!
//! A message that a line received is leased to it: no other line of that member gets it, until it is settled or the line ends. It is settled
//! by its id, also on a later line: `lazarus cell recv` and `lazarus cell ack` are two.

use std::{
    collections::{BTreeMap, VecDeque},
    time::{Duration, Instant},
};

use chrono::Utc;
use tokio::sync::oneshot;

use super::{Answers, Caller, Line, Opened, Post, Who, desk::Parcel, settle::retry_at};
use crate::{
    cell::{Identity, Role},
    mail::{Call, Gift, Message, MessageId, Reason, Refusal},
    registry::{FailedDelivery, MailState, RegistryError, Settlement},
};

/// Lines of a cell, and of one of its members: descriptors and memory of the warden.
const LINES_MOST: usize = 256;
const PER_MEMBER_MOST: usize = 16;
/// Messages that are leased to one line at once.
const LEASES_MOST: usize = 64;
/// Calls of one line that wait for a message at once.
const WAITS_MOST: usize = 8;
/// How long a call may wait for a message.
const WAIT_MOST: Duration = Duration::from_secs(60);
/// Calls that came before the cell was ready for them, of all lines.
const EARLY_MOST: usize = 64;

/// A call that waits for a message.
#[derive(Debug)]
struct Wait {
    until: Instant,
    answers: Answers,
}

/// A line that is open.
#[derive(Debug)]
struct Open {
    caller: Caller,
    /// Dropped, it hangs up.
    _hang_up: oneshot::Sender<()>,
    /// In the order in which they were received.
    leased: Vec<Parcel>,
    waits: VecDeque<Wait>,
}

/// Every line of a cell.
#[derive(Debug, Default)]
pub struct Lines {
    open: BTreeMap<Line, Open>,
    opened: u64,
    /// Calls that came before the cell was active, or their agent a member.
    early: Vec<(Caller, Call, Answers)>,
}

impl Lines {
    fn of<'a>(&'a self, identity: &'a Identity) -> impl Iterator<Item = &'a Open> {
        self.open.values().filter(move |open| open.caller.identity == *identity)
    }

    /// What is leased to any line of a member.
    fn leases(&self, identity: &Identity) -> Vec<MessageId> {
        self.of(identity).flat_map(|open| &open.leased).map(|message| message.id.clone()).collect()
    }

    /// What a line received last and has not settled.
    pub(super) fn last_received(&self, line: Line) -> Option<&Parcel> {
        self.open.get(&line)?.leased.last()
    }

    /// Whether this very caller is connected.
    fn knows(&self, caller: &Caller) -> bool {
        self.open.get(&caller.line).is_some_and(|open| open.caller == *caller)
    }

    fn forget(&mut self, identity: &Identity, id: &MessageId) {
        for open in self.open.values_mut().filter(|open| open.caller.identity == *identity) {
            open.leased.retain(|message| message.id != *id);
        }
    }

    /// Answers those who have waited long enough: there is no message. Whoever went away is forgotten.
    pub(super) fn give_up(&mut self, now: Instant) {
        for open in self.open.values_mut() {
            let (over, waiting): (VecDeque<Wait>, _) =
                std::mem::take(&mut open.waits).into_iter().partition(|wait| now >= wait.until || wait.answers.is_closed());
            open.waits = waiting;
            for wait in over {
                let _ = wait.answers.send(Ok(Gift::Received { message: None }));
            }
        }
    }

    /// When somebody will have waited long enough.
    pub(super) fn give_up_at(&self) -> Option<Instant> {
        self.open.values().flat_map(|open| &open.waits).map(|wait| wait.until).min()
    }

    /// Ends every line of a member, or every line.
    pub(super) fn hang_up(&mut self, identity: Option<&Identity>) {
        let ends = |caller: &Caller| identity.is_none_or(|identity| caller.identity == *identity);
        self.open.retain(|_, open| !ends(&open.caller));
        self.early.retain(|(caller, ..)| !ends(caller));
    }

    pub(super) fn take_early(&mut self) -> Vec<(Caller, Call, Answers)> {
        std::mem::take(&mut self.early)
    }
}

impl Post {
    /// Connects a member: checks who it is, or redeems its token.
    ///
    /// # Errors
    /// Nobody who is, or may become, a member of the cell; and too many lines.
    pub fn open(&mut self, who: Who) -> Result<Opened, Refusal> {
        if self.lines.open.len() >= LINES_MOST {
            return Err(Refusal::new(Reason::Full, format!("connect: the cell has {LINES_MOST} connections already")));
        }
        let (identity, role) = self.recognise(who)?;
        if self.lines.of(&identity).count() >= PER_MEMBER_MOST {
            return Err(Refusal::new(Reason::Full, format!("connect: {identity} has {PER_MEMBER_MOST} connections already")));
        }
        self.lines.opened += 1;
        let caller = Caller { identity, role, line: Line(self.lines.opened) };
        let (sender, hang_up) = oneshot::channel();
        let open = Open { caller: caller.clone(), _hang_up: sender, leased: Vec::new(), waits: VecDeque::new() };
        self.lines.open.insert(caller.line, open);
        Ok(Opened { caller, hang_up })
    }

    fn recognise(&mut self, who: Who) -> Result<(Identity, Role), Refusal> {
        let cell = self.cell.clone();
        let registry = match who {
            Who::Agent { identity, role } => return Ok((identity, role)),
            Who::Join { .. } | Who::Resume { .. } => self.shelf.open(),
        };
        let registry = registry.map_err(|error| failed("join", &error))?;
        let member = match who {
            Who::Agent { identity, role } => return Ok((identity, role)),
            Who::Join { secret_sha256, session_sha256 } => registry.redeem_token(&cell, secret_sha256, session_sha256).map(Some),
            Who::Resume { session_sha256 } => registry.session_member(&cell, session_sha256),
        };
        match member {
            Ok(Some(member)) => {
                self.roster = None;
                Ok((member.identity, member.role))
            }
            Ok(None) => Err(Refusal::needs("an invitation", "join: this session has ended; ask for a new invitation")),
            // Refused and audited by the registry, which alone knows why.
            Err(error @ (RegistryError::TokenRefused { .. } | RegistryError::NotFound(_))) => {
                Err(Refusal::needs("an invitation", error.to_string()))
            }
            Err(error) => Err(failed("join", &error)),
        }
    }

    /// A line ended: what it had received and not settled is waiting again.
    pub fn close(&mut self, line: Line) {
        if let Some(open) = self.lines.open.remove(&line) {
            self.lines.early.retain(|(caller, ..)| caller.line != line);
            self.serve_soon(open.caller.identity);
        }
    }

    /// Carries out what a member asks on its line, and answers: at once, or later.
    ///
    /// - `send`, `reply`: accepted, durably, when the answer says so. `reply` without `to` answers what the line received last.
    /// - `receive`: the next message is leased to the line; with `wait_ms` (at most 60,000) the answer waits for one. No message: `None`.
    /// - `acknowledge`, `fail`: settle a message that waits for the caller, unless it is leased to another line.
    ///
    /// What comes before the cell is active, or the agent a member, waits until then.
    pub fn call(&mut self, caller: Caller, call: Call, answers: Answers) {
        if !self.lines.knows(&caller) {
            let refusal = Refusal::needs("an invitation", format!("{}: {} is not connected", call.name(), caller.identity));
            return self.refuse_call(&caller.identity, refusal, answers);
        }
        let is_early = !self.is_closing && (!self.is_open || matches!(self.role_of(&caller.identity), Ok(None)));
        if !is_early {
            self.carry_out_on_line(caller, call, answers);
        } else if self.lines.early.len() < EARLY_MOST {
            self.lines.early.push((caller, call, answers));
        } else {
            let refusal = Refusal::new(Reason::WrongTime, format!("{}: the cell is still starting", call.name()));
            self.refuse_call(&caller.identity, refusal, answers);
        }
    }

    /// Refuses a call before it is looked at: audited, as every refusal.
    fn refuse_call(&mut self, identity: &Identity, refusal: Refusal, answers: Answers) {
        self.denied(identity, &refusal);
        let _ = answers.send(Err(refusal));
    }

    /// Gives those who wait on the lines of a member what there is for them.
    pub(super) fn serve_lines(&mut self, identity: &Identity) -> Result<(), RegistryError> {
        self.lines.give_up(Instant::now());
        loop {
            let waiting = |open: &&Open| !open.waits.is_empty() && open.leased.len() < LEASES_MOST;
            let Some(line) = self.lines.of(identity).find(waiting).map(|open| open.caller.line) else { return Ok(()) };
            let Some(message) = self.lease(identity, line)? else { return Ok(()) };
            let wait = self.lines.open.get_mut(&line).and_then(|open| open.waits.pop_front());
            if let Some(wait) = wait {
                // Where nobody took it after all, it stays leased to the line, and ends with it.
                let _ = wait.answers.send(Ok(Gift::Received { message: Some(message) }));
            }
        }
    }

    fn lease(&mut self, identity: &Identity, line: Line) -> Result<Option<Message>, RegistryError> {
        let taken = self.lines.leases(identity);
        let after = self.accounts.get(identity).and_then(|account| account.last_sender.as_ref());
        let next = self.shelf.open()?.next_message(&self.cell, identity, Utc::now(), &taken, after)?;
        if let (Some(message), Some(open)) = (&next, self.lines.open.get_mut(&line)) {
            open.leased.push(Parcel::of(message));
            self.account(identity, Instant::now()).last_sender = Some(message.sender.clone());
        }
        Ok(next)
    }

    /// Gives a line the next message: now, or when there is one.
    pub(super) fn receive_on_line(&mut self, caller: &Caller, wait_ms: u64, answers: Answers) -> Result<(), (Refusal, Answers)> {
        let Some(open) = self.lines.open.get(&caller.line) else { return Ok(()) };
        if open.leased.len() >= LEASES_MOST {
            let message = format!("receive: {LEASES_MOST} messages are received and not settled; acknowledge or fail some first");
            return Err((Refusal::new(Reason::Full, message), answers));
        }
        if open.waits.len() >= WAITS_MOST {
            let message = format!("receive: {WAITS_MOST} calls of this connection wait for a message already");
            return Err((Refusal::new(Reason::TooFast, message), answers));
        }
        match self.lease(&caller.identity, caller.line) {
            Err(error) => return Err((failed("receive", &error), answers)),
            Ok(None) if wait_ms > 0 => {
                let until = Instant::now() + WAIT_MOST.min(Duration::from_millis(wait_ms));
                self.lines.open.entry(caller.line).and_modify(|open| open.waits.push_back(Wait { until, answers }));
            }
            Ok(message) => {
                let _ = answers.send(Ok(Gift::Received { message }));
            }
        }
        Ok(())
    }

    /// Settles a message that the caller received: done with, or to be tried again, or parked.
    pub(super) fn settle_on_line(&mut self, caller: &Caller, id: &MessageId, failure: Option<(&str, bool)>) -> Result<Gift, Refusal> {
        let what = if failure.is_some() { "fail" } else { "acknowledge" };
        let none = || Refusal::new(Reason::NoSuchMessage, format!("{what}: no message {id} waits for {}", caller.identity));
        let elsewhere = self
            .lines
            .of(&caller.identity)
            .any(|open| open.caller.line != caller.line && open.leased.iter().any(|message| message.id == *id));
        if elsewhere {
            let message = format!("{what}: message {id} is with another connection of {}", caller.identity);
            return Err(Refusal::new(Reason::NoSuchMessage, message));
        }
        let row = self.shelf.open().and_then(|registry| registry.mail(&self.cell, id)).map_err(|error| failed(what, &error))?;
        let row = row.filter(|row| row.message.receiver == caller.identity).ok_or_else(none)?;
        match (&row.state, &failure) {
            (MailState::Waiting { .. }, _) => {}
            // A second acknowledgement is no error.
            (MailState::Handled { .. }, None) => return Ok(Gift::Done),
            (MailState::Handled { .. } | MailState::Parked { .. }, _) => return Err(none()),
        }
        let settlement = match failure {
            None => Settlement { handled: vec![id.clone()], ..Settlement::default() },
            Some((why, park)) => {
                let again = retry_at(row.message.attempt.saturating_add(1), Utc::now());
                let failed = FailedDelivery { id: id.clone(), why: why.to_owned(), retry_at: again.filter(|_| !park) };
                Settlement { failed: vec![failed], ..Settlement::default() }
            }
        };
        self.commit(&caller.identity, &settlement).map_err(|error| failed(what, &error))?;
        self.lines.forget(&caller.identity, id);
        self.serve_soon(caller.identity.clone());
        Ok(Gift::Done)
    }
}

/// The refusal of a call that Lazarus itself could not carry out. Nothing of the machine is told.
pub(super) fn failed(what: &str, error: &RegistryError) -> Refusal {
    match error {
        RegistryError::Refused { .. } => Refusal::new(Reason::WrongTime, format!("{what}: {error}")),
        RegistryError::NoReceiver { .. } => Refusal::new(Reason::NoSuchMember, format!("{what}: {error}")),
        RegistryError::NoSender { .. } => Refusal::needs("membership", format!("{what}: {error}")),
        RegistryError::MailboxFull { .. } | RegistryError::ArtifactsFull { .. } => Refusal::new(Reason::Full, format!("{what}: {error}")),
        RegistryError::NoMessage { .. } => Refusal::new(Reason::NoSuchMessage, format!("{what}: {error}")),
        RegistryError::ArtifactName { .. } => Refusal::new(Reason::Malformed, format!("{what}: {error}")),
        _ => Refusal::new(Reason::Failed, format!("{what}: the registry could not be used; try again")),
    }
}
