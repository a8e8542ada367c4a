//! Each command: its use case, its envelope, and what a person reads instead.

mod agents;
mod archive;
mod artifacts;
mod audit;
mod drill;
mod explain;
mod logs;
mod mail;
mod mailbox;
mod resurrect;
mod run;
mod status;
mod summon;
mod sweep;
mod why;

use std::process::ExitCode;

use serde::Serialize;

pub use self::archive::ArchiveArgs;
use self::mailbox::Mailbox;
pub(super) use self::{agents::new as agent_new, audit::check as check_receipt, drill::list as drill_list};
use super::{
    args::Command,
    failure::{Failure, INTERNAL},
    say::Say,
};
use crate::operator::{InboxRequest, Invited, LogRequest, MemberClient, Operator};

/// A success envelope: `success` first, then the keys of the contract.
#[derive(Serialize)]
struct Success<T: Serialize> {
    success: bool,
    #[serde(flatten)]
    what: T,
}

fn success<T: Serialize>(what: T) -> Success<T> {
    Success { success: true, what }
}

/// Writes or reads as somebody who joined a cell.
///
/// # Errors
/// What the cell refuses, or is not for members.
pub fn correspond_as_member(mut member: MemberClient, command: Command, say: &Say) -> Result<ExitCode, Failure> {
    correspond(&mut member, command, say)
}

fn correspond(mailbox: &mut impl Mailbox, command: Command, say: &Say) -> Result<ExitCode, Failure> {
    match command {
        Command::Send { cell, text, to, reply_to, wait } => mail::send(mailbox, &cell, mail::Words { to, reply_to, text }, wait, say),
        Command::Inbox { cell, message, of, follow, ack, parked, all, retry, discard } => {
            let shown = mail::shown(parked, all);
            let request = InboxRequest { of, shown, follow, acknowledge: ack };
            mail::inbox(mailbox, &cell, mail::Look { message, retry, discard, request }, say)
        }
        _ => Err(Failure::new(INTERNAL, "only send and inbox are for members")),
    }
}

/// Runs a command.
///
/// # Errors
/// What the use case refuses.
pub fn carry_out(mut operator: Operator, command: Command, say: &Say) -> Result<ExitCode, Failure> {
    // What ended unseen is caught up with first; trouble with one cell is no trouble of this command.
    // A message does not wait for that: its own cell alone is caught up with.
    if !matches!(command, Command::Sweep | Command::Send { .. })
        && let Err(error) = operator.sweep()
    {
        // On a full disk, say: what was asked for may still be possible, and may be the cure.
        eprintln!("warning: could not record what ended unseen: {}", Failure::from(error).message);
    }
    match command {
        Command::Summon { agent, project, options } => summon::summon(&mut operator, &agent, &project, *options, say),
        Command::Team { agents, project, options } => summon::team(&mut operator, &agents.0, &project, *options, say),
        Command::Invite { cell, guest, role, expires } => {
            let invited = operator.invite(&cell, &guest, role, expires)?;
            Ok(say.done(&success(&invited), || invitation(&invited)))
        }
        Command::Revoke { cell, member } => {
            let revoked = operator.revoke(&cell, &member)?;
            Ok(say.done(&success(&revoked), || revoked.message.clone()))
        }
        Command::Status { cell: Some(cell), .. } => {
            let status = operator.status(&cell)?;
            Ok(say.done(&success(&status), || status::one_cell(&status, say)))
        }
        Command::Status { cell: None, all } => status::status(&mut operator, all, say),
        Command::Close { cell, grace, no_wait } => {
            let closed = operator.close(&cell, grace, !no_wait)?;
            Ok(say.done(&success(&closed), || closed.message.clone()))
        }
        Command::Destroy { cell, force } => {
            let destroyed = operator.destroy(&cell, force)?;
            Ok(say.done(&success(&destroyed), || format!("{}\n{}", destroyed.message, status::receipt_line(&destroyed.receipt))))
        }
        Command::Run { target, timeout, bare, project, options } => {
            let (agent, wish) = run::run_wish(target, bare, *options)?;
            run::run(&mut operator, &agent, &project, &wish, timeout, say)
        }
        Command::Logs { cell, agent, follow, lines, timestamps } => {
            logs::logs(&mut operator, &cell, &LogRequest { agent, follow, lines }, timestamps, say)
        }
        command @ (Command::Send { .. } | Command::Inbox { .. }) => correspond(&mut operator, command, say),
        Command::Artifacts { cell, command } => artifacts::run(&mut operator, cell, command, say),
        Command::Archive(args) => archive::archive(&mut operator, args, say),
        Command::Extend { cell, by } => {
            let extended = operator.extend(&cell, by)?;
            Ok(say.done(&success(&extended), || format!("{}, until {}", extended.message, local(extended.expires_at))))
        }
        Command::Resurrect { cell, ttl, accept_degraded } => {
            let resurrected = operator.resurrect(&cell, ttl, accept_degraded)?;
            Ok(resurrect::done(&resurrected, say))
        }
        Command::Drill { only, .. } => drill::drill(&mut operator, only, say),
        Command::Sweep => sweep::sweep(&mut operator, say),
        Command::Explain { subject } => {
            let explained = operator.explain(&subject)?;
            Ok(explain::said(&explained, say))
        }
        Command::Why { cell, subject, agent, write } => {
            let why = operator.why(&cell, &subject, agent.as_ref(), write)?;
            Ok(say.done(&success(&why), || why::lines(&why)))
        }
        Command::Agent(command) => agents::run(&mut operator, command, say),
        Command::Audit(command) => audit::run(&mut operator, command, say),
        Command::Receipt(args) => audit::receipt(&mut operator, &args, say),
        // Carried out already, without an operator.
        Command::Completions { .. } | Command::Cell(_) | Command::Join { .. } => Ok(ExitCode::SUCCESS),
    }
}

/// What a person who invites reads: for another person, what to hand over.
fn invitation(invited: &Invited) -> String {
    let (Some(token), Some(until)) = (&invited.token, invited.expires_at) else { return invited.message.clone() };
    format!(
        "{}\nThey join, once and until {}, with:\n  lazarus join {token}\nWhoever has the token joins as {}: hand it over where nobody else reads.",
        invited.message,
        local(until),
        invited.guest
    )
}

/// A time as the operator's clock shows it.
fn local(at: chrono::DateTime<chrono::Utc>) -> String {
    at.with_timezone(&chrono::Local).format("%Y-%m-%d %H:%M:%S").to_string()
}
