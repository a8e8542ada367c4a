//! Grants that contradict each other: two at one place, or one that takes back what another promises.
//!
//! A read-only mount promises that what it shows is not changed through it, nor through any other mount of the same agent; a path below a mount
//! belongs to that mount. So mounts that overlap, on the machine or as the agent sees them, must have the same access. A path to read promises the
//! same, and that it is what the machine has there: nothing writable overlaps it, and no mount covers it.

use std::path::{Component, Path, PathBuf};

use super::{Access, Mount};

/// How two mounts of one agent contradict each other.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Overlap {
    /// Two at the same place: one would not be seen.
    #[error("accept a second mount at {guest}: only one of them would be seen; leave one out")]
    Twice {
        /// Where.
        guest: String,
    },
    /// One lies in the other on the machine, and only one of them is writable.
    #[error(
        "accept {read_only} read-only beside {writable} read-write: they overlap on this machine, so that it could be changed all the same; give both \
         the same access, or leave one out"
    )]
    Hosts {
        /// What is promised to stay as it is.
        read_only: String,
        /// What can be written to.
        writable: String,
    },
    /// A path to read could be written to.
    #[error(
        "accept {writable} read-write beside {path}, which is for reading: they overlap on this machine, so that it could be changed all the same; mount \
         it read-only, or name what to read without it"
    )]
    Read {
        /// What is promised to stay as it is.
        path: String,
        /// What can be written to.
        writable: String,
    },
    /// A mount where the agent sees a path that is for reading.
    #[error("accept a mount at {guest}: the agent reads {path} there; choose another place, such as /project")]
    Covers {
        /// What is to be read.
        path: String,
        /// Where the mount is.
        guest: String,
    },
    /// One lies in the other as the agent sees them, and only one of them is writable.
    #[error("accept {inner} ({inner_access}) inside of {outer} ({outer_access}): give both the same access, or leave one out")]
    Guests {
        /// The inner one's place.
        inner: String,
        /// Its access.
        inner_access: Access,
        /// The outer one's place.
        outer: String,
        /// Its access.
        outer_access: Access,
    },
}

/// A path that a process agent reads and executes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Readable {
    /// As it is named, and seen by the agent.
    pub named: PathBuf,
    /// Where it leads on the machine.
    pub host: PathBuf,
}

/// The first contradiction between what a process agent reads and its mounts, whose hosts are canonical; and which of the mounts it is.
pub fn overlap_of_reads(reads: &[Readable], mounts: &[Mount]) -> Option<(usize, Overlap)> {
    let all = mounts.iter().enumerate().flat_map(|(index, mount)| reads.iter().map(move |read| (index, mount, read)));
    let mut found = all.filter_map(|(index, mount, read)| against(mount, read).map(|overlap| (index, overlap)));
    found.next()
}

fn against(mount: &Mount, read: &Readable) -> Option<Overlap> {
    let (path, guest) = (read.named.display().to_string(), mount.guest.to_string());
    let writable = mount.access == Access::Rw;
    if writable && (mount.host.starts_with(&read.host) || read.host.starts_with(&mount.host)) {
        return Some(Overlap::Read { path, writable: mount.host.display().to_string() });
    }
    if read.named == mount.guest.as_path() && read.host == mount.host {
        // The same, read-only, under its own name.
        return None;
    }
    let covers = read.named.starts_with(mount.guest.as_path());
    let inside = writable && mount.guest.as_path().starts_with(&read.named);
    (covers || inside).then_some(Overlap::Covers { path, guest })
}

/// The first contradiction in a list of mounts, and which of them is the later of the two.
pub fn overlap(mounts: &[Mount]) -> Option<(usize, Overlap)> {
    let hosts: Vec<PathBuf> = mounts.iter().map(|mount| plain(&mount.host)).collect();
    for (later, (mount, host)) in mounts.iter().zip(&hosts).enumerate() {
        let earlier = mounts.iter().zip(&hosts).take(later);
        if let Some(found) = earlier.filter_map(|(other, other_host)| between((mount, host), (other, other_host))).next() {
            return Some((later, found));
        }
    }
    None
}

/// A path without its `.`: what is relative to one directory is compared as it is written.
fn plain(path: &Path) -> PathBuf {
    path.components().filter(|part| *part != Component::CurDir).collect()
}

fn between((one, one_host): (&Mount, &Path), (other, other_host): (&Mount, &Path)) -> Option<Overlap> {
    let (here, there) = (one.guest.as_path(), other.guest.as_path());
    if here == there {
        return Some(Overlap::Twice { guest: one.guest.to_string() });
    }
    let (read_only, writable) = match (one.access, other.access) {
        (Access::Ro, Access::Rw) => (one, other),
        (Access::Rw, Access::Ro) => (other, one),
        (Access::Ro, Access::Ro) | (Access::Rw, Access::Rw) => return None,
    };
    if one_host.starts_with(other_host) || other_host.starts_with(one_host) {
        let [read_only, writable] = [read_only, writable].map(|mount| mount.host.display().to_string());
        return Some(Overlap::Hosts { read_only, writable });
    }
    let nested = |inner: &Mount, outer: &Mount| Overlap::Guests {
        inner: inner.guest.to_string(),
        inner_access: inner.access,
        outer: outer.guest.to_string(),
        outer_access: outer.access,
    };
    if here.starts_with(there) {
        Some(nested(one, other))
    } else if there.starts_with(here) {
        Some(nested(other, one))
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(mounts: &[&str]) -> Option<(usize, String)> {
        let mounts: Vec<Mount> = mounts.iter().map(|text| text.parse().expect("a mount")).collect();
        overlap(&mounts).map(|(later, overlap)| (later, overlap.to_string()))
    }

    #[test]
    fn mounts_that_overlap_have_the_same_access() {
        for mounts in [
            &["/a:/x", "/b:/y:rw"][..],
            &["/a:/x", "/a:/y"],
            &["/a:/x:rw", "/a/b:/y:rw"],
            &["/a:/x", "/a/b:/x/y"],
            &["/a:/x", "/ab:/xy:rw"],
            &["a:/x", "./ab:/y:rw"],
        ] {
            assert_eq!(found(mounts), None, "{mounts:?}");
        }
        for (mounts, later, says) in [
            (&["/a:/x", "/b:/x"][..], 1, "a second mount at /x"),
            (&["/a:/x", "/a:/x"], 1, "a second mount at /x"),
            (&["/c:/z", "/a:/x", "/a:/y:rw"], 2, "/a read-only beside /a read-write"),
            (&["/a:/x:rw", "/a/b:/y"], 1, "/a/b read-only beside /a read-write"),
            (&["/a:/x", "/a/b:/y:rw"], 1, "/a read-only beside /a/b read-write"),
            (&["a:/x", "./a/b:/y:rw"], 1, "a read-only beside ./a/b read-write"),
            (&["/a:/x", "/b:/x/y:rw"], 1, "/x/y (rw) inside of /x (ro)"),
            (&["/b:/x/y", "/a:/x:rw"], 1, "/x/y (ro) inside of /x (rw)"),
        ] {
            let (at, said) = found(mounts).unwrap_or_else(|| panic!("{mounts:?}"));
            assert!(at == later && said.contains(says), "{mounts:?}: {at} {said}");
        }
    }

    #[test]
    fn nothing_writable_overlaps_what_is_read_and_no_mount_covers_it() {
        let reads = [("/usr", "/usr"), ("/bin", "/usr/bin"), ("/opt/tool", "/opt/tool")];
        let reads = reads.map(|(named, host)| Readable { named: named.into(), host: host.into() });
        let found = |mount: &str| overlap_of_reads(&reads, &[mount.parse().expect("a mount")]).map(|(_, overlap)| overlap.to_string());
        for mount in [
            "/opt/tool:/t",
            "/opt:/o",
            "/opt/tool:/opt/tool",
            "/usr/share/x:/x",
            "/srv:/usr/share/data",
            "/srv:/binary:rw",
            "/opt/tools:/t:rw",
        ] {
            assert_eq!(found(mount), None, "{mount}");
        }
        for (mount, says) in [
            ("/opt/tool:/t:rw", "/opt/tool read-write beside /opt/tool"),
            ("/opt:/o:rw", "/opt read-write beside /opt/tool"),
            ("/usr/bin/x:/x:rw", "/usr/bin/x read-write beside /usr"),
            ("/srv:/usr", "at /usr: the agent reads /usr there"),
            ("/srv:/opt", "at /opt: the agent reads /opt/tool there"),
            ("/srv:/usr/share/data:rw", "at /usr/share/data: the agent reads /usr there"),
        ] {
            let said = found(mount).unwrap_or_else(|| panic!("{mount}"));
            assert!(said.contains(says), "{mount}: {said}");
        }
    }
}
