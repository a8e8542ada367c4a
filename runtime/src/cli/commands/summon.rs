//! `summon` and `team`.

use std::process::ExitCode;

use serde::Serialize;

use crate::{
    cell::{AgentName, BackendKind, CellId, ProjectName},
    cli::{args::SummonOptions, failure::Failure, say::Say},
    operator::{Operator, Summoned, Wish},
};

pub(super) fn wish(options: SummonOptions) -> Wish {
    Wish {
        backend: options.backend,
        ttl: options.ttl,
        on_expire: options.on_expire.map(Into::into),
        owner: options.owner,
        component: options.component,
        command: options.command,
        env: options.env,
        read: options.read,
        mounts: options.mount,
        client: options.client,
        limits: options.limits.given(),
        accept_degraded: options.accept_degraded,
        bare: false,
        must_be_defined: false,
        throwaway: false,
    }
}

/// The envelope of `summon`: the contract's keys, in its order.
#[derive(Serialize)]
struct SummonEnvelope<'a> {
    success: bool,
    cell_id: &'a CellId,
    project: &'a ProjectName,
    #[serde(skip_serializing_if = "Option::is_none")]
    agent: Option<&'a AgentName>,
    #[serde(skip_serializing_if = "Option::is_none")]
    agents: Option<&'a [AgentName]>,
    backend: BackendKind,
    pid: u32,
    message: &'a str,
    hermes_home: &'a str,
    degraded: bool,
}

pub(super) fn summon(
    operator: &mut Operator,
    agent: &AgentName,
    project: &ProjectName,
    options: SummonOptions,
    say: &Say,
) -> Result<ExitCode, Failure> {
    let summoned = operator.summon(std::slice::from_ref(agent), project, &wish(options), false)?;
    Ok(summoned_done(&summoned, false, say))
}

pub(super) fn team(
    operator: &mut Operator,
    agents: &[AgentName],
    project: &ProjectName,
    options: SummonOptions,
    say: &Say,
) -> Result<ExitCode, Failure> {
    let summoned = operator.summon(agents, project, &wish(options), true)?;
    Ok(summoned_done(&summoned, true, say))
}

fn summoned_done(summoned: &Summoned, team: bool, say: &Say) -> ExitCode {
    let envelope = SummonEnvelope {
        success: true,
        cell_id: &summoned.cell_id,
        project: &summoned.project,
        agent: if team { None } else { summoned.agents.first() },
        agents: team.then_some(summoned.agents.as_slice()),
        backend: summoned.backend,
        pid: summoned.pid,
        message: &summoned.message,
        hermes_home: &summoned.hermes_home,
        degraded: summoned.degraded,
    };
    say.done(&envelope, || {
        let degraded = if summoned.degraded { "\nDegraded, as accepted: see `lazarus explain` for what is not enforced" } else { "" };
        format!("{} (pid {}, {})\nHome: {}{degraded}", summoned.message, summoned.pid, summoned.backend, summoned.hermes_home)
    })
}
