//! The crate that `lazarus agent new` makes: a template, and the guest SDK beside it.
//!
//! The SDK is on no registry, so it comes with Lazarus: whoever has the program, a Rust toolchain and crates.io can build an agent.

mod names;
mod sdk;

use std::path::PathBuf;

use self::names::Names;
use crate::cell::AgentName;

/// The files of the template: where they go, and what is in them.
const TEMPLATE: [(&str, &str); 5] = [
    ("Cargo.toml", include_str!("template/Cargo.toml.in")),
    ("src/lib.rs", include_str!("template/lib.rs.in")),
    ("agent.toml", include_str!("template/agent.toml.in")),
    ("README.md", include_str!("template/README.md.in")),
    (".gitignore", include_str!("template/gitignore.in")),
];

/// The directory of the SDK in a new crate.
const SDK: &str = "lazarus-guest";

/// Returns the files of a new crate for an agent of that name: their paths, relative and without `..`, below a directory that the caller
/// makes, and their bytes. Pure: the same name gives the same files.
pub fn render(name: &AgentName) -> Vec<(PathBuf, Vec<u8>)> {
    let names = Names::of(name);
    let own = TEMPLATE.iter().map(|(path, text)| (PathBuf::from(path), names.fill(text).into_bytes()));
    let sdk = sdk::FILES.iter().map(|(path, text)| (PathBuf::from(SDK).join(path), text.as_bytes().to_vec()));
    own.chain(sdk).collect()
}

/// Where the new crate's component is built to, relative to the crate, as its `agent.toml` says.
pub fn component(name: &AgentName) -> String {
    Names::of(name).fill("target/wasm32-wasip2/release/@CRATE@.wasm")
}

#[cfg(test)]
mod tests;
