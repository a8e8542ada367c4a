//! The registry: cells, members, runs, messages and the audit chain, in one SQLite file that only the trusted side opens.
//!
//! ```text
//!  command ─→ BEGIN IMMEDIATE ─→ read the row ─→ cell::decide ─┬→ new state, version + 1, audit row (done)  ─→ COMMIT
//!                                                              └→ nothing but an audit row (refused)        ─→ COMMIT
//! ```
//!
//! - A transition and its audit row are one commit. Two that start from one version cannot both happen.
//! - Nobody sees "database is locked": whoever finds the registry busy waits ([`PATIENCE`]).
//! - Rows of cells, members, runs and the audit are never removed; a destroyed cell's stay. Its messages, tokens and artifacts go with it.
//! - A row that makes no sense is [`RegistryError::Corrupt`], never a guess.
//! - Times are kept to the microsecond. What a call returns is what was stored.
//!
//! Every call blocks. No transaction is open between two calls.

mod approvals;
mod artifacts;
mod audit_log;
mod columns;
mod error;
mod extend;
mod lookup;
mod mailbox;
mod members;
mod migrate;
mod open;
mod patience;
mod propose;
mod read;
mod receipts;
mod row;
mod runs;
mod teardowns;
mod tokens;
mod transition;
mod write;

pub use approvals::{ApprovedBy, Standing};
pub use artifacts::{ARTIFACT_NAME_MOST_BYTES, ARTIFACTS_MOST, KeptArtifact, is_artifact_name};
pub use audit_log::{AuditFilter, AuditWalk};
pub use error::RegistryError;
pub use mailbox::{FailedDelivery, HANDLED_MOST, InboxFilter, MailCounts, MailRow, MailState, PARKED_MOST, Settlement};
pub use migrate::SCHEMA_VERSION;
pub use open::{FILE_NAME, Registry};
pub use patience::PATIENCE;
pub use read::{CellFilter, ReadRegistry};
pub use receipts::{Burial, Buried};
pub use teardowns::{Progress, Teardown};
pub use tokens::{BEFORE_JOINING, TokenFault};
pub use transition::{Outcome, TransitionExtras};

#[cfg(test)]
mod tests;
