//! `logs`: what agents wrote.

use std::process::ExitCode;

use serde::Serialize;

use crate::{
    cli::{failure::Failure, say::Say},
    operator::{LogRequest, Operator},
};

pub(super) fn logs(operator: &mut Operator, cell: &str, request: &LogRequest, timestamps: bool, say: &Say) -> Result<ExitCode, Failure> {
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
