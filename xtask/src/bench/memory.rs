//! The memory that a cell's processes have for themselves.

use std::{fs, process::Output};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::lazarus::{Answer, Lazarus, parse};

/// Private memory of a cell's two processes, in KiB.
#[derive(Debug, PartialEq, Eq)]
pub struct Memory {
    /// The warden.
    pub warden_kib: u64,
    /// The host, with one small guest in it.
    pub host_kib: u64,
}

/// Measures the processes of one live cell with one small guest; without a guest toolchain, with the built-in keeper.
pub fn measure(lazarus: &Lazarus, hello: Result<&std::path::Path, &str>) -> Result<Memory> {
    let file = hello.ok().map(|file| file.to_str().context("the target directory's path is not text")).transpose()?;
    let what = match file {
        Some(file) => vec!["--component", file, "--", "--stay"],
        None => vec!["--backend", "wasm"],
    };
    let cell = cell_id(&lazarus.json(&[&["summon", "bench", "bench"], what.as_slice()].concat())?)?;
    let measured = lazarus.json(&["status", &cell]).and_then(|status| of_cell(&status));
    lazarus.json(&["destroy", &cell])?;
    measured
}

fn of_cell(status: &Value) -> Result<Memory> {
    let warden = status["cell"]["warden"]["pid"].as_u64().context("find cell.warden.pid in the status")?;
    let host = status["probe"]["pid"].as_u64().context("find probe.pid in the status")?;
    Ok(Memory { warden_kib: private_of(warden)?, host_kib: private_of(host)? })
}

fn private_of(pid: u64) -> Result<u64> {
    let file = format!("/proc/{pid}/smaps_rollup");
    private_kib(&fs::read_to_string(&file).with_context(|| format!("read {file}"))?)
        .with_context(|| format!("find private memory in {file}"))
}

/// The sum of the private pages, clean and dirty; `None` where the text is not the kernel's.
fn private_kib(rollup: &str) -> Option<u64> {
    let of = |name: &str| {
        let line = rollup.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()
    };
    Some(of("Private_Clean:")? + of("Private_Dirty:")?)
}

/// The cell that a `summon --json` made.
pub fn cell_of(output: &Output) -> Result<String> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    cell_id(&parse(&Answer { success: output.status.success(), stdout: text(&output.stdout), stderr: text(&output.stderr) })?)
}

fn cell_id(answer: &Value) -> Result<String> {
    let id = answer["cell_id"].as_str().context("find cell_id in the answer")?;
    ensure!(!id.is_empty(), "the cell has no id");
    Ok(id.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn private_memory_is_the_sum_of_clean_and_dirty() {
        let rollup =
            "55d0-7ffd ---p 00000000 00:00 0 [rollup]\nRss:  900 kB\nPss_Dirty:  5 kB\nPrivate_Clean:    40 kB\nPrivate_Dirty:   200 kB\n";
        assert_eq!(private_kib(rollup), Some(240));
        assert_eq!(private_kib("Private_Clean: 40 kB\n"), None);
        assert_eq!(private_kib(""), None);
    }

    #[test]
    fn this_process_has_private_memory() -> Result<()> {
        assert!(private_of(std::process::id().into())? > 0);
        Ok(())
    }
}
