//! The digest of an installed template: whatever changes below it, its names included, changes the digest.
//!
//! What is digested is what lies there, in the order of the names: no link is followed, no mount point crossed.

use std::{
    ffi::CString,
    io::{self, Read},
    os::fd::{AsFd, BorrowedFd},
};

use cap_std::fs::Dir;
use rustix::fs::{AtFlags, FileType};
use sha2::{Digest as _, Sha256};

use super::handle::{descend, open_file, readable};

/// Entries, bytes and levels: more than a template may have that was installed, so that one that was tampered with is no burden.
const ENTRIES_MOST: u64 = 40_000;
const BYTES_MOST: u64 = 1024 * 1024 * 1024;
const LEVELS_MOST: usize = 40;
/// Bytes read at once.
const CHUNK_BYTES: usize = 128 * 1024;

struct Digesting {
    hasher: Sha256,
    entries: u64,
    bytes: u64,
}

/// Digests a directory tree: SHA-256 over each entry's kind, depth, name and content.
///
/// # Errors
/// It cannot be read, or is larger than any template that Lazarus installs.
pub fn digest_tree(dir: &Dir) -> io::Result<[u8; 32]> {
    let mut digesting = Digesting { hasher: Sha256::new(), entries: 0, bytes: 0 };
    digesting.directory(dir.as_fd(), 0)?;
    Ok(digesting.hasher.finalize().into())
}

fn too_large() -> io::Error {
    io::Error::new(io::ErrorKind::FileTooLarge, "larger than a template may be")
}

impl Digesting {
    /// At most [`LEVELS_MOST`] deep: recursion and open handles are bounded.
    fn directory(&mut self, dir: BorrowedFd<'_>, level: usize) -> io::Result<()> {
        if level > LEVELS_MOST {
            return Err(too_large());
        }
        let mut names: Vec<CString> = Vec::new();
        for entry in rustix::fs::Dir::new(readable(dir)?)? {
            let entry = entry?;
            let name = entry.file_name();
            if !matches!(name.to_bytes(), b"." | b"..") {
                self.entries += 1;
                if self.entries > ENTRIES_MOST {
                    return Err(too_large());
                }
                names.push(name.to_owned());
            }
        }
        names.sort();
        for name in names {
            let stat = rustix::fs::statat(dir, &name, AtFlags::SYMLINK_NOFOLLOW)?;
            let kind = FileType::from_raw_mode(stat.st_mode);
            let mark = match kind {
                FileType::Directory => b'd',
                // Seeding carries over whether the owner may execute it, and nothing else of a mode.
                FileType::RegularFile if stat.st_mode & 0o100 != 0 => b'x',
                FileType::RegularFile => b'f',
                // Never seeded; that it is there is a change all the same.
                _ => b'o',
            };
            self.hasher.update([mark]);
            self.hasher.update((level as u64).to_le_bytes());
            self.hasher.update((name.as_bytes().len() as u64).to_le_bytes());
            self.hasher.update(name.as_bytes());
            match kind {
                FileType::Directory => self.directory(descend(dir, name.as_c_str())?.as_fd(), level + 1)?,
                FileType::RegularFile => self.file(open_file(dir, name.as_c_str())?)?,
                _ => {}
            }
        }
        Ok(())
    }

    /// A file's own digest goes in, so that no content can read as the next entry.
    fn file(&mut self, mut file: std::fs::File) -> io::Result<()> {
        let mut hasher = Sha256::new();
        let mut chunk = vec![0; CHUNK_BYTES];
        loop {
            let read = file.read(&mut chunk)?;
            let part = chunk.get(..read).unwrap_or_default();
            if part.is_empty() {
                break;
            }
            self.bytes += read as u64;
            if self.bytes > BYTES_MOST {
                return Err(too_large());
            }
            hasher.update(part);
        }
        self.hasher.update(hasher.finalize());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt, path::Path};

    use super::*;

    fn digest(path: &Path) -> [u8; 32] {
        digest_tree(&Dir::open_ambient_dir(path, cap_std::ambient_authority()).expect("opened")).expect("digested")
    }

    #[test]
    fn every_change_of_a_tree_changes_its_digest() {
        let temp = tempfile::tempdir().expect("a directory");
        let at = |name: &str| temp.path().join(name);
        fs::create_dir_all(at("a/b")).expect("made");
        fs::write(at("a/one"), "1").expect("written");
        fs::write(at("two"), "2").expect("written");
        let first = digest(temp.path());
        assert_eq!(digest(temp.path()), first, "the same tree has the same digest");
        type Act<'a> = &'a dyn Fn();
        let changes: [(&str, Act<'_>, Act<'_>); 6] = [
            ("content", &|| fs::write(at("two"), "3").expect("written"), &|| fs::write(at("two"), "2").expect("written")),
            ("name", &|| fs::rename(at("two"), at("too")).expect("renamed"), &|| fs::rename(at("too"), at("two")).expect("renamed")),
            ("place", &|| fs::rename(at("a/one"), at("one")).expect("moved"), &|| fs::rename(at("one"), at("a/one")).expect("moved")),
            ("link", &|| std::os::unix::fs::symlink("/etc", at("link")).expect("linked"), &|| {
                fs::remove_file(at("link")).expect("removed")
            }),
            ("directory", &|| fs::create_dir(at("new")).expect("made"), &|| fs::remove_dir(at("new")).expect("removed")),
            ("mode", &|| fs::set_permissions(at("two"), fs::Permissions::from_mode(0o755)).expect("chmod"), &|| {
                fs::set_permissions(at("two"), fs::Permissions::from_mode(0o644)).expect("chmod")
            }),
        ];
        for (what, change, undo) in changes {
            change();
            assert_ne!(digest(temp.path()), first, "{what}");
            undo();
            assert_eq!(digest(temp.path()), first, "{what}, undone");
        }
    }

    #[test]
    fn a_tree_without_end_is_refused() {
        let temp = tempfile::tempdir().expect("a directory");
        let mut path = temp.path().to_owned();
        for _ in 0..=LEVELS_MOST {
            path.push("d");
        }
        fs::create_dir_all(&path).expect("made");
        let dir = Dir::open_ambient_dir(temp.path(), cap_std::ambient_authority()).expect("opened");
        assert_eq!(digest_tree(&dir).expect_err("too deep").kind(), io::ErrorKind::FileTooLarge);
    }
}
