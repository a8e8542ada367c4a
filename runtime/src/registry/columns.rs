//! Values of columns: a state as five of them, times, numbers, texts.

use std::{path::Path, time::Duration};

use chrono::{DateTime, SubsecRound, Utc};
use rusqlite::{Row, types::FromSql};

use super::RegistryError;
use crate::{
    audit::one_line,
    cell::{CloseReason, FailReason, Identity, State},
};

/// The longest message of a failure or an end, in bytes: a line of an agent's last words, not its log.
pub(super) const MESSAGE_MOST_BYTES: usize = 1024;

/// A state, as columns.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct StateColumns {
    pub state: String,
    pub why: Option<String>,
    pub by_whom: Option<String>,
    pub message: Option<String>,
    pub receipt: Option<String>,
}

/// Returns the columns of a state.
pub(super) fn columns_of(state: &State) -> Result<StateColumns, RegistryError> {
    let mut columns = StateColumns { state: state.name().to_owned(), ..StateColumns::default() };
    match state {
        State::Proposed | State::Active | State::Idle => {}
        State::Closing { reason } | State::Closed { reason } => match reason {
            CloseReason::Asked { by } => (columns.why, columns.by_whom) = (Some("asked".into()), Some(identity(by)?)),
            CloseReason::Finished => columns.why = Some("finished".into()),
            CloseReason::Expired => columns.why = Some("expired".into()),
        },
        State::Failed { reason } => {
            let (why, message) = match reason {
                FailReason::NotReady { message } => ("not_ready", Some(message)),
                FailReason::AgentEnded { message } => ("agent_ended", Some(message)),
                FailReason::Internal { message } => ("internal", Some(message)),
                FailReason::WardenDied => ("warden_died", None),
                FailReason::SummonerDied => ("summoner_died", None),
            };
            (columns.why, columns.message) = (Some(why.into()), message.cloned());
        }
        State::Destroyed { by, receipt } => {
            columns.by_whom = Some(identity(by)?);
            columns.receipt = Some(serde_json::to_string(receipt).map_err(|_| RegistryError::OutOfRange("a receipt"))?);
        }
    }
    Ok(columns)
}

/// Returns the state that columns say, all of them at once; anything that [`columns_of`] does not make is corruption.
pub(super) fn state_of(columns: &StateColumns) -> Result<State, String> {
    let StateColumns { state, why, by_whom, message, receipt } = columns;
    let who = |text: &str| text.parse::<Identity>().map_err(|error| error.to_string());
    let asked = |by: &str| who(by).map(|by| CloseReason::Asked { by });
    let failed = |reason| Ok(State::Failed { reason });
    match (state.as_str(), why.as_deref(), by_whom.as_deref(), message.as_deref(), receipt.as_deref()) {
        ("proposed", None, None, None, None) => Ok(State::Proposed),
        ("active", None, None, None, None) => Ok(State::Active),
        ("idle", None, None, None, None) => Ok(State::Idle),
        ("closing", Some("asked"), Some(by), None, None) => Ok(State::Closing { reason: asked(by)? }),
        ("closing", Some("finished"), None, None, None) => Ok(State::Closing { reason: CloseReason::Finished }),
        ("closing", Some("expired"), None, None, None) => Ok(State::Closing { reason: CloseReason::Expired }),
        ("closed", Some("asked"), Some(by), None, None) => Ok(State::Closed { reason: asked(by)? }),
        ("closed", Some("finished"), None, None, None) => Ok(State::Closed { reason: CloseReason::Finished }),
        ("closed", Some("expired"), None, None, None) => Ok(State::Closed { reason: CloseReason::Expired }),
        ("failed", Some("not_ready"), None, Some(m), None) => failed(FailReason::NotReady { message: m.into() }),
        ("failed", Some("agent_ended"), None, Some(m), None) => failed(FailReason::AgentEnded { message: m.into() }),
        ("failed", Some("internal"), None, Some(m), None) => failed(FailReason::Internal { message: m.into() }),
        ("failed", Some("warden_died"), None, None, None) => failed(FailReason::WardenDied),
        ("failed", Some("summoner_died"), None, None, None) => failed(FailReason::SummonerDied),
        ("destroyed", None, Some(by), None, Some(receipt)) => {
            let receipt = serde_json::from_str(receipt).map_err(|error| format!("receipt: {error}"))?;
            Ok(State::Destroyed { by: who(by)?, receipt })
        }
        other => Err(format!("no state is {other:?}")),
    }
}

/// Returns a state whose messages are bounded and harmless lines: agents wrote some of them.
pub(super) fn tidy(state: State) -> State {
    let line = |message: String| one_line(&message, MESSAGE_MOST_BYTES);
    match state {
        State::Failed { reason: FailReason::NotReady { message } } => {
            State::Failed { reason: FailReason::NotReady { message: line(message) } }
        }
        State::Failed { reason: FailReason::AgentEnded { message } } => {
            State::Failed { reason: FailReason::AgentEnded { message: line(message) } }
        }
        State::Failed { reason: FailReason::Internal { message } } => {
            State::Failed { reason: FailReason::Internal { message: line(message) } }
        }
        State::Failed { reason: reason @ (FailReason::WardenDied | FailReason::SummonerDied) } => State::Failed { reason },
        same @ (State::Proposed | State::Active | State::Idle | State::Closing { .. } | State::Closed { .. } | State::Destroyed { .. }) => {
            same
        }
    }
}

/// Returns an identity as it is stored: one that can be read back.
pub(super) fn identity(identity: &Identity) -> Result<String, RegistryError> {
    let text = identity.to_string();
    text.parse::<Identity>().map_err(RegistryError::Identity)?;
    Ok(text)
}

/// Returns a path as it is stored.
pub(super) fn path(path: &Path) -> Result<&str, RegistryError> {
    path.to_str().ok_or_else(|| RegistryError::PathNotText(path.to_owned()))
}

/// Returns a number as it is stored: SQLite's are signed.
pub(super) fn number(what: &'static str, number: u64) -> Result<i64, RegistryError> {
    i64::try_from(number).map_err(|_| RegistryError::OutOfRange(what))
}

/// Returns a duration as it is stored: in microseconds.
pub(super) fn micros(what: &'static str, duration: Duration) -> Result<i64, RegistryError> {
    i64::try_from(duration.as_micros()).map_err(|_| RegistryError::OutOfRange(what))
}

/// Returns a time as the registry keeps it: to the microsecond.
pub(super) fn kept(at: DateTime<Utc>) -> DateTime<Utc> {
    at.trunc_subsecs(6)
}

/// A row's columns, taken one after the other in the order of its SELECT. The names are for those who read of corruption.
pub(super) struct Cursor<'r, 's> {
    row: &'r Row<'s>,
    next: usize,
}

impl<'r, 's> Cursor<'r, 's> {
    pub(super) fn new(row: &'r Row<'s>) -> Self {
        Self { row, next: 0 }
    }

    pub(super) fn take<T: FromSql>(&mut self, column: &'static str) -> Result<T, String> {
        let value = self.row.get(self.next).map_err(|error| format!("{column}: {error}"))?;
        self.next += 1;
        Ok(value)
    }

    /// Takes a text that one of our types parses.
    pub(super) fn parse<T>(&mut self, column: &'static str) -> Result<T, String>
    where
        T: std::str::FromStr<Err: std::fmt::Display>,
    {
        let text: String = self.take(column)?;
        text.parse().map_err(|error| format!("{column}: failed to {error}"))
    }

    /// Takes a number that is not negative.
    pub(super) fn count<T: TryFrom<i64>>(&mut self, column: &'static str) -> Result<T, String> {
        let value: i64 = self.take(column)?;
        T::try_from(value).map_err(|_| format!("{column}: {value} is out of range"))
    }

    pub(super) fn flag(&mut self, column: &'static str) -> Result<bool, String> {
        match self.take::<i64>(column)? {
            0 => Ok(false),
            1 => Ok(true),
            other => Err(format!("{column}: {other} is neither 0 nor 1")),
        }
    }

    pub(super) fn time(&mut self, column: &'static str) -> Result<DateTime<Utc>, String> {
        let value: i64 = self.take(column)?;
        DateTime::from_timestamp_micros(value).ok_or_else(|| format!("{column}: {value} is no time"))
    }
}
