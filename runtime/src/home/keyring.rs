//! The keys of a root, on disk: what heads and receipts are signed with, and by which public keys that was ever done.
//!
//! ```text
//! keys/            0700, in the root: outside of every jail, and never granted
//! ├── signing      0600, the secret: 64 hexadecimal digits
//! └── public       0600, one public key a line, the oldest first: those that were replaced stay, so that what they signed can be checked
//! ```
//!
//! A public key is written before its secret: a crash between the two leaves a key that signed nothing.

use std::{
    io::{self, Read},
    os::fd::OwnedFd,
};

use cap_std::fs::Dir;
use zeroize::Zeroizing;

use super::handle::{lock_dir, open_file, open_or_make_dir, read_file, replace_file};

const KEYS: &str = "keys";
const SECRET: &str = "signing";
const PUBLIC: &str = "public";
/// Hexadecimal digits of a key.
const DIGITS: usize = 64;
/// The longest list of public keys: a thousand.
const PUBLIC_MOST_BYTES: u64 = 64 * 1024;

/// The secret half of a key, wiped when it is dropped.
pub type Seed = Zeroizing<[u8; 32]>;

/// The directory of a root's keys.
#[derive(Debug)]
pub struct Keyring {
    dir: Dir,
}

fn damaged(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.to_owned())
}

/// Whether a secret can be one: whoever else could read or write it could sign as this root.
fn alone(secret: &std::fs::File) -> io::Result<()> {
    let stat = rustix::fs::fstat(secret)?;
    let refused = |why: String| Err(io::Error::new(io::ErrorKind::PermissionDenied, why));
    if stat.st_uid != rustix::process::geteuid().as_raw() {
        return refused(format!("the file `signing` there is of user {}", stat.st_uid));
    }
    match stat.st_mode & 0o077 {
        0 => Ok(()),
        _ => refused(format!("others may reach the file `signing` there (mode {:o})", stat.st_mode & 0o7777)),
    }
}

/// Reads a key as it is stored.
fn parse(digits: &[u8]) -> Option<Seed> {
    let mut key = Zeroizing::new([0; 32]);
    if digits.len() != DIGITS {
        return None;
    }
    for (byte, two) in key.iter_mut().zip(digits.chunks_exact(2)) {
        let digit = |at: usize| char::from(*two.get(at)?).to_digit(16);
        // Two digits are at most 255.
        *byte = u8::try_from(digit(0)? * 16 + digit(1)?).ok()?;
    }
    Some(key)
}

/// Writes a key as it is stored.
fn line(key: &[u8; 32]) -> Zeroizing<String> {
    let mut text = Zeroizing::new(String::with_capacity(DIGITS + 1));
    for byte in key {
        for half in [byte >> 4, byte & 15] {
            text.push(char::from_digit(u32::from(half), 16).unwrap_or('0'));
        }
    }
    text.push('\n');
    text
}

impl Keyring {
    pub(super) fn open(root: &Dir) -> io::Result<Self> {
        Ok(Self { dir: open_or_make_dir(root, KEYS)? })
    }

    /// Waits until nobody else makes a key, and keeps them from it as long as what is returned lives.
    ///
    /// # Errors
    /// What the system says.
    pub fn lock(&self) -> io::Result<OwnedFd> {
        lock_dir(&self.dir)
    }

    /// Reads the secret; `None` where none was made yet.
    ///
    /// # Errors
    /// It cannot be read, or is not what was written.
    pub fn secret(&self) -> io::Result<Option<Seed>> {
        let mut file = match open_file(&self.dir, SECRET) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        alone(&file)?;
        let mut digits = Zeroizing::new([0; DIGITS]);
        let damaged = || damaged("the file `signing` there is no key: 64 hexadecimal digits were expected");
        match file.read_exact(digits.as_mut_slice()) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Err(damaged()),
            read => read?,
        }
        parse(digits.as_slice()).map(Some).ok_or_else(damaged)
    }

    /// Reads the public keys, the oldest first; the last is the one in use.
    ///
    /// # Errors
    /// They cannot be read, or are not what was written.
    pub fn public(&self) -> io::Result<Vec<[u8; 32]>> {
        let text = match read_file(&self.dir, PUBLIC, PUBLIC_MOST_BYTES) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let lines = text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        lines.map(|line| parse(line).map(|key| *key).ok_or_else(|| damaged("it is no list of public keys"))).collect()
    }

    /// Keeps a new key pair, whose secret takes the place of any that is there. The caller holds the lock.
    ///
    /// # Errors
    /// The disk is full, or a thousand keys were made; then the old secret stays.
    pub fn keep(&self, secret: &Seed, public: &[u8; 32]) -> io::Result<()> {
        let mut list = String::new();
        for known in self.public()?.iter().chain([public]) {
            list.push_str(&line(known));
        }
        if list.len() as u64 > PUBLIC_MOST_BYTES {
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, "a thousand keys were made in this root"));
        }
        replace_file(&self.dir, PUBLIC, list.as_bytes())?;
        replace_file(&self.dir, SECRET, line(secret).as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_key_is_kept_for_the_operator_alone_and_replaced_ones_stay_known() {
        let temp = tempfile::tempdir().expect("a directory");
        let root = Dir::open_ambient_dir(temp.path(), cap_std::ambient_authority()).expect("opened");
        let keyring = Keyring::open(&root).expect("made");
        assert!(keyring.secret().expect("read").is_none() && keyring.public().expect("read").is_empty());
        keyring.keep(&Zeroizing::new([0xab; 32]), &[1; 32]).expect("kept");
        keyring.keep(&Zeroizing::new([0x0c; 32]), &[2; 32]).expect("replaced");
        assert_eq!(*keyring.secret().expect("read").expect("there"), [0x0c; 32]);
        assert_eq!(keyring.public().expect("read"), [[1; 32], [2; 32]]);
        let mode = |path: &str| std::fs::metadata(temp.path().join(path)).expect("there").permissions().mode() & 0o7777;
        assert_eq!((mode("keys"), mode("keys/signing"), mode("keys/public")), (0o700, 0o600, 0o600));
    }

    #[test]
    fn a_key_that_others_may_reach_is_not_used() {
        let temp = tempfile::tempdir().expect("a directory");
        let root = Dir::open_ambient_dir(temp.path(), cap_std::ambient_authority()).expect("opened");
        let keyring = Keyring::open(&root).expect("made");
        keyring.keep(&Zeroizing::new([0xab; 32]), &[1; 32]).expect("kept");
        let path = temp.path().join("keys/signing");
        for (mode, used) in [(0o600, true), (0o666, false), (0o640, false), (0o602, false), (0o400, true)] {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).expect("set");
            assert_eq!(keyring.secret().is_ok(), used, "{mode:o}");
        }
        if rustix::process::geteuid().is_root() {
            std::os::unix::fs::chown(&path, Some(65_534), None).expect("given away");
            assert!(keyring.secret().expect_err("another's").to_string().contains("is of user 65534"));
        }
    }

    #[test]
    fn a_damaged_or_planted_key_is_no_key() {
        let temp = tempfile::tempdir().expect("a directory");
        let root = Dir::open_ambient_dir(temp.path(), cap_std::ambient_authority()).expect("opened");
        let keyring = Keyring::open(&root).expect("made");
        for bad in ["", "ab", &"g".repeat(64), &format!("+{}", "1".repeat(63))] {
            std::fs::write(temp.path().join("keys/signing"), bad).expect("written");
            std::fs::set_permissions(temp.path().join("keys/signing"), std::fs::Permissions::from_mode(0o600)).expect("set");
            assert!(keyring.secret().is_err(), "{bad}");
            std::fs::write(temp.path().join("keys/public"), format!("{bad}x\n")).expect("written");
            assert!(keyring.public().is_err(), "{bad}");
        }
        std::fs::remove_file(temp.path().join("keys/signing")).expect("removed");
        std::os::unix::fs::symlink("public", temp.path().join("keys/signing")).expect("linked");
        assert!(keyring.secret().is_err());
    }
}
