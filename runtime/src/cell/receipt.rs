//! What a teardown did, as it is kept.

use serde::{Deserialize, Serialize};

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
        } = self;
        let mut line = format!(
            "{processes_ended} processes ended, {processes_alive} alive, {files_removed} files, {directories_removed} directories and \
             {bytes_removed} bytes removed, {} remained",
            remained.len()
        );
        if let Some(sha256) = home_sha256 {
            line = format!("{line}; home sha256 {sha256} covers {home_digest_covers}");
        }
        line
    }
}
