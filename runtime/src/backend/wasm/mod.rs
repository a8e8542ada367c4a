//! The wasm backend: WASI programs, compiled once, run under wasmtime in a jailed host.
//!
//! ```text
//!  source ─ detect (header only) ─ sha256 ─→ cache hit ──────────────────────────┐
//!                                       └──→ look into it, compile (jailed) → cache ┴→ Cached ─ spawn ─→ host (jailed)
//! ```
//!
//! The trusted side neither parses a program nor runs a byte of it: it looks at 8 bytes, hashes, and passes descriptors.

mod cache;
mod compile;
mod confine;
mod detect;
mod engine;
mod host;
pub mod imports;
mod inspect;
mod look;
mod spawn;
pub mod text;

pub use cache::{CacheError, Cached, ensure, ensure_bytes, find, forget};
pub use compile::{COMPILE_COMMAND, CompileError, main_compile};
pub use detect::{DetectError, SOURCE_MOST_BYTES, Source, detect, detect_bytes};
pub use host::{Fallen, HOST_COMMAND, HostError, main_fallen, main_host};
pub use inspect::{Facts, NAME_MOST_BYTES, NAMES_MOST, facts_from, inspect};
pub use look::{LookError, look};
pub use spawn::{SpawnError, rehearse, spawn, spawn_as};

/// The default agent, as WebAssembly text: stays alive, beats in its home once a second, and ends when its stdin does.
pub const KEEPER_WAT: &str = include_str!("keeper.wat");
