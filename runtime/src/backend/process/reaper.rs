//! The jailed side: confines itself, starts the agent, stays until it has ended.

use std::{
    io,
    os::fd::{OwnedFd, RawFd},
    process::ExitCode,
    time::Duration,
};

use rustix::{
    process::{DumpableBehavior, getpid, set_child_subreaper, set_dumpable_behavior},
    stdio::{dup2_stderr, dup2_stdin, dup2_stdout},
    thread::set_name,
};
use serde::Deserialize;

use super::{
    attend::{Attended, Deaths, attend},
    held::{Duties, Leader},
    marks::Marks,
    spec::{Held, Linked, Place, Spec, Use, View},
    start::{self, StartError, Started},
};
use crate::{
    backend::{
        handoff::{self, Description, HandoffError},
        packets::{Waiting, send_message},
        parcel::{self, Arrived},
        protocol::{FromChild, REPORT_PIECE_BYTES},
        spawned::kill_own,
    },
    cell::{AgentName, text::with_causes},
    jail::{Bind, BindKind, FileRule, Jail, JailError, JailLimits, Link, NewRoot, Profile, Reach, refuse_connects, streams, usher::Door},
    policy::{Access, Address, Enforcer, Granted, LimitName, Limits, Report, Subject, Wall, format_duration},
    unchecked::{self, NothingInherited},
};

/// What the reaper exits with when it could not do its work; an agent's own end is told over the socket instead.
const FAILED: u8 = 125;
/// What is promised of an agent that takes part in its cell's talk.
const SPEAKS: &str = "connects to its cell, as itself and as nobody else";
/// What is promised of one that has files of the machine.
const LEAVES_MARKS: &str = "leaves modes, owners, times and attributes of files alone, but where it may write";
/// What holds calls, or refuses those of `connect(2)`, is one filter.
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

/// Runs the reaper: what `lazarus __jail --socket M` does.
///
/// To be called first thing in a fresh process: it confines the only thread.
pub fn main_jail(socket: RawFd) -> ExitCode {
    let (socket, closed, parcel) = match take_over(socket) {
        Ok(taken) => taken,
        Err(error) => {
            // Without a socket there is no other way to say it: somebody ran the hidden command by hand.
            eprintln!("lazarus: failed to {}", with_causes(&error));
            return ExitCode::from(FAILED);
        }
    };
    let spec: Spec = match parcel.description.understand() {
        Ok(spec) => spec,
        Err(error) => return not_understood(&socket, &parcel.description, &error),
    };
    let agent = spec.agent.clone();
    let own_namespace = matches!(spec.view, View::Own { .. });
    let mut main = match bring_up(spec, closed, parcel, &socket) {
        Ok(Some(main)) => main,
        Ok(None) => return ExitCode::SUCCESS,
        Err(error) => {
            tell(&socket, &FromChild::Refused { agent, message: with_causes(&error) });
            return ExitCode::from(FAILED);
        }
    };
    tell(&socket, &FromChild::Ready { agent: agent.clone() });
    let attended = attend(&socket, &mut main.started, &main.deaths, main.leader);
    if !own_namespace {
        end_descendants();
    }
    match attended {
        Attended::Ended(end) => {
            tell(&socket, &FromChild::Ended { agent, end });
            ExitCode::SUCCESS
        }
        Attended::Alone => ExitCode::from(FAILED),
    }
}

/// Says something to the warden. One that does not listen any more is gone, and takes this process with it.
fn tell(socket: &OwnedFd, message: &FromChild) {
    let _ = send_message(socket, message, Waiting::Block);
}

/// Says that the work was not understood, to whoever it is about.
fn not_understood(socket: &OwnedFd, description: &Description, error: &HandoffError) -> ExitCode {
    #[derive(Deserialize)]
    struct Named {
        agent: AgentName,
    }
    if let Some(Named { agent }) = description.understand_of_any_build() {
        tell(socket, &FromChild::Refused { agent, message: with_causes(error) });
    }
    ExitCode::from(FAILED)
}

fn take_over(socket: RawFd) -> Result<(OwnedFd, NothingInherited, Arrived), ReaperError> {
    // Nobody of the same user may look into this process from now on.
    set_name(c"lazarus").map_err(step("name the process"))?;
    set_dumpable_behavior(DumpableBehavior::NotDumpable).map_err(step("hide the process's memory"))?;
    let socket = handoff::take(socket)?;
    // Before its work arrives, and with it more descriptors.
    let closed = unchecked::close_inherited().map_err(step("close inherited descriptors"))?;
    let parcel = parcel::receive(&socket)?;
    Ok((socket, closed, parcel))
}

/// The agent's main process, and what it is attended by.
struct MainProcess {
    started: Started,
    deaths: Deaths,
    leader: Option<Leader>,
}

/// Confines this process, says what came of it, and starts the agent; `None` where that was only rehearsed.
fn bring_up(spec: Spec, closed: NothingInherited, mut parcel: Arrived, socket: &OwnedFd) -> Result<Option<MainProcess>, ReaperError> {
    let mut report = Report::new();
    join_control_groups(&spec, &mut parcel, &mut report)?;
    let hatch = spec.hatch.map(|hatch| parcel.take(hatch)).transpose()?;
    let mut jail = Jail::new(Profile::Process)
        .limits(limits(&spec.limits, spec.held, spec.processes_of_others))
        .accept_degraded(spec.accept_degraded)
        .after_closing(closed)
        .tied_to(socket)
        .map_err(step("watch the message socket"))?;
    if hatch.is_some() {
        jail = jail.speaks();
    }
    let places = spec.places;
    let mut inner = None;
    let mut marks = None;
    let mut linked = Vec::new();
    match spec.view {
        View::Own { links, texts, network, door } => {
            let binds = places.into_iter().map(|place| bind(place, &mut parcel)).collect::<Result<_, _>>()?;
            let links = links.into_iter().map(|Linked { path, text, granted }| Link { path, text, granted }).collect();
            let (network, door) = (parcel.take(network)?, Door::of(parcel.take(door)?));
            jail = jail.root(NewRoot { network, door, binds, links, texts });
        }
        View::Shared { because, links } => {
            let (mut files, mut writable) = (Vec::new(), Vec::new());
            for place in places {
                let bound = bind(place, &mut parcel)?;
                if bound.kind == BindKind::Writable {
                    writable.push(bound.source.try_clone().map_err(step("pass on what was granted"))?);
                }
                let (subject, reach) = (bound.subject(), reach(bound.kind));
                let again = bound.source.try_clone().map_err(step("pass on what was granted"))?;
                files.push(FileRule { place: again, reach, subject: None });
                jail = jail.grant(bound.source, reach, subject);
            }
            linked = links;
            inner = Some(files);
            marks = Some(Marks::new(&writable).map_err(step("find where the agent may write"))?);
            // For this process alone, to find what descends from it; the agent is one layer further in, without it.
            let proc = std::fs::File::open("/proc").map_err(step("open /proc"))?;
            jail = jail.allow(proc.into(), Reach::Read).ends_itself();
            set_child_subreaper(Some(getpid())).map_err(step("adopt what the agent leaves behind"))?;
            describe_shared(&because, &mut report);
        }
    }
    let own_root = marks.is_none();
    report.append(jail.apply()?);
    if own_root && streams::are_of_the_machine().map_err(step("look at the agent's streams"))? {
        marks = Some(Marks::of_own_mounts());
    }
    describe_links(&linked, &mut report);
    let leader = hold(Duties { hatch, marks }, &mut report)?;
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
    let deaths = Deaths::watch().map_err(step("watch for what ends"))?;
    // Before the agent's limit of descriptors is this process's, too.
    let null = std::fs::File::options().read(true).write(true).open("/dev/null").map_err(step("open /dev/null"))?;
    let started = prepared.start(u64::from(spec.limits.open_files.get()), inner)?;
    // The agent's streams are the agent's alone: whoever reads them sees them end when it closes them.
    dup2_stdin(&null).and_then(|()| dup2_stdout(&null)).and_then(|()| dup2_stderr(&null)).map_err(step("let go of the streams"))?;
    Ok(Some(MainProcess { started, deaths, leader }))
}

/// Decides, from now on, about every connection of the agent that is started later, and about every change of a file's marks where it has
/// files of the machine. Where the machine does not give that, nothing else would keep connections in the cell: they are all refused then.
fn hold(duties: Duties, report: &mut Report) -> Result<Option<Leader>, ReaperError> {
    let (connects, marks) = (duties.hatch.is_some(), duties.marks.is_some());
    let held = Leader::hold(duties);
    if connects {
        match &held {
            Ok(_) => report.full(Enforcer::Seccomp, Address::Cell, SPEAKS).set = ONE_FILTER,
            Err(error) => {
                refuse_connects()?;
                let because = format!("this machine lets nobody decide where it connects to ({error})");
                report.partial(Enforcer::Seccomp, Address::Cell, SPEAKS, because).set = ONE_FILTER;
            }
        }
    }
    if marks {
        match &held {
            Ok(_) => {
                let held = report.full(Enforcer::Seccomp, Wall::Files, LEAVES_MARKS);
                // Both are one filter.
                held.set = ONE_FILTER.filter(|_| !connects);
            }
            Err(error) => {
                let because = format!(
                    "Landlock does not know them, and this machine lets nobody decide about them ({error}): those of this user's own files that \
                     the agent can name, or was given as a stream, can be changed"
                );
                report.partial(Enforcer::Landlock, Wall::Files, LEAVES_MARKS, because);
            }
        }
    }
    Ok(held.ok().flatten())
}

fn bind(place: Place, parcel: &mut Arrived) -> Result<Bind, HandoffError> {
    let kind = match place.usage {
        Use::Read => BindKind::ReadOnly,
        Use::Write => BindKind::Writable,
        Use::Device => BindKind::Device,
    };
    Ok(Bind { source: parcel.take(place.opened)?, target: place.target, kind, granted: place.granted })
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
        cpu_counted_together: held.cpu,
        file_size: Some(limits.home.bytes()),
        processes: (!held.processes).then(|| u64::from(limits.processes.get())),
        processes_of_others: of_others,
        data: (!held.memory).then(|| limits.memory.bytes()),
    }
}

fn join_control_groups(spec: &Spec, parcel: &mut Arrived, report: &mut Report) -> Result<(), ReaperError> {
    for door in &spec.control_groups {
        let door = std::fs::File::from(parcel.take(*door)?);
        // Zero stands for whoever writes it.
        io::Write::write_all(&mut &door, b"0").map_err(ReaperError::ControlGroup)?;
    }
    if spec.held.memory {
        let most = spec.limits.memory;
        let (subject, promise) = (Subject::limit(LimitName::Memory, most), format!("uses at most {most} of memory"));
        if spec.held.swaps {
            report.partial(Enforcer::Cgroup, subject, promise, "this kernel does not count what is swapped out, and the machine has swap");
        } else {
            report.full(Enforcer::Cgroup, subject, promise);
        }
    }
    if spec.held.cpu {
        // The kernel counts; the warden reads the count, and ends the agent.
        let most = format_duration(spec.limits.cpu);
        let promise = format!("uses at most {most} of CPU time, all its processes together");
        report.full(Enforcer::Cgroup, Subject::limit(LimitName::Cpu, most), promise);
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
    let others = format!("that there are others can be found out: there is no pid namespace ({because})");
    report.partial(Enforcer::Landlock, Wall::Processes, "sees no process but its own", others);
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
        assert!(!none.cpu_counted_together);
        let held = limits(&asked, Held { memory: true, processes: true, cpu: true, swaps: false }, 7);
        assert_eq!((held.processes, held.data), (None, None));
        assert_eq!((held.cpu, held.cpu_counted_together), (Some(asked.cpu), true), "the second line stays");
    }

    #[test]
    fn a_cause_is_told_in_one_line() {
        let error = ReaperError::ControlGroup(io::Error::from_raw_os_error(libc::ENOENT));
        assert_eq!(with_causes(&error), "join a control group: No such file or directory (os error 2)");
    }
}
