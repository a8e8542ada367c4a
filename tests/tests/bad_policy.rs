//! Policies that contradict themselves, or name what is never granted: refused with file, line and what to do, from a definition and from the command
//! line; and the twin that differs in one thing is granted.

use std::{fs, os::unix::fs::symlink, path::Path};

use lazarus_tests::{Lab, guests, lab::text};

const REFUSED: i32 = 1;
const USAGE: i32 = 2;

/// A lab with directories to mount, links among them, a cell of somebody else's, and the operator's own Hermes.
struct Ground {
    lab: Lab,
    cell: String,
}

impl Ground {
    fn new() -> Self {
        let lab = Lab::new();
        for name in ["a/b/x", "c/x", "real/below/x"] {
            lab.file(name, "x");
        }
        lab.file("scribe.wat", guests::says("x", 0));
        let home = lab.root().parent().expect("in a directory").join("home");
        fs::create_dir_all(home.join(".hermes/skills")).expect("made");
        symlink(lab.work().join("real"), lab.work().join("link")).expect("linked");
        symlink(lab.work().join("a"), lab.work().join("c/inner")).expect("linked");
        let cell = lab.summon(&["other", "p"]);
        Self { lab, cell }
    }

    /// Words of a case, with the places of this lab.
    fn fill(&self, words: &str) -> String {
        let root = self.lab.root();
        let above = root.parent().expect("in a directory");
        let cell = self.lab.cell_dir(&self.cell);
        let places = [
            ("ROOT", root.as_path()),
            ("ABOVE", above),
            ("CELL", cell.as_path()),
            ("HERMES", &above.join("home/.hermes")),
            ("HOME", &above.join("home")),
            ("WORK", &self.lab.work()),
        ];
        places.iter().fold(words.to_owned(), |words, (name, path)| words.replace(name, &path.display().to_string()))
    }

    /// Whether nothing came of what was refused: the cell that was there before is all there is.
    #[track_caller]
    fn nothing_came_of_it(&self, what: &str) {
        assert_eq!(self.lab.cell_dirs(), [self.cell.as_str()], "{what}");
        let agents = fs::read_dir(self.lab.root().join("agents")).expect("read").count();
        assert_eq!(agents, 0, "{what}");
    }

    /// The definition with these grants: refused, with file and line, and audited.
    #[track_caller]
    fn definition_is_refused(&self, program: &str, grants: &str, line: usize, says: &str) {
        let grants = self.fill(grants);
        let what = format!("{program} {grants}");
        self.lab.file("agent.toml", format!("[agent]\nname = \"scribe\"\n{program}\n\n[grants]\n{grants}\n"));
        let refused = self.lab.json(&["agent", "add", "agent.toml"]).exits(REFUSED).json();
        let message = text(&refused["message"]);
        assert!(message.contains(&format!("agent.toml:{line}:")), "{what}: {message}");
        assert!(message.contains(&self.fill(says)), "{what}: {message:?} does not say {says:?}");
        let last = self.last_refusal("agent_add");
        assert!(last.contains(&self.fill(says)), "{what}: {last}");
        self.nothing_came_of_it(&what);
    }

    #[track_caller]
    fn command_line_is_refused(&self, args: &[&str], code: i32, says: &str) {
        let args: Vec<String> = args.iter().map(|arg| self.fill(arg)).collect();
        for first in [&["run"][..], &["summon", "scribe", "p"]] {
            let mut all: Vec<&str> = first.to_vec();
            let (options, command) = match args.iter().position(|arg| arg == "--") {
                Some(at) => args.split_at(at),
                None => (args.as_slice(), &[][..]),
            };
            all.extend(options.iter().map(String::as_str));
            all.extend(command.iter().map(String::as_str));
            let message = self.lab.json(&all).exits(code).message();
            assert!(message.contains(&self.fill(says)), "{all:?}: {message:?} does not say {says:?}");
            self.nothing_came_of_it(&format!("{all:?}"));
        }
    }

    fn last_refusal(&self, action: &str) -> String {
        let db = rusqlite::Connection::open(self.lab.root().join("registry.db")).expect("opened");
        let sql = "SELECT detail FROM audit WHERE action = ?1 AND phase = 'refused' ORDER BY seq DESC LIMIT 1";
        db.query_row(sql, [action], |row| row.get(0)).expect("audited")
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        let destroyed = self.lab.run(&["destroy", &self.cell]);
        if !std::thread::panicking() {
            let _ = destroyed.exits(0);
        }
    }
}

const COMMAND: &str = "command = [\"true\"]";
const COMPONENT: &str = "component = \"scribe.wat\"";

/// A mount of each kind that is refused: host, guest, and what is said. Each alone, in a definition (line 6) and on the command line.
const NEVER: [(&str, &str, &str); 22] = [
    ("/proc", "/x", "processes"),
    ("/proc/self", "/x", "processes"),
    ("/sys", "/x", "the machine's devices, or to what its kernel shows"),
    ("/sys/kernel", "/x", "name what the agent needs of its own"),
    ("/dev", "/x", "the machine's devices"),
    ("/dev/shm", "/x", "the machine's devices"),
    ("/dev/null", "/x", "neither a directory nor a regular file"),
    ("ROOT", "/x", "inside a Lazarus root"),
    ("ROOT/registry.db", "/x", "inside a Lazarus root"),
    ("ROOT/agents", "/x", "inside a Lazarus root"),
    ("CELL/home", "/x", "with every cell's home"),
    ("ABOVE", "/x", "or contains it"),
    ("HERMES", "/x", "~/.hermes"),
    ("HERMES/skills", "/x", "~/.hermes"),
    ("HOME", "/x", "with its credentials"),
    ("WORK/link", "/x", "name where it leads: WORK/real"),
    ("link/below", "/x", "name where it leads: WORK/real/below"),
    ("c/inner/b", "/x", "name where it leads: WORK/a/b"),
    ("a", "/shared", "the cell has its own there; choose another path"),
    ("a", "/shared/a", "the cell has its own there"),
    ("a", "/proc", "the cell has its own there"),
    ("a", "/dev/a", "the cell has its own there"),
];

#[test]
fn what_is_never_granted_is_refused_with_its_place() {
    let ground = Ground::new();
    for (host, guest, says) in NEVER {
        let mount = format!("mounts = [\n  {{ host = \"{host}\", guest = \"{guest}\" }}]");
        ground.definition_is_refused(COMMAND, &mount, 7, says);
        ground.definition_is_refused(COMPONENT, &mount, 7, says);
        ground.command_line_is_refused(&["--mount", &format!("{host}:{guest}"), "--", "true"], REFUSED, says);
    }
    for (host, guest, says) in
        [("/", "/x", "whole machine"), ("a/../c", "/x", "'..'"), ("..", "/x", "'..'"), ("a", "/home", "/home"), ("a", "/", "/")]
    {
        ground.definition_is_refused(COMPONENT, &format!("mounts = [{{ host = \"{host}\", guest = \"{guest}\" }}]"), 6, says);
        if guest != "/" {
            let says = if host == ".." { "Lazarus root" } else { says };
            ground.command_line_is_refused(&["--mount", &format!("{host}:{guest}"), "--", "true"], REFUSED, says);
        }
    }
    for guest in ["/a/../b", "/a//b", "/a/./b", "relative", ""] {
        ground.definition_is_refused(COMMAND, &format!("mounts = [{{ host = \"a\", guest = \"{guest}\" }}]"), 6, "absolute, without empty");
    }
    // The twin: what is named straight, at a place of its own.
    for mount in ["WORK/real:/x", "a/b:/x:rw", "./a:/x"] {
        let mount = ground.fill(mount);
        let _ = ground.lab.run(&["run", "--mount", &mount, "--", "/bin/ls", "/x"]).exits(0);
    }
}

#[test]
fn what_is_never_read_is_refused_with_its_place() {
    let ground = Ground::new();
    for (path, says) in [
        ("/", "below '/'"),
        ("relative", "an absolute path"),
        ("/usr/../root", "without '..'"),
        ("/run", "/run"),
        ("/proc", "processes"),
        ("/sys", "the machine's devices"),
        ("/dev", "the machine's devices"),
        ("/dev/null", "it is a device; every process agent has /dev/null"),
        ("ROOT", "inside a Lazarus root"),
        ("CELL/home", "with every cell's home"),
        ("ABOVE", "or contains it"),
        ("HERMES", "~/.hermes"),
        ("HERMES/skills", "~/.hermes"),
        ("WORK/link", "name where it leads: WORK/real"),
        ("WORK/link/below", "name where it leads: WORK/real/below"),
    ] {
        ground.definition_is_refused(COMMAND, &format!("read = [\"/usr\",\n  \"{path}\"]"), 7, says);
    }
    for (path, code, says) in [
        ("/", USAGE, "below '/'"),
        ("/run", USAGE, "not /run"),
        ("/usr/../root", USAGE, "without '..'"),
        ("/proc", REFUSED, "processes"),
        ("/dev/urandom", REFUSED, "every process agent has /dev/null, zero, full, random and urandom without a grant"),
        ("/dev/tty", REFUSED, "and no other"),
        ("/sys", REFUSED, "the machine's devices"),
        ("/dev", REFUSED, "the machine's devices"),
        ("CELL/home", REFUSED, "with every cell's home"),
        ("HERMES/skills", REFUSED, "~/.hermes"),
        ("WORK/link", REFUSED, "name where it leads: WORK/real"),
    ] {
        ground.command_line_is_refused(&["--read", path, "--", "true"], code, says);
    }
    ground.definition_is_refused(COMMAND, "read = []", 6, "names nothing");
    // The twins: what is named straight, and a link into what every process agent may read.
    let _ = ground.lab.run(&["run", "--read", &ground.fill("WORK/real"), "--", "/bin/true"]).exits(0);
    symlink("/usr/bin", ground.lab.work().join("programs")).expect("linked");
    let _ = ground.lab.run(&["run", "--read", &ground.fill("WORK/programs"), "--", &ground.fill("WORK/programs/true")]).exits(0);
    let _ = ground.lab.run(&["run", "--read", "/bin/sh", "--", "/bin/sh", "-c", "true"]).exits(0);
}

#[test]
fn what_is_not_there_to_read_is_not_everything() {
    let ground = Ground::new();
    let definition = |read: &str| {
        ground.lab.file("agent.toml", format!("[agent]\nname = \"scribe\"\n{COMMAND}\n[grants]\nread = [{read}]\n"));
        let _ = ground.lab.run(&["agent", "add", "--replace", "agent.toml"]).exits(0);
    };
    definition("\"/no/such/place\", \"/nor/this\"");
    for args in [&["run", "scribe"][..], &["summon", "scribe", "p"]] {
        let message = ground.lab.json(args).exits(REFUSED).message();
        assert!(message.contains("/no/such/place") && message.contains("/nor/this"), "{message}");
        assert_eq!(ground.lab.cell_dirs(), [ground.cell.as_str()]);
    }
    // The twin: something of it is there.
    let _ = ground.lab.run(&["agent", "remove", "scribe"]).exits(0);
    definition("\"/no/such/place\", \"/usr\", \"/bin\", \"/lib\", \"/lib64\"");
    let _ = ground.lab.run(&["run", "scribe"]).exits(0);
    let _ = ground.lab.run(&["agent", "remove", "scribe"]).exits(0);
}

#[test]
fn what_was_granted_for_reading_and_is_gone_is_not_everything_when_the_cell_comes_back() {
    let ground = Ground::new();
    let lab = &ground.lab;
    let cell = lab.summon(&["scribe", "p", "--read", &ground.fill("WORK/real")]);
    let _ = lab.run(&["close", &cell]).exits(0);
    let plan = lab.cell_dir(&cell).join("plan.json");
    let text = fs::read_to_string(&plan).expect("a plan");
    // As if nothing else had been granted.
    let mut narrow: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    narrow["agents"][0]["launch"]["policy"]["read"] = serde_json::json!([lab.work().join("real")]);
    fs::write(&plan, narrow.to_string()).expect("written");
    fs::rename(lab.work().join("real"), lab.work().join("gone")).expect("moved");
    let message = lab.json(&["resurrect", &cell]).exits(REFUSED).message();
    assert!(message.contains("nothing that was granted to scribe for reading is there any more"), "{message}");
    // The twin: something of it is there.
    fs::write(&plan, text).expect("written");
    let _ = lab.run(&["resurrect", &cell]).exits(0);
    let _ = lab.run(&["destroy", &cell]).exits(0);
}

#[test]
fn a_template_is_looked_at_like_a_mount() {
    let ground = Ground::new();
    let lab = &ground.lab;
    let install = |template: &str| {
        lab.file("agent.toml", format!("[agent]\nname = \"scribe\"\n{COMMAND}\ntemplate = \"{}\"\n", ground.fill(template)));
        lab.json(&["agent", "add", "agent.toml"])
    };
    for (template, says) in [
        ("ROOT/agents", "inside a Lazarus root"),
        ("CELL/home", "with every cell's home"),
        ("ABOVE", "or contains it"),
        ("HERMES", "~/.hermes"),
        ("/proc/self", "processes"),
        ("link", "name where it leads: WORK/real"),
        ("a/../real", "'..'"),
        ("a/b/x", "it is not a directory"),
        ("no/such", "no/such"),
    ] {
        let message = install(template).exits(REFUSED).message();
        assert!(message.contains("agent.toml:4:") && message.contains(&ground.fill(says)), "{template}: {message}");
        ground.nothing_came_of_it(template);
    }
    let added = install("real").exits(0).json();
    assert!(added.to_string().contains(&ground.fill("copy WORK/real into each home")), "{added}");
    let _ = lab.run(&["agent", "remove", "scribe"]).exits(0);
}

#[test]
fn what_is_read_is_neither_written_to_nor_covered() {
    let ground = Ground::new();
    for (read, mount, says) in [
        ("WORK/a", "a:/y:rw", "WORK/a read-write beside WORK/a, which is for reading"),
        ("WORK/a/b", "a:/y:rw", "WORK/a read-write beside WORK/a/b"),
        ("WORK/a", "a/b:/y:rw", "WORK/a/b read-write beside WORK/a"),
        ("WORK/a", "c:/usr", "the agent reads /usr there"),
        ("WORK/a", "c:/etc", "the agent reads /etc/ssl"),
        ("WORK/a", "c:/usr/share/misc:rw", "the agent reads /usr there"),
    ] {
        ground.command_line_is_refused(&["--read", read, "--mount", mount, "--", "true"], REFUSED, says);
    }
    ground.command_line_is_refused(&["--mount", "c:/usr", "--", "true"], REFUSED, "the agent reads /usr there");
    // The twins: as writable as what is read, and beside it.
    for mount in ["a:/y", "c:/y:rw", "c:/srv:rw"] {
        let _ = ground.lab.run(&["run", "--read", &ground.fill("WORK/a"), "--mount", mount, "--", "/bin/true"]).exits(0);
    }
}

#[test]
fn nothing_is_made_in_what_is_mounted() {
    let ground = Ground::new();
    let lab = &ground.lab;
    for access in ["", ":rw"] {
        let (outer, inner) = (format!("c:/m{access}"), format!("a:/m/nosuch{access}"));
        let refused = lab.run(&["run", "--mount", &outer, "--mount", &inner, "--", "/bin/true"]);
        assert!(refused.code != 0 && refused.stderr.contains("there is nothing to mount on"), "{refused:?}");
        assert!(!lab.work().join("c/nosuch").exists());
        let inner = format!("real:/m/x{access}");
        let refused = lab.run(&["run", "--mount", &outer, "--mount", &inner, "--", "/bin/true"]);
        assert!(refused.code != 0, "a directory over a file: {refused:?}");
    }
    fs::create_dir(lab.work().join("c/there")).expect("made");
    let _ = lab.run(&["run", "--mount", "c:/m", "--mount", "a:/m/there", "--", "/bin/ls", "/m/there/b"]).exits(0);
}

#[test]
fn another_root_is_neither_granted_nor_one_below_a_root() {
    let ground = Ground::new();
    let lab = &ground.lab;
    let other = lab.work().join("other");
    let _ = lab.run(&["--root", &other.display().to_string(), "audit", "keygen"]).exits(0);
    for place in ["other", "other/cells", "other/keys"] {
        ground.command_line_is_refused(&["--mount", &format!("{place}:/x"), "--", "true"], REFUSED, "inside a Lazarus root");
    }
    let below = ground.fill("CELL/home/root");
    let message = lab.json(&["--root", &below, "status"]).exits(REFUSED).message();
    assert!(message.contains("inside another one") && !Path::new(&below).exists(), "{message}");
}

/// Two mounts that contradict each other, and what is said: as `HOST:GUEST[:rw]`.
const CONTRADICTIONS: [([&str; 2], &str); 8] = [
    (["a:/x", "c:/x"], "a second mount at /x: only one of them would be seen; leave one out"),
    (["a:/x", "a:/x"], "a second mount at /x"),
    (["a:/x", "a:/y:rw"], "give both the same access, or leave one out"),
    (["a:/x:rw", "./a:/y"], "give both the same access"),
    (["a:/x:rw", "a/b:/y"], "they overlap on this machine"),
    (["a:/x", "a/b:/y:rw"], "they overlap on this machine"),
    (["a:/x", "c:/x/y:rw"], "/x/y (rw) inside of /x (ro)"),
    (["c:/x/y", "a:/x:rw"], "/x/y (ro) inside of /x (rw)"),
];

#[test]
fn policies_that_contradict_themselves() {
    let ground = Ground::new();
    for (mounts, says) in CONTRADICTIONS {
        let tables = mounts.map(|mount| {
            let parts: Vec<&str> = mount.split(':').collect();
            let access = parts.get(2).copied().unwrap_or("ro");
            format!("  {{ host = \"{}\", guest = \"{}\", access = \"{access}\" }},\n", parts[0], parts[1])
        });
        // The line of the second of the two.
        ground.definition_is_refused(COMPONENT, &format!("mounts = [\n{}]", tables.concat()), 8, says);
        ground.command_line_is_refused(&["--mount", mounts[0], "--mount", mounts[1], "--", "true"], REFUSED, says);
        ground.command_line_is_refused(&["--mount", mounts[0], "--mount", mounts[1], "--component", "scribe.wat"], REFUSED, says);
    }
    // One of each in the definition and on the command line contradict each other just the same; at the same place, what is typed is meant.
    ground
        .lab
        .file("agent.toml", format!("[agent]\nname = \"scribe\"\n{COMPONENT}\n[grants]\nmounts = [{{ host = \"a\", guest = \"/x\" }}]\n"));
    let _ = ground.lab.run(&["agent", "add", "agent.toml"]).exits(0);
    let message = ground.lab.json(&["run", "scribe", "--mount", "a/b:/y:rw"]).exits(REFUSED).message();
    assert!(message.contains("they overlap on this machine"), "{message}");
    let _ = ground.lab.run(&["run", "scribe", "--mount", "c:/x:rw"]).exits(0);
    let _ = ground.lab.run(&["agent", "remove", "scribe"]).exits(0);

    ground.definition_is_refused(COMMAND, "env = { A = \"1\",\n A = \"2\" }", 7, "duplicate key");
    ground.command_line_is_refused(&["--env", "A=1", "--env", "A=2", "--", "true"], USAGE, "variable A twice");
    ground.command_line_is_refused(&["--mount", "a:/home/x", "--component", "scribe.wat"], REFUSED, "the cell has its own there");
    ground.command_line_is_refused(&["--mount", "a:ROOT/x", "--", "true"], REFUSED, "the cell has its own there");
    ground.command_line_is_refused(&["--mount", "a:ABOVE", "--", "true"], REFUSED, "the cell has its own there");
    // The twins, each different in one thing.
    for mounts in [["a:/x", "c:/y"], ["a:/x", "a:/y"], ["a:/x", "c:/xy:rw"], ["a:/x", "a/b:/x/b"]] {
        let _ = ground.lab.run(&["run", "--mount", mounts[0], "--mount", mounts[1], "--", "/bin/true"]).exits(0);
    }
    let _ = ground.lab.run(&["run", "--mount", "a:/home/x", "--", "/bin/ls", "/home/x"]).exits(0);
    let _ = ground.lab.run(&["run", "--env", "A=1", "--env", "B=1", "--", "/bin/true"]).exits(0);
}

#[test]
fn what_became_a_link_after_it_was_approved_is_refused_with_its_place() {
    let ground = Ground::new();
    ground.lab.file(
        "agent.toml",
        format!("[agent]\nname = \"scribe\"\n{COMPONENT}\n[grants]\nmounts = [\n  {{ host = \"c\", guest = \"/x\" }}]\n"),
    );
    let _ = ground.lab.run(&["agent", "add", "agent.toml"]).exits(0);
    let _ = ground.lab.run(&["run", "scribe"]).exits(0);
    let place: &Path = &ground.lab.work().join("c");
    fs::rename(place, ground.lab.work().join("elsewhere")).expect("moved");
    symlink("/etc", place).expect("linked");
    let message = ground.lab.json(&["run", "scribe"]).exits(REFUSED).message();
    assert!(message.contains("agents/scribe/agent.toml:6:") && message.contains("name where it leads: /etc"), "{message}");
    fs::remove_file(place).expect("removed");
    let message = ground.lab.json(&["run", "scribe"]).exits(REFUSED).message();
    assert!(message.contains("agents/scribe/agent.toml:6:") && message.contains("find "), "{message}");
    fs::rename(ground.lab.work().join("elsewhere"), place).expect("moved back");
    let _ = ground.lab.run(&["run", "scribe"]).exits(0);
    let _ = ground.lab.run(&["agent", "remove", "scribe"]).exits(0);
}

/// What the backend of an agent has no use for: refused with one reason, from a definition and from the command line. The twin is of the other backend.
#[test]
fn what_is_of_the_other_backend_is_refused_wherever_it_is_written() {
    let ground = Ground::new();
    let (process, wasm) = (["--", "true"], ["--component", "WORK/scribe.wat"]);
    let quoted = |value: &str| if value.parse::<u32>().is_ok() || value == "true" { value.to_owned() } else { format!("{value:?}") };
    for (name, value) in [
        ("stack", "512KiB"),
        ("instances", "8"),
        ("table-elements", "1000"),
        ("hostcall", "1MiB"),
        ("random", "1KiB"),
        ("idle", "1m"),
        ("event", "1m"),
    ] {
        let why = if ["idle", "event"].contains(&name) { "is for agents that live by events" } else { "is for components and modules" };
        ground.definition_is_refused(COMMAND, &format!("\n[limits]\n{name} = {}", quoted(value)), 8, &format!("`{name}` {why}"));
        let option = format!("--{name}={value}");
        ground.command_line_is_refused(&[&[option.as_str()], &process[..]].concat(), USAGE, &format!("accept {name} for agent"));
        ground.command_line_is_refused(&[&[option.as_str()], &process[..]].concat(), USAGE, why);
        let _ = ground.lab.run(&["run", &option, "--component", &ground.fill("WORK/scribe.wat")]).exits(0);
    }
    ground.definition_is_refused(COMMAND, "\n[life]\ntick = \"1m\"", 8, "`tick` is for agents that live by events");
    for (written, options, says) in [
        ("read = [\"/usr\"]", &["--read", "/usr"][..], "read"),
        ("client = true", &["--client"], "client"),
        ("\n[limits]\nprocesses = 128", &["--processes=128"], "processes"),
    ] {
        let line = if written.starts_with('\n') { 8 } else { 6 };
        ground.definition_is_refused(COMPONENT, written, line, &format!("`{says}` is for process agents"));
        let args = [options, &wasm[..]].concat();
        ground.command_line_is_refused(&args, USAGE, &format!("accept {says} for agent"));
        ground.command_line_is_refused(&args, USAGE, "is for process agents");
        let _ = ground.lab.run(&[&["run"], options, &process[..]].concat()).exits(0);
    }
    // The keeper is of either backend: what it is summoned on decides.
    let on = |backend: &str, option: &str| ground.lab.run(&["summon", "keeper", "p", "--backend", backend, option]);
    assert!(on("process", "--stack=1MiB").exits(USAGE).stderr.contains("is for components"));
    assert!(on("wasm", "--client").exits(USAGE).stderr.contains("is for process agents"));
    for (backend, option) in [("wasm", "--stack=1MiB"), ("process", "--processes=64")] {
        let cell = ground.lab.summon(&["keeper", "p", "--backend", backend, option]);
        let _ = ground.lab.run(&["destroy", &cell]).exits(0);
    }
}
