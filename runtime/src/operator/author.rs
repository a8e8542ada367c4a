//! For authors of agents: a crate to start from.

use std::{
    io::{self, Write},
    path::{Path, PathBuf},
};

use serde::Serialize;

use super::{Error, Operator};
use crate::{
    agent::{AgentError, scaffold},
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

impl Operator {
    /// Makes the crate of a new agent.
    ///
    /// # Errors
    /// Something of that name is there already, or cannot be written; what was made before stays, and is named.
    pub fn agent_new(name: &AgentName, directory: Option<&Path>) -> Result<Scaffolded, Error> {
        if name.is_cell_id() {
            return Err(AgentError::CellId(name.clone()).into());
        }
        let directory = directory.map_or_else(|| PathBuf::from(name.as_str()), Path::to_owned);
        let failed = |path: &Path, source: io::Error| match source.kind() {
            io::ErrorKind::AlreadyExists => Error::DestinationExists(path.to_owned(), super::Replacing::Never),
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
}
