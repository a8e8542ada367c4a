//! Streams of directories.

use std::{fs::File, sync::Arc};

use rustix::fs::FileType;
use wasmtime::component::Resource;
use wasmtime_wasi::{
    WasiView as _,
    p2::{
        FsResult, ReaddirIterator,
        bindings::filesystem::types::{DescriptorType, DirectoryEntry, ErrorCode, HostDirectoryEntryStream},
    },
};

use crate::backend::wasm::host::{
    guest::State,
    listing::{Entry, Listing},
};

/// A stream of a directory. None while a helper thread has it; one that never gave it back ends the stream.
struct Listed(Option<Listing>);

/// The same number: what stands in the table for wasmtime's stream is ours.
fn listed(stream: &Resource<ReaddirIterator>) -> Resource<Listed> {
    Resource::new_own(stream.rep())
}

const fn type_of(entry: &Entry) -> DescriptorType {
    match entry.kind {
        FileType::RegularFile => DescriptorType::RegularFile,
        FileType::Directory => DescriptorType::Directory,
        FileType::Symlink => DescriptorType::SymbolicLink,
        FileType::CharacterDevice => DescriptorType::CharacterDevice,
        FileType::BlockDevice => DescriptorType::BlockDevice,
        // As wasmtime calls them elsewhere.
        FileType::Fifo | FileType::Socket | FileType::Unknown => DescriptorType::Unknown,
    }
}

impl HostDirectoryEntryStream for State {
    async fn read_directory_entry(&mut self, stream: Resource<ReaddirIterator>) -> FsResult<Option<DirectoryEntry>> {
        let keeper = self.keeper.clone();
        let stream = listed(&stream);
        let mut listing = self.wasi.ctx().table.get_mut(&stream)?.0.take().ok_or(ErrorCode::Io)?;
        let (listing, entry) = if listing.is_ready() {
            let entry = listing.next();
            (listing, entry)
        } else {
            keeper
                .blocking(move || {
                    let entry = listing.next();
                    Ok((listing, entry))
                })
                .await?
        };
        self.wasi.ctx().table.get_mut(&stream)?.0 = Some(listing);
        let Some(entry) = entry? else { return Ok(None) };
        let type_ = type_of(&entry);
        let name = entry.name.ok_or(ErrorCode::IllegalByteSequence)?;
        Ok(Some(DirectoryEntry { type_, name }))
    }

    fn drop(&mut self, stream: Resource<ReaddirIterator>) -> wasmtime::Result<()> {
        self.wasi.ctx().table.delete(listed(&stream))?;
        Ok(())
    }
}

impl State {
    /// Begins a stream of a directory.
    pub(super) async fn stream_of(&mut self, dir: &Arc<File>) -> FsResult<Resource<ReaddirIterator>> {
        self.room_for_one()?;
        let (dir, keeper) = (Arc::clone(dir), self.keeper.clone());
        let listing = keeper.blocking(move || Listing::open(&dir)).await?;
        self.openings.add(listing.descriptor());
        let stream = self.wasi.ctx().table.push(Listed(Some(listing)))?;
        Ok(Resource::new_own(stream.rep()))
    }
}
