//! The wasm backend for real: programs are compiled in the jailed process, and run by the jailed host.
//!
//! Both are hidden subcommands of this very program, so that these tests have a `main` of their own.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]

mod agents;
mod budgets;
mod calls;
mod close;
mod compile;
mod cost;
mod event_wat;
mod examples;
mod files;
mod fixture;
mod inspect;
mod limits;
mod listings;
mod neighbours;
mod programs;
mod promises;
mod quota;
mod quota_held;
mod script;
mod script_component;
mod script_module;
mod wat;
mod worlds;

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    process::ExitCode,
};

use lazarus::backend::wasm::{COMPILE_COMMAND, HOST_COMMAND, main_compile, main_host};

/// A named test.
pub type Case = (&'static str, fn());

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    match words.as_slice() {
        [COMPILE_COMMAND, ..] => main_compile(),
        [HOST_COMMAND, "--handoff", handoff, "--socket", socket] => main_host(handoff.parse().unwrap(), socket.parse().unwrap()),
        ["inherited", test, rest @ ..] => fixture::inherited(test, rest),
        ["without-landlock"] => worlds::without_landlock(),
        ["under", filter, rest @ ..] => {
            worlds::deny(filter);
            run(all(), rest)
        }
        ["again", rest @ ..] => run(all(), rest),
        rest => run([all(), worlds::CASES.to_vec(), examples::CASES.to_vec()].concat(), rest),
    }
}

/// Every test of this machine as it is.
fn all() -> Vec<Case> {
    [
        compile::CASES,
        programs::CASES,
        promises::CASES,
        close::CASES,
        limits::CASES,
        listings::CASES,
        files::CASES,
        quota::CASES,
        quota_held::CASES,
        neighbours::CASES,
        cost::CASES,
        inspect::CASES,
        agents::CASES,
        calls::CASES,
        budgets::CASES,
    ]
    .concat()
}

/// Runs the tests whose names contain one of the given words (with `--exact`, are one of them); all without words.
///
/// `--list --format terse` and `--exact` are what a test runner asks of a harness: <https://nexte.st/docs/design/custom-test-harnesses>.
fn run(cases: Vec<Case>, words: &[&str]) -> ExitCode {
    if words.contains(&"--list") {
        // None is ignored, ever.
        for (name, _) in cases.iter().filter(|_| !words.contains(&"--ignored")) {
            println!("{name}: test");
        }
        return ExitCode::SUCCESS;
    }
    let exact = words.contains(&"--exact");
    let filters: Vec<&str> = words.iter().copied().filter(|word| !word.starts_with("--")).collect();
    let wanted =
        |name: &str| filters.is_empty() || filters.iter().any(|filter| if exact { name == *filter } else { name.contains(filter) });
    let (mut passed, mut failed) = (0, Vec::new());
    for (name, case) in cases.into_iter().filter(|(name, _)| wanted(name)) {
        match catch_unwind(AssertUnwindSafe(case)) {
            Ok(()) => {
                passed += 1;
                println!("test {name} ... ok");
            }
            Err(_) => failed.push(name),
        }
    }
    println!("\ntest result: {passed} passed; {} failed {failed:?}", failed.len());
    if failed.is_empty() && passed > 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
