//! What limits cost, and how exactly they hold. The program `limits_bench` measures; here its figures are told.

use std::{fmt::Write as _, path::Path, time::Duration};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::{
    stats::{percentile, ratio},
    table::{micros, millis},
};
use crate::{lazarus::Lazarus, run, workspace::Workspace};

/// Rounds of the writes and of the overruns: each takes a third of a second and more.
const ROUNDS: u32 = 20;

/// What the program measured.
pub struct Limits {
    /// Batches, writes of each, and what one took: plain, into a home, into a mount.
    writes: (usize, u64, [Duration; 3]),
    budget: Duration,
    overruns: Vec<(&'static str, Duration, Duration)>,
    floods: Vec<Flood>,
}

/// A neighbour's round trips, beside a guest that is quiet and beside one that floods its log.
struct Flood {
    /// Bytes of a write, and of all of them.
    piece_bytes: u64,
    flood_bytes: u64,
    kept_bytes: u64,
    limit_bytes: u64,
    quiet: Duration,
    /// The flood is in the same cell, or in another one: the round trip, and how many times the quiet one of the same round it takes.
    beside: [(Duration, f64); 2],
}

/// Builds the program that measures, and runs it.
///
/// # Errors
/// It does not compile, a case failed, or a flood left more than its limit.
pub fn measure(workspace: &Workspace, lazarus: &Lazarus, scratch: &Path) -> Result<Limits> {
    let build = ["build", "--quiet", "--locked", "--release", "--package", "lazarus-tests", "--bin", "limits_bench"];
    run::step(run::cargo(&workspace.root).args(build))?;
    let mut command = std::process::Command::new(workspace.lazarus("release").with_file_name("limits_bench"));
    command.arg(lazarus.binary()).args(["keeper.wasm", "faulty.wasm"].map(|name| workspace.guests().join(name)));
    let output = run::output(command.arg(scratch).arg(ROUNDS.to_string()))?;
    parse(&serde_json::from_str(&output).context("parse what limits_bench measured")?)
}

fn numbers(value: &Value, name: &str) -> Result<Vec<u64>> {
    let values = value[name].as_array().with_context(|| format!("find {name}"))?;
    Ok(values.iter().filter_map(Value::as_u64).collect())
}

fn median(values: &[Duration], of_hundred: usize) -> Result<Duration> {
    percentile(values, of_hundred).context("nothing was measured")
}

fn in_micros(value: &Value, name: &str) -> Result<Vec<Duration>> {
    Ok(numbers(value, name)?.into_iter().map(Duration::from_micros).collect())
}

fn parse(measured: &Value) -> Result<Limits> {
    let number = |value: &Value| value.as_u64().context("find a number");
    let writes = &measured["writes"];
    let count = number(&writes["writes"])?;
    let per_write = |name: &str| -> Result<Duration> {
        let rounds: Vec<Duration> = numbers(writes, name)?.into_iter().map(Duration::from_nanos).collect();
        Ok(median(&rounds, 50)?.div_f64(count as f64))
    };
    let overruns = [
        ("spinning, of its CPU time", "spinning_us"),
        ("spinning in an event", "spinning_event_us"),
        ("sleeping in an event, in a host call", "sleeping_event_us"),
    ];
    let overruns = overruns.map(|(shown, name)| {
        let over = in_micros(&measured["overruns"], name)?;
        Ok((shown, median(&over, 50)?, median(&over, 100)?))
    });
    let floods = measured["flood"].as_array().context("find the floods")?.iter().map(flood).collect::<Result<_>>()?;
    Ok(Limits {
        writes: (numbers(writes, "plain_ns")?.len(), count, [per_write("plain_ns")?, per_write("home_ns")?, per_write("mount_ns")?]),
        budget: Duration::from_micros(number(&measured["overruns"]["budget_us"])?),
        overruns: overruns.into_iter().collect::<Result<_>>()?,
        floods,
    })
}

/// The median of each round.
fn rounds(value: &Value, name: &str) -> Result<Vec<Duration>> {
    let rounds = value[name].as_array().with_context(|| format!("find {name}"))?;
    let round = |round: &Value| -> Result<Duration> {
        let times: Vec<Duration> = round.as_array().into_iter().flatten().filter_map(Value::as_u64).map(Duration::from_micros).collect();
        median(&times, 50)
    };
    rounds.iter().map(round).collect()
}

fn flood(measured: &Value) -> Result<Flood> {
    let number = |name: &str| measured[name].as_u64().with_context(|| format!("find {name}"));
    let (kept_bytes, limit_bytes) = (number("kept_bytes")?, number("limit_bytes")?);
    ensure!(kept_bytes <= limit_bytes, "a flood left {kept_bytes} bytes of log, and may leave {limit_bytes}");
    let quiet = rounds(measured, "quiet_us")?;
    let beside = |name: &str| -> Result<(Duration, f64)> {
        let flooded = rounds(measured, name)?;
        let mut ratios: Vec<f64> = flooded.iter().zip(&quiet).map(|(flooded, quiet)| flooded.as_secs_f64() / quiet.as_secs_f64()).collect();
        ratios.sort_by(f64::total_cmp);
        Ok((median(&flooded, 50)?, *ratios.get(ratios.len() / 2).context("nothing was measured")?))
    };
    Ok(Flood {
        piece_bytes: number("piece_bytes")?,
        flood_bytes: number("flood_bytes")?,
        kept_bytes,
        limit_bytes,
        quiet: median(&quiet, 50)?,
        beside: [beside("same_cell_us")?, beside("other_cell_us")?],
    })
}

impl Limits {
    /// For people.
    pub fn text(&self) -> String {
        let (batches, count, [plain, home, mount]) = &self.writes;
        let mut text = format!("\nwrites of 64 KiB, preview 1, {batches} batches of {count} in turn, p50\n");
        // Writing to a string cannot fail.
        let _ =
            writeln!(text, "  plain wasmtime {:.2} us, a home with its quota {:.2} us: {}", us(*plain), us(*home), times(*home, *plain));
        let _ = writeln!(text, "  a mount, which has none, {:.2} us: the quota itself costs {}", us(*mount), times(*home, *mount));
        let _ = writeln!(text, "ended after a budget of {} ms, p50 and worst", self.budget.as_millis());
        for (name, p50, worst) in &self.overruns {
            let _ = writeln!(text, "  {name}: {:.1} ms, {:.1} ms later", millis(*p50), millis(*worst));
        }
        for flood in &self.floods {
            let [(same, same_ratio), (other, other_ratio)] = flood.beside;
            let _ = writeln!(
                text,
                "a flood of {} MiB in writes of {} bytes left {} KiB of log, of {} KiB allowed",
                flood.flood_bytes >> 20,
                flood.piece_bytes,
                flood.kept_bytes >> 10,
                flood.limit_bytes >> 10
            );
            let _ = writeln!(
                text,
                "  a neighbour's round trip, quiet {:.2} ms; in its cell {:.2} ms: {same_ratio:.2} times; in another {:.2} ms: {other_ratio:.2} times",
                millis(flood.quiet),
                millis(same),
                millis(other)
            );
        }
        text
    }

    /// For programs.
    pub fn json(&self) -> Value {
        let (_, _, [plain, home, mount]) = &self.writes;
        let overruns =
            self.overruns.iter().map(|(name, p50, worst)| json!({ "name": name, "p50_us": micros(*p50), "worst_us": micros(*worst) }));
        json!({
            "write_64_kib": {
                "plain_us": us(*plain),
                "home_us": us(*home),
                "mount_us": us(*mount),
                "ratio": ratio(*home, *plain),
                "ratio_to_mount": ratio(*home, *mount),
            },
            "overruns": overruns.collect::<Vec<_>>(),
            "floods": self.floods.iter().map(Flood::json).collect::<Vec<_>>(),
        })
    }
}

impl Flood {
    fn json(&self) -> Value {
        let [(_, same), (_, other)] = self.beside;
        json!({
            "write_bytes": self.piece_bytes,
            "kept_bytes": self.kept_bytes,
            "limit_bytes": self.limit_bytes,
            "round_trip_ratio": same,
            "round_trip_ratio_other_cell": other,
        })
    }
}

fn us(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}

fn times(value: Duration, base: Duration) -> String {
    ratio(value, base).map_or_else(|| "-".to_owned(), |ratio| format!("{ratio:.3} times"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(kept: u64) -> Value {
        json!({
            "writes": {
                "writes": 10,
                "plain_ns": [100_000, 200_000, 100_000],
                "home_ns": [104_000, 300_000, 104_000],
                "mount_ns": [103_000, 102_000, 90_000],
            },
            "overruns": { "budget_us": 300_000, "spinning_us": [9000, 12_000], "spinning_event_us": [5000], "sleeping_event_us": [4000] },
            "flood": [{
                "piece_bytes": 65536, "flood_bytes": 1 << 30, "kept_bytes": kept, "limit_bytes": 4 << 20,
                // The machine is busy in the second round.
                "quiet_us": [[2000, 2000, 9000], [20_000], [2000]], "same_cell_us": [[3000], [30_000], [3000]], "other_cell_us": [[2000], [20_000], [2000]],
            }],
        })
    }

    #[test]
    fn medians_and_ratios_are_told() {
        let limits = parse(&measured(4 << 20)).expect("figures");
        let text = limits.text();
        assert!(text.contains("plain wasmtime 10.00 us, a home with its quota 10.40 us: 1.040 times"), "{text}");
        assert!(text.contains("a mount, which has none, 10.20 us: the quota itself costs 1.020 times"), "{text}");
        assert!(text.contains("spinning, of its CPU time: 9.0 ms, 12.0 ms later"), "{text}");
        assert!(text.contains("quiet 2.00 ms; in its cell 3.00 ms: 1.50 times; in another 2.00 ms: 1.00 times"), "{text}");
        assert_eq!(limits.json()["floods"][0]["round_trip_ratio"], 1.5);
    }

    #[test]
    fn a_flood_that_left_too_much_is_a_failure() {
        assert!(parse(&measured((4 << 20) + 1)).is_err());
        assert!(parse(&json!({})).is_err());
    }
}
