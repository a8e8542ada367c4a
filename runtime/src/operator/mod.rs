//! What an operator can do: one use case a file, typed in, typed out.
//!
//! The command line, the tests and later servers all call these; none of them decides anything itself.
//! An [`Operator`] is one command's view: the root, the registry, and who gives the command.

mod agents;
mod approval;
mod archive;
mod artifacts;
mod as_member;
mod audit;
mod audit_error;
mod audit_key;
mod audit_show;
mod author;
mod check;
mod close;
mod destroy;
mod drill;
mod error;
mod explain;
mod extend;
mod foreground;
mod inbox;
mod invite;
mod join;
mod kind;
mod logs;
mod plan;
mod receipt;
mod record;
mod resurrect;
mod revoke;
mod run;
mod send;
mod status;
mod summon;
mod sweep;
mod teardown;
mod undertake;
mod why;

use std::path::Path;

pub use agents::{AgentAdded, AgentListed, AgentShown};
pub use approval::AgentApproved;
pub use archive::{ArchiveNote, ArchiveOrder, CellArchived};
pub use artifacts::{ArtifactLine, Destination, Fetched};
pub use audit::{AuditVerdict, Completeness, Integrity, Voucher};
pub use audit_error::AuditError;
pub use audit_key::{HeadShown, KeyShown};
pub use audit_show::{AuditLine, AuditQuery, AuditShown};
pub use author::Scaffolded;
pub use check::{Checked, CheckedDefinition, ImportGroup};
pub use close::Closed;
pub use destroy::Destroyed;
pub use error::Error;
pub use explain::{AgentExplained, Explained, policy_lines};
pub use extend::Extended;
pub use inbox::{InboxRequest, MailLine, Shown, Unparked};
pub use invite::Invited;
pub use join::{JoinError, MemberClient, join, member_client};
pub use kind::{Kind, Replacing};
pub use logs::{LogLine, LogRequest};
pub use plan::Wish;
pub use receipt::{ReceiptChecked, ReceiptShown, check_receipt};
pub use resurrect::Resurrected;
pub use revoke::Revoked;
pub use run::Ran;
pub use send::{Fate, Outgoing, Recipient, Sent, SentOne};
pub use status::{CellStatus, CellView, MailStatus, Probe, RunStatus};
pub use summon::Summoned;
pub use sweep::Swept;
pub use why::{Ruling, Why, WhyAnswer};

use crate::{
    cell::{CellId, Identity, Record},
    home::Root,
    jail::liveness::{self, Liveness},
    registry::Registry,
};

/// One command's view of a Lazarus root.
pub struct Operator {
    root: Root,
    registry: Registry,
    actor: Identity,
    /// Whether `actor` is the operator in person, rather than an identity claimed with `--as`.
    in_person: bool,
}

impl Operator {
    /// Opens a root for somebody. `claimed` is the identity of `--as`; without one, the login name counts.
    ///
    /// # Errors
    /// A root or a registry that cannot be used.
    pub fn open(root: &Path, claimed: Option<Identity>, login: Option<&str>) -> Result<Self, Error> {
        let operator = Identity::human_or_uid(login, rustix::process::geteuid().as_raw());
        let actor = claimed.unwrap_or_else(|| operator.clone());
        let root = Root::open(root)?;
        let registry = Registry::open(root.path())?;
        // Without a reserve everything works but a teardown on a full disk, which then says so.
        let _ = root.keep_reserve();
        let in_person = actor == operator;
        Ok(Self { root, registry, actor, in_person })
    }

    /// Who gives the command.
    pub const fn actor(&self) -> &Identity {
        &self.actor
    }

    /// The root.
    pub const fn root(&self) -> &Root {
        &self.root
    }

    /// The cell of that id. What is no id names no cell.
    fn cell(&mut self, given: &str) -> Result<Record, Error> {
        let absent = || Error::CellNotFound(crate::cell::text::one_line(given, 80));
        let id: CellId = given.parse().map_err(|_| absent())?;
        self.registry.cell(&id)?.ok_or_else(absent)
    }

    /// The cell of that id without its members, after catching up with it: for commands that are given often, and to large cells.
    fn cell_alone(&mut self, given: &str) -> Result<Record, Error> {
        let absent = || Error::CellNotFound(crate::cell::text::one_line(given, 80));
        let id: CellId = given.parse().map_err(|_| absent())?;
        let record = self.registry.cell_alone(&id)?.ok_or_else(absent)?;
        let guardian = record.warden.as_ref().unwrap_or(&record.proposal.summoner);
        if record.state.may_live() && liveness::probe(guardian) == Liveness::Dead { self.swept_cell(given) } else { Ok(record) }
    }
}
