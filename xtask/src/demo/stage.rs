//! The stage of the demo: commands are shown as typed, with what they print, and cells are never left behind.

use std::{
    fs,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::{
    lazarus::{Answer, Lazarus, Process, parse},
    run,
    workspace::Workspace,
};

/// The path at which the checked-in definition of the native surveyor expects it.
const INSTALLED_SURVEYOR: &str = "/usr/local/bin/surveyor";

/// A summoned cell.
pub struct Cell {
    /// Its id.
    pub id: String,
    /// Its home on this machine.
    pub home: PathBuf,
    /// Its warden, and its agent or the agent's host.
    pub processes: Vec<Process>,
}

/// Where the demo plays.
pub struct Stage {
    lazarus: Lazarus,
    summoned: Vec<String>,
}

impl Stage {
    /// Sets the stage.
    pub fn new(lazarus: Lazarus) -> Self {
        Self { lazarus, summoned: Vec::new() }
    }

    /// The command that is shown.
    pub fn lazarus(&self) -> &Lazarus {
        &self.lazarus
    }

    /// Announces what comes.
    pub fn say(&self, what: &str) {
        println!("\n# {what}");
    }

    /// Runs a command in view, and returns its data.
    ///
    /// # Errors
    /// It fails.
    pub fn run(&self, arguments: &[&str]) -> Result<String> {
        let answer = self.show(arguments)?;
        ensure!(answer.success, "lazarus {} failed", arguments.join(" "));
        Ok(answer.stdout)
    }

    /// Runs a command with `--json` in view, and returns its object.
    ///
    /// # Errors
    /// It fails, or its answer breaks the contract.
    pub fn json(&self, arguments: &[&str]) -> Result<Value> {
        let arguments: Vec<_> = arguments.iter().copied().chain(["--json"]).collect();
        let answer = self.show(&arguments)?;
        parse(&answer).with_context(|| format!("call lazarus {}", arguments.join(" ")))
    }

    fn show(&self, arguments: &[&str]) -> Result<Answer> {
        println!("$ {}", run::words(&self.lazarus.command(arguments)));
        let answer = self.lazarus.call(arguments)?;
        print!("{}{}", answer.stderr, answer.stdout);
        Ok(answer)
    }

    /// Installs the surveyor as a component: its definition, with the compiled file beside it.
    ///
    /// # Errors
    /// It is refused.
    pub fn install_component(&self, workspace: &Workspace, agents: &Path) -> Result<()> {
        let at = agents.join("surveyor");
        fs::create_dir_all(&at)?;
        fs::copy(workspace.root.join("examples/surveyor/agent.toml"), at.join("agent.toml"))?;
        fs::copy(workspace.guests().join("surveyor.wasm"), at.join("surveyor.wasm"))?;
        println!("$ cp examples/surveyor/agent.toml {} {}", workspace.guests().join("surveyor.wasm").display(), at.display());
        self.add(&at)
    }

    /// Installs the surveyor as a process: its definition, with the path of the program as it was built.
    ///
    /// # Errors
    /// It is refused.
    pub fn install_native(&self, workspace: &Workspace, agents: &Path) -> Result<()> {
        let at = agents.join("surveyor-native");
        fs::create_dir_all(&at)?;
        let built = workspace.guests().join("surveyor");
        let built = built.to_str().context("the target directory's path is not text")?;
        let definition = fs::read_to_string(workspace.root.join("examples/surveyor/agent.process.toml"))?;
        ensure!(definition.contains(INSTALLED_SURVEYOR), "the definition of the native surveyor names another path");
        fs::write(at.join("agent.toml"), definition.replace(INSTALLED_SURVEYOR, built))?;
        println!("$ sed 's|{INSTALLED_SURVEYOR}|{built}|g' examples/surveyor/agent.process.toml > {}", at.join("agent.toml").display());
        self.add(&at)
    }

    fn add(&self, at: &Path) -> Result<()> {
        let file = at.join("agent.toml");
        self.run(&["agent", "add", file.to_str().context("the temporary directory's path is not text")?])?;
        Ok(())
    }

    /// Summons a cell, and looks that its record, its processes and its home are as the answer says.
    ///
    /// # Errors
    /// They are not.
    pub fn summon(&mut self, arguments: &[&str], backend: &str) -> Result<Cell> {
        let answer = self.json(&[&["summon"], arguments].concat())?;
        let id = answer["cell_id"].as_str().context("find cell_id in the answer")?.to_owned();
        self.summoned.push(id.clone());
        ensure!(answer["backend"] == backend, "{id} has backend {}, not {backend}", answer["backend"]);

        let status = self.lazarus.json(&["status", &id])?;
        let (record, probe) = (&status["cell"], &status["probe"]);
        ensure!(record["backend"] == backend, "{id} is recorded with backend {}, not {backend}", record["backend"]);
        let home = record["hermes_home"].as_str().with_context(|| format!("find hermes_home in the record of {id}"))?;
        let pid = |value: &Value, what| value.as_u64().with_context(|| format!("find {what} of {id}"));
        let (said, agent, warden) =
            (pid(&answer["pid"], "the pid")?, pid(&probe["pid"], "the probe's pid")?, pid(&record["warden"]["pid"], "the warden's pid")?);
        ensure!(said == agent, "{id} was summoned with pid {said}, and is probed as pid {agent}");
        let processes = vec![Process::living(agent)?, Process::living(warden)?];
        Ok(Cell { home: PathBuf::from(home), id, processes })
    }

    /// Ends what a demo that failed has left, so that it leaves nothing; does nothing after one that did not.
    pub fn end(&mut self) {
        for id in self.summoned.drain(..) {
            if let Err(error) = self.lazarus.json(&["destroy", &id]) {
                eprintln!("   xtask: {id} could not be destroyed: {error:#}");
            }
        }
    }
}

/// Waits until something holds.
///
/// # Errors
/// It did not in time; the last reason is in the error.
pub fn until(what: &str, most: Duration, holds: impl Fn() -> Result<()>) -> Result<()> {
    let started = Instant::now();
    loop {
        match holds() {
            Ok(()) => return Ok(()),
            Err(error) if started.elapsed() > most => {
                return Err(error).with_context(|| format!("wait until {what} ({} s)", most.as_secs()));
            }
            Err(_) => thread::sleep(Duration::from_millis(100)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn waiting_ends_with_success_or_with_the_last_reason() {
        let left = Cell::new(2);
        let soon = until("it is zero", Duration::from_secs(5), || {
            left.set(left.get() - 1);
            ensure!(left.get() == 0, "{} are left", left.get());
            Ok(())
        });
        assert!(soon.is_ok());
        let never = until("pigs fly", Duration::ZERO, || anyhow::bail!("they walk"));
        assert_eq!(never.map_err(|e| format!("{e:#}")), Err("wait until pigs fly (0 s): they walk".to_owned()));
    }
}
