//! Sizes and durations as people write them. Zero is refused everywhere: it never means "unlimited".

use std::{fmt, num::NonZeroU64, str::FromStr, time::Duration};

use serde::{Deserialize, Serialize};

/// The longest duration that Lazarus accepts, about ten years: beyond it, sums with the clock could overflow.
const LONGEST_SECONDS: u64 = 10 * 366 * 24 * 60 * 60;

/// Why a size or a duration was refused. The text given is quoted and bounded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QuantityError {
    /// Not of the form `<whole number><unit>`.
    #[error("parse {given:?} as {what}: write a whole number and a unit, such as {example}")]
    Form {
        /// What was given, at most 40 characters of it.
        given: String,
        /// "a size" or "a duration".
        what: &'static str,
        /// What would have been accepted.
        example: &'static str,
    },
    /// Zero, which would be either useless or mistaken for "unlimited".
    #[error("accept {given:?}: zero is not a limit; leave the option out for the default")]
    Zero {
        /// What was given.
        given: String,
    },
    /// Larger than can be represented.
    #[error("accept {given:?}: it is larger than Lazarus can count")]
    TooLarge {
        /// What was given.
        given: String,
    },
}

fn quote(given: &str) -> String {
    crate::cell::text::quoted(given, 40)
}

/// Splits `90m` into its number and its unit.
fn split(given: &str, what: &'static str, example: &'static str) -> Result<(u64, String), QuantityError> {
    let form = || QuantityError::Form { given: quote(given), what, example };
    let text = given.trim();
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    if number.is_empty() {
        return Err(form());
    }
    let number = number.parse().map_err(|_| QuantityError::TooLarge { given: quote(given) })?;
    Ok((number, unit.trim_start().to_ascii_lowercase()))
}

/// A number of bytes, at least one.
///
/// Written as `65536`, `64KiB`, `64MiB`, `2GiB` (powers of 1024) or `64KB`, `64MB`, `2GB` (powers of 1000).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ByteSize(NonZeroU64);

impl ByteSize {
    /// A size in bytes; `None` for zero.
    pub const fn new(bytes: u64) -> Option<Self> {
        match NonZeroU64::new(bytes) {
            Some(bytes) => Some(Self(bytes)),
            None => None,
        }
    }

    /// A size in MiB, for constants. Zero counts as one byte.
    pub const fn mib(count: u64) -> Self {
        match Self::new(count * 1024 * 1024) {
            Some(size) => size,
            None => Self(NonZeroU64::MIN),
        }
    }

    /// A size in KiB, for constants. Zero counts as one byte.
    pub const fn kib(count: u64) -> Self {
        match Self::new(count * 1024) {
            Some(size) => size,
            None => Self(NonZeroU64::MIN),
        }
    }

    /// The size in bytes.
    pub const fn bytes(self) -> u64 {
        self.0.get()
    }

    /// The size in bytes as an index; saturates where `usize` is smaller.
    pub fn as_usize(self) -> usize {
        usize::try_from(self.bytes()).unwrap_or(usize::MAX)
    }
}

impl FromStr for ByteSize {
    type Err = QuantityError;

    fn from_str(given: &str) -> Result<Self, Self::Err> {
        const EXAMPLE: &str = "64MiB";
        let (number, unit) = split(given, "a size", EXAMPLE)?;
        let factor: u64 = match unit.as_str() {
            "" | "b" => 1,
            "k" | "kib" => 1 << 10,
            "m" | "mib" => 1 << 20,
            "g" | "gib" => 1 << 30,
            "t" | "tib" => 1 << 40,
            "kb" => 1_000,
            "mb" => 1_000_000,
            "gb" => 1_000_000_000,
            _ => return Err(QuantityError::Form { given: quote(given), what: "a size", example: EXAMPLE }),
        };
        let bytes = number.checked_mul(factor).ok_or_else(|| QuantityError::TooLarge { given: quote(given) })?;
        // Sizes meet signed 64-bit columns and off_t: keep them below that.
        if bytes > i64::MAX as u64 {
            return Err(QuantityError::TooLarge { given: quote(given) });
        }
        Self::new(bytes).ok_or_else(|| QuantityError::Zero { given: quote(given) })
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = self.bytes();
        let text = [("GiB", 1_u64 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)]
            .iter()
            .find(|(_, unit)| bytes >= *unit && bytes.is_multiple_of(*unit))
            .map_or_else(|| format!("{bytes} B"), |(name, unit)| format!("{} {name}", bytes / unit));
        f.pad(&text)
    }
}

fn seconds_of(number: u64, unit: &str, given: &str) -> Result<Duration, QuantityError> {
    let form = || QuantityError::Form { given: quote(given), what: "a duration", example: "90m" };
    let large = || QuantityError::TooLarge { given: quote(given) };
    let duration = match unit {
        "ms" => Duration::from_millis(number),
        "s" => Duration::from_secs(number),
        "m" | "min" => Duration::from_secs(number.checked_mul(60).ok_or_else(large)?),
        "h" => Duration::from_secs(number.checked_mul(3600).ok_or_else(large)?),
        "d" => Duration::from_secs(number.checked_mul(86_400).ok_or_else(large)?),
        _ => return Err(form()),
    };
    if duration.as_secs() > LONGEST_SECONDS {
        return Err(large());
    }
    Ok(duration)
}

/// Parses a duration: `250ms`, `5s`, `90m`, `2h`, `1d`. Zero is allowed here (a grace of `0s` is a wish);
/// where zero would be a limit, use [`parse_ttl`].
///
/// # Errors
/// Anything else, with an example of what is accepted.
pub fn parse_duration(given: &str) -> Result<Duration, QuantityError> {
    let (number, unit) = split(given, "a duration", "90m")?;
    seconds_of(number, &unit, given)
}

/// Parses a limit in time: as [`parse_duration`], but a bare number counts minutes, and zero is refused.
///
/// # Errors
/// Zero, and anything that is not a duration.
pub fn parse_ttl(given: &str) -> Result<Duration, QuantityError> {
    let (number, unit) = split(given, "a duration", "90m")?;
    let unit = if unit.is_empty() { "m" } else { unit.as_str() };
    let duration = seconds_of(number, unit, given)?;
    if duration.is_zero() {
        return Err(QuantityError::Zero { given: quote(given) });
    }
    Ok(duration)
}

/// Writes a duration as people read it, in at most two units: `45s`, `12m 30s`, `3h 5m`, `2d 4h`.
pub fn format_duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    if seconds == 0 && !duration.is_zero() {
        return format!("{}ms", duration.as_millis());
    }
    let (days, hours, minutes, rest) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    let pair = |a: u64, an: &str, b: u64, bn: &str| if b == 0 { format!("{a}{an}") } else { format!("{a}{an} {b}{bn}") };
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{rest}s"),
        (0, 0, _) => pair(minutes, "m", rest, "s"),
        (0, ..) => pair(hours, "h", minutes, "m"),
        _ => pair(days, "d", hours, "h"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_and_written() {
        for (text, bytes) in [("65536", 65_536), ("64KiB", 65_536), ("64 MiB", 64 << 20), ("2g", 2 << 30), ("3KB", 3000)] {
            assert_eq!(text.parse::<ByteSize>().map(ByteSize::bytes), Ok(bytes), "{text}");
        }
        for text in ["", "MiB", "-1", "1.5MiB", "12parsecs", "0", "0MiB", "99999999999999999999", "9999999TiB"] {
            assert!(text.parse::<ByteSize>().is_err(), "{text}");
        }
        assert_eq!(ByteSize::mib(64).to_string(), "64 MiB");
    }

    #[test]
    fn a_bare_ttl_counts_minutes_and_zero_is_refused() {
        assert_eq!(parse_ttl("60"), Ok(Duration::from_secs(3600)));
        assert_eq!(parse_ttl("5s"), Ok(Duration::from_secs(5)));
        assert_eq!(parse_ttl("1d"), Ok(Duration::from_secs(86_400)));
        assert!(matches!(parse_ttl("0"), Err(QuantityError::Zero { .. })));
        assert!(matches!(parse_ttl("0s"), Err(QuantityError::Zero { .. })));
        assert!(matches!(parse_ttl("99999999999d"), Err(QuantityError::TooLarge { .. })));
        assert!(parse_ttl("soon").is_err());
        assert!(parse_duration("10").is_err());
        assert_eq!(parse_duration("0s"), Ok(Duration::ZERO));
    }

    #[test]
    fn durations_are_written_in_two_units() {
        for (seconds, text) in [(45, "45s"), (750, "12m 30s"), (11_100, "3h 5m"), (187_200, "2d 4h"), (60, "1m")] {
            assert_eq!(format_duration(Duration::from_secs(seconds)), text);
        }
    }
}
