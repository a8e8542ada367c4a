//! Lines of bytes, bounded: reading them whole, and writing them to who may be slow.

use std::{io, time::Duration};

use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::unix::{OwnedReadHalf, OwnedWriteHalf},
    sync::{OwnedSemaphorePermit, mpsc},
};

/// How long a peer may take to read one line. One that is slower is dropped: its answers would wait in the warden's memory.
const WRITTEN_WITHIN: Duration = Duration::from_secs(10);

/// What a peer said.
#[derive(Debug, PartialEq, Eq)]
pub enum Said {
    /// A line, without its end.
    Line(Vec<u8>),
    /// More than a line may be, without an end.
    TooLong,
    /// Nothing more.
    Nothing,
}

/// Reads one line of at most `most` bytes, its end included.
///
/// # Errors
/// What the system says.
pub async fn read_line(reader: &mut BufReader<OwnedReadHalf>, most: usize) -> io::Result<Said> {
    let mut line = Vec::new();
    reader.take(most as u64).read_until(b'\n', &mut line).await?;
    if line.last() == Some(&b'\n') {
        line.pop();
        return Ok(Said::Line(line));
    }
    match line.len() {
        0 => Ok(Said::Nothing),
        // A last line without an end: the peer has said what it wanted.
        1.. if line.len() < most => Ok(Said::Line(line)),
        _ => Ok(Said::TooLong),
    }
}

/// A line to write, and the place that it takes until it is written.
pub struct Outgoing {
    /// The line, with its end.
    pub line: Vec<u8>,
    /// Given back once it is written.
    pub place: OwnedSemaphorePermit,
}

/// Writes lines in the order in which they come, until there are no more or the peer does not read them.
pub async fn write_lines(mut writer: OwnedWriteHalf, mut lines: mpsc::Receiver<Outgoing>) {
    while let Some(Outgoing { line, place }) = lines.recv().await {
        if write(&mut writer, &line).await.is_err() {
            return;
        }
        drop(place);
    }
}

/// Writes one line to a peer that reads.
///
/// # Errors
/// The peer is gone, or does not read.
pub async fn write(writer: &mut OwnedWriteHalf, line: &[u8]) -> io::Result<()> {
    tokio::time::timeout(WRITTEN_WITHIN, writer.write_all(line)).await?
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn said(text: &[u8], most: usize) -> Vec<Said> {
        let (mut ours, theirs) = tokio::net::UnixStream::pair().expect("a pair");
        ours.write_all(text).await.expect("written");
        drop(ours);
        let (reader, _writer) = theirs.into_split();
        let mut reader = BufReader::new(reader);
        let mut all = Vec::new();
        loop {
            let said = read_line(&mut reader, most).await.expect("read");
            let last = !matches!(said, Said::Line(_));
            all.push(said);
            if last {
                return all;
            }
        }
    }

    #[tokio::test(flavor = "current_thread")]
    async fn lines_are_whole_and_bounded() {
        let line = |text: &str| Said::Line(text.as_bytes().to_vec());
        assert_eq!(said(b"a\n\nbc\n", 10).await, [line("a"), line(""), line("bc"), Said::Nothing]);
        assert_eq!(said(b"a\nlast", 10).await, [line("a"), line("last"), Said::Nothing]);
        assert_eq!(said(b"123456789\n", 10).await, [line("123456789"), Said::Nothing]);
        assert_eq!(said(b"1234567890\n", 10).await, [Said::TooLong]);
        assert_eq!(said(&[0; 4096], 100).await, [Said::TooLong]);
    }
}
