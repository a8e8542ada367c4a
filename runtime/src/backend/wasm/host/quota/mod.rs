//! The quota of a guest's home: bytes and entries, counted in the host's own file-system calls.
//!
//! A [`Ledger`] is the account of one tree: an agent's home, or what the guests of this host share. It is opened with what the tree holds
//! before the jail closes, and lives as long as the host, whatever instances come and go. Each call that can make the tree grow is charged
//! before it is made, and settled after; one that does not fit fails with "no space", and the guest goes on. The functions of WASI that do the
//! work are wasmtime's own.
//!
//! | what grows | preview 1 | components |
//! |---|---|---|
//! | bytes, by writing | `fd_write`, `fd_pwrite` | `descriptor.write`; every function of an `output-stream` that `write-via-stream` or `append-via-stream` made: `write`, `blocking-write-and-flush`, `write-zeroes`, `blocking-write-zeroes-and-flush`, `splice`, `blocking-splice` |
//! | bytes, by size | `fd_filestat_set_size`; `fd_allocate` (not supported by wasmtime) | `descriptor.set-size` |
//! | bytes and an entry | `path_symlink` | `descriptor.symlink-at` |
//! | an entry | `path_create_directory`, `path_link`, `path_open` with `creat` | `descriptor.create-directory-at`, `link-at`, `open-at` with `create` |
//!
//! What shrinks: `path_unlink_file`, `path_remove_directory`, `path_rename` over something, `path_open` with `trunc`, `fd_filestat_set_size`;
//! `unlink-file-at`, `remove-directory-at`, `rename-at`, `open-at` with `truncate`, `set-size`.
//!
//! The traits that are implemented here have no default methods: a function that an update of wasmtime adds does not compile until somebody
//! has decided what it is. `every_function_of_preview_1_is_decided` repeats the list.
//!
//! How it is counted:
//! - Bytes are sizes of files and links, as `stat` says them; holes count. Directories count as entries alone.
//! - A file counts once, however many names it has, and each name is an entry. Names lead only within one tree: a link or a rename from a
//!   home into `/shared` or a mount fails as between two disks.
//! - A file without a name keeps its bytes until nobody holds it open. Holders are known by weak references, so that a store that is
//!   dropped, or a helper thread that still writes, is seen.
//! - The books never say less than there is: a call that was given up while a helper thread carries it out stays charged until that is over.
//!   When they say that the tree is full, it is looked over, as seldom as its size makes it expensive, since others may have removed something.
//! - What the host cannot look at fails with an I/O error: never uncounted.

mod area;
mod component;
mod descriptors;
mod ledger;
mod preview1;
mod stream;
mod survey;
#[cfg(test)]
mod tests;

pub use self::{
    area::Keeper,
    component::Nodes,
    descriptors::Descriptors,
    ledger::{Allowance, Ledger},
};
