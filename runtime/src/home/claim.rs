//! The claim on a cell's teardown: one attempt at a time, so that an earlier one that is still open is known to have been cut short.

use std::{
    io,
    os::fd::{AsFd, OwnedFd},
    time::{Duration, Instant},
};

use rustix::{fs::FlockOperation, io::Errno};

use super::{CellDir, handle::readable};

/// Time between two tries.
const TRY_EVERY: Duration = Duration::from_millis(5);

/// Holding the claim on one cell. It ends when this is dropped, and with the process, however that ends.
#[derive(Debug)]
pub struct Claim {
    /// The lock is this open directory's; children do not inherit it.
    _lock: OwnedFd,
}

/// What became of a claim.
#[derive(Debug)]
pub enum Claiming {
    /// It is held now.
    Held(Claim),
    /// Another teardown holds it.
    Busy,
    /// The directory was removed meanwhile.
    Gone,
}

impl Claim {
    /// Claims a cell, waiting for a teardown that is about to end. It is not the lease: the cell's warden may live.
    ///
    /// # Errors
    /// What the system says.
    pub fn take(cell: &CellDir, patience: Duration) -> io::Result<Claiming> {
        let lock = readable(cell.dir().as_fd())?;
        let deadline = Instant::now() + patience;
        loop {
            match rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => break,
                Err(Errno::WOULDBLOCK) if Instant::now() < deadline => std::thread::sleep(TRY_EVERY),
                Err(Errno::WOULDBLOCK) => return Ok(Claiming::Busy),
                Err(error) => return Err(error.into()),
            }
        }
        // A directory without a name is one that was removed.
        let gone = rustix::fs::fstat(&lock)?.st_nlink == 0;
        Ok(if gone { Claiming::Gone } else { Claiming::Held(Self { _lock: lock }) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{cell::CellId, home::Root};

    #[test]
    fn one_teardown_at_a_time_has_the_claim_and_a_removed_cell_has_none() {
        let temp = tempfile::tempdir().expect("a directory");
        let root = Root::open(&temp.path().join("root")).expect("a root");
        let id = CellId::from_bits(1);
        let cell = root.create_cell(&id).expect("a cell");
        let again = root.cell(&id).expect("opened").expect("there");
        let Claiming::Held(claim) = Claim::take(&cell, Duration::ZERO).expect("taken") else { panic!("it is free") };
        assert!(matches!(Claim::take(&again, Duration::from_millis(20)).expect("tried"), Claiming::Busy));
        assert!(root.remove_cell(&id).is_complete());
        drop(claim);
        assert!(matches!(Claim::take(&again, Duration::from_secs(9)), Ok(Claiming::Gone) | Err(_)));
    }
}
