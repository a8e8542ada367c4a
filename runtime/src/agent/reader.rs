//! Reading TOML so that every refusal names the file, the line and the column.

use std::ops::Range;

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{limits::LimitError, resolve::ResolveError};
use crate::{
    cell::NameError,
    policy::{EnvError, MountError, QuantityError},
};

/// How alike a key must be to be offered instead of one that is unknown (Jaro-Winkler, 1 being equal).
const ALIKE: f64 = 0.8;
/// Characters of the author's text that are quoted in a message.
const QUOTE_MOST_CHARS: usize = 60;

/// Why a definition was refused, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("read agent definition {file}:{line}:{column}: {problem}")]
pub struct DefinitionError {
    /// The file, as the operator named it.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
    /// The column, in characters, from 1.
    pub column: usize,
    /// What is wrong there.
    pub problem: Problem,
}

/// What is wrong with a definition.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// Larger than a definition may be.
    #[error("a definition has at most 64 KiB")]
    TooLarge,
    /// Not text.
    #[error("it is not UTF-8 text")]
    NotText,
    /// Not TOML.
    #[error("{0}")]
    Syntax(String),
    /// A key that does not exist: refused, so that nothing is granted, or left unlimited, by a slip.
    #[error("unknown key `{key}` in {table}{hint}")]
    UnknownKey {
        /// The key, escaped and bounded.
        key: String,
        /// Where.
        table: &'static str,
        /// A key that may have been meant, or those that there are.
        hint: String,
    },
    /// A key that has to be there.
    #[error("`{key}` is missing in {table}")]
    Missing {
        /// The key.
        key: &'static str,
        /// Where.
        table: &'static str,
    },
    /// A value of the wrong type.
    #[error("`{key}` is {found}; it must be {expected}")]
    Type {
        /// The key.
        key: String,
        /// What it must be.
        expected: &'static str,
        /// What it is.
        found: &'static str,
    },
    /// Two keys that exclude one another, or one that makes no sense without another.
    #[error("`{key}` {why}")]
    Conflict {
        /// The key.
        key: &'static str,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A value that is not accepted.
    #[error("`{key}` is {given:?}; it must be {expected}")]
    Value {
        /// The key.
        key: &'static str,
        /// What it is, bounded.
        given: String,
        /// What it must be.
        expected: &'static str,
    },
    /// A grant that this release cannot enforce.
    #[error("`{key}` needs the broker, which this release does not have")]
    Broker {
        /// The key.
        key: &'static str,
    },
    /// A name.
    #[error("cannot {0}")]
    Name(#[from] NameError),
    /// A variable.
    #[error("cannot {0}")]
    Env(#[from] EnvError),
    /// A mount.
    #[error("cannot {0}")]
    Mount(#[from] MountError),
    /// What makes no policy.
    #[error("cannot {0}")]
    Policy(#[from] Box<ResolveError>),
    /// A path of the machine that is never granted.
    #[error("cannot {0}")]
    Source(String),
    /// A duration.
    #[error("cannot {0}")]
    Quantity(#[from] QuantityError),
    /// A limit.
    #[error("cannot {}", whole(.0))]
    Limit(#[from] LimitError),
}

/// A limit's error with its cause, since a definition's error is one line.
fn whole(error: &LimitError) -> String {
    match error {
        LimitError::Quantity { source, .. } => format!("{error}: cannot {source}"),
        LimitError::Unknown { .. } | LimitError::Count { .. } | LimitError::Range(_) => error.to_string(),
    }
}

/// Says which of some names may have been meant, as the end of a sentence; which there are, if none comes near.
pub(super) fn hint(given: &str, known: &[&str]) -> String {
    let nearest = known
        .iter()
        .map(|name| (strsim::jaro_winkler(given, name), name))
        .filter(|(likeness, _)| *likeness >= ALIKE)
        .max_by(|(a, _), (b, _)| a.total_cmp(b));
    nearest.map(|(_, name)| format!("; did you mean `{name}`?")).unwrap_or_default()
}

pub(super) fn quote(given: &str) -> String {
    crate::cell::text::quoted(given, QUOTE_MOST_CHARS)
}

/// A place in a definition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// The line, from 1.
    pub line: usize,
    /// The column, in characters, from 1.
    pub column: usize,
}

/// Where a definition says what: for what shows only when the machine is looked at.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Places {
    /// The file, as the operator named it.
    pub file: String,
    /// Each mount.
    pub mounts: Vec<Position>,
    /// Each path to read.
    pub read: Vec<Position>,
    /// The template.
    pub template: Option<Position>,
}

impl Places {
    /// A problem with a mount or a path to read that the definition has at this place; with the whole of it, where there is none.
    pub fn refuse(&self, at: Option<&Position>, problem: impl Into<Problem>) -> DefinitionError {
        let Position { line, column } = at.copied().unwrap_or(Position { line: 1, column: 1 });
        DefinitionError { file: self.file.clone(), line, column, problem: problem.into() }
    }
}

/// The text of a definition, and the name of its file.
#[derive(Debug, Clone, Copy)]
pub(super) struct Source<'a> {
    pub file: &'a str,
    pub text: &'a str,
}

impl Source<'_> {
    /// A problem at a place of the text.
    pub fn at(self, offset: usize, problem: impl Into<Problem>) -> DefinitionError {
        let Position { line, column } = self.position(offset);
        DefinitionError { file: self.file.to_owned(), line, column, problem: problem.into() }
    }

    /// The line and column of an offset.
    fn position(self, offset: usize) -> Position {
        let before = self.text.get(..offset).unwrap_or(self.text);
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        Position { line: before.matches('\n').count() + 1, column: before[line_start..].chars().count() + 1 }
    }

    /// The whole text as a table.
    pub fn parse(&self) -> Result<Spanned<DeTable<'_>>, DefinitionError> {
        DeTable::parse(self.text).map_err(|error| {
            let offset = error.span().map_or(0, |span| span.start);
            self.at(offset, Problem::Syntax(error.message().lines().collect::<Vec<_>>().join("; ")))
        })
    }
}

/// One value, with its key and its place.
#[derive(Debug, Clone, Copy)]
pub(super) struct Field<'a> {
    pub source: Source<'a>,
    pub key: &'static str,
    value: &'a Spanned<DeValue<'a>>,
}

impl<'a> Field<'a> {
    /// Where the value starts.
    pub fn start(&self) -> usize {
        self.value.span().start
    }

    /// Where the value starts: line and column, from 1.
    pub fn position(&self) -> Position {
        self.source.position(self.start())
    }

    /// A problem with this value.
    pub fn refuse(&self, problem: impl Into<Problem>) -> DefinitionError {
        self.source.at(self.start(), problem)
    }

    /// A value that is not accepted.
    pub fn unacceptable(&self, given: &str, expected: &'static str) -> DefinitionError {
        self.refuse(Problem::Value { key: self.key, given: quote(given), expected })
    }

    fn wrong_type(&self, expected: &'static str) -> DefinitionError {
        let found = match self.value.get_ref() {
            DeValue::String(_) => "a string",
            DeValue::Integer(_) => "a whole number",
            DeValue::Float(_) => "a number with a fraction",
            DeValue::Boolean(_) => "true or false",
            DeValue::Datetime(_) => "a date",
            DeValue::Array(_) => "a list",
            DeValue::Table(_) => "a table",
        };
        self.refuse(Problem::Type { key: self.key.to_owned(), expected, found })
    }

    /// The value as a string without NUL bytes.
    pub fn string(&self) -> Result<&'a str, DefinitionError> {
        let text = self.value.get_ref().as_str().ok_or_else(|| self.wrong_type("a string"))?;
        if text.contains('\0') { Err(self.unacceptable(text, "text without NUL bytes")) } else { Ok(text) }
    }

    /// The value as a yes or a no.
    pub fn boolean(&self) -> Result<bool, DefinitionError> {
        self.value.get_ref().as_bool().ok_or_else(|| self.wrong_type("true or false"))
    }

    /// The value as the text of a quantity, which may also be written as a whole number.
    pub fn quantity(&self) -> Result<String, DefinitionError> {
        match self.value.get_ref() {
            DeValue::String(text) => Ok(text.to_string()),
            DeValue::Integer(number) if number.radix() == 10 => Ok(number.as_str().to_owned()),
            _ => Err(self.wrong_type("a string such as \"64MiB\" or \"90m\", or a whole number")),
        }
    }

    /// The value as a list.
    pub fn list(&self) -> Result<Vec<Field<'a>>, DefinitionError> {
        let DeValue::Array(items) = self.value.get_ref() else { return Err(self.wrong_type("a list")) };
        Ok(items.iter().map(|value| Field { source: self.source, key: self.key, value }).collect())
    }

    /// The value as a list of strings.
    pub fn strings(&self) -> Result<Vec<String>, DefinitionError> {
        self.list()?.iter().map(|item| item.string().map(str::to_owned)).collect()
    }

    /// The value as a table of the given name.
    pub fn table(&self, name: &'static str) -> Result<Table<'a>, DefinitionError> {
        let DeValue::Table(entries) = self.value.get_ref() else { return Err(self.wrong_type("a table")) };
        Ok(Table { source: self.source, name, span: self.value.span(), entries })
    }

    /// The entries of a table whose keys are the author's own: each key with its place, and its value.
    pub fn pairs(&self) -> Result<Vec<(&'a str, usize, Field<'a>)>, DefinitionError> {
        let DeValue::Table(entries) = self.value.get_ref() else { return Err(self.wrong_type("a table")) };
        let pair = |(key, value): (&'a Spanned<toml::de::DeString<'a>>, &'a Spanned<DeValue<'a>>)| {
            (key.get_ref().as_ref(), key.span().start, Field { source: self.source, key: self.key, value })
        };
        Ok(entries.iter().map(pair).collect())
    }
}

/// One table, of which every key is known.
#[derive(Debug, Clone)]
pub(super) struct Table<'a> {
    source: Source<'a>,
    name: &'static str,
    span: Range<usize>,
    entries: &'a DeTable<'a>,
}

impl<'a> Table<'a> {
    pub fn top(source: Source<'a>, document: &'a Spanned<DeTable<'a>>) -> Self {
        Self { source, name: "the definition", span: 0..0, entries: document.get_ref() }
    }

    /// Refuses any key but those that are known: the first in the text.
    pub fn only(&self, known: &[&'static str]) -> Result<(), DefinitionError> {
        let unknown = self.entries.keys().filter(|key| !known.contains(&key.get_ref().as_ref())).min_by_key(|key| key.span().start);
        let Some(key) = unknown else { return Ok(()) };
        let text = key.get_ref().as_ref();
        let mut hint = hint(text, known);
        if hint.is_empty() {
            hint = format!("; there are {}", known.join(", "));
        }
        Err(self.source.at(key.span().start, Problem::UnknownKey { key: quote(&text.escape_debug().to_string()), table: self.name, hint }))
    }

    /// The value of a key, if it is there.
    pub fn get(&self, key: &'static str) -> Option<Field<'a>> {
        self.entries.get(key).map(|value| Field { source: self.source, key, value })
    }

    /// The value of a key that has to be there.
    pub fn need(&self, key: &'static str) -> Result<Field<'a>, DefinitionError> {
        self.get(key).ok_or_else(|| self.source.at(self.span.start, Problem::Missing { key, table: self.name }))
    }
}
