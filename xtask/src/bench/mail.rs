//! What messages cost, beside a bare socket and a bare durable commit. The program `mail_bench` measures; here its figures are told.

use std::{fmt::Write as _, path::Path, time::Duration};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::{
    stats::{percentile, ratio},
    table::{self, Percentiles, against, micros, millis},
};
use crate::{lazarus::Lazarus, run, workspace::Workspace};

/// What everything is compared to: nothing is kept, and nobody is protected from anybody.
const SOCKET: &str = "socket";
/// What everything is compared to, besides: nothing durable is faster.
const SQLITE: &str = "sqlite";

/// A case as the program calls it, and in the table.
const CASES: [(&str, &str); 5] = [
    (SOCKET, "UNIX socket, 64 bytes there and back"),
    (SQLITE, "SQLite, one durable commit"),
    ("warm", "message and answer"),
    ("command", "lazarus send CELL hello --wait"),
    ("asleep", "message and answer, agent idle"),
];

/// What the program measured.
pub struct Mail {
    cases: Vec<(&'static str, &'static str, usize, Percentiles)>,
    team: Team,
}

/// A cell of many agents.
struct Team {
    agents: u64,
    summoned: Duration,
    accepted: Duration,
    handled: Duration,
    destroyed: Duration,
    /// Private memory of the warden and of the host while all sleep: before any message, and after.
    idle_kib: (u64, u64),
    idle_after_kib: (u64, u64),
}

/// Builds the program that measures, and runs it.
///
/// # Errors
/// It does not compile, or a case failed.
pub fn measure(workspace: &Workspace, lazarus: &Lazarus, keeper: &Path, scratch: &Path, rounds: u32) -> Result<Mail> {
    let build = ["build", "--quiet", "--locked", "--release", "--package", "lazarus-tests", "--bin", "mail_bench"];
    run::step(run::cargo(&workspace.root).args(build))?;
    let mut command = std::process::Command::new(workspace.lazarus("release").with_file_name("mail_bench"));
    command.arg(lazarus.binary()).arg(keeper).arg(scratch).arg(rounds.to_string());
    let output = run::output(&mut command)?;
    parse(&serde_json::from_str(&output).context("parse what mail_bench measured")?)
}

fn parse(measured: &Value) -> Result<Mail> {
    let duration = |value: &Value| value.as_u64().map(Duration::from_micros);
    let case = |(key, name): (&'static str, &'static str)| {
        let found = measured["cases"].as_array()?.iter().find(|case| case["name"] == key)?;
        let times: Vec<Duration> = found["micros"].as_array()?.iter().filter_map(duration).collect();
        let figures = Percentiles { p50: percentile(&times, 50)?, p99: percentile(&times, 99)? };
        Some((key, name, times.len(), figures))
    };
    let cases = CASES.into_iter().map(|names| case(names).with_context(|| format!("find the case {}", names.0)));
    let team = &measured["team"];
    let number = |value: &Value, name: &str| value[name].as_u64().with_context(|| format!("find {name} of the team"));
    let time = |name: &str| number(team, name).map(Duration::from_micros);
    let memory = |name: &str| Ok::<_, anyhow::Error>((number(&team[name], "warden")?, number(&team[name], "host")?));
    Ok(Mail {
        cases: cases.collect::<Result<_>>()?,
        team: Team {
            agents: number(team, "agents")?,
            summoned: time("summon_us")?,
            accepted: time("accepted_us")?,
            handled: time("handled_us")?,
            destroyed: time("destroy_us")?,
            idle_kib: memory("idle_kib")?,
            idle_after_kib: memory("idle_after_kib")?,
        },
    })
}

impl Mail {
    fn median(&self, wanted: &str) -> Option<Duration> {
        self.cases.iter().find(|(key, ..)| *key == wanted).map(|(.., figures)| figures.p50)
    }

    /// Writes the table for people.
    pub fn text(&self) -> String {
        let mut text = String::from("\n");
        let (socket, sqlite) = (self.median(SOCKET), self.median(SQLITE));
        table::row(&mut text, ["", "p50 ms", "p99 ms", "to socket", "to SQLite"]);
        for (_, name, _, Percentiles { p50, p99 }) in &self.cases {
            let (p50_ms, p99_ms) = (format!("{:.3}", millis(*p50)), format!("{:.3}", millis(*p99)));
            table::row(&mut text, [name, &p50_ms, &p99_ms, &against(*p50, socket), &against(*p50, sqlite)]);
        }
        let Team { agents, summoned, accepted, handled, destroyed, idle_kib, idle_after_kib } = &self.team;
        let seconds = |time: &Duration| format!("{:.2} s", time.as_secs_f64());
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "\na team of {agents}: summoned in {}, a message to each accepted in {} and handled in {}, destroyed in {}",
            seconds(summoned),
            seconds(accepted),
            seconds(handled),
            seconds(destroyed)
        );
        for (when, (warden, host)) in [("idle from the start", idle_kib), ("idle again", idle_after_kib)] {
            let _ = writeln!(text, "its private memory, {when}: warden {warden} KiB, host {host} KiB");
        }
        text
    }

    /// Gives the figures for programs: times in microseconds.
    pub fn json(&self) -> Value {
        let (socket, sqlite) = (self.median(SOCKET), self.median(SQLITE));
        let to = |value: Duration, base: Option<Duration>| base.and_then(|base| ratio(value, base));
        let cases = self.cases.iter().map(|(_, name, rounds, Percentiles { p50, p99 })| {
            json!({
                "name": name,
                "rounds": rounds,
                "p50_us": micros(*p50),
                "p99_us": micros(*p99),
                "to_socket": to(*p50, socket),
                "to_sqlite": to(*p50, sqlite),
            })
        });
        let Team { agents, summoned, accepted, handled, destroyed, idle_kib, idle_after_kib } = &self.team;
        let memory = |(warden, host): &(u64, u64)| json!({ "warden": warden, "host": host });
        json!({
            "cases": cases.collect::<Vec<_>>(),
            "team": {
                "agents": agents,
                "summon_us": micros(*summoned),
                "accepted_us": micros(*accepted),
                "handled_us": micros(*handled),
                "destroy_us": micros(*destroyed),
                "idle_kib": memory(idle_kib),
                "idle_after_kib": memory(idle_after_kib),
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Value {
        let case = |(key, _): (&str, &str), micros: u64| json!({ "name": key, "micros": [micros, micros, micros] });
        let cases: Vec<Value> = CASES.into_iter().zip([10, 400, 1600, 5000, 3000]).map(|(names, micros)| case(names, micros)).collect();
        let memory = json!({ "warden": 50_000, "host": 32_000 });
        json!({ "cases": cases, "team": {
            "agents": 1000, "summon_us": 500_000, "accepted_us": 90_000, "handled_us": 650_000, "destroy_us": 1_300_000,
            "idle_kib": memory, "idle_after_kib": memory,
        } })
    }

    #[test]
    fn the_table_has_both_ratios_and_the_team() -> Result<()> {
        let text = parse(&sample())?.text();
        assert!(text.contains("message and answer                          1.600      1.600     160.0x       4.0x\n"), "{text}");
        assert!(text.contains("a team of 1000: summoned in 0.50 s, a message to each accepted in 0.09 s and handled in 0.65 s"), "{text}");
        assert!(text.contains("idle again: warden 50000 KiB, host 32000 KiB\n"), "{text}");
        Ok(())
    }

    #[test]
    fn the_json_has_the_same_figures() -> Result<()> {
        let value = parse(&sample())?.json();
        assert_eq!(value["cases"][2]["to_sqlite"], 4.0);
        assert_eq!(value["cases"][2]["rounds"], 3);
        assert_eq!(value["team"]["handled_us"], 650_000);
        Ok(())
    }

    #[test]
    fn a_case_that_is_missing_is_an_error_with_its_name() {
        let mut measured = sample();
        measured["cases"][4]["name"] = "other".into();
        assert_eq!(parse(&measured).err().map(|error| error.to_string()), Some("find the case asleep".to_owned()));
    }
}
