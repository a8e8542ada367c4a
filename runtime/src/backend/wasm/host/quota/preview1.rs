//! Preview 1, counted: which functions are wasmtime's own, and which are ours.

mod calls;

use wasmtime_wasi::p1::{
    types::{
        Advice, CiovecArray, Clockid, Dircookie, Errno, Error, Event, Exitcode, Fd, Fdflags, Fdstat, Filedelta, Filesize, Filestat,
        Fstflags, IovecArray, Lookupflags, Oflags, Prestat, Riflags, Rights, Roflags, Sdflags, Siflags, Signal, Size, Subscription,
        Timestamp, Whence,
    },
    wasi_snapshot_preview1::WasiSnapshotPreview1,
};
use wiggle::{GuestMemory, GuestPtr};

use crate::{backend::wasm::host::guest::State, policy::LimitName};

impl State {
    /// Puts on record that a call was refused what it would have had to allocate, or one open file too many.
    fn noted<T>(&self, done: Result<T, Error>) -> Result<T, Error> {
        match done.as_ref().err().and_then(|error| error.downcast_ref()) {
            // wasmtime answers so where a call has no fuel left. The kernel would, too, on a machine without memory.
            Some(Errno::Nomem) => self.keeper.hit(LimitName::Hostcall),
            Some(Errno::Mfile) => self.keeper.hit(LimitName::OpenFiles),
            Some(_) | None => {}
        }
        done
    }
}

/// Functions: each is wasmtime's own, or calls one of ours, in [`calls`].
macro_rules! functions {
    ($($($way:ident)* : $name:ident($($arg:ident: $kind:ty),*) -> $answer:ty;)*) => {
        $(functions! { @one $($way)* : $name($($arg: $kind),*) -> $answer })*
    };
    (@one theirs async : $name:ident($($arg:ident: $kind:ty),*) -> $answer:ty) => {
        async fn $name(&mut self, memory: &mut GuestMemory<'_>, $($arg: $kind),*) -> $answer {
            let done = self.wasi.$name(memory, $($arg),*).await;
            self.noted(done)
        }
    };
    (@one theirs : $name:ident($($arg:ident: $kind:ty),*) -> $answer:ty) => {
        fn $name(&mut self, memory: &mut GuestMemory<'_>, $($arg: $kind),*) -> $answer {
            let done = self.wasi.$name(memory, $($arg),*);
            self.noted(done)
        }
    };
    (@one ours async $own:ident : $name:ident($($arg:ident: $kind:ty),*) -> $answer:ty) => {
        async fn $name(&mut self, memory: &mut GuestMemory<'_>, $($arg: $kind),*) -> $answer {
            let done = self.$own(memory, $($arg),*).await;
            self.noted(done)
        }
    };
    (@one ours $own:ident : $name:ident($($arg:ident: $kind:ty),*) -> $answer:ty) => {
        fn $name(&mut self, memory: &mut GuestMemory<'_>, $($arg: $kind),*) -> $answer {
            let done = self.$own(memory, $($arg),*);
            self.noted(done)
        }
    };
}

impl WasiSnapshotPreview1 for State {
    fn set_hostcall_fuel(&mut self, fuel: usize) {
        self.descriptors.fuel = fuel;
        self.wasi.set_hostcall_fuel(fuel);
    }

    functions! {
        theirs: args_get(argv: GuestPtr<GuestPtr<u8>>, buffer: GuestPtr<u8>) -> Result<(), Error>;
        theirs: args_sizes_get() -> Result<(Size, Size), Error>;
        theirs: environ_get(environ: GuestPtr<GuestPtr<u8>>, buffer: GuestPtr<u8>) -> Result<(), Error>;
        theirs: environ_sizes_get() -> Result<(Size, Size), Error>;
        theirs: clock_res_get(id: Clockid) -> Result<Timestamp, Error>;
        theirs: clock_time_get(id: Clockid, precision: Timestamp) -> Result<Timestamp, Error>;
        theirs async: fd_advise(fd: Fd, offset: Filesize, length: Filesize, advice: Advice) -> Result<(), Error>;
        theirs: fd_allocate(fd: Fd, offset: Filesize, length: Filesize) -> Result<(), Error>;
        theirs async: fd_datasync(fd: Fd) -> Result<(), Error>;
        theirs async: fd_fdstat_get(fd: Fd) -> Result<Fdstat, Error>;
        theirs: fd_fdstat_set_rights(fd: Fd, base: Rights, inheriting: Rights) -> Result<(), Error>;
        theirs async: fd_filestat_get(fd: Fd) -> Result<Filestat, Error>;
        theirs async: fd_filestat_set_times(fd: Fd, accessed: Timestamp, modified: Timestamp, flags: Fstflags) -> Result<(), Error>;
        theirs async: fd_read(fd: Fd, buffers: IovecArray) -> Result<Size, Error>;
        theirs async: fd_pread(fd: Fd, buffers: IovecArray, offset: Filesize) -> Result<Size, Error>;
        theirs: fd_prestat_get(fd: Fd) -> Result<Prestat, Error>;
        theirs: fd_prestat_dir_name(fd: Fd, path: GuestPtr<u8>, length: Size) -> Result<(), Error>;
        theirs async: fd_seek(fd: Fd, offset: Filedelta, whence: Whence) -> Result<Filesize, Error>;
        theirs async: fd_sync(fd: Fd) -> Result<(), Error>;
        theirs: fd_tell(fd: Fd) -> Result<Filesize, Error>;
        theirs async: path_filestat_get(fd: Fd, follow: Lookupflags, path: GuestPtr<str>) -> Result<Filestat, Error>;
        theirs async: path_readlink(fd: Fd, path: GuestPtr<str>, buffer: GuestPtr<u8>, length: Size) -> Result<Size, Error>;
        theirs async: poll_oneoff(subscriptions: GuestPtr<Subscription>, events: GuestPtr<Event>, count: Size) -> Result<Size, Error>;
        theirs: proc_raise(signal: Signal) -> Result<(), Error>;
        theirs: sched_yield() -> Result<(), Error>;
        ours own_random_get: random_get(buffer: GuestPtr<u8>, length: Size) -> Result<(), Error>;
        theirs: sock_accept(fd: Fd, flags: Fdflags) -> Result<Fd, Error>;
        theirs: sock_recv(fd: Fd, buffers: IovecArray, flags: Riflags) -> Result<(Size, Roflags), Error>;
        theirs: sock_send(fd: Fd, buffers: CiovecArray, flags: Siflags) -> Result<Size, Error>;
        theirs: sock_shutdown(fd: Fd, how: Sdflags) -> Result<(), Error>;
        ours async own_path_filestat_set_times: path_filestat_set_times(fd: Fd, follow: Lookupflags, path: GuestPtr<str>, accessed: Timestamp, modified: Timestamp, flags: Fstflags) -> Result<(), Error>;
        ours async own_fd_write: fd_write(fd: Fd, buffers: CiovecArray) -> Result<Size, Error>;
        ours async own_fd_pwrite: fd_pwrite(fd: Fd, buffers: CiovecArray, at: Filesize) -> Result<Size, Error>;
        ours async own_fd_filestat_set_size: fd_filestat_set_size(fd: Fd, size: Filesize) -> Result<(), Error>;
        ours own_fd_fdstat_set_flags: fd_fdstat_set_flags(fd: Fd, flags: Fdflags) -> Result<(), Error>;
        ours async own_fd_readdir: fd_readdir(fd: Fd, buffer: GuestPtr<u8>, length: Size, cookie: Dircookie) -> Result<Size, Error>;
        ours async own_fd_close: fd_close(fd: Fd) -> Result<(), Error>;
        ours async own_fd_renumber: fd_renumber(from: Fd, to: Fd) -> Result<(), Error>;
        ours async own_path_create_directory: path_create_directory(fd: Fd, path: GuestPtr<str>) -> Result<(), Error>;
        ours async own_path_symlink: path_symlink(target: GuestPtr<str>, fd: Fd, path: GuestPtr<str>) -> Result<(), Error>;
        ours async own_path_link: path_link(fd: Fd, follow: Lookupflags, path: GuestPtr<str>, new: Fd, new_path: GuestPtr<str>) -> Result<(), Error>;
        ours async own_path_open: path_open(fd: Fd, follow: Lookupflags, path: GuestPtr<str>, open: Oflags, rights: Rights, inheriting: Rights, flags: Fdflags) -> Result<Fd, Error>;
        ours async own_path_remove_directory: path_remove_directory(fd: Fd, path: GuestPtr<str>) -> Result<(), Error>;
        ours async own_path_unlink_file: path_unlink_file(fd: Fd, path: GuestPtr<str>) -> Result<(), Error>;
        ours async own_path_rename: path_rename(fd: Fd, path: GuestPtr<str>, new: Fd, new_path: GuestPtr<str>) -> Result<(), Error>;
    }

    fn proc_exit(&mut self, memory: &mut GuestMemory<'_>, code: Exitcode) -> wasmtime::Error {
        self.wasi.proc_exit(memory, code)
    }
}
