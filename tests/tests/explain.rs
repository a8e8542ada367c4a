//! `explain`: before summoning, what this machine would enforce, rehearsed; of a living cell, whether its processes are as was reported.

use std::collections::BTreeSet;

use lazarus_tests::{Lab, lab::text, processes};
use rustix::process::{Pid, Resource, Rlimit, prlimit};
use serde_json::Value;

const DEFINITION: &str = r#"
[agent]
name = "clerk"
command = ["/bin/sh", "-c", "echo > /project/ran; sleep 1000"]

[grants]
env = { GREETING = "a-value-of-a-variable" }
mounts = [{ host = "PROJECT", guest = "/project", access = "rw" }]

[limits]
memory = "96MiB"
"#;

/// Installs an agent with a mount; returns the mount's source.
fn clerk(lab: &Lab) -> std::path::PathBuf {
    let project = lab.work().join("project");
    std::fs::create_dir(&project).expect("made");
    let file = lab.file("agent.toml", DEFINITION.replace("PROJECT", &project.display().to_string()));
    lab.json(&["agent", "add", &file.display().to_string()]).exits(0);
    project
}

/// Everything below the root, by path.
fn below(lab: &Lab) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut open = vec![lab.root()];
    while let Some(dir) = open.pop() {
        for entry in std::fs::read_dir(&dir).expect("readable") {
            let path = entry.expect("read").path();
            if path.is_dir() {
                open.push(path.clone());
            }
            found.insert(path.display().to_string());
        }
    }
    found
}

fn entries<'a>(explained: &'a Value, kind: &str) -> Vec<&'a Value> {
    let all = explained["agents"][0]["enforcement"].as_array().expect("entries");
    all.iter().filter(|entry| entry["subject"]["kind"] == kind).collect()
}

#[test]
fn an_agent_is_rehearsed_without_its_code_and_nothing_is_left() {
    let lab = Lab::new();
    let project = clerk(&lab);
    lab.json(&["explain", "clerk"]).exits(0);
    let before = below(&lab);
    let explained = lab.json(&["explain", "clerk"]).exits(0).json();
    assert_eq!(below(&lab), before, "nothing is left of it");
    assert!(!project.join("ran").exists(), "no code of the agent ran");
    assert!(lab.processes().is_empty(), "{:?}", lab.processes());
    let cells = lab.json(&["status", "--all"]).exits(0).json();
    assert_eq!(cells["active_cells"].as_array().map(Vec::len), Some(0), "{cells}");
    let paths = entries(&explained, "path");
    let has = |path: &str, access: &str, granted: &str| {
        paths.iter().any(|entry| {
            let subject = &entry["subject"];
            subject["path"] == path && subject["access"] == access && subject["granted"] == granted && entry["extent"] == "full"
        })
    };
    assert!(has("/project", "rw", "mount") && has("/shared", "rw", "shared") && has("/tmp", "rw", "scratch"), "{paths:?}");
    assert!(paths.iter().any(|entry| entry["subject"]["granted"] == "home"), "{paths:?}");
    let variables = entries(&explained, "variable");
    assert!(variables.iter().any(|entry| entry["subject"]["name"] == "GREETING"), "{variables:?}");
    assert!(!explained["agents"][0]["enforcement"].to_string().contains("a-value-of-a-variable"));
    let memory = entries(&explained, "limit").into_iter().find(|entry| entry["subject"]["name"] == "memory").expect("of memory");
    assert_eq!(memory["subject"]["value"], "96 MiB");
    assert!(!entries(&explained, "address").is_empty() && !entries(&explained, "wall").is_empty());
    let skipped = explained["agents"][0]["not_rehearsed"].to_string();
    assert!(skipped.contains("\"log\"") && skipped.contains("while the cell lives") && !skipped.contains("memory"), "{skipped}");
    assert_eq!(explained["agents"][0]["refused"], Value::Null);
    assert_eq!(explained["compared"], Value::Null);
    // Every promise of the rehearsal is one of the cell, too, and the cell has those of the warden beside.
    let cell = lab.summon(&["clerk", "p"]);
    let live = lab.json(&["explain", &cell]).exits(0).json();
    let names = |explained: &Value| {
        let all = ["variable", "limit", "address", "wall"]
            .map(|kind| entries(explained, kind).iter().map(|entry| entry["subject"].to_string()).collect::<BTreeSet<_>>());
        all.into_iter().flatten().collect::<BTreeSet<String>>()
    };
    let (rehearsed, lived) = (names(&explained), names(&live));
    assert!(rehearsed.is_subset(&lived), "{:?}", rehearsed.difference(&lived));
    assert!(lived.iter().any(|subject| subject.contains("\"log\"")) && lived.iter().any(|subject| subject.contains("\"messages\"")));
    lab.json(&["destroy", &cell]).exits(0);
}

#[test]
fn a_wasm_agent_is_rehearsed_and_a_missing_command_is_said() {
    let lab = Lab::new();
    let component = lab.file("hello.wat", r#"(module (memory (export "memory") 1) (func (export "_start")))"#);
    let definition = format!("[agent]\nname = \"hello\"\ncomponent = \"{}\"\n", component.display());
    let file = lab.file("hello/agent.toml", definition.replace(&component.display().to_string(), "hello.wat"));
    std::fs::copy(&component, file.with_file_name("hello.wat")).expect("copied");
    lab.json(&["agent", "add", &file.display().to_string()]).exits(0);
    let explained = lab.json(&["explain", "hello"]).exits(0).json();
    let enforcers: BTreeSet<String> =
        explained["agents"][0]["enforcement"].as_array().expect("entries").iter().map(|entry| text(&entry["enforcer"])).collect();
    assert!(enforcers.contains("wasm") && enforcers.contains("seccomp") && enforcers.contains("landlock"), "{enforcers:?}");
    assert!(explained["guarantees"].to_string().contains("no network"), "{explained}");
    let missing = lab.file("missing/agent.toml", "[agent]\nname = \"missing\"\ncommand = [\"no-such-command\"]\n");
    lab.json(&["agent", "add", &missing.display().to_string()]).exits(0);
    let explained = lab.json(&["explain", "missing"]).exits(0).json();
    let refused = text(&explained["agents"][0]["refused"]);
    assert!(refused.contains("\"no-such-command\": no such command"), "{refused}");
    assert!(text(&explained["message"]).contains("would refuse"), "{explained}");
}

#[test]
fn processes_of_a_living_cell_agree_with_what_was_reported() {
    let lab = Lab::new();
    for backend in ["process", "wasm"] {
        let cell = lab.summon(&["scribe", "p", "--backend", backend]);
        let explained = lab.json(&["explain", &cell]).exits(0).json();
        assert_eq!((&explained["compared"]["disagree"], &explained["compared"]["unknown"]), (&0.into(), &0.into()), "{explained}");
        let checks = explained["checks"].as_array().expect("checks");
        let parts: BTreeSet<String> = checks.iter().map(|check| text(&check["process"]["part"])).collect();
        let expected: &[&str] = if backend == "wasm" { &["host"] } else { &["agent", "reaper"] };
        assert_eq!(parts.iter().map(String::as_str).collect::<Vec<_>>(), expected);
        for what in ["no_new_privs", "seccomp", "seccomp filters", "capabilities", "user", "descriptors", "limit: Max open files"] {
            assert!(checks.iter().any(|check| check["what"] == what && check["agrees"] == "yes"), "{what}: {checks:?}");
        }
        let own = if backend == "wasm" { "mapped code" } else { "namespaces" };
        assert!(checks.iter().any(|check| check["what"] == own), "{checks:?}");
        assert!(explained["not_compared"].to_string().contains("Landlock leaves no trace"));
        let shown = lab.run(&["explain", &cell]).exits(0).stdout;
        for title in ["paths", "variables", "network", "limits", "walls", "processes, as /proc shows them", "guaranteed", "not guaranteed"]
        {
            assert!(shown.lines().any(|line| line == title), "{title}: {shown}");
        }
        lab.json(&["destroy", &cell]).exits(0);
        let explained = lab.json(&["explain", &cell]).exits(0).json();
        assert_eq!((&explained["compared"], explained["checks"].as_array().map(Vec::len)), (&Value::Null, Some(0)));
        assert!(text(&explained["message"]).contains("nothing of it lives"));
    }
}

#[test]
fn a_limit_that_was_raised_behind_the_report_is_found() {
    let lab = Lab::new();
    let cell = lab.summon(&["scribe", "p"]);
    let explained = lab.json(&["explain", &cell]).exits(0).json();
    let part = |check: &&Value| check["process"]["part"] == "agent";
    let agent =
        explained["checks"].as_array().expect("checks").iter().find(part).expect("an agent")["process"]["pid"].as_i64().expect("a pid");
    assert!(processes::is_alive(u32::try_from(agent).expect("a pid")));
    let pid = Pid::from_raw(i32::try_from(agent).expect("a pid"));
    // By the one second that every operator may give, with whatever capabilities: the soft limit is below the hard one.
    let raised = Rlimit { current: Some(3601), maximum: Some(3601) };
    let before = prlimit(pid, Resource::Cpu, raised).expect("raised");
    assert_eq!((before.current, before.maximum), (Some(3600), Some(3601)));
    let explained = lab.json(&["explain", &cell]).exits(1).json();
    assert_eq!((&explained["success"], &explained["exit_code"]), (&false.into(), &1.into()));
    assert!(text(&explained["message"]).contains("do NOT agree"), "{explained}");
    let checks = explained["checks"].as_array().expect("checks");
    let wrong: Vec<&Value> = checks.iter().filter(|check| check["agrees"] == "no").collect();
    assert!(wrong.iter().all(|check| check["what"] == "limit: Max cpu time" && check["process"]["part"] == "agent"), "{wrong:?}");
    assert!(wrong.iter().any(|check| check["found"] == "3601 (hard 3601)" && check["process"]["pid"] == agent), "{wrong:?}");
    let shown = lab.run(&["explain", &cell]).exits(1);
    assert!(
        shown.stdout.lines().any(|line| line.starts_with("agent") && line.contains("NO") && line.contains("3601 (hard 3601)")),
        "{}",
        shown.stdout
    );
    assert!(shown.stderr.starts_with("error: ") && shown.stderr.contains("do NOT agree"), "{}", shown.stderr);
    // The twin: as it was, it agrees.
    prlimit(pid, Resource::Cpu, before).expect("lowered");
    let explained = lab.json(&["explain", &cell]);
    // What the agent started meanwhile was born with the raised limit, and ends within a second.
    if explained.code != 0 {
        std::thread::sleep(std::time::Duration::from_millis(1500));
        lab.json(&["explain", &cell]).exits(0);
    }
    lab.json(&["destroy", &cell]).exits(0);
}

/// Where the tree of a controller is mounted: version 1 has one for each, version 2 one for all.
fn tree_of(controller: &str) -> std::path::PathBuf {
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").expect("read");
    let is_it = |line: &&str| {
        let options = line.rsplit(' ').next().unwrap_or_default();
        line.contains(" - cgroup2 ") || (line.contains(" - cgroup ") && options.split(',').any(|option| option == controller))
    };
    let found = mounts.lines().filter(is_it).max_by_key(|line| line.contains(" - cgroup "));
    found.and_then(|line| line.split(' ').nth(4)).expect("a tree of control groups").into()
}

#[test]
fn a_process_that_left_its_control_group_is_found() {
    assert!(rustix::process::geteuid().is_root(), "moving a process to another group takes root");
    let lab = Lab::new();
    let cell = lab.summon(&["scribe", "p", "--", "sleep", "1000"]);
    let explained = lab.json(&["explain", &cell]).exits(0).json();
    let part = |check: &&Value| check["process"]["part"] == "agent" && check["what"] == "control group for pids";
    let check = explained["checks"].as_array().expect("checks").iter().find(part).expect("of its group").clone();
    assert_eq!(check["agrees"], "yes", "{check}");
    let (pid, group) = (check["process"]["pid"].as_u64().expect("a pid"), text(&check["found"]));
    let own = tree_of("pids").join(group.trim_start_matches('/')).join("cgroup.procs");
    let above = own.parent().and_then(std::path::Path::parent).expect("a group above").join("cgroup.procs");
    std::fs::write(&above, pid.to_string()).expect("moved");
    let explained = lab.json(&["explain", &cell]).exits(1).json();
    let wrong: Vec<&Value> = explained["checks"].as_array().expect("checks").iter().filter(|check| check["agrees"] == "no").collect();
    assert!(!wrong.is_empty() && wrong.iter().all(|check| check["process"]["pid"] == pid), "{wrong:?}");
    assert!(wrong.iter().any(|check| check["what"] == "control group for pids"), "{wrong:?}");
    // The twin: back in its group, it agrees.
    std::fs::write(&own, pid.to_string()).expect("moved back");
    lab.json(&["explain", &cell]).exits(0);
    lab.json(&["destroy", &cell]).exits(0);
}

/// What looks like a cell's id is one: no agent is called that, but for those that an older release installed, which are there.
#[test]
fn an_agent_is_not_called_like_a_cell() {
    let lab = Lab::new();
    let definition = |name: &str| format!("[agent]\nname = \"{name}\"\ncommand = [\"sleep\", \"1\"]\n");
    for (name, refused) in [("laz-00000001", true), ("laz-0000000", false), ("laz-scribe", false)] {
        lab.file("agent.toml", definition(name));
        for command in [&["agent", "add", "agent.toml"][..], &["agent", "check", "agent.toml"], &["agent", "new", name]] {
            let told = lab.json(command).exits(i32::from(refused));
            assert!(!refused || told.message().contains("it is the form of a cell's id"), "{command:?}");
        }
        assert_eq!(lab.work().join(name).exists(), !refused);
    }
    assert_eq!(lab.json(&["explain", "laz-scribe"]).exits(0).json()["agents"][0]["agent"], "laz-scribe");
    for (absent, says) in
        [("laz-00000001", "Cell laz-00000001 not found"), ("laz-nobody", "Cell laz-nobody not found"), ("nobody", "Agent nobody")]
    {
        assert!(lab.json(&["explain", absent]).exits(3).message().contains(says), "{absent}");
    }
    // As an older release would have left it.
    let agents = lab.root().join("agents");
    std::fs::create_dir(agents.join("laz-00000001")).expect("made");
    std::fs::copy(agents.join("laz-scribe/lock.json"), agents.join("laz-00000001/lock.json")).expect("copied");
    std::fs::write(agents.join("laz-00000001/agent.toml"), definition("laz-00000001")).expect("written");
    assert_eq!(lab.json(&["explain", "laz-00000001"]).exits(0).json()["agents"][0]["agent"], "laz-00000001");
}
