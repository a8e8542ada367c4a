//! Which account a directory belongs to, and how a guest's call asks it.

use std::{fs::File, io, sync::Arc};

use cap_std::fs::{Dir, Metadata};

use super::ledger::{Growing, Growth, Ledger, Naming, Refused, Victim};
use crate::{backend::wasm::host::strikes::Strikes, policy::LimitName};

/// The account that pays for what happens below a directory: none for what may only be read, and for mounts.
#[derive(Debug, Clone, Default)]
pub struct Area(Option<Arc<Ledger>>);

impl From<Option<Arc<Ledger>>> for Area {
    fn from(ledger: Option<Arc<Ledger>>) -> Self {
        Self(ledger)
    }
}

impl Area {
    /// The account.
    pub const fn ledger(&self) -> Option<&Arc<Ledger>> {
        self.0.as_ref()
    }

    /// Whether both pay from the same account, or from none.
    pub fn is(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (Some(one), Some(other)) => Arc::ptr_eq(one, other),
            (None, None) => true,
            (Some(_), None) | (None, Some(_)) => false,
        }
    }

    /// Puts an open file on record.
    ///
    /// # Errors
    /// It cannot be looked at.
    pub fn opened(&self, file: &Arc<File>) -> Result<(), Denied> {
        self.0.as_ref().map_or(Ok(()), |ledger| ledger.opened(file)).map_err(|_| Denied::Unknown)
    }
}

/// Why a call is not made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Denied {
    /// No space.
    Full,
    /// The host cannot tell what it would come to: an I/O error.
    Unknown,
}

impl From<Denied> for io::Error {
    fn from(denied: Denied) -> Self {
        match denied {
            Denied::Full => rustix::io::Errno::NOSPC,
            Denied::Unknown => rustix::io::Errno::IO,
        }
        .into()
    }
}

/// A charge, where there is an account.
#[must_use = "a charge that is not settled stays"]
#[derive(Debug)]
pub struct Charge(Option<Growing>);

impl Charge {
    /// Settles it: the call did exactly what was charged, or something else.
    pub fn over(self, exactly: bool) {
        match self.0 {
            Some(growing) if exactly => growing.done(),
            Some(growing) => growing.unsure(),
            None => {}
        }
    }
}

/// How one guest asks its accounts.
#[derive(Debug, Clone)]
pub struct Keeper {
    in_place: bool,
    strikes: Arc<Strikes>,
}

impl Keeper {
    /// For a guest whose file work is done on its own thread, or is not.
    pub const fn new(in_place: bool, strikes: Arc<Strikes>) -> Self {
        Self { in_place, strikes }
    }

    /// Puts on record that the guest was refused something.
    pub fn hit(&self, limit: LimitName) {
        self.strikes.hit(limit);
    }

    /// Does file work where the guest's other file work is done.
    ///
    /// # Errors
    /// Of the work; and where the thread that did it is gone.
    pub async fn blocking<T: Send + 'static>(&self, work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
        if self.in_place {
            return work();
        }
        tokio::task::spawn_blocking(work).await.unwrap_or_else(|_| Err(io::Error::other("a helper thread ended early")))
    }

    /// There is no room for an entry that would have to be made.
    pub fn full(&self) -> Denied {
        self.struck(Refused::Entries)
    }

    fn struck(&self, refused: Refused) -> Denied {
        match refused {
            Refused::Bytes => self.strikes.hit(LimitName::Home),
            Refused::Entries => self.strikes.hit(LimitName::Files),
            Refused::Unknown => return Denied::Unknown,
        }
        Denied::Full
    }

    /// Charges a growth.
    ///
    /// # Errors
    /// There is no room.
    pub async fn grow(&self, area: &Area, file: &Arc<File>, growth: Growth) -> Result<Charge, Denied> {
        let Some(ledger) = area.ledger() else { return Ok(Charge(None)) };
        let asked = match ledger.grow(file, growth) {
            Err(Refused::Bytes) if ledger.look_over(self.in_place).await => ledger.grow(file, growth),
            asked => asked,
        };
        asked.map(|growing| Charge(Some(growing))).map_err(|refused| self.struck(refused))
    }

    /// Charges a growth without waiting for anything.
    ///
    /// # Errors
    /// There is no room.
    pub fn grow_now(&self, ledger: &Arc<Ledger>, file: &Arc<File>, growth: Growth) -> Result<Growing, Denied> {
        ledger.grow(file, growth).map_err(|refused| self.struck(refused))
    }

    /// Charges an entry of this name, and the bytes that it is made with.
    ///
    /// # Errors
    /// There is no room. `Ok(None)`: there is none, but something has the name already, so that nothing would be made.
    pub async fn name(&self, ledger: &Arc<Ledger>, dir: &Arc<File>, path: &str, bytes: u64) -> Result<Option<Naming>, Denied> {
        let asked = match ledger.name(bytes) {
            Err(Refused::Bytes | Refused::Entries) if ledger.look_over(self.in_place).await => ledger.name(bytes),
            asked => asked,
        };
        match asked {
            Ok(naming) => Ok(Some(naming)),
            Err(_) if self.look(dir, path).await.is_some() => Ok(None),
            Err(refused) => Err(self.struck(refused)),
        }
    }

    /// What has a name now, if anything; a link itself, not what it leads to.
    pub async fn look(&self, dir: &Arc<File>, path: &str) -> Option<Metadata> {
        if self.in_place {
            return look(dir, path).ok();
        }
        let (dir, path) = (Arc::clone(dir), path.to_owned());
        tokio::task::spawn_blocking(move || look(&dir, &path)).await.ok()?.ok()
    }

    /// What a name stands for, to be credited if it is removed.
    pub async fn victim(&self, dir: &Arc<File>, path: &str) -> Option<Victim> {
        self.look(dir, path).await.map(|found| Victim::of(&found))
    }
}

fn look(dir: &File, path: &str) -> io::Result<Metadata> {
    Dir::from_std_file(dir.try_clone()?).symlink_metadata(path)
}
