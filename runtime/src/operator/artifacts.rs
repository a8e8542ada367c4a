//! Artifacts: what agents declared as results, also of a cell that is closed.

use std::{
    fs::File,
    io::{self, Read, Seek, Write},
    path::{Path, PathBuf},
};

use chrono::{DateTime, Utc};
use serde::Serialize;
use sha2::{Digest, Sha256};

use super::{Error, Operator};
use crate::{
    audit::Action,
    cell::{AgentName, CellId, Record, text},
    home::ambient,
    registry::KeptArtifact,
};

/// Bytes that are copied at once.
const BLOCK_BYTES: usize = 64 * 1024;
/// Artifacts that an error names; of more it says how many.
const NAMED_MOST: usize = 8;

/// One artifact as it is shown.
#[derive(Debug, Clone, Serialize)]
pub struct ArtifactLine {
    /// Its name.
    pub name: String,
    /// Whose.
    pub agent: AgentName,
    /// Its size.
    pub bytes: u64,
    /// The SHA-256 of its bytes, in hexadecimal.
    pub sha256: String,
    /// When it was declared, the last time.
    pub declared_at: DateTime<Utc>,
    /// When these bytes were first fetched.
    pub fetched_at: Option<DateTime<Utc>>,
}

impl ArtifactLine {
    pub(super) fn of(kept: KeptArtifact) -> Self {
        let KeptArtifact { agent, artifact, declared_at, fetched_at } = kept;
        Self { name: artifact.name, agent, bytes: artifact.bytes, sha256: artifact.sha256, declared_at, fetched_at }
    }
}

/// Where a fetched artifact goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Destination {
    /// A file that is made; one that is there is an error, or, with `replace`, replaced as a whole. No link is followed.
    File {
        /// Its path.
        path: PathBuf,
        /// Whether one that is there is replaced.
        replace: bool,
    },
    /// Standard output.
    Stdout,
}

impl std::fmt::Display for Destination {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::File { path, .. } => write!(f, "{}", path.display()),
            Self::Stdout => f.write_str("standard output"),
        }
    }
}

/// What fetching did.
#[derive(Debug, Clone, Serialize)]
pub struct Fetched {
    /// The cell.
    pub cell_id: CellId,
    /// The artifact.
    #[serde(flatten)]
    pub artifact: ArtifactLine,
    /// The file; null for standard output.
    pub file: Option<String>,
    /// What was done, as a sentence.
    pub message: String,
}

impl Operator {
    /// The artifacts of a cell, by agent and name.
    ///
    /// # Errors
    /// No such cell, no right to.
    pub fn artifacts(&mut self, cell: &str) -> Result<(CellId, Vec<ArtifactLine>), Error> {
        let record = self.cell_alone(cell)?;
        self.must_fetch(&record)?;
        let id = record.proposal.cell_id;
        let kept = self.registry.artifacts(&id)?;
        Ok((id, kept.into_iter().map(ArtifactLine::of).collect()))
    }

    /// Copies an artifact out of its cell, after looking whether it is still what was kept, and notes that somebody has it.
    /// `name` is its name, or `AGENT/NAME` where several agents have one of that name.
    ///
    /// # Errors
    /// No such cell or artifact, no right to, a file that is there already or cannot be written, bytes that are not those that were kept.
    pub fn fetch_artifact(&mut self, cell: &str, name: &str, to: &Destination) -> Result<Fetched, Error> {
        self.audited(Action::Artifact, Some(cell), |operator| operator.fetch_audited(cell, name, to))
    }

    fn fetch_audited(&mut self, cell: &str, name: &str, to: &Destination) -> Result<Fetched, Error> {
        let record = self.cell_alone(cell)?;
        self.must_fetch(&record)?;
        let id = record.proposal.cell_id.clone();
        let artifact = ArtifactLine::of(self.one_artifact(&id, name)?);
        let broken = |source| Error::ArtifactBroken { cell: id.clone(), name: artifact.name.clone(), source };
        let dir = self.root.cell(&id)?.ok_or_else(|| broken(io::ErrorKind::NotFound.into()))?;
        let kept = dir.artifacts().map_err(broken)?;
        let mut source = crate::home::open_file(&kept, &artifact.sha256).map_err(broken)?;
        // First the whole of it, then the first byte out: what was changed is not given to anybody.
        if copy(&mut source, &mut io::sink(), artifact.bytes).map_err(broken)? != artifact.sha256 {
            return Err(broken(io::Error::new(io::ErrorKind::InvalidData, "its bytes are not those that were kept")));
        }
        source.rewind().map_err(broken)?;
        let (wanted, place) = (&artifact, text::one_line(&to.to_string(), 500));
        self.note_intent(Action::Artifact, &id, &format!("fetch {} of {} to {place}", wanted.name, wanted.agent))?;
        let file = match to {
            Destination::Stdout => {
                let mut out = io::stdout().lock();
                let written = copy(&mut source, &mut out, artifact.bytes).and_then(|_| out.flush());
                written.map_err(|source| Error::Destination { path: PathBuf::from("standard output"), source })?;
                None
            }
            Destination::File { path, replace } => {
                write_to(&mut source, path, *replace, artifact.bytes)?;
                Some(path.to_string_lossy().into_owned())
            }
        };
        self.registry.artifact_fetched(&id, &artifact.agent, &artifact.name, &self.actor.to_string())?;
        let place = file.clone().unwrap_or_else(|| "standard output".to_owned());
        let message = format!(
            "Fetched {} of {} from {id} to {} ({} bytes)",
            artifact.name,
            artifact.agent,
            text::one_line(&place, 500),
            artifact.bytes
        );
        Ok(Fetched { cell_id: id, artifact, file, message })
    }

    fn one_artifact(&mut self, cell: &CellId, given: &str) -> Result<KeptArtifact, Error> {
        let (agent, name) = match given.split_once('/') {
            Some((agent, name)) => (Some(agent), name),
            None => (None, given),
        };
        let all = self.registry.artifacts(cell)?;
        let fits = |kept: &KeptArtifact| kept.artifact.name == name && agent.is_none_or(|agent| kept.agent.as_str() == agent);
        let mut found: Vec<KeptArtifact> = all.into_iter().filter(fits).collect();
        match (found.pop(), found.is_empty()) {
            (Some(only), true) => Ok(only),
            (Some(last), false) => {
                found.push(last);
                let names = found.iter().map(|kept| format!("{}/{}", kept.agent, kept.artifact.name));
                Err(Error::SeveralArtifacts { cell: cell.clone(), names: bounded(names.collect()) })
            }
            (None, _) => Err(Error::NoSuchArtifact { cell: cell.clone(), name: text::one_line(given, 100) }),
        }
    }

    /// Results are for those who may read what is not their own: the operator, the owner, directors and auditors.
    fn must_fetch(&mut self, record: &Record) -> Result<(), Error> {
        let role = self.standing(record, &self.actor.clone())?;
        if role.is_some_and(crate::mail::may_read_all) {
            return Ok(());
        }
        let cell = record.proposal.cell_id.clone();
        self.note_refused(Action::Artifact, &cell, "no right to")?;
        Err(Error::NotAllowed { who: self.actor.clone(), what: "fetch artifacts of", cell })
    }

    /// Refuses to destroy results that nobody has.
    pub(super) fn must_be_fetched(&mut self, cell: &CellId) -> Result<(), Error> {
        let unfetched = self.registry.artifacts(cell)?.into_iter().filter(|kept| kept.fetched_at.is_none());
        let names: Vec<String> = unfetched.map(|kept| format!("{}/{}", kept.agent, kept.artifact.name)).collect();
        if names.is_empty() {
            return Ok(());
        }
        let names = bounded(names);
        self.note_refused(Action::Destroy, cell, &format!("artifacts that were never fetched: {names}"))?;
        Err(Error::Unfetched { cell: cell.clone(), names })
    }
}

/// Names in one line, bounded.
fn bounded(mut names: Vec<String>) -> String {
    let more = names.len().saturating_sub(NAMED_MOST);
    names.truncate(NAMED_MOST);
    let more = if more == 0 { String::new() } else { format!(" and {more} more") };
    names.join(", ") + &more
}

fn write_to(source: &mut File, path: &Path, replace: bool, bytes: u64) -> Result<(), Error> {
    let failed = |source: io::Error| match source.kind() {
        io::ErrorKind::AlreadyExists => Error::DestinationExists(path.to_owned(), super::Replacing::Forced),
        _ => Error::Destination { path: path.to_owned(), source },
    };
    let mut fresh = ambient::FreshFile::create(path).map_err(failed)?;
    copy(source, fresh.file(), bytes).map_err(failed)?;
    fresh.keep(replace).map_err(failed)
}

/// Copies exactly so many bytes, and returns the digest of what was copied.
fn copy(source: &mut File, to: &mut impl Write, bytes: u64) -> io::Result<String> {
    let mut digest = Sha256::new();
    let mut block = vec![0; BLOCK_BYTES];
    // One byte more than there should be shows what has grown.
    let mut left = source.take(bytes + 1);
    let mut copied = 0_u64;
    loop {
        let read = left.read(&mut block)?;
        if read == 0 {
            break;
        }
        let piece = block.get(..read).unwrap_or_default();
        copied += read as u64;
        digest.update(piece);
        to.write_all(piece)?;
    }
    if copied != bytes {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "its size is not the one that was kept"));
    }
    Ok(digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}
