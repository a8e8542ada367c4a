//! Agent definitions: add, list, show, remove.

use std::path::Path;

use serde::Serialize;

use super::{Error, Operator, Wish, approval::Approval};
use crate::{
    agent::{self, DefinedProgram, Installed, Terms},
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
    /// Whether it is approved as it is now.
    pub approved: bool,
    /// What is not as it was approved, one line each.
    pub differences: Vec<String>,
}

/// A definition that was installed.
#[derive(Debug, Clone, Serialize)]
pub struct AgentAdded {
    /// Its name.
    pub agent: AgentName,
    /// Its backend.
    pub backend: String,
    /// The digest of its component.
    pub sha256: Option<String>,
    /// The digest of its text.
    pub definition_sha256: String,
    /// Whether it is approved.
    pub approved: bool,
    /// What it asks for, one line each: granted, where it is approved.
    pub asks: Vec<String>,
    /// What is not as it was approved before, one line each; of an approved one, none.
    pub differences: Vec<String>,
    /// What was done, as a sentence.
    pub message: String,
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
    /// The digest of its text.
    pub definition_sha256: String,
    /// The digest of its template.
    pub template_sha256: Option<String>,
    /// Whether it is approved as it is now.
    pub approved: bool,
    /// What is not as it was approved, one line each.
    pub differences: Vec<String>,
}

impl Operator {
    /// Installs a definition, and approves it, unless it replaces one and asks for more than that.
    ///
    /// # Errors
    /// A definition that cannot be accepted, with file, line and suggestion; a name that is taken.
    pub fn agent_add(&mut self, file: &Path, replace: bool) -> Result<AgentAdded, Error> {
        self.audited(Action::AgentAdd, None, |operator| {
            let how = if replace { ", in place of one of its name" } else { "" };
            operator.note_intent_of_none(Action::AgentAdd, &format!("from {}{how}", file.display()))?;
            let added = agent::add(&operator.root, file, replace)?;
            let digest = added.component.map_or_else(String::new, |(digest, _)| format!(", component {digest}"));
            operator.note_done(Action::AgentAdd, &format!("{}{digest}", added.name))?;
            let installed = agent::load(&operator.root, &added.name)?.ok_or_else(|| Error::AgentNotFound(added.name.clone()))?;
            let approval = operator.approve_added(&installed, added.replaced, added.before.as_ref())?;
            Ok(added_as(&installed, added.replaced, &approval))
        })
    }

    /// The installed definitions, by name; also those that cannot be used, with the reason.
    ///
    /// # Errors
    /// A root that cannot be read.
    pub fn agent_list(&mut self) -> Result<Vec<AgentListed>, Error> {
        let names = agent::list(&self.root)?;
        let line = |name: AgentName| match agent::load(&self.root, &name) {
            Ok(Some(installed)) => self.approval_of(&installed).map(|approval| Some(listed(&installed, &approval))),
            Ok(None) => Ok(None),
            Err(error) => Ok(Some(AgentListed {
                name,
                backend: "?".into(),
                program: String::new(),
                trouble: Some(error.to_string()),
                approved: false,
                differences: Vec::new(),
            })),
        };
        names.into_iter().filter_map(|name| line(name).transpose()).collect()
    }

    /// One definition.
    ///
    /// # Errors
    /// No such definition, or one that cannot be used.
    pub fn agent_show(&mut self, name: &AgentName) -> Result<AgentShown, Error> {
        let installed = agent::load(&self.root, name)?.ok_or_else(|| Error::AgentNotFound(name.clone()))?;
        let backend = backend(&installed);
        let (policy, _) = self.policy(&crate::home::Sources::of(&self.root), Some(&installed), &Wish::default())?;
        let program = program(&installed);
        let approval = self.approval_of(&installed)?;
        let Terms { definition, component, template, grants: _ } = &installed.terms;
        Ok(AgentShown {
            name: name.clone(),
            backend,
            program,
            sha256: component.map(|digest| digest.to_string()),
            source: installed.source.to_string_lossy().into_owned(),
            policy,
            definition_sha256: definition.to_string(),
            template_sha256: template.map(|digest| digest.to_string()),
            approved: approval.holds(),
            differences: approval.lines(&installed.terms),
        })
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
            Ok(operator.registry.forget_approval(name, &operator.actor.to_string())?)
        })
    }
}

fn added_as(installed: &Installed, replaced: bool, approval: &Approval) -> AgentAdded {
    let (name, backend) = (&installed.definition.name, backend(installed));
    let done = if replaced { "Replaced" } else { "Added" };
    let stands = if approval.holds() { "approved" } else { "NOT approved: it is not what was approved before" };
    AgentAdded {
        agent: name.clone(),
        backend: backend.to_string(),
        sha256: installed.terms.component.map(|digest| digest.to_string()),
        definition_sha256: installed.terms.definition.to_string(),
        approved: approval.holds(),
        asks: agent::all_of(&installed.terms),
        differences: approval.lines(&installed.terms),
        message: format!("{done} agent {name} ({backend}), {stands}"),
    }
}

fn listed(installed: &Installed, approval: &Approval) -> AgentListed {
    AgentListed {
        name: installed.definition.name.clone(),
        backend: backend(installed).to_string(),
        program: program(installed),
        trouble: None,
        approved: approval.holds(),
        differences: approval.lines(&installed.terms),
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
