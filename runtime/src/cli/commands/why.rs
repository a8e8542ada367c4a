//! `why`: a rule, and who enforces it.

use crate::operator::{Ruling, Why, WhyAnswer};

pub(super) fn lines(why: &Why) -> String {
    let head = format!("{} for agent {} ({}) of {}\n", why.subject, why.agent, why.role, why.cell_id);
    let line = |what: &str, ruling: &Ruling| format!("  {what}{}\n  enforced by {}\n", ruling.phrase(), ruling.enforcer);
    match &why.answer {
        WhyAnswer::Path { read, write } => {
            let enforcer =
                if read.enforcer == write.enforcer { read.enforcer.clone() } else { format!("{}; {}", read.enforcer, write.enforcer) };
            format!("{head}  read: {}\n  write: {}\n  enforced by {enforcer}\n", read.phrase(), write.phrase())
        }
        WhyAnswer::Host(ruling) | WhyAnswer::Call(ruling) => head + &line("", ruling),
    }
}
