//! Who may send into a cell and who may be sent to, as far as the registry knows: asked in the transaction that writes.

use std::collections::HashMap;

use rusqlite::{OptionalExtension, params};

use crate::{
    cell::{CellId, Identity, Record},
    mail::{Draft, MessageId},
    registry::{RegistryError, columns, read, write::Write},
};

/// How somebody stands to a cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// A present member, or the owner.
    Inside,
    /// A member once, and no more.
    Left,
    /// Never a member.
    Stranger,
}

/// The senders and receivers of one transaction, each looked up once.
pub(super) struct Who<'w, 'c, 'a> {
    write: &'w Write<'c, 'a>,
    pub cell: Record,
    known: HashMap<Identity, Standing>,
}

impl<'w, 'c, 'a> Who<'w, 'c, 'a> {
    /// Returns `None` if there is no such cell.
    pub(super) fn of(write: &'w Write<'c, 'a>, cell: &CellId) -> Result<Option<Self>, RegistryError> {
        Ok(read::without_members(&write.tx, cell)?.map(|cell| Self { write, cell, known: HashMap::new() }))
    }

    /// Says why a draft may not become a message, if it may not.
    ///
    /// The sender is a member or the owner, or the person whose command this is. The receiver is a member or the owner, or the person who is
    /// answered. Whoever was a member once, and is none now, is neither.
    pub(super) fn objection(&mut self, draft: &Draft) -> Result<Option<RegistryError>, RegistryError> {
        let cell = self.cell.proposal.cell_id.clone();
        let sends = match self.standing(&draft.sender)? {
            Standing::Inside => true,
            Standing::Left => false,
            Standing::Stranger => is_human(&draft.sender) && draft.sender.to_string() == self.write.actor,
        };
        if !sends {
            return Ok(Some(RegistryError::NoSender { cell, identity: draft.sender.clone() }));
        }
        let receives = match self.standing(&draft.receiver)? {
            Standing::Inside => true,
            Standing::Left => false,
            Standing::Stranger => is_human(&draft.receiver) && self.is_answer(draft)?,
        };
        Ok((!receives).then(|| RegistryError::NoReceiver { cell, identity: draft.receiver.clone() }))
    }

    /// Whether somebody may still be sent to: a member, the owner, or a person who never was a member and wrote from outside.
    pub(super) fn may_receive(&mut self, identity: &Identity) -> Result<bool, RegistryError> {
        Ok(match self.standing(identity)? {
            Standing::Inside => true,
            Standing::Left => false,
            Standing::Stranger => is_human(identity),
        })
    }

    fn standing(&mut self, identity: &Identity) -> Result<Standing, RegistryError> {
        if let Some(known) = self.known.get(identity) {
            return Ok(*known);
        }
        let standing = if *identity == self.cell.proposal.owner || self.is_member(identity, "revoked_at IS NULL")? {
            Standing::Inside
        } else if self.is_member(identity, "revoked_at IS NOT NULL")? {
            Standing::Left
        } else {
            Standing::Stranger
        };
        self.known.insert(identity.clone(), standing);
        Ok(standing)
    }

    /// The condition is that of an index, word for word.
    fn is_member(&self, identity: &Identity, condition: &str) -> Result<bool, RegistryError> {
        let cannot = RegistryError::while_doing("look for a member");
        let sql = format!("SELECT 1 FROM members WHERE cell_id = ?1 AND identity = ?2 AND {condition} LIMIT 1");
        let values = params![self.cell.proposal.cell_id.as_str(), columns::identity(identity)?];
        let mut select = self.write.tx.prepare_cached(&sql).map_err(cannot)?;
        Ok(select.query_row(values, |_| Ok(())).optional().map_err(cannot)?.is_some())
    }

    /// Whether a draft answers a message that its receiver sent to its sender.
    fn is_answer(&self, draft: &Draft) -> Result<bool, RegistryError> {
        let cannot = RegistryError::while_doing("look for the message that is answered");
        let Some(answered) = &draft.in_reply_to else { return Ok(false) };
        let sql = "SELECT 1 FROM messages WHERE message_id = ?1 AND cell_id = ?2 AND sender = ?3 AND receiver = ?4";
        let values = params![
            MessageId::as_str(answered),
            self.cell.proposal.cell_id.as_str(),
            columns::identity(&draft.receiver)?,
            columns::identity(&draft.sender)?
        ];
        let mut select = self.write.tx.prepare_cached(sql).map_err(cannot)?;
        Ok(select.query_row(values, |_| Ok(())).optional().map_err(cannot)?.is_some())
    }
}

fn is_human(identity: &Identity) -> bool {
    matches!(identity, Identity::Human(_))
}
