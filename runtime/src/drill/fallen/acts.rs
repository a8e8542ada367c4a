//! What a host that has fallen tries. Each act returns what it got, or the error of the very call that was refused.

use std::{
    io,
    os::fd::{AsFd, AsRawFd},
    path::Path,
};

use rustix::{
    fs::{AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags, Timespec, Timestamps},
    mm::{MapFlags, MprotectFlags, ProtFlags},
    net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType},
    process::{Pid, PidfdFlags, Resource, Rlimit, Signal},
};

use crate::unchecked;

/// Bytes of a file that are shown: more than any canary has.
const SHOWN_MOST_BYTES: usize = 512;
/// Descriptors that are looked for: more than a host with one guest may have.
const DESCRIPTORS_MOST: i32 = 4096;

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
            read(&rustix::fs::openat2(CWD, path, flags, Mode::empty(), ResolveFlags::NO_MAGICLINKS)?)
        }
        "write" => {
            rustix::io::write(open(OFlags::WRONLY)?, b"fallen")?;
            Ok(String::new())
        }
        "truncate" => open(OFlags::WRONLY | OFlags::TRUNC).map(|_| String::new()).map_err(Into::into),
        "create" => open(OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL).map(|_| String::new()).map_err(Into::into),
        "unnamed" => open(OFlags::WRONLY | OFlags::TMPFILE).map(|_| String::new()).map_err(Into::into),
        "list" => {
            let names = rustix::fs::Dir::read_from(open(OFlags::RDONLY | OFlags::DIRECTORY)?)?;
            Ok(names.filter_map(Result::ok).map(|entry| entry.file_name().to_string_lossy().into_owned()).collect::<Vec<_>>().join(" "))
        }
        "unlink" => rustix::fs::unlink(path).map(done).map_err(Into::into),
        "mkdir" => rustix::fs::mkdir(path, Mode::RWXU).map(done).map_err(Into::into),
        "mode" => rustix::fs::chmodat(CWD, path, Mode::RWXU, AtFlags::empty()).map(done).map_err(Into::into),
        "own" => rustix::fs::chown(path, None, None).map(done).map_err(Into::into),
        "pipe" => rustix::fs::mknodat(CWD, path, FileType::Fifo, Mode::RUSR, 0).map(done).map_err(Into::into),
        "attribute" => rustix::fs::setxattr(path, "user.drill", b"x", rustix::fs::XattrFlags::empty()).map(done).map_err(Into::into),
        "times" => {
            let long_ago = Timespec { tv_sec: 1, tv_nsec: 0 };
            let times = Timestamps { last_access: long_ago, last_modification: long_ago };
            rustix::fs::utimensat(CWD, path, &times, AtFlags::empty()).map(done).map_err(Into::into)
        }
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
        "signal" => unchecked::signal_thread(number, if own { 0 } else { libc::SIGTERM })?,
        "kill" => rustix::process::kill_process(pid, Signal::TERM)?,
        "handle" => drop(rustix::process::pidfd_open(pid, PidfdFlags::empty())?),
        "environment" => return file(&["read".to_owned(), format!("/proc/{number}/environ")]),
        "memory" => return file(&["read".to_owned(), format!("/proc/{number}/mem")]),
        "files" => return file(&["list".to_owned(), format!("/proc/{number}/fd")]),
        _ => return misused(),
    }
    Ok(String::new())
}

/// `what`: a bare system call by its name; what the kernel does with it is no question here: it must not be asked at all.
pub fn call(args: &[String]) -> io::Result<String> {
    let [what] = args else { return misused() };
    unchecked::attempt_call(what).map(|_| String::new())
}

/// `what`: memory that is both written and executed, one after the other or at once. The twin's is only written.
pub fn code(args: &[String]) -> io::Result<String> {
    const PAGE_BYTES: usize = 4096;
    let [what] = args else { return misused() };
    let (first, then) = match what.as_str() {
        "write" => (ProtFlags::READ | ProtFlags::WRITE, MprotectFlags::READ),
        "at-once" => (ProtFlags::WRITE | ProtFlags::EXEC, MprotectFlags::READ),
        "map" => (ProtFlags::READ | ProtFlags::EXEC, MprotectFlags::READ),
        "later" => (ProtFlags::READ | ProtFlags::WRITE, MprotectFlags::READ | MprotectFlags::EXEC),
        _ => return misused(),
    };
    unchecked::attempt_mapping(PAGE_BYTES, first, MapFlags::PRIVATE, then).map(|()| String::new())
}

/// `what`: takes back what the jail took. The twin only looks.
pub fn loosen(args: &[String]) -> io::Result<String> {
    let [what] = args else { return misused() };
    match what.as_str() {
        "look" => drop(rustix::process::getrlimit(Resource::Core)),
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

/// `first`: looks, from this number on, for a descriptor of a file or a directory that is not the host's own business: what it finds it reads.
pub fn descriptors(args: &[String]) -> io::Result<String> {
    let [home] = args else { return misused() };
    let known = rustix::fs::stat(home.as_str()).ok().map(|stat| (stat.st_dev, stat.st_ino));
    let mut found = Vec::new();
    for number in 0..DESCRIPTORS_MOST {
        let Ok(descriptor) = unchecked::any_descriptor(number) else { continue };
        let stat = rustix::fs::fstat(&descriptor)?;
        let kind = FileType::from_raw_mode(stat.st_mode);
        if kind == FileType::Directory && known != Some((stat.st_dev, stat.st_ino)) {
            found.push(format!("directory {number}: {}", look_around(&descriptor).unwrap_or_default()));
        }
        if kind == FileType::RegularFile {
            found.push(format!("file {number}: {}", read(&descriptor).unwrap_or_default()));
        }
        // Borrowed from whoever owns it: not closed here.
        let _ = descriptor.as_raw_fd();
    }
    Ok(found.join("\n"))
}

/// What can be read above and below a directory that was found open.
fn look_around(directory: &impl AsFd) -> io::Result<String> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let above = rustix::fs::openat(directory, "..", flags, Mode::empty())?;
    let names = rustix::fs::Dir::read_from(&above)?;
    Ok(names.filter_map(Result::ok).map(|entry| entry.file_name().to_string_lossy().into_owned()).collect::<Vec<_>>().join(" "))
}
