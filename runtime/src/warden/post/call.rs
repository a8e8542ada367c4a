//! What members ask of their cell, carried out or refused; every refusal is audited, up to a rate.

use std::time::Instant;

use super::{Answers, Caller, Errand, Order, Pending, Post, desk::Fault, lines::failed, rate::Denials, traffic::Traffic};
use crate::{
    audit::{Action, Draft, Phase},
    backend::{bucket::Bucket, protocol::ToChild},
    cell::{AgentName, Identity, Role, text::one_line},
    mail::{self, Artifact, Call, CallKind, Gift, Reason, Refusal},
    registry::{RegistryError, is_artifact_name},
    warden::post::errand::Done,
};

/// Calls of any kind. Each costs the warden, whose time all share, up to a few queries.
const CALLS_BURST: u64 = 2000;
const CALLS_PER_SECOND: u64 = 1000;
/// The longest line of a refusal in the audit.
const DETAIL_MOST_BYTES: usize = 500;

/// What is counted for one member.
#[derive(Debug)]
pub struct Account {
    pub(super) traffic: Traffic,
    calls: Bucket,
    denials: Denials,
    /// Whose message it received last, where it does not live by events.
    pub(super) last_sender: Option<Identity>,
}

/// From where a call came.
#[derive(Debug)]
pub(super) enum Place {
    /// An event of an agent.
    Event { agent: AgentName, number: u64 },
    /// A line.
    Line { caller: Caller },
}

/// Who calls, as the trusted side knows them.
#[derive(Debug)]
pub(super) struct From {
    pub(super) identity: Identity,
    pub(super) role: Role,
    pub(super) place: Place,
}

impl Post {
    /// Carries out what an agent asks in an event, or in its start.
    ///
    /// # Errors
    /// What no host says.
    pub fn asked(&mut self, child: usize, agent: &AgentName, number: u64, call: Call) -> Result<(), Fault> {
        let desk = self.desks.get_mut(agent).filter(|desk| desk.child == child).ok_or(Fault)?;
        let in_event = desk.call(number)?;
        let revoked = desk.revoked;
        let from =
            From { identity: desk.tenant.identity.clone(), role: desk.tenant.role, place: Place::Event { agent: agent.clone(), number } };
        if !in_event {
            let refusal = Refusal::new(Reason::WrongTime, format!("{}: no event is under way", call.name()));
            self.denied(&from.identity, &refusal);
            self.outbox.push((child, ToChild::Answer { agent: agent.clone(), number, answer: Err(refusal) }));
            return Ok(());
        }
        if revoked {
            let refusal = Refusal::needs("membership", format!("{}: {} was revoked", call.name(), from.identity));
            self.finish(from, None, Err(refusal));
            return Ok(());
        }
        self.carry_out(from, call, None);
        Ok(())
    }

    pub(super) fn carry_out_on_line(&mut self, caller: Caller, call: Call, answers: Answers) {
        let from = From { identity: caller.identity.clone(), role: caller.role, place: Place::Line { caller } };
        self.carry_out(from, call, Some(answers));
    }

    fn carry_out(&mut self, from: From, call: Call, answers: Option<Answers>) {
        let now = Instant::now();
        if !self.account(&from.identity, now).calls.take(now) {
            let refusal = Refusal::new(Reason::TooFast, format!("{}: too many calls in too short a time; wait a second", call.name()));
            return self.finish(from, answers, Err(refusal));
        }
        // What a role may not ask is refused here, for all; who may write to whom depends on both, and is decided further on.
        if let Err(refusal) = mail::may(from.role, call.kind()) {
            return self.finish(from, answers, Err(refusal));
        }
        if let (Place::Event { .. }, Some(why)) = (&from.place, mail::by_events(call.kind())) {
            return self.finish(from, answers, Err(Refusal::new(Reason::WrongTime, why)));
        }
        let result = match call {
            Call::Me => self.facts(&from),
            Call::Members => self.members(),
            Call::Send { to, text } => self.send(&from, &to, text),
            Call::Reply { text, to } => self.reply(&from, text, to),
            Call::Receive { wait_ms } => return self.receive(from, wait_ms, answers),
            Call::Acknowledge { id } => self.settle_one(&from, &id, None),
            Call::Fail { id, why, park } => self.settle_one(&from, &id, Some((&why, park))),
            Call::History { after, most } => self.history(&from, after.as_ref(), most),
            Call::Invite { guest, role } => return self.invite(from, guest, role, answers),
            Call::Close => self.wants_close(&from),
            Call::Audit { most } => self.audit(&from, most),
            // That it came is the sign; the heartbeat of a home is touched by whoever has the home.
            Call::Beat => Ok(Gift::Done),
            Call::Declare { path, name } => return self.declare(from, path, name, answers),
        };
        self.finish(from, answers, result);
    }

    /// Answers a call, and audits a refusal.
    pub(super) fn finish(&mut self, from: From, answers: Option<Answers>, result: Result<Gift, Refusal>) {
        if let Err(refusal) = &result {
            self.denied(&from.identity, refusal);
        }
        match (from.place, answers) {
            (Place::Event { agent, number }, _) => {
                let Some(desk) = self.desks.get_mut(&agent) else { return };
                // After its event's end nobody waits any more.
                if desk.answered(number) {
                    self.outbox.push((desk.child, ToChild::Answer { agent, number, answer: result }));
                }
            }
            (Place::Line { .. }, Some(answers)) => {
                let _ = answers.send(result);
            }
            (Place::Line { .. }, None) => {}
        }
    }

    /// What is counted for a member.
    pub(super) fn account(&mut self, identity: &Identity, now: Instant) -> &mut Account {
        self.accounts.entry(identity.clone()).or_insert_with(|| Account {
            traffic: Traffic::new(now),
            calls: Bucket::new(CALLS_BURST, CALLS_PER_SECOND, now),
            denials: Denials::new(now),
            last_sender: None,
        })
    }

    pub(super) fn denied(&mut self, identity: &Identity, refusal: &Refusal) {
        if self.account(identity, Instant::now()).denials.note(Instant::now()) {
            self.audit_denied(identity, &refusal.message);
        }
    }

    fn audit_denied(&mut self, identity: &Identity, detail: &str) {
        let detail = one_line(detail, DETAIL_MOST_BYTES);
        let draft = Draft::new(&identity.to_string(), Action::Denied, Phase::Refused, Some(&self.cell), &detail);
        // It was refused in any case; a registry that cannot be written to refuses whatever would change something.
        let _ = self.shelf.open().and_then(|registry| registry.audit(draft));
    }

    /// Says how many refusals had no row of their own. With `all`, whether or not it is time.
    pub(super) fn count_denials(&mut self, now: Instant, all: bool) {
        let due =
            |account: &mut Account| if all { Some(account.denials.rest()).filter(|count| *count > 0) } else { account.denials.due(now) };
        let counts: Vec<(Identity, u64)> =
            self.accounts.iter_mut().filter_map(|(identity, account)| Some((identity.clone(), due(account)?))).collect();
        for (identity, count) in counts {
            self.audit_denied(&identity, &format!("{count} more calls were refused"));
        }
    }

    pub(super) fn count_denials_at(&self) -> Option<Instant> {
        self.accounts.values().filter_map(|account| account.denials.due_at()).min()
    }

    fn facts(&mut self, from: &From) -> Result<Gift, Refusal> {
        let (identity, role) = (&from.identity, from.role);
        let roster = self.fresh_roster().map_err(|error| failed("me", &error))?;
        Ok(Gift::Facts(roster.facts(identity, role, chrono::Utc::now())))
    }

    fn members(&mut self) -> Result<Gift, Refusal> {
        let roster = self.fresh_roster().map_err(|error| failed("members", &error))?;
        Ok(Gift::Members { members: roster.everyone() })
    }

    fn receive(&mut self, from: From, wait_ms: u64, answers: Option<Answers>) {
        match (&from.place, answers) {
            (Place::Event { agent, .. }, answers) => {
                let agent = agent.clone();
                let result = self.receive_in_event(&from, &agent);
                self.finish(from, answers, result);
            }
            (Place::Line { caller }, Some(answers)) => {
                let caller = caller.clone();
                if let Err((refusal, answers)) = self.receive_on_line(&caller, wait_ms, answers) {
                    self.finish(from, Some(answers), Err(refusal));
                }
            }
            (Place::Line { .. }, None) => {}
        }
    }

    fn settle_one(&mut self, from: &From, id: &crate::mail::MessageId, failure: Option<(&str, bool)>) -> Result<Gift, Refusal> {
        match &from.place {
            Place::Line { caller } => self.settle_on_line(caller, id, failure),
            // Refused already, with this very reason.
            Place::Event { .. } => {
                let why = mail::by_events(CallKind::Acknowledge).unwrap_or_default();
                Err(Refusal::new(Reason::WrongTime, why))
            }
        }
    }

    fn wants_close(&mut self, from: &From) -> Result<Gift, Refusal> {
        match &from.place {
            Place::Event { agent, .. } => {
                let held = self.desks.get_mut(agent).and_then(super::desk::Desk::held_mut);
                held.ok_or_else(|| Refusal::new(Reason::WrongTime, "close: no event is under way"))?.closes = true;
            }
            Place::Line { .. } => self.orders.push(Order::Close { by: from.identity.clone() }),
        }
        Ok(Gift::Done)
    }

    fn invite(&mut self, from: From, guest: Identity, role: Role, answers: Option<Answers>) {
        let refusal = if self.pending.values().any(|pending| pending.is_invitation) {
            Some(Refusal::new(Reason::TooFast, "invite: somebody is being invited already; try again when that is over"))
        } else if self.is_closing {
            Some(Refusal::new(Reason::WrongTime, "invite: the cell is closing"))
        } else {
            self.may_write(&from, "invite").err()
        };
        if let Some(refusal) = refusal {
            return self.finish(from, answers, Err(refusal));
        }
        let by = from.identity.clone();
        let ticket = self.pend(Pending { from, answers, name: String::new(), is_invitation: true });
        self.orders.push(Order::Invite { ticket, by, guest, role });
    }

    fn declare(&mut self, from: From, path: String, name: String, answers: Option<Answers>) {
        let Some(agent) = from.identity.startable().cloned() else {
            let refusal = Refusal::needs("an agent's or a bot's identity", format!("declare: {} has no home in the cell", from.identity));
            return self.finish(from, answers, Err(refusal));
        };
        if !is_artifact_name(&name) {
            let message = "declare: a name is [A-Za-z0-9._-]{1,64} and begins with a letter or a digit";
            return self.finish(from, answers, Err(Refusal::new(Reason::Malformed, message)));
        }
        if let Err(refusal) = self.may_write(&from, "declare") {
            return self.finish(from, answers, Err(refusal));
        }
        let ticket = self.pend(Pending { from, answers, name, is_invitation: false });
        self.orders.push(Order::Keep { ticket, agent, path });
    }

    /// Whether a member may do one more thing that stays in the audit.
    fn may_write(&mut self, from: &From, what: &str) -> Result<(), Refusal> {
        let now = Instant::now();
        let taken = self.account(&from.identity, now).traffic.write(now);
        taken.map_err(|why| Refusal::new(Reason::TooFast, format!("{what}: {why}")))
    }

    fn pend(&mut self, pending: Pending) -> u64 {
        self.tickets += 1;
        self.pending.insert(self.tickets, pending);
        self.tickets
    }

    /// Something that was ordered is done: answers whoever asked for it. Returns the digest of a kept file that nobody names any more.
    pub fn done(&mut self, errand: Errand) -> Option<String> {
        let Pending { from, answers, name, .. } = self.pending.remove(&errand.ticket)?;
        let mut unused = None;
        let result = match errand.done {
            Done::Kept(kept) => kept.and_then(|(sha256, bytes)| {
                let artifact = Artifact { name, sha256, bytes };
                let noted = self.note_artifact(&from.identity, &artifact).map_err(|error| failed("declare", &error));
                noted.map(|replaced| {
                    unused = replaced;
                    Gift::Kept(artifact)
                })
            }),
            Done::Invited(invited) => {
                self.roster = None;
                invited.map(|token| Gift::Invited { token })
            }
        };
        self.finish(from, answers, result);
        unused
    }

    fn note_artifact(&mut self, identity: &Identity, artifact: &Artifact) -> Result<Option<String>, RegistryError> {
        let Some(agent) = identity.startable() else { return Ok(None) };
        self.shelf.open()?.keep_artifact(&self.cell, agent, artifact, &identity.to_string())
    }
}
