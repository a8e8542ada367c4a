//! `explain`: grants, limits, who enforces them, whether the processes agree with that, and what it comes to.

use std::{collections::BTreeMap, path::Path, process::ExitCode};

use serde::Serialize;

use crate::{
    cell::{BackendKind, text::one_line},
    cli::{failure::REFUSED, say::Say, table::table},
    jail::observe::{Agrees, Check, Who},
    operator::{AgentExplained, Explained, policy_lines},
    policy::{Entry, Extent, Subject},
};

/// Characters of a cell of a table.
const CELL_MOST: usize = 400;

/// The envelope: a process that is otherwise than its jail reported is a failure, which says all the same what is known.
#[derive(Serialize)]
struct Envelope<'a> {
    success: bool,
    #[serde(flatten)]
    explained: &'a Explained,
    #[serde(skip_serializing_if = "Option::is_none")]
    exit_code: Option<u8>,
}

/// Says what was explained; fails where processes do not agree with their reports.
pub(super) fn said(explained: &Explained, say: &Say) -> ExitCode {
    let exit_code = explained.disagrees().then_some(REFUSED);
    let envelope = Envelope { success: exit_code.is_none(), explained, exit_code };
    let printed = say.done(&envelope, || explanation(explained));
    match exit_code {
        Some(code) if printed == ExitCode::SUCCESS => {
            if !say.json() {
                eprintln!("error: {}", explained.message);
            }
            ExitCode::from(code)
        }
        Some(_) | None => printed,
    }
}

fn explanation(explained: &Explained) -> String {
    let mut text = format!("{}\n", explained.message);
    text.push_str(&list("not as it was approved", &explained.differences));
    for agent in &explained.agents {
        text.push_str(&format!("\nagent {} ({})\n", agent.agent, explained.backend));
        text.push_str(&agent_lines(agent, explained.backend));
    }
    text.push_str(&checks(explained));
    text.push_str(&list("guaranteed", &explained.plain.guarantees));
    text.push_str(&list("not guaranteed", &explained.plain.not_guaranteed));
    text
}

fn agent_lines(agent: &AgentExplained, backend: BackendKind) -> String {
    let kind = if agent.by_events { ", which lives by events" } else { "" };
    let mut lines: Vec<String> = agent.program.iter().map(|program| format!("program   {}{kind}", shown(program))).collect();
    lines.extend(agent.policy.iter().flat_map(|policy| policy_lines(policy, backend, agent.by_events)));
    let mut text: String = lines.iter().map(|line| format!("  {line}\n")).collect();
    for group in Group::ALL {
        let entries: Vec<&Entry> = agent.enforcement.iter().filter(|entry| Group::of(&entry.subject) == group).collect();
        if entries.is_empty() {
            continue;
        }
        text.push_str(&format!("\n{}\n", group.title()));
        let rows = match group {
            // Several enforcers hold the same of each: one line each is what can be read.
            Group::Paths | Group::Variables => merged(&entries),
            Group::Network | Group::Limits | Group::Walls => entries.iter().map(|entry| row(entry)).collect(),
        };
        text.push_str(&table(&["ENFORCER", "HELD", "PROMISE", "BECAUSE"], &rows));
    }
    if !agent.not_rehearsed.is_empty() {
        let lines: Vec<String> =
            agent.not_rehearsed.iter().map(|not| format!("{}: {}", shown(&not.subject.to_string()), not.because)).collect();
        text.push_str(&list("not rehearsed", &lines));
    }
    if let Some(why) = &agent.refused {
        text.push_str(&format!("\nThis machine would refuse to run it: {}\n", shown(why)));
    }
    text
}

/// What entries are about, for the eye.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Group {
    Paths,
    Variables,
    Network,
    Limits,
    Walls,
}

impl Group {
    const ALL: [Self; 5] = [Self::Paths, Self::Variables, Self::Network, Self::Limits, Self::Walls];

    const fn of(subject: &Subject) -> Self {
        match subject {
            Subject::Path { .. } => Self::Paths,
            Subject::Variable { .. } => Self::Variables,
            Subject::Address { .. } => Self::Network,
            Subject::Limit { .. } => Self::Limits,
            Subject::Wall { .. } | Subject::Unnamed => Self::Walls,
        }
    }

    const fn title(self) -> &'static str {
        match self {
            Self::Paths => "paths",
            Self::Variables => "variables",
            Self::Network => "network",
            Self::Limits => "limits",
            Self::Walls => "walls",
        }
    }
}

fn shown(text: &str) -> String {
    one_line(text, CELL_MOST)
}

fn held(extent: &Extent) -> (&'static str, &str) {
    match extent {
        Extent::Full => ("fully", ""),
        Extent::Partial { because } => ("partly", because),
        Extent::None { because } => ("NOT", because),
    }
}

fn row(entry: &Entry) -> Vec<String> {
    let (extent, because) = held(&entry.extent);
    vec![entry.enforcer.to_string(), extent.to_owned(), shown(&entry.promise), shown(because)]
}

/// One line for each subject: everybody who holds it, and the least of what they hold.
fn merged(entries: &[&Entry]) -> Vec<Vec<String>> {
    let mut subjects: Vec<&Subject> = Vec::new();
    let mut by_subject: BTreeMap<&Subject, Vec<&Entry>> = BTreeMap::new();
    for entry in entries {
        if !by_subject.contains_key(&entry.subject) {
            subjects.push(&entry.subject);
        }
        by_subject.entry(&entry.subject).or_default().push(entry);
    }
    subjects.sort_by_key(|subject| match subject {
        Subject::Path { path, granted, .. } => (Some(*granted), path.as_path()),
        Subject::Variable { .. } | Subject::Address { .. } | Subject::Limit { .. } | Subject::Wall { .. } | Subject::Unnamed => {
            (None, Path::new(""))
        }
    });
    let line = |subject: &&Subject| {
        let entries = by_subject.get(subject).map(Vec::as_slice).unwrap_or_default();
        let mut enforcers: Vec<String> = entries.iter().map(|entry| entry.enforcer.to_string()).collect();
        enforcers.dedup();
        let least = entries.iter().max_by_key(|entry| match entry.extent {
            Extent::Full => 0,
            Extent::Partial { .. } => 1,
            Extent::None { .. } => 2,
        });
        let (extent, because) = least.map_or(("NOT", ""), |entry| held(&entry.extent));
        vec![enforcers.join(", "), extent.to_owned(), shown(&subject.to_string()), shown(because)]
    };
    subjects.iter().map(line).collect()
}

fn checks(explained: &Explained) -> String {
    if explained.checks.is_empty() {
        return String::new();
    }
    let (mut rows, mut agreed) = (Vec::new(), String::new());
    let mut done: Vec<u32> = Vec::new();
    for Check { process, .. } in &explained.checks {
        if !done.contains(&process.pid) {
            done.push(process.pid);
            rows.extend(of_process(process, &explained.checks));
            agreed.push_str(&agreed_of(process, &explained.checks));
        }
    }
    let table = table(&["PROCESS", "AGREES", "WHAT", "EXPECTED", "FOUND"], &rows);
    let mut text = format!("\nprocesses, as /proc shows them\n{table}{agreed}");
    for line in &explained.not_compared {
        text.push_str(&format!("{line}\n"));
    }
    text
}

/// A line for all that agrees, and one for each thing that does not, or is unknown.
fn of_process(process: &Who, checks: &[Check]) -> Vec<Vec<String>> {
    let name = format!("{} {}", process.part.as_str(), process.pid);
    let (agree, others): (Vec<&Check>, Vec<&Check>) =
        checks.iter().filter(|check| check.process.pid == process.pid).partition(|check| check.agrees == Agrees::Yes);
    let mut rows = Vec::new();
    for check in others {
        let agrees = if check.agrees == Agrees::No { "NO" } else { "unknown" };
        let found = check.because.as_deref().filter(|_| check.found.is_empty()).unwrap_or(&check.found);
        rows.push(vec![name.clone(), agrees.to_owned(), check.what.clone(), shown(&check.expected), shown(found)]);
    }
    if !agree.is_empty() {
        rows.push(vec![name, "yes".to_owned(), format!("{} things, named below", agree.len())]);
    }
    rows
}

/// What agrees, of one process: a paragraph, as wide as a page.
fn agreed_of(process: &Who, checks: &[Check]) -> String {
    const WIDTH: usize = 110;
    let agree = checks.iter().filter(|check| check.process.pid == process.pid && check.agrees == Agrees::Yes);
    let mut words: Vec<String> = agree.map(|check| format!("{},", check.what.strip_prefix("limit: ").unwrap_or(&check.what))).collect();
    let Some(last) = words.last_mut() else { return String::new() };
    last.pop();
    let mut text = format!("{} {}:", process.part.as_str(), process.pid);
    let mut width = text.len();
    for word in words {
        if width + 1 + word.len() > WIDTH {
            text.push_str("\n ");
            width = 1;
        }
        text.push(' ');
        text.push_str(&word);
        width += 1 + word.len();
    }
    text.push('\n');
    text
}

fn list(title: &str, lines: &[String]) -> String {
    if lines.is_empty() {
        return String::new();
    }
    let lines: String = lines.iter().map(|line| format!("  - {}\n", shown(line))).collect();
    format!("\n{title}\n{lines}")
}
