//! Process agents that attack: who leads them in their cell, what each tries, and what it is started with.
//!
//! - [`attacker`]: the hidden subcommand, in the cell: a leader that starts each attempt in a process of its own.
//! - [`batch`]: the trusted side: cells with a leader in them, and what came back.
//! - one table a class: `paths`, …; what they do stands in [`acts`](super::acts).

mod attacker;
mod batch;
mod calls;
mod descriptors;
mod ends;
mod links;
mod logs;
mod neighbours;
mod network;
mod paths;
mod resources;
mod summoned;

pub use attacker::{FOREVER, STAND, SUBCOMMAND, main_attack};
pub(super) use batch::try_all;

use super::{
    Act, Attack, Class,
    Death::{self, Errno},
    Outcome,
    attack::{Arena, Cell},
};

/// Every attack by a process agent.
#[rustfmt::skip]
pub(super) const TABLES: &[&[Attack]] = &[
    paths::ATTACKS, links::ATTACKS, descriptors::ATTACKS, resources::ATTACKS, network::ATTACKS, neighbours::ATTACKS, calls::ATTACKS,
    ends::ATTACKS, logs::ATTACKS,
];

/// What is not there, or not for it: a mount namespace hides what Landlock alone refuses.
const HIDDEN: &[Death] = &[Errno(libc::ENOENT), Errno(libc::EACCES)];
/// Behind a read-only mount; without a mount namespace, behind Landlock.
const READ_ONLY: &[Death] = &[Errno(libc::EROFS), Errno(libc::EACCES)];
/// Refused by the filter of system calls.
const FILTERED: &[Death] = &[Errno(libc::EPERM)];

/// A row of these tables: an attack in the cell that all share.
const fn row(
    name: &'static str,
    what: &'static str,
    act: Act,
    attack: &'static [&'static str],
    twin: &'static [&'static str],
    dies: &'static [Death],
    gain: Outcome,
) -> Attack {
    Attack {
        name,
        class: Class::of(name),
        what,
        arena: Arena::Process { act, cell: Cell::Common },
        attack,
        twin,
        dies,
        gain,
        promise: None,
    }
}
