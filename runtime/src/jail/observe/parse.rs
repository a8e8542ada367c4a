//! Reading the texts of `/proc`: the kernel wrote them, but agents chose some of the names in them.

use super::{Bounds, Descriptor, Mapping, Membership, Status, Target};

/// Reads `/proc/<pid>/status`; lines that make no sense are as good as missing.
pub(super) fn status(text: &str) -> Status {
    let line = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim);
    let number = |name: &str| line(name)?.parse().ok();
    let set = |name: &str| u64::from_str_radix(line(name)?, 16).ok();
    let ids = |name: &str| line(name).into_iter().flat_map(str::split_ascii_whitespace).filter_map(|id| id.parse().ok()).collect();
    let all = ["CapInh", "CapPrm", "CapEff", "CapAmb"].map(set);
    Status {
        no_new_privs: number("NoNewPrivs"),
        seccomp: number("Seccomp"),
        filters: number("Seccomp_filters"),
        capabilities: all.into_iter().try_fold(0, |together, set| Some(together | set?)),
        bounding: set("CapBnd"),
        users: ids("Uid"),
        groups: ids("Gid"),
        supplementary: ids("Groups"),
    }
}

/// Reads `/proc/<pid>/limits`: a name of several words, then the soft and the hard limit.
pub(super) fn limits(text: &str) -> Vec<(String, Bounds)> {
    let bound = |word: &str| if word == "unlimited" { Some(None) } else { word.parse().ok().map(Some) };
    let parse = |line: &str| {
        // The name is padded to 25 characters, whatever it is (fs/proc/base.c).
        let (name, rest) = line.split_at_checked(25)?;
        let mut words = rest.split_ascii_whitespace();
        Some((name.trim().to_owned(), (bound(words.next()?)?, bound(words.next()?)?)))
    };
    text.lines().filter_map(parse).collect()
}

/// Understands a link of `/proc/<pid>/fd`.
pub(super) fn descriptor(number: u32, link: &str) -> Descriptor {
    let inode = |rest: &str| rest.strip_suffix(']').and_then(|inode| inode.parse().ok());
    let target = if let Some(inode) = link.strip_prefix("socket:[").and_then(inode) {
        Target::Socket(inode)
    } else if link.strip_prefix("pipe:[").and_then(inode).is_some() {
        Target::Pipe
    } else if let Some(name) = link.strip_prefix("anon_inode:") {
        Target::Anonymous(name.to_owned())
    } else if link.starts_with("/memfd:") {
        Target::Memory
    } else {
        Target::Path(link.to_owned())
    };
    Descriptor { number, target }
}

/// Reads `/proc/<pid>/maps`: range, rights, offset, device, inode, path. `None` where a line makes no sense.
pub(super) fn maps(text: &str) -> Option<Vec<Mapping>> {
    let parse = |line: &str| {
        let mut rest = line;
        let mut word = || {
            let (word, after) = rest.split_once(' ').unwrap_or((rest, ""));
            rest = after.trim_start_matches(' ');
            (!word.is_empty()).then_some(word)
        };
        let (_range, rights) = (word()?, word()?);
        let (_offset, _device, inode) = (word()?, word()?, word()?.parse().ok()?);
        Some(Mapping {
            writable: rights.as_bytes().get(1) == Some(&b'w'),
            executable: rights.as_bytes().get(2) == Some(&b'x'),
            inode,
            path: rest.to_owned(),
        })
    };
    text.lines().map(parse).collect()
}

/// Reads `/proc/<pid>/cgroup`: number, controllers, path.
pub(super) fn memberships(text: &str) -> Vec<Membership> {
    let parse = |line: &str| {
        let (controllers, path) = line.split_once(':')?.1.split_once(':')?;
        let controllers = controllers.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect();
        Some(Membership { controllers, path: path.to_owned() })
    };
    text.lines().filter_map(parse).collect()
}

/// The inodes in a table of sockets of `/proc/<pid>/net`: it stands in the ninth column or behind it.
pub(super) fn inodes(table: &str) -> Vec<u64> {
    table.lines().skip(1).flat_map(|line| line.split_ascii_whitespace().skip(8).filter_map(|word| word.parse().ok())).collect()
}

/// A path without what the kernel says of one that was removed.
pub(super) fn plain(path: &str) -> &str {
    path.strip_suffix(" (deleted)").unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_read_and_what_is_missing_is_missing() {
        let text = "Name:\tNoNewPrivs: 1\nUid:\t7\t7\t7\t7\nGid:\t8\t8\t8\t8\nGroups:\t8 9 \nCapInh:\t0000000000000000\nCapPrm:\t0000000000000400\n\
            CapEff:\t0000000000000000\nCapBnd:\t000001ffffffffff\nCapAmb:\t0000000000000000\nNoNewPrivs:\t1\nSeccomp:\t2\n";
        let status = status(text);
        assert_eq!((status.no_new_privs, status.seccomp, status.filters), (Some(1), Some(2), None));
        assert_eq!((status.capabilities, status.bounding), (Some(0x400), Some(0x1ff_ffff_ffff)));
        assert_eq!((status.users, status.groups, status.supplementary), (vec![7; 4], vec![8; 4], vec![8, 9]));
        let nothing = super::status("garbage\nSeccomp:\tx\n");
        assert_eq!(nothing, Status::default());
        assert_eq!(super::status("CapInh:\t0\nCapPrm:\t0\nCapEff:\t0\n").capabilities, None, "one set is missing");
    }

    #[test]
    fn limits_have_names_of_several_words() {
        let text = "Limit                     Soft Limit           Hard Limit           Units     \n\
            Max cpu time              3600                 3601                 seconds   \n\
            Max open files            256                  unlimited            files     \n";
        assert_eq!(limits(text), [("Max cpu time".to_owned(), (Some(3600), Some(3601))), ("Max open files".to_owned(), (Some(256), None))]);
        assert!(limits("Max cpu time").is_empty());
    }

    #[test]
    fn descriptors_are_told_apart() {
        let target = |link: &str| descriptor(3, link).target;
        assert_eq!(target("socket:[42]"), Target::Socket(42));
        assert_eq!(target("pipe:[7]"), Target::Pipe);
        assert_eq!(target("anon_inode:[eventpoll]"), Target::Anonymous("[eventpoll]".to_owned()));
        assert_eq!(target("/memfd:x (deleted)"), Target::Memory);
        assert_eq!(target("/dev/null"), Target::Path("/dev/null".to_owned()));
        assert_eq!(target("socket:[x]"), Target::Path("socket:[x]".to_owned()), "nothing that is not understood is harmless");
    }

    #[test]
    fn maps_have_paths_with_spaces_and_without() {
        let text =
            "00400000-00452000 r-xp 00000000 08:02 173521 /a b/c\n7f00-7f01 rwxp 00000000 00:00 0 \n7f02-7f03 rw-p 0 00:00 0   [heap]\n";
        let maps = super::maps(text).expect("understood");
        assert_eq!((maps[0].path.as_str(), maps[0].inode, maps[0].executable, maps[0].writable), ("/a b/c", 173_521, true, false));
        assert_eq!((maps[1].path.as_str(), maps[1].executable && maps[1].writable), ("", true));
        assert_eq!(maps[2].path, "[heap]");
        assert_eq!(super::maps("garbage\n"), None);
    }

    #[test]
    fn groups_of_both_versions_are_read() {
        let found = memberships("4:cpu,cpuacct:/a\n0::/b:c\nnonsense\n");
        assert_eq!(found[0], Membership { controllers: vec!["cpu".to_owned(), "cpuacct".to_owned()], path: "/a".to_owned() });
        assert_eq!(found[1], Membership { controllers: Vec::new(), path: "/b:c".to_owned() });
        assert_eq!(found.len(), 2);
    }

    #[test]
    fn inodes_are_found_in_tables_of_sockets() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
            \x20  0: 0100007F:0277 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1 ffff 100 0\n";
        assert!(inodes(table).contains(&4711));
        assert!(inodes("header alone\n").is_empty());
    }
}
