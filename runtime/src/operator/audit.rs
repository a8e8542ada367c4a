//! Checking the audit chain.

use serde::Serialize;

use super::{Error, Operator};

/// What the check found, where it found nothing wrong.
#[derive(Debug, Clone, Serialize)]
pub struct AuditVerdict {
    /// Rows in the chain.
    pub rows: u64,
    /// The hash of the newest, in hexadecimal.
    pub head: String,
    /// What that proves, and what it does not.
    pub message: String,
}

impl Operator {
    /// Recomputes the audit chain.
    ///
    /// # Errors
    /// The first row that was changed, removed or moved.
    pub fn audit_verify(&mut self) -> Result<AuditVerdict, Error> {
        let head = self.registry.audit_verify(None)?;
        let hash: String = head.hash.iter().map(|byte| format!("{byte:02x}")).collect();
        let message = format!(
            "{} rows, unbroken; head {}. Rows cut off the end would show only against a head that was kept elsewhere",
            head.seq,
            &hash[..16]
        );
        Ok(AuditVerdict { rows: head.seq, head: hash, message })
    }
}
