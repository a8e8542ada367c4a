//! `audit` and `receipt`: what was done, and what proves it.

use std::{io::Read, path::Path, process::ExitCode};

use super::{local, status, success};
use crate::{
    cell::Attempt,
    cli::{
        audit_args::{AuditCommand, ReceiptArgs, ShowArgs},
        failure::{Failure, REFUSED},
        say::Say,
        table::{cut, table},
    },
    home::ambient,
    operator::{AuditQuery, AuditShown, AuditVerdict, Operator, check_receipt},
    seal::{DOCUMENT_MOST_BYTES, SignedReceipt},
};

pub(super) fn run(operator: &mut Operator, command: AuditCommand, say: &Say) -> Result<ExitCode, Failure> {
    match command {
        AuditCommand::Verify { against, key } => {
            let against = against.map(|path| read(&path)).transpose()?;
            let verdict = operator.audit_verify(against.as_deref(), key)?;
            Ok(verified(&verdict, say))
        }
        AuditCommand::Show(args) => {
            let ShowArgs { cell, actor, action, phase, since, until, lines } = *args;
            let shown = operator.audit_show(&AuditQuery { cell, actor, action, phase, since, until, most: lines })?;
            Ok(say.done(&success(&shown), || rows(&shown)))
        }
        AuditCommand::Keygen { replace } => {
            let made = operator.audit_keygen(replace)?;
            Ok(say.done(&success(&made), || format!("{}\nkey id {}", made.public_key, made.key_id)))
        }
        AuditCommand::Head { output } => {
            let shown = operator.audit_head(output.as_deref())?;
            Ok(say.done(&success(&shown), || if output.is_some() { shown.message.clone() } else { Say::line(&shown.head) }))
        }
    }
}

fn verified(verdict: &AuditVerdict, say: &Say) -> ExitCode {
    #[derive(serde::Serialize)]
    struct Envelope<'a> {
        success: bool,
        #[serde(flatten)]
        verdict: &'a AuditVerdict,
        #[serde(skip_serializing_if = "Option::is_none")]
        exit_code: Option<u8>,
    }
    let holds = verdict.holds();
    let envelope = Envelope { success: holds, verdict, exit_code: (!holds).then_some(REFUSED) };
    let said = say.done(&envelope, || verdict.message.clone());
    if holds { said } else { ExitCode::from(REFUSED) }
}

fn rows(shown: &AuditShown) -> String {
    let line = |row: &crate::operator::AuditLine| {
        let cell = row.cell_id.as_ref().map_or_else(|| "-".to_owned(), ToString::to_string);
        let detail = row.detail.clone();
        vec![row.seq.to_string(), local(row.at), row.actor.clone(), row.action.to_owned(), row.phase.to_owned(), cell, detail]
    };
    let lines: Vec<_> = shown.rows.iter().map(line).collect();
    cut(&table(&["ROW", "TIME", "ACTOR", "ACTION", "PHASE", "CELL", "DETAIL"], &lines), Say::width())
}

/// Shows or exports the receipt of a cell.
pub(super) fn receipt(operator: &mut Operator, args: &ReceiptArgs, say: &Say) -> Result<ExitCode, Failure> {
    let cell = args.cell.as_deref().unwrap_or_default();
    let shown = operator.receipt(cell, args.output.as_deref())?;
    Ok(say.done(&success(&shown), || receipt_lines(&shown.receipt)))
}

/// Checks an exported receipt; no registry is opened.
///
/// # Errors
/// A file that cannot be read, a receipt that is not believed.
pub fn check(file: &Path, args: &ReceiptArgs, root: Option<&Path>, say: &Say) -> Result<ExitCode, Failure> {
    let checked = check_receipt(&read(file)?, args.key, root)?;
    Ok(say.done(&success(&checked), || format!("{}\n{}", checked.message, receipt_lines(&checked.receipt))))
}

fn receipt_lines(document: &SignedReceipt) -> String {
    use crate::seal::Signature;
    let receipt = &document.receipt;
    let signed = match &document.signature {
        Signature::By { key_id, .. } => format!("by key {key_id}"),
        Signature::Missing { unsigned_because } => format!("NOT: {}", crate::audit::one_line(unsigned_because, 400)),
    };
    let home = receipt.home_sha256.as_deref().unwrap_or("none");
    let mut lines = vec![
        ("cell", format!("{}, life {}, of project {}", document.cell_id, document.generation, document.project)),
        ("destroyed", format!("{} by {}, audit row {}", local(document.at), document.actor, document.audit_seq)),
        ("done", status::receipt_line(receipt)),
        ("gone", format!("{} processes that were known were looked for, and are gone", receipt.processes_verified.len())),
        ("home", format!("sha256 {home}")),
        ("covers", crate::audit::one_line(&receipt.home_digest_covers, 400)),
        ("root", crate::audit::one_line(&document.root_id, 64)),
        ("signed", signed),
    ];
    let earlier = receipt.attempts.iter().map(|attempt| ("earlier", attempt_line(attempt)));
    lines.splice(3..3, earlier);
    let lines: Vec<String> = lines.into_iter().map(|(name, value)| format!("{name:<10} {value}")).collect();
    lines.join("\n")
}

/// What an earlier attempt did, of the sums.
fn attempt_line(attempt: &Attempt) -> String {
    let Attempt { at, actor, processes_ended, files_removed, directories_removed, bytes_removed, cut_short } = attempt;
    let (least, end) = if *cut_short { ("at least ", "was cut short") } else { ("", "left something") };
    let actor = crate::audit::one_line(actor, 100);
    format!(
        "of this, the attempt of {} by {actor}, which {end}: {least}{processes_ended} processes, {files_removed} files and \
         {directories_removed} directories ({bytes_removed} bytes)",
        local(*at)
    )
}

/// Reads a document that the operator named; `-` is standard input.
fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    let failed = |error: std::io::Error| Failure::new(REFUSED, format!("could not read {}: {error}", path.display()));
    let source: Box<dyn Read> = if path.as_os_str() == "-" {
        Box::new(std::io::stdin().lock())
    } else {
        Box::new(ambient::open_named_file(path, DOCUMENT_MOST_BYTES).map_err(failed)?)
    };
    let mut bytes = Vec::new();
    source.take(DOCUMENT_MOST_BYTES + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > DOCUMENT_MOST_BYTES {
        return Err(Failure::new(REFUSED, format!("could not read {}: it is larger than any head or receipt", path.display())));
    }
    Ok(bytes)
}
