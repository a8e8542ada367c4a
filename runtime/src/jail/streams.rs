//! The streams that an agent is started with: they were opened outside of its root, so that the modes, owners and times of their files are the
//! machine's.

use std::{
    fs::File,
    io,
    os::fd::{AsFd, BorrowedFd},
};

use rustix::{
    fs::{FileType, fstat, fstatfs, makedev},
    stdio::{dup2_stderr, dup2_stdin, dup2_stdout, stderr, stdin, stdout},
};

/// The file system of pipes that have no name: linux/magic.h, `PIPEFS_MAGIC`.
const PIPES: u64 = 0x5049_5045;

/// Where a stream leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Leads {
    /// To somebody at the other end.
    Pipe,
    /// To the device that holds nothing.
    Null,
    /// To a file, a terminal, or anything else that has a mode, an owner and times on this machine.
    Machine,
}

fn leads(stream: impl AsFd) -> rustix::io::Result<Leads> {
    let found = fstat(&stream)?;
    Ok(match FileType::from_raw_mode(found.st_mode) {
        FileType::Socket => Leads::Pipe,
        FileType::Fifo if u64::try_from(fstatfs(&stream)?.f_type).ok() == Some(PIPES) => Leads::Pipe,
        FileType::CharacterDevice if found.st_rdev == makedev(1, 3) => Leads::Null,
        _ => Leads::Machine,
    })
}

type Replace = fn(&File) -> rustix::io::Result<()>;

/// The streams of this process, and how to put something else in their place.
fn all() -> [(BorrowedFd<'static>, Replace); 3] {
    [(stdin(), |file| dup2_stdin(file)), (stdout(), |file| dup2_stdout(file)), (stderr(), |file| dup2_stderr(file))]
}

/// Whether a stream of this process, which is to be the agent's, leads to a file of the machine.
///
/// # Errors
/// What the system says.
pub fn are_of_the_machine() -> io::Result<bool> {
    let each = all().into_iter().map(|(stream, _)| leads(stream)).collect::<rustix::io::Result<Vec<_>>>()?;
    Ok(each.contains(&Leads::Machine))
}

/// Gives each stream that leads to the machine's `/dev/null` that of the root in which this process is by now: through its descriptor, root's
/// agent could change the mode of the machine's. Called before Landlock, which would keep what is opened later from being asked whether it is a
/// terminal.
pub(super) fn replace_null() -> io::Result<()> {
    for (stream, replace) in all() {
        if leads(stream)? == Leads::Null {
            replace(&File::options().read(true).write(true).open("/dev/null")?)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_a_stream_leads_is_told() {
        let temp = tempfile::tempdir().expect("a directory");
        let open = |path: &std::path::Path| File::options().read(true).write(path.is_file()).open(path).expect("opened");
        std::fs::write(temp.path().join("file"), "x").expect("written");
        rustix::fs::mkfifoat(rustix::fs::CWD, temp.path().join("fifo"), rustix::fs::Mode::RWXU).expect("a fifo");
        let fifo = File::options().read(true).write(true).open(temp.path().join("fifo")).expect("opened");
        let (reader, _writer) = std::io::pipe().expect("a pipe");
        assert_eq!(leads(reader), Ok(Leads::Pipe));
        assert_eq!(leads(open("/dev/null".as_ref())), Ok(Leads::Null));
        for machine in [open(&temp.path().join("file")), open(temp.path()), fifo, open("/dev/zero".as_ref())] {
            assert_eq!(leads(machine), Ok(Leads::Machine));
        }
    }
}
