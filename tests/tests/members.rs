//! Members that do not live by events: process agents that talk, in the words of the documents' own examples, and what keeps them apart.

use lazarus_tests::lab::{Lab, text, wait_until};

/// An example of docs/process-agents.md, by its name.
fn example(name: &str) -> String {
    let document = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/process-agents.md");
    let text = std::fs::read_to_string(document).expect("the document is there");
    let (_, after) = text.split_once(&format!("<!-- example: {name} -->\n```")).unwrap_or_else(|| panic!("no example {name}"));
    let (_, code) = after.split_once('\n').expect("a fence");
    code.split_once("\n```").expect("an end").0.to_owned() + "\n"
}

/// Installs a process agent that runs a script.
fn define(lab: &Lab, name: &str, program: &str, script: &str, client: bool) {
    let script = serde_json::to_string(script).expect("a string");
    let definition = format!("[agent]\nname = \"{name}\"\ncommand = [\"{program}\", \"-c\", {script}]\n[grants]\nclient = {client}\n");
    let file = lab.file(&format!("{name}/agent.toml"), definition);
    lab.run(&["agent", "add", &file.to_string_lossy()]).exits(0);
}

/// Starts a team; its cell's id.
#[track_caller]
fn team(lab: &Lab, agents: &str) -> String {
    text(&lab.json(&["team", agents, "tides"]).exits(0).json()["cell_id"])
}

/// Asks `agent:worker` in capitals and otherwise, prints what comes back, and stays.
const ASKER: &str = r#"
id=$(lazarus cell send agent:worker 'how do you do?')
test -n "$id" && lazarus cell recv --wait 30s --ack && echo asked
exec sleep 1000
"#;

#[test]
fn a_shell_agent_answers_through_serve() {
    let lab = Lab::new();
    define(&lab, "worker", "/bin/sh", &example("shout.sh"), true);
    define(&lab, "asker", "/bin/sh", ASKER, true);
    let cell = team(&lab, "worker+asker");
    wait_until("the answer is there", || lab.logs(&cell).contains("HOW DO YOU DO?"));
    wait_until("it was acknowledged", || lab.logs(&cell).contains("asked"));
    assert!(lab.logs(&cell).contains("from agent:worker to agent:asker, in reply to msg-"), "{}", lab.logs(&cell));
    lab.run(&["destroy", &cell]).exits(0);
}

#[test]
fn a_shell_agent_receives_works_and_acknowledges() {
    let lab = Lab::new();
    define(&lab, "worker", "/bin/sh", &example("worker.sh"), true);
    define(&lab, "asker", "/bin/sh", ASKER, true);
    let cell = team(&lab, "worker+asker");
    wait_until("the answer is there", || lab.logs(&cell).contains("asked"));
    lab.run(&["destroy", &cell]).exits(0);
}

#[test]
fn a_python_agent_speaks_the_protocol_itself() {
    let lab = Lab::new();
    define(&lab, "worker", "/usr/bin/python3", &example("worker.py"), false);
    define(&lab, "asker", "/bin/sh", ASKER, true);
    let cell = team(&lab, "worker+asker");
    wait_until("the answer is there", || lab.logs(&cell).contains("?od uoy od woh"));
    assert!(lab.logs(&cell).contains("I am agent:worker"));
    lab.run(&["destroy", &cell]).exits(0);
}

/// What an agent finds about itself and its team, and what it is refused.
const CURIOUS: &str = r#"
lazarus cell me; lazarus cell members; lazarus cell beat && echo beaten
lazarus cell send agent:nobody x; echo "nobody: $?"
lazarus cell ack msg-00000000000000000000000000000000; echo "ack: $?"
lazarus cell recv; echo "recv: $?"
lazarus cell close; echo "close: $?"
lazarus cell invite agent:other executor; echo "invite: $?"
lazarus cell audit; echo "audit: $?"
lazarus cell send agent:curious ''; echo "empty: $?"
printf '\377' | lazarus cell send agent:curious -; echo "binary: $?"
head -c 40000 /dev/zero | tr '\0' x | lazarus cell send agent:curious -; echo "large: $?"
lazarus --json cell me
lazarus status; echo "status: $?"
echo over
exec sleep 1000
"#;

#[test]
fn the_client_says_who_it_is_and_what_is_refused() {
    let lab = Lab::new();
    define(&lab, "curious", "/bin/sh", CURIOUS, true);
    let cell = team(&lab, "curious");
    wait_until("it is over", || lab.logs(&cell).lines().any(|line| line.ends_with("over")));
    let logs = lab.logs(&cell);
    for expected in [
        "identity   agent:curious",
        "role       executor",
        &cell,
        "beaten",
        "nobody: 3",
        "ack: 3",
        "recv: 3",
        "close: 1",
        "invite: 1",
        "audit: 1",
        "empty: 1",
        "binary: 1",
        "large: 1",
        "\"success\":true,\"gave\":\"facts\"",
    ] {
        assert!(logs.contains(expected), "{expected}\n{logs}");
    }
    assert!(!logs.contains("status: 0") || !logs.contains(&format!("{cell}  tides")), "the registry is out of reach: {logs}");
    lab.run(&["destroy", &cell]).exits(0);
}

/// Opens more connections than it may, says nonsense on each, and never reads.
const FLOODER: &str = r#"
import os, socket, threading
def flood(nonsense):
    while True:
        try:
            s = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            s.connect(os.environ["LAZARUS_SOCKET"])
            while True:
                s.sendall(nonsense)
        except OSError:
            pass
kinds = [b"rubbish\n" * 1000, b'{"call":"me"}\n' * 1000, b"x" * 65536, b'{"call":"send","to":"agent:worker","text":"flood"}\n' * 100]
for kind in kinds * 4:
    threading.Thread(target=flood, args=(kind,)).start()
print("flooding", flush=True)
"#;

#[test]
fn a_flood_does_not_keep_others_from_talking() {
    let lab = Lab::new();
    define(&lab, "flooder", "/usr/bin/python3", FLOODER, false);
    define(&lab, "worker", "/bin/sh", &example("shout.sh"), true);
    define(&lab, "asker", "/bin/sh", &format!("sleep 1\n{ASKER}"), true);
    let cell = team(&lab, "flooder+worker+asker");
    wait_until("the flood has begun", || lab.logs(&cell).contains("flooding"));
    wait_until("the answer is there", || lab.logs(&cell).contains("HOW DO YOU DO?"));
    lab.run(&["destroy", &cell]).exits(0);
}

#[test]
fn who_was_granted_nothing_has_neither_client_nor_mailbox() {
    let lab = Lab::new();
    // Without the client: an address, and no program.
    let cell = lab.summon(&[
        "plain",
        "tides",
        "--",
        "/bin/sh",
        "-c",
        "echo \"at $LAZARUS_SOCKET\"; command -v lazarus || echo none; exec sleep 1000",
    ]);
    wait_until("it has said so", || lab.logs(&cell).contains("none"));
    assert!(lab.logs(&cell).contains("at /run/lazarus/cell.sock"));
    let explained = lab.run(&["explain", &cell]).exits(0).stdout;
    assert!(explained.contains("connects to its cell, as itself and as nobody else") && !explained.contains("client "), "{explained}");
    lab.run(&["destroy", &cell]).exits(0);
    // A cell that ends with its command has no mailbox at all.
    let ran =
        lab.run(&["run", "--client", "--", "/bin/sh", "-c", "echo \"at ${LAZARUS_SOCKET:-nowhere}\"; lazarus cell me; echo \"me: $?\""]);
    let ran = ran.exits(0);
    assert!(ran.stdout.contains("at nowhere") && ran.stdout.contains("me: 1"), "{ran:?}");
    // The client is named in the policy.
    let cell = lab.summon(&["talker", "tides", "--client", "--", "/bin/sleep", "1000"]);
    let explained = lab.run(&["explain", &cell]).exits(0).stdout;
    assert!(explained.contains("client    this program"), "{explained}");
    lab.run(&["destroy", &cell]).exits(0);
}

#[test]
fn the_cells_own_place_is_not_mounted_over() {
    let lab = Lab::new();
    let here = lab.work().display().to_string();
    for guest in ["/run", "/run/lazarus", "/run/lazarus/bin"] {
        let refused =
            lab.run(&["summon", "scribe", "tides", "--client", "--mount", &format!("{here}:{guest}"), "--", "/bin/true"]).exits(1);
        assert!(refused.stderr.contains("the cell has its own there"), "{refused:?}");
    }
    lab.run(&["summon", "scribe", "tides", "--client", "--read", "/run", "--", "/bin/true"]).exits(2);
    assert!(lab.cell_dirs().is_empty());
}
