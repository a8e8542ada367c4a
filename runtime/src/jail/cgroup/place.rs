//! Where groups can be made, and what a group there holds: decided from what is mounted and delegated, before anything is changed.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use super::tree::{Hierarchy, hierarchies, own_directory, words, writable};

/// The directory that root makes where nothing is delegated: directly below the top of the tree, without processes of its own (a group
/// that gives controllers to its children must have none).
const OWN_DIRECTORY: &str = "lazarus";
/// Which controllers a group's children have.
const GIVEN: &str = "cgroup.subtree_control";
/// Which controllers a group has itself, and can give.
const THERE: &str = "cgroup.controllers";

/// The limits of an agent that a group holds, or several together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Holds {
    /// Memory, that of the kernel for the agent included.
    pub memory: bool,
    /// Processes and threads.
    pub processes: bool,
    /// CPU time: counted by the kernel, ended by the warden.
    pub cpu: bool,
}

impl Holds {
    /// What either holds.
    pub(super) const fn and(self, other: Self) -> Self {
        Self { memory: self.memory || other.memory, processes: self.processes || other.processes, cpu: self.cpu || other.cpu }
    }

    /// What is not held by the other; `None` where that is nothing.
    pub(super) fn beyond(self, other: Self) -> Option<Self> {
        let new = Self { memory: self.memory && !other.memory, processes: self.processes && !other.processes, cpu: self.cpu && !other.cpu };
        (new != Self::default()).then_some(new)
    }

    /// The controllers of version 2 that it takes; CPU time takes none.
    fn controllers(self) -> Vec<&'static str> {
        [(self.memory, "memory"), (self.processes, "pids")].into_iter().filter_map(|(held, name)| held.then_some(name)).collect()
    }

    const CPU: Self = Self { memory: false, processes: false, cpu: true };
}

/// The two interfaces of control groups.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Version {
    One,
    Two,
}

/// A directory in which groups for agents can be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Parent {
    pub path: PathBuf,
    pub version: Version,
    pub holds: Holds,
    /// Where controllers have to be given to it first, and by whom: its own parent.
    pub given_by: Option<PathBuf>,
}

impl Parent {
    fn ready(path: PathBuf, version: Version, holds: Holds) -> Self {
        Self { path, version, holds, given_by: None }
    }

    /// Makes the directory, where it is Lazarus' own, and gives controllers to what will be made in it.
    ///
    /// # Errors
    /// What the kernel says: `EBUSY` where a group has processes and so cannot give any.
    pub fn prepare(&self) -> io::Result<()> {
        let Some(top) = &self.given_by else { return Ok(()) };
        let controllers = self.holds.controllers();
        give(top, &controllers)?;
        match fs::create_dir(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
            Ok(()) | Err(_) => give(&self.path, &controllers),
        }
    }
}

/// Gives controllers to the children of a group.
fn give(group: &Path, controllers: &[&str]) -> io::Result<()> {
    let given = words(group, GIVEN);
    let missing: Vec<String> =
        controllers.iter().filter(|name| !given.iter().any(|word| word == *name)).map(|name| format!("+{name}")).collect();
    if missing.is_empty() { Ok(()) } else { fs::write(group.join(GIVEN), missing.join(" ")) }
}

/// Where groups can be made on this machine, the best first: what an earlier one holds, a later one need not.
pub(super) fn parents() -> Vec<Parent> {
    let (Ok(mounts), Ok(own)) = (fs::read_to_string("/proc/self/mountinfo"), fs::read_to_string("/proc/self/cgroup")) else {
        return Vec::new();
    };
    plan(&hierarchies(&mounts), &own, rustix::process::geteuid().is_root())
}

/// Every place that is of use, from the trees and the groups that this process is in.
fn plan(trees: &[Hierarchy], own: &str, root: bool) -> Vec<Parent> {
    let unified = trees.iter().find(|tree| tree.unified);
    let mut found: Vec<Parent> = unified.and_then(|tree| controlled(tree, own, root)).into_iter().collect();
    let singles = [
        ("memory", Holds { memory: true, ..Holds::default() }),
        ("pids", Holds { processes: true, ..Holds::default() }),
        // Before version 2's count of the same, though that is always there: joining a group of version 1 is cheaper.
        ("cpuacct", Holds::CPU),
    ];
    for (controller, holds) in singles {
        let Some(tree) = trees.iter().find(|tree| tree.is_for(controller)) else { continue };
        let path = own_directory(tree, own, |controllers| controllers.split(',').any(|name| name == controller));
        if writable(&path) {
            found.push(Parent::ready(path, Version::One, holds));
        }
    }
    found.extend(unified.and_then(|tree| counted(tree, own)));
    found
}

/// The groups between this process's own and the top of a tree, its own first: ancestors of where this process is, as the kernel wants
/// it of whoever moves a process.
fn above(tree: &Hierarchy, own: &str) -> Vec<PathBuf> {
    let start = own_directory(tree, own, str::is_empty);
    start.ancestors().take_while(|path| path.starts_with(&tree.mounted_at)).map(Path::to_owned).collect()
}

/// The nearest group that gives its children as many controllers as there are to be had; where none gives any, root's own directory.
fn controlled(tree: &Hierarchy, own: &str, root: bool) -> Option<Parent> {
    let above = above(tree, own);
    let has = |names: &[String], name: &str| names.iter().any(|word| word == name);
    let with = |names: &[String]| Holds { memory: has(names, "memory"), processes: has(names, "pids"), cpu: true };
    let count = |holds: Holds| holds.controllers().len();
    let mut best: Option<Parent> = None;
    for path in above.iter().filter(|path| writable(path)) {
        let holds = with(&words(path, GIVEN));
        if count(holds) > best.as_ref().map_or(0, |best| count(best.holds)) {
            best = Some(Parent::ready(path.clone(), Version::Two, holds));
        }
    }
    let top = &tree.mounted_at;
    let holds = with(&words(top, THERE));
    if best.is_none() && root && count(holds) > 0 && writable(top) {
        best = Some(Parent { path: top.join(OWN_DIRECTORY), version: Version::Two, holds, given_by: Some(top.clone()) });
    }
    best
}

/// The nearest group in which others can be made, for their CPU time alone.
fn counted(tree: &Hierarchy, own: &str) -> Option<Parent> {
    let path = above(tree, own).into_iter().find(|path| writable(path))?;
    Some(Parent::ready(path, Version::Two, Holds::CPU))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Trees as files: directories of the machine with what the kernel would show in them.
    struct Ground(tempfile::TempDir);

    impl Ground {
        fn new() -> Self {
            Self(tempfile::tempdir().expect("tempdir"))
        }

        fn group(&self, below: &str, there: &str, given: &str) -> PathBuf {
            let path = self.0.path().join(below);
            fs::create_dir_all(&path).expect("made");
            for (file, text) in [("cgroup.procs", ""), (THERE, there), (GIVEN, given)] {
                fs::write(path.join(file), text).expect("written");
            }
            path
        }

        fn unified(&self) -> Hierarchy {
            Hierarchy { mounted_at: self.0.path().join("two"), unified: true, controllers: Vec::new() }
        }

        fn single(&self, controller: &str) -> Hierarchy {
            let mounted_at = self.group(controller, "", "");
            Hierarchy { mounted_at, unified: false, controllers: vec![controller.to_owned()] }
        }
    }

    const ALL: Holds = Holds { memory: true, processes: true, cpu: true };

    #[test]
    fn a_delegated_group_is_taken_as_it_is() {
        let ground = Ground::new();
        ground.group("two", "cpu memory pids", "cpu memory pids");
        let user = ground.group("two/user@1000.service", "memory pids", "memory pids");
        ground.group("two/user@1000.service/app.slice/shell.scope", "memory pids", "");
        for root in [false, true] {
            let found = plan(&[ground.unified()], "0::/user@1000.service/app.slice/shell.scope\n", root);
            assert_eq!(found[0], Parent::ready(user.clone(), Version::Two, ALL), "the nearest that gives both");
        }
    }

    #[test]
    fn root_makes_a_directory_where_nothing_is_delegated_and_an_ordinary_user_does_not() {
        let ground = Ground::new();
        let top = ground.group("two", "cpuset cpu io memory pids", "");
        let own = ground.group("two/session", "", "");
        let found = plan(&[ground.unified()], "0::/session\n", true);
        let expected = Parent { path: top.join("lazarus"), version: Version::Two, holds: ALL, given_by: Some(top.clone()) };
        let counted = Parent::ready(own.clone(), Version::Two, Holds::CPU);
        assert_eq!(found, [expected.clone(), counted.clone()]);
        assert!(!top.join("lazarus").exists(), "a plan changes nothing");
        assert_eq!(plan(&[ground.unified()], "0::/session\n", false), [counted]);
    }

    #[test]
    fn controllers_are_given_down_the_tree_and_only_those_that_are_missing() {
        let ground = Ground::new();
        let top = ground.group("two", "memory pids", "memory");
        let own = ground.group("two/lazarus", "memory pids", "");
        let parent = Parent { path: own.clone(), version: Version::Two, holds: ALL, given_by: Some(top.clone()) };
        parent.prepare().expect("prepared");
        assert_eq!(fs::read_to_string(top.join(GIVEN)).expect("read"), "+pids");
        assert_eq!(fs::read_to_string(own.join(GIVEN)).expect("read"), "+memory +pids");
    }

    #[test]
    fn a_machine_of_both_versions_gives_each_what_the_other_has_not() {
        let ground = Ground::new();
        ground.group("two", "", "");
        let (memory, pids) = (ground.single("memory"), ground.single("pids"));
        let trees = [memory.clone(), pids.clone(), ground.unified()];
        let found = plan(&trees, "2:pids:/\n1:memory:/\n0::/\n", true);
        let one = |tree: &Hierarchy, holds| Parent::ready(tree.mounted_at.clone(), Version::One, holds);
        let expected = [
            one(&memory, Holds { memory: true, ..Holds::default() }),
            one(&pids, Holds { processes: true, ..Holds::default() }),
            Parent::ready(ground.unified().mounted_at, Version::Two, Holds::CPU),
        ];
        assert_eq!(found, expected);
        // Where version 1 counts CPU time as well, that is taken first.
        let found = plan(&[trees.as_slice(), &[ground.single("cpuacct")]].concat(), "", true);
        assert_eq!((found[2].version, found[2].holds), (Version::One, Holds::CPU));
    }

    #[test]
    fn nothing_is_found_where_nothing_is_mounted_or_writable() {
        let ground = Ground::new();
        assert_eq!(plan(&[], "0::/\n", true), []);
        let missing = Hierarchy { mounted_at: ground.0.path().join("not-there"), unified: true, controllers: Vec::new() };
        assert_eq!(plan(&[missing], "0::/\n", true), []);
    }

    #[test]
    fn a_second_place_holds_only_what_the_first_does_not() {
        let memory = Holds { memory: true, ..Holds::default() };
        assert_eq!(ALL.beyond(memory), Some(Holds { processes: true, cpu: true, memory: false }));
        assert_eq!(memory.beyond(ALL), None);
        assert_eq!(memory.and(Holds::CPU), Holds { processes: false, ..ALL });
    }
}
