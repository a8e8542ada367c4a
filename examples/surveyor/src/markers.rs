//! Lines that say that something is left to do.

use serde::Serialize;

/// The words that mark such a line, as whole words in capitals.
const WORDS: [&str; 2] = ["TODO", "FIXME"];
/// Characters of a line that are kept: enough to recognise it, whatever is on it.
const TEXT_MOST_CHARS: usize = 120;

/// One marked line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Marker {
    /// The file, relative to the project.
    pub file: String,
    /// The line's number, from 1.
    pub line: u64,
    /// The line from the marking word on, bounded, without control characters.
    pub text: String,
}

/// Returns the part of a line that starts with a marking word, if there is one.
pub fn find(line: &str) -> Option<String> {
    let start = WORDS.iter().filter_map(|word| whole_word(line, word)).min()?;
    let text = line[start..].trim_end();
    let plain = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    Some(plain.take(TEXT_MOST_CHARS).collect())
}

fn whole_word(line: &str, word: &str) -> Option<usize> {
    let part_of_word = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(word).map(|(at, _)| at).find(|&at| {
        let before = line[..at].chars().next_back().is_some_and(part_of_word);
        let after = line[at + word.len()..].chars().next().is_some_and(part_of_word);
        !before && !after
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_words_mark_a_line() {
        assert_eq!(find("    // TODO: measure  ").as_deref(), Some("TODO: measure"));
        assert_eq!(find("x = 1  # FIXME before TODO").as_deref(), Some("FIXME before TODO"));
        for line in ["", "todo", "TODOS", "MY_TODO", "PRETODO", "é"] {
            assert_eq!(find(line), None, "{line:?}");
        }
    }

    #[test]
    fn a_hostile_line_is_bounded_and_made_plain() {
        let line = format!("TODO \u{1b}[31m{}", "é".repeat(500));
        let text = find(&line).unwrap_or_default();
        assert_eq!(text.chars().count(), TEXT_MOST_CHARS);
        assert!(!text.chars().any(char::is_control));
    }
}
