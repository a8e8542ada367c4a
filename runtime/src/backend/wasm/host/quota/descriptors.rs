//! What the numbers of preview 1 stand for.
//!
//! wasmtime keeps its descriptors to itself. What a number stands for is learned when it is opened: the one descriptor in the table of
//! resources that was not there before. If there is not exactly one, nothing is opened.

use std::{
    collections::{BTreeMap, HashSet},
    fs::File,
    sync::Arc,
};

use wasmtime_wasi::{
    WasiView as _,
    filesystem::Descriptor,
    p1::{
        types::{Errno, Error, Fd},
        wasi_snapshot_preview1::WasiSnapshotPreview1,
    },
};
use wiggle::GuestMemory;

use super::{area::Area, ledger::Ledger};
use crate::backend::wasm::host::{dirents::Cursor, guest::State};

/// The first preopened directory.
const FIRST: u32 = 3;

/// Something that is open.
#[derive(Debug, Clone)]
pub enum Open {
    /// A directory.
    Dir {
        /// It.
        dir: Arc<File>,
        /// Whether it may be written.
        writable: bool,
    },
    /// A file.
    File {
        /// It.
        file: Arc<File>,
        /// Whether all is written at its end.
        append: bool,
    },
}

impl Open {
    const fn handle(&self) -> &Arc<File> {
        match self {
            Self::Dir { dir: file, .. } | Self::File { file, .. } => file,
        }
    }

    fn address(&self) -> usize {
        Arc::as_ptr(self.handle()).addr()
    }
}

/// What the descriptors of a core module stand for.
#[derive(Debug, Default)]
pub struct Descriptors {
    /// None before the first is used.
    open: Option<BTreeMap<u32, (Area, Open)>>,
    /// Everything in the table of resources that was looked at.
    known: HashSet<usize>,
    /// How far directories were listed, by number.
    pub listings: BTreeMap<u32, Cursor>,
    /// What this call may allocate.
    pub fuel: usize,
}

/// A directory that may be written, and its account.
pub struct Place {
    /// The account.
    pub ledger: Arc<Ledger>,
    /// The directory.
    pub dir: Arc<File>,
}

impl State {
    /// What the descriptors stand for, from the preopened ones on.
    pub(super) fn descriptors(&mut self, memory: &mut GuestMemory<'_>) -> &mut BTreeMap<u32, (Area, Open)> {
        if self.descriptors.open.is_none() {
            // wasmtime makes its own list with the first call, whatever that comes to.
            let _ = self.wasi.fd_prestat_get(memory, FIRST.into());
            let places = self
                .places()
                .iter()
                .map(|place| (place.ledger.clone().into(), Open::Dir { dir: Arc::clone(&place.dir.dir), writable: place.writable }));
            let open = (FIRST..).zip(places).collect();
            self.descriptors.open = Some(open);
            let known = self.wasi.ctx().table.iter_mut().filter_map(|entry| entry.downcast_ref()).map(address).collect();
            self.descriptors.known = known;
        }
        self.descriptors.open.get_or_insert_default()
    }

    pub(super) fn open(&mut self, memory: &mut GuestMemory<'_>, fd: Fd) -> Option<(Area, Open)> {
        self.descriptors(memory).get(&fd.into()).cloned()
    }

    /// A directory that is written to at somebody's cost; none where the original refuses, or nobody pays.
    pub(super) fn place(&mut self, memory: &mut GuestMemory<'_>, fd: Fd) -> Option<Place> {
        let (area, Open::Dir { dir, writable: true }) = self.open(memory, fd)? else { return None };
        Some(Place { ledger: Arc::clone(area.ledger()?), dir })
    }

    /// A file and its account.
    pub(super) fn payer(&mut self, memory: &mut GuestMemory<'_>, fd: Fd) -> Option<(Area, Arc<File>, bool)> {
        let (area, Open::File { file, append }) = self.open(memory, fd)? else { return None };
        Some((area, file, append))
    }

    /// Two writable directories whose accounts differ: between them nothing is linked or renamed.
    pub(super) fn crosses(&mut self, memory: &mut GuestMemory<'_>, from: Fd, to: Fd) -> bool {
        let (Some((from, Open::Dir { writable: true, .. })), Some((to, Open::Dir { writable: true, .. }))) =
            (self.open(memory, from), self.open(memory, to))
        else {
            return false;
        };
        !from.is(&to)
    }

    /// Learns what a number that was just opened stands for.
    pub(super) fn learn(&mut self, below: Option<(Area, bool)>, fd: Fd, append: bool) -> Result<Open, Error> {
        let (area, writable) = below.ok_or(Errno::Io)?;
        let known = &self.descriptors.known;
        let found = self.wasi.ctx().table.iter_mut().filter_map(|entry| entry.downcast_ref::<Descriptor>());
        let mut new = found.filter(|found| !known.contains(&address(found)));
        let (Some(descriptor), None) = (new.next(), new.next()) else { return Err(Errno::Io.into()) };
        let open = match descriptor {
            Descriptor::Dir(dir) => Open::Dir { dir: Arc::clone(&dir.dir), writable },
            Descriptor::File(file) => Open::File { file: Arc::clone(&file.file), append },
        };
        drop(new);
        if let Open::File { file, .. } = &open {
            area.opened(file)?;
        }
        self.openings.add(open.handle());
        self.descriptors.known.insert(open.address());
        self.descriptors.open.get_or_insert_default().insert(fd.into(), (area, open.clone()));
        Ok(open)
    }

    pub(super) fn forget(&mut self, fd: Fd) {
        self.descriptors.listings.remove(&fd.into());
        if let Some((_, open)) = self.descriptors.open.as_mut().and_then(|open| open.remove(&fd.into())) {
            self.descriptors.known.remove(&open.address());
        }
    }
}

fn address(descriptor: &Descriptor) -> usize {
    match descriptor {
        Descriptor::File(file) => Arc::as_ptr(&file.file).addr(),
        Descriptor::Dir(dir) => Arc::as_ptr(&dir.dir).addr(),
    }
}
