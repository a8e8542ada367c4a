//! Destroying: kill, verify that nothing lives, remove, verify that nothing is left, then the tombstone and the receipt.

use std::time::{Duration, Instant};

use serde::Serialize;

use super::{Error, Operator, teardown};
use crate::{
    audit::Action,
    cell::{CellId, CloseReason, Event, FailReason, Identity, Receipt, Record, State},
    failpoint::{self, Point},
    home::{CellDir, Lease, LeaseError, Removed, TreeDigest},
    jail::liveness,
    seal::{self, Signature, SignedReceipt},
};

/// How long somebody else's lease on the cell is waited for: a warden that is just ending, or another teardown.
const LEASE_PATIENCE: Duration = Duration::from_secs(15);

/// How often, meanwhile, the registry is asked whether somebody resurrected the cell.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// What destroying did.
#[derive(Debug, Clone, Serialize)]
pub struct Destroyed {
    /// The cell.
    pub cell_id: CellId,
    /// `Destroyed {cell} by {who}`.
    pub message: String,
    /// What was ended and removed. Of a cell that was destroyed before: what that teardown did.
    pub receipt: Receipt,
    /// Whether the receipt that is kept is signed.
    pub signed: bool,
}

impl Operator {
    /// Destroys a cell; with `force`, also one whose results nobody has. A cell that is destroyed already is success: there is nothing to do.
    ///
    /// # Errors
    /// No such cell, no right to, artifacts that were never fetched, something that still lives or lies there.
    pub fn destroy(&mut self, cell: &str, force: bool) -> Result<Destroyed, Error> {
        self.audited(Action::Destroy, Some(cell), |operator| operator.destroy_audited(cell, force))
    }

    fn destroy_audited(&mut self, cell: &str, force: bool) -> Result<Destroyed, Error> {
        let record = match self.swept_cell(cell) {
            // The end of a dead warden could not be recorded: nothing of its cell lives that would take the room.
            Err(error) if error.is_full_disk() && self.root.spend_reserve() => self.swept_cell(cell)?,
            swept => swept?,
        };
        let id = record.proposal.cell_id.clone();
        if let State::Destroyed { by, receipt } = record.state {
            return self.destroyed(id, &by, receipt);
        }
        self.must_lead(&record, "destroy", Action::Destroy)?;
        if !force {
            self.must_be_fetched(&id)?;
        }
        let detail = format!("state {}", record.state.name());
        let ended_before = match self.note_intent(Action::Destroy, &id, &detail) {
            // An agent may have filled the disk; this is how it is emptied again.
            Err(error) if error.is_full_disk() => self.note_on_full_disk(&record, &detail)?,
            noted => noted.map(|()| 0)?,
        };
        failpoint::hit(Point::DestroyIntent);
        let by = self.actor.clone();
        let destroyed = self.tear_down_rest(&record, &by, ended_before);
        if destroyed.is_ok() {
            // There is room again, or there was; where there still is none, the next command tries.
            let _ = self.root.keep_reserve();
        }
        destroyed
    }

    /// Where there is no room for the intent: ends the cell's processes first, which would take any room that is made, then spends
    /// the reserve on it. Returns how many processes that took.
    fn note_on_full_disk(&mut self, record: &Record, detail: &str) -> Result<u32, Error> {
        let id = &record.proposal.cell_id;
        let runs = self.registry.runs(id)?;
        let ended = teardown::end_everything(&self.root, record, &runs, &self.actor)?;
        self.root.spend_reserve();
        self.note_intent(Action::Destroy, id, &format!("{detail}; the disk is full, so its {ended} processes were ended first"))?;
        Ok(ended)
    }

    /// Tears a cell down, whatever state it is in, on behalf of `by`.
    pub(super) fn tear_down(&mut self, record: &Record, by: &Identity) -> Result<Destroyed, Error> {
        self.tear_down_rest(record, by, 0)
    }

    /// Tears a cell down of which so many processes were ended before.
    fn tear_down_rest(&mut self, record: &Record, by: &Identity, ended_before: u32) -> Result<Destroyed, Error> {
        let id = record.proposal.cell_id.clone();
        let record = self.past_proposed(record)?;
        let runs = self.registry.runs(&id)?;
        let processes_ended = teardown::end_everything(&self.root, &record, &runs, by)?;
        failpoint::hit(Point::DestroyEnded);
        self.settle(&id, by)?;
        self.remove_and_bury(&record, by, ended_before + processes_ended)
    }

    /// Removes everything of a cell in which nothing lives, verifies it, and writes the tombstone with the receipt.
    pub(super) fn remove_and_bury(&mut self, record: &Record, by: &Identity, processes_ended: u32) -> Result<Destroyed, Error> {
        let id = record.proposal.cell_id.clone();
        let (digest, removed) = match self.remove_leased(record)? {
            Removal::Done(digest, removed) => (digest, removed),
            Removal::ByAnother(destroyed) => return Ok(destroyed),
            Removal::LivesAgain => return self.tear_down_rest(record, by, processes_ended),
        };
        failpoint::hit(Point::DestroyRemoved);
        let runs = self.registry.runs(&id)?;
        let mut receipt = seal::receipt_of(digest, removed);
        receipt.processes_ended = processes_ended;
        receipt.processes_verified = liveness::gone(runs.iter().map(|run| &run.process).chain(record.warden.as_ref()));
        if let Some(first) = receipt.remained.first() {
            let what = format!("{} of its files remain, the first is {first}", receipt.remained.len());
            return Err(Error::NotDestroyed { cell: id, what });
        }
        let buried = seal::bury(&self.root, &mut self.registry, &id, by, &by.to_string(), receipt)?;
        failpoint::hit(Point::DestroyDone);
        match buried.record.state {
            // What is kept: somebody else's, where they were faster.
            State::Destroyed { by, receipt } => self.destroyed(id, &by, receipt),
            State::Proposed | State::Active | State::Idle | State::Closing { .. } | State::Closed { .. } | State::Failed { .. } => {
                Err(Error::NotDestroyed { cell: id, what: "its tombstone was not written".into() })
            }
        }
    }

    /// What is said of a cell that is destroyed.
    fn destroyed(&mut self, cell_id: CellId, by: &Identity, receipt: Receipt) -> Result<Destroyed, Error> {
        let document = self.registry.receipt(&cell_id)?;
        let mut message = format!("Destroyed {cell_id} by {by}");
        let signed = match document.map(|document| SignedReceipt::parse(document.as_bytes())) {
            Some(Ok(SignedReceipt { signature: Signature::By { .. }, .. })) => true,
            Some(Ok(SignedReceipt { signature: Signature::Missing { unsigned_because }, .. })) => {
                message.push_str(&format!("; its receipt is unsigned: {}", crate::cell::text::one_line(&unsigned_because, 300)));
                false
            }
            Some(Err(error)) => {
                message.push_str(&format!("; its receipt cannot be read: {error}"));
                false
            }
            // Of a time before receipts were kept.
            None => false,
        };
        Ok(Destroyed { cell_id, message, receipt, signed })
    }

    /// Waits for a cell that is just being made: its summoner and its warden decide what becomes of it.
    fn past_proposed(&mut self, record: &Record) -> Result<Record, Error> {
        let id = &record.proposal.cell_id;
        let deadline = Instant::now() + LEASE_PATIENCE;
        loop {
            let record = self.swept_cell(id.as_str())?;
            if !matches!(record.state, State::Proposed) {
                return Ok(record);
            }
            if Instant::now() >= deadline {
                let what = "it is still being summoned; try again when that command has ended".to_owned();
                return Err(Error::NotDestroyed { cell: id.clone(), what });
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Brings a cell in which nothing lives to `closed` or `failed`, if its warden has not done so.
    fn settle(&mut self, id: &CellId, by: &Identity) -> Result<(), Error> {
        let actor = by.to_string();
        let reason = CloseReason::Asked { by: by.clone() };
        // Somebody else may settle it at the same time: then there is less to do here.
        for _ in 0..8 {
            let record = self.swept_cell(id.as_str())?;
            let event = match record.state {
                State::Proposed => Event::Fail(FailReason::SummonerDied),
                State::Active | State::Idle => Event::Close(reason.clone()),
                State::Closing { .. } => Event::Ended,
                State::Closed { .. } | State::Failed { .. } | State::Destroyed { .. } => return Ok(()),
            };
            match self.registry.transition(id, event, &actor, Default::default()) {
                Ok(_) => {}
                Err(error) if error.is_overtaken() => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(Error::NotDestroyed { cell: id.clone(), what: "others keep changing it; try again".into() })
    }

    fn remove_leased(&mut self, record: &Record) -> Result<Removal, Error> {
        let id = &record.proposal.cell_id;
        let lease = match self.root.cell(id)? {
            None => None,
            Some(dir) => match self.lease(record, &dir)? {
                Leasing::LivesAgain => return Ok(Removal::LivesAgain),
                Leasing::Over(Ok(lease)) => Some(lease),
                // Its directory was removed while this waited, or has lost its parts to a teardown that was cut short.
                Leasing::Over(Err(LeaseError::Gone)) => None,
                Leasing::Over(Err(LeaseError::Io(error))) if error.kind() == std::io::ErrorKind::NotFound => None,
                Leasing::Over(Err(error)) => return Err(error.into()),
            },
        };
        if lease.is_none()
            && let Some(done) = self.destroyed_by_another(id)?
        {
            return Ok(Removal::ByAnother(done));
        }
        let digest = self.root.digest_cell(id);
        let removed = self.root.remove_cell(id);
        drop(lease);
        Ok(Removal::Done(digest, removed))
    }

    /// Takes the lease of a cell in which nothing lives. Whoever holds it may be bringing the cell back.
    fn lease(&mut self, record: &Record, dir: &CellDir) -> Result<Leasing, Error> {
        let deadline = Instant::now() + LEASE_PATIENCE;
        loop {
            let taken = Lease::take_within(dir, record.generation, LOOK_EVERY);
            if !matches!(taken, Err(LeaseError::Held(_))) || Instant::now() >= deadline {
                return Ok(Leasing::Over(taken));
            }
            let now = self.registry.cell_alone(&record.proposal.cell_id)?;
            if now.is_some_and(|now| now.generation > record.generation) {
                return Ok(Leasing::LivesAgain);
            }
        }
    }

    /// Where the directory is gone: gives another teardown the time to write its tombstone, so that its receipt stands.
    fn destroyed_by_another(&mut self, id: &CellId) -> Result<Option<Destroyed>, Error> {
        let deadline = Instant::now() + Duration::from_secs(2);
        while Instant::now() < deadline {
            let record = self.registry.cell(id)?.ok_or_else(|| Error::CellNotFound(id.to_string()))?;
            if let State::Destroyed { by, receipt } = record.state {
                return self.destroyed(id.clone(), &by, receipt).map(Some);
            }
            // Without a directory from the start there is nobody to wait for.
            if matches!(record.state, State::Failed { .. }) {
                return Ok(None);
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(None)
    }
}

/// How the wait for a lease ended.
enum Leasing {
    /// Somebody resurrected the cell meanwhile.
    LivesAgain,
    /// It was given or refused.
    Over(Result<Lease, LeaseError>),
}

/// What became of a cell's directory.
enum Removal {
    /// It was removed here; what it held before, where it was there.
    Done(Option<TreeDigest>, Removed),
    /// Another teardown was faster.
    ByAnother(Destroyed),
    /// It is there: somebody resurrected the cell meanwhile.
    LivesAgain,
}
