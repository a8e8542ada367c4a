//! A teardown: kill, verify that nothing lives, remove, verify that nothing is left, then the tombstone and the receipt.
//!
//! ```text
//!  claim ─→ begin (intent, attempt) ─→ end processes ─→ lease ─→ digest, remove ─┬→ bury: tombstone, receipt, audit row: one commit
//!    └→ another's: wait for its tombstone                                          └→ something remains: what was done stays for the next attempt
//! ```

use std::time::{Duration, Instant};

use super::{
    Destroyed, Error, Operator,
    teardown::{self, Toll},
};
use crate::{
    audit::{Action, Draft},
    cell::{CellId, CloseReason, Event, FailReason, Identity, Receipt, Record, State},
    failpoint::{self, Point},
    home::{CellDir, Claim, Claiming, Lease, LeaseError},
    jail::liveness::{self, Liveness},
    registry::{Progress, Teardown},
    seal::{self, Razed},
};

/// How long somebody else's lease or claim on the cell is waited for: a warden that is just ending, or another teardown.
const LEASE_PATIENCE: Duration = Duration::from_secs(15);

/// How often, meanwhile, the registry is asked whether somebody resurrected the cell.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// How long a teardown whose directory is gone has to write its tombstone.
const TOMBSTONE_WITHIN: Duration = Duration::from_secs(2);

/// An attempt at a teardown, which is on record.
#[derive(Debug)]
pub(super) struct Undertaking {
    /// On whose word.
    pub by: Identity,
    /// Where it is written down what was done.
    pub teardown: Teardown,
    /// The processes that had to be ended so far.
    pub toll: Toll,
    /// Whether what the cell has on disk is being removed.
    pub razing: bool,
    /// Nobody else tears the cell down meanwhile. None where the cell has no directory.
    pub _claim: Option<Claim>,
}

impl Operator {
    /// Writes down that the teardown of a cell begins in which nothing lives. What is to be removed may be what fills the disk: then the reserve is
    /// spent on it.
    pub(super) fn begin_teardown(&mut self, record: &Record, actor: &str, intent: impl Fn() -> Option<Draft>) -> Result<Teardown, Error> {
        match self.registry.begin_teardown(record, actor, intent()).map_err(Error::from) {
            Err(error) if error.is_full_disk() && self.root.spend_reserve() => Ok(self.registry.begin_teardown(record, actor, intent())?),
            begun => begun,
        }
    }

    /// Claims a cell for a teardown. Waits for another one; nothing is claimed where there is no directory, and the other's tombstone was waited for.
    ///
    /// # Errors
    /// Another teardown takes its time, or the directory cannot be opened.
    pub(super) fn claim(&mut self, record: &Record) -> Result<Option<Claim>, Error> {
        match self.claim_within(record, LEASE_PATIENCE)? {
            Some(claim) => Ok(claim),
            None => {
                let what = "another command is tearing it down; try again when that has ended".to_owned();
                Err(Error::NotDestroyed { cell: record.proposal.cell_id.clone(), what })
            }
        }
    }

    /// As [`Operator::claim`]; `None` where another teardown still has it.
    pub(super) fn claim_within(&mut self, record: &Record, patience: Duration) -> Result<Option<Option<Claim>>, Error> {
        let id = &record.proposal.cell_id;
        let Some(dir) = self.root.cell(id)? else { return self.await_tombstone(id).map(|()| Some(None)) };
        match Claim::take(&dir, patience).map_err(LeaseError::from)? {
            Claiming::Held(claim) => Ok(Some(Some(claim))),
            Claiming::Busy => Ok(None),
            Claiming::Gone => self.await_tombstone(id).map(|()| Some(None)),
        }
    }

    /// Whether the teardown of a cell was meant by a run whose process, killed since, will not write its outcome: then the next one does.
    pub(super) fn inherits_intent(&self, record: &Record) -> Result<bool, Error> {
        let guardian = record.warden.as_ref().unwrap_or(&record.proposal.summoner);
        let id = &record.proposal.cell_id;
        let left = record.proposal.throwaway && liveness::probe(guardian) == Liveness::Dead;
        Ok(left && !self.registry.is_being_torn_down(id)? && self.registry.is_meant_to_be_torn_down(id)?)
    }

    /// Where the directory is gone and a teardown is open: gives it the time to write its tombstone, so that its receipt stands.
    fn await_tombstone(&mut self, id: &CellId) -> Result<(), Error> {
        let deadline = Instant::now() + TOMBSTONE_WITHIN;
        while Instant::now() < deadline && self.registry.is_being_torn_down(id)? {
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    /// Tears a cell down, whatever state it is in. What it did, where it does not come to its end, stays for the next attempt.
    pub(super) fn carry_out(&mut self, record: &Record, mut work: Undertaking) -> Result<Destroyed, Error> {
        let destroyed = self.tear_down(record, &mut work);
        self.conclude(destroyed, &work)
    }

    /// Removes and buries a cell in which nothing lives; as [`Operator::carry_out`].
    pub(super) fn put_away(&mut self, record: &Record, mut work: Undertaking) -> Result<Destroyed, Error> {
        let destroyed = self.remove_and_bury(record, &mut work);
        self.conclude(destroyed, &work)
    }

    fn conclude(&mut self, destroyed: Result<Destroyed, Error>, work: &Undertaking) -> Result<Destroyed, Error> {
        // What cannot be written here, the next attempt finds open, and takes for cut short.
        let _ = match &destroyed {
            // `raze` has written it down.
            Ok(_) | Err(Error::Remains { .. }) => Ok(()),
            Err(_) if work.razing => self.registry.abandon_teardown(&work.teardown),
            Err(_) => self.registry.fail_teardown(&work.teardown, &Progress { processes: work.toll.total(), ..Progress::default() }),
        };
        destroyed
    }

    fn tear_down(&mut self, record: &Record, work: &mut Undertaking) -> Result<Destroyed, Error> {
        let id = record.proposal.cell_id.clone();
        let record = self.past_proposed(record)?;
        let runs = self.registry.runs(&id)?;
        let ended = teardown::end_everything(&self.root, &record, &runs, &work.by, &mut work.toll);
        if work.toll.total() > 0 {
            let so_far = Progress { processes: work.toll.total(), ..Progress::default() };
            seal::note(&self.root, &mut self.registry, &work.teardown, &so_far)?;
        }
        ended?;
        failpoint::hit(Point::DestroyEnded);
        self.settle(&id, &work.by)?;
        self.remove_and_bury(&record, work)
    }

    /// Removes everything of a cell in which nothing lives, verifies it, and writes the tombstone with the receipt.
    fn remove_and_bury(&mut self, record: &Record, work: &mut Undertaking) -> Result<Destroyed, Error> {
        let id = record.proposal.cell_id.clone();
        let mut receipt = match self.remove_leased(record, work)? {
            Removal::Done(receipt) => receipt,
            Removal::LivesAgain => return self.tear_down(record, work),
        };
        failpoint::hit(Point::DestroyRemoved);
        let runs = self.registry.runs(&id)?;
        receipt.processes_verified = liveness::gone(runs.iter().map(|run| &run.process).chain(record.warden.as_ref()));
        let (by, actor) = (&work.by, work.by.to_string());
        let buried = seal::bury(&self.root, &mut self.registry, &id, Some(&work.teardown), by, &actor, receipt)?;
        failpoint::hit(Point::DestroyDone);
        match &buried.record.state {
            // What is kept: somebody else's, where they were faster.
            State::Destroyed { by, receipt } => self.destroyed(&buried.record, by, receipt.clone()),
            State::Proposed | State::Active | State::Idle | State::Closing { .. } | State::Closed { .. } | State::Failed { .. } => {
                Err(Error::NotDestroyed { cell: id, what: "its tombstone was not written".into() })
            }
        }
    }

    fn remove_leased(&mut self, record: &Record, work: &mut Undertaking) -> Result<Removal, Error> {
        let id = &record.proposal.cell_id;
        let _lease = match self.root.cell(id)? {
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
        work.razing = true;
        match seal::raze(&self.root, &mut self.registry, id, &work.teardown, work.toll.total())? {
            Razed::Nothing(receipt) => Ok(Removal::Done(receipt)),
            Razed::Remains(remained) => Err(Error::Remains { cell: id.clone(), remained }),
        }
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

    /// Writes down what became of a teardown that was meant, where another had done it.
    pub(super) fn note_done_by_another(&mut self, id: &CellId, by: &Identity) -> Result<(), Error> {
        self.note_done_of(Action::Destroy, id, &format!("it is destroyed already, by {by}"))
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
    /// It was removed.
    Done(Receipt),
    /// It is there: somebody resurrected the cell meanwhile.
    LivesAgain,
}
