//! The jailed side: confines itself, starts the agent, stays until it has ended.

use std::{
    io,
    os::fd::{OwnedFd, RawFd},
    process::ExitCode,
    sync::Arc,
    thread,
    time::Duration,
};

use rustix::{
    io::Errno,
    process::{DumpableBehavior, Pid, Signal, WaitOptions, WaitStatus, getpid, set_child_subreaper, set_dumpable_behavior, wait},
    stdio::{dup2_stderr, dup2_stdin, dup2_stdout},
    thread::set_name,
};

use super::{
    connect,
    spec::{Held, Linked, Place, Spec, Use, View},
    start::{self, StartError},
};
use crate::{
    backend::{
        handoff::{self, HandoffError},
        packets::{Received, Waiting, receive_message, send_message},
        protocol::{End, FromChild, REPORT_PIECE_BYTES, ToChild},
        spawned::kill_own,
    },
    jail::{
        Bind, BindKind, FileRule, Jail, JailError, JailLimits, Link, NewRoot, Profile, Reach, hold_connects, liveness::PidFd,
        refuse_connects,
    },
    policy::{Access, Address, Enforcer, Granted, LimitName, Limits, Report, Subject, Wall},
};

/// What the reaper exits with when it could not do its work; an agent's own end is told over the socket instead.
const FAILED: u8 = 125;
/// What is promised of an agent that takes part in its cell's talk.
const SPEAKS: &str = "connects to its cell, as itself and as nobody else";
/// What holds the calls of `connect(2)`, or refuses them, is one filter.
const ONE_FILTER: Option<u64> = Some(1);
/// How long descendants have to end after they were killed.
const KILL_WAIT: Duration = Duration::from_secs(10);

/// Why an agent was refused, in the jail. Told to the warden as one line.
#[derive(Debug, thiserror::Error)]
enum ReaperError {
    #[error(transparent)]
    Handoff(#[from] HandoffError),
    #[error("join a control group")]
    ControlGroup(#[source] io::Error),
    #[error("{step}")]
    Step {
        step: &'static str,
        #[source]
        source: io::Error,
    },
    #[error(transparent)]
    Jail(#[from] JailError),
    #[error(transparent)]
    Start(#[from] StartError),
    #[error("{0}")]
    NotHeld(String),
}

fn step<E: Into<io::Error>>(step: &'static str) -> impl FnOnce(E) -> ReaperError {
    move |source| ReaperError::Step { step, source: source.into() }
}

/// An error and its causes, in one line.
fn one_line(error: &dyn std::error::Error) -> String {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        line.push_str(": ");
        line.push_str(&error.to_string());
        cause = error.source();
    }
    line
}

/// Runs the reaper: what `lazarus __jail --handoff N --socket M` does.
///
/// To be called first thing in a fresh process: it confines the only thread.
pub fn main_jail(handoff: RawFd, socket: RawFd) -> ExitCode {
    let (socket, spec) = match take_over(handoff, socket) {
        Ok(taken) => taken,
        Err(error) => {
            // Without a socket there is no other way to say it: somebody ran the hidden command by hand.
            eprintln!("lazarus: failed to {}", one_line(&error));
            return ExitCode::from(FAILED);
        }
    };
    let agent = spec.agent.clone();
    let own_namespace = matches!(spec.view, View::Own { .. });
    let main = match bring_up(spec, &socket) {
        Ok(Some(main)) => main,
        Ok(None) => return ExitCode::SUCCESS,
        Err(error) => {
            tell(&socket, &FromChild::Refused { agent, message: one_line(&error) });
            return ExitCode::from(FAILED);
        }
    };
    let socket = Arc::new(socket);
    tell(&socket, &FromChild::Ready { agent: agent.clone() });
    let listener = Arc::clone(&socket);
    // It fails where the agent has used up its processes already. It can then not be told to close: the warden ends it instead.
    let _ = thread::Builder::new().spawn(move || listen(&listener, &main.handle, own_namespace));
    let end = reap_until(main.pid);
    if !own_namespace {
        end_descendants();
    }
    tell(&socket, &FromChild::Ended { agent, end });
    ExitCode::SUCCESS
}

/// Says something to the warden. One that does not listen any more is gone, and takes this process with it.
fn tell(socket: &OwnedFd, message: &FromChild) {
    let _ = send_message(socket, message, Waiting::Block);
}

fn take_over(handoff: RawFd, socket: RawFd) -> Result<(OwnedFd, Spec), ReaperError> {
    // Nobody of the same user may look into this process from now on.
    set_name(c"lazarus").map_err(step("name the process"))?;
    set_dumpable_behavior(DumpableBehavior::NotDumpable).map_err(step("hide the process's memory"))?;
    let socket = handoff::take(socket)?;
    Ok((socket, handoff::receive(handoff)?))
}

/// The agent's main process.
struct MainProcess {
    pid: Pid,
    handle: PidFd,
}

/// Confines this process, says what came of it, and starts the agent; `None` where that was only rehearsed.
fn bring_up(spec: Spec, socket: &OwnedFd) -> Result<Option<MainProcess>, ReaperError> {
    let mut report = Report::new();
    join_control_groups(&spec, &mut report)?;
    let hatch = spec.hatch.map(handoff::take).transpose()?;
    let mut jail = Jail::new(Profile::Process)
        .limits(limits(&spec.limits, spec.held, spec.processes_of_others))
        .accept_degraded(spec.accept_degraded)
        .tied_to(socket)
        .map_err(step("watch the message socket"))?;
    if hatch.is_some() {
        jail = jail.speaks();
    }
    let places = spec.places;
    let mut inner = None;
    let mut linked = Vec::new();
    match spec.view {
        View::Own { links, texts } => {
            let binds = places.into_iter().map(bind).collect::<Result<_, _>>()?;
            let links = links.into_iter().map(|Linked { path, text, granted }| Link { path, text, granted }).collect();
            jail = jail.root(NewRoot { binds, links, texts });
        }
        View::Shared { because, links } => {
            let mut files = Vec::new();
            for place in places {
                let bound = bind(place)?;
                let (subject, reach) = (bound.subject(), reach(bound.kind));
                let again = bound.source.try_clone().map_err(step("pass on what was granted"))?;
                files.push(FileRule { place: again, reach, subject: None });
                jail = jail.grant(bound.source, reach, subject);
            }
            linked = links;
            inner = Some(files);
            // For this process alone, to find what descends from it; the agent is one layer further in, without it.
            let proc = std::fs::File::open("/proc").map_err(step("open /proc"))?;
            jail = jail.allow(proc.into(), Reach::Read).ends_itself();
            set_child_subreaper(Some(getpid())).map_err(step("adopt what the agent leaves behind"))?;
            describe_shared(&because, &mut report);
        }
    }
    report.append(jail.apply()?);
    describe_links(&linked, &mut report);
    if let Some(hatch) = hatch {
        lead_connections(hatch, &mut report)?;
    }
    let prepared = start::prepare(&spec.argv, spec.env, spec.home.as_deref());
    if let Ok(prepared) = &prepared {
        prepared.describe(&mut report);
    }
    let refusal = report.refusal().filter(|_| !spec.accept_degraded);
    for report in report.pieces(REPORT_PIECE_BYTES) {
        tell(socket, &FromChild::Report { agent: spec.agent.clone(), report });
    }
    // Before any code of the agent runs.
    if let Some(why) = refusal {
        return Err(ReaperError::NotHeld(why));
    }
    let prepared = prepared?;
    if spec.rehearsal {
        return Ok(None);
    }
    let started = prepared.start(inner)?;
    let null = std::fs::File::options().read(true).write(true).open("/dev/null").map_err(step("open /dev/null"))?;
    // The agent's streams are the agent's alone: whoever reads them sees them end when it closes them.
    dup2_stdin(&null).and_then(|()| dup2_stdout(&null)).and_then(|()| dup2_stderr(&null)).map_err(step("let go of the streams"))?;
    Ok(Some(MainProcess { pid: started.pid, handle: started.handle }))
}

/// Decides, from now on, about every connection of the agent that is started later. Where the machine does not give that, nothing
/// else would keep them in the cell: they are all refused then.
fn lead_connections(hatch: OwnedFd, report: &mut Report) -> Result<(), ReaperError> {
    let held = connect::is_possible().and_then(|()| hold_connects());
    let listener = match held {
        Ok(listener) => listener,
        Err(error) => {
            refuse_connects()?;
            let because = format!("this machine lets nobody decide where it connects to ({error})");
            report.partial(Enforcer::Seccomp, Address::Cell, SPEAKS, because).set = ONE_FILTER;
            return Ok(());
        }
    };
    let lead = move || connect::lead(&listener, &hatch);
    thread::Builder::new().spawn(lead).map_err(step("start the thread that leads the agent's connections"))?;
    report.full(Enforcer::Seccomp, Address::Cell, SPEAKS).set = ONE_FILTER;
    Ok(())
}

fn bind(place: Place) -> Result<Bind, HandoffError> {
    let kind = match place.usage {
        Use::Read => BindKind::ReadOnly,
        Use::Write => BindKind::Writable,
        Use::Device => BindKind::Device,
    };
    Ok(Bind { source: handoff::take(place.descriptor)?, target: place.target, kind, granted: place.granted })
}

const fn reach(kind: BindKind) -> Reach {
    match kind {
        BindKind::ReadOnly => Reach::Execute,
        BindKind::Writable => Reach::WriteExecute,
        BindKind::Device => Reach::Device,
    }
}

fn limits(limits: &Limits, held: Held, of_others: u64) -> JailLimits {
    JailLimits {
        open_files: Some(u64::from(limits.open_files.get())),
        cpu: Some(limits.cpu),
        file_size: Some(limits.home.bytes()),
        processes: (!held.processes).then(|| u64::from(limits.processes.get())),
        processes_of_others: of_others,
        data: (!held.memory).then(|| limits.memory.bytes()),
    }
}

fn join_control_groups(spec: &Spec, report: &mut Report) -> Result<(), ReaperError> {
    for door in &spec.control_groups {
        let door = std::fs::File::from(handoff::take(*door)?);
        // Zero stands for whoever writes it.
        io::Write::write_all(&mut &door, b"0").map_err(ReaperError::ControlGroup)?;
    }
    if spec.held.memory {
        let most = spec.limits.memory;
        report.full(Enforcer::Cgroup, Subject::limit(LimitName::Memory, most), format!("uses at most {most} of memory"));
    }
    if spec.held.processes {
        let most = spec.limits.processes;
        report.full(Enforcer::Cgroup, Subject::limit(LimitName::Processes, most), format!("runs at most {most} processes and threads"));
    }
    Ok(())
}

fn describe_shared(because: &str, report: &mut Report) {
    let names = format!("names and sizes of other files can be looked up: there is no mount namespace ({because})");
    report.partial(Enforcer::Landlock, Wall::Files, "sees no file but those that it was granted", names);
    let not_there = format!("it is not there: there is no mount namespace ({because}); TMPDIR leads into its home");
    report.partial(Enforcer::Landlock, Subject::path("/tmp", Access::Rw, Granted::Scratch), "has a /tmp of its own", not_there);
    let reaped = format!("a process that outruns its killers for ten seconds could stay: there is no pid namespace ({because})");
    report.partial(Enforcer::Kernel, Wall::Teardown, "leaves no process behind", reaped);
}

/// Links of the machine that were granted: Landlock looks at where they lead, which is among what was granted, too.
fn describe_links(links: &[Linked], report: &mut Report) {
    for link in links {
        let promise = format!("{} leads to {}", link.path.display(), link.text.display());
        report.full(Enforcer::Landlock, Subject::path(&link.path, Access::Ro, link.granted), promise);
    }
}

/// Waits for whatever ends, until it is the agent's main process.
fn reap_until(main: Pid) -> End {
    loop {
        match wait(WaitOptions::empty()) {
            Ok(Some((pid, status))) if pid == main => return end_of(status),
            Ok(_) | Err(Errno::INTR) => {}
            // No children at all: the main process cannot have ended unseen.
            Err(errno) => return End::Limit { limit: "process".to_owned(), message: format!("lost sight of the agent: {errno}") },
        }
    }
}

fn end_of(status: WaitStatus) -> End {
    let limit = |limit: &str, message: &str| End::Limit { limit: limit.to_owned(), message: message.to_owned() };
    match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => End::Exited { code },
        (None, Some(libc::SIGXCPU)) => limit("cpu", "a process used up its CPU time"),
        (None, Some(libc::SIGXFSZ)) => limit("home", "a process wrote past the largest file that it may have"),
        (None, Some(signal)) => End::Signalled { signal },
        (None, None) => End::Signalled { signal: 0 },
    }
}

/// Hears the warden: passes on "close", and ends everything when the warden is gone.
fn listen(socket: &OwnedFd, main: &PidFd, own_namespace: bool) {
    loop {
        match receive_message(socket, Waiting::Block) {
            Ok(Received::Message(ToChild::Close { agent: _, grace_ms: _ })) => {
                // A stopped process hears nothing until it is continued. One that is gone is no trouble.
                let _ = main.signal(Signal::TERM).and_then(|_| main.signal(Signal::CONT));
            }
            // A process agent is told these over a socket of its own.
            Ok(Received::Nothing | Received::Message(ToChild::Event { .. } | ToChild::Answer { .. })) => {}
            // The warden is gone, or makes no sense.
            Ok(Received::Closed) | Err(_) => break,
        }
    }
    if !own_namespace {
        end_descendants();
    }
    std::process::exit(i32::from(FAILED));
}

/// Kills whatever descends from this process. Who outlives even that is found by the warden, by control group or not at all.
fn end_descendants() {
    // What was killed is waited for, too: the dead count as processes of their user until somebody has.
    let _ = kill_own(KILL_WAIT);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_that_control_groups_hold_are_not_set_twice() {
        let asked = Limits::default();
        let none = limits(&asked, Held::default(), 7);
        assert_eq!((none.processes, none.processes_of_others), (Some(u64::from(asked.processes.get())), 7));
        assert_eq!(none.data, Some(asked.memory.bytes()));
        let held = limits(&asked, Held { memory: true, processes: true }, 7);
        assert_eq!((held.processes, held.data), (None, None));
    }

    #[test]
    fn a_cause_is_told_in_one_line() {
        let error = ReaperError::ControlGroup(io::Error::from_raw_os_error(libc::ENOENT));
        assert_eq!(one_line(&error), "join a control group: No such file or directory (os error 2)");
    }
}
