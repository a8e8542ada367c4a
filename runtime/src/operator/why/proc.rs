//! What a process agent finds in a `/proc` of its own: its processes, a little of the machine, and covers.

use std::path::Path;

use crate::jail::SHOWN;

/// What is seen of a process by none but its user, and of a process that hides from its user by nobody: the reaper, which is process 1.
const PRIVATE: [&str; 20] = [
    "auxv",
    "clear_refs",
    "cwd",
    "environ",
    "exe",
    "fd",
    "fdinfo",
    "io",
    "map_files",
    "maps",
    "mem",
    "ns",
    "numa_maps",
    "pagemap",
    "personality",
    "root",
    "smaps",
    "smaps_rollup",
    "stack",
    "syscall",
];
/// The reaper's number.
const REAPER: &str = "1";
/// Links to what is the process's own.
const LINKS: [&str; 4] = ["self", "thread-self", "mounts", "net"];

/// Whether a path in `/proc` can be read, and by which rule.
pub(super) fn read(path: &Path) -> Result<String, String> {
    let own = || Ok("a /proc of its own, which shows its own processes, and of the machine what is not covered".to_owned());
    let mut below = path.iter().skip(2).map(|part| part.to_string_lossy());
    let Some(first) = below.next() else { return own() };
    if first == REAPER {
        // Which numbers are open, root may list; not what they are.
        let is_list = path.ends_with("fd") && rustix::process::geteuid().is_root();
        let hides = below.any(|part| PRIVATE.contains(&part.as_ref())) && !is_list;
        return if hides { Err("process 1 is its reaper, which nobody may look into".to_owned()) } else { own() };
    }
    if LINKS.contains(&first.as_ref()) || first.bytes().all(|byte| byte.is_ascii_digit()) {
        return own();
    }
    if SHOWN.contains(&first.as_ref()) {
        return Ok(format!("a /proc of its own, in which {first} of the machine is not covered"));
    }
    Err("a /proc of its own, in which this of the machine is covered".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processes_are_shown_and_little_of_the_machine() {
        let may = |path: &str| read(Path::new(path)).is_ok();
        for shown in ["/proc", "/proc/self/fd", "/proc/17/environ", "/proc/1/status", "/proc/net/dev", "/proc/cpuinfo", "/proc/sys/kernel"]
        {
            assert!(may(shown), "{shown}");
        }
        for covered in ["/proc/vmallocinfo", "/proc/kcore", "/proc/fs/ext4", "/proc/1/environ", "/proc/1/task/1/maps", "/proc/cmdline"] {
            assert!(!may(covered), "{covered}");
        }
    }
}
