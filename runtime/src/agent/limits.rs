//! Limits by the names that definitions and command lines call them.

use std::{num::NonZeroU32, time::Duration};

use crate::policy::{ByteSize, COUNTS, Limits, LimitsError, QuantityError, parse_duration};

/// Every limit, as definitions (`[limits]`) and command lines (`--memory SIZE`) call it.
pub const LIMIT_NAMES: [&str; 15] = [
    "memory",
    "table-elements",
    "instances",
    "stack",
    "cpu",
    "event",
    "idle",
    "messages",
    "hostcall",
    "random",
    "open-files",
    "processes",
    "home",
    "files",
    "log",
];

/// Why a limit was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LimitError {
    /// There is none of that name.
    #[error("set limit {name:?}: there is no such limit{hint}; the limits are {all}", all = LIMIT_NAMES.join(", "))]
    Unknown {
        /// What was given, bounded.
        name: String,
        /// A name that may have been meant.
        hint: String,
    },
    /// Not a size, or not a duration.
    #[error("set limit {name}")]
    Quantity {
        /// The limit.
        name: &'static str,
        /// What is wrong with the value.
        #[source]
        source: QuantityError,
    },
    /// Not a count.
    #[error("set limit {name}: {given:?} is not a whole number from {least} to {most}")]
    Count {
        /// The limit.
        name: &'static str,
        /// What was given, bounded.
        given: String,
        /// The least that it can be.
        least: u32,
        /// The most.
        most: u32,
    },
    /// Out of its range.
    #[error(transparent)]
    Range(#[from] LimitsError),
}

fn size(name: &'static str, value: &str) -> Result<ByteSize, LimitError> {
    value.parse().map_err(|source| LimitError::Quantity { name, source })
}

fn count(name: &'static str, value: &str) -> Result<NonZeroU32, LimitError> {
    let (_, least, most) = COUNTS.into_iter().find(|(known, ..)| *known == name).unwrap_or((name, 1, u32::MAX));
    value.trim().parse().map_err(|_| LimitError::Count { name, given: crate::cell::text::quoted(value, 40), least, most })
}

fn time(name: &'static str, value: &str) -> Result<Duration, LimitError> {
    let duration = parse_duration(value).map_err(|source| LimitError::Quantity { name, source })?;
    if duration.is_zero() {
        let source = QuantityError::Zero { given: crate::cell::text::quoted(value, 40) };
        return Err(LimitError::Quantity { name, source });
    }
    Ok(duration)
}

/// Sets one limit by its name. Its range is checked with all the others, by [`Limits::check`].
///
/// # Errors
/// There is no such limit, or the value is none of its kind.
pub fn set_limit(limits: &mut Limits, name: &str, value: &str) -> Result<(), LimitError> {
    match name {
        "memory" => limits.memory = size("memory", value)?,
        "table-elements" => limits.table_elements = count("table-elements", value)?,
        "instances" => limits.instances = count("instances", value)?,
        "stack" => limits.stack = size("stack", value)?,
        "cpu" => limits.cpu = time("cpu", value)?,
        "event" => limits.event = time("event", value)?,
        "idle" => limits.idle = time("idle", value)?,
        "messages" => limits.messages = count("messages", value)?,
        "hostcall" => limits.hostcall = size("hostcall", value)?,
        "random" => limits.random = size("random", value)?,
        "open-files" => limits.open_files = count("open-files", value)?,
        "processes" => limits.processes = count("processes", value)?,
        "home" => limits.home = size("home", value)?,
        "files" => limits.files = count("files", value)?,
        "log" => limits.log = size("log", value)?,
        _ => {
            return Err(LimitError::Unknown { name: crate::cell::text::quoted(name, 40), hint: super::reader::hint(name, &LIMIT_NAMES) });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_limit_is_set_by_its_name_and_by_no_other() {
        let before = Limits::default();
        for name in LIMIT_NAMES {
            let value = if ["cpu", "event", "idle"].contains(&name) { "7s" } else { "70000" };
            let mut limits = before.clone();
            set_limit(&mut limits, name, value).expect(name);
            let changed = serde_json::to_value(&limits).expect("json");
            let differing = serde_json::to_value(&before)
                .expect("json")
                .as_object()
                .expect("an object")
                .iter()
                .filter(|(key, value)| changed.get(key.as_str()) != Some(value))
                .map(|(key, _)| key.replace('_', "-"))
                .collect::<Vec<_>>();
            assert_eq!(differing, [name]);
        }
        assert_eq!(serde_json::to_value(&before).expect("json").as_object().expect("an object").len(), LIMIT_NAMES.len());
    }

    /// What a value comes to, by a definition or a command line: set, then checked with all the others.
    fn taken(name: &str, value: &str) -> Result<Limits, LimitError> {
        let mut limits = Limits::default();
        set_limit(&mut limits, name, value)?;
        limits.check()?;
        Ok(limits)
    }

    #[test]
    fn zero_negative_overflowing_and_missing_values_are_refused_for_every_limit() {
        for name in LIMIT_NAMES {
            for value in [
                "0",
                "00",
                "-0",
                "-1",
                "",
                " ",
                "0.0",
                "+",
                "-",
                "NaN",
                "inf",
                "unlimited",
                "none",
                "max",
                "true",
                "0x10",
                "1e3",
                "1 2 3",
                "\u{0}",
                "-1s",
                "-1KiB",
                "18446744073709551616",
                "18446744073709551616TiB",
                "99999999999999999999999999",
                "18446744073709551615TiB",
                "18446744073709551616h",
                "18446744073709551615h",
            ] {
                let error = taken(name, value).expect_err(&format!("{name} = {value:?}"));
                assert!(error.to_string().contains(name), "{name} = {value:?}: {error}");
            }
            for value in ["0", "0B", "0KiB", "0s", "0ms", "0h"] {
                assert!(taken(name, value).is_err(), "{name} = {value}: zero never means unlimited");
            }
            // Its own default, written out, is the allowed twin.
            let defaults = serde_json::to_value(Limits::default()).expect("json");
            assert!(defaults.get(name.replace('-', "_")).is_some(), "{name} has a default");
        }
    }

    #[test]
    fn a_limit_beyond_its_range_is_named_with_the_ends_of_it() {
        for (name, low, high) in [
            ("memory", "1KiB", "2TiB"),
            ("stack", "1KiB", "64MiB"),
            ("hostcall", "1KiB", "1GiB"),
            ("random", "1", "2MiB"),
            ("home", "63KiB", "17TiB"),
            ("log", "1KiB", "17GiB"),
            ("open-files", "15", "65537"),
            ("files", "63", "10000001"),
            ("messages", "0", "100001"),
            ("processes", "0", "65537"),
            ("instances", "0", "10001"),
            ("table-elements", "0", "10000001"),
            ("event", "0s", "25h"),
            ("idle", "0s", "25h"),
        ] {
            for value in [low, high] {
                let error = taken(name, value).expect_err(name).to_string();
                assert!(error.contains(name), "{name} = {value}: {error}");
            }
        }
        assert_eq!(taken("files", "64").expect("the least").files.get(), 64);
        assert_eq!(taken("files", "10000000").expect("the most").files.get(), 10_000_000);
    }

    #[test]
    fn what_is_no_limit_is_refused() {
        let mut limits = Limits::default();
        let error = set_limit(&mut limits, "memroy", "1MiB").expect_err("refused");
        assert!(error.to_string().contains("did you mean `memory`?"), "{error}");
        for (name, value) in [
            ("memory", "0"),
            ("memory", "lots"),
            ("cpu", "5"),
            ("cpu", "0s"),
            ("instances", "0"),
            ("instances", "-1"),
            ("processes", "4294967296"),
        ] {
            assert!(set_limit(&mut limits, name, value).is_err(), "{name} = {value}");
        }
        assert_eq!(limits, Limits::default());
    }
}
