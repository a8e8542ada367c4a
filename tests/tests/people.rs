//! People who join a cell, as other users of the machine where the test may be somebody else: tokens, the door, and its end.

use std::{
    io::{Read, Write},
    os::{
        linux::net::SocketAddrExt,
        unix::{
            fs::{PermissionsExt, chown},
            net::{SocketAddr, UnixStream},
        },
    },
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::Duration,
};

use chrono::{TimeDelta, Utc};
use lazarus::{
    cell::{CellId, Identity, Member, Role},
    mail::{Secret, Token},
    registry::Registry,
    warden::{Ask, ask},
};
use lazarus_tests::lab::{Lab, Outcome, PATIENCE, binary, text, wait_until};
use serde_json::Value;

/// Somebody whom no list of users names.
const OTHER: u32 = 64_123;

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

fn own_uid() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// A person with a home of their own: another user where this test is root, else the same one.
struct Person {
    home: tempfile::TempDir,
}

impl Person {
    fn new() -> Self {
        let home = tempfile::Builder::new().prefix("lazarus-person-").tempdir().expect("a home");
        let program = home.path().join("lazarus");
        std::fs::copy(binary(), &program).expect("copied");
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).expect("set");
        if is_root() {
            chown(home.path(), Some(OTHER), Some(OTHER)).expect("theirs");
        }
        Self { home }
    }

    /// A command of theirs.
    fn command(&self, program: &str, args: &[&str]) -> Command {
        let mut command = if is_root() {
            let mut command = Command::new("setpriv");
            let other = OTHER.to_string();
            command.args(["--reuid", &other, "--regid", &other, "--clear-groups", "--inh-caps=-all", program]);
            command
        } else {
            Command::new(program)
        };
        command.args(args).env_clear().env("PATH", "/usr/bin:/bin").env("HOME", self.home.path()).current_dir(self.home.path());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn lazarus(&self, args: &[&str]) -> Outcome {
        let output = self.command(&self.home.path().join("lazarus").to_string_lossy(), args).output().expect("started");
        Outcome {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    fn kept(&self, cell: &str) -> PathBuf {
        self.home.path().join(format!(".local/state/lazarus/joined/{cell}.json"))
    }

    /// Comes back, says some lines, and returns what is answered to each, the welcome first.
    fn says(&self, cell: &str, lines: &[&str]) -> Vec<Value> {
        let script = "import json, os, socket, sys\n\
            joined = json.load(open(sys.argv[2]))\n\
            s = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)\n\
            s.connect(b'\\0lazarus/' + sys.argv[1].encode())\n\
            f = s.makefile('rw', newline='\\n')\n\
            for line in [json.dumps({'resume': joined['session']})] + sys.argv[3:]:\n\
            \x20   f.write(line + '\\n'); f.flush(); print(f.readline().strip(), flush=True)\n";
        let kept = self.kept(cell);
        let mut args = vec!["-c", script, cell, kept.to_str().expect("plain")];
        args.extend(lines);
        let output = self.command("/usr/bin/python3", &args).output().expect("started");
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        said.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{line:?} {output:?}"))).collect()
    }
}

fn tell(lab: &Lab, cell: &str, what: &Ask) {
    let run = std::fs::File::open(lab.cell_dir(cell).join("run")).expect("open");
    let mut conversation = ask(&run, what, PATIENCE).expect("asked");
    while conversation.answer().expect("answered").is_some() {}
}

/// Lets a person into a cell; their token.
fn invite(lab: &Lab, cell: &str, who: &str, role: Role, good_for: TimeDelta) -> Token {
    let id: CellId = cell.parse().expect("an id");
    let identity: Identity = who.parse().expect("an identity");
    let member = Member { identity, role, joined_at: Utc::now(), invited_by: "human:operator".parse().expect("an identity") };
    let token = Token { owner_uid: own_uid(), cell: id.clone(), secret: Secret::draw().expect("drawn") };
    let mut registry = Registry::open(&lab.root()).expect("open");
    registry.issue_token(&id, &member, token.secret.sha256(), Utc::now() + good_for, "human:operator").expect("issued");
    tell(lab, cell, &Ask::Mail);
    token
}

const HOUR: TimeDelta = TimeDelta::hours(1);

fn door(cell: &str) -> std::io::Result<UnixStream> {
    let stream = UnixStream::connect_addr(&SocketAddr::from_abstract_name(format!("lazarus/{cell}")).expect("an address"))?;
    stream.set_read_timeout(Some(PATIENCE)).expect("set");
    Ok(stream)
}

/// What is answered to a first line.
fn first_line(cell: &str, line: &[u8]) -> String {
    let mut stream = door(cell).expect("open");
    let _ = stream.write_all(line);
    let mut said = String::new();
    let _ = stream.read_to_string(&mut said);
    said
}

fn keeper(lab: &Lab) -> String {
    lab.summon(&["keeper", "tides"])
}

#[test]
fn another_user_joins_and_is_that_member_and_nothing_more() {
    let lab = Lab::new();
    let cell = keeper(&lab);
    let token = invite(&lab, &cell, "human:alice", Role::Observer, HOUR).to_string();
    let alice = Person::new();
    let joined = alice.lazarus(&["--json", "join", &token]).exits(0).json();
    assert_eq!((joined["identity"].as_str(), joined["role"].as_str()), (Some("human:alice"), Some("observer")), "{joined}");
    let mode = std::fs::metadata(alice.kept(&cell)).expect("kept").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let said = alice.says(
        &cell,
        &[
            r#"{"n":1,"call":"me"}"#,
            r#"{"n":2,"call":"send","to":"agent:keeper","text":"hello"}"#,
            r#"{"n":3,"call":"close"}"#,
            r#"{"n":4,"call":"audit","most":5}"#,
            r#"{"n":5,"call":"invite","guest":"human:mallory","role":"director"}"#,
            r#"{"n":6,"call":"members"}"#,
        ],
    );
    assert_eq!(said[0]["welcome"]["identity"], "human:alice", "{said:?}");
    assert!(said[0]["welcome"].get("session").is_none(), "the session is said once");
    assert_eq!(said[1]["ok"]["identity"], "human:alice");
    for refused in [2, 3, 4, 5] {
        assert_eq!(said[refused]["refused"]["reason"], "not-granted", "{said:?}");
    }
    assert_eq!(said[6]["ok"]["members"][2]["identity"], "human:alice", "{said:?}");
    lab.run(&["destroy", &cell]).exits(0);
    assert!(door(&cell).is_err(), "the door is gone with the cell");
}

#[test]
fn what_invite_prints_lets_a_person_write_and_read() {
    let lab = Lab::new();
    let cell = lab.summon(&["echo", "tides", "--client", "--", "/bin/sh", "-c", "exec lazarus cell serve -- tr a-z A-Z"]);
    let invited = lab.json(&["invite", &cell, "human:alice", "executor"]).exits(0).json();
    let token = text(&invited["token"]);
    assert!(door(&cell).is_ok(), "the invitation opened the door");
    let alice = Person::new();
    let joined = alice.lazarus(&["join", &token]).exits(0);
    assert!(joined.stdout.contains("Joined") && joined.stdout.contains("human:alice"), "{joined:?}");
    let said = alice.lazarus(&["send", &cell, "hello", "--wait"]).exits(0);
    assert_eq!(said.stdout.trim(), "HELLO");
    let sent = alice.lazarus(&["--json", "send", &cell, "again", "--to", "echo"]).exits(0).json();
    assert_eq!((&sent["to"], &sent["cell_id"]), (&"agent:echo".into(), &cell.as_str().into()));
    let inbox = || alice.lazarus(&["--json", "inbox", &cell]).exits(0).json();
    wait_until("the answer waits", || inbox()["messages"].as_array().is_some_and(|messages| messages.len() == 1));
    let messages = inbox();
    assert_eq!(messages["messages"][0]["text"], "AGAIN", "reading alone takes nothing: {messages}");
    assert_eq!(messages["messages"][0]["in_reply_to"], sent["id"]);
    alice.lazarus(&["inbox", &cell, "--ack"]).exits(0);
    assert_eq!(inbox()["messages"].as_array().map(Vec::len), Some(0));
    // What the operator wrote to her she answers, and it is then done with.
    lab.run(&["send", &cell, "how far?", "--to", "human:alice"]).exits(0);
    let asked = inbox();
    let id = text(&asked["messages"][0]["id"]);
    alice.lazarus(&["send", &cell, "far", "--reply-to", &id]).exits(0);
    assert_eq!(inbox()["messages"].as_array().map(Vec::len), Some(0));
    assert!(lab.run(&["inbox", &cell]).exits(0).stdout.contains("far"));
    for refused in
        [&["inbox", &cell, "--of", "agent:echo"][..], &["inbox", &cell, "--parked"], &["send", &cell, "x", "--to", "agent:nobody"]]
    {
        assert_ne!(alice.lazarus(refused).code, 0, "{refused:?}");
    }
    assert!(!alice.home.path().join(".local/share").exists(), "no root was made for her");
    lab.run(&["revoke", &cell, "human:alice"]).exits(0);
    let gone = alice.lazarus(&["inbox", &cell]).exits(1);
    assert!(gone.stderr.contains(&cell), "{gone:?}");
    lab.run(&["destroy", &cell]).exits(0);
}

#[test]
fn a_token_is_good_once_for_a_while_and_until_it_is_revoked() {
    let lab = Lab::new();
    let cell = keeper(&lab);
    assert!(door(&cell).is_err(), "nobody is expected, and there is no door");
    let alice = Person::new();
    let token = invite(&lab, &cell, "human:alice", Role::Executor, HOUR).to_string();
    alice.lazarus(&["join", &token]).exits(0);
    let again = alice.lazarus(&["join", &token]).exits(1);
    assert!(again.stderr.contains("used already"), "{again:?}");
    assert_eq!(alice.says(&cell, &[])[0]["welcome"]["identity"], "human:alice", "what was kept is still good");
    let late = invite(&lab, &cell, "human:bob", Role::Executor, -HOUR).to_string();
    let refused = Person::new().lazarus(&["join", &late]).exits(1);
    assert!(refused.stderr.contains("its time is over"), "{refused:?}");
    let carol = invite(&lab, &cell, "human:carol", Role::Executor, HOUR).to_string();
    revoke(&lab, &cell, "human:carol");
    let refused = Person::new().lazarus(&["join", &carol]).exits(1);
    assert!(refused.stderr.contains("it was revoked"), "{refused:?}");
    for nonsense in ["", "lz1", "x", &token.replace("lz1.", "lz2.")] {
        let refused = alice.lazarus(&["join", nonsense]).exits(2);
        assert!(!refused.stderr.contains(&token), "a token is not quoted");
    }
    lab.run(&["destroy", &cell]).exits(0);
}

fn revoke(lab: &Lab, cell: &str, who: &str) {
    let (id, who): (CellId, Identity) = (cell.parse().expect("an id"), who.parse().expect("an identity"));
    Registry::open(&lab.root()).expect("open").revoke_member(&id, &who, "human:operator").expect("revoked");
    tell(lab, cell, &Ask::Revoked { member: who });
}

#[test]
fn revoking_ends_a_connection_at_once() {
    let lab = Lab::new();
    let cell = keeper(&lab);
    let alice = Person::new();
    let token = invite(&lab, &cell, "human:alice", Role::Executor, HOUR).to_string();
    alice.lazarus(&["join", &token]).exits(0);
    invite(&lab, &cell, "human:bob", Role::Executor, HOUR);
    let kept: Value = serde_json::from_slice(&std::fs::read(alice.kept(&cell)).expect("kept")).expect("json");
    let resume = format!("{{\"resume\":{}}}\n", kept["session"]);
    let mut stream = door(&cell).expect("open");
    stream.write_all(resume.as_bytes()).expect("said");
    let mut buffer = [0; 1024];
    let read = stream.read(&mut buffer).expect("heard");
    assert!(String::from_utf8_lossy(&buffer[..read]).contains("welcome"));
    // Waiting for a message that never comes, when it happens.
    stream.write_all(b"{\"call\":\"receive\",\"wait_ms\":60000}\n").expect("said");
    revoke(&lab, &cell, "human:alice");
    let mut rest = String::new();
    stream.read_to_string(&mut rest).expect("the end");
    let refused = first_line(&cell, resume.as_bytes());
    assert!(refused.contains("\"refused\""), "{refused}");
    revoke(&lab, &cell, "human:bob");
    wait_until("the door is shut", || door(&cell).is_err());
    lab.run(&["destroy", &cell]).exits(0);
}

#[test]
fn the_door_hears_little_and_forgives_little() {
    let lab = Lab::new();
    let cell = keeper(&lab);
    let token = invite(&lab, &cell, "human:alice", Role::Executor, HOUR);
    for nonsense in [&b"rubbish\n"[..], &[b'x'; 300], b"{\"call\":\"me\"}\n"] {
        let said = first_line(&cell, nonsense);
        assert!(said.contains("malformed"), "{said}");
    }
    // Four at a time: one user has no more places at the door.
    for _ in 0..2 {
        let wrong: Vec<_> = (0..4)
            .map(|_| {
                let (cell, secret) = (cell.clone(), Secret::draw().expect("drawn"));
                std::thread::spawn(move || first_line(&cell, format!("{{\"join\":\"{}\"}}\n", secret.as_str()).as_bytes()))
            })
            .collect();
        for said in wrong {
            assert!(said.join().expect("no panic").contains("refused"));
        }
    }
    let said = first_line(&cell, format!("{{\"join\":\"{}\"}}\n", Secret::draw().expect("drawn").as_str()).as_bytes());
    assert!(said.contains("too-fast"), "{said}");
    // Another user is not kept out by that, where there is one.
    if is_root() {
        Person::new().lazarus(&["join", &token.to_string()]).exits(0);
    }
    lab.run(&["destroy", &cell]).exits(0);
}

/// Takes the address of a cell's door, and waits to be told a secret.
fn squat(person: &Person, cell: &str) -> Child {
    let script = "import socket, sys\n\
        s = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)\n\
        s.bind(b'\\0lazarus/' + sys.argv[1].encode()); s.listen()\n\
        print('ready', flush=True)\n\
        c, _ = s.accept()\n\
        print(c.recv(1000), flush=True)\n";
    let mut child = person.command("/usr/bin/python3", &["-c", script, cell]).spawn().expect("started");
    let mut ready = [0; 6];
    child.stdout.as_mut().expect("piped").read_exact(&mut ready).expect("ready");
    child
}

#[test]
fn who_takes_the_doors_place_is_told_nothing() {
    let lab = Lab::new();
    let cell = keeper(&lab);
    let mallory = Person::new();
    let squatter = squat(&mallory, &cell);
    let mut token = invite(&lab, &cell, "human:alice", Role::Executor, HOUR);
    if !is_root() {
        // Nobody else is to be had: then the token is another user's.
        token.owner_uid += 1;
    }
    let refused = Person::new().lazarus(&["join", &token.to_string()]).exits(1);
    assert!(refused.stderr.contains("the secret was not said"), "{refused:?}");
    let heard = squatter.wait_with_output().expect("ended");
    assert_eq!(String::from_utf8_lossy(&heard.stdout), "b''\n");
    let joined = lab.run(&["audit", "verify"]).exits(0);
    assert!(joined.stdout.contains("rows") || !joined.stdout.is_empty());
    // With the address free again, the next invitation opens the door.
    let token = invite(&lab, &cell, "human:bob", Role::Executor, HOUR);
    let start = std::time::Instant::now();
    let person = Person::new();
    while person.lazarus(&["join", &token.to_string()]).code != 0 {
        assert!(start.elapsed() < PATIENCE, "the door stays shut");
        std::thread::sleep(Duration::from_millis(50));
    }
    lab.run(&["destroy", &cell]).exits(0);
}
