//! The packager: what Lazarus keeps on disk, and every way in which the trusted side walks it.
//!
//! Whatever lies below `cells/` was, or will be, written by guests. Nothing here joins a path that
//! a guest could have a say in: directories are entered by handle, one name at a time, and no link
//! is ever followed. [`ambient`] alone opens paths of the machine by name, on the operator's word.

pub mod ambient;
mod archive;
mod cell_dir;
mod claim;
mod create;
mod digest;
mod fold;
mod handle;
mod keep;
mod keyring;
mod layout;
mod lease;
mod look;
mod measure;
mod mounted;
#[cfg(test)]
#[path = "../../../tests/src/planted.rs"]
mod planted;
mod rehearsal;
mod remove;
mod seed;
mod source;
mod tar;
mod template;
#[cfg(test)]
mod test_ground;
mod walk;
#[cfg(test)]
#[path = "walkers_tests.rs"]
mod walkers;

pub use archive::{ArchiveWish, Archived, Noted, Notes, stays_inside};
pub use cell_dir::{CellDir, Place};
pub use claim::{Claim, Claiming};
pub use create::{CreateError, furnish, variables};
pub use digest::{COVERS_ALL, DigestLimits, TreeDigest};
pub use handle::escape_name;
pub(crate) use handle::{
    create_private_file, lock_dir, make_dir, modified_at, open_dir, open_file, open_or_make_dir, open_to_append, read_file, replace_file,
    sync_dir,
};
pub use keep::{KeepError, forget_file, keep_file};
pub use keyring::{Keyring, Seed};
pub use layout::{LayoutError, Root};
pub use lease::{Held, Lease, LeaseError};
pub use measure::{Measured, measure};
pub use rehearsal::{Stage, clear_stale, stage_path};
pub use remove::{Removed, remove_tree};
pub use seed::{Database, SeedError, Seeded, seed};
pub use source::{SourceError, Sources, is_the_systems};
pub use tar::{Copied, EntryKind, TarWriter};
pub use template::digest_tree;
