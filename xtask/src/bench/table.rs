//! The figures, as a table and as JSON.

use std::{fmt::Write as _, time::Duration};

use serde_json::{Value, json};

use super::{
    cases::{BARE, BWRAP, Case},
    machine::Machine,
    memory::Memory,
    stats::{percentile, ratio},
};

/// Everything that was measured.
pub struct Figures {
    /// The machine.
    pub machine: Machine,
    /// How often each case was measured.
    pub rounds: u32,
    /// The cases.
    pub cases: Vec<Line>,
    /// Memory of one cell.
    pub memory: Memory,
}

/// One case in figures, or why there are none.
pub struct Line {
    /// Its name.
    pub name: &'static str,
    /// Its percentiles.
    pub figures: Result<Percentiles, String>,
}

/// What is told of each case.
#[derive(Clone, Copy)]
pub struct Percentiles {
    /// The median.
    pub p50: Duration,
    /// What one in a hundred exceeds.
    pub p99: Duration,
}

/// Turns the cases into figures.
pub fn lines(cases: &[Case<'_>]) -> Vec<Line> {
    let figures = |case: &Case<'_>| match &case.measure {
        Err(reason) => Err(reason.clone()),
        Ok(_) => match (percentile(&case.measured, 50), percentile(&case.measured, 99)) {
            (Some(p50), Some(p99)) => Ok(Percentiles { p50, p99 }),
            (None, _) | (_, None) => Err("no round was measured".to_owned()),
        },
    };
    cases.iter().map(|case| Line { name: case.name, figures: figures(case) }).collect()
}

fn median(lines: &[Line], name: &str) -> Option<Duration> {
    lines.iter().find(|line| line.name == name)?.figures.as_ref().ok().map(|figures| figures.p50)
}

/// Milliseconds.
pub fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

/// Whole microseconds.
pub fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// A ratio for people.
pub fn against(value: Duration, base: Option<Duration>) -> String {
    match base.and_then(|base| ratio(value, base)) {
        Some(ratio) => format!("{ratio:.1}x"),
        None => "-".to_owned(),
    }
}

/// Writes one line of a table.
pub fn row(text: &mut String, cells: [&str; 5]) {
    let [name, rest @ ..] = cells;
    // Writing to a string cannot fail.
    let _ = write!(text, "{name:<38}");
    let _ = writeln!(text, "{}", rest.map(|cell| format!("{cell:>11}")).concat());
}

/// Writes the table for people.
pub fn text(figures: &Figures) -> String {
    let Figures { machine, rounds, cases, memory } = figures;
    let (bare, bwrap) = (median(cases, BARE), median(cases, BWRAP));
    let mut text =
        format!("{} cores, {}, Linux {}; release build, {rounds} rounds in turn\n\n", machine.cores, machine.processor, machine.kernel);
    row(&mut text, ["", "p50 ms", "p99 ms", "to bare", "to bwrap"]);
    for line in cases {
        match &line.figures {
            Ok(Percentiles { p50, p99 }) => row(
                &mut text,
                [line.name, &format!("{:.2}", millis(*p50)), &format!("{:.2}", millis(*p99)), &against(*p50, bare), &against(*p50, bwrap)],
            ),
            Err(_) => row(&mut text, [line.name, "-", "-", "-", "-"]),
        }
    }
    text.push('\n');
    for line in cases {
        if let Err(reason) = &line.figures {
            let _ = writeln!(text, "not measured: {}: {reason}", line.name);
        }
    }
    let _ = writeln!(text, "private memory: warden {} KiB, host with one small guest {} KiB", memory.warden_kib, memory.host_kib);
    text
}

/// Gives the figures for programs: times in microseconds.
pub fn json(figures: &Figures) -> Value {
    let Figures { machine, rounds, cases, memory } = figures;
    let (bare, bwrap) = (median(cases, BARE), median(cases, BWRAP));
    let cases = cases.iter().map(|line| match &line.figures {
        Ok(Percentiles { p50, p99 }) => json!({
            "name": line.name,
            "p50_us": micros(*p50),
            "p99_us": micros(*p99),
            "to_bare": bare.and_then(|base| ratio(*p50, base)),
            "to_bwrap": bwrap.and_then(|base| ratio(*p50, base)),
        }),
        Err(reason) => json!({ "name": line.name, "not_measured": reason }),
    });
    json!({
        "machine": { "cores": machine.cores, "kernel": machine.kernel, "processor": machine.processor },
        "rounds": rounds,
        "cases": cases.collect::<Vec<_>>(),
        "private_memory_kib": { "warden": memory.warden_kib, "host_with_one_guest": memory.host_kib },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Figures {
        let line =
            |name, p50, p99| Line { name, figures: Ok(Percentiles { p50: Duration::from_micros(p50), p99: Duration::from_micros(p99) }) };
        Figures {
            machine: Machine { cores: 2, kernel: "6.18.0".into(), processor: "a processor".into() },
            rounds: 200,
            cases: vec![
                line(BARE, 1000, 2000),
                Line { name: BWRAP, figures: Err("bwrap is not in PATH".into()) },
                line("lazarus", 12_500, 30_000),
            ],
            memory: Memory { warden_kib: 1500, host_kib: 3000 },
        }
    }

    #[test]
    fn the_table_has_ratios_and_says_what_is_missing() {
        let text = text(&sample());
        assert!(text.contains("lazarus                                     12.50      30.00      12.5x          -\n"), "{text}");
        assert!(text.contains(&format!("not measured: {BWRAP}: bwrap is not in PATH\n")), "{text}");
        assert!(text.starts_with("2 cores, a processor, Linux 6.18.0;"), "{text}");
    }

    #[test]
    fn the_json_has_the_same_figures() {
        let value = json(&sample());
        assert_eq!(value["cases"][2]["p99_us"], 30_000);
        assert_eq!(value["cases"][2]["to_bare"], 12.5);
        assert_eq!(value["cases"][2]["to_bwrap"], Value::Null);
        assert_eq!(value["cases"][1]["not_measured"], "bwrap is not in PATH");
        assert_eq!(value["private_memory_kib"]["host_with_one_guest"], 3000);
    }
}
