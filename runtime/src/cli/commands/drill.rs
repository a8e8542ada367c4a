//! `drill`: the attacks, live; a table by class, or one object.

use std::{
    io::IsTerminal,
    process::ExitCode,
    sync::{Arc, atomic::AtomicBool},
};

use serde::Serialize;

use super::INTERNAL;
use crate::{
    cli::{
        failure::{Failure, REFUSED},
        say::Say,
        table::{cut, table},
    },
    drill::{self, Attack, Canaries, DrillReport, Machine, Outcome, Request, Verdict},
    home::ambient,
    operator::{Error, Operator},
};

/// The variable with which a debug build gives attackers what they must not get, to see that a drill can fail.
const WEAKENED: &str = "LAZARUS_DRILL_WEAKENED";

/// One attack, as `--list --json` has it.
#[derive(Serialize)]
struct Listed {
    name: &'static str,
    class: &'static str,
    arena: &'static str,
    backend: &'static str,
    what: &'static str,
    attack: &'static [&'static str],
    twin: &'static [&'static str],
}

impl Listed {
    fn of(attack: &'static Attack) -> Self {
        let Attack { name, class, what, arena, attack: arguments, twin, .. } = attack;
        Self { name, class: class.as_str(), arena: arena.as_str(), backend: arena.backend(), what, attack: arguments, twin }
    }
}

/// One attack and its outcome.
#[derive(Serialize)]
struct Line<'a> {
    name: &'a str,
    class: &'a str,
    arena: &'a str,
    backend: &'a str,
    resolver: &'a str,
    what: &'a str,
    outcome: Outcome,
    how: &'a str,
    twin: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    as_reported: Option<&'a str>,
    seconds: f64,
}

#[derive(Serialize)]
struct Envelope<'a> {
    success: bool,
    machine: &'a Machine,
    attacks: Vec<Line<'a>>,
    canaries: &'a Canaries,
    held: usize,
    as_reported: usize,
    total: usize,
    message: String,
    exit_code: u8,
}

/// Lists the attacks; needs no root.
///
/// # Errors
/// A word that chooses nothing.
pub fn list(only: &[String], say: &Say) -> Result<ExitCode, Failure> {
    #[derive(Serialize)]
    struct List {
        success: bool,
        attacks: Vec<Listed>,
        total: usize,
    }
    let attacks: Vec<Listed> = drill::chosen(only).map_err(Error::from)?.into_iter().map(Listed::of).collect();
    let total = attacks.len();
    let list = List { success: true, attacks, total };
    Ok(say.done(&list, || {
        let rows = list.attacks.iter().map(|one| vec![one.name.to_owned(), one.arena.to_owned(), one.what.to_owned()]);
        let text = table(&["ATTACK", "ARENA", "WHAT IT TRIES"], &rows.collect::<Vec<_>>());
        format!("{}{total} attacks, each beside a twin that differs in one argument and must succeed", cut(&text, Say::width()))
    }))
}

pub(super) fn drill(operator: &mut Operator, only: Vec<String>, say: &Say) -> Result<ExitCode, Failure> {
    let interrupt = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM, signal_hook::consts::SIGHUP] {
        signal_hook::flag::register(signal, Arc::clone(&interrupt))
            .map_err(|error| Failure::new(INTERNAL, format!("could not catch signals: {error}")))?;
    }
    // As with fail-points: only where the program is built to be tested.
    let weakened = cfg!(debug_assertions) && std::env::var_os(WEAKENED).is_some();
    let request = Request { only, temporary: ambient::temporary(|name| std::env::var_os(name)), interrupt, weakened };
    let total = drill::chosen(&request.only).map_or(0, |chosen| chosen.len());
    let shows = !say.json() && std::io::stderr().is_terminal();
    let mut done = 0;
    let mut progress = |verdict: &Verdict| {
        done += 1;
        if shows {
            // One line that is written over; what it said before is cleared to its end.
            eprint!("\r\u{1b}[K{done} of {total}: {}", verdict.attack.name);
        }
    };
    let drilled = operator.drill(&request, &mut progress);
    if shows {
        eprint!("\r\u{1b}[K");
    }
    let report = drilled?;
    let code = if report.is_well() { 0 } else { REFUSED };
    let said = say.done(&envelope(&report, code), || people(&report));
    Ok(if code == 0 { said } else { ExitCode::from(code) })
}

fn envelope(report: &DrillReport, exit_code: u8) -> Envelope<'_> {
    let attacks = report.verdicts.iter().map(|verdict| Line {
        name: verdict.attack.name,
        class: verdict.attack.class.as_str(),
        arena: verdict.attack.arena.as_str(),
        backend: verdict.attack.arena.backend(),
        resolver: report.machine.resolver,
        what: verdict.attack.what,
        outcome: verdict.outcome,
        how: &verdict.how,
        twin: &verdict.twin,
        as_reported: verdict.as_reported.as_deref(),
        seconds: verdict.seconds,
    });
    Envelope {
        success: exit_code == 0,
        machine: &report.machine,
        attacks: attacks.collect(),
        canaries: &report.canaries,
        held: report.held(),
        as_reported: report.as_reported(),
        total: report.verdicts.len(),
        message: report.message(),
        exit_code,
    }
}

fn people(report: &DrillReport) -> String {
    let Machine { kernel, landlock_abi, user, namespaces, cgroups, resolver } = &report.machine;
    let has = |there: bool| if there { "yes" } else { "no" };
    let mut text = format!(
        "Linux {kernel}, Landlock ABI {landlock_abi}, user {user}, namespaces: {}, control groups: {}, paths by {resolver}\n\n",
        has(*namespaces),
        has(*cgroups)
    );
    let rows = report.verdicts.iter().map(|verdict| {
        let how = match &verdict.as_reported {
            Some(because) => format!("{} — as reported: {because}", verdict.how),
            None => verdict.how.clone(),
        };
        vec![verdict.attack.name.to_owned(), verdict.attack.arena.as_str().to_owned(), verdict.outcome.as_str().to_owned(), how]
    });
    let rows: Vec<Vec<String>> = rows.collect();
    text.push_str(&cut(&table(&["ATTACK", "ARENA", "OUTCOME", "HOW IT ENDED"], &rows), Say::width()));
    for disturbed in &report.canaries.disturbed {
        text.push_str(&format!("\ncanary: {disturbed}"));
    }
    text.push_str(&format!("\n{}", report.message()));
    text
}
