//! Who takes part in a cell: `agent:scribe`, `bot:deploy`, `human:alice`.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use super::CellId;

/// The longest name, in bytes: it becomes part of paths and of one-line messages.
pub const NAME_MOST_BYTES: usize = 64;

/// Why a name or an identity was refused. What was given is quoted with escapes, and bounded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// An agent's name that is not `[a-z0-9][a-z0-9_-]{0,63}`.
    #[error("accept agent name {0:?}: 1 to 64 of a-z, 0-9, '_' and '-', starting with a letter or a digit")]
    Agent(String),
    /// A person's or a project's name that is not `[A-Za-z0-9][A-Za-z0-9._-]{0,63}`.
    #[error("accept {1} name {0:?}: 1 to 64 of A-Z, a-z, 0-9, '.', '_' and '-', starting with a letter or a digit")]
    Plain(String, &'static str),
    /// An identity without a known kind.
    #[error("accept identity {0:?}: write agent:NAME, bot:NAME or human:NAME")]
    Identity(String),
    /// The same agent twice in one team.
    #[error("accept team: agent {0} is named twice")]
    Twice(AgentName),
    /// A team of nobody.
    #[error("accept team {0:?}: name agents joined with '+', such as scribe+critic")]
    Empty(String),
}

fn bounded(given: &str) -> String {
    super::text::quoted(given, 40)
}

/// The name of an agent: `[a-z0-9][a-z0-9_-]{0,63}`, so that it is also one plain part of a path.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct AgentName(String);

impl AgentName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is a cell's id as well, so that what it names is not known.
    pub fn is_cell_id(&self) -> bool {
        self.0.parse::<CellId>().is_ok()
    }
}

impl FromStr for AgentName {
    type Err = NameError;

    fn from_str(given: &str) -> Result<Self, Self::Err> {
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
        let rest = |b: u8| plain(b) || b == b'_' || b == b'-';
        let bytes = given.as_bytes();
        let valid = bytes.len() <= NAME_MOST_BYTES && bytes.first().copied().is_some_and(plain) && bytes.iter().copied().all(rest);
        if valid { Ok(Self(given.to_owned())) } else { Err(NameError::Agent(bounded(given))) }
    }
}

impl TryFrom<String> for AgentName {
    type Error = NameError;

    fn try_from(given: String) -> Result<Self, Self::Error> {
        given.parse()
    }
}

impl From<AgentName> for String {
    fn from(name: AgentName) -> Self {
        name.0
    }
}

impl fmt::Display for AgentName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

fn plain_name(given: &str, what: &'static str) -> Result<String, NameError> {
    let rest = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    let bytes = given.as_bytes();
    let first = bytes.first().is_some_and(u8::is_ascii_alphanumeric);
    if first && bytes.len() <= NAME_MOST_BYTES && bytes.iter().copied().all(rest) {
        Ok(given.to_owned())
    } else {
        Err(NameError::Plain(bounded(given), what))
    }
}

/// The name of a project: `[A-Za-z0-9][A-Za-z0-9._-]{0,63}`. A label, never a path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ProjectName(String);

impl ProjectName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ProjectName {
    type Err = NameError;

    fn from_str(given: &str) -> Result<Self, Self::Err> {
        plain_name(given, "project").map(Self)
    }
}

impl TryFrom<String> for ProjectName {
    type Error = NameError;

    fn try_from(given: String) -> Result<Self, Self::Error> {
        given.parse()
    }
}

impl From<ProjectName> for String {
    fn from(name: ProjectName) -> Self {
        name.0
    }
}

impl fmt::Display for ProjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// Somebody in a cell, or somebody who gives a command.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Identity {
    /// A program that reasons.
    Agent(AgentName),
    /// A program that does not.
    Bot(AgentName),
    /// A person.
    Human(String),
}

impl Identity {
    /// A person by login name; one that is no valid name (a domain's backslash, say) is `human:uid-N` instead.
    pub fn human_or_uid(login: Option<&str>, uid: u32) -> Self {
        let name = login.and_then(|login| plain_name(login, "human").ok());
        Self::Human(name.unwrap_or_else(|| format!("uid-{uid}")))
    }

    /// The agent definition that this identity could be started from: an agent's or a bot's.
    pub fn startable(&self) -> Option<&AgentName> {
        match self {
            Self::Agent(name) | Self::Bot(name) => Some(name),
            Self::Human(_) => None,
        }
    }
}

impl FromStr for Identity {
    type Err = NameError;

    fn from_str(given: &str) -> Result<Self, Self::Err> {
        match given.split_once(':') {
            Some(("agent", name)) => name.parse().map(Self::Agent),
            Some(("bot", name)) => name.parse().map(Self::Bot),
            Some(("human", name)) => plain_name(name, "human").map(Self::Human),
            _ => Err(NameError::Identity(bounded(given))),
        }
    }
}

impl TryFrom<String> for Identity {
    type Error = NameError;

    fn try_from(given: String) -> Result<Self, Self::Error> {
        given.parse()
    }
}

impl From<Identity> for String {
    fn from(identity: Identity) -> Self {
        identity.to_string()
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&match self {
            Self::Agent(name) => format!("agent:{name}"),
            Self::Bot(name) => format!("bot:{name}"),
            Self::Human(name) => format!("human:{name}"),
        })
    }
}

/// Parses the agents of a team, joined with `+`, in order.
///
/// # Errors
/// An empty list, an invalid name, or the same name twice (two agents never share a home).
pub fn parse_team(given: &str) -> Result<Vec<AgentName>, NameError> {
    if given.is_empty() {
        return Err(NameError::Empty(String::new()));
    }
    let mut agents: Vec<AgentName> = Vec::new();
    for part in given.split('+') {
        let name: AgentName = part.parse()?;
        if agents.contains(&name) {
            return Err(NameError::Twice(name));
        }
        agents.push(name);
    }
    Ok(agents)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_names_are_refused() {
        let long = "a".repeat(300);
        for text in ["", "../x", "/etc", "a/b", "a b", ".", "..", "-rf", "'; DROP TABLE cells;--", "Ärger", "A", "a\0b", &long] {
            assert!(text.parse::<AgentName>().is_err(), "{text:?}");
        }
        for text in ["", "../x", "/etc", "a/b", ".", "..", ".git", "x'; --", "é", "a\nb", &long] {
            assert!(text.parse::<ProjectName>().is_err(), "{text:?}");
        }
        for text in ["scribe", "s-1_x", &"a".repeat(64)] {
            assert!(text.parse::<AgentName>().is_ok(), "{text:?}");
        }
    }

    #[test]
    fn identities_keep_their_form() {
        for text in ["agent:scribe", "bot:deploy", "human:alice", "human:Jane.Doe"] {
            assert_eq!(text.parse::<Identity>().map(|i| i.to_string()).as_deref(), Ok(text));
        }
        for text in ["scribe", "robot:x", "agent:", "agent:X", "human:a b", "human:", ":x"] {
            assert!(text.parse::<Identity>().is_err(), "{text:?}");
        }
        assert_eq!(Identity::human_or_uid(Some("EXAMPLE\\jane"), 1001).to_string(), "human:uid-1001");
    }

    #[test]
    fn a_team_is_two_different_agents_or_more_names() {
        assert_eq!(parse_team("a+b+c").map(|team| team.len()), Ok(3));
        for text in ["", "+", "a+", "a++b", "a+a"] {
            assert!(parse_team(text).is_err(), "{text:?}");
        }
    }
}
