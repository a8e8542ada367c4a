//! What a member may do in a cell.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// A member's role. Rights are asked of it by name, so that each has one place that decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Does the work: own home and `/shared` read-write.
    Executor,
    /// Watches: own home read-write, `/shared` read-only.
    Observer,
    /// Leads: as an executor, and may invite and close.
    Director,
    /// Checks: no home of its own, `/shared` read-only.
    Auditor,
}

/// A role that does not exist.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("accept role {0:?}: the roles are executor, observer, director and auditor")]
pub struct RoleError(String);

impl Role {
    /// Every role.
    pub const ALL: [Self; 4] = [Self::Executor, Self::Observer, Self::Director, Self::Auditor];

    /// The role as it is written everywhere.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Executor => "executor",
            Self::Observer => "observer",
            Self::Director => "director",
            Self::Auditor => "auditor",
        }
    }

    /// Whether the member has a home of its own.
    pub const fn has_home(self) -> bool {
        !matches!(self, Self::Auditor)
    }

    /// Whether the member may write to what the team shares.
    pub const fn writes_shared(self) -> bool {
        matches!(self, Self::Executor | Self::Director)
    }

    /// Whether the member may invite others, extend, close and destroy.
    pub const fn leads(self) -> bool {
        matches!(self, Self::Director)
    }
}

impl FromStr for Role {
    type Err = RoleError;

    fn from_str(given: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|role| role.as_str() == given).ok_or_else(|| RoleError(super::text::quoted(given, 40)))
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
