//! The guest SDK of Lazarus: what an agent is written against.
//!
//! An agent that lives by events is a type that implements [`Agent`], made the component's agent by [`export!`]. It is called when somebody
//! writes to it, asks its [`Cell`] for what it needs, and is nearly free in between:
//!
//! ```
//! use lazarus_guest::{Agent, Cell, Failure, Message};
//!
//! #[derive(Default)]
//! struct Counter;
//!
//! impl Agent for Counter {
//!     fn message(&mut self, cell: &Cell, message: &Message) -> Result<(), Failure> {
//!         cell.reply(&format!("{} words", message.text.split_whitespace().count()))?;
//!         Ok(())
//!     }
//! }
//!
//! lazarus_guest::export!(Counter);
//!
//! # fn main() {
//! // The same type runs natively, against a double of the cell: this is what a unit test looks like.
//! use lazarus_guest::testing::TestCell;
//!
//! let mut cell = TestCell::<Counter>::new();
//! assert_eq!(cell.message("human:owner", "four words are here").reply(), Some("4 words"));
//! # }
//! ```
//!
//! Such a crate has the type `cdylib` and is built with `cargo build --release --target wasm32-wasip2`; `lazarus agent new NAME` makes one.
//!
//! Programs that are no event agents, but run from a `main` to its end, find their cell in [`plain`].

#[doc(hidden)]
pub mod component;

mod agent;
mod cell;
mod error;
mod message;
pub mod plain;
mod role;
#[cfg(not(target_family = "wasm"))]
pub mod testing;

pub use agent::{Agent, Beginning};
pub use cell::Cell;
pub use component::WIT_VERSION;
pub use error::{Failure, Reason, Refusal};
pub use message::{
    ARTIFACT_MOST_BYTES, ARTIFACTS_MOST, AUDIT_MOST, Artifact, HISTORY_MOST, LINE_MOST_BYTES, Level, Member, Message, SENDS_MOST,
    TEXT_MOST_BYTES,
};
pub use role::{Role, RoleError};
