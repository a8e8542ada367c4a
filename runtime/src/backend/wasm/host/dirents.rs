//! `fd_readdir` of preview 1: a page of the directory at a time.
//!
//! A cookie is a place in the order in which the directory was read: 0 for `.`, 1 for `..`, and on from there. The listing stays where the last
//! call stopped, so that a guest that reads on gets what is next, whatever it removed meanwhile; one that asks for any other place gets
//! a listing from the start. There is one for each descriptor that was listed, until that is closed.

use std::{fs::File, sync::Arc};

use rustix::fs::FileType;
use wasmtime_wasi::{
    p1::types::{Dircookie, Errno, Error, Fd, Filetype, Size},
    p2::bindings::filesystem::types::ErrorCode,
};
use wiggle::{GuestMemory, GuestPtr};

use super::{
    guest::State,
    listing::{Entry, Listing},
    quota::Keeper,
};

/// Bytes of a `dirent`, as preview 1 lays it out; its name follows.
const DIRENT_BYTES: usize = 24;
/// The cookie of the first name that is neither `.` nor `..`.
const FIRST: Dircookie = 2;

/// How far a directory was read.
#[derive(Debug)]
pub struct Cursor {
    /// None while a helper thread has it; one that never gave it back ends the listing.
    listing: Option<Listing>,
    /// The cookie of the next entry.
    at: Dircookie,
    own: u64,
}

fn failed(error: std::io::Error) -> Error {
    ErrorCode::from(error).into()
}

impl Cursor {
    /// A listing from the start, and its descriptor.
    async fn open(keeper: &Keeper, dir: Arc<File>) -> Result<(Self, Arc<File>), Error> {
        let open = move || {
            let listing = Listing::open(&dir)?;
            let (own, descriptor) = (listing.own_identity()?, Arc::clone(listing.descriptor()));
            Ok((Self { listing: Some(listing), at: FIRST, own }, descriptor))
        };
        keeper.blocking(open).await.map_err(failed)
    }

    /// The listing, with an entry read if there is one.
    async fn ready(&mut self, keeper: &Keeper) -> Result<&mut Listing, Error> {
        if self.listing.as_ref().is_some_and(|listing| !listing.is_ready())
            && let Some(mut listing) = self.listing.take()
        {
            let peek = move || listing.peek().map(|_| ()).map(|()| listing);
            self.listing = Some(keeper.blocking(peek).await.map_err(failed)?);
        }
        self.listing.as_mut().ok_or_else(|| Errno::Io.into())
    }

    /// Moves on to a place, if it lies ahead.
    async fn skip_to(&mut self, keeper: &Keeper, cookie: Dircookie) -> Result<(), Error> {
        while self.at < cookie {
            if self.ready(keeper).await?.next().map_err(failed)?.is_none() {
                return Ok(());
            }
            self.at += 1;
        }
        Ok(())
    }
}

/// The buffer of a guest that is filled.
struct Buffer<'a, 'b> {
    memory: &'a mut GuestMemory<'b>,
    at: GuestPtr<u8>,
    left: Size,
}

impl Buffer<'_, '_> {
    fn put(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let length = bytes.len().min(usize::try_from(self.left)?);
        let count = Size::try_from(length)?;
        self.memory.copy_from_slice(&bytes[..length], self.at.as_array(count))?;
        self.at = self.at.add(count)?;
        self.left -= count;
        Ok(())
    }

    /// Writes an entry, as far as there is room for it. Returns whether that was all of it.
    fn entry(&mut self, next: Dircookie, inode: u64, kind: Filetype, name: &str) -> Result<bool, Error> {
        let all = usize::try_from(self.left)? >= DIRENT_BYTES + name.len();
        let mut dirent = [0; DIRENT_BYTES];
        dirent[0..8].copy_from_slice(&next.to_le_bytes());
        dirent[8..16].copy_from_slice(&inode.to_le_bytes());
        dirent[16..20].copy_from_slice(&Size::try_from(name.len())?.to_le_bytes());
        dirent[20] = kind as u8;
        self.put(&dirent)?;
        self.put(name.as_bytes())?;
        Ok(all)
    }
}

const fn kind(entry: &Entry) -> Filetype {
    match entry.kind {
        FileType::RegularFile => Filetype::RegularFile,
        FileType::Directory => Filetype::Directory,
        FileType::Symlink => Filetype::SymbolicLink,
        FileType::CharacterDevice => Filetype::CharacterDevice,
        FileType::BlockDevice => Filetype::BlockDevice,
        // As wasmtime calls them elsewhere.
        FileType::Fifo | FileType::Socket | FileType::Unknown => Filetype::Unknown,
    }
}

impl State {
    /// Lists what an open directory holds, from a cookie on, into the guest's buffer. Returns the bytes that were written: fewer than
    /// there is room for at the end alone, or before a name that is not UTF-8.
    ///
    /// # Errors
    /// `ilseq`: the next name is not UTF-8. Whatever reading the directory comes to.
    pub async fn list(
        &mut self,
        memory: &mut GuestMemory<'_>,
        (fd, dir): (Fd, Arc<File>),
        buffer: GuestPtr<u8>,
        length: Size,
        cookie: Dircookie,
    ) -> Result<Size, Error> {
        let keeper = self.keeper.clone();
        let from = cookie.max(FIRST);
        // From the start it is read anew, whatever was read before.
        let cursor = self.descriptors.listings.remove(&fd.into()).filter(|cursor| cursor.at == cookie);
        let mut cursor = match cursor {
            Some(cursor) => cursor,
            None if self.openings.has_room() => {
                let (cursor, descriptor) = Cursor::open(&keeper, dir).await?;
                self.openings.add(&descriptor);
                cursor
            }
            None => return Err(Errno::Mfile.into()),
        };
        cursor.skip_to(&keeper, from).await?;
        let mut into = Buffer { memory, at: buffer, left: length };
        for (at, name) in [(0, "."), (1, "..")] {
            if cookie <= at && into.left > 0 {
                // The parent is not the guest's to know: wasmtime says the same of both.
                into.entry(at + 1, cursor.own, Filetype::Directory, name)?;
            }
        }
        while into.left > 0 {
            let at = cursor.at;
            let listing = cursor.ready(&keeper).await?;
            let Some(entry) = listing.peek().map_err(failed)? else { break };
            let (kind, inode) = (kind(entry), entry.inode);
            let Some(name) = entry.name.clone() else {
                if into.left < length {
                    break;
                }
                return Err(Errno::Ilseq.into());
            };
            if into.entry(at + 1, listing.identity(inode), kind, &name)? {
                listing.next().map_err(failed)?;
                cursor.at += 1;
            }
        }
        let written = length - into.left;
        self.descriptors.listings.insert(fd.into(), cursor);
        Ok(written)
    }
}
