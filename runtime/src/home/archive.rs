//! Writing the homes of a cell, and what its members share, into one tar archive.
//!
//! ```text
//!  first pass:  how many names has each file that has several?
//!  second pass: ─→ directory: its header, then what is in it, sorted
//!               ─→ file: as many bytes as it had when it was opened; one that has a name elsewhere is left out
//!               ─→ link: its text, if it leads nowhere outside; else left out
//!               ─→ FIFO, socket, device, secret, mount: left out
//! ```
//!
//! Guests wrote all of it, and may be writing still. Entries are reached by handle, through no link and across no mount. What is left out, and what
//! changed while it was read, is named, so that the archive is never silently less than it seems.
//!
//! Whoever unpacks it is safe as well: each path begins with the cell's id and has no `..`; nothing lies below a link; no link, and no chain of
//! them, leads out of the cell's directory (see [`stays_inside`]); no mode has more than the permissions; owner and group are nobody's.

use std::{
    collections::HashMap,
    convert::Infallible,
    fs::File,
    io::{self, Write},
    os::fd::AsFd,
    path::Path,
};

use cap_std::fs::Dir;
use rustix::fs::{FileType, Stat};

use super::{
    fold::Folder,
    handle::{escape_name, open_file_within, open_own_dir},
    seed::{STATE, is_never_carried},
    tar::{Copied, EntryKind, TarWriter},
    walk::{Budget, Entry, Next, PATH_MOST_BYTES, Visitor, reason, walk},
};

/// What of a cell's directory is archived, in the order of the names: the homes and what is shared; not its logs, results and records.
pub(super) const PARTS: [&str; 3] = ["guests", "home", "shared"];
/// Things that are named in a list; the rest is counted.
const NAMED_MOST: usize = 256;
/// Parts of a path that are named, from its end.
const PARTS_SHOWN: usize = 6;
/// Files of several names that are kept track of; of more, none is archived.
const SEVERAL_MOST: usize = 100_000;

/// Something of a home that the archive does not hold, or not as it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Noted {
    /// Its path in the archive: escaped, shortened.
    pub name: String,
    /// Why.
    pub why: String,
}

/// A list that is bounded, whatever a guest planted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Notes {
    /// The first of them.
    pub named: Vec<Noted>,
    /// How many more there are.
    pub unnamed: u64,
}

impl Notes {
    fn add(&mut self, path: &[u8], why: impl Into<String>) {
        if self.named.len() < NAMED_MOST {
            self.named.push(Noted { name: shown(path), why: why.into() });
        } else {
            self.unnamed += 1;
        }
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        self.unnamed + self.named.len() as u64
    }
}

/// What an archive holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Archived {
    /// Files, each of its names for one.
    pub files: u64,
    /// Directories.
    pub directories: u64,
    /// Links.
    pub links: u64,
    /// Bytes of the files, each file counted once.
    pub bytes: u64,
    /// What was left out.
    pub skipped: Notes,
    /// What changed while it was read: there as it was found.
    pub changed: Notes,
}

/// What is asked of an archive.
#[derive(Debug, Clone, Copy)]
pub struct ArchiveWish {
    /// The most bytes of files; a file that would pass it is left out.
    pub most_bytes: u64,
    /// Whether agents of the cell may be writing. A database is then left out: a copy of a part of it would be none.
    pub live: bool,
}

/// Writes the archive of a cell whose directory is `cell`, at `path`; everything in it is below `top`.
pub(super) fn archive<W: Write>(cell: &Dir, path: &Path, top: &str, wish: ArchiveWish, out: W) -> io::Result<(Archived, W)> {
    let several = count_names(cell, top);
    let mut writing = Writing { tar: TarWriter::new(out), archived: Archived::default(), several, wish, folder: Folder::new(cell, path) };
    writing.directory(top.as_bytes(), &rustix::fs::fstat(cell)?)?;
    let mut budget = Budget::default();
    for part in PARTS {
        let path = [top.as_bytes(), b"/", part.as_bytes()].concat();
        match open_own_dir(cell, part) {
            Ok(dir) => {
                writing.directory(&path, &rustix::fs::fstat(&dir)?)?;
                walk(&dir, &path, &mut budget, &mut writing)?;
            }
            // Only a cell of one agent has guests, and a teardown that was cut short has left less.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => writing.archived.skipped.add(&path, error.to_string()),
        }
    }
    let out = writing.tar.finish()?;
    Ok((writing.archived, out))
}

/// Device and inode: what a file is, whatever it is called.
type FileId = (u64, u64);

fn id(stat: &Stat) -> FileId {
    (stat.st_dev, stat.st_ino)
}

/// A file that has several names.
#[derive(Default)]
struct Several {
    /// How many of them are in the trees that are archived.
    seen: u64,
    /// The one under which it was archived.
    stored: Option<Vec<u8>>,
}

/// Counts names of files that have more than one. One whose names are not all seen has a name elsewhere.
struct Counting(HashMap<FileId, Several>);

impl Visitor for Counting {
    type Error = Infallible;

    fn entry(&mut self, entry: &Entry<'_>) -> Result<Next, Infallible> {
        if entry.kind() == FileType::RegularFile && entry.stat.st_nlink > 1 {
            let is_full = self.0.len() >= SEVERAL_MOST;
            let known = self.0.contains_key(&id(entry.stat));
            if known || !is_full {
                self.0.entry(id(entry.stat)).or_default().seen += 1;
            }
        }
        Ok(Next::Enter)
    }

    fn unread(&mut self, _: &[u8], _: &str) {}
}

fn count_names(cell: &Dir, top: &str) -> HashMap<FileId, Several> {
    let mut counting = Counting(HashMap::new());
    let mut budget = Budget::default();
    for part in PARTS {
        if let Ok(dir) = open_own_dir(cell, part) {
            let path = [top.as_bytes(), b"/", part.as_bytes()].concat();
            let Ok(()) = walk(&dir, &path, &mut budget, &mut counting);
        }
    }
    counting.0
}

struct Writing<'c, W: Write> {
    tar: TarWriter<W>,
    archived: Archived,
    several: HashMap<FileId, Several>,
    wish: ArchiveWish,
    folder: Folder<'c>,
}

impl<W: Write> Visitor for Writing<'_, W> {
    type Error = io::Error;

    fn entry(&mut self, entry: &Entry<'_>) -> io::Result<Next> {
        if is_never_carried(entry.name.to_bytes()) {
            self.skip(entry, "never carried over: it holds secrets, or says what runs");
            return Ok(Next::Skip);
        }
        match entry.kind() {
            FileType::Directory => {
                self.directory(entry.path, entry.stat)?;
                return Ok(Next::Enter);
            }
            FileType::RegularFile => self.file(entry)?,
            FileType::Symlink => self.link(entry)?,
            FileType::Fifo => self.skip(entry, "a FIFO"),
            FileType::Socket => self.skip(entry, "a socket"),
            FileType::CharacterDevice | FileType::BlockDevice => self.skip(entry, "a device"),
            FileType::Unknown => self.skip(entry, "neither a file, a directory nor a link"),
        }
        Ok(Next::Skip)
    }

    fn unread(&mut self, path: &[u8], why: &str) {
        self.archived.skipped.add(path, why);
    }
}

impl<W: Write> Writing<'_, W> {
    fn skip(&mut self, entry: &Entry<'_>, why: impl Into<String>) {
        self.archived.skipped.add(entry.path, why);
    }

    fn directory(&mut self, path: &[u8], stat: &Stat) -> io::Result<()> {
        self.archived.directories += 1;
        self.tar.header(path, EntryKind::Directory, stat.st_mode, stat.st_mtime)
    }

    fn link(&mut self, entry: &Entry<'_>) -> io::Result<()> {
        let text = match rustix::fs::readlinkat(entry.dir, entry.name, Vec::new()) {
            Ok(text) => text.into_bytes(),
            Err(error) => {
                self.skip(entry, reason(error));
                return Ok(());
            }
        };
        if !stays_inside(entry.path, &text) {
            self.skip(entry, format!("a link that could lead out, to {}", escape_name(&text)));
            return Ok(());
        }
        self.archived.links += 1;
        self.tar.header(entry.path, EntryKind::Link(&text), 0o777, entry.stat.st_mtime)
    }

    /// Whether a file has a name outside of what is archived. While agents write, names come and go: one is then taken for such a file, and named.
    #[allow(clippy::useless_conversion, reason = "the number is a shorter one on other processors")]
    fn has_name_elsewhere(&self, stat: &Stat) -> bool {
        stat.st_nlink > 1 && self.several.get(&id(stat)).is_none_or(|several| several.seen < u64::from(stat.st_nlink))
    }

    fn file(&mut self, entry: &Entry<'_>) -> io::Result<()> {
        const ELSEWHERE: &str = "a hard link to a file that has a name elsewhere";
        // Not even opened.
        if self.has_name_elsewhere(entry.stat) {
            self.skip(entry, ELSEWHERE);
            return Ok(());
        }
        let opened = open_file_within(entry.dir, entry.name).and_then(|file| Ok((rustix::fs::fstat(&file)?, file)));
        let (stat, file) = match opened {
            Ok(opened) => opened,
            Err(error) => {
                let errno = error.raw_os_error().map(rustix::io::Errno::from_raw_os_error);
                self.skip(entry, errno.map_or_else(|| error.to_string(), reason));
                return Ok(());
            }
        };
        if self.has_name_elsewhere(&stat) {
            self.skip(entry, ELSEWHERE);
            return Ok(());
        }
        if let Some(path) = self.several.get(&id(&stat)).and_then(|several| several.stored.clone()) {
            self.archived.files += 1;
            return self.tar.header(entry.path, EntryKind::SameFile(&path), stat.st_mode, stat.st_mtime);
        }
        if entry.name.to_bytes() == STATE.as_bytes() {
            return self.database(entry, &stat, file);
        }
        self.content(entry, &stat, file)
    }

    /// Writes an SQLite database: with what is still in the log beside it, which is not carried over itself.
    fn database(&mut self, entry: &Entry<'_>, stat: &Stat, file: File) -> io::Result<()> {
        if self.wish.live {
            self.skip(entry, "a database that is in use: close the cell first");
            return Ok(());
        }
        match self.folder.fold(entry.dir.as_fd(), &file, self.left()) {
            Ok(None) => self.content(entry, stat, file),
            Ok(Some(folded)) => {
                let mut whole = *stat;
                whole.st_size = rustix::fs::fstat(&folded)?.st_size;
                let written = self.content(entry, &whole, folded);
                self.folder.clear();
                written
            }
            Err(error) => {
                self.skip(entry, format!("a database that is not whole: {}", crate::cell::text::one_line(&error.to_string(), 200)));
                Ok(())
            }
        }
    }

    fn left(&self) -> u64 {
        self.wish.most_bytes.saturating_sub(self.archived.bytes)
    }

    fn content(&mut self, entry: &Entry<'_>, stat: &Stat, file: File) -> io::Result<()> {
        let size = u64::try_from(stat.st_size).unwrap_or(0);
        if size > self.left() {
            self.skip(entry, format!("{size} bytes, with which the archive would hold more than {} bytes", self.wish.most_bytes));
            return Ok(());
        }
        self.tar.header(entry.path, EntryKind::File(size), stat.st_mode, stat.st_mtime)?;
        let copied = self.tar.content(&file, size)?;
        self.archived.files += 1;
        self.archived.bytes += size;
        if let Some(several) = self.several.get_mut(&id(stat)) {
            several.stored = Some(entry.path.to_vec());
        }
        let changed = match copied {
            Copied::Whole => return Ok(()),
            Copied::Cut => format!("it grew while it was read: its first {size} bytes are there"),
            Copied::Padded(None) => format!("it shrank while it was read: zeros fill it up to {size} bytes"),
            Copied::Padded(Some(error)) => format!("it could not be read to its end ({error}): zeros fill it up to {size} bytes"),
        };
        self.archived.changed.add(entry.path, changed);
        Ok(())
    }
}

/// Returns whether a link can be unpacked without leading out of the top directory, by itself or through other links of which this is true.
///
/// It is relative, and `..` stands at its beginning alone, at most as often as the link is deep. The directory that it begins in is one that was
/// walked, so that those `..` lead to one that was walked; what follows goes down, through directories or through links that stay inside
/// themselves. A `..` behind a name would climb from wherever that name leads, and is not allowed.
pub fn stays_inside(path: &[u8], text: &[u8]) -> bool {
    // The top, directories below it, the link itself.
    let depth = path.split(|byte| *byte == b'/').count().saturating_sub(2);
    if text.is_empty() || text.starts_with(b"/") || text.len() >= PATH_MOST_BYTES {
        return false;
    }
    let mut climbed = 0;
    let mut descended = false;
    for part in text.split(|byte| *byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." if descended || climbed == depth => return false,
            b".." => climbed += 1,
            _ => descended = true,
        }
    }
    true
}

/// A path for people: escaped, its last parts.
fn shown(path: &[u8]) -> String {
    let parts: Vec<&[u8]> = path.split(|byte| *byte == b'/').collect();
    let left_out = parts.len().saturating_sub(PARTS_SHOWN);
    let shown = parts.iter().skip(left_out).map(|part| escape_name(part));
    let shown: Vec<String> = if left_out > 0 { std::iter::once("…".to_owned()).chain(shown).collect() } else { shown.collect() };
    shown.join("/")
}

#[cfg(test)]
#[path = "archive_tests.rs"]
mod tests;
