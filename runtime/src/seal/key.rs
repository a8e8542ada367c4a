//! Keys as values: text, digest, signature.

use std::{fmt, str::FromStr};

use ed25519_dalek::{Signature, VerifyingKey};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// Bytes in hexadecimal: the one form of keys, digests and signatures.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Reads exactly `N` bytes from lower-case hexadecimal.
pub(super) fn unhex<const N: usize>(digits: &str) -> Option<[u8; N]> {
    let lower = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
    if digits.len() != 2 * N || !digits.bytes().all(lower) {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, two) in bytes.iter_mut().zip(digits.as_bytes().chunks_exact(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(two).ok()?, 16).ok()?;
    }
    Some(bytes)
}

/// Something that is no public key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyParseError {
    /// Not of its form.
    #[error("accept public key: it is 64 hexadecimal digits in lower case, as `lazarus audit keygen` printed them")]
    Form,
    /// Of its form, and nobody's: anything could be signed with it, or nothing.
    #[error("accept public key: these digits are no key of anybody; take those that `lazarus audit keygen` printed")]
    Nobodys,
}

/// The public half of a key. As text: 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PublicKey([u8; 32]);

impl PublicKey {
    /// Returns the key of those bytes.
    ///
    /// # Errors
    /// They are no point of the curve, or one of the few with which anything can be signed.
    pub fn new(bytes: [u8; 32]) -> Result<Self, KeyParseError> {
        match VerifyingKey::from_bytes(&bytes) {
            Ok(key) if !key.is_weak() => Ok(Self(bytes)),
            Ok(_) | Err(_) => Err(KeyParseError::Nobodys),
        }
    }

    /// Its bytes.
    pub(super) const fn to_bytes(self) -> [u8; 32] {
        self.0
    }

    /// Its id: the first 16 hexadecimal digits of the SHA-256 of its bytes. For people, who compare it; nothing is decided by it.
    pub fn id(&self) -> String {
        hex(Sha256::digest(self.0).get(..8).unwrap_or_default())
    }

    /// Whether a signature, as text, is this key's over those bytes.
    pub(super) fn signed(&self, bytes: &[u8], signature: &str) -> bool {
        let key = VerifyingKey::from_bytes(&self.0);
        let signature = unhex::<64>(signature).map(|signature| Signature::from_bytes(&signature));
        // Strict: of one content and key there is one signature, and no key fits all.
        matches!((key, signature), (Ok(key), Some(signature)) if key.verify_strict(bytes, &signature).is_ok())
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(&self.0))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({self})")
    }
}

impl FromStr for PublicKey {
    type Err = KeyParseError;

    fn from_str(given: &str) -> Result<Self, Self::Err> {
        Self::new(unhex(given).ok_or(KeyParseError::Form)?)
    }
}

impl TryFrom<String> for PublicKey {
    type Error = KeyParseError;

    fn try_from(given: String) -> Result<Self, Self::Error> {
        given.parse()
    }
}

impl From<PublicKey> for String {
    fn from(key: PublicKey) -> Self {
        key.to_string()
    }
}
