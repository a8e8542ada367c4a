//! `cargo xtask guests`: the example agents, compiled to components and, those that are programs, natively.

mod python;

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

/// What an example is, which its files say.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// `src/main.rs`: a plain program, a component as well as a process.
    Program,
    /// `src/lib.rs`: an agent that lives by events; a component alone.
    Agent,
    /// `app.py`: the same, in Python.
    Python,
}

/// Makes the guest toolchain and all guests.
///
/// # Errors
/// Guests cannot be compiled here, or do not compile.
pub fn main(workspace: &Workspace, options: &Options) -> Result<()> {
    let toolchain = guest_toolchain::ensure(workspace, options.from_source)?;
    build_native(workspace)?;
    build_components(workspace, &toolchain)?;
    build_python(workspace)
}

/// Builds the guests that are programs as processes, to `target/guests/<name>`.
///
/// # Errors
/// They do not compile.
pub fn build_native(workspace: &Workspace) -> Result<()> {
    let target = cargo_build(workspace, None)?;
    for name in named(workspace, &[Kind::Program])? {
        put(workspace, &target.join("release").join(&name), &name)?;
    }
    Ok(())
}

/// Builds the guests in Rust as components, to `target/guests/<name>.wasm`.
///
/// # Errors
/// They do not compile.
pub fn build_components(workspace: &Workspace, toolchain: &GuestToolchain) -> Result<()> {
    let target = cargo_build(workspace, Some(toolchain))?;
    for name in named(workspace, &[Kind::Program, Kind::Agent])? {
        let file = format!("{name}.wasm");
        put(workspace, &target.join(TARGET).join("release").join(&file), &file)?;
    }
    Ok(())
}

/// Builds the guests in Python as components, to `target/guests/<name>.wasm`.
///
/// # Errors
/// Python or componentize-py cannot be had here, or refuses a guest.
pub fn build_python(workspace: &Workspace) -> Result<()> {
    let componentizer = python::Componentizer::ensure(workspace)?;
    for name in named(workspace, &[Kind::Python])? {
        let built = componentizer.build(workspace, &name)?;
        put(workspace, &built, &format!("{name}.wasm"))?;
    }
    Ok(())
}

/// Builds the workspace of the examples; returns its target directory. Natively only programs are built: an agent that lives by events
/// is nothing by itself there, and is tested instead.
fn cargo_build(workspace: &Workspace, toolchain: Option<&GuestToolchain>) -> Result<std::path::PathBuf> {
    let target = workspace.target.join("examples");
    let mut cargo = run::cargo(&workspace.root.join("examples"));
    cargo.args(["build", "--quiet", "--release", "--locked", "--target-dir"]).arg(&target);
    match toolchain {
        Some(toolchain) => toolchain.apply(cargo.args(["--target", TARGET])),
        None => {
            cargo.arg("--bins");
        }
    }
    run::step(&mut cargo)?;
    Ok(target)
}

/// Puts a built guest where tests and people find it.
fn put(workspace: &Workspace, built: &Path, file: &str) -> Result<()> {
    let guests = workspace.guests();
    fs::create_dir_all(&guests)?;
    // Renamed into place: a running guest keeps its file, and nobody sees half of one.
    let new = guests.join(format!(".{file}.new"));
    fs::copy(built, &new).with_context(|| format!("copy the guest {file}"))?;
    fs::rename(&new, guests.join(file))?;
    eprintln!("   xtask: {} ({} KiB)", guests.join(file).display(), guests.join(file).metadata()?.len() / 1024);
    Ok(())
}

/// The examples of some kinds, by name; never none.
fn named(workspace: &Workspace, kinds: &[Kind]) -> Result<Vec<String>> {
    let examples = workspace.root.join("examples");
    let mut names = Vec::new();
    for entry in fs::read_dir(&examples).context("list the examples")? {
        let entry = entry?;
        if kind(&entry.path()).is_some_and(|kind| kinds.contains(&kind)) {
            names.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    ensure!(!names.is_empty(), "there are no such examples in {}", examples.display());
    names.sort();
    Ok(names)
}

/// What a directory below the examples is; `None` for what is no agent, such as the project that is surveyed.
fn kind(directory: &Path) -> Option<Kind> {
    let has = |file: &str| directory.join(file).is_file();
    match (has("Cargo.toml"), has("app.py")) {
        (true, _) if has("src/main.rs") => Some(Kind::Program),
        (true, _) => Some(Kind::Agent),
        (false, true) => Some(Kind::Python),
        (false, false) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_agent_among_the_examples_is_of_a_kind() -> Result<()> {
        let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples");
        let mut seen = 0;
        for entry in fs::read_dir(examples)? {
            let path = entry?.path();
            let defines =
                path.is_dir() && fs::read_dir(&path)?.flatten().any(|file| file.path().extension().is_some_and(|kind| kind == "toml"));
            assert_eq!(kind(&path).is_some(), defines, "{}", path.display());
            seen += usize::from(defines);
        }
        assert!(seen >= 8, "{seen}");
        Ok(())
    }
}
