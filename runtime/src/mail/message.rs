//! A message: who says what to whom.

use std::{fmt, str::FromStr};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::cell::Identity;

/// The longest text, in bytes. What is larger belongs in a file below `/shared`, and its name in a message.
pub const TEXT_MOST_BYTES: usize = 32 * 1024;

/// What a message says: UTF-8, 1 to [`TEXT_MOST_BYTES`] bytes, otherwise as its sender wrote it. Hostile where the sender is: whoever shows
/// it to a person escapes it first ([`crate::cell::text`]).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Text(String);

/// Something that no message can say.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TextError {
    /// Nothing at all.
    #[error("accept message: it is empty")]
    Empty,
    /// Too much.
    #[error(
        "accept message: it has {0} bytes or more, and at most {TEXT_MOST_BYTES} fit; put it into a file below /shared and send its name"
    )]
    TooLarge(usize),
    /// No text.
    #[error("accept message: it is not UTF-8 text (the first bad byte is at {0}); put it into a file below /shared and send its name")]
    NotText(usize),
}

impl Text {
    /// Takes a text.
    ///
    /// # Errors
    /// Empty, or too large.
    pub fn new(text: String) -> Result<Self, TextError> {
        match text.len() {
            0 => Err(TextError::Empty),
            1..=TEXT_MOST_BYTES => Ok(Self(text)),
            bytes => Err(TextError::TooLarge(bytes)),
        }
    }

    /// Takes bytes from outside.
    ///
    /// # Errors
    /// As [`Text::new`], and bytes that are no UTF-8.
    pub fn from_bytes(bytes: Vec<u8>) -> Result<Self, TextError> {
        if bytes.len() > TEXT_MOST_BYTES {
            return Err(TextError::TooLarge(bytes.len()));
        }
        Self::new(String::from_utf8(bytes).map_err(|error| TextError::NotText(error.utf8_error().valid_up_to()))?)
    }

    /// The text, as it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Text {
    type Error = TextError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::new(text)
    }
}

impl From<Text> for String {
    fn from(text: Text) -> Self {
        text.0
    }
}

/// The id of a message: `msg-` and 32 hexadecimal digits, never used twice.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct MessageId(String);

/// Something that is not a message's id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("accept message id {0:?}: an id is msg- and 32 hexadecimal digits; `lazarus inbox` shows them")]
pub struct MessageIdError(String);

impl MessageId {
    /// Draws an id that nobody has.
    pub fn random() -> Self {
        Self(format!("msg-{}", Uuid::new_v4().simple()))
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for MessageId {
    type Err = MessageIdError;

    fn from_str(given: &str) -> Result<Self, Self::Err> {
        let digits = given.strip_prefix("msg-").unwrap_or_default();
        let lower_hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        if digits.len() == 32 && digits.bytes().all(lower_hex) {
            Ok(Self(given.to_owned()))
        } else {
            Err(MessageIdError(crate::cell::text::quoted(given, 40)))
        }
    }
}

impl TryFrom<String> for MessageId {
    type Error = MessageIdError;

    fn try_from(given: String) -> Result<Self, Self::Error> {
        given.parse()
    }
}

impl From<MessageId> for String {
    fn from(id: MessageId) -> Self {
        id.0
    }
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// A message that is about to be accepted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Draft {
    /// Its id, drawn by the trusted side.
    pub id: MessageId,
    /// Who says it: as the trusted side knows them.
    pub sender: Identity,
    /// To whom.
    pub receiver: Identity,
    /// What.
    pub text: Text,
    /// Which message it answers.
    pub in_reply_to: Option<MessageId>,
}

/// A message that was accepted, as its receiver gets it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// Its id: the same at each delivery.
    pub id: MessageId,
    /// Who says it.
    pub sender: Identity,
    /// To whom.
    pub receiver: Identity,
    /// What.
    pub text: Text,
    /// Which message it answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub in_reply_to: Option<MessageId>,
    /// When it was accepted.
    pub sent_at: DateTime<Utc>,
    /// Which delivery this is: 1 at the first; 0 where it is only shown.
    pub attempt: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_bounded() {
        assert_eq!(Text::new(String::new()), Err(TextError::Empty));
        assert!(Text::new("x".repeat(TEXT_MOST_BYTES)).is_ok());
        assert_eq!(Text::new("x".repeat(TEXT_MOST_BYTES + 1)), Err(TextError::TooLarge(TEXT_MOST_BYTES + 1)));
        assert_eq!(Text::from_bytes(b"ab\xff".to_vec()), Err(TextError::NotText(2)));
        assert!(serde_json::from_str::<Text>("\"\"").is_err());
    }

    #[test]
    fn ids_have_their_form() {
        let id = MessageId::random();
        assert_eq!(id.as_str().parse(), Ok(id.clone()));
        assert_ne!(id, MessageId::random());
        for text in ["", "msg-", "msg-../../x", "MSG-00000000000000000000000000000000", "msg-0000000000000000000000000000000G"] {
            assert!(text.parse::<MessageId>().is_err(), "{text:?}");
        }
    }
}
