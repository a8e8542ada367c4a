//! Reading messages: one, the history of a cell, inboxes.

use rusqlite::{OptionalExtension, Params, Row, params};

use super::{InboxFilter, MailCounts, MailRow, row, row::COLUMNS};
use crate::{
    cell::{CellId, Identity},
    mail::{Message, MessageId},
    registry::{ReadRegistry, RegistryError, columns},
};

/// The history of a cell from a place on, all of it or that of one member.
pub(in crate::registry) fn history_sql() -> String {
    format!(
        "SELECT {COLUMNS} FROM messages WHERE cell_id = ?1 AND place > ?2 AND (?3 IS NULL OR sender = ?3 OR receiver = ?3)
        ORDER BY place LIMIT ?4"
    )
}

/// The messages of an inbox. The index is named, since SQLite without statistics would walk the whole cell for the sake of the order.
pub(in crate::registry) fn inbox_sql(of_one: bool, states: InboxFilter) -> String {
    let (index, states) = match states {
        InboxFilter::Waiting => ("messages_waiting", "state = 'waiting'"),
        InboxFilter::Parked => ("messages_settled", "state = 'parked' AND settled_no IS NOT NULL"),
        InboxFilter::All => ("messages_of_cell", "TRUE"),
    };
    let receiver = if of_one { "receiver = ?2" } else { "?2 IS NULL" };
    format!("SELECT {COLUMNS} FROM messages INDEXED BY {index} WHERE cell_id = ?1 AND {receiver} AND {states} ORDER BY place")
}

/// How many wait, and how many are parked.
pub(in crate::registry) const COUNTS: &str = "SELECT
    (SELECT count(*) FROM messages INDEXED BY messages_waiting WHERE cell_id = ?1 AND state = 'waiting'),
    (SELECT count(*) FROM messages INDEXED BY messages_settled WHERE cell_id = ?1 AND state = 'parked' AND settled_no IS NOT NULL)";

impl ReadRegistry {
    /// Returns a message and how far it has come; `None` if the cell has none of that id (any more).
    ///
    /// # Errors
    /// The row is corrupt, or the registry cannot be read.
    pub fn mail(&self, cell: &CellId, id: &MessageId) -> Result<Option<MailRow>, RegistryError> {
        self.snapshot(|snapshot| row::by_id(snapshot, cell, id))
    }

    /// Returns the first answer to a message, with attempt 0; `None` while there is none.
    ///
    /// # Errors
    /// The row is corrupt, or the registry cannot be read.
    pub fn answer_to(&self, cell: &CellId, id: &MessageId) -> Result<Option<Message>, RegistryError> {
        let cannot = RegistryError::while_doing("look for an answer");
        let sql = format!(
            "SELECT {COLUMNS} FROM messages WHERE in_reply_to = ?1 AND in_reply_to IS NOT NULL AND cell_id = ?2 ORDER BY place LIMIT 1"
        );
        self.snapshot(|snapshot| {
            let mut select = snapshot.prepare_cached(&sql).map_err(cannot)?;
            select.query_row([id.as_str(), cell.as_str()], |row| Ok(row::shown(row))).optional().map_err(cannot)?.transpose()
        })
    }

    /// Returns messages of a cell in the order in which they were accepted, from the one after `after` on, at most `most`, with attempt 0.
    /// `only_with`: those that this one sent or was sent.
    ///
    /// # Errors
    /// [`RegistryError::NoMessage`]: the cell has no message `after` (any more). A row is corrupt, or the registry cannot be read.
    pub fn history(
        &self,
        cell: &CellId,
        after: Option<&MessageId>,
        most: u32,
        only_with: Option<&Identity>,
    ) -> Result<Vec<Message>, RegistryError> {
        let cannot = RegistryError::while_doing("read messages");
        let only_with = only_with.map(columns::identity).transpose()?;
        let sql = history_sql();
        let of_id = "SELECT place FROM messages WHERE message_id = ?1 AND cell_id = ?2";
        self.snapshot(|snapshot| {
            let place: i64 = match after {
                None => 0,
                Some(id) => {
                    let mut select = snapshot.prepare_cached(of_id).map_err(cannot)?;
                    let place = select.query_row([id.as_str(), cell.as_str()], |row| row.get(0)).optional().map_err(cannot)?;
                    place.ok_or_else(|| RegistryError::NoMessage { cell: cell.clone(), id: id.clone() })?
                }
            };
            all(snapshot, &sql, params![cell.as_str(), place, only_with, most], row::shown)
        })
    }

    /// Returns the messages of a cell, or of one receiver in it, in the order in which they were accepted. There can be as many as the
    /// bounds allow: of each receiver those that may wait, and [`super::HANDLED_MOST`] and [`super::PARKED_MOST`] more.
    ///
    /// # Errors
    /// A row is corrupt, or the registry cannot be read.
    pub fn inbox(&self, cell: &CellId, receiver: Option<&Identity>, states: InboxFilter) -> Result<Vec<MailRow>, RegistryError> {
        let receiver = receiver.map(columns::identity).transpose()?;
        let sql = inbox_sql(receiver.is_some(), states);
        self.snapshot(|snapshot| all(snapshot, &sql, params![cell.as_str(), receiver], row::mail_row))
    }

    /// Counts the messages that wait for a receiver, those that are with it included.
    ///
    /// # Errors
    /// The registry cannot be read.
    pub fn waiting_for(&self, cell: &CellId, receiver: &Identity) -> Result<u32, RegistryError> {
        let cannot = RegistryError::while_doing("count messages");
        let sql = "SELECT count(*) FROM messages WHERE cell_id = ?1 AND receiver = ?2 AND state = 'waiting'";
        let receiver = columns::identity(receiver)?;
        self.snapshot(|snapshot| {
            let mut select = snapshot.prepare_cached(sql).map_err(cannot)?;
            select.query_row(params![cell.as_str(), receiver], |row| row.get(0)).map_err(cannot)
        })
    }

    /// Counts the messages of a cell that are not handled.
    ///
    /// # Errors
    /// The registry cannot be read.
    pub fn mail_counts(&self, cell: &CellId) -> Result<MailCounts, RegistryError> {
        let cannot = RegistryError::while_doing("count messages");
        self.snapshot(|snapshot| {
            let mut select = snapshot.prepare_cached(COUNTS).map_err(cannot)?;
            let count = |row: &Row<'_>, column: usize| row.get(column).map(i64::unsigned_abs);
            select.query_row([cell.as_str()], |row| Ok(MailCounts { waiting: count(row, 0)?, parked: count(row, 1)? })).map_err(cannot)
        })
    }
}

fn all<T>(
    connection: &rusqlite::Connection,
    sql: &str,
    values: impl Params,
    of: impl Fn(&Row<'_>) -> Result<T, RegistryError>,
) -> Result<Vec<T>, RegistryError> {
    let cannot = RegistryError::while_doing("read messages");
    let mut select = connection.prepare_cached(sql).map_err(cannot)?;
    let mut rows = select.query(values).map_err(cannot)?;
    let mut found = Vec::new();
    while let Some(row) = rows.next().map_err(cannot)? {
        found.push(of(row)?);
    }
    Ok(found)
}
