//! The fallen-wall drill: the wasm host itself attacks, from inside its closed jail and without wasm. What somebody could do who has broken out
//! of wasmtime stands here, so that the second wall is tested alone.
//!
//! - [`acts`]: what the host tries; [`files`], [`calls`]: the tables.
//! - [`drive`]: starts a host with nothing in it but the attack, and hears what came of it.

mod acts;
mod calls;
mod drive;
mod files;

pub(super) use drive::try_all;
pub use drive::{SUBCOMMAND, main_attack};

use super::{Act, Arena, Attack, Class, Death, Outcome};

/// Every attack by a host.
pub(super) const TABLES: &[&[Attack]] = &[files::ATTACKS, calls::ATTACKS];

/// A row of these tables: an attack by the host.
const fn row(
    name: &'static str,
    what: &'static str,
    act: Act,
    attack: &'static [&'static str],
    twin: &'static [&'static str],
    dies: &'static [Death],
    gain: Outcome,
) -> Attack {
    Attack { name, class: Class::of(name), what, arena: Arena::Fallen { act }, attack, twin, dies, gain, promise: None }
}
