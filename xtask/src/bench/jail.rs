//! What the jail adds to the start of a process, beside a bare one and bubblewrap. The program `jail_bench` measures; here its figures are told.

use std::{fmt::Write as _, path::Path, time::Duration};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::{
    stats::{percentile, ratio},
    table::{self, Percentiles, against, micros, millis},
};
use crate::{run, workspace::Workspace};

const BARE: &str = "bare";
const BWRAP: &str = "bwrap";
const JAIL: &str = "jail";
const BARE_STARTED: &str = "bare-started";
const JAIL_STARTED: &str = "jail-started";
const START: &str = "start";
const CONFINE: &str = "confine";
/// What the jail may add to a bare spawn, at the median.
const SHARE_MOST: Duration = Duration::from_millis(3);

/// A case as the program calls it, and in the table.
const CASES: [(&str, &str); 8] = [
    (BARE, "spawn and wait: /bin/true"),
    (BWRAP, "bwrap --unshare-all: /bin/true"),
    (JAIL, "process agent's jail: /bin/true"),
    ("jail-without-groups", "the same, without control groups"),
    (BARE_STARTED, "bare, until /bin/true is executed"),
    (JAIL_STARTED, "jailed, until /bin/true is executed"),
    (START, "lazarus itself, doing nothing"),
    (CONFINE, "lazarus itself, confined as wasm host"),
];

/// What the program measured.
pub struct Jail {
    cases: Vec<(&'static str, &'static str, usize, Percentiles)>,
}

/// Builds the program that measures, and runs it.
///
/// # Errors
/// It does not compile, or a case failed.
pub fn measure(workspace: &Workspace, scratch: &Path, rounds: u32) -> Result<Jail> {
    // Together: a reaper of another build than the program beside it refuses.
    let both = ["--package", "lazarus", "--package", "lazarus-tests", "--bin", "lazarus-jail", "--bin", "jail_bench"];
    run::step(run::cargo(&workspace.root).args(["build", "--quiet", "--locked", "--release"]).args(both))?;
    let mut command = std::process::Command::new(workspace.lazarus("release").with_file_name("jail_bench"));
    command.arg(scratch).arg(rounds.to_string()).args(run::find("bwrap"));
    parse(&serde_json::from_str(&run::output(&mut command)?).context("parse what jail_bench measured")?)
}

fn parse(measured: &Value) -> Result<Jail> {
    let found = measured["cases"].as_array().context("find the cases")?;
    let mut cases = Vec::new();
    for (key, name) in CASES {
        let Some(case) = found.iter().find(|case| case["name"] == key) else {
            // Bubblewrap is not on every machine; everything else is part of the program.
            anyhow::ensure!(key == BWRAP, "find the case {key}");
            continue;
        };
        let micros = case["micros"].as_array().with_context(|| format!("find the figures of {key}"))?;
        let times: Vec<Duration> = micros.iter().filter_map(Value::as_u64).map(Duration::from_micros).collect();
        let figure = |of_hundred| percentile(&times, of_hundred).with_context(|| format!("find a figure of {key}"));
        cases.push((key, name, times.len(), Percentiles { p50: figure(50)?, p99: figure(99)? }));
    }
    Ok(Jail { cases })
}

impl Jail {
    fn median(&self, wanted: &str) -> Option<Duration> {
        self.cases.iter().find(|(key, ..)| *key == wanted).map(|(.., figures)| figures.p50)
    }

    /// What is in one case beyond another, at the median.
    fn share(&self, of: &str, beyond: &str) -> Option<Duration> {
        Some(self.median(of)?.saturating_sub(self.median(beyond)?))
    }

    /// Writes the table for people.
    pub fn text(&self) -> String {
        let mut text = String::from("\n");
        let (bare, bwrap) = (self.median(BARE), self.median(BWRAP));
        table::row(&mut text, ["", "p50 ms", "p99 ms", "to bare", "to bwrap"]);
        for (_, name, _, Percentiles { p50, p99 }) in &self.cases {
            let (p50_ms, p99_ms) = (format!("{:.2}", millis(*p50)), format!("{:.2}", millis(*p99)));
            table::row(&mut text, [name, &p50_ms, &p99_ms, &against(*p50, bare), &against(*p50, bwrap)]);
        }
        text.push('\n');
        for (what, of, beyond) in [
            ("the jail adds to a spawn and its end", JAIL, BARE),
            ("until the program is executed", JAIL_STARTED, BARE_STARTED),
            ("of that, starting lazarus", START, BARE),
            ("bwrap adds to a spawn and its end", BWRAP, BARE),
            ("confining a wasm host adds", CONFINE, START),
        ] {
            if let Some(share) = self.share(of, beyond) {
                // Writing to a string cannot fail.
                let _ = writeln!(text, "{what}: {:.2} ms", millis(share));
            }
        }
        if let Some(share) = self.share(JAIL, BARE) {
            let verdict = if share <= SHARE_MOST { "met" } else { "MISSED" };
            let _ = writeln!(text, "aim: the jail adds at most {:.0} ms: {verdict}", millis(SHARE_MOST));
        }
        if bwrap.is_none() {
            text.push_str("not measured: bwrap is not in PATH\n");
        }
        text
    }

    /// Gives the figures for programs: times in microseconds.
    pub fn json(&self) -> Value {
        let (bare, bwrap) = (self.median(BARE), self.median(BWRAP));
        let to = |value: Duration, base: Option<Duration>| base.and_then(|base| ratio(value, base));
        let cases = self.cases.iter().map(|(_, name, rounds, Percentiles { p50, p99 })| {
            json!({
                "name": name,
                "rounds": rounds,
                "p50_us": micros(*p50),
                "p99_us": micros(*p99),
                "to_bare": to(*p50, bare),
                "to_bwrap": to(*p50, bwrap),
            })
        });
        json!({
            "cases": cases.collect::<Vec<_>>(),
            "jail_adds_us": self.share(JAIL, BARE).map(micros),
            "jail_adds_until_executed_us": self.share(JAIL_STARTED, BARE_STARTED).map(micros),
            "bwrap_adds_us": self.share(BWRAP, BARE).map(micros),
            "host_confine_us": self.share(CONFINE, START).map(micros),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(jail: u64) -> Value {
        let case = |(key, _): (&str, &str), micros: u64| json!({ "name": key, "micros": [micros, micros, micros] });
        let cases: Vec<Value> =
            CASES.into_iter().zip([1000, 3000, jail, 5000, 500, 2500, 2000, 2600]).map(|(names, micros)| case(names, micros)).collect();
        json!({ "cases": cases })
    }

    #[test]
    fn the_jails_share_is_told_and_judged() -> Result<()> {
        let text = parse(&sample(3900))?.text();
        assert!(text.contains("the jail adds to a spawn and its end: 2.90 ms\n") && text.contains("at most 3 ms: met\n"), "{text}");
        assert!(text.contains("confining a wasm host adds: 0.60 ms\n"), "{text}");
        assert!(parse(&sample(4100))?.text().contains("at most 3 ms: MISSED\n"));
        assert_eq!(parse(&sample(3900))?.json()["jail_adds_us"], 2900);
        Ok(())
    }

    #[test]
    fn bubblewrap_may_be_missing_and_nothing_else() -> Result<()> {
        let mut without = sample(3900);
        without["cases"][1]["name"] = "other".into();
        let jail = parse(&without)?;
        assert!(jail.text().contains("not measured: bwrap is not in PATH\n"));
        assert_eq!(jail.json()["bwrap_adds_us"], Value::Null);
        without["cases"][0]["name"] = "other".into();
        assert_eq!(parse(&without).err().map(|error| error.to_string()), Some("find the case bare".to_owned()));
        Ok(())
    }
}
