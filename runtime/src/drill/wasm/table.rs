//! Writing the catalogue of guests: a row at a time, whole or not at all.

use crate::drill::{
    Attack, Class, Death, Outcome,
    attack::{Arena, Guest},
};

/// A row that does not say yet what is tried.
pub struct Row {
    name: &'static str,
    class: Class,
    arena: Arena,
}

/// A row that does not say yet how it must die.
pub struct Tries {
    row: Row,
    what: &'static str,
    attack: &'static [&'static str],
    twin: &'static [&'static str],
}

/// A guest of preview 1, run with these options; its class is how its name begins.
pub const fn preview1(name: &'static str, guest: Guest, options: &'static [&'static str]) -> Row {
    Row { name, class: Class::of(name), arena: Arena::Preview1 { guest, options } }
}

/// A component.
pub const fn component(name: &'static str, guest: Guest, options: &'static [&'static str]) -> Row {
    Row { name, class: Class::of(name), arena: Arena::Component { guest, options } }
}

impl Row {
    /// What it tries, as a sentence, with which arguments; and those of its twin.
    pub const fn tries(self, what: &'static str, attack: &'static [&'static str], twin: &'static [&'static str]) -> Tries {
        Tries { row: self, what, attack, twin }
    }
}

impl Tries {
    /// How it must die, and what it is if it does not.
    pub const fn dies(self, dies: &'static [Death], gain: Outcome) -> Attack {
        let Self { row: Row { name, class, arena }, what, attack, twin } = self;
        Attack { name, class, what, arena, attack, twin, dies, gain, promise: None }
    }
}
