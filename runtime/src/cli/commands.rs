//! Each command: its use case, its envelope, and what a person reads instead.

use std::{os::fd::OwnedFd, path::Path, process::ExitCode, time::Duration};

use serde::Serialize;

use super::{
    agents,
    args::{AuditCommand, Command, SummonOptions},
    failure::{Failure, INTERNAL, REFUSED, USAGE},
    say::Say,
    table::table,
};
use crate::{
    backend::protocol::End,
    cell::{AgentName, BackendKind, CellId, ProjectName, Receipt},
    operator::{AgentExplained, CellStatus, Explained, LogRequest, Operator, Summoned, Swept, Wish, policy_lines},
    policy::{Extent, format_duration},
    warden::describe,
};

/// A success envelope: `success` first, then the keys of the contract.
#[derive(Serialize)]
struct Success<T: Serialize> {
    success: bool,
    #[serde(flatten)]
    what: T,
}

fn success<T: Serialize>(what: T) -> Success<T> {
    Success { success: true, what }
}

/// Runs a command.
///
/// # Errors
/// What the use case refuses.
pub fn carry_out(mut operator: Operator, command: Command, say: &Say) -> Result<ExitCode, Failure> {
    // What ended unseen is caught up with first; trouble with one cell is no trouble of this command.
    if !matches!(command, Command::Sweep)
        && let Err(error) = operator.sweep()
    {
        // On a full disk, say: what was asked for may still be possible, and may be the cure.
        eprintln!("warning: could not record what ended unseen: {}", Failure::from(error).message);
    }
    match command {
        Command::Summon { agent, project, options } => summon(&mut operator, &agent, &project, *options, say),
        Command::Team { agents, project, options } => team(&mut operator, &agents.0, &project, *options, say),
        Command::Invite { cell, guest, role } => {
            let invited = operator.invite(&cell, &guest, role)?;
            Ok(say.done(&success(&invited), || invited.message.clone()))
        }
        Command::Status { cell: Some(cell), .. } => {
            let status = operator.status(&cell)?;
            Ok(say.done(&success(&status), || one_cell(&status, say)))
        }
        Command::Status { cell: None, all } => status(&mut operator, all, say),
        Command::Close { cell, grace, no_wait } => {
            let closed = operator.close(&cell, grace, !no_wait)?;
            Ok(say.done(&success(&closed), || closed.message.clone()))
        }
        Command::Destroy { cell } => {
            let destroyed = operator.destroy(&cell)?;
            Ok(say.done(&success(&destroyed), || format!("{}\n{}", destroyed.message, receipt_line(&destroyed.receipt))))
        }
        Command::Run { target, timeout, bare, project, options } => {
            let (agent, wish) = run_wish(target, bare, *options)?;
            run(&mut operator, &agent, &project, &wish, timeout, say)
        }
        Command::Logs { cell, agent, follow, lines, timestamps } => {
            logs(&mut operator, &cell, &LogRequest { agent, follow, lines }, timestamps, say)
        }
        Command::Extend { cell, by } => {
            let extended = operator.extend(&cell, by)?;
            Ok(say.done(&success(&extended), || format!("{}, until {}", extended.message, local(extended.expires_at))))
        }
        Command::Sweep => sweep(&mut operator, say),
        Command::Explain { subject } => {
            let explained = operator.explain(&subject)?;
            Ok(say.done(&success(&explained), || explanation(&explained)))
        }
        Command::Agent(command) => agents::run(&mut operator, command, say),
        Command::Audit(AuditCommand::Verify) => {
            let verdict = operator.audit_verify()?;
            Ok(say.done(&success(&verdict), || verdict.message.clone()))
        }
        Command::Completions { .. } => Ok(ExitCode::SUCCESS),
    }
}

fn wish(options: SummonOptions) -> Wish {
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

fn summon(
    operator: &mut Operator,
    agent: &AgentName,
    project: &ProjectName,
    options: SummonOptions,
    say: &Say,
) -> Result<ExitCode, Failure> {
    let summoned = operator.summon(std::slice::from_ref(agent), project, &wish(options), false)?;
    Ok(summoned_done(&summoned, false, say))
}

fn team(
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

/// One line of `active_cells`.
#[derive(Serialize)]
struct Listed<'a> {
    cell_id: &'a CellId,
    project: &'a ProjectName,
    backend: BackendKind,
    state: &'static str,
    members: Vec<String>,
    probe: &'a crate::operator::Probe,
    expired: bool,
    reason: Option<&'a str>,
    degraded: bool,
}

fn status(operator: &mut Operator, all: bool, say: &Say) -> Result<ExitCode, Failure> {
    #[derive(Serialize)]
    struct Envelope<'a> {
        success: bool,
        active_cells: Vec<Listed<'a>>,
    }
    let cells = operator.status_of_all(all)?;
    let listed = |status| {
        let CellStatus { cell, probe, expired }: &CellStatus = status;
        Listed {
            cell_id: &cell.cell_id,
            project: &cell.project,
            backend: cell.backend,
            state: cell.state,
            members: cell.members.iter().map(|member| member.identity.to_string()).collect(),
            probe,
            expired: *expired,
            reason: cell.reason.as_deref(),
            degraded: cell.degraded,
        }
    };
    let envelope = Envelope { success: true, active_cells: cells.iter().map(listed).collect() };
    Ok(say.done(&envelope, || all_cells(&cells, all, say)))
}

fn all_cells(cells: &[CellStatus], all: bool, say: &Say) -> String {
    if cells.is_empty() {
        let more = if all { "" } else { " (closed and destroyed ones: `lazarus status --all`)" };
        return format!("No cells{more}. `lazarus summon AGENT PROJECT` makes one.");
    }
    let row = |status: &CellStatus| {
        let cell = &status.cell;
        let members: Vec<String> = cell.members.iter().map(|member| member.identity.to_string()).collect();
        vec![
            cell.cell_id.to_string(),
            cell.project.to_string(),
            cell.backend.to_string(),
            say.state(cell.state),
            status.probe.process.to_owned(),
            status.probe.heartbeat_age_seconds.map_or_else(|| "-".to_owned(), |age| format!("{age:.0}s ago")),
            time_left(status),
            members.join(" "),
        ]
    };
    let rows: Vec<Vec<String>> = cells.iter().map(row).collect();
    let mut text = table(&["CELL", "PROJECT", "BACKEND", "STATE", "PROCESS", "BEAT", "TIME LEFT", "MEMBERS"], &rows);
    for status in cells.iter().filter(|status| status.cell.state == "failed") {
        let reason = status.cell.reason.as_deref().unwrap_or("no reason was recorded");
        text.push_str(&format!("{}: {reason}\n", status.cell.cell_id));
    }
    for status in cells.iter().filter(|status| status.cell.degraded) {
        text.push_str(&format!("{}: degraded, as accepted; `lazarus explain {0}` says what is not enforced\n", status.cell.cell_id));
    }
    text
}

fn time_left(status: &CellStatus) -> String {
    if !matches!(status.cell.state, "proposed" | "active" | "idle" | "closing") {
        return "-".to_owned();
    }
    if status.expired {
        return "expired".to_owned();
    }
    (status.cell.expires_at - chrono::Utc::now())
        .to_std()
        .map_or_else(|_| "expired".to_owned(), |left| format_duration(Duration::from_secs(left.as_secs().max(1))))
}

fn local(at: chrono::DateTime<chrono::Utc>) -> String {
    at.with_timezone(&chrono::Local).format("%Y-%m-%d %H:%M:%S").to_string()
}

fn one_cell(status: &CellStatus, say: &Say) -> String {
    let CellStatus { cell, probe, .. } = status;
    let mut lines = vec![
        format!("cell       {}", cell.cell_id),
        format!("project    {}", cell.project),
        format!("owner      {}", cell.owner),
        format!("backend    {}", cell.backend),
        format!("state      {}, since {}", say.state(cell.state), local(cell.state_since)),
    ];
    lines.extend(cell.reason.as_ref().map(|reason| format!("reason     {reason}")));
    lines.push(format!("process    {}{}", probe.process, probe.pid.map_or_else(String::new, |pid| format!(", pid {pid}"))));
    lines.extend(probe.heartbeat_age_seconds.map(|age| format!("last beat  {age:.1}s ago")));
    lines.push(format!("time left  {}", time_left(status)));
    if cell.degraded {
        lines.push(format!("degraded   as accepted; `lazarus explain {}` says what is not enforced", cell.cell_id));
    }
    if cell.receipt.is_none() {
        lines.push(format!("home       {}", cell.hermes_home));
    }
    lines.extend(cell.receipt.as_ref().map(|receipt| format!("receipt    {}", receipt_line(receipt))));
    let members = cell.members.iter().map(|member| vec![member.identity.to_string(), member.role.to_string(), local(member.joined_at)]);
    let mut text = lines.join("\n");
    text.push_str("\n\n");
    text.push_str(&table(&["MEMBER", "ROLE", "JOINED"], &members.collect::<Vec<_>>()));
    if !cell.runs.is_empty() {
        let run = |run: &crate::operator::RunStatus| {
            let how = run.how.clone().unwrap_or_else(|| "running".to_owned());
            vec![run.agent.to_string(), run.process.to_owned(), run.pid.to_string(), local(run.started_at), how]
        };
        text.push('\n');
        text.push_str(&table(&["AGENT", "PROCESS", "PID", "STARTED", "END"], &cell.runs.iter().map(run).collect::<Vec<_>>()));
    }
    text
}

fn receipt_line(receipt: &Receipt) -> String {
    format!(
        "{} processes had to be ended, {} alive; {} files and {} directories ({} bytes) removed; {} remained",
        receipt.processes_ended,
        receipt.processes_alive,
        receipt.files_removed,
        receipt.directories_removed,
        receipt.bytes_removed,
        receipt.remained.len()
    )
}

/// Whether a run's target is a file: it looks like one, or there is one. An agent's name can be neither.
fn is_program_file(target: &str) -> bool {
    target.contains('/') || target.ends_with(".wasm") || target.ends_with(".wat")
}

fn run_wish(target: Option<String>, bare: bool, options: SummonOptions) -> Result<(AgentName, Wish), Failure> {
    let mut wish = Wish { bare, throwaway: true, ..wish(options) };
    let anonymous = || "run".parse::<AgentName>().map_err(crate::operator::Error::from);
    let agent = match target {
        Some(target) if is_program_file(&target) => {
            if wish.component.is_some() {
                return Err(Failure::new(USAGE, "name the WebAssembly file once: as the target, or with --component"));
            }
            wish.component = Some(Path::new(&target).to_owned());
            anonymous()?
        }
        Some(target) => {
            wish.must_be_defined = true;
            target.parse::<AgentName>().map_err(crate::operator::Error::from)?
        }
        None if wish.component.is_some() || !wish.command.is_empty() => anonymous()?,
        None => return Err(Failure::new(USAGE, "name an agent or a WebAssembly file, or a command after --")),
    };
    Ok((agent, wish))
}

/// Runs a program in the foreground. With `--json`, what it writes to stdout goes to stderr: stdout holds the envelope alone.
fn run(
    operator: &mut Operator,
    agent: &AgentName,
    project: &ProjectName,
    wish: &Wish,
    timeout: Option<Duration>,
    say: &Say,
) -> Result<ExitCode, Failure> {
    #[derive(Serialize)]
    struct Envelope<'a> {
        success: bool,
        cell_id: &'a CellId,
        message: String,
        exit_code: u8,
    }
    let kept =
        say.json().then(divert_stdout).transpose().map_err(|error| Failure::new(INTERNAL, format!("could not divert stdout: {error}")))?;
    let ran = operator.run(agent, project, wish, timeout);
    if let Some(kept) = kept {
        rustix::stdio::dup2_stdout(kept).map_err(|error| Failure::new(INTERNAL, format!("could not restore stdout: {error}")))?;
    }
    // Its cell is destroyed already: there is nothing to put away.
    let ran = ran.map_err(|error| Failure { hint: None, ..Failure::from(error) })?;
    let code = exit_code_of(&ran.end)?;
    if say.json() {
        let envelope = Envelope { success: code == 0, cell_id: &ran.cell_id, message: describe(&ran.end), exit_code: code };
        say.print(&Say::line(&envelope));
    }
    Ok(ExitCode::from(code))
}

/// Lets everything that is written to stdout go to stderr; returns the real one.
fn divert_stdout() -> std::io::Result<OwnedFd> {
    let kept = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdout(), 3)?;
    rustix::stdio::dup2_stdout(rustix::stdio::stderr())?;
    Ok(kept)
}

/// The program's own exit code. What Lazarus ended is said, and is exit code 1.
fn exit_code_of(end: &End) -> Result<u8, Failure> {
    match end {
        // A process has 8 bits of exit code; what does not fit is still no success.
        End::Exited { code } => Ok(u8::try_from(*code).unwrap_or(REFUSED)),
        // As shells say it: sh(1), "Exit Status".
        End::Signalled { signal } => Ok(u8::try_from(128 + signal).unwrap_or(REFUSED)),
        End::Trapped { .. } | End::Limit { .. } => {
            Err(Failure::new(REFUSED, format!("the program did not end by itself: {}", describe(end))))
        }
    }
}

fn logs(operator: &mut Operator, cell: &str, request: &LogRequest, timestamps: bool, say: &Say) -> Result<ExitCode, Failure> {
    #[derive(Serialize)]
    struct Envelope<'a> {
        success: bool,
        cell_id: &'a str,
        lines: Vec<crate::operator::LogLine>,
    }
    if say.json() && !request.follow {
        let mut lines = Vec::new();
        operator.logs(cell, request, |line| {
            lines.push(line);
            true
        })?;
        return Ok(say.done(&Envelope { success: true, cell_id: cell, lines }, String::new));
    }
    operator.logs(cell, request, |line| {
        if say.json() {
            return say.print(&Say::line(&line));
        }
        let at = if timestamps { format!("{} ", line.at) } else { String::new() };
        let mark = match line.stream.as_str() {
            "out" => "|",
            "err" => "!",
            _ => "#",
        };
        say.print(&format!("{at}{} {mark} {}", line.agent, line.text))
    })?;
    Ok(ExitCode::SUCCESS)
}

fn sweep(operator: &mut Operator, say: &Say) -> Result<ExitCode, Failure> {
    let swept: Swept = operator.sweep()?;
    let failed = !swept.failed.is_empty();
    #[derive(Serialize)]
    struct Envelope<'a> {
        success: bool,
        #[serde(flatten)]
        swept: &'a Swept,
        message: String,
    }
    let mut message = format!("Settled {}, destroyed {}, failed {}", swept.settled.len(), swept.destroyed.len(), swept.failed.len());
    for (cell, why) in &swept.failed {
        message.push_str(&format!("\n{cell}: {why}"));
    }
    say.done(&Envelope { success: !failed, swept: &swept, message: message.clone() }, || message);
    Ok(if failed { ExitCode::from(REFUSED) } else { ExitCode::SUCCESS })
}

fn explanation(explained: &Explained) -> String {
    let mut text = format!("{}\n", explained.message);
    for agent in &explained.agents {
        text.push_str(&format!("\nagent {} ({})\n", agent.agent, explained.backend));
        text.push_str(&agent_lines(agent, explained.backend));
    }
    text
}

fn agent_lines(agent: &AgentExplained, backend: BackendKind) -> String {
    let mut lines: Vec<String> = agent.program.iter().map(|program| format!("program   {program}")).collect();
    lines.extend(agent.policy.iter().flat_map(|policy| policy_lines(policy, backend)));
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
