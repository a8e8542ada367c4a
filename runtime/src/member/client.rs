//! A connection to a cell, as a member uses it: one call at a time.

use std::{
    ffi::OsString,
    io::{self, BufRead, BufReader, Read, Write},
    os::unix::net::UnixStream,
    path::PathBuf,
    time::Duration,
};

use serde::de::DeserializeOwned;

use crate::mail::{AnswerLine, Call, CallLine, Gift, LINE_MOST_BYTES, Outcome, Refusal, line_of};

/// The variable that holds the address of the cell, in the environment of a process agent.
pub const SOCKET_VARIABLE: &str = "LAZARUS_SOCKET";
/// How long an answer may take, beyond what the call itself waits for.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Not in a cell, or in one that does not talk.
    #[error("speak with a cell: LAZARUS_SOCKET is not set; this command is for agents, inside their cell")]
    Nowhere,
    /// Nobody listens.
    #[error("connect to the cell at {path}")]
    Connect {
        /// The address.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The cell ended the connection: the member was revoked, or the cell is over.
    #[error("hear from the cell: it ended the connection; it is over, or has let this member go")]
    Ended,
    /// The connection failed.
    #[error("speak with the cell")]
    Io(#[from] io::Error),
    /// The other side does not speak this protocol.
    #[error("understand the cell: it is another version of Lazarus")]
    Foreign(#[source] serde_json::Error),
    /// A call that was not carried out.
    #[error(transparent)]
    Refused(#[from] Refusal),
}

/// A connection to a cell.
#[derive(Debug)]
pub struct Client {
    reader: BufReader<UnixStream>,
}

impl Client {
    /// Connects as the agent that this process is or descends from. `variable` reads the environment.
    ///
    /// # Errors
    /// No address in the environment, or nobody there.
    pub fn of_cell(variable: impl Fn(&str) -> Option<OsString>) -> Result<Self, ClientError> {
        let path = PathBuf::from(variable(SOCKET_VARIABLE).filter(|path| !path.is_empty()).ok_or(ClientError::Nowhere)?);
        let stream = UnixStream::connect(&path).map_err(|source| ClientError::Connect { path, source })?;
        Self::over(stream)
    }

    /// Uses a connection that was made already.
    ///
    /// # Errors
    /// What the system says.
    pub fn over(stream: UnixStream) -> Result<Self, ClientError> {
        stream.set_write_timeout(Some(ANSWER_WITHIN))?;
        stream.set_read_timeout(Some(ANSWER_WITHIN))?;
        Ok(Self { reader: BufReader::new(stream) })
    }

    /// Asks, and waits for the answer.
    ///
    /// # Errors
    /// [`ClientError::Refused`] where the cell did not carry it out; otherwise there was no answer.
    pub fn call(&mut self, call: &Call) -> Result<Gift, ClientError> {
        let waits = if let Call::Receive { wait_ms } = call { Duration::from_millis(*wait_ms) } else { Duration::ZERO };
        self.reader.get_ref().set_read_timeout(Some(ANSWER_WITHIN.saturating_add(waits)))?;
        self.say(&CallLine { n: None, call: call.clone() })?;
        let AnswerLine { outcome, .. } = self.hear()?;
        match outcome {
            Outcome::Ok(gift) => Ok(gift),
            Outcome::Refused(refusal) => Err(refusal.into()),
        }
    }

    /// Says one line.
    pub(super) fn say<T: serde::Serialize>(&mut self, what: &T) -> Result<(), ClientError> {
        self.reader.get_ref().write_all(&line_of(what)).map_err(ended)
    }

    /// Hears one line.
    pub(super) fn hear<T: DeserializeOwned>(&mut self) -> Result<T, ClientError> {
        let mut line = Vec::new();
        // An answer is as long as a line may be, and a little longer where what it holds is written with more escapes.
        let read = self.reader.by_ref().take(4 * LINE_MOST_BYTES as u64).read_until(b'\n', &mut line).map_err(ended)?;
        if read == 0 {
            return Err(ClientError::Ended);
        }
        serde_json::from_slice(&line).map_err(ClientError::Foreign)
    }
}

/// What a broken connection means.
fn ended(error: io::Error) -> ClientError {
    match error.kind() {
        io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => ClientError::Ended,
        // What a read past its timeout is called: EAGAIN, which tells a person nothing.
        io::ErrorKind::WouldBlock => io::Error::new(io::ErrorKind::TimedOut, "no answer in time").into(),
        _ => error.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A cell that gives these lines as answers, whatever is asked.
    fn client(answers: &str) -> Client {
        let (ours, theirs) = UnixStream::pair().expect("a pair");
        (&theirs).write_all(answers.as_bytes()).expect("written");
        // Kept open for as long as the test runs: what is asked needs a reader.
        std::thread::spawn(move || io::copy(&mut &theirs, &mut io::sink()));
        Client::over(ours).expect("a client")
    }

    #[test]
    fn answers_and_refusals_are_told_apart() {
        let mut client = client(
            "{\"ok\":{\"gave\":\"done\"}}\n{\"refused\":{\"reason\":\"not-granted\",\"message\":\"close: no\",\"needs\":\"role director\"}}\nrubbish\n",
        );
        assert_eq!(client.call(&Call::Beat).expect("done"), Gift::Done);
        let error = client.call(&Call::Close).expect_err("refused");
        assert!(matches!(&error, ClientError::Refused(refusal) if refusal.needs.as_deref() == Some("role director")), "{error}");
        assert!(matches!(client.call(&Call::Me), Err(ClientError::Foreign(_))));
    }

    #[test]
    fn without_a_cell_it_says_so() {
        assert!(matches!(Client::of_cell(|_| None), Err(ClientError::Nowhere)));
        assert!(matches!(Client::of_cell(|_| Some("/nowhere/cell.sock".into())), Err(ClientError::Connect { .. })));
        let (ours, theirs) = UnixStream::pair().expect("a pair");
        drop(theirs);
        assert!(matches!(Client::over(ours).expect("a client").call(&Call::Me), Err(ClientError::Ended)));
    }
}
