//! The life of a cell: its states, and the one function that decides every transition.
//!
//! ```text
//!  proposed ─→ active ⇄ idle ─→ closing ─→ closed ─→ destroyed
//!      └────────┴────────┴─→ failed ───────┴──────────↗
//!                 closed | failed ─ resurrect → active (generation + 1)
//! ```
//!
//! `active` and `idle` may also become `closed` directly, when every agent ended well by itself.
//! Nothing leads backwards, and `destroyed` is final.

use std::fmt;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::{Identity, Receipt};

/// Why a cell was closed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "why")]
pub enum CloseReason {
    /// Somebody asked.
    Asked {
        /// Who.
        by: Identity,
    },
    /// Every agent ended by itself, and well.
    Finished,
    /// Its time to live was over.
    Expired,
}

impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Asked { by } => write!(f, "closed by {by}"),
            Self::Finished => f.write_str("every agent ended well"),
            Self::Expired => f.write_str("time to live over"),
        }
    }
}

/// Why a cell failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "why")]
pub enum FailReason {
    /// An agent did not become ready.
    NotReady {
        /// The agent's or the backend's own words: one line, bounded.
        message: String,
    },
    /// An agent ended badly: a code other than zero, a signal, a trap, an exhausted limit.
    AgentEnded {
        /// Which agent, and how: one line, bounded.
        message: String,
    },
    /// The warden died; its agents died with it.
    WardenDied,
    /// The command that summoned died before there was a warden.
    SummonerDied,
    /// Lazarus itself could not go on.
    Internal {
        /// What it could not do.
        message: String,
    },
}

impl fmt::Display for FailReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotReady { message } | Self::AgentEnded { message } | Self::Internal { message } => f.write_str(message),
            Self::WardenDied => f.write_str("the warden died, and its agents with it"),
            Self::SummonerDied => f.write_str("the summoning command died before the cell was ready"),
        }
    }
}

/// The state of a cell, with what exists in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "name")]
pub enum State {
    /// Written down; nothing may exist yet, and anything may.
    Proposed,
    /// Its agents run.
    Active,
    /// Its agents wait for events.
    Idle,
    /// Its agents were told to end.
    Closing {
        /// Why.
        reason: CloseReason,
    },
    /// Nothing runs; the home stays.
    Closed {
        /// Why.
        reason: CloseReason,
    },
    /// Nothing runs; the reason says what went wrong.
    Failed {
        /// Why.
        reason: FailReason,
    },
    /// Nothing is left.
    Destroyed {
        /// Who asked.
        by: Identity,
        /// What the teardown did.
        receipt: Receipt,
    },
}

impl State {
    /// The state's name as it is written everywhere.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Proposed => "proposed",
            Self::Active => "active",
            Self::Idle => "idle",
            Self::Closing { .. } => "closing",
            Self::Closed { .. } => "closed",
            Self::Failed { .. } => "failed",
            Self::Destroyed { .. } => "destroyed",
        }
    }

    /// Whether processes of the cell may live in this state.
    pub const fn may_live(&self) -> bool {
        match self {
            Self::Proposed | Self::Active | Self::Idle | Self::Closing { .. } => true,
            Self::Closed { .. } | Self::Failed { .. } | Self::Destroyed { .. } => false,
        }
    }

    /// Whether the cell takes new members.
    pub const fn accepts_invites(&self) -> bool {
        matches!(self, Self::Active | Self::Idle)
    }

    /// Whether `status` without `--all` leaves the cell out.
    pub const fn is_over(&self) -> bool {
        matches!(self, Self::Closed { .. } | Self::Destroyed { .. })
    }

    /// The reason that comes with the state, as one line.
    pub fn reason(&self) -> Option<String> {
        match self {
            Self::Closing { reason } | Self::Closed { reason } => Some(reason.to_string()),
            Self::Failed { reason } => Some(reason.to_string()),
            Self::Destroyed { by, .. } => Some(format!("destroyed by {by}")),
            Self::Proposed | Self::Active | Self::Idle => None,
        }
    }
}

/// What happens to a cell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Every agent said that it is ready.
    Ready,
    /// Nothing happened for the idle time.
    Rest,
    /// Something happened in an idle cell.
    Wake,
    /// The agents are told to end.
    Close(CloseReason),
    /// Every agent has ended, and none badly; or, in a closing cell, nothing lives any more.
    Ended,
    /// It went wrong.
    Fail(FailReason),
    /// It is brought back from its home.
    Resurrect,
    /// It was torn down: nothing lives, nothing is left.
    Destroy {
        /// Who asked.
        by: Identity,
        /// What was done.
        receipt: Receipt,
    },
}

impl Event {
    const fn asks_to(&self) -> &'static str {
        match self {
            Self::Ready => "become active",
            Self::Rest => "become idle",
            Self::Wake => "wake",
            Self::Close(_) => "be closed",
            Self::Ended => "end",
            Self::Fail(_) => "fail",
            Self::Resurrect => "be resurrected",
            Self::Destroy { .. } => "be destroyed",
        }
    }
}

/// What an event leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// The cell moves to a new state.
    To(State),
    /// The cell is there already: success, and nothing to do.
    Already,
}

/// An event that the state does not allow. Nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot {asks_to} (state={state})")]
pub struct Refusal {
    /// The state's name.
    pub state: &'static str,
    /// What was asked for.
    pub asks_to: &'static str,
}

/// Decides what an event makes of a state: the only place that knows the diagram above.
///
/// # Errors
/// [`Refusal`] where the diagram has no such arrow.
pub fn decide(state: &State, event: Event) -> Result<Decision, Refusal> {
    let refusal = Refusal { state: state.name(), asks_to: event.asks_to() };
    let to = |state| Ok(Decision::To(state));
    match (state, event) {
        (State::Proposed, Event::Ready) | (State::Idle, Event::Wake) => to(State::Active),
        (State::Active, Event::Rest) => to(State::Idle),
        (State::Active | State::Idle, Event::Close(reason)) => to(State::Closing { reason }),
        (State::Active | State::Idle, Event::Ended) => to(State::Closed { reason: CloseReason::Finished }),
        (State::Closing { reason }, Event::Ended) => to(State::Closed { reason: reason.clone() }),
        (State::Proposed | State::Active | State::Idle, Event::Fail(reason)) => to(State::Failed { reason }),
        (State::Closed { .. } | State::Failed { .. }, Event::Resurrect) => to(State::Active),
        (State::Closed { .. } | State::Failed { .. }, Event::Destroy { by, receipt }) => to(State::Destroyed { by, receipt }),
        (State::Destroyed { .. }, Event::Destroy { .. }) | (State::Closing { .. }, Event::Close(_)) => Ok(Decision::Already),
        (
            State::Proposed
            | State::Active
            | State::Idle
            | State::Closing { .. }
            | State::Closed { .. }
            | State::Failed { .. }
            | State::Destroyed { .. },
            Event::Ready
            | Event::Rest
            | Event::Wake
            | Event::Close(_)
            | Event::Ended
            | Event::Fail(_)
            | Event::Resurrect
            | Event::Destroy { .. },
        ) => Err(refusal),
    }
}

/// When a cell's time to live is over.
pub fn is_expired(expires_at: Option<DateTime<Utc>>, now: DateTime<Utc>) -> bool {
    expires_at.is_some_and(|at| now >= at)
}

#[cfg(test)]
#[path = "state_model.rs"]
mod model;
