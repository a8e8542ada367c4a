//! What can be typed after `lazarus audit` and `lazarus receipt`.

use std::path::PathBuf;

use chrono::{DateTime, Local, NaiveDateTime, TimeZone, Utc};
use clap::{
    Args, Subcommand,
    builder::{PossibleValuesParser, TypedValueParser},
};

use super::args::plain;
use crate::{
    audit::{Action, Phase},
    cell::{CellId, Identity},
    policy::parse_duration,
    registry::BEFORE_JOINING,
    seal::PublicKey,
};

/// Rows that are shown unless it is said.
const ROWS_SHOWN: u32 = 1000;
/// Who acts without being a member or the operator.
const OTHER_ACTORS: [&str; 3] = ["warden", "sweep", BEFORE_JOINING];

/// The commands of `lazarus audit`.
#[derive(Debug, Subcommand)]
pub enum AuditCommand {
    /// Recompute the chain, and compare it with a head that was exported before: two verdicts, integrity and completeness
    Verify {
        /// A head that `audit head` wrote, or a file with a row's number, ':' and its hash; - is standard input
        #[arg(long, value_name = "FILE")]
        against: Option<PathBuf>,
        /// The public key that must have signed it [default: any key of this root, which proves less]
        #[arg(long, value_name = "PUBLICKEY", value_parser = plain::<PublicKey>, requires = "against")]
        key: Option<PublicKey>,
    },
    /// Show rows, the newest last
    Show(Box<ShowArgs>),
    /// Make the key that heads and receipts are signed with; prints its public half
    Keygen {
        /// Also where there is one; what it signed can still be checked
        #[arg(long)]
        replace: bool,
    },
    /// Sign the newest row and print that, to be kept elsewhere
    Head {
        /// The file to make [default: standard output]
        #[arg(short, long, value_name = "FILE")]
        output: Option<PathBuf>,
    },
}

/// Which rows to show.
#[derive(Debug, Args)]
pub struct ShowArgs {
    /// Only those of one cell
    #[arg(long, value_name = "CELL", value_parser = plain::<CellId>)]
    pub cell: Option<CellId>,
    /// Only what one actor did: agent:NAME, bot:NAME, human:NAME, warden or sweep
    #[arg(long, value_name = "IDENTITY", value_parser = actor)]
    pub actor: Option<String>,
    /// Only one action
    #[arg(long, value_name = "NAME", value_parser = action(), hide_possible_values = true)]
    pub action: Option<Action>,
    /// Only one phase
    #[arg(long, value_name = "PHASE", value_parser = phase())]
    pub phase: Option<Phase>,
    /// Only those from this time on: 2h (ago), 2026-01-31, 2026-01-31 12:00:00 (local), or with its zone as RFC 3339 has it
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub since: Option<DateTime<Utc>>,
    /// Only those before this time
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub until: Option<DateTime<Utc>>,
    /// At most so many, the newest
    #[arg(short = 'n', long, value_name = "COUNT", default_value_t = ROWS_SHOWN, value_parser = clap::value_parser!(u32).range(1..))]
    pub lines: u32,
}

/// What `lazarus receipt` is given.
#[derive(Debug, Args)]
pub struct ReceiptArgs {
    /// The destroyed cell
    #[arg(required_unless_present = "verify")]
    pub cell: Option<String>,
    /// Also write it into this new file
    #[arg(short, long, value_name = "FILE", conflicts_with = "verify")]
    pub output: Option<PathBuf>,
    /// Check a receipt that was exported; needs no root where --key is given
    #[arg(long, value_name = "FILE", conflicts_with = "cell")]
    pub verify: Option<PathBuf>,
    /// The public key that must have signed it [default: any key of this root, which proves less]
    #[arg(long, value_name = "PUBLICKEY", value_parser = plain::<PublicKey>, requires = "verify")]
    pub key: Option<PublicKey>,
}

fn action() -> impl TypedValueParser<Value = Action> {
    PossibleValuesParser::new(Action::ALL.iter().map(|action| action.as_str())).try_map(|word| word.parse::<Action>())
}

fn phase() -> impl TypedValueParser<Value = Phase> {
    PossibleValuesParser::new(Phase::ALL.iter().map(|phase| phase.as_str())).try_map(|word| word.parse::<Phase>())
}

fn actor(given: &str) -> Result<String, String> {
    if OTHER_ACTORS.contains(&given) {
        return Ok(given.to_owned());
    }
    plain::<Identity>(given).map(|identity| identity.to_string()).map_err(|accepted| format!("{accepted}; or {}", OTHER_ACTORS.join(", ")))
}

fn time(given: &str) -> Result<DateTime<Utc>, String> {
    const ACCEPTED: &str = "write a duration ago (30m, 2h, 7d), a date (2026-01-31), a local time (2026-01-31 12:00:00) or RFC 3339";
    if let Ok(at) = DateTime::parse_from_rfc3339(given) {
        return Ok(at.to_utc());
    }
    let midnight = format!("{given} 00:00:00");
    for text in [given, midnight.as_str()] {
        if let Ok(naive) = NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S") {
            // In the hour that a clock is set back by, the earlier one.
            return Local.from_local_datetime(&naive).earliest().map(|at| at.to_utc()).ok_or_else(|| ACCEPTED.to_owned());
        }
    }
    let ago = parse_duration(given).map_err(|_| ACCEPTED.to_owned())?;
    let ago = chrono::Duration::from_std(ago).map_err(|_| ACCEPTED.to_owned())?;
    Utc::now().checked_sub_signed(ago).ok_or_else(|| ACCEPTED.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_ago_local_or_zoned_and_nothing_else() {
        assert_eq!(time("2026-01-31T12:00:00+02:00").expect("zoned").to_rfc3339(), "2026-01-31T10:00:00+00:00");
        let local = Local.with_ymd_and_hms(2026, 1, 31, 0, 0, 0).earliest().expect("a time").to_utc();
        assert_eq!((time("2026-01-31").expect("a date"), time("2026-01-31 00:00:00").expect("a time")), (local, local));
        let ago = Utc::now() - time("2h").expect("ago");
        assert!((7199..7210).contains(&ago.num_seconds()), "{ago}");
        for bad in ["", "yesterday", "2026-13-01", "2026-01-31T12:00", "-2h", "99999999999999d"] {
            assert!(time(bad).expect_err(bad).contains("RFC 3339"), "{bad}");
        }
    }

    #[test]
    fn actors_are_identities_and_the_few_others() {
        for good in ["agent:a", "human:alice", "warden", "sweep", "somebody with a token"] {
            assert_eq!(actor(good).as_deref(), Ok(good));
        }
        assert!(actor("alice").expect_err("a plain name").contains("warden"));
    }
}
