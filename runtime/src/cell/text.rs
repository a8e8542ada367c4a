//! Guest bytes made harmless: one line, printable, bounded.

use std::fmt::Write as _;

/// Appends `bytes` to `line` as printable text: valid UTF-8 without control characters stands as it is, tabs
/// too; everything else becomes an escape (`\x1b`, `\xff`), and a backslash stays a backslash.
///
/// Also escaped are the characters that reorder text (Unicode UAX #9: U+202A–202E, U+2066–2069, U+200E, U+200F, U+061C) and the line and
/// paragraph separators, with which a line could be made to read as another.
pub fn push_printable(line: &mut String, bytes: &[u8]) {
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            if c == '\t' || !(c.is_control() || is_reordering(c)) {
                line.push(c);
            } else {
                // Writing to a string cannot fail.
                let _ =
                    if u32::from(c) < 0x100 { write!(line, "\\x{:02x}", u32::from(c)) } else { write!(line, "\\u{{{:x}}}", u32::from(c)) };
            }
        }
        for byte in chunk.invalid() {
            let _ = write!(line, "\\x{byte:02x}");
        }
    }
}

/// Returns a text of several lines in which nothing controls a terminal: only the ends of lines (`\n`) and tabs stay what they are.
pub fn printable_lines(text: &str) -> String {
    let mut shown = String::new();
    for (at, line) in text.split('\n').enumerate() {
        if at > 0 {
            shown.push('\n');
        }
        push_printable(&mut shown, line.as_bytes());
    }
    shown
}

fn is_reordering(c: char) -> bool {
    matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}' | '\u{61c}' | '\u{2028}' | '\u{2029}' | '\u{feff}')
}

/// Returns the first characters of a text that is quoted in a message; what was cut off shows as `…`.
pub fn quoted(given: &str, most_chars: usize) -> String {
    match given.char_indices().nth(most_chars) {
        Some((end, _)) => format!("{}…", &given[..end]),
        None => given.to_owned(),
    }
}

/// Makes hostile text one printable line of at most `most` bytes, cut at a character's boundary with `…`.
pub fn one_line(text: &str, most: usize) -> String {
    let mut line = String::new();
    for (index, part) in text.lines().map(str::trim).filter(|part| !part.is_empty()).enumerate() {
        if index > 0 {
            line.push_str("; ");
        }
        push_printable(&mut line, part.as_bytes());
        if line.len() > most {
            break;
        }
    }
    if line.len() > most {
        let end = (0..=most.saturating_sub('…'.len_utf8())).rev().find(|&at| line.is_char_boundary(at)).unwrap_or(0);
        line.truncate(end);
        line.push('…');
    }
    line
}

/// An error and its causes, each after a colon; a cause that its effect already quotes is left out.
pub fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let said = cause.to_string();
        if !text.contains(&said) {
            text.push_str(": ");
            text.push_str(&said);
        }
        next = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_is_said_once() {
        #[derive(Debug, thiserror::Error)]
        #[error("{said}")]
        struct Told {
            said: &'static str,
            source: Option<Box<Told>>,
        }
        let told = |said, source| Told { said, source };
        let last = || Some(Box::new(told("no such file", None)));
        assert_eq!(with_causes(&told("open it", last())), "open it: no such file");
        assert_eq!(with_causes(&told("open it: no such file", last())), "open it: no such file", "whoever quotes its cause");
        let middle = told("take a rule: no such file", last());
        assert_eq!(with_causes(&told("confine it", Some(Box::new(middle)))), "confine it: take a rule: no such file");
    }

    #[test]
    fn control_characters_become_escapes() {
        let mut line = String::new();
        push_printable(&mut line, b"a\x1b[2Jb\tc\xff\r\xe2\x80\xae d\xc2\x9b");
        assert_eq!(line, "a\\x1b[2Jb\tc\\xff\\x0d\\u{202e} d\\x9b");
    }

    #[test]
    fn lines_stay_lines_and_nothing_else_acts() {
        assert_eq!(printable_lines("a\r\n\n\x1b]0;x\x07\tb\u{2028}"), "a\\x0d\n\n\\x1b]0;x\\x07\tb\\u{2028}");
    }

    #[test]
    fn what_is_cut_off_shows() {
        assert_eq!((quoted("äbc", 3), quoted("äbcd", 3), quoted("", 0)), ("äbc".to_owned(), "äbc…".to_owned(), String::new()));
    }

    #[test]
    fn a_line_is_one_line_and_bounded() {
        assert_eq!(one_line("\n first\r\n\nsecond \n", 100), "first; second");
        let cut = one_line(&"ä".repeat(100), 20);
        assert!(cut.len() <= 20 && cut.ends_with('…'), "{cut}");
    }
}
