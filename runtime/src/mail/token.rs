//! What a person joins with: the token of an invitation, and the secret in it.

use std::{fmt, io, str::FromStr};

use rustix::rand::{GetRandomFlags, getrandom};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::cell::CellId;

/// Bytes of a secret: as many as its digest has, and nobody guesses them.
const SECRET_BYTES: usize = 32;
/// The version of the form, which is a token's first part.
const VERSION: &str = "lz1";

/// Something that is no token. What was given is not quoted: it may be most of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("accept token: it is lz1.USER.CELL.SECRET in one piece, as `lazarus invite` printed it")]
pub struct TokenError;

/// A secret of 32 bytes, as 64 hexadecimal digits. Whoever says it is believed; only its digest is ever stored. Never shown by `Debug`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Secret(String);

/// Fills bytes from the kernel's randomness.
pub(crate) fn draw(bytes: &mut [u8]) -> io::Result<()> {
    let mut filled = 0;
    while let Some(rest) = bytes.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match getrandom(rest, GetRandomFlags::empty()) {
            Ok(drawn) => filled += drawn,
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

impl Secret {
    /// Draws a secret from the kernel's randomness.
    ///
    /// # Errors
    /// The kernel gives none: it never does so once a machine has started.
    pub fn draw() -> io::Result<Self> {
        let mut bytes = [0; SECRET_BYTES];
        draw(&mut bytes)?;
        Ok(Self(bytes.iter().map(|byte| format!("{byte:02x}")).collect()))
    }

    /// The secret as text: 64 hexadecimal digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The SHA-256 of the secret's text: what is stored in its place.
    pub fn sha256(&self) -> [u8; 32] {
        Sha256::digest(self.0.as_bytes()).into()
    }
}

impl FromStr for Secret {
    type Err = TokenError;

    fn from_str(given: &str) -> Result<Self, Self::Err> {
        let lower_hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        let valid = given.len() == 2 * SECRET_BYTES && given.bytes().all(lower_hex);
        if valid { Ok(Self(given.to_owned())) } else { Err(TokenError) }
    }
}

impl TryFrom<String> for Secret {
    type Error = TokenError;

    fn try_from(given: String) -> Result<Self, Self::Error> {
        given.parse()
    }
}

impl From<Secret> for String {
    fn from(secret: Secret) -> Self {
        secret.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// The token of an invitation: `lz1.<user id of the cell's operator>.<cell id>.<secret>`. Its text is the secret's; mind where it goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// The user as whom the cell's warden runs. Whoever joins checks that of the door before it says the secret.
    pub owner_uid: u32,
    /// The cell.
    pub cell: CellId,
    /// The secret.
    pub secret: Secret,
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{VERSION}.{}.{}.{}", self.owner_uid, self.cell, self.secret.0)
    }
}

impl FromStr for Token {
    type Err = TokenError;

    fn from_str(given: &str) -> Result<Self, Self::Err> {
        let parts: Vec<&str> = given.split('.').collect();
        let [VERSION, owner, cell, secret] = parts.as_slice() else { return Err(TokenError) };
        let token = Self {
            owner_uid: owner.parse().map_err(|_| TokenError)?,
            cell: cell.parse().map_err(|_| TokenError)?,
            secret: secret.parse()?,
        };
        // One token has one text: no plus sign, no leading zeros.
        if token.to_string() == given { Ok(token) } else { Err(TokenError) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_has_one_form() {
        let token = Token { owner_uid: 1000, cell: CellId::from_bits(7), secret: Secret::draw().expect("randomness") };
        let text = token.to_string();
        assert_eq!(text.parse(), Ok(token.clone()));
        assert_ne!(token.secret, Secret::draw().expect("randomness"));
        let bad = [
            "".to_owned(),
            text.replacen("lz1", "lz2", 1),
            text.replacen(".1000.", ".+1000.", 1),
            text.replacen(".1000.", ".01000.", 1),
            text.replacen(".1000.", ".4294967296.", 1),
            text.replacen("laz-", "../", 1),
            format!("{text}0"),
            format!("{text}.x"),
            format!("{text}\n"),
            text.to_uppercase(),
        ];
        for text in bad {
            assert_eq!(text.parse::<Token>(), Err(TokenError), "{text:?}");
        }
    }

    #[test]
    fn a_secret_is_shown_by_nobody() {
        let secret: Secret = "ab".repeat(32).parse().expect("a secret");
        assert_eq!(format!("{secret:?}"), "Secret(…)");
        let digest: String = secret.sha256().iter().map(|byte| format!("{byte:02x}")).collect();
        assert_ne!(digest, secret.as_str());
        for text in ["", "ab", &"AB".repeat(32), &"zz".repeat(32), &"ab".repeat(33)] {
            assert!(text.parse::<Secret>().is_err(), "{text:?}");
        }
    }
}
