//! The trees of control groups that are mounted, and where in each this process is.

use std::{
    fs,
    path::{Path, PathBuf},
};

use rustix::fs::{Access, access};

/// The file through which a process joins, and in which members are listed.
pub(super) const PROCS: &str = "cgroup.procs";

/// A mounted tree of control groups.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Hierarchy {
    pub mounted_at: PathBuf,
    /// Whether it is of version 2.
    pub unified: bool,
    /// Version 1: the controllers that it is for.
    pub controllers: Vec<String>,
}

impl Hierarchy {
    /// Whether it is of version 1, and for this controller.
    pub fn is_for(&self, controller: &str) -> bool {
        !self.unified && self.controllers.iter().any(|name| name == controller)
    }
}

/// Reads the trees from `/proc/self/mountinfo`: fields before a lone dash, then type, source and options.
pub(super) fn hierarchies(mounts: &str) -> Vec<Hierarchy> {
    let parse = |line: &str| {
        let (mount, kind) = line.split_once(" - ")?;
        let mounted_at = PathBuf::from(mount.split(' ').nth(4)?);
        let mut kind = kind.split(' ');
        match kind.next()? {
            "cgroup2" => Some(Hierarchy { mounted_at, unified: true, controllers: Vec::new() }),
            "cgroup" => {
                let controllers = kind.nth(1)?.split(',').map(str::to_owned).collect();
                Some(Hierarchy { mounted_at, unified: false, controllers })
            }
            _ => None,
        }
    };
    mounts.lines().filter_map(parse).collect()
}

/// The directory of this process's own group, from `/proc/self/cgroup`; the top where that is not visible (in a container).
pub(super) fn own_directory(hierarchy: &Hierarchy, own: &str, is_it: impl Fn(&str) -> bool) -> PathBuf {
    let line = own.lines().filter_map(|line| line.split_once(':')?.1.split_once(':')).find(|(controllers, _)| is_it(controllers));
    let path = line.map(|(_, path)| hierarchy.mounted_at.join(path.trim_start_matches('/')));
    path.filter(|path| path.is_dir()).unwrap_or_else(|| hierarchy.mounted_at.clone())
}

/// Whether this user can make groups in a group, and move processes of their own out of it.
pub(super) fn writable(path: &Path) -> bool {
    access(path, Access::WRITE_OK).is_ok() && access(path.join(PROCS), Access::WRITE_OK).is_ok()
}

/// The words of a file of a group; none where it cannot be read.
pub(super) fn words(path: &Path, file: &str) -> Vec<String> {
    let text = fs::read_to_string(path.join(file)).unwrap_or_default();
    text.split_ascii_whitespace().map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trees_are_read_from_the_list_of_mounts() {
        let mounts = "25 1 0:22 / / rw - ext4 /dev/a rw\n\
            26 25 0:23 / /sys/fs/cgroup/memory rw,nosuid shared:9 - cgroup cgroup rw,memory\n\
            27 25 0:24 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw,nsdelegate\n";
        let found = hierarchies(mounts);
        assert_eq!(found.len(), 2);
        assert_eq!((found[0].mounted_at.as_path(), found[0].unified), (Path::new("/sys/fs/cgroup/memory"), false));
        assert!(found[0].is_for("memory") && !found[0].is_for("pids") && found[1].unified && !found[1].is_for("memory"));
    }

    #[test]
    fn the_own_group_is_found_by_controller() {
        let dir = tempfile::tempdir().expect("tempdir");
        fs::create_dir(dir.path().join("mine")).expect("mkdir");
        let hierarchy = Hierarchy { mounted_at: dir.path().to_owned(), unified: false, controllers: vec!["pids".to_owned()] };
        let is_it = |controllers: &str| controllers == "pids";
        assert_eq!(own_directory(&hierarchy, "4:pids:/mine\n3:memory:/x\n", is_it), dir.path().join("mine"));
        assert_eq!(own_directory(&hierarchy, "4:pids:/not/visible\n", is_it), dir.path());
        assert_eq!(own_directory(&hierarchy, "garbage", is_it), dir.path());
    }
}
