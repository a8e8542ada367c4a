//! `cargo xtask guests`: the example agents, compiled to components and natively.

use std::{fs, path::Path};

use anyhow::{Context, Result, ensure};

use crate::{
    guest_toolchain::{self, GuestToolchain, TARGET},
    run,
    workspace::Workspace,
};

#[derive(clap::Args)]
pub struct Options {
    /// Compile guests with a target made here from Debian's sources, even where rustup has it
    #[arg(long)]
    from_source: bool,
}

/// Makes the guest toolchain and the guests.
///
/// # Errors
/// Guests cannot be compiled here, or do not compile.
pub fn main(workspace: &Workspace, options: &Options) -> Result<()> {
    let toolchain = guest_toolchain::ensure(workspace, options.from_source)?;
    build_native(workspace)?;
    build_components(workspace, &toolchain)
}

/// Builds the guests as processes, to `target/guests/<name>`.
///
/// # Errors
/// They do not compile.
pub fn build_native(workspace: &Workspace) -> Result<()> {
    build(workspace, None)
}

/// Builds the guests as components, to `target/guests/<name>.wasm`.
///
/// # Errors
/// They do not compile.
pub fn build_components(workspace: &Workspace, toolchain: &GuestToolchain) -> Result<()> {
    build(workspace, Some(toolchain))
}

fn build(workspace: &Workspace, toolchain: Option<&GuestToolchain>) -> Result<()> {
    let examples = workspace.root.join("examples");
    let target = workspace.target.join("examples");
    let mut cargo = run::cargo(&examples);
    cargo.args(["build", "--quiet", "--release", "--locked", "--target-dir"]).arg(&target);
    let (built, suffix) = match toolchain {
        Some(toolchain) => {
            toolchain.apply(cargo.args(["--target", TARGET]));
            (target.join(TARGET).join("release"), ".wasm")
        }
        None => (target.join("release"), ""),
    };
    run::step(&mut cargo)?;

    let guests = workspace.guests();
    fs::create_dir_all(&guests)?;
    for name in names(&examples)? {
        let file = format!("{name}{suffix}");
        // Renamed into place: a running guest keeps its file, and nobody sees half of one.
        let new = guests.join(format!(".{file}.new"));
        fs::copy(built.join(&file), &new).with_context(|| format!("copy the guest {file}"))?;
        fs::rename(&new, guests.join(&file))?;
        eprintln!("   xtask: {} ({} KiB)", guests.join(&file).display(), guests.join(&file).metadata()?.len() / 1024);
    }
    Ok(())
}

/// The examples that are programs, by name.
fn names(examples: &Path) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(examples).context("list the examples")? {
        let entry = entry?;
        if entry.path().join("Cargo.toml").is_file() {
            names.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    ensure!(!names.is_empty(), "there are no examples in {}", examples.display());
    names.sort();
    Ok(names)
}
