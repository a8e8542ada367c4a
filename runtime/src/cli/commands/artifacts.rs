//! `artifacts`: results of agents, listed and fetched.

use std::{path::PathBuf, process::ExitCode};

use serde::Serialize;

use super::{local, success};
use crate::{
    cell::CellId,
    cli::{
        args::ArtifactsCommand,
        failure::{Failure, USAGE},
        say::Say,
        table::table,
    },
    operator::{ArtifactLine, Destination, Fetched, Operator},
};

/// Lists, or fetches.
pub(super) fn run(
    operator: &mut Operator,
    cell: Option<String>,
    command: Option<ArtifactsCommand>,
    say: &Say,
) -> Result<ExitCode, Failure> {
    let usage = |what: &str| Failure::new(USAGE, what);
    let Some(ArtifactsCommand::Get { names, output, force }) = command else {
        let cell = cell.ok_or_else(|| usage("name a cell: lazarus artifacts CELL"))?;
        return list(operator, &cell, say);
    };
    let (cell, name) = match (cell, names.as_slice()) {
        (Some(cell), [name]) => (cell, name.clone()),
        (None, [cell, name]) => (cell.clone(), name.clone()),
        (Some(_), _) => return Err(usage("name the cell once: lazarus artifacts CELL get NAME")),
        (None, _) => return Err(usage("name the cell and the artifact: lazarus artifacts CELL get NAME")),
    };
    let to = match output {
        Some(path) if path.as_os_str() == "-" => Destination::Stdout,
        Some(path) => Destination::File { path, replace: force },
        // A name of an artifact is one part of a path, and no hidden one.
        None => Destination::File { path: PathBuf::from(name.rsplit('/').next().unwrap_or(&name)), replace: force },
    };
    if say.json() && to == Destination::Stdout {
        return Err(usage("standard output holds the JSON object: name a file with --output"));
    }
    let fetched: Fetched = operator.fetch_artifact(&cell, &name, &to)?;
    if to == Destination::Stdout {
        return Ok(ExitCode::SUCCESS);
    }
    Ok(say.done(&success(&fetched), || fetched.message.clone()))
}

fn list(operator: &mut Operator, cell: &str, say: &Say) -> Result<ExitCode, Failure> {
    #[derive(Serialize)]
    struct Envelope<'a> {
        cell_id: &'a CellId,
        artifacts: &'a [ArtifactLine],
    }
    let (cell_id, artifacts) = operator.artifacts(cell)?;
    let envelope = success(Envelope { cell_id: &cell_id, artifacts: &artifacts });
    Ok(say.done(&envelope, || {
        if artifacts.is_empty() {
            return "No artifacts.".to_owned();
        }
        let row = |line: &ArtifactLine| {
            let fetched = line.fetched_at.map_or_else(|| "never".to_owned(), local);
            let digest: String = line.sha256.chars().take(16).collect();
            vec![line.name.clone(), line.agent.to_string(), line.bytes.to_string(), digest, local(line.declared_at), fetched]
        };
        table(&["NAME", "AGENT", "BYTES", "SHA256", "DECLARED", "FETCHED"], &artifacts.iter().map(row).collect::<Vec<_>>())
    }))
}
