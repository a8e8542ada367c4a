//! `explain`: grants, limits, and who enforces them.

use crate::{
    cell::BackendKind,
    cli::table::table,
    operator::{AgentExplained, Explained, policy_lines},
    policy::Extent,
};

pub(super) fn explanation(explained: &Explained) -> String {
    let mut text = format!("{}\n", explained.message);
    for agent in &explained.agents {
        text.push_str(&format!("\nagent {} ({})\n", agent.agent, explained.backend));
        text.push_str(&agent_lines(agent, explained.backend));
    }
    text
}

fn agent_lines(agent: &AgentExplained, backend: BackendKind) -> String {
    let kind = if agent.by_events { ", which lives by events" } else { "" };
    let mut lines: Vec<String> = agent.program.iter().map(|program| format!("program   {program}{kind}")).collect();
    lines.extend(agent.policy.iter().flat_map(|policy| policy_lines(policy, backend, agent.by_events)));
    let mut text: String = lines.iter().map(|line| format!("  {line}\n")).collect();
    if !agent.enforcement.is_empty() {
        let rows = agent.enforcement.iter().map(|entry| {
            let (extent, because) = match &entry.extent {
                Extent::Full => ("fully", ""),
                Extent::Partial { because } => ("partly", because.as_str()),
                Extent::None { because } => ("NOT", because.as_str()),
            };
            vec![entry.enforcer.to_string(), extent.to_owned(), entry.promise.clone(), because.to_owned()]
        });
        text.push_str(&table(&["ENFORCER", "HELD", "PROMISE", "BECAUSE"], &rows.collect::<Vec<_>>()));
    }
    text
}
