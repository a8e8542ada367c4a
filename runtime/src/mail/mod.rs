//! What the members of a cell say to each other, and what they ask of their cell: pure values and who may do what.
//!
//! One vocabulary for every way in: a wasm guest's host calls, the line protocol of process agents, and the people who joined. [`Call`] is
//! what is asked, [`Gift`] what is given, [`Refusal`] why not; `guest-sdk/wit/cell.wit` says the same to guests. The warden carries a call
//! out, and never believes who the caller says it is: that is known from where the call came.

mod call;
mod line;
mod message;
mod rights;
mod token;

pub use call::{Artifact, Call, CallKind, Facts, Gift, HISTORY_MOST, Other, Reason, Refusal};
pub use line::{AnswerLine, CallLine, Greeting, Hello, LINE_MOST_BYTES, Mark, Outcome, PENDING_MOST, Welcome, line_of, parse_call};
pub use message::{Draft, Message, MessageId, MessageIdError, TEXT_MOST_BYTES, Text, TextError};
pub use rights::{by_events, may, may_answer, may_read_all, may_send};
pub use token::{Secret, Token, TokenError};
