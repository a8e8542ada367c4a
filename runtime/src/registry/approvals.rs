//! What was approved of each agent definition: a history, of which the newest row of an agent counts.

use chrono::{DateTime, Utc};
use rusqlite::{OptionalExtension, Row, params};

use super::{
    ReadRegistry, Registry, RegistryError, audit_log,
    columns::Cursor,
    write::{Verdict, Write},
};
use crate::{
    agent::{Digest, GRANTS_MOST_BYTES, Terms},
    audit::{Action, Draft, Phase},
    cell::AgentName,
};

/// How something came to be approved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ApprovedBy {
    /// By installing it.
    Adding,
    /// By `lazarus agent approve`.
    Word,
    /// By a release without approvals, which installed it.
    OlderRelease,
}

impl ApprovedBy {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Adding => "add",
            Self::Word => "approve",
            Self::OlderRelease => "adopt",
        }
    }

    /// The action in the audit: installing is consent, and is audited as what it is.
    const fn phrase(self) -> &'static str {
        match self {
            Self::Adding => "by adding it",
            Self::Word => "by word",
            Self::OlderRelease => "as a release without approvals had installed it",
        }
    }
}

/// The newest word on an agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// These terms are approved.
    Approved {
        /// What.
        terms: Box<Terms>,
        /// When.
        at: DateTime<Utc>,
        /// By whom: an identity as text.
        by: String,
    },
    /// It was removed: nothing is approved.
    Removed,
}

/// How a removal is stored.
const REMOVED: &str = "remove";

impl Registry {
    /// Records that terms are approved, with the audit row: one commit.
    ///
    /// # Errors
    /// Grants that are larger than any definition's; or the registry cannot be written to. Then they are not approved.
    pub fn approve(&mut self, agent: &AgentName, terms: &Terms, how: ApprovedBy, actor: &str) -> Result<(), RegistryError> {
        let grants = serde_json::to_string(&terms.grants).map_err(|_| RegistryError::OutOfRange("an agent's grants"))?;
        if grants.len() > GRANTS_MOST_BYTES {
            return Err(RegistryError::OutOfRange("an agent's grants"));
        }
        let text = |digest: Option<Digest>| digest.map(|digest| digest.to_string());
        let digests = [Some(terms.definition), terms.component, terms.template].map(text);
        self.write(actor, |write| {
            insert(write, agent, how.as_str(), &digests, Some(&grants))?;
            let [definition, component, template] = &digests;
            let mut detail = format!("{agent} {}: definition {}", how.phrase(), definition.as_deref().unwrap_or_default());
            for (what, digest) in [("component", component), ("template", template)] {
                if let Some(digest) = digest {
                    detail.push_str(&format!(", {what} {digest}"));
                }
            }
            audit_log::append(&write.tx, Draft::new(write.actor, Action::AgentApprove, Phase::Done, None, &detail), write.at)?;
            Ok(Verdict::Granted(()))
        })
    }

    /// Records that a definition was removed, with the audit row: one commit. What was approved of it stays in the history, and counts no more.
    ///
    /// # Errors
    /// The registry cannot be written to.
    pub fn forget_approval(&mut self, agent: &AgentName, actor: &str) -> Result<(), RegistryError> {
        self.write(actor, |write| {
            insert(write, agent, REMOVED, &[None, None, None], None)?;
            let draft = Draft::new(write.actor, Action::AgentRemove, Phase::Done, None, agent.as_str());
            audit_log::append(&write.tx, draft, write.at)?;
            Ok(Verdict::Granted(()))
        })
    }
}

fn insert(
    write: &Write<'_, '_>,
    agent: &AgentName,
    how: &str,
    digests: &[Option<String>; 3],
    grants: Option<&str>,
) -> Result<(), RegistryError> {
    let cannot = RegistryError::while_doing("store an approval");
    let sql = "INSERT INTO approvals (seq, agent, at, actor, how, definition, component, template, grants)
        VALUES ((SELECT ifnull(max(seq), 0) + 1 FROM approvals), ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
    let [definition, component, template] = digests;
    let values = params![agent.as_str(), write.at.timestamp_micros(), write.actor, how, definition, component, template, grants];
    write.tx.prepare_cached(sql).and_then(|mut insert| insert.execute(values)).map_err(cannot)?;
    Ok(())
}

impl ReadRegistry {
    /// Returns the newest word on an agent; `None` if there never was one.
    ///
    /// # Errors
    /// The row makes no sense, or the registry cannot be read.
    pub fn standing(&self, agent: &AgentName) -> Result<Option<Standing>, RegistryError> {
        let cannot = RegistryError::while_doing("read approvals");
        let sql =
            "SELECT at, actor, how, definition, component, template, grants FROM approvals WHERE agent = ?1 ORDER BY seq DESC LIMIT 1";
        self.snapshot(|snapshot| {
            let mut select = snapshot.prepare_cached(sql).map_err(cannot)?;
            let row = select.query_row([agent.as_str()], |row| Ok(standing(row))).optional().map_err(cannot)?;
            row.transpose().map_err(|what| RegistryError::CorruptApproval { agent: agent.clone(), what })
        })
    }
}

/// Returns what a row says: all columns at once, and nothing else is accepted.
fn standing(row: &Row<'_>) -> Result<Standing, String> {
    let mut row = Cursor::new(row);
    let at = row.time("at")?;
    let by: String = row.take("actor")?;
    let how: String = row.take("how")?;
    let mut digest = |column| match row.take::<Option<String>>(column)? {
        None => Ok(None),
        Some(text) => Digest::parse(&text).map(Some).ok_or_else(|| format!("{column}: no digest")),
    };
    let (definition, component, template) = (digest("definition")?, digest("component")?, digest("template")?);
    let grants: Option<String> = row.take("grants")?;
    let grants = grants.map(|json| serde_json::from_str(&json)).transpose().map_err(|error| format!("grants: {error}"))?;
    match (how.as_str(), definition, component, template, grants) {
        (REMOVED, None, None, None, None) => Ok(Standing::Removed),
        ("add" | "approve" | "adopt", Some(definition), component, template, Some(grants)) => {
            Ok(Standing::Approved { terms: Box::new(Terms { definition, component, template, grants }), at, by })
        }
        (how, ..) => Err(format!("no approval is {how:?} with such columns")),
    }
}
