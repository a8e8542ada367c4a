//! Control groups: memory, processes and CPU time of an agent, counted together. Made by the warden, where the machine lets it.
//!
//! ```text
//!  trees (mounted, of version 1 or 2) ── plan ──→ places for groups, and what a group there holds
//!      └─ create: a directory for the agent in each, its limits ── doors ──→ the child joins by itself: it is counted from its first step
//!           └─ memory and processes: the kernel refuses or ends │ CPU time: the kernel counts, the warden reads and ends
//! ```
//!
//! Version 2 (most machines with systemd) has one tree, in which a part must be delegated to this user; root makes itself a directory
//! of its own where nothing is. Version 1 has a tree for each controller. Version 2 counts CPU time in every group, whatever controllers
//! the machine gives it.
//!
//! No process that is not Lazarus' own is ever moved.

mod clear;
mod group;
mod place;
mod tree;

pub use clear::{clear, leftovers, members};
pub use group::{Cgroup, CgroupUnavailable, Hits, name};
pub use place::Holds;
