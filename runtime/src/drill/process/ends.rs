//! Living on: daemons, processes that do not listen, and cells whose warden is gone.

use std::{
    io,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use super::{attacker::LINGER, summoned::Summoned};
use crate::drill::{
    Arena, Attack, Class,
    Death::{self, Refused},
    Outcome::Escape,
    SUBCOMMAND, Seen, Stage,
};

/// How long what is dying may take to be gone, after Lazarus said so: nothing.
const GONE_WITHIN: Duration = Duration::ZERO;
/// How long agents may take to end once their warden was killed: nobody says anything then.
const ORPHANED_WITHIN: Duration = Duration::from_secs(5);
/// How long an agent that ends by itself waits for that, so that it is seen before.
const SEEN_WITHIN: Duration = Duration::from_secs(10);
/// How long a daemon may take to be there.
const START_WITHIN: Duration = Duration::from_secs(10);
/// How often one is summoned that does not get there.
const MOST_TRIES: u32 = 3;

/// A row of this table.
const fn row(name: &'static str, what: &'static str, attack: &'static [&'static str], twin: &'static [&'static str]) -> Attack {
    let arena = Arena::Driven { drive };
    let dies: &'static [Death] = &[Refused("nothing lives")];
    Attack { name, class: Class::Neighbours, what, arena, attack, twin, dies, gain: Escape, promise: Some("leaves no process behind") }
}

/// The attacks: how it lingers, and when somebody looks whether it lives.
#[rustfmt::skip]
pub(super) const ATTACKS: &[Attack] = &[
    row("neighbours/daemon-outlives-close", "leaves a daemon that has its own session, and whose cell is closed",
        &["daemon", "after close"], &["daemon", "before the end"]),
    row("neighbours/daemon-outlives-destroy", "leaves a daemon that has its own session, and whose cell is destroyed",
        &["daemon", "after destroy"], &["daemon", "before the end"]),
    row("neighbours/daemon-outlives-agent", "leaves a daemon, and ends",
        &["orphan", "after its own end"], &["orphan", "before the end"]),
    row("neighbours/deaf", "does not listen when it is told to end", &["deaf", "after close"], &["deaf", "before the end"]),
    row("neighbours/stopped", "stops itself, so that it cannot be told to end", &["stopped", "after close"], &["stopped", "before the end"]),
    row("neighbours/outlives-warden", "lives on after its warden was killed", &["daemon", "after its warden"], &["daemon", "before the end"]),
];

/// What the attacker does, as its own program.
pub(super) fn linger(how: &str) -> io::Result<()> {
    let again = |how: &str| {
        let mut command = Command::new("lazarus");
        command.args([SUBCOMMAND, LINGER, how]).stdin(Stdio::null()).stdout(Stdio::null());
        // What fails on the way is said; what stays holds no stream of the agent.
        command.stderr(if how == "fork" { Stdio::inherit() } else { Stdio::null() }).spawn()
    };
    match how {
        // Three generations: the agent, one that ends, and one that is nobody's child any more.
        "daemon" => drop(again("fork")?),
        "orphan" => {
            // The one that is left is there, however busy the machine is; and then for as long as somebody may need to see it: where
            // much is tried at once, the command that summoned this takes seconds to return.
            again("fork")?.wait()?;
            thread::sleep(SEEN_WITHIN);
            return Ok(());
        }
        "fork" => {
            rustix::process::setsid()?;
            again("deaf")?;
            return Ok(());
        }
        "stopped" => {
            let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::STOP);
        }
        _ => {
            // It fails where this leads a session already.
            let _ = rustix::process::setsid();
            for signal in [signal_hook::consts::SIGTERM, signal_hook::consts::SIGHUP, signal_hook::consts::SIGINT] {
                signal_hook::flag::register(signal, std::sync::Arc::default())?;
            }
        }
    }
    loop {
        thread::sleep(Duration::from_secs(3600));
    }
}

/// `[how, when]`: summons one that lingers, brings its cell to that end, and looks whether anything of it lives. One that did not get as far as
/// to linger proves nothing, and is tried again.
fn drive(stage: &Stage, arguments: &[String]) -> io::Result<Seen> {
    let word = |at: usize| arguments.get(at).map_or("", String::as_str);
    let least = if matches!(word(0), "daemon" | "orphan") { 2 } else { 1 };
    let mut tries = 1;
    loop {
        let cell = Summoned::new(stage, &[], &[LINGER, word(0)])?;
        let started = Instant::now();
        while cell.alive().len() < least && started.elapsed() < START_WITHIN {
            thread::sleep(Duration::from_millis(10));
        }
        let there = cell.alive().len();
        let seen = if there < least { Err(never_lingered(&cell, there)?) } else { Ok(end(stage, &cell, word(1), there)?) };
        let destroyed = cell.destroy()?;
        if destroyed.code != Some(0) {
            return Ok(Seen::untold(&destroyed.text("message")));
        }
        match seen {
            Ok(seen) => return Ok(seen),
            Err(why) if tries == MOST_TRIES => return Ok(Seen::untold(&why)),
            Err(_) => tries += 1,
        }
    }
}

/// Why nothing can be said: what there was of it, and what it said.
fn never_lingered(cell: &Summoned<'_>, there: usize) -> io::Result<String> {
    let said: Vec<String> = cell.logs()?.into_iter().map(|line| line.text).collect();
    Ok(format!("it never lingered: {there} of its processes live; it said: {}", said.join("; ")))
}

fn end(stage: &Stage, cell: &Summoned<'_>, when: &str, there: usize) -> io::Result<Seen> {
    let within = match when {
        "before the end" => return Ok(Seen::succeeded(&format!("{there} of its processes live"))),
        "after close" => {
            super::summoned::succeeded("close", cell.close("1s")?)?;
            GONE_WITHIN
        }
        "after destroy" => {
            super::summoned::succeeded("destroy", cell.destroy()?)?;
            GONE_WITHIN
        }
        "after its own end" => {
            cell.wait()?;
            GONE_WITHIN
        }
        _ => {
            stage.kill_warden(&cell.id)?;
            ORPHANED_WITHIN
        }
    };
    let started = Instant::now();
    loop {
        let alive = cell.alive();
        if alive.is_empty() {
            return Ok(Seen::refused("nothing lives of it"));
        }
        if started.elapsed() >= within {
            return Ok(Seen::succeeded(&format!("processes {alive:?} live")));
        }
        thread::sleep(Duration::from_millis(10));
    }
}
