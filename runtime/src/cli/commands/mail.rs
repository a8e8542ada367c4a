//! `send` and `inbox`: words into a cell, and out of it.

use std::{
    io::{IsTerminal, Read, Write},
    process::ExitCode,
    time::Duration,
};

use serde::Serialize;

use super::{local, mailbox::Mailbox, success};
use crate::{
    cell::{CellId, Identity, text},
    cli::{
        failure::{Failure, INTERNAL, REFUSED},
        say::Say,
        table::{self, table},
    },
    mail::{Message, MessageId, TEXT_MOST_BYTES, Text},
    operator::{Error, Fate, InboxRequest, MailLine, Outgoing, Recipient, Sent, SentOne, Shown},
    policy::format_duration,
};

/// What was typed after `send`.
pub(super) struct Words {
    pub(super) to: Option<Recipient>,
    pub(super) reply_to: Option<MessageId>,
    pub(super) text: String,
}

/// The envelope of `send`.
#[derive(Serialize)]
struct SendEnvelope<'a> {
    success: bool,
    cell_id: &'a CellId,
    id: &'a MessageId,
    to: &'a Identity,
    message: String,
    messages: &'a [SentOne],
    noticed: bool,
    #[serde(flatten)]
    waited: Option<Waited<'a>>,
}

/// What `--wait` adds to it.
#[derive(Serialize)]
struct Waited<'a> {
    outcome: &'static str,
    reply: Option<&'a Message>,
    why: Option<&'a str>,
    exit_code: u8,
}

/// Takes the text: from the command line, or, for `-`, from standard input, of which no more is read than could be sent.
fn text_of(given: String) -> Result<Text, Failure> {
    if given != "-" {
        return Ok(Text::new(given).map_err(Error::from)?);
    }
    let mut bytes = Vec::new();
    let read = std::io::stdin().lock().take(TEXT_MOST_BYTES as u64 + 1).read_to_end(&mut bytes);
    read.map_err(|error| Failure::new(INTERNAL, format!("could not read standard input: {error}")))?;
    Ok(Text::from_bytes(bytes).map_err(Error::from)?)
}

/// Sends, and waits where that is asked for.
pub(super) fn send(operator: &mut impl Mailbox, cell: &str, words: Words, wait: Option<Duration>, say: &Say) -> Result<ExitCode, Failure> {
    let outgoing = Outgoing { to: words.to, reply_to: words.reply_to, text: text_of(words.text)? };
    let Some(within) = wait else {
        let sent = operator.send(cell, &outgoing)?;
        let Some(first) = sent.messages.first() else { return Err(Failure::new(INTERNAL, "nobody was written to")) };
        return Ok(say.done(&envelope(&sent, first, None), || sent_line(&sent)));
    };
    let (sent, fate) = operator.send_and_wait(cell, &outgoing, within)?;
    let Some(first) = sent.messages.first() else { return Err(Failure::new(INTERNAL, "nobody was written to")) };
    let (outcome, reply, why, code) = match &fate {
        Fate::Handled { reply } => ("handled", reply.as_ref(), None, 0),
        Fate::Parked { why } => ("parked", None, Some(why.as_str()), REFUSED),
        Fate::Waiting { because } => ("waiting", None, Some(because.as_str()), REFUSED),
    };
    if say.json() {
        let waited = Waited { outcome, reply, why, exit_code: code };
        let printed = say.print(&Say::line(&envelope(&sent, first, Some(waited))));
        if let (true, Some(reply)) = (printed, reply) {
            operator.received(&sent.cell_id, reply)?;
        }
        return Ok(ExitCode::from(code));
    }
    let (to, id) = (&first.to, &first.id);
    match fate {
        Fate::Handled { reply: Some(reply) } => {
            let printed = print_reply(&reply).map_err(|error| Failure::new(INTERNAL, format!("could not print the answer: {error}")))?;
            // One that nobody read stays in the inbox.
            if printed {
                operator.received(&sent.cell_id, &reply)?;
            }
            Ok(ExitCode::SUCCESS)
        }
        Fate::Handled { reply: None } => {
            eprintln!("{to} handled {id}, and answered nothing");
            Ok(ExitCode::SUCCESS)
        }
        Fate::Parked { why } => Err(Failure {
            hint: Some(format!("`lazarus inbox {cell} --retry {id}` lets it be delivered once more")),
            ..Failure::new(REFUSED, format!("{to} did not handle {id}, and it is parked: {}", text::one_line(&why, 1000)))
        }),
        Fate::Waiting { because } => Err(Failure {
            hint: Some(format!("`lazarus inbox {cell} {id}` shows what becomes of it; an answer comes to `lazarus inbox {cell}`")),
            ..Failure::new(REFUSED, format!("{id} is still waiting for {to}: {}", text::one_line(&because, 1000)))
        }),
    }
}

fn envelope<'a>(sent: &'a Sent, first: &'a SentOne, waited: Option<Waited<'a>>) -> SendEnvelope<'a> {
    let message = match &waited {
        Some(Waited { outcome, why: Some(why), .. }) => format!("{} is {outcome}: {}", first.id, text::one_line(why, 1000)),
        Some(Waited { outcome, why: None, .. }) => format!("{} is {outcome}", first.id),
        None => sent_line(sent),
    };
    let success = waited.as_ref().is_none_or(|waited| waited.exit_code == 0);
    let Sent { cell_id, messages, noticed } = sent;
    SendEnvelope { success, cell_id, id: &first.id, to: &first.to, message, messages, noticed: *noticed, waited }
}

fn sent_line(sent: &Sent) -> String {
    let kept = if sent.noticed { "" } else { " (its warden did not answer; the message is kept, and delivered when it looks)" };
    match sent.messages.as_slice() {
        [only] => format!("Sent {} to {}{kept}", only.id, only.to),
        all => format!("Sent {} messages{kept}", all.len()),
    }
}

/// Prints an answer: for a person on a terminal harmless, otherwise the very bytes. Returns whether somebody took it.
fn print_reply(reply: &Message) -> std::io::Result<bool> {
    let mut out = std::io::stdout().lock();
    let said = reply.text.as_str();
    let end = if said.ends_with('\n') { "" } else { "\n" };
    let printed = if out.is_terminal() {
        writeln!(out, "{}", text::printable_lines(said.trim_end_matches('\n')))
    } else {
        write!(out, "{said}{end}")
    };
    match printed.and_then(|()| out.flush()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(false),
        printed => printed.map(|()| true),
    }
}

/// What was typed after `inbox`.
pub(super) struct Look {
    pub(super) message: Option<MessageId>,
    pub(super) retry: Option<MessageId>,
    pub(super) discard: Option<MessageId>,
    pub(super) request: InboxRequest,
}

/// Which messages two switches ask for.
pub(super) const fn shown(parked: bool, all: bool) -> Shown {
    match (parked, all) {
        (true, _) => Shown::Parked,
        (false, true) => Shown::All,
        (false, false) => Shown::Waiting,
    }
}

/// Shows messages, or decides about one that was given up.
pub(super) fn inbox(operator: &mut impl Mailbox, cell: &str, look: Look, say: &Say) -> Result<ExitCode, Failure> {
    #[derive(Serialize)]
    struct Envelope<'a> {
        cell_id: &'a str,
        messages: Vec<MailLine>,
    }
    if let Some(id) = &look.message {
        let line = operator.one_message(cell, id)?;
        let messages = vec![line.clone()];
        return Ok(say.done(&success(Envelope { cell_id: cell, messages }), || whole(&line)));
    }
    if let Some(unparked) = match (&look.retry, &look.discard) {
        (Some(id), _) => Some(operator.retry_parked(cell, id)?),
        (None, Some(id)) => Some(operator.discard_parked(cell, id)?),
        (None, None) => None,
    } {
        return Ok(say.done(&success(&unparked), || unparked.message.clone()));
    }
    let request = look.request;
    if request.follow {
        operator.inbox(cell, &request, &mut |line| if say.json() { say.print(&Say::line(&line)) } else { say.print(&whole(&line)) })?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut messages = Vec::new();
    operator.inbox(cell, &request, &mut |line| {
        messages.push(line);
        true
    })?;
    let text = if say.json() { String::new() } else { listed(&messages, cell, request.shown) };
    Ok(say.done(&success(Envelope { cell_id: cell, messages }), || text))
}

/// One message with everything that is known of it.
fn whole(line: &MailLine) -> String {
    let mut text = format!("{}  {}  {} → {}  {}", line.id, local(line.sent_at), line.from, line.to, state(line));
    if let Some(answered) = &line.in_reply_to {
        text.push_str(&format!("\n  answers {answered}"));
    }
    if let Some(why) = &line.why {
        text.push_str(&format!("\n  because {}", text::one_line(why, 1000)));
    }
    for said in text::printable_lines(line.text.trim_end_matches('\n')).lines() {
        text.push_str("\n  | ");
        text.push_str(said);
    }
    text
}

fn state(line: &MailLine) -> String {
    let again = line.not_before.map(|at| (at - chrono::Utc::now()).to_std().unwrap_or_default());
    match again {
        Some(left) if !left.is_zero() => format!("{} in {}", line.state, format_duration(Duration::from_secs(left.as_secs() + 1))),
        Some(_) | None => line.state.to_owned(),
    }
}

fn listed(messages: &[MailLine], cell: &str, shown: Shown) -> String {
    if messages.is_empty() {
        return match shown {
            Shown::Parked => "No parked messages.".to_owned(),
            Shown::All => "No messages.".to_owned(),
            Shown::Waiting => {
                format!("No messages. `lazarus send {cell} TEXT` writes one; `lazarus inbox {cell} --all` shows handled ones.")
            }
        };
    }
    let row = |line: &MailLine| {
        let said = match &line.why {
            Some(why) if shown == Shown::Parked => format!("{}: {}", line.to, why),
            Some(_) | None => line.text.clone(),
        };
        vec![
            line.id.to_string(),
            line.from.to_string(),
            local(line.sent_at),
            state(line),
            line.attempt.to_string(),
            text::one_line(&said, 4096),
        ]
    };
    let last = if shown == Shown::Parked { "TO, AND WHY" } else { "TEXT" };
    let rows: Vec<Vec<String>> = messages.iter().map(row).collect();
    table::cut(&table(&["MESSAGE", "FROM", "SENT", "STATE", "ATTEMPT", last], &rows), Say::width())
}
