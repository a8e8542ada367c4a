//! SECURITY.md is checked: each promise of its tables names what holds it and the tests that prove it, and those tests exist.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use lazarus::{agent::LIMIT_NAMES, cell::BackendKind};

/// The heading of the table that has a row for each limit.
const LIMITS: &str = "## Limits";
/// The heading of the table that has a row for each promise which is no limit.
const PROMISES: &str = "## Promises";
/// What stands in a cell where there is nothing to hold, and so nothing to test.
const NOTHING: &str = "–";

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the package is in the workspace").to_owned()
}

fn security() -> String {
    std::fs::read_to_string(workspace().join("SECURITY.md")).expect("SECURITY.md")
}

/// A row of a table, by the heading that it stands under and the titles of its columns.
#[derive(Debug, Clone)]
struct Row {
    heading: String,
    titles: Vec<String>,
    cells: Vec<String>,
}

impl Row {
    /// Each pair of what holds the promise and what proves it: columns called "test" and the one before.
    fn proofs(&self) -> Vec<(&str, &str)> {
        let tests = self.titles.iter().enumerate().filter(|(_, title)| *title == "test").map(|(at, _)| at);
        tests.map(|at| (self.cells[at.saturating_sub(1)].as_str(), self.cells[at].as_str())).collect()
    }
}

fn cells(line: &str) -> Vec<String> {
    let inner = line.trim().trim_start_matches('|').trim_end_matches('|');
    inner.split('|').map(|cell| cell.trim().to_owned()).collect()
}

/// The rows of every table.
fn rows(text: &str) -> Vec<Row> {
    let (mut heading, mut titles, mut found) = (String::new(), None::<Vec<String>>, Vec::new());
    for line in text.lines() {
        if line.starts_with('#') {
            heading = line.to_owned();
        }
        if !line.starts_with('|') {
            titles = None;
            continue;
        }
        match &titles {
            None => titles = Some(cells(line)),
            Some(_) if line.starts_with("|--") => {}
            Some(titles) => {
                let cells = cells(line);
                assert_eq!(cells.len(), titles.len(), "a row has as many cells as its table has titles: {line}");
                found.push(Row { heading: heading.clone(), titles: titles.clone(), cells });
            }
        }
    }
    found
}

/// What stands in backticks.
fn quoted(text: &str) -> Vec<&str> {
    text.split('`').skip(1).step_by(2).collect()
}

/// The names of all tests: functions with `#[test]`, and the lines of a `CASES` table of the harnesses that are our own.
fn tests() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut left: Vec<PathBuf> =
        ["runtime", "guest-sdk", "tests", "examples", "xtask"].iter().map(|below| workspace().join(below)).collect();
    while let Some(dir) = left.pop() {
        for entry in std::fs::read_dir(&dir).expect("a directory of sources") {
            let path = entry.expect("read").path();
            let name = path.file_name().expect("named").to_string_lossy().into_owned();
            if path.is_dir() && name != "target" && !name.starts_with('.') {
                left.push(path);
            } else if path.extension().is_some_and(|kind| kind == "rs") {
                tests_of(&std::fs::read_to_string(&path).expect("UTF-8"), &mut found);
            }
        }
    }
    found
}

fn tests_of(source: &str, found: &mut BTreeSet<String>) {
    let mut is_test = false;
    for line in source.lines().map(str::trim) {
        if line == "#[test]" || line.starts_with("#[tokio::test") {
            is_test = true;
        } else if let (true, Some(rest)) = (is_test, line.trim_start_matches("async ").strip_prefix("fn ")) {
            found.extend(rest.split('(').next().map(str::to_owned));
            is_test = false;
        } else if let Some(rest) = line.strip_prefix("(\"")
            && let Some((name, function)) = rest.split_once("\", ")
            && function.ends_with("),")
            && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
        {
            found.insert(name.to_owned());
        }
    }
}

#[test]
fn every_promise_names_its_enforcer_and_tests_that_exist() {
    let (text, tests) = (security(), tests());
    assert!(tests.len() > 500, "the tests are not found: {}", tests.len());
    assert!(!text.contains("pending"), "SECURITY.md promises what nothing proves");
    let mut proofs = 0;
    for row in rows(&text) {
        for (holds, proved) in row.proofs() {
            assert!(!holds.is_empty(), "nothing holds this: {row:?}");
            let names = quoted(proved);
            assert_eq!(names.is_empty(), proved == NOTHING, "tests are named, or there is nothing to test ({NOTHING}): {row:?}");
            assert_eq!(proved == NOTHING, holds == NOTHING, "what is held is tested: {row:?}");
            for name in names {
                assert!(tests.contains(name), "SECURITY.md names the test {name}, and there is none: {row:?}");
                proofs += 1;
            }
        }
    }
    assert!(proofs > 80, "{proofs}");
}

#[test]
fn both_backends_stand_in_the_matrix() {
    let text = security();
    for heading in [PROMISES, LIMITS] {
        let rows: Vec<Row> = rows(&text).into_iter().filter(|row| row.heading == heading).collect();
        assert!(!rows.is_empty(), "SECURITY.md has no table under {heading:?}");
        for row in rows {
            assert_eq!(row.proofs().len(), 2, "{row:?}");
            for backend in [BackendKind::Process, BackendKind::Wasm] {
                let title = format!("{backend} agent");
                assert!(row.titles.contains(&title), "no column {title:?}: {row:?}");
            }
        }
    }
}

#[test]
fn every_limit_stands_in_the_matrix() {
    let rows: Vec<Row> = rows(&security()).into_iter().filter(|row| row.heading == LIMITS).collect();
    let named: BTreeSet<String> = rows.iter().flat_map(|row| quoted(&row.cells[0])).map(str::to_owned).collect();
    for limit in LIMIT_NAMES {
        assert!(named.contains(limit), "no row under {LIMITS:?} for the limit {limit}");
    }
    for name in &named {
        assert!(LIMIT_NAMES.contains(&name.as_str()), "{LIMITS:?} has a row for {name}, which is no limit");
    }
}

#[test]
fn the_readers_of_this_test_read() {
    let text = "## A\n| p | x | test |\n|---|---|---|\n| one | wall | `a`, `b` |\n\n| q |\n|---|\n| two |\n";
    let rows = rows(text);
    assert_eq!((rows.len(), rows[0].heading.as_str(), rows[0].proofs()), (2, "## A", vec![("wall", "`a`, `b`")]));
    assert_eq!(quoted(rows[0].proofs()[0].1), ["a", "b"]);
    let mut found = BTreeSet::new();
    let case = ["    (\"c", "_1\", run),\n"].concat();
    let two = ["#[te", "st]\n#[cfg(x)]\nfn a_test() {\nfn no_test() {}\n#[tokio::te", "st]\nasync fn b_test() {\n"].concat();
    tests_of(&[two.as_str(), &case].concat(), &mut found);
    assert_eq!(found.into_iter().collect::<Vec<_>>(), ["a_test", "b_test", "c_1"]);
}
