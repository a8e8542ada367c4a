//! Which kind of agent a cell runs.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// The backend of a cell. Recorded with it; every later command asks the record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BackendKind {
    /// An operating-system process in the jail.
    Process,
    /// A WASI program under wasmtime, in the jail.
    Wasm,
}

/// A backend that does not exist.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("accept backend {0:?}: the backends are process and wasm")]
pub struct BackendError(String);

impl BackendKind {
    /// The backend as it is written everywhere.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Process => "process",
            Self::Wasm => "wasm",
        }
    }
}

impl FromStr for BackendKind {
    type Err = BackendError;

    fn from_str(given: &str) -> Result<Self, Self::Err> {
        match given {
            "process" => Ok(Self::Process),
            "wasm" => Ok(Self::Wasm),
            _ => Err(BackendError(super::text::quoted(given, 40))),
        }
    }
}

impl fmt::Display for BackendKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
