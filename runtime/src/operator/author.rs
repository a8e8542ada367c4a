//! For authors of agents: a crate to start from, and a look into what came of it.

use std::{
    io::{self, Write},
    path::{Path, PathBuf},
};

use serde::Serialize;

use super::{Error, Operator};
use crate::{
    agent::scaffold,
    backend::{WasmForm, wasm},
    cell::AgentName,
    home::{ambient, create_private_file, open_or_make_dir},
};

/// A crate that was made.
#[derive(Debug, Clone, Serialize)]
pub struct Scaffolded {
    /// The agent.
    pub agent: AgentName,
    /// The crate's directory.
    pub directory: PathBuf,
    /// Its files, relative to that.
    pub files: Vec<PathBuf>,
    /// What was done, as a sentence.
    pub message: String,
}

/// Imports that belong together, and what they need.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ImportGroup {
    /// The package or module: `wasi:filesystem`.
    pub package: String,
    /// The imports, by name.
    pub imports: Vec<String>,
    /// Whether this Lazarus provides it.
    pub provided: bool,
    /// What the agent needs for it, as a phrase.
    pub needs: &'static str,
}

/// What is known of a program before it runs.
#[derive(Debug, Clone, Serialize)]
pub struct Checked {
    /// `agent` (lives by events), `component` (a WASI program) or `module` (a preview 1 program).
    pub kind: &'static str,
    /// Its size.
    pub bytes: u64,
    /// The version of lazarus-guest that it was built with, where it says so.
    pub sdk: Option<String>,
    /// What it imports, and what that needs.
    pub imports: Vec<ImportGroup>,
    /// What it exports.
    pub exports: Vec<String>,
    /// Whether it could run here.
    pub runs: bool,
    /// Why it could not: one line each.
    pub troubles: Vec<String>,
    /// The outcome, as a sentence.
    pub message: String,
}

impl Operator {
    /// Makes the crate of a new agent.
    ///
    /// # Errors
    /// Something of that name is there already, or cannot be written; what was made before stays, and is named.
    pub fn agent_new(name: &AgentName, directory: Option<&Path>) -> Result<Scaffolded, Error> {
        let directory = directory.map_or_else(|| PathBuf::from(name.as_str()), Path::to_owned);
        let failed = |path: &Path, source: io::Error| match source.kind() {
            io::ErrorKind::AlreadyExists => Error::DestinationExists(path.to_owned()),
            _ => Error::Destination { path: path.to_owned(), source },
        };
        let dir = ambient::make_named_dir(&directory).map_err(|source| failed(&directory, source))?;
        let mut files = Vec::new();
        for (path, bytes) in scaffold::render(name) {
            let write = || {
                let mut below = dir.try_clone()?;
                for part in path.parent().into_iter().flat_map(Path::iter) {
                    below = open_or_make_dir(&below, &part.to_string_lossy())?;
                }
                let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
                create_private_file(&below, &file)?.write_all(&bytes)
            };
            write().map_err(|source| failed(&directory.join(&path), source))?;
            files.push(path);
        }
        let message = format!("Made {} for agent {name}: {} files", directory.display(), files.len());
        Ok(Scaffolded { agent: name.clone(), directory, files, message })
    }

    /// Looks into a WebAssembly program, in a jailed process, without compiling or running it.
    ///
    /// # Errors
    /// A file that cannot be opened, is no WebAssembly, or was built for another Lazarus.
    pub fn agent_check(path: &Path) -> Result<Checked, Error> {
        let open = |source| Error::Component { path: path.to_owned(), source };
        let mut file = ambient::open_named_file(path, wasm::SOURCE_MOST_BYTES).map_err(open)?;
        let facts = wasm::inspect(&mut file).map_err(|source| Error::Check { path: path.to_owned(), source })?;
        let imports = grouped(&facts.imports);
        let mut troubles: Vec<String> = imports
            .iter()
            .filter(|group| !group.provided)
            .map(|group| format!("it imports {}, which {}", group.package, group.needs))
            .collect();
        let (kind, entry) = match facts.form {
            WasmForm::Agent => ("agent", None),
            WasmForm::Component => ("component", Some("wasi:cli/run@0.2.x, nor lazarus:cell/agent")),
            WasmForm::Module => ("module", Some("_start")),
        };
        let begins = |name: &String| name == "_start" || name.starts_with("wasi:cli/run@0.2.");
        if let Some(entry) = entry
            && !facts.exports.iter().any(begins)
        {
            troubles.push(format!("it exports no {entry}: there is nothing to start"));
        }
        let what = match kind {
            "agent" => "an agent that lives by events",
            "component" => "a WASI program (component)",
            _ => "a WASI program (preview 1)",
        };
        let runs = troubles.is_empty();
        let message = if runs {
            format!("{} is {what}, and runs here", path.display())
        } else {
            format!("{} does not run here: {}", path.display(), troubles.join("; "))
        };
        Ok(Checked { kind, bytes: facts.bytes, sdk: facts.sdk, imports, exports: facts.exports, runs, troubles, message })
    }
}

/// Imports by package, in the order of their names, with what each needs.
fn grouped(imports: &[String]) -> Vec<ImportGroup> {
    let mut groups: Vec<ImportGroup> = Vec::new();
    for import in imports {
        let package = import.split("::").next().unwrap_or(import).split('/').next().unwrap_or(import);
        let (provided, needs) = needs(import, package);
        match groups.iter_mut().find(|group| group.package == package && group.provided == provided && group.needs == needs) {
            Some(group) => group.imports.push(import.clone()),
            None => groups.push(ImportGroup { package: package.to_owned(), imports: vec![import.clone()], provided, needs }),
        }
    }
    groups
}

/// Whether an import is provided here, and what an agent needs to make something of it.
fn needs(import: &str, package: &str) -> (bool, &'static str) {
    const NOTHING: &str = "needs nothing";
    const MISSING: &str = "this version of Lazarus does not provide";
    let second = import.rsplit_once('@').map_or("", |(_, version)| version);
    let preview_2 = second.starts_with("0.2.");
    match package {
        // Its version was looked at before this.
        "lazarus:cell" => (true, "is answered as the agent's role allows"),
        "wasi_snapshot_preview1" => (true, "sees its home, and mounts and variables that are granted (`mounts`, `env`)"),
        "wasi:filesystem" if preview_2 => (true, "sees its home and /shared; other directories where granted (`mounts`)"),
        "wasi:cli" if preview_2 && import.starts_with("wasi:cli/environment@") => (true, "sees variables that are granted (`env`)"),
        "wasi:cli" | "wasi:clocks" | "wasi:io" | "wasi:random" if preview_2 => (true, NOTHING),
        "wasi:sockets" if preview_2 => (true, "finds every network closed: this version of Lazarus grants none"),
        "wasi:http" => (false, "this version of Lazarus does not provide: it grants no network yet"),
        _ => (false, MISSING),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn imports_are_grouped_and_say_what_they_need() {
        let imports = [
            "lazarus:cell/mailbox@0.1.0",
            "wasi:cli/environment@0.2.6",
            "wasi:cli/stdout@0.2.6",
            "wasi:cli/stdout@0.3.0",
            "wasi:http/outgoing-handler@0.2.6",
            "wasi:io/streams@0.2.6",
            "wasi_snapshot_preview1::fd_write",
            "env::abort",
        ];
        let groups = grouped(&imports.map(str::to_owned));
        let provided: Vec<(&str, bool)> = groups.iter().map(|group| (group.package.as_str(), group.provided)).collect();
        let expected = [
            ("lazarus:cell", true),
            ("wasi:cli", true),
            ("wasi:cli", true),
            ("wasi:cli", false),
            ("wasi:http", false),
            ("wasi:io", true),
            ("wasi_snapshot_preview1", true),
            ("env", false),
        ];
        assert_eq!(provided, expected);
    }
}
