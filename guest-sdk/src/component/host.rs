//! The host's functions, with this crate's types.

use std::{env, ffi::OsString, path::PathBuf, time::Duration};

use super::{
    generated::lazarus::cell::{artifacts, cell as imported, heartbeat, log, mailbox, types},
    life::from_wit,
};
use crate::{Artifact, Cell, Level, Member, Message, Reason, Refusal, Role, cell::Host, plain::variable};

struct Imports;

/// The cell of this component. Its directories are named by the variables that plain programs read, too.
pub(super) fn cell() -> Cell {
    let directory = |name| env::var_os(name).filter(|value: &OsString| !value.is_empty()).map(PathBuf::from);
    Cell::new(Box::new(Imports), directory(variable::HOME), directory(variable::SHARED))
}

impl Host for Imports {
    fn me(&self) -> Member {
        member(imported::me())
    }

    fn id(&self) -> String {
        imported::id()
    }

    fn project(&self) -> String {
        imported::project()
    }

    fn ttl_left(&self) -> Option<Duration> {
        imported::ttl_left().map(Duration::from_secs)
    }

    fn members(&self) -> Result<Vec<Member>, Refusal> {
        Ok(imported::members().map_err(refusal)?.into_iter().map(member).collect())
    }

    fn invite(&self, guest: &str, role: Role) -> Result<Option<String>, Refusal> {
        let role = match role {
            Role::Executor => types::Role::Executor,
            Role::Observer => types::Role::Observer,
            Role::Director => types::Role::Director,
            Role::Auditor => types::Role::Auditor,
        };
        imported::invite(guest, role).map_err(refusal)
    }

    fn close(&self) -> Result<(), Refusal> {
        imported::close().map_err(refusal)
    }

    fn audit(&self, most: u32) -> Result<Vec<String>, Refusal> {
        imported::audit(most).map_err(refusal)
    }

    fn send(&self, receiver: &str, text: &str) -> Result<String, Refusal> {
        mailbox::send(receiver, text).map_err(refusal)
    }

    fn reply(&self, text: &str) -> Result<String, Refusal> {
        mailbox::reply(text).map_err(refusal)
    }

    fn receive(&self) -> Result<Option<Message>, Refusal> {
        Ok(mailbox::receive().map_err(refusal)?.map(from_wit))
    }

    fn history(&self, after: Option<&str>, most: u32) -> Result<Vec<Message>, Refusal> {
        Ok(mailbox::history(after, most).map_err(refusal)?.into_iter().map(from_wit).collect())
    }

    fn write(&self, level: Level, text: &str) {
        let level = match level {
            Level::Debug => log::Level::Debug,
            Level::Info => log::Level::Info,
            Level::Warn => log::Level::Warn,
            Level::Error => log::Level::Error,
        };
        log::write(level, text);
    }

    fn beat(&self) {
        heartbeat::beat();
    }

    fn declare(&self, path: &str, name: &str) -> Result<Artifact, Refusal> {
        let artifacts::Artifact { name, sha256, bytes } = artifacts::declare(path, name).map_err(refusal)?;
        Ok(Artifact { name, sha256, bytes })
    }
}

fn member(member: types::Member) -> Member {
    let role = match member.role {
        types::Role::Executor => Role::Executor,
        types::Role::Observer => Role::Observer,
        types::Role::Director => Role::Director,
        types::Role::Auditor => Role::Auditor,
    };
    Member { identity: member.identity, role }
}

fn refusal(refusal: types::Refusal) -> Refusal {
    let reason = match refusal.reason {
        types::Reason::NotGranted => Reason::NotGranted,
        types::Reason::NoSuchMember => Reason::NoSuchMember,
        types::Reason::NoSuchMessage => Reason::NoSuchMessage,
        types::Reason::TooLarge => Reason::TooLarge,
        types::Reason::Malformed => Reason::Malformed,
        types::Reason::Full => Reason::Full,
        types::Reason::TooFast => Reason::TooFast,
        types::Reason::WrongTime => Reason::WrongTime,
        types::Reason::Failed => Reason::Failed,
    };
    Refusal { reason, message: refusal.message, needs: refusal.needs }
}
