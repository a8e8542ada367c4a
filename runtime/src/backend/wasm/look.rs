//! Looking into a program, before it is compiled: what it is, what it wants, and for which Lazarus it was built.
//!
//! Runs in the jailed compiling process alone: this is the first parser that meets a stranger's bytes.

use std::collections::BTreeSet;

use semver::Version;
use wasmparser::{ComponentExternalKind, Parser, Payload};

use super::inspect::{Facts, NAME_MOST_BYTES, NAMES_MOST, SDK_MOST_BYTES};
use crate::{backend::WasmForm, cell::text};

/// What every interface of Lazarus is called, up to its own name.
const PACKAGE: &str = "lazarus:cell/";
/// The interface whose export makes a component an agent.
const AGENT: &str = "agent";
/// The custom section in which the SDK stamps its version.
const STAMP: &str = "lazarus:sdk";
/// The first version of `lazarus:cell` that this Lazarus runs.
const FIRST: Version = Version::new(0, 1, 0);
/// The first that it does not run any more.
const BEYOND: Version = Version::new(0, 2, 0);

/// Why a program is refused before it is compiled.
#[derive(Debug, thiserror::Error)]
pub enum LookError {
    /// It is not what it seems.
    #[error("{0}")]
    Parse(#[from] wasmparser::BinaryReaderError),
    /// Built for another Lazarus.
    #[error(
        "it was built for lazarus:cell {found}; this Lazarus runs {FIRST} up to, not including, {BEYOND}: build it with another lazarus-guest"
    )]
    Version {
        /// For which.
        found: Version,
    },
    /// An interface without a version, or with something that is none.
    #[error(
        "its {what} {name} has no version that can be understood; this Lazarus runs lazarus:cell {FIRST} up to, not including, {BEYOND}"
    )]
    Unversioned {
        /// Import or export.
        what: &'static str,
        /// Its name.
        name: String,
    },
    /// A stamp that is none.
    #[error("its section {STAMP} does not hold a version of lazarus-guest of at most {SDK_MOST_BYTES} bytes")]
    Stamp,
    /// Too much to show, or to provide.
    #[error("it has more than {NAMES_MOST} imports")]
    Imports,
    /// The export is no interface.
    #[error(
        "its export {0} is not an interface; an agent exports what lazarus-guest, or a binding generator for the package lazarus:cell, makes"
    )]
    NoInterface(String),
}

/// What was found so far.
struct Found {
    form: WasmForm,
    imports: BTreeSet<String>,
    exports: BTreeSet<String>,
    sdk: Option<String>,
}

/// Looks into a binary program of this form, by its header.
///
/// # Errors
/// A program that cannot be parsed, was built for another Lazarus, or has more imports than anyone provides.
pub fn look(binary: &[u8], header: WasmForm) -> Result<Facts, LookError> {
    let mut found = Found { form: header, imports: BTreeSet::new(), exports: BTreeSet::new(), sdk: None };
    // 0 is the program itself; what is nested in it has names, too, but they concern nobody outside.
    let mut depth = 0_usize;
    for payload in Parser::new(0).parse_all(binary) {
        match payload? {
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
            Payload::End(_) => depth = depth.saturating_sub(1),
            Payload::CustomSection(section) if section.name() == STAMP => found.stamp(section.data())?,
            Payload::ComponentImportSection(section) if depth == 0 => {
                for import in section {
                    found.import(import?.name.name)?;
                }
            }
            Payload::ComponentExportSection(section) if depth == 0 => {
                for export in section {
                    let export = export?;
                    found.export(export.name.name, export.kind)?;
                }
            }
            Payload::ImportSection(section) if depth == 0 => {
                for import in section.into_imports() {
                    let import = import?;
                    found.keep_import(&format!("{}::{}", import.module, import.name))?;
                }
            }
            Payload::ExportSection(section) if depth == 0 => {
                for export in section {
                    found.keep_export(export?.name);
                }
            }
            _ => {}
        }
    }
    let list = |names: BTreeSet<String>| names.into_iter().collect();
    Ok(Facts { form: found.form, imports: list(found.imports), exports: list(found.exports), sdk: found.sdk, bytes: binary.len() as u64 })
}

impl Found {
    fn stamp(&mut self, data: &[u8]) -> Result<(), LookError> {
        let text = if data.len() <= SDK_MOST_BYTES { std::str::from_utf8(data).ok() } else { None };
        let version = text.and_then(|text| Version::parse(text).ok()).ok_or(LookError::Stamp)?;
        check(&version)?;
        // Linked from several crates, it may be there several times: the newest counts.
        let before = self.sdk.as_deref().and_then(|before| Version::parse(before).ok());
        if before.is_none_or(|before| before < version) {
            self.sdk = Some(version.to_string());
        }
        Ok(())
    }

    fn import(&mut self, name: &str) -> Result<(), LookError> {
        interface("import", name)?;
        self.keep_import(name)
    }

    fn export(&mut self, name: &str, kind: ComponentExternalKind) -> Result<(), LookError> {
        if interface("export", name)? == Some(AGENT) {
            if kind != ComponentExternalKind::Instance {
                return Err(LookError::NoInterface(shown(name)));
            }
            self.form = WasmForm::Agent;
        }
        self.keep_export(name);
        Ok(())
    }

    fn keep_import(&mut self, name: &str) -> Result<(), LookError> {
        self.imports.insert(shown(name));
        if self.imports.len() > NAMES_MOST { Err(LookError::Imports) } else { Ok(()) }
    }

    /// Exports are only shown: those past the bound are left out.
    fn keep_export(&mut self, name: &str) {
        if self.exports.len() < NAMES_MOST {
            self.exports.insert(shown(name));
        }
    }
}

/// Which interface of Lazarus a name is, if it is one; of a version that this Lazarus runs.
fn interface<'a>(what: &'static str, name: &'a str) -> Result<Option<&'a str>, LookError> {
    let Some(rest) = name.strip_prefix(PACKAGE) else { return Ok(None) };
    let unversioned = || LookError::Unversioned { what, name: shown(name) };
    let (interface, version) = rest.split_once('@').ok_or_else(unversioned)?;
    check(&Version::parse(version).map_err(|_| unversioned())?)?;
    Ok(Some(interface))
}

fn check(version: &Version) -> Result<(), LookError> {
    if runs(version) { Ok(()) } else { Err(LookError::Version { found: version.clone() }) }
}

/// Whether this Lazarus runs what was built for a version of `lazarus:cell`.
pub(super) fn runs(version: &Version) -> bool {
    // A pre-release of 0.2.0 is below 0.2.0, and promises nothing of what 0.1 does.
    *version >= FIRST && (version.major, version.minor) < (BEYOND.major, BEYOND.minor)
}

fn shown(name: &str) -> String {
    text::one_line(name, NAME_MOST_BYTES)
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    fn facts(text: &str) -> Result<Facts, String> {
        let binary = wat::parse_str(text).expect("a program");
        let header = if text.starts_with("(component") { WasmForm::Component } else { WasmForm::Module };
        look(&binary, header).map_err(|error| error.to_string())
    }

    #[test]
    fn an_agent_is_known_by_its_export() {
        let agent = facts(r#"(component (instance $i) (export "lazarus:cell/agent@0.1.7" (instance $i)))"#).expect("an agent");
        assert_eq!((agent.form, agent.exports), (WasmForm::Agent, vec!["lazarus:cell/agent@0.1.7".to_owned()]));
        let other = facts(r#"(component (instance $i) (export "other:cell/agent@0.1.0" (instance $i)))"#).expect("no agent");
        assert_eq!(other.form, WasmForm::Component);
        let inner = r#"(component (component (instance $i) (export "lazarus:cell/agent@0.1.0" (instance $i))))"#;
        let inner = facts(inner).expect("no agent either");
        assert!(inner.form == WasmForm::Component && inner.exports.is_empty());
        let func = r#"(component (import "f" (func $f)) (export "lazarus:cell/agent@0.1.0" (func $f)))"#;
        assert!(facts(func).is_err_and(|error| error.contains("not an interface")));
    }

    #[test]
    fn only_versions_in_range_are_accepted() {
        let import = |version: &str| format!(r#"(component (import "lazarus:cell/log{version}" (instance)))"#);
        for good in ["@0.1.0", "@0.1.99"] {
            assert_eq!(facts(&import(good)).map(|facts| facts.imports.len()), Ok(1), "{good}");
        }
        for bad in ["@0.9.0", "@0.2.0", "@1.0.0", "@0.0.9", "@0.1.0-rc.1", "@0.2.0-rc.1", ""] {
            assert!(facts(&import(bad)).is_err_and(|error| error.contains("this Lazarus runs")), "{bad}");
        }
        let stamped = |version: &str| format!(r#"(component (core module (@custom "lazarus:sdk" "{version}")))"#);
        assert_eq!(facts(&stamped("0.1.2")).map(|facts| facts.sdk), Ok(Some("0.1.2".to_owned())));
        for bad in ["0.9.0", "", "new", "\\ff", "0.1.0\\n"] {
            assert!(facts(&stamped(bad)).is_err(), "{bad:?}");
        }
        assert!(facts(&stamped(&format!("0.1.0+{}", "x".repeat(60)))).is_err(), "too long");
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(at in 8_usize..400, damage in vec(any::<u8>(), 1..8), cut in 0_usize..400) {
            let text = r#"(component (core module (@custom "lazarus:sdk" "0.1.2") (func (export "f")))
                (import "lazarus:cell/log@0.1.0" (instance (export "x" (func)))) (instance $i) (export "lazarus:cell/agent@0.1.0" (instance $i)))"#;
            let mut binary = wat::parse_str(text).expect("a program");
            let at = at.min(binary.len() - 1);
            let end = binary.len().min(at + damage.len());
            binary[at..end].copy_from_slice(&damage[..end - at]);
            binary.truncate(binary.len().saturating_sub(cut));
            if let Ok(facts) = look(&binary, WasmForm::Component) {
                prop_assert!(facts.imports.iter().chain(&facts.exports).all(|name| name.len() <= NAME_MOST_BYTES));
            }
        }
    }

    #[test]
    fn lists_are_bounded() {
        let imports: String = (0..=NAMES_MOST).map(|i| format!("(import \"m\" \"{i}\" (func))")).collect();
        assert!(facts(&format!("(module {imports})")).is_err_and(|error| error.contains("imports")));
        let exports: String = (0..=NAMES_MOST).map(|i| format!("(export \"{i}\" (func $f))")).collect();
        let many = facts(&format!("(module (func $f) {exports})")).expect("only shown");
        assert_eq!(many.exports.len(), NAMES_MOST);
        let long = facts(&format!("(module (func (export \"{}\")))", "x".repeat(10_000))).expect("cut");
        assert!(long.exports[0].len() <= NAME_MOST_BYTES);
    }
}
