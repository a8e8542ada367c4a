//! What attackers do: single, raw attempts. Run in a jail, by a process of their own; each returns what it got, or the error of the
//! very call that was refused. Whatever they need first they make below their own place, `{inside}`.

mod files;
mod place;

pub(super) use files::{append, create, list, read, remove};
pub(super) use place::make_place;
