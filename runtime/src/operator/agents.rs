//! Agent definitions: add, list, show, remove.

use std::path::Path;

use serde::Serialize;

use super::{Error, Operator, Wish};
use crate::{
    agent::{self, DefinedProgram, Installed},
    audit::Action,
    cell::{AgentName, BackendKind},
    policy::Policy,
};

/// One line of the list of definitions.
#[derive(Debug, Clone, Serialize)]
pub struct AgentListed {
    /// Its name.
    pub name: AgentName,
    /// Its backend; `?` where it cannot be read.
    pub backend: String,
    /// What it runs.
    pub program: String,
    /// Why it cannot be used, where it cannot.
    pub trouble: Option<String>,
}

/// One definition.
#[derive(Debug, Clone, Serialize)]
pub struct AgentShown {
    /// Its name.
    pub name: AgentName,
    /// Its backend.
    pub backend: BackendKind,
    /// What it runs.
    pub program: String,
    /// The digest of its component.
    pub sha256: Option<String>,
    /// The file that it was installed from.
    pub source: String,
    /// What it would be granted.
    pub policy: Policy,
}

impl Operator {
    /// Installs a definition.
    ///
    /// # Errors
    /// A definition that cannot be accepted, with file, line and suggestion; a name that is taken.
    pub fn agent_add(&mut self, file: &Path, replace: bool) -> Result<AgentListed, Error> {
        self.audited(Action::AgentAdd, None, |operator| {
            let how = if replace { ", in place of one of its name" } else { "" };
            operator.note_intent_of_none(Action::AgentAdd, &format!("from {}{how}", file.display()))?;
            let added = agent::add(&operator.root, file, replace)?;
            let digest = added.component.map_or_else(String::new, |(digest, _)| format!(", component {digest}"));
            operator.note_done(Action::AgentAdd, &format!("{}{digest}", added.name))?;
            let installed = agent::load(&operator.root, &added.name)?.ok_or_else(|| Error::AgentNotFound(added.name.clone()))?;
            Ok(listed(&installed))
        })
    }

    /// The installed definitions, by name; also those that cannot be used, with the reason.
    ///
    /// # Errors
    /// A root that cannot be read.
    pub fn agent_list(&mut self) -> Result<Vec<AgentListed>, Error> {
        let names = agent::list(&self.root)?;
        let line = |name: AgentName| match agent::load(&self.root, &name) {
            Ok(Some(installed)) => Some(listed(&installed)),
            Ok(None) => None,
            Err(error) => Some(AgentListed { name, backend: "?".into(), program: String::new(), trouble: Some(error.to_string()) }),
        };
        Ok(names.into_iter().filter_map(line).collect())
    }

    /// One definition.
    ///
    /// # Errors
    /// No such definition, or one that cannot be used.
    pub fn agent_show(&mut self, name: &AgentName) -> Result<AgentShown, Error> {
        let installed = agent::load(&self.root, name)?.ok_or_else(|| Error::AgentNotFound(name.clone()))?;
        let backend = backend(&installed);
        let policy = self.policy(Some(&installed), &Wish::default())?;
        let program = program(&installed);
        let sha256 = installed.component.map(|component| component.sha256.to_string());
        Ok(AgentShown { name: name.clone(), backend, program, sha256, source: installed.source.to_string_lossy().into_owned(), policy })
    }

    /// Removes a definition. Cells that run it go on.
    ///
    /// # Errors
    /// No such definition, or something of it remains.
    pub fn agent_remove(&mut self, name: &AgentName) -> Result<(), Error> {
        self.audited(Action::AgentRemove, None, |operator| {
            operator.note_intent_of_none(Action::AgentRemove, name.as_str())?;
            let removed = agent::remove(&operator.root, name)?.ok_or_else(|| Error::AgentNotFound(name.clone()))?;
            if let Some(first) = removed.remained.first() {
                return Err(Error::AgentRemains { agent: name.clone(), what: first.clone() });
            }
            operator.note_done(Action::AgentRemove, name.as_str())
        })
    }
}

fn listed(installed: &Installed) -> AgentListed {
    AgentListed {
        name: installed.definition.name.clone(),
        backend: backend(installed).to_string(),
        program: program(installed),
        trouble: None,
    }
}

fn backend(installed: &Installed) -> BackendKind {
    match &installed.definition.program {
        DefinedProgram::Component { .. } => BackendKind::Wasm,
        DefinedProgram::Command { .. } | DefinedProgram::Keeper => BackendKind::Process,
    }
}

fn program(installed: &Installed) -> String {
    match &installed.definition.program {
        DefinedProgram::Component { args, .. } => {
            std::iter::once("component").chain(args.iter().map(String::as_str)).collect::<Vec<_>>().join(" ")
        }
        DefinedProgram::Command { argv } => argv.join(" "),
        DefinedProgram::Keeper => "keeper".to_owned(),
    }
}
