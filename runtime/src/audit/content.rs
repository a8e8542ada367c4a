//! What is hashed: the canonical content of an entry; and how strangers' text gets into one.

use std::fmt::Write as _;

use sha2::{Digest, Sha256};

use super::Entry;
use crate::cell::text::acts;

/// A SHA-256.
pub type Hash = [u8; 32];

/// What the first row names as the hash before it.
pub const GENESIS: Hash = [0; 32];

/// The longest detail, in bytes: enough for a receipt or a policy's summary, and a bound on what one refused request
/// can add to the registry.
pub const DETAIL_MOST_BYTES: usize = 2 * 1024;

/// The longest actor, in bytes: the longest identity (`human:` and 64 bytes) fits with room to spare.
pub const ACTOR_MOST_BYTES: usize = 128;

/// Opens the content of every row, so that its hash can be nothing else's hash.
const DOMAIN: &[u8] = b"lazarus audit row, form 1";

/// Ends a text that was cut.
const CUT: char = '…';

/// Returns text as one harmless line of at most `most_bytes` bytes: what could act on a reader's terminal is
/// escaped, and the end is cut at a character, marked with `…`. Applying it twice changes nothing.
pub fn one_line(text: &str, most_bytes: usize) -> String {
    let mut line = String::with_capacity(text.len().min(most_bytes));
    // How much of the line stays when it must be cut: whole characters and whole escapes only.
    let mut keep = 0;
    let mut before = None;
    for c in text.chars() {
        if acts(c, before) {
            // Writing to a String cannot fail.
            let _ = write!(line, "\\u{{{:x}}}", u32::from(c));
            before = None;
        } else {
            line.push(c);
            before = Some(c);
        }
        if line.len() + CUT.len_utf8() <= most_bytes {
            keep = line.len();
        }
        if line.len() > most_bytes {
            line.truncate(keep);
            line.push(CUT);
            break;
        }
    }
    line
}

fn part(hasher: &mut Sha256, bytes: &[u8]) {
    // usize is at most 64 bits wide wherever Rust runs.
    hasher.update((bytes.len() as u64).to_be_bytes());
    hasher.update(bytes);
}

/// Returns the hash that an entry must have: SHA-256 over the hash before it and every field, each led by its length, so that no two
/// different entries have the same content. An absent cell and an empty one differ in the number that precedes it.
pub(super) fn hash_of(entry: &Entry) -> Hash {
    let mut hasher = Sha256::new();
    hasher.update(entry.previous);
    part(&mut hasher, DOMAIN);
    part(&mut hasher, &entry.seq.to_be_bytes());
    part(&mut hasher, &entry.at.timestamp_micros().to_be_bytes());
    part(&mut hasher, entry.actor.as_bytes());
    part(&mut hasher, entry.action.as_str().as_bytes());
    part(&mut hasher, entry.phase.as_str().as_bytes());
    part(&mut hasher, &[u8::from(entry.cell.is_some())]);
    part(&mut hasher, entry.cell.as_ref().map_or("", |cell| cell.as_str()).as_bytes());
    part(&mut hasher, entry.detail.as_bytes());
    hasher.finalize().into()
}
