//! The audit chain as pure values: no files, no clock, no database.
//!
//! ```text
//!  32 zero bytes ─→ row 1 ─→ row 2 ─→ … ─→ row n     the head: n and the hash of row n
//!                    hash = SHA-256(hash of the row before ‖ canonical content of this row)
//! ```
//!
//! Whoever changes, removes or moves a row breaks the chain at that row, and [`verify`] names it.
//! Whoever removes the newest rows, or writes the whole chain anew, shows only against a head that
//! was exported before: [`verify_against`].
//!
//! A time that goes backwards is no fault: clocks are set. The order is that of the rows.

mod action;
mod chain;
mod content;
mod entry;

pub use action::{Action, ActionError, Phase};
pub use chain::{Broken, Fault, Head, HeadError, Verifier, verify, verify_against};
pub use content::{ACTOR_MOST_BYTES, DETAIL_MOST_BYTES, GENESIS, Hash, one_line};
pub use entry::{Draft, Entry};

#[cfg(test)]
mod tests;
