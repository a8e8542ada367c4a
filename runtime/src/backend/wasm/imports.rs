//! What imports need: one table of everything that the host links, and what a program can make of each.
//!
//! `lazarus agent check` and `lazarus why` read it; `host/imports_tests.rs` compares it with the linkers themselves.

use semver::Version;

use super::look::runs;
use crate::backend::WasmForm;

/// What a program needs to make something of an import.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Needs {
    /// Nothing: it works for everyone.
    Nothing,
    /// Directories: the home and /shared are there; others are mounts.
    Files,
    /// Variables.
    Variables,
    /// A role that allows the call.
    Role,
    /// A network. It is linked, and finds every network closed.
    Network,
    /// To live by events: programs that do not are not given it.
    Events,
    /// To be a core module: components are not given it.
    Module,
    /// To be a component: core modules are not given it.
    Component,
    /// To have been built for a version of it that this Lazarus runs.
    Version,
    /// It is not one import but many: each has its own needs.
    Each,
    /// A network, through a way that is not linked at all.
    Broker,
    /// What this Lazarus does not have.
    Missing,
}

impl Needs {
    /// Whether the host links it, so that the program starts.
    pub const fn is_provided(self) -> bool {
        match self {
            Self::Nothing | Self::Files | Self::Variables | Self::Role | Self::Network | Self::Each => true,
            Self::Events | Self::Module | Self::Component | Self::Version | Self::Broker | Self::Missing => false,
        }
    }

    /// The need as a phrase behind the import: "wasi:io needs nothing".
    pub const fn phrase(self) -> &'static str {
        match self {
            Self::Nothing => "needs nothing",
            Self::Files => "sees its home and /shared; other directories need a mount (`mounts`)",
            Self::Variables => "sees variables that are granted (`env`)",
            Self::Role => "needs a role that may: it is answered as the agent's role allows",
            Self::Network => "finds every network closed: this version of Lazarus grants none",
            Self::Events => "is given only to agents that live by events: export lazarus:cell/agent",
            Self::Module => "is given only to core modules (preview 1), and this is a component",
            Self::Component => "is given only to components, and this is a core module (preview 1)",
            Self::Version => "this Lazarus does not run in that version: build it with another lazarus-guest",
            Self::Each => "is given; what it needs depends on which part of it is meant: ask of an interface, or of a function",
            Self::Broker => "this version of Lazarus does not provide: it grants no network yet",
            Self::Missing => "this version of Lazarus does not provide",
        }
    }
}

/// Interfaces of WASI 0.2 that the host links.
pub(super) const PREVIEW_2: [(&str, Needs); 29] = [
    ("wasi:cli/environment", Needs::Variables),
    ("wasi:cli/exit", Needs::Nothing),
    ("wasi:cli/stdin", Needs::Nothing),
    ("wasi:cli/stdout", Needs::Nothing),
    ("wasi:cli/stderr", Needs::Nothing),
    ("wasi:cli/terminal-input", Needs::Nothing),
    ("wasi:cli/terminal-output", Needs::Nothing),
    ("wasi:cli/terminal-stdin", Needs::Nothing),
    ("wasi:cli/terminal-stdout", Needs::Nothing),
    ("wasi:cli/terminal-stderr", Needs::Nothing),
    ("wasi:clocks/monotonic-clock", Needs::Nothing),
    ("wasi:clocks/wall-clock", Needs::Nothing),
    ("wasi:filesystem/preopens", Needs::Files),
    ("wasi:filesystem/types", Needs::Files),
    ("wasi:io/error", Needs::Nothing),
    ("wasi:io/poll", Needs::Nothing),
    ("wasi:io/streams", Needs::Nothing),
    ("wasi:random/random", Needs::Nothing),
    ("wasi:random/insecure", Needs::Nothing),
    ("wasi:random/insecure-seed", Needs::Nothing),
    ("wasi:sockets/instance-network", Needs::Network),
    ("wasi:sockets/ip-name-lookup", Needs::Network),
    ("wasi:sockets/network", Needs::Network),
    ("wasi:sockets/tcp", Needs::Network),
    ("wasi:sockets/tcp-create-socket", Needs::Network),
    ("wasi:sockets/udp", Needs::Network),
    ("wasi:sockets/udp-create-socket", Needs::Network),
    // Not linked; named so that the reason is.
    ("wasi:http/outgoing-handler", Needs::Broker),
    ("wasi:http/types", Needs::Broker),
];

/// The module of preview 1, and the functions of it that the host links.
pub const PREVIEW_1_MODULE: &str = "wasi_snapshot_preview1";
/// Functions of preview 1 that the host links.
#[rustfmt::skip]
pub(super) const PREVIEW_1: [(&str, Needs); 46] = [
    ("args_get", Needs::Nothing), ("args_sizes_get", Needs::Nothing),
    ("environ_get", Needs::Variables), ("environ_sizes_get", Needs::Variables),
    ("clock_res_get", Needs::Nothing), ("clock_time_get", Needs::Nothing),
    ("fd_advise", Needs::Files), ("fd_allocate", Needs::Files), ("fd_close", Needs::Nothing), ("fd_datasync", Needs::Files),
    ("fd_fdstat_get", Needs::Nothing), ("fd_fdstat_set_flags", Needs::Nothing), ("fd_fdstat_set_rights", Needs::Nothing),
    ("fd_filestat_get", Needs::Nothing), ("fd_filestat_set_size", Needs::Files), ("fd_filestat_set_times", Needs::Files),
    ("fd_pread", Needs::Files), ("fd_prestat_get", Needs::Files), ("fd_prestat_dir_name", Needs::Files), ("fd_pwrite", Needs::Files),
    ("fd_read", Needs::Nothing), ("fd_readdir", Needs::Files), ("fd_renumber", Needs::Nothing), ("fd_seek", Needs::Nothing),
    ("fd_sync", Needs::Files), ("fd_tell", Needs::Nothing), ("fd_write", Needs::Nothing),
    ("path_create_directory", Needs::Files), ("path_filestat_get", Needs::Files), ("path_filestat_set_times", Needs::Files),
    ("path_link", Needs::Files), ("path_open", Needs::Files), ("path_readlink", Needs::Files), ("path_remove_directory", Needs::Files),
    ("path_rename", Needs::Files), ("path_symlink", Needs::Files), ("path_unlink_file", Needs::Files),
    ("poll_oneoff", Needs::Nothing), ("proc_exit", Needs::Nothing), ("proc_raise", Needs::Nothing), ("random_get", Needs::Nothing),
    ("sched_yield", Needs::Nothing),
    ("sock_accept", Needs::Network), ("sock_recv", Needs::Network), ("sock_send", Needs::Network), ("sock_shutdown", Needs::Network),
];

/// Interfaces of the cell, and whether a program that does not live by events is given them as well.
pub(super) const CELL: [(&str, Needs, bool); 6] = [
    ("lazarus:cell/types", Needs::Nothing, true),
    ("lazarus:cell/log", Needs::Nothing, true),
    ("lazarus:cell/heartbeat", Needs::Nothing, true),
    ("lazarus:cell/cell", Needs::Role, false),
    ("lazarus:cell/mailbox", Needs::Role, false),
    ("lazarus:cell/artifacts", Needs::Role, false),
];

/// What an import needs, of a program of this form. An interface with a version (`wasi:io/poll@0.2.6`), or without one; or
/// `module::function`, of a core module. A package or a module alone stands for all that is in it.
pub fn needs(import: &str, form: WasmForm) -> Needs {
    let of_modules = import.split("::").next() == Some(PREVIEW_1_MODULE);
    let needs = if of_modules { of_preview_1(import) } else { of_components(import, form) };
    match form {
        _ if !needs.is_provided() && needs != Needs::Events => needs,
        WasmForm::Module if !of_modules => Needs::Component,
        WasmForm::Component | WasmForm::Agent if of_modules => Needs::Module,
        WasmForm::Module | WasmForm::Component | WasmForm::Agent => needs,
    }
}

fn of_preview_1(import: &str) -> Needs {
    match import.split_once("::") {
        None => Needs::Each,
        Some((_, function)) => PREVIEW_1.iter().find(|(name, _)| *name == function).map_or(Needs::Missing, |(_, needs)| *needs),
    }
}

fn of_components(import: &str, form: WasmForm) -> Needs {
    let (name, version) = import.split_once('@').map_or((import, None), |(name, version)| (name, Some(version)));
    if let Some((_, needs, for_all)) = CELL.iter().find(|(known, ..)| *known == name) {
        return match version {
            Some(_) if !is_cell_version(import) => Needs::Version,
            _ if *for_all || form == WasmForm::Agent => *needs,
            _ => Needs::Events,
        };
    }
    let is_preview_2 = version.is_none_or(is_0_2);
    match PREVIEW_2.iter().find(|(known, _)| *known == name) {
        Some((_, needs)) if is_preview_2 => *needs,
        Some(_) | None if name.split('/').next() == Some("wasi:http") => Needs::Broker,
        Some(_) | None => {
            let is_package = is_preview_2 && PREVIEW_2.iter().any(|(known, _)| known.split('/').next() == Some(name));
            if is_package { Needs::Each } else { Needs::Missing }
        }
    }
}

/// Whether the version of WASI is one that the linker finds 0.2 for: of the same minor version, and released.
fn is_0_2(version: &str) -> bool {
    Version::parse(version).is_ok_and(|version| (version.major, version.minor) == (0, 2) && version.pre.is_empty())
}

/// Whether an interface of `lazarus:cell` has a version that this Lazarus runs; what follows a `#` is no part of it.
pub fn is_cell_version(import: &str) -> bool {
    let version = import.split_once('@').map(|(_, version)| version.split('#').next().unwrap_or(version));
    version.and_then(|version| Version::parse(version).ok()).is_some_and(|version| runs(&version))
}

/// The package or module of an import: `wasi:io`, `wasi_snapshot_preview1`.
pub fn package(import: &str) -> &str {
    import.split("::").next().unwrap_or(import).split('/').next().unwrap_or(import)
}

/// Whether a word is a function of preview 1.
pub fn is_preview_1(word: &str) -> bool {
    PREVIEW_1.iter().any(|(name, _)| *name == word)
}
