//! `cargo xtask test`: every test there is, with what the tests need.

use std::{ffi::OsString, process::Command};

use anyhow::Result;

use crate::{guest_toolchain, guests, run, tools::Tool, workspace::Workspace};

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

    run::step(cargo().args(["build", "--locked", "--package", "lazarus", "--bins"]))?;
    // What the tests of the supply chain read without a network: every manifest of every workspace.
    for directory in [".", "examples", "fuzz"] {
        run::step(run::cargo(&workspace.root.join(directory)).args(["fetch", "--locked", "--quiet"]))?;
    }
    let mut runner = with_guests(Tool::Nextest.command(workspace)?);
    run::step(runner.args(["run", "--workspace", "--locked"]).args(&options.nextest))?;
    run::step(cargo().args(["test", "--doc", "--workspace", "--locked"]))?;
    let examples = workspace.root.join("examples");
    run::step(
        cargo().current_dir(examples).args(["test", "--workspace", "--locked", "--target-dir"]).arg(workspace.target.join("examples")),
    )
}
