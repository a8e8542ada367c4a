//! What is mounted below a path: it is granted along with it, and may be something else than files.
//!
//! A bind mount of a directory brings what is mounted in there, and a program that walks into it does as well. A build root with `/proc` in
//! it, or a bind mount of a directory that holds the Lazarus root, would hand out what is never granted under another name. So whatever is
//! mounted below a granted path must be of a kind that holds files, and must not show what is kept from agents.
//!
//! Source: `/proc/PID/mountinfo`, proc_pid_mountinfo(5): `id parent major:minor root point options [tags] - kind source options`.

use std::{
    ffi::OsString,
    os::unix::ffi::{OsStrExt, OsStringExt},
    path::{Path, PathBuf},
};

/// File systems that hold files, and nothing that a kernel shows or can be told. One that is not named here is refused.
const OF_FILES: [&str; 54] = [
    "9p",
    "afs",
    "apfs",
    "aufs",
    "bcachefs",
    "beegfs",
    "btrfs",
    "ceph",
    "cifs",
    "cramfs",
    "ecryptfs",
    "erofs",
    "exfat",
    "ext2",
    "ext3",
    "ext4",
    "f2fs",
    "fakeowner",
    "fuse",
    "fuseblk",
    "gfs2",
    "gpfs",
    "hfs",
    "hfsplus",
    "iso9660",
    "jffs2",
    "jfs",
    "lustre",
    "msdos",
    "nfs",
    "nfs4",
    "nilfs2",
    "ntfs",
    "ntfs3",
    "ocfs2",
    "overlay",
    "prl_fs",
    "ramfs",
    "reiserfs",
    "romfs",
    "rootfs",
    "shiftfs",
    "smb3",
    "squashfs",
    "tmpfs",
    "ubifs",
    "udf",
    "ufs",
    "vboxsf",
    "vfat",
    "virtiofs",
    "vmhgfs",
    "xfs",
    "zfs",
];
/// Kinds of a family, each with its own name behind the dot.
const OF_FILES_FAMILY: &str = "fuse.";

/// One mount of this process's namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mounted {
    id: u64,
    parent: u64,
    /// `major:minor` of the file system.
    device: String,
    /// Which directory of that file system it shows.
    root: PathBuf,
    /// Where.
    pub point: PathBuf,
    /// The kind of the file system.
    pub kind: String,
}

impl Mounted {
    /// Whether there are but files in it.
    pub fn holds_files(&self) -> bool {
        OF_FILES.contains(&self.kind.as_str()) || self.kind.starts_with(OF_FILES_FAMILY)
    }

    /// Whether it is the same mount, and not another one of the same file system.
    pub fn is_same(&self, other: &Self) -> bool {
        self.id == other.id
    }

    fn parse(line: &[u8]) -> Option<Self> {
        let mut fields = line.split(|byte| *byte == b' ');
        let number = |field: &[u8]| std::str::from_utf8(field).ok()?.parse().ok();
        let (id, parent) = (number(fields.next()?)?, number(fields.next()?)?);
        let device = std::str::from_utf8(fields.next()?).ok()?.to_owned();
        let (root, point, _options) = (unescaped(fields.next()?), unescaped(fields.next()?), fields.next()?);
        let kind = fields.skip_while(|field| *field != b"-").nth(1)?;
        Some(Self { id, parent, device, root, point, kind: String::from_utf8_lossy(kind).into_owned() })
    }

    /// A path at or below its point, as its file system calls it.
    fn within(&self, path: &Path) -> Option<PathBuf> {
        path.strip_prefix(&self.point).ok().map(|rest| self.root.join(rest))
    }
}

/// A path of the table: blanks, tabs, line ends and backslashes are three octal digits behind a backslash.
fn unescaped(mut bytes: &[u8]) -> PathBuf {
    let mut path = Vec::new();
    while let Some((first, rest)) = bytes.split_first() {
        let code = rest.get(..3).filter(|_| *first == b'\\').and_then(|code| std::str::from_utf8(code).ok());
        match code.and_then(|code| u8::from_str_radix(code, 8).ok()) {
            Some(byte) => {
                path.push(byte);
                bytes = rest.get(3..).unwrap_or_default();
            }
            None => {
                path.push(*first);
                bytes = rest;
            }
        }
    }
    PathBuf::from(OsString::from_vec(path))
}

/// A part of a file system, whatever it is mounted as.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Extent {
    device: String,
    path: PathBuf,
}

impl Extent {
    /// Whether one shows the other, or a part of it.
    fn meets(&self, other: &Self) -> bool {
        self.device == other.device && (self.path.starts_with(&other.path) || other.path.starts_with(&self.path))
    }
}

/// The mounts of this process's namespace.
#[derive(Debug, Default)]
pub(super) struct MountTable(Vec<Mounted>);

impl MountTable {
    /// Reads a `mountinfo`. A line that is not understood fails the whole: what it says is not known.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let lines = text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        lines.map(Mounted::parse).collect::<Option<Vec<_>>>().map(Self)
    }

    /// The mount that a path is on: the one of this number, where the kernel told it, or the last of those that are deepest.
    pub fn of(&self, path: &Path, number: Option<u64>) -> Option<&Mounted> {
        let by_number = number.and_then(|number| self.0.iter().find(|mounted| mounted.id == number));
        let depth = |mounted: &&Mounted| mounted.point.as_os_str().as_bytes().len();
        by_number.or_else(|| self.0.iter().filter(|mounted| path.starts_with(&mounted.point)).max_by_key(depth))
    }

    /// What is mounted below a path that is on `on`, at any depth.
    pub fn below<'t>(&'t self, path: &Path, on: &Mounted) -> Vec<&'t Mounted> {
        let directly = |mounted: &&Mounted| mounted.parent == on.id && mounted.id != on.id && mounted.point.starts_with(path);
        let mut found: Vec<&Mounted> = self.0.iter().filter(directly).collect();
        let mut next = 0;
        while let Some(above) = found.get(next).map(|mounted| mounted.id) {
            let more = self.0.iter().filter(|mounted| mounted.parent == above && found.iter().all(|known| known.id != mounted.id));
            found.extend(more.collect::<Vec<_>>());
            next += 1;
        }
        found
    }

    /// Whether a mount shows a directory that is kept from agents (which is on `on`), a part of it, or what is mounted in there.
    pub fn shows(&self, mounted: &Mounted, kept: &Path, on: &Mounted) -> bool {
        self.shows_at(mounted, &mounted.point, kept, on)
    }

    /// Whether it does so at or below a path of its own.
    pub fn shows_at(&self, mounted: &Mounted, path: &Path, kept: &Path, on: &Mounted) -> bool {
        let extent = |mounted: &Mounted, path: PathBuf| Extent { device: mounted.device.clone(), path };
        let Some(shown) = mounted.within(path).map(|path| extent(mounted, path)) else { return true };
        let inside = self.below(kept, on).into_iter().map(|inner| extent(inner, inner.root.clone()));
        on.within(kept).map(|path| extent(on, path)).into_iter().chain(inside).any(|kept| shown.meets(&kept))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "\
21 1 8:1 / / rw,relatime - ext4 /dev/vda rw
22 21 0:20 / /proc rw shared:5 - proc proc rw
30 21 8:1 /srv/a /build/alias rw master:1 - ext4 /dev/vda rw
31 21 0:20 / /build/proc rw - proc proc rw
32 30 0:40 / /build/alias/deep rw - tmpfs none rw
33 21 8:1 /home/me /with\\040blank rw - ext4 /dev/vda rw
34 21 0:50 / /over rw - tmpfs none rw
35 21 0:51 / /over/hidden rw - sysfs none rw
36 21 0:60 / /srv/a/own rw - xfs /dev/b rw
";

    fn table() -> MountTable {
        MountTable::parse(TABLE.as_bytes()).expect("a table")
    }

    fn points(table: &MountTable, path: &str, number: Option<u64>) -> Vec<String> {
        let on = table.of(Path::new(path), number).expect("a mount");
        table.below(Path::new(path), on).iter().map(|mounted| mounted.point.display().to_string()).collect()
    }

    #[test]
    fn what_is_mounted_below_is_found_at_any_depth_and_nothing_else() {
        let table = table();
        assert_eq!(points(&table, "/build", None), ["/build/alias", "/build/proc", "/build/alias/deep"]);
        assert_eq!(points(&table, "/build/alias", None), ["/build/alias/deep"]);
        assert_eq!(points(&table, "/with blank", None), Vec::<String>::new());
        assert_eq!(points(&table, "/home", None), Vec::<String>::new());
        // What another mount covers is not to be seen there; the number says which of the two a path is on.
        assert_eq!(points(&table, "/over", Some(34)), Vec::<String>::new());
    }

    #[test]
    fn kinds_that_hold_more_than_files_are_told() {
        let table = table();
        let kind = |path: &str| table.of(Path::new(path), None).expect("a mount").holds_files();
        assert!(kind("/home") && kind("/build/alias/deep/er"));
        assert!(!kind("/proc/1") && !kind("/build/proc") && !kind("/over/hidden"));
        assert!(MountTable::parse(b"1 0 0:1 / / rw - fuse.sshfs x rw\n").is_some_and(|table| table.0[0].holds_files()));
    }

    #[test]
    fn a_mount_that_shows_what_is_kept_is_told_by_its_file_system() {
        let table = table();
        let shows = |point: &str, kept: &str| {
            let mounted = table.of(Path::new(point), None).expect("a mount");
            let on = table.of(Path::new(kept), None).expect("a mount");
            table.shows(mounted, Path::new(kept), on)
        };
        for (point, kept, expected) in [
            ("/build/alias", "/srv/a", true),
            ("/build/alias", "/srv/a/root/cells", true),
            ("/build/alias", "/srv", true),
            ("/build/alias", "/srv/b", false),
            ("/build/alias", "/srv/ab", false),
            ("/build/alias/deep", "/srv/a", false),
            ("/with blank", "/home/me/.hermes", true),
            // A part of what is kept that has a file system of its own.
            ("/srv/a/own", "/srv/a", true),
        ] {
            assert_eq!(shows(point, kept), expected, "{point} {kept}");
        }
    }

    #[test]
    fn a_table_that_is_not_understood_says_nothing() {
        for text in ["x", "21 1 8:1 / /", "21 1 8:1 / / rw ext4 x", "21 1 8:1 / / rw -", "a 1 8:1 / / rw - ext4 x rw"] {
            assert!(MountTable::parse(text.as_bytes()).is_none(), "{text}");
        }
    }
}
