//! Debian's archive, read through apt itself in a directory of our own: nothing of the machine's apt is changed.
//!
//! The mirror is the one that the machine already uses; apt lists it, whichever format its sources are written in.

use std::{
    fmt, fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};

use crate::run;

/// Where apt says that an archive is Debian's: releases by code name or by role.
const DEBIAN_RELEASES: [&str; 9] = ["bullseye", "bookworm", "trixie", "forky", "duke", "sid", "stable", "testing", "unstable"];
/// Suites beyond the machine's own, from the likeliest to the last.
const FURTHER_SUITES: [&str; 3] = ["trixie-backports", "forky", "sid"];
/// Debian's own keys, where its package of keys is installed; elsewhere apt uses the keys it trusts.
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// One suite of one mirror.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Suite {
    mirror: String,
    name: String,
}

impl Suite {
    /// The suite's name.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl fmt::Display for Suite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.name)
    }
}

/// The archive, with what was looked at so far.
pub struct Archive {
    at: PathBuf,
    suites: Vec<Suite>,
    /// By suite: whether its index could be fetched.
    fetched: Vec<(Suite, bool)>,
}

impl Archive {
    /// Opens the archive that this machine's sources name, with a place for its indexes.
    ///
    /// # Errors
    /// The machine's sources name no Debian mirror.
    pub fn open(at: &Path) -> Result<Self> {
        let listed =
            run::output(Command::new("apt-get").args(["indextargets", "--format", "$(CREATED_BY) $(COMPONENT) $(RELEASE) $(REPO_URI)"]))
                .context("list the machine's apt sources")?;
        let suites = suites_to_ask(&listed);
        ensure!(!suites.is_empty(), "the machine's apt sources name no mirror of Debian");
        Ok(Self { at: at.to_owned(), suites, fetched: Vec::new() })
    }

    /// The suites, in the order in which to ask them.
    pub fn suites(&self) -> Vec<Suite> {
        self.suites.clone()
    }

    /// The suites asked so far, for an error; those without an index say so.
    pub fn looked_in(&self) -> String {
        let shown = self.fetched.iter().map(|(suite, fetched)| if *fetched { suite.name.clone() } else { format!("{suite} (not there)") });
        shown.collect::<Vec<_>>().join(", ")
    }

    /// The versions of a package in a suite, newest first; none where the mirror does not have the suite.
    pub fn versions(&mut self, suite: &Suite, package: &str) -> Vec<String> {
        if !self.fetch_index(suite) {
            return Vec::new();
        }
        let table = run::output(self.command("apt-cache", suite).args(["madison", package])).unwrap_or_default();
        table.lines().filter_map(|line| Some(line.split('|').nth(1)?.trim().to_owned())).collect()
    }

    /// Downloads one version of a package, and unpacks it to a directory.
    ///
    /// # Errors
    /// It cannot be downloaded, its signature is not good, or it cannot be unpacked.
    pub fn unpack(&self, suite: &Suite, package: &str, version: &str, to: &Path) -> Result<()> {
        let download = self.at.join(&suite.name).join("download");
        fs::create_dir_all(&download)?;
        fs::create_dir_all(to)?;
        run::output(self.command("apt-get", suite).current_dir(&download).arg("download").arg(format!("{package}={version}")))?;
        for entry in fs::read_dir(&download)? {
            let file = entry?.path();
            run::output(Command::new("dpkg-deb").arg("-x").arg(&file).arg(to))?;
            fs::remove_file(file)?;
        }
        Ok(())
    }

    fn fetch_index(&mut self, suite: &Suite) -> bool {
        if let Some((_, fetched)) = self.fetched.iter().find(|(asked, _)| asked == suite) {
            return *fetched;
        }
        let outcome = self.prepare(suite).and_then(|()| run::output(self.command("apt-get", suite).arg("update")));
        if let Err(error) = &outcome {
            eprintln!("   xtask: {suite}: {}", format!("{error:#}").lines().last().unwrap_or_default());
        }
        self.fetched.push((suite.clone(), outcome.is_ok()));
        outcome.is_ok()
    }

    fn prepare(&self, suite: &Suite) -> Result<()> {
        let at = self.at.join(&suite.name);
        fs::create_dir_all(at.join("lists/partial"))?;
        fs::create_dir_all(at.join("cache/archives/partial"))?;
        fs::write(at.join("status"), "")?;
        let signed_by = if Path::new(KEYRING).is_file() { format!("[signed-by={KEYRING}] ") } else { String::new() };
        fs::write(at.join("sources.list"), format!("deb {signed_by}{} {} main\n", suite.mirror, suite.name))?;
        Ok(())
    }

    /// An apt command that sees this suite alone, and writes nowhere but into our directory.
    fn command(&self, program: &str, suite: &Suite) -> Command {
        let at = self.at.join(&suite.name);
        let mut command = Command::new(program);
        let mut set = |name: &str, value: String| {
            command.args(["-o", &format!("{name}={value}")]);
        };
        set("Dir::Etc::sourcelist", at.join("sources.list").display().to_string());
        set("Dir::Etc::sourceparts", "/dev/null".to_owned());
        set("Dir::State::lists", at.join("lists").display().to_string());
        set("Dir::State::status", at.join("status").display().to_string());
        set("Dir::Cache", at.join("cache").display().to_string());
        // The directory is the caller's alone, so apt's own user could not write to it.
        set("APT::Sandbox::User", String::new());
        set("Acquire::Languages", "none".to_owned());
        // A missing index is the end of that suite, not a warning.
        set("APT::Update::Error-Mode", "any".to_owned());
        // The machine's hooks act on the machine's own indexes.
        for hook in ["Pre-Invoke", "Post-Invoke", "Post-Invoke-Success"] {
            command.args(["-o", &format!("#clear=APT::Update::{hook}")]);
        }
        command.args(["--quiet", "--quiet"]);
        command
    }
}

/// Turns apt's list of sources into the suites to ask: the machine's own, their backports, and then the further ones.
fn suites_to_ask(listed: &str) -> Vec<Suite> {
    let mut own: Vec<Suite> = Vec::new();
    for line in listed.lines() {
        let [created_by, component, release, mirror] = line.split_whitespace().collect::<Vec<_>>()[..] else { continue };
        let debian = DEBIAN_RELEASES.contains(&release);
        let suite = Suite { mirror: mirror.to_owned(), name: release.to_owned() };
        if created_by == "Packages" && component == "main" && debian && !own.contains(&suite) {
            own.push(suite);
        }
    }
    let backports = own.iter().map(|suite| Suite { mirror: suite.mirror.clone(), name: format!("{}-backports", suite.name) });
    let mirror = own.first().map(|suite| suite.mirror.clone());
    let further = mirror.iter().flat_map(|mirror| FURTHER_SUITES.map(|name| Suite { mirror: mirror.clone(), name: name.to_owned() }));
    let mut all = Vec::new();
    for suite in own.iter().cloned().chain(backports).chain(further) {
        if !all.contains(&suite) {
            all.push(suite);
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_suites_come_first_then_backports_then_the_further_ones() {
        let listed = "Packages main bookworm http://mirror.example/debian/\n\
                      DEP-11 main bookworm http://mirror.example/debian/\n\
                      Packages main bookworm-updates http://mirror.example/debian/\n\
                      Packages main bookworm-security http://mirror.example/debian-security/\n\
                      Packages main tools http://vendor.example/apt/\n\
                      Packages contrib bookworm http://mirror.example/debian/\n";
        let names: Vec<_> = suites_to_ask(listed).into_iter().map(|suite| (suite.name, suite.mirror)).collect();
        let expected = ["bookworm", "bookworm-backports", "trixie-backports", "forky", "sid"];
        assert_eq!(names, expected.map(|name| (name.to_owned(), "http://mirror.example/debian/".to_owned())));
    }

    #[test]
    fn a_machine_of_another_kind_has_none() {
        assert_eq!(suites_to_ask("Packages main noble http://mirror.example/ubuntu/\n"), []);
        assert_eq!(suites_to_ask(""), []);
    }
}
