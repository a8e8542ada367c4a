//! What is known of a program before it runs.

use std::{fs::File, io};

use serde::{Deserialize, Serialize};

use super::{
    cache::{CacheError, sealed_copy},
    compile::{CompileError, INSPECT_FLAG, run},
    detect::detect,
};
use crate::{backend::WasmForm, cell::text::one_line};

/// Imports, and exports, that are told.
pub const NAMES_MOST: usize = 1000;
/// The longest name that is told whole.
pub const NAME_MOST_BYTES: usize = 256;
/// The longest version that the SDK stamps.
pub const SDK_MOST_BYTES: usize = 64;
/// The most that the inspecting process may say: all names, each character in its longest form as JSON.
const FACTS_MOST_BYTES: u64 = (2 * NAMES_MOST * (6 * NAME_MOST_BYTES + 4)) as u64;

/// What a program is and wants. Its names are its own words, made harmless: one line each, bounded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Facts {
    /// What it is.
    pub form: WasmForm,
    /// What it imports, each once, in alphabetical order: interfaces with their versions, or `module::function` of a core module.
    pub imports: Vec<String>,
    /// What it exports, each once, in alphabetical order; the first thousand.
    pub exports: Vec<String>,
    /// The version of the SDK that it was built with, where it is stamped.
    pub sdk: Option<String>,
    /// Its size, in bytes, as WebAssembly text where it is that.
    pub bytes: u64,
}

/// Looks into a program, in a jailed process, without compiling it.
///
/// # Errors
/// A source that is no WebAssembly, cannot be parsed, or was built for another Lazarus; as [`CompileError`] says it.
pub fn inspect(source: &mut File) -> Result<Facts, CompileError> {
    let header = detect(source)?;
    let (copy, _) = sealed_copy(source).map_err(|error| match error {
        CacheError::Detect(error) => CompileError::Source(error),
        other => CompileError::Process(io::Error::other(other)),
    })?;
    let bytes = copy.metadata().map_err(CompileError::Process)?.len();
    let mut said = Vec::new();
    run(copy, Some(INSPECT_FLAG), FACTS_MOST_BYTES, &mut said)?;
    facts_from(&said, bytes, header.form).map_err(CompileError::Process)
}

/// Understands what the inspecting process said of a program with this header, of so many bytes: as far as it can be true.
///
/// # Errors
/// No facts, or facts that cannot be.
pub fn facts_from(said: &[u8], bytes: u64, header: WasmForm) -> io::Result<Facts> {
    let facts: Facts = serde_json::from_slice(said).map_err(io::Error::other)?;
    believed(Facts { bytes, ..facts }, header).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// Facts as they can be, after hostile bytes were parsed by who tells them.
fn believed(facts: Facts, header: WasmForm) -> Option<Facts> {
    // Told as [`super::look`] tells it: in one line, bounded, without anything that acts on a terminal or hides in it.
    let printable = |text: &String| one_line(text, NAME_MOST_BYTES) == *text;
    let lists = [&facts.imports, &facts.exports];
    let bounded = lists.iter().all(|list| list.len() <= NAMES_MOST && list.iter().all(printable));
    let stamped = facts.sdk.as_ref().is_none_or(|sdk| sdk.len() <= SDK_MOST_BYTES && printable(sdk));
    (bounded && stamped && possible(facts.form, header)).then_some(facts)
}

/// Whether a program with this header can be of this form.
pub const fn possible(form: WasmForm, header: WasmForm) -> bool {
    match header {
        WasmForm::Module => matches!(form, WasmForm::Module),
        WasmForm::Component | WasmForm::Agent => matches!(form, WasmForm::Component | WasmForm::Agent),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_was_taken_over_is_not_believed() {
        let facts = Facts { form: WasmForm::Agent, imports: vec!["wasi:io/poll@0.2.0".into()], exports: Vec::new(), sdk: None, bytes: 1 };
        assert!(believed(facts.clone(), WasmForm::Component).is_some());
        assert!(believed(facts.clone(), WasmForm::Module).is_none());
        let told = Facts { imports: vec!["é\t ".repeat(NAME_MOST_BYTES / 4).trim().to_owned()], ..facts.clone() };
        assert!(believed(told, WasmForm::Component).is_some(), "a name of a module may be any text");
        for name in ["x".repeat(NAME_MOST_BYTES + 1), "\x1b[2J".into(), "\u{202e}".into()] {
            assert!(believed(Facts { imports: vec![name.clone()], ..facts.clone() }, WasmForm::Component).is_none());
            assert!(believed(Facts { sdk: Some(name), ..facts.clone() }, WasmForm::Component).is_none());
        }
        let many = Facts { exports: vec![String::new(); NAMES_MOST + 1], ..facts };
        assert!(believed(many, WasmForm::Component).is_none());
    }
}
