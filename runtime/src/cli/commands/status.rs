//! `status`: cells and their lives.

use std::{process::ExitCode, time::Duration};

use serde::Serialize;

use super::local;
use crate::{
    cell::{BackendKind, CellId, ProjectName, Receipt},
    cli::{failure::Failure, say::Say, table::table},
    operator::{CellStatus, MailStatus, Operator},
    policy::format_duration,
};

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
    mail: MailStatus,
}

pub(super) fn status(operator: &mut Operator, all: bool, say: &Say) -> Result<ExitCode, Failure> {
    #[derive(Serialize)]
    struct Envelope<'a> {
        success: bool,
        active_cells: Vec<Listed<'a>>,
    }
    let cells = operator.status_of_all(all)?;
    let listed = |status| {
        let CellStatus { cell, probe, expired, mail, artifacts: _ }: &CellStatus = status;
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
            mail: *mail,
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
            mail(&status.mail),
            members.join(" "),
        ]
    };
    let rows: Vec<Vec<String>> = cells.iter().map(row).collect();
    let mut text = table(&["CELL", "PROJECT", "BACKEND", "STATE", "PROCESS", "BEAT", "TIME LEFT", "MAIL", "MEMBERS"], &rows);
    for status in cells.iter().filter(|status| status.cell.state == "failed") {
        let reason = status.cell.reason.as_deref().unwrap_or("no reason was recorded");
        text.push_str(&format!("{}: {reason}\n", status.cell.cell_id));
    }
    for status in cells.iter().filter(|status| status.cell.degraded) {
        text.push_str(&format!("{}: degraded, as accepted; `lazarus explain {0}` says what is not enforced\n", status.cell.cell_id));
    }
    text
}

/// Messages that are not handled: those that wait, and those that were given up.
fn mail(mail: &MailStatus) -> String {
    match mail {
        MailStatus { waiting: 0, parked: 0 } => "-".to_owned(),
        MailStatus { waiting, parked: 0 } => format!("{waiting} waiting"),
        MailStatus { waiting: 0, parked } => format!("{parked} parked"),
        MailStatus { waiting, parked } => format!("{waiting} waiting, {parked} parked"),
    }
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

pub(super) fn one_cell(status: &CellStatus, say: &Say) -> String {
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
    if cell.receipt.is_none() {
        lines.push(format!("mail       {}", mail(&status.mail)));
    }
    if cell.degraded {
        lines.push(format!("degraded   as accepted; `lazarus explain {}` says what is not enforced", cell.cell_id));
    }
    if cell.receipt.is_none() {
        lines.push(format!("home       {}", cell.hermes_home));
    }
    lines.extend(cell.receipt.as_ref().map(|receipt| format!("receipt    {}", receipt_line(receipt))));
    if !status.artifacts.is_empty() {
        let never = status.artifacts.iter().filter(|artifact| artifact.fetched_at.is_none()).count();
        let count = status.artifacts.len();
        lines.push(format!("artifacts  {count}, of which {never} were never fetched: `lazarus artifacts {}`", cell.cell_id));
    }
    if status.mail.parked > 0 {
        lines.push(format!("parked     `lazarus inbox {} --parked` says why", cell.cell_id));
    }
    let members = cell.members.iter().map(|member| vec![member.identity.to_string(), member.role.to_string(), local(member.joined_at)]);
    let mut text = lines.join("\n");
    text.push_str("\n\n");
    text.push_str(&table(&["MEMBER", "ROLE", "JOINED"], &members.collect::<Vec<_>>()));
    if !cell.runs.is_empty() {
        let run = |run: &crate::operator::RunStatus| {
            let how = run.how.clone().unwrap_or_else(|| "running".to_owned());
            vec![
                run.agent.to_string(),
                run.kind.to_owned(),
                run.process.to_owned(),
                run.pid.to_string(),
                local(run.started_at),
                run.waiting.to_string(),
                how,
            ]
        };
        text.push('\n');
        text.push_str(&table(
            &["AGENT", "KIND", "PROCESS", "PID", "STARTED", "WAITING", "END"],
            &cell.runs.iter().map(run).collect::<Vec<_>>(),
        ));
    }
    text
}

pub(super) fn receipt_line(receipt: &Receipt) -> String {
    format!(
        "{}{} processes had to be ended, {} alive; {} files and {} directories ({} bytes) removed; {} remained",
        if receipt.at_least { "at least " } else { "" },
        receipt.processes_ended,
        receipt.processes_alive,
        receipt.files_removed,
        receipt.directories_removed,
        receipt.bytes_removed,
        receipt.remained.len()
    )
}
