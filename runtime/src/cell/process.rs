//! What makes a process that process: its pid alone does not.

use serde::{Deserialize, Serialize};

/// The lasting identity of a process: a pid is reused within microseconds, and starts again from one at each boot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessRef {
    /// The pid, as the operator's pid namespace counts.
    pub pid: u32,
    /// When it started, in clock ticks since boot: field 22 of `/proc/<pid>/stat`, proc_pid_stat(5).
    pub start_ticks: u64,
    /// `/proc/sys/kernel/random/boot_id` of the boot in which it lived.
    pub boot_id: String,
}
