//! What is audited: the closed list of actions, and how far each had come.

use std::{fmt, str::FromStr};

/// A word that is no action or no phase.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("accept audit {what} {given:?}: there is none of that name")]
pub struct ActionError {
    what: &'static str,
    given: String,
}

/// Declares a closed enum whose variants are words, and every way between the two.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident ($what:literal) { $($(#[$variant_doc:meta])* $variant:ident = $word:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $name {
            $($(#[$variant_doc])* $variant,)+
        }

        impl $name {
            /// Every one, in the order of the declaration.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The word as it is written everywhere.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)+
                }
            }
        }

        impl FromStr for $name {
            type Err = ActionError;

            fn from_str(given: &str) -> Result<Self, Self::Err> {
                Self::ALL
                    .iter()
                    .copied()
                    .find(|one| one.as_str() == given)
                    .ok_or_else(|| ActionError { what: $what, given: crate::cell::text::quoted(given, 40) })
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }
    };
}

words! {
    /// What was done, or asked for. A new one needs a migration: the registry's CHECK repeats the list.
    Action("action") {
        /// A cell for one agent.
        Summon = "summon",
        /// A cell for several agents.
        Team = "team",
        /// A throwaway cell in the foreground.
        Run = "run",
        /// A member joins.
        Invite = "invite",
        /// A person joins with the token of an invitation.
        Join = "join",
        /// A member leaves.
        Revoke = "revoke",
        /// The agents of a cell are told to end.
        Close = "close",
        /// A cell is torn down.
        Destroy = "destroy",
        /// A cell is given another time to live.
        Extend = "extend",
        /// A cell is brought back from its home.
        Resurrect = "resurrect",
        /// Timers and dead wardens are caught up.
        Sweep = "sweep",
        /// A message is sent, in a cell or into one.
        Send = "send",
        /// A person acknowledges messages.
        Inbox = "inbox",
        /// An agent's result is kept, or fetched.
        Artifact = "artifact",
        /// A program is run in a living cell.
        Exec = "exec",
        /// The attacks are run on purpose.
        Drill = "drill",
        /// An agent definition is installed.
        AgentAdd = "agent_add",
        /// An agent definition's program is approved.
        AgentApprove = "agent_approve",
        /// An agent definition is removed.
        AgentRemove = "agent_remove",
        /// A warden takes a cell.
        Warden = "warden",
        /// Every agent of a cell is ready.
        Ready = "ready",
        /// A cell becomes idle.
        Rest = "rest",
        /// An idle cell wakes.
        Wake = "wake",
        /// Nothing lives in a cell any more.
        Ended = "ended",
        /// A cell failed.
        Failed = "failed",
        /// A cell's time to live is over.
        Expired = "expired",
        /// A run of an agent begins.
        RunStarted = "run_started",
        /// A run of an agent ends.
        RunEnded = "run_ended",
        /// An agent asked for what it was not granted.
        Denied = "denied",
        /// An agent ran into one of its limits.
        Limit = "limit",
        /// The operator accepts that something is not enforced, for one cell.
        Accept = "accept",
        /// A cell's homes are written into an archive.
        Archive = "archive",
        /// A key is made, to sign heads and receipts with.
        AuditKeygen = "audit_keygen",
        /// The head of the log is signed and exported.
        AuditHead = "audit_head",
    }
}

words! {
    /// How far an action had come when its row was written.
    Phase("phase") {
        /// It is about to happen: no row, no action.
        Intent = "intent",
        /// It happened.
        Done = "done",
        /// It was not allowed, and nothing changed.
        Refused = "refused",
        /// It was allowed, and did not succeed.
        Failed = "failed",
    }
}
