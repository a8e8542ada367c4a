//! What takes longer than an answer may: another command, or a copy of a file. It is done beside the event loop.

use std::{
    fs::File,
    io::{self, Read},
    os::fd::AsFd,
    process::{Command, Stdio},
    time::Duration,
};

use cap_std::fs::Dir;
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use serde::Deserialize;

use crate::{
    cell::{CellId, Identity, Role, text::one_line},
    home::{KeepError, keep_file},
    jail::liveness::PidFd,
    mail::{Reason, Refusal},
};

/// This very program, also when its file was replaced since it was started.
const OWN_PROGRAM: &str = "/proc/self/exe";
/// How long an invitation may take: an agent has ten seconds to become ready, and may have to be compiled before.
const INVITE_MOST: Duration = Duration::from_secs(60);
/// How long a killed command may take to be gone.
const KILL_WITHIN: Duration = Duration::from_secs(5);
/// What is read of a command's one line.
const LINE_MOST_BYTES: u64 = 16 * 1024;
/// The longest reason that is told.
const WHY_MOST_BYTES: usize = 500;
/// Bytes of one artifact.
const ARTIFACT_MOST_BYTES: u64 = 64 * 1024 * 1024;

/// Something that was ordered, done.
#[derive(Debug)]
pub struct Errand {
    /// Which order.
    pub ticket: u64,
    /// What came of it.
    pub done: Done,
}

/// What came of it.
#[derive(Debug)]
pub enum Done {
    /// Of [`super::Order::Keep`]: the digest and the size of the copy.
    Kept(Result<(String, u64), Refusal>),
    /// Of [`super::Order::Invite`]: what a person joins with.
    Invited(Result<Option<String>, Refusal>),
}

/// Copies a file of a home among the cell's artifacts. Blocks for as long as the disk takes.
pub fn keep(home: &Dir, path: &str, into: &Dir) -> Result<(String, u64), Refusal> {
    keep_file(home, path, into, ARTIFACT_MOST_BYTES).map_err(|error| {
        let reason = match &error {
            KeepError::Path(_) | KeepError::Missing(_) | KeepError::Link(_) | KeepError::NotRegular(_) => Reason::Malformed,
            KeepError::TooLarge { .. } => Reason::TooLarge,
            KeepError::Read { .. } | KeepError::Write { .. } => Reason::Failed,
        };
        Refusal::new(reason, format!("declare: {error}"))
    })
}

/// An invitation that a member wants carried out.
#[derive(Debug)]
pub struct Invitation {
    /// The Lazarus root.
    pub root: std::path::PathBuf,
    /// The cell.
    pub cell: CellId,
    /// The director.
    pub by: Identity,
    /// Who is to come.
    pub guest: Identity,
    /// As what.
    pub role: Role,
}

/// The parts of a command's envelope that count here.
#[derive(Deserialize)]
struct Envelope {
    success: bool,
    #[serde(default)]
    message: String,
    #[serde(default)]
    token: Option<String>,
}

impl Invitation {
    /// Lets somebody in as `lazarus invite` does, for it is that: the same checks, the same audit. Blocks for up to a minute.
    pub fn carry_out(&self) -> Result<Option<String>, Refusal> {
        let failed = |why: &str| Refusal::new(Reason::Failed, format!("invite: {why}"));
        let line = self.run().map_err(|error| failed(&error.to_string()))?;
        let envelope: Envelope = serde_json::from_str(line.trim()).map_err(|_| failed("the command did not say what came of it"))?;
        if envelope.success { Ok(envelope.token) } else { Err(failed(&one_line(&envelope.message, WHY_MOST_BYTES))) }
    }

    fn run(&self) -> io::Result<String> {
        let mut command = Command::new(OWN_PROGRAM);
        command.args(["--json", "--as", &self.by.to_string(), "invite"]);
        command.args([self.cell.as_str(), &self.guest.to_string(), self.role.as_str()]);
        command.env_clear().env("LAZARUS_ROOT", &self.root);
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
        let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw).ok_or(io::ErrorKind::InvalidInput)?;
        let pidfd = PidFd::of_child(pidfd_open(pid, PidfdFlags::NONBLOCK)?);
        let in_time = pidfd.wait_end(INVITE_MOST)?;
        if !in_time {
            child.kill()?;
            pidfd.wait_end(KILL_WITHIN)?;
        }
        let _ = child.try_wait()?;
        if !in_time {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "it took longer than a minute"));
        }
        let mut line = String::new();
        if let Some(out) = child.stdout.take() {
            // Only what is in the pipe already: whoever may hold its other end is not waited for.
            rustix::io::ioctl_fionbio(out.as_fd(), true)?;
            match File::from(std::os::fd::OwnedFd::from(out)).take(LINE_MOST_BYTES).read_to_string(&mut line) {
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Err(error),
                Ok(_) | Err(_) => {}
            }
        }
        Ok(line)
    }
}
