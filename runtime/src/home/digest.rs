//! The digest of what a cell held, taken when nothing lives in it any more and before anything of it is removed.
//!
//! ```text
//!  home/ guests/ shared/ ─ walk by handle ─→ one line an entry: path NUL kind NUL size NUL digest LF ─ sort ─→ SHA-256
//! ```
//!
//! - `kind` is `dir`, `file`, `link`, `fifo`, `socket`, `char` or `block`; `size` the bytes of a file or of a link's target, else 0;
//!   `digest` the SHA-256 of a file's bytes or of a link's target, `-` where there is nothing to read, `?` where it was not read.
//! - No link is followed, no mount point crossed, and nothing but a regular file ever opened for reading: what a guest planted is named.
//! - It is bounded in time, depth, entries and bytes. What a bound left out is said, in words, and never silently.

use std::{
    ffi::CString,
    fmt::Write as _,
    io::Read,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    time::{Duration, Instant},
};

use cap_std::fs::Dir;
use rustix::{
    fs::{AtFlags, FileType},
    io::Errno,
};
use sha2::{Digest, Sha256};

use super::handle::{descend, open_file_within, readable, unlock_dir, unlock_file};

/// What is not to be exceeded.
#[derive(Debug, Clone, Copy)]
pub struct DigestLimits {
    /// Time for all of it. Others who tear down the same cell wait meanwhile, longer than this.
    pub time: Duration,
    /// Bytes of files that are read: four homes of the default limit.
    pub bytes: u64,
    /// Entries.
    pub entries: usize,
    /// Bytes of the lines that are sorted in memory.
    pub lines_bytes: usize,
    /// Levels of directories: each is held open.
    pub depth: usize,
}

impl DigestLimits {
    /// Those of a teardown.
    pub const OF_TEARDOWN: Self =
        Self { time: Duration::from_secs(10), bytes: 4 << 30, entries: 500_000, lines_bytes: 64 << 20, depth: 64 };
}

/// Bytes that are read at once.
const BLOCK_BYTES: usize = 128 * 1024;

/// What a digest covers where it covers everything.
pub const COVERS_ALL: &str = "all";

/// How what a digest covers begins, where an earlier teardown had removed some of it.
pub const COVERS_A_REST: &str = "what an earlier teardown, which was cut short, had left: ";

/// The digest of trees, and how much of them it covers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TreeDigest {
    /// The SHA-256 of the sorted lines, in hexadecimal.
    pub sha256: String,
    /// [`COVERS_ALL`], or what it leaves out.
    pub covers: String,
}

impl TreeDigest {
    /// Whether an earlier teardown had removed some of what was there.
    pub fn is_of_a_rest(&self) -> bool {
        self.covers.starts_with(COVERS_A_REST)
    }
}

/// Digests the trees of those names in a directory; a name that is not there is no entry.
pub fn digest(parent: &Dir, names: &[&str], limits: DigestLimits) -> TreeDigest {
    let mut walk = Walk {
        limits,
        until: Instant::now() + limits.time,
        bytes_left: limits.bytes,
        lines: Vec::new(),
        lines_bytes: 0,
        levels: Vec::new(),
        block: vec![0; BLOCK_BYTES],
        left_out: LeftOut::default(),
    };
    for name in names {
        if let Ok(name) = CString::new(*name) {
            walk.entry(parent.as_fd(), b"", &name);
            walk.descend();
        }
    }
    walk.finish()
}

/// What a bound, or the machine, kept out of the digest.
#[derive(Debug, Default)]
struct LeftOut {
    files: u64,
    bytes: u64,
    dirs: u64,
    entries: bool,
}

/// One directory that is being read.
struct Level {
    dir: OwnedFd,
    path: Vec<u8>,
    /// In reverse: the next one is the last.
    names: Vec<CString>,
}

struct Walk {
    limits: DigestLimits,
    until: Instant,
    bytes_left: u64,
    lines: Vec<Vec<u8>>,
    lines_bytes: usize,
    levels: Vec<Level>,
    block: Vec<u8>,
    left_out: LeftOut,
}

impl Walk {
    /// Walks what lies below the directories that are open.
    fn descend(&mut self) {
        while let Some(mut level) = self.levels.pop() {
            let Some(name) = level.names.pop() else { continue };
            let above = self.levels.len();
            let (dir, path) = (level.dir, level.path);
            self.entry(dir.as_fd(), &path, &name);
            self.levels.insert(above, Level { dir, path, names: level.names });
        }
    }

    /// Notes one entry; a directory is opened, to be walked next.
    fn entry(&mut self, parent: BorrowedFd<'_>, above: &[u8], name: &CString) {
        if self.lines.len() >= self.limits.entries || self.lines_bytes >= self.limits.lines_bytes || Instant::now() >= self.until {
            self.left_out.entries = true;
            return;
        }
        let mut path = above.to_vec();
        if !path.is_empty() {
            path.push(b'/');
        }
        path.extend(name.to_bytes());
        let stat = match rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => stat,
            Err(Errno::NOENT) => return,
            Err(_) => {
                self.left_out.files += 1;
                return self.line(&path, "unknown", 0, "?");
            }
        };
        let size = u64::try_from(stat.st_size).unwrap_or(0);
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => {
                self.line(&path, "dir", 0, "-");
                match self.open(parent, name, stat.st_mode) {
                    Some((dir, names)) => self.levels.push(Level { dir, path, names }),
                    None => self.left_out.dirs += 1,
                }
            }
            FileType::RegularFile => {
                let digest = self.contents(parent, name, size);
                if digest.is_none() {
                    self.left_out.files += 1;
                    self.left_out.bytes = self.left_out.bytes.saturating_add(size);
                }
                self.line(&path, "file", size, digest.as_deref().unwrap_or("?"));
            }
            FileType::Symlink => match rustix::fs::readlinkat(parent, name, Vec::new()) {
                Ok(target) => self.line(&path, "link", target.to_bytes().len() as u64, &hex(&Sha256::digest(target.to_bytes()))),
                Err(_) => {
                    self.left_out.files += 1;
                    self.line(&path, "link", size, "?");
                }
            },
            FileType::Fifo => self.line(&path, "fifo", 0, "-"),
            FileType::Socket => self.line(&path, "socket", 0, "-"),
            FileType::CharacterDevice => self.line(&path, "char", 0, "-"),
            FileType::BlockDevice => self.line(&path, "block", 0, "-"),
            FileType::Unknown => self.line(&path, "unknown", 0, "-"),
        }
    }

    /// Opens a directory and lists it, sorted; `None` where it is too deep, or cannot be read.
    fn open(&mut self, parent: BorrowedFd<'_>, name: &CString, mode: u32) -> Option<(OwnedFd, Vec<CString>)> {
        if self.levels.len() + 1 >= self.limits.depth {
            return None;
        }
        if mode & 0o700 != 0o700 {
            // Where that does not help, opening it says so.
            let _ = unlock_dir(parent, name.as_c_str());
        }
        let dir = descend(parent, name.as_c_str()).ok()?;
        let mut entries = rustix::fs::Dir::new(readable(dir.as_fd()).ok()?).ok()?;
        let mut names = Vec::new();
        let mut bytes = 0;
        while let Some(entry) = entries.read() {
            let entry = entry.ok()?;
            let name = entry.file_name();
            if name.to_bytes() == b"." || name.to_bytes() == b".." {
                continue;
            }
            bytes += name.to_bytes().len();
            // One more than there is room for shows that there was none.
            if names.len() > self.limits.entries - self.lines.len().min(self.limits.entries) || bytes > self.limits.lines_bytes {
                self.left_out.entries = true;
                break;
            }
            names.push(name.to_owned());
        }
        names.sort_unstable_by(|a, b| b.cmp(a));
        Some((dir, names))
    }

    /// Reads a regular file; `None` where that would pass a bound, or it cannot be read.
    fn contents(&mut self, parent: BorrowedFd<'_>, name: &CString, size: u64) -> Option<String> {
        if size > self.bytes_left {
            return None;
        }
        let opened = open_file_within(parent, name.as_c_str()).or_else(|error| {
            unlock_file(parent, name.as_c_str()).map_err(|_| error)?;
            open_file_within(parent, name.as_c_str())
        });
        // One byte more than there should be shows what has grown.
        let mut file = opened.ok()?.take(size + 1);
        let mut digest = Sha256::new();
        let mut read = 0_u64;
        loop {
            if Instant::now() >= self.until {
                return None;
            }
            match file.read(&mut self.block) {
                Ok(0) => break,
                Ok(count) => {
                    digest.update(self.block.get(..count)?);
                    read += count as u64;
                    self.bytes_left = self.bytes_left.saturating_sub(count as u64);
                }
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(_) => return None,
            }
        }
        (read == size).then(|| hex(&digest.finalize()))
    }

    fn line(&mut self, path: &[u8], kind: &str, size: u64, digest: &str) {
        let mut line = path.to_vec();
        line.extend(format!("\0{kind}\0{size}\0{digest}\n").into_bytes());
        self.lines_bytes += line.len();
        self.lines.push(line);
    }

    fn finish(mut self) -> TreeDigest {
        self.lines.sort_unstable();
        let mut digest = Sha256::new();
        self.lines.iter().for_each(|line| digest.update(line));
        let LeftOut { files, bytes, dirs, entries } = self.left_out;
        let mut parts = Vec::new();
        if files > 0 {
            parts.push(format!("the contents of {files} files of {bytes} bytes"));
        }
        if dirs > 0 {
            parts.push(format!("what is in {dirs} directories"));
        }
        if entries {
            parts.push(format!("entries beyond the first {}", self.lines.len()));
        }
        let covers = if parts.is_empty() {
            COVERS_ALL.to_owned()
        } else {
            format!("all but {}, which were too large, too deep, too many, too slow or not to be read", parts.join(" and "))
        };
        TreeDigest { sha256: hex(&digest.finalize()), covers }
    }
}

/// Bytes in hexadecimal.
fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
#[path = "digest_tests.rs"]
mod tests;
