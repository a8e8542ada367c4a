//! All attacks, and those that the operator chose.

use super::{Attack, DrillError, fallen, process, trusted, wasm};

/// The tables of every arena.
const TABLES: &[&[&[Attack]]] = &[process::TABLES, wasm::TABLES, fallen::TABLES, trusted::TABLES];

/// Every attack, in the order of the tables.
pub fn catalogue() -> impl Iterator<Item = &'static Attack> {
    TABLES.iter().flat_map(|tables| tables.iter()).flat_map(|table| table.iter())
}

/// The attacks that the words choose, by class, arena or a beginning of their names; all where there is no word.
///
/// # Errors
/// A word that chooses nothing.
pub fn chosen(words: &[String]) -> Result<Vec<&'static Attack>, DrillError> {
    if let Some(word) = words.iter().find(|word| !catalogue().any(|attack| attack.is_chosen_by(word))) {
        return Err(DrillError::NoSuchAttack(word.chars().take(80).collect()));
    }
    let mut chosen: Vec<_> = catalogue().filter(|attack| words.is_empty() || words.iter().any(|word| attack.is_chosen_by(word))).collect();
    chosen.sort_by_key(|attack| attack.class);
    Ok(chosen)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::drill::{Class, Outcome, ground::NAMES};

    #[test]
    fn every_row_says_what_it_must() {
        let mut names = BTreeSet::new();
        for attack in catalogue() {
            let name = attack.name;
            assert!(names.insert((attack.arena.as_str(), name)), "{name} twice");
            assert!(name.starts_with(&format!("{}/", attack.class)), "{name}: its name begins with its class");
            let plain = name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'/');
            assert!(plain && name.matches('/').count() == 1, "{name}");
            assert!(attack.what.len() > 4 && !attack.what.ends_with('.'), "{name}: {}", attack.what);
            for template in attack.attack.iter().chain(attack.twin) {
                // A guest's text is made by its own functions; what stands in braces elsewhere is a name of the ground.
                let names = template.split('{').skip(1).filter_map(|rest| rest.split_once('}')).map(|(name, _)| name);
                let unknown: Vec<_> = names.filter(|name| !NAMES.contains(name)).collect();
                assert!(unknown.is_empty(), "{name}: {unknown:?} stand for nothing");
            }
            assert!(!attack.dies.is_empty(), "{name} may not die at all");
            assert!(!matches!(attack.gain, Outcome::Held | Outcome::Broken), "{name}: {}", attack.gain);
            assert_eq!(attack.attack.len(), attack.twin.len(), "{name}: its twin has other arguments");
            let differ = attack.attack.iter().zip(attack.twin).filter(|(attack, twin)| attack != twin).count();
            assert_eq!(differ, 1, "{name}: its twin differs in {differ} arguments");
        }
        assert!(names.len() >= 80, "{}", names.len());
        for class in Class::ALL {
            assert!(catalogue().any(|attack| attack.class == class), "no attack of class {class}");
        }
    }

    #[test]
    fn words_choose_by_class_arena_and_name() {
        let count = |words: &[&str]| chosen(&words.iter().map(ToString::to_string).collect::<Vec<_>>()).expect("chosen").len();
        assert_eq!(count(&[]), catalogue().count());
        assert_eq!(count(&["paths"]), catalogue().filter(|attack| attack.class == Class::Paths).count());
        assert!(count(&["process"]) > 0 && count(&["process"]) < count(&[]));
        assert_eq!(
            count(&["paths/absolute", "paths/absolute"]),
            catalogue().filter(|attack| attack.name.starts_with("paths/absolute")).count()
        );
        assert!(chosen(&["no-such".to_owned()]).is_err());
    }
}
