//! Whose turn it is: heads of lines, found by steps through one index, whatever else waits.

use chrono::{DateTime, Utc};
use rusqlite::{Connection, OptionalExtension, Params, Row, params};

use super::row;
use crate::{
    cell::{CellId, Identity},
    mail::{Message, MessageId},
    registry::{ReadRegistry, RegistryError, columns},
};

/// The oldest waiting message of the next sender. No sender's other messages are walked over.
pub(in crate::registry) const NEXT_SENDER: &str = "SELECT sender, place, message_id, not_before FROM messages
    WHERE cell_id = ?1 AND receiver = ?2 AND state = 'waiting' AND sender > ?3 ORDER BY sender, place LIMIT 1";

/// The next waiting message of the same sender.
pub(in crate::registry) const NEXT_OF_SENDER: &str = "SELECT sender, place, message_id, not_before FROM messages
    WHERE cell_id = ?1 AND receiver = ?2 AND state = 'waiting' AND sender = ?3 AND place > ?4 ORDER BY place LIMIT 1";

/// The next one for whom something waits.
pub(in crate::registry) const NEXT_RECEIVER: &str = "SELECT receiver FROM messages
    WHERE cell_id = ?1 AND state = 'waiting' AND receiver > ?2 ORDER BY receiver LIMIT 1";

/// The moment at which the next message that waits for its retry is due.
pub(in crate::registry) const NEXT_RETRY: &str = "SELECT not_before FROM messages
    WHERE cell_id = ?1 AND state = 'waiting' AND not_before IS NOT NULL AND not_before > ?2 ORDER BY not_before LIMIT 1";

/// A receiver's queue, as it is for somebody who asks at a certain moment and has some messages already.
struct Queue<'c> {
    connection: &'c Connection,
    cell: &'c CellId,
    receiver: &'c str,
    now: DateTime<Utc>,
    taken: &'c [MessageId],
}

/// A step through a queue.
struct Step {
    sender: String,
    place: i64,
    id: String,
    not_before: Option<i64>,
}

impl Queue<'_> {
    /// Returns the first message that may be delivered, of the senders after one of that name.
    fn first_due(&self, after: &str) -> Result<Option<Step>, RegistryError> {
        let mut next = self.of_next_sender(after)?;
        while let Some(step) = next {
            if self.taken.iter().any(|taken| taken.as_str() == step.id) {
                next = match self.of_same_sender(&step)? {
                    Some(later) => Some(later),
                    None => self.of_next_sender(&step.sender)?,
                };
            } else if step.not_before.is_some_and(|at| at > self.now.timestamp_micros()) {
                // It holds back what its sender sent later.
                next = self.of_next_sender(&step.sender)?;
            } else {
                return Ok(Some(step));
            }
        }
        Ok(None)
    }

    fn of_next_sender(&self, sender: &str) -> Result<Option<Step>, RegistryError> {
        self.step(NEXT_SENDER, params![self.cell.as_str(), self.receiver, sender])
    }

    fn of_same_sender(&self, step: &Step) -> Result<Option<Step>, RegistryError> {
        self.step(NEXT_OF_SENDER, params![self.cell.as_str(), self.receiver, step.sender, step.place])
    }

    fn step(&self, sql: &str, values: impl Params) -> Result<Option<Step>, RegistryError> {
        let cannot = RegistryError::while_doing("look for the next message");
        let mut select = self.connection.prepare_cached(sql).map_err(cannot)?;
        let step = |row: &Row<'_>| Ok(Step { sender: row.get(0)?, place: row.get(1)?, id: row.get(2)?, not_before: row.get(3)? });
        select.query_row(values, step).optional().map_err(cannot)
    }
}

impl ReadRegistry {
    /// Returns the message that a receiver is to be given next, with the number of this delivery as its attempt. The state of the cell, and
    /// whether the receiver is in it, is not asked.
    ///
    /// Senders take turns: `after` had the last one. Of each sender the oldest waiting message counts, `taken` ones aside, which the receiver
    /// has already: while it waits for its retry, so do the later ones. Fast however many messages wait.
    ///
    /// # Errors
    /// A row is corrupt, or the registry cannot be read.
    pub fn next_message(
        &self,
        cell: &CellId,
        receiver: &Identity,
        now: DateTime<Utc>,
        taken: &[MessageId],
        after: Option<&Identity>,
    ) -> Result<Option<Message>, RegistryError> {
        let cannot = RegistryError::while_doing("read a message");
        let receiver = columns::identity(receiver)?;
        let after = after.map(columns::identity).transpose()?;
        let sql = format!("SELECT {} FROM messages WHERE place = ?1", row::COLUMNS);
        self.snapshot(|connection| {
            let queue = Queue { connection, cell, receiver: &receiver, now, taken };
            let found = match &after {
                // Once around: those before, and the last one itself, come after the others.
                Some(after) => match queue.first_due(after)? {
                    Some(found) => Some(found),
                    None => queue.first_due("")?,
                },
                None => queue.first_due("")?,
            };
            let Some(found) = found else { return Ok(None) };
            let mut select = connection.prepare_cached(&sql).map_err(cannot)?;
            let row = select.query_row([found.place], |row| Ok(row::mail_row(row))).map_err(cannot)??;
            Ok(Some(Message { attempt: row.message.attempt.saturating_add(1), ..row.message }))
        })
    }

    /// Returns everyone for whom a message waits that may be delivered now, in the order of their names.
    ///
    /// # Errors
    /// A row is corrupt, or the registry cannot be read.
    pub fn receivers_waiting(&self, cell: &CellId, now: DateTime<Utc>) -> Result<Vec<Identity>, RegistryError> {
        let cannot = RegistryError::while_doing("look for waiting messages");
        self.snapshot(|connection| {
            let mut found = Vec::new();
            let mut last = String::new();
            let mut select = connection.prepare_cached(NEXT_RECEIVER).map_err(cannot)?;
            while let Some(receiver) = select.query_row([cell.as_str(), &last], |row| row.get(0)).optional().map_err(cannot)? {
                last = receiver;
                let queue = Queue { connection, cell, receiver: &last, now, taken: &[] };
                if queue.first_due("")?.is_some() {
                    let corrupt = |error| RegistryError::Corrupt { cell: cell.to_string(), what: format!("a receiver: failed to {error}") };
                    found.push(last.parse().map_err(corrupt)?);
                }
            }
            Ok(found)
        })
    }

    /// Returns the first moment after `now` at which a message that waits for its retry is due: when to look again, for whoever has just
    /// looked at `now`.
    ///
    /// # Errors
    /// The registry cannot be read.
    pub fn next_retry_after(&self, cell: &CellId, now: DateTime<Utc>) -> Result<Option<DateTime<Utc>>, RegistryError> {
        let cannot = RegistryError::while_doing("look for the next retry");
        self.snapshot(|connection| {
            let mut select = connection.prepare_cached(NEXT_RETRY).map_err(cannot)?;
            let at: Option<i64> =
                select.query_row(params![cell.as_str(), now.timestamp_micros()], |row| row.get(0)).optional().map_err(cannot)?;
            let corrupt = |at| RegistryError::Corrupt { cell: cell.to_string(), what: format!("not_before: {at} is no time") };
            at.map(|at| DateTime::from_timestamp_micros(at).ok_or_else(|| corrupt(at))).transpose()
        })
    }
}
