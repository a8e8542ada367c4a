//! What an author writes: the trait of an agent.

use crate::{Cell, Failure, Message};

/// Why an instance begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Beginning {
    /// The agent was just summoned or invited: its home is fresh.
    First,
    /// Its memory was dropped when it was idle, and now something happened.
    Woken,
    /// An event failed, and its memory with it.
    Again,
    /// Its cell was resurrected, or its host ended: its home is as it was.
    Resurrected,
}

/// An agent that lives by events.
///
/// Every method has a default, so that an agent says only what it does. The calls of one agent never overlap; between them it uses no
/// CPU, and after a while (`idle` in its limits) its memory is dropped: **whatever must last belongs in its home** ([`Cell::home`]). Each
/// call has a budget of CPU time (`cpu`) and of time on the wall (`event`), in which calls of the [`Cell`] count.
///
/// ```
/// use lazarus_guest::{Agent, Cell, Failure, Message};
///
/// #[derive(Default)]
/// struct Greeter;
///
/// impl Agent for Greeter {
///     fn message(&mut self, cell: &Cell, message: &Message) -> Result<(), Failure> {
///         cell.reply(&format!("hello, {}", message.sender))?;
///         Ok(())
///     }
/// }
///
/// lazarus_guest::export!(Greeter);
/// # fn main() {}
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not an agent: it does not implement `lazarus_guest::Agent`",
    label = "this type is no agent",
    note = "write `impl lazarus_guest::Agent for {Self} {{ … }}`, and `#[derive(Default)]` above the type"
)]
pub trait Agent: Default + 'static {
    /// A new instance stands, made by `Default`; its home is as the last one left it. Load here what was kept there.
    ///
    /// # Errors
    /// What it returns refuses the summon or the invitation ([`Beginning::First`]), or fails the event that needed the instance.
    fn start(&mut self, cell: &Cell, beginning: Beginning) -> Result<(), Failure> {
        let _ = (cell, beginning);
        Ok(())
    }

    /// Somebody wrote. Returning well acknowledges the message, and what was sent meanwhile is sent, all in one step. The default parks the
    /// message: an agent that was not made to read messages must not swallow them.
    ///
    /// # Errors
    /// [`Failure::Retry`] brings the message again after a pause, a few times, and then parks it; [`Failure::Park`] parks it at once. Either
    /// way nothing that this call sent was sent. A panic counts as a retry, and costs the instance.
    fn message(&mut self, cell: &Cell, message: &Message) -> Result<(), Failure> {
        let _ = (cell, message);
        Err(Failure::park("this agent reads no messages"))
    }

    /// The time of `tick` in `[life]` of the definition has passed since the last one. Not caught up when it was missed.
    ///
    /// # Errors
    /// A failure is written to the log of the agent; nothing is retried.
    fn tick(&mut self, cell: &Cell) -> Result<(), Failure> {
        let _ = cell;
        Ok(())
    }

    /// The cell is closing: the last call. There is no waking for it: an agent that is idle is not asked.
    fn close(&mut self, cell: &Cell) {
        let _ = cell;
    }
}
