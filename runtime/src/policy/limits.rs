//! The limits of one agent: each has a default, none can be zero, all are reported.

use std::{num::NonZeroU32, time::Duration};

use serde::{Deserialize, Serialize};

use super::ByteSize;

/// Why a set of limits was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LimitsError {
    /// A limit above what Lazarus can enforce.
    #[error("accept limit {name} = {given}: the most is {most}")]
    TooHigh {
        /// The limit, as the definition calls it.
        name: &'static str,
        /// What was asked for.
        given: String,
        /// The most that can be enforced.
        most: String,
    },
    /// A limit below which no agent starts.
    #[error("accept limit {name} = {given}: the least is {least}")]
    TooLow {
        /// The limit, as the definition calls it.
        name: &'static str,
        /// What was asked for.
        given: String,
        /// The least that lets an agent start.
        least: String,
    },
}

/// The limits that are counts, each with the least and the most that it can be.
pub const COUNTS: [(&str, u32, u32); 6] = [
    ("table-elements", 1, 10_000_000),
    ("instances", 1, 10_000),
    // A process needs its three standard streams, its program and the libraries it is made of.
    ("open-files", 16, 65_536),
    ("processes", 1, 65_536),
    ("messages", 1, 100_000),
    // A fresh home has some twenty.
    ("files", 64, 10_000_000),
];

/// The limits of one agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Memory: all linear memories of a wasm guest together; for a process agent, its cgroup or its data segment.
    pub memory: ByteSize,
    /// Elements of all tables of a wasm guest together.
    pub table_elements: NonZeroU32,
    /// Core instances, memories and tables that a wasm guest may have, each.
    pub instances: NonZeroU32,
    /// The stack of a wasm guest.
    pub stack: ByteSize,
    /// CPU time: of one run; of an agent that lives by events, of one event.
    pub cpu: Duration,
    /// Time on the wall that one event may take, host calls included (agents that live by events).
    pub event: Duration,
    /// Time without an event after which an agent's memory is dropped (agents that live by events).
    pub idle: Duration,
    /// Messages that may wait for the agent; whoever writes another one is refused.
    pub messages: NonZeroU32,
    /// Bytes that one host call may allocate on the guest's behalf (wasm).
    pub hostcall: ByteSize,
    /// Random bytes that one call may ask for (wasm).
    pub random: ByteSize,
    /// Open descriptors of the agent's process.
    pub open_files: NonZeroU32,
    /// Processes and threads (process agents; a wasm guest has none).
    pub processes: NonZeroU32,
    /// Bytes below the agent's home; no single file may be larger either.
    pub home: ByteSize,
    /// Entries below the agent's home: files, directories and links.
    pub files: NonZeroU32,
    /// Bytes of log kept for the agent, in the current and the rotated file together.
    pub log: ByteSize,
}

impl Default for Limits {
    fn default() -> Self {
        const fn count(n: u32) -> NonZeroU32 {
            match NonZeroU32::new(n) {
                Some(n) => n,
                None => NonZeroU32::MIN,
            }
        }
        Self {
            // Enough for a language runtime; far below what would trouble the operator's machine.
            memory: ByteSize::mib(512),
            // Big dispatch tables of real programs have some ten thousand entries.
            table_elements: count(100_000),
            // A component of several languages has a few dozen; wasmtime allows 10,000.
            instances: count(64),
            // wasmtime's own default.
            stack: ByteSize::kib(512),
            // An agent that lives by events uses seconds; one that spins is ended in an hour.
            cpu: Duration::from_secs(3600),
            // A handler that asks a model for something and waits.
            event: Duration::from_secs(60),
            idle: Duration::from_secs(60),
            messages: count(1000),
            // wasmtime's default is 128 MiB; real programs read and write in pieces of at most 64 KiB.
            hostcall: ByteSize::mib(4),
            random: ByteSize::kib(64),
            open_files: count(256),
            processes: count(128),
            home: ByteSize::mib(1024),
            // A tree of packages has some ten thousand; so many are walked in a fifth of a second, by the warden every few seconds, and
            // removed in a few.
            files: count(100_000),
            log: ByteSize::mib(4),
        }
    }
}

impl Limits {
    /// Refuses limits that could not be enforced, or with which nothing starts.
    ///
    /// # Errors
    /// The first limit out of its range, with the range's end.
    pub fn check(&self) -> Result<(), LimitsError> {
        let sizes = [
            ("memory", self.memory, ByteSize::kib(64), ByteSize::mib(1 << 20)),
            // Below this a Rust guest does not reach main; above it the fiber's own stack would not hold it.
            ("stack", self.stack, ByteSize::kib(16), ByteSize::mib(16)),
            ("hostcall", self.hostcall, ByteSize::kib(4), ByteSize::mib(128)),
            ("random", self.random, ByteSize::kib(1), ByteSize::mib(1)),
            ("home", self.home, ByteSize::kib(64), ByteSize::mib(1 << 24)),
            ("log", self.log, ByteSize::kib(8), ByteSize::mib(1 << 14)),
        ];
        for (name, given, least, most) in sizes {
            if given > most {
                return Err(LimitsError::TooHigh { name, given: given.to_string(), most: most.to_string() });
            }
            if given < least {
                return Err(LimitsError::TooLow { name, given: given.to_string(), least: least.to_string() });
            }
        }
        let day = Duration::from_secs(24 * 3600);
        for (name, given) in [("event", self.event), ("idle", self.idle)] {
            if given > day {
                return Err(LimitsError::TooHigh { name, given: super::format_duration(given), most: super::format_duration(day) });
            }
        }
        let counts = [self.table_elements, self.instances, self.open_files, self.processes, self.messages, self.files];
        for ((name, least, most), given) in COUNTS.into_iter().zip(counts) {
            if given.get() > most {
                return Err(LimitsError::TooHigh { name, given: given.to_string(), most: most.to_string() });
            }
            if given.get() < least {
                return Err(LimitsError::TooLow { name, given: given.to_string(), least: least.to_string() });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_within_their_ranges() {
        assert_eq!(Limits::default().check(), Ok(()));
    }

    #[test]
    fn limits_out_of_range_are_named() {
        let limits = Limits { stack: ByteSize::mib(64), ..Limits::default() };
        assert!(matches!(limits.check(), Err(LimitsError::TooHigh { name: "stack", .. })));
        let limits = Limits { open_files: NonZeroU32::MIN, ..Limits::default() };
        assert!(matches!(limits.check(), Err(LimitsError::TooLow { name: "open-files", .. })));
    }
}
