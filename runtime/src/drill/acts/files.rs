//! Files by their names.

use std::{
    fs,
    io::{self, Read, Write},
    process::{Command, Stdio},
};

use rustix::fs::{AtFlags, CWD, FileType, Gid, Mode, OFlags, Timespec, Timestamps, XattrFlags, makedev};

use super::{at, done, number};

/// Bytes of a file that are read: more than any secret of a drill.
const READ_MOST_BYTES: u64 = 1024;

/// `[path]`: reads a file.
pub(in crate::drill) fn read(arguments: &[String]) -> io::Result<String> {
    let mut content = Vec::new();
    fs::File::open(at(arguments, 0)?)?.take(READ_MOST_BYTES).read_to_end(&mut content)?;
    Ok(String::from_utf8_lossy(&content).into_owned())
}

/// `[path]`: lists a directory.
pub(in crate::drill) fn list(arguments: &[String]) -> io::Result<String> {
    let names = fs::read_dir(at(arguments, 0)?)?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
    Ok(names.collect::<io::Result<Vec<_>>>()?.join(" "))
}

/// `[path]`: makes a file, or writes into one that is there.
pub(in crate::drill) fn create(arguments: &[String]) -> io::Result<String> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::CLOEXEC;
    let file = rustix::fs::openat(CWD, at(arguments, 0)?, flags, Mode::RUSR | Mode::WUSR)?;
    done(fs::File::from(file).write_all(b"attack"))
}

/// `[path]`: writes behind the end of a file that is there.
pub(in crate::drill) fn append(arguments: &[String]) -> io::Result<String> {
    let file = rustix::fs::openat(CWD, at(arguments, 0)?, OFlags::WRONLY | OFlags::APPEND | OFlags::CLOEXEC, Mode::empty())?;
    done(fs::File::from(file).write_all(b"attack"))
}

/// `[path]`: empties a file that is there.
pub(in crate::drill) fn truncate(arguments: &[String]) -> io::Result<String> {
    done(rustix::fs::openat(CWD, at(arguments, 0)?, OFlags::WRONLY | OFlags::TRUNC | OFlags::CLOEXEC, Mode::empty()).map(drop))
}

/// `[path]`: removes a file.
pub(in crate::drill) fn remove(arguments: &[String]) -> io::Result<String> {
    done(fs::remove_file(at(arguments, 0)?))
}

/// `[path, mode]`: changes who may do what with a file; the mode is octal.
pub(in crate::drill) fn chmod(arguments: &[String]) -> io::Result<String> {
    let mode = u32::from_str_radix(at(arguments, 1)?, 8).map_err(|_| io::Error::other("a mode is octal"))?;
    done(rustix::fs::chmod(at(arguments, 0)?, Mode::from_raw_mode(mode)))
}

/// `[path, mode]`: the same by what is open, which was opened to be read.
pub(in crate::drill) fn chmod_open(arguments: &[String]) -> io::Result<String> {
    let mode = u32::from_str_radix(at(arguments, 1)?, 8).map_err(|_| io::Error::other("a mode is octal"))?;
    let file = std::fs::File::open(at(arguments, 0)?)?;
    done(rustix::fs::fchmod(file, Mode::from_raw_mode(mode)))
}

/// `[path]`: gives a file to the group that it has already, which is an act of its owner all the same.
pub(in crate::drill) fn chown(arguments: &[String]) -> io::Result<String> {
    let path = at(arguments, 0)?;
    let group = rustix::fs::stat(path)?.st_gid;
    done(rustix::fs::chown(path, None, Some(Gid::from_raw(group))))
}

/// `[path, seconds]`: sets when a file was changed last.
pub(in crate::drill) fn set_time(arguments: &[String]) -> io::Result<String> {
    let time = Timespec { tv_sec: number(arguments, 1)?, tv_nsec: 0 };
    let times = Timestamps { last_access: time, last_modification: time };
    done(rustix::fs::utimensat(CWD, at(arguments, 0)?, &times, AtFlags::empty()))
}

/// `[path, name]`: gives a file an attribute of that name.
pub(in crate::drill) fn set_xattr(arguments: &[String]) -> io::Result<String> {
    done(rustix::fs::setxattr(at(arguments, 0)?, at(arguments, 1)?, b"attack", XattrFlags::empty()))
}

/// `[path, kind]`: makes a `device`, a `fifo` or a `socket`.
pub(in crate::drill) fn mknod(arguments: &[String]) -> io::Result<String> {
    let (kind, device) = match at(arguments, 1)? {
        // /dev/mem's numbers, for whoever could open it.
        "device" => (FileType::CharacterDevice, makedev(1, 1)),
        "fifo" => (FileType::Fifo, 0),
        _ => (FileType::Socket, 0),
    };
    done(rustix::fs::mknodat(CWD, at(arguments, 0)?, kind, Mode::RUSR | Mode::WUSR, device))
}

/// `[path]`: executes a program.
pub(in crate::drill) fn execute(arguments: &[String]) -> io::Result<String> {
    let output = Command::new(at(arguments, 0)?).stdin(Stdio::null()).output()?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// `[directory, length]`: makes a file with a name of that many bytes.
pub(in crate::drill) fn make_long(arguments: &[String]) -> io::Result<String> {
    let name = "x".repeat(number(arguments, 1)?);
    create(&[format!("{}/{name}", at(arguments, 0)?)])
}
