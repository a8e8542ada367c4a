//! Files by what is open.

use std::{fs, io, os::fd::AsRawFd};

use super::{at, done, number};
use crate::unchecked::attempt_call;

/// Descriptors that are looked at: more than any process of Lazarus may open.
const NUMBERS: u64 = 4096;

/// `[from]`: looks for an open descriptor, from that number on, and reads what it can of each that there is.
pub(in crate::drill) fn held(arguments: &[String]) -> io::Result<String> {
    let from: u64 = number(arguments, 0)?;
    let open: Vec<u64> = (from..NUMBERS).filter(|fd| attempt_call("fcntl", [*fd, 1, 0, 0, 0, 0]).is_ok()).collect();
    if open.is_empty() {
        return Err(io::Error::from_raw_os_error(libc::EBADF));
    }
    let read = |fd: &u64| fs::read_to_string(format!("/proc/self/fd/{fd}")).unwrap_or_default();
    // The standard streams may wait for ever.
    let contents: Vec<String> = open.iter().filter(|fd| **fd > 2).map(read).collect();
    Ok(format!("{open:?} {}", contents.join(" ")))
}

/// `[path, count]`: opens a file that many times.
pub(in crate::drill) fn exhaust(arguments: &[String]) -> io::Result<String> {
    let count: usize = number(arguments, 1)?;
    let opened = (0..count).map(|_| fs::File::open(at(arguments, 0)?)).collect::<io::Result<Vec<_>>>()?;
    Ok(opened.len().to_string())
}

/// `[path]`: opens a file for reading, then the open file again, for writing.
pub(in crate::drill) fn reopen(arguments: &[String]) -> io::Result<String> {
    let path = at(arguments, 0)?;
    let file = fs::File::open(path)?;
    let write = |path: &str| fs::OpenOptions::new().append(true).open(path).and_then(|file| file.set_len(0));
    match write(&format!("/proc/self/fd/{}", file.as_raw_fd())) {
        // Without namespaces there is no /proc in the cell: the name is the only other way.
        Err(error) if error.kind() == io::ErrorKind::NotFound => done(write(path)),
        Err(error) if error.raw_os_error() == Some(libc::EACCES) => done(write(path)),
        written => done(written),
    }
}
