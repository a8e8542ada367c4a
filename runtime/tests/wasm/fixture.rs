//! What the tests stand on: a cache, launches, and a host whose words are collected.

use std::{
    collections::{BTreeMap, VecDeque},
    io::Read,
    path::{Path, PathBuf},
    process::{Command, ExitCode, Output, Stdio as Streams},
    sync::OnceLock,
    time::{Duration, Instant},
};

use crate::event_wat::Agent;
use cap_std::{ambient_authority, fs::Dir};
use lazarus::{
    backend::{
        Launch, Program, Stdio,
        protocol::{self, End, FromChild, Occasion, Outcome, PACKET_MOST_BYTES, Packet, Stream, ToChild},
        spawned::Spawned,
        wasm::{self, Cached},
    },
    cell::{AgentName, Role},
    mail::{Call, Gift, Message, MessageId, Refusal, Text},
    policy::{LimitName, Limits, Policy, Report},
};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    net::{RecvFlags, SendFlags},
};
use tempfile::TempDir;

/// Nothing in these tests takes longer, also on a busy machine.
pub const LONG: Duration = Duration::from_secs(60);

/// The cache of this process, and its path.
pub fn cache() -> &'static (TempDir, Dir) {
    static CACHE: OnceLock<(TempDir, Dir)> = OnceLock::new();
    CACHE.get_or_init(new_cache)
}

/// A cache of its own.
pub fn new_cache() -> (TempDir, Dir) {
    let place = tempfile::tempdir().unwrap();
    let dir = Dir::open_ambient_dir(place.path(), ambient_authority()).unwrap();
    (place, dir)
}

/// Compiles a source, or says why not.
pub fn compile(source: &[u8]) -> Result<Cached, String> {
    wasm::ensure_bytes(&cache().1, source).map_err(|error| {
        let mut text = error.to_string();
        let mut cause = std::error::Error::source(&error);
        while let Some(error) = cause {
            text = format!("{text}: {error}");
            cause = error.source();
        }
        text
    })
}

/// A launch of this program, without home and with nothing granted.
pub fn launch(name: &str, source: &str) -> Launch {
    launch_binary(name, source.as_bytes())
}

/// As [`launch`], for an agent that lives by events.
pub fn launch_agent(name: &str, agent: Agent<'_>) -> Launch {
    launch_binary(name, &agent.component())
}

/// As [`launch`], for a component as bytes.
pub fn launch_binary(name: &str, source: &[u8]) -> Launch {
    let shown = || String::from_utf8_lossy(source).chars().take(300).collect::<String>();
    let cached = compile(source).unwrap_or_else(|error| panic!("{error}\n{}", shown()));
    let place = cache().0.path().join(cached.file_name());
    Launch {
        agent: name.parse().unwrap(),
        role: Role::Executor,
        program: Program::Compiled { cached: place, form: cached.form, args: vec![name.to_owned()] },
        policy: Policy::default(),
        home: None,
        shared: None,
        env: Vec::new(),
        stdio: Stdio::Captured,
        tick: None,
        again: false,
    }
}

/// The launch, with other limits.
pub fn limited(mut launch: Launch, change: impl FnOnce(&mut Limits)) -> Launch {
    change(&mut launch.policy.limits);
    launch
}

/// The launch, with a home.
pub fn at_home(mut launch: Launch, home: &Path) -> Launch {
    launch.home = Some(home.to_owned());
    launch
}

/// What was heard of one guest.
#[derive(Debug, Default)]
pub struct Heard {
    pub report: Option<Report>,
    pub ready: bool,
    pub refused: Option<String>,
    pub ended: Option<(End, Duration)>,
    pub stdout: Vec<u8>,
    pub stderr: Vec<u8>,
    pub dropped: u64,
    /// Writes of which something was dropped.
    pub dropped_writes: u64,
    /// Limits that it ran into, and how often.
    pub struck: BTreeMap<LimitName, u64>,
    /// Calls that were not answered yet.
    pub calls: VecDeque<(u64, Call)>,
    /// Events that are over.
    pub over: Vec<(u64, Outcome)>,
    /// How often its memory was dropped.
    pub idle: usize,
}

/// A host, and what was heard from it.
pub struct Host {
    pub spawned: Spawned,
    pub heard: BTreeMap<String, Heard>,
    started: Instant,
    hung_up: bool,
}

impl Host {
    pub fn start(launches: &[Launch]) -> Self {
        let started = Instant::now();
        let spawned = wasm::spawn(launches, &cache().1).unwrap();
        let heard = launches.iter().map(|launch| (launch.agent.to_string(), Heard::default())).collect();
        Self { spawned, heard, started, hung_up: false }
    }

    /// Listens until `enough` was heard, or the host hung up.
    pub fn listen(&mut self, enough: impl Fn(&BTreeMap<String, Heard>) -> bool) {
        let deadline = Instant::now() + LONG;
        while !self.hung_up && !enough(&self.heard) {
            assert!(Instant::now() < deadline, "the host says nothing more: {:?}", self.heard);
            self.hear(Duration::from_millis(100));
        }
    }

    /// Takes one packet, if one comes in time.
    pub fn hear(&mut self, most: Duration) {
        let timeout = Timespec { tv_sec: 0, tv_nsec: i64::from(most.subsec_nanos()) };
        let socket = &self.spawned.socket;
        if poll(&mut [PollFd::new(socket, PollFlags::IN)], Some(&timeout)).unwrap() == 0 {
            return;
        }
        let mut packet = vec![0; PACKET_MOST_BYTES + 1];
        let count = rustix::net::recv(socket, &mut packet[..], RecvFlags::empty()).map_or(0, |(count, _)| count);
        if count == 0 {
            self.hung_up = true;
            return;
        }
        let names: Vec<_> = self.spawned.agents.iter().map(ToString::to_string).collect();
        match protocol::from_child(&packet[..count]).unwrap() {
            Packet::Output { guest, stream, bytes } => {
                let heard = self.heard.get_mut(&names[usize::from(guest)]).unwrap();
                match stream {
                    Stream::Stdout => heard.stdout.extend_from_slice(bytes),
                    Stream::Stderr => heard.stderr.extend_from_slice(bytes),
                }
            }
            Packet::Control(word) => self.take(word),
        }
    }

    fn take(&mut self, word: FromChild) {
        let heard = &mut self.heard;
        match word {
            FromChild::Report { agent, report } => of(heard, &agent).report = Some(report),
            FromChild::Ready { agent } => of(heard, &agent).ready = true,
            FromChild::Refused { agent, message } => of(heard, &agent).refused = Some(message),
            FromChild::Ended { agent, end } => of(heard, &agent).ended = Some((end, self.started.elapsed())),
            FromChild::Dropped { agent, bytes, writes } => {
                let heard = of(heard, &agent);
                (heard.dropped, heard.dropped_writes) = (heard.dropped + bytes, heard.dropped_writes + writes);
            }
            FromChild::Limit { agent, limit, count } => *of(heard, &agent).struck.entry(limit).or_default() += count,
            FromChild::Call { agent, number, call } => of(heard, &agent).calls.push_back((number, call)),
            FromChild::EventOver { agent, event, outcome } => of(heard, &agent).over.push((event, outcome)),
            FromChild::Idle { agent } => of(heard, &agent).idle += 1,
        }
    }

    /// Listens until this guest is ready.
    pub fn until_ready(&mut self, agent: &str) {
        self.listen(|heard| heard[agent].ready);
        assert!(self.heard[agent].ready, "{:?}", self.heard);
    }

    /// What an agent logged.
    pub fn log(&self, agent: &str) -> String {
        String::from_utf8(self.heard[agent].stderr.clone()).unwrap()
    }

    /// Waits for the host to end with a failure, as it does when the warden breaks the protocol.
    pub fn breaks(mut self) {
        let status = self.spawned.reap(LONG).unwrap().expect("it ends");
        assert!(!status.success(), "{status}");
    }

    /// Tells one guest, or all, to close.
    pub fn close(&self, agent: Option<&str>, grace: Duration) {
        let grace_ms = u64::try_from(grace.as_millis()).unwrap();
        self.say(&ToChild::Close { agent: agent.map(|name| name.parse().unwrap()), grace_ms });
    }

    /// Says something to the host.
    pub fn say(&self, word: &ToChild) {
        rustix::net::send(&self.spawned.socket, &protocol::control(word).unwrap(), SendFlags::empty()).unwrap();
    }

    /// Tells an agent of an event.
    pub fn event(&self, agent: &str, event: u64, occasion: Occasion) {
        self.say(&ToChild::Event { agent: agent.parse().unwrap(), event, occasion });
    }

    /// Tells an agent of a message of this text, and listens until that event is over.
    pub fn tell(&mut self, agent: &str, event: u64, text: &str) -> Outcome {
        self.event(agent, event, message(text));
        self.until_over(agent, event)
    }

    /// Listens until an event is over.
    pub fn until_over(&mut self, agent: &str, event: u64) -> Outcome {
        self.listen(|heard| heard[agent].over.iter().any(|(over, _)| *over == event));
        let over = self.heard[agent].over.iter().find(|(over, _)| *over == event);
        over.unwrap_or_else(|| panic!("event {event} is not over: {:?}", self.heard)).1.clone()
    }

    /// Listens until an agent asks something.
    pub fn asked(&mut self, agent: &str) -> (u64, Call) {
        self.listen(|heard| !heard[agent].calls.is_empty());
        self.heard.get_mut(agent).unwrap().calls.pop_front().unwrap_or_else(|| panic!("no call: {:?}", self.heard))
    }

    /// Answers a call.
    pub fn answer(&self, agent: &str, number: u64, answer: Result<Gift, Refusal>) {
        self.say(&ToChild::Answer { agent: agent.parse().unwrap(), number, answer });
    }

    /// Listens until all guests ended or were refused; the host must then end by itself, with 0, and without words of its own.
    pub fn finish(mut self) -> BTreeMap<String, Heard> {
        self.listen(|_| false);
        let status = self.spawned.reap(LONG).unwrap().expect("the host ends by itself");
        let mut words = String::new();
        if let Some(stderr) = self.spawned.stderr.take() {
            std::fs::File::from(stderr).read_to_string(&mut words).unwrap();
        }
        assert!(status.success() && words.is_empty(), "{status}: {words}");
        for (name, heard) in &self.heard {
            assert!(heard.refused.is_some() ^ heard.ended.is_some(), "{name}: {heard:?}");
            assert!(heard.refused.is_some() || (heard.ready && heard.report.is_some()), "{name}: {heard:?}");
        }
        self.heard
    }
}

fn of<'a>(heard: &'a mut BTreeMap<String, Heard>, agent: &AgentName) -> &'a mut Heard {
    heard.get_mut(agent.as_str()).unwrap()
}

/// Runs one guest to its end.
pub fn run(launch: Launch) -> Heard {
    Host::start(&[launch]).finish().into_values().next().unwrap()
}

/// Runs one guest to its end, which it must have come to.
pub fn end(launch: Launch) -> End {
    let heard = run(launch);
    heard.ended.unwrap_or_else(|| panic!("refused: {:?}", heard.refused)).0
}

/// Runs one guest, which must be refused.
pub fn refusal(launch: Launch) -> String {
    run(launch).refused.expect("a refusal")
}

/// A message of this text.
pub fn message(text: &str) -> Occasion {
    Occasion::Message(Message {
        id: MessageId::random(),
        sender: "human:alice".parse().unwrap(),
        receiver: "agent:scribe".parse().unwrap(),
        text: Text::new(text.to_owned()).unwrap(),
        in_reply_to: None,
        sent_at: chrono::DateTime::UNIX_EPOCH,
        attempt: 1,
    })
}

/// The end that a finished run heard of.
pub fn ended(heard: &BTreeMap<String, Heard>, agent: &str) -> End {
    heard[agent].ended.as_ref().unwrap_or_else(|| panic!("{agent} was refused: {:?}", heard[agent].refused)).0.clone()
}

/// Asserts that an event was lost at this limit.
pub fn assert_lost(outcome: &Outcome, expected: &str) {
    assert!(matches!(outcome, Outcome::Lost { end: End::Limit { limit, .. } } if limit == expected), "{outcome:?}");
}

/// Asserts that the end is of this limit.
pub fn assert_limit(end: &End, expected: &str) {
    assert!(matches!(end, End::Limit { limit, .. } if limit == expected), "{end:?}");
}

/// Runs a program with inherited streams, in a process of its own: this program, as `inherited FILE`.
pub fn run_inherited(source: &str, stdin: Streams) -> (Output, String) {
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("guest.wat");
    std::fs::write(&file, source).unwrap();
    let said = place.path().join("end");
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.arg("inherited").arg(&file).arg(&said).stdin(stdin).stdout(Streams::piped()).stderr(Streams::piped());
    let output = command.spawn().unwrap().wait_with_output().unwrap();
    (output, std::fs::read_to_string(said).unwrap_or_default())
}

/// The other side of [`run_inherited`]: a caller whose streams the guest gets.
pub fn inherited(file: &str, rest: &[&str]) -> ExitCode {
    let mut launch = launch("inherited", &std::fs::read_to_string(file).unwrap());
    launch.stdio = Stdio::Inherited;
    let heard = run(launch);
    std::fs::write(PathBuf::from(rest[0]), format!("{:?}", heard.ended.map(|(end, _)| end))).unwrap();
    ExitCode::SUCCESS
}
