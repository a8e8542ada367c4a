//! Modes, owners, times and attributes of files that are not mounted in a root of the agent's own.
//!
//! Landlock does not know them: whoever can name a file of its own user could change them, whatever its rules say (landlock(7), "Current
//! limitations"). Behind a mount namespace there is nothing to name, but what an agent has open from outside: the streams of a foreground run.
//! There, and where there is no namespace, the calls that make such changes are held by the kernel (seccomp_unotify(2)), and the reaper makes
//! them in the agent's place: on a file that lies below what the agent may write, or on one of the agent's own mounts, and on no other (`EPERM`).
//!
//! ```text
//!  held call → what is changed, and how (numbers, and words from the caller's memory)
//!            → the file, held open: as the caller would have found it, but by its identity from here on
//!            → where it lies, by the kernel's word for it: below a writable place, on an own mount, or refused
//!            → the change, made on what is held open
//! ```
//!
//! Whatever the caller changes in its memory, or about its names, meanwhile: the file that is changed is the one that was looked at. A hard
//! link to a file outside cannot be made inside (Landlock), so that a file that lies inside is the agent's to change.

use std::{
    collections::BTreeSet,
    ffi::{CStr, CString, OsStr},
    fs::File,
    io,
    os::{
        fd::{AsFd, AsRawFd, OwnedFd},
        unix::{ffi::OsStrExt, fs::FileExt},
    },
    path::{Path, PathBuf},
};

use rustix::{
    fs::{AtFlags, CWD, FileType, Gid, Mode, OFlags, StatxFlags, Timespec, Timestamps, Uid, XattrFlags, openat},
    io::Errno,
};

use crate::unchecked::HeldCall;

/// The longest path that the kernel takes, with its end.
const PATH_MOST_BYTES: usize = libc::PATH_MAX.cast_unsigned() as usize;
/// The longest name of an attribute, with its end: linux/limits.h, `XATTR_NAME_MAX`.
const NAME_MOST_BYTES: usize = 256;
/// The largest value of an attribute: linux/limits.h, `XATTR_SIZE_MAX`.
const VALUE_MOST_BYTES: u64 = 65_536;
/// Bits of a mode that let whoever executes a file become its owner or group: refused by the agent's own filter, too.
const SET_ID: u32 = libc::S_ISUID | libc::S_ISGID;
/// Memory is read up to the end of one of its pages at a time: what lies behind may not be there.
const PAGE_BYTES: u64 = 4096;

/// Not in libc for every target; the number is the same on all (added in Linux 6.6).
const SYS_FCHMODAT2: libc::c_long = 452;

/// Where an agent may change what lies there.
#[derive(Debug)]
pub(super) enum Marks {
    /// Below these places.
    Below(Vec<PathBuf>),
    /// On these mounts, by number: those of the agent's own root, of which what is read-only refuses by itself. By number, since a path of a file
    /// outside may read like one of them.
    On(BTreeSet<u64>),
}

/// What is changed.
#[derive(Debug, PartialEq, Eq)]
enum Target {
    /// A path in the caller's memory, from one of its directories on.
    Path { base: i32, path: u64, follow: bool, or_base: bool },
    /// What the caller has open.
    Open(i32),
}

/// How it is changed.
#[derive(Debug)]
enum Change {
    Mode(u32),
    Owner(u32, u32),
    Times(Timestamps),
    SetAttribute { name: CString, value: Vec<u8>, flags: XattrFlags },
    RemoveAttribute { name: CString },
}

/// The lower half of an argument, which is all that the kernel looks at where it is an `int`.
fn int(argument: u64) -> i32 {
    (argument & u64::from(u32::MAX)) as u32 as i32
}

/// The same, unsigned.
fn word(argument: u64) -> u32 {
    (argument & u64::from(u32::MAX)) as u32
}

/// The memory of whoever calls.
struct Memory(File);

impl Memory {
    fn of(thread: u32) -> Result<Self, Errno> {
        File::open(format!("/proc/{thread}/mem")).map(Self).map_err(|_| Errno::PERM)
    }

    fn bytes<const COUNT: usize>(&self, address: u64) -> Result<[u8; COUNT], Errno> {
        let mut bytes = [0; COUNT];
        self.0.read_exact_at(&mut bytes, address).map_err(|_| Errno::FAULT)?;
        Ok(bytes)
    }

    /// A pair of 64-bit numbers, as they stand in memory.
    fn pair(&self, address: u64) -> Result<(i64, i64), Errno> {
        let bytes = self.bytes::<16>(address)?;
        let (first, second) = bytes.split_at(8);
        let number = |bytes: &[u8]| bytes.try_into().map(i64::from_ne_bytes).map_err(|_| Errno::FAULT);
        Ok((number(first)?, number(second)?))
    }

    fn value(&self, address: u64, length: u64) -> Result<Vec<u8>, Errno> {
        if length > VALUE_MOST_BYTES {
            return Err(Errno::TOOBIG);
        }
        let mut bytes = vec![0; usize::try_from(length).map_err(|_| Errno::TOOBIG)?];
        self.0.read_exact_at(&mut bytes, address).map_err(|_| Errno::FAULT)?;
        Ok(bytes)
    }

    /// Text up to its NUL, which must come within `most` bytes.
    fn text(&self, address: u64, most: usize, too_long: Errno) -> Result<CString, Errno> {
        let mut text = Vec::new();
        while text.len() < most {
            let at = address.checked_add(text.len() as u64).ok_or(Errno::FAULT)?;
            let to_page_end = usize::try_from(PAGE_BYTES - at % PAGE_BYTES).map_err(|_| Errno::FAULT)?;
            let mut piece = vec![0; to_page_end.min(most - text.len())];
            self.0.read_exact_at(&mut piece, at).map_err(|_| Errno::FAULT)?;
            text.extend_from_slice(&piece);
            if let Ok(text) = CStr::from_bytes_until_nul(&text) {
                return Ok(text.to_owned());
            }
        }
        Err(too_long)
    }
}

/// Two times by seconds and a fraction; the fraction is multiplied to nanoseconds.
fn times(memory: &Memory, address: u64, to_nanos: i64) -> Result<Timestamps, Errno> {
    if address == 0 {
        let now = || Timespec { tv_sec: 0, tv_nsec: rustix::fs::UTIME_NOW };
        return Ok(Timestamps { last_access: now(), last_modification: now() });
    }
    let time = |address: u64| {
        let (tv_sec, fraction) = memory.pair(address)?;
        let tv_nsec = fraction.checked_mul(to_nanos).ok_or(Errno::INVAL)?;
        // The two marks of utimensat(2), `now` and `leave it`, are its own alone.
        if to_nanos != 1 && !(0..1_000_000_000).contains(&tv_nsec) {
            return Err(Errno::INVAL);
        }
        Ok(Timespec { tv_sec, tv_nsec })
    };
    Ok(Timestamps { last_access: time(address)?, last_modification: time(address.checked_add(16).ok_or(Errno::FAULT)?)? })
}

fn attribute(memory: &Memory, [_, name, value, length, flags, _]: [u64; 6]) -> Result<Change, Errno> {
    let flags = XattrFlags::from_bits(word(flags)).ok_or(Errno::INVAL)?;
    Ok(Change::SetAttribute { name: memory.text(name, NAME_MOST_BYTES, Errno::RANGE)?, value: memory.value(value, length)?, flags })
}

fn attribute_removed(memory: &Memory, name: u64) -> Result<Change, Errno> {
    Ok(Change::RemoveAttribute { name: memory.text(name, NAME_MOST_BYTES, Errno::RANGE)? })
}

const fn at_path(base: i32, path: u64, follow: bool) -> Target {
    Target::Path { base, path, follow, or_base: false }
}

/// A path with the flags of an `…at` call.
fn by_flags(base: u64, path: u64, flags: u64) -> Result<Target, Errno> {
    let flags = int(flags);
    if flags & !(libc::AT_SYMLINK_NOFOLLOW | libc::AT_EMPTY_PATH) != 0 {
        return Err(Errno::INVAL);
    }
    let (follow, or_base) = (flags & libc::AT_SYMLINK_NOFOLLOW == 0, flags & libc::AT_EMPTY_PATH != 0);
    Ok(Target::Path { base: int(base), path, follow, or_base })
}

/// What a call asks for.
fn asked(held: &HeldCall, memory: &Memory) -> Result<(Target, Change), Errno> {
    let arguments = held.arguments;
    let [a, b, c, d, e, _] = arguments;
    let here = libc::AT_FDCWD;
    Ok(match held.number {
        libc::SYS_fchmod => (Target::Open(int(a)), Change::Mode(word(b))),
        libc::SYS_fchmodat => (at_path(int(a), b, true), Change::Mode(word(c))),
        SYS_FCHMODAT2 => (by_flags(a, b, d)?, Change::Mode(word(c))),
        libc::SYS_fchown => (Target::Open(int(a)), Change::Owner(word(b), word(c))),
        libc::SYS_fchownat => (by_flags(a, b, e)?, Change::Owner(word(c), word(d))),
        libc::SYS_utimensat if b == 0 => (Target::Open(int(a)), Change::Times(times(memory, c, 1)?)),
        libc::SYS_utimensat => (by_flags(a, b, d)?, Change::Times(times(memory, c, 1)?)),
        libc::SYS_setxattr => (at_path(here, a, true), attribute(memory, arguments)?),
        libc::SYS_lsetxattr => (at_path(here, a, false), attribute(memory, arguments)?),
        libc::SYS_fsetxattr => (Target::Open(int(a)), attribute(memory, arguments)?),
        libc::SYS_removexattr => (at_path(here, a, true), attribute_removed(memory, b)?),
        libc::SYS_lremovexattr => (at_path(here, a, false), attribute_removed(memory, b)?),
        libc::SYS_fremovexattr => (Target::Open(int(a)), attribute_removed(memory, b)?),
        number => older(number, arguments, memory)?,
    })
}

/// Calls that only this processor still has.
#[cfg(target_arch = "x86_64")]
fn older(number: libc::c_long, [a, b, c, ..]: [u64; 6], memory: &Memory) -> Result<(Target, Change), Errno> {
    let here = libc::AT_FDCWD;
    Ok(match number {
        libc::SYS_chmod => (at_path(here, a, true), Change::Mode(word(b))),
        libc::SYS_chown => (at_path(here, a, true), Change::Owner(word(b), word(c))),
        libc::SYS_lchown => (at_path(here, a, false), Change::Owner(word(b), word(c))),
        libc::SYS_utimes => (at_path(here, a, true), Change::Times(times(memory, b, 1000)?)),
        libc::SYS_futimesat if b == 0 => (Target::Open(int(a)), Change::Times(times(memory, c, 1000)?)),
        libc::SYS_futimesat => (at_path(int(a), b, true), Change::Times(times(memory, c, 1000)?)),
        libc::SYS_utime if b == 0 => (at_path(here, a, true), Change::Times(times(memory, 0, 1)?)),
        libc::SYS_utime => {
            let (access, modification) = memory.pair(b)?;
            let whole = |tv_sec| Timespec { tv_sec, tv_nsec: 0 };
            (at_path(here, a, true), Change::Times(Timestamps { last_access: whole(access), last_modification: whole(modification) }))
        }
        _ => return Err(Errno::PERM),
    })
}

#[cfg(not(target_arch = "x86_64"))]
fn older(_: libc::c_long, _: [u64; 6], _: &Memory) -> Result<(Target, Change), Errno> {
    Err(Errno::PERM)
}

/// What a thread has open under a number, or where it is: held, but not opened to read or write.
fn held_open(thread: u32, number: i32) -> Result<OwnedFd, Errno> {
    let place = match number {
        libc::AT_FDCWD => format!("/proc/{thread}/cwd"),
        number if number >= 0 => format!("/proc/{thread}/fd/{number}"),
        _ => return Err(Errno::BADF),
    };
    openat(CWD, place, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
        .map_err(|errno| if errno == Errno::NOENT { Errno::BADF } else { errno })
}

/// A path that goes through `/proc/self` means the caller, not this process.
fn in_its_words(thread: u32, path: &CStr) -> PathBuf {
    let path = Path::new(OsStr::from_bytes(path.to_bytes()));
    for own in ["/proc/self", "/proc/thread-self", "/dev/fd"] {
        if let Ok(rest) = path.strip_prefix(own) {
            let place = if own == "/dev/fd" { format!("/proc/{thread}/fd") } else { format!("/proc/{thread}") };
            return Path::new(&place).join(rest);
        }
    }
    path.to_owned()
}

impl Target {
    /// The file itself, held open.
    fn hold(&self, thread: u32, memory: &Memory) -> Result<OwnedFd, Errno> {
        let (base, path, follow, or_base) = match *self {
            Self::Open(number) => {
                // `AT_FDCWD` is no descriptor.
                return if number < 0 { Err(Errno::BADF) } else { held_open(thread, number) };
            }
            Self::Path { base, path, follow, or_base } => (base, path, follow, or_base),
        };
        let path = memory.text(path, PATH_MOST_BYTES, Errno::NAMETOOLONG)?;
        if path.is_empty() {
            return if or_base { held_open(thread, base) } else { Err(Errno::NOENT) };
        }
        let mut flags = OFlags::PATH | OFlags::CLOEXEC;
        flags.set(OFlags::NOFOLLOW, !follow);
        if path.to_bytes()[0] == b'/' {
            return openat(CWD, in_its_words(thread, &path), flags, Mode::empty());
        }
        openat(held_open(thread, base)?, path.as_c_str(), flags, Mode::empty())
    }
}

/// A name for what is held open, for calls that take no descriptor of this kind.
fn name_of(file: &OwnedFd) -> String {
    format!("/proc/self/fd/{}", file.as_raw_fd())
}

impl Marks {
    /// What lies below these places may be changed.
    ///
    /// # Errors
    /// A place whose path cannot be told.
    pub fn new(writable: &[impl AsFd]) -> io::Result<Self> {
        let path = |place: &dyn AsFd| std::fs::read_link(format!("/proc/self/fd/{}", place.as_fd().as_raw_fd()));
        Ok(Self::Below(writable.iter().map(|place| path(place)).collect::<io::Result<_>>()?))
    }

    /// What lies on a mount of this process's namespace may be changed, as far as that is writable. None may, where a kernel does not tell.
    pub fn of_own_mounts() -> Self {
        let table = std::fs::read("/proc/self/mountinfo").unwrap_or_default();
        // Its first field is the mount's number: proc_pid_mountinfo(5).
        let numbers = table
            .split(|byte| *byte == b'\n')
            .filter_map(|line| std::str::from_utf8(line.split(|byte| *byte == b' ').next()?).ok()?.parse().ok());
        Self::On(numbers.collect())
    }

    /// Makes a held call ([`MARKS`](crate::jail::MARKS)), or refuses it.
    ///
    /// # Errors
    /// What the caller is told: `EPERM` for what does not lie where it may be changed, else what the kernel says.
    pub fn make(&self, held: &HeldCall) -> Result<(), Errno> {
        let memory = Memory::of(held.thread)?;
        let (target, change) = asked(held, &memory)?;
        let file = target.hold(held.thread, &memory)?;
        if !self.has(&file) {
            return Err(Errno::PERM);
        }
        change.make(&file)
    }

    /// Whether a file lies where it may be changed; one without a name, whether it was made or removed there. What is no file does not.
    fn has(&self, file: &OwnedFd) -> bool {
        match self {
            Self::Below(writable) => {
                std::fs::read_link(name_of(file)).is_ok_and(|place| writable.iter().any(|writable| place.starts_with(writable)))
            }
            Self::On(mounts) => {
                let found = rustix::fs::statx(file, "", AtFlags::EMPTY_PATH, StatxFlags::MNT_ID);
                found.is_ok_and(|found| found.stx_mask & StatxFlags::MNT_ID.bits() != 0 && mounts.contains(&found.stx_mnt_id))
            }
        }
    }
}

impl Change {
    fn make(self, file: &OwnedFd) -> Result<(), Errno> {
        let is_link = || rustix::fs::fstat(file).map(|found| FileType::from_raw_mode(found.st_mode) == FileType::Symlink);
        match self {
            Self::Mode(mode) if mode & SET_ID != 0 => Err(Errno::PERM),
            Self::Mode(mode) => rustix::fs::chmod(name_of(file), Mode::from_raw_mode(mode & 0o7777)),
            Self::Owner(user, group) => {
                let some = |id: u32| (id != u32::MAX).then_some(id);
                rustix::fs::chownat(file, "", some(user).map(Uid::from_raw), some(group).map(Gid::from_raw), AtFlags::EMPTY_PATH)
            }
            Self::Times(times) => rustix::fs::utimensat(file, "", &times, AtFlags::EMPTY_PATH),
            // Through its name a link would be another file; and the kernel keeps no attributes of users for links.
            Self::SetAttribute { .. } | Self::RemoveAttribute { .. } if is_link()? => Err(Errno::PERM),
            Self::SetAttribute { name, value, flags } => rustix::fs::setxattr(name_of(file), name.as_c_str(), &value, flags),
            Self::RemoveAttribute { name } => rustix::fs::removexattr(name_of(file), name.as_c_str()),
        }
    }
}

#[cfg(test)]
#[path = "marks_tests.rs"]
mod tests;
