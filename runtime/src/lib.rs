//! Lazarus runs AI agents in *cells*: one bounded place a project, with its own home, members and
//! time to live, and nothing of the machine that it was not given.
//!
//! Modules are listed from the middle to the rim: each may use those above it, never those below
//! (`tests/tests/tidy.rs` holds that). `cell` and `policy` are pure; `home::ambient` opens
//! what the operator names, and `unchecked` holds all `unsafe` code. The few other places that open paths
//! of the machine by name are listed, each with its reason, in the same test.

pub mod cell;
pub mod policy;

pub mod mail;

pub mod home;

pub mod agent;

pub mod audit;
pub mod registry;

pub mod seal;

pub mod failpoint;
pub mod unchecked;

pub mod jail;

pub mod backend;

pub mod member;

pub mod warden;

pub mod operator;

pub mod cli;
