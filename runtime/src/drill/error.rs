//! Why a drill did not take place, or could not be finished.

use std::{io, path::PathBuf};

/// A drill that says nothing about the walls.
#[derive(Debug, thiserror::Error)]
pub enum DrillError {
    /// A word of `--only` that chooses nothing.
    #[error("choose attacks by {0:?}: no class, arena or attack begins like that")]
    NoSuchAttack(String),
    /// The stage could not be set.
    #[error("set the stage: {what}")]
    Stage {
        /// Which part.
        what: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A command of Lazarus that the stage needs did not do what it should.
    #[error("set the stage: `lazarus {command}` failed: {message}")]
    Command {
        /// The command.
        command: String,
        /// What it said.
        message: String,
    },
    /// The operator interrupted it.
    #[error("finish the drill: it was interrupted; nothing of it is left")]
    Interrupted,
    /// Something of the stage is still there.
    #[error("clear the stage {path}: {what}")]
    Left {
        /// The stage.
        path: PathBuf,
        /// What remains.
        what: String,
    },
}

/// Makes an error of the stage, for `map_err`.
pub(super) fn stage<E: Into<io::Error>>(what: impl Into<String>) -> impl FnOnce(E) -> DrillError {
    let what = what.into();
    move |source| DrillError::Stage { what, source: source.into() }
}
