//! A root of its own for a process agent: what was granted, mounted into an empty file system, and the machine's root gone.
//!
//! Needs a mount namespace that nobody else is in, a network namespace to enter, and `CAP_SYS_ADMIN` in it; see [`super::namespaces`].

use std::{
    io,
    os::fd::{AsFd, OwnedFd},
    path::{Path, PathBuf},
};

use rustix::{
    fs::{self, CWD, FileType, Mode, OFlags},
    mount::{self, FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags, MoveMountFlags, OpenTreeFlags},
    process::{fchdir, pivot_root},
};

use super::{FileRule, JailError, Reach, mountpoint::Ground, namespaces, streams, usher::Door};
use crate::{
    policy::{Access, Address, Enforcer, Granted, Report, Subject, Wall},
    unchecked::{self, MountAttributes},
};

/// A directory that is always there, to mount the new root on. Only this process sees that.
const STAGE: &str = "/tmp";
/// Bytes of the new root itself: mount points, links and a few lines of text.
const ROOT_MOST_BYTES: &str = "4m";
/// Files and directories of the new root itself: what is mounted has its own.
const ROOT_MOST_FILES: &str = "4096";
/// Empty, private directories in memory, for the agent to write to.
pub const SCRATCH: [&str; 2] = ["/tmp", "/dev/shm"];
/// Bytes of `/tmp` and of `/dev/shm`, each: they are memory, which on machines without control groups nothing else counts.
const SCRATCH_MOST_BYTES: &str = "64m";
/// Files and directories in each: an empty one is a KiB of the kernel's memory, and none of the bytes above.
const SCRATCH_MOST_FILES: &str = "16384";

/// What can be done with something bound into the new root.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BindKind {
    /// Read, and execute.
    ReadOnly,
    /// Read and write, and execute.
    Writable,
    /// A device node.
    Device,
}

/// Something of the machine that the agent sees.
#[derive(Debug)]
pub struct Bind {
    /// Opened in the mount namespace in which the new root is made.
    pub source: OwnedFd,
    /// Where the agent sees it; absolute.
    pub target: PathBuf,
    /// What can be done with it.
    pub kind: BindKind,
    /// As what it was granted.
    pub granted: Granted,
}

/// A symbolic link in the new root.
#[derive(Debug)]
pub struct Link {
    /// Where it is.
    pub path: PathBuf,
    /// What it says.
    pub text: PathBuf,
    /// As what it was granted.
    pub granted: Granted,
}

/// What the new root will hold, and the network that there is instead of the machine's.
#[derive(Debug)]
pub struct NewRoot {
    /// A network namespace that nobody else is in: see [`super::namespaces::network`].
    pub network: OwnedFd,
    /// Where somebody waits for this process to have moved, to unmount what it left.
    pub door: Door,
    /// Bound from the machine. What is deeper is bound later, whatever the order; at the same path, the last is seen.
    pub binds: Vec<Bind>,
    /// Symbolic links.
    pub links: Vec<Link>,
    /// Small files that are made up: path and content.
    pub texts: Vec<(PathBuf, String)>,
}

/// Makes an error about a path, for `map_err`.
fn at<E: Into<io::Error>>(path: &Path) -> impl FnOnce(E) -> JailError {
    move |source| JailError::Root { path: path.to_owned(), source: source.into() }
}

impl NewRoot {
    /// Makes the new root and moves into it. Returns the Landlock rules that match what was bound and made, and where to hear, before anything
    /// of the agent's runs, that the machine's root is gone.
    pub(super) fn enter(mut self, report: &mut Report) -> Result<(Vec<FileRule>, Door), JailError> {
        namespaces::enter_network(&self.network).map_err(JailError::step("enter a network of the agent's own"))?;
        report.full(Enforcer::Namespace, Address::Network, "sees no network interface");
        let root = fresh(
            "tmpfs",
            &[("size", ROOT_MOST_BYTES), ("nr_inodes", ROOT_MOST_FILES), ("mode", "0755")],
            MountAttrFlags::MOUNT_ATTR_NODEV,
        )
        .map_err(JailError::step("make a root for the agent"))?;
        mount::move_mount(&root, "", CWD, STAGE, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
            .map_err(JailError::step("mount the agent's root"))?;
        let mut ground = Ground::new(root).map_err(JailError::step("look at the agent's root"))?;
        for (path, text) in &self.texts {
            ground.text(path, text).map_err(at(path))?;
            let subject = Subject::path(path, Access::Ro, Granted::Made);
            report.full(Enforcer::Namespace, subject, format!("{} is made up, and read-only", path.display()));
        }
        self.binds.sort_by_key(|bind| bind.target.components().count());
        let mut rules = Vec::new();
        // First, since a home, a mount or a link may lie below them.
        for path in SCRATCH {
            rules.push(scratch(&mut ground, Path::new(path), report)?);
        }
        for link in &self.links {
            ground.link(&link.path, &link.text).map_err(at(&link.path))?;
            let promise = format!("{} leads to {}", link.path.display(), link.text.display());
            report.full(Enforcer::Namespace, Subject::path(&link.path, Access::Ro, link.granted), promise);
        }
        // Early: somebody else covers most of it meanwhile.
        let processes = mount_proc(&ground);
        if let Ok(proc) = &processes {
            self.door.proc(proc).map_err(JailError::step("say where /proc is"))?;
        }
        for bind in self.binds {
            attach(&ground, &bind)?;
            let (subject, how) = (bind.subject(), if bind.kind == BindKind::ReadOnly { "read-only" } else { "writable" });
            report.full(Enforcer::Namespace, subject, format!("{} is mounted {how}", bind.target.display()));
            rules.push(bind.into_rule());
        }
        let root = ground.into_root();
        pivot(&root, &self.door).map_err(JailError::step("move into the agent's root"))?;
        streams::replace_null().map_err(at(Path::new("/dev/null")))?;
        // Everything below it was granted at least for reading.
        rules.push(FileRule { place: root, reach: Reach::Read, subject: None });
        describe(processes.as_ref().err(), report);
        Ok((rules, self.door))
    }
}

impl Bind {
    /// What is granted by it.
    pub fn subject(&self) -> Subject {
        let access = match self.kind {
            BindKind::ReadOnly => Access::Ro,
            BindKind::Writable | BindKind::Device => Access::Rw,
        };
        Subject::path(&self.target, access, self.granted)
    }

    fn into_rule(self) -> FileRule {
        let subject = Some(self.subject());
        let reach = match self.kind {
            BindKind::ReadOnly => Reach::Execute,
            BindKind::Writable => Reach::WriteExecute,
            BindKind::Device => Reach::Device,
        };
        FileRule { place: self.source, reach, subject }
    }
}

/// A new, detached file system without set-user-id programs.
pub(super) fn fresh(kind: &str, options: &[(&str, &str)], attributes: MountAttrFlags) -> rustix::io::Result<OwnedFd> {
    let context = mount::fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC)?;
    for (key, value) in options {
        mount::fsconfig_set_string(context.as_fd(), *key, *value)?;
    }
    mount::fsconfig_create(context.as_fd())?;
    mount::fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes | MountAttrFlags::MOUNT_ATTR_NOSUID)
}

/// Binds one source, with everything mounted below it: that was looked at before it was granted, and is the operator's files as well.
fn attach(ground: &Ground, bind: &Bind) -> Result<(), JailError> {
    let path = bind.target.as_path();
    let stat = fs::fstat(&bind.source).map_err(at(path))?;
    let directory = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
    let target = ground.make(path, directory).map_err(at(path))?;
    let flags =
        OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH | OpenTreeFlags::AT_RECURSIVE;
    let tree = mount::open_tree(&bind.source, "", flags).map_err(at(path))?;
    let attributes = MountAttributes {
        // Data goes to a device through a read-only mount as well; its node's mode and times are the machine's.
        read_only: matches!(bind.kind, BindKind::ReadOnly | BindKind::Device),
        no_exec: bind.kind == BindKind::Device,
        devices: bind.kind == BindKind::Device,
    };
    // Before it is attached, so that it is at no time seen without them.
    unchecked::mount_setattr(tree.as_fd(), attributes).map_err(at(path))?;
    mount::move_mount(&tree, "", &target, "", MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH)
        .map_err(at(path))
}

/// An empty, private directory in memory, for everyone to write to.
fn scratch(ground: &mut Ground, path: &Path, report: &mut Report) -> Result<FileRule, JailError> {
    let options = [("size", SCRATCH_MOST_BYTES), ("nr_inodes", SCRATCH_MOST_FILES), ("mode", "1777")];
    let place = fresh("tmpfs", &options, MountAttrFlags::MOUNT_ATTR_NODEV).map_err(at(path))?;
    ground.add(&place).map_err(at(path))?;
    let target = ground.make(path, true).map_err(at(path))?;
    mount::move_mount(&place, "", &target, "", MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH)
        .map_err(at(path))?;
    let subject = Subject::path(path, Access::Rw, Granted::Scratch);
    let promise = format!("has a {} of its own, in memory and of at most {SCRATCH_MOST_BYTES}", path.display());
    report.full(Enforcer::Namespace, subject.clone(), promise);
    Ok(FileRule { place, reach: Reach::WriteExecute, subject: Some(subject) })
}

/// The processes of the new pid namespace. Read-only: an agent of root could otherwise write to `/proc/sys`.
fn mount_proc(ground: &Ground) -> io::Result<OwnedFd> {
    let attributes = MountAttrFlags::MOUNT_ATTR_NODEV | MountAttrFlags::MOUNT_ATTR_NOEXEC | MountAttrFlags::MOUNT_ATTR_RDONLY;
    let proc = fresh("proc", &[], attributes)?;
    let target = ground.make(Path::new("/proc"), true)?;
    mount::move_mount(&proc, "", &target, "", MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH)?;
    Ok(proc)
}

/// Swaps the roots, and has the old one let go of; then nothing can be made in the new one outside of what was mounted writable.
fn pivot(root: &OwnedFd, door: &Door) -> rustix::io::Result<()> {
    fchdir(root)?;
    // The old root ends up mounted over the new one, where "." still is: no directory for it is needed.
    pivot_root(".", ".")?;
    door.moved()?;
    // What is mounted over the root is not what "/" means.
    rustix::process::chdir("/")?;
    mount::mount_remount("/", MountFlags::BIND | MountFlags::RDONLY | MountFlags::NOSUID | MountFlags::NODEV, "")?;
    fs::openat(CWD, "/", OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).map(drop)
}

fn describe(no_proc: Option<&io::Error>, report: &mut Report) {
    report.full(Enforcer::Namespace, Wall::Files, "sees no file but those that it was granted");
    report.full(Enforcer::Namespace, Wall::Teardown, "leaves no process behind");
    match no_proc {
        None => {
            let promise = "/proc shows its own processes, and of the machine what programs commonly read, read-only";
            report.full(Enforcer::Namespace, Subject::path("/proc", Access::Ro, Granted::Made), promise);
            report.full(Enforcer::Namespace, Wall::Processes, "sees no process but its own");
        }
        // No process of others is seen then, either; the agent misses something, and it should be known.
        Some(error) => {
            let because = format!("it does not see its own either: this machine refuses a new /proc ({error})");
            report.partial(Enforcer::Namespace, Wall::Processes, "sees no process but its own", because);
        }
    }
}
