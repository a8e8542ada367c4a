//! Explaining: what an agent would be granted, or what a cell was granted and who enforces it.

use serde::Serialize;

use super::{Error, Operator, Wish};
use crate::{
    backend::{Program, WasmForm},
    cell::{AgentName, BackendKind, CellId},
    policy::{Applied, Entry, Limits, Policy, format_duration},
};

/// What is known of one agent.
#[derive(Debug, Clone, Serialize)]
pub struct AgentExplained {
    /// The agent.
    pub agent: AgentName,
    /// What it runs.
    pub program: Option<String>,
    /// Whether it lives by events.
    pub by_events: bool,
    /// What it is granted: before summoning, from its definition.
    pub policy: Option<Policy>,
    /// What enforces it: of a cell, as its jail and its engine reported when they applied it.
    pub enforcement: Vec<Entry>,
}

/// An explanation.
#[derive(Debug, Clone, Serialize)]
pub struct Explained {
    /// The cell, where one was named.
    pub cell_id: Option<CellId>,
    /// The backend.
    pub backend: BackendKind,
    /// Its agents.
    pub agents: Vec<AgentExplained>,
    /// What that means, as a sentence.
    pub message: String,
}

impl Operator {
    /// Explains a cell, by its id, or an agent definition, by its name.
    ///
    /// # Errors
    /// Neither is there.
    pub fn explain(&mut self, subject: &str) -> Result<Explained, Error> {
        if subject.starts_with("laz-") {
            return self.explain_cell(subject);
        }
        let agent: AgentName = subject.parse()?;
        let installed = crate::agent::load(&self.root, &agent)?.ok_or_else(|| Error::AgentNotFound(agent.clone()))?;
        let planned = self.plan(std::slice::from_ref(&installed.definition.name), &Wish::default())?;
        let agents = planned.shown().map(|(agent, program, policy)| AgentExplained {
            agent: agent.clone(),
            by_events: matches!(program, Program::Compiled { form: WasmForm::Agent, .. }),
            program: Some(program.phrase()),
            policy: Some(policy.clone()),
            enforcement: Vec::new(),
        });
        Ok(Explained {
            cell_id: None,
            backend: planned.backend,
            agents: agents.collect(),
            message: format!("What {agent} would be granted; what enforces it is known once it is summoned: explain the cell"),
        })
    }

    fn explain_cell(&mut self, cell: &str) -> Result<Explained, Error> {
        let record = self.swept_cell(cell)?;
        let id = record.proposal.cell_id.clone();
        let runs = self.registry.runs(&id)?;
        let agents = runs.into_iter().map(|run| {
            let applied = serde_json::from_value::<Applied>(run.report).ok();
            AgentExplained {
                agent: run.agent,
                by_events: applied.as_ref().is_some_and(|applied| applied.by_events),
                program: applied.as_ref().map(|applied| applied.program.clone()),
                enforcement: applied.as_ref().map(|applied| applied.enforcement.entries().to_vec()).unwrap_or_default(),
                policy: applied.map(|applied| applied.policy),
            }
        });
        Ok(Explained {
            backend: record.proposal.backend,
            agents: agents.collect(),
            message: format!("What enforces the policy of {id}, as reported when it was applied"),
            cell_id: Some(id),
        })
    }
}

/// The grants and limits of a policy, as lines.
pub fn policy_lines(policy: &Policy, backend: BackendKind, by_events: bool) -> Vec<String> {
    let mut lines: Vec<String> = policy.env.keys().map(|name| format!("variable  {name}")).collect();
    lines.extend(policy.read.iter().map(|path| format!("read      {}", path.display())));
    lines.extend(policy.mounts.iter().map(|mount| format!("mount     {} at {} ({})", mount.host.display(), mount.guest, mount.access)));
    if policy.client {
        lines.push("client    this program, for `lazarus cell`".to_owned());
    }
    lines.push("network   none".to_owned());
    let Limits {
        memory,
        table_elements,
        instances,
        stack,
        cpu,
        event,
        idle,
        messages,
        hostcall,
        random,
        open_files,
        processes,
        home,
        files,
        log,
    } = &policy.limits;
    let common = [
        ("memory", memory.to_string()),
        ("cpu", format!("{}{}", format_duration(*cpu), if by_events { " an event" } else { "" })),
        ("home", home.to_string()),
        ("files", files.to_string()),
        ("log", log.to_string()),
        ("open-files", open_files.to_string()),
    ];
    lines.extend(common.map(|(name, value)| format!("limit     {name} = {value}")));
    let own = match backend {
        BackendKind::Process => vec![("processes", processes.to_string())],
        BackendKind::Wasm => vec![
            ("stack", stack.to_string()),
            ("table-elements", table_elements.to_string()),
            ("instances", instances.to_string()),
            ("hostcall", hostcall.to_string()),
            ("random", random.to_string()),
        ],
    };
    lines.extend(own.into_iter().map(|(name, value)| format!("limit     {name} = {value}")));
    lines.push(format!("limit     messages = {messages} waiting, of at most 32 KiB each"));
    if by_events {
        lines.push(format!("limit     event = {}: the longest that one event may take, host calls included", format_duration(*event)));
        lines.push(format!(
            "limit     idle = {}: without an event, its memory is dropped; the next one makes it anew",
            format_duration(*idle)
        ));
    }
    lines
}
