//! House rules, each a test over the source tree, so that a reviewer need not look for them.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    process::Command,
};

use lazarus_tests::lab::binary;

/// The modules of the runtime, from the middle to the rim: each may use those before it, never those after it.
const MODULES: [&str; 17] = [
    "cell",
    "policy",
    "mail",
    "home",
    "agent",
    "audit",
    "registry",
    "seal",
    "failpoint",
    "unchecked",
    "jail",
    "backend",
    "member",
    "warden",
    "drill",
    "operator",
    "cli",
];

/// Files that may contain `unsafe`, with the reason.
const UNSAFE: [(&str, &str); 2] = [
    ("runtime/src/unchecked.rs", "what the kernel and wasmtime offer in no other way; each with its argument"),
    ("guest-sdk/src/component.rs", "the name of a custom section, in components alone; with its argument"),
];

/// Files that name a path of the machine to the kernel, with the reason. Whatever else is opened, is opened from a handle.
const AMBIENT: [(&str, &str); 34] = [
    ("runtime/src/home/ambient.rs", "the place for it: paths that the operator named"),
    ("runtime/src/home/look.rs", "looks at paths that the operator named, and at what is mounted"),
    ("runtime/src/home/handle.rs", "/proc/self/fd: changes the mode of an open directory"),
    ("runtime/src/registry/open.rs", "SQLite opens by path: the registry, in the operator's own root"),
    ("runtime/src/jail/cgroup/clear.rs", "control groups: those of a cell, wherever they are mounted"),
    ("runtime/src/jail/cgroup/group.rs", "control groups: files below /sys/fs/cgroup that Lazarus made"),
    ("runtime/src/jail/cgroup/place.rs", "control groups: which are mounted, and which this process is in"),
    ("runtime/src/jail/cgroup/tree.rs", "control groups: what those around this process offer"),
    ("runtime/src/jail/liveness.rs", "/proc: which processes live"),
    ("runtime/src/jail/namespaces.rs", "/proc/self: the maps of a user namespace"),
    ("runtime/src/jail/nameless.rs", "/proc: what processes of an agent hold open"),
    ("runtime/src/jail/observe/read.rs", "/proc: what a jailed process is like, compared with its report"),
    ("runtime/src/jail/streams.rs", "/dev/null of the new root, in a jailed child"),
    ("runtime/src/jail/newroot.rs", "the new root, in the mount namespace of a jailed child"),
    ("runtime/src/unchecked.rs", "/proc/self: its own descriptors and threads"),
    ("runtime/src/backend/process/sources.rs", "opens what a policy grants, after home checked it"),
    ("runtime/src/backend/process/program.rs", "the small program of reapers, in the directory of this one"),
    ("runtime/src/backend/process/plan.rs", "/proc: counts the processes of this user"),
    ("runtime/src/backend/process/connect.rs", "/proc: the address that an agent connects to, in the jailed reaper"),
    ("runtime/src/backend/process/held.rs", "/proc: whether it shows what a held call means, in the jailed reaper"),
    ("runtime/src/backend/process/marks.rs", "paths that an agent names, held without being opened to read or write, in the jailed reaper"),
    ("runtime/src/backend/process/reaper.rs", "/proc and /dev/null, in the jailed child"),
    ("runtime/src/backend/wasm/host/places.rs", "opens what a policy grants, in the host before its jail closes"),
    ("runtime/src/operator/foreground.rs", "/dev/null, in place of a terminal that somebody else has"),
    ("runtime/src/warden/meter.rs", "/proc/stat: how many processors there are"),
    ("runtime/src/warden/mod.rs", "/dev/null, in place of the pipe to the command that summoned"),
    ("runtime/src/drill/acts/descriptors.rs", "an attacker of the drill, in its jail"),
    ("runtime/src/drill/acts/files.rs", "an attacker of the drill, in its jail"),
    ("runtime/src/drill/acts/links.rs", "an attacker of the drill, in its jail"),
    ("runtime/src/drill/acts/place.rs", "an attacker of the drill, in its jail"),
    ("runtime/src/drill/acts/resources.rs", "an attacker of the drill, in its jail"),
    ("runtime/src/drill/fallen/acts.rs", "an attacker of the drill, in the jail of a wasm host"),
    ("runtime/src/drill/process/attacker.rs", "orders of the drill's attackers, in their jail"),
    ("runtime/src/drill/stage/tamper.rs", "SQLite opens by path: a registry of the drill's own, changed past Lazarus"),
];

/// Control sockets are connected through the descriptor of their directory.
const SOCKETS: [(&str, &str); 3] = [
    ("runtime/src/warden/control.rs", "/proc/self/fd/N/control.sock: a socket's address cannot name a handle"),
    ("runtime/src/member/client.rs", "LAZARUS_SOCKET: inside a jail, where that address leads to the cell and no other leads anywhere"),
    ("runtime/src/drill/acts/network.rs", "an attacker of the drill, in its jail"),
];

/// The most lines of a file: what a reader holds in mind in one sitting.
const LINES_MOST: usize = 500;

/// Files that are longer, with the reason.
const LONGER: [(&str, &str); 0] = [];

/// Kinds of files that are built, not written.
const BUILT: [&str; 10] = ["wasm", "cwasm", "so", "db", "sqlite", "a", "o", "rlib", "exe", "pyc"];

/// Commands that documents may name although `--help` does not list them.
const HIDDEN: [&str; 2] = ["help", "version"];

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the package is in the workspace").to_owned()
}

/// A source file: its path from the workspace, and its text.
struct Source {
    path: String,
    text: String,
}

/// Every Rust file below a directory of the workspace, built ones left out.
fn sources(below: &str) -> Vec<Source> {
    let mut found = Vec::new();
    let mut left = vec![workspace().join(below)];
    while let Some(dir) = left.pop() {
        for entry in std::fs::read_dir(&dir).expect("a directory of sources") {
            let path = entry.expect("read").path();
            let name = path.file_name().expect("named").to_string_lossy().into_owned();
            if path.is_dir() && name != "target" && !name.starts_with('.') {
                left.push(path);
            } else if path.extension().is_some_and(|kind| kind == "rs") {
                let text = std::fs::read_to_string(&path).expect("UTF-8");
                let path = path.strip_prefix(workspace()).expect("below it").to_string_lossy().into_owned();
                found.push(Source { path, text });
            }
        }
    }
    assert!(!found.is_empty(), "no sources below {below}");
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

impl Source {
    /// Whether the whole file is compiled for tests alone.
    fn is_test(&self) -> bool {
        let name = Path::new(&self.path).file_stem().expect("named").to_string_lossy();
        name.ends_with("_tests") || name == "tests" || name == "state_model" || self.path.contains("/tests/")
    }

    /// The program that ships: without comments, without the text of strings, and without what is compiled for tests alone.
    fn program(&self) -> String {
        if self.is_test() {
            return String::new();
        }
        without_tests(&without_words(&self.text))
    }
}

/// Blanks comments and the insides of strings and characters; newlines stay, so that line numbers do.
fn without_words(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut program = String::with_capacity(text.len());
    let mut at = 0;
    let blank = |program: &mut String, piece: &str| program.extend(piece.chars().map(|c| if c == '\n' { '\n' } else { ' ' }));
    while at < bytes.len() {
        let rest = &text[at..];
        let end = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |end| end + 2)
        } else if rest.starts_with("r#\"") {
            rest.find("\"#").map_or(rest.len(), |end| end + 2)
        } else if rest.starts_with('"') {
            string_end(rest)
        } else if let Some(end) = character_end(rest) {
            end
        } else {
            let c = rest.chars().next().expect("not at the end");
            program.push(c);
            at += c.len_utf8();
            continue;
        };
        blank(&mut program, &rest[..end]);
        at += end;
    }
    program
}

fn string_end(rest: &str) -> usize {
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        match (escaped, c) {
            (false, '"') => return at + 1,
            (false, '\\') => escaped = true,
            (false | true, _) => escaped = false,
        }
    }
    rest.len()
}

/// The end of a character literal; `None` for a lifetime.
fn character_end(rest: &str) -> Option<usize> {
    let inside = rest.strip_prefix('\'')?;
    if inside.starts_with('\\') {
        return inside[2..].find('\'').map(|end| end + 4);
    }
    let c = inside.chars().next()?;
    inside[c.len_utf8()..].starts_with('\'').then_some(c.len_utf8() + 2)
}

/// Removes what stands behind `#[cfg(test)]`, to the end of its block.
fn without_tests(program: &str) -> String {
    let mut left = program;
    let mut kept = String::new();
    while let Some(at) = left.find("#[cfg(test)]") {
        kept.push_str(&left[..at]);
        left = &left[at..];
        let end = match (left.find('{'), left.find(';')) {
            (Some(open), semicolon) if semicolon.is_none_or(|semicolon| open < semicolon) => block_end(left, open),
            (_, Some(semicolon)) => semicolon + 1,
            (_, None) => left.len(),
        };
        kept.extend(left[..end].chars().filter(|c| *c == '\n'));
        left = &left[end..];
    }
    kept.push_str(left);
    kept
}

fn block_end(text: &str, open: usize) -> usize {
    let mut depth = 0_usize;
    for (at, c) in text[open..].char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return open + at + 1;
        }
    }
    text.len()
}

/// The modules that a program names after `crate::`, with the line.
fn imports(program: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (at, _) in program.match_indices("crate::") {
        if program[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == '$') {
            continue;
        }
        let line = program[..at].matches('\n').count() + 1;
        let after = &program[at + "crate::".len()..];
        if after.starts_with('{') {
            let group = &after[1..block_end(after, 0) - 1];
            found.extend(top_level(group).into_iter().map(|name| (line, name)));
        } else {
            found.push((line, first_name(after)));
        }
    }
    found
}

fn first_name(text: &str) -> String {
    text.trim_start().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}

/// The first name of each entry of a group that may hold groups.
fn top_level(group: &str) -> Vec<String> {
    let mut entries = vec![String::new()];
    let mut depth = 0_usize;
    for c in group.chars() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => entries.push(String::new()),
            _ => {}
        }
        if !(c == ',' && depth == 0) {
            entries.last_mut().expect("one at least").push(c);
        }
    }
    entries.iter().map(|entry| first_name(entry)).filter(|name| !name.is_empty()).collect()
}

/// Holds a list of exceptions to what is found: nothing more, nothing less, and each with its reason.
#[track_caller]
fn exactly(what: &str, found: &BTreeMap<String, Vec<usize>>, allowed: &[(&str, &str)]) {
    let allowed: BTreeMap<&str, &str> = allowed.iter().copied().collect();
    for (path, lines) in found {
        assert!(allowed.contains_key(path.as_str()), "{path} {what}, lines {lines:?}: it is not in the list of those that may");
    }
    for (path, reason) in allowed {
        assert!(found.contains_key(path), "{path} is listed, and no longer {what}: take it off the list");
        assert!(reason.len() > 10, "{path}: say why");
    }
}

/// The files whose program has one of these words, with the lines.
fn with_any(files: &[Source], words: &[&str]) -> BTreeMap<String, Vec<usize>> {
    let mut found = BTreeMap::new();
    for file in files {
        let program = file.program();
        let lines = program.lines().enumerate().filter(|(_, line)| words.iter().any(|word| has_word(line, word)));
        let lines: Vec<usize> = lines.map(|(at, _)| at + 1).collect();
        if !lines.is_empty() {
            found.insert(file.path.clone(), lines);
        }
    }
    found
}

/// Whether a line has the word: not as a part of a longer name, and not of a crate that works from handles.
fn has_word(line: &str, word: &str) -> bool {
    let named = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(word).any(|(at, _)| {
        let before = &line[..at];
        let path = before.rsplit(|c: char| !named(c) && c != ':').next().unwrap_or_default();
        let after = line[at + word.len()..].chars().next();
        let longer = before.ends_with(named) || (word.ends_with(named) && after.is_some_and(named));
        !longer && !path.starts_with("rustix::") && !path.starts_with("cap_std::")
    })
}

#[test]
fn imports_point_one_way() {
    let rank = |module: &str| MODULES.iter().position(|known| *known == module);
    let lib = std::fs::read_to_string(workspace().join("runtime/src/lib.rs")).expect("read");
    let declared: Vec<&str> = lib.lines().filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';')).collect();
    assert_eq!(declared, MODULES, "lib.rs lists the modules from the middle to the rim");
    let mut seen = 0;
    for file in sources("runtime/src") {
        let inside = file.path.strip_prefix("runtime/src/").expect("below it");
        let own = inside.split(['/', '.']).next().expect("a first part");
        if own == "lib" || own == "main" || own == "bin" {
            continue;
        }
        let own_rank = rank(own).unwrap_or_else(|| panic!("{}: no such module", file.path));
        for (line, used) in imports(&file.program()) {
            let used_rank = rank(&used).unwrap_or_else(|| panic!("{}:{line}: crate::{used} is no module", file.path));
            assert!(used_rank <= own_rank, "{}:{line}: {own} uses {used}, which is further out", file.path);
            seen += 1;
        }
    }
    assert!(seen > 200, "the reader of imports found only {seen}");
}

#[test]
fn unsafe_code_is_in_one_place() {
    let mut all = sources("runtime/src");
    for package in ["tests/src", "tests/tests", "xtask/src", "guest-sdk/src", "fuzz"] {
        all.extend(sources(package));
    }
    exactly("contains unsafe code", &with_any(&all, &["unsafe"]), &UNSAFE);
}

#[test]
fn paths_of_the_machine_are_opened_in_few_places() {
    // What takes a path of the machine: std::fs, the *at calls from the working directory, ambient authority, SQLite.
    const OPENERS: [&str; 19] = [
        "fs::OpenOptions",
        "File::open",
        "File::create",
        "File::options",
        "fs::read",
        "fs::read_to_string",
        "fs::read_dir",
        "fs::read_link",
        "fs::write",
        "fs::create_dir",
        "fs::create_dir_all",
        "fs::remove_dir",
        "fs::remove_file",
        "fs::canonicalize",
        "fs::metadata",
        "fs::symlink_metadata",
        "CWD",
        "ambient_authority",
        "Connection::open_with_flags",
    ];
    let files = sources("runtime/src");
    exactly("opens paths of the machine", &with_any(&files, &OPENERS), &AMBIENT);
    let sockets = with_any(&files, &["UnixListener::bind", "UnixStream::connect", "UnixDatagram::bind"]);
    exactly("names a socket by path", &sockets, &SOCKETS);
}

#[test]
fn nothing_is_left_undone() {
    for dir in ["runtime", "tests", "xtask", "guest-sdk", "examples", "fuzz"] {
        for file in sources(dir) {
            let program = without_words(&file.text);
            for word in ["todo!", "unimplemented!", "#[ignore", "dbg!"] {
                assert!(!program.contains(word), "{} has {word}", file.path);
            }
        }
    }
}

#[test]
fn files_are_short() {
    let mut longer = BTreeMap::new();
    for dir in ["runtime/src", "tests/src", "xtask/src", "guest-sdk/src", "fuzz"] {
        for file in sources(dir) {
            let lines = file.text.lines().count();
            if lines > LINES_MOST {
                longer.insert(file.path, vec![lines]);
            }
        }
    }
    exactly("is longer than 500 lines", &longer, &LONGER);
}

#[test]
fn the_runtime_never_unwraps() {
    let found = with_any(&sources("runtime/src"), &["panic!", "unreachable!"]);
    assert!(found.is_empty(), "panics outside of tests: {found:?}");
    for file in sources("runtime/src") {
        for (at, line) in file.program().lines().enumerate() {
            assert!(!line.contains(".unwrap()") && !line.contains(".unwrap_err()"), "{}:{}: {line}", file.path, at + 1);
        }
    }
}

#[test]
fn every_module_says_what_it_is() {
    for dir in ["runtime", "tests", "xtask", "guest-sdk", "examples", "fuzz"] {
        for file in sources(dir) {
            assert!(file.text.starts_with("//! "), "{} does not start with `//!`", file.path);
        }
    }
}

/// What git would commit, or has; of a tree without git, every file that is not in a directory of built ones.
fn tracked() -> Vec<String> {
    let listed = Command::new("git").args(["ls-files", "--cached", "--others", "--exclude-standard"]).current_dir(workspace()).output();
    if let Ok(output) = listed
        && output.status.success()
    {
        return String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect();
    }
    let mut found = Vec::new();
    let mut left = vec![workspace()];
    while let Some(dir) = left.pop() {
        for entry in std::fs::read_dir(&dir).expect("readable") {
            let path = entry.expect("read").path();
            let name = path.file_name().expect("named").to_string_lossy().into_owned();
            if path.is_dir() && name != "target" && name != ".git" {
                left.push(path);
            } else if path.is_file() {
                found.push(path.strip_prefix(workspace()).expect("below it").to_string_lossy().into_owned());
            }
        }
    }
    found
}

#[test]
fn nothing_that_is_built_is_committed() {
    let files = tracked();
    assert!(files.iter().any(|file| file == "Cargo.toml"), "{files:?}");
    for file in files.iter().filter(|file| workspace().join(file).is_file()) {
        let kind = Path::new(file).extension().map(|kind| kind.to_string_lossy().into_owned()).unwrap_or_default();
        assert!(!BUILT.contains(&kind.as_str()), "{file} is built, not written");
        let start = std::fs::read(workspace().join(file)).expect("read");
        assert!(!start.starts_with(b"\0asm") && !start.starts_with(b"\x7fELF"), "{file} is a binary");
    }
}

/// The commands that a help text lists.
fn commands(args: &[&str]) -> BTreeSet<String> {
    let output = Command::new(binary()).args(args).arg("--help").env_clear().output().expect("started");
    assert!(output.status.success(), "{args:?}: {output:?}");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let list = text.split("Commands:\n").nth(1).unwrap_or_default();
    let entries = list.lines().take_while(|line| line.starts_with("  "));
    entries.filter_map(|line| line.split_whitespace().next().map(str::to_owned)).collect()
}

/// What follows `lazarus ` in the code of a document, to the end of a word.
fn mentioned(text: &str) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    for (at, _) in text.match_indices("lazarus ") {
        let start = text[..at].rsplit('\n').next().unwrap_or_default();
        let is_code = start.is_empty() || start.ends_with('`') || start.ends_with("$ ") || start.ends_with("&& ") || start.ends_with("| ");
        let is_word = text[..at].ends_with(|c: char| c.is_alphanumeric() || "/-_.".contains(c));
        if !is_code || is_word {
            continue;
        }
        let end = |c: char| c == '\n' || c == '`';
        let line = text[at + "lazarus ".len()..].split(end).next().unwrap_or_default();
        found.push(line.split_whitespace().map(str::to_owned).collect());
    }
    found
}

fn is_command_word(word: &str) -> bool {
    !word.is_empty() && word.bytes().all(|b| b.is_ascii_lowercase() || b == b'-') && !word.starts_with('-')
}

#[test]
fn documents_and_help_name_the_same_commands() {
    let top = commands(&[]);
    for expected in ["summon", "team", "invite", "status", "close", "destroy", "run"] {
        assert!(top.contains(expected), "--help does not list {expected}: {top:?}");
    }
    for document in ["README.md", "ARCHITECTURE.md"] {
        let path = workspace().join(document);
        let Ok(text) = std::fs::read_to_string(&path) else {
            assert!(!path.exists(), "{document} cannot be read");
            continue;
        };
        for words in mentioned(&text) {
            let named: Vec<&str> = words.iter().map(String::as_str).filter(|word| is_command_word(word)).collect();
            let Some(first) = words.first().map(String::as_str).filter(|word| is_command_word(word)) else { continue };
            assert!(top.contains(first) || HIDDEN.contains(&first), "{document} names `lazarus {first}`, which --help does not list");
            if let (true, Some(second)) = (["agent", "audit"].contains(&first), named.get(1)) {
                assert!(commands(&[first]).contains(*second), "{document} names `lazarus {first} {second}`, which --help does not list");
            }
        }
        if document == "README.md" {
            for command in &top {
                let named = text.contains(&format!("lazarus {command}")) || text.contains(&format!("`{command}"));
                assert!(named, "README.md does not name the command {command}");
            }
        }
    }
}

#[test]
fn the_readers_of_these_tests_read() {
    let text = "use crate::{cell::{A, B}, policy::C,\n home};\n// crate::cli\nfn f() { let a = \"crate::operator\"; crate::audit::g('\"', 'x'); }\n";
    let program = without_words(text);
    let names: Vec<String> = imports(&program).into_iter().map(|(_, name)| name).collect();
    assert_eq!(names, ["cell", "policy", "home", "audit"]);
    let tested =
        "fn a() {}\n#[cfg(test)]\nmod tests { fn b() { x.unwrap(); } }\nfn c() {}\n#[cfg(test)]\n#[path = \"t.rs\"]\nmod t;\nfn d() {}";
    let kept = without_tests(tested);
    assert!(kept.contains("fn a") && kept.contains("fn c") && kept.contains("fn d") && !kept.contains("unwrap"), "{kept}");
    assert!(has_word("fs::read(x)", "fs::read") && !has_word("rustix::fs::read_dir", "fs::read") && has_word("(CWD, ", "CWD"));
    assert_eq!(
        mentioned("run `lazarus status --all` or\nlazarus audit verify\nthe lazarus host"),
        [vec!["status", "--all"], vec!["audit", "verify"]]
    );
}
