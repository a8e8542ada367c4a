//! A process outside of every jail that nobody may touch: it holds a secret, and whatever is done to it shows.

use std::{
    io::{self, BufRead, BufReader},
    process::{Child, Command, Stdio},
};

use rustix::process::{Pid, WaitOptions, waitpid};

use super::super::process::{STAND, SUBCOMMAND};

/// Its variable that holds the secret.
const VARIABLE: &str = "DRILL_BYSTANDER_SECRET";
/// Numbers below this one could be those of an attacker's own processes in a pid namespace, which begin at 1.
const NUMBER_LEAST: u32 = 1000;
/// How many are started to get past those numbers on a machine that was just booted.
const TRIES: usize = 1200;

/// The bystander.
pub(super) struct Bystander {
    child: Child,
}

impl Bystander {
    /// Starts it. It ends with this process, whose end of its input closes then.
    pub(super) fn start(secret: &str) -> io::Result<Self> {
        for _ in 0..TRIES {
            let mut command = Command::new("/proc/self/exe");
            command.args([SUBCOMMAND, STAND]).env_clear().env(VARIABLE, secret).current_dir("/");
            let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
            let bystander = if child.id() >= NUMBER_LEAST {
                let mut word = String::new();
                BufReader::new(child.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?).read_line(&mut word)?;
                Some(Self { child })
            } else {
                let _ = child.kill().and_then(|()| child.wait());
                None
            };
            if let Some(bystander) = bystander {
                return bystander.touched().map_or(Ok(bystander), |what| Err(io::Error::other(what)));
            }
        }
        Err(io::Error::other("the machine has too few processes to tell this one from an attacker's own"))
    }

    /// Its number.
    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What was done to it; `None` where nothing was.
    pub(super) fn touched(&self) -> Option<String> {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        match waitpid(pid, WaitOptions::NOHANG | WaitOptions::UNTRACED) {
            Ok(None) => {}
            Ok(Some((_, status))) => return Some(format!("the bystander was signalled ({status:?})")),
            Err(error) => return Some(format!("the bystander is gone ({error})")),
        }
        match crate::jail::liveness::tracer(self.child.id()) {
            Ok(None) => None,
            Ok(Some(tracer)) => Some(format!("the bystander is traced by {tracer}")),
            Err(error) => Some(format!("the bystander cannot be looked at ({error})")),
        }
    }
}

impl Drop for Bystander {
    fn drop(&mut self) {
        let _ = self.child.kill().and_then(|()| self.child.wait());
    }
}
