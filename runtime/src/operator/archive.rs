//! Archiving: a cell's homes, and what its members share, in one tar archive. The cell stays as it is.

use std::{
    io::{self, BufWriter, Write},
    path::PathBuf,
    time::Duration,
};

use serde::Serialize;
use sha2::{Digest, Sha256};

use super::{Destination, Error, Operator};
use crate::{
    audit::Action,
    cell::{CellId, Record, Refusal, State, text},
    home::{ArchiveWish, Archived, CellDir, Lease, Notes, ambient::FreshFile},
    policy::{Applied, ByteSize, Limits},
};

/// How long whoever has the lease of a cell that is over is waited for: a warden that is just ending, or another archive.
const LEASE_PATIENCE: Duration = Duration::from_secs(5);

/// Where an archive goes, and how much it may hold.
#[derive(Debug, Clone)]
pub struct ArchiveOrder {
    /// Where it goes.
    pub to: Destination,
    /// The most bytes of files; without, as many as the cell's agents may keep.
    pub most: Option<ByteSize>,
}

/// Something that the archive does not hold, or not as it was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ArchiveNote {
    /// Its path in the archive: escaped, shortened.
    pub name: String,
    /// Why.
    pub why: String,
}

/// What archiving did.
#[derive(Debug, Clone, Serialize)]
pub struct CellArchived {
    /// The cell.
    pub cell_id: CellId,
    /// The file; null for standard output.
    pub file: Option<String>,
    /// The SHA-256 of the archive, in hexadecimal.
    pub sha256: String,
    /// Files in it, each name for one.
    pub files: u64,
    /// Directories in it.
    pub directories: u64,
    /// Links in it.
    pub links: u64,
    /// Bytes of the files.
    pub bytes: u64,
    /// Bytes of the archive.
    pub archive_bytes: u64,
    /// What was left out: the first of it.
    pub skipped: Vec<ArchiveNote>,
    /// How much more was left out.
    pub skipped_more: u64,
    /// What changed while it was read: the first of it.
    pub changed: Vec<ArchiveNote>,
    /// How much more changed.
    pub changed_more: u64,
    /// Whether the cell's agents could write meanwhile: files may be of different moments.
    pub live: bool,
    /// What was done, as a sentence.
    pub message: String,
}

impl Operator {
    /// Writes the archive of a cell. Of a closed or failed one, nothing changes meanwhile; one that lives is archived as it is found, without
    /// its databases.
    ///
    /// # Errors
    /// No such cell, no right to, a state in which it has no homes, a file that is there already or cannot be written. Nothing is then left of
    /// the archive.
    pub fn archive(&mut self, cell: &str, order: &ArchiveOrder) -> Result<CellArchived, Error> {
        self.audited(Action::Archive, Some(cell), |operator| operator.archive_audited(cell, order))
    }

    fn archive_audited(&mut self, cell: &str, order: &ArchiveOrder) -> Result<CellArchived, Error> {
        let record = self.swept_cell(cell)?;
        let id = record.proposal.cell_id.clone();
        self.must_lead(&record, "archive", Action::Archive)?;
        let (dir, live) = self.archivable(&record)?;
        let most_bytes = match order.most {
            Some(most) => most.bytes(),
            None => self.kept_at_most(&id)?,
        };
        let place = match &order.to {
            Destination::File { path, .. } => text::one_line(&path.to_string_lossy(), 500),
            Destination::Stdout => "standard output".to_owned(),
        };
        self.note_intent(Action::Archive, &id, &format!("to {place}, at most {most_bytes} bytes of files"))?;
        let written = lease(&record, &dir, live).and_then(|_lease| write(&dir, &order.to, ArchiveWish { most_bytes, live }));
        let written = match written {
            Ok(written) => written,
            Err(error) => {
                self.note_failed(Action::Archive, &id, &error.to_string())?;
                return Err(error);
            }
        };
        let archived = told(id.clone(), &order.to, &place, live, written);
        let CellArchived { sha256, files, directories, links, bytes, .. } = &archived;
        let left_out = archived.skipped_more + archived.skipped.len() as u64;
        let detail =
            format!("sha256 {sha256}, {files} files, {directories} directories, {links} links, {bytes} bytes, {left_out} left out");
        self.note_done_of(Action::Archive, &id, &detail)?;
        Ok(archived)
    }

    /// The directory of a cell that can be archived, and whether its agents may write to it.
    fn archivable(&mut self, record: &Record) -> Result<(CellDir, bool), Error> {
        let id = &record.proposal.cell_id;
        let live = match record.state {
            State::Active | State::Idle | State::Closing { .. } => Some(true),
            State::Closed { .. } | State::Failed { .. } => Some(false),
            State::Proposed | State::Destroyed { .. } => None,
        };
        match (live, self.root.cell(id)?) {
            (Some(live), Some(dir)) => Ok((dir, live)),
            (live, _) => {
                let asks_to = if live.is_some() { "be archived: nothing of it is on the disk" } else { "be archived" };
                let refusal = Refusal { state: record.state.name(), asks_to };
                self.note_refused(Action::Archive, id, &refusal.to_string())?;
                Err(Error::State { cell: id.clone(), refusal })
            }
        }
    }

    /// As many bytes as the agents of a cell were allowed to keep: in the home of each, and as much in what they share as in the largest.
    fn kept_at_most(&mut self, cell: &CellId) -> Result<u64, Error> {
        let mut homes = std::collections::BTreeMap::new();
        for run in self.registry.runs(cell)? {
            let applied = run.report.read::<Applied>().ok();
            let limit = applied.map_or_else(Limits::default, |applied| applied.policy.limits).home.bytes();
            homes.entry(run.agent).and_modify(|most: &mut u64| *most = limit.max(*most)).or_insert(limit);
        }
        let shared = homes.values().copied().max().unwrap_or_else(|| Limits::default().home.bytes());
        Ok(homes.into_values().fold(shared, u64::saturating_add))
    }
}

/// Holds off wardens and teardowns while a cell that is over is read. Of a cell that lives, its warden has the lease.
fn lease(record: &Record, dir: &CellDir, live: bool) -> Result<Option<Lease>, Error> {
    if live { Ok(None) } else { Ok(Some(Lease::take_within(dir, record.generation, LEASE_PATIENCE)?)) }
}

/// An archive that was written: what it holds, its digest and its size.
type Written = (Archived, String, u64);

fn write(dir: &CellDir, to: &Destination, wish: ArchiveWish) -> Result<Written, Error> {
    match to {
        Destination::Stdout => {
            let failed = |source| Error::Destination { path: PathBuf::from("standard output"), source };
            write_to(dir, wish, io::stdout().lock()).map_err(failed)
        }
        Destination::File { path, replace } => {
            let failed = |source: io::Error| match source.kind() {
                io::ErrorKind::AlreadyExists => Error::DestinationExists(path.clone(), super::Replacing::Forced),
                _ => Error::Destination { path: path.clone(), source },
            };
            let mut fresh = FreshFile::create(path).map_err(failed)?;
            let written = write_to(dir, wish, fresh.file()).map_err(failed)?;
            fresh.keep(*replace).map_err(failed)?;
            Ok(written)
        }
    }
}

fn write_to(dir: &CellDir, wish: ArchiveWish, out: impl Write) -> io::Result<Written> {
    let out = Digested { out: BufWriter::with_capacity(BLOCK_BYTES, out), digest: Sha256::new(), bytes: 0 };
    let (archived, out) = dir.archive(wish, out)?;
    let sha256 = out.digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    Ok((archived, sha256, out.bytes))
}

fn told(cell_id: CellId, to: &Destination, place: &str, live: bool, (archived, sha256, archive_bytes): Written) -> CellArchived {
    let Archived { files, directories, links, bytes, skipped, changed } = archived;
    let mut message = format!("Archived {cell_id} to {place}: {files} files, {directories} directories and {links} links ({bytes} bytes)");
    for (count, what) in [(skipped.count(), "left out"), (changed.count(), "changed while they were read")] {
        if count > 0 {
            message.push_str(&format!("; {count} {what}"));
        }
    }
    if live {
        message.push_str("; its agents live: files may be of different moments, and databases are left out");
    }
    let file = match to {
        Destination::File { path, .. } => Some(path.to_string_lossy().into_owned()),
        Destination::Stdout => None,
    };
    let ((skipped, skipped_more), (changed, changed_more)) = (listed(skipped), listed(changed));
    CellArchived {
        cell_id,
        file,
        sha256,
        files,
        directories,
        links,
        bytes,
        archive_bytes,
        skipped,
        skipped_more,
        changed,
        changed_more,
        live,
        message,
    }
}

fn listed(notes: Notes) -> (Vec<ArchiveNote>, u64) {
    let named = notes.named.into_iter().map(|noted| ArchiveNote { name: noted.name, why: noted.why });
    (named.collect(), notes.unnamed)
}

/// Bytes that are written at once.
const BLOCK_BYTES: usize = 64 * 1024;

/// Counts and digests what passes through it.
struct Digested<W: Write> {
    out: BufWriter<W>,
    digest: Sha256,
    bytes: u64,
}

impl<W: Write> Write for Digested<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.out.write(bytes)?;
        self.digest.update(bytes.get(..written).unwrap_or_default());
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
