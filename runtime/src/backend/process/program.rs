//! Which program a reaper is.
//!
//! ```text
//!  /proc/self/exe ── its directory, by handle ──→ lazarus-jail, where it is as much the operator's own ──→ started by its descriptor
//!        └──────────── otherwise ──→ this very program
//! ```
//!
//! This program is large, and to start it once more for every agent costs more than most of the jail. `lazarus-jail` is made of the same
//! sources, and holds the reaper alone. What it is handed names the build that wrote it ([`crate::backend::handoff`]): that of another is
//! refused. It is opened once, when a warden starts, so that an update meanwhile changes nothing for it.

use std::{
    ffi::OsString,
    fs, io,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::fs::MetadataExt,
    },
    path::Path,
    process::ExitCode,
    sync::Arc,
};

use rustix::{
    fs::{CWD, FileType, Mode, OFlags, Stat, fstat, openat},
    process::umask,
};

use super::{SUBCOMMAND, main_jail};
use crate::backend::{UMASK, handoff::followed};

/// The name of the small program, in the directory of this one.
pub const SMALL_PROGRAM: &str = "lazarus-jail";
/// This very program, also when its file was replaced since it was started.
const OWN_PROGRAM: &str = "/proc/self/exe";
/// Bits of a mode by which others than the owner can write.
const OTHERS_WRITE: u32 = 0o022;
/// Bits of a mode that change as whom, or as what, something is executed.
const SET_ID: u32 = 0o6000;
/// Whom files seem to belong to whose owner the user namespace does not know (user_namespaces(7)): it could be anybody.
const OVERFLOW_USER: u32 = 65_534;
/// The bit of a directory in which everyone can make files, and nobody can replace another's.
const STICKY: u32 = 0o1000;

/// The program that reapers are started from.
#[derive(Debug, Clone)]
pub struct ReaperProgram(Option<Arc<OwnedFd>>);

impl ReaperProgram {
    /// The small program beside this one; where there is none that can be trusted as this one is, this very program. To be called before
    /// this process moves into a user namespace, in which owners cannot be told apart.
    pub fn find() -> Self {
        Self(beside().ok().flatten().map(Arc::new))
    }

    /// This very program.
    pub const fn own() -> Self {
        Self(None)
    }

    /// A program that was opened: whoever opened it knows that it is a reaper.
    pub fn opened(program: OwnedFd) -> Self {
        Self(Some(Arc::new(program)))
    }

    /// The small program; `None` where it is this very program.
    pub fn small(&self) -> Option<BorrowedFd<'_>> {
        self.0.as_ref().map(|program| program.as_fd())
    }
}

/// Runs the small program: it knows one hidden subcommand.
pub fn main_reaper() -> ExitCode {
    umask(Mode::from_raw_mode(UMASK));
    let args: Vec<OsString> = std::env::args_os().collect();
    let known = args.get(1).is_some_and(|arg| arg == SUBCOMMAND);
    followed(if known { &args } else { &[] }, main_jail)
}

/// Opens the small program, where this one still is where it was started from.
fn beside() -> io::Result<Option<OwnedFd>> {
    let path = fs::read_link(OWN_PROGRAM)?;
    let (own, there) = (fs::metadata(OWN_PROGRAM)?, fs::symlink_metadata(&path)?);
    // Replaced by an update, say: what is beside it then is of another build.
    if (own.dev(), own.ino()) != (there.dev(), there.ino()) {
        return Ok(None);
    }
    let Some(directory) = path.parent() else { return Ok(None) };
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(trusted(&openat(CWD, directory, flags, Mode::empty())?, own.uid(), own.mode())?)
}

/// Opens the small program in a directory, where nobody but the owner of this one, and whoever can write to this one, could have put it there.
fn trusted(directory: &OwnedFd, owner: u32, mode: u32) -> rustix::io::Result<Option<OwnedFd>> {
    if fstat(directory)?.st_mode & STICKY != 0 {
        return Ok(None);
    }
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let program = openat(directory, Path::new(SMALL_PROGRAM), flags, Mode::empty())?;
    Ok(is_as_own(&fstat(&program)?, owner, mode).then_some(program))
}

fn is_as_own(found: &Stat, owner: u32, mode: u32) -> bool {
    let plain = FileType::from_raw_mode(found.st_mode) == FileType::RegularFile && found.st_mode & SET_ID == 0;
    let more_writable = found.st_mode & OTHERS_WRITE & !mode != 0;
    plain && found.st_uid == owner && owner != OVERFLOW_USER && !more_writable
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    /// A directory with a small program in it, and what is found there.
    struct Place(tempfile::TempDir);

    impl Place {
        fn new() -> Self {
            let place = Self(tempfile::tempdir().expect("tempdir"));
            fs::write(place.program(), "program").expect("written");
            place.modes(0o755, 0o755);
            place
        }

        fn program(&self) -> std::path::PathBuf {
            self.0.path().join(SMALL_PROGRAM)
        }

        fn modes(&self, directory: u32, program: u32) {
            let set = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("set");
            set(&self.program(), program);
            set(self.0.path(), directory);
        }

        fn is_found_by(&self, owner: u32, mode: u32) -> bool {
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let directory = openat(CWD, self.0.path(), flags, Mode::empty()).expect("open");
            trusted(&directory, owner, mode).is_ok_and(|found| found.is_some())
        }
    }

    fn stat_of(owner: u32) -> Stat {
        let mut stat = fstat(tempfile::tempfile().expect("a file")).expect("looked at");
        (stat.st_uid, stat.st_mode) = (owner, 0o100_755);
        stat
    }

    #[test]
    fn a_program_is_taken_where_nobody_else_could_have_put_it() {
        let place = Place::new();
        let own = rustix::process::geteuid().as_raw();
        assert!(place.is_found_by(own, 0o755), "the twin");
        assert!(!place.is_found_by(own + 1, 0o755), "of another owner");
        assert!(!is_as_own(&stat_of(OVERFLOW_USER), OVERFLOW_USER, 0o755), "whose owner cannot be known");
        assert!(is_as_own(&stat_of(4711), 4711, 0o755), "the twin");
        place.modes(0o755, 0o775);
        assert!(!place.is_found_by(own, 0o755), "a group can write to it that cannot write to this program");
        assert!(place.is_found_by(own, 0o775), "whoever can write to it can write to this program");
        place.modes(0o755, 0o757);
        assert!(!place.is_found_by(own, 0o755), "everyone can write to it");
        place.modes(0o755, 0o4755);
        assert!(!place.is_found_by(own, 0o755), "set-user-id");
        place.modes(0o1777, 0o755);
        assert!(!place.is_found_by(own, 0o755), "everyone can make files beside this program");
    }

    #[test]
    fn a_link_or_a_directory_is_no_program() {
        let place = Place::new();
        let own = rustix::process::geteuid().as_raw();
        let elsewhere = place.0.path().join("elsewhere");
        fs::rename(place.program(), &elsewhere).expect("renamed");
        assert!(!place.is_found_by(own, 0o755), "nothing is there");
        symlink(&elsewhere, place.program()).expect("linked");
        assert!(!place.is_found_by(own, 0o755), "a link");
        fs::remove_file(place.program()).expect("removed");
        fs::create_dir(place.program()).expect("made");
        assert!(!place.is_found_by(own, 0o755), "a directory");
    }

    #[test]
    fn where_there_is_none_it_is_this_program() {
        // Beside a test there is none: cargo gives what it builds for tests longer names.
        assert!(ReaperProgram::find().small().is_none());
    }
}
