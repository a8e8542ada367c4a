//! The host: the jailed process in which the wasm agents of one cell run.
//!
//! ```text
//!  handoff (launches, compiled programs, socket)
//!    → load: map, link, open directories                        no guest code, no thread
//!    → confine                                                   the jail is closed from here on
//!    → report → instantiate → ready → enter, or live by events   each guest, all on one event loop
//!    → ended … ended → exit 0
//! ```
//!
//! A trap, a limit or a refusal ends one guest. The host ends when all have, or at once when the warden hangs up.

mod agent;
mod dirents;
mod ends;
mod guest;
#[cfg(test)]
mod imports_tests;
mod lane;
mod limiter;
mod listing;
mod load;
mod meter;
mod openings;
mod outbox;
#[cfg(test)]
mod outbox_tests;
mod p1;
mod places;
mod quota;
mod random;
mod run;
mod stdio;
mod strikes;
mod told;

use std::{
    collections::BTreeMap,
    io::{self, Write},
    os::fd::{AsFd, OwnedFd, RawFd},
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use rustix::net::RecvFlags;
use serde::{Deserialize, Serialize};
use tokio::{io::Interest, task::JoinSet};
use wasmtime::Engine;

use self::{
    agent::{Desk, Nonsense},
    load::{Linked, Loader},
    meter::Ticker,
    outbox::Outbox,
    told::Tell,
};
pub use self::{guest::most_resources, load::Loaded};
use super::{confine, text::one_line};
use crate::{
    backend::{
        Launch,
        handoff::{self, HandoffError},
        protocol::{self, End, FromChild, PACKET_MOST_BYTES, REPORT_PIECE_BYTES, Stream, ToChild},
    },
    cell::{AgentName, text::with_causes},
    jail::JailError,
    policy::Report,
};

/// Threads for file work, where guests share the host. A guest has at most a few calls under way; more would only be memory.
const FILE_THREADS: usize = 8;
/// Stack of such a thread: it makes one system call.
const FILE_THREAD_STACK_BYTES: usize = 256 * 1024;
/// How long an idle thread for file work is kept.
const FILE_THREAD_IDLE: Duration = Duration::from_secs(5);
/// Characters of what the host says of itself.
const WORDS_MOST: usize = 1000;
/// How long the host waits for a warden that does not read: before its guests run, and after they ended.
const FLUSH_MOST: Duration = Duration::from_secs(5);

/// What a host is handed, beside its socket.
#[derive(Debug, Serialize, Deserialize)]
pub struct HostSpec {
    /// The guests.
    pub launches: Vec<Launch>,
    /// The compiled programs: descriptors, each once.
    pub programs: Vec<RawFd>,
    /// Which of them each guest runs.
    pub program_of: Vec<usize>,
    /// Whether the work ends with the report: no guest is instantiated.
    pub rehearsal: bool,
}

/// Why a host does not serve. Goes to its stderr; the warden sees it end.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// Launches that do not say what they run, or more than the protocol can name.
    #[error("take over the agents: {launches} launches that run {programs} programs")]
    Count {
        /// Launches.
        launches: usize,
        /// Programs.
        programs: usize,
    },
    /// The handoff.
    #[error(transparent)]
    Handoff(#[from] HandoffError),
    /// The jail.
    #[error(transparent)]
    Confine(#[from] JailError),
    /// The event loop or its threads.
    #[error("start the event loop")]
    Loop(#[source] io::Error),
    /// Something that every guest was refused for, and told of.
    #[error("serve anybody: all were refused")]
    Told,
}

/// The hidden subcommand that runs [`main_host`].
pub const HOST_COMMAND: &str = "__host";

/// What runs in a host in place of its guests, in the closed jail and without wasm: the first wall is assumed fallen. Returns its last words.
pub type Fallen = Box<dyn FnOnce() -> String>;

/// Serves the guests until the last has ended. A guest that cannot be loaded is refused, and does not keep the others.
fn serve(spec: HostSpec, socket: OwnedFd, fallen: Option<Fallen>) -> Result<(), HostError> {
    let programs = spec.programs.iter().map(|number| handoff::take(*number)).collect::<Result<Vec<_>, _>>()?;
    let count = spec.launches.len();
    if count != spec.program_of.len() || count == 0 || u16::try_from(count).is_err() {
        return Err(HostError::Count { launches: count, programs: programs.len() });
    }
    confine::make_room();
    rustix::io::ioctl_fionbio(&socket, true).map_err(|error| HostError::Loop(error.into()))?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        // A guest that computes comes back every tick: look at the socket and the timers each time.
        .event_interval(1)
        .max_blocking_threads(FILE_THREADS)
        .thread_stack_size(FILE_THREAD_STACK_BYTES)
        .thread_keep_alive(FILE_THREAD_IDLE)
        .build()
        .map_err(HostError::Loop)?;
    let served = {
        let _entered = runtime.enter();
        let agents = spec.launches.iter().map(|launch| launch.agent.clone());
        let outbox = Arc::new(Outbox::new(socket, agents).map_err(HostError::Loop)?);
        let loader = Loader::new(programs, &spec.launches, &outbox);
        let (loaded, engines) = load_all(spec.launches, &spec.program_of, loader, &outbox);
        let told = !loaded.is_empty();
        match confine(loaded, &outbox) {
            Ok(_) if spec.rehearsal => {
                runtime.block_on(flush(&outbox));
                Ok(())
            }
            Ok(guests) => match fallen {
                None => runtime.block_on(live(guests, engines, outbox)),
                Some(fallen) => {
                    runtime.block_on(fall(&guests, fallen, &outbox));
                    Ok(())
                }
            },
            Err(error) => {
                runtime.block_on(flush(&outbox));
                // Whoever was refused was told why, and who reads that says it: not twice.
                Err(if told { HostError::Told } else { error })
            }
        }
    };
    // A thread that waits for a file must not keep the process.
    runtime.shutdown_background();
    served
}

/// Loads the guests; those that cannot be are refused, and do not keep the others.
fn load_all(launches: Vec<Launch>, program_of: &[usize], mut loader: Loader, outbox: &Outbox) -> (Vec<Loaded>, Vec<Engine>) {
    let mut guests = Vec::new();
    for (index, (launch, program)) in (0_u16..).zip(launches.into_iter().zip(program_of)) {
        let agent = launch.agent.clone();
        match loader.load(index, launch, *program) {
            Ok(loaded) => guests.push(loaded),
            Err(error) => outbox.say(index, &FromChild::Refused { agent, message: one_line(&error.to_string(), WORDS_MOST) }),
        }
    }
    (guests, loader.engines())
}

/// Closes the jail, and reports what holds; a jail that does not close refuses every guest.
fn confine(mut guests: Vec<Loaded>, outbox: &Outbox) -> Result<Vec<Loaded>, HostError> {
    let jail = confine::host(&guests, outbox.socket().as_fd()).inspect_err(|error| {
        for guest in &guests {
            let message = one_line(&with_causes(error), WORDS_MOST);
            outbox.say(guest.recipe.index, &FromChild::Refused { agent: guest.recipe.launch.agent.clone(), message });
        }
    })?;
    guests.retain_mut(|guest| is_held(guest, &jail, outbox));
    Ok(guests)
}

/// Reports what holds for one guest. Where something does not, and nobody accepted that, it is refused before any of its code runs.
fn is_held(guest: &mut Loaded, jail: &Report, outbox: &Outbox) -> bool {
    let (agent, index) = (guest.recipe.launch.agent.clone(), guest.recipe.index);
    let mut report = std::mem::take(&mut guest.report);
    report.append(confine::places(guest, jail));
    report.append(jail.clone());
    let refusal = report.refusal().filter(|_| !guest.recipe.launch.policy.accept_degraded);
    for report in report.pieces(REPORT_PIECE_BYTES) {
        outbox.say(index, &FromChild::Report { agent: agent.clone(), report });
    }
    match refusal {
        None => true,
        Some(why) => {
            outbox.say(index, &FromChild::Refused { agent, message: one_line(&why, WORDS_MOST) });
            false
        }
    }
}

/// Sends all that waits. A warden that does not read for so long has its own reasons, and will see the socket close in the end.
async fn flush(outbox: &Outbox) {
    let _ = tokio::time::timeout(FLUSH_MOST, outbox.flush()).await;
}

/// Runs the guests, each in its own task on this one thread.
async fn live(guests: Vec<Loaded>, engines: Vec<Engine>, outbox: Arc<Outbox>) -> Result<(), HostError> {
    // The warden knows what holds before anything runs.
    flush(&outbox).await;
    let ticker = Ticker::start(engines, Arc::clone(&outbox)).map_err(HostError::Loop)?;
    let ears: BTreeMap<_, _> = guests.iter().map(|guest| (guest.recipe.launch.agent.clone(), Ear::of(guest))).collect();
    let sending = tokio::spawn({
        let outbox = Arc::clone(&outbox);
        async move { outbox.drain().await }
    });
    let listening = tokio::spawn(listen(Arc::clone(&outbox), ears));
    let mut running = JoinSet::new();
    for guest in guests {
        let (index, agent) = (guest.recipe.index, guest.recipe.launch.agent.clone());
        let guard = LastWord { outbox: Arc::clone(&outbox), index, agent: Some(agent), desk: guest.recipe.member.desk.clone() };
        let (ticker, outbox) = (Arc::clone(&ticker), Arc::clone(&outbox));
        running.spawn(async move {
            match (&guest.program.linked, guest.recipe.member.desk.clone()) {
                (Linked::Agent(linked), Some(desk)) => agent::run(linked.clone(), guest, desk, ticker, outbox).await,
                (Linked::Agent(_) | Linked::Component(_) | Linked::Module(_), _) => run::run(guest, ticker, outbox).await,
            }
            guard.not_needed();
        });
    }
    while running.join_next().await.is_some() {}
    sending.abort();
    listening.abort();
    flush(&outbox).await;
    Ok(())
}

/// Runs what a drill put in the guests' place, and tells the warden of it as the first guest's output and end.
async fn fall(guests: &[Loaded], fallen: Fallen, outbox: &Outbox) {
    flush(outbox).await;
    let words = fallen();
    for guest in guests.iter().take(1) {
        let (index, agent) = (guest.recipe.index, guest.recipe.launch.agent.clone());
        outbox.output(index, Stream::Stdout, words.as_bytes());
        outbox.say(index, &FromChild::Ended { agent, end: End::Exited { code: 0 } });
    }
    flush(outbox).await;
}

/// Says that a guest ended, should its task end without having said so: by a panic in a host function.
struct LastWord {
    outbox: Arc<Outbox>,
    index: u16,
    agent: Option<AgentName>,
    desk: Option<Arc<Desk>>,
}

impl LastWord {
    fn not_needed(mut self) {
        self.agent = None;
    }
}

impl Drop for LastWord {
    fn drop(&mut self) {
        if let Some(agent) = self.agent.take() {
            if let Some(desk) = &self.desk {
                desk.end();
            }
            let end = End::Trapped { message: "a host function failed".into() };
            self.outbox.say(self.index, &FromChild::Ended { agent, end });
        }
    }
}

/// Where the warden's words for one guest go.
struct Ear {
    tell: Arc<Tell>,
    /// None of a program that does not live by events.
    desk: Option<Arc<Desk>>,
}

impl Ear {
    fn of(guest: &Loaded) -> Self {
        Self { tell: Arc::clone(&guest.tell), desk: guest.recipe.member.desk.clone() }
    }
}

/// Listens to the warden. When it hangs up, or says what is not of the protocol, nobody watches over the guests any more: the process ends.
async fn listen(outbox: Arc<Outbox>, ears: BTreeMap<AgentName, Ear>) {
    let mut packet = vec![0; PACKET_MOST_BYTES];
    loop {
        if outbox.socket().readable().await.is_err() {
            std::process::exit(1);
        }
        let receive = || rustix::net::recv(outbox.socket(), &mut packet[..], RecvFlags::DONTWAIT).map_err(io::Error::from);
        match outbox.socket().try_io(Interest::READABLE, receive) {
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
            // Nothing: the end of the conversation. Orderly, as far as this process is concerned.
            Ok((0, _)) => std::process::exit(0),
            Err(error) => std::process::exit(i32::from(error.kind() != io::ErrorKind::ConnectionReset)),
            Ok((count, _)) => {
                if protocol::to_child(&packet[..count]).map_err(|_| Nonsense).and_then(|word| hear(word, &ears)).is_err() {
                    std::process::exit(1);
                }
            }
        }
    }
}

/// Passes a word of the warden on.
fn hear(word: ToChild, ears: &BTreeMap<AgentName, Ear>) -> Result<(), Nonsense> {
    // Nobody is told of an event, or waits for an answer, but agents that became ready.
    let desk = |agent: &AgentName| ears.get(agent).and_then(|ear| ear.desk.as_deref()).ok_or(Nonsense);
    match word {
        ToChild::Close { agent: None, grace_ms } => ears.values().for_each(|ear| ear.tell.close(Duration::from_millis(grace_ms))),
        ToChild::Close { agent: Some(agent), grace_ms } => {
            if let Some(ear) = ears.get(&agent) {
                ear.tell.close(Duration::from_millis(grace_ms));
            }
        }
        ToChild::Event { agent, event, occasion } => desk(&agent)?.deliver(event, occasion)?,
        ToChild::Answer { agent, number, answer } => desk(&agent)?.answer(number, answer)?,
    }
    Ok(())
}

/// The hidden subcommand `__host --handoff N --socket M`: takes over what its parent handed to it, and serves.
pub fn main_host(handoff: RawFd, socket: RawFd) -> ExitCode {
    host(handoff, socket, None)
}

/// A host as [`main_host`] starts it, up to the moment at which guest code would run: its jail is closed then, and `fallen` runs in it.
///
/// For drills alone: what it shows is what somebody could do who has broken out of wasmtime.
pub fn main_fallen(handoff: RawFd, socket: RawFd, fallen: Fallen) -> ExitCode {
    host(handoff, socket, Some(fallen))
}

fn host(handoff: RawFd, socket: RawFd, fallen: Option<Fallen>) -> ExitCode {
    // Started through /proc/self/exe, it would be called "exe" by whoever lists processes.
    let _ = rustix::thread::set_name(c"lazarus-host");
    let served = handoff::receive(handoff).map_err(HostError::from).and_then(|spec| serve(spec, handoff::take(socket)?, fallen));
    let Err(error) = served else { return ExitCode::SUCCESS };
    if matches!(error, HostError::Told) {
        return ExitCode::FAILURE;
    }
    // Nobody is left to tell if this fails.
    let _ = writeln!(io::stderr(), "lazarus host: failed to {}", one_line(&with_causes(&error), WORDS_MOST));
    ExitCode::FAILURE
}
