//! Messages that are sent outside of an event: by a person, by a process agent, by the operator.

use std::{collections::HashMap, fmt::Write as _};

use rusqlite::params;
use sha2::{Digest, Sha256};

use super::{row, who::Who};
use crate::{
    audit::{Action, Phase},
    cell::{CellId, Identity, Refusal, State},
    mail::{Draft, Message},
    registry::{
        Registry, RegistryError, columns,
        write::{Verdict, Write},
    },
};

/// Within this, a full mailbox has one row.
const LIMIT_ROW_EVERY: chrono::TimeDelta = chrono::TimeDelta::minutes(1);
/// How far back that row is looked for: further than a minute of refusals reaches, and soon done.
const LIMIT_ROWS_LOOKED_AT: u32 = 1000;

impl Registry {
    /// Accepts messages outside of an event: all in one commit, or none. Each has an audit row. Returns them as stored, with attempt 0.
    ///
    /// `most_waiting`: the messages that may wait for one receiver, these included. A message that was accepted before, id and all, counts
    /// as accepted, and is not audited again.
    ///
    /// # Errors
    /// No such cell, one that is neither active nor idle, [`RegistryError::NoSender`], [`RegistryError::NoReceiver`] or
    /// [`RegistryError::MailboxFull`], each audited; [`RegistryError::MessageIdTaken`].
    pub fn accept(&mut self, cell: &CellId, drafts: &[Draft], most_waiting: u32, actor: &str) -> Result<Vec<Message>, RegistryError> {
        self.write(actor, |write| {
            let refuse = |error| write.refuse(Action::Send, cell, error);
            let Some(mut who) = Who::of(write, cell)? else { return refuse(RegistryError::NotFound(cell.clone())) };
            match who.cell.state {
                State::Active | State::Idle => {}
                State::Proposed | State::Closing { .. } | State::Closed { .. } | State::Failed { .. } | State::Destroyed { .. } => {
                    return refuse(no_mail(cell, &who.cell.state));
                }
            }
            let mut waiting: HashMap<&Identity, u32> = HashMap::new();
            for draft in drafts {
                if let Some(error) = who.objection(draft)? {
                    return refuse(error);
                }
                let waiting = match waiting.get_mut(&draft.receiver) {
                    Some(waiting) => waiting,
                    None => waiting.entry(&draft.receiver).or_insert(waiting_for(write, cell, &draft.receiver, most_waiting)?),
                };
                if *waiting >= most_waiting {
                    limit_hit(write, cell, &draft.receiver)?;
                    return refuse(RegistryError::MailboxFull { cell: cell.clone(), receiver: draft.receiver.clone(), most: most_waiting });
                }
                *waiting += 1;
            }
            let stored = drafts.iter().map(|draft| row::insert(write, cell, draft)).collect::<Result<Vec<_>, _>>()?;
            let new: Vec<&Draft> = drafts.iter().zip(&stored).filter(|(_, (_, is_new))| *is_new).map(|(draft, _)| draft).collect();
            if !new.is_empty() {
                let receivers: Vec<String> = new.iter().map(|draft| draft.receiver.to_string()).collect();
                // In the commit that it speaks of: whoever finds the one finds the other, and it costs no wait for the disk.
                write.audit(Action::Send, Phase::Intent, cell, &format!("{} messages to {}", new.len(), receivers.join(" ")))?;
            }
            new.into_iter().try_for_each(|draft| write.audit(Action::Send, Phase::Done, cell, &described(draft)))?;
            Ok(Verdict::Granted(stored.into_iter().map(|(message, _)| message).collect()))
        })
    }
}

/// Writes down that a receiver's mailbox is full, unless that was written within the last minute. The refusal itself has a row of its own.
fn limit_hit(write: &Write<'_, '_>, cell: &CellId, receiver: &Identity) -> Result<(), RegistryError> {
    let begins = format!("{receiver}: limit messages");
    let since = (write.at - LIMIT_ROW_EVERY).timestamp_micros();
    let cannot = RegistryError::while_doing("look for a limit's row");
    // From the newest backwards, as far as the minute reaches.
    let sql = "SELECT EXISTS (SELECT 1 FROM (SELECT at, cell_id, action, detail FROM audit ORDER BY seq DESC LIMIT ?1)
        WHERE at > ?2 AND cell_id = ?3 AND action = 'limit' AND substr(detail, 1, length(?4)) = ?4)";
    let values = params![LIMIT_ROWS_LOOKED_AT, since, cell.as_str(), begins];
    let is_written: bool =
        write.tx.prepare_cached(sql).and_then(|mut select| select.query_row(values, |row| row.get(0))).map_err(cannot)?;
    if is_written {
        return Ok(());
    }
    write.audit(Action::Limit, Phase::Done, cell, &format!("{begins}, a message was refused (there is at most one row a minute)"))
}

/// The refusal of messages by a cell in such a state.
pub(super) fn no_mail(cell: &CellId, state: &State) -> RegistryError {
    RegistryError::Refused { cell: cell.clone(), refusal: Refusal { state: state.name(), asks_to: "take messages" } }
}

/// Writes a message that nothing speaks against, with its audit row.
pub(super) fn take(write: &Write<'_, '_>, cell: &CellId, draft: &Draft) -> Result<Message, RegistryError> {
    let (message, is_new) = row::insert(write, cell, draft)?;
    if is_new {
        write.audit(Action::Send, Phase::Done, cell, &described(draft))?;
    }
    Ok(message)
}

/// A message as it is audited: everything but its text.
pub(super) fn described(draft: &Draft) -> String {
    let Draft { id, sender, receiver, text, .. } = draft;
    let mut digest = String::new();
    for byte in Sha256::digest(text.as_str().as_bytes()).iter().take(8) {
        // Writing to a String cannot fail.
        let _ = write!(digest, "{byte:02x}");
    }
    format!("{id} from {sender} to {receiver}, {} bytes, sha256 {digest}", text.as_str().len())
}

/// Counts what waits for a receiver, as far as it matters.
fn waiting_for(write: &Write<'_, '_>, cell: &CellId, receiver: &Identity, most: u32) -> Result<u32, RegistryError> {
    let cannot = RegistryError::while_doing("count waiting messages");
    let sql = "SELECT count(*) FROM (SELECT 1 FROM messages WHERE cell_id = ?1 AND receiver = ?2 AND state = 'waiting' LIMIT ?3)";
    let mut select = write.tx.prepare_cached(sql).map_err(cannot)?;
    select.query_row(params![cell.as_str(), columns::identity(receiver)?, most], |row| row.get(0)).map_err(cannot)
}
