//! What is rendered is whole.

use std::{collections::BTreeSet, fs, path::Path};

use super::*;
use crate::agent::{DefinedProgram, Definition};

fn text(name: &str, path: &str) -> String {
    let files = render(&name.parse().expect("a name"));
    let (_, bytes) = files.into_iter().find(|(given, _)| given == Path::new(path)).unwrap_or_else(|| panic!("{path} is rendered"));
    String::from_utf8(bytes).expect("text")
}

#[test]
fn every_file_of_the_sdk_comes_along() {
    let sdk = Path::new(env!("CARGO_MANIFEST_DIR")).join("../guest-sdk");
    let mut there = BTreeSet::from(["Cargo.toml".to_owned()]);
    let mut left = vec![sdk.join("src"), sdk.join("wit")];
    while let Some(dir) = left.pop() {
        for entry in fs::read_dir(&dir).expect("a directory") {
            let path = entry.expect("read").path();
            if path.is_dir() {
                left.push(path);
            } else {
                there.insert(path.strip_prefix(&sdk).expect("below it").to_string_lossy().into_owned());
            }
        }
    }
    let along: BTreeSet<String> = sdk::FILES.iter().map(|(path, _)| (*path).to_owned()).collect();
    assert_eq!(along, there, "guest-sdk/ and the list in sdk.rs differ");
}

#[test]
fn the_sdk_stands_alone() {
    let manifest = text("greeter", "lazarus-guest/Cargo.toml");
    assert!(!manifest.contains("workspace = true"), "there is no workspace to inherit from: {manifest}");
    assert!(!manifest.contains("path = \""), "{manifest}");
}

#[test]
fn paths_stay_below_and_marks_are_filled() {
    for name in ["greeter", "1st", "fn", "night-watch_2"] {
        let mut paths = BTreeSet::new();
        for (path, bytes) in render(&name.parse().expect("a name")) {
            assert!(path.components().all(|part| matches!(part, std::path::Component::Normal(_))), "{}", path.display());
            if !path.starts_with(SDK) {
                let text = String::from_utf8(bytes).expect("text");
                assert!(!text.contains('@'), "{}: {text}", path.display());
            }
            assert!(paths.insert(path));
        }
    }
}

#[test]
fn the_definition_is_understood_and_names_what_is_built() {
    for (name, built) in [("greeter", "greeter"), ("night-watch", "night_watch"), ("fn", "agent_fn")] {
        let definition = Definition::parse("agent.toml", text(name, "agent.toml").as_bytes()).expect("a definition");
        assert_eq!(definition.name.as_str(), name);
        let expected = format!("target/wasm32-wasip2/release/{built}.wasm");
        assert!(matches!(&definition.program, DefinedProgram::Component { path, .. } if path == Path::new(&expected)));
        assert!(text(name, "Cargo.toml").contains(&format!("[lib]\nname = \"{built}\"\n")));
    }
}

#[test]
fn the_readme_is_short() {
    assert!(text("greeter", "README.md").lines().count() <= 20);
}
