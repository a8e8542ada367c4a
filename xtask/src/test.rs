//! `cargo xtask test`: every test there is, with what the tests need.

use std::{ffi::OsString, process::Command};

use anyhow::Result;

use crate::{guest_toolchain, guests, run, workspace::Workspace};

#[derive(clap::Args)]
pub struct Options {
    /// Passed on to nextest, for instance a filter
    #[arg(last = true)]
    nextest: Vec<OsString>,
}

/// Builds what the tests need, and runs them.
///
/// # Errors
/// The first step that failed.
pub fn main(workspace: &Workspace, options: &Options) -> Result<()> {
    let toolchain = guest_toolchain::ensure(workspace, false)?;
    guests::build_native(workspace)?;
    guests::build_components(workspace, &toolchain)?;
    guests::build_python(workspace)?;
    let with_guests = |mut command: Command| {
        command.env("LAZARUS_GUESTS", workspace.guests()).env("LAZARUS_BIN", workspace.lazarus("debug"));
        if let Some(flags) = toolchain.flags() {
            command.env("LAZARUS_GUEST_RUSTFLAGS", flags);
        }
        command
    };
    let cargo = || with_guests(run::cargo(&workspace.root));

    run::step(cargo().args(["build", "--locked", "--package", "lazarus", "--bin", "lazarus"]))?;
    let mut runner = with_guests(nextest(workspace)?);
    run::step(runner.args(["nextest", "run", "--workspace", "--locked"]).args(&options.nextest))?;
    run::step(cargo().args(["test", "--doc", "--workspace", "--locked"]))?;
    let examples = workspace.root.join("examples");
    run::step(
        cargo().current_dir(examples).args(["test", "--workspace", "--locked", "--target-dir"]).arg(workspace.target.join("examples")),
    )
}

/// The test runner: the machine's, or one installed below the target directory.
fn nextest(workspace: &Workspace) -> Result<Command> {
    if run::output(run::cargo(&workspace.root).args(["nextest", "--version"])).is_ok() {
        return Ok(run::cargo(&workspace.root));
    }
    let tools = workspace.target.join("tools");
    let installed = tools.join("bin/cargo-nextest");
    if !installed.is_file() {
        eprintln!("   xtask: cargo-nextest is missing; installing it to {} (some minutes, once)", tools.display());
        run::step(run::cargo(&workspace.root).args(["install", "cargo-nextest", "--locked", "--root"]).arg(&tools))?;
    }
    let mut command = Command::new(installed);
    command.current_dir(&workspace.root);
    Ok(command)
}
