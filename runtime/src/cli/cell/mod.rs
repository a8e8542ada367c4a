//! `lazarus cell`: an agent's side of its cell, for shells and for programs that would rather run a command than speak a protocol.
//!
//! It needs no root and no registry: all that it knows is LAZARUS_SOCKET, and who it is, the cell knows.

mod args;
mod serve;

use std::{
    io::{IsTerminal, Read},
    process::ExitCode,
    time::Duration,
};

use serde::Serialize;

pub use self::args::CellCommand;
use super::{
    failure::{Failure, INTERNAL, NOT_FOUND, REFUSED},
    say::Say,
    table::table,
};
use crate::{
    cell::text::printable_lines,
    mail::{Call, Gift, Message, MessageId, Reason, Refusal, TEXT_MOST_BYTES, Text},
    member::{Client, ClientError},
};

/// The longest that one call waits for a message; who waits longer asks again.
const WAIT_MOST: Duration = Duration::from_secs(60);
/// Messages that are looked through for the one that is acknowledged or failed.
const LEASES_MOST: usize = 256;

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        match error {
            ClientError::Refused(refusal) => refusal.into(),
            ClientError::Nowhere | ClientError::Ended | ClientError::Connect { .. } => Self::new(REFUSED, chain(&error)),
            ClientError::Io(_) | ClientError::Foreign(_) => Self::new(INTERNAL, chain(&error)),
        }
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        let code = match refusal.reason {
            Reason::NoSuchMember | Reason::NoSuchMessage => NOT_FOUND,
            Reason::Failed => INTERNAL,
            Reason::NotGranted | Reason::TooLarge | Reason::Malformed | Reason::Full | Reason::TooFast | Reason::WrongTime => REFUSED,
        };
        let mut failure = Self::new(code, crate::cell::text::one_line(&refusal.message, 2000));
        failure.hint = refusal.needs.map(|needs| format!("it needs {needs}"));
        failure
    }
}

/// An error and its causes, in one line.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    crate::cell::text::one_line(&crate::cell::text::with_causes(error), 2000)
}

/// A success envelope: what the cell gave.
#[derive(Serialize)]
struct Given<'g> {
    success: bool,
    #[serde(flatten)]
    gift: &'g Gift,
}

/// Runs a command of `lazarus cell`.
///
/// # Errors
/// What the cell refuses, and no cell at all.
pub fn run(command: CellCommand, say: &Say) -> Result<ExitCode, Failure> {
    let mut client = Client::of_cell(|name| std::env::var_os(name))?;
    let call = match command {
        CellCommand::Me => Call::Me,
        CellCommand::Members => Call::Members,
        CellCommand::Send { to, text } => Call::Send { to, text: said(&text)? },
        CellCommand::Reply { to, text } => Call::Reply { text: said(&text)?, to: Some(to) },
        CellCommand::Recv { wait, ack } => return receive(&mut client, wait, ack, say),
        CellCommand::Serve { once, command } => return serve::serve(&mut client, &command, once, say),
        CellCommand::Ack { id } => {
            lease(&mut client, &id)?;
            Call::Acknowledge { id }
        }
        CellCommand::Fail { id, why, park } => {
            lease(&mut client, &id)?;
            Call::Fail { id, why, park }
        }
        CellCommand::History { after, most } => Call::History { after, most },
        CellCommand::Beat => Call::Beat,
        CellCommand::Artifact { path, name } => Call::Declare { path, name },
        CellCommand::Invite { who, role } => Call::Invite { guest: who, role },
        CellCommand::Close => Call::Close,
        CellCommand::Audit { most } => Call::Audit { most },
    };
    let gift = client.call(&call)?;
    Ok(say.done(&Given { success: true, gift: &gift }, || shown(&gift)))
}

/// A text from the command line, or from standard input.
fn said(text: &str) -> Result<Text, Failure> {
    let refuse = |error: crate::mail::TextError| Failure::new(REFUSED, error.to_string());
    if text != "-" {
        return Text::new(text.to_owned()).map_err(refuse);
    }
    let mut bytes = Vec::new();
    let most = TEXT_MOST_BYTES as u64 + 1;
    std::io::stdin()
        .lock()
        .take(most)
        .read_to_end(&mut bytes)
        .map_err(|error| Failure::new(INTERNAL, format!("read standard input: {error}")))?;
    Text::from_bytes(bytes).map_err(refuse)
}

/// The next message, within a time.
fn next_message(client: &mut Client, wait: Duration) -> Result<Option<Message>, ClientError> {
    let until = std::time::Instant::now() + wait;
    loop {
        let left = until.saturating_duration_since(std::time::Instant::now());
        let wait_ms = u64::try_from(left.min(WAIT_MOST).as_millis()).unwrap_or(0);
        let gift = client.call(&Call::Receive { wait_ms })?;
        match gift {
            Gift::Received { message: Some(message) } => return Ok(Some(message)),
            _ if left.is_zero() => return Ok(None),
            _ => {}
        }
    }
}

fn receive(client: &mut Client, wait: Duration, ack: bool, say: &Say) -> Result<ExitCode, Failure> {
    let Some(message) = next_message(client, wait)? else {
        return Err(Failure::new(NOT_FOUND, "no message is waiting"));
    };
    let id = message.id.clone();
    let gift = Gift::Received { message: Some(message) };
    let code = say.done(&Given { success: true, gift: &gift }, || shown(&gift));
    // What could not be printed was not received.
    if ack && code == ExitCode::SUCCESS {
        client.call(&Call::Acknowledge { id })?;
    }
    Ok(code)
}

/// Takes the waiting messages until the given one is among them: only what was received on a connection can be settled on it. Those that
/// were taken besides are waiting again when the connection ends.
fn lease(client: &mut Client, id: &MessageId) -> Result<(), Failure> {
    for _ in 0..LEASES_MOST {
        match next_message(client, Duration::ZERO)? {
            Some(message) if message.id == *id => return Ok(()),
            Some(_) => {}
            None => break,
        }
    }
    Err(Failure::new(NOT_FOUND, format!("no message {id} is waiting for this member")))
}

/// A text as a person may see it: on a terminal, nothing in it controls that. Elsewhere it is as its sender wrote it.
fn printable(text: &str) -> String {
    if !std::io::stdout().is_terminal() {
        return text.to_owned();
    }
    printable_lines(text)
}

fn of_message(message: &Message) -> String {
    let again = if message.attempt > 1 { format!(" (delivery {})", message.attempt) } else { String::new() };
    let answers = message.in_reply_to.as_ref().map_or_else(String::new, |id| format!(", in reply to {id}"));
    format!("{} from {} to {}{answers}{again}", message.id, message.sender, message.receiver)
}

/// What a person reads; for `recv`, the text alone, since a script reads it, and where it is from on standard error.
fn shown(gift: &Gift) -> String {
    match gift {
        Gift::Facts(facts) => {
            let left = facts.ttl_left.map_or_else(|| "no end".to_owned(), |left| crate::policy::format_duration(Duration::from_secs(left)));
            let rows = [
                ("cell", facts.cell.to_string()),
                ("project", facts.project.to_string()),
                ("identity", facts.identity.to_string()),
                ("role", facts.role.to_string()),
                ("time left", left),
            ];
            rows.map(|(name, value)| format!("{name:<10} {value}")).join("\n")
        }
        Gift::Members { members } => {
            let rows: Vec<_> = members.iter().map(|other| vec![other.identity.to_string(), other.role.to_string()]).collect();
            table(&["MEMBER", "ROLE"], &rows)
        }
        Gift::Sent { id } => id.to_string(),
        Gift::Received { message: Some(message) } => {
            eprintln!("{}", of_message(message));
            printable(message.text.as_str())
        }
        Gift::History { messages } => {
            messages.iter().map(|message| format!("{}\n{}\n", of_message(message), printable(message.text.as_str()))).collect()
        }
        Gift::Invited { token: Some(token) } => token.clone(),
        Gift::Audit { rows } => rows.iter().map(|row| printable(row)).collect::<Vec<_>>().join("\n"),
        Gift::Kept(artifact) => format!("{} {} ({} bytes)", artifact.sha256, artifact.name, artifact.bytes),
        Gift::Received { message: None } | Gift::Invited { token: None } | Gift::Done => String::new(),
    }
}
