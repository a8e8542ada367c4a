//! An author's mistakes are told at the author's own line.

use std::{
    env, fs,
    path::Path,
    process::{Command, Stdio},
};

/// What every case begins with.
const BEGIN: &str = "#![allow(dead_code, unused)]\nuse lazarus_guest::{Agent, Cell, Failure, Message};\nfn main() {}\n";

/// Name, program, and what the compiler must say about the line that ends in `// here`; nothing where it must compile.
const CASES: [(&str, &str, Option<&str>); 8] = [
    ("right", "#[derive(Default)] struct Scribe;\nimpl Agent for Scribe {}\nlazarus_guest::export!(Scribe);", None),
    (
        "no_agent",
        "#[derive(Default)] struct Scribe;\nlazarus_guest::export!(Scribe); // here",
        Some("`Scribe` is not an agent: it does not implement `lazarus_guest::Agent`"),
    ),
    (
        "no_default",
        "struct Scribe;\nimpl Agent for Scribe {} // here\nlazarus_guest::export!(Scribe);",
        Some("the trait bound `Scribe: Default` is not satisfied"),
    ),
    (
        "misspelt",
        "#[derive(Default)] struct Scribe;\nimpl Agent for Scribe {}\nlazarus_guest::export!(Scrieb); // here",
        Some("cannot find type `Scrieb`"),
    ),
    ("nothing", "lazarus_guest::export!(); // here", Some("takes the name of one type that implements `lazarus_guest::Agent`")),
    (
        "two",
        "#[derive(Default)] struct A;\nimpl Agent for A {}\nlazarus_guest::export!(A, A); // here",
        Some("takes the name of one type that implements `lazarus_guest::Agent`"),
    ),
    (
        "no_such_event",
        "#[derive(Default)] struct A;\nimpl Agent for A {\n    fn mesage(&mut self) {} // here\n}\nlazarus_guest::export!(A);",
        Some("method `mesage` is not a member of trait `Agent`"),
    ),
    (
        "wrong_form",
        "#[derive(Default)] struct A;\nimpl Agent for A {\n    fn message(&mut self, message: &Message) -> Result<(), Failure> { Ok(()) } // here\n}",
        Some("method `message` has 2 parameters but the declaration in trait"),
    ),
];

#[test]
fn mistakes_are_told_at_the_authors_line() {
    let project = Path::new(env!("CARGO_TARGET_TMPDIR")).join("mistakes");
    let bins = project.join("src/bin");
    // Left by an earlier run with other cases.
    let _ = fs::remove_dir_all(&bins);
    fs::create_dir_all(&bins).expect("below the target directory");
    let sdk = env!("CARGO_MANIFEST_DIR");
    let manifest = format!(
        "[package]\nname = \"mistakes\"\nedition = \"2024\"\n[dependencies]\nlazarus-guest = {{ path = {sdk:?} }}\n[workspace]\n[lints.rust]\nunsafe_code = \"forbid\"\n"
    );
    fs::write(project.join("Cargo.toml"), manifest).expect("written");
    // What is locked already need not be looked up, so that this works without the network.
    fs::copy(Path::new(sdk).join("../Cargo.lock"), project.join("Cargo.lock")).expect("the workspace has a lock file");
    for (name, program, _) in CASES {
        fs::write(bins.join(format!("{name}.rs")), format!("{BEGIN}{program}\n")).expect("written");
    }

    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| env!("CARGO").into()));
    cargo.args(["check", "--offline", "--quiet", "--keep-going", "--bins", "--message-format=short", "--target-dir"]);
    let output = cargo.arg(project.join("target")).current_dir(&project).stdin(Stdio::null()).output().expect("cargo runs");
    let said = String::from_utf8_lossy(&output.stderr);

    assert!(!output.status.success(), "{said}");
    for (name, program, expected) in CASES {
        let file = format!("src/bin/{name}.rs:");
        let errors: Vec<&str> = said.lines().filter(|line| line.contains(&file) && line.contains(": error")).collect();
        match expected {
            None => assert!(errors.is_empty(), "{name}: {errors:?}"),
            Some(words) => {
                let at = program.lines().position(|line| line.ends_with("// here")).expect("the case marks its line");
                let place = format!("{file}{}:", BEGIN.lines().count() + at + 1);
                assert!(
                    errors.iter().any(|error| error.contains(&place) && error.contains(words)),
                    "{name} at {place} {errors:#?}\n{said}"
                );
                assert!(errors.iter().all(|error| error.contains(&place)), "{name} is also blamed elsewhere: {errors:#?}");
            }
        }
    }
}
