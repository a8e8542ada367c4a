//! A cell's life with nothing behind it, driven packet by packet: what a hostile child can do to it, fuzz targets and tests try out.
//!
//! It is the life that a warden lives: the same packets are taken apart by the same code, and [`Life`] decides. Only the processes are
//! stand-ins: they ended before the life began, so that there is no agent to harm, and they are used again for the next life.

use std::{cell::RefCell, io, process::Command, time::Duration};

use super::{
    child::{AgentRun, Child, Stage},
    control::parse_ask,
    held::Held,
    life::{Life, News, Step},
    spec::Answer,
    watch::{Event, take_apart},
};
use crate::{
    backend::{
        nursery::Nursery,
        packets,
        protocol::End,
        spawned::{Containment, Spawned},
    },
    cell::{AgentName, BackendKind},
    policy::{Asked, Policy},
};

pub use super::logs::{Log, Stream};

/// No stand-in is waited for so long: it ended at once.
const ENDED_WITHIN: Duration = Duration::from_secs(10);
/// Long enough that no such life is over time.
const READY_WITHIN: Duration = Duration::from_secs(3600);

thread_local! {
    static STAND_INS: RefCell<Vec<Spawned>> = const { RefCell::new(Vec::new()) };
}

/// One agent of a life by hand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// Its name.
    pub agent: AgentName,
    /// Whether it lives by events.
    pub by_events: bool,
}

/// Where a run stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standing {
    /// It is not ready yet.
    Starting,
    /// It is ready.
    Running,
    /// Its host died, and it will be started again.
    Paused,
    /// It is over.
    Over,
}

/// A run, as it can be compared with what it was before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// The child.
    pub child: usize,
    /// The agent.
    pub agent: AgentName,
    /// Where it stands.
    pub standing: Standing,
    /// How it ended.
    pub end: Option<End>,
    /// The end that the warden decided.
    pub decided: Option<End>,
    /// Why it refused to start.
    pub refusal: Option<String>,
}

/// What follows from something that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// Nothing.
    Wait,
    /// The cell became active.
    Activated,
    /// It did not, and why.
    NotReady(String),
    /// It is being closed.
    Closing,
    /// One agent's end is recorded.
    Recorded(AgentName),
    /// The agent of an invited child became a member.
    Joined(usize),
    /// The agent of an invited child did not.
    NotJoined(usize),
    /// A request was answered.
    Answered(Answer),
    /// Something that this life by hand leaves to others.
    Other,
    /// Nothing lives any more.
    Over,
}

/// A word of a child to the post office: from which child, and about which agent.
pub type Said = (Option<usize>, Option<AgentName>);

/// A life without processes.
pub struct ByHand {
    life: Life,
}

impl ByHand {
    /// A life whose children were just started; each has the agents of one list, which is not empty.
    ///
    /// # Errors
    /// No process can be started to stand in.
    pub fn new(children: &[Vec<Part>]) -> io::Result<Self> {
        let children = children.iter().map(|parts| stand_in(parts, true)).collect::<io::Result<Vec<_>>>()?;
        Ok(Self { life: Life::new(children, READY_WITHIN) })
    }

    /// A child sent these bytes.
    pub fn packet(&mut self, child: usize, bytes: &[u8]) -> Next {
        self.happens(take_apart(child, Some(bytes)))
    }

    /// A child's process ended.
    pub fn exited(&mut self, child: usize) -> Next {
        self.happens(Event::Exited(child))
    }

    /// Somebody was invited: a child with this agent was started. Returns which.
    ///
    /// # Errors
    /// No process can be started to stand in.
    pub fn invited(&mut self, part: Part) -> io::Result<usize> {
        let child = stand_in(&[part], false)?;
        Ok(self.life.joining(child, READY_WITHIN))
    }

    /// The warden was told to end.
    pub fn signal(&mut self) -> Next {
        self.happens(Event::Signal)
    }

    /// Somebody wrote a line to the control socket.
    pub fn asked(&mut self, line: &[u8]) -> Next {
        let ask = match parse_ask(line) {
            Ok(ask) => ask,
            Err(message) => return Next::Answered(Answer::Refused { message }),
        };
        let (answers, mut answered) = tokio::sync::mpsc::unbounded_channel();
        let next = self.happens(Event::Request(super::control::Request { ask, answers }));
        answered.try_recv().map_or(next, Next::Answered)
    }

    fn happens(&mut self, event: Event) -> Next {
        let step = self.life.take(event);
        self.follows(step)
    }

    fn follows(&mut self, step: Step) -> Next {
        match step {
            Step::Wait => Next::Wait,
            Step::Activate => match self.life.activated(None, None) {
                Step::Over => Next::Over,
                _ => Next::Activated,
            },
            Step::NotReady(why) => Next::NotReady(why),
            Step::Close { grace, .. } => match self.life.closing(grace) {
                Step::Over => Next::Over,
                _ => Next::Closing,
            },
            Step::Record(agent, _) => Next::Recorded(agent),
            Step::Over => Next::Over,
            Step::Joined(child) => {
                if let Some(child) = self.life.children.get_mut(child) {
                    child.joined = true;
                }
                Next::Joined(child)
            }
            Step::NotJoined(child, _) => Next::NotJoined(child),
            Step::Start(..) | Step::Again(_) | Step::Asked(..) | Step::Line(_) | Step::Errand(_) | Step::Room(_) => Next::Other,
        }
    }

    /// Every run, in the order of the children.
    pub fn runs(&self) -> Vec<Seen> {
        let seen = |(child, of): (usize, &Child)| of.runs.iter().map(|run| seen(child, run)).collect::<Vec<_>>();
        self.life.children.iter().enumerate().flat_map(seen).collect()
    }

    /// Takes what the post office has not heard yet.
    pub fn news(&mut self) -> Vec<Said> {
        let said = |news: News| match news {
            News::Ready(agent) | News::Over(agent) | News::Struck(agent, ..) => (None, Some(agent)),
            News::Said(child, said) => (Some(child), Some(said.agent().clone())),
            News::HostEnded(child, _) => (Some(child), None),
        };
        self.life.news.drain(..).map(said).collect()
    }

    /// Whether a child's process is known to be gone.
    pub fn is_gone(&self, child: usize) -> bool {
        self.life.children.get(child).is_none_or(|child| child.gone)
    }
}

impl Drop for ByHand {
    fn drop(&mut self) {
        let used = self.life.children.drain(..).map(|child| child.spawned);
        STAND_INS.with_borrow_mut(|idle| idle.extend(used));
    }
}

fn seen(child: usize, run: &AgentRun) -> Seen {
    let (standing, end) = match &run.stage {
        Stage::Starting => (Standing::Starting, None),
        Stage::Running => (Standing::Running, None),
        Stage::Paused => (Standing::Paused, None),
        Stage::Over(end) => (Standing::Over, Some(end.clone())),
    };
    Seen { child, agent: run.agent.clone(), standing, end, decided: run.decided.clone(), refusal: run.refusal.clone() }
}

fn stand_in(parts: &[Part], joined: bool) -> io::Result<Child> {
    let spawned = match STAND_INS.with_borrow_mut(Vec::pop) {
        Some(idle) => idle,
        None => ended()?,
    };
    // Nothing is enforced here, and nothing reported: that is accepted, so that it lives.
    let policy = Policy { accept_degraded: true, ..Policy::default() };
    let run = |part: &Part| AgentRun {
        agent: part.agent.clone(),
        stage: Stage::Starting,
        by_events: part.by_events,
        program: String::new(),
        held: nothing_asked(&policy),
        policy: policy.clone(),
        log: None,
        home: None,
        decided: None,
        refusal: None,
    };
    Ok(Child::new(spawned, parts.iter().map(run).collect(), joined))
}

fn nothing_asked(policy: &Policy) -> Held {
    Held::new(&Asked { policy, backend: BackendKind::Wasm, by_events: false, home: false, shared: None, speaks: false, captured: false })
}

/// A process that has ended: signals to it lead nowhere.
fn ended() -> io::Result<Spawned> {
    let (nursery, child) = Nursery::raise(|| Command::new("true").spawn())?;
    let (ours, _theirs) = packets::pair()?;
    let mut spawned = Spawned::adopt(child, nursery, Containment::Alone, Vec::new(), ours)?;
    spawned.reap(ENDED_WITHIN)?;
    Ok(spawned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::protocol::{FromChild, control};

    fn part(agent: &str) -> Part {
        Part { agent: agent.parse().expect("a name"), by_events: false }
    }

    fn says(word: &FromChild) -> Vec<u8> {
        control(word).expect("a packet")
    }

    fn ready(agent: &str) -> Vec<u8> {
        says(&FromChild::Ready { agent: agent.parse().expect("a name") })
    }

    fn refused(agent: &str) -> Vec<u8> {
        says(&FromChild::Refused { agent: agent.parse().expect("a name"), message: "no".into() })
    }

    fn report(agent: &str) -> Vec<u8> {
        says(&FromChild::Report { agent: agent.parse().expect("a name"), report: crate::policy::Report::default() })
    }

    /// A life with an invited agent, `b`, beside one that is a member: the invited one's child.
    fn with_guest() -> (ByHand, usize) {
        let mut life = ByHand::new(&[vec![part("a")]]).expect("a stand-in");
        assert_eq!(life.packet(0, &ready("a")), Next::Activated);
        let guest = life.invited(part("b")).expect("a stand-in");
        (life, guest)
    }

    #[test]
    fn an_invited_agent_that_refused_is_not_let_in_by_a_later_word() {
        let (mut life, guest) = with_guest();
        assert_eq!(life.packet(guest, &ready("b")), Next::Joined(guest), "the twin that says it once");

        let (mut life, guest) = with_guest();
        assert_eq!(life.packet(guest, &refused("b")), Next::Wait);
        assert_eq!(life.packet(guest, &ready("b")), Next::Wait);
        assert_eq!(life.exited(guest), Next::NotJoined(guest));
    }

    #[test]
    fn nothing_that_a_child_says_after_nonsense_counts() {
        let (mut life, guest) = with_guest();
        assert_eq!(life.packet(guest, &ready("a")), Next::Wait, "another child's agent");
        assert_eq!(life.packet(guest, &ready("b")), Next::Wait);
        assert_eq!(life.exited(guest), Next::NotJoined(guest));
    }

    #[test]
    fn what_is_enforced_is_said_before_the_agent_runs_or_not_at_all() {
        let decided = |life: &ByHand| life.runs()[0].decided.clone();
        let mut life = ByHand::new(&[vec![part("a")]]).expect("a stand-in");
        assert_eq!(life.packet(0, &report("a")), Next::Wait);
        assert_eq!(life.packet(0, &ready("a")), Next::Activated);
        assert_eq!(decided(&life), None);
        assert_eq!(life.packet(0, &report("a")), Next::Wait);
        assert!(matches!(decided(&life), Some(End::Limit { limit, .. }) if limit == "protocol"));
    }
}
