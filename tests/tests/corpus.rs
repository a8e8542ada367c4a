//! The corpus of the fuzz targets, replayed: whatever was found once is tried again by every run of the tests, without a fuzzer.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use lazarus_fuzz::CLAIMS;

/// Files of one corpus: a few hundred are replayed in seconds, and each was kept because it reaches something that no other does.
const FILES_MOST: usize = 600;
/// Bytes of one file.
const FILE_MOST_BYTES: u64 = 64 * 1024;

fn fuzz() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the package is in the workspace").join("fuzz")
}

fn names_in(dir: &Path) -> BTreeSet<String> {
    let entries = std::fs::read_dir(dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display()));
    entries.map(|entry| entry.expect("read").file_name().into_string().expect("a plain name")).collect()
}

/// Every file of a claim's corpus, with its name.
fn corpus(name: &str) -> Vec<(String, Vec<u8>)> {
    let dir = fuzz().join("corpus").join(name);
    let read = |file: String| {
        let bytes = std::fs::read(dir.join(&file)).expect("read");
        (file, bytes)
    };
    names_in(&dir).into_iter().map(read).collect()
}

#[track_caller]
fn replay(name: &str) {
    let (_, claim) = CLAIMS.iter().find(|(claimed, _)| *claimed == name).expect("a claim");
    let files = corpus(name);
    assert!((3..=FILES_MOST).contains(&files.len()), "{name} has {} files", files.len());
    for (file, bytes) in files {
        assert!(bytes.len() as u64 <= FILE_MOST_BYTES, "{name}/{file}: {} bytes", bytes.len());
        // A test's own thread says what broke; this says of which file.
        if let Err(cause) = std::panic::catch_unwind(|| claim(&bytes)) {
            eprintln!("fuzz/corpus/{name}/{file}: {:?}", String::from_utf8_lossy(&bytes));
            std::panic::resume_unwind(cause);
        }
    }
}

#[test]
fn corpus_definition() {
    replay("definition");
}

#[test]
fn corpus_life() {
    replay("life");
}

#[test]
fn corpus_line() {
    replay("line");
}

#[test]
fn corpus_log() {
    replay("log");
}

#[test]
fn corpus_message() {
    replay("message");
}

#[test]
fn corpus_packet() {
    replay("packet");
}

#[test]
fn corpus_plan() {
    replay("plan");
}

#[test]
fn corpus_program() {
    replay("program");
}

#[test]
fn corpus_request() {
    replay("request");
}

#[test]
fn corpus_value() {
    replay("value");
}

#[test]
fn corpus_words() {
    replay("words");
}

#[test]
fn every_claim_has_its_target_its_corpus_and_its_replay() {
    let claims: BTreeSet<String> = CLAIMS.iter().map(|(name, _)| (*name).to_owned()).collect();
    let targets = names_in(&fuzz().join("targets")).iter().filter_map(|file| file.strip_suffix(".rs")).map(str::to_owned).collect();
    assert_eq!(claims, targets, "a target for each claim");
    assert_eq!(claims, names_in(&fuzz().join("corpus")), "a corpus for each claim");
    let manifest = std::fs::read_to_string(fuzz().join("Cargo.toml")).expect("read");
    for name in claims {
        assert!(include_str!("corpus.rs").contains(&format!("replay(\"{name}\")")), "no test replays the corpus of {name}");
        assert!(manifest.contains(&format!("path = \"targets/{name}.rs\"")), "fuzz/Cargo.toml does not build {name}");
    }
}
