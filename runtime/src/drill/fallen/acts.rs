//! What a host that has fallen tries. Each act returns what it got, or the error of the very call that was refused.

use std::{io, os::fd::AsFd, path::Path};

use rustix::{
    fs::{AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags, Timespec, Timestamps},
    net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType},
    process::{Pid, PidfdFlags, Resource, Rlimit, Signal},
};

use crate::unchecked::{self, CodeMemory};

/// Bytes of a file that are shown: more than any canary has.
const SHOWN_MOST_BYTES: usize = 512;
/// Descriptors that are looked for: more than a host with one guest may have.
const DESCRIPTORS_MOST: i32 = 4096;

/// Times that no file of a drill has.
const LONG_AGO: Timestamps =
    Timestamps { last_access: Timespec { tv_sec: 1, tv_nsec: 0 }, last_modification: Timespec { tv_sec: 1, tv_nsec: 0 } };

fn misused<T>() -> io::Result<T> {
    Err(io::Error::other("the catalogue gives this act other arguments than it takes"))
}

/// `call path`: one call on a file by its path.
pub fn file(args: &[String]) -> io::Result<String> {
    let [call, path] = args else { return misused() };
    let (path, done) = (Path::new(path), |()| String::new());
    let open = |flags: OFlags| rustix::fs::openat(CWD, path, flags | OFlags::CLOEXEC | OFlags::NONBLOCK, Mode::RUSR | Mode::WUSR);
    match call.as_str() {
        "read" => read(&open(OFlags::RDONLY)?),
        "read-beneath" => {
            let flags = OFlags::RDONLY | OFlags::CLOEXEC;
            match rustix::fs::openat2(CWD, path, flags, Mode::empty(), ResolveFlags::NO_MAGICLINKS) {
                // A kernel without it: what every library does then.
                Err(rustix::io::Errno::NOSYS) => read(&open(OFlags::RDONLY)?),
                opened => read(&opened?),
            }
        }
        "write" => {
            rustix::io::write(open(OFlags::WRONLY)?, b"fallen")?;
            Ok(String::new())
        }
        "truncate" => open(OFlags::WRONLY | OFlags::TRUNC).map(|_| String::new()).map_err(Into::into),
        "create" => open(OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL).map(|_| String::new()).map_err(Into::into),
        "unnamed" => open(OFlags::WRONLY | OFlags::TMPFILE).map(|_| String::new()).map_err(Into::into),
        "list" => Ok(names(rustix::fs::Dir::read_from(open(OFlags::RDONLY | OFlags::DIRECTORY)?)?)),
        "unlink" => rustix::fs::unlink(path).map(done).map_err(Into::into),
        "mkdir" => rustix::fs::mkdir(path, Mode::RWXU).map(done).map_err(Into::into),
        "mode" => rustix::fs::chmodat(CWD, path, Mode::RWXU, AtFlags::empty()).map(done).map_err(Into::into),
        "own" => rustix::fs::chown(path, None, None).map(done).map_err(Into::into),
        "pipe" => rustix::fs::mknodat(CWD, path, FileType::Fifo, Mode::RUSR, 0).map(done).map_err(Into::into),
        "attribute" => rustix::fs::setxattr(path, "user.drill", b"x", rustix::fs::XattrFlags::empty()).map(done).map_err(Into::into),
        "times" => rustix::fs::utimensat(CWD, path, &LONG_AGO, AtFlags::empty()).map(done).map_err(Into::into),
        _ => misused(),
    }
}

fn read(file: &impl AsFd) -> io::Result<String> {
    let mut bytes = vec![0; SHOWN_MOST_BYTES];
    let count = rustix::io::read(file, &mut bytes)?;
    Ok(String::from_utf8_lossy(bytes.get(..count).unwrap_or_default()).into_owned())
}

/// `call path path`: one call on two paths.
pub fn files(args: &[String]) -> io::Result<String> {
    let [call, from, to] = args else { return misused() };
    let (from, to) = (Path::new(from), Path::new(to));
    match call.as_str() {
        "rename" => rustix::fs::rename(from, to)?,
        "link" => rustix::fs::link(from, to)?,
        // Of what is open; or, where there is another path, of what that leads to.
        "times" if to.as_os_str().is_empty() => {
            rustix::fs::futimens(rustix::fs::openat(CWD, from, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?, &LONG_AGO)?;
        }
        "times" => rustix::fs::utimensat(CWD, to, &LONG_AGO, AtFlags::empty())?,
        // A link leads wherever it likes; reading through it is what counts.
        "symlink" => {
            rustix::fs::symlink(from, to)?;
            return read(&rustix::fs::openat(CWD, to, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?);
        }
        _ => return misused(),
    }
    Ok(String::new())
}

/// `what name`: a way to talk; `pair` of the twin talks to nobody but itself.
pub fn talk(args: &[String]) -> io::Result<String> {
    let [what, name] = args else { return misused() };
    let socket = |family, kind| rustix::net::socket_with(family, kind, SocketFlags::CLOEXEC, None);
    let unix = |address: io::Result<SocketAddrUnix>| {
        let socket = socket(AddressFamily::UNIX, SocketType::STREAM)?;
        rustix::net::connect(&socket, &address?)?;
        Ok(String::new())
    };
    match what.as_str() {
        "pair" => rustix::net::socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None).map(|_| String::new()),
        "tcp" => socket(AddressFamily::INET, SocketType::STREAM).map(|_| String::new()),
        "tcp6" => socket(AddressFamily::INET6, SocketType::STREAM).map(|_| String::new()),
        "udp" => socket(AddressFamily::INET, SocketType::DGRAM).map(|_| String::new()),
        "raw" => socket(AddressFamily::INET, SocketType::RAW).map(|_| String::new()),
        "netlink" => socket(AddressFamily::NETLINK, SocketType::RAW).map(|_| String::new()),
        "packet" => socket(AddressFamily::PACKET, SocketType::RAW).map(|_| String::new()),
        "vsock" => socket(AddressFamily::VSOCK, SocketType::STREAM).map(|_| String::new()),
        "alg" => socket(AddressFamily::from_raw(38), SocketType::SEQPACKET).map(|_| String::new()),
        "unix" => return unix(SocketAddrUnix::new(name.as_str()).map_err(Into::into)),
        "abstract" => return unix(SocketAddrUnix::new_abstract_name(name.as_bytes()).map_err(Into::into)),
        _ => return misused(),
    }
    .map_err(Into::into)
}

/// `what pid`: reaches for a process. The twin's is its own.
pub fn process(args: &[String]) -> io::Result<String> {
    let [what, pid] = args else { return misused() };
    let own = pid == "own";
    let number = if own { rustix::process::getpid().as_raw_nonzero().get() } else { pid.parse().unwrap_or(-1) };
    let Some(pid) = Pid::from_raw(number) else { return misused() };
    match what.as_str() {
        // Without a signal: whether it may.
        "kill" if own => rustix::process::test_kill_process(pid)?,
        "kill" => rustix::process::kill_process(pid, Signal::TERM)?,
        "handle" => drop(rustix::process::pidfd_open(pid, PidfdFlags::empty())?),
        _ => return misused(),
    }
    Ok(String::new())
}

/// `what`: a bare system call by its name; what the kernel does with it is no question here: it must not be asked at all.
pub fn call(args: &[String]) -> io::Result<String> {
    let [what] = args else { return misused() };
    unchecked::attempt_zeroed(what).map(|_| String::new())
}

/// `what`: memory for code of its own. The twin's is for data.
pub fn code(args: &[String]) -> io::Result<String> {
    let [what] = args else { return misused() };
    let memory = match what.as_str() {
        "data" => CodeMemory::Data,
        "at-once" => CodeMemory::AtOnce,
        "mapped" => CodeMemory::Mapped,
        "later" => CodeMemory::Later,
        _ => return misused(),
    };
    unchecked::attempt_code_memory(memory).map(|()| String::new())
}

/// `what`: takes back what the jail took. The twin only looks.
pub fn loosen(args: &[String]) -> io::Result<String> {
    let [what] = args else { return misused() };
    match what.as_str() {
        "look" => drop(unchecked::resource_limit(Resource::Core)?),
        "limits" => {
            let more = Rlimit { current: Some(1 << 40), maximum: Some(1 << 40) };
            rustix::process::setrlimit(Resource::Nofile, more)?;
        }
        "dumpable" => rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::Dumpable)?,
        "priority" => rustix::process::setpriority_process(None, -20)?,
        "root" => rustix::process::chroot("/")?,
        _ => return misused(),
    }
    Ok(String::new())
}

/// `which`: its `own` standard input is there; `foreign` ones are files and directories that are not what it was given, read as far as they let it.
pub fn descriptors(args: &[String]) -> io::Result<String> {
    let [which] = args else { return misused() };
    if which == "own" {
        return unchecked::any_descriptor(0).map(|_| String::new());
    }
    let mut found = Vec::new();
    for number in 0..DESCRIPTORS_MOST {
        let Ok(descriptor) = unchecked::any_descriptor(number) else { continue };
        let got = match FileType::from_raw_mode(rustix::fs::fstat(&descriptor)?.st_mode) {
            // What it was given to see is a directory: what lies above that is not.
            FileType::Directory => above(&descriptor),
            // What begins like that is the program that it runs.
            FileType::RegularFile => read(&descriptor).and_then(|got| if got.starts_with("\u{7f}ELF") { misused() } else { Ok(got) }),
            FileType::Socket
            | FileType::Fifo
            | FileType::CharacterDevice
            | FileType::BlockDevice
            | FileType::Symlink
            | FileType::Unknown => continue,
        };
        found.extend(got.ok().map(|got| format!("{number}: {got}")));
    }
    if found.is_empty() { Err(rustix::io::Errno::BADF.into()) } else { Ok(found.join("\n")) }
}

/// The names above a directory that was found open.
fn above(directory: &impl AsFd) -> io::Result<String> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let above = rustix::fs::openat(directory, "..", flags, Mode::empty())?;
    Ok(names(rustix::fs::Dir::read_from(&above)?))
}

fn names(directory: rustix::fs::Dir) -> String {
    directory.filter_map(Result::ok).map(|entry| entry.file_name().to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
}
