//! Looking at paths of the machine, without opening them for reading or writing: what they are, and on which mount.

use std::{
    io,
    os::{fd::AsFd, unix::fs::MetadataExt},
    path::{Path, PathBuf},
};

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, StatxFlags};

/// What the operator's path leads to.
pub(super) struct Found {
    /// Its canonical path.
    pub path: PathBuf,
    /// What it is.
    pub kind: FileType,
    /// Whether it is on `/proc`.
    pub on_proc: bool,
    /// The number of the mount it is on, of Linux 5.8 and later.
    pub mount: Option<u64>,
}

/// Looks at what the operator's path leads to.
///
/// Called for mounts, readable paths and templates, before they become part of a policy. Opens nothing for reading or writing.
pub(super) fn look_up(path: &Path) -> io::Result<Found> {
    let path = path.canonicalize()?;
    let handle = rustix::fs::openat(CWD, &path, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?;
    let kind = FileType::from_raw_mode(rustix::fs::fstat(&handle)?.st_mode);
    let on_proc = rustix::fs::fstatfs(&handle)?.f_type == rustix::fs::PROC_SUPER_MAGIC;
    Ok(Found { kind, on_proc, mount: mount_number(&handle, "", AtFlags::EMPTY_PATH), path })
}

fn mount_number(dir: impl AsFd, name: impl rustix::path::Arg, flags: AtFlags) -> Option<u64> {
    let stat = rustix::fs::statx(dir, name, flags, StatxFlags::MNT_ID).ok()?;
    (stat.stx_mask & StatxFlags::MNT_ID.bits() != 0).then_some(stat.stx_mnt_id)
}

/// The number of the mount on which a path is, or would be made.
///
/// Called for what is kept from agents, which may not exist yet.
pub(super) fn mount_of(path: &Path) -> Option<u64> {
    path.ancestors().find_map(|path| mount_number(CWD, path, AtFlags::empty()))
}

/// What is mounted in this process's namespace, as the kernel writes it.
pub(super) fn mount_table() -> io::Result<Vec<u8>> {
    std::fs::read("/proc/self/mountinfo")
}

/// Whether a directory is a Lazarus root of this user that was used: the one in use, or another. What others made look like one says nothing.
///
/// Called for every directory above what is granted, and above a root.
pub(super) fn looks_like_a_root(path: &Path) -> bool {
    let own = rustix::process::geteuid().as_raw();
    let is = |name: &str, kind: fn(&std::fs::Metadata) -> bool| {
        std::fs::symlink_metadata(path.join(name)).is_ok_and(|meta| kind(&meta) && meta.uid() == own)
    };
    is("registry.db", std::fs::Metadata::is_file) && is("cells", std::fs::Metadata::is_dir)
}
