//! Artifacts: the results that agents declared, by name, digest and size. The files are `home`'s.

use chrono::{DateTime, Utc};
use rusqlite::{OptionalExtension, Row, params};

use super::{
    ReadRegistry, Registry, RegistryError, columns,
    columns::Cursor,
    read, row,
    write::{Verdict, Write},
};
use crate::{
    audit::{Action, Phase},
    cell::{AgentName, CellId, Refusal},
    mail::Artifact,
};

/// The artifacts that one agent may have.
pub const ARTIFACTS_MOST: u32 = 64;

/// The longest name of an artifact, in bytes.
pub const ARTIFACT_NAME_MOST_BYTES: usize = 64;

/// A result that was kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptArtifact {
    /// Whose.
    pub agent: AgentName,
    /// What.
    pub artifact: Artifact,
    /// When it was declared, the last time.
    pub declared_at: DateTime<Utc>,
    /// When these bytes were first fetched; `None` while nobody has them.
    pub fetched_at: Option<DateTime<Utc>>,
}

/// Whether an artifact may have such a name: `[A-Za-z0-9._-]{1,64}`, beginning with a letter or a digit.
pub fn is_artifact_name(name: &str) -> bool {
    name.len() <= ARTIFACT_NAME_MOST_BYTES
        && name.bytes().next().is_some_and(|first| first.is_ascii_alphanumeric())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
}

impl Registry {
    /// Notes an artifact whose file is kept already. One of the same agent and name is replaced; it counts as fetched only if its bytes are
    /// the same. Returns the digest that no artifact of the cell has any more, if there is one: its file may go.
    ///
    /// # Errors
    /// No such cell, one in whose state nothing lives, [`RegistryError::ArtifactName`], or [`RegistryError::ArtifactsFull`]; each is audited.
    pub fn keep_artifact(
        &mut self,
        cell: &CellId,
        agent: &AgentName,
        artifact: &Artifact,
        actor: &str,
    ) -> Result<Option<String>, RegistryError> {
        self.write(actor, |write| {
            let refuse = |error| write.refuse(Action::Artifact, cell, error);
            let Some(record) = read::without_members(&write.tx, cell)? else { return refuse(RegistryError::NotFound(cell.clone())) };
            if !record.state.may_live() {
                let refusal = Refusal { state: record.state.name(), asks_to: "keep artifacts" };
                return refuse(RegistryError::Refused { cell: cell.clone(), refusal });
            }
            if !is_artifact_name(&artifact.name) {
                return refuse(RegistryError::ArtifactName { cell: cell.clone(), name: crate::audit::one_line(&artifact.name, 80) });
            }
            let replaced = digest_of(write, cell, agent, &artifact.name)?;
            if replaced.is_none() && count(write, cell, agent)? >= ARTIFACTS_MOST {
                return refuse(RegistryError::ArtifactsFull { cell: cell.clone(), agent: agent.clone(), most: ARTIFACTS_MOST });
            }
            let Artifact { name, sha256, bytes } = artifact;
            // Both in this commit: until it, the copy has no name that anybody finds it by. An intent before it would have an outcome only where
            // the file could be copied, and one for each call that an agent makes in vain.
            write.audit(Action::Artifact, Phase::Intent, cell, &format!("{agent} declares {name}"))?;
            store(write, cell, agent, artifact)?;
            write.audit(Action::Artifact, Phase::Done, cell, &format!("{agent} declares {name}, {bytes} bytes, sha256 {sha256}"))?;
            match replaced.filter(|replaced| replaced != sha256) {
                Some(replaced) if !is_used(write, cell, &replaced)? => Ok(Verdict::Granted(Some(replaced))),
                Some(_) | None => Ok(Verdict::Granted(None)),
            }
        })
    }

    /// Notes that somebody has an artifact now.
    ///
    /// # Errors
    /// No such cell, or [`RegistryError::NoArtifact`]; both are audited.
    pub fn artifact_fetched(&mut self, cell: &CellId, agent: &AgentName, name: &str, actor: &str) -> Result<(), RegistryError> {
        self.write(actor, |write| {
            let cannot = RegistryError::while_doing("note that an artifact was fetched");
            let sql = "UPDATE artifacts SET fetched_at = ifnull(fetched_at, ?4) WHERE cell_id = ?1 AND agent = ?2 AND name = ?3";
            let values = params![cell.as_str(), agent.as_str(), name, write.at.timestamp_micros()];
            if write.tx.prepare_cached(sql).and_then(|mut update| update.execute(values)).map_err(cannot)? == 0 {
                let error = match read::without_members(&write.tx, cell)? {
                    None => RegistryError::NotFound(cell.clone()),
                    Some(_) => {
                        let name = crate::audit::one_line(name, 80);
                        RegistryError::NoArtifact { cell: cell.clone(), agent: agent.clone(), name }
                    }
                };
                return write.refuse(Action::Artifact, cell, error);
            }
            write.audit(Action::Artifact, Phase::Done, cell, &format!("{name} of {agent} is fetched"))?;
            Ok(Verdict::Granted(()))
        })
    }
}

fn store(write: &Write<'_, '_>, cell: &CellId, agent: &AgentName, artifact: &Artifact) -> Result<(), RegistryError> {
    let cannot = RegistryError::while_doing("store an artifact");
    let sql = "INSERT INTO artifacts (cell_id, agent, name, sha256, bytes, declared_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
        ON CONFLICT (cell_id, agent, name) DO UPDATE SET
            fetched_at = iif(sha256 = excluded.sha256, fetched_at, NULL),
            sha256 = excluded.sha256, bytes = excluded.bytes, declared_at = excluded.declared_at";
    let values = params![
        cell.as_str(),
        agent.as_str(),
        artifact.name,
        artifact.sha256,
        columns::number("the size of an artifact", artifact.bytes)?,
        write.at.timestamp_micros(),
    ];
    write.tx.prepare_cached(sql).and_then(|mut insert| insert.execute(values)).map_err(cannot)?;
    Ok(())
}

fn digest_of(write: &Write<'_, '_>, cell: &CellId, agent: &AgentName, name: &str) -> Result<Option<String>, RegistryError> {
    let cannot = RegistryError::while_doing("look for an artifact");
    let sql = "SELECT sha256 FROM artifacts WHERE cell_id = ?1 AND agent = ?2 AND name = ?3";
    let mut select = write.tx.prepare_cached(sql).map_err(cannot)?;
    select.query_row([cell.as_str(), agent.as_str(), name], |row| row.get(0)).optional().map_err(cannot)
}

fn count(write: &Write<'_, '_>, cell: &CellId, agent: &AgentName) -> Result<u32, RegistryError> {
    let cannot = RegistryError::while_doing("count artifacts");
    let sql = "SELECT count(*) FROM artifacts WHERE cell_id = ?1 AND agent = ?2";
    let mut select = write.tx.prepare_cached(sql).map_err(cannot)?;
    select.query_row([cell.as_str(), agent.as_str()], |row| row.get(0)).map_err(cannot)
}

fn is_used(write: &Write<'_, '_>, cell: &CellId, sha256: &str) -> Result<bool, RegistryError> {
    let cannot = RegistryError::while_doing("look for an artifact");
    let sql = "SELECT EXISTS (SELECT 1 FROM artifacts WHERE cell_id = ?1 AND sha256 = ?2)";
    let mut select = write.tx.prepare_cached(sql).map_err(cannot)?;
    select.query_row([cell.as_str(), sha256], |row| row.get(0)).map_err(cannot)
}

/// Removes the artifacts of a cell that is destroyed.
pub(super) fn forget_all(write: &Write<'_, '_>, cell: &CellId) -> Result<(), RegistryError> {
    let cannot = RegistryError::while_doing("remove the artifacts of a cell");
    let sql = "DELETE FROM artifacts WHERE cell_id = ?1";
    write.tx.prepare_cached(sql).and_then(|mut delete| delete.execute([cell.as_str()])).map_err(cannot)?;
    Ok(())
}

/// Returns the artifact that a row says.
fn kept(row: &Row<'_>) -> Result<KeptArtifact, RegistryError> {
    let read = |row: &mut Cursor<'_, '_>| {
        let _cell: String = row.take("cell_id")?;
        let agent = row.parse("agent")?;
        let artifact = Artifact { name: row.take("name")?, sha256: row.take("sha256")?, bytes: row.count("bytes")? };
        let declared_at = row.time("declared_at")?;
        let fetched_at = match row.take::<Option<i64>>("fetched_at")? {
            Some(at) => Some(DateTime::from_timestamp_micros(at).ok_or_else(|| format!("fetched_at: {at} is no time"))?),
            None => None,
        };
        let is_digest = artifact.sha256.len() == 64 && artifact.sha256.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        // Both become names of files.
        if is_digest && is_artifact_name(&artifact.name) {
            Ok(KeptArtifact { agent, artifact, declared_at, fetched_at })
        } else {
            Err(format!("no artifact is {:?} with sha256 {:?}", artifact.name, artifact.sha256))
        }
    };
    let corrupt = |what: String| RegistryError::Corrupt { cell: row::named_by(row), what: format!("an artifact: {what}") };
    read(&mut Cursor::new(row)).map_err(corrupt)
}

impl ReadRegistry {
    /// Returns the artifacts of a cell, by agent and name. None of a destroyed one.
    ///
    /// # Errors
    /// A row is corrupt, or the registry cannot be read.
    pub fn artifacts(&self, cell: &CellId) -> Result<Vec<KeptArtifact>, RegistryError> {
        let cannot = RegistryError::while_doing("read artifacts");
        let sql = "SELECT cell_id, agent, name, sha256, bytes, declared_at, fetched_at FROM artifacts WHERE cell_id = ?1
            ORDER BY agent, name";
        self.snapshot(|snapshot| {
            let mut select = snapshot.prepare_cached(sql).map_err(cannot)?;
            let mut rows = select.query([cell.as_str()]).map_err(cannot)?;
            let mut found = Vec::new();
            while let Some(row) = rows.next().map_err(cannot)? {
                found.push(kept(row)?);
            }
            Ok(found)
        })
    }
}
