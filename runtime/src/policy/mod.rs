//! What an agent may do: pure values, deny by default.
//!
//! An agent definition *asks* ([`crate::agent`]); the operator's command line *allows*; what both
//! agree on is a [`Policy`]. Applying a policy yields a [`Report`]: for each promise, who enforces
//! it and how far. Asked-for and enforced are never the same field.

mod grants;
mod limits;
mod overlap;
mod plain;
mod promised;
mod quantity;
mod report;
mod setting;
mod subject;

pub use grants::{Access, EnvError, GuestPath, Mount, MountError, Policy, READ_BY_DEFAULT, is_of_a_shell, validate_variable};
pub use limits::{COUNTS, Limits, LimitsError};
pub use overlap::{Overlap, Readable, overlap, overlap_of_reads};
pub use plain::{Plain, plain};
pub use promised::{Applier, Asked, Promised};
pub use quantity::{ByteSize, QuantityError, format_duration, parse_duration, parse_ttl};
pub use report::{Applied, Enforcer, Entry, Extent, Report};
pub use setting::Setting;
pub use subject::{Address, Granted, LimitName, Subject, Wall};
