//! The scribe: an agent that keeps a journal.
//!
//! The one idea: what must last is in the home. The scribe forgets everything whenever it is idle, traps, or its machine stops; its journal
//! does not, and a message that is delivered twice is written down once.
//!
//! What it was granted: its home.

use std::{fs, io::Write, path::PathBuf};

use lazarus_guest::{Agent, Beginning, Cell, Failure, Message, Refusal};

/// Writes down what it is told, a line a message: the message's id, its sender, its text.
#[derive(Default)]
pub struct Scribe {
    entries: Vec<String>,
}

impl Agent for Scribe {
    fn start(&mut self, cell: &Cell, beginning: Beginning) -> Result<(), Failure> {
        if let Ok(text) = fs::read_to_string(journal(cell)?) {
            // A line without its end is what a crash left of a message that will come again.
            let whole = &text[..text.rfind('\n').map_or(0, |end| end + 1)];
            fs::write(journal(cell)?, whole)?;
            self.entries = whole.lines().map(str::to_owned).collect();
        }
        cell.info(&format!("{beginning:?}: the journal has {} entries", self.entries.len()));
        Ok(())
    }

    fn message(&mut self, cell: &Cell, message: &Message) -> Result<(), Failure> {
        if !self.entries.iter().any(|entry| entry.starts_with(&message.id)) {
            let entry = format!("{} {} {}", message.id, message.sender, message.text.escape_default());
            let mut file = fs::File::options().create(true).append(true).open(journal(cell)?)?;
            file.write_all(format!("{entry}\n").as_bytes())?;
            self.entries.push(entry);
        }
        cell.reply(&format!("{} written down", self.entries.len()))?;
        Ok(())
    }
}

fn journal(cell: &Cell) -> Result<PathBuf, Refusal> {
    Ok(cell.home()?.join("journal"))
}

lazarus_guest::export!(Scribe);

#[cfg(test)]
mod tests {
    use lazarus_guest::testing::TestCell;

    use super::*;

    #[test]
    fn the_journal_outlives_the_scribe() {
        let mut cell = TestCell::<Scribe>::new();
        assert_eq!(cell.message("human:owner", "one").reply(), Some("1 written down"));
        cell.idle();
        assert_eq!(cell.message("human:owner", "two\nlines").reply(), Some("2 written down"));
        cell.resurrect();
        assert_eq!(cell.message("human:owner", "three").reply(), Some("3 written down"));
        let journal = fs::read_to_string(cell.home().join("journal")).expect("kept");
        assert!(journal.lines().nth(1).is_some_and(|line| line.ends_with("human:owner two\\nlines")), "{journal}");
    }

    #[test]
    fn what_comes_twice_is_written_once() {
        let mut cell = TestCell::<Scribe>::new();
        let first = cell.message("human:owner", "one");
        cell.idle();
        assert_eq!(cell.again(&first).reply(), Some("1 written down"));
    }

    #[test]
    fn half_an_entry_is_none() {
        let mut cell = TestCell::<Scribe>::new();
        fs::write(cell.home().join("journal"), "msg-1 human:owner one\nmsg-2 human:ow").expect("written");
        assert_eq!(cell.message("human:owner", "two").reply(), Some("2 written down"));
    }
}
