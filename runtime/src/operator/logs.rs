//! Reading what a cell's agents wrote.

use std::{
    fs::File,
    io::{BufRead, BufReader, Read, Seek, SeekFrom},
    time::Duration,
};

use cap_std::fs::Dir;
use serde::Serialize;

use super::{Error, Operator};
use crate::cell::AgentName;

/// How often a followed log is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// The longest line that is read: longer than the warden writes.
const LINE_MOST_BYTES: u64 = 64 * 1024;

/// What to read.
#[derive(Debug, Clone, Default)]
pub struct LogRequest {
    /// One agent; all without.
    pub agent: Option<AgentName>,
    /// Whether to go on until the cell is over.
    pub follow: bool,
    /// Only the last lines, of all agents together.
    pub lines: Option<usize>,
}

/// One line.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct LogLine {
    /// When the warden wrote it: RFC 3339.
    pub at: String,
    /// The agent.
    pub agent: AgentName,
    /// `out`, `err`, or `lazarus` for what the warden remarked.
    pub stream: String,
    /// The text.
    pub text: String,
}

impl Operator {
    /// Reads logs; `sink` gets each line, in the order of time, and says whether it wants more.
    ///
    /// # Errors
    /// No such cell, no such agent, a log that cannot be read.
    pub fn logs(&mut self, cell: &str, request: &LogRequest, mut sink: impl FnMut(LogLine) -> bool) -> Result<(), Error> {
        let record = self.swept_cell(cell)?;
        let id = record.proposal.cell_id.clone();
        let Some(dir) = self.root.cell(&id)? else { return Ok(()) };
        let logs = dir.logs().map_err(|source| Error::Logs { cell: id.clone(), source })?;
        let failed = |source| Error::Logs { cell: id.clone(), source };
        let mut tails: Vec<Tail> = Vec::new();
        self.find_tails(&logs, &id, request, &mut tails)?;
        let mut lines = Vec::new();
        for tail in &mut tails {
            tail.read_rotated(&logs, &mut lines).map_err(failed)?;
            tail.read(&logs, &mut lines).map_err(failed)?;
        }
        lines.sort_by(|a, b| a.at.cmp(&b.at));
        let skipped = request.lines.map_or(0, |most| lines.len().saturating_sub(most));
        for line in lines.into_iter().skip(skipped) {
            if !sink(line) {
                return Ok(());
            }
        }
        if !request.follow {
            return Ok(());
        }
        loop {
            let over = !self.swept_cell(id.as_str())?.state.may_live();
            if !over {
                std::thread::sleep(LOOK_EVERY);
            }
            self.find_tails(&logs, &id, request, &mut tails)?;
            let mut lines = Vec::new();
            for tail in &mut tails {
                tail.read(&logs, &mut lines).map_err(failed)?;
            }
            lines.sort_by(|a, b| a.at.cmp(&b.at));
            for line in lines {
                if !sink(line) {
                    return Ok(());
                }
            }
            if over {
                return Ok(());
            }
        }
    }

    /// The logs of the cell's agents: those that were invited meanwhile as well.
    fn find_tails(&mut self, logs: &Dir, id: &crate::cell::CellId, request: &LogRequest, tails: &mut Vec<Tail>) -> Result<(), Error> {
        let runs = self.registry.runs(id)?;
        for run in &runs {
            let wanted = request.agent.as_ref().is_none_or(|agent| *agent == run.agent);
            if wanted && !tails.iter().any(|tail| tail.agent == run.agent) {
                tails.push(Tail::new(run.agent.clone()));
            }
        }
        match &request.agent {
            Some(agent) if tails.is_empty() && open(logs, &format!("{agent}.log")).ok().flatten().is_none() => {
                Err(Error::NoSuchAgent { cell: id.clone(), agent: agent.clone() })
            }
            Some(_) | None => Ok(()),
        }
    }
}

/// Where the reading of one agent's log stands.
struct Tail {
    agent: AgentName,
    file: Option<(File, u64)>,
    partial: String,
}

impl Tail {
    const fn new(agent: AgentName) -> Self {
        Self { agent, file: None, partial: String::new() }
    }

    fn read_rotated(&mut self, logs: &Dir, lines: &mut Vec<LogLine>) -> std::io::Result<()> {
        if let Some(mut file) = open(logs, &format!("{}.log.1", self.agent))? {
            self.drain(&mut file, lines)?;
        }
        Ok(())
    }

    /// Reads what was added since the last time; after a rotation, the rest of the old file and then the new one.
    fn read(&mut self, logs: &Dir, lines: &mut Vec<LogLine>) -> std::io::Result<()> {
        if let Some((mut file, at)) = self.file.take() {
            file.seek(SeekFrom::Start(at))?;
            let read = self.drain(&mut file, lines)?;
            let same = open(logs, &format!("{}.log", self.agent))?.map(|now| inode(&now)).transpose()? == Some(inode(&file)?);
            if same {
                self.file = Some((file, at + read));
                return Ok(());
            }
        }
        if let Some(mut file) = open(logs, &format!("{}.log", self.agent))? {
            let read = self.drain(&mut file, lines)?;
            self.file = Some((file, read));
        }
        Ok(())
    }

    fn drain(&mut self, file: &mut File, lines: &mut Vec<LogLine>) -> std::io::Result<u64> {
        let mut reader = BufReader::new(file);
        let mut total = 0;
        loop {
            let mut bytes = Vec::new();
            let read = reader.by_ref().take(LINE_MOST_BYTES).read_until(b'\n', &mut bytes)?;
            if read == 0 {
                return Ok(total);
            }
            total += read as u64;
            self.partial.push_str(&String::from_utf8_lossy(&bytes));
            if self.partial.ends_with('\n') {
                let line = std::mem::take(&mut self.partial);
                lines.extend(parse(&self.agent, line.trim_end_matches('\n')));
            }
        }
    }
}

/// Opens a log: a regular file, or none. The directory is the trusted side's alone; still, nothing else is followed or waited for.
fn open(logs: &Dir, name: &str) -> std::io::Result<Option<File>> {
    match crate::home::open_file(logs, name) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn inode(file: &File) -> std::io::Result<u64> {
    Ok(rustix::fs::fstat(file)?.st_ino)
}

fn parse(agent: &AgentName, line: &str) -> Option<LogLine> {
    let mut parts = line.splitn(3, ' ');
    let (at, stream, text) = (parts.next()?, parts.next()?, parts.next().unwrap_or_default());
    Some(LogLine { at: at.to_owned(), agent: agent.clone(), stream: stream.to_owned(), text: text.to_owned() })
}
