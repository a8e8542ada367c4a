//! A guest's standard streams: the warden's (captured) or the caller's own (inherited).

use std::{io, os::fd::BorrowedFd, sync::Arc};

use bytes::Bytes;
use rustix::{
    event::{PollFd, PollFlags, poll},
    io::Errno,
};
use tokio::io::{AsyncRead, AsyncWrite};
use wasmtime_wasi::{
    async_trait,
    cli::{IsTerminal, StdinStream, StdoutStream},
    p2::{InputStream, OutputStream, Pollable, StreamError, StreamResult},
};

use super::{outbox::Outbox, told::Told};
use crate::backend::protocol::Stream;

/// What one write may bring: also what a host call allocates for it.
const WRITE_MOST_BYTES: usize = 32 * 1024;

/// An empty stdin that ends when the agent is told to close.
#[derive(Debug, Clone)]
pub struct CapturedIn(pub Told);

impl IsTerminal for CapturedIn {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdinStream for CapturedIn {
    fn async_stream(&self) -> Box<dyn AsyncRead + Send + Sync> {
        // Only preview 3 asks for this form, and it is not built in.
        Box::new(tokio::io::empty())
    }

    fn p2_stream(&self) -> Box<dyn InputStream> {
        Box::new(self.clone())
    }
}

#[async_trait]
impl Pollable for CapturedIn {
    async fn ready(&mut self) {
        self.0.closing().await;
    }
}

#[async_trait]
impl InputStream for CapturedIn {
    fn read(&mut self, _size: usize) -> StreamResult<Bytes> {
        if self.0.is_closing() { Err(StreamError::Closed) } else { Ok(Bytes::new()) }
    }
}

/// A stream to the warden's log.
#[derive(Debug, Clone)]
pub struct CapturedOut {
    /// The way to the warden.
    pub outbox: Arc<Outbox>,
    /// Whose stream.
    pub guest: u16,
    /// Which.
    pub stream: Stream,
}

impl IsTerminal for CapturedOut {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for CapturedOut {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        // As above.
        Box::new(tokio::io::sink())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

#[async_trait]
impl Pollable for CapturedOut {
    async fn ready(&mut self) {
        self.outbox.room(self.guest).await;
    }
}

#[async_trait]
impl OutputStream for CapturedOut {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.outbox.output(self.guest, self.stream, &bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(if self.outbox.is_paused(self.guest) { 0 } else { WRITE_MOST_BYTES })
    }
}

/// The caller's own stdin. wasmtime reads it on a thread of its own, which starts with the guest's first read: after the jail.
#[derive(Debug, Clone, Copy)]
pub struct InheritedIn {
    terminal: bool,
}

impl InheritedIn {
    /// Looks at stdin once; the jail may not allow it later.
    pub fn new() -> Self {
        Self { terminal: io::IsTerminal::is_terminal(&io::stdin()) }
    }
}

impl IsTerminal for InheritedIn {
    fn is_terminal(&self) -> bool {
        self.terminal
    }
}

impl StdinStream for InheritedIn {
    fn async_stream(&self) -> Box<dyn AsyncRead + Send + Sync> {
        Box::new(tokio::io::empty())
    }

    fn p2_stream(&self) -> Box<dyn InputStream> {
        StdinStream::p2_stream(&wasmtime_wasi::cli::stdin())
    }
}

/// The caller's own stdout or stderr: every write goes to the descriptor at once, so that nothing is left to flush.
#[derive(Debug, Clone, Copy)]
pub struct InheritedOut {
    stream: Stream,
    terminal: bool,
}

impl InheritedOut {
    /// Looks at the stream once; the jail may not allow it later.
    pub fn new(stream: Stream) -> Self {
        let terminal = match stream {
            Stream::Stdout => io::IsTerminal::is_terminal(&io::stdout()),
            Stream::Stderr => io::IsTerminal::is_terminal(&io::stderr()),
        };
        Self { stream, terminal }
    }

    /// Writes a line of the host's own making. A reader that went away has its reasons.
    pub fn line(self, bytes: &[u8]) {
        let _ = write_all(self.fd(), bytes);
    }

    fn fd(self) -> BorrowedFd<'static> {
        match self.stream {
            Stream::Stdout => rustix::stdio::stdout(),
            Stream::Stderr => rustix::stdio::stderr(),
        }
    }
}

impl IsTerminal for InheritedOut {
    fn is_terminal(&self) -> bool {
        self.terminal
    }
}

impl StdoutStream for InheritedOut {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(tokio::io::sink())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(*self)
    }
}

#[async_trait]
impl Pollable for InheritedOut {
    async fn ready(&mut self) {}
}

#[async_trait]
impl OutputStream for InheritedOut {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        match write_all(self.fd(), &bytes) {
            Ok(()) => Ok(()),
            Err(Errno::PIPE) => Err(StreamError::Closed),
            Err(error) => Err(StreamError::LastOperationFailed(io::Error::from(error).into())),
        }
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(WRITE_MOST_BYTES)
    }
}

/// Writes all of it. Whoever shares the descriptor may have made it non-blocking: then it waits.
fn write_all(fd: BorrowedFd<'_>, mut bytes: &[u8]) -> Result<(), Errno> {
    while !bytes.is_empty() {
        match rustix::io::write(fd, bytes) {
            Ok(count) => bytes = &bytes[count..],
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => {
                poll(&mut [PollFd::from_borrowed_fd(fd, PollFlags::OUT)], None)?;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
