//! The jail, attacked from inside on this machine's own kernel: each attack beside a twin that differs in one argument and succeeds.
//!
//! A process that confines itself must have one thread, so that these tests have a harness of their own: they run one after
//! the other in the main thread, and this program is also the reaper, the attacker and the warden that they start.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]

mod agents;
mod cost;
mod ends;
mod fixture;
mod limits;
mod probe;
mod profiles;
mod program;
mod promises;
mod speech;
mod world;

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    process::{Command, ExitCode},
};

use lazarus::backend::process::{SUBCOMMAND, main_reaper};

/// A named test.
pub type Case = (&'static str, fn());

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    match words.as_slice() {
        [SUBCOMMAND, ..] => main_reaper(),
        ["probe", operations @ ..] => probe::main(operations),
        ["confined", profile, operations @ ..] => profiles::main(profile, operations),
        ["warden", home] => ends::warden_main(home),
        ["under", filter, rest @ ..] => {
            world::deny(filter);
            run(world::INNER.to_vec(), rest)
        }
        rest => run(all(), rest),
    }
}

/// Every test of this machine as it is; root runs all of them again as an ordinary user.
fn all() -> Vec<Case> {
    let own = [agents::CASES, speech::CASES, ends::CASES, profiles::CASES, promises::CASES, limits::CASES, world::CASES, cost::CASES];
    let mut cases = [own.concat(), program::CASES.to_vec()].concat();
    if rustix::process::geteuid().is_root() {
        cases.push(("an_ordinary_user_has_the_same_jail", as_an_ordinary_user));
    }
    cases
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
    fixture::prepare();
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

/// Everything again, as a user without privileges. Needs `setpriv` (util-linux), which every distribution has.
fn as_an_ordinary_user() {
    let place = tempfile::tempdir().unwrap();
    fixture::open_to_all(place.path());
    let program = place.path().join("jail-tests");
    std::fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
    fixture::open_to_all(&program);
    let nobody = ["--reuid", "65534", "--regid", "65534", "--clear-groups", "--inh-caps=-all"];
    let status = Command::new("setpriv").args(nobody).arg(&program).current_dir("/").status().expect("setpriv, of util-linux, is needed");
    assert!(status.success());
}
