//! `cargo xtask release`: the release check. Everything that must hold before a release, in order of cost; the first failure ends it.

use std::{
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

use crate::{demo, fuzz, run, tools::Tool, workspace::Workspace};

#[derive(clap::Args)]
pub struct Options {
    /// How long each fuzz target is run
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..))]
    seconds: u32,
    /// Go on where the database of advisories cannot be had, and say so at the end
    #[arg(long)]
    without_advisories: bool,
}

/// The workspaces of this repository: each has a lock file of its own.
const MANIFESTS: [&str; 3] = ["Cargo.toml", "examples/Cargo.toml", "fuzz/Cargo.toml"];

/// What became of the advisories.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Advisories {
    /// None concerns what Lazarus is made of.
    Clear,
    /// The database could not be had, as the operator accepted: the reason.
    NotChecked(String),
}

/// Checks everything.
///
/// # Errors
/// The first thing that does not hold, with what to do.
pub fn main(workspace: &Workspace, options: &Options) -> Result<()> {
    let start = Instant::now();
    let mut advisories = Advisories::Clear;
    step("supply chain", "change the dependency, or give deny.toml a reason", || {
        rules(workspace)?;
        advisories = check_advisories(workspace, options.without_advisories)?;
        Ok(())
    })?;
    step("formats, lints and every test (.ci/run)", "run .ci/run until it succeeds", || {
        run::step(Command::new(workspace.root.join(".ci/run")).current_dir(&workspace.root))
    })?;
    step("fuzz targets", "fix what was found", || {
        lints(workspace)?;
        fuzz::fuzz(workspace, &fuzz::targets(workspace)?, options.seconds, false)
    })?;
    step("demo", "run `cargo xtask demo --keep` and look", || demo::main(workspace, &demo::Options::default()))?;

    let took = Duration::from_secs(start.elapsed().as_secs());
    match advisories {
        Advisories::Clear => eprintln!("   xtask: everything that must hold before a release does ({took:?})"),
        Advisories::NotChecked(why) => eprintln!(
            "   xtask: everything else that must hold before a release does ({took:?}), but\n\n   ADVISORIES WERE NOT CHECKED: {why}\n   \
             Run `cargo deny check advisories` where https://github.com/RustSec/advisory-db can be reached, before you release.\n"
        ),
    }
    Ok(())
}

/// Does one part of the check, under its name.
fn step(name: &str, remedy: &str, what: impl FnOnce() -> Result<()>) -> Result<()> {
    eprintln!("\n== {name}");
    what().with_context(|| format!("the release check stops at: {name}; {remedy}"))
}

/// cargo-deny on one workspace, with the rules of this repository.
fn deny(workspace: &Workspace, manifest: &str) -> Result<Command> {
    let mut command = Tool::Deny.command(workspace)?;
    command.args(["--manifest-path", manifest, "--workspace", "--locked", "--config", "deny.toml", "check"]);
    Ok(command)
}

/// Licences, sources, duplicates: they need no net.
fn rules(workspace: &Workspace) -> Result<()> {
    for manifest in MANIFESTS {
        // One file of rules for three workspaces: each has entries that another needs. tests/tests/supply.rs finds those that none does.
        let elsewhere = ["unmatched-skip", "license-not-encountered", "license-exception-not-encountered"];
        let mut command = deny(workspace, manifest)?;
        command.args(elsewhere.iter().flat_map(|lint| ["--allow", lint])).args(["bans", "licenses", "sources"]);
        run::step(&mut command)?;
    }
    Ok(())
}

/// Advisories: against the newest database, never silently against none.
fn check_advisories(workspace: &Workspace, optional: bool) -> Result<Advisories> {
    for manifest in MANIFESTS {
        let mut command = deny(workspace, manifest)?;
        let output = command.arg("advisories").output().context("start cargo-deny")?;
        let talk = String::from_utf8_lossy(&output.stderr).into_owned();
        if output.status.success() {
            continue;
        }
        eprint!("{talk}");
        let Some(why) = unreachable(&talk) else {
            bail!("{manifest}: an advisory concerns what Lazarus is made of, or a version was yanked")
        };
        if optional {
            return Ok(Advisories::NotChecked(why));
        }
        bail!("advisories were NOT checked: {why}; go online, or accept that with --without-advisories");
    }
    Ok(Advisories::Clear)
}

/// The line in which cargo-deny says that it has no database, if it does.
fn unreachable(talk: &str) -> Option<String> {
    let line = talk.lines().find(|line| line.contains("advisory database") || line.contains("FETCH_HEAD"))?;
    let said = line.split_once("[ERROR]").map_or(line, |(_, said)| said);
    Some(said.trim().chars().take(300).collect())
}

/// The fuzz targets are not of the workspace that .ci/run looks at.
fn lints(workspace: &Workspace) -> Result<()> {
    let target = workspace.target.join("fuzz");
    run::step(run::cargo(&workspace.root).args(["fmt", "--all", "--check", "--manifest-path", "fuzz/Cargo.toml"]))?;
    let clippy = ["clippy", "--locked", "--all-targets", "--manifest-path", "fuzz/Cargo.toml", "--target-dir"];
    run::step(run::cargo(&workspace.root).args(clippy).arg(target).args(["--", "-D", "warnings"]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_that_is_not_there_is_told_from_an_advisory() {
        let talk =
            "2026-11-25 15:31:22 [ERROR] failed to fetch advisory database https://github.com/RustSec/advisory-db with cli\nfatal: x";
        assert_eq!(unreachable(talk).as_deref(), Some("failed to fetch advisory database https://github.com/RustSec/advisory-db with cli"));
        assert_eq!(unreachable("error[vulnerability]: a hole\n  ID: RUSTSEC-2026-0269\nadvisories FAILED"), None);
    }

    #[test]
    fn the_first_failure_ends_the_check_and_says_what_to_do() {
        let error = step("tests", "run them", || bail!("one failed")).map_err(|error| format!("{error:#}"));
        assert_eq!(error, Err("the release check stops at: tests; run them: one failed".to_owned()));
    }
}
