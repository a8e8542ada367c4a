//! `cargo xtask fuzz`: libFuzzer on the targets of `fuzz/`.
//!
//! It works on stable Rust: the instrumentation is code generation that stable has, and only the sanitizers are not. Nothing that is
//! fuzzed is `unsafe` of ours, so that they would watch over the dependencies alone.

use std::{
    fs,
    path::PathBuf,
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};

use crate::{run, tools::Tool, workspace::Workspace};

/// The longest input that is tried: as the largest packet and the largest line, and some more.
const INPUT_MOST_BYTES: u32 = 256 * 1024;
/// How long one input may take. The slowest of the corpus takes milliseconds in an instrumented build.
const INPUT_MOST_SECONDS: u32 = 10;
/// Memory of a fuzzing process. A parser that asks for more than a thousand times its input is at fault.
const MEMORY_MOST_MIB: u32 = 1024;

#[derive(clap::Args)]
pub struct Options {
    /// The targets; all of them where none is named
    targets: Vec<String>,
    /// How long each is fuzzed
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..))]
    seconds: u32,
    /// Keep what was found that no other file of the corpus reaches, and drop what is not needed
    #[arg(long)]
    keep: bool,
    /// Only bring fuzz/Cargo.lock to the versions of Cargo.lock
    #[arg(long, exclusive = true)]
    lock: bool,
}

/// Fuzzes the targets that were named, or only updates their lock file.
///
/// # Errors
/// There is no such target, they do not build, or one of them found something.
pub fn main(workspace: &Workspace, options: &Options) -> Result<()> {
    if options.lock {
        return lock(workspace);
    }
    let known = targets(workspace)?;
    for name in &options.targets {
        ensure!(known.contains(name), "there is no fuzz target {name}; there are {}", known.join(", "));
    }
    let chosen = if options.targets.is_empty() { &known } else { &options.targets };
    fuzz(workspace, chosen, options.seconds, options.keep)
}

/// Every target, in alphabetical order.
///
/// # Errors
/// The directory of the targets cannot be read.
pub fn targets(workspace: &Workspace) -> Result<Vec<String>> {
    let dir = workspace.root.join("fuzz/targets");
    let entries = fs::read_dir(&dir).with_context(|| format!("list {}", dir.display()))?;
    let mut names = Vec::new();
    for entry in entries {
        let name = entry?.file_name();
        names.extend(name.to_str().and_then(|name| name.strip_suffix(".rs")).map(str::to_owned));
    }
    names.sort();
    ensure!(!names.is_empty(), "there is no fuzz target in {}", dir.display());
    Ok(names)
}

/// Builds all targets, then fuzzes these, one after the other.
///
/// # Errors
/// They do not build, or one of them found something: where that lies, and what to do with it.
pub fn fuzz(workspace: &Workspace, names: &[String], seconds: u32, keep: bool) -> Result<()> {
    run::step(&mut cargo_fuzz(workspace, "build")?).context("build the fuzz targets")?;
    for name in names {
        let before = Instant::now();
        one(workspace, name, seconds)?;
        eprintln!("   xtask: {name} held for {} s", before.elapsed().as_secs());
        if keep {
            minimise(workspace, name)?;
        }
    }
    Ok(())
}

/// A command of cargo-fuzz on the project's targets. One directory and one set of flags for all of them, so that wasmtime is built once.
fn cargo_fuzz(workspace: &Workspace, verb: &str) -> Result<Command> {
    let mut command = Tool::Fuzz.command(workspace)?;
    command.arg(verb).args(["--sanitizer", "none", "--codegen-units", "16", "--no-cfg-fuzzing", "--fuzz-dir", "fuzz", "--target-dir"]);
    command.arg(workspace.target.join("fuzz"));
    Ok(command)
}

/// Where a target's corpus is kept.
fn corpus(workspace: &Workspace, name: &str) -> PathBuf {
    workspace.root.join("fuzz/corpus").join(name)
}

/// Where a target puts what it finds: what is of use goes into the corpus, by [`minimise`].
fn found(workspace: &Workspace, name: &str) -> PathBuf {
    workspace.target.join("fuzz/found").join(name)
}

fn one(workspace: &Workspace, name: &str, seconds: u32) -> Result<()> {
    let found = found(workspace, name);
    fs::create_dir_all(&found).with_context(|| format!("make {}", found.display()))?;
    let mut command = cargo_fuzz(workspace, "run")?;
    // Written to the first directory alone: a release check leaves the corpus as it is.
    command.arg(name).arg(&found).arg(corpus(workspace, name)).arg("--");
    command.args([
        format!("-max_total_time={seconds}"),
        format!("-max_len={INPUT_MOST_BYTES}"),
        format!("-timeout={INPUT_MOST_SECONDS}"),
        format!("-rss_limit_mb={MEMORY_MOST_MIB}"),
        "-print_final_stats=1".to_owned(),
        "-verbosity=1".to_owned(),
    ]);
    let dictionary = workspace.root.join("fuzz/dictionaries").join(name);
    if dictionary.is_file() {
        command.arg(format!("-dict={}", dictionary.display()));
    }
    if let Err(error) = run::step(&mut command) {
        bail!(
            "{error:#}\n   fuzz target {name} found something: the input is in fuzz/artifacts/{name}. Fix the library, add a test beside \
             the code, and move the input to fuzz/corpus/{name}"
        );
    }
    Ok(())
}

/// Brings what was found into the corpus, and drops every file without which the others reach as much.
fn minimise(workspace: &Workspace, name: &str) -> Result<()> {
    /// libFuzzer's merge is asked for small files first; it may take its time.
    const MOST: Duration = Duration::from_secs(600);
    let (corpus, found) = (corpus(workspace, name), found(workspace, name));
    let fresh = found.with_extension("fresh");
    if fresh.exists() {
        fs::remove_dir_all(&fresh).with_context(|| format!("remove {}", fresh.display()))?;
    }
    fs::create_dir_all(&fresh).with_context(|| format!("make {}", fresh.display()))?;
    let mut command = cargo_fuzz(workspace, "run")?;
    command.arg(name).arg(&fresh).arg(&corpus).arg(&found).arg("--");
    command.args(["-merge=1".to_owned(), "-max_len=4096".to_owned(), format!("-max_total_time={}", MOST.as_secs())]);
    run::step(&mut command)?;
    let files: Vec<_> = fs::read_dir(&fresh)?.collect::<Result<_, _>>()?;
    ensure!(!files.is_empty(), "the minimised corpus of {name} is empty");
    for old in fs::read_dir(&corpus)? {
        fs::remove_file(old?.path())?;
    }
    for file in &files {
        fs::copy(file.path(), corpus.join(file.file_name()))?;
    }
    eprintln!("   xtask: the corpus of {name} has {} files", files.len());
    Ok(())
}

/// Brings the lock file of the fuzz targets to the versions that Lazarus is built of.
fn lock(workspace: &Workspace) -> Result<()> {
    let fuzz = workspace.root.join("fuzz");
    fs::copy(workspace.root.join("Cargo.lock"), fuzz.join("Cargo.lock")).context("copy Cargo.lock")?;
    // Drops what is not needed there, and adds what is.
    run::output(run::cargo(&fuzz).args(["metadata", "--format-version=1"])).map(drop)
}
