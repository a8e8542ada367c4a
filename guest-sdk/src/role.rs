//! The roles, as an agent sees its own.

use std::{error::Error, fmt, str::FromStr};

/// An agent's role in its cell. The cell enforces it; the agent reads it to know what to expect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// Does the work: home and shared directory read-write.
    Executor,
    /// Watches: home read-write, shared directory read-only.
    Observer,
    /// Leads: as an executor, and may invite and close.
    Director,
    /// Checks: no home, shared directory read-only.
    Auditor,
}

/// A role that this version of the SDK does not know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoleError(String);

impl Role {
    /// Every role.
    pub const ALL: [Self; 4] = [Self::Executor, Self::Observer, Self::Director, Self::Auditor];

    /// Returns the role as it is written in `LAZARUS_ROLE`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Executor => "executor",
            Self::Observer => "observer",
            Self::Director => "director",
            Self::Auditor => "auditor",
        }
    }

    /// Tells whether a write to the shared directory can succeed; for other roles it fails as on a read-only file system.
    pub const fn writes_shared(self) -> bool {
        match self {
            Self::Executor | Self::Director => true,
            Self::Observer | Self::Auditor => false,
        }
    }
}

impl FromStr for Role {
    type Err = RoleError;

    fn from_str(given: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|role| role.as_str() == given).ok_or_else(|| RoleError(given.chars().take(40).collect()))
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Display for RoleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "accept role {:?}: this version of the SDK knows executor, observer, director and auditor", self.0)
    }
}

impl Error for RoleError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_role_is_read_back() {
        for role in Role::ALL {
            assert_eq!(role.as_str().parse(), Ok(role));
        }
        for text in ["", "Executor", "root", "executor "] {
            assert!(text.parse::<Role>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn only_those_who_work_or_lead_write_to_what_is_shared() {
        let writing: Vec<_> = Role::ALL.into_iter().filter(|role| role.writes_shared()).collect();
        assert_eq!(writing, [Role::Executor, Role::Director]);
    }
}
