//! The calls of preview 1 that are counted, or that wasmtime would answer from more memory than a guest is worth.

use wasmtime_wasi::p1::{
    types::{
        CiovecArray, Dircookie, Errno, Error, Fd, Fdflags, Filesize, Filetype, Fstflags, Lookupflags, Oflags, Rights, Size, Timestamp,
    },
    wasi_snapshot_preview1::WasiSnapshotPreview1,
};
use wiggle::{GuestMemory, GuestPtr};

use super::super::{
    area::{Denied, Keeper},
    descriptors::{Open, Place},
    ledger::{Growth, Naming},
};
use crate::backend::wasm::host::guest::State;

impl From<Denied> for Error {
    fn from(denied: Denied) -> Self {
        match denied {
            Denied::Full => Errno::Nospc,
            Denied::Unknown => Errno::Io,
        }
        .into()
    }
}

fn is_missing<T>(done: &Result<T, Error>) -> bool {
    matches!(done, Err(error) if matches!(error.downcast_ref(), Some(Errno::Noent)))
}

impl State {
    /// A path, bounded by what the call may allocate.
    fn path(&self, memory: &GuestMemory<'_>, path: GuestPtr<str>) -> Result<String, Error> {
        if usize::try_from(path.len()).is_ok_and(|length| length > self.descriptors.fuel) {
            return Err(Errno::Nomem.into());
        }
        Ok(memory.as_cow_str(path)?.into_owned())
    }

    /// The bytes that a write would write: wasmtime writes the first buffer that is not empty.
    fn first_buffer(&self, memory: &GuestMemory<'_>, buffers: CiovecArray) -> Result<u64, Error> {
        // The original refuses such a list too.
        if u64::from(buffers.len()) * 8 > self.descriptors.fuel as u64 {
            return Err(Errno::Nomem.into());
        }
        for buffer in buffers.iter() {
            let buffer = memory.read(buffer?)?;
            if buffer.buf_len > 0 {
                return Ok(u64::from(buffer.buf_len));
            }
        }
        Ok(0)
    }

    async fn written(&mut self, memory: &mut GuestMemory<'_>, fd: Fd, buffers: CiovecArray, at: Option<Filesize>) -> Result<Size, Error> {
        let payer = self.payer(memory, fd);
        let bytes = if payer.is_some() { self.first_buffer(memory, buffers)? } else { 0 };
        let charge = match payer {
            Some((area, file, append)) if bytes > 0 => {
                let growth = match at {
                    _ if append => Growth::Append(bytes),
                    Some(at) => Growth::Write { at, bytes },
                    None => Growth::Write { at: self.wasi.fd_tell(memory, fd)?, bytes },
                };
                Some(self.keeper.clone().grow(&area, &file, growth).await?)
            }
            Some(_) | None => None,
        };
        let fuel = self.descriptors.fuel;
        self.wasi.set_hostcall_fuel(fuel);
        let done = match at {
            Some(at) => self.wasi.fd_pwrite(memory, fd, buffers, at).await,
            None => self.wasi.fd_write(memory, fd, buffers).await,
        };
        if let Some(charge) = charge {
            charge.over(matches!(&done, Ok(written) if u64::from(*written) == bytes));
        }
        done
    }

    /// Refuses what is neither a file nor a directory: opening a pipe that nobody writes to would hold the host, and all its guests, for
    /// ever. No guest can make one; whoever swaps one in at this moment could write to the mount anyway.
    async fn must_be_plain(&mut self, memory: &mut GuestMemory<'_>, asked: &Opening) -> Result<(), Error> {
        let fuel = self.descriptors.fuel;
        self.wasi.set_hostcall_fuel(fuel);
        let found = self.wasi.path_filestat_get(memory, asked.fd, asked.follow, asked.path).await;
        self.wasi.set_hostcall_fuel(fuel);
        match found.map(|found| found.filetype) {
            // A link that is not to be followed, and what is not there, are for the call itself to refuse.
            Ok(Filetype::RegularFile | Filetype::Directory | Filetype::SymbolicLink) | Err(_) => Ok(()),
            Ok(Filetype::Unknown | Filetype::BlockDevice | Filetype::CharacterDevice | Filetype::SocketDgram | Filetype::SocketStream) => {
                Err(Errno::Perm.into())
            }
        }
    }

    /// How to look up what gets other times: the jail lets a host set those of what it has open alone, and wasmtime opens only where it may
    /// follow a link. What is no link is the same either way; the times of a link itself cannot be set.
    async fn times_by(
        &mut self,
        memory: &mut GuestMemory<'_>,
        fd: Fd,
        follow: Lookupflags,
        path: GuestPtr<str>,
    ) -> Result<Lookupflags, Error> {
        if follow.contains(Lookupflags::SYMLINK_FOLLOW) {
            return Ok(follow);
        }
        let fuel = self.descriptors.fuel;
        let found = self.wasi.path_filestat_get(memory, fd, follow, path).await?;
        self.wasi.set_hostcall_fuel(fuel);
        if matches!(found.filetype, Filetype::SymbolicLink) { Err(Errno::Notsup.into()) } else { Ok(Lookupflags::SYMLINK_FOLLOW) }
    }

    /// Opens what may have to be made first. What is to be emptied is emptied after.
    async fn path_open_counted(&mut self, memory: &mut GuestMemory<'_>, asked: &Opening, place: &Place) -> Result<Fd, Error> {
        let exclusive = asked.open.contains(Oflags::EXCL);
        let without = asked.open & !Oflags::TRUNC;
        if !asked.open.contains(Oflags::CREAT) {
            return asked.open(self, memory, without).await;
        }
        let existing = without & !Oflags::CREAT;
        if !exclusive {
            let opened = asked.open(self, memory, existing).await;
            if !is_missing(&opened) {
                return opened;
            }
        }
        let _names = place.ledger.names.lock().await;
        if !exclusive {
            // Somebody may have made it, while the names were another's.
            let opened = asked.open(self, memory, existing).await;
            if !is_missing(&opened) {
                return opened;
            }
        }
        let path = self.path(memory, asked.path)?;
        let keeper = self.keeper.clone();
        let Some(naming) = keeper.name(&place.ledger, &place.dir, &path, 0).await? else {
            // A link that leads to nothing: what it names would have to be made.
            return Err(if exclusive { Errno::Exist.into() } else { keeper.full().into() });
        };
        // A link that leads to nothing has the name, and is not what is made.
        let was_there = keeper.look(&place.dir, &path).await.is_some();
        let made = asked.open(self, memory, without).await;
        // It may have been made, and not opened after all: for want of a place among the resources, which ends the guest.
        let may_be = match &made {
            Ok(_) => true,
            Err(error) => error.downcast_ref().is_none() || (!was_there && keeper.look(&place.dir, &path).await.is_some()),
        };
        naming.over(may_be);
        made
    }

    /// Charges a name.
    async fn naming(&mut self, place: &Place, path: &str, bytes: u64) -> Result<(Naming, Keeper), Error> {
        let keeper = self.keeper.clone();
        let naming = keeper.name(&place.ledger, &place.dir, path, bytes).await?;
        Ok((naming.ok_or(Errno::Exist)?, keeper))
    }
}

/// What a guest asked to be opened.
struct Opening {
    fd: Fd,
    follow: Lookupflags,
    path: GuestPtr<str>,
    open: Oflags,
    rights: Rights,
    inheriting: Rights,
    flags: Fdflags,
}

impl Opening {
    /// Opens it as asked, but with these flags. Without `creat` and `trunc`, what they would add to the way it is opened is added here.
    async fn open(&self, state: &mut State, memory: &mut GuestMemory<'_>, open: Oflags) -> Result<Fd, Error> {
        let mut rights = self.rights;
        if self.open.intersects(Oflags::CREAT | Oflags::TRUNC) && !rights.contains(Rights::FD_WRITE) {
            rights |= Rights::FD_READ | Rights::FD_WRITE;
        }
        let fuel = state.descriptors.fuel;
        state.wasi.set_hostcall_fuel(fuel);
        state.wasi.path_open(memory, self.fd, self.follow, self.path, open, rights, self.inheriting, self.flags).await
    }
}

impl State {
    #[expect(clippy::too_many_arguments, reason = "they are WASI's")]
    pub(super) async fn own_path_filestat_set_times(
        &mut self,
        memory: &mut GuestMemory<'_>,
        fd: Fd,
        follow: Lookupflags,
        path: GuestPtr<str>,
        accessed: Timestamp,
        modified: Timestamp,
        flags: Fstflags,
    ) -> Result<(), Error> {
        let follow = self.times_by(memory, fd, follow, path).await?;
        self.wasi.path_filestat_set_times(memory, fd, follow, path, accessed, modified, flags).await
    }

    pub(super) async fn own_fd_write(&mut self, memory: &mut GuestMemory<'_>, fd: Fd, buffers: CiovecArray) -> Result<Size, Error> {
        self.written(memory, fd, buffers, None).await
    }

    pub(super) async fn own_fd_pwrite(
        &mut self,
        memory: &mut GuestMemory<'_>,
        fd: Fd,
        buffers: CiovecArray,
        at: Filesize,
    ) -> Result<Size, Error> {
        self.written(memory, fd, buffers, Some(at)).await
    }

    pub(super) async fn own_fd_filestat_set_size(&mut self, memory: &mut GuestMemory<'_>, fd: Fd, size: Filesize) -> Result<(), Error> {
        let Some((area, file, _)) = self.payer(memory, fd) else { return self.wasi.fd_filestat_set_size(memory, fd, size).await };
        let charge = self.keeper.clone().grow(&area, &file, Growth::Size(size)).await?;
        let set = self.wasi.fd_filestat_set_size(memory, fd, size).await;
        charge.over(false);
        set
    }

    pub(super) fn own_fd_fdstat_set_flags(&mut self, memory: &mut GuestMemory<'_>, fd: Fd, flags: Fdflags) -> Result<(), Error> {
        self.wasi.fd_fdstat_set_flags(memory, fd, flags)?;
        if let Some((_, Open::File { append, .. })) = self.descriptors(memory).get_mut(&fd.into()) {
            *append = flags.contains(Fdflags::APPEND);
        }
        Ok(())
    }

    pub(super) async fn own_fd_readdir(
        &mut self,
        memory: &mut GuestMemory<'_>,
        fd: Fd,
        buffer: GuestPtr<u8>,
        length: Size,
        cookie: Dircookie,
    ) -> Result<Size, Error> {
        match self.open(memory, fd) {
            Some((_, Open::Dir { dir, .. })) => self.list(memory, (fd, dir), buffer, length, cookie).await,
            // Refused, as it is not a directory.
            Some((_, Open::File { .. })) | None => self.wasi.fd_readdir(memory, fd, buffer, length, cookie).await,
        }
    }

    pub(super) async fn own_fd_close(&mut self, memory: &mut GuestMemory<'_>, fd: Fd) -> Result<(), Error> {
        self.descriptors(memory);
        self.wasi.fd_close(memory, fd).await?;
        self.forget(fd);
        Ok(())
    }

    pub(super) async fn own_fd_renumber(&mut self, memory: &mut GuestMemory<'_>, from: Fd, to: Fd) -> Result<(), Error> {
        self.descriptors(memory);
        self.wasi.fd_renumber(memory, from, to).await?;
        if u32::from(from) != u32::from(to) {
            self.forget(to);
            let open = self.descriptors(memory);
            if let Some(moved) = open.remove(&from.into()) {
                open.insert(to.into(), moved);
            }
            self.descriptors.listings.remove(&from.into());
        }
        Ok(())
    }

    pub(super) async fn own_path_create_directory(
        &mut self,
        memory: &mut GuestMemory<'_>,
        fd: Fd,
        path: GuestPtr<str>,
    ) -> Result<(), Error> {
        let Some(place) = self.place(memory, fd) else { return self.wasi.path_create_directory(memory, fd, path).await };
        let name = self.path(memory, path)?;
        let _names = place.ledger.names.lock().await;
        let (naming, _) = self.naming(&place, &name, 0).await?;
        let made = self.wasi.path_create_directory(memory, fd, path).await;
        naming.over(made.is_ok());
        made
    }

    pub(super) async fn own_path_symlink(
        &mut self,
        memory: &mut GuestMemory<'_>,
        target: GuestPtr<str>,
        fd: Fd,
        path: GuestPtr<str>,
    ) -> Result<(), Error> {
        let Some(place) = self.place(memory, fd) else { return self.wasi.path_symlink(memory, target, fd, path).await };
        let name = self.path(memory, path)?;
        let _names = place.ledger.names.lock().await;
        let (naming, _) = self.naming(&place, &name, u64::from(target.len())).await?;
        let made = self.wasi.path_symlink(memory, target, fd, path).await;
        naming.over(made.is_ok());
        made
    }

    pub(super) async fn own_path_link(
        &mut self,
        memory: &mut GuestMemory<'_>,
        fd: Fd,
        follow: Lookupflags,
        path: GuestPtr<str>,
        new: Fd,
        new_path: GuestPtr<str>,
    ) -> Result<(), Error> {
        if self.crosses(memory, fd, new) {
            return Err(Errno::Xdev.into());
        }
        let Some(place) = self.place(memory, new) else { return self.wasi.path_link(memory, fd, follow, path, new, new_path).await };
        let name = self.path(memory, new_path)?;
        let _names = place.ledger.names.lock().await;
        let (naming, _) = self.naming(&place, &name, 0).await?;
        let made = self.wasi.path_link(memory, fd, follow, path, new, new_path).await;
        naming.over(made.is_ok());
        made
    }

    #[expect(clippy::too_many_arguments, reason = "they are WASI's")]
    pub(super) async fn own_path_open(
        &mut self,
        memory: &mut GuestMemory<'_>,
        fd: Fd,
        follow: Lookupflags,
        path: GuestPtr<str>,
        open: Oflags,
        rights: Rights,
        inheriting: Rights,
        flags: Fdflags,
    ) -> Result<Fd, Error> {
        let below = match self.open(memory, fd) {
            Some((area, Open::Dir { writable, .. })) => Some((area, writable)),
            Some((_, Open::File { .. })) | None => None,
        };
        if !self.openings.has_room() {
            return Err(Errno::Mfile.into());
        }
        let asked = Opening { fd, follow, path, open, rights, inheriting, flags };
        self.must_be_plain(memory, &asked).await?;
        let place = self.place(memory, fd).filter(|_| !open.contains(Oflags::DIRECTORY));
        let opened = match &place {
            Some(place) => self.path_open_counted(memory, &asked, place).await?,
            None => self.wasi.path_open(memory, fd, follow, path, open, rights, inheriting, flags).await?,
        };
        let learned = self.learn(below, opened, flags.contains(Fdflags::APPEND));
        let ready = match &learned {
            Ok(Open::File { file, .. })
                if place.is_some() && open.contains(Oflags::TRUNC) && file.metadata().is_ok_and(|found| found.is_file()) =>
            {
                WasiSnapshotPreview1::fd_filestat_set_size(self, memory, opened, 0).await
            }
            Ok(Open::File { .. } | Open::Dir { .. }) => Ok(()),
            Err(_) => Err(Errno::Io.into()),
        };
        if let Err(error) = ready {
            WasiSnapshotPreview1::fd_close(self, memory, opened).await?;
            return Err(error);
        }
        Ok(opened)
    }

    pub(super) async fn own_path_remove_directory(
        &mut self,
        memory: &mut GuestMemory<'_>,
        fd: Fd,
        path: GuestPtr<str>,
    ) -> Result<(), Error> {
        let Some(place) = self.place(memory, fd) else { return self.wasi.path_remove_directory(memory, fd, path).await };
        let name = self.path(memory, path)?;
        let _names = place.ledger.names.lock().await;
        let victim = self.keeper.clone().victim(&place.dir, &name).await;
        self.wasi.path_remove_directory(memory, fd, path).await?;
        victim.iter().for_each(|victim| place.ledger.removed(victim));
        Ok(())
    }

    pub(super) async fn own_path_unlink_file(&mut self, memory: &mut GuestMemory<'_>, fd: Fd, path: GuestPtr<str>) -> Result<(), Error> {
        // The original copies the path before it looks how long it is.
        let name = self.path(memory, path)?;
        let Some(place) = self.place(memory, fd) else { return self.wasi.path_unlink_file(memory, fd, path).await };
        let _names = place.ledger.names.lock().await;
        let victim = self.keeper.clone().victim(&place.dir, &name).await;
        self.wasi.path_unlink_file(memory, fd, path).await?;
        victim.iter().for_each(|victim| place.ledger.removed(victim));
        Ok(())
    }

    pub(super) async fn own_path_rename(
        &mut self,
        memory: &mut GuestMemory<'_>,
        fd: Fd,
        path: GuestPtr<str>,
        new: Fd,
        new_path: GuestPtr<str>,
    ) -> Result<(), Error> {
        if self.crosses(memory, fd, new) {
            return Err(Errno::Xdev.into());
        }
        let (Some(from), Some(to)) = (self.place(memory, fd), self.place(memory, new)) else {
            return self.wasi.path_rename(memory, fd, path, new, new_path).await;
        };
        let (old_name, new_name) = (self.path(memory, path)?, self.path(memory, new_path)?);
        let _names = to.ledger.names.lock().await;
        let keeper = self.keeper.clone();
        let (source, victim) = (keeper.victim(&from.dir, &old_name).await, keeper.victim(&to.dir, &new_name).await);
        self.wasi.path_rename(memory, fd, path, new, new_path).await?;
        // Two names of one file: the kernel leaves both.
        let replaced = victim.filter(|victim| source.is_some_and(|source| source.node != victim.node));
        replaced.iter().for_each(|victim| to.ledger.removed(victim));
        Ok(())
    }

    pub(super) fn own_random_get(&mut self, memory: &mut GuestMemory<'_>, buffer: GuestPtr<u8>, length: Size) -> Result<(), Error> {
        self.random_or_over(length.into()).map_err(Error::trap)?;
        self.wasi.random_get(memory, buffer, length)
    }
}
