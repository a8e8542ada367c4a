//! What must hold of everything that strangers write, whatever they write.
//!
//! Each function here takes any bytes and panics where something of this is broken: that is a fault of Lazarus, never of the bytes.
//! `fuzz/targets` hands them bytes that libFuzzer makes up; the ordinary tests hand them the corpus (`tests/tests/corpus.rs`), which
//! needs neither fuzzer nor instrumentation. What a claim compares with is written anew here, not borrowed from the code that it is about.

mod definitions;
mod harmless;
mod lines;
mod lives;
mod logs;
mod messages;
mod packets;
mod plans;
mod programs;
mod requests;
mod values;
mod words;

pub use definitions::definition;
pub use lines::line;
pub use lives::life;
pub use logs::log;
pub use messages::message;
pub use packets::packet;
pub use plans::plan;
pub use programs::program;
pub use requests::request;
pub use values::value;
pub use words::words;

/// A claim: it takes any bytes, and panics where it does not hold.
pub type Claim = fn(&[u8]);

/// Every claim, by the name of its target and of its corpus.
pub const CLAIMS: [(&str, Claim); 11] = [
    ("definition", definition),
    ("life", life),
    ("line", line),
    ("log", log),
    ("message", message),
    ("packet", packet),
    ("plan", plan),
    ("program", program),
    ("request", request),
    ("value", value),
    ("words", words),
];
