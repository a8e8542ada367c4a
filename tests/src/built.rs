//! Guests that were compiled: the examples, and how to compile others.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use crate::lab::binary;

/// The target that guests are compiled to.
pub const TARGET: &str = "wasm32-wasip2";

fn target() -> PathBuf {
    binary().parent().and_then(Path::parent).expect("target/<profile>/lazarus").to_owned()
}

/// An example, compiled to a component.
///
/// # Panics
/// It was not built.
#[track_caller]
pub fn guest(name: &str) -> PathBuf {
    let guests = std::env::var_os("LAZARUS_GUESTS").map_or_else(|| target().join("guests"), PathBuf::from);
    let file = guests.join(format!("{name}.wasm"));
    assert!(file.is_file(), "{} is missing: run `cargo xtask guests`, or `cargo xtask test`", file.display());
    file
}

/// A cargo that works on the crate in a directory, without the network, as a user's would: what it needs was fetched with the examples.
pub fn cargo(directory: &Path) -> Command {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(directory).env("CARGO_TARGET_DIR", target().join("authors")).env("CARGO_NET_OFFLINE", "true");
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("CARGO_PKG")) {
        cargo.env_remove(name);
    }
    cargo
}

/// Compiles the crate in a directory to a component, and puts it where its own target directory would have it.
///
/// # Panics
/// It does not compile.
#[track_caller]
pub fn component(directory: &Path, library: &str) -> PathBuf {
    let mut command = cargo(directory);
    // Where `cargo xtask` had to make the target, it says how the compiler finds it.
    if let Some(flags) = std::env::var_os("LAZARUS_GUEST_RUSTFLAGS") {
        command.env("CARGO_ENCODED_RUSTFLAGS", flags);
    }
    let output = command.args(["build", "--quiet", "--release", "--target", TARGET]).output().expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let inside = Path::new(TARGET).join("release").join(format!("{library}.wasm"));
    let own = directory.join("target").join(&inside);
    std::fs::create_dir_all(own.parent().expect("below the crate")).expect("made");
    std::fs::copy(target().join("authors").join(&inside), &own).expect("built");
    own
}
