//! The control socket of a warden: `cells/<id>/run/control.sock`, mode 0600, peers checked.
//!
//! A connection carries one [`Ask`] as a JSON line and its [`Answer`]s as JSON lines. The path may be longer
//! than a socket's address allows (108 bytes), so both sides name it through the descriptor of its directory.

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    os::{
        fd::{AsFd, AsRawFd},
        unix::net::{UnixListener, UnixStream},
    },
    path::PathBuf,
    time::Duration,
};

use rustix::{
    fs::{AtFlags, FileType},
    io::Errno,
};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader as AsyncBufReader},
    sync::mpsc,
};

use super::spec::{Answer, Ask};
use crate::cell::text::one_line;

/// The socket's name in the cell's `run` directory.
pub const SOCKET_NAME: &str = "control.sock";
/// The longest request: an agent's plan with its environment (at most 64 KiB a variable) and mounts.
const ASK_MOST_BYTES: u64 = 1024 * 1024;
/// Bytes of what is said about a line that is no request.
const COMPLAINT_MOST_BYTES: usize = 300;
/// How long a peer may take to say what it wants.
const ASK_WITHIN: Duration = Duration::from_secs(5);

/// One request, and where its answers go; dropping the sender closes the connection.
pub struct Request {
    /// What is asked.
    pub ask: Ask,
    /// Where the answers go.
    pub answers: mpsc::UnboundedSender<Answer>,
}

fn address(run: impl AsFd) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}/{SOCKET_NAME}", run.as_fd().as_raw_fd()))
}

/// Binds the control socket in the cell's `run` directory, which only the operator can enter.
///
/// # Errors
/// What the system says; also when something of that name is there already.
pub fn bind(run: impl AsFd) -> io::Result<UnixListener> {
    let listener = UnixListener::bind(address(&run))?;
    rustix::fs::chmodat(&run, SOCKET_NAME, rustix::fs::Mode::from_raw_mode(0o600), rustix::fs::AtFlags::empty())?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Removes the control socket of a warden that died, if there is one; anything else of its name stays, and [`bind`] refuses it.
///
/// # Errors
/// What the system says.
pub fn clear(run: impl AsFd) -> io::Result<()> {
    match rustix::fs::statat(&run, SOCKET_NAME, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::Socket => {
            Ok(rustix::fs::unlinkat(&run, SOCKET_NAME, AtFlags::empty())?)
        }
        Ok(_) | Err(Errno::NOENT) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Held by each conversation until its last answer is written; whoever holds the other end learns when none is left.
pub type Guard = mpsc::Sender<std::convert::Infallible>;

/// Accepts peers for as long as the receiver lives.
///
/// # Errors
/// A listener that cannot be waited for or accepted from.
pub async fn serve(listener: UnixListener, requests: mpsc::UnboundedSender<Request>, guard: Guard) -> io::Result<()> {
    let listener = tokio::net::UnixListener::from_std(listener)?;
    loop {
        let (stream, _) = listener.accept().await?;
        let peer = stream.peer_cred()?.uid();
        let own = rustix::process::geteuid();
        // The directory's mode keeps others out already; this holds where it was loosened.
        if peer != own.as_raw() && peer != 0 {
            continue;
        }
        tokio::spawn(converse(stream, requests.clone(), guard.clone()));
    }
}

async fn converse(stream: tokio::net::UnixStream, requests: mpsc::UnboundedSender<Request>, _guard: Guard) {
    let (reader, mut writer) = stream.into_split();
    let mut line = Vec::new();
    let mut reader = AsyncBufReader::new(reader.take(ASK_MOST_BYTES));
    let read = tokio::time::timeout(ASK_WITHIN, reader.read_until(b'\n', &mut line)).await;
    let (answers, mut outgoing) = mpsc::unbounded_channel();
    match (read, parse_ask(&line)) {
        (Ok(Ok(_)), Ok(ask)) => {
            // A warden that is just ending takes no more requests: the connection then closes without an answer.
            if requests.send(Request { ask, answers }).is_err() {
                return;
            }
        }
        (_, Err(message)) => {
            let _ = answers.send(Answer::Refused { message });
            drop(answers);
        }
        (Err(_) | Ok(Err(_)), Ok(_)) => return,
    }
    while let Some(answer) = outgoing.recv().await {
        let Ok(mut text) = serde_json::to_vec(&answer) else { return };
        text.push(b'\n');
        // A peer that went away does not stop what it asked for.
        if writer.write_all(&text).await.is_err() {
            return;
        }
    }
}

/// Reads a request, with or without the end of its line.
///
/// # Errors
/// What is answered to something that is no request: one harmless line.
pub fn parse_ask(line: &[u8]) -> Result<Ask, String> {
    serde_json::from_slice(line).map_err(|error| one_line(&format!("not a request: {error}"), COMPLAINT_MOST_BYTES))
}

/// A conversation with a warden, from the command's side.
pub struct Conversation {
    reader: BufReader<io::Take<UnixStream>>,
}

/// Asks a warden for something.
///
/// # Errors
/// What the system says: nobody listens, the warden is not the operator's, or it does not read.
pub fn ask(run: impl AsFd, ask: &Ask, answer_within: Duration) -> io::Result<Conversation> {
    let stream = UnixStream::connect(address(&run))?;
    let peer = rustix::net::sockopt::socket_peercred(&stream)?;
    if peer.uid != rustix::process::geteuid() && !peer.uid.is_root() {
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, "the control socket belongs to somebody else"));
    }
    stream.set_write_timeout(Some(ASK_WITHIN))?;
    stream.set_read_timeout(Some(answer_within))?;
    let mut text = serde_json::to_vec(ask)?;
    text.push(b'\n');
    (&stream).write_all(&text)?;
    Ok(Conversation { reader: BufReader::new(stream.take(ASK_MOST_BYTES)) })
}

impl Conversation {
    /// The next answer; `None` when the warden closed the connection.
    ///
    /// # Errors
    /// No answer in time, or one that is none.
    pub fn answer(&mut self) -> io::Result<Option<Answer>> {
        let mut line = String::new();
        match self.reader.read_line(&mut line) {
            Ok(0) => Ok(None),
            Ok(_) => Ok(Some(serde_json::from_str(&line)?)),
            // A warden that ends resets connections that it has not read.
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Ok(None),
            // What a read past its timeout is called: EAGAIN, which tells a person nothing.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Err(io::Error::new(io::ErrorKind::TimedOut, "no answer in time")),
            Err(error) => Err(error),
        }
    }
}
