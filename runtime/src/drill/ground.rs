//! Names that arguments of attacks use, and what they stand for on this stage.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What templates stand for: `{tcp}` for a listener's port, `{outside}` for a directory of the attack's own outside of its jail.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Ground(BTreeMap<String, String>);

/// Every name that templates may use.
#[cfg(test)]
pub(super) const NAMES: [&str; 24] = [
    "abstract",
    "bystander",
    "drill",
    "home",
    "inside",
    "neighbour",
    "neighbour-cell",
    "neighbour-home",
    "outside",
    "readonly",
    "ro",
    "root",
    "rw",
    "socket",
    "socket-of-cell",
    "stage",
    "stray",
    "tcp",
    "udp",
    "above",
    "up",
    "warden",
    "work",
    "yard",
];

impl Ground {
    /// Gives a name a meaning.
    pub fn set(&mut self, name: &str, value: impl Into<String>) {
        self.0.insert(name.to_owned(), value.into());
    }

    /// What a name stands for.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// Puts what they stand for into the place of all names. Others, and braces without a name, stay as they are.
    pub fn fill(&self, template: &str) -> String {
        let mut filled = String::with_capacity(template.len());
        let mut rest = template;
        while let Some(start) = rest.find('{') {
            let (before, from) = rest.split_at(start);
            filled.push_str(before);
            let known = from.find('}').and_then(|end| Some((end, self.get(&from[1..end])?)));
            match known {
                Some((end, value)) => {
                    filled.push_str(value);
                    rest = &from[end + 1..];
                }
                None => {
                    filled.push('{');
                    rest = &from[1..];
                }
            }
        }
        filled.push_str(rest);
        filled
    }

    /// Fills a row of templates.
    pub fn fill_all<T: AsRef<str>>(&self, templates: &[T]) -> Vec<String> {
        templates.iter().map(|template| self.fill(template.as_ref())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_filled_and_nothing_else() {
        let mut ground = Ground::default();
        ground.set("a", "1");
        ground.set("b", "{a}");
        assert_eq!(ground.fill("{a}/x{b}y{c}{"), "1/x{a}y{c}{");
        assert_eq!(ground.fill_all(&["{a}", "plain"]), ["1", "plain"]);
    }
}
