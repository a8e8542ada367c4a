//! The guest SDK, file by file; a test holds that none is missing.

/// Names a file of the SDK once: its path there, and its text.
macro_rules! files {
    ($($path:literal),* $(,)?) => {
        &[$(($path, include_str!(concat!("../../../../guest-sdk/", $path)))),*]
    };
}

/// The files of the SDK: paths below its directory, and their texts.
pub const FILES: &[(&str, &str)] = files![
    "Cargo.toml",
    "src/agent.rs",
    "src/cell.rs",
    "src/component.rs",
    "src/component/host.rs",
    "src/component/life.rs",
    "src/error.rs",
    "src/lib.rs",
    "src/message.rs",
    "src/plain.rs",
    "src/role.rs",
    "src/testing/directory.rs",
    "src/testing/double.rs",
    "src/testing/event.rs",
    "src/testing/mod.rs",
    "src/testing/rights.rs",
    "src/testing/sha256.rs",
    "src/testing/test_cell.rs",
    "src/testing/tests.rs",
    "src/testing/world.rs",
    "wit/cell.wit",
    "wit/since_v0.1.0/cell.wit",
];
