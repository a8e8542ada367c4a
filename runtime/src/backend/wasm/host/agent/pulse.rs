//! Signs of life: the time of `logs/heartbeat` in the agent's home, as any program of any language may set it.

use std::{
    fs::File,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use rustix::{
    fs::{Mode, OFlags, Timespec, Timestamps, UTIME_NOW, futimens, mkdirat, openat},
    io::Errno,
};

use super::super::quota::Ledger;

/// More often than this is as good as this.
const BEAT_LEAST: Duration = Duration::from_secs(1);

/// One agent's pulse.
#[derive(Debug)]
pub struct Pulse {
    home: Arc<File>,
    /// The account of the home.
    ledger: Option<Arc<Ledger>>,
    last: Mutex<Option<Instant>>,
}

impl Pulse {
    /// The pulse of the agent whose home is open here.
    pub const fn new(home: Arc<File>, ledger: Option<Arc<Ledger>>) -> Self {
        Self { home, ledger, last: Mutex::new(None) }
    }

    /// A sign of life, unless one was just given. What goes wrong is the agent's own doing: the home is full, or something else lies there.
    pub fn beat(&self) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if last.is_none_or(|last| last.elapsed() >= BEAT_LEAST) {
            *last = Some(Instant::now());
            let _ = self.touch();
        }
    }

    /// Something was made that the home did not hold.
    fn made(&self) {
        if let Some(ledger) = &self.ledger {
            ledger.made_by_host();
        }
    }

    /// Follows no link, since the guest may have put one there: the host reaches more than this guest does. Nor does it wait for a reader
    /// of a pipe.
    fn touch(&self) -> Result<(), Errno> {
        let directory = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let open = || openat(&*self.home, "logs", directory, Mode::empty());
        let logs = match open() {
            Err(Errno::NOENT) => {
                mkdirat(&*self.home, "logs", Mode::RWXU)?;
                self.made();
                open()?
            }
            other => other?,
        };
        let flags = OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let file = match openat(&logs, "heartbeat", flags, Mode::empty()) {
            Err(Errno::NOENT) => {
                let file = openat(&logs, "heartbeat", flags | OFlags::CREATE | OFlags::EXCL, Mode::RUSR | Mode::WUSR)?;
                self.made();
                file
            }
            other => other?,
        };
        let now = Timespec { tv_sec: 0, tv_nsec: UTIME_NOW };
        futimens(&file, &Timestamps { last_access: now, last_modification: now })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn home() -> (tempfile::TempDir, Pulse) {
        let place = tempfile::tempdir().expect("a directory");
        let home = Arc::new(File::open(place.path()).expect("open"));
        (place, Pulse::new(home, None))
    }

    #[test]
    fn a_beat_is_the_time_of_a_file_and_at_most_one_a_second() {
        let (place, pulse) = home();
        let file = place.path().join("logs/heartbeat");
        pulse.beat();
        assert!(file.metadata().expect("made").modified().expect("time").elapsed().expect("past") < Duration::from_secs(60));
        std::fs::remove_file(&file).expect("removed");
        pulse.beat();
        assert!(!file.exists(), "it just beat");
    }

    #[test]
    fn links_and_pipes_are_not_followed() {
        let (place, pulse) = home();
        let elsewhere = tempfile::tempdir().expect("a directory");
        std::os::unix::fs::symlink(elsewhere.path(), place.path().join("logs")).expect("a link");
        assert!(pulse.touch().is_err());
        assert_eq!(std::fs::read_dir(elsewhere.path()).expect("read").count(), 0);
        std::fs::remove_file(place.path().join("logs")).expect("removed");
        std::fs::create_dir(place.path().join("logs")).expect("made");
        let target = elsewhere.path().join("target");
        std::os::unix::fs::symlink(&target, place.path().join("logs/heartbeat")).expect("a link");
        assert!(pulse.touch().is_err() && !target.exists());
        std::fs::remove_file(place.path().join("logs/heartbeat")).expect("removed");
        rustix::fs::mkfifoat(rustix::fs::CWD, place.path().join("logs/heartbeat"), Mode::RUSR | Mode::WUSR).expect("a pipe");
        assert!(pulse.touch().is_err(), "without waiting");
    }
}
