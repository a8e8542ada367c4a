//! What an agent's name becomes in Rust.

use crate::cell::AgentName;

/// Names that no library can have, or that would be confused with another crate: the words of the language, and crates that are there
/// already.
const TAKEN: [&str; 57] = [
    "abstract",
    "alloc",
    "as",
    "async",
    "await",
    "become",
    "box",
    "break",
    "const",
    "continue",
    "core",
    "crate",
    "do",
    "dyn",
    "else",
    "enum",
    "extern",
    "false",
    "final",
    "fn",
    "for",
    "gen",
    "if",
    "impl",
    "in",
    "lazarus_guest",
    "let",
    "loop",
    "macro",
    "match",
    "mod",
    "move",
    "mut",
    "override",
    "priv",
    "proc_macro",
    "pub",
    "ref",
    "return",
    "self",
    "static",
    "std",
    "struct",
    "super",
    "test",
    "trait",
    "true",
    "try",
    "type",
    "typeof",
    "unsafe",
    "unsized",
    "use",
    "virtual",
    "where",
    "while",
    "yield",
];

/// The names in a new crate.
pub struct Names {
    /// The agent's, as it was given.
    name: String,
    /// The package's.
    package: String,
    /// The library's, and so the built component's.
    library: String,
    /// The type's.
    kind: String,
}

impl Names {
    /// Makes them of an agent's name. Cargo and Rust know more names that will not do than Lazarus does; those get a prefix.
    pub fn of(name: &AgentName) -> Self {
        let name = name.as_str();
        let plain = name.replace('-', "_");
        let digit_first = name.starts_with(|c: char| c.is_ascii_digit());
        let prefixed = digit_first || TAKEN.contains(&plain.as_str());
        let (package, library) = if prefixed { (format!("agent-{name}"), format!("agent_{plain}")) } else { (name.to_owned(), plain) };
        let camel: String = name.split(['-', '_']).map(capitalised).collect();
        let kind = format!("{}{camel}Agent", if digit_first { "The" } else { "" });
        Self { name: name.to_owned(), package, library, kind }
    }

    /// Puts the names into a text of the template.
    pub fn fill(&self, text: &str) -> String {
        let marks = [("@NAME@", &self.name), ("@PACKAGE@", &self.package), ("@CRATE@", &self.library), ("@TYPE@", &self.kind)];
        marks.iter().fold(text.to_owned(), |text, (mark, name)| text.replace(mark, name))
    }
}

fn capitalised(part: &str) -> String {
    let mut letters = part.chars();
    letters.next().map(|first| first.to_ascii_uppercase()).into_iter().chain(letters).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(name: &str) -> String {
        Names::of(&name.parse().expect("a name")).fill("@NAME@ @PACKAGE@ @CRATE@ @TYPE@")
    }

    #[test]
    fn names_become_what_rust_takes() {
        assert_eq!(filled("greeter"), "greeter greeter greeter GreeterAgent");
        assert_eq!(filled("night-watch_2"), "night-watch_2 night-watch_2 night_watch_2 NightWatch2Agent");
        assert_eq!(filled("1st"), "1st agent-1st agent_1st The1stAgent");
        assert_eq!(filled("self"), "self agent-self agent_self SelfAgent");
        assert_eq!(filled("lazarus-guest"), "lazarus-guest agent-lazarus-guest agent_lazarus_guest LazarusGuestAgent");
        assert_eq!(filled("a--"), "a-- a-- a__ AAgent");
    }

    #[test]
    fn the_list_is_in_order() {
        assert!(TAKEN.is_sorted());
    }
}
