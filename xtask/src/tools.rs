//! Cargo's subcommands that are programs of their own: the machine's, or one installed below the target directory.

use std::process::Command;

use anyhow::Result;

use crate::{run, workspace::Workspace};

/// A program that adds a subcommand to cargo.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tool {
    /// Runs tests.
    Nextest,
    /// Runs fuzz targets.
    Fuzz,
    /// Holds the rules of deny.toml.
    Deny,
}

impl Tool {
    /// The subcommand.
    const fn verb(self) -> &'static str {
        match self {
            Self::Nextest => "nextest",
            Self::Fuzz => "fuzz",
            Self::Deny => "deny",
        }
    }

    /// The command, up to and including the subcommand. Installs it where it is missing, from source, as its authors locked it.
    ///
    /// # Errors
    /// It cannot be installed.
    pub fn command(self, workspace: &Workspace) -> Result<Command> {
        let program = format!("cargo-{}", self.verb());
        let tools = workspace.target.join("tools");
        let installed = tools.join("bin").join(&program);
        if !installed.is_file() {
            if run::output(run::cargo(&workspace.root).args([self.verb(), "--version"])).is_ok() {
                let mut command = run::cargo(&workspace.root);
                command.arg(self.verb());
                return Ok(command);
            }
            eprintln!("   xtask: {program} is missing; installing it to {} (some minutes, once)", tools.display());
            run::step(run::cargo(&workspace.root).args(["install", &program, "--locked", "--root"]).arg(&tools))?;
        }
        let mut command = Command::new(installed);
        command.current_dir(&workspace.root).arg(self.verb());
        Ok(command)
    }
}
