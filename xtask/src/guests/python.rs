//! Guests in Python: componentize-py, from PyPI, in a virtual environment of its own.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::SystemTime,
};

use anyhow::{Context, Result, ensure};

use crate::{run, workspace::Workspace};

/// The release that the guests are built with. It brings its own Python for the guest, whatever runs it here.
const COMPONENTIZE_PY: &str = "0.25.1";

/// componentize-py, ready.
pub struct Componentizer(PathBuf);

impl Componentizer {
    /// Finds it, or installs it below the target directory.
    ///
    /// # Errors
    /// There is no Python 3 with `venv`, or PyPI does not give it; the error says which, and how to mend it.
    pub fn ensure(workspace: &Workspace) -> Result<Self> {
        let home = workspace.target.join("guest-toolchain").join(format!("componentize-py-{COMPONENTIZE_PY}"));
        let program = home.join("bin/componentize-py");
        if !is_it(&program) {
            eprintln!("   xtask: installing componentize-py {COMPONENTIZE_PY} to {} (some seconds, once)", home.display());
            install(&home).with_context(|| {
                format!("get componentize-py {COMPONENTIZE_PY}, which the guests in Python are built with: it takes python3 with venv and pip, and PyPI")
            })?;
            ensure!(is_it(&program), "{} was installed, and does not say that it is componentize-py {COMPONENTIZE_PY}", program.display());
        }
        Ok(Self(program))
    }

    /// Builds one guest, unless what was built is newer than all that it is made of; returns the component.
    ///
    /// # Errors
    /// It is no agent of `guest-sdk/wit/cell.wit`.
    pub fn build(&self, workspace: &Workspace, name: &str) -> Result<PathBuf> {
        let source = workspace.root.join("examples").join(name);
        let wit = workspace.root.join("guest-sdk/wit/cell.wit");
        let built = workspace.target.join("examples/python").join(format!("{name}.wasm"));
        fs::create_dir_all(built.parent().context("below the target directory")?)?;
        if is_newer(&built, &[&source.join("app.py"), &wit, &self.0])? {
            eprintln!("   xtask: {name} is as new as its source");
            return Ok(built);
        }
        let mut command = Command::new(&self.0);
        command.arg("--wit-path").arg(&wit).args(["--world", "event-agent", "--quiet", "componentize", "--python-path"]);
        // Nothing of a virtual environment that happens to be active belongs into the guest.
        run::step(command.arg(&source).args(["app", "--output"]).arg(&built).env_remove("VIRTUAL_ENV").env_remove("PYTHONPATH"))?;
        Ok(built)
    }
}

fn is_it(program: &Path) -> bool {
    run::output(Command::new(program).arg("--version")).is_ok_and(|version| version.trim_end().ends_with(COMPONENTIZE_PY))
}

fn install(home: &Path) -> Result<()> {
    let python = run::find("python3").context("there is no python3 in PATH (Debian: apt install python3-venv)")?;
    run::output(Command::new(python).args(["-m", "venv", "--clear"]).arg(home)).context("python3 cannot make a virtual environment")?;
    let package = format!("componentize-py=={COMPONENTIZE_PY}");
    run::output(Command::new(home.join("bin/pip")).args(["install", "--quiet", "--disable-pip-version-check", &package]))?;
    Ok(())
}

/// Whether a file is there, and newer than all the others.
fn is_newer(file: &Path, others: &[&Path]) -> Result<bool> {
    let Ok(made) = fs::metadata(file).and_then(|metadata| metadata.modified()) else { return Ok(false) };
    let changed = |path: &&Path| -> Result<SystemTime> {
        fs::metadata(path).and_then(|metadata| metadata.modified()).with_context(|| format!("look at {}", path.display()))
    };
    let times = others.iter().map(changed).collect::<Result<Vec<_>>>()?;
    Ok(times.into_iter().all(|time| time < made))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_older_than_its_source_is_built_again() -> Result<()> {
        let place = tempfile::tempdir()?;
        let (built, source) = (place.path().join("built"), place.path().join("source"));
        fs::write(&source, "")?;
        assert!(!is_newer(&built, &[&source])?);
        fs::write(&built, "")?;
        let hour = std::time::Duration::from_secs(3600);
        fs::File::options().write(true).open(&built)?.set_modified(SystemTime::now() + hour)?;
        assert!(is_newer(&built, &[&source])?);
        fs::File::options().write(true).open(&source)?.set_modified(SystemTime::now() + 2 * hour)?;
        assert!(!is_newer(&built, &[&source])?);
        assert!(is_newer(&built, &[&place.path().join("none")]).is_err());
        Ok(())
    }
}
