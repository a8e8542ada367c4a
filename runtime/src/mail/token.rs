//! Secrets with which people join a cell and stay connected, and the token that carries one.

use std::{fmt, io, str::FromStr};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::cell::CellId;

/// Bytes of a secret: more than anybody can guess.
const SECRET_BYTES: usize = 32;
/// What every token begins with: the version of its form.
const TOKEN_PREFIX: &str = "lz1";

/// A secret, drawn by the trusted side and known to one person. It is never kept there: only its digest is.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Secret([u8; SECRET_BYTES]);

/// Something that is no secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("accept secret: it is not 64 hexadecimal digits")]
pub struct SecretError;

impl Secret {
    /// Draws one from the kernel's randomness.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn random() -> io::Result<Self> {
        let mut bytes = [0; SECRET_BYTES];
        let drawn = rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())?;
        // The kernel gives requests of up to 256 bytes whole: getrandom(2).
        if drawn == SECRET_BYTES { Ok(Self(bytes)) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
    }

    /// Its SHA-256: what is kept, and looked up. A look-up by digest tells nobody how much of a guess was right.
    pub fn sha256(&self) -> [u8; 32] {
        Sha256::digest(self.0).into()
    }

    /// Its text: 64 hexadecimal digits. For whoever it is meant for, and nobody else.
    pub fn reveal(&self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

impl FromStr for Secret {
    type Err = SecretError;

    fn from_str(given: &str) -> Result<Self, Self::Err> {
        let lower_hex = |b: &u8| b.is_ascii_digit() || (b'a'..=b'f').contains(b);
        if given.len() != 2 * SECRET_BYTES || !given.as_bytes().iter().all(lower_hex) {
            return Err(SecretError);
        }
        let mut bytes = [0; SECRET_BYTES];
        for (byte, pair) in bytes.iter_mut().zip(given.as_bytes().chunks_exact(2)) {
            *byte = std::str::from_utf8(pair).ok().and_then(|pair| u8::from_str_radix(pair, 16).ok()).ok_or(SecretError)?;
        }
        Ok(Self(bytes))
    }
}

impl TryFrom<String> for Secret {
    type Error = SecretError;

    fn try_from(given: String) -> Result<Self, Self::Error> {
        given.parse()
    }
}

impl From<Secret> for String {
    fn from(secret: Secret) -> Self {
        secret.reveal()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// What a person joins with: `lz1.<user id of the cell's operator>.<cell id>.<secret>`. Good once, for a while.
///
/// The user id is checked by whoever joins: another user of the machine, who listens in the cell's place, is not told the secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// Whose warden opens: the user id of the operator.
    pub uid: u32,
    /// The cell.
    pub cell: CellId,
    /// The secret.
    pub secret: Secret,
}

/// Something that is no token. What was given is not quoted: it may hold a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("accept token: it is not of the form lz1.USER.CELL.SECRET; copy the whole word that `lazarus invite` printed")]
pub struct TokenError;

impl FromStr for Token {
    type Err = TokenError;

    fn from_str(given: &str) -> Result<Self, Self::Err> {
        let mut parts = given.trim().split('.');
        let (Some(TOKEN_PREFIX), Some(uid), Some(cell), Some(secret), None) =
            (parts.next(), parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(TokenError);
        };
        if !uid.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(TokenError);
        }
        let uid = uid.parse().map_err(|_| TokenError)?;
        Ok(Self { uid, cell: cell.parse().map_err(|_| TokenError)?, secret: secret.parse().map_err(|_| TokenError)? })
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{TOKEN_PREFIX}.{}.{}.{}", self.uid, self.cell, self.secret.reveal())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_has_one_form() {
        let token = Token { uid: 1000, cell: CellId::from_bits(7), secret: Secret::random().expect("drawn") };
        let text = token.to_string();
        assert_eq!(text.parse(), Ok(token.clone()));
        assert_eq!(format!(" {text}\n").parse(), Ok(token.clone()), "as it is pasted");
        let secret = token.secret.reveal();
        for bad in [
            String::new(),
            "lz1".to_owned(),
            text.replace("lz1", "lz2"),
            text.replace("laz-", "laz"),
            text.to_uppercase(),
            format!("{text}."),
            format!("{text}0"),
            format!("lz1.+1.laz-00000007.{secret}"),
            format!("lz1.-1.laz-00000007.{secret}"),
            format!("lz1.4294967296.laz-00000007.{secret}"),
            format!("lz1.0.laz-00000007.{}", &secret[2..]),
        ] {
            assert_eq!(bad.parse::<Token>(), Err(TokenError), "{bad}");
        }
    }

    #[test]
    fn secrets_differ_and_do_not_show() {
        let (one, other) = (Secret::random().expect("drawn"), Secret::random().expect("drawn"));
        assert_ne!(one, other);
        assert_ne!(one.sha256(), other.sha256());
        assert_eq!(format!("{one:?}"), "Secret(…)");
        assert_eq!(one.reveal().parse(), Ok(one.clone()));
    }
}
