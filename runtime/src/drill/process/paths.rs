//! Files by their names.

use crate::drill::{
    Act, Arena, Attack, Cell, Class,
    Death::{self, Errno},
    Outcome, acts,
};

/// A row of this table.
const fn row(
    name: &'static str,
    what: &'static str,
    act: Act,
    attack: &'static [&'static str],
    twin: &'static [&'static str],
    dies: &'static [Death],
    gain: Outcome,
) -> Attack {
    let arena = Arena::Process { act, cell: Cell::Common };
    Attack { name, class: Class::Paths, what, arena, attack, twin, dies, gain, promise: None }
}

/// What is not there, or not for it: a mount namespace hides what Landlock alone refuses.
const HIDDEN: &[Death] = &[Errno(libc::ENOENT), Errno(libc::EACCES)];

/// The attacks.
#[rustfmt::skip]
pub(super) const ATTACKS: &[Attack] = &[
    row("paths/absolute", "reads a secret outside by its absolute path", acts::read,
        &["{outside}/secret"], &["{inside}/secret"], HIDDEN, Outcome::Read),
    row("paths/dot-dot", "reads a secret outside by climbing out of its home", acts::read,
        &["{inside}/../../../../../../../../../../../../../../../..{outside}/secret"],
        &["{inside}/../../../../../../../../../../../../../../../..{inside}/secret"], HIDDEN, Outcome::Read),
    row("paths/create-outside", "makes a file in a directory outside", acts::create,
        &["{outside}/new"], &["{inside}/new"], HIDDEN, Outcome::Write),
];
