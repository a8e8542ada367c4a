//! The streams of a foreground run: they are the caller's, and go to a program that is not trusted.
//!
//! A program in a session of its own is not in the terminal's job control, so that the kernel would let it read whatever is typed, also what is
//! meant for the shell. So it has the terminal's input only while the command has the terminal, and the command keeps it to its end:
//!
//! - started in the background, its input is empty;
//! - in the foreground, the terminal does not stop it (Ctrl-Z): it is the cell's warden, which may not sleep, either.

use std::{
    fs::File,
    io,
    os::fd::AsFd,
    sync::{Arc, atomic::AtomicBool},
};

use rustix::{
    fs::{FileType, fstat},
    io::Errno,
    process::getpgrp,
    stdio::{dup2_stdin, stderr, stdin, stdout},
    termios::tcgetpgrp,
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
    keep_the_terminal().map_err(Error::Streams)
}

fn keep_the_terminal() -> io::Result<()> {
    match input(stdin())? {
        Input::Other => {}
        Input::Background => dup2_stdin(File::open("/dev/null")?)?,
        // A handler that does nothing in particular: programs that are started from here do not have it.
        Input::Foreground => drop(signal_hook::flag::register(signal_hook::consts::SIGTSTP, Arc::new(AtomicBool::new(false)))?),
    }
    Ok(())
}
