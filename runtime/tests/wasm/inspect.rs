//! What is known of a program before it runs, and what is refused by that.

use std::io::Write;

use lazarus::backend::{
    WasmForm,
    wasm::{self, Facts, KEEPER_WAT},
};

use crate::{
    Case,
    event_wat::{DIARY, ECHO},
    fixture::{compile, new_cache},
    wat,
};

pub const CASES: &[Case] = &[
    ("facts_are_told_without_compiling", facts_are_told_without_compiling),
    ("a_component_of_another_time_is_refused", a_component_of_another_time_is_refused),
    ("the_cache_knows_an_agent_again", the_cache_knows_an_agent_again),
    ("a_damaged_component_is_not_looked_into", a_damaged_component_is_not_looked_into),
];

fn inspect(source: &[u8]) -> Result<Facts, String> {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(source).unwrap();
    wasm::inspect(&mut file).map_err(|error| error.to_string())
}

fn facts_are_told_without_compiling() {
    let echo = ECHO.component();
    let facts = inspect(&echo).unwrap();
    assert_eq!((facts.form, facts.bytes, facts.sdk), (WasmForm::Agent, echo.len() as u64, None));
    assert!(facts.imports.iter().any(|import| import == "lazarus:cell/mailbox@0.1.0"), "{:?}", facts.imports);
    assert_eq!(facts.exports, ["lazarus:cell/agent@0.1.0"]);
    let program = inspect(wat::component("", "(i32.const 0)").as_bytes()).unwrap();
    assert_eq!((program.form, program.exports), (WasmForm::Component, vec!["wasi:cli/run@0.2.0".to_owned()]));
    let keeper = inspect(KEEPER_WAT.as_bytes()).unwrap();
    assert_eq!((keeper.form, keeper.bytes), (WasmForm::Module, KEEPER_WAT.len() as u64));
    assert!(keeper.imports.iter().all(|import| import.starts_with("wasi_snapshot_preview1::")));
    let stamped = r#"(component (core module (@custom "lazarus:sdk" "0.1.0")))"#;
    assert_eq!(inspect(stamped.as_bytes()).unwrap().sdk.as_deref(), Some("0.1.0"));
}

fn a_component_of_another_time_is_refused() {
    let range = "this Lazarus runs 0.1.0 up to, not including, 0.2.0";
    for (source, expected) in [
        (r#"(component (import "lazarus:cell/log@0.9.0" (instance)))"#, "it was built for lazarus:cell 0.9.0"),
        (r#"(component (instance $i) (export "lazarus:cell/agent@0.2.0" (instance $i)))"#, "it was built for lazarus:cell 0.2.0"),
        (r#"(component (core module (@custom "lazarus:sdk" "1.0.0")))"#, "it was built for lazarus:cell 1.0.0"),
    ] {
        for refused in [compile(source.as_bytes()).map(drop), inspect(source.as_bytes()).map(drop)] {
            let error = refused.expect_err("refused");
            assert!(error.contains(expected) && error.contains(range) && !error.contains('\n'), "{error}");
        }
        let twin = source.replace("0.9.0", "0.1.9").replace("0.2.0", "0.1.9").replace("1.0.0", "0.1.9");
        assert!(compile(twin.as_bytes()).is_ok(), "{twin}");
    }
}

fn the_cache_knows_an_agent_again() {
    let (_place, cache) = new_cache();
    let first = wasm::ensure_bytes(&cache, &DIARY.component()).unwrap();
    let again = wasm::ensure_bytes(&cache, &DIARY.component()).unwrap();
    assert!(first.compiled && !again.compiled);
    assert_eq!((first.form, again.form, first.file_name()), (WasmForm::Agent, WasmForm::Agent, again.file_name()));
}

fn a_damaged_component_is_not_looked_into() {
    let echo = ECHO.component();
    for cut in [9, 100, echo.len() / 2, echo.len() - 1] {
        let error = inspect(&echo[..cut]).expect_err("cut");
        assert!(!error.contains('\n') && error.len() < 600, "{error}");
        assert!(compile(&echo[..cut]).is_err());
    }
    assert!(inspect(b"#!/bin/sh").is_err_and(|error| error.contains("not WebAssembly")));
}
