//! The machine that measures: figures mean nothing without it.

use std::{fs, thread};

/// What decides the figures.
pub struct Machine {
    /// Processors that this process may use.
    pub cores: usize,
    /// The kernel's release.
    pub kernel: String,
    /// The processor's name.
    pub processor: String,
}

/// Describes this machine; what it does not tell is "unknown".
pub fn describe() -> Machine {
    let read = |file: &str| fs::read_to_string(file).unwrap_or_default();
    let unknown = || "unknown".to_owned();
    let cpuinfo = read("/proc/cpuinfo");
    let processor = cpuinfo.lines().find_map(|line| Some(line.strip_prefix("model name")?.trim_start_matches([' ', '\t', ':']).to_owned()));
    let kernel = read("/proc/sys/kernel/osrelease").trim().to_owned();
    Machine {
        cores: thread::available_parallelism().map_or(1, usize::from),
        kernel: if kernel.is_empty() { unknown() } else { kernel },
        processor: processor.unwrap_or_else(unknown),
    }
}
