//! What is measured.

use std::{
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};

use crate::{lazarus::Lazarus, run};

/// The bare process that everything is compared to.
pub const BARE: &str = "spawn and wait: /bin/true";
/// The sandbox that everything is compared to.
pub const BWRAP: &str = "bwrap --unshare-all: /bin/true";

type Measure<'a> = Box<dyn FnMut() -> Result<Duration> + 'a>;

/// One thing to measure, or the reason why it cannot be here.
pub struct Case<'a> {
    /// Its name in the table.
    pub name: &'static str,
    /// How it is measured, or why not.
    pub measure: Result<Measure<'a>, String>,
    /// What was measured.
    pub measured: Vec<Duration>,
}

impl<'a> Case<'a> {
    fn new(name: &'static str, measure: impl FnMut() -> Result<Duration> + 'a) -> Self {
        Self { name, measure: Ok(Box::new(measure)), measured: Vec::new() }
    }

    fn absent(name: &'static str, reason: &str) -> Self {
        Self { name, measure: Err(reason.to_owned()), measured: Vec::new() }
    }

    /// Measures once, and keeps the figure where it counts.
    pub fn round(&mut self, counts: bool) -> Result<()> {
        if let Ok(measure) = &mut self.measure {
            let took = measure()?;
            if counts {
                self.measured.push(took);
            }
        }
        Ok(())
    }
}

/// Every case, in the order of the table.
pub fn all<'a>(lazarus: &'a Lazarus, hello: Result<&'a Path, &str>, scratch: &Path) -> Result<Vec<Case<'a>>> {
    let mut cases = vec![Case::new(BARE, || timed(&mut Command::new("/bin/true")))];
    cases.push(match run::find("bwrap") {
        Some(bwrap) => Case::new(BWRAP, move || timed(Command::new(&bwrap).args(["--unshare-all", "--ro-bind", "/", "/", "/bin/true"]))),
        None => Case::absent(BWRAP, "bwrap is not in PATH"),
    });
    cases.push(Case::new("lazarus summon -- sleep 1000", || summon(lazarus, &["--", "sleep", "1000"])));
    let (summon_hello, run_hello) = ("lazarus summon hello.wasm (cached)", "lazarus run hello.wasm (cached)");
    match hello {
        Ok(file) => {
            let text = file.to_str().context("the target directory's path is not text")?;
            cases.push(Case::new(summon_hello, move || summon(lazarus, &["--component", text, "--", "--stay"])));
            cases.push(Case::new(run_hello, move || timed(&mut lazarus.command(&["run", text]))));
        }
        Err(reason) => cases.extend([Case::absent(summon_hello, reason), Case::absent(run_hello, reason)]),
    }
    cases.push(wasmtime(hello, scratch)?);
    Ok(cases)
}

/// wasmtime's own command with the same program, compiled beforehand.
fn wasmtime<'a>(hello: Result<&Path, &str>, scratch: &Path) -> Result<Case<'a>> {
    const NAME: &str = "wasmtime run hello.cwasm";
    let file = match hello {
        Ok(file) => file,
        Err(reason) => return Ok(Case::absent(NAME, reason)),
    };
    let Some(wasmtime) = run::find("wasmtime") else { return Ok(Case::absent(NAME, "wasmtime is not in PATH")) };
    let compiled = scratch.join("hello.cwasm");
    run::output(Command::new(&wasmtime).arg("compile").arg(file).arg("-o").arg(&compiled))?;
    Ok(Case::new(NAME, move || timed(Command::new(&wasmtime).args(["run", "--allow-precompiled"]).arg(&compiled))))
}

/// The time from the start of a process to its end.
fn timed(command: &mut Command) -> Result<Duration> {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let started = Instant::now();
    let status = command.status().with_context(|| format!("start {}", run::words(command)))?;
    let took = started.elapsed();
    ensure!(status.success(), "{}: {status}", run::words(command));
    Ok(took)
}

/// The time until a summoned cell is durably active, which is when the command returns; the cell is then destroyed, untimed.
fn summon(lazarus: &Lazarus, what: &[&str]) -> Result<Duration> {
    let mut command = lazarus.command(&[&["--json", "summon", "bench", "bench"], what].concat());
    command.stdin(Stdio::null());
    let started = Instant::now();
    let output = command.output()?;
    let took = started.elapsed();
    let cell = super::memory::cell_of(&output)?;
    lazarus.json(&["destroy", &cell])?;
    Ok(took)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_round_that_does_not_count_is_not_kept_and_an_absent_case_is_none() -> Result<()> {
        let mut case = Case::new("x", || Ok(Duration::from_millis(1)));
        case.round(false)?;
        case.round(true)?;
        assert_eq!(case.measured, [Duration::from_millis(1)]);
        let mut absent = Case::absent("y", "why");
        absent.round(true)?;
        assert!(absent.measured.is_empty());
        Ok(())
    }

    #[test]
    fn a_program_that_fails_is_not_a_measurement() {
        assert!(timed(&mut Command::new("/bin/true")).is_ok());
        assert!(timed(&mut Command::new("/bin/false")).is_err());
        assert!(timed(&mut Command::new("/nonexistent/program")).is_err());
    }
}
