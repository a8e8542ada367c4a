//! Attacks on Lazarus itself: names, paths, files and rows that strangers chose, given to the commands that must cope with them.
//!
//! - [`registry`]: names that would be SQL or paths, planted links, rows that were changed, commands at the same time.
//! - [`policy`]: grants that would give the machine away.
//! - [`supply`]: definitions, components and compiled code that changed on the way.

mod policy;
mod registry;
mod supply;

use std::{
    io,
    time::{Duration, Instant},
};

use super::{Arena, Attack, Class, Death, Outcome, Seen, Stage, Tried, attack::Drive, run::drive_both, stage::Told};

/// Every attack on the trusted side.
pub(super) const TABLES: &[&[Attack]] = &[registry::ATTACKS, policy::ATTACKS, supply::ATTACKS];

/// A row of these tables: an attack on the trusted side.
const fn row(
    name: &'static str,
    what: &'static str,
    drive: Drive,
    attack: &'static [&'static str],
    twin: &'static [&'static str],
    dies: &'static [Death],
    gain: Outcome,
) -> Attack {
    Attack { name, class: Class::of(name), what, arena: Arena::Trusted { drive }, attack, twin, dies, gain, promise: None }
}

/// How long one command may take.
const COMMAND_WITHIN: Duration = Duration::from_secs(60);

/// Tries every one of these attacks that is on the trusted side, one after the other.
///
/// # Errors
/// The stage failed; what an attack does is never an error.
pub(super) fn try_all(stage: &Stage, attacks: &[(usize, &'static Attack)], tell: &mut dyn FnMut(usize, Tried)) -> io::Result<()> {
    for (slot, attack) in attacks.iter().copied() {
        if let Arena::Trusted { drive } = attack.arena {
            tell(slot, one(stage, slot, attack, drive)?);
        }
    }
    Ok(())
}

fn one(stage: &Stage, slot: usize, attack: &'static Attack, drive: Drive) -> io::Result<Tried> {
    let started = Instant::now();
    let ground = stage.furnish(slot)?;
    let (twin, seen) = drive_both(stage, attack, drive, &ground);
    let mut disturbed = stage.disturbed(slot, seen.words());
    disturbed.extend(stage.disturbed_by_any());
    Ok(Tried { twin, attack: seen, seconds: started.elapsed().as_secs_f64(), disturbed })
}

/// `[argument…]`: gives a command to Lazarus. It succeeds where that says so.
fn command(stage: &Stage, arguments: &[String]) -> io::Result<Seen> {
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    Ok(seen(&stage.lazarus(&words, b"", COMMAND_WITHIN)?))
}

/// What a command said, as an attempt.
fn seen(told: &Told) -> Seen {
    match told.code {
        Some(0) => Seen::succeeded(&told.text("message")),
        Some(code) => Seen::refused(&format!("exit {code}: {}", told.text("message"))),
        None => Seen::untold(&told.stderr),
    }
}
