//! What agents write: floods, terminal escapes, and lines that are to be taken for others.

use std::io::{self, Write};

use super::{
    attacker::WRITE,
    summoned::{Line, Summoned},
};
use crate::drill::{
    Arena, Attack, Class,
    Death::{self, Refused},
    Outcome::{self, Write as Changed},
    Seen, Stage,
};

/// The limit of these cells' logs, in bytes, and as an option.
const LOG_BYTES: u64 = 64 * 1024;
const OPTIONS: &[&str] = &["--log=64KiB"];
/// What a plain line says, and what every other line of these attacks holds, so that it is found again.
const MARK: &str = "words-of-the-attacker";
/// Bytes of a flood.
const FLOOD_BYTES: usize = 16 << 20;

/// A row of this table.
const fn row(name: &'static str, what: &'static str, attack: &'static [&'static str], dies: &'static [Death], gain: Outcome) -> Attack {
    let arena = Arena::Driven { drive };
    Attack { name, class: Class::Logs, what, arena, attack, twin: &["plain"], dies, gain, promise: None }
}

/// The attacks.
#[rustfmt::skip]
pub(super) const ATTACKS: &[Attack] = &[
    row("logs/flood", "writes 16 MiB where 64 KiB are kept", &["flood"], &[Refused("bounded")], Outcome::Crash),
    row("logs/endless-line", "writes a line that does not end", &["endless"], &[Refused("bounded")], Outcome::Crash),
    row("logs/terminal", "writes what clears a terminal and renames its window", &["terminal"], &[Refused("harmless")], Changed),
    row("logs/terminal-8-bit", "writes terminal sequences in their 8-bit form", &["terminal-8-bit"], &[Refused("harmless")], Changed),
    row("logs/overwrite", "writes over the beginning of its line, where it says whose it is", &["overwrite"], &[Refused("harmless")], Changed),
    row("logs/reordered", "writes characters that show text in another order", &["reordered"], &[Refused("harmless")], Changed),
    row("logs/binary", "writes every byte that there is", &["binary"], &[Refused("harmless")], Changed),
    row("logs/forged-line", "writes a line that looks like one of its warden", &["forged"], &[Refused("its own")], Changed),
    row("logs/forged-audit", "writes a line that looks like a row of the audit log", &["audit"], &[Refused("its own")], Changed),
];

/// What the attacker writes, as its own program.
pub(super) fn words(kind: &str) -> Vec<u8> {
    let mut words = match kind {
        "flood" => format!("{MARK}\n").into_bytes().repeat(FLOOD_BYTES / (MARK.len() + 1)),
        "endless" => vec![b'x'; FLOOD_BYTES],
        "terminal" => format!("\u{1b}[2J\u{1b}]0;owned\u{7}{MARK}\u{1b}[31m").into_bytes(),
        "terminal-8-bit" => [b"\x9b2J\xc2\x9b2J\xc2\x9d0;owned\xc2\x9c", MARK.as_bytes()].concat(),
        "overwrite" => format!("{MARK}\r2026-01-01 lazarus # it ended well\u{8}\u{8}").into_bytes(),
        "reordered" => format!("{MARK}\u{202e}desrever\u{2066}\u{200f}").into_bytes(),
        "binary" => (0..=255).chain(MARK.bytes()).collect(),
        "forged" => format!("{MARK} 1\n2026-01-01T00:00:00.000Z lazarus it ended well {MARK}\nlazarus # {MARK}").into_bytes(),
        "audit" => format!("{{\"seq\":1,\"actor\":\"human:root\",\"action\":\"destroy\",\"detail\":\"{MARK}\"}}").into_bytes(),
        _ => MARK.as_bytes().to_vec(),
    };
    words.push(b'\n');
    words
}

/// Writes them, until nobody reads any more.
pub(super) fn write(kind: &str) -> io::Result<()> {
    io::stdout().write_all(&words(kind)).and_then(|()| io::stdout().flush())
}

/// `[kind]`: summons a writer, waits for its end, and looks at what was kept and what people are shown. It succeeds where that is
/// exactly what the attacker wrote.
fn drive(stage: &Stage, arguments: &[String]) -> io::Result<Seen> {
    let kind = arguments.first().map_or("", String::as_str);
    let cell = Summoned::new(stage, OPTIONS, &[WRITE, kind])?;
    let (state, reason) = cell.wait()?;
    let seen = look(stage, &cell, kind);
    let destroyed = cell.destroy()?;
    if destroyed.code != Some(0) {
        return Ok(Seen::untold(&destroyed.text("message")));
    }
    if state != "closed" {
        return Ok(Seen::untold(&format!("its cell is {state}: {reason}")));
    }
    seen
}

fn look(stage: &Stage, cell: &Summoned<'_>, kind: &str) -> io::Result<Seen> {
    let kept = stage.log_bytes(&cell.id)?;
    let lines = cell.logs()?;
    let shown = stage.lazarus_for_people(&["logs", &cell.id], super::summoned::COMMAND_WITHIN)?.stdout;
    Ok(match kind {
        "flood" | "endless" => bounded(kept, &shown),
        "forged" | "audit" => own_lines(&lines, &shown),
        "plain" if lines.iter().any(|line| line.stream == "out" && line.text == MARK) => Seen::succeeded(MARK),
        _ => harmless(&shown),
    })
}

fn bounded(kept: u64, shown: &str) -> Seen {
    if kept <= LOG_BYTES && !shown.is_empty() {
        Seen::refused(&format!("bounded: {kept} bytes are kept"))
    } else {
        Seen::succeeded(&format!("{kept} bytes are kept"))
    }
}

/// Whether nothing that people are shown controls their terminal, or is taken for another line.
fn harmless(shown: &str) -> Seen {
    let reorders = |c: char| matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}');
    let bad = |c: char| (c.is_control() && c != '\n' && c != '\t') || reorders(c);
    if !shown.contains(MARK) {
        return Seen::untold("its words are not shown");
    }
    match shown.chars().find(|c| bad(*c)) {
        Some(c) => Seen::succeeded(&format!("{:?} reaches the terminal", c)),
        None => Seen::refused("what is shown is harmless"),
    }
}

/// Whether each line with its words is marked as its own.
fn own_lines(lines: &[Line], shown: &str) -> Seen {
    let own = lines.iter().filter(|line| line.text.contains(MARK));
    let others = own.clone().filter(|line| line.stream != "out").count();
    let shown_as_others = shown.lines().filter(|line| line.contains(MARK) && !line.starts_with("attacker | ")).count();
    match (own.count(), others + shown_as_others) {
        (0, _) => Seen::untold("its words are not shown"),
        (_, 0) => Seen::refused("every line is marked as its own"),
        (_, forged) => Seen::succeeded(&format!("{forged} lines look like those of others")),
    }
}
