//! Starting the agent's program, from within the jail.

use std::{
    io,
    os::unix::{ffi::OsStrExt, fs::PermissionsExt},
    path::{Path, PathBuf},
    process::Command,
    sync::mpsc::{SyncSender, sync_channel},
    thread::{self, JoinHandle},
};

use rustix::process::{Pid, PidfdFlags, pidfd_open};

use crate::{
    jail::{FileRule, JailError, limit_open_files, liveness::PidFd, shield},
    policy::{Enforcer, Report, Subject, Wall},
};

/// Where programs are looked for when the agent's environment has no PATH.
const PATH_BY_DEFAULT: &str = "/usr/local/bin:/usr/bin:/bin";
/// Below its home, where an agent starts out.
const WORKSPACE: &str = "workspace";

/// Why the program did not start. Names the command, bounded, with its odd characters escaped.
#[derive(Debug, thiserror::Error)]
pub(super) enum StartError {
    #[error("run {0:?}: no such command in the agent's PATH, or none that it may execute")]
    NotFound(String),
    #[error("run {command:?}: it, or the interpreter that it names, is not there or was not granted")]
    Missing { command: String },
    #[error("run {command:?}")]
    Exec {
        command: String,
        #[source]
        source: io::Error,
    },
    #[error("run nothing: the command is empty")]
    Empty,
    #[error("separate the agent from its reaper")]
    Shield(#[source] Box<JailError>),
    #[error("limit what the agent has open")]
    Limit(#[source] Box<JailError>),
    #[error("start {command:?}: {AGAIN}")]
    Again { command: String },
    #[error("watch the agent")]
    Watch(#[source] io::Error),
}

/// Why no process can be started (EAGAIN): the kernel says no more.
const AGAIN: &str = "there is room for no process, within its limit of processes, its user's or the machine's";

/// The agent's main process, running its program.
pub(super) struct Started {
    pub pid: Pid,
    pub handle: PidFd,
    pub room: Room,
}

/// The thread that started the agent. It does nothing more, and stays: where processes are counted, it keeps room for a thread of the reaper's
/// that may be needed later, and which an agent that has used up its own would otherwise leave none.
pub(super) struct Room(Option<(SyncSender<()>, JoinHandle<()>)>);

impl Room {
    /// Makes room for another thread.
    pub(super) fn give_up(&mut self) {
        if let Some((hold, thread)) = self.0.take() {
            drop(hold);
            // It ends at once, and cannot have panicked.
            let _ = thread.join();
        }
    }
}

fn bounded(command: &str) -> String {
    crate::cell::text::quoted(command, 80)
}

/// Finds a command as a shell would; what cannot be executed by anyone is passed over.
fn find(command: &str, path: &str, work: &Path) -> Option<PathBuf> {
    let executable = |file: &Path| file.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0);
    if command.contains('/') {
        return Some(work.join(command));
    }
    path.split(':').filter(|dir| dir.starts_with('/')).map(|dir| Path::new(dir).join(command)).find(|file| executable(file))
}

/// Where the agent starts out: its workspace, else its home, else the root.
fn work_directory(home: Option<&Path>) -> PathBuf {
    let Some(home) = home else { return PathBuf::from("/") };
    let workspace = home.join(WORKSPACE);
    // A link there would be the agent's own; it is followed within the jail, and reaches no further than the agent does.
    if workspace.is_dir() { workspace } else { home.to_owned() }
}

/// A program that was found, with the arguments and the environment that it will have.
pub(super) struct Prepared {
    command: Command,
    name: String,
}

/// Finds the program, as it is seen from within the jail.
pub(super) fn prepare(argv: &[String], env: Vec<(String, String)>, home: Option<&Path>) -> Result<Prepared, StartError> {
    let (name, arguments) = argv.split_first().ok_or(StartError::Empty)?;
    let work = work_directory(home);
    let path = env.iter().rfind(|(name, _)| name == "PATH").map_or(PATH_BY_DEFAULT, |(_, value)| value.as_str());
    let program = find(name, path, &work).ok_or_else(|| StartError::NotFound(bounded(name)))?;
    // Known before anything is started, and so by a rehearsal as well. What is named from where the agent starts out may come with its home.
    if Path::new(name).is_absolute() && program.metadata().is_err_and(|error| error.kind() == io::ErrorKind::NotFound) {
        return Err(StartError::Missing { command: bounded(name) });
    }
    let mut command = Command::new(&program);
    std::os::unix::process::CommandExt::arg0(&mut command, std::ffi::OsStr::from_bytes(name.as_bytes()));
    command.args(arguments).env_clear().envs(env).current_dir(&work);
    Ok(Prepared { command, name: name.clone() })
}

impl Prepared {
    /// Puts on record what its environment will be: as it stands in the command that is executed.
    pub(super) fn describe(&self, report: &mut Report) {
        report.full(Enforcer::Kernel, Wall::Environment, "sees no variable but those that it was granted");
        for (name, _) in self.command.get_envs().filter(|(_, value)| value.is_some()) {
            let name = name.to_string_lossy();
            report.full(Enforcer::Kernel, Subject::variable(name.as_ref()), format!("{name} is as it was granted"));
        }
    }

    /// Starts the program, which may open so many descriptors, as this process may from then on. It has executed when this returns. `files`, where
    /// the agent reaches less than this process does.
    pub(super) fn start(self, open_files: u64, files: Option<Vec<FileRule>>) -> Result<Started, StartError> {
        let Self { command, name } = self;
        spawn(command, name, open_files, files)
    }
}

fn spawn(mut command: Command, name: String, open_files: u64, files: Option<Vec<FileRule>>) -> Result<Started, StartError> {
    // A layer of Landlock binds a thread: one of its own starts the agent, one layer further in than this process, which it
    // then can neither signal nor trace.
    let (tell, told) = sync_channel(1);
    let (hold, held) = sync_channel::<()>(0);
    let none_left = bounded(&name);
    let start = move || {
        let shielded = shield(files).map_err(|error| StartError::Shield(Box::new(error)));
        // The very last thing: what the jail needed is none of the agent's.
        let limited = shielded.and_then(|()| limit_open_files(open_files).map_err(|error| StartError::Limit(Box::new(error))));
        let _ = tell.send(limited.and_then(|()| command.spawn().map_err(|source| explain(&name, source))));
        drop(command);
        // Nothing is ever sent.
        let _ = held.recv();
    };
    let thread = thread::Builder::new().spawn(start).map_err(|source| match source.raw_os_error() {
        Some(libc::EAGAIN) => StartError::Again { command: none_left },
        _ => StartError::Watch(source),
    })?;
    let spawned = told.recv().map_err(|_| StartError::Watch(io::Error::other("the starting thread ended early")))??;
    // Not waited for yet, so that its number is its own. Waiting is the reaper's work, for this child and all others.
    let pid =
        i32::try_from(spawned.id()).ok().and_then(Pid::from_raw).ok_or_else(|| StartError::Watch(io::ErrorKind::InvalidData.into()))?;
    let handle = pidfd_open(pid, PidfdFlags::empty()).map_err(|errno| StartError::Watch(errno.into()))?;
    Ok(Started { pid, handle: PidFd::of_child(handle), room: Room(Some((hold, thread))) })
}

fn explain(name: &str, source: io::Error) -> StartError {
    let command = bounded(name);
    match source.raw_os_error() {
        Some(libc::ENOENT) => StartError::Missing { command },
        Some(libc::EAGAIN) => StartError::Again { command },
        _ => StartError::Exec { command, source },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_found_as_a_shell_finds_them() {
        let work = Path::new("/work");
        assert_eq!(find("./run.sh", "/bin", work), Some("/work/./run.sh".into()));
        assert_eq!(find("/bin/x", "/bin", work), Some("/bin/x".into()));
        assert!(find("sh", "/nowhere:/bin:/usr/bin", work).is_some_and(|found| found.is_absolute()));
        assert_eq!(find("no-such-command", "/bin:/usr/bin", work), None);
        assert_eq!(find("passwd", "/etc", work), None, "a file that is not executable");
        assert_eq!(find("sh", "bin:.:", work), None, "relative parts are not looked into");
    }

    #[test]
    fn work_starts_in_the_workspace_where_there_is_one() {
        let home = tempfile::tempdir().expect("tempdir");
        assert_eq!(work_directory(None), Path::new("/"));
        assert_eq!(work_directory(Some(home.path())), home.path());
        std::fs::create_dir(home.path().join(WORKSPACE)).expect("mkdir");
        assert_eq!(work_directory(Some(home.path())), home.path().join(WORKSPACE));
    }
}
