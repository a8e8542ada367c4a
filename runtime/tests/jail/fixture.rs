//! A home, something to protect, and agents that are run to their end.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{IoSliceMut, Read, Write},
    mem::MaybeUninit,
    os::{
        fd::OwnedFd,
        unix::{fs::PermissionsExt, net::UnixStream},
    },
    path::{Path, PathBuf},
    sync::OnceLock,
    time::Duration,
};

use lazarus::{
    backend::{
        Launch, Program, Stdio,
        packets::{Received, Waiting, receive_message},
        process::{Groups, ProcessOptions, ReaperProgram, spawn},
        protocol::{End, FromChild},
        spawned::Spawned,
    },
    cell::Role,
    jail::namespaces::{NamespaceSupport, prepare_warden},
    policy::{Access, Mount, Policy, Report},
};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};

/// How long anything may take on a busy machine.
pub const LONG: Duration = Duration::from_secs(30);
/// What no agent may ever see.
pub const CANARY: &str = "canary-7d1f";

/// `lazarus-jail`, as cargo built it.
pub const SMALL: &str = env!("CARGO_BIN_EXE_lazarus-jail");

static NAMESPACES: OnceLock<NamespaceSupport> = OnceLock::new();

/// What a warden does at its start. While this program still has one thread.
pub fn prepare() {
    let support = prepare_warden();
    println!("namespaces: {support:?}");
    NAMESPACES.set(support).unwrap();
}

pub fn namespaces() -> NamespaceSupport {
    NAMESPACES.get().unwrap().clone()
}

pub fn no_namespaces() -> NamespaceSupport {
    NamespaceSupport::None { because: "the test says so".to_owned() }
}

/// What reapers are started from: `lazarus-jail`, as cargo built it; where that cannot be read (an ordinary user need not see the build's
/// directory), this program, which then is what an installation without it is.
pub fn reaper() -> ReaperProgram {
    File::open(SMALL).map_or(ReaperProgram::own(), |program| ReaperProgram::opened(program.into()))
}

/// This test program, as agents see it: at its own path.
pub fn program() -> PathBuf {
    std::env::current_exe().unwrap()
}

pub fn open_to_all(path: &Path) {
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

/// One agent's places on the machine.
pub struct World {
    pub dir: tempfile::TempDir,
    pub namespaces: NamespaceSupport,
    pub policy: Policy,
    pub role: Role,
    pub env: Vec<(String, String)>,
    pub speaks: bool,
}

/// How an agent's life went.
#[derive(Debug)]
pub struct Life {
    pub report: Option<Report>,
    pub ready: bool,
    pub refused: Option<String>,
    pub end: Option<End>,
    pub said: BTreeMap<String, String>,
    pub stdout: String,
    pub stderr: String,
}

impl World {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        for name in ["home", "home/workspace", "shared", "outside", "ro", "rw"] {
            fs::create_dir(dir.path().join(name)).unwrap();
            fs::write(dir.path().join(name).join("file"), name).unwrap();
        }
        fs::write(dir.path().join("outside/canary"), CANARY).unwrap();
        let mount = Mount { host: program(), guest: program().display().to_string().try_into().unwrap(), access: Access::Ro };
        // Without a control group, nothing limits the processes of root, who would be refused.
        let accept_degraded = rustix::process::geteuid().is_root();
        let policy = Policy { mounts: vec![mount], accept_degraded, ..Policy::default() };
        let env = vec![("PATH".to_owned(), "/usr/bin:/bin".to_owned()), ("GRANTED".to_owned(), "yes".to_owned())];
        Self { dir, namespaces: namespaces(), policy, role: Role::Executor, env, speaks: false }
    }

    pub fn path(&self, below: &str) -> String {
        self.dir.path().join(below).display().to_string()
    }

    pub fn mount(&mut self, host: &str, guest: &str, access: Access) {
        let (host, guest) = (self.dir.path().join(host), guest.to_owned().try_into().unwrap());
        self.policy.mounts.push(Mount { host, guest, access });
    }

    pub fn launch(&self, argv: &[&str]) -> Launch {
        Launch {
            agent: "probe".parse().unwrap(),
            role: self.role,
            program: Program::Command { argv: argv.iter().map(|word| (*word).to_owned()).collect() },
            policy: self.policy.clone(),
            home: Some(self.dir.path().join("home")),
            shared: Some(self.dir.path().join("shared")),
            env: self.env.clone(),
            stdio: Stdio::Captured,
            tick: None,
            again: false,
        }
    }

    pub fn options(&self) -> ProcessOptions {
        ProcessOptions { namespaces: self.namespaces.clone(), groups: Groups::None, speaks: self.speaks, reaper: reaper() }
    }

    pub fn spawn(&self, argv: &[&str]) -> Spawned {
        spawn(&self.launch(argv), &self.options()).unwrap()
    }

    /// Runs a command to its end.
    pub fn run(&self, argv: &[&str]) -> Life {
        live(self.spawn(argv))
    }

    /// Has the attacker try operations, and returns how each ended.
    pub fn probe(&self, operations: &[String]) -> Life {
        let program = program().display().to_string();
        let mut argv = vec![program.as_str(), "probe"];
        argv.extend(operations.iter().map(String::as_str));
        let life = self.run(&argv);
        assert_eq!(life.said.len(), operations.len(), "{life:?}");
        life
    }

    /// Has the attacker try each operation, and expects exactly these ends of them.
    pub fn expect(&self, expected: &[(&str, String)]) {
        let operations: Vec<String> = expected.iter().map(|(_, operation)| operation.clone()).collect();
        let life = self.probe(&operations);
        for (end, operation) in expected {
            assert_eq!(life.said[operation], *end, "{operation}\n{life:?}");
        }
    }
}

fn drain(stream: Option<OwnedFd>) -> String {
    let mut text = Vec::new();
    if let Some(stream) = stream {
        File::from(stream).read_to_end(&mut text).unwrap();
    }
    String::from_utf8_lossy(&text).into_owned()
}

/// The next connection that comes through a hatch; `None` where the reaper is gone.
pub fn next_connection(hatch: &OwnedFd) -> Option<UnixStream> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0; 1];
    recvmsg(hatch, &mut [IoSliceMut::new(&mut byte)], &mut ancillary, RecvFlags::CMSG_CLOEXEC).unwrap();
    ancillary.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next().map(UnixStream::from),
        _ => None,
    })
}

/// A cell that says the same to everyone who connects, once they have said something.
fn answer_all(hatch: &OwnedFd) {
    while let Some(mut stream) = next_connection(hatch) {
        let mut said = [0; 16];
        let read = stream.read(&mut said).unwrap();
        if read > 0 {
            let _ = stream.write_all(b"the cell\n");
        }
    }
}

/// Follows an agent to its end.
pub fn live(mut spawned: Spawned) -> Life {
    let (stdout, stderr) = (spawned.stdout.take(), spawned.stderr.take());
    let stdout = std::thread::spawn(|| drain(stdout));
    let stderr = std::thread::spawn(|| drain(stderr));
    let hatch = spawned.hatch.take().map(|hatch| std::thread::spawn(move || answer_all(&hatch)));
    let mut life =
        Life { report: None, ready: false, refused: None, end: None, said: BTreeMap::new(), stdout: String::new(), stderr: String::new() };
    while let Received::Message(message) = receive_message(&spawned.socket, Waiting::Block).unwrap() {
        match message {
            FromChild::Report { report, .. } => life.report = Some(report),
            FromChild::Ready { .. } => life.ready = true,
            FromChild::Refused { message, .. } => life.refused = Some(message),
            FromChild::Ended { end, .. } => life.end = Some(end),
            FromChild::Dropped { .. }
            | FromChild::Limit { .. }
            | FromChild::Call { .. }
            | FromChild::EventOver { .. }
            | FromChild::Idle { .. } => {
                panic!("no word of a reaper: {message:?}")
            }
        }
    }
    assert!(spawned.reap(LONG).unwrap().is_some(), "the reaper ends when it has said so");
    if let Some(hatch) = hatch {
        hatch.join().unwrap();
    }
    (life.stdout, life.stderr) = (stdout.join().unwrap(), stderr.join().unwrap());
    life.said = life.stdout.lines().filter_map(|line| line.rsplit_once(" = ")).map(|(a, b)| (a.to_owned(), b.to_owned())).collect();
    life
}

/// Waits until the agent runs, and returns what its jail reported.
pub fn until_ready(spawned: &Spawned) -> Report {
    let mut reported = None;
    loop {
        match receive_message(&spawned.socket, Waiting::Block).unwrap() {
            Received::Message(FromChild::Report { report, .. }) => reported = Some(report),
            Received::Message(FromChild::Ready { .. }) => return reported.expect("the report comes first"),
            other => panic!("{other:?}"),
        }
    }
}
