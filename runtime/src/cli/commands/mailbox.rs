//! Whose words `send` and `inbox` carry: the operator's, or those of somebody who joined a cell of another.

use std::time::Duration;

use crate::{
    cell::CellId,
    cli::failure::Failure,
    mail::{Message, MessageId},
    operator::{Fate, InboxRequest, MailLine, MemberClient, Operator, Outgoing, Sent, Unparked},
};

/// What writes and reads messages.
pub trait Mailbox {
    /// Sends.
    fn send(&mut self, cell: &str, outgoing: &Outgoing) -> Result<Sent, Failure>;
    /// Sends, and waits for what becomes of it.
    fn send_and_wait(&mut self, cell: &str, outgoing: &Outgoing, within: Duration) -> Result<(Sent, Fate), Failure>;
    /// Marks an answer as handled: whoever waited for it has it.
    fn received(&mut self, cell: &CellId, reply: &Message) -> Result<(), Failure>;
    /// Reads messages.
    fn inbox(&mut self, cell: &str, request: &InboxRequest, sink: &mut dyn FnMut(MailLine) -> bool) -> Result<(), Failure>;
    /// Reads one.
    fn one_message(&mut self, cell: &str, id: &MessageId) -> Result<MailLine, Failure>;
    /// Has a parked message delivered once more.
    fn retry_parked(&mut self, cell: &str, id: &MessageId) -> Result<Unparked, Failure>;
    /// Removes a parked message.
    fn discard_parked(&mut self, cell: &str, id: &MessageId) -> Result<Unparked, Failure>;
}

impl Mailbox for Operator {
    fn send(&mut self, cell: &str, outgoing: &Outgoing) -> Result<Sent, Failure> {
        Ok(self.send(cell, outgoing)?)
    }

    fn send_and_wait(&mut self, cell: &str, outgoing: &Outgoing, within: Duration) -> Result<(Sent, Fate), Failure> {
        Ok(self.send_and_wait(cell, outgoing, within)?)
    }

    fn received(&mut self, cell: &CellId, reply: &Message) -> Result<(), Failure> {
        Ok(self.received(cell, reply)?)
    }

    fn inbox(&mut self, cell: &str, request: &InboxRequest, sink: &mut dyn FnMut(MailLine) -> bool) -> Result<(), Failure> {
        Ok(self.inbox(cell, request, sink)?)
    }

    fn one_message(&mut self, cell: &str, id: &MessageId) -> Result<MailLine, Failure> {
        Ok(self.one_message(cell, id)?)
    }

    fn retry_parked(&mut self, cell: &str, id: &MessageId) -> Result<Unparked, Failure> {
        Ok(self.retry_parked(cell, id)?)
    }

    fn discard_parked(&mut self, cell: &str, id: &MessageId) -> Result<Unparked, Failure> {
        Ok(self.discard_parked(cell, id)?)
    }
}

/// The cell is known from the connection.
impl Mailbox for MemberClient {
    fn send(&mut self, _cell: &str, outgoing: &Outgoing) -> Result<Sent, Failure> {
        Ok(self.send(outgoing)?)
    }

    fn send_and_wait(&mut self, _cell: &str, outgoing: &Outgoing, within: Duration) -> Result<(Sent, Fate), Failure> {
        Ok(self.send_and_wait(outgoing, within)?)
    }

    fn received(&mut self, _cell: &CellId, reply: &Message) -> Result<(), Failure> {
        Ok(self.received(reply)?)
    }

    fn inbox(&mut self, _cell: &str, request: &InboxRequest, sink: &mut dyn FnMut(MailLine) -> bool) -> Result<(), Failure> {
        Ok(self.inbox(request, sink)?)
    }

    fn one_message(&mut self, _cell: &str, id: &MessageId) -> Result<MailLine, Failure> {
        Ok(self.one_message(id)?)
    }

    fn retry_parked(&mut self, _cell: &str, _id: &MessageId) -> Result<Unparked, Failure> {
        Ok(self.decide_parked()?)
    }

    fn discard_parked(&mut self, _cell: &str, _id: &MessageId) -> Result<Unparked, Failure> {
        Ok(self.decide_parked()?)
    }
}
