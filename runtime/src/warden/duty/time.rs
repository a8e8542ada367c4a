//! The time to live of a cell, as its warden keeps it.

use chrono::Utc;

use super::Duty;
use crate::cell::OnExpire;

impl Duty {
    /// When the cell's time is over, where it then ends.
    pub(super) fn expiry(&self) -> Option<chrono::DateTime<Utc>> {
        match self.spec.on_expire {
            OnExpire::Close | OnExpire::Destroy => Some(self.spec.expires_at),
            OnExpire::Keep => None,
        }
    }

    /// Whether somebody gave the cell more time since it was last asked.
    pub(super) fn was_extended(&mut self) -> bool {
        let record = self.registry().and_then(|registry| registry.cell(&self.spec.cell));
        match record {
            Ok(Some(record)) if record.expires_at > Utc::now() => {
                self.spec.expires_at = record.expires_at;
                self.life.expires_at = self.expiry();
                true
            }
            Ok(_) | Err(_) => false,
        }
    }
}
