//! What a cell launches, kept beside it (`plan.json`): the cell can be brought back from that and its homes.
//!
//! It is the trusted side's own word: it lies in the cell's directory, of which no jail sees more than the homes and what is shared.

use std::io;

use serde::{Deserialize, Serialize};

use super::spec::AgentPlan;
use crate::{cell::CellId, home::CellDir};

/// The form of the file; another one is refused.
const FORMAT: u32 = 1;

/// What a cell launches.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptPlan {
    format: u32,
    cell: CellId,
    /// Its agents, those that were invited included; also those that are no members any more.
    pub agents: Vec<AgentPlan>,
}

/// Why there is no plan to bring a cell back from.
#[derive(Debug, thiserror::Error)]
pub enum KeptError {
    /// There is none.
    #[error("what it launched was not kept, or its removal has begun")]
    Absent,
    /// The system, or a file that is none of Lazarus'.
    #[error("what it launched (plan.json) cannot be read: {0}")]
    Io(#[from] io::Error),
    /// It cannot be understood.
    #[error("what it launched (plan.json) cannot be understood: {0}")]
    Garbled(#[from] serde_json::Error),
    /// It was written by another release.
    #[error("what it launched (plan.json) has format {0}, and this release reads {FORMAT}")]
    Format(u32),
    /// It is another cell's.
    #[error("what it launched (plan.json) is of cell {0}")]
    Foreign(CellId),
}

impl KeptPlan {
    /// The plan of a cell and its agents. Of two plans of one name, the later counts.
    pub fn of<'a>(cell: &CellId, agents: impl IntoIterator<Item = &'a AgentPlan>) -> Self {
        let mut kept: Vec<AgentPlan> = Vec::new();
        for plan in agents {
            match kept.iter_mut().find(|there| there.launch.agent == plan.launch.agent) {
                Some(there) => there.clone_from(plan),
                None => kept.push(plan.clone()),
            }
        }
        Self { format: FORMAT, cell: cell.clone(), agents: kept }
    }

    /// Writes it beside the cell: synced, and replaced as a whole.
    ///
    /// # Errors
    /// The disk is full, the cell gone, or the plan too large.
    pub fn write(&self, dir: &CellDir) -> io::Result<()> {
        dir.write_plan(&serde_json::to_vec(self)?)
    }

    /// Reads that of a cell.
    ///
    /// # Errors
    /// There is none, or it is not this cell's.
    pub fn read(dir: &CellDir) -> Result<Self, KeptError> {
        Self::parse(&dir.read_plan()?.ok_or(KeptError::Absent)?, dir.id())
    }

    /// Understands the plan of a cell.
    ///
    /// # Errors
    /// It is none, of another release, or another cell's.
    pub fn parse(json: &[u8], cell: &CellId) -> Result<Self, KeptError> {
        #[derive(Deserialize)]
        struct Head {
            format: u32,
        }
        let Head { format } = serde_json::from_slice(json)?;
        if format != FORMAT {
            return Err(KeptError::Format(format));
        }
        let plan: Self = serde_json::from_slice(json)?;
        if plan.cell == *cell { Ok(plan) } else { Err(KeptError::Foreign(plan.cell)) }
    }
}
