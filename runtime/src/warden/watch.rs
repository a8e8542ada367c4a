//! What happens to a warden, as one stream of events: packets and output of its children, their ends,
//! requests on the control socket, signals. The tasks here only read and bound; [`super::life`] decides.

use std::{
    future::poll_fn,
    io,
    os::fd::OwnedFd,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use rustix::net::RecvFlags;
use tokio::{
    io::{Interest, unix::AsyncFd},
    sync::mpsc,
};

use super::{
    control::Request,
    logs::Stream,
    post::{Errand, LineEvent},
};
use crate::backend::{
    bucket::Bucket,
    protocol::{self, FromChild, PACKET_MOST_BYTES},
    spawned::Spawned,
};

/// Events that may wait, of what is no child.
const EVENTS_MOST: usize = 256;
/// Events of one child that may wait; a child that floods waits then, and its own bounds drop what it writes.
const CHILD_EVENTS_MOST: usize = 32;
/// Output read at once.
const READ_BYTES: usize = 16 * 1024;
/// Output read of a stream before its rate counts, and then in a second: far more than is kept. Who floods has to wait, rather than keep the
/// warden busy.
const READ_MOST_BYTES: u64 = 4 * 1024 * 1024;
const READ_BYTES_PER_SECOND: u64 = 64 * 1024 * 1024;
/// How long a stream that is read too fast is left alone.
const READ_PAUSE: Duration = Duration::from_millis(1);

/// A packet of a child, taken apart.
pub enum Packet {
    /// A message.
    Control(FromChild),
    /// Output of one of the child's agents.
    Output {
        /// The agent, as the child counts.
        guest: u16,
        /// The stream.
        stream: Stream,
        /// What was written. Hostile.
        bytes: Vec<u8>,
    },
}

/// One thing that happened. Children are counted in the order in which they were started.
pub enum Event {
    /// A child said something.
    Packet(usize, Packet),
    /// A child said something that is no packet of the protocol, or too large: it is not to be trusted further.
    Garbled(usize),
    /// A child's process wrote to one of its own streams.
    Output(usize, Stream, Vec<u8>),
    /// Both streams of a child and its socket are at their end, or its process is gone.
    Exited(usize),
    /// Somebody asked for something.
    Request(Request),
    /// A child that had no room for another packet has taken what waited for it.
    Room(usize),
    /// A child does not take packets.
    Deaf(usize),
    /// Something that was done beside the event loop is done.
    Errand(Errand),
    /// A member's own connection: opened, closed, or used.
    Line(LineEvent),
    /// The warden was told to end: SIGTERM or SIGINT.
    Signal,
}

/// Where events come together: a queue for each child, and one for everything else. They are taken from in turns, so that who writes without end
/// keeps nobody else waiting.
pub struct Watch {
    sender: mpsc::Sender<Event>,
    /// The first is that of `sender`.
    queues: Vec<mpsc::Receiver<Event>>,
    /// The queue whose turn it is.
    turn: usize,
}

/// The descriptors of a child that are watched.
pub struct Watched {
    /// Readable when the process has ended: pidfd_open(2).
    pub pidfd: OwnedFd,
    /// Its message socket.
    pub socket: OwnedFd,
    /// Its output streams, where they are captured by pipe.
    pub outputs: Vec<(Stream, OwnedFd)>,
}

impl Watched {
    /// The descriptors of a child; its output streams go over to the watch.
    ///
    /// # Errors
    /// No descriptors left.
    pub fn of(spawned: &mut Spawned) -> io::Result<Self> {
        let pidfd = spawned.pidfd().try_clone_to_owned()?;
        let socket = spawned.socket.try_clone()?;
        let streams = [(Stream::Out, spawned.stdout.take()), (Stream::Err, spawned.stderr.take())];
        Ok(Self { pidfd, socket, outputs: streams.into_iter().filter_map(|(stream, fd)| Some((stream, fd?))).collect() })
    }
}

impl Watch {
    /// A watch over nothing yet.
    pub fn new() -> Self {
        let (sender, receiver) = mpsc::channel(EVENTS_MOST);
        Self { sender, queues: vec![receiver], turn: 0 }
    }

    /// The next event. The watch itself keeps the stream open, so there always is one to wait for.
    pub async fn next(&mut self) -> Option<Event> {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Event>> {
        let mut left = self.queues.len();
        while left > 0 {
            left -= 1;
            let index = self.turn % self.queues.len();
            self.turn = index + 1;
            match self.queues[index].poll_recv(cx) {
                Poll::Ready(Some(event)) => return Poll::Ready(Some(event)),
                // A child that is gone, and everything that it wrote was taken. The next queue has its place.
                Poll::Ready(None) if index > 0 => {
                    self.queues.remove(index);
                    self.turn = index;
                }
                Poll::Ready(None) => return Poll::Ready(None),
                Poll::Pending => {}
            }
        }
        Poll::Pending
    }

    /// Watches a child from now on: everything that it wrote comes before its end.
    ///
    /// # Errors
    /// A descriptor that cannot be watched.
    pub fn child(&mut self, index: usize, watched: Watched) -> io::Result<()> {
        let Watched { pidfd, socket, outputs } = watched;
        let pidfd = crate::unchecked::watched(pidfd, Interest::READABLE)?;
        rustix::io::ioctl_fionbio(&socket, true)?;
        let socket = crate::unchecked::watched(socket, Interest::READABLE)?;
        let (sender, queue) = mpsc::channel(CHILD_EVENTS_MOST);
        let mut readers = Vec::new();
        readers.push(tokio::spawn(read_packets(index, socket, sender.clone())));
        for (stream, fd) in outputs {
            rustix::io::ioctl_fionbio(&fd, true)?;
            let fd = crate::unchecked::watched(fd, Interest::READABLE)?;
            readers.push(tokio::spawn(read_output(index, stream, fd, sender.clone())));
        }
        self.queues.push(queue);
        tokio::spawn(async move {
            // An error here means that the process cannot be waited for; the readers' end then has to do.
            let _ = pidfd.readable().await;
            for reader in readers {
                // A descendant that still holds a pipe must not hold up the news of the end.
                let _ = tokio::time::timeout(Duration::from_millis(200), reader).await;
            }
            let _ = sender.send(Event::Exited(index)).await;
        });
        Ok(())
    }

    /// The way in for tasks that read on their own, such as those of members' sockets. It is bounded: who floods waits.
    pub fn sender(&self) -> mpsc::Sender<Event> {
        self.sender.clone()
    }

    /// Watches the control socket's requests.
    pub fn requests(&self, mut requests: mpsc::UnboundedReceiver<Request>) {
        let sender = self.sender.clone();
        tokio::spawn(async move {
            while let Some(request) = requests.recv().await {
                if sender.send(Event::Request(request)).await.is_err() {
                    return;
                }
            }
        });
    }

    /// Watches a pipe into which signals are written.
    ///
    /// # Errors
    /// A descriptor that cannot be watched.
    pub fn signals(&self, pipe: OwnedFd) -> io::Result<()> {
        rustix::io::ioctl_fionbio(&pipe, true)?;
        let pipe = crate::unchecked::watched(pipe, Interest::READABLE)?;
        let sender = self.sender.clone();
        tokio::spawn(async move {
            let mut buffer = [0; 16];
            while let Ok(read) = read_some(&pipe, &mut buffer).await {
                if read == 0 || sender.send(Event::Signal).await.is_err() {
                    return;
                }
            }
        });
        Ok(())
    }
}

impl Default for Watch {
    fn default() -> Self {
        Self::new()
    }
}

async fn read_some(fd: &AsyncFd<OwnedFd>, buffer: &mut [u8]) -> io::Result<usize> {
    fd.async_io(Interest::READABLE, |fd| Ok(rustix::io::read(fd, &mut *buffer)?)).await
}

async fn read_output(index: usize, stream: Stream, fd: AsyncFd<OwnedFd>, sender: mpsc::Sender<Event>) {
    let mut buffer = vec![0; READ_BYTES];
    let mut pace = Bucket::new(READ_MOST_BYTES, READ_BYTES_PER_SECOND, Instant::now());
    while let Ok(read @ 1..) = read_some(&fd, &mut buffer).await {
        if sender.send(Event::Output(index, stream, buffer[..read].to_vec())).await.is_err() {
            return;
        }
        pace.refill(Instant::now());
        while !pace.spend(read as u64) {
            tokio::time::sleep(READ_PAUSE).await;
            pace.refill(Instant::now());
        }
    }
}

async fn read_packets(index: usize, socket: AsyncFd<OwnedFd>, sender: mpsc::Sender<Event>) {
    let mut buffer = vec![0; PACKET_MOST_BYTES];
    loop {
        // With TRUNC, the answer is the packet's real length, also where it did not fit.
        let received = socket.async_io(Interest::READABLE, |socket| {
            let (_, length) = rustix::net::recv(socket, &mut buffer[..], RecvFlags::TRUNC | RecvFlags::DONTWAIT)?;
            Ok(length)
        });
        let event = match received.await {
            Ok(0) | Err(_) => return,
            Ok(length) => take_apart(index, buffer.get(..length)),
        };
        let garbled = matches!(event, Event::Garbled(_));
        if sender.send(event).await.is_err() || garbled {
            return;
        }
    }
}

/// Takes a child's packet apart; `None` is one that was too large to be read.
pub fn take_apart(index: usize, packet: Option<&[u8]>) -> Event {
    match packet.map(protocol::from_child) {
        Some(Ok(protocol::Packet::Control(said))) => Event::Packet(index, Packet::Control(said)),
        Some(Ok(protocol::Packet::Output { guest, stream, bytes })) => {
            let stream = match stream {
                protocol::Stream::Stdout => Stream::Out,
                protocol::Stream::Stderr => Stream::Err,
            };
            Event::Packet(index, Packet::Output { guest, stream, bytes: bytes.to_vec() })
        }
        Some(Err(_)) | None => Event::Garbled(index),
    }
}

/// A pipe that becomes readable when the process is told to end.
///
/// # Errors
/// No descriptors, or a handler that cannot be installed.
pub fn termination_pipe() -> io::Result<OwnedFd> {
    let (reader, writer) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
    let writer = Arc::new(writer);
    for signal in [signal_hook::consts::SIGTERM, signal_hook::consts::SIGINT, signal_hook::consts::SIGHUP] {
        signal_hook::low_level::pipe::register(signal, writer.try_clone()?)?;
    }
    Ok(reader)
}
