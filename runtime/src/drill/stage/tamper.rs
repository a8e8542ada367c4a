//! What attacks on the trusted side need done behind its back: roots of their own, supplies, and files that are changed past Lazarus.

use std::{
    io::{self, Write},
    path::Path,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use cap_std::fs::Dir;
use rustix::fs::{Mode, OFlags};

use super::{command::Told, place::token, set::Stage, yard};
use crate::{
    home::{ambient, measure, open_dir, open_or_make_dir},
    jail::liveness,
};

/// Bytes of a kept file that are read.
const READ_MOST_BYTES: u64 = 64 * 1024;
/// Numbers for directories that a stage makes on the way.
static NEXT: AtomicUsize = AtomicUsize::new(0);

impl Stage {
    /// Runs a command in another root of this stage.
    ///
    /// # Errors
    /// It could not be started.
    pub fn lazarus_in(&self, root: &str, args: &[&str], within: Duration) -> io::Result<Told> {
        self.commands().in_root(Path::new(root)).run(args, b"", within)
    }

    /// Makes another root, with these links in it. Returns its path.
    ///
    /// # Errors
    /// It could not be made.
    pub fn make_root(&self, links: &[(&str, &str)]) -> io::Result<String> {
        let (dir, path) = self.make_dir("root")?;
        for (name, target) in links.iter().filter(|(name, _)| *name != "nothing") {
            rustix::fs::symlinkat(*target, &dir, *name)?;
        }
        Ok(path)
    }

    /// Makes a directory with these files, as a stranger would supply them. Returns its path.
    ///
    /// # Errors
    /// It could not be made.
    pub fn supply(&self, files: &[(&str, &str)]) -> io::Result<String> {
        let (dir, path) = self.make_dir("supply")?;
        supply(&dir, files)?;
        Ok(path)
    }

    /// Adds files to what was supplied.
    ///
    /// # Errors
    /// They could not be made.
    pub fn supply_into(&self, supplied: &str, files: &[(&str, &str)]) -> io::Result<()> {
        supply(&ambient::open_named_dir(Path::new(supplied))?.0, files)
    }

    fn make_dir(&self, kind: &str) -> io::Result<(Dir, String)> {
        let name = format!("{kind}-{}", NEXT.fetch_add(1, Ordering::Relaxed));
        let dir = open_or_make_dir(self.place().dir(), &name)?;
        Ok((dir, self.place().path().join(name).to_string_lossy().into_owned()))
    }

    /// Writes behind the end of a file below the root, past Lazarus.
    ///
    /// # Errors
    /// It could not be written.
    pub fn append_in_root(&self, below: &[&str], name: &str, content: &[u8]) -> io::Result<()> {
        let flags = OFlags::WRONLY | OFlags::APPEND | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        std::fs::File::from(rustix::fs::openat(self.below_root(below)?, name, flags, Mode::empty())?).write_all(content)
    }

    /// Reads a file below the root, through whatever it is.
    ///
    /// # Errors
    /// It is not there.
    pub fn read_in_root(&self, below: &[&str], name: &str) -> io::Result<String> {
        let dir = self.below_root(below)?;
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let mut content = vec![0; 1024];
        let read = rustix::io::read(rustix::fs::openat(&dir, name, flags, Mode::empty())?, &mut content)?;
        Ok(String::from_utf8_lossy(&content[..read]).into_owned())
    }

    fn below_root(&self, below: &[&str]) -> io::Result<Dir> {
        below.iter().try_fold(ambient::open_named_dir(&self.commands().root)?.0, |dir, name| open_dir(&dir, name))
    }

    /// Bytes of the logs that are kept of a cell.
    ///
    /// # Errors
    /// They are not there.
    pub fn log_bytes(&self, cell: &str) -> io::Result<u64> {
        Ok(measure(&self.below_root(&["cells", cell, "logs"])?)?.bytes)
    }

    /// Kills a cell's warden.
    ///
    /// # Errors
    /// It is not there.
    pub fn kill_warden(&self, cell: &str) -> io::Result<()> {
        let told = self.lazarus(&["status", cell], b"", Duration::from_secs(30))?;
        let warden = told.value("cell").and_then(|cell| cell.get("warden").cloned()).unwrap_or_default();
        liveness::kill_and_wait(&serde_json::from_value(warden)?, Duration::from_secs(5))
    }

    /// Changes a registry past Lazarus, as whoever has the operator's account can.
    ///
    /// # Errors
    /// It could not be changed.
    pub fn edit_registry(&self, root: &str, statement: &str) -> io::Result<()> {
        let flags = rusqlite::OpenFlags::SQLITE_OPEN_READ_WRITE | rusqlite::OpenFlags::SQLITE_OPEN_NOFOLLOW;
        let edit = || {
            let registry = rusqlite::Connection::open_with_flags(Path::new(root).join("registry.db"), flags)?;
            let guards = ["audit_is_never_changed", "audit_is_never_shortened"];
            guards.iter().try_for_each(|guard| registry.execute_batch(&format!("DROP TRIGGER {guard}")))?;
            registry.execute_batch(statement)
        };
        edit().map_err(io::Error::other)
    }

    /// Spoils every entry of a root's cache: `foreign` bytes, `cut` short, `open` to others' writing, `linked` to a copy; else not.
    ///
    /// # Errors
    /// There is none, or it could not be spoilt.
    pub fn spoil_cache(&self, root: &str, how: &str) -> io::Result<()> {
        let cache = open_dir(&ambient::open_named_dir(Path::new(root))?.0, "cache")?;
        let mut spoilt = 0;
        for entry in rustix::fs::Dir::read_from(&cache)? {
            let name = entry?.file_name().to_string_lossy().into_owned();
            if !name.ends_with(".cwasm") {
                continue;
            }
            spoilt += 1;
            let write = |flags| rustix::fs::openat(&cache, name.as_str(), OFlags::WRONLY | OFlags::CLOEXEC | flags, Mode::empty());
            match how {
                "foreign" => std::fs::File::from(write(OFlags::TRUNC)?).write_all(token()?.repeat(512).as_bytes())?,
                "cut" => rustix::fs::ftruncate(write(OFlags::empty())?, READ_MOST_BYTES / 16)?,
                "open" => rustix::fs::fchmod(write(OFlags::empty())?, Mode::from_raw_mode(0o666))?,
                "linked" => {
                    rustix::fs::renameat(&cache, name.as_str(), self.place().dir(), "elsewhere.cwasm")?;
                    rustix::fs::symlinkat(self.place().path().join("elsewhere.cwasm"), &cache, name.as_str())?;
                }
                _ => {}
            }
        }
        if spoilt > 0 { Ok(()) } else { Err(io::Error::other("nothing was cached")) }
    }
}

/// Writes files, whose names may have a directory before them.
fn supply(dir: &Dir, files: &[(&str, &str)]) -> io::Result<()> {
    for (path, content) in files {
        match path.split_once('/') {
            Some((above, name)) => yard::write(&open_or_make_dir(dir, above)?, name, content.as_bytes(), Mode::RUSR | Mode::WUSR)?,
            None => yard::write(dir, path, content.as_bytes(), Mode::RUSR | Mode::WUSR)?,
        }
    }
    Ok(())
}
