//! Where the project and what is built from it stand.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::Value;

use crate::run;

/// The project's directories.
pub struct Workspace {
    /// The root of the repository.
    pub root: PathBuf,
    /// Where cargo builds; below `root` unless the caller's environment says otherwise.
    pub target: PathBuf,
}

impl Workspace {
    /// Asks cargo.
    ///
    /// # Errors
    /// Cargo does not run, or does not say.
    pub fn find() -> Result<Self> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("find the workspace above xtask")?.to_owned();
        let metadata = run::output(run::cargo(&root).args(["metadata", "--no-deps", "--format-version=1", "--locked"]))?;
        let metadata: Value = serde_json::from_str(&metadata).context("parse cargo's metadata")?;
        let target = metadata["target_directory"].as_str().context("find the target directory in cargo's metadata")?;
        Ok(Self { root, target: PathBuf::from(target) })
    }

    /// Where the built guests are put: `<name>.wasm` and, natively built, `<name>`.
    pub fn guests(&self) -> PathBuf {
        self.target.join("guests")
    }

    /// The `lazarus` binary of a profile's directory (`debug` or `release`).
    pub fn lazarus(&self, profile: &str) -> PathBuf {
        self.target.join(profile).join("lazarus")
    }
}
