//! `cargo xtask bench`: what a cell costs, beside a bare process, bubblewrap and wasmtime's own command; what the jail adds to a spawn; what messages
//! cost; and what limits cost, and how exactly they hold.
//!
//! Everything is measured in one run and in turn, round by round, so that a machine that is busy for a while is busy for all
//! of them. What cannot be measured here is in the table, with the reason.

mod cases;
mod jail;
mod limits;
mod machine;
mod mail;
mod memory;
mod stats;
mod table;

use std::{fs, path::PathBuf};

use anyhow::{Context, Result, ensure};

use crate::{guest_toolchain, guests, lazarus::Lazarus, workspace::Workspace};

/// Below this, the 99th percentile is the single worst round or two.
const ROUNDS_LEAST: u32 = 200;
/// Rounds before the first that counts: they fill the compile cache, the registry and the page cache.
const WARM_UP_ROUNDS: u32 = 3;

#[derive(clap::Args)]
pub struct Options {
    /// How often each case is measured
    #[arg(long, default_value_t = ROUNDS_LEAST, value_parser = clap::value_parser!(u32).range(i64::from(ROUNDS_LEAST)..))]
    rounds: u32,
    /// Write the figures to this file as well
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// Measures, and prints a table.
///
/// # Errors
/// A case that can be measured here failed.
pub fn main(workspace: &Workspace, options: &Options) -> Result<()> {
    let hello = guest_toolchain::ensure(workspace, false).and_then(|toolchain| {
        guests::build_components(workspace, &toolchain)?;
        Ok(workspace.guests().join("hello.wasm"))
    });
    let directory = tempfile::Builder::new().prefix("lazarus-bench-").tempdir()?;
    let lazarus = Lazarus::build(workspace, true, &directory.path().join("root"))?;
    let hello = hello.map_err(|error| format!("no guest can be compiled here: {error:#}"));

    let mut cases = cases::all(&lazarus, hello.as_deref().map_err(String::as_str), directory.path())?;
    for round in 0..WARM_UP_ROUNDS + options.rounds {
        if round >= WARM_UP_ROUNDS && (round - WARM_UP_ROUNDS).is_multiple_of(50) {
            eprintln!("   xtask: round {} of {}", round - WARM_UP_ROUNDS, options.rounds);
        }
        for case in &mut cases {
            case.round(round >= WARM_UP_ROUNDS).with_context(|| format!("measure {}", case.name))?;
        }
    }
    eprintln!("   xtask: the jail");
    let jail = jail::measure(workspace, directory.path(), options.rounds)?;
    let memory = memory::measure(&lazarus, hello.as_deref().map_err(String::as_str))?;
    let mail = match &hello {
        Ok(_) => {
            eprintln!("   xtask: messages");
            let keeper = workspace.guests().join("keeper.wasm");
            Ok(mail::measure(workspace, &lazarus, &keeper, directory.path(), options.rounds)?)
        }
        Err(reason) => Err(reason.clone()),
    };
    let limits = match &hello {
        Ok(_) => {
            eprintln!("   xtask: limits");
            Ok(limits::measure(workspace, &lazarus, directory.path())?)
        }
        Err(reason) => Err(reason.clone()),
    };
    leave_nothing(&lazarus)?;

    let figures = table::Figures { machine: machine::describe(), rounds: options.rounds, cases: table::lines(&cases), memory };
    print!("{}{}", table::text(&figures), jail.text());
    match &mail {
        Ok(mail) => print!("{}", mail.text()),
        Err(reason) => println!("not measured: messages: {reason}"),
    }
    match &limits {
        Ok(limits) => print!("{}", limits.text()),
        Err(reason) => println!("not measured: limits: {reason}"),
    }
    if let Some(file) = &options.json {
        let mut json = table::json(&figures);
        json["jail"] = jail.json();
        json["messages"] = mail.map_or_else(|reason| serde_json::json!({ "not_measured": reason }), |mail| mail.json());
        json["limits"] = limits.map_or_else(|reason| serde_json::json!({ "not_measured": reason }), |limits| limits.json());
        let json = serde_json::to_string_pretty(&json)?;
        fs::write(file, json + "\n").with_context(|| format!("write {}", file.display()))?;
    }
    Ok(())
}

/// A benchmark that leaves cells behind has measured something else than what is promised.
fn leave_nothing(lazarus: &Lazarus) -> Result<()> {
    let status = lazarus.json(&["status"])?;
    let rows = status["active_cells"].as_array().context("find active_cells in the status")?;
    ensure!(rows.is_empty(), "{} cells are left after the benchmark", rows.len());
    Ok(())
}
