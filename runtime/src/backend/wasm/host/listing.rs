//! What a directory holds, read as it is asked for.
//!
//! wasmtime reads a whole directory into the host's memory for every stream of it, and for every call of preview 1. A guest may hold many
//! streams, and its directories, or those that it was given, may hold very many names. This reads a page of names at a time, so that what the
//! host holds for a stream does not depend on the directory: one page, and one descriptor. Streams are counted as resources, like files.
//!
//! What is there from the beginning to the end of a listing is in it once; what comes or goes meanwhile may be or not (POSIX, `readdir`).

use std::{
    collections::VecDeque,
    fs::File,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    io,
    mem::MaybeUninit,
    sync::Arc,
};

use rustix::{
    fs::{AtFlags, FileType, Mode, OFlags, RawDir, fstat, openat, statat},
    io::Errno,
};

/// Bytes of entries that are read at a time, as the kernel lays them out: of the shortest names that is 170, of the longest 14.
pub const PAGE_BYTES: usize = 4096;

/// One name in a directory.
#[derive(Debug, PartialEq, Eq)]
pub struct Entry {
    /// The name, if it is UTF-8: WASI knows no others.
    pub name: Option<String>,
    /// What it stands for.
    pub kind: FileType,
    /// What identifies the file.
    pub inode: u64,
}

/// A directory that is being read.
#[derive(Debug)]
pub struct Listing {
    /// A descriptor of its own, since where it stands is what was read.
    dir: Arc<File>,
    device: u64,
    page: VecDeque<Entry>,
    over: bool,
}

impl Listing {
    /// Begins to read a directory.
    ///
    /// # Errors
    /// It cannot be opened again, or looked at.
    pub fn open(dir: &File) -> io::Result<Self> {
        let dir = openat(dir, c".", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?;
        let device = fstat(&dir)?.st_dev;
        Ok(Self { dir: Arc::new(dir.into()), device, page: VecDeque::new(), over: false })
    }

    /// Its descriptor.
    pub const fn descriptor(&self) -> &Arc<File> {
        &self.dir
    }

    /// Whether the next entry is there without a look at the disk.
    pub fn is_ready(&self) -> bool {
        self.over || !self.page.is_empty()
    }

    /// The next entry, which stays the next.
    ///
    /// # Errors
    /// The directory cannot be read; it is then over.
    pub fn peek(&mut self) -> io::Result<Option<&Entry>> {
        while !self.is_ready() {
            self.read()?;
        }
        Ok(self.page.front())
    }

    /// The next entry: without `.` and `..`. None at the end.
    ///
    /// # Errors
    /// The directory cannot be read; it is then over.
    pub fn next(&mut self) -> io::Result<Option<Entry>> {
        self.peek()?;
        Ok(self.page.pop_front())
    }

    /// Reads the next page.
    fn read(&mut self) -> io::Result<()> {
        let mut buffer = [MaybeUninit::uninit(); PAGE_BYTES];
        let mut raw = RawDir::new(&*self.dir, &mut buffer);
        loop {
            match raw.next() {
                // The directory was removed meanwhile, and holds nothing.
                None | Some(Err(Errno::NOENT)) => self.over = true,
                Some(Err(Errno::INTR)) => continue,
                Some(Err(errno)) => {
                    self.over = true;
                    return Err(errno.into());
                }
                Some(Ok(entry)) => {
                    let name = entry.file_name();
                    if name != c"." && name != c".." {
                        let kind = match entry.file_type() {
                            // Not every file system says it here. What went meanwhile is of no kind.
                            FileType::Unknown => statat(&*self.dir, name, AtFlags::SYMLINK_NOFOLLOW)
                                .map_or(FileType::Unknown, |found| FileType::from_raw_mode(found.st_mode)),
                            kind => kind,
                        };
                        let name = name.to_str().ok().map(str::to_owned);
                        self.page.push_back(Entry { name, kind, inode: entry.ino() });
                    }
                }
            }
            if self.over || raw.is_buffer_empty() {
                return Ok(());
            }
        }
    }

    /// What preview 1 calls a file's inode: the hash that wasmtime makes of its device and number, so that it is the same as in
    /// `filestat`.
    pub fn identity(&self, inode: u64) -> u64 {
        let mut hasher = DefaultHasher::new();
        (self.device, inode).hash(&mut hasher);
        hasher.finish()
    }

    /// Of the directory itself.
    ///
    /// # Errors
    /// It cannot be looked at.
    pub fn own_identity(&self) -> io::Result<u64> {
        Ok(self.identity(fstat(&*self.dir)?.st_ino))
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, os::unix::ffi::OsStrExt as _};

    use super::*;

    fn open(place: &tempfile::TempDir) -> Listing {
        Listing::open(&File::open(place.path()).expect("opened")).expect("a listing")
    }

    #[test]
    fn every_name_is_listed_once_with_its_kind_and_no_page_is_larger_than_one() {
        let place = tempfile::tempdir().expect("a directory");
        let names: BTreeSet<String> = (0..2000).map(|number: usize| format!("{number:0>width$}", width = 4 + number % 200)).collect();
        for name in &names {
            std::fs::write(place.path().join(name), "").expect("written");
        }
        std::fs::create_dir(place.path().join("dir")).expect("made");
        std::os::unix::fs::symlink("nowhere", place.path().join("link")).expect("linked");
        let mut listing = open(&place);
        let (mut found, mut others) = (BTreeSet::new(), Vec::new());
        while let Some(entry) = listing.next().expect("read") {
            assert!(listing.page.len() <= PAGE_BYTES / 24, "{}", listing.page.len());
            let name = entry.name.expect("UTF-8");
            match entry.kind {
                FileType::RegularFile => assert!(found.insert(name), "twice"),
                kind => others.push((name, kind)),
            }
        }
        others.sort_by(|one, other| one.0.cmp(&other.0));
        assert_eq!(found, names);
        assert_eq!(others, [("dir".to_owned(), FileType::Directory), ("link".to_owned(), FileType::Symlink)]);
        assert_eq!(listing.next().expect("over"), None);
    }

    #[test]
    fn two_listings_of_one_directory_do_not_move_each_other() {
        let place = tempfile::tempdir().expect("a directory");
        (0..500).for_each(|number| std::fs::write(place.path().join(format!("file-{number}")), "").expect("written"));
        let dir = File::open(place.path()).expect("opened");
        let (mut one, mut other) = (Listing::open(&dir).expect("one"), Listing::open(&dir).expect("other"));
        let mut count = 0;
        while one.next().expect("read").is_some() {
            assert!(other.next().expect("read").is_some());
            count += 1;
        }
        assert_eq!(count, 500);
    }

    #[test]
    fn a_name_that_is_not_utf_8_is_there_without_it_and_the_rest_is_read() {
        let place = tempfile::tempdir().expect("a directory");
        std::fs::write(place.path().join(std::ffi::OsStr::from_bytes(b"odd\xff")), "").expect("written");
        std::fs::write(place.path().join("even"), "").expect("written");
        let mut listing = open(&place);
        let mut names: Vec<_> = std::iter::from_fn(|| listing.next().expect("read")).map(|entry| entry.name).collect();
        names.sort();
        assert_eq!(names, [None, Some("even".to_owned())]);
    }

    #[test]
    fn a_directory_that_is_removed_meanwhile_ends() {
        let place = tempfile::tempdir().expect("a directory");
        let inner = place.path().join("inner");
        std::fs::create_dir(&inner).expect("made");
        let mut listing = Listing::open(&File::open(&inner).expect("opened")).expect("a listing");
        std::fs::remove_dir(&inner).expect("removed");
        assert_eq!(listing.next().expect("ended"), None);
    }

    #[test]
    fn what_is_no_directory_is_refused() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        assert!(Listing::open(&File::open(file.path()).expect("opened")).is_err());
    }
}
