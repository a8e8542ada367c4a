//! The streams of a foreground run: they are the caller's, and go to a program that is not trusted.
//!
//! A program in a session of its own is not in the terminal's job control, so that the kernel would let it read whatever is typed, also what is
//! meant for the shell. So it has the terminal's input only while the command has the terminal, and the command keeps it to its end:
//!
//! - started in the background, its input is empty;
//! - its output, which on a terminal is open for reading as well, is opened again for writing alone;
//! - in the foreground, the terminal does not stop it (Ctrl-Z): it is the cell's warden, which may not sleep, either.

use std::{
    fs::File,
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
    sync::{Arc, atomic::AtomicBool},
};

use rustix::{
    fs::{CWD, FileType, Mode, OFlags, fcntl_getfl, fstat, openat},
    io::Errno,
    process::getpgrp,
    stdio::{dup2_stderr, dup2_stdin, dup2_stdout, stderr, stdin, stdout},
    termios::{isatty, tcgetpgrp},
};

use super::Error;

/// What the input of a command is to the terminal of its session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Input {
    /// Not that terminal.
    Other,
    /// The terminal, and the command has it.
    Foreground,
    /// The terminal, which somebody else has: a shell, most likely.
    Background,
}

fn input(stream: impl AsFd) -> rustix::io::Result<Input> {
    match tcgetpgrp(stream) {
        Ok(group) if group == getpgrp() => Ok(Input::Foreground),
        Ok(_) => Ok(Input::Background),
        // No terminal, or none of this session.
        Err(Errno::NOTTY | Errno::INVAL | Errno::BADF) => Ok(Input::Other),
        Err(error) => Err(error),
    }
}

/// Makes the caller's streams fit to be a guest's, for as long as this process lives.
///
/// # Errors
/// One is a directory: from there, names of the whole machine could be looked up, and their modes and times changed.
pub(super) fn lend_streams() -> Result<(), Error> {
    let is_directory =
        |stream: &dyn AsFd| fstat(stream.as_fd()).is_ok_and(|found| FileType::from_raw_mode(found.st_mode) == FileType::Directory);
    for (stream, why) in [
        (stdin(), "standard input is a directory, which would lead out of the cell: give it with --mount"),
        (stdout(), "standard output is a directory: nothing can be written to it"),
        (stderr(), "standard error is a directory: nothing can be written to it"),
    ] {
        if is_directory(&stream) {
            return Err(Error::Contradiction(why));
        }
    }
    keep_the_terminal().map_err(Error::Streams)?;
    match write_alone() {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Err(Error::Contradiction(
            "the terminal is another user's, and its program could read from it what is typed: send the output through a pipe, as in 2>&1 | cat",
        )),
        written => written.map_err(Error::Streams),
    }
}

fn keep_the_terminal() -> io::Result<()> {
    if input(stdin())? == Input::Background {
        dup2_stdin(File::open("/dev/null")?)?;
    }
    for stream in [stdin(), stdout(), stderr()] {
        if input(stream)? == Input::Foreground {
            // A handler that does nothing in particular: programs that are started from here do not have it.
            signal_hook::flag::register(signal_hook::consts::SIGTSTP, Arc::new(AtomicBool::new(false)))?;
            break;
        }
    }
    Ok(())
}

/// Opens an output that is a terminal again, so that nothing can be read from it.
fn write_alone() -> io::Result<()> {
    type Replace = fn(&OwnedFd) -> rustix::io::Result<()>;
    let outputs: [(BorrowedFd<'_>, Replace); 2] = [(stdout(), |file| dup2_stdout(file)), (stderr(), |file| dup2_stderr(file))];
    for (stream, replace) in outputs {
        let is_readable = fcntl_getfl(stream)? & OFlags::RWMODE != OFlags::WRONLY;
        if is_readable && isatty(stream) {
            let flags = OFlags::WRONLY | OFlags::NOCTTY | OFlags::CLOEXEC;
            replace(&openat(CWD, format!("/proc/self/fd/{}", stream.as_raw_fd()), flags, Mode::empty())?)?;
        }
    }
    Ok(())
}
