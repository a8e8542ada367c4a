//! Guest bytes made harmless: one line, printable, bounded.

use std::fmt::Write as _;

/// Appends `bytes` to `line` as printable text: valid UTF-8 stands as it is, tabs too, but for what [`acts`]; that and everything else becomes an
/// escape (`\x1b`, `\u{202e}`, `\xff`), and a backslash stays a backslash.
pub fn push_printable(line: &mut String, bytes: &[u8]) {
    let mut before = None;
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            if c == '\t' || !acts(c, before) {
                line.push(c);
                before = Some(c);
            } else {
                // Writing to a string cannot fail.
                let _ =
                    if u32::from(c) < 0x100 { write!(line, "\\x{:02x}", u32::from(c)) } else { write!(line, "\\u{{{:x}}}", u32::from(c)) };
                before = None;
            }
        }
        for byte in chunk.invalid() {
            let _ = write!(line, "\\x{byte:02x}");
            before = None;
        }
    }
}

/// Whether a character must not stand in a line as it is: it could act on a terminal, forge a line, change the order in which a line is read, or stand
/// in it unseen or as whatever a font makes of it. `before` is what stands before it, if that stands as it is.
///
/// By Unicode: control (Cc) and format characters (Cf), separators of lines and paragraphs (Zl, Zp), what is ignored by default
/// (`Default_Ignorable_Code_Point`), the blank of Braille, private use (Co) and noncharacters; and a combining mark that has nothing to combine
/// with, and so would change what stands before the line.
pub fn acts(c: char, before: Option<char>) -> bool {
    c.is_control()
        || is_format(c)
        || is_ignored(c)
        || is_nobodys(c)
        || matches!(c, '\u{2028}' | '\u{2029}' | '\u{2800}')
        || (is_combining(c) && matches!(before, None | Some(' ' | '\t')))
}

/// General category Cf.
const fn is_format(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{600}'..='\u{605}' | '\u{61c}' | '\u{6dd}' | '\u{70f}' | '\u{890}'..='\u{891}' | '\u{8e2}' | '\u{180e}'
        | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
        | '\u{110bd}' | '\u{110cd}' | '\u{13430}'..='\u{1343f}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}')
}

/// `Default_Ignorable_Code_Point`, but for what is a format character already: fillers, selectors of variants, tags.
const fn is_ignored(c: char) -> bool {
    matches!(c, '\u{34f}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}' | '\u{180b}'..='\u{180f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}'
        | '\u{ffa0}' | '\u{fff0}'..='\u{fff8}' | '\u{e0000}'..='\u{e0fff}')
}

/// Private use, and noncharacters.
const fn is_nobodys(c: char) -> bool {
    matches!(c, '\u{e000}'..='\u{f8ff}' | '\u{fdd0}'..='\u{fdef}' | '\u{f0000}'..='\u{10ffff}') || (c as u32) & 0xfffe == 0xfffe
}

/// The blocks of combining marks that belong to no one script, and those of a few.
const fn is_combining(c: char) -> bool {
    matches!(c, '\u{300}'..='\u{36f}' | '\u{483}'..='\u{489}' | '\u{591}'..='\u{5bd}' | '\u{610}'..='\u{61a}' | '\u{64b}'..='\u{65f}'
        | '\u{1ab0}'..='\u{1aff}' | '\u{1dc0}'..='\u{1dff}' | '\u{20d0}'..='\u{20ff}' | '\u{302a}'..='\u{302f}' | '\u{3099}'..='\u{309a}'
        | '\u{fe20}'..='\u{fe2f}')
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
    fn what_is_not_seen_is_written_out_and_what_people_write_stays() {
        let unseen = "\u{3164}\u{115f}\u{fe0f}\u{34f}\u{2800}\u{1d173}\u{600}\u{f0000}\u{ffff}\u{e000}\u{fdd0}\u{200b}\u{ad}\u{2060}\u{e0041}\u{1fffe}";
        for c in unseen.chars() {
            let mut line = String::new();
            push_printable(&mut line, format!("a{c}b").as_bytes());
            assert!(line.starts_with("a\\") && line.ends_with('b') && !line.contains(c), "{line:?}");
            assert!(crate::audit::one_line(&format!("a{c}b"), 99).starts_with("a\\u{"), "{c:?}");
        }
        for text in ["ärger, 漢字, café cafe\u{301}, Việt Việt, हिन्दी, עִבְרִית, ☃ 😀 «x»", "a\u{301}\u{323}"]
        {
            let mut line = String::new();
            push_printable(&mut line, text.as_bytes());
            assert_eq!((line.as_str(), crate::audit::one_line(text, 200).as_str()), (text, text));
        }
        // A mark that has nothing to combine with would change what stands before the line.
        let mut line = String::new();
        push_printable(&mut line, "\u{300}a \u{300}\u{1b}\u{300}".as_bytes());
        assert_eq!(line, "\\u{300}a \\u{300}\\x1b\\u{300}");
        assert_eq!(crate::audit::one_line("\u{300}a", 99), "\\u{300}a");
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
