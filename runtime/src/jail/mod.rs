//! The jail: what the operating system enforces on a wasm host, a compiler or a process agent.
//!
//! ```text
//!  Jail (asked for) ── apply() ──→ the calling thread is confined ──→ Report (what the kernel gave)
//!
//!  parent-death signal → session → no_new_privs → [new root] → capabilities → rlimits → inherited descriptors
//!      → Landlock → seccomp
//! ```
//!
//! The order is not free: each step needs what a later one takes away. Applying consumes the jail, and happens in
//! a fresh process before it has a second thread, because most of it binds the calling thread and what it starts later.
//! Nothing is undone: a jail that fails to apply leaves a process that must end.

mod apply;
mod capabilities;
pub mod cgroup;
mod error;
mod landlock;
pub mod liveness;
mod masks;
mod mountpoint;
mod nameless;
pub mod namespaces;
mod newroot;
pub mod observe;
mod rlimits;
mod rules;
mod seccomp;
pub mod streams;
pub mod usher;

pub use capabilities::GAINS_NO_CAPABILITY;
pub use error::{JailError, SeccompError};
pub use landlock::shield;
pub use masks::SHOWN;
pub use nameless::{Nameless, nameless, path_of};
pub use newroot::{Bind, BindKind, Link, NewRoot, SCRATCH};
pub use rlimits::{LOCKED, NO_CORE_DUMP, NO_PRIORITY, NO_REALTIME, QUEUES, SIGNALS, limit_open_files};
pub use rules::{FileRule, Jail, JailLimits, Profile, Reach};
pub use seccomp::{CONNECT, MARKS, SyscallRuling, Verdict, decides_only, hold, refuse_connects, ruling};
