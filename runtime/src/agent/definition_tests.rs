//! Definitions that are understood, and those that are not: each refusal at its exact place.

use proptest::prelude::*;

use super::*;
use crate::policy::{Access, ByteSize};

fn parse(text: &str) -> Result<Definition, DefinitionError> {
    Definition::parse("agent.toml", text.as_bytes())
}

const WHOLE: &str = r#"
[agent]
name = "scribe"
component = "scribe.wasm"
args = ["--quiet"]
sha256 = "00112233445566778899aabbccddeeff00112233445566778899AABBCCDDEEFF"
template = "template"

[grants]
env = { LANG = "C.UTF-8", MODE = "" }
mounts = [{ host = "./project", guest = "/project" }, { host = "/data", guest = "/data/", access = "rw" }]

[limits]
memory = "64MiB"
table-elements = 1000
instances = "8"
stack = 65536
cpu = "90s"
home = "256MiB"

[life]
ttl = 90
on-expire = "destroy"
tick = "30s"
"#;

#[test]
fn a_whole_definition_is_understood() {
    let scribe = parse(WHOLE).expect("a definition");
    assert_eq!(scribe.name.as_str(), "scribe");
    let DefinedProgram::Component { path, args, sha256 } = &scribe.program else { panic!("a component") };
    assert_eq!((path.to_str(), args.as_slice()), (Some("scribe.wasm"), &["--quiet".to_owned()][..]));
    assert!(sha256.is_some_and(|digest| digest.to_string().ends_with("aabbccddeeff")));
    assert_eq!(scribe.template, Some("template".into()));
    assert_eq!(scribe.env.len(), 2);
    let mounts: Vec<_> = scribe.mounts.iter().map(|mount| (mount.host.to_str(), mount.guest.as_str(), mount.access)).collect();
    assert_eq!(mounts, [(Some("./project"), "/project", Access::Ro), (Some("/data"), "/data", Access::Rw)]);
    let expected = Limits {
        memory: ByteSize::mib(64),
        table_elements: 1000.try_into().expect("not zero"),
        instances: 8.try_into().expect("not zero"),
        stack: ByteSize::kib(64),
        cpu: Duration::from_secs(90),
        home: ByteSize::mib(256),
        ..Limits::default()
    };
    assert_eq!(scribe.limits, expected);
    assert_eq!(
        scribe.life,
        Life { ttl: Some(Duration::from_secs(5400)), on_expire: Some(OnExpire::Destroy), tick: Some(Duration::from_secs(30)) }
    );
}

#[test]
fn a_process_and_a_keeper_are_understood() {
    let process = parse("[agent]\nname = \"h\"\ncommand = [\"hermes\", \"gateway\", \"run\"]\n[grants]\nread = [\"/usr\", \"/lib\"]")
        .expect("a definition");
    assert_eq!(process.program, DefinedProgram::Command { argv: vec!["hermes".into(), "gateway".into(), "run".into()] });
    assert_eq!(process.read, [PathBuf::from("/usr"), PathBuf::from("/lib")]);
    assert_eq!((process.limits, process.life), (Limits::default(), Life::default()));
    assert_eq!(parse("[agent]\nname = \"k\"").expect("a definition").program, DefinedProgram::Keeper);
}

/// Asserts where and how a definition is refused. `text` follows `[agent]` and a name, which are its first two lines.
#[track_caller]
fn refused(text: &str, place: (usize, usize), message: &str) {
    let error = parse(&format!("[agent]\nname = \"a\"\n{text}")).expect_err("refused");
    assert_eq!((error.line, error.column), place, "{error}");
    assert!(error.to_string().starts_with(&format!("read agent definition agent.toml:{}:{}: ", place.0, place.1)), "{error}");
    assert!(error.problem.to_string().contains(message), "{error}");
}

#[test]
fn a_slip_is_refused_where_it_is() {
    refused("nam = 1", (3, 1), "unknown key `nam` in [agent]; did you mean `name`?");
    refused("[limits]\nmemroy = \"1MiB\"", (4, 1), "unknown key `memroy` in [limits]; did you mean `memory`?");
    refused("[limits]\nopen_files = 20", (4, 1), "did you mean `open-files`?");
    refused("[limit]\n", (3, 2), "unknown key `limit` in the definition; did you mean `limits`?");
    refused(
        "\n  [grants]\n  network = true",
        (5, 3),
        "unknown key `network` in [grants]; there are env, read, mounts, client, http, secrets",
    );
    refused("[grants]\nmounts = [{ host = \"a\", guest = \"/a\", acess = \"rw\" }]", (4, 39), "did you mean `access`?");
    refused("\"\\u001b[2J\" = 1", (3, 1), "unknown key `\\u{1b}[2J`");
    refused("[grants]\nenv = { \"Ä\" = \"x\", é", (4, 21), "unclosed inline table");
}

#[test]
fn a_value_that_is_not_accepted_is_refused_where_it_is() {
    refused("command = \"hermes\"", (3, 11), "`command` is a string; it must be a list");
    refused("command = []", (3, 11), "names no program");
    refused("command = [\"a\", 1]", (3, 17), "`command` is a whole number; it must be a string");
    refused("command = [\"a\\u0000b\"]", (3, 12), "without NUL");
    refused("component = \"~/a.wasm\"", (3, 13), "'~' is not");
    refused("template = \"~\"", (3, 12), "'~' is not");
    refused("[grants]\nmounts = [{ host = \"~/x\", guest = \"/x\" }]", (4, 20), "'~' is not");
    refused("component = \"\"", (3, 13), "a path without control characters");
    refused("component = \"a.wasm\"\ncommand = [\"a\"]", (4, 11), "excludes `component`");
    refused("args = [\"a\"]", (3, 8), "belongs to `component`");
    refused("command = [\"a\"]\nsha256 = \"00\"", (4, 10), "is the digest of a `component`");
    refused("component = \"a\"\nsha256 = \"00\"", (4, 10), "must be 64 hexadecimal digits");
    refused("component = \"a\"\n[grants]\nread = [\"/usr\"]", (5, 8), "is for process agents");
    refused("component = \"a\"\n[grants]\nclient = true", (5, 10), "is for process agents");
    refused("component = \"a\"\n[limits]\ncpu = \"1s\"\nprocesses = 128", (6, 13), "is for process agents");
    for limit in ["stack = \"1MiB\"", "instances = 64", "table-elements = 9", "hostcall = \"1MiB\"", "random = \"1KiB\""] {
        let column = limit.find('=').expect("a value") + 3;
        refused(&format!("command = [\"a\"]\n[limits]\n{limit}"), (5, column), "is for components and modules");
        let keeper = parse(&format!("[agent]\nname = \"k\"\n[limits]\n{limit}"));
        assert!(keeper.is_ok(), "the keeper is of either backend: {keeper:?}");
    }
    refused("command = [\"a\"]\n[limits]\nidle = \"1m\"", (5, 8), "is for agents that live by events");
    refused("command = [\"a\"]\n[life]\ntick = \"1m\"", (5, 8), "is for agents that live by events");
    refused("[grants]\nclient = \"yes\"", (4, 10), "true or false");
    refused("[grants]\nread = [\"usr\"]", (4, 9), "an absolute path");
    refused("[grants]\nread = [\"/usr\", \"/usr/../root\"]", (4, 17), "an absolute path");
    refused("[grants]\nread = [\"/\"]", (4, 9), "an absolute path below '/'");
    refused("[grants]\nhttp = []", (4, 8), "`http` needs the broker, which this release does not have");
    refused("[grants]\nsecrets = [{ name = \"K\" }]", (4, 11), "`secrets` needs the broker");
    refused("[grants]\nenv = { LANG = 1 }", (4, 16), "it must be a string");
    refused("[grants]\nenv = { LANG = \"C\", HERMES_HOME = \"/\" }", (4, 21), "Lazarus sets it for every agent");
    refused("[grants.env]\n\"A-B\" = \"\"", (4, 1), "accept variable \"A-B\"");
    refused("[grants]\nmounts = [{ host = \"a\" }]", (4, 11), "`guest` is missing in a mount");
    refused("[grants]\nmounts = [{ host = \"a\", guest = \"a\" }]", (4, 33), "must be absolute");
    refused("[grants]\nmounts = [{ host = \"a\", guest = \"/a\", access = \"wr\" }]", (4, 48), "\"ro\" or \"rw\"");
    refused("[limits]\nmemory = \"lots\"", (4, 10), "set limit memory: cannot parse \"lots\" as a size");
    refused("[limits]\nmemory = 0", (4, 10), "zero is not a limit");
    refused("[limits]\nmemory = 1.5", (4, 10), "a number with a fraction");
    refused("[limits]\ncpu = 5", (4, 7), "as a duration");
    refused("[limits]\nlog = \"8KiB\"\nstack = \"64MiB\"", (5, 9), "accept limit stack = 64 MiB: the most is 16 MiB");
    refused("[life]\nttl = \"0s\"", (4, 7), "zero is not a limit");
    refused("[life]\ntick = \"10ms\"", (4, 8), "at least a second");
    refused("[life]\non-expire = \"explode\"", (4, 13), "\"close\", \"destroy\" or \"keep\"");
}

#[test]
fn what_is_no_definition_at_all() {
    let place = |bytes: &[u8]| {
        let error = Definition::parse("a.toml", bytes).expect_err("refused");
        (error.line, error.column, error.problem)
    };
    assert_eq!(place(b""), (1, 1, Problem::Missing { key: "agent", table: "the definition" }));
    assert_eq!(place(b"\n[agent]\n"), (2, 1, Problem::Missing { key: "name", table: "[agent]" }));
    assert!(matches!(place(b"agent = 1"), (1, 9, Problem::Type { expected: "a table", .. })));
    assert!(matches!(place(b"[agent]\nname = \"../x\""), (2, 8, Problem::Name(_))));
    assert!(matches!(place(b"[agent]\nname = "), (2, 8, Problem::Syntax(_))));
    assert!(matches!(place(b"[agent]\nname = \"a\"\nname = \"b\""), (3, 1, Problem::Syntax(_))));
    assert_eq!(place(b"[agent]\nn\xff"), (2, 2, Problem::NotText));
    assert_eq!(place(&[b'#'; 64 * 1024 + 1]), (1, 1, Problem::TooLarge));
    let nested = format!("a = {}{}", "[".repeat(20_000), "]".repeat(20_000));
    assert!(matches!(place(nested.as_bytes()).2, Problem::Syntax(_)));
    let many: String = (0..257).map(|i| format!("V{i} = \"\"\n")).collect();
    assert!(matches!(place(format!("[agent]\nname = \"a\"\n[grants.env]\n{many}").as_bytes()).2, Problem::Conflict { .. }));
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _ = Definition::parse("a.toml", &bytes);
    }

    #[test]
    fn arbitrary_text_never_panics_and_is_refused_within_itself(text in "\\PC{0,200}") {
        if let Err(error) = Definition::parse("a.toml", text.as_bytes()) {
            prop_assert!(error.line <= text.lines().count().max(1));
        }
    }

    #[test]
    fn a_mutilated_definition_never_panics(at in 0..WHOLE.len(), bytes in proptest::collection::vec(any::<u8>(), 0..4), drop in 0_usize..8) {
        let mut whole = WHOLE.as_bytes().to_vec();
        let end = (at + drop).min(whole.len());
        whole.splice(at..end, bytes);
        let _ = Definition::parse("a.toml", &whole);
    }

    #[test]
    fn an_unknown_key_anywhere_is_refused(
        key in "[a-z][a-z0-9-]{0,12}",
        table in prop::sample::select(vec!["", "agent", "grants", "limits", "life", "mount"]),
        value in prop::sample::select(vec!["1", "true", "\"x\"", "[]", "{}", "1979-05-27"]),
    ) {
        let known = ["agent", "grants", "limits", "life", "name", "component", "command", "args", "sha256", "template", "env", "read", "mounts",
            "http", "secrets", "host", "guest", "access", "ttl", "on-expire"];
        prop_assume!(!known.contains(&key.as_str()) && !crate::agent::LIMIT_NAMES.contains(&key.as_str()));
        let text = match table {
            "" => format!("{key} = {value}\n{WHOLE}"),
            "mount" => WHOLE.replace("access = \"rw\"", &format!("access = \"rw\", {key} = {value}")),
            _ => WHOLE.replace(&format!("[{table}]"), &format!("[{table}]\n{key} = {value}")),
        };
        let error = parse(&text).expect_err("refused");
        let refused = matches!(&error.problem, Problem::UnknownKey { key: named, .. } if *named == key);
        prop_assert!(refused, "{}", error);
    }
}
