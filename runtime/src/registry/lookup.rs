//! Looking up one thing of a cell, for commands that must not read a thousand members for the sake of two.

use rusqlite::{OptionalExtension, params};

use super::{ReadRegistry, RegistryError, read, tokens};
use crate::cell::{AgentName, CellId, Identity, Member, Record};

impl ReadRegistry {
    /// Returns a cell without its members (the list is empty); `None` if there never was one of that id.
    ///
    /// # Errors
    /// The row is corrupt, or the registry cannot be read.
    pub fn cell_alone(&self, cell: &CellId) -> Result<Option<Record>, RegistryError> {
        self.snapshot(|snapshot| read::without_members(snapshot, cell))
    }

    /// Returns a present member of a cell.
    ///
    /// # Errors
    /// The row is corrupt, or the registry cannot be read.
    pub fn member(&self, cell: &CellId, identity: &Identity) -> Result<Option<Member>, RegistryError> {
        self.snapshot(|snapshot| tokens::present(snapshot, cell, identity))
    }

    /// Returns how many messages may wait for an agent: the limit that it was given when it was started; `None` where it does not
    /// run.
    ///
    /// # Errors
    /// The registry cannot be read.
    pub fn messages_limit(&self, cell: &CellId, agent: &AgentName) -> Result<Option<u32>, RegistryError> {
        let cannot = RegistryError::while_doing("look for a run");
        let sql = "SELECT json_extract(report, '$.policy.limits.messages') FROM runs 
            WHERE cell_id = ?1 AND agent = ?2 AND ended_at IS NULL";
        self.snapshot(|snapshot| {
            let mut select = snapshot.prepare_cached(sql).map_err(cannot)?;
            let limit = select.query_row(params![cell.as_str(), agent.as_str()], |row| row.get::<_, Option<u32>>(0));
            Ok(limit.optional().map_err(cannot)?.flatten())
        })
    }

    /// Counts the messages that wait in a cell, for each receiver that has some.
    ///
    /// # Errors
    /// A row is corrupt, or the registry cannot be read.
    pub fn waiting_by_receiver(&self, cell: &CellId) -> Result<Vec<(Identity, u64)>, RegistryError> {
        let cannot = RegistryError::while_doing("count messages");
        let sql = "SELECT receiver, count(*) FROM messages WHERE cell_id = ?1 AND state = 'waiting' GROUP BY receiver";
        self.snapshot(|snapshot| {
            let mut select = snapshot.prepare_cached(sql).map_err(cannot)?;
            let mut rows = select.query([cell.as_str()]).map_err(cannot)?;
            let mut counts = Vec::new();
            while let Some(row) = rows.next().map_err(cannot)? {
                let (receiver, count): (String, i64) = (row.get(0).map_err(cannot)?, row.get(1).map_err(cannot)?);
                let corrupt = |error| RegistryError::Corrupt { cell: cell.to_string(), what: format!("a message: failed to {error}") };
                counts.push((receiver.parse().map_err(corrupt)?, count.unsigned_abs()));
            }
            Ok(counts)
        })
    }
}
