//! Destroying: what is asked for, whether it may be, and what is said of it. The teardown itself is [`super::undertake`].

use serde::Serialize;

use super::{Error, Operator, teardown::Toll, undertake::Undertaking};
use crate::{
    audit::{Action, Draft, Phase},
    cell::{CellId, Identity, Receipt, Record, State, text::with_causes},
    failpoint::{self, Point},
    seal::{Signature, SignedReceipt},
};

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
        if let State::Destroyed { by, receipt } = &record.state {
            return self.destroyed(&record, by, receipt.clone());
        }
        self.must_lead(&record, "destroy", Action::Destroy)?;
        if !force {
            self.must_be_fetched(&record.proposal.cell_id)?;
        }
        // Before the intent: whoever waits here for another teardown of the cell has nothing left to intend.
        let claim = self.claim(&record)?;
        let record = self.swept_cell(cell)?;
        if let State::Destroyed { by, receipt } = &record.state {
            return self.destroyed(&record, by, receipt.clone());
        }
        let work = self.begin(&record, claim)?;
        failpoint::hit(Point::DestroyIntent);
        let destroyed = self.carry_out(&record, work);
        match &destroyed {
            // There is room again, or there was; where there still is none, the next command tries.
            Ok(_) => drop(self.root.keep_reserve()),
            // The outcome of this very intent. Where it cannot be written, the next attempt finds this one open.
            Err(error) => drop(self.note_failed(Action::Destroy, &record.proposal.cell_id, &with_causes(error))),
        }
        destroyed
    }

    /// Writes down what is about to be done. Where there is no room for that, ends the cell's processes first, which would take any room that is made,
    /// then spends the reserve on it.
    fn begin(&mut self, record: &Record, claim: Option<crate::home::Claim>) -> Result<Undertaking, Error> {
        let id = &record.proposal.cell_id;
        let by = self.actor.clone();
        let detail = format!("state {}", record.state.name());
        let inherited = self.inherits_intent(record)?;
        let intent = |detail: &str| (!inherited).then(|| Draft::new(&by.to_string(), Action::Destroy, Phase::Intent, Some(id), detail));
        let mut toll = Toll::default();
        let teardown = match self.registry.begin_teardown(record, &by.to_string(), intent(&detail)).map_err(Error::from) {
            // An agent may have filled the disk; this is how it is emptied again.
            Err(error) if error.is_full_disk() => {
                let runs = self.registry.runs(id)?;
                super::teardown::end_everything(&self.root, record, &runs, &by, &mut toll)?;
                self.root.spend_reserve();
                let detail = format!("{detail}; the disk is full, so its {} processes were ended first", toll.total());
                self.registry.begin_teardown(record, &by.to_string(), intent(&detail))?
            }
            begun => begun?,
        };
        Ok(Undertaking { by, teardown, toll, razing: false, _claim: claim })
    }

    /// What is said of a cell that is destroyed.
    pub(super) fn destroyed(&mut self, record: &Record, by: &Identity, receipt: Receipt) -> Result<Destroyed, Error> {
        let cell_id = record.proposal.cell_id.clone();
        let document = self.registry.receipt(&cell_id)?;
        let mut message = format!("Destroyed {cell_id} by {by}");
        let signed = match document.map(|document| self.kept_receipt(record, &document)) {
            Some(Ok(SignedReceipt { signature: Signature::By { .. }, .. })) => true,
            Some(Ok(SignedReceipt { signature: Signature::Missing { unsigned_because }, .. })) => {
                message.push_str(&format!("; its receipt is unsigned: {}", crate::cell::text::one_line(&unsigned_because, 300)));
                false
            }
            // The cell is gone all the same: that is what was asked for.
            Some(Err(error)) => {
                message.push_str(&format!("; {}", crate::cell::text::one_line(&with_causes(&error), 300)));
                false
            }
            // Of a time before receipts were kept.
            None => false,
        };
        Ok(Destroyed { cell_id, message, receipt, signed })
    }
}
