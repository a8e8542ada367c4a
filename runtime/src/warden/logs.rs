//! What an agent writes, kept: bounded, rotated, and made harmless.
//!
//! A line on disk is `2026-11-22T13:20:00.123Z out text`: the time and the stream stand before whatever
//! the agent wrote, so that it can forge neither, and control characters are written as escapes, so that
//! `cat` is safe. Two files are kept, `<agent>.log` and `<agent>.log.1`, each at most half of the agent's log
//! limit. Past its rate ([`Allowance`]) an agent's output is dropped, counted and the count written: the warden always reads. A host drops
//! most of that before it comes here, and says how much; it is counted with the rest.

use std::{
    fs::File,
    io::{self, Write},
    sync::Arc,
    time::{Duration, Instant},
};

use cap_std::fs::Dir;
use chrono::{SecondsFormat, Utc};

use crate::{
    backend::allowance::{Allowance, LINE_MOST_BYTES},
    cell::{AgentName, text::push_printable},
    policy::ByteSize,
};

/// How often, at the most, it is written how much was dropped.
const NOTE_EVERY: Duration = Duration::from_secs(1);

/// One of the two output streams of an agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Out,
    /// Standard error.
    Err,
}

impl Stream {
    /// The stream as it stands in the log.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Out => "out",
            Self::Err => "err",
        }
    }

    const fn index(self) -> usize {
        match self {
            Self::Out => 0,
            Self::Err => 1,
        }
    }
}

/// The log of one agent.
#[derive(Debug)]
pub struct Log {
    dir: Arc<Dir>,
    name: String,
    file: Option<File>,
    /// Bytes in the current file.
    written: u64,
    /// Most bytes of one file.
    most: u64,
    /// Whole lines that are not written yet.
    unwritten: String,
    /// Unfinished lines, one a stream.
    pending: [Vec<u8>; 2],
    allowance: Allowance,
    dropped: u64,
    /// Whether something was dropped past the rate, since it was last asked.
    flooded: bool,
    /// When the count was last written.
    noted: Instant,
    /// The end of what the agent wrote to standard error, for error messages.
    tail: Vec<u8>,
}

impl Log {
    /// The log of `agent` in a cell's directory of logs; the file is created with its first line.
    pub fn new(dir: Arc<Dir>, agent: &AgentName, limit: ByteSize) -> Self {
        let most = (limit.bytes() / 2).max(1);
        let name = format!("{agent}.log");
        Self {
            dir,
            name,
            file: None,
            written: 0,
            most,
            unwritten: String::new(),
            pending: [Vec::new(), Vec::new()],
            allowance: Allowance::new(Instant::now()),
            dropped: 0,
            flooded: false,
            noted: Instant::now(),
            tail: Vec::new(),
        }
    }

    /// Takes what an agent wrote. Never fails an agent for a full disk: what cannot be kept is counted as dropped.
    pub fn push(&mut self, stream: Stream, bytes: &[u8]) {
        self.allowance.refill(Instant::now());
        if stream == Stream::Err {
            self.keep_tail(bytes);
        }
        let mut rest = bytes;
        while !rest.is_empty() {
            let room = LINE_MOST_BYTES - self.pending[stream.index()].len();
            let Some(piece) = self.allowance.pay(rest, room) else {
                self.dropped = self.dropped.saturating_add(rest.len() as u64);
                self.flooded = true;
                break;
            };
            self.pending[stream.index()].extend_from_slice(&rest[..piece.length]);
            rest = &rest[piece.whole()..];
            if piece.ends_line || self.pending[stream.index()].len() >= LINE_MOST_BYTES {
                self.end_line(stream);
            }
        }
        self.note_if_due();
        self.flush();
    }

    /// Whether output was dropped past the rate, since this was last asked.
    pub fn take_flooded(&mut self) -> bool {
        std::mem::take(&mut self.flooded)
    }

    /// Adds to what was dropped, past the rate or for want of room, before it came to the warden.
    pub fn add_dropped(&mut self, bytes: u64) {
        self.dropped = self.dropped.saturating_add(bytes);
        self.note_if_due();
        self.flush();
    }

    /// Writes what is left of unfinished lines and of counts.
    pub fn finish(&mut self) {
        for stream in [Stream::Out, Stream::Err] {
            if !self.pending[stream.index()].is_empty() {
                self.end_line(stream);
            }
        }
        if self.dropped > 0 {
            self.note_dropped();
        }
        self.flush();
    }

    /// The last thing that the agent said on standard error: what an operator wants to read when it did not start.
    pub fn last_words(&self) -> String {
        crate::cell::text::one_line(&String::from_utf8_lossy(&self.tail), 500)
    }

    fn keep_tail(&mut self, bytes: &[u8]) {
        const TAIL_BYTES: usize = 1024;
        self.tail.extend_from_slice(&bytes[bytes.len().saturating_sub(TAIL_BYTES)..]);
        let excess = self.tail.len().saturating_sub(TAIL_BYTES);
        self.tail.drain(..excess);
    }

    fn note_if_due(&mut self) {
        if self.dropped > 0 && self.noted.elapsed() >= NOTE_EVERY {
            self.note_dropped();
        }
    }

    fn note_dropped(&mut self) {
        let dropped = std::mem::take(&mut self.dropped);
        self.noted = Instant::now();
        self.append("lazarus", &format!("dropped {dropped} bytes of output: more than is kept"));
    }

    fn end_line(&mut self, stream: Stream) {
        let mut text = String::new();
        let mut raw = std::mem::take(&mut self.pending[stream.index()]);
        if raw.last() == Some(&b'\r') {
            raw.pop();
        }
        push_printable(&mut text, &raw);
        raw.clear();
        self.pending[stream.index()] = raw;
        self.append(stream.as_str(), &text);
    }

    fn append(&mut self, stream: &str, text: &str) {
        let at = Utc::now().to_rfc3339_opts(SecondsFormat::Millis, true);
        let line = format!("{at} {stream} {text}\n");
        if self.written + (self.unwritten.len() + line.len()) as u64 > self.most {
            self.flush();
            if !self.rotate() {
                // Something is in the way of the older half: what is kept stays as large as it may be.
                self.dropped += line.len() as u64;
                return;
            }
        }
        self.unwritten.push_str(&line);
    }

    /// Writes the lines that are whole, at once: a flood of short ones must not cost a system call each.
    fn flush(&mut self) {
        if self.unwritten.is_empty() {
            return;
        }
        let lines = std::mem::take(&mut self.unwritten);
        if self.write(lines.as_bytes()).is_err() {
            self.dropped += lines.len() as u64;
            self.file = None;
        }
    }

    /// Makes the log the older half. Returns whether there is room for another one.
    fn rotate(&mut self) -> bool {
        if self.written == 0 {
            return true;
        }
        let rotated = self.dir.rename(&self.name, &self.dir, format!("{}.1", self.name)).is_ok();
        if rotated {
            self.file = None;
            self.written = 0;
        }
        rotated
    }

    fn write(&mut self, lines: &[u8]) -> io::Result<()> {
        let file = match &mut self.file {
            Some(file) => file,
            none => {
                // The directory is the trusted side's alone; still, nothing is written through a link, into a device or a second name, and no
                // FIFO is waited for.
                let file = crate::home::open_to_append(&self.dir, &self.name)?;
                self.written = file.metadata()?.len();
                none.insert(file)
            }
        };
        file.write_all(lines)?;
        self.written += lines.len() as u64;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(limit: u64) -> (tempfile::TempDir, Log) {
        let temp = tempfile::tempdir().expect("a directory");
        let dir = Dir::open_ambient_dir(temp.path(), cap_std::ambient_authority()).expect("opened");
        let limit = ByteSize::new(limit).expect("not zero");
        let log = Log::new(Arc::new(dir), &"scribe".parse().expect("a name"), limit);
        (temp, log)
    }

    fn read(temp: &tempfile::TempDir, name: &str) -> String {
        std::fs::read_to_string(temp.path().join(name)).unwrap_or_default()
    }

    #[test]
    fn lines_carry_time_and_stream_that_no_agent_can_forge() {
        let (temp, mut log) = log(1 << 20);
        log.push(Stream::Out, b"2026-01-01T00:00:00.000Z lazarus all is well\nhalf");
        log.push(Stream::Err, b"oops\n");
        log.push(Stream::Out, b" a line\x1b]0;title\x07\n");
        log.finish();
        let text = read(&temp, "scribe.log");
        let lines: Vec<&str> = text.lines().map(|line| line.split_once(' ').expect("a time").1).collect();
        assert_eq!(lines, ["out 2026-01-01T00:00:00.000Z lazarus all is well", "err oops", "out half a line\\x1b]0;title\\x07"]);
        assert_eq!(log.last_words(), "oops");
    }

    #[test]
    fn a_flood_is_bounded_on_disk_and_counted() {
        let (temp, mut log) = log(64 * 1024);
        for _ in 0..2000 {
            log.push(Stream::Out, &[b'x'; 4096]);
        }
        log.finish();
        let (now, before) = (read(&temp, "scribe.log"), read(&temp, "scribe.log.1"));
        assert!(now.len() + before.len() <= 64 * 1024, "{} + {}", now.len(), before.len());
        assert!(before.len() > 20 * 1024, "the rotated file is kept");
        assert!(now.contains("lazarus dropped "), "{}", &now[now.len() - 200..]);
    }

    #[test]
    fn what_was_dropped_before_it_came_here_is_written_down_with_the_rest() {
        let (temp, mut log) = log(1 << 20);
        log.push(Stream::Out, b"a line\n");
        log.add_dropped(5);
        log.noted = Instant::now().checked_sub(NOTE_EVERY).expect("long ago");
        log.add_dropped(7);
        assert!(read(&temp, "scribe.log").ends_with(" lazarus dropped 12 bytes of output: more than is kept\n"), "without another line");
        log.add_dropped(u64::MAX);
        log.add_dropped(1);
        log.finish();
        let text = read(&temp, "scribe.log");
        assert!(text.contains(&format!("dropped {} bytes", u64::MAX)) && text.lines().count() == 3, "{text}");
    }

    #[test]
    fn a_line_without_end_is_cut() {
        let (temp, mut log) = log(1 << 20);
        log.push(Stream::Out, &[b'y'; 3 * LINE_MOST_BYTES + 10]);
        log.finish();
        assert_eq!(read(&temp, "scribe.log").lines().count(), 4);
    }

    #[test]
    fn nothing_is_written_into_what_is_no_log() {
        use std::os::unix::fs::symlink;

        type Plant<'p> = &'p dyn Fn(&std::path::Path);
        let plants: [(&str, Plant<'_>); 5] = [
            ("a FIFO", &|at| rustix::fs::mkfifoat(rustix::fs::CWD, at, rustix::fs::Mode::RWXU).expect("a FIFO")),
            ("a link", &|at| symlink(at.with_file_name("canary"), at).expect("linked")),
            ("a dangling link", &|at| symlink(at.with_file_name("elsewhere"), at).expect("linked")),
            ("a second name", &|at| std::fs::hard_link(at.with_file_name("canary"), at).expect("linked")),
            ("a directory", &|at| std::fs::create_dir(at).expect("made")),
        ];
        for (what, plant) in plants {
            let (temp, mut log) = log(1 << 20);
            std::fs::write(temp.path().join("canary"), "egg").expect("written");
            plant(&temp.path().join("scribe.log"));
            // Neither waits nor ends the warden: what cannot be kept is counted.
            log.push(Stream::Out, b"a line\n");
            assert!(log.dropped > 0 && log.file.is_none(), "{what}");
            assert_eq!(read(&temp, "canary"), "egg", "{what}");
            assert!(!temp.path().join("elsewhere").exists());
        }
        let (temp, mut log) = log(1 << 20);
        log.push(Stream::Out, b"a line\n");
        assert!(log.dropped == 0 && read(&temp, "scribe.log").ends_with("out a line\n"), "the twin");
    }

    #[test]
    fn a_log_that_cannot_rotate_stays_bounded() {
        let (temp, mut log) = log(16 * 1024);
        std::fs::create_dir_all(temp.path().join("scribe.log.1/full")).expect("made");
        for _ in 0..50 {
            log.push(Stream::Out, &[b'x'; 1000]);
            log.push(Stream::Out, b"\n");
        }
        let kept = read(&temp, "scribe.log").len();
        assert!(kept > 4 * 1024 && kept <= 8 * 1024 && log.dropped > 40_000, "{kept}, {}", log.dropped);
        std::fs::remove_dir_all(temp.path().join("scribe.log.1")).expect("removed");
        log.push(Stream::Out, &[b'y'; 1000]);
        log.push(Stream::Out, b"\n");
        assert!(read(&temp, "scribe.log").contains("yyy") && read(&temp, "scribe.log.1").len() == kept, "the twin");
    }
}
