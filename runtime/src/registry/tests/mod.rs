//! The registry, with real files.

mod approvals;
mod contention;
mod corruption;
mod hostile_text;
mod lifecycle;
mod mailbox;
mod mailbox_model;
mod mailbox_scale;
mod members_and_runs;
mod model;
mod opening;
mod receipts;
mod tokens_and_artifacts;

use std::{path::Path, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};
use rusqlite::Connection;
use tempfile::TempDir;

use super::*;
use crate::{
    audit::{Action, Phase},
    cell::*,
};

/// A registry in a directory of its own.
struct Fixture {
    root: TempDir,
    registry: Registry,
}

fn fixture() -> Fixture {
    let root = tempfile::tempdir().expect("a directory");
    let registry = Registry::open(root.path()).expect("a new registry");
    Fixture { root, registry }
}

/// A connection that is not the registry's, and may do anything: the one who damages.
fn raw(root: &Path) -> Connection {
    let connection = Connection::open(root.join(FILE_NAME)).expect("a connection");
    connection.execute_batch("PRAGMA ignore_check_constraints = ON; PRAGMA foreign_keys = OFF").expect("settings");
    connection
}

fn alice() -> Identity {
    "human:alice".parse().expect("an identity")
}

fn process(pid: u32) -> ProcessRef {
    ProcessRef { pid, start_ticks: 4_000_000_000, boot_id: "2a1d6a10-6f64-4f39-9d5a-8b6b6f0c1c5e".into() }
}

fn member(identity: &str, role: Role) -> Member {
    Member { identity: identity.parse().expect("an identity"), role, joined_at: Utc::now(), invited_by: alice() }
}

fn proposal(bits: u32) -> Proposal {
    Proposal {
        cell_id: CellId::from_bits(bits),
        project: "apollo".parse().expect("a name"),
        owner: alice(),
        backend: BackendKind::Wasm,
        members: vec![member("agent:scribe", Role::Executor), member("human:alice", Role::Director)],
        hermes_home: "/srv/lazarus/cells/it's \"home\"".into(),
        ttl: Duration::from_secs(3600),
        on_expire: OnExpire::Close,
        team: false,
        throwaway: false,
        accept_degraded: true,
        summoner: process(17),
        created_at: Utc::now(),
    }
}

fn run(agent: &str) -> Run {
    Run {
        agent: agent.parse().expect("a name"),
        generation: 1,
        process: process(4711),
        started_at: columns::kept(Utc::now()),
        ended: None,
        report: Opaque::of(&serde_json::json!([{ "promise": "writes only below its home", "enforcer": "landlock", "extent": "full" }])),
    }
}

fn none() -> TransitionExtras {
    TransitionExtras::default()
}

impl Fixture {
    fn propose(&mut self, bits: u32) -> CellId {
        self.registry.propose(&proposal(bits), "human:alice").expect("a new cell").proposal.cell_id
    }

    fn active(&mut self, bits: u32) -> CellId {
        let cell = self.propose(bits);
        self.happens(&cell, Event::Ready);
        cell
    }

    fn happens(&mut self, cell: &CellId, event: Event) -> Record {
        self.registry.transition(cell, event, "human:alice", none()).expect("an allowed event").into_record()
    }

    /// What the log says, in short: `action phase`.
    fn log(&self) -> Vec<String> {
        let rows = self.registry.audit_rows(&AuditFilter::default()).expect("a log");
        rows.iter().map(|entry| format!("{} {}", entry.action, entry.phase)).collect()
    }

    /// The registry as another command finds it.
    fn again(&self) -> Registry {
        Registry::open(self.root.path()).expect("the registry")
    }
}
