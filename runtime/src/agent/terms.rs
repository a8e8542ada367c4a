//! What an approval is about: the digests of a definition and the grants that it asks for; and what changed between two of them.
//!
//! ```text
//!  Installed ─ terms ─→ Terms (asked) ─┐
//!                                      ├─ differences ─→ none: approved │ some: one line each, which of them ask for more
//!  registry ──────────→ Terms (approved)┘
//! ```
//!
//! Pure. Where it is in doubt whether something is narrower, it is wider: then somebody looks at it.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    time::Duration,
};

use serde::{Deserialize, Serialize};

use super::{Definition, Digest, definition::DefinedProgram, lock::digest_of};
use crate::{
    cell::{OnExpire, text::one_line},
    policy::{Access, Limits, Mount, Setting, format_duration},
};

/// Bytes of a definition's grants as JSON: at most 256 mounts, each with an absolute path of at most 4 KiB, and as many of everything else.
pub const GRANTS_MOST_BYTES: usize = 2 * 1024 * 1024;
/// Bytes of one difference: it is a line.
const LINE_MOST_BYTES: usize = 300;
/// Characters of a digest that tell two apart for people; `agent show` has all of it.
const DIGEST_SHOWN: usize = 12;
/// How long a cell of one agent lives, and one of a team, where a definition does not say. The wider counts for what is asked, the
/// narrower for what was approved.
const TTL_APPROVED_UNSAID: Duration = Duration::from_secs(60 * 60);
const TTL_ASKED_UNSAID: Duration = Duration::from_secs(120 * 60);

/// What a definition runs, without its bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "kind", deny_unknown_fields)]
pub enum GrantedProgram {
    /// A component, with these arguments.
    Component {
        /// Its arguments, without its name.
        args: Vec<String>,
    },
    /// A command.
    Command {
        /// The program and its arguments.
        argv: Vec<String>,
    },
    /// The built-in keeper.
    Keeper {},
}

/// What a definition asks for, in one form: each thing once, in order, mounts absolute, values of variables as digests.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Grants {
    /// What it runs.
    pub program: GrantedProgram,
    /// Its variables; of their values the SHA-256, since an approval is kept for ever and a value may be a secret.
    pub env: BTreeMap<String, Digest>,
    /// The directory that its template was copied from, absolute. It says what was approved; what is used is the copy, by its digest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template: Option<PathBuf>,
    /// Paths to read and execute from; none means the system's own, for a process.
    pub read: BTreeSet<PathBuf>,
    /// Mounts, by guest path; hosts are absolute.
    pub mounts: Vec<Mount>,
    /// Whether a process agent gets the client.
    pub client: bool,
    /// All limits.
    pub limits: Limits,
    /// Its cell's time to live.
    pub ttl: Option<Duration>,
    /// What happens then.
    pub on_expire: Option<OnExpire>,
    /// How often it is called without an event.
    pub tick: Option<Duration>,
}

impl Grants {
    /// The grants of an installed definition, whose mounts are absolute.
    pub fn of(definition: &Definition) -> Self {
        let program = match &definition.program {
            DefinedProgram::Component { args, .. } => GrantedProgram::Component { args: args.clone() },
            DefinedProgram::Command { argv } => GrantedProgram::Command { argv: argv.clone() },
            DefinedProgram::Keeper => GrantedProgram::Keeper {},
        };
        let mut mounts = definition.mounts.clone();
        mounts.sort_by(|a, b| a.guest.cmp(&b.guest));
        Self {
            program,
            env: definition.env.iter().map(|(name, value)| (name.clone(), digest_of(value.as_bytes()))).collect(),
            template: definition.template.clone(),
            read: definition.read.iter().cloned().collect(),
            mounts,
            client: definition.client,
            limits: definition.limits.clone(),
            ttl: definition.life.ttl,
            on_expire: definition.life.on_expire,
            tick: definition.life.tick,
        }
    }
}

/// What an operator approves: these bytes, with these grants, and nothing else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Terms {
    /// The definition's text.
    pub definition: Digest,
    /// The component, of a definition that has one.
    pub component: Option<Digest>,
    /// The template, of a definition that has one.
    pub template: Option<Digest>,
    /// What it asks for.
    pub grants: Grants,
}

/// One thing that is not as it was approved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// One harmless line: `+ mount /x at /y (rw)`, `limit memory 64 MiB → 2 GiB`.
    pub line: String,
    /// Whether it asks for more, or runs something else: then it takes an approval.
    pub widens: bool,
}

fn difference(widens: bool, line: impl AsRef<str>) -> Difference {
    Difference { line: one_line(line.as_ref(), LINE_MOST_BYTES), widens }
}

fn short(digest: Option<Digest>) -> String {
    digest.map_or_else(|| "none".to_owned(), |digest| format!("{}…", &digest.to_string()[..DIGEST_SHOWN]))
}

/// Says what differs between what was approved and what is asked for. None: it is the same, to the last byte.
pub fn differences(approved: &Terms, asked: &Terms) -> Vec<Difference> {
    let mut found = Vec::new();
    let mut digest = |what: &str, widens: bool, old: Option<Digest>, new: Option<Digest>| {
        if old != new {
            found.push(difference(widens, format!("{what} sha256 {} → {}", short(old), short(new))));
        }
    };
    digest("definition", false, Some(approved.definition), Some(asked.definition));
    digest("component", true, approved.component, asked.component);
    digest("template", true, approved.template, asked.template);
    found.extend(between(&approved.grants, &asked.grants));
    found
}

/// Everything that a definition asks for, as the differences from nothing: for a first approval.
pub fn all_of(asked: &Terms) -> Vec<String> {
    let Grants { program, env, template, read, mounts, client, limits, ttl, on_expire, tick } = &asked.grants;
    let mut lines = vec![format!("+ definition sha256 {}", short(Some(asked.definition)))];
    let parts = [("component", asked.component), ("template", asked.template)];
    lines.extend(
        parts.into_iter().filter(|(_, digest)| digest.is_some()).map(|(what, digest)| format!("+ {what} sha256 {}", short(digest))),
    );
    lines.extend(template.iter().map(|template| format!("+ copy {} into each home", template.display())));
    lines.push(format!("+ program {}", phrase(program)));
    lines.extend(env.keys().map(|name| format!("+ env {name}")));
    lines.extend(read.iter().map(|path| format!("+ read {}", path.display())));
    lines.extend(mounts.iter().map(|mount| format!("+ mount {}", described(mount))));
    if *client {
        lines.push("+ client".to_owned());
    }
    let defaults = Limits::default();
    let limits = limits.settings().filter(|(name, setting)| defaults.setting(*name) != Some(*setting));
    lines.extend(limits.map(|(name, setting)| format!("+ limit {name} = {}", shown(setting))));
    lines.extend(ttl.map(|ttl| format!("+ life ttl = {}", exact(ttl))));
    lines.extend(on_expire.map(|on_expire| format!("+ life on-expire = {}", on_expire.as_str())));
    lines.extend(tick.map(|tick| format!("+ life tick = {}", exact(tick))));
    lines.into_iter().map(|line| one_line(&line, LINE_MOST_BYTES)).collect()
}

/// Everything that a definition which is not installed asks for, one line each; its component's digest is not known yet.
pub fn asks_of(definition: &Definition, text: &[u8]) -> Vec<String> {
    all_of(&Terms { definition: digest_of(text), component: None, template: None, grants: Grants::of(definition) })
}

/// What differs between two sets of grants.
fn between(old: &Grants, new: &Grants) -> Vec<Difference> {
    let mut found = Vec::new();
    if old.program != new.program {
        found.push(difference(true, format!("program {} → {}", phrase(&old.program), phrase(&new.program))));
    }
    variables(&old.env, &new.env, &mut found);
    // What is in it is compared by its digest: the same files from elsewhere are no more than before.
    if let Some(template) = new.template.as_ref().filter(|_| old.template != new.template) {
        found.push(difference(false, format!("copied from {}", template.display())));
    }
    reads(old, new, &mut found);
    mounts(&old.mounts, &new.mounts, &mut found);
    match (old.client, new.client) {
        (false, true) => found.push(difference(true, "+ client")),
        (true, false) => found.push(difference(false, "- client")),
        (true, true) | (false, false) => {}
    }
    for ((name, old), (_, new)) in old.limits.settings().zip(new.limits.settings()) {
        if old != new {
            found.push(difference(new.weight() > old.weight(), format!("limit {name} {} → {}", shown(old), shown(new))));
        }
    }
    life(old, new, &mut found);
    found
}

fn variables(old: &BTreeMap<String, Digest>, new: &BTreeMap<String, Digest>, found: &mut Vec<Difference>) {
    for (name, value) in new {
        match old.get(name) {
            None => found.push(difference(true, format!("+ env {name}"))),
            Some(before) if before != value => found.push(difference(true, format!("env {name} has another value"))),
            Some(_) => {}
        }
    }
    found.extend(old.keys().filter(|name| !new.contains_key(*name)).map(|name| difference(false, format!("- env {name}"))));
}

fn reads(old: &Grants, new: &Grants, found: &mut Vec<Difference>) {
    let is_process = !matches!(new.program, GrantedProgram::Component { .. });
    // A path below one that was approved leads to nothing new.
    let covered = |path: &PathBuf| old.read.iter().any(|before| path.starts_with(before));
    for path in new.read.difference(&old.read) {
        found.push(difference(!covered(path), format!("+ read {}", path.display())));
    }
    found.extend(old.read.difference(&new.read).map(|path| difference(false, format!("- read {}", path.display()))));
    if is_process && new.read.is_empty() && !old.read.is_empty() {
        found.push(difference(true, "+ read the system's own programs and libraries"));
    }
}

fn mounts(old: &[Mount], new: &[Mount], found: &mut Vec<Difference>) {
    for mount in new {
        match old.iter().find(|before| before.guest == mount.guest) {
            None => found.push(difference(true, format!("+ mount {}", described(mount)))),
            Some(before) if before == mount => {}
            Some(before) => {
                let narrower = before.host == mount.host && mount.access == Access::Ro;
                found.push(difference(!narrower, format!("mount {} → {}", described(before), described(mount))));
            }
        }
    }
    let gone = old.iter().filter(|before| !new.iter().any(|mount| mount.guest == before.guest));
    found.extend(gone.map(|before| difference(false, format!("- mount {}", described(before)))));
}

fn life(old: &Grants, new: &Grants, found: &mut Vec<Difference>) {
    let said = |value: Option<Duration>| value.map_or_else(|| "unsaid".to_owned(), exact);
    if old.ttl != new.ttl {
        let widens = new.ttl.unwrap_or(TTL_ASKED_UNSAID) > old.ttl.unwrap_or(TTL_APPROVED_UNSAID);
        found.push(difference(widens, format!("life ttl {} → {}", said(old.ttl), said(new.ttl))));
    }
    if old.on_expire != new.on_expire {
        let (before, after) = (old.on_expire.unwrap_or_default(), new.on_expire.unwrap_or_default());
        let said = |value: Option<OnExpire>| value.map_or("unsaid", OnExpire::as_str);
        let line = format!("life on-expire {} → {}", said(old.on_expire), said(new.on_expire));
        found.push(difference(outlasts(after) > outlasts(before), line));
    }
    if old.tick != new.tick {
        // The oftener it is called, the more it does.
        let widens = match (old.tick, new.tick) {
            (Some(before), Some(after)) => after < before,
            (None, Some(_)) => true,
            (_, None) => false,
        };
        found.push(difference(widens, format!("life tick {} → {}", said(old.tick), said(new.tick))));
    }
}

/// How much of a cell is left after its time: the more, the wider.
const fn outlasts(on_expire: OnExpire) -> u8 {
    match on_expire {
        OnExpire::Destroy => 0,
        OnExpire::Close => 1,
        OnExpire::Keep => 2,
    }
}

fn phrase(program: &GrantedProgram) -> String {
    match program {
        GrantedProgram::Component { args } if args.is_empty() => "component".to_owned(),
        GrantedProgram::Component { args } => format!("component with {}", quoted(args)),
        GrantedProgram::Command { argv } => quoted(argv),
        GrantedProgram::Keeper {} => "keeper".to_owned(),
    }
}

/// Words, so that where one ends shows.
fn quoted(words: &[String]) -> String {
    words.iter().map(|word| format!("{word:?}")).collect::<Vec<_>>().join(" ")
}

fn described(mount: &Mount) -> String {
    format!("{} at {} ({})", mount.host.display(), mount.guest, mount.access)
}

/// A duration so that two that differ read differently.
fn exact(duration: Duration) -> String {
    let rough = format_duration(duration);
    let is_rough = duration.subsec_nanos() != 0 || (duration.as_secs() >= 3600 && !duration.as_secs().is_multiple_of(60));
    if is_rough { format!("{}ms", duration.as_millis()) } else { rough }
}

/// A limit as it is shown beside another: exactly, so that a difference shows.
fn shown(setting: Setting) -> String {
    match setting {
        Setting::Time(time) => exact(time),
        Setting::Size(_) | Setting::Count(_) => setting.to_string(),
    }
}

#[cfg(test)]
#[path = "terms_tests.rs"]
mod tests;
