//! WASI guests that attack, behind wasmtime, in cells of their own: modules of preview 1 and components.
//!
//! - [`preview1`], [`component`]: guests as text, each with one thing that it tries; [`text`], [`table`]: how they and their rows are written.
//! - [`drive`]: the trusted side: a guest with its twin before it, each in a cell that `lazarus run` makes, and what came back.
//! - [`ground`]: what a guest finds in the directory that it may write to: links and other things that lead out of it.
//! - one table a kind: `paths`, `limits`, `others`.

mod component;
mod drive;
mod ground;
mod limits;
mod others;
mod paths;
mod preview1;
mod table;
mod text;

pub(super) use drive::try_all;
pub(super) use ground::plant;

use super::Attack;

/// The directories of a guest beside its home and what its cell shares: `/inside` to write to, `/kept` to read.
const MOUNTS: &[&str] = &["--mount={inside}:/inside:rw", "--mount={readonly}:/kept:ro"];

/// Every attack by a guest.
pub(super) const TABLES: &[&[Attack]] = &[paths::ATTACKS, limits::ATTACKS, others::ATTACKS];
