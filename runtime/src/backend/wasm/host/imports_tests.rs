//! The table of imports beside the linkers: what it says is provided is linked, and what it says is not, is not.

use wasmtime::{Engine, Linker, Module, UnknownImportError, component};

use super::{agent, guest, guest::State, p1};
use crate::backend::{
    WasmForm,
    wasm::{
        engine::{Purpose, engine},
        imports::{CELL, Needs, PREVIEW_1, PREVIEW_1_MODULE, PREVIEW_2, needs},
    },
};

fn compiling() -> Engine {
    engine(Purpose::Compile).expect("an engine")
}

/// Whether a component may import an interface: an empty instance of it, since nothing is asked of what is in it.
fn is_linked(engine: &Engine, linker: &component::Linker<State>, interface: &str) -> bool {
    let text = format!("(component (import \"{interface}\" (instance)))");
    let component = component::Component::new(engine, text).expect("a component");
    linker.instantiate_pre(&component).is_ok()
}

#[test]
fn the_table_of_interfaces_is_what_is_linked() {
    let engine = compiling();
    let linker = |cell: fn(&mut component::Linker<State>) -> wasmtime::Result<()>| {
        let mut linker = component::Linker::new(&engine);
        guest::link(&mut linker).and_then(|()| cell(&mut linker)).expect("linked");
        linker
    };
    for (form, linker) in [(WasmForm::Component, linker(agent::link_command)), (WasmForm::Agent, linker(agent::link_agent))] {
        for (interface, _) in PREVIEW_2 {
            for version in ["0.2.0", "0.2.3"] {
                let import = format!("{interface}@{version}");
                assert_eq!(is_linked(&engine, &linker, &import), needs(&import, form).is_provided(), "{import}, {form:?}");
            }
        }
        for (interface, ..) in CELL {
            let import = format!("{interface}@0.1.0");
            // `types` alone has nothing that could be missing: it is there with whatever uses it.
            if interface != "lazarus:cell/types" {
                assert_eq!(is_linked(&engine, &linker, &import), needs(&import, form).is_provided(), "{import}, {form:?}");
            }
        }
        for foreign in [
            "wasi:keyvalue/store@0.2.0",
            "wasi:io/poll@0.3.0",
            "wasi:io/pull@0.2.0",
            "other:cell/mailbox@0.1.0",
            "lazarus:cell/broker@0.1.0",
        ] {
            assert!(!is_linked(&engine, &linker, foreign) && needs(foreign, form) == Needs::Missing, "{foreign}");
        }
    }
}

#[test]
fn the_table_of_preview_1_is_what_is_linked() {
    let engine = compiling();
    let mut linker: Linker<State> = Linker::new(&engine);
    p1::link(&mut linker).expect("linked");
    let is_linked = |module: &str, function: &str| {
        let module = Module::new(&engine, format!("(module (import \"{module}\" \"{function}\" (func)))")).expect("a module");
        // One that is there has another type than this, which is another error.
        linker.instantiate_pre(&module).err().is_none_or(|error| error.downcast_ref::<UnknownImportError>().is_none())
    };
    for (function, _) in PREVIEW_1 {
        let import = format!("{PREVIEW_1_MODULE}::{function}");
        assert!(is_linked(PREVIEW_1_MODULE, function) && needs(&import, WasmForm::Module).is_provided(), "{import}");
        assert_eq!(needs(&import, WasmForm::Component), Needs::Missing, "{import} is for core modules");
    }
    for (module, function) in [(PREVIEW_1_MODULE, "fd_wrote"), ("wasi_unstable", "fd_write"), ("env", "abort")] {
        assert!(!is_linked(module, function) && needs(&format!("{module}::{function}"), WasmForm::Module) == Needs::Missing, "{module}");
    }
}
