//! The chores of the project, as `cargo xtask <verb>`: guest toolchain, tests, fuzzing, release check, demo, benchmarks.

mod bench;
mod demo;
mod fuzz;
mod guest_toolchain;
mod guests;
mod lazarus;
mod release;
mod run;
mod test;
mod tools;
mod workspace;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use workspace::Workspace;

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Chores of the project")]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Makes sure that guests can be compiled to wasm32-wasip2, and builds the example agents, for it and natively
    Guests(guests::Options),
    /// Builds the guests and `lazarus`, and runs every test there is
    Test(test::Options),
    /// Runs the main job on real input, as an operator would, and checks each promise
    Demo(demo::Options),
    /// Fuzzes what strangers write: all targets, or those that are named
    Fuzz(fuzz::Options),
    /// Checks everything that must hold before a release: tests, supply chain, fuzz targets, the demo
    Release(release::Options),
    /// Measures what a cell costs, beside a bare process and bubblewrap
    Bench(bench::Options),
}

fn main() -> ExitCode {
    let verb = Arguments::parse().verb;
    match Workspace::find().and_then(|workspace| run(&workspace, verb)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("   xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(workspace: &Workspace, verb: Verb) -> anyhow::Result<()> {
    match verb {
        Verb::Guests(options) => guests::main(workspace, &options),
        Verb::Test(options) => test::main(workspace, &options),
        Verb::Demo(options) => demo::main(workspace, &options),
        Verb::Fuzz(options) => fuzz::main(workspace, &options),
        Verb::Release(options) => release::main(workspace, &options),
        Verb::Bench(options) => bench::main(workspace, &options),
    }
}
