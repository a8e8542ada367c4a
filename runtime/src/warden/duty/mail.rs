//! What the post office hears and wants: packets, orders, and the registry's word that the cell rests or wakes.

use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use super::Duty;
use crate::{
    backend::protocol::FromChild,
    cell::{AgentName, CloseReason},
    mail::{Reason, Refusal},
    warden::{
        life::{News, Step},
        make,
        post::{Done, Errand, Invitation, LineEvent, Order, Tenant, keep},
        spec::{AgentPlan, Answer, Ask},
        watch::Event,
        writer::Told,
    },
};

/// The grace of a cell that a director closes: the command's default.
const GRACE: Duration = Duration::from_secs(10);

/// A copy of a file that is to be made: one at a time, so that none is removed while another of the same bytes is made.
pub(super) struct Keeping {
    ticket: u64,
    agent: AgentName,
    path: String,
}

impl Duty {
    /// Gives an agent its place in the post office.
    pub(super) fn take_in(&mut self, plan: &AgentPlan, child: usize) {
        let launch = &plan.launch;
        let limits = &launch.policy.limits;
        self.promise(plan, child);
        self.post.takes_part(plan.identity.clone(), limits.messages.get());
        if make::lives_by_events(launch) {
            let tenant = Tenant { identity: plan.identity.clone(), role: launch.role, event: limits.event, tick: launch.tick };
            self.post.move_in(launch.agent.clone(), tenant, child);
        }
    }

    /// Takes to the post office what it must hear.
    pub(super) fn hear(&mut self) {
        for news in std::mem::take(&mut self.life.news) {
            match news {
                News::Ready(agent) => self.post.ready(&agent),
                News::HostEnded(child, end) => self.post.host_ended(child, &end),
                News::Over(agent) => self.post.move_out(&agent),
                News::Struck(agent, limit, count) => self.struck(&agent, limit, count),
                News::Said(child, said) => {
                    let understood = match said {
                        FromChild::Call { agent, number, call } => self.post.asked(child, &agent, number, call),
                        FromChild::EventOver { agent, event, outcome } => self.post.over(child, &agent, event, &outcome),
                        FromChild::Idle { agent } => {
                            self.post.rested(child, &agent);
                            Ok(())
                        }
                        FromChild::Report { .. }
                        | FromChild::Ready { .. }
                        | FromChild::Refused { .. }
                        | FromChild::Ended { .. }
                        | FromChild::Limit { .. }
                        | FromChild::Dropped { .. } => Ok(()),
                    };
                    if understood.is_err() {
                        let _ = self.life.garbled(child);
                    }
                }
            }
        }
    }

    /// Answers what concerns the post office alone.
    pub(super) fn answer_ask(&mut self, ask: Ask, answers: mpsc::UnboundedSender<Answer>) {
        let noted = |answers: mpsc::UnboundedSender<Answer>| drop(answers.send(Answer::Noted));
        match ask {
            Ask::Mail => {
                // The answer first: whoever sent does not wait for the delivery.
                noted(answers);
                self.mind_the_door();
                self.post.pump();
            }
            Ask::Await { message } => self.post.wait_for(message, answers),
            Ask::Revoked { member } => {
                self.post.revoked(&member);
                self.mind_the_door();
                noted(answers);
            }
            Ask::Close { .. } | Ask::End { .. } | Ask::Start { .. } => {}
        }
    }

    pub(super) fn on_line(&mut self, event: LineEvent) {
        match event {
            LineEvent::Open { who, answers } => {
                if let Err(Ok(opened)) = answers.send(self.post.open(who)) {
                    // The peer went away meanwhile.
                    self.post.close(opened.caller.line);
                }
            }
            LineEvent::Call { caller, call, answers } => self.post.call(caller, call, answers),
            LineEvent::Close(line) => self.post.close(line),
        }
    }

    /// Carries out what the post office wants, and sends what it has. Steps that come of it are noted.
    pub(super) fn serve_post(&mut self) {
        self.post.serve();
        for (child, packet) in std::mem::take(&mut self.post.outbox) {
            match self.life.children[child].tell(&packet) {
                Told::Now => {}
                Told::Later => self.post.has_room(child, false),
                // Its end is heard of like any other.
                Told::TooMuch => self.life.children[child].kill(),
            }
        }
        for order in std::mem::take(&mut self.post.orders) {
            match order {
                Order::Close { by } => {
                    self.steps.push_back(Step::Close { reason: CloseReason::Asked { by }, grace: GRACE, asker: None });
                }
                Order::End { child } => self.life.children[child].kill(),
                Order::Keep { ticket, agent, path } => {
                    self.keeping.push_back(Keeping { ticket, agent, path });
                    if self.keeping.len() == 1 {
                        self.keep_next();
                    }
                }
                Order::Invite { ticket, by, guest, role } => {
                    let invitation = Invitation { root: self.spec.root.clone(), cell: self.spec.cell.clone(), by, guest, role };
                    self.beside(ticket, move || Done::Invited(invitation.carry_out()));
                }
            }
        }
        self.rest_or_wake();
    }

    /// Does something beside the event loop, which hears of it when it is done.
    fn beside(&self, ticket: u64, work: impl FnOnce() -> Done + Send + 'static) {
        let sender = self.watch.sender();
        tokio::task::spawn_blocking(move || {
            let done = work();
            // A warden that is ending hears of nothing any more.
            let _ = sender.blocking_send(Event::Errand(Errand { ticket, done }));
        });
    }

    /// Starts the next copy.
    fn keep_next(&mut self) {
        let Some(Keeping { ticket, agent, path }) = self.keeping.front() else { return };
        let (ticket, path) = (*ticket, path.clone());
        let failed = |why: &str| Refusal::new(Reason::Failed, format!("declare: {why}"));
        let home = self.life.runs().find(|run| run.agent == *agent && !run.is_over()).and_then(|run| run.home.clone());
        let home = home.and_then(|home| make::place_of(&self.made.dir, &home, agent));
        let home = home.and_then(|place| self.made.dir.home(place, agent).ok().flatten()).ok_or_else(|| failed("the agent has no home"));
        let into = self.made.dir.artifacts().map_err(|_| failed("the cell's artifacts cannot be written"));
        self.beside(ticket, move || Done::Kept(home.and_then(|home| keep(&home, &path, &into?))));
    }

    /// Something that was ordered is done.
    pub(super) fn errand_done(&mut self, errand: Errand) {
        let was_kept = matches!(errand.done, Done::Kept(_));
        let was_invited = matches!(errand.done, Done::Invited(_));
        if let Some(digest) = self.post.done(errand) {
            // Nobody names it any more. Left behind, it goes with the cell.
            let _ = self.made.dir.artifacts().and_then(|artifacts| artifacts.remove_file(digest));
        }
        if was_invited {
            self.mind_the_door();
        }
        if was_kept {
            self.keeping.pop_front();
            self.keep_next();
        }
    }

    /// Tells the registry that every agent of the cell waits for events, or that one has something to do. Events are given before it is told.
    ///
    /// The record beside the cell stays as it is: to whoever rebuilds a registry, both mean that the cell lived; and a message must not wait
    /// for another file to be written.
    fn rest_or_wake(&mut self) {
        let alone = self.invitations.is_empty() && self.life.runs().all(|run| run.is_over() || run.by_events);
        let Some(event) = self.post.news(alone) else { return };
        // Overtaken by a close, or a registry that cannot be written to: the cell lives on, and only looks the more or the less busy.
        let _ = self.post.tell(event);
    }

    /// When the post office has something to do.
    pub(super) fn post_due_at(&self) -> Option<Instant> {
        self.post.due_at(Instant::now())
    }

    /// How an agent of the cell was planned.
    pub(super) fn plan_of(&self, agent: &AgentName) -> Option<&AgentPlan> {
        self.spec.agents.iter().chain(&self.guests).find(|plan| plan.launch.agent == *agent)
    }
}
