//! Waiting for a registry that somebody else writes to.
//!
//! SQLite asks a handler whether to wait, except where it gives up at once: when the file is switched to a write-ahead log, and when
//! its locking protocol ran out of attempts. So there are two waits of the same length: the handler's, and [`patiently`] around both.

use std::{
    hash::{BuildHasher, RandomState},
    thread,
    time::{Duration, Instant},
};

use rusqlite::Connection;

use super::RegistryError;

/// How long a command waits for others. A commit takes a few milliseconds, on a slow disk some tens: hundreds of
/// commands at once pass in this time.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The longest single pause. Short against a commit on a slow disk, long enough that hundreds who wait leave the
/// processors to the one who writes.
const PAUSE_MOST_MICROS: u64 = 20_000;

/// Sleeps for a time that grows with the attempts and differs between those who wait: in step, they would all come back at once.
fn pause(attempt: u32) {
    let most = (500_u64 << attempt.min(8)).min(PAUSE_MOST_MICROS);
    // Each RandomState has keys of its own: randomness enough to fall out of step.
    let random = RandomState::new().hash_one(attempt);
    thread::sleep(Duration::from_micros(most / 2 + random % (most / 2)));
}

/// Makes a connection wait.
pub(super) fn install(connection: &mut Connection) -> rusqlite::Result<()> {
    let mut since = Instant::now();
    connection.busy_handler(Some(move |attempt: i32| {
        if attempt == 0 {
            since = Instant::now();
        }
        let patient = since.elapsed() < PATIENCE;
        if patient {
            pause(u32::try_from(attempt).unwrap_or(0));
        }
        patient
    }))
}

/// Repeats what may be repeated for as long as it finds the registry busy.
///
/// # Errors
/// [`RegistryError::Busy`] when the patience is over; at once, whatever else it returns.
pub(super) fn patiently<T>(mut attempt: impl FnMut() -> Result<T, RegistryError>) -> Result<T, RegistryError> {
    let since = Instant::now();
    let mut attempts = 0;
    loop {
        match attempt() {
            Err(RegistryError::Busy { .. }) if since.elapsed() < PATIENCE => pause(attempts),
            Err(RegistryError::Busy { doing, .. }) => return Err(RegistryError::Busy { doing, waited: since.elapsed() }),
            other => return other,
        }
        attempts += 1;
    }
}
