//! Kinds of failure, which decide exit codes, and which error is of which kind.

use super::Error;
use crate::{agent::ResolveError, registry::RegistryError};

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

impl Error {
    /// What kind of failure it is. Total: each error is named, so that a new one must be thought about.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Audit(error) => error.kind(),
            Self::CellNotFound(_) | Self::AgentNotFound(_) | Self::NoSuchAgent { .. }
            | Self::NoSuchMember { .. }
            | Self::NobodyElse(_)
            | Self::NoMessageForYou { .. }
            | Self::NoSuchArtifact { .. }
            | Self::Mail(
                RegistryError::NoReceiver { .. }
                | RegistryError::NoMessage { .. }
                | RegistryError::NotParked { .. }
                | RegistryError::NotMember { .. }
                | RegistryError::NoArtifact { .. },
            ) => Kind::NotFound,
            Self::NotApproved { .. }
            | Self::NoAnswer(_)
            | Self::NotAcceptingInvites { .. }
            | Self::AlreadyMember { .. }
            | Self::NotAllowed { .. }
            | Self::NotMember { .. }
            | Self::MailRefused { .. }
            | Self::StillRuns { .. }
            | Self::LivesByEvents
            | Self::Unfetched { .. }
            | Self::DestinationExists(..)
            | Self::Destination { .. }
            | Self::Check { .. }
            | Self::Mail(_)
            | Self::State { .. }
            | Self::NotReady { .. }
            | Self::NotResurrected { internal: false, .. }
            | Self::NotRun { .. }
            | Self::WardenRefused { .. }
            | Self::WardenSilent { .. }
            | Self::NotDestroyed { .. } | Self::Remains { .. }
            | Self::WrongBackend { .. }
            | Self::MixedTeam { .. }
            | Self::OtherBackend { .. }
            | Self::AgentRemains { .. }
            | Self::NothingToRead(_)
            | Self::NothingOfThese(..)
            | Self::Component { .. }
            | Self::Compile { .. }
            | Self::Source(_)
            | Self::Agent(_)
            | Self::Resolve(ResolveError::EnvironmentTooLarge | ResolveError::OwnPlace(_) | ResolveError::Overlap(_) | ResolveError::Mounts(_))
            | Self::Root(_) => Kind::Refused,
            Self::Contradiction(_)
            | Self::SeveralMembers { .. }
            | Self::SeveralArtifacts { .. }
            | Self::Text(_)
            | Self::Name(_)
            // A definition's own were looked at when it was read: what is refused here was typed.
            | Self::Resolve(
                ResolveError::Env(_)
                | ResolveError::Limit(_)
                | ResolveError::Limits(_)
                | ResolveError::Read(_)
                | ResolveError::Unfit { .. }
                | ResolveError::BareDefinition(_),
            ) => Kind::Usage,
            Self::Broken { .. }
            | Self::NotResurrected { internal: true, .. }
            | Self::ArtifactBroken { .. }
            | Self::Randomness(_)
            | Self::Logs { .. }
            | Self::OwnIdentity(_)
            | Self::Cache(_)
            | Self::Layout(_)
            | Self::Lease(_)
            | Self::Registry(_)
            | Self::Streams(_)
            | Self::Warden(_) => Kind::Internal,
            Self::Drill(error) => super::drill::kind(error),
        }
    }
}
