//! The file system of components: `wasi:filesystem/types`, counted.

mod entries;

use std::{collections::HashMap, fs::File, sync::Arc};

use wasmtime::component::Resource;
use wasmtime_wasi::{
    FsPerms, WasiView as _,
    filesystem::{Descriptor, WasiFilesystemView as _},
    p2::{
        DynInputStream, DynOutputStream, FsError, FsResult, ReaddirIterator,
        bindings::filesystem::types::{
            self, Advice, DescriptorFlags, DescriptorStat, DescriptorType, ErrorCode, Filesize, HostDescriptor, MetadataHashValue,
            NewTimestamp, OpenFlags, PathFlags,
        },
        pipe::ClosedOutputStream,
    },
};

use super::{
    area::{Area, Denied},
    ledger::Growth,
    stream::{Counted, Place},
};
use crate::{backend::wasm::host::guest::State, policy::LimitName};

/// Which account each open descriptor of a component belongs to, by its number in the table of resources.
#[derive(Debug, Default)]
pub struct Nodes(HashMap<u32, Area>);

impl Nodes {
    /// A descriptor was given out.
    pub fn opened(&mut self, descriptor: &Resource<Descriptor>, area: Area) {
        self.0.insert(descriptor.rep(), area);
    }
}

impl From<Denied> for FsError {
    fn from(denied: Denied) -> Self {
        match denied {
            Denied::Full => ErrorCode::InsufficientSpace,
            Denied::Unknown => ErrorCode::Io,
        }
        .into()
    }
}

/// A second handle on the resource, which stays the guest's.
fn again(descriptor: &Resource<Descriptor>) -> Resource<Descriptor> {
    Resource::new_borrow(descriptor.rep())
}

fn is_missing<T>(done: &FsResult<T>) -> bool {
    matches!(done, Err(error) if matches!(error.downcast_ref(), Some(ErrorCode::NoEntry)))
}

impl State {
    /// Refuses what is neither a file nor a directory, for the reason that preview 1 has.
    async fn plain_or_refused(&mut self, asked: &Opening) -> FsResult<()> {
        match self.filesystem().stat_at(again(&asked.fd), asked.follow, asked.path.clone()).await.map(|found| found.type_) {
            Ok(DescriptorType::RegularFile | DescriptorType::Directory | DescriptorType::SymbolicLink) | Err(_) => Ok(()),
            Ok(
                DescriptorType::Unknown
                | DescriptorType::BlockDevice
                | DescriptorType::CharacterDevice
                | DescriptorType::Fifo
                | DescriptorType::Socket,
            ) => Err(ErrorCode::NotPermitted.into()),
        }
    }

    /// Refuses to open one more than the guest may have open. WASI has no error code of its own for that; this is what wasmtime says
    /// where the kernel refuses.
    fn room_for_one(&mut self) -> FsResult<()> {
        if self.openings.has_room() {
            return Ok(());
        }
        self.keeper.hit(LimitName::OpenFiles);
        Err(ErrorCode::Io.into())
    }

    /// The account of a descriptor.
    fn area(&self, descriptor: &Resource<Descriptor>) -> FsResult<Area> {
        self.nodes
            .0
            .get(&descriptor.rep())
            .cloned()
            .ok_or_else(|| FsError::trap(wasmtime::format_err!("a descriptor that is not on record")))
    }

    fn file(&mut self, descriptor: &Resource<Descriptor>) -> Option<Arc<File>> {
        match self.wasi.ctx().table.get(descriptor) {
            Ok(Descriptor::File(file)) => Some(Arc::clone(&file.file)),
            Ok(Descriptor::Dir(_)) | Err(_) => None,
        }
    }

    /// A directory, if it may be written.
    fn writable_dir(&mut self, descriptor: &Resource<Descriptor>) -> Option<Arc<File>> {
        match self.wasi.ctx().table.get(descriptor) {
            Ok(Descriptor::Dir(dir)) if matches!(dir.perms, FsPerms::ReadWrite) => Some(Arc::clone(&dir.dir)),
            Ok(Descriptor::Dir(_) | Descriptor::File(_)) | Err(_) => None,
        }
    }

    /// Puts wasmtime's stream into a file behind the file's account.
    fn counted(
        &mut self,
        fd: &Resource<Descriptor>,
        stream: Resource<DynOutputStream>,
        place: Place,
    ) -> FsResult<Resource<DynOutputStream>> {
        let area = self.area(fd)?;
        if let (Some(ledger), Some(file)) = (area.ledger(), self.file(fd)) {
            let keeper = self.keeper.clone();
            let slot = self.wasi.ctx().table.get_mut(&stream)?;
            let inner = std::mem::replace(slot, Box::new(ClosedOutputStream));
            *slot = Box::new(Counted::new(inner, file, Arc::clone(ledger), keeper, place));
        }
        Ok(stream)
    }

    /// Opens what may have to be made, or emptied, first.
    async fn open_file(&mut self, asked: &Opening, area: &Area, dir: &Arc<File>) -> FsResult<Resource<Descriptor>> {
        let Some(ledger) = area.ledger() else { return asked.open(self, asked.open).await };
        let exclusive = asked.open.contains(OpenFlags::EXCLUSIVE);
        let without = asked.open & !OpenFlags::TRUNCATE;
        if !asked.open.contains(OpenFlags::CREATE) {
            return asked.open(self, without).await;
        }
        let existing = without & !OpenFlags::CREATE;
        if !exclusive {
            let opened = asked.open(self, existing).await;
            if !is_missing(&opened) {
                return opened;
            }
        }
        let _names = ledger.names.lock().await;
        if !exclusive {
            // Somebody may have made it, while the names were another's.
            let opened = asked.open(self, existing).await;
            if !is_missing(&opened) {
                return opened;
            }
        }
        let keeper = self.keeper.clone();
        let Some(naming) = keeper.name(ledger, dir, &asked.path, 0).await? else {
            // A link that leads to nothing: what it names would have to be made.
            return Err(if exclusive { ErrorCode::Exist.into() } else { keeper.full().into() });
        };
        // A link that leads to nothing has the name, and is not what is made.
        let was_there = keeper.look(dir, &asked.path).await.is_some();
        let made = asked.open(self, without).await;
        // It may have been made, and not opened after all: for want of a place among the resources, which ends the guest.
        let may_be = match &made {
            Ok(_) => true,
            Err(error) => error.downcast_ref().is_none() || (!was_there && keeper.look(dir, &asked.path).await.is_some()),
        };
        naming.over(may_be);
        made
    }
}

/// What a guest asked to be opened.
struct Opening {
    fd: Resource<Descriptor>,
    follow: PathFlags,
    path: String,
    open: OpenFlags,
    flags: DescriptorFlags,
}

impl Opening {
    /// Opens it as asked, but with these flags. Without `create` and `truncate`, what they would add to the way it is opened is added here.
    async fn open(&self, state: &mut State, open: OpenFlags) -> FsResult<Resource<Descriptor>> {
        let mut flags = self.flags;
        if self.open.intersects(OpenFlags::CREATE | OpenFlags::TRUNCATE) && !flags.contains(DescriptorFlags::WRITE) {
            flags |= DescriptorFlags::READ | DescriptorFlags::WRITE;
        }
        state.filesystem().open_at(again(&self.fd), self.follow, self.path.clone(), open, flags).await
    }
}

/// Functions that change nothing, or nothing that is counted.
macro_rules! pass {
    ($($(#[$async:tt])? $name:ident($($arg:ident: $kind:ty),*) -> $answer:ty;)*) => {
        $(pass! { @one $($async)? $name($($arg: $kind),*) -> $answer })*
    };
    (@one awaited $name:ident($($arg:ident: $kind:ty),*) -> $answer:ty) => {
        async fn $name(&mut self, $($arg: $kind),*) -> $answer {
            self.filesystem().$name($($arg),*).await
        }
    };
    (@one $name:ident($($arg:ident: $kind:ty),*) -> $answer:ty) => {
        fn $name(&mut self, $($arg: $kind),*) -> $answer {
            self.filesystem().$name($($arg),*)
        }
    };
}

impl types::Host for State {
    pass! {
        convert_error_code(err: FsError) -> wasmtime::Result<ErrorCode>;
        filesystem_error_code(err: Resource<wasmtime::Error>) -> wasmtime::Result<Option<ErrorCode>>;
    }
}

impl HostDescriptor for State {
    pass! {
        #[awaited] advise(fd: Resource<Descriptor>, offset: Filesize, length: Filesize, advice: Advice) -> FsResult<()>;
        #[awaited] sync_data(fd: Resource<Descriptor>) -> FsResult<()>;
        #[awaited] get_flags(fd: Resource<Descriptor>) -> FsResult<DescriptorFlags>;
        #[awaited] get_type(fd: Resource<Descriptor>) -> FsResult<DescriptorType>;
        #[awaited] set_times(fd: Resource<Descriptor>, accessed: NewTimestamp, modified: NewTimestamp) -> FsResult<()>;
        #[awaited] read(fd: Resource<Descriptor>, length: Filesize, offset: Filesize) -> FsResult<(Vec<u8>, bool)>;
        #[awaited] sync(fd: Resource<Descriptor>) -> FsResult<()>;
        #[awaited] stat(fd: Resource<Descriptor>) -> FsResult<DescriptorStat>;
        #[awaited] stat_at(fd: Resource<Descriptor>, follow: PathFlags, path: String) -> FsResult<DescriptorStat>;
        #[awaited] readlink_at(fd: Resource<Descriptor>, path: String) -> FsResult<String>;
        #[awaited] is_same_object(one: Resource<Descriptor>, other: Resource<Descriptor>) -> wasmtime::Result<bool>;
        #[awaited] metadata_hash(fd: Resource<Descriptor>) -> FsResult<MetadataHashValue>;
        #[awaited] metadata_hash_at(fd: Resource<Descriptor>, follow: PathFlags, path: String) -> FsResult<MetadataHashValue>;
        read_via_stream(fd: Resource<Descriptor>, offset: Filesize) -> FsResult<Resource<DynInputStream>>;
    }

    fn drop(&mut self, fd: Resource<Descriptor>) -> wasmtime::Result<()> {
        self.nodes.0.remove(&fd.rep());
        HostDescriptor::drop(&mut self.filesystem(), fd)
    }

    /// As in preview 1: the jail lets a host set the times of what it has open alone, and wasmtime opens only where it may follow a link.
    async fn set_times_at(
        &mut self,
        fd: Resource<Descriptor>,
        follow: PathFlags,
        path: String,
        accessed: NewTimestamp,
        modified: NewTimestamp,
    ) -> FsResult<()> {
        if !follow.contains(PathFlags::SYMLINK_FOLLOW) {
            let found = self.filesystem().stat_at(again(&fd), follow, path.clone()).await?;
            if matches!(found.type_, DescriptorType::SymbolicLink) {
                return Err(ErrorCode::Unsupported.into());
            }
        }
        self.filesystem().set_times_at(fd, PathFlags::SYMLINK_FOLLOW, path, accessed, modified).await
    }

    async fn read_directory(&mut self, fd: Resource<Descriptor>) -> FsResult<Resource<ReaddirIterator>> {
        let dir = match self.wasi.ctx().table.get(&fd)? {
            Descriptor::Dir(dir) => Arc::clone(&dir.dir),
            Descriptor::File(_) => return Err(ErrorCode::NotDirectory.into()),
        };
        self.stream_of(&dir).await
    }

    async fn set_size(&mut self, fd: Resource<Descriptor>, size: Filesize) -> FsResult<()> {
        let area = self.area(&fd)?;
        let Some(file) = self.file(&fd) else { return self.filesystem().set_size(fd, size).await };
        let charge = self.keeper.clone().grow(&area, &file, Growth::Size(size)).await?;
        let set = self.filesystem().set_size(fd, size).await;
        charge.over(false);
        set
    }

    async fn write(&mut self, fd: Resource<Descriptor>, bytes: Vec<u8>, offset: Filesize) -> FsResult<Filesize> {
        let area = self.area(&fd)?;
        let count = bytes.len() as u64;
        let Some(file) = self.file(&fd).filter(|_| count > 0) else { return self.filesystem().write(fd, bytes, offset).await };
        let charge = self.keeper.clone().grow(&area, &file, Growth::Write { at: offset, bytes: count }).await?;
        let written = self.filesystem().write(fd, bytes, offset).await;
        charge.over(matches!(written, Ok(written) if written == count));
        written
    }

    fn write_via_stream(&mut self, fd: Resource<Descriptor>, offset: Filesize) -> FsResult<Resource<DynOutputStream>> {
        let stream = self.filesystem().write_via_stream(again(&fd), offset)?;
        self.counted(&fd, stream, Place::At(offset))
    }

    fn append_via_stream(&mut self, fd: Resource<Descriptor>) -> FsResult<Resource<DynOutputStream>> {
        let stream = self.filesystem().append_via_stream(again(&fd))?;
        self.counted(&fd, stream, Place::End)
    }

    async fn create_directory_at(&mut self, fd: Resource<Descriptor>, path: String) -> FsResult<()> {
        let area = self.area(&fd)?;
        let (Some(ledger), Some(dir)) = (area.ledger(), self.writable_dir(&fd)) else {
            return self.filesystem().create_directory_at(fd, path).await;
        };
        let _names = ledger.names.lock().await;
        let Some(naming) = self.keeper.clone().name(ledger, &dir, &path, 0).await? else { return Err(ErrorCode::Exist.into()) };
        let made = self.filesystem().create_directory_at(fd, path).await;
        naming.over(made.is_ok());
        made
    }

    async fn symlink_at(&mut self, fd: Resource<Descriptor>, target: String, path: String) -> FsResult<()> {
        let area = self.area(&fd)?;
        let (Some(ledger), Some(dir)) = (area.ledger(), self.writable_dir(&fd)) else {
            return self.filesystem().symlink_at(fd, target, path).await;
        };
        let _names = ledger.names.lock().await;
        let bytes = target.len() as u64;
        let Some(naming) = self.keeper.clone().name(ledger, &dir, &path, bytes).await? else { return Err(ErrorCode::Exist.into()) };
        let made = self.filesystem().symlink_at(fd, target, path).await;
        naming.over(made.is_ok());
        made
    }

    async fn link_at(
        &mut self,
        fd: Resource<Descriptor>,
        follow: PathFlags,
        path: String,
        new: Resource<Descriptor>,
        new_path: String,
    ) -> FsResult<()> {
        let (area, new_area) = (self.area(&fd)?, self.area(&new)?);
        let (Some(_), Some(dir)) = (self.writable_dir(&fd), self.writable_dir(&new)) else {
            return self.filesystem().link_at(fd, follow, path, new, new_path).await;
        };
        if !area.is(&new_area) {
            return Err(ErrorCode::CrossDevice.into());
        }
        let Some(ledger) = area.ledger() else { return self.filesystem().link_at(fd, follow, path, new, new_path).await };
        let _names = ledger.names.lock().await;
        let Some(naming) = self.keeper.clone().name(ledger, &dir, &new_path, 0).await? else { return Err(ErrorCode::Exist.into()) };
        let made = self.filesystem().link_at(fd, follow, path, new, new_path).await;
        naming.over(made.is_ok());
        made
    }

    async fn open_at(
        &mut self,
        fd: Resource<Descriptor>,
        follow: PathFlags,
        path: String,
        open: OpenFlags,
        flags: DescriptorFlags,
    ) -> FsResult<Resource<Descriptor>> {
        let area = self.area(&fd)?;
        self.room_for_one()?;
        let asked = Opening { fd, follow, path, open, flags };
        self.plain_or_refused(&asked).await?;
        let opened = match self.writable_dir(&asked.fd) {
            Some(dir) if !open.contains(OpenFlags::DIRECTORY) => self.open_file(&asked, &area, &dir).await?,
            Some(_) | None => self.filesystem().open_at(again(&asked.fd), follow, asked.path, open, flags).await?,
        };
        self.nodes.opened(&opened, area.clone());
        let Some(file) = self.file(&opened) else { return Ok(opened) };
        let truncates = area.ledger().is_some() && open.contains(OpenFlags::TRUNCATE);
        let mut ready = area.opened(&file).map_err(FsError::from);
        if ready.is_ok() && truncates && file.metadata().is_ok_and(|found| found.is_file()) {
            ready = self.set_size(again(&opened), 0).await;
        }
        match ready {
            Ok(()) => Ok(opened),
            Err(error) => {
                HostDescriptor::drop(self, opened).map_err(FsError::trap)?;
                Err(error)
            }
        }
    }

    async fn remove_directory_at(&mut self, fd: Resource<Descriptor>, path: String) -> FsResult<()> {
        let area = self.area(&fd)?;
        let (Some(ledger), Some(dir)) = (area.ledger(), self.writable_dir(&fd)) else {
            return self.filesystem().remove_directory_at(fd, path).await;
        };
        let _names = ledger.names.lock().await;
        let victim = self.keeper.clone().victim(&dir, &path).await;
        self.filesystem().remove_directory_at(fd, path).await?;
        victim.iter().for_each(|victim| ledger.removed(victim));
        Ok(())
    }

    async fn unlink_file_at(&mut self, fd: Resource<Descriptor>, path: String) -> FsResult<()> {
        let area = self.area(&fd)?;
        let (Some(ledger), Some(dir)) = (area.ledger(), self.writable_dir(&fd)) else {
            return self.filesystem().unlink_file_at(fd, path).await;
        };
        let _names = ledger.names.lock().await;
        let victim = self.keeper.clone().victim(&dir, &path).await;
        self.filesystem().unlink_file_at(fd, path).await?;
        victim.iter().for_each(|victim| ledger.removed(victim));
        Ok(())
    }

    async fn rename_at(&mut self, fd: Resource<Descriptor>, path: String, new: Resource<Descriptor>, new_path: String) -> FsResult<()> {
        let (area, new_area) = (self.area(&fd)?, self.area(&new)?);
        let (Some(from), Some(to)) = (self.writable_dir(&fd), self.writable_dir(&new)) else {
            return self.filesystem().rename_at(fd, path, new, new_path).await;
        };
        if !area.is(&new_area) {
            return Err(ErrorCode::CrossDevice.into());
        }
        let Some(ledger) = area.ledger() else { return self.filesystem().rename_at(fd, path, new, new_path).await };
        let _names = ledger.names.lock().await;
        let keeper = self.keeper.clone();
        let (source, victim) = (keeper.victim(&from, &path).await, keeper.victim(&to, &new_path).await);
        self.filesystem().rename_at(fd, path, new, new_path).await?;
        // Two names of one file: the kernel leaves both.
        let replaced = victim.filter(|victim| source.is_some_and(|source| source.node != victim.node));
        replaced.iter().for_each(|victim| ledger.removed(victim));
        Ok(())
    }
}
