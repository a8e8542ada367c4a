//! `sweep`: what ended unseen.

use std::process::ExitCode;

use serde::Serialize;

use crate::{
    cli::{
        failure::{Failure, REFUSED},
        say::Say,
    },
    operator::{Operator, Swept},
};

pub(super) fn sweep(operator: &mut Operator, say: &Say) -> Result<ExitCode, Failure> {
    let swept: Swept = operator.sweep_asked()?;
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
    let said = say.done(&Envelope { success: !failed, swept: &swept, message: message.clone() }, || message);
    Ok(if failed { ExitCode::from(REFUSED) } else { said })
}
