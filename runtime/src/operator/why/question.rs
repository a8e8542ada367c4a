//! What is asked about: a path, a host or a call, told apart by how it is written.

use std::{net::IpAddr, path::PathBuf};

use super::NO_SYSCALL;
use crate::{backend::wasm::imports, cell::text::one_line, mail::CallKind, policy::GuestPath};

/// The longest question: a path of the guest's, or a URL.
const SUBJECT_MOST_BYTES: usize = 2000;
/// The longest host name: RFC 1035.
const HOST_MOST_BYTES: usize = 253;
/// Characters of a question that are quoted in a refusal.
const QUOTE_MOST_BYTES: usize = 100;

/// What of the cell's talk is asked about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Talk {
    /// A call that the cell answers.
    Call(CallKind),
    /// Writing to the log.
    Log,
}

/// A question that can be answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Question {
    /// A path as the agent sees it: absolute, in plain parts.
    Path(PathBuf),
    /// An address in some network, as it was written.
    Host(String),
    /// Something of the cell's talk; through `lazarus:cell`, where it was written so.
    Talk(Talk),
    /// An import of a WASI program, without its function.
    Import(String),
    /// A system call.
    Syscall(String),
}

/// Names of the cell's talk beside those of [`CallKind`]: what `lazarus cell` and `lazarus:cell` call it.
const ALIASES: [(&str, Talk); 13] = [
    ("log", Talk::Log),
    ("log.write", Talk::Log),
    ("heartbeat", Talk::Call(CallKind::Beat)),
    ("artifacts", Talk::Call(CallKind::Declare)),
    ("artifact", Talk::Call(CallKind::Declare)),
    ("recv", Talk::Call(CallKind::Receive)),
    ("ack", Talk::Call(CallKind::Acknowledge)),
    ("id", Talk::Call(CallKind::Me)),
    ("project", Talk::Call(CallKind::Me)),
    ("ttl-left", Talk::Call(CallKind::Me)),
    ("cell", Talk::Call(CallKind::Me)),
    ("mailbox", Talk::Call(CallKind::Send)),
    ("write", Talk::Log),
];

/// The interfaces of the cell, and their functions.
const INTERFACES: [(&str, &[&str]); 6] = [
    ("types", &[]),
    ("cell", &["me", "id", "project", "ttl-left", "members", "invite", "close", "audit"]),
    ("mailbox", &["send", "reply", "receive", "history"]),
    ("log", &["write"]),
    ("heartbeat", &["beat"]),
    ("artifacts", &["declare"]),
];

fn talk(word: &str) -> Option<Talk> {
    let kind = CallKind::ALL.iter().find(|kind| kind.as_str() == word).map(|kind| Talk::Call(*kind));
    kind.or_else(|| ALIASES.iter().find(|(name, _)| *name == word).map(|(_, talk)| *talk))
}

/// Understands a question. `is_syscall` knows the names of system calls.
///
/// # Errors
/// Why it makes no sense, and how to ask: one line.
pub(super) fn understand(subject: &str, is_syscall: impl Fn(&str) -> bool) -> Result<Question, String> {
    let quoted = one_line(subject, QUOTE_MOST_BYTES);
    if subject.is_empty() || subject.len() > SUBJECT_MOST_BYTES || subject.chars().any(char::is_control) {
        return Err(format!("{quoted:?} is no path, host or call: it is empty, too long, or has control characters"));
    }
    if subject.starts_with('/') {
        return match GuestPath::try_from(subject.to_owned()) {
            Ok(path) => Ok(Question::Path(path.as_path().to_owned())),
            Err(_) => Err(format!("the path {quoted} has empty, '.' or '..' parts, or is too long: write where it leads, from '/' on")),
        };
    }
    if let Some(call) = subject.strip_suffix("(2)") {
        return if is_syscall(call) { Ok(Question::Syscall(call.to_owned())) } else { Err(format!("{quoted} is {NO_SYSCALL}")) };
    }
    if let Some(rest) = subject.strip_prefix("lazarus:cell/") {
        return of_the_cell(rest)
            .ok_or_else(|| format!("{quoted} is nothing of lazarus:cell: write lazarus:cell/mailbox.send, or only send"));
    }
    if subject.starts_with("wasi:") {
        return Ok(Question::Import(without_function(subject)));
    }
    if let Some(rest) = subject.strip_prefix(imports::PREVIEW_1_MODULE)
        && (rest.is_empty() || rest.starts_with(['.', ':', '/', '#']))
    {
        // However the function is set off: an import has two names.
        let function = rest.trim_start_matches(['.', ':', '/', '#']);
        let whole =
            if function.is_empty() { imports::PREVIEW_1_MODULE.to_owned() } else { format!("{}::{function}", imports::PREVIEW_1_MODULE) };
        return Ok(Question::Import(whole));
    }
    if imports::is_preview_1(subject) {
        return Ok(Question::Import(format!("{}::{subject}", imports::PREVIEW_1_MODULE)));
    }
    if let Some(talk) = talk(subject) {
        return Ok(Question::Talk(talk));
    }
    if is_syscall(subject) {
        return Ok(Question::Syscall(subject.to_owned()));
    }
    host(subject, &quoted)
}

/// `mailbox.send`, `mailbox@0.1.0`, `mailbox`. Of a version that this Lazarus does not run, nothing is linked: that is the answer.
fn of_the_cell(rest: &str) -> Option<Question> {
    let (interface, function) = match rest.split_once('@') {
        // What comes behind a version is a function: `@0.1.0.send` would be no version.
        Some((interface, version)) => (interface, version.split_once('#').map(|(_, function)| function)),
        None => rest.split_once('.').map_or((rest, None), |(interface, function)| (interface, Some(function))),
    };
    let (_, functions) = INTERFACES.iter().find(|(name, _)| *name == interface)?;
    match function {
        _ if rest.contains('@') && !imports::is_cell_version(rest) => Some(Question::Import(format!("lazarus:cell/{rest}"))),
        Some(function) if functions.contains(&function) => talk(function).map(Question::Talk),
        Some(_) => None,
        None => Some(Question::Import(format!("lazarus:cell/{rest}"))),
    }
}

/// `wasi:sockets/tcp.start-connect` is asked of `wasi:sockets/tcp`.
fn without_function(import: &str) -> String {
    let import = import.split('#').next().unwrap_or(import);
    match (import.split_once('@'), import.split_once('.')) {
        (None, Some((interface, _))) => interface.to_owned(),
        (Some(_), _) | (None, None) => import.to_owned(),
    }
}

fn host(subject: &str, quoted: &str) -> Result<Question, String> {
    let is_url = subject.contains("://");
    let authority = subject.split_once("://").map_or(subject, |(_, rest)| rest);
    let authority = authority.split(['/', '?', '#']).next().unwrap_or(authority);
    // Whoever is named before an '@' is no part of the host.
    let authority = if is_url { authority.rsplit_once('@').map_or(authority, |(_, host)| host) } else { authority };
    if !is_url && subject.contains('/') {
        return Err(format!("the path {quoted} is relative: a path starts with '/', as the agent sees it"));
    }
    if subject.starts_with('~') || subject == "." || subject == ".." {
        return Err(format!("{quoted} is a path as a shell knows it: a path starts with '/', as the agent sees it"));
    }
    let (name, port) = split_port(authority);
    if name.contains('*') {
        return Err(format!("{quoted} is a pattern, and no host: ask about one host that it stands for, such as www.example.com"));
    }
    // A dot at the end says that the name is whole: RFC 1034, 3.1.
    let name = name.strip_suffix('.').filter(|rest| !rest.is_empty()).unwrap_or(name);
    let port_is_good = port.is_none_or(|port| port.parse::<u16>().is_ok_and(|port| port != 0));
    let is_address = name.parse::<IpAddr>().is_ok();
    let plain = |c: char| c.is_alphanumeric() || matches!(c, '.' | '-' | '_');
    let is_name = !name.is_empty() && name.len() <= HOST_MOST_BYTES && name.chars().all(plain) && !name.split('.').any(str::is_empty);
    let looks_like_one = is_url || port.is_some() || authority.contains('.') || name == "localhost";
    if (is_address || (is_name && looks_like_one)) && port_is_good {
        return Ok(Question::Host(subject.to_owned()));
    }
    let calls: Vec<&str> = CallKind::ALL.iter().map(|kind| kind.as_str()).chain(["log", "heartbeat", "artifacts"]).collect();
    Err(format!(
        "{quoted} is no path (/project/notes.txt), no host (example.com, example.com:443, 10.0.0.1, [::1]:80, https://example.com), and no call: \
         those are {}, lazarus:cell/mailbox.send, wasi:sockets/tcp, and system calls such as ptrace or close(2)",
        calls.join(", ")
    ))
}

/// The host and the port of `host`, `host:port`, `address`, `[address]`, `[address]:port`.
fn split_port(authority: &str) -> (&str, Option<&str>) {
    if let Some(rest) = authority.strip_prefix('[') {
        return match rest.split_once(']') {
            Some((address, "")) => (address, None),
            // A colon and no port is a port that is none.
            Some((address, rest)) => (address, Some(rest.strip_prefix(':').unwrap_or(rest))),
            None => (authority, None),
        };
    }
    if authority.parse::<IpAddr>().is_ok() {
        return (authority, None);
    }
    authority.rsplit_once(':').map_or((authority, None), |(host, port)| (host, Some(port)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn is_syscall(name: &str) -> bool {
        ["ptrace", "mount", "socket", "close"].contains(&name)
    }

    #[test]
    fn questions_are_told_apart_by_how_they_are_written() {
        let call = |kind| Question::Talk(Talk::Call(kind));
        let import = |name: &str| Question::Import(name.to_owned());
        for (subject, question) in [
            ("/", Question::Path("/".into())),
            ("/home/x", Question::Path("/home/x".into())),
            ("/project/", Question::Path("/project".into())),
            ("send", call(CallKind::Send)),
            ("close", call(CallKind::Close)),
            ("close(2)", Question::Syscall("close".into())),
            ("ptrace", Question::Syscall("ptrace".into())),
            ("log", Question::Talk(Talk::Log)),
            ("heartbeat", call(CallKind::Beat)),
            ("artifacts", call(CallKind::Declare)),
            ("lazarus:cell/mailbox.send", call(CallKind::Send)),
            ("lazarus:cell/cell.close", call(CallKind::Close)),
            ("lazarus:cell/log.write", Question::Talk(Talk::Log)),
            ("lazarus:cell/mailbox", import("lazarus:cell/mailbox")),
            ("lazarus:cell/mailbox@0.1.0", import("lazarus:cell/mailbox@0.1.0")),
            ("lazarus:cell/mailbox@0.1.0#send", call(CallKind::Send)),
            ("lazarus:cell/mailbox@9.9.9#send", import("lazarus:cell/mailbox@9.9.9#send")),
            ("wasi:sockets/tcp", import("wasi:sockets/tcp")),
            ("wasi:sockets/tcp@0.2.6", import("wasi:sockets/tcp@0.2.6")),
            ("wasi:sockets/tcp.start-connect", import("wasi:sockets/tcp")),
            ("wasi:sockets/tcp@0.2.6#start-connect", import("wasi:sockets/tcp@0.2.6")),
            ("wasi_snapshot_preview1", import("wasi_snapshot_preview1")),
            ("wasi_snapshot_preview1.path_open", import("wasi_snapshot_preview1::path_open")),
            ("wasi:http/outgoing-handler", import("wasi:http/outgoing-handler")),
            ("fd_write", import("wasi_snapshot_preview1::fd_write")),
            ("wasi_snapshot_preview1::path_open", import("wasi_snapshot_preview1::path_open")),
        ] {
            assert_eq!(understand(subject, is_syscall), Ok(question), "{subject}");
        }
        for host in [
            "example.com",
            "example.com:443",
            "example.com.",
            "example.com.:443",
            "https://example.com./x",
            "10.0.0.1",
            "10.0.0.1:80",
            "::1",
            "[::1]",
            "[::1]:80",
            "localhost",
            "intern:8080",
            "https://example.com",
            "https://user@example.com:8443/x?y#z",
            "http://intern/x",
            "169.254.169.254",
            "::ffff:10.0.0.1",
            "名前.example",
        ] {
            assert_eq!(understand(host, is_syscall), Ok(Question::Host(host.to_owned())), "{host}");
        }
    }

    #[test]
    fn what_makes_no_sense_says_how_to_ask() {
        for (subject, says) in [
            ("", "empty"),
            ("a\u{1b}[2J", "control characters"),
            ("/a/../b", "'..' parts"),
            ("/a//b", "empty, '.' or '..' parts"),
            ("/a/./b", "'..' parts"),
            ("project/notes", "a path starts with '/'"),
            ("./x", "a path starts with '/'"),
            ("../x", "a path starts with '/'"),
            ("..", "a path starts with '/'"),
            ("~", "a path starts with '/'"),
            ("~/x", "a path starts with '/'"),
            ("word", "system calls such as"),
            ("example.com:0", "no host"),
            ("example.com:65536", "no host"),
            ("example.com:", "no host"),
            ("a..b", "no host"),
            ("example.com..", "no host"),
            ("*.example.com", "ask about one host that it stands for"),
            ("https://*.example.com/", "ask about one host that it stands for"),
            ("https://", "no host"),
            ("[::1", "no host"),
            ("[::1]x", "no host"),
            ("nothing(2)", "no system call"),
            ("lazarus:cell/mailbox.destroy", "nothing of lazarus:cell"),
            ("lazarus:cell/x", "nothing of lazarus:cell"),
        ] {
            let refusal = understand(subject, is_syscall).expect_err(subject);
            assert!(refusal.contains(says) && !refusal.contains('\u{1b}'), "{subject:?}: {refusal}");
        }
        assert!(understand(&"x".repeat(SUBJECT_MOST_BYTES + 1), is_syscall).expect_err("too long").len() < 300);
    }

    #[test]
    fn every_function_of_the_cell_is_known() {
        for (interface, functions) in INTERFACES {
            for function in functions {
                let subject = format!("lazarus:cell/{interface}.{function}");
                assert!(matches!(understand(&subject, is_syscall), Ok(Question::Talk(_))), "{subject}");
            }
        }
        // As the WIT says it: nothing is missing here, and nothing more is.
        let wit = include_str!("../../../../guest-sdk/wit/cell.wit");
        let mut interface = "";
        let mut found: Vec<(String, Vec<String>)> = Vec::new();
        for line in wit.lines().map(str::trim) {
            if let Some(name) = line.strip_prefix("interface ").and_then(|rest| rest.strip_suffix(" {")) {
                interface = name;
                found.push((name.to_owned(), Vec::new()));
            } else if let Some((name, _)) = line.split_once(": func(")
                && let Some((_, functions)) = found.last_mut()
            {
                functions.push(name.to_owned());
            }
        }
        assert_eq!(interface, "agent", "the last one is what an agent exports");
        found.pop();
        let known = INTERFACES.map(|(name, functions)| (name.to_owned(), functions.iter().map(ToString::to_string).collect::<Vec<_>>()));
        for (name, functions) in &found {
            let there = known.iter().find(|(known, _)| known == name).unwrap_or_else(|| panic!("{name}"));
            assert_eq!(&there.1, functions, "{name}");
        }
        assert_eq!(found.len(), known.len());
    }

    proptest! {
        #[test]
        fn whatever_is_asked_is_answered_in_one_line(subject in "\\PC*") {
            if let Err(refusal) = understand(&subject, is_syscall) {
                prop_assert!(!refusal.chars().any(char::is_control) && refusal.len() < 1000);
            }
        }

        #[test]
        fn arbitrary_words_never_panic(subject in "[/a-z.:@\\[\\]~()0-9#?-]{0,40}") {
            let _ = understand(&subject, is_syscall);
        }
    }
}
