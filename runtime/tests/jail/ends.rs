//! How agents end: by themselves, told to, killed, or because their warden is gone. Nothing they started is left.

use std::{
    io::{BufRead, BufReader},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use lazarus::{
    backend::{
        packets::{Received, Waiting, receive_message, send_message},
        process::agent_pid,
        protocol::{End, FromChild, ToChild},
        spawned::{Containment, Spawned},
    },
    cell::ProcessRef,
    jail::{
        liveness::{self, Liveness},
        namespaces::NamespaceSupport,
    },
};

use crate::{
    Case,
    fixture::{LONG, World, live, no_namespaces, until_ready},
};

pub const CASES: &[Case] = &[
    ("an_end_is_told_as_it_was", told),
    ("close_reaches_the_agent", close),
    ("a_killed_agent_leaves_no_daemon", killed),
    ("an_agent_that_ends_leaves_no_daemon", ended),
    ("a_warden_that_is_killed_takes_its_agents_along", warden_killed),
    ("an_agent_cannot_end_its_reaper", reaper_is_safe),
    ("the_agent_is_found_by_its_reaper", found),
];

/// A shell that starts a daemon (its own session, orphaned at once, deaf to SIGTERM) and then goes on.
const DAEMON: &str = "setsid sh -c 'trap \"\" TERM HUP; sleep 1000 & sleep 1000' & ";

fn both() -> [World; 2] {
    let mut shared = World::new();
    shared.namespaces = no_namespaces();
    [World::new(), shared]
}

fn told() {
    for world in both() {
        for (script, end) in
            [("exit 0", End::Exited { code: 0 }), ("exit 42", End::Exited { code: 42 }), ("kill -9 $$", End::Signalled { signal: 9 })]
        {
            let life = world.run(&["sh", "-c", script]);
            assert_eq!(life.end, Some(end), "{life:?}");
            assert!(life.ready && life.refused.is_none());
        }
        let life = world.run(&["sh", "-c", "echo out; echo err >&2; cat"]);
        assert_eq!((life.stdout.as_str(), life.stderr.as_str()), ("out\n", "err\n"), "and stdin is empty");
    }
}

fn close() {
    for world in both() {
        let mut spawned = world.spawn(&["sh", "-c", "trap 'echo closing; exit 3' TERM; echo up; while :; do sleep 0.05; done"]);
        until_ready(&spawned);
        let stdout = spawned.stdout.take().unwrap();
        let mut lines = BufReader::new(std::fs::File::from(stdout)).lines();
        assert_eq!(lines.next().unwrap().unwrap(), "up");
        send_message(&spawned.socket, &ToChild::Close { agent: None, grace_ms: 1000 }, Waiting::Block).unwrap();
        assert_eq!(lines.next().unwrap().unwrap(), "closing");
        let life = live(spawned);
        assert_eq!(life.end, Some(End::Exited { code: 3 }), "{life:?}");
    }
}

/// Everything below a reaper, once the daemon with its two sleepers is up: agent, daemon and what it started.
fn noted(spawned: &Spawned) -> Vec<ProcessRef> {
    let deadline = Instant::now() + LONG;
    loop {
        let below = liveness::descendants(spawned.process.pid).unwrap();
        if below.len() >= 4 {
            return below.into_iter().map(|pid| liveness::identify(pid).unwrap()).collect();
        }
        assert!(Instant::now() < deadline, "the daemon does not come up: {below:?}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn all_dead(noted: &[ProcessRef]) {
    let deadline = Instant::now() + LONG;
    while let Some(alive) = noted.iter().find(|process| liveness::probe(process) != Liveness::Dead) {
        assert!(Instant::now() < deadline, "{alive:?} lives on");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn killed() {
    for world in both() {
        let mut spawned = world.spawn(&["sh", "-c", &format!("{DAEMON} wait")]);
        until_ready(&spawned);
        let processes = noted(&spawned);
        spawned.kill(LONG).unwrap();
        assert!(spawned.reap(LONG).unwrap().is_some());
        all_dead(&processes);
    }
}

fn ended() {
    for world in both() {
        let spawned = world.spawn(&["sh", "-c", &format!("{DAEMON} sleep 0.5; exit 7")]);
        until_ready(&spawned);
        let processes = noted(&spawned);
        let life = live(spawned);
        assert_eq!(life.end, Some(End::Exited { code: 7 }), "{life:?}");
        all_dead(&processes);
    }
}

/// The warden of [`warden_killed`]: starts an agent with a daemon, prints what is below it, and waits to be killed.
pub fn warden_main(kind: &str) -> std::process::ExitCode {
    crate::fixture::prepare();
    let mut world = World::new();
    if kind == "shared" {
        world.namespaces = no_namespaces();
    }
    let spawned = world.spawn(&["sh", "-c", &format!("{DAEMON} wait")]);
    until_ready(&spawned);
    let mut processes = noted(&spawned);
    processes.push(spawned.process.clone());
    println!("{}", serde_json::to_string(&processes).unwrap());
    std::thread::sleep(Duration::from_secs(1000));
    std::process::ExitCode::FAILURE
}

fn warden_killed() {
    for kind in ["own", "shared"] {
        let mut warden = Command::new(std::env::current_exe().unwrap()).args(["warden", kind]).stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(warden.stdout.take().unwrap()).lines();
        let line = lines.by_ref().map(Result::unwrap).find(|line| line.starts_with('[')).unwrap();
        let processes: Vec<ProcessRef> = serde_json::from_str(&line).unwrap();
        assert!(processes.iter().all(|process| liveness::probe(process) == Liveness::Alive));
        warden.kill().unwrap();
        warden.wait().unwrap();
        all_dead(&processes);
    }
}

fn reaper_is_safe() {
    for world in both() {
        // Its parent is the reaper, in both; in a pid namespace, process 1.
        let spawned = world.spawn(&["sh", "-c", "kill -9 $PPID; kill -STOP $PPID; sleep 0.1; exit 5"]);
        let life = live(spawned);
        assert_eq!(life.end, Some(End::Exited { code: 5 }), "{life:?}");
        assert!(life.stderr.matches("ermitted").count() == 2, "{life:?}");
    }
}

fn found() {
    for world in both() {
        let mut spawned = world.spawn(&["sleep", "1000"]);
        until_ready(&spawned);
        let agent = agent_pid(spawned.process.pid).expect("an agent");
        // The kernel wakes whoever waits for an exec a moment before it renames the process.
        let name = || std::fs::read_to_string(format!("/proc/{agent}/comm")).unwrap().trim().to_owned();
        let deadline = Instant::now() + LONG;
        while name() != "sleep" {
            assert!(Instant::now() < deadline, "{} is not the agent", name());
        }
        let expected = if world.namespaces == NamespaceSupport::Full { Containment::PidNamespace } else { Containment::Subreaper };
        assert_eq!(spawned.containment(), expected);
        assert!(spawned.try_reap().unwrap().is_none());
        spawned.kill(LONG).unwrap();
        assert!(spawned.reap(LONG).unwrap().is_some());
        // A reaper that outlives its agent for a moment says how that one ended; one that dies with it says nothing.
        let last = receive_message::<FromChild>(&spawned.socket, Waiting::Block).unwrap();
        assert!(
            matches!(last, Received::Closed | Received::Message(FromChild::Ended { end: End::Signalled { signal: 9 }, .. })),
            "{last:?}"
        );
    }
}
