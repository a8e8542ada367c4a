//! Writing the entries of a tar archive, of names that are any bytes: the GNU form, which every reader knows.
//!
//! The headers are made by the crate `tar`; names and texts of links are put into them here, as the bytes that they are. No path of the machine
//! is looked at. Everything that would tell one machine or user from another is left out: owner and group are 0, and have no name.

use std::io::{self, Read, Write};

use tar::{EntryType, Header};

/// Bytes of a block: headers and contents fill whole ones.
const BLOCK_BYTES: u64 = 512;
/// The largest number that a time's eleven octal digits hold.
const OCTAL_MOST: i64 = 0o77_777_777_777;
/// The name of an entry that holds the name, or the link's text, of the next one.
const LONG: &[u8] = b"././@LongLink";
/// Bytes that are copied at once.
const COPY_BYTES: usize = 64 * 1024;

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryKind<'a> {
    /// A directory.
    Directory,
    /// A file of so many bytes, which follow.
    File(u64),
    /// A link, with its text.
    Link(&'a [u8]),
    /// Another name of a file that was written before, with that one's path.
    SameFile(&'a [u8]),
}

/// What became of a file's bytes while they were written.
#[derive(Debug)]
pub enum Copied {
    /// There were as many as the header says.
    Whole,
    /// There were more, which are left out.
    Cut,
    /// There were fewer: zeros stand for the rest.
    Padded(Option<io::Error>),
}

/// An archive that is being written.
pub struct TarWriter<W: Write> {
    out: W,
}

impl<W: Write> TarWriter<W> {
    /// Begins an archive.
    pub fn new(out: W) -> Self {
        Self { out }
    }

    /// Writes the header of an entry. A directory's path gets its slash here; the content of a file is written next.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn header(&mut self, path: &[u8], kind: EntryKind<'_>, mode: u32, seconds: i64) -> io::Result<()> {
        let (entry_type, size, link, slash): (_, _, &[u8], &[u8]) = match kind {
            EntryKind::Directory => (EntryType::Directory, 0, b"", b"/"),
            EntryKind::File(size) => (EntryType::Regular, size, b"", b""),
            EntryKind::Link(text) => (EntryType::Symlink, 0, text, b""),
            EntryKind::SameFile(path) => (EntryType::Link, 0, path, b""),
        };
        let name = [path, slash].concat();
        let mut header = plain(entry_type, size);
        // Neither set-user-ID nor set-group-ID, nor the sticky bit.
        header.set_mode(mode & 0o777);
        if let Some(gnu) = header.as_gnu_mut() {
            gnu.mtime = time_field(seconds);
        }
        self.long(EntryType::GNULongLink, link)?;
        self.long(EntryType::GNULongName, &name)?;
        if let Some(gnu) = header.as_gnu_mut() {
            put(&mut gnu.name, &name);
            put(&mut gnu.linkname, link);
        }
        header.set_cksum();
        self.out.write_all(header.as_bytes())
    }

    /// Writes a name that does not fit into a header, as an entry before it.
    fn long(&mut self, entry_type: EntryType, text: &[u8]) -> io::Result<()> {
        if text.len() < 100 {
            return Ok(());
        }
        // With a NUL at its end, which GNU tar wants.
        let size = text.len() as u64 + 1;
        let mut header = plain(entry_type, size);
        if let Some(gnu) = header.as_gnu_mut() {
            put(&mut gnu.name, LONG);
        }
        header.set_cksum();
        self.out.write_all(header.as_bytes())?;
        self.out.write_all(text)?;
        self.zeros(1)?;
        self.fill(size)
    }

    /// Writes the content of a file of `size` bytes: exactly as many, whatever is there.
    ///
    /// # Errors
    /// It cannot be written. That something could not be read is in the result.
    pub fn content(&mut self, mut file: impl Read, size: u64) -> io::Result<Copied> {
        let mut block = vec![0; COPY_BYTES];
        let mut left = size;
        let mut padded = None;
        while left > 0 {
            let want = usize::try_from(left).unwrap_or(COPY_BYTES).min(COPY_BYTES);
            match file.read(block.get_mut(..want).unwrap_or_default()) {
                Ok(0) => {
                    padded = Some(None);
                    break;
                }
                Ok(read) => {
                    self.out.write_all(block.get(..read).unwrap_or_default())?;
                    left = left.saturating_sub(read as u64);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    padded = Some(Some(error));
                    break;
                }
            }
        }
        self.zeros(left)?;
        self.fill(size)?;
        match padded {
            Some(why) => Ok(Copied::Padded(why)),
            None if matches!(file.read(&mut [0]), Ok(1)) => Ok(Copied::Cut),
            None => Ok(Copied::Whole),
        }
    }

    /// Ends the archive. Returns what it was written to.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn finish(mut self) -> io::Result<W> {
        self.zeros(2 * BLOCK_BYTES)?;
        self.out.flush()?;
        Ok(self.out)
    }

    /// Fills the last block of so many bytes.
    fn fill(&mut self, size: u64) -> io::Result<()> {
        self.zeros(size.next_multiple_of(BLOCK_BYTES) - size)
    }

    fn zeros(&mut self, count: u64) -> io::Result<()> {
        io::copy(&mut io::repeat(0).take(count), &mut self.out).map(drop)
    }
}

fn plain(entry_type: EntryType, size: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(entry_type);
    header.set_size(size);
    header.set_mode(0);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header
}

/// Puts as many bytes into a field as it has room for; one that is cut stands whole in the entry before.
fn put(field: &mut [u8], text: &[u8]) {
    for (place, byte) in field.iter_mut().zip(text) {
        *place = *byte;
    }
}

/// A time as a header holds it: octal digits, or, before 1970 and after 2242, GNU's binary form (two's complement, marked in the first byte).
fn time_field(seconds: i64) -> [u8; 12] {
    let mut field = [0; 12];
    if (0..=OCTAL_MOST).contains(&seconds) {
        put(&mut field, format!("{seconds:011o}").as_bytes());
        return field;
    }
    let sign = if seconds < 0 { 0xff } else { 0 };
    field = [sign; 12];
    for (place, byte) in field.iter_mut().rev().zip(seconds.to_le_bytes()) {
        *place = byte;
    }
    if seconds >= 0 {
        field[0] = 0x80;
    }
    field
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_any_century_have_a_form() {
        assert_eq!(&time_field(0), b"00000000000\0");
        assert_eq!(&time_field(OCTAL_MOST), b"77777777777\0");
        assert_eq!(time_field(-1), [0xff; 12]);
        assert_eq!(time_field(OCTAL_MOST + 1), [0x80, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0]);
        assert_eq!(time_field(i64::MIN)[..5], [0xff, 0xff, 0xff, 0xff, 0x80]);
        assert_eq!(time_field(i64::MAX)[..5], [0x80, 0, 0, 0, 0x7f]);
    }

    #[test]
    fn a_content_is_as_long_as_its_header_says() {
        let written = |content: &[u8], size| {
            let mut tar = TarWriter::new(Vec::new());
            let copied = tar.content(content, size).expect("written");
            (tar.out, copied)
        };
        let (bytes, copied) = written(b"12345", 5);
        assert!(matches!(copied, Copied::Whole) && bytes.len() == 512 && bytes.starts_with(b"12345\0"));
        let (bytes, copied) = written(b"12345", 3);
        assert!(matches!(copied, Copied::Cut) && bytes.len() == 512 && bytes.starts_with(b"123\0"));
        let (bytes, copied) = written(b"12345", 600);
        assert!(matches!(copied, Copied::Padded(None)) && bytes.len() == 1024 && bytes.starts_with(b"12345\0"));
        assert_eq!(written(b"", 0).0.len(), 0);
    }
}
