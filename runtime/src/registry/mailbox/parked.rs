//! What becomes of a parked message: somebody who leads the cell decides.

use rusqlite::{OptionalExtension, params};

use super::{MailState, accept::no_mail, row, who::Who};
use crate::{
    audit::{Action, Phase},
    cell::{CellId, State},
    mail::{Message, MessageId},
    registry::{
        Registry, RegistryError,
        write::{Verdict, Write},
    },
};

impl Registry {
    /// Lets a parked message wait again, in the place that it had. The deliveries that failed stay counted: its next one is told which it is.
    /// Returns the message.
    ///
    /// # Errors
    /// No such cell, one that is neither active nor idle, [`RegistryError::NotParked`], or [`RegistryError::NoReceiver`]; each is audited.
    pub fn retry_parked(&mut self, cell: &CellId, id: &MessageId, actor: &str) -> Result<Message, RegistryError> {
        self.write(actor, |write| {
            let refuse = |error| write.refuse(Action::Inbox, cell, error);
            let Some(mut who) = Who::of(write, cell)? else { return refuse(RegistryError::NotFound(cell.clone())) };
            if !matches!(who.cell.state, State::Active | State::Idle) {
                return refuse(no_mail(cell, &who.cell.state));
            }
            let Some(message) = parked(write, cell, id)? else {
                return refuse(RegistryError::NotParked { cell: cell.clone(), id: id.clone() });
            };
            if !who.may_receive(&message.receiver)? {
                return refuse(RegistryError::NoReceiver { cell: cell.clone(), identity: message.receiver });
            }
            let cannot = RegistryError::while_doing("put a parked message back");
            let sql = "UPDATE messages SET state = 'waiting', not_before = NULL, why = NULL, settled_at = NULL, settled_no = NULL
                WHERE message_id = ?1 AND cell_id = ?2 AND state = 'parked'";
            write.tx.prepare_cached(sql).and_then(|mut update| update.execute(params![id.as_str(), cell.as_str()])).map_err(cannot)?;
            write.audit(Action::Inbox, Phase::Done, cell, &format!("{id} for {} waits again", message.receiver))?;
            Ok(Verdict::Granted(message))
        })
    }

    /// Removes a parked message. The audit keeps its digest. Returns the message.
    ///
    /// # Errors
    /// No such cell, or [`RegistryError::NotParked`]; each is audited.
    pub fn discard_parked(&mut self, cell: &CellId, id: &MessageId, actor: &str) -> Result<Message, RegistryError> {
        self.write(actor, |write| {
            let refuse = |error| write.refuse(Action::Inbox, cell, error);
            if Who::of(write, cell)?.is_none() {
                return refuse(RegistryError::NotFound(cell.clone()));
            }
            let Some(message) = parked(write, cell, id)? else {
                return refuse(RegistryError::NotParked { cell: cell.clone(), id: id.clone() });
            };
            let cannot = RegistryError::while_doing("remove a parked message");
            let sql = "DELETE FROM messages WHERE message_id = ?1 AND cell_id = ?2 AND state = 'parked' RETURNING place";
            let mut delete = write.tx.prepare_cached(sql).map_err(cannot)?;
            delete.query_row(params![id.as_str(), cell.as_str()], |row| row.get::<_, i64>(0)).optional().map_err(cannot)?;
            write.audit(Action::Inbox, Phase::Done, cell, &format!("{id} for {} is discarded", message.receiver))?;
            Ok(Verdict::Granted(message))
        })
    }
}

fn parked(write: &Write<'_, '_>, cell: &CellId, id: &MessageId) -> Result<Option<Message>, RegistryError> {
    Ok(row::by_id(&write.tx, cell, id)?.and_then(|row| match row.state {
        MailState::Parked { .. } => Some(row.message),
        MailState::Waiting { .. } | MailState::Handled { .. } => None,
    }))
}
