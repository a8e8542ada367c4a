//! A stream into a file, counted.

use std::{fs::File, sync::Arc};

use bytes::Bytes;
use wasmtime_wasi::{
    async_trait,
    p2::{DynOutputStream, OutputStream, Pollable, StreamError, StreamResult},
};

use super::{
    area::{Area, Denied, Keeper},
    ledger::{Growing, Growth, Ledger},
};

/// Where a stream writes.
#[derive(Debug, Clone, Copy)]
pub enum Place {
    /// Here, and on from here.
    At(u64),
    /// At the end, wherever that is by then.
    End,
}

/// wasmtime's stream into a file, behind the file's account.
pub struct Counted {
    inner: DynOutputStream,
    file: Arc<File>,
    ledger: Arc<Ledger>,
    keeper: Keeper,
    place: Place,
    /// A write that a helper thread carries out.
    pending: Option<Growing>,
    /// It was refused something, and takes nothing more: as after any other failed write.
    closed: bool,
}

impl Counted {
    /// Puts a stream behind an account.
    pub const fn new(inner: DynOutputStream, file: Arc<File>, ledger: Arc<Ledger>, keeper: Keeper, place: Place) -> Self {
        Self { inner, file, ledger, keeper, place, pending: None, closed: false }
    }

    fn growth(&self, bytes: usize) -> Growth {
        let bytes = bytes as u64;
        match self.place {
            Place::At(at) => Growth::Write { at, bytes },
            Place::End => Growth::Append(bytes),
        }
    }

    fn wrote(&mut self, bytes: usize) {
        if let Place::At(at) = &mut self.place {
            *at = at.saturating_add(bytes as u64);
        }
    }

    fn refused(&mut self, denied: Denied) -> StreamError {
        self.closed = true;
        StreamError::LastOperationFailed(std::io::Error::from(denied).into())
    }

    fn check(&self) -> StreamResult<()> {
        if self.closed { Err(StreamError::Closed) } else { Ok(()) }
    }

    fn settle(&mut self) {
        if let Some(growing) = self.pending.take() {
            growing.unsure();
        }
    }
}

#[async_trait]
impl Pollable for Counted {
    async fn ready(&mut self) {
        self.inner.as_mut().ready().await;
        self.settle();
    }
}

#[async_trait]
impl OutputStream for Counted {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.check()?;
        if bytes.is_empty() || self.pending.is_some() {
            // Nothing grows; or the guest did not ask whether it may write, which the stream itself answers.
            return self.inner.write(bytes);
        }
        let count = bytes.len();
        let growing = self.keeper.grow_now(&self.ledger, &self.file, self.growth(count)).map_err(|denied| self.refused(denied))?;
        match self.inner.write(bytes) {
            Ok(()) => {
                self.pending = Some(growing);
                self.wrote(count);
                Ok(())
            }
            Err(error) => {
                growing.unsure();
                Err(error)
            }
        }
    }

    async fn blocking_write_and_flush(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.ready().await;
        self.check()?;
        if bytes.is_empty() {
            return self.inner.blocking_write_and_flush(bytes).await;
        }
        let count = bytes.len();
        let area = Area::from(Some(Arc::clone(&self.ledger)));
        let charge = self.keeper.grow(&area, &self.file, self.growth(count)).await.map_err(|denied| self.refused(denied))?;
        let written = self.inner.blocking_write_and_flush(bytes).await;
        charge.over(written.is_ok());
        if written.is_ok() {
            self.wrote(count);
        }
        written
    }

    fn flush(&mut self) -> StreamResult<()> {
        self.check()?;
        self.inner.flush()
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        self.check()?;
        self.inner.check_write()
    }

    async fn cancel(&mut self) {
        self.inner.cancel().await;
        self.settle();
    }
}
