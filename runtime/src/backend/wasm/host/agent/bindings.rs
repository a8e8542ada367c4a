//! What `guest-sdk/wit` says, as Rust: the very text that guests are built from.

wasmtime::component::bindgen!({
    path: "../guest-sdk/wit",
    world: "event-agent",
    imports: { default: async | trappable },
    exports: { default: async },
});
