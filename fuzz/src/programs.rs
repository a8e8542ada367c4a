//! What a stranger's program is: its header, its sections, and what the inspecting process says of it.

use std::io::Cursor;

use lazarus::backend::{
    WasmForm,
    wasm::{DetectError, Facts, NAME_MOST_BYTES, NAMES_MOST, detect, detect_bytes, facts_from, look},
};

use crate::harmless::check_refusal;

const MODULE: [u8; 8] = *b"\0asm\x01\0\0\0";
const COMPONENT: [u8; 8] = *b"\0asm\x0d\0\x01\0";
/// Of these bytes a file's kind is told.
const LOOK_BYTES: usize = 4096;

/// Takes bytes as a program. The first says as what: `m` and `c` as what follows the header of a module or a component, `f` and `g` as
/// the inspecting process's word about one, anything else as a whole file.
pub fn program(data: &[u8]) {
    match data.split_first() {
        Some((b'm', rest)) => looked_into(&[&MODULE, rest].concat(), WasmForm::Module),
        Some((b'c', rest)) => looked_into(&[&COMPONENT, rest].concat(), WasmForm::Component),
        Some((b'f', rest)) => believed(rest, WasmForm::Module),
        Some((b'g', rest)) => believed(rest, WasmForm::Component),
        Some((_, rest)) => detected(rest),
        None => detected(data),
    }
}

fn detected(file: &[u8]) {
    let mut cursor = Cursor::new(file);
    let found = detect(&mut cursor);
    assert_eq!(cursor.position(), 0, "the file is left at its start");
    let head = &file[..file.len().min(LOOK_BYTES)];
    match (&found, detect_bytes(head)) {
        (Ok(found), Ok(again)) => assert_eq!(*found, again),
        (Err(_), Err(_)) => {}
        (found, again) => panic!("{found:?} and {again:?}"),
    }
    match found {
        Ok(source) if source.text => {
            assert!(head.contains(&b'(') && source.form != WasmForm::Agent);
            assert!(matches!(head[0], b'(' | b';') || head[0].is_ascii_whitespace());
        }
        Ok(source) => {
            let header = if source.form == WasmForm::Module { MODULE } else { COMPONENT };
            assert!(file.starts_with(&header) && source.form != WasmForm::Agent);
        }
        Err(DetectError::Empty) => assert!(file.is_empty()),
        Err(error) => check_refusal(&error.to_string()),
    }
}

fn looked_into(binary: &[u8], header: WasmForm) {
    match look(binary, header) {
        Ok(facts) => {
            check(&facts, header);
            assert_eq!(facts.bytes, binary.len() as u64);
            // What the jailed process says is what the trusted side believes.
            let said = serde_json::to_vec(&facts).expect("facts have a form");
            assert_eq!(facts_from(&said, facts.bytes, header).expect("it is believed"), facts);
        }
        Err(error) => {
            // The compiling process may say anything: what it said is made harmless by who reads it.
            let shown = lazarus::backend::wasm::text::one_line(&error.to_string(), 400);
            check_refusal(&shown);
        }
    }
}

fn believed(said: &[u8], header: WasmForm) {
    if let Ok(facts) = facts_from(said, 7, header) {
        assert_eq!(facts.bytes, 7, "the size is measured, not told");
        check(&facts, header);
    }
}

fn check(facts: &Facts, header: WasmForm) {
    assert_eq!(facts.form == WasmForm::Module, header == WasmForm::Module);
    for list in [&facts.imports, &facts.exports] {
        assert!(list.len() <= NAMES_MOST);
        for name in list {
            assert!(name.len() <= NAME_MOST_BYTES, "{} bytes", name.len());
            crate::harmless::check_line(name, true);
        }
    }
    if let Some(sdk) = &facts.sdk {
        assert!(sdk.len() <= 64);
        crate::harmless::check_line(sdk, true);
    }
}
