//! Installed definitions: `agents/<name>/`, each with its component and its template.
//!
//! ```text
//! agents/
//! ├── .new-<name>/        being installed; renamed when whole, removed by the next installation otherwise
//! └── <name>/
//!     ├── agent.toml      as its author wrote it
//!     ├── component.wasm  what `component` named
//!     ├── template/       what `template` named, without secrets and links
//!     └── lock.json       digests, and what relative paths meant when it was installed
//! ```

use std::{
    fs::File,
    io::{self, Seek, Write},
    path::{Path, PathBuf},
};

use cap_std::fs::Dir;
use rustix::fs::{AtFlags, RenameFlags};

use super::{
    DEFINITION_MOST_BYTES, DefinedProgram, Definition, DefinitionError, Digest, Problem,
    lock::{LOCK_MOST_BYTES, LOCK_VERSION, Lock, digest_file, digest_of},
    terms::{Grants, Terms},
};
use crate::{
    cell::AgentName,
    home::{
        Database, Removed, Root, SeedError, Seeded, SourceError, Sources, ambient, create_private_file, digest_tree, lock_dir, make_dir,
        open_dir, open_file, read_file, remove_tree, seed, sync_dir,
    },
};

/// Bytes of a component: language runtimes that are compiled in reach some 50 MiB.
pub const COMPONENT_MOST_BYTES: u64 = 256 * 1024 * 1024;

const DEFINITION: &str = "agent.toml";
const COMPONENT: &str = "component.wasm";
const TEMPLATE: &str = "template";
const LOCK: &str = "lock.json";

/// Why a definition was not installed, loaded or removed.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// The file cannot be read.
    #[error("read agent definition {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The file is no definition.
    #[error(transparent)]
    Definition(#[from] DefinitionError),
    /// What the definition names cannot be read.
    #[error("read the {what} of agent {agent}, {path}")]
    Part {
        /// The agent.
        agent: AgentName,
        /// "component" or "template".
        what: &'static str,
        /// The path.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The template is refused.
    #[error("copy the template of agent {agent}")]
    Template {
        /// The agent.
        agent: AgentName,
        /// Why.
        #[source]
        source: SeedError,
    },
    /// The component is not the one that the definition pins.
    #[error("accept the component of agent {agent}: its sha256 is {found}, and the definition pins {pinned}")]
    Pin {
        /// The agent.
        agent: AgentName,
        /// What the definition says.
        pinned: Digest,
        /// What the file has.
        found: Digest,
    },
    /// A name that is a cell's id, too.
    #[error("accept agent name {0}: it is the form of a cell's id; choose another")]
    CellId(AgentName),
    /// There is one of that name.
    #[error("add agent {0}: there is one already; replace it with --replace")]
    Exists(AgentName),
    /// What is there is somebody else's.
    #[error("use agent {agent}: its definition was changed where it lies, and says that it is {says}; add it again")]
    Renamed {
        /// The agent.
        agent: AgentName,
        /// Whose the definition is.
        says: AgentName,
    },
    /// Installed by another release.
    #[error("use agent {agent}: it was added by a release that writes version {version} of its record; this one reads {LOCK_VERSION}")]
    Version {
        /// The agent.
        agent: AgentName,
        /// The version found.
        version: u64,
    },
    /// Something below `agents/` cannot be read or written.
    #[error("keep agent {agent}")]
    Keep {
        /// The agent.
        agent: AgentName,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The directory of agents cannot be read.
    #[error("list agents")]
    List(#[source] io::Error),
}

/// What an installation did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Added {
    /// The agent.
    pub name: AgentName,
    /// Whether it replaced one.
    pub replaced: bool,
    /// The digest and the size of its component.
    pub component: Option<(Digest, u64)>,
    /// What was copied of its template.
    pub template: Option<Seeded>,
    /// What it replaced, if that was as it had been installed.
    pub before: Option<Terms>,
}

/// A component that was digested a moment ago.
#[derive(Debug)]
pub struct InstalledComponent {
    /// The file, open at its start. Whoever compiles it digests it once more, and compares.
    pub file: File,
    /// Its path, for messages.
    pub path: PathBuf,
    /// Its digest.
    pub sha256: Digest,
    /// Its size.
    pub bytes: u64,
}

/// An installed definition. Its mounts' hosts are absolute.
#[derive(Debug)]
pub struct Installed {
    /// The definition.
    pub definition: Definition,
    /// Its text.
    pub text: String,
    /// Where it came from.
    pub source: PathBuf,
    /// Its component.
    pub component: Option<InstalledComponent>,
    /// Its template.
    pub template: Option<Dir>,
    /// What is there now, to be compared with what was approved.
    pub terms: Terms,
    /// Whether definition and component are as they were installed. Releases without approvals went by that.
    pub as_locked: bool,
}

/// Installs a definition from a file that the operator named. Relative paths in it mean the file's directory.
///
/// # Errors
/// The definition, its component or its template is refused; or there is one of that name, and `replace` is not given.
/// Then nothing has changed.
pub fn add(root: &Root, file: &Path, replace: bool) -> Result<Added, AgentError> {
    let asked = read(file)?;
    if let Some(refused) = never_granted(root, &asked).into_iter().next() {
        return Err(refused.into());
    }
    let name = asked.definition.name.clone();
    let keep = |source: io::Error| AgentError::Keep { agent: name.clone(), source };

    // One installation at a time: what another one left half done is then nobody's.
    let _lock = lock_dir(root.agents()).map_err(keep)?;
    let exists = rustix::fs::statat(root.agents(), name.as_str(), AtFlags::SYMLINK_NOFOLLOW).is_ok();
    if exists && !replace {
        return Err(AgentError::Exists(name));
    }
    let (fresh, mut added) = filled(root, &asked)?;
    added.replaced = exists;
    // What cannot be read any more was as nobody knows what.
    added.before =
        if exists { load(root, &name).ok().flatten().filter(|before| before.as_locked).map(|before| before.terms) } else { None };
    let flags = if exists { RenameFlags::EXCHANGE } else { RenameFlags::NOREPLACE };
    rustix::fs::renameat_with(root.agents(), &fresh, root.agents(), name.as_str(), flags).map_err(|error| keep(error.into()))?;
    sync_dir(root.agents()).map_err(keep)?;
    // What was replaced now has the other name. If it cannot be removed, the next installation of that name says so.
    remove_tree(root.agents(), &fresh);
    Ok(added)
}

/// A definition as its author wrote it.
struct Asked {
    definition: Definition,
    text: Vec<u8>,
    /// Its file, absolute.
    source: PathBuf,
}

impl Asked {
    /// The directory that its relative paths mean.
    fn base(&self) -> &Path {
        self.source.parent().unwrap_or(Path::new("/"))
    }
}

fn read(file: &Path) -> Result<Asked, AgentError> {
    let read_error = |source| AgentError::Read { path: file.to_owned(), source };
    let text = ambient::read_named_file(file, DEFINITION_MOST_BYTES).map_err(read_error)?;
    let definition = Definition::parse(&file.display().to_string(), &text)?;
    // One that an older release installed is still loaded.
    if definition.name.is_cell_id() {
        return Err(AgentError::CellId(definition.name));
    }
    Ok(Asked { definition, text, source: std::path::absolute(file).map_err(read_error)? })
}

/// What would be installed, loaded as an installed one is: it is brought under a name that nobody loads, and removed from there again.
///
/// # Errors
/// Everything that [`add`] would refuse it for, as far as one thing can be known beside another.
pub fn preview(root: &Root, file: &Path) -> Result<Installed, Vec<AgentError>> {
    let asked = read(file).map_err(|error| vec![error])?;
    let mut refused: Vec<AgentError> = never_granted(root, &asked).into_iter().map(Into::into).collect();
    match brought(root, &asked) {
        Ok(installed) if refused.is_empty() => Ok(installed),
        Ok(_) => Err(refused),
        Err(error) => {
            refused.push(error);
            Err(refused)
        }
    }
}

/// Brings a definition in, loads it, and removes it.
fn brought(root: &Root, asked: &Asked) -> Result<Installed, AgentError> {
    let name = &asked.definition.name;
    let _lock = lock_dir(root.agents()).map_err(|source| AgentError::Keep { agent: name.clone(), source })?;
    let (fresh, _) = filled(root, asked)?;
    let loaded = open_dir(root.agents(), &fresh)
        .map_err(|source| AgentError::Keep { agent: name.clone(), source })
        .and_then(|dir| load_from(&dir, &root.agents_path().join(&fresh), name));
    remove_tree(root.agents(), &fresh);
    let mut installed = loaded?;
    // What is said of it names what its author knows.
    installed.definition.places = asked.definition.places.clone();
    if let (Some(component), DefinedProgram::Component { path, .. }) = (&mut installed.component, &asked.definition.program) {
        component.path = asked.base().join(path);
    }
    Ok(installed)
}

/// Fills a directory of `agents/` with all that is installed of a definition, under a name that is not its own yet. Whoever calls holds the lock.
fn filled(root: &Root, asked: &Asked) -> Result<(String, Added), AgentError> {
    let keep = |source: io::Error| AgentError::Keep { agent: asked.definition.name.clone(), source };
    let fresh = format!(".new-{}", asked.definition.name);
    clear(root, &fresh).map_err(keep)?;
    let dir = make_dir(root.agents(), &fresh).map_err(keep)?;
    match fill(&dir, &root.agents_path().join(&fresh), asked) {
        Ok(added) => Ok((fresh, added)),
        Err(error) => {
            remove_tree(root.agents(), &fresh);
            Err(error)
        }
    }
}

/// What the definition asks for and this machine never grants. What is not there yet may be made later, and is looked at again by whoever uses it.
fn never_granted(root: &Root, asked: &Asked) -> Vec<DefinitionError> {
    let (definition, places) = (&asked.definition, &asked.definition.places);
    let refuse = |at, error: SourceError| places.refuse(at, Problem::Source(error.whole()));
    let sources = Sources::of(root);
    let mounts = definition.mounts.iter().enumerate();
    let mounts = mounts.filter_map(|(index, mount)| match sources.mount(&asked.base().join(&mount.host)) {
        Ok(_) | Err(SourceError::Missing { .. }) => None,
        Err(error) => Some(refuse(places.mounts.get(index), error)),
    });
    let reads = definition.read.iter().enumerate();
    let reads = reads.filter_map(|(index, path)| Some(refuse(places.read.get(index), sources.read(path).err()?)));
    let template = definition.template.iter();
    let template = template.filter_map(|path| Some(refuse(places.template.as_ref(), sources.template(&asked.base().join(path)).err()?)));
    mounts.chain(reads).chain(template).collect()
}

fn clear(root: &Root, name: &str) -> io::Result<()> {
    match remove_tree(root.agents(), name).remained.first() {
        None => Ok(()),
        Some(what) => Err(io::Error::other(format!("left by an earlier command: {what}"))),
    }
}

/// Fills the directory of a definition that is being installed, and syncs it.
fn fill(dir: &Dir, path: &Path, asked: &Asked) -> Result<Added, AgentError> {
    let Asked { definition, text, source } = asked;
    let name = &definition.name;
    let keep = |source: io::Error| AgentError::Keep { agent: name.clone(), source };
    let base = asked.base();
    let component = match &definition.program {
        DefinedProgram::Component { path, sha256, .. } => {
            let path = base.join(path);
            let copied = copy_component(dir, &path);
            let (found, bytes) = copied.map_err(|source| AgentError::Part { agent: name.clone(), what: "component", path, source })?;
            if let Some(pinned) = sha256.filter(|pinned| *pinned != found) {
                return Err(AgentError::Pin { agent: name.clone(), pinned, found });
            }
            Some((found, bytes))
        }
        DefinedProgram::Command { .. } | DefinedProgram::Keeper => None,
    };
    let template = definition.template.as_ref().map(|template| copy_template(dir, path, name, &base.join(template))).transpose()?;
    let mounts = definition.mounts.iter().map(|mount| std::path::absolute(base.join(&mount.host))).collect::<io::Result<Vec<_>>>();
    let lock = Lock {
        version: LOCK_VERSION,
        definition: digest_of(text),
        component: component.map(|(digest, _)| digest),
        mounts: mounts.map_err(keep)?,
        source: source.clone(),
    };
    let json = serde_json::to_vec_pretty(&lock).map_err(|error| keep(error.into()))?;
    for (entry, content) in [(DEFINITION, text.as_slice()), (LOCK, json.as_slice())] {
        let written = create_private_file(dir, entry).and_then(|mut file| {
            file.write_all(content)?;
            file.sync_all()
        });
        written.map_err(keep)?;
    }
    sync_dir(dir).map_err(keep)?;
    Ok(Added { name: name.clone(), replaced: false, component, template, before: None })
}

fn copy_component(dir: &Dir, path: &Path) -> io::Result<(Digest, u64)> {
    let mut from = ambient::open_named_file(path, COMPONENT_MOST_BYTES)?;
    let mut copy = create_private_file(dir, COMPONENT)?;
    let copied = digest_file(&mut from, &mut copy, COMPONENT_MOST_BYTES)?;
    copy.sync_all()?;
    Ok(copied)
}

/// Returns where the template of an installed definition is, for the warden that seeds a home from it.
pub fn template_path(root: &Root, agent: &AgentName) -> PathBuf {
    root.agents_path().join(agent.as_str()).join(TEMPLATE)
}

fn copy_template(dir: &Dir, path: &Path, agent: &AgentName, template: &Path) -> Result<Seeded, AgentError> {
    let part = |source| AgentError::Part { agent: agent.clone(), what: "template", path: template.to_owned(), source };
    let (from, from_path) = ambient::open_named_dir(template).map_err(part)?;
    let into = make_dir(dir, TEMPLATE).map_err(|source| AgentError::Keep { agent: agent.clone(), source })?;
    let database = Database::BackUp { from: from_path, to: path.join(TEMPLATE) };
    seed(&from, &into, &database).map_err(|source| AgentError::Template { agent: agent.clone(), source })
}

/// Loads an installed definition, as it is there now; `None` if there is none of that name. Whether that was approved is the caller's to ask.
///
/// # Errors
/// It cannot be read or understood, says that it is another agent's, or its component is not the one that it pins.
pub fn load(root: &Root, name: &AgentName) -> Result<Option<Installed>, AgentError> {
    let keep = |source: io::Error| AgentError::Keep { agent: name.clone(), source };
    match open_dir(root.agents(), name.as_str()) {
        Ok(dir) => load_from(&dir, &root.agents_path().join(name.as_str()), name).map(Some),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(keep(error)),
    }
}

/// Loads what is installed in a directory, which has this path.
fn load_from(dir: &Dir, path: &Path, name: &AgentName) -> Result<Installed, AgentError> {
    let keep = |source: io::Error| AgentError::Keep { agent: name.clone(), source };
    let lock = read_lock(dir, name)?;
    let text = read_file(dir, DEFINITION, DEFINITION_MOST_BYTES).map_err(keep)?;
    let digest = digest_of(&text);
    let mut definition = Definition::parse(&path.join(DEFINITION).display().to_string(), &text)?;
    if definition.name != *name {
        return Err(AgentError::Renamed { agent: name.clone(), says: definition.name });
    }
    // Relative paths mean the directory that it came from, also where it was edited since.
    let base = lock.source.parent().unwrap_or(Path::new("/")).to_owned();
    if let Some(template) = &mut definition.template {
        *template = std::path::absolute(base.join(&template)).map_err(keep)?;
    }
    if digest == lock.definition && definition.mounts.len() == lock.mounts.len() {
        for (mount, host) in definition.mounts.iter_mut().zip(lock.mounts) {
            mount.host = host;
        }
    } else {
        for mount in &mut definition.mounts {
            mount.host = std::path::absolute(base.join(&mount.host)).map_err(keep)?;
        }
    }
    let component = match &definition.program {
        DefinedProgram::Component { sha256, .. } => {
            let mut file = open_file(dir, COMPONENT).map_err(keep)?;
            let (found, bytes) = digest_file(&mut file, &mut io::sink(), COMPONENT_MOST_BYTES).map_err(keep)?;
            if let Some(pinned) = sha256.filter(|pinned| *pinned != found) {
                return Err(AgentError::Pin { agent: name.clone(), pinned, found });
            }
            file.rewind().map_err(keep)?;
            Some(InstalledComponent { file, path: path.join(COMPONENT), sha256: found, bytes })
        }
        DefinedProgram::Command { .. } | DefinedProgram::Keeper => None,
    };
    let template = definition.template.as_ref().map(|_| open_dir(dir, TEMPLATE)).transpose().map_err(keep)?;
    let template_sha256 = template.as_ref().map(digest_tree).transpose().map_err(keep)?.map(Digest::new);
    let as_locked = digest == lock.definition && component.as_ref().map(|component| component.sha256) == lock.component;
    let text = String::from_utf8(text).map_err(|error| keep(io::Error::other(error)))?;
    let terms = Terms {
        definition: digest,
        component: component.as_ref().map(|component| component.sha256),
        template: template_sha256,
        grants: Grants::of(&definition),
    };
    Ok(Installed { definition, text, source: lock.source, component, template, terms, as_locked })
}

fn read_lock(dir: &Dir, name: &AgentName) -> Result<Lock, AgentError> {
    let keep = |source: io::Error| AgentError::Keep { agent: name.clone(), source };
    let bytes = read_file(dir, LOCK, LOCK_MOST_BYTES).map_err(keep)?;
    // The version is read first: of a newer record, nothing else is known.
    let value: serde_json::Value = serde_json::from_slice(&bytes).map_err(|error| keep(error.into()))?;
    let version = value.get("version").and_then(serde_json::Value::as_u64).unwrap_or(0);
    if version != u64::from(LOCK_VERSION) {
        return Err(AgentError::Version { agent: name.clone(), version });
    }
    serde_json::from_value(value).map_err(|error| keep(error.into()))
}

/// Lists the installed agents, in order.
///
/// # Errors
/// The directory cannot be read.
pub fn list(root: &Root) -> Result<Vec<AgentName>, AgentError> {
    let mut names = Vec::new();
    for entry in root.agents().entries().map_err(AgentError::List)? {
        let entry = entry.map_err(AgentError::List)?;
        if let Some(name) = entry.file_name().to_str().and_then(|name| name.parse().ok()) {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

/// Removes an installed definition; `None` if there is none of that name. Cells that were made from it keep what they have.
///
/// # Errors
/// It cannot be taken out of its place.
pub fn remove(root: &Root, name: &AgentName) -> Result<Option<Removed>, AgentError> {
    let keep = |source: io::Error| AgentError::Keep { agent: name.clone(), source };
    let _lock = lock_dir(root.agents()).map_err(keep)?;
    let gone = format!(".new-{name}");
    clear(root, &gone).map_err(keep)?;
    // Renamed first, so that nobody loads half a definition.
    match rustix::fs::renameat(root.agents(), name.as_str(), root.agents(), &gone) {
        Ok(()) => {}
        Err(rustix::io::Errno::NOENT) => return Ok(None),
        Err(error) => return Err(keep(error.into())),
    }
    sync_dir(root.agents()).map_err(keep)?;
    Ok(Some(remove_tree(root.agents(), &gone)))
}

#[cfg(test)]
#[path = "store_tests.rs"]
mod tests;
