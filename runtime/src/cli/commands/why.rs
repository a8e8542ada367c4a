//! `why`: a rule, and who enforces it.

use crate::operator::{Why, WhyAnswer};

pub(super) fn lines(why: &Why) -> String {
    let head = format!("{} for agent {} ({}) of {}\n", why.subject, why.agent, why.role, why.cell_id);
    match &why.answer {
        WhyAnswer::Path { read, write } => {
            let enforcer =
                if read.enforcer == write.enforcer { read.enforcer.clone() } else { format!("{}; {}", read.enforcer, write.enforcer) };
            format!("{head}  read: {}\n  write: {}\n  enforced by {enforcer}\n", read.by_grant(), write.by_grant())
        }
        WhyAnswer::Host(ruling) | WhyAnswer::Call(ruling) => {
            format!("{head}  {}\n  enforced by {}\n", ruling.by_sentence(), ruling.enforcer)
        }
    }
}
