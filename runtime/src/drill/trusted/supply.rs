//! Supply: definitions, components and compiled code that are not what was approved.

use std::io;

use super::{COMMAND_WITHIN, row, seen};
use crate::drill::{
    Attack,
    Death::{self, Errno, Harmless, Refused},
    Outcome::{Escape, Read},
    Seen, Stage,
};

/// A program that does nothing: a preview 1 module.
const NOTHING: &str = r#"(module (memory (export "memory") 1) (func (export "_start")))"#;
/// A definition that names it.
const DEFINITION: &str = "[agent]\nname = \"supplied\"\ncomponent = \"nothing.wat\"\n";
/// Where a definition is refused.
const DEFINED: &[Death] = &[Refused("exit 1")];

/// Where what was installed is not what is there.
const CHANGED: &[Death] = &[Refused("changed since it was"), Refused("is not approved")];

/// The attacks.
#[rustfmt::skip]
pub(super) const ATTACKS: &[Attack] = &[
    row("supply/unknown-key", "defines an agent with a key that Lazarus does not know", defined,
        &["netwrok = true"], &["args = []"], DEFINED, Escape),
    row("supply/unknown-section", "defines an agent with a section that Lazarus does not know", defined,
        &["[privileges]\nroot = true"], &["[limits]\nmemory = \"64MiB\""], DEFINED, Escape),
    row("supply/unlimited", "defines an agent whose limit is 0", defined,
        &["[limits]\nmemory = 0"], &["[limits]\nmemory = \"64MiB\""], DEFINED, Escape),
    row("supply/key-twice", "defines an agent with the same key twice", defined,
        &["name = \"other\""], &["args = []"], DEFINED, Escape),
    row("supply/wrong-pin", "installs a component that is not the one that was pinned", defined,
        &["sha256 = \"0000000000000000000000000000000000000000000000000000000000000000\""], &["args = []"], DEFINED, Escape),
    row("supply/no-component", "names a component that is no WebAssembly", defined_with_component,
        &["agent.toml"], &["nothing.wat"], DEFINED, Escape),
    row("supply/component-changed", "changes a component after it was installed", changed_after,
        &["component.wasm"], &["nothing"], CHANGED, Escape),
    row("supply/definition-changed", "changes a definition after it was installed", changed_after,
        &["agent.toml"], &["nothing"], CHANGED, Escape),
    row("supply/poisoned-cache", "puts foreign bytes into the place of compiled code", poisoned,
        &["foreign"], &["untouched"], &[Harmless, Refused("use the cache")], Escape),
    row("supply/cut-cache", "cuts compiled code short", poisoned, &["cut"], &["untouched"], &[Harmless, Refused("use the cache")], Escape),
    row("supply/open-cache", "lets others write to compiled code", poisoned, &["open"], &["untouched"], &[Refused("use the cache")], Escape),
    row("supply/linked-cache", "puts a link into the place of compiled code", poisoned,
        &["linked"], &["untouched"], &[Harmless, Refused("use the cache")], Escape),
    row("supply/template-with-link", "installs a home template with a link to a secret", template,
        &["link", "{outside}/secret"], &["file", "{outside}/secret"], &[Errno(libc::ENOENT)], Read),
];

/// `[line]`: installs a definition with this line at its end.
fn defined(stage: &Stage, arguments: &[String]) -> io::Result<Seen> {
    let line = arguments.first().map_or("", String::as_str);
    let supplied = stage.supply(&[("nothing.wat", NOTHING), ("agent.toml", &format!("{DEFINITION}{line}\n"))])?;
    Ok(seen(&stage.lazarus(&["agent", "add", "--replace", &format!("{supplied}/agent.toml")], b"", COMMAND_WITHIN)?))
}

/// `[component]`: installs a definition that names this component, and runs it.
fn defined_with_component(stage: &Stage, arguments: &[String]) -> io::Result<Seen> {
    let definition = DEFINITION.replace("nothing.wat", arguments.first().map_or("", String::as_str));
    let supplied = stage.supply(&[("nothing.wat", NOTHING), ("agent.toml", &definition)])?;
    let added = stage.lazarus(&["agent", "add", "--replace", &format!("{supplied}/agent.toml")], b"", COMMAND_WITHIN)?;
    if added.code != Some(0) {
        return Ok(seen(&added));
    }
    approved_run(stage)
}

/// Approves what was installed, and runs it.
fn approved_run(stage: &Stage) -> io::Result<Seen> {
    let approved = stage.lazarus(&["agent", "approve", "supplied", "--yes"], b"", COMMAND_WITHIN)?;
    if approved.code != Some(0) {
        return Ok(seen(&approved));
    }
    Ok(seen(&stage.lazarus(&["run", "supplied"], b"", COMMAND_WITHIN)?))
}

/// `[part]`: installs an agent that runs, changes that part of it behind Lazarus' back, and runs it again.
fn changed_after(stage: &Stage, arguments: &[String]) -> io::Result<Seen> {
    let added = defined(stage, &["args = []".to_owned()])?;
    if !added.is_success() {
        return Ok(added);
    }
    let before = approved_run(stage)?;
    if !before.is_success() {
        return Ok(before);
    }
    if let Some(part @ ("component.wasm" | "agent.toml")) = arguments.first().map(String::as_str) {
        stage.append_in_root(&["agents", "supplied"], part, b"\n")?;
    }
    Ok(seen(&stage.lazarus(&["run", "supplied"], b"", COMMAND_WITHIN)?))
}

/// `[how]`: has a program compiled, spoils the compiled code, and runs the program again.
fn poisoned(stage: &Stage, arguments: &[String]) -> io::Result<Seen> {
    let supplied = stage.supply(&[("nothing.wat", NOTHING)])?;
    let root = stage.make_root(&[])?;
    let run = || stage.lazarus_in(&root, &["run", &format!("{supplied}/nothing.wat")], COMMAND_WITHIN);
    let first = run()?;
    if first.code != Some(0) {
        return Ok(seen(&first));
    }
    stage.spoil_cache(&root, arguments.first().map_or("", String::as_str))?;
    Ok(seen(&run()?))
}

/// `[kind, target]`: installs a definition whose home template has a file, or a link to the target, and reads what was kept of it.
fn template(stage: &Stage, arguments: &[String]) -> io::Result<Seen> {
    let word = |at: usize| arguments.get(at).map_or("", String::as_str);
    let definition = format!("{DEFINITION}template = \"template\"\n");
    let supplied = stage.supply(&[("nothing.wat", NOTHING), ("agent.toml", &definition), ("template/plain.md", "plain")])?;
    let notes = format!("{supplied}/template/notes.md");
    if word(0) == "link" {
        rustix::fs::symlink(word(1), notes)?;
    } else {
        stage.supply_into(&supplied, &[("template/notes.md", "granted")])?;
    }
    let added = stage.lazarus(&["agent", "add", "--replace", &format!("{supplied}/agent.toml")], b"", COMMAND_WITHIN)?;
    if added.code != Some(0) {
        return Ok(seen(&added));
    }
    Ok(Seen::of(stage.read_in_root(&["agents", "supplied", "template"], "notes.md")))
}
