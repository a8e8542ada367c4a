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
    quiet: Duration,
    flooded: Duration,
    flood_bytes: u64,
    kept_bytes: u64,
    limit_bytes: u64,
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
    let flood = &measured["flood"];
    let limits = Limits {
        writes: (numbers(writes, "plain_ns")?.len(), count, [per_write("plain_ns")?, per_write("home_ns")?, per_write("mount_ns")?]),
        budget: Duration::from_micros(number(&measured["overruns"]["budget_us"])?),
        overruns: overruns.into_iter().collect::<Result<_>>()?,
        quiet: median(&in_micros(flood, "quiet_us")?, 50)?,
        flooded: median(&in_micros(flood, "flooded_us")?, 50)?,
        flood_bytes: number(&flood["flood_bytes"])?,
        kept_bytes: number(&flood["kept_bytes"])?,
        limit_bytes: number(&flood["limit_bytes"])?,
    };
    ensure!(
        limits.kept_bytes <= limits.limit_bytes,
        "a flood left {} bytes of log, and may leave {}",
        limits.kept_bytes,
        limits.limit_bytes
    );
    Ok(limits)
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
        let _ = writeln!(
            text,
            "a flood of {} MiB left {} KiB of log, of {} KiB allowed; its neighbour's round trip {:.2} ms, quiet {:.2} ms: {}",
            self.flood_bytes >> 20,
            self.kept_bytes >> 10,
            self.limit_bytes >> 10,
            millis(self.flooded),
            millis(self.quiet),
            times(self.flooded, self.quiet)
        );
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
            "flood": { "kept_bytes": self.kept_bytes, "limit_bytes": self.limit_bytes, "round_trip_ratio": ratio(self.flooded, self.quiet) },
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
            "flood": { "flood_bytes": 1 << 30, "quiet_us": [2000], "flooded_us": [3000], "kept_bytes": kept, "limit_bytes": 4 << 20 },
        })
    }

    #[test]
    fn medians_and_ratios_are_told() {
        let limits = parse(&measured(4 << 20)).expect("figures");
        let text = limits.text();
        assert!(text.contains("plain wasmtime 10.00 us, a home with its quota 10.40 us: 1.040 times"), "{text}");
        assert!(text.contains("a mount, which has none, 10.20 us: the quota itself costs 1.020 times"), "{text}");
        assert!(text.contains("spinning, of its CPU time: 9.0 ms, 12.0 ms later"), "{text}");
        assert!(text.contains("quiet 2.00 ms: 1.500 times"), "{text}");
        assert_eq!(limits.json()["flood"]["round_trip_ratio"], 1.5);
    }

    #[test]
    fn a_flood_that_left_too_much_is_a_failure() {
        assert!(parse(&measured((4 << 20) + 1)).is_err());
        assert!(parse(&json!({})).is_err());
    }
}
