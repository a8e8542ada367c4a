//! A fresh home, in which a real Hermes agent boots.

use std::io::{self, Write};

use cap_std::fs::Dir;
use rustix::io::Errno;

use super::{
    SeedError, Seeded,
    handle::{PRIVATE_DIR, PRIVATE_FILE, create_file},
    seed::{Database, seed},
};

/// Why a home was not furnished.
#[derive(Debug, thiserror::Error)]
pub enum CreateError {
    /// An entry could not be made.
    #[error("make {name}")]
    Entry {
        /// The entry, below the home.
        name: &'static str,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The template could not be copied.
    #[error("copy the template")]
    Seed(#[from] SeedError),
}

/// Directories of a home, outer ones first. What is below `home` is the agent's HOME: with the operator's own, Hermes would
/// read the operator's credentials.
const DIRECTORIES: [&str; 16] = [
    "memories",
    "sessions",
    "skills",
    "skins",
    "logs",
    "plans",
    "workspace",
    "cron",
    "hooks",
    "home",
    "home/tmp",
    "home/.cache",
    "home/.config",
    "home/.local",
    "home/.local/share",
    "home/.local/state",
];

/// Files of a home. None replaces one that the template brought; a template never brings `.env`.
const FILES: [(&str, &str); 4] = [
    (
        "config.yaml",
        "# This cell's own configuration. A model is named like this:\n#\n# model:\n#   default: some-model\n#   provider: custom\n#   base_url: http://127.0.0.1:8080/v1\n#   api_key: any-string\n{}\n",
    ),
    // Where a home has none, Hermes reads the `.env` of its shared installation.
    (".env", "# Variables of this cell's agent. They win over the environment that Lazarus passes. No secrets: the agent reads this.\n"),
    (
        "SOUL.md",
        "You are an agent in a Lazarus cell: a bounded place with its own home and a time to live.\nWhat you keep below your home survives you; nothing else does.\n",
    ),
    // Otherwise Hermes copies its bundled skills: hundreds of files that no cell asked for.
    (".no-bundled-skills", ""),
];

/// Furnishes an empty directory as a home: what the template brings, then what is missing of a home.
///
/// Nothing is synced file by file: a crash before the cell is active leaves a cell that failed.
///
/// # Errors
/// The template is refused, or the disk is full.
pub fn furnish(home: &Dir, template: Option<&Dir>) -> Result<Seeded, CreateError> {
    let seeded = template.map_or_else(|| Ok(Seeded::default()), |template| seed(template, home, &Database::Copy))?;
    for name in DIRECTORIES {
        // The template's directories were made by us a moment ago, and no agent has been here: there are no links.
        match rustix::fs::mkdirat(home, name, PRIVATE_DIR) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => return Err(CreateError::Entry { name, source: error.into() }),
        }
    }
    for (name, content) in FILES {
        match create_file(home, name, PRIVATE_FILE).and_then(|mut file| file.write_all(content.as_bytes())) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(CreateError::Entry { name, source: error }),
            Ok(()) | Err(_) => {}
        }
    }
    Ok(seeded)
}

/// Returns the variables that every agent gets, given its home's path as it sees it. All of them point into the home.
///
/// The caller adds those that say which cell it is, and what the policy grants.
pub fn variables(home: &str) -> Vec<(String, String)> {
    let home = home.trim_end_matches('/');
    let below = |path: &str| format!("{home}/{path}");
    [
        ("HERMES_HOME", home.to_owned()),
        ("HOME", below("home")),
        ("TMPDIR", below("home/tmp")),
        ("XDG_CACHE_HOME", below("home/.cache")),
        ("XDG_CONFIG_HOME", below("home/.config")),
        ("XDG_DATA_HOME", below("home/.local/share")),
        ("XDG_STATE_HOME", below("home/.local/state")),
        // Private, ours and removed with the cell, as its specification asks.
        ("XDG_RUNTIME_DIR", below("home/tmp")),
        // By default these locks outlive the cell, outside of it.
        ("HERMES_GATEWAY_LOCK_DIR", below("home/.local/state/gateway-locks")),
        ("LAZARUS_HEARTBEAT", below("logs/heartbeat")),
        ("PATH", "/usr/local/bin:/usr/bin:/bin".to_owned()),
        ("LANG", "C.UTF-8".to_owned()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into()
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt};

    use super::*;

    fn ground() -> (tempfile::TempDir, Dir) {
        let temp = tempfile::tempdir().expect("a directory");
        let dir = Dir::open_ambient_dir(temp.path(), cap_std::ambient_authority()).expect("opened");
        (temp, dir)
    }

    #[test]
    fn a_fresh_home_is_whole_and_private() {
        let (temp, dir) = ground();
        furnish(&dir, None).expect("furnished");
        for name in DIRECTORIES {
            assert_eq!(fs::metadata(temp.path().join(name)).expect(name).permissions().mode() & 0o7777, 0o700, "{name}");
        }
        for (name, content) in FILES {
            assert_eq!(fs::read_to_string(temp.path().join(name)).expect(name), content);
            assert_eq!(fs::metadata(temp.path().join(name)).expect(name).permissions().mode() & 0o7777, 0o600, "{name}");
        }
    }

    #[test]
    fn the_template_wins_but_never_with_its_env() {
        let (temp, dir) = ground();
        let (source, template) = ground();
        fs::write(source.path().join("SOUL.md"), "mine").expect("written");
        fs::write(source.path().join(".env"), "KEY=secret").expect("written");
        fs::create_dir_all(source.path().join("memories")).expect("made");
        fs::write(source.path().join("memories/first.md"), "once").expect("written");
        let seeded = furnish(&dir, Some(&template)).expect("furnished");
        assert_eq!(seeded.files, 2);
        assert_eq!(fs::read_to_string(temp.path().join("SOUL.md")).expect("read"), "mine");
        assert_eq!(fs::read_to_string(temp.path().join("memories/first.md")).expect("read"), "once");
        assert!(!fs::read_to_string(temp.path().join(".env")).expect("read").contains("KEY="));
    }

    #[test]
    fn every_path_that_an_agent_is_told_is_in_its_home_and_exists() {
        let (temp, dir) = ground();
        furnish(&dir, None).expect("furnished");
        let home = temp.path().to_str().expect("text");
        let variables = variables(&format!("{home}/"));
        for (name, value) in &variables {
            match name.as_str() {
                "PATH" | "LANG" => {}
                "LAZARUS_HEARTBEAT" => assert_eq!(value, &format!("{home}/logs/heartbeat")),
                // Hermes makes it.
                "HERMES_GATEWAY_LOCK_DIR" => assert!(value.starts_with(home)),
                _ => assert!(value.starts_with(home) && fs::metadata(value).is_ok_and(|meta| meta.is_dir()), "{name}={value}"),
            }
        }
        let names: std::collections::BTreeSet<&str> = variables.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names.len(), variables.len());
    }
}
