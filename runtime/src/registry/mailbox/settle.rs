//! The end of an event, or of a message that was received: one commit.

use rusqlite::{OptionalExtension, params};

use super::{
    FailedDelivery, HANDLED_MOST, PARKED_MOST, Settlement,
    accept::{described, no_mail, take},
    who::Who,
};
use crate::{
    audit::{Action, Phase, one_line},
    cell::{CellId, Identity, State},
    mail::{Message, MessageId},
    registry::{
        Registry, RegistryError, columns,
        write::{Verdict, Write},
    },
};

impl Registry {
    /// Settles the end of an event (or of a message that was received outside of one): what `receiver` handled, what failed, and what it
    /// sends, in one commit. Returns what was accepted, with attempt 0.
    ///
    /// Ids that do not wait for `receiver` are passed over: a second acknowledgement is no error, and changes nothing. A message to or from
    /// somebody who has left meanwhile is left out, audited as refused; the rest holds. Room and rate were the caller's to check, when the
    /// messages were given to it. What was handled is audited (`inbox done`), and a parked message (`send failed`).
    ///
    /// # Errors
    /// No such cell, or a destroyed one; both are audited. [`RegistryError::MessageIdTaken`]: nothing was settled.
    pub fn settle(
        &mut self,
        cell: &CellId,
        receiver: &Identity,
        settlement: &Settlement,
        actor: &str,
    ) -> Result<Vec<Message>, RegistryError> {
        let ends = [(receiver, settlement)];
        self.settle_many(cell, &ends, actor).map(|accepted| accepted.into_iter().flatten().collect())
    }

    /// Settles the ends of several events as [`Self::settle`] does each, all in one commit: of a thousand events that end together, each would
    /// wait for a disk of its own. Returns what was accepted of each, in their order.
    ///
    /// # Errors
    /// As [`Self::settle`]; then nothing of any was settled.
    pub fn settle_many(
        &mut self,
        cell: &CellId,
        ends: &[(&Identity, &Settlement)],
        actor: &str,
    ) -> Result<Vec<Vec<Message>>, RegistryError> {
        self.write(actor, |write| {
            let Some(mut who) = Who::of(write, cell)? else {
                return write.refuse(Action::Send, cell, RegistryError::NotFound(cell.clone()));
            };
            // Also in a closing cell, whose last events end; and in a proposed one, whose first are the starts of its agents.
            if matches!(who.cell.state, State::Destroyed { .. }) {
                return write.refuse(Action::Send, cell, no_mail(cell, &who.cell.state));
            }
            let one = |(receiver, settlement): &(&Identity, &Settlement)| settle_one(write, &mut who, cell, receiver, settlement);
            ends.iter().map(one).collect::<Result<_, _>>().map(Verdict::Granted)
        })
    }
}

fn settle_one(
    write: &Write<'_, '_>,
    who: &mut Who<'_, '_, '_>,
    cell: &CellId,
    receiver: &Identity,
    settlement: &Settlement,
) -> Result<Vec<Message>, RegistryError> {
    acknowledge(write, cell, receiver, &settlement.handled)?;
    for failed in &settlement.failed {
        fail(write, cell, receiver, failed)?;
    }
    let mut sent = Vec::with_capacity(settlement.sent.len());
    for draft in &settlement.sent {
        match who.objection(draft)? {
            None => sent.push(take(write, cell, draft)?),
            Some(error) => write.audit(Action::Send, Phase::Refused, cell, &format!("{error}: {}", described(draft)))?,
        }
    }
    Ok(sent)
}

/// Numbers what is settled: the handled of a cell, or the parked.
struct Numbers<'w, 'c, 'a> {
    write: &'w Write<'c, 'a>,
    cell: &'w CellId,
    state: &'static str,
    last: i64,
}

impl<'w, 'c, 'a> Numbers<'w, 'c, 'a> {
    fn of(write: &'w Write<'c, 'a>, cell: &'w CellId, state: &'static str) -> Result<Self, RegistryError> {
        let cannot = RegistryError::while_doing("number a message");
        let sql = "SELECT settled_no FROM messages WHERE cell_id = ?1 AND state = ?2 AND settled_no IS NOT NULL
            ORDER BY settled_no DESC LIMIT 1";
        let mut select = write.tx.prepare_cached(sql).map_err(cannot)?;
        let last = select.query_row([cell.as_str(), state], |row| row.get(0)).optional().map_err(cannot)?.unwrap_or(0);
        Ok(Self { write, cell, state, last })
    }

    /// Removes the oldest, so that only `most` stay.
    fn keep(self, most: u64) -> Result<(), RegistryError> {
        let until = self.last.saturating_sub_unsigned(most);
        if until <= 0 {
            return Ok(());
        }
        let cannot = RegistryError::while_doing("remove old messages");
        let sql = "DELETE FROM messages WHERE cell_id = ?1 AND state = ?2 AND settled_no <= ?3";
        let values = params![self.cell.as_str(), self.state, until];
        self.write.tx.prepare_cached(sql).and_then(|mut delete| delete.execute(values)).map_err(cannot)?;
        Ok(())
    }
}

fn acknowledge(write: &Write<'_, '_>, cell: &CellId, receiver: &Identity, handled: &[MessageId]) -> Result<(), RegistryError> {
    if handled.is_empty() {
        return Ok(());
    }
    let cannot = RegistryError::while_doing("acknowledge a message");
    let mut numbers = Numbers::of(write, cell, "handled")?;
    let sql = "UPDATE messages SET state = 'handled', not_before = NULL, why = NULL, settled_at = ?4, settled_no = ?5
        WHERE message_id = ?1 AND cell_id = ?2 AND receiver = ?3 AND state = 'waiting'";
    let mut update = write.tx.prepare_cached(sql).map_err(cannot)?;
    let name = columns::identity(receiver)?;
    let mut ids: Vec<&str> = Vec::new();
    for id in handled {
        let values = params![id.as_str(), cell.as_str(), name, write.at.timestamp_micros(), numbers.last + 1];
        if update.execute(values).map_err(cannot)? == 1 {
            numbers.last += 1;
            ids.push(id.as_str());
        }
    }
    if !ids.is_empty() {
        let detail = format!("{} messages for {receiver} are handled: {}", ids.len(), ids.join(" "));
        // A person decides to; an agent's handler has returned.
        if write.actor.starts_with("human:") {
            write.audit(Action::Inbox, Phase::Intent, cell, &detail)?;
        }
        write.audit(Action::Inbox, Phase::Done, cell, &detail)?;
    }
    numbers.keep(HANDLED_MOST)
}

fn fail(write: &Write<'_, '_>, cell: &CellId, receiver: &Identity, failed: &FailedDelivery) -> Result<(), RegistryError> {
    let why = one_line(&failed.why, columns::MESSAGE_MOST_BYTES);
    let (id, name) = (failed.id.as_str(), columns::identity(receiver)?);
    match failed.retry_at {
        Some(at) => {
            let cannot = RegistryError::while_doing("put a message back");
            let sql = "UPDATE messages SET failures = failures + 1, not_before = ?4, why = ?5
                WHERE message_id = ?1 AND cell_id = ?2 AND receiver = ?3 AND state = 'waiting'";
            let values = params![id, cell.as_str(), name, columns::kept(at).timestamp_micros(), why];
            write.tx.prepare_cached(sql).and_then(|mut update| update.execute(values)).map_err(cannot)?;
            Ok(())
        }
        None => {
            let cannot = RegistryError::while_doing("park a message");
            let mut numbers = Numbers::of(write, cell, "parked")?;
            numbers.last += 1;
            let sql = "UPDATE messages SET state = 'parked', failures = failures + 1, not_before = NULL, why = ?4, settled_at = ?5,
                    settled_no = ?6
                WHERE message_id = ?1 AND cell_id = ?2 AND receiver = ?3 AND state = 'waiting' RETURNING sender";
            let values = params![id, cell.as_str(), name, why, write.at.timestamp_micros(), numbers.last];
            let mut update = write.tx.prepare_cached(sql).map_err(cannot)?;
            let Some(sender) = update.query_row(values, |row| row.get::<_, String>(0)).optional().map_err(cannot)? else { return Ok(()) };
            write.audit(Action::Send, Phase::Failed, cell, &format!("{id} from {sender} to {receiver} is parked: {why}"))?;
            numbers.keep(PARKED_MOST)
        }
    }
}

/// Parks what waits for somebody who leaves a cell. Returns how many messages that were.
pub(in crate::registry) fn park_for(write: &Write<'_, '_>, cell: &CellId, receiver: &Identity) -> Result<u64, RegistryError> {
    let cannot = RegistryError::while_doing("park the messages for a member");
    let mut numbers = Numbers::of(write, cell, "parked")?;
    let name = columns::identity(receiver)?;
    let places: Vec<i64> = {
        let sql = "SELECT place FROM messages WHERE cell_id = ?1 AND receiver = ?2 AND state = 'waiting' ORDER BY +place";
        let mut select = write.tx.prepare_cached(sql).map_err(cannot)?;
        let rows = select.query_map([cell.as_str(), &name], |row| row.get(0)).map_err(cannot)?;
        rows.collect::<Result<_, _>>().map_err(cannot)?
    };
    let why = format!("{receiver} left the cell");
    let sql = "UPDATE messages SET state = 'parked', not_before = NULL, why = ?2, settled_at = ?3, settled_no = ?4 WHERE place = ?1";
    let mut update = write.tx.prepare_cached(sql).map_err(cannot)?;
    for place in &places {
        numbers.last += 1;
        update.execute(params![place, why, write.at.timestamp_micros(), numbers.last]).map_err(cannot)?;
    }
    numbers.keep(PARKED_MOST)?;
    Ok(places.len() as u64)
}

/// Removes every message of a cell that is destroyed.
pub(in crate::registry) fn forget_all(write: &Write<'_, '_>, cell: &CellId) -> Result<(), RegistryError> {
    let cannot = RegistryError::while_doing("remove the messages of a cell");
    let sql = "DELETE FROM messages WHERE cell_id = ?1";
    write.tx.prepare_cached(sql).and_then(|mut delete| delete.execute([cell.as_str()])).map_err(cannot)?;
    Ok(())
}
