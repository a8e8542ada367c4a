//! Messages as rows, and rows as messages.

use chrono::{DateTime, Utc};
use rusqlite::{OptionalExtension, Row, params};

use super::{MailRow, MailState};
use crate::{
    cell::CellId,
    mail::{Draft, Message, MessageId},
    registry::{RegistryError, columns, columns::Cursor, row::named_by, write::Write},
};

/// The columns of a message, in the order in which [`mail_row`] takes them.
pub(super) const COLUMNS: &str =
    "cell_id, message_id, sender, receiver, in_reply_to, sent_at, state, failures, not_before, why, settled_at, settled_no, text";

/// Returns what a row of [`COLUMNS`] says.
pub(super) fn mail_row(row: &Row<'_>) -> Result<MailRow, RegistryError> {
    read(&mut Cursor::new(row)).map_err(|what| RegistryError::Corrupt { cell: named_by(row), what: format!("a message: {what}") })
}

/// Returns a message that is only shown.
pub(super) fn shown(row: &Row<'_>) -> Result<Message, RegistryError> {
    Ok(Message { attempt: 0, ..mail_row(row)?.message })
}

fn read(row: &mut Cursor<'_, '_>) -> Result<MailRow, String> {
    let _cell: String = row.take("cell_id")?;
    let (id, sender, receiver) = (row.parse("message_id")?, row.parse("sender")?, row.parse("receiver")?);
    let in_reply_to = match row.take::<Option<String>>("in_reply_to")? {
        Some(id) => Some(id.parse().map_err(|error| format!("in_reply_to: failed to {error}"))?),
        None => None,
    };
    let sent_at = row.time("sent_at")?;
    let state: String = row.take("state")?;
    let failures: u32 = row.count("failures")?;
    let (state, ended) = state_of(&state, row)?;
    let text = row.take::<String>("text")?.try_into().map_err(|error: crate::mail::TextError| format!("text: failed to {error}"))?;
    let attempt = failures.saturating_add(u32::from(ended));
    Ok(MailRow { message: Message { id, sender, receiver, text, in_reply_to, sent_at, attempt }, state })
}

/// Returns the state that the columns say, all of them at once, and whether its last delivery ended well.
fn state_of(state: &str, row: &mut Cursor<'_, '_>) -> Result<(MailState, bool), String> {
    let time = |column: &str, at| DateTime::from_timestamp_micros(at).ok_or_else(|| format!("{column}: {at} is no time"));
    let columns: (Option<i64>, Option<String>, Option<i64>, Option<i64>) =
        (row.take("not_before")?, row.take("why")?, row.take("settled_at")?, row.take("settled_no")?);
    match (state, columns) {
        ("waiting", (None, None, None, None)) => Ok((MailState::Waiting { not_before: None, last_why: None }, false)),
        ("waiting", (Some(at), Some(why), None, None)) => {
            Ok((MailState::Waiting { not_before: Some(time("not_before", at)?), last_why: Some(why) }, false))
        }
        ("handled", (None, None, Some(at), Some(_))) => Ok((MailState::Handled { at: time("settled_at", at)? }, true)),
        ("parked", (None, Some(why), Some(at), Some(_))) => Ok((MailState::Parked { at: time("settled_at", at)?, why }, false)),
        other => Err(format!("no state is {other:?}")),
    }
}

/// Writes a message. The same one again is no error, and changes nothing: returns what is stored, and whether it is new.
pub(super) fn insert(write: &Write<'_, '_>, cell: &CellId, draft: &Draft) -> Result<(Message, bool), RegistryError> {
    let sql = "INSERT INTO messages (cell_id, message_id, sender, receiver, in_reply_to, sent_at, state, failures, text)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, 'waiting', 0, ?7) ON CONFLICT (message_id) DO NOTHING";
    let values = params![
        cell.as_str(),
        draft.id.as_str(),
        columns::identity(&draft.sender)?,
        columns::identity(&draft.receiver)?,
        draft.in_reply_to.as_ref().map(MessageId::as_str),
        write.at.timestamp_micros(),
        draft.text.as_str(),
    ];
    let cannot = RegistryError::while_doing("store a message");
    if write.tx.prepare_cached(sql).and_then(|mut insert| insert.execute(values)).map_err(cannot)? == 1 {
        return Ok((message(draft, write.at), true));
    }
    let known = by_id(&write.tx, cell, &draft.id)?.map(|row| Message { attempt: 0, ..row.message });
    match known {
        Some(known) if message(draft, known.sent_at) == known => Ok((known, false)),
        Some(_) | None => Err(RegistryError::MessageIdTaken(draft.id.clone())),
    }
}

fn message(draft: &Draft, sent_at: DateTime<Utc>) -> Message {
    let Draft { id, sender, receiver, text, in_reply_to } = draft.clone();
    Message { id, sender, receiver, text, in_reply_to, sent_at, attempt: 0 }
}

/// Returns a message of a cell.
pub(super) fn by_id(connection: &rusqlite::Connection, cell: &CellId, id: &MessageId) -> Result<Option<MailRow>, RegistryError> {
    let cannot = RegistryError::while_doing("read a message");
    let sql = format!("SELECT {COLUMNS} FROM messages WHERE message_id = ?1 AND cell_id = ?2");
    let mut select = connection.prepare_cached(&sql).map_err(cannot)?;
    select.query_row([id.as_str(), cell.as_str()], |row| Ok(mail_row(row))).optional().map_err(cannot)?.transpose()
}
