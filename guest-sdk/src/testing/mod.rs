//! A native double of the cell: an agent's tests run with `cargo test`, without Lazarus and without WebAssembly.
//!
//! It has what decides whether an agent behaves: members with roles and the same rights, the same limits, a mailbox that takes what an event
//! sends only if the event succeeds, a home that outlives the instance, and the same refusals. It has no clock and retries nothing by
//! itself: a test says what happens next.
//!
//! ```
//! use lazarus_guest::{Agent, Beginning, Cell, Failure, Message, testing::TestCell};
//!
//! /// Counts its messages in its home.
//! #[derive(Default)]
//! struct Tally(u32);
//!
//! impl Agent for Tally {
//!     fn start(&mut self, cell: &Cell, beginning: Beginning) -> Result<(), Failure> {
//!         if beginning != Beginning::First {
//!             self.0 = std::fs::read_to_string(cell.home()?.join("tally"))?.parse()?;
//!         }
//!         Ok(())
//!     }
//!
//!     fn message(&mut self, cell: &Cell, _: &Message) -> Result<(), Failure> {
//!         self.0 += 1;
//!         std::fs::write(cell.home()?.join("tally"), self.0.to_string())?;
//!         cell.reply(&self.0.to_string())?;
//!         Ok(())
//!     }
//! }
//!
//! let mut cell = TestCell::<Tally>::new();
//! assert_eq!(cell.message("human:owner", "one").reply(), Some("1"));
//! cell.idle(); // Its memory is dropped; its home stays.
//! assert_eq!(cell.message("human:owner", "two").reply(), Some("2"));
//! ```

mod directory;
mod double;
mod event;
mod rights;
mod sha256;
mod test_cell;
mod world;

pub use event::{Event, Outcome};
pub use test_cell::TestCell;

/// Runs a piece of code as the handler of one message, in the cell of an executor. For examples in documents.
///
/// # Panics
/// The code failed.
#[doc(hidden)]
pub fn in_a_cell(handler: fn(&crate::Cell, &crate::Message) -> Result<(), crate::Failure>) {
    thread_local! {
        static HANDLER: std::cell::Cell<Option<Handler>> = const { std::cell::Cell::new(None) };
    }
    type Handler = fn(&crate::Cell, &crate::Message) -> Result<(), crate::Failure>;

    #[derive(Default)]
    struct Example;
    impl crate::Agent for Example {
        fn message(&mut self, cell: &crate::Cell, message: &crate::Message) -> Result<(), crate::Failure> {
            HANDLER.get().map_or(Ok(()), |handler| handler(cell, message))
        }
    }

    HANDLER.set(Some(handler));
    TestCell::<Example>::new().message("human:owner", "hello").done();
}

#[cfg(test)]
mod tests;
