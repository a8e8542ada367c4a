//! The account of one directory tree: what its files hold, and how many entries it has.

use std::{
    collections::HashMap,
    fs::File,
    io,
    os::unix::fs::MetadataExt,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::{Duration, Instant},
};

use super::survey::{Survey, survey};
use crate::policy::{ByteSize, Limits};

/// Between two surveys passes at least this: one is cheap where the tree is small.
const SURVEY_EVERY: Duration = Duration::from_millis(100);
/// Surveys take at most this part of the time: a guest that stays at its limit cannot keep the host walking.
const SURVEY_SHARE: u32 = 20;
/// Within this, a call that was given up is over in its helper thread.
const ADRIFT_WITHIN: Duration = Duration::from_secs(2);
/// With more descriptors than this on record, those that were closed are looked for when another is opened.
const SWEEP_ABOVE: usize = 64;

/// What a tree may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Allowance {
    /// Bytes of its files and links.
    pub bytes: u64,
    /// Files, directories and links.
    pub entries: u64,
}

impl Allowance {
    /// What one agent's home may hold.
    pub fn of(limits: &Limits) -> Self {
        Self { bytes: limits.home.bytes(), entries: u64::from(limits.files.get()) }
    }

    /// The larger of both, each for itself.
    pub fn max(self, other: Self) -> Self {
        Self { bytes: self.bytes.max(other.bytes), entries: self.entries.max(other.entries) }
    }

    /// The bytes, for people.
    pub fn size(self) -> String {
        ByteSize::new(self.bytes).map_or_else(|| "0 B".to_owned(), |size| size.to_string())
    }
}

/// Why a growth is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// Not so many bytes are left.
    Bytes,
    /// Not so many entries are left.
    Entries,
    /// The host cannot tell what the growth would be.
    Unknown,
}

/// A file, whatever its names: device and inode.
pub type Node = (u64, u64);

/// How a call makes a file grow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Growth {
    /// So many bytes are written at this place.
    Write {
        /// Where.
        at: u64,
        /// How many.
        bytes: u64,
    },
    /// So many bytes are written at the end.
    Append(u64),
    /// It is given this size.
    Size(u64),
}

/// A file that is open, or was.
#[derive(Debug, Default)]
struct Account {
    /// Its size as it is charged: never less than it is on the disk.
    charged: u64,
    /// Those who hold it open.
    holders: Vec<Weak<File>>,
    /// Calls under way that may change its size.
    busy: u32,
    /// A call ended otherwise than it was charged: the size is looked up when none is under way.
    doubted: bool,
    /// It has no name any more, and is gone when nobody holds it.
    nameless: bool,
}

#[derive(Debug, Default)]
struct Books {
    bytes: u64,
    entries: u64,
    accounts: HashMap<Node, Account>,
    /// The file of each holder. Its address stands for it: while a weak reference is kept, no other gets the same.
    holders: HashMap<usize, Node>,
    /// Calls that were given up while a helper thread may still carry them out.
    adrift: Vec<(Node, Arc<File>)>,
    /// Names that are being made.
    naming: u32,
    /// Raised by each change, so that a survey knows whether it was overtaken.
    version: u64,
    /// No survey before this.
    next_survey: Option<Instant>,
}

/// The account of one tree.
#[derive(Debug)]
pub struct Ledger {
    dir: Arc<File>,
    allowance: Allowance,
    books: Mutex<Books>,
    /// Held by whoever makes or removes names: what a name stands for is looked up just before.
    pub names: tokio::sync::Mutex<()>,
}

impl Ledger {
    /// Opens the account with what the tree holds.
    ///
    /// # Errors
    /// A tree that cannot be read, or not all of it.
    pub fn open(dir: Arc<File>, allowance: Allowance) -> io::Result<Arc<Self>> {
        let found = survey(&dir)?;
        let books = Books { bytes: found.bytes, entries: found.entries, ..Books::default() };
        let names = tokio::sync::Mutex::new(());
        Ok(Arc::new(Self { dir, allowance, books: Mutex::new(books), names }))
    }

    /// What the tree may hold.
    pub const fn allowance(&self) -> Allowance {
        self.allowance
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts on record that a file was opened: its bytes stay charged for as long as somebody holds it, with a name or without.
    ///
    /// # Errors
    /// A file that cannot be looked at: it must be closed again.
    pub fn opened(&self, file: &Arc<File>) -> io::Result<()> {
        self.books().node(file).map(drop)
    }

    /// Charges what a call would add to a file, before it is made.
    ///
    /// # Errors
    /// There is no room, or the file cannot be looked at.
    pub fn grow(self: &Arc<Self>, file: &Arc<File>, growth: Growth) -> Result<Growing, Refused> {
        let mut books = self.books();
        let node = books.node(file).map_err(|_| Refused::Unknown)?;
        let most = self.allowance.bytes;
        if !books.charge(node, growth, most) {
            books.settle_all();
            if !books.charge(node, growth, most) {
                return Err(Refused::Bytes);
            }
        }
        Ok(Growing { ledger: Arc::clone(self), node, file: Some(Arc::clone(file)) })
    }

    /// Charges an entry, and the bytes that it is made with, before it is made.
    ///
    /// # Errors
    /// There is no room.
    pub fn name(self: &Arc<Self>, bytes: u64) -> Result<Naming, Refused> {
        let mut books = self.books();
        if books.entries >= self.allowance.entries {
            return Err(Refused::Entries);
        }
        if bytes > self.allowance.bytes.saturating_sub(books.bytes) {
            books.settle_all();
            if bytes > self.allowance.bytes.saturating_sub(books.bytes) {
                return Err(Refused::Bytes);
            }
        }
        books.entries += 1;
        books.bytes += bytes;
        books.naming += 1;
        books.version += 1;
        Ok(Naming { ledger: Arc::clone(self), bytes, told: false })
    }

    /// Charges an entry that the host itself made, whether there is room or not: it makes two at the most.
    pub fn made_by_host(&self) {
        let mut books = self.books();
        books.entries += 1;
        books.version += 1;
    }

    /// Credits what a name stood for, after it was removed.
    pub fn removed(&self, victim: &Victim) {
        let mut books = self.books();
        books.version += 1;
        books.entries = books.entries.saturating_sub(1);
        if !victim.last {
            return;
        }
        // An inode whose last holder went may have been another file's before.
        if books.accounts.get(&victim.node).is_some_and(Account::is_left) {
            books.settle(victim.node);
        }
        if let Some(account) = books.accounts.get_mut(&victim.node) {
            account.nameless = true;
            books.settle_all();
        } else {
            books.bytes = books.bytes.saturating_sub(victim.bytes);
        }
    }

    /// Looks the tree over, should the books say that it is full: what others removed, or a call that was given up left undone, makes room too.
    /// Returns whether it is worth asking again.
    pub async fn look_over(&self, in_place: bool) -> bool {
        let now = Instant::now();
        let version = {
            let mut books = self.books();
            books.settle_all();
            // What is under way is seen half by a walk. Nor would a walk find anything where nobody but this host was at work.
            let busy = books.naming > 0 || books.accounts.values().any(|account| account.busy > 0);
            if busy || books.next_survey.is_some_and(|next| now < next) {
                return false;
            }
            books.next_survey = Some(now + SURVEY_EVERY);
            books.version
        };
        let found = if in_place {
            survey(&self.dir)
        } else {
            let dir = Arc::clone(&self.dir);
            match tokio::task::spawn_blocking(move || survey(&dir)).await {
                Ok(found) => found,
                Err(error) => Err(io::Error::other(error)),
            }
        };
        let mut books = self.books();
        books.next_survey = Some(Instant::now() + SURVEY_EVERY.max(now.elapsed() * SURVEY_SHARE));
        match found {
            Ok(found) if books.version == version => {
                books.replace(found);
                true
            }
            // Overtaken, or not to be read: the books stand, which never say less than there is.
            Ok(_) | Err(_) => false,
        }
    }

    /// What the books say: bytes, and entries.
    #[cfg(test)]
    pub fn totals(&self) -> (u64, u64) {
        let mut books = self.books();
        books.settle_all();
        (books.bytes, books.entries)
    }
}

impl Books {
    /// The file behind a holder, which is put on record if it is new.
    fn node(&mut self, file: &Arc<File>) -> io::Result<Node> {
        let holder = Arc::as_ptr(file).addr();
        if let Some(node) = self.holders.get(&holder) {
            return Ok(*node);
        }
        if self.holders.len() > SWEEP_ABOVE {
            self.settle_all();
        }
        let found = file.metadata()?;
        let node = (found.dev(), found.ino());
        // An inode whose last holder went is another file's by now.
        if self.accounts.get(&node).is_some_and(Account::is_left) {
            self.settle(node);
        }
        let account = self.accounts.entry(node).or_default();
        if account.holders.is_empty() {
            account.charged = if found.is_file() { found.len() } else { 0 };
            if found.is_file() && found.nlink() == 0 {
                // Its name was removed, and credited, while it was being opened.
                account.nameless = true;
                self.bytes += account.charged;
            }
        }
        account.holders.push(Arc::downgrade(file));
        self.holders.insert(holder, node);
        self.version += 1;
        Ok(node)
    }

    /// Charges a growth, if it fits.
    fn charge(&mut self, node: Node, growth: Growth, most: u64) -> bool {
        let Some(account) = self.accounts.get_mut(&node) else { return false };
        let end = match growth {
            Growth::Write { at, bytes } => at.saturating_add(bytes),
            Growth::Append(bytes) => account.charged.saturating_add(bytes),
            Growth::Size(size) => size,
        };
        let more = end.saturating_sub(account.charged);
        if more > 0 && more > most.saturating_sub(self.bytes) {
            return false;
        }
        account.charged += more;
        account.busy += 1;
        self.bytes += more;
        self.version += 1;
        true
    }

    /// A call is over; `exactly` says whether the file is as it was charged.
    fn over(&mut self, node: Node, file: &File, exactly: bool) {
        self.version += 1;
        let Some(account) = self.accounts.get_mut(&node) else { return };
        account.busy = account.busy.saturating_sub(1);
        account.doubted |= !exactly;
        if account.busy == 0 && account.doubted {
            // What cannot be looked at stays charged.
            if let Ok(found) = file.metadata() {
                account.doubted = false;
                let size = if found.is_file() { found.len() } else { 0 };
                self.bytes = self.bytes.saturating_sub(account.charged).saturating_add(size);
                account.charged = size;
            }
        }
    }

    /// Catches up with everything that was closed, or given up, meanwhile.
    fn settle_all(&mut self) {
        // Nobody else holds these: the helper thread is done with them.
        let (done, adrift): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.adrift).into_iter().partition(|(_, file)| Arc::strong_count(file) == 1);
        self.adrift = adrift;
        for (node, file) in done {
            self.over(node, &file, false);
        }
        let left: Vec<Node> = self.accounts.iter().filter(|(_, account)| account.is_left()).map(|(node, _)| *node).collect();
        left.into_iter().for_each(|node| self.settle(node));
        let accounts = &mut self.accounts;
        let holders = &mut self.holders;
        for account in accounts.values_mut() {
            account.holders.retain(|holder| {
                let held = holder.strong_count() > 0;
                if !held {
                    holders.remove(&holder.as_ptr().addr());
                }
                held
            });
        }
    }

    /// Closes the account of a file that nobody holds.
    fn settle(&mut self, node: Node) {
        let Some(account) = self.accounts.remove(&node) else { return };
        for holder in &account.holders {
            self.holders.remove(&holder.as_ptr().addr());
        }
        if account.nameless {
            self.bytes = self.bytes.saturating_sub(account.charged);
        }
    }

    /// Takes over what a survey found, which nothing overtook; no call is under way.
    fn replace(&mut self, found: Survey) {
        self.entries = found.entries;
        self.bytes = found.bytes;
        for account in self.accounts.values_mut() {
            match account.holders.iter().find_map(Weak::upgrade).map(|file| file.metadata()) {
                // Gone, and not found any more.
                None => account.nameless = false,
                Some(Ok(now)) => {
                    account.charged = if now.is_file() { now.len() } else { 0 };
                    account.doubted = false;
                    account.nameless = now.is_file() && now.nlink() == 0;
                }
                Some(Err(_)) => {}
            }
            if account.nameless {
                self.bytes = self.bytes.saturating_add(account.charged);
            }
        }
    }
}

impl Account {
    /// Whether nobody holds it.
    fn is_left(&self) -> bool {
        self.busy == 0 && self.holders.iter().all(|holder| holder.strong_count() == 0)
    }
}

/// A call that may make a file grow, charged. Dropped without a word, it is taken to be still under way in a helper thread.
#[must_use = "a charge that is not settled stays"]
#[derive(Debug)]
pub struct Growing {
    ledger: Arc<Ledger>,
    node: Node,
    file: Option<Arc<File>>,
}

impl Growing {
    /// The call did all that it was charged for.
    pub fn done(self) {
        self.over(true);
    }

    /// The call failed, did less, or made the file smaller: what it really did is looked up.
    pub fn unsure(self) {
        self.over(false);
    }

    fn over(mut self, exactly: bool) {
        if let Some(file) = self.file.take() {
            self.ledger.books().over(self.node, &file, exactly);
        }
    }
}

impl Drop for Growing {
    fn drop(&mut self) {
        if let Some(file) = self.file.take() {
            self.ledger.books().adrift.push((self.node, file));
        }
    }
}

/// A name that is being made, charged. Dropped without a word, it stays charged until the tree is looked over.
#[must_use = "a charge that is not settled stays"]
#[derive(Debug)]
pub struct Naming {
    ledger: Arc<Ledger>,
    bytes: u64,
    told: bool,
}

impl Naming {
    /// Settles it: the name was made, or not.
    pub fn over(mut self, made: bool) {
        self.told = true;
        if !made {
            let mut books = self.ledger.books();
            books.entries = books.entries.saturating_sub(1);
            books.bytes = books.bytes.saturating_sub(self.bytes);
        }
    }
}

impl Drop for Naming {
    fn drop(&mut self) {
        let mut books = self.ledger.books();
        books.naming = books.naming.saturating_sub(1);
        books.version += 1;
        if !self.told {
            // A helper thread may still make it: a survey must not pass before that.
            books.next_survey = Some(Instant::now() + ADRIFT_WITHIN);
        }
    }
}

/// What a name stands for, looked up before it is removed.
#[derive(Debug, Clone, Copy)]
pub struct Victim {
    /// The file.
    pub node: Node,
    /// Its size; nothing for what holds no bytes.
    pub bytes: u64,
    /// Whether this is its last name.
    pub last: bool,
}

impl Victim {
    /// What a look-up found.
    pub fn of(found: &cap_std::fs::Metadata) -> Self {
        use cap_std::fs::MetadataExt as _;
        let holds = found.is_file() || found.is_symlink();
        Self { node: (found.dev(), found.ino()), bytes: if holds { found.len() } else { 0 }, last: holds && found.nlink() <= 1 }
    }
}
