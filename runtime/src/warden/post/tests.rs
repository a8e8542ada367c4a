//! The post office with a registry, and without processes: what members that do not live by events may ask, and what becomes of it.

use std::time::Duration;

use chrono::Utc;
use tokio::sync::oneshot;

use super::{Caller, Opened, Order, Post, Tenant, Who};
use crate::{
    audit::Action,
    backend::protocol::{Occasion, Outcome, ToChild},
    cell::{BackendKind, CellId, Event, Identity, Member, OnExpire, ProcessRef, Proposal, Role},
    mail::{Call, Gift, Message, MessageId, Reason, Refusal, Text},
    registry::{AuditFilter, InboxFilter, Registry, TransitionExtras},
};

fn id(text: &str) -> Identity {
    text.parse().expect("an identity")
}

fn words(text: &str) -> Text {
    Text::new(text.into()).expect("a text")
}

/// A cell of `agent:clerk`, which lives by events, and of members that do not; owned by `human:boss`.
struct Office {
    root: tempfile::TempDir,
    cell: CellId,
    post: Post,
}

impl Office {
    fn new() -> Self {
        let root = tempfile::tempdir().expect("a directory");
        let cell = CellId::from_bits(7);
        let process = ProcessRef { pid: 1, start_ticks: 1, boot_id: "boot".into() };
        let member = |who: &str, role| Member { identity: id(who), role, joined_at: Utc::now(), invited_by: id("human:boss") };
        let proposal = Proposal {
            cell_id: cell.clone(),
            project: "p".parse().expect("a name"),
            owner: id("human:boss"),
            backend: BackendKind::Wasm,
            members: vec![
                member("agent:clerk", Role::Executor),
                member("bot:worker", Role::Executor),
                member("human:guest", Role::Observer),
                member("bot:checker", Role::Auditor),
                member("bot:lead", Role::Director),
            ],
            hermes_home: root.path().join("home"),
            ttl: Duration::from_secs(3600),
            on_expire: OnExpire::Close,
            team: true,
            throwaway: false,
            accept_degraded: false,
            summoner: process.clone(),
            created_at: Utc::now(),
        };
        let mut registry = Registry::open(root.path()).expect("a registry");
        registry.propose(&proposal, "human:boss").expect("proposed");
        let extras = TransitionExtras { warden: Some(process), ..TransitionExtras::default() };
        registry.transition(&cell, Event::Ready, "warden", extras).expect("active");
        let mut post = Post::new(root.path().to_owned(), cell.clone());
        let event = Duration::from_secs(60);
        post.takes_part(id("agent:clerk"), 3);
        post.move_in("clerk".parse().expect("a name"), Tenant { identity: id("agent:clerk"), role: Role::Executor, event, tick: None }, 0);
        post.ready(&"clerk".parse().expect("a name"));
        Self { root, cell, post }
    }

    fn open_doors() -> Self {
        let mut office = Self::new();
        office.post.open_doors();
        office
    }

    fn registry(&self) -> Registry {
        Registry::open(self.root.path()).expect("a registry")
    }

    fn line(&mut self, who: &str, role: Role) -> Opened {
        self.post.open(Who::Agent { identity: id(who), role }).expect("a line")
    }

    fn ask(&mut self, caller: &Caller, call: Call) -> oneshot::Receiver<Result<Gift, Refusal>> {
        let (answers, answer) = oneshot::channel();
        self.post.call(caller.clone(), call, answers);
        answer
    }

    #[track_caller]
    fn now(&mut self, caller: &Caller, call: Call) -> Result<Gift, Refusal> {
        self.ask(caller, call).try_recv().expect("an answer at once")
    }

    #[track_caller]
    fn send(&mut self, from: &Caller, to: &str, text: &str) -> MessageId {
        match self.now(from, Call::Send { to: id(to), text: words(text) }) {
            Ok(Gift::Sent { id }) => id,
            other => panic!("{other:?}"),
        }
    }

    #[track_caller]
    fn receive(&mut self, caller: &Caller) -> Option<Message> {
        match self.now(caller, Call::Receive { wait_ms: 0 }) {
            Ok(Gift::Received { message }) => message,
            other => panic!("{other:?}"),
        }
    }

    /// The event that the clerk was given, if it was.
    fn given(&mut self) -> Option<(u64, Message)> {
        self.post.serve();
        let packet = self.post.outbox.pop()?;
        let (0, ToChild::Event { event, occasion: Occasion::Message(message), .. }) = packet else { panic!("{packet:?}") };
        Some((event, message))
    }

    fn clerk_asks(&mut self, number: u64, call: Call) -> Result<Gift, Refusal> {
        self.post.asked(0, &"clerk".parse().expect("a name"), number, call).expect("no fault");
        match self.post.outbox.pop() {
            Some((0, ToChild::Answer { number: answered, answer, .. })) if answered == number => answer,
            other => panic!("{other:?}"),
        }
    }

    fn over(&mut self, event: u64, outcome: &Outcome) {
        self.post.over(0, &"clerk".parse().expect("a name"), event, outcome).expect("no fault");
    }

    fn denied(&self) -> usize {
        let filter = AuditFilter { cell: Some(self.cell.clone()), ..AuditFilter::default() };
        let rows = self.registry().audit_rows(&filter).expect("rows");
        rows.iter().filter(|row| row.action == Action::Denied).count()
    }
}

fn reason(result: Result<Gift, Refusal>) -> Reason {
    result.expect_err("refused").reason
}

#[test]
fn a_message_goes_there_and_its_answer_comes_back() {
    let mut office = Office::open_doors();
    let worker = office.line("bot:worker", Role::Executor).caller;
    let sent = office.send(&worker, "agent:clerk", "please");
    let (event, message) = office.given().expect("an event");
    assert_eq!((message.id.clone(), message.sender.clone(), message.attempt), (sent.clone(), id("bot:worker"), 1));
    // A second waits for its turn: one event at a time.
    office.send(&worker, "agent:clerk", "and this");
    assert!(office.given().is_none());
    assert!(matches!(office.clerk_asks(1, Call::Reply { text: words("done"), to: None }), Ok(Gift::Sent { .. })));
    assert_eq!(reason(office.clerk_asks(2, Call::Reply { text: words("done"), to: None })), Reason::WrongTime);
    assert_eq!(office.receive(&worker), None, "not before the event has ended well");
    office.over(event, &Outcome::Done);
    let answer = office.receive(&worker).expect("the answer");
    assert_eq!((answer.text.as_str(), answer.in_reply_to), ("done", Some(sent)));
    assert_eq!(office.given().expect("the second").1.text.as_str(), "and this");
}

#[test]
fn an_event_takes_more_messages_and_settles_all() {
    let mut office = Office::open_doors();
    let worker = office.line("bot:worker", Role::Executor).caller;
    for text in ["1", "2"] {
        office.send(&worker, "agent:clerk", text);
    }
    let (event, _) = office.given().expect("an event");
    let taken = office.clerk_asks(1, Call::Receive { wait_ms: 0 });
    assert!(matches!(taken, Ok(Gift::Received { message: Some(message) }) if message.text.as_str() == "2"));
    assert!(matches!(office.clerk_asks(2, Call::Receive { wait_ms: 0 }), Ok(Gift::Received { message: None })));
    office.over(event, &Outcome::Done);
    assert!(office.given().is_none());
    let waiting = office.registry().inbox(&office.cell, Some(&id("agent:clerk")), InboxFilter::Waiting).expect("rows");
    assert_eq!(waiting, []);
}

#[test]
fn a_lease_ends_with_its_line() {
    let mut office = Office::open_doors();
    let boss = office.line("bot:lead", Role::Director).caller;
    let (first, second) = (office.line("bot:worker", Role::Executor).caller, office.line("bot:worker", Role::Executor).caller);
    let sent = office.send(&boss, "bot:worker", "work");
    assert_eq!(office.receive(&first).map(|message| message.id), Some(sent.clone()));
    assert_eq!(office.receive(&second), None, "it is with the other");
    assert_eq!(reason(office.now(&second, Call::Acknowledge { id: sent.clone() })), Reason::NoSuchMessage);
    let mut waits = office.ask(&second, Call::Receive { wait_ms: 60_000 });
    assert!(waits.try_recv().is_err());
    office.post.close(first.line);
    office.post.serve();
    assert!(matches!(waits.try_recv(), Ok(Ok(Gift::Received { message: Some(message) })) if message.id == sent));
    assert_eq!(office.now(&second, Call::Acknowledge { id: sent.clone() }), Ok(Gift::Done));
    assert_eq!(office.now(&second, Call::Acknowledge { id: sent.clone() }), Ok(Gift::Done), "a second one is no error");
    assert_eq!(reason(office.now(&second, Call::Fail { id: sent, why: "late".into(), park: false })), Reason::NoSuchMessage);
    // Somebody else's message is nobody's business.
    let other = office.send(&boss, "human:guest", "hello");
    assert_eq!(reason(office.now(&second, Call::Acknowledge { id: other })), Reason::NoSuchMessage);
}

#[test]
fn a_line_without_an_answer_is_told_so_in_time() {
    let mut office = Office::open_doors();
    let worker = office.line("bot:worker", Role::Executor).caller;
    let mut waits = office.ask(&worker, Call::Receive { wait_ms: 1 });
    office.post.serve();
    let at = office.post.due_at(std::time::Instant::now()).expect("something is due");
    office.post.due(at);
    assert_eq!(waits.try_recv(), Ok(Ok(Gift::Received { message: None })));
}

#[test]
fn roles_hold_on_lines() {
    let mut office = Office::open_doors();
    let guest = office.line("human:guest", Role::Observer).caller;
    let checker = office.line("bot:checker", Role::Auditor).caller;
    let lead = office.line("bot:lead", Role::Director).caller;
    let send = |to: &str| Call::Send { to: id(to), text: words("x") };
    assert_eq!(reason(office.now(&guest, send("agent:clerk"))), Reason::NotGranted);
    assert!(office.now(&guest, send("bot:lead")).is_ok() && office.now(&guest, send("human:boss")).is_ok());
    assert_eq!(reason(office.now(&checker, send("bot:lead"))), Reason::NotGranted);
    assert_eq!(reason(office.now(&checker, Call::Receive { wait_ms: 0 })), Reason::NotGranted);
    assert_eq!(reason(office.now(&guest, Call::Audit { most: 5 })), Reason::NotGranted);
    assert!(matches!(office.now(&checker, Call::Audit { most: 5 }), Ok(Gift::Audit { rows }) if rows.len() == 5));
    assert_eq!(reason(office.now(&guest, Call::Close)), Reason::NotGranted);
    assert_eq!(reason(office.now(&guest, Call::Invite { guest: id("human:x"), role: Role::Director })), Reason::NotGranted);
    assert_eq!(reason(office.now(&lead, send("agent:nobody"))), Reason::NoSuchMember);
    assert!(office.post.orders.is_empty());
    assert_eq!(office.now(&lead, Call::Close), Ok(Gift::Done));
    assert!(matches!(office.post.orders.as_slice(), [Order::Close { by }] if *by == id("bot:lead")));
    // One sees what it sent or was sent; the director sees all.
    let seen = |office: &mut Office, who: &Caller| match office.now(who, Call::History { after: None, most: 100 }) {
        Ok(Gift::History { messages }) => messages.len(),
        other => panic!("{other:?}"),
    };
    office.send(&lead, "agent:clerk", "secret");
    assert_eq!((seen(&mut office, &guest), seen(&mut office, &lead)), (2, 3));
    assert!(office.denied() >= 5);
}

#[test]
fn a_full_mailbox_refuses_and_counts_what_is_held() {
    let mut office = Office::open_doors();
    let worker = office.line("bot:worker", Role::Executor).caller;
    for _ in 0..3 {
        office.send(&worker, "agent:clerk", "x");
    }
    let send = Call::Send { to: id("agent:clerk"), text: words("x") };
    assert_eq!(reason(office.now(&worker, send.clone())), Reason::Full);
    let (event, _) = office.given().expect("an event");
    assert_eq!(reason(office.now(&worker, send.clone())), Reason::Full, "what is being handled still counts");
    assert_eq!(reason(office.clerk_asks(1, send.clone())), Reason::Full, "to itself as well");
    office.over(event, &Outcome::Done);
    let (event, _) = office.given().expect("an event");
    assert!(office.clerk_asks(2, send.clone()).is_ok(), "two wait");
    assert_eq!(reason(office.now(&worker, send)), Reason::Full, "and one is held");
    office.over(event, &Outcome::Done);
}

#[test]
fn a_flood_is_slowed_down_and_audited_in_a_few_rows() {
    let mut office = Office::open_doors();
    let worker = office.line("bot:worker", Role::Executor).caller;
    let send = Call::Send { to: id("human:boss"), text: words("x") };
    let refused = (0..1000).filter(|_| office.now(&worker, send.clone()).is_err_and(|refusal| refusal.reason == Reason::TooFast)).count();
    assert!(refused >= 50, "{refused}");
    assert_eq!(office.denied(), 8);
    let other = office.line("bot:lead", Role::Director).caller;
    assert!(office.now(&other, send).is_ok(), "another has a share of its own");
    office.post.closing();
    assert_eq!(office.denied(), 9, "and a count at the end");
}

#[test]
fn who_is_revoked_is_hung_up_on() {
    let mut office = Office::open_doors();
    let mut opened = office.line("human:guest", Role::Observer);
    let mut waits = office.ask(&opened.caller, Call::Receive { wait_ms: 60_000 });
    office.post.revoked(&id("human:guest"));
    assert!(opened.hang_up.try_recv() == Err(oneshot::error::TryRecvError::Closed));
    assert!(matches!(waits.try_recv(), Err(oneshot::error::TryRecvError::Closed)));
    assert_eq!(reason(office.now(&opened.caller, Call::Me)), Reason::NotGranted);
}

#[test]
fn early_calls_wait_for_the_cell() {
    let mut office = Office::new();
    let worker = office.line("bot:worker", Role::Executor).caller;
    let mut answer = office.ask(&worker, Call::Me);
    assert!(answer.try_recv().is_err());
    office.post.open_doors();
    assert!(matches!(answer.try_recv(), Ok(Ok(Gift::Facts(facts))) if facts.identity == id("bot:worker")));
}

#[test]
fn a_host_says_nothing_that_it_was_not_asked() {
    let mut office = Office::open_doors();
    let clerk = "clerk".parse().expect("a name");
    assert!(office.post.over(0, &clerk, 1, &Outcome::Done).is_err(), "no event was given");
    assert_eq!(reason(office.clerk_asks(1, Call::Me)), Reason::WrongTime, "not in an event");
    let worker = office.line("bot:worker", Role::Executor).caller;
    office.send(&worker, "agent:clerk", "x");
    let (event, _) = office.given().expect("an event");
    assert!(office.post.over(1, &clerk, event, &Outcome::Done).is_err(), "another host");
    assert!(office.post.over(0, &clerk, event + 1, &Outcome::Done).is_err(), "another event");
    assert!(office.post.asked(1, &clerk, 2, Call::Me).is_err(), "another host");
    assert_eq!(reason(office.clerk_asks(2, Call::Acknowledge { id: MessageId::random() })), Reason::WrongTime);
    office.over(event, &Outcome::Done);
    assert!(office.post.over(0, &clerk, event, &Outcome::Done).is_err(), "twice");
}

/// One of each call, with what a hostile member would write in it.
fn one_of_each(hostile: &str) -> Vec<Call> {
    let message = MessageId::random();
    vec![
        Call::Me,
        Call::Members,
        Call::Send { to: id("human:boss"), text: words(hostile) },
        Call::Reply { text: words(hostile), to: Some(message.clone()) },
        Call::Receive { wait_ms: 0 },
        Call::Acknowledge { id: message.clone() },
        Call::Fail { id: message, why: hostile.to_owned(), park: true },
        Call::History { after: None, most: 1 },
        Call::Invite { guest: id("bot:other"), role: Role::Director },
        Call::Close,
        Call::Audit { most: 1 },
        Call::Beat,
        Call::Declare { path: hostile.to_owned(), name: hostile.to_owned() },
    ]
}

/// The place of a call above. A new one does not compile before it has a place, and is then asked for below.
const fn place(call: &Call) -> usize {
    match call {
        Call::Me => 0,
        Call::Members => 1,
        Call::Send { .. } => 2,
        Call::Reply { .. } => 3,
        Call::Receive { .. } => 4,
        Call::Acknowledge { .. } => 5,
        Call::Fail { .. } => 6,
        Call::History { .. } => 7,
        Call::Invite { .. } => 8,
        Call::Close => 9,
        Call::Audit { .. } => 10,
        Call::Beat => 11,
        Call::Declare { .. } => 12,
    }
}

#[test]
fn every_call_is_audited_where_it_is_denied() {
    let hostile = "x\n9  human:root  destroy  done\u{1b}[2J\u{202e}";
    let calls = one_of_each(hostile);
    assert_eq!(calls.iter().map(place).collect::<Vec<_>>(), (0..13).collect::<Vec<_>>());
    for call in calls {
        // Whoever is a member no more may call nothing; the allowed twin is every other test of this file.
        let mut office = Office::open_doors();
        let caller = office.line("human:guest", Role::Observer).caller;
        office.registry().revoke_member(&office.cell, &id("human:guest"), "human:boss").expect("revoked");
        office.post.revoked(&id("human:guest"));
        let before = office.denied();
        let (name, refusal) = (call.name(), office.now(&caller, call).expect_err("denied"));
        assert_eq!(office.denied(), before + 1, "{name}");
        let filter = AuditFilter { action: Some(Action::Denied), newest: Some(1), ..AuditFilter::default() };
        let row = office.registry().audit_rows(&filter).expect("rows").remove(0);
        assert_eq!((row.actor.as_str(), row.cell.as_ref()), ("human:guest", Some(&office.cell)), "{name}");
        assert!(row.detail.starts_with(name) && row.detail.contains("human:guest"), "{name}: {} of {refusal:?}", row.detail);
        assert!(!row.detail.chars().any(char::is_control), "{name}: {:?}", row.detail);
    }
}
