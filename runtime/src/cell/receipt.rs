//! What a teardown did, as it is kept.

use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Deserialize, Serialize};

/// The longest list of earlier attempts that a receipt has.
const ATTEMPTS_MOST: usize = 16;

/// What a teardown did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// Processes of the cell that were ended by the teardown.
    pub processes_ended: u32,
    /// Processes of the cell that still live: always none in a receipt that accompanies success.
    pub processes_alive: u32,
    /// Files removed (links, sockets and other non-directories included).
    pub files_removed: u64,
    /// Directories removed.
    pub directories_removed: u64,
    /// Bytes of the files removed.
    pub bytes_removed: u64,
    /// What could not be removed: escaped and bounded paths below the cell's directory.
    pub remained: Vec<String>,
    /// Processes of the cell, of all its lives, that were looked for by number and start time afterwards, and were gone: its warden and its
    /// agents or their hosts, the newest first, bounded.
    #[serde(default)]
    pub processes_verified: Vec<EndedProcess>,
    /// The SHA-256 of what the cell held when nothing lived in it any more and nothing was removed yet; none where nothing was there.
    #[serde(default)]
    pub home_sha256: Option<String>,
    /// What that digest covers: `all`, or in words what it leaves out.
    #[serde(default)]
    pub home_digest_covers: String,
    /// Whether the numbers are the least: an earlier attempt was cut short before it could write down all that it did.
    #[serde(default)]
    pub at_least: bool,
    /// Earlier attempts that did some of it, the newest last, bounded. The numbers above hold theirs.
    #[serde(default)]
    pub attempts: Vec<Attempt>,
    /// How many earlier ones are not listed.
    #[serde(default)]
    pub attempts_unlisted: u32,
}

/// What an attempt at a teardown did that did not come to its end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Attempt {
    /// When it began.
    pub at: DateTime<Utc>,
    /// On whose word, as the audit has it.
    pub actor: String,
    /// Processes that it ended.
    pub processes_ended: u32,
    /// Files that it removed.
    pub files_removed: u64,
    /// Directories that it removed.
    pub directories_removed: u64,
    /// Bytes of the files that it removed.
    pub bytes_removed: u64,
    /// Whether it was cut short before it could write down all that it did: then these numbers are the least.
    pub cut_short: bool,
}

/// A process that is gone, as it was known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndedProcess {
    /// Its number.
    pub pid: u32,
    /// When it started, in the kernel's ticks since the machine did: what makes it that process.
    pub start_ticks: u64,
}

impl Receipt {
    /// Adds what earlier attempts did, the oldest first.
    pub fn add_earlier(&mut self, attempts: Vec<Attempt>) {
        for earlier in &attempts {
            self.processes_ended = self.processes_ended.saturating_add(earlier.processes_ended);
            self.files_removed = self.files_removed.saturating_add(earlier.files_removed);
            self.directories_removed = self.directories_removed.saturating_add(earlier.directories_removed);
            self.bytes_removed = self.bytes_removed.saturating_add(earlier.bytes_removed);
            self.at_least |= earlier.cut_short;
        }
        let unlisted = attempts.len().saturating_sub(ATTEMPTS_MOST);
        self.attempts_unlisted = u32::try_from(unlisted).unwrap_or(u32::MAX);
        self.attempts = attempts.into_iter().skip(unlisted).collect();
    }

    /// Takes the digest of an earlier attempt, which saw the whole of what was there: this one saw what that had left. Where one was cut short,
    /// that is said.
    pub fn digested_before(&mut self, cut_short: Option<DateTime<Utc>>, sha256: String, covers: &str) {
        // What was missing then is known now: the earlier attempts have written it down.
        self.at_least = false;
        self.home_sha256 = Some(sha256);
        self.home_digest_covers = match cut_short {
            Some(at) => format!("{covers}, before the attempt of {}, which was cut short", second(at)),
            None => covers.to_owned(),
        };
    }

    /// Keeps its own digest, though an attempt was cut short before it took one.
    pub fn digested_after(&mut self, cut_short: Option<DateTime<Utc>>) {
        if let Some(at) = cut_short {
            self.home_digest_covers.push_str(&format!(", after the attempt of {}, which was cut short", second(at)));
        }
    }

    /// What the audit row of the teardown says of it: a receipt that says anything else is not the one that was kept.
    pub fn in_the_audit(&self) -> String {
        let Self {
            processes_ended,
            processes_alive,
            files_removed,
            directories_removed,
            bytes_removed,
            remained,
            processes_verified: _,
            home_sha256,
            home_digest_covers,
            at_least,
            attempts,
            attempts_unlisted,
        } = self;
        let least = if *at_least { "at least " } else { "" };
        let mut line = format!(
            "{least}{processes_ended} processes ended, {processes_alive} alive, {files_removed} files, {directories_removed} directories and \
             {bytes_removed} bytes removed, {} remained",
            remained.len()
        );
        let earlier = attempts.len() as u64 + u64::from(*attempts_unlisted);
        if earlier > 0 {
            line = format!("{line}; in {} attempts", earlier + 1);
        }
        if let Some(sha256) = home_sha256 {
            line = format!("{line}; home sha256 {sha256} covers {home_digest_covers}");
        }
        line
    }
}

fn second(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Secs, true)
}
