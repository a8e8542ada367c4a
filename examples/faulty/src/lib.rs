//! The faulty one: an agent that goes wrong in every way that it is told to.
//!
//! The one idea: whatever an agent does, it harms itself alone. Each message is a word and what belongs to it ([`acts`] has the list); the
//! answer says what came of it: `ok …`, `refused REASON …` or `error …`.
//!
//! What it was granted: whatever the test gives it. `FAULTY_START` in its environment, or `at-start` in its home, says how it goes wrong when it
//! starts.

mod acts;
mod ways;

use std::{env, fs};

use lazarus_guest::{Agent, Beginning, Cell, Failure, Message, Role};

/// Does as it is told.
#[derive(Default)]
pub struct Faulty {
    beginning: Option<Beginning>,
    handled: u32,
    ticks: u32,
    at_close: String,
}

impl Agent for Faulty {
    fn start(&mut self, cell: &Cell, beginning: Beginning) -> Result<(), Failure> {
        self.beginning = Some(beginning);
        let told = cell.home().ok().and_then(|home| fs::read_to_string(home.join("at-start")).ok());
        ways::go(&told.or_else(|| env::var("FAULTY_START").ok()).unwrap_or_default())
    }

    fn message(&mut self, cell: &Cell, message: &Message) -> Result<(), Failure> {
        self.handled += 1;
        let (word, rest) = message.text.split_once(' ').unwrap_or((&message.text, ""));
        ways::go(&message.text)?;
        let answer = match word {
            "state" => format!("ok {:?}, {} handled, {} ticks", self.beginning, self.handled, self.ticks),
            "at-close" => {
                self.at_close = rest.to_owned();
                format!("ok at close: {rest}")
            }
            // Goes wrong until it is tried for the given time.
            "until" => {
                let (attempt, way) = rest.split_once(' ').unwrap_or((rest, "retry"));
                if message.attempt < attempt.parse().map_err(Failure::park)? {
                    ways::go(way)?;
                }
                format!("ok at attempt {}", message.attempt)
            }
            // What it sends before it goes wrong must never arrive.
            "send-then" => {
                let sent = acts::told(cell.send(&message.sender, "never to be seen"));
                ways::go(rest)?;
                sent
            }
            // No room is left for an answer after the last message that an event may send.
            "many" => return acts::many(cell, message, rest),
            _ => acts::act(cell, message, word, rest),
        };
        cell.reply(&answer)?;
        Ok(())
    }

    fn tick(&mut self, cell: &Cell) -> Result<(), Failure> {
        self.ticks += 1;
        let director = cell.members()?.into_iter().find(|member| member.role == Role::Director);
        if let Some(director) = director {
            cell.send(&director.identity, &format!("tick {}", self.ticks))?;
        }
        Ok(())
    }

    fn close(&mut self, cell: &Cell) {
        cell.info("closing");
        // What it says no longer matters.
        let _ = ways::go(&self.at_close);
    }
}

lazarus_guest::export!(Faulty);

#[cfg(test)]
mod tests;
