//! Looks, without asking Lazarus alone, whether anything of the destroyed cells is left.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};

use super::stage::{Cell, Stage};
use crate::lazarus::Process;

/// Verifies that no directory, no process and no row of `status` is left of the cells.
pub fn verify(stage: &Stage, cells: &[&Cell]) -> Result<()> {
    let root = stage.lazarus().root();
    let directory = root.join("cells");
    let left = names(&directory)?;
    ensure!(left.is_empty(), "{} still holds {}", directory.display(), left.join(", "));
    println!("no directory below {}", directory.display());

    for process in cells.iter().flat_map(|cell| &cell.processes) {
        ensure!(!process.lives(), "process {} still lives", process.pid);
    }
    let needles: Vec<&str> = cells.iter().map(|cell| cell.id.as_str()).chain(root.to_str()).collect();
    let related = related_processes(&needles, root)?;
    ensure!(related.is_empty(), "processes that name the demo's cells or root still live: {related:?}");
    println!("no process, neither known nor found in /proc");

    let status = stage.json(&["status"])?;
    let rows = status["active_cells"].as_array().context("find active_cells in the status")?;
    ensure!(rows.is_empty(), "status still shows {} cells", rows.len());
    for cell in cells {
        let status = stage.lazarus().json(&["status", &cell.id])?;
        ensure!(status["cell"]["state"] == "destroyed", "the registry has {} as {}", cell.id, status["cell"]["state"]);
    }
    println!("no cell in status; the registry remembers both as destroyed");
    Ok(())
}

/// The names in a directory; one that does not exist has none.
fn names(directory: &Path) -> Result<Vec<String>> {
    match fs::read_dir(directory) {
        Ok(entries) => entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error).with_context(|| format!("list {}", directory.display())),
    }
}

/// Processes, other than this one, that name one of the needles in command line or environment, or stand or hold a file below `root`.
fn related_processes(needles: &[&str], root: &Path) -> Result<Vec<u64>> {
    let own = u64::from(std::process::id());
    let pids = names(Path::new("/proc"))?.into_iter().filter_map(|name| name.parse().ok()).filter(|pid| *pid != own);
    Ok(pids.filter(|&pid| is_related(pid, needles, root)).filter(|&pid| Process::living(pid).is_ok()).collect())
}

fn is_related(pid: u64, needles: &[&str], root: &Path) -> bool {
    let at = PathBuf::from(format!("/proc/{pid}"));
    let names_one = |file: &str| {
        let bytes = fs::read(at.join(file)).unwrap_or_default();
        needles.iter().any(|needle| bytes.windows(needle.len()).any(|window| window == needle.as_bytes()))
    };
    let below = |link: PathBuf| fs::read_link(link).is_ok_and(|target| target.starts_with(root));
    let holds_one = || names(&at.join("fd")).unwrap_or_default().iter().any(|fd| below(at.join("fd").join(fd)));
    names_one("cmdline") || names_one("environ") || below(at.join("cwd")) || holds_one()
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn a_process_is_found_by_what_it_names_and_where_it_stands() -> Result<()> {
        let root = tempfile::tempdir()?;
        let needle = root.path().to_str().context("the temporary directory is text")?;
        let sleep = || {
            let mut command = Command::new("sleep");
            command.arg("60");
            command
        };
        let mut children = [
            sleep().env("ROOT", needle).spawn()?,
            sleep().current_dir(root.path()).spawn()?,
            sleep().stdin(fs::File::create(root.path().join("file"))?).spawn()?,
            sleep().spawn()?,
        ];
        // A child that was not yet replaced by its program shows the environment of its parent.
        std::thread::sleep(std::time::Duration::from_millis(100));
        let found = related_processes(&[needle], root.path());
        for child in &mut children {
            child.kill()?;
            child.wait()?;
        }
        let mut expected: Vec<u64> = children[..3].iter().map(|child| child.id().into()).collect();
        let mut found = found?;
        expected.sort_unstable();
        found.sort_unstable();
        assert_eq!(found, expected);
        Ok(())
    }
}
