//! Kinds of failure, which decide exit codes.

/// Whether a file that is there can be replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Replacing {
    /// With `--force`.
    Forced,
    /// By nothing: another name has to be chosen.
    Never,
}

/// What kind of failure it is: decides the exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Refused, or failed in a way that the operator can change: exit code 1.
    Refused,
    /// The command line says something that cannot be meant: exit code 2.
    Usage,
    /// What was named is not there: exit code 3.
    NotFound,
    /// Lazarus itself, or the machine under it, failed: exit code 125.
    Internal,
}
