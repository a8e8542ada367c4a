//! `lazarus cell serve -- COMMAND`: a command as a member that answers messages.

use std::{
    io::{Read, Write},
    process::{Child, Command, ExitCode, Stdio},
};

use super::{Failure, Say, WAIT_MOST, next_message};
use crate::{
    cell::text::one_line,
    mail::{Call, Message, TEXT_MOST_BYTES, Text},
    member::{Client, ClientError},
};

/// Bytes of a reason that a message failed for.
const WHY_MOST_BYTES: usize = 300;

/// What became of one message.
enum Handled {
    /// It was, and this is the reply.
    Well(Option<Text>),
    /// It was not, and why.
    Badly(String),
}

/// Runs the command for each message, until the connection ends; with `once`, for one.
///
/// # Errors
/// The cell ended the connection, or refused to give messages.
pub fn serve(client: &mut Client, command: &[String], once: bool, say: &Say) -> Result<ExitCode, Failure> {
    loop {
        client.call(&Call::Beat)?;
        let Some(message) = next_message(client, WAIT_MOST)? else { continue };
        let settled = match handle(command, &message) {
            Handled::Well(reply) => well(client, &message, reply)?,
            Handled::Badly(why) => {
                eprintln!("{}: {why}", message.id);
                Call::Fail { id: message.id.clone(), why, park: false }
            }
        };
        client.call(&settled)?;
        if once {
            #[derive(serde::Serialize)]
            struct Envelope<'a> {
                success: bool,
                id: &'a crate::mail::MessageId,
            }
            return Ok(say.done(&Envelope { success: true, id: &message.id }, String::new));
        }
    }
}

/// Sends the reply, and says how the message is to be settled. One whose reply is refused has failed: its sender would wait for ever.
fn well(client: &mut Client, message: &Message, reply: Option<Text>) -> Result<Call, ClientError> {
    let id = message.id.clone();
    let Some(text) = reply else { return Ok(Call::Acknowledge { id }) };
    match client.call(&Call::Reply { text, to: Some(id.clone()) }) {
        Ok(_) => Ok(Call::Acknowledge { id }),
        Err(ClientError::Refused(refusal)) => {
            let why = one_line(&format!("its reply was refused: {refusal}"), WHY_MOST_BYTES);
            Ok(Call::Fail { id, why, park: false })
        }
        Err(error) => Err(error),
    }
}

fn handle(command: &[String], message: &Message) -> Handled {
    let badly = |why: String| Handled::Badly(one_line(&why, WHY_MOST_BYTES));
    let Some((program, arguments)) = command.split_first() else { return badly("no command was named".to_owned()) };
    let mut child = Command::new(program);
    child
        .args(arguments)
        .env("LAZARUS_MESSAGE_ID", message.id.as_str())
        .env("LAZARUS_MESSAGE_SENDER", message.sender.to_string())
        .env("LAZARUS_MESSAGE_ATTEMPT", message.attempt.to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    match message.in_reply_to.as_ref() {
        Some(answered) => child.env("LAZARUS_MESSAGE_IN_REPLY_TO", answered.as_str()),
        None => child.env_remove("LAZARUS_MESSAGE_IN_REPLY_TO"),
    };
    let child = match child.spawn() {
        Ok(child) => child,
        Err(error) => return badly(format!("{program} could not be started: {error}")),
    };
    match talk(child, message.text.as_str()) {
        Err(error) => badly(format!("{program} could not be followed: {error}")),
        Ok((status, _)) if !status.success() => badly(format!("{program} ended with {status}")),
        Ok((_, mut said)) => {
            // As a shell takes the output of a command.
            while said.last() == Some(&b'\n') {
                said.pop();
            }
            if said.is_empty() {
                return Handled::Well(None);
            }
            Text::from_bytes(said).map_or_else(|error| badly(format!("its reply: {error}")), |text| Handled::Well(Some(text)))
        }
    }
}

/// Gives a program its input, and takes what it prints, a little more than fits a message at the most.
fn talk(mut child: Child, text: &str) -> std::io::Result<(std::process::ExitStatus, Vec<u8>)> {
    let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
    let mut said = Vec::new();
    std::thread::scope(|scope| {
        if let Some(mut stdin) = stdin {
            // A program that does not read its input to the end is not at fault.
            scope.spawn(move || drop(stdin.write_all(text.as_bytes())));
        }
        // What is more than that is not read; the program then hears of a closed pipe.
        stdout.map_or(Ok(0), |stdout| stdout.take(TEXT_MOST_BYTES as u64 + 64).read_to_end(&mut said))
    })?;
    Ok((child.wait()?, said))
}
