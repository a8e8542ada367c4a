//! Cells as pure values: no files, no clock, no database.

mod backend_kind;
mod id;
mod identity;
mod opaque;
mod process;
mod receipt;
mod record;
mod role;
mod state;
pub mod text;

pub use backend_kind::{BackendError, BackendKind};
pub use id::{CellId, CellIdError};
pub use identity::{AgentName, Identity, NAME_MOST_BYTES, NameError, ProjectName, parse_team};
pub use opaque::Opaque;
pub use process::ProcessRef;
pub use receipt::{Attempt, EndedProcess, Receipt};
pub use record::{Member, OnExpire, Proposal, Record, Run, RunEnd};
pub use role::{Role, RoleError};
pub use state::{CloseReason, Decision, Event, FailReason, Refusal, State, decide, is_expired};
