//! The post office of a cell: carries messages between its members, and carries out what they ask of their cell.
//!
//! For members that do not live by events (a process agent's socket, a person who joined) the way in is a [`Line`]: the task of the socket
//! sends [`LineEvent`]s to the event loop, which calls [`Post::open`], [`Post::call`] and [`Post::close`].

mod line;

pub use line::{Answers, Caller, Line, LineEvent, Opened, Who};

use crate::mail::{Call, Refusal};

/// The post office, as lines reach it.
pub trait Counter {
    /// Connects a member: checks who it is, or redeems its token.
    ///
    /// # Errors
    /// Nobody who is, or may become, a member of the cell.
    fn open(&mut self, who: Who) -> Result<Opened, Refusal>;

    /// Carries out what a member asks on its line, and answers: at once, or later. A caller that was revoked is refused.
    ///
    /// - `send`, `reply`: accepted, durably, when the answer says so. `reply` without `to` answers what the line received last.
    /// - `receive`: the next message is leased to the line; with `wait_ms` (at most 60,000) the answer waits for one. No message: `None`.
    /// - `acknowledge`, `fail`: settle a message that is leased to this line.
    fn call(&mut self, caller: Caller, call: Call, answers: Answers);

    /// A line ended: what it had received and not settled is waiting again, for its next one.
    fn close(&mut self, line: Line);
}
