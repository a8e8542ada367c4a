//! Process agents that attack: who leads them in their cell, what each tries, and what it is started with.
//!
//! - [`attacker`]: the hidden subcommand, in the cell: a leader that starts each attempt in a process of its own.
//! - [`batch`]: the trusted side: cells with a leader in them, and what came back.
//! - one table a class: `paths`, …; what they do stands in [`acts`](super::acts).

mod attacker;
mod batch;
mod paths;

pub use attacker::{FOREVER, STAND, SUBCOMMAND, main_attack};
pub(super) use batch::try_all;

use super::Attack;

/// Every attack by a process agent.
pub(super) const TABLES: &[&[Attack]] = &[paths::ATTACKS];
