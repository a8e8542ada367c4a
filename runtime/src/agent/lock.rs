//! What was installed: recorded beside a definition, and compared whenever it is used.

use std::{
    fs::File,
    io::{self, Read, Seek, Write},
    path::PathBuf,
};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::Digest;

/// The version of this file that this release writes, and the only one that it reads.
pub(super) const LOCK_VERSION: u32 = 1;
/// Bytes of the file: at most 256 mounts, each a path of at most 4 KiB.
pub(super) const LOCK_MOST_BYTES: u64 = 2 * 1024 * 1024;
/// Bytes read at once while a component is digested.
const CHUNK_BYTES: usize = 128 * 1024;

/// What was approved when a definition was installed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Lock {
    pub version: u32,
    /// The definition's text.
    pub definition: Digest,
    /// The component.
    pub component: Option<Digest>,
    /// The mounts' hosts, absolute, in the definition's order.
    pub mounts: Vec<PathBuf>,
    /// Where the definition came from.
    pub source: PathBuf,
}

/// The digest of some bytes.
pub(super) fn digest_of(bytes: &[u8]) -> Digest {
    Digest::new(Sha256::digest(bytes).into())
}

/// Digests a file of at most `most` bytes, from its beginning, and leaves it there.
///
/// # Errors
/// It cannot be read, or is larger.
pub fn digest_of_file(file: &mut File, most: u64) -> io::Result<Digest> {
    file.rewind()?;
    let (digest, _) = digest_file(file, &mut io::sink(), most)?;
    file.rewind()?;
    Ok(digest)
}

/// Digests a file of at most `most` bytes, and copies it meanwhile. Returns the digest and the size.
pub(super) fn digest_file(file: &mut File, copy: &mut impl Write, most: u64) -> io::Result<(Digest, u64)> {
    let mut hasher = Sha256::new();
    let mut chunk = vec![0; CHUNK_BYTES];
    let mut bytes = 0;
    loop {
        let read = file.read(&mut chunk)?;
        let part = chunk.get(..read).unwrap_or_default();
        if part.is_empty() {
            return Ok((Digest::new(hasher.finalize().into()), bytes));
        }
        bytes += read as u64;
        if bytes > most {
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("larger than {most} bytes")));
        }
        hasher.update(part);
        copy.write_all(part)?;
    }
}
