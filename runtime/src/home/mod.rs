//! The packager: what Lazarus keeps on disk, and every way in which the trusted side walks it.
//!
//! Whatever lies below `cells/` was, or will be, written by guests. Nothing here joins a path that
//! a guest could have a say in: directories are entered by handle, one name at a time, and no link
//! is ever followed. [`ambient`] alone opens paths of the machine by name, on the operator's word.

pub mod ambient;
mod cell_dir;
mod create;
mod digest;
mod handle;
mod keep;
mod layout;
mod lease;
mod measure;
mod rehearsal;
mod remove;
mod seed;
mod source;
#[cfg(test)]
mod test_ground;

pub use cell_dir::{CellDir, Place};
pub use create::{CreateError, furnish, variables};
pub use digest::digest_tree;
pub use handle::escape_name;
pub(crate) use handle::{
    create_private_file, lock_dir, make_dir, open_dir, open_file, open_or_make_dir, read_file, replace_file, sync_dir,
};
pub use keep::{KeepError, forget_file, keep_file};
pub use layout::{LayoutError, Root};
pub use lease::{Held, Lease, LeaseError};
pub use measure::{Measured, measure};
pub use rehearsal::{Stage, clear_stale, stage_path};
pub use remove::{Removed, remove_tree};
pub use seed::{Database, SeedError, Seeded, seed};
pub use source::{SourceError, check_mount_source, check_read_source};
