//! `archive`: a cell's homes as a tar file.

use std::{path::PathBuf, process::ExitCode};

use clap::Args;

use super::success;
use crate::{
    cli::{
        args::plain,
        failure::{Failure, USAGE},
        say::Say,
    },
    operator::{ArchiveNote, ArchiveOrder, CellArchived, Destination, Operator},
    policy::ByteSize,
};

/// Things that were left out, of which a person reads; `--json` has more of them.
const NOTES_MOST: usize = 20;

/// What `archive` takes.
#[derive(Debug, Args)]
pub struct ArchiveArgs {
    /// The cell
    cell: String,
    /// The file to make [default: CELL.tar]; - is standard output
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Replace a file that is there
    #[arg(long)]
    force: bool,
    /// The most bytes of files; one that would pass it is left out, and named [default: what its agents may keep]
    #[arg(long, value_name = "SIZE", value_parser = plain::<ByteSize>)]
    most: Option<ByteSize>,
}

/// Writes it.
pub(super) fn archive(operator: &mut Operator, args: ArchiveArgs, say: &Say) -> Result<ExitCode, Failure> {
    let ArchiveArgs { cell, output, force, most } = args;
    let to = match output {
        Some(path) if path.as_os_str() == "-" => Destination::Stdout,
        Some(path) => Destination::File { path, replace: force },
        // An id has no part of a path in it; what is no id is found by nobody.
        None => Destination::File { path: PathBuf::from(format!("{cell}.tar")), replace: force },
    };
    if say.json() && to == Destination::Stdout {
        return Err(Failure::new(USAGE, "standard output holds the JSON object: name a file with --output"));
    }
    let archived = operator.archive(&cell, &ArchiveOrder { to: to.clone(), most })?;
    if to == Destination::Stdout {
        eprintln!("{}", for_people(&archived));
        return Ok(ExitCode::SUCCESS);
    }
    Ok(say.done(&success(&archived), || for_people(&archived)))
}

fn for_people(archived: &CellArchived) -> String {
    let mut lines = vec![archived.message.clone()];
    for (what, notes, more) in
        [("left out", &archived.skipped, archived.skipped_more), ("changed", &archived.changed, archived.changed_more)]
    {
        lines.extend(notes.iter().take(NOTES_MOST).map(|ArchiveNote { name, why }| format!("{what}: {name}: {why}")));
        let rest = more + notes.len().saturating_sub(NOTES_MOST) as u64;
        if rest > 0 {
            lines.push(format!("{what}: {rest} more"));
        }
    }
    lines.join("\n")
}
