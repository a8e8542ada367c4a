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

/// Something that is in each interface: a function, or a resource (`*`). An interface is linked if that is there; of which type, nobody asks here.
const SAMPLES: [(&str, &str); 34] = [
    ("wasi:cli/environment", "get-environment"),
    ("wasi:cli/exit", "exit"),
    ("wasi:cli/stdin", "get-stdin"),
    ("wasi:cli/stdout", "get-stdout"),
    ("wasi:cli/stderr", "get-stderr"),
    ("wasi:cli/terminal-input", "*terminal-input"),
    ("wasi:cli/terminal-output", "*terminal-output"),
    ("wasi:cli/terminal-stdin", "get-terminal-stdin"),
    ("wasi:cli/terminal-stdout", "get-terminal-stdout"),
    ("wasi:cli/terminal-stderr", "get-terminal-stderr"),
    ("wasi:clocks/monotonic-clock", "now"),
    ("wasi:clocks/wall-clock", "now"),
    ("wasi:filesystem/preopens", "get-directories"),
    ("wasi:filesystem/types", "*descriptor"),
    ("wasi:io/error", "*error"),
    ("wasi:io/poll", "poll"),
    ("wasi:io/streams", "*input-stream"),
    ("wasi:random/random", "get-random-bytes"),
    ("wasi:random/insecure", "get-insecure-random-bytes"),
    ("wasi:random/insecure-seed", "insecure-seed"),
    ("wasi:sockets/instance-network", "instance-network"),
    ("wasi:sockets/ip-name-lookup", "resolve-addresses"),
    ("wasi:sockets/network", "*network"),
    ("wasi:sockets/tcp", "*tcp-socket"),
    ("wasi:sockets/tcp-create-socket", "create-tcp-socket"),
    ("wasi:sockets/udp", "*udp-socket"),
    ("wasi:sockets/udp-create-socket", "create-udp-socket"),
    ("wasi:http/outgoing-handler", "handle"),
    ("wasi:http/types", "*fields"),
    ("lazarus:cell/log", "write"),
    ("lazarus:cell/heartbeat", "beat"),
    ("lazarus:cell/cell", "me"),
    ("lazarus:cell/mailbox", "send"),
    ("lazarus:cell/artifacts", "declare"),
];

fn is_linked(engine: &Engine, linker: &component::Linker<State>, interface: &str, sample: &str) -> bool {
    let export = match sample.strip_prefix('*') {
        Some(resource) => format!("(export \"{resource}\" (type (sub resource)))"),
        None => format!("(export \"{sample}\" (func))"),
    };
    let text = format!("(component (import \"{interface}\" (instance {export})))");
    let component = component::Component::new(engine, text).expect("a component");
    linker.instantiate_pre(&component).err().is_none_or(|error| !format!("{error:#}").contains("implementation is missing"))
}

#[test]
fn the_table_of_interfaces_is_what_is_linked() {
    let engine = compiling();
    let linker = |cell: fn(&mut component::Linker<State>) -> wasmtime::Result<()>| {
        let mut linker = component::Linker::new(&engine);
        guest::link(&mut linker).and_then(|()| cell(&mut linker)).expect("linked");
        linker
    };
    let known: Vec<&str> = PREVIEW_2.iter().map(|(name, _)| *name).chain(CELL.iter().map(|(name, ..)| *name)).collect();
    // `lazarus:cell/types` has types alone, which are there with whatever uses them.
    assert_eq!(known.len(), SAMPLES.len() + 1);
    for (form, linker) in [(WasmForm::Component, linker(agent::link_command)), (WasmForm::Agent, linker(agent::link_agent))] {
        for (interface, sample) in SAMPLES {
            assert!(known.contains(&interface), "{interface}");
            let versions: &[&str] = if interface.starts_with("wasi:") {
                &["0.2.0", "0.2.3", "0.2.99", "0.2.0-rc-2023-11-10", "0.3.0", "0.20.0"]
            } else {
                &["0.1.0", "0.1.7", "0.1.0-rc.1", "0.2.0", "9.9.9"]
            };
            for version in versions {
                let import = format!("{interface}@{version}");
                assert_eq!(is_linked(&engine, &linker, &import, sample), needs(&import, form).is_provided(), "{import}, {form:?}");
            }
        }
        assert_eq!(needs("wasi:filesystem/types@0.2.3", WasmForm::Module), Needs::Component);
        assert_eq!((needs("wasi:filesystem", form), needs("wasi:nothing", form)), (Needs::Each, Needs::Missing));
        for (foreign, sample) in [
            ("wasi:keyvalue/store@0.2.0", "open"),
            ("wasi:io/poll@0.3.0", "poll"),
            ("wasi:io/pull@0.2.0", "poll"),
            ("other:cell/mailbox@0.1.0", "send"),
            ("lazarus:cell/broker@0.1.0", "send"),
        ] {
            assert!(!is_linked(&engine, &linker, foreign, sample) && needs(foreign, form) == Needs::Missing, "{foreign}");
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
        assert_eq!(needs(&import, WasmForm::Component), Needs::Module, "{import} is for core modules");
    }
    for (module, function) in [(PREVIEW_1_MODULE, "fd_wrote"), ("wasi_unstable", "fd_write"), ("env", "abort")] {
        assert!(!is_linked(module, function) && needs(&format!("{module}::{function}"), WasmForm::Module) == Needs::Missing, "{module}");
    }
}
