//! The lease of a cell: exactly one warden writes to its homes.

use std::{
    fs::File,
    io::{self, Read, Seek, Write},
    time::{Duration, Instant},
};

use cap_std::fs::Dir;
use rustix::{
    fs::{AtFlags, FlockOperation, OFlags},
    io::Errno,
};

use super::{
    CellDir,
    handle::{PRIVATE_FILE, own},
};

/// The lock's name in a cell's `run` directory, which no agent can reach.
const LOCK: &str = "lock";
/// Bytes of the lock file that are read: a generation and a pid.
const LOCK_MOST_BYTES: u64 = 64;
/// Time between two tries, while a holder that is about to end is waited for.
const TRY_EVERY: Duration = Duration::from_millis(5);

/// Who holds a lease, by its own account: for messages, never to decide whom to end.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Held {
    /// The cell's generation that it runs.
    pub generation: Option<u32>,
    /// Its pid.
    pub pid: Option<u32>,
}

impl std::fmt::Display for Held {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.pid, self.generation) {
            (Some(pid), Some(generation)) => write!(f, "process {pid} (generation {generation})"),
            _ => f.write_str("another process"),
        }
    }
}

/// Why a lease was not given.
#[derive(Debug, thiserror::Error)]
pub enum LeaseError {
    /// Somebody else has it.
    #[error("take the lease of the cell: {0} holds it")]
    Held(Held),
    /// The cell was removed while its lease was waited for.
    #[error("take the lease of the cell: the cell was removed")]
    Gone,
    /// Anything else.
    #[error("take the lease of the cell")]
    Io(#[from] io::Error),
}

impl From<Errno> for LeaseError {
    fn from(error: Errno) -> Self {
        Self::Io(error.into())
    }
}

/// Holding the lease of one cell. It ends when this is dropped, and with the process, however that ends.
#[derive(Debug)]
pub struct Lease {
    /// The lock is this open file's; children do not inherit it.
    _lock: File,
}

impl Lease {
    /// Takes the lease of a cell for one of its generations, or says at once who has it.
    ///
    /// # Errors
    /// Somebody else holds it, or the cell is gone.
    pub fn take(cell: &CellDir, generation: u32) -> Result<Self, LeaseError> {
        let run = cell.run()?;
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        // What is no file of ours is neither locked nor written to.
        let mut lock = own(rustix::fs::openat(&run, LOCK, flags, PRIVATE_FILE)?)?;
        match rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => return Err(LeaseError::Held(read_held(&lock))),
            Err(error) => return Err(error.into()),
        }
        if !is_current(&run, &lock)? {
            return Err(LeaseError::Gone);
        }
        lock.set_len(0)?;
        lock.rewind()?;
        write!(lock, "{generation} {}", std::process::id())?;
        Ok(Self { _lock: lock })
    }

    /// Takes the lease of a cell as [`Lease::take`] does, waiting for a holder that is about to end.
    ///
    /// # Errors
    /// As [`Lease::take`]; [`LeaseError::Held`] once the patience is over.
    pub fn take_within(cell: &CellDir, generation: u32, patience: Duration) -> Result<Self, LeaseError> {
        let started = Instant::now();
        loop {
            match Self::take(cell, generation) {
                Err(LeaseError::Held(held)) => {
                    let left = patience.saturating_sub(started.elapsed());
                    if left.is_zero() {
                        return Err(LeaseError::Held(held));
                    }
                    std::thread::sleep(left.min(TRY_EVERY));
                }
                outcome => return outcome,
            }
        }
    }
}

/// Whether the locked file is still the one that others would lock.
fn is_current(run: &Dir, lock: &File) -> rustix::io::Result<bool> {
    let ours = rustix::fs::fstat(lock)?;
    match rustix::fs::statat(run, LOCK, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(there) => Ok((there.st_dev, there.st_ino) == (ours.st_dev, ours.st_ino)),
        Err(Errno::NOENT) => Ok(false),
        Err(error) => Err(error),
    }
}

fn read_held(lock: &File) -> Held {
    let mut text = String::new();
    // The holder may be writing it: whatever cannot be read is left out of the message.
    let _ = lock.take(LOCK_MOST_BYTES).read_to_string(&mut text);
    let mut parts = text.split(' ');
    Held { generation: parts.next().and_then(|part| part.parse().ok()), pid: parts.next().and_then(|part| part.parse().ok()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{cell::CellId, home::Root};

    fn cell() -> (tempfile::TempDir, Root, CellDir) {
        let temp = tempfile::tempdir().expect("a directory");
        let root = Root::open(&temp.path().join("root")).expect("a root");
        let cell = root.create_cell(&CellId::from_bits(1)).expect("a cell");
        (temp, root, cell)
    }

    #[test]
    fn one_holder_at_a_time() {
        let (_temp, root, cell) = cell();
        let lease = Lease::take(&cell, 3).expect("free");
        let again = root.cell(&CellId::from_bits(1)).expect("opened").expect("there");
        let held = Held { generation: Some(3), pid: Some(std::process::id()) };
        assert!(matches!(Lease::take(&again, 4), Err(LeaseError::Held(by)) if by == held));
        let started = Instant::now();
        assert!(matches!(Lease::take_within(&again, 4, Duration::from_millis(30)), Err(LeaseError::Held(_))));
        assert!(started.elapsed() >= Duration::from_millis(30));
        drop(lease);
        Lease::take(&again, 4).expect("free again");
    }

    #[test]
    fn a_lease_is_waited_for() {
        let (_temp, _root, cell) = cell();
        let lease = Lease::take(&cell, 1).expect("free");
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| Lease::take_within(&cell, 2, Duration::from_secs(20)).is_ok());
            std::thread::sleep(Duration::from_millis(30));
            drop(lease);
            assert!(waiting.join().expect("it ends well"));
        });
    }

    #[test]
    fn the_lease_of_a_killed_holder_is_free() {
        let (temp, _root, cell) = cell();
        // flock(1) holds the lock as a warden would, and is killed as one may be.
        let lock = temp.path().join("root/cells/laz-00000001/run/lock");
        std::fs::write(&lock, "9 1").expect("written");
        let mut holder = std::process::Command::new("flock").arg("-F").arg(&lock).args(["sleep", "60"]).spawn().expect("flock runs");
        let started = Instant::now();
        while Lease::take(&cell, 1).is_ok() {
            assert!(started.elapsed() < Duration::from_secs(20));
            std::thread::sleep(Duration::from_millis(2));
        }
        holder.kill().expect("killed");
        holder.wait().expect("ended");
        Lease::take_within(&cell, 2, Duration::from_secs(20)).expect("free");
    }

    #[test]
    fn a_planted_link_is_not_locked_and_a_removed_cell_is_gone() {
        let (temp, root, cell) = cell();
        let run = temp.path().join("root/cells/laz-00000001/run");
        std::os::unix::fs::symlink("/dev/null", run.join("lock")).expect("linked");
        assert!(matches!(Lease::take(&cell, 1), Err(LeaseError::Io(_))));
        assert!(root.remove_cell(&CellId::from_bits(1)).is_complete());
        assert!(matches!(Lease::take(&cell, 1), Err(LeaseError::Io(_))));
    }
}
