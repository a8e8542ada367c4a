//! The registry: names that would be SQL or paths, planted links, rows that were changed, and commands at the same time.

use std::{io, thread};

use super::{COMMAND_WITHIN, command, row, seen};
use crate::drill::{
    Attack,
    Death::{self, Harmless, Refused},
    Outcome::{Crash, Escape, Read, Write},
    SUBCOMMAND, Seen, Stage,
    process::STAND,
};

/// What is no id names no cell (3); what is no name is no usage (2).
const NOT_FOUND: &[Death] = &[Refused("exit 3")];
const USAGE: &[Death] = &[Refused("exit 2")];

/// The attacks.
#[rustfmt::skip]
pub(super) const ATTACKS: &[Attack] = &[
    row("registry/id-as-sql", "names a cell that would be a condition of SQL", command,
        &["status", "laz-00000000' OR '1'='1"], &["status", "{neighbour-cell}"], NOT_FOUND, Read),
    row("registry/id-as-path", "names a cell that would be a path to another place", command,
        &["logs", "../../yard/x"], &["logs", "{neighbour-cell}"], NOT_FOUND, Read),
    row("registry/agent-as-path", "names an agent that would be a path to another log", command,
        &["logs", "{neighbour-cell}", "../../../registry.db"], &["logs", "{neighbour-cell}", "neighbour"], USAGE, Read),
    row("registry/member-as-sql", "invites somebody whose name would end a statement of SQL", command,
        &["invite", "{neighbour-cell}", "human:x'); DROP TABLE members; --", "observer"],
        &["invite", "{neighbour-cell}", "human:alice", "observer"], USAGE, Write),
    row("registry/claim-as-path", "claims an identity that would be a path", command,
        &["status", "--as", "human:../../root"], &["status", "--as", "human:alice"], USAGE, Escape),
    row("registry/project-with-escapes", "names a project with what controls a terminal", run_nothing,
        &["--project", "\u{1b}[2J"], &["--project", "drill"], USAGE, Write),
    row("registry/no-owner", "has a cell owned by a name that is none", run_nothing,
        &["--owner", "root"], &["--owner", "human:root"], USAGE, Escape),
    row("registry/cells-are-a-link", "plants a link where the directories of cells will be", in_planted_root,
        &["cells", "{outside}/dir"], &["nothing", "{outside}/dir"], &[Refused("as the Lazarus root")], Write),
    row("registry/cache-is-a-link", "plants a link where compiled programs will be", in_planted_root,
        &["cache", "{outside}/dir"], &["nothing", "{outside}/dir"], &[Refused("as the Lazarus root")], Write),
    row("registry/registry-is-a-link", "plants a link where the registry will be", in_planted_root,
        &["registry.db", "{outside}/file"], &["nothing", "{outside}/file"], &[Refused("could not open registry")], Write),
    row("registry/root-in-hermes", "has a root inside of a Hermes home, which agents are given", in_root,
        &["{work}/.hermes/root"], &["{work}/root"], &[Refused("as the Lazarus root")], Escape),
    row("registry/changed-row", "changes a row of the audit log", changed_row,
        &["UPDATE audit SET detail = 'nothing happened' WHERE seq = 1"], &["SELECT 1"], &[Refused("BROKEN at row 1: the row was changed")], Write),
    row("registry/removed-row", "removes a row from the middle of the audit log", changed_row,
        &["DELETE FROM audit WHERE seq = 2"], &["SELECT 1"], &[Refused("BROKEN at row 2: the row is missing")], Write),
    row("registry/destroyed-at-once", "destroys a cell by eight commands at the same time", destroyed_at_once,
        &["8"], &["1"], &[Harmless], Crash),
];

/// `[option, value]`: runs a program that does nothing.
fn run_nothing(stage: &Stage, arguments: &[String]) -> io::Result<Seen> {
    let given: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let words = [&["run", "--client", "--env=PATH=/nowhere"], &given[..], &["--", "lazarus", SUBCOMMAND, STAND]].concat();
    Ok(seen(&stage.lazarus(&words, b"", COMMAND_WITHIN)?))
}

/// `[name, target]`: makes a root in which that name is a link to the target, and runs a program in it.
fn in_planted_root(stage: &Stage, arguments: &[String]) -> io::Result<Seen> {
    let word = |at: usize| arguments.get(at).map_or("", String::as_str);
    let root = stage.make_root(&[(word(0), word(1))])?;
    in_root(stage, &[root])
}

/// `[root]`: runs a program that does nothing, in that root.
fn in_root(stage: &Stage, arguments: &[String]) -> io::Result<Seen> {
    let root = arguments.first().map_or("", String::as_str);
    let words = ["run", "--client", "--env=PATH=/nowhere", "--", "lazarus", SUBCOMMAND, STAND];
    Ok(seen(&stage.lazarus_in(root, &words, COMMAND_WITHIN)?))
}

/// `[statement]`: changes a registry past Lazarus, and verifies its chain.
fn changed_row(stage: &Stage, arguments: &[String]) -> io::Result<Seen> {
    let root = stage.make_root(&[])?;
    for _ in 0..2 {
        let told = in_root(stage, std::slice::from_ref(&root))?;
        if !told.is_success() {
            return Ok(told);
        }
    }
    let statement = arguments.first().map_or("", String::as_str);
    let edited = stage.edit_registry(&root, statement);
    edited.map_err(|error| io::Error::other(format!("the registry could not be changed past Lazarus: {error}")))?;
    Ok(seen(&stage.lazarus_in(&root, &["audit", "verify"], COMMAND_WITHIN)?))
}

/// `[count]`: summons a cell, and has it destroyed by that many commands at once. Each must succeed, and nothing be left.
fn destroyed_at_once(stage: &Stage, arguments: &[String]) -> io::Result<Seen> {
    let count: usize = arguments.first().and_then(|count| count.parse().ok()).unwrap_or(0);
    let words =
        ["summon", "victim", "drill", "--ttl", "10m", "--client", "--env=PATH=/nowhere", "--", "lazarus", SUBCOMMAND, STAND, "forever"];
    let summoned = stage.lazarus(&words, b"", COMMAND_WITHIN)?;
    let cell = summoned.text("cell_id");
    let told = thread::scope(|scope| {
        let destroy = || stage.lazarus(&["destroy", &cell], b"", COMMAND_WITHIN);
        let all: Vec<_> = (0..count).map(|_| scope.spawn(destroy)).collect();
        all.into_iter().map(|one| one.join().unwrap_or_else(|_| Err(io::ErrorKind::Other.into()))).collect::<io::Result<Vec<_>>>()
    })?;
    if let Some(failed) = told.iter().find(|told| told.code != Some(0)) {
        return Ok(Seen::untold(&format!("one of them failed: {}", failed.text("message"))));
    }
    let status = stage.lazarus(&["status", &cell], b"", COMMAND_WITHIN)?.value("cell").unwrap_or_default();
    match status.get("state").and_then(serde_json::Value::as_str) {
        Some("destroyed") => Ok(Seen::succeeded("it is destroyed, and every command says so")),
        other => Ok(Seen::untold(&format!("its state is {other:?}"))),
    }
}
