//! The courier: three agents that pass a job on.
//!
//! The one idea: a team passes words through mailboxes and things through `/shared`. One component is all three: who it is decides what it
//! does, and so does to whom it passes the job on.
//!
//! ```text
//! whoever asks ──words──→ agent:fetch ──job──→ agent:work ──job──→ agent:deliver ──result──→ whoever asked
//!                         /shared/<job>.in ──→ /shared/<job>.out
//! ```
//!
//! What they were granted: `/shared`, so each of them is an executor.

use std::fs;

use lazarus_guest::{Agent, Cell, Failure, Message};

/// One of the three.
#[derive(Default)]
pub struct Courier;

impl Agent for Courier {
    fn message(&mut self, cell: &Cell, message: &Message) -> Result<(), Failure> {
        match cell.me().identity.as_str() {
            "agent:fetch" => fetch(cell, message),
            "agent:work" => work(cell, message),
            "agent:deliver" => deliver(cell, message),
            other => Err(Failure::park(format!("{other} has no part in this; summon fetch, work and deliver"))),
        }
    }
}

/// A new job: its material goes where the others find it. The same message delivered again is the same job.
fn fetch(cell: &Cell, message: &Message) -> Result<(), Failure> {
    let job = &message.id;
    fs::write(cell.shared()?.join(format!("{job}.in")), &message.text)?;
    cell.send("agent:work", &format!("{job} {}", message.sender))?;
    cell.reply(&format!("{job} is under way"))?;
    Ok(())
}

/// The work itself: it counts words. It can be done twice without harm.
fn work(cell: &Cell, message: &Message) -> Result<(), Failure> {
    let (job, _) = job(message)?;
    let material = fs::read_to_string(cell.shared()?.join(format!("{job}.in")))?;
    fs::write(cell.shared()?.join(format!("{job}.out")), format!("{} words", material.split_whitespace().count()))?;
    cell.send("agent:deliver", &message.text)?;
    Ok(())
}

/// The end: the result goes to whoever asked.
fn deliver(cell: &Cell, message: &Message) -> Result<(), Failure> {
    let (job, client) = job(message)?;
    let result = fs::read_to_string(cell.shared()?.join(format!("{job}.out")))?;
    cell.send(client, &format!("{job}: {result}"))?;
    Ok(())
}

/// A message between the three: the job and who asked for it. Its name becomes part of a path, so it is looked at first.
fn job(message: &Message) -> Result<(&str, &str), Failure> {
    let (job, client) = message.text.split_once(' ').ok_or_else(|| Failure::park("a job is `ID CLIENT`"))?;
    let plain = job.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
    if plain { Ok((job, client)) } else { Err(Failure::park("a job's id is letters, digits and dashes")) }
}

lazarus_guest::export!(Courier);

#[cfg(test)]
mod tests {
    use lazarus_guest::{
        Role,
        testing::{Outcome, TestCell},
    };

    use super::*;

    fn one(name: &str) -> TestCell<Courier> {
        let others = ["agent:fetch", "agent:work", "agent:deliver"].into_iter().filter(|other| *other != name);
        others.fold(TestCell::new().named(name), |cell, other| cell.member(other, Role::Executor))
    }

    #[test]
    fn a_job_comes_back_as_its_result() {
        let mut fetch = one("agent:fetch");
        let mut work = one("agent:work").sharing_with(&fetch);
        let mut deliver = one("agent:deliver").sharing_with(&fetch);

        let fetched = fetch.message("human:owner", "four words are here");
        let worked = work.message("agent:fetch", fetched.sent_to("agent:work")[0]);
        let delivered = deliver.message("agent:work", worked.sent_to("agent:deliver")[0]);

        let result = delivered.sent_to("human:owner");
        assert!(result[0].ends_with(": 4 words"), "{result:?}");
    }

    #[test]
    fn a_job_whose_material_is_not_there_comes_again() {
        let event = one("agent:work").message("agent:fetch", "msg-1 human:owner");
        assert!(matches!(event.outcome(), Outcome::Retry(_)));
    }

    #[test]
    fn a_job_leads_nowhere_else() {
        let event = one("agent:work").message("agent:fetch", "../../home/x human:owner");
        assert!(matches!(event.outcome(), Outcome::Park(_)));
        assert!(matches!(TestCell::<Courier>::new().message("human:owner", "x").outcome(), Outcome::Park(_)));
    }
}
