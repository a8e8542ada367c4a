//! Names the build, so that the two programs that are made of it know whether they belong together.

use std::{
    collections::BTreeSet,
    env, fs,
    hash::{DefaultHasher, Hash, Hasher},
    io,
    path::{Path, PathBuf},
};

/// What decides what the programs do: the sources and the crates that are linked. Paths from here; what is not there counts as empty.
const MADE_OF: [&str; 4] = ["build.rs", "Cargo.toml", "../Cargo.lock", "src"];
/// How it was compiled, as far as cargo says so.
const COMPILED: [&str; 6] = ["CARGO_PKG_VERSION", "TARGET", "PROFILE", "OPT_LEVEL", "DEBUG", "CARGO_CFG_FEATURE"];

fn main() -> io::Result<()> {
    let mut files = BTreeSet::new();
    for path in MADE_OF {
        println!("cargo::rerun-if-changed={path}");
        collect(Path::new(path), &mut files)?;
    }
    // Against mistakes, not against an adversary: who can replace one of the programs can replace the other. With these keys always the same.
    let mut hasher = DefaultHasher::new();
    for file in files {
        file.hash(&mut hasher);
        fs::read(&file)?.hash(&mut hasher);
    }
    COMPILED.map(|name| env::var(name).unwrap_or_default()).hash(&mut hasher);
    println!("cargo::rustc-env=LAZARUS_BUILD={}-{:016x}", env!("CARGO_PKG_VERSION"), hasher.finish());
    Ok(())
}

/// Every file at or below a path.
fn collect(path: &Path, files: &mut BTreeSet<PathBuf>) -> io::Result<()> {
    if path.is_dir() {
        for entry in fs::read_dir(path)? {
            collect(&entry?.path(), files)?;
        }
    } else if path.exists() {
        files.insert(path.to_owned());
    }
    Ok(())
}
