//! What Lazarus is made of, held to deny.toml in every run of the tests: cargo-deny itself takes minutes to build, and is for the release.
//!
//! The same rules and the same file, read from what cargo says: licences, sources, duplicate versions, wildcards. Advisories need their
//! database, and so the net: the release check looks at those, and says so where it cannot.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;
use toml::Table;

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the package is in the workspace").to_owned()
}

fn table(file: &str) -> Table {
    let text = std::fs::read_to_string(workspace().join(file)).unwrap_or_else(|error| panic!("{file}: {error}"));
    text.parse().unwrap_or_else(|error| panic!("{file}: {error}"))
}

/// The workspaces of this repository: each has its own Cargo.lock.
const WORKSPACES: [&str; 3] = ["", "examples/", "fuzz/"];

fn cargo(dir: &str, args: &[&str]) -> String {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let command = Command::new(cargo).current_dir(workspace().join(dir)).args(args).args(["--locked", "--offline"]).output();
    let output = command.expect("cargo runs");
    assert!(output.status.success(), "{dir}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

/// A package from elsewhere that is built on this machine, with any feature, for any purpose.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Package {
    name: String,
    version: String,
    licence: String,
}

/// Every package of a workspace's tree, Lazarus' own left out.
fn packages(dir: &str) -> BTreeSet<Package> {
    let tree = cargo(dir, &["tree", "--workspace", "--all-features", "--edges=normal,build,dev", "--prefix=none", "--format={p}|{l}|"]);
    let package = |line: &str| {
        let mut parts = line.split('|');
        let (id, licence) = (parts.next().expect("a package"), parts.next().expect("a licence"));
        let (name, version) = id.split_once(" v").unwrap_or_else(|| panic!("{line}"));
        // A path stands behind what is of this repository.
        let version = version.trim_end_matches(" (proc-macro)");
        (!version.contains('(')).then(|| Package { name: name.to_owned(), version: version.to_owned(), licence: licence.to_owned() })
    };
    let packages: BTreeSet<Package> = tree.lines().filter(|line| !line.is_empty()).filter_map(package).collect();
    assert!(packages.len() > 10, "{dir}: the reader of cargo's tree found only {packages:?}");
    packages
}

fn strings(value: Option<&toml::Value>) -> BTreeSet<String> {
    let items = value.and_then(toml::Value::as_array).map(Vec::as_slice).unwrap_or_default();
    items.iter().map(|item| item.as_str().expect("a list of text").to_owned()).collect()
}

/// Whether an SPDX expression is fulfilled by licences that are allowed; those that it needs are noted.
struct Expression<'a> {
    words: Vec<&'a str>,
    at: usize,
}

impl<'a> Expression<'a> {
    fn of(text: &'a str) -> Self {
        // Older manifests write OR as a slash.
        let mut words = Vec::new();
        for word in text.split_whitespace() {
            let mut rest = word;
            while let Some(at) = rest.find(['(', ')', '/']) {
                words.extend([&rest[..at], &rest[at..=at]]);
                rest = &rest[at + 1..];
            }
            words.push(rest);
        }
        words.retain(|word| !word.is_empty());
        Self { words, at: 0 }
    }

    fn next_is(&mut self, wanted: &[&str]) -> bool {
        let is = self.words.get(self.at).is_some_and(|word| wanted.contains(word));
        self.at += usize::from(is);
        is
    }

    /// `a AND b OR c`, in that order of strength.
    fn holds(&mut self, allowed: &dyn Fn(&str) -> bool) -> bool {
        let mut any = self.all(allowed);
        while self.next_is(&["OR", "/"]) {
            any |= self.all(allowed);
        }
        any
    }

    fn all(&mut self, allowed: &dyn Fn(&str) -> bool) -> bool {
        let mut all = self.one(allowed);
        while self.next_is(&["AND"]) {
            all &= self.one(allowed);
        }
        all
    }

    fn one(&mut self, allowed: &dyn Fn(&str) -> bool) -> bool {
        if self.next_is(&["("]) {
            let inner = self.holds(allowed);
            assert!(self.next_is(&[")"]), "{:?}", self.words);
            return inner;
        }
        let mut name = (*self.words.get(self.at).expect("a licence")).to_owned();
        self.at += 1;
        if self.next_is(&["WITH"]) {
            name = format!("{name} WITH {}", self.words.get(self.at).expect("an exception"));
            self.at += 1;
        }
        allowed(&name)
    }
}

fn is_allowed(licence: &str, allowed: &dyn Fn(&str) -> bool) -> bool {
    let mut expression = Expression::of(licence);
    let holds = !expression.words.is_empty() && expression.holds(allowed);
    assert_eq!(expression.at, expression.words.len(), "{licence:?} is no expression");
    holds
}

#[test]
fn every_licence_is_one_that_may_be() {
    let rules = table("deny.toml");
    let allow = strings(rules["licenses"].get("allow"));
    let mut used = BTreeSet::new();
    for dir in ["", "examples/"] {
        for package in packages(dir) {
            let licence = &package.licence;
            assert!(is_allowed(licence, &|one| allow.contains(one)), "{package:?}: deny.toml does not allow its licence");
            // Needed is what could not be left out.
            used.extend(allow.iter().filter(|out| !is_allowed(licence, &|one| one != *out && allow.contains(one))).cloned());
        }
    }
    // Lazarus' own licence is allowed whether or not somebody leaves no other choice.
    used.insert("Apache-2.0".to_owned());
    assert_eq!(used, allow, "a licence that nobody needs is allowed by deny.toml");
}

#[test]
fn every_crate_comes_from_where_it_may() {
    let rules = table("deny.toml");
    let registries = strings(rules["sources"].get("allow-registry"));
    assert!(strings(rules["sources"].get("allow-git")).is_empty());
    let registries: BTreeSet<String> = registries.iter().map(|registry| format!("registry+{registry}")).collect();
    for dir in WORKSPACES {
        let lock = table(&format!("{dir}Cargo.lock"));
        let packages = lock["package"].as_array().expect("packages");
        assert!(!packages.is_empty());
        for package in packages {
            let Some(source) = package.get("source").and_then(toml::Value::as_str) else { continue };
            assert!(registries.contains(source), "{dir}Cargo.lock: {} comes from {source}", package["name"]);
            assert!(package.get("checksum").is_some(), "{dir}Cargo.lock: {} has no checksum", package["name"]);
        }
    }
}

#[test]
fn no_crate_is_there_twice_without_a_reason() {
    let rules = table("deny.toml");
    let skip: BTreeMap<String, String> = rules["bans"]["skip"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|entry| {
            let part = |key: &str| entry.get(key).and_then(toml::Value::as_str).unwrap_or_default().to_owned();
            (part("crate"), part("reason"))
        })
        .collect();
    let mut versions: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for package in packages("") {
        versions.entry(package.name).or_default().insert(package.version);
    }
    let mut needed = BTreeSet::new();
    for (name, versions) in versions.iter().filter(|(_, versions)| versions.len() > 1) {
        let accepted: Vec<String> = versions.iter().map(|version| format!("{name}@{version}")).filter(|id| skip.contains_key(id)).collect();
        assert!(accepted.len() + 1 >= versions.len(), "{name} is there as {versions:?}: use one, or give deny.toml a reason");
        needed.extend(accepted);
    }
    for (entry, reason) in &skip {
        assert!(needed.contains(entry), "{entry} is accepted by deny.toml, and is no duplicate any more: take it off the list");
        assert!(reason.len() > 10, "{entry}: say why");
    }
}

#[test]
fn no_version_is_left_open() {
    for dir in WORKSPACES {
        let metadata: Value =
            serde_json::from_str(&cargo(dir, &["metadata", "--no-deps", "--format-version=1"])).expect("cargo's metadata");
        let list = |value: &Value, key: &str| value[key].as_array().cloned().unwrap_or_default();
        let packages = list(&metadata, "packages");
        assert!(!packages.is_empty());
        for package in &packages {
            for dependency in list(package, "dependencies") {
                let (name, open) = (&dependency["name"], dependency["req"] == "*");
                assert!(!open || dependency["path"].is_string(), "{}: any version of {name} would do", package["name"]);
            }
        }
    }
}

/// What is fuzzed is what is shipped.
#[test]
fn the_fuzz_targets_are_built_of_the_same_versions() {
    let versions = |file: &str| {
        let mut versions: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for package in table(file)["package"].as_array().expect("packages") {
            let part = |key: &str| package[key].as_str().expect("text").to_owned();
            versions.entry(part("name")).or_default().insert(part("version"));
        }
        versions
    };
    let (own, fuzz) = (versions("Cargo.lock"), versions("fuzz/Cargo.lock"));
    for (name, versions) in fuzz {
        if let Some(own) = own.get(&name) {
            assert!(
                versions.is_subset(own),
                "{name}: fuzz/Cargo.lock has {versions:?}, Cargo.lock {own:?}; `cargo xtask fuzz --lock` makes them agree"
            );
        }
    }
}

#[test]
fn expressions_are_read() {
    let mit = |one: &str| one == "MIT" || one == "A WITH B";
    for (expression, holds) in [
        ("MIT", true),
        ("GPL-3.0", false),
        ("MIT/Apache-2.0", true),
        ("Apache-2.0 / MIT", true),
        ("GPL-3.0 OR MIT", true),
        ("(MIT OR X) AND Y", false),
        ("MIT AND (Y OR A WITH B)", true),
        ("A", false),
        ("X AND Y OR MIT", true),
        ("X AND (Y OR MIT)", false),
        ("", false),
    ] {
        assert_eq!(is_allowed(expression, &mit), holds, "{expression}");
    }
}
