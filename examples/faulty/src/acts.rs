//! What it asks of its cell, and what it says of the answer.

use std::{fmt::Display, fs, path::Path};

use lazarus_guest::{Cell, Failure, Level, Message, Refusal, Role};

/// What came of a call, in words.
pub fn told<T: Display>(done: Result<T, Refusal>) -> String {
    match done {
        Ok(value) => format!("ok {value}"),
        Err(refusal) => format!("refused {}: {}", refusal.reason, refusal.message),
    }
}

/// Does what a word says.
///
/// | word | what it does |
/// |---|---|
/// | `send TO TEXT`, `large BYTES`, `empty`, `twice` | sends |
/// | `me`, `members`, `history N`, `audit`, `receive` | looks |
/// | `invite WHO ROLE`, `close` | leads |
/// | `flood LINES`, `log TEXT`, `print TEXT`, `beat N` | talks |
/// | `file PATH BYTES`, `remember PATH WORDS`, `write PATH`, `read PATH`, `link PATH TO`, `declare PATH NAME` | uses files; paths are the home's, unless they begin with `/` |
pub fn act(cell: &Cell, message: &Message, word: &str, rest: &str) -> String {
    let (first, second) = rest.split_once(' ').unwrap_or((rest, ""));
    match word {
        "send" => told(cell.send(first, second)),
        "large" => told(cell.send(&message.sender, &"x".repeat(number(first)))),
        "empty" => told(cell.send(&message.sender, "")),
        "twice" => format!("{}; {}", told(cell.reply("once")), told(cell.reply("twice"))),
        "me" => format!("ok {} {} in {} of {}", cell.me().identity, cell.me().role, cell.id(), cell.project()),
        "members" => told(cell.members().map(|all| list(all.iter().map(|member| format!("{} {}", member.identity, member.role))))),
        "history" => told(cell.history(None, number(first) as u32).map(|all| list(all.iter().map(|message| message.text.clone())))),
        "audit" => told(cell.audit(10).map(list)),
        "receive" => told(cell.receive().map(|next| next.map_or_else(|| "nothing".to_owned(), |next| next.text))),
        "invite" => match second.parse::<Role>() {
            Ok(role) => told(cell.invite(first, role).map(|token| token.unwrap_or_else(|| "no token".to_owned()))),
            Err(error) => format!("error {error}"),
        },
        "close" => told(cell.close().map(|()| "closing")),
        "flood" => {
            (0..number(first)).for_each(|line| cell.log(Level::Debug, &format!("line {line} of a flood")));
            "ok".to_owned()
        }
        "log" => {
            cell.warn(rest);
            "ok".to_owned()
        }
        "print" => {
            println!("{rest}");
            "ok".to_owned()
        }
        // Done already, on the way here.
        "sleep" | "grow" => "ok".to_owned(),
        "beat" => {
            (0..number(first)).for_each(|_| cell.beat());
            "ok".to_owned()
        }
        "declare" => told(cell.declare(first, second).map(|kept| format!("{} {} bytes {}", kept.name, kept.bytes, kept.sha256))),
        "file" | "link" | "write" | "read" | "remember" => {
            files(cell, word, first, second).unwrap_or_else(|error| format!("error {error}"))
        }
        other => format!("error there is no word {other:?}"),
    }
}

/// Sends that many messages to whoever asked, until one is refused; the log says how many were sent.
pub fn many(cell: &Cell, message: &Message, count: &str) -> Result<(), Failure> {
    for sent in 0..number(count) {
        if let Err(refusal) = cell.send(&message.sender, &format!("{sent} of many")) {
            cell.info(&format!("{sent} sent, then {}", told::<&str>(Err(refusal))));
            return Ok(());
        }
    }
    cell.info(&format!("all {count} sent"));
    Ok(())
}

fn files(cell: &Cell, word: &str, first: &str, second: &str) -> std::io::Result<String> {
    // Joining what begins with `/` gives that path itself.
    let path = cell.home().unwrap_or(Path::new("/home")).join(first);
    match word {
        "file" => fs::write(path, vec![b'x'; number(second)])?,
        "write" => fs::write(path, "written by the faulty one\n")?,
        "remember" => fs::write(path, second)?,
        "read" => return Ok(format!("ok {}", fs::read_to_string(path)?.chars().take(1000).collect::<String>())),
        _ => link(second, &path)?,
    }
    Ok("ok".to_owned())
}

#[cfg(unix)]
fn link(to: &str, path: &Path) -> std::io::Result<()> {
    std::os::unix::fs::symlink(to, path)
}

#[cfg(target_os = "wasi")]
fn link(to: &str, path: &Path) -> std::io::Result<()> {
    let home = Path::new("/home");
    let inside = path.strip_prefix(home).map_err(std::io::Error::other)?.to_string_lossy();
    let places = wasip2::filesystem::preopens::get_directories();
    let (directory, _) = places.iter().find(|(_, name)| Path::new(name) == home).ok_or(std::io::ErrorKind::NotFound)?;
    directory.symlink_at(to, &inside).map_err(|code| std::io::Error::other(code.name()))
}

fn number(text: &str) -> usize {
    text.parse().unwrap_or(0)
}

fn list<T: Display>(values: impl IntoIterator<Item = T>) -> String {
    values.into_iter().map(|value| value.to_string()).collect::<Vec<_>>().join("; ")
}
