//! The id of a cell: `laz-` and eight hexadecimal digits.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// The id of a cell. Its form makes it one plain part of a path.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct CellId(String);

/// Something that is not a cell's id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("accept cell id {0:?}: an id is laz- and eight hexadecimal digits; `lazarus status` lists them")]
pub struct CellIdError(String);

impl CellId {
    /// Makes an id from 32 random bits. Two cells may draw the same: the registry refuses the second, and the caller draws again.
    pub fn from_bits(bits: u32) -> Self {
        Self(format!("laz-{bits:08x}"))
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for CellId {
    type Err = CellIdError;

    fn from_str(given: &str) -> Result<Self, Self::Err> {
        let digits = given.strip_prefix("laz-").unwrap_or_default();
        let lower_hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        if digits.len() == 8 && digits.bytes().all(lower_hex) {
            Ok(Self(given.to_owned()))
        } else {
            Err(CellIdError(super::text::quoted(given, 40)))
        }
    }
}

impl TryFrom<String> for CellId {
    type Error = CellIdError;

    fn try_from(given: String) -> Result<Self, Self::Error> {
        given.parse()
    }
}

impl From<CellId> for String {
    fn from(id: CellId) -> Self {
        id.0
    }
}

impl fmt::Display for CellId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_has_one_form() {
        assert_eq!(CellId::from_bits(0xab).as_str(), "laz-000000ab");
        for text in ["", "laz-", "laz-0000000g", "laz-000000AB", "laz-../../..", "laz-0000000000", "x"] {
            assert!(text.parse::<CellId>().is_err(), "{text}");
        }
    }
}
